/*
 * Where the server listens: making the socket, and telling the operator its address.
 */
#ifndef KV_LISTENER_H
#define KV_LISTENER_H

#include "base/status.h"

/*
 * Listen on the first address of that name that allows it.
 *
 * port: decimal; "0" lets the system choose.
 * fd_out: the caller's to close. It does not block; what is accepted from it has
 * TCP_NODELAY and keepalive. -1 unless KV_OK.
 * KV_IO: no such address, or none that can be listened on; reported.
 */
enum status listener_open(const char *address, const char *port, int *fd_out);

/* The line that means ready: with the real address and port, where the system tells. */
void listener_tell_ready(const char *address, const char *port, int listen_fd);

#endif
