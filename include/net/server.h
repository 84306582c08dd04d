/*
 * The daemon: the listening sockets, one client at a time, and the waits.
 */
#ifndef KV_SERVER_H
#define KV_SERVER_H

#include "net/listener.h"
#include "net/session.h"

struct server_options {
    struct listener_options listener;
    struct session_options session;
};

/*
 * Listen on what is bound, say that the server is ready, to the operator and to a service
 * manager that asked, and serve until a stop signal (base/stop.h, which is told to note
 * them). A second SIGINT ends the process at once. SIGPIPE must be ignored.
 *
 * listener: from listener_bind with the same options; closed by the caller.
 * store: borrowed for the call; nothing is staged in it afterwards, save for KV_FATAL.
 * KV_OK: stopped; everything acknowledged is as durable as the policy promises.
 * KV_IO, KV_NO_MEMORY: it could not begin.  KV_FATAL: the log failed.  All are reported.
 */
enum status server_run(const struct server_options *options, struct listener *listener,
                       struct store *store);

#endif
