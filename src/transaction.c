/*
 * Reserve, stage, write, sync, publish: the order of durable steps is here.
 */
#include "transaction.h"

#include <assert.h>
#include <stdlib.h>

/* What the list of changes starts with, and keeps between batches. */
enum { CHANGES_MIN = 64, CHANGES_KEPT = 4096 };

static enum status reserve_change(struct transaction *transaction)
{
    if (transaction->count < transaction->capacity) {
        return KV_OK;
    }
    size_t capacity =
        transaction->capacity == 0 ? CHANGES_MIN : transaction->capacity * 2;
    struct change *changes = realloc(transaction->changes, capacity * sizeof *changes);
    if (changes == NULL) {
        return KV_NO_MEMORY;
    }
    transaction->changes = changes;
    transaction->capacity = capacity;
    return KV_OK;
}

static void drop_changes(struct transaction *transaction)
{
    transaction->count = 0;
    if (transaction->capacity > CHANGES_KEPT) {
        transaction_destroy(transaction);
    }
}

enum status transaction_put(struct transaction *transaction, struct change found,
                            struct slice key, struct slice value)
{
    struct keydir *keydir = transaction->keydir;
    struct log *log = keydir_log(keydir);
    enum status status = reserve_change(transaction);
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
    transaction->changes[transaction->count++] = found;
    return KV_OK;
}

static void publish(struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++) {
        keydir_settle(transaction->keydir, &transaction->changes[i]);
    }
    drop_changes(transaction);
}

enum status transaction_commit(struct transaction *transaction, bool is_durable)
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
    if (is_durable) {
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
    while (transaction->count > 0) {
        keydir_revert(transaction->keydir, &transaction->changes[--transaction->count]);
    }
    drop_changes(transaction);
    log_unstage(keydir_log(transaction->keydir));
}

void transaction_destroy(struct transaction *transaction)
{
    assert(transaction->count == 0);
    free(transaction->changes);
    transaction->changes = NULL;
    transaction->capacity = 0;
}
