/*
 * Reserve, stage, write, sync, publish: the order of durable steps is here.
 */
#include "engine/transaction.h"

#include "base/clock.h"
#include "base/diag.h"

#include <assert.h>
#include <inttypes.h>

/* What the list of changes keeps between batches. */
#define CHANGES_BYTES_KEPT (256 * KIB)

static const struct change *changes_of(const struct transaction *transaction)
{
    return (const void *)transaction->changes.bytes;
}

static size_t count_of(const struct transaction *transaction)
{
    return transaction->changes.length / sizeof(struct change);
}

static void drop_changes(struct transaction *transaction)
{
    transaction->changes.length = 0;
    buffer_trim(&transaction->changes, CHANGES_BYTES_KEPT);
}

enum status transaction_copy(struct transaction *transaction, struct change found,
                             struct slice key, struct slice value)
{
    struct keydir *keydir = transaction->keydir;
    struct log *log = keydir_log(keydir);
    enum status status = buffer_reserve(&transaction->changes, sizeof found);
    if (status == KV_OK && location_is_nowhere(&found.before)) {
        status = index_reserve(keydir->index, found.hash);
    }
    if (status == KV_OK) {
        status = log_reserve(log, key.length, value.length);
    }
    if (status != KV_OK) {
        return status;
    }
    struct record record = {key, value, record_length(key.length, value.length)};
    found.now = keydir_locate(keydir, &record, log_stage(log, key, value));
    keydir_apply(keydir, &found);
    buffer_append(&transaction->changes,
                  (struct slice){(const void *)&found, sizeof found});
    return KV_OK;
}

/* A disk that is nearly full has room and none by turns: once a minute at most. */
static void tell_full(struct transaction *transaction)
{
    const struct log *log = keydir_log(transaction->keydir);
    if (clock_is_due(&transaction->told_full_ms, LOG_MESSAGE_MS)) {
        diag_warnx("%s: the disk is nearly full at offset %" PRIu64
                   "; values are refused, what is left is for deletions and a compaction",
                   log_path(log), log_length(log));
    }
}

enum status transaction_put(struct transaction *transaction, struct change found,
                            struct slice key, struct slice value)
{
    struct record record = {key, value, record_length(key.length, value.length)};
    bool is_deletion = record_is_tombstone(&record);
    uint64_t bytes =
        record.length + SEAL_BYTES + (is_deletion ? 0 : transaction->copied_bytes);
    bool has_room =
        log_has_room(keydir_log(transaction->keydir), bytes,
                     is_deletion ? ROOM_KEPT_FOR_COMPACT_BYTES : ROOM_KEPT_BYTES);
    if (!has_room) {
        tell_full(transaction);
    }
    if (!is_deletion) {
        transaction->is_full = !has_room;
    }
    return has_room ? transaction_copy(transaction, found, key, value) : KV_NO_SPACE;
}

static void publish(struct transaction *transaction)
{
    const struct change *changes = changes_of(transaction);
    size_t count = count_of(transaction);
    for (size_t i = 0; i < count; i++) {
        keydir_settle(transaction->keydir, &changes[i]);
    }
    drop_changes(transaction);
}

enum status transaction_commit(struct transaction *transaction)
{
    struct log *log = keydir_log(transaction->keydir);
    enum status status = log_write(log); /* the records and their seal */
    if (status == KV_FATAL) {
        return status;
    }
    if (status != KV_OK) {
        transaction_abort(transaction);
        return status;
    }
    if (transaction->is_durable) {
        status = log_sync(log); /* the commit point */
        if (status != KV_OK) {
            return status;
        }
    } else {
        log_begin_sync(log);
    }
    publish(transaction);
    return KV_OK;
}

void transaction_abort(struct transaction *transaction)
{
    for (size_t i = count_of(transaction); i > 0; i--) {
        keydir_revert(transaction->keydir, &changes_of(transaction)[i - 1]);
    }
    drop_changes(transaction);
    log_unstage(keydir_log(transaction->keydir));
}

void transaction_destroy(struct transaction *transaction)
{
    assert(transaction->changes.length == 0);
    buffer_free(&transaction->changes);
}
