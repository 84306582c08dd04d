/*
 * Telling the service manager, as sd_notify(3) does: a datagram to the socket that the
 * environment names in NOTIFY_SOCKET, and nothing where it names none.
 *
 * Whatever goes wrong is one warning, after which the variable is gone and nothing more
 * is told. No call waits for more than NOTIFY_WAIT_S_MAX.
 */
#ifndef KV_NOTIFY_H
#define KV_NOTIFY_H

/* Clients are served from now on. */
void notify_ready(void);

/* A clean stop has begun, the last thing to tell: the variable is gone afterwards. */
void notify_stopping(void);

#endif
