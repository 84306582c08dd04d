/*
 * A batch of changes that becomes durable as a whole, or not at all.
 *
 * A change is reserved (may fail), staged in the log's buffer and noted in the key
 * directory (cannot fail), where it can be read at once. Committing goes: one write of
 * the records and their seal, one sync, publish. The commit point is the sync; before it
 * everything can be taken back, after it nothing.
 */
#ifndef KV_TRANSACTION_H
#define KV_TRANSACTION_H

#include "engine/keydir.h"

/* A fresh one has no changes. */
struct transaction {
    struct keydir *keydir; /* borrowed */
    bool is_durable;       /* a commit returns when the disk has it */
    struct buffer changes; /* of the type struct change, in their order */
    uint64_t copied_bytes; /* what copying will take yet, which is not for values */
    bool is_full;          /* the last value was refused for want of room */
    uint64_t told_full_ms; /* when that was told; 0: never */
};

/*
 * Stage a record that gives a key its value, or deletes it. A value must leave the room
 * that is kept for deletions, which must leave what a compaction needs to begin.
 *
 * found: the key's hash and, if it has an entry, where; `now` is filled in here.
 * key, value: borrowed for the call.
 * KV_NO_MEMORY, KV_NO_SPACE (the log is at its limit, or there is no room): nothing
 * changed.
 */
enum status transaction_put(struct transaction *transaction, struct change found,
                            struct slice key, struct slice value);

/* The same for a copy of a record that is live already: nothing is kept back from it. */
enum status transaction_copy(struct transaction *transaction, struct change found,
                             struct slice key, struct slice value);

/*
 * Write what is staged and a seal, sync it if it is to be durable, and publish. With
 * nothing staged that is a seal alone.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: everything was taken back, the log is as before.
 * KV_FATAL: nobody knows what the disk has; no more may be done.
 */
enum status transaction_commit(struct transaction *transaction);

/* Take back everything staged. */
void transaction_abort(struct transaction *transaction);

/* Release its memory; nothing may be staged. */
void transaction_destroy(struct transaction *transaction);

#endif
