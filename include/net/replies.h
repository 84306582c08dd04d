/*
 * The replies to one client that are on their way: those that are held, in the order of
 * their requests, and behind them at most one that is too long to be made at once. That
 * is a large value, sent from the log without a copy, or a walk through the store: its
 * keys, alone or with their values.
 *
 * A long reply begins when nothing is staged; until it is over the store must not be
 * changed, so that what it comes from stays where it is.
 */
#ifndef KV_REPLIES_H
#define KV_REPLIES_H

#include "engine/store.h"
#include "net/conn.h"
#include "net/protocol.h"

#include <stdbool.h>

enum long_reply { LONG_NONE, LONG_VALUE, LONG_WALK };

struct replies {
    struct conn *conn;          /* borrowed */
    const struct store *store;  /* borrowed */
    struct buffer held;         /* in the order of their requests */
    size_t sent;                /* bytes at its front that the client has taken */
    enum long_reply long_reply; /* the last one, if it is not over */
    struct slice value;         /* LONG_VALUE: what is left of it; then an LF is due */
    bool is_cut_off;            /* the rest of it cannot be read any more */
    struct {
        bool is_unfinished;   /* also while a large value in it is being sent */
        enum verb verb;       /* KEYS or LIST */
        uint64_t position;    /* of the walk through the store */
        struct buffer prefix; /* which keys are wanted */
        enum status failure;  /* of LIST: why something was left out */
    } walk;
};

/*
 * Make one that serves one client after another.
 *
 * conn, store: borrowed until replies_destroy.
 * KV_NO_MEMORY: there is nothing to destroy.
 */
enum status replies_init(struct replies *replies, struct conn *conn,
                         const struct store *store);
void replies_destroy(struct replies *replies);

/*
 * The client is gone: forget what was not sent, and give memory back that only large
 * replies needed.
 */
void replies_drop(struct replies *replies);

/* Where replies are appended that have no call of their own here. */
struct buffer *replies_held(struct replies *replies);

/*
 * Whether another request may be answered now: no long reply is unfinished, and there is
 * room for REPLY_LINE_BYTES_MAX bytes, which is reserved.
 */
bool replies_have_room(struct replies *replies);

/* As protocol_put_status, behind what is held; room for a line was reserved. */
void replies_put_status(struct replies *replies, enum status status, enum verb verb);

/*
 * Append a value and its LF, copied. KV_NO_MEMORY, KV_IO: nothing was appended; it was
 * there when it was looked up, but cannot be read any more.
 */
enum status replies_put_value(struct replies *replies, struct slice value);

/*
 * Begin a long reply behind those that are held. None may be unfinished, and the store
 * must stay as it is until this one is over.
 *
 * value: from store_get; borrowed until then.  verb: KEYS or LIST.  prefix: copied.
 * KV_NO_MEMORY: not begun.
 */
void replies_begin_value(struct replies *replies, struct slice value);
enum status replies_begin_walk(struct replies *replies, enum verb verb,
                               struct slice prefix);

/* Whether a long reply is unfinished. */
bool replies_are_unfinished(const struct replies *replies);

/* Whether anything is to be sent before the session can go on or end. */
bool replies_are_due(const struct replies *replies);

/* Whether the client has bytes to take; a walk that is going on has none. */
bool replies_await_client(const struct replies *replies);

/*
 * Make more of a long reply, for a bounded time: of a walk a piece, or all that may be
 * held, if input waits.
 *
 * Returns whether more can be made at once, though nothing is sent.
 */
bool replies_make_more(struct replies *replies);

/*
 * Send once what is held, and behind it a large value, straight from the log.
 *
 * CONN_DONE: all there is.  CONN_BLOCKED, CONN_LOST: as for conn_send.  CONN_LOST also if
 * the rest of a large value cannot be read, of which the client has taken a part.
 */
enum conn_result replies_send(struct replies *replies);

#endif
