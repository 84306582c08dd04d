/*
 * Serving one client after another: lines to requests, requests to their handlers,
 * replies to the socket, a batch at a time. Nothing is sent before what it rests on is
 * committed. Never waits: the server does.
 */
#ifndef KV_SESSION_H
#define KV_SESSION_H

#include "conn.h"
#include "store.h"

struct session;

struct session_options {
    uint64_t value_bytes_max;
    uint64_t idle_ms; /* how long an idle client may keep others waiting */
};

/* store: borrowed. KV_NO_MEMORY.  Release with session_destroy. */
enum status session_create(const struct session_options *options, struct store *store,
                           struct session **session_out);
void session_destroy(struct session *session);

/*
 * Begin with a client's socket, which is taken over; end by closing it.
 *
 * linger_ms_max: how long unread input may be waited for, when the server closes first.
 */
void session_begin(struct session *session, int fd);
void session_end(struct session *session, uint64_t linger_ms_max);

enum session_state {
    SESSION_READY,   /* there is more to do: run again */
    SESSION_WAITING, /* for the socket: see session_wanted_events */
    SESSION_OVER     /* everything is delivered, or the client is gone */
};

/*
 * Execute every whole line that has arrived, commit, send what the socket takes, and
 * receive what has come.
 *
 * KV_FATAL: the log failed; nothing more may be sent.
 */
enum status session_run(struct session *session, enum session_state *state_out);

/* Whether a reply is being sent from the log, so that nothing in it may move. */
bool session_is_streaming(const struct session *session);

/* What to poll for: the socket, and POLLIN and POLLOUT as they apply. */
int session_fd(const struct session *session);
short session_wanted_events(const struct session *session);

/* When the last command was executed, on the clock of clock_now_ms. */
uint64_t session_last_command_ms(const struct session *session);

/*
 * When the client loses its turn, on the clock of clock_now_ms: for taking nothing of
 * the replies due to it, or, if others wait, for completing no command.
 */
uint64_t session_stall_deadline_ms(const struct session *session);
uint64_t session_idle_deadline_ms(const struct session *session);

/* Execute nothing more; deliver what is due, and last the error line for a reason. */
void session_stop(struct session *session, enum status reason);

#endif
