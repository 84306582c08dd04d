/*
 * The handler of each command: where requests meet the store and outcomes become
 * replies. Knows no connection and no line; what it appends is sent by the session once
 * the batch is committed.
 *
 * A batch goes: commands_begin_batch, commands_execute for each line, commands_commit.
 */
#ifndef KV_COMMANDS_H
#define KV_COMMANDS_H

#include "net/protocol.h"
#include "net/replies.h"

#include <stdbool.h>

/* Counted over all clients, for STATS. */
struct counters {
    uint64_t commands;
    uint64_t gets;
    uint64_t sets;
    uint64_t deletes;
    uint64_t connections;
    uint64_t refused; /* batches with a write that the machine refused */
};

/* What the server counts, and says when it knows. */
struct crowd {
    uint64_t evicted; /* idle too long, or silent longest in a full lobby */
    uint64_t dropped; /* took no replies, or were cut off */
    uint64_t waiting; /* for their turn, when last looked */
};

/* What handlers work on. */
struct commands {
    struct store *store;     /* borrowed */
    struct replies *replies; /* borrowed */
    uint64_t started_ms;     /* for STATS */
    struct counters counters;
    struct crowd crowd;

    /* Of the batch that is being executed. */
    enum status refusal; /* unless KV_OK, what every write answers */
    bool wants_sync;     /* a SYNC is among its commands */
    struct counters counters_before;
    size_t held_before; /* bytes of replies */
};

/* One that has counted nothing. It owns nothing that would have to be released. */
void commands_init(struct commands *commands, struct store *store,
                   struct replies *replies);

/* Count a client, for STATS. */
void commands_note_client(struct commands *commands);

/* Nothing may be staged. */
void commands_begin_batch(struct commands *commands);

/*
 * Execute one line and append its reply, or begin a long one. QUIT has none.
 *
 * refusal: KV_OK, or why the line is none that can be executed, which is its reply.
 * lookup: of the request's key; unused for a command that has none.
 * The replies have room.
 * false: nothing was done; the request wants a store with nothing staged.
 */
bool commands_execute(struct commands *commands, const struct request *request,
                      enum status refusal, const struct lookup *lookup);

/*
 * Commit the batch, and sync everything if a SYNC is in it.
 *
 * KV_OK: the replies may be sent.  KV_FATAL: they must not be, the log has failed.
 * Anything else: refused. Store, replies and counters are as when the batch began. The
 * same lines are to be executed once more, without a beginning, and committed: writes
 * then answer with the refusal, and nothing is staged.
 */
enum status commands_commit(struct commands *commands);

#endif
