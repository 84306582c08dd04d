/*
 * The handler of each command: where requests meet the store and outcomes become
 * replies. Knows no connection; what it appends is sent by the session once the batch
 * is committed.
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
};

/* What handlers work on. */
struct commands {
    struct store *store;
    struct replies *replies;
    struct counters counters;
    enum status refusal; /* unless KV_OK, what every write answers */
    bool wants_sync;     /* a SYNC is among the commands of the batch */
    uint64_t started_ms; /* for STATS */
};

/*
 * Execute one request and append its reply, or begin a long one.
 *
 * lookup: of the request's key; unused for a command that has none.
 * The replies have room.
 * false: nothing was done; the request wants a store with nothing staged.
 */
bool commands_execute(struct commands *commands, const struct request *request,
                      const struct lookup *lookup);

#endif
