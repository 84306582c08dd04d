/*
 * The handler of each command: where requests meet the store and outcomes become
 * replies. Knows no connection; what it appends is sent by the session once the batch
 * is committed.
 */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "buffer.h"
#include "protocol.h"
#include "store.h"

#include <stdbool.h>

/* Counted over all clients, for STATS. */
struct counters {
    uint64_t commands;
    uint64_t gets;
    uint64_t sets;
    uint64_t deletes;
    uint64_t connections;
};

/*
 * A reply that is not made at once: a large value, sent from the log without a copy, or
 * the list of keys. It begins when nothing is staged; until it is over the store must
 * not be changed, so that what it comes from stays where it is.
 */
enum stream_kind { STREAM_NONE, STREAM_VALUE, STREAM_KEYS };

struct stream {
    enum stream_kind kind;
    struct slice value;   /* STREAM_VALUE: what is left of it; then an LF is due */
    uint64_t position;    /* STREAM_KEYS: of the walk through the store */
    struct buffer prefix; /* STREAM_KEYS: which keys are wanted */
};

/* What handlers work on. */
struct commands {
    struct store *store;
    struct buffer *replies;
    struct counters counters;
    struct stream stream;
    enum status refusal; /* unless KV_OK, what every write answers */
    bool wants_sync;     /* a SYNC is among the commands of the batch */
    uint64_t started_ms; /* for STATS */
};

/*
 * Execute one request and append its reply, or begin a stream.
 *
 * lookup: of the request's key; unused for a command that has none.
 * REPLY_LINE_BYTES_MAX bytes of room in the replies were reserved.
 * false: nothing was done; the request wants a store with nothing staged.
 */
bool commands_execute(struct commands *commands, const struct request *request,
                      const struct lookup *lookup);

/*
 * Append the next keys of a stream to the replies, as far as `bytes_max` more bytes,
 * memory and a slice of bounded work allow, or the rest of a value, if all of it is
 * allowed. The stream becomes STREAM_NONE when all of it is there.
 *
 * Returns whether only the slice has ended, so that more can be made at once.
 */
bool commands_continue_stream(struct commands *commands, size_t bytes_max);

#endif
