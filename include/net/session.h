/*
 * Serving clients: lines to requests, requests to their handlers, replies to the socket,
 * a batch at a time. Nothing is sent before what it rests on is committed. Never waits:
 * the server does.
 *
 * There is one session at a time, so there is one struct session: it is made once and
 * lent to one client after another, from session_begin to session_end. Its buffers and
 * its counters outlive them; nothing else of a client does.
 */
#ifndef KV_SESSION_H
#define KV_SESSION_H

#include "engine/store.h"
#include "net/conn.h"

#include <poll.h>

struct session;
struct crowd; /* in net/commands.h */

struct session_options {
    uint64_t value_bytes_max;
    uint64_t idle_ms; /* how long an idle client may keep others waiting */
};

/*
 * Make one without a client.
 *
 * store: borrowed until session_destroy.
 * session_out: written only on KV_OK; release with session_destroy, after session_end.
 * KV_NO_MEMORY: for a line with a value of that length, too.
 */
enum status session_create(const struct session_options *options, struct store *store,
                           struct session **session_out);
void session_destroy(struct session *session);

/*
 * Begin with a client's socket, which is taken over and must not block; end by closing
 * it. In between nobody else may use the store, but for store_due_ms and store_maintain.
 */
void session_begin(struct session *session, int fd);
void session_end(struct session *session);

enum session_state {
    SESSION_READY,   /* there is more to do: run again */
    SESSION_WAITING, /* for the socket: see session_wait */
    SESSION_OVER     /* everything is delivered, or the client is gone */
};

/* Whether the client has sent something, without which its turn has not begun. */
bool session_has_begun(const struct session *session);

/* In place of session_end, for one that has sent nothing: its socket is the caller's. */
int session_give_back(struct session *session);

/*
 * Receive what has come, execute every whole line, commit, and send what the socket
 * takes. When it returns nothing is staged.
 *
 * state_out: written only on KV_OK.
 * KV_FATAL: the log failed; nothing more may be sent. What else fails is answered.
 */
enum status session_run(struct session *session, enum session_state *state_out);

/* What the client leaves to the store's maintenance between two runs. */
enum leisure session_leisure(const struct session *session);

/* What a session that is SESSION_WAITING waits for; times are those of clock_now_ms. */
struct session_wait {
    struct pollfd socket;
    uint64_t idle_ms; /* from then on it may not keep others waiting */
};

struct session_wait session_wait(const struct session *session);

/*
 * The client has not used its turn, and another waits. One that takes no replies is
 * lost, and session_end resets it; one that sends nothing is stopped as by session_stop.
 *
 * Returns whether it is lost.
 */
bool session_send_away(struct session *session);

/*
 * Execute nothing more; deliver what is due, and last the error line for a reason. Run it
 * until it is SESSION_OVER.
 *
 * reason: KV_OK: there is no line. It is left out as well if there is no room for it.
 */
void session_stop(struct session *session, enum status reason);

/*
 * Where the server closes first: wait for the client, which is read but not answered any
 * more, to close too, until a moment of clock_now_ms. Whether it may still do so; may be
 * called again.
 */
bool session_linger(struct session *session, uint64_t until_ms);

/* Whether the client is alive and misses replies, so that it must not see an end like
 * any other: session_end resets its connection. */
bool session_is_cut(const struct session *session);

/* What the server counts of clients, for STATS; its to write. */
struct crowd *session_crowd(struct session *session);

#endif
