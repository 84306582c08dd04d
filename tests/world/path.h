/*
 * The path of a Unix-domain socket that the server may listen on, and what stands there.
 * Another process may put something else in its place while the server waits: between the
 * server's own look at it and its next call nobody could notice.
 */
#ifndef KV_WORLD_PATH_H
#define KV_WORLD_PATH_H

#include "world/plan.h"

#include <sys/socket.h>

/* With a slash, so that it is one. */
#define PATH_OF_SOCKET "./w.sock"

void path_begin_run(void);

/* The operator removes what was in the way. */
void path_clear(void);

/* Whoever had bound it is gone: its file stays. */
void path_begin_life(void);

/* Another process does what an event says. */
void path_touch(const struct event *event);

/* An address was bound; returns the errno. Nothing is done unless it is the path. */
int path_bind(const struct sockaddr *address, size_t listener);

/* It is listened on: nobody else may connect there. */
void path_check_listened(size_t listener);

/* Whether this listener is the path's, or the file of it is left. */
bool path_is_at(size_t listener);
bool path_is_left(void);

#endif
