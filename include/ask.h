/*
 * The small client's connection: says some lines, and takes all that is answered.
 * Whatever goes wrong ends the program, with a line on stderr.
 */
#ifndef KV_ASK_H
#define KV_ASK_H

#include "base/buffer.h"
#include "base/platform.h"

/* The exit status of what goes wrong. */
enum { ASK_TROUBLE = 2 };

struct ask_server {
    const char *address; /* address, [address], name, or with a slash a path */
    const char *port;    /* decimal */
    int patience_s;      /* how long it may say nothing */
};

_Noreturn void ask_give_up(const char *format, ...) KV_PRINTF_LIKE(1, 2);

/* Append, whatever room it takes. */
void ask_put(struct buffer *buffer, struct slice bytes);

/* All that the server answers until it ends; the caller's to free. */
struct buffer ask_server(const struct ask_server *server, const struct buffer *lines);

#endif
