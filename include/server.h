/*
 * The daemon: one listening socket, one client at a time, and the only place where
 * requests meet the store.
 */
#ifndef KV_SERVER_H
#define KV_SERVER_H

#include "store.h"

struct server_options {
    const char *address;
    const char *port; /* decimal; "0" lets the system choose */
    uint64_t idle_ms; /* how long an idle client may keep others waiting */
    uint64_t value_bytes_max;
};

struct server;

/*
 * Listen, and take over SIGTERM and SIGINT: either ends server_run, a second SIGINT ends
 * the process at once.
 *
 * store: borrowed until server_destroy.
 * KV_IO, KV_NO_MEMORY: reported.
 */
enum status server_create(const struct server_options *options, struct store *store,
                          struct server **server_out);
void server_destroy(struct server *server);

/*
 * Say that the server is ready, to the operator and to a service manager that asked, and
 * serve until a signal says stop.
 *
 * KV_OK: stopped; everything acknowledged is as durable as the policy promises.
 * KV_FATAL: the log failed (reported).
 */
enum status server_run(struct server *server);

#endif
