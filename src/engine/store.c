/*
 * The engine's face: finds what a request needs and stages it in a transaction.
 */
#include "engine/store.h"

#include "base/diag.h"
#include "engine/recover.h"

#include <assert.h>
#include <stdlib.h>

struct store {
    struct store_options options;
    struct files *files;
    struct keydir keydir;
    struct recovery recovery;
    struct lookup_watch lookup_watch;
    struct transaction transaction;
    struct upkeep upkeep;
    uint64_t commit_count;
};

/* Begin to serve what was recovered. */
static void begin(struct store *store)
{
    keydir_read_at_random(&store->keydir, true);
    store->transaction = (struct transaction){
        .keydir = &store->keydir,
        .is_durable = store->options.sync == SYNC_ALWAYS,
    };
    upkeep_init(&store->upkeep, store->files, &store->transaction, &store->recovery);
    if (store->options.image_pace.piece_bytes_max != 0) {
        store->upkeep.image.pace = store->options.image_pace;
    }
}

enum status store_open(const struct store_options *options, struct store **store_out)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        diag_error("%s: not enough memory for a store; giving up", options->path);
        return KV_NO_MEMORY;
    }
    store->options = *options;
    enum status status = files_open(options->path, &store->files);
    if (status == KV_OK) {
        status = recover_open(store->files, &store->keydir, &store->recovery);
    }
    if (status == KV_OK) {
        begin(store);
        *store_out = store;
        return KV_OK;
    }
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s: not enough memory to open it; giving up", options->path);
    }
    files_close(store->files);
    free(store);
    return status == KV_FATAL ? KV_IO : status; /* nothing is served yet */
}

enum status store_close(struct store *store)
{
    if (store == NULL) {
        return KV_OK;
    }
    transaction_abort(&store->transaction);
    transaction_destroy(&store->transaction);
    enum status status = upkeep_end(&store->upkeep);
    enum status close_status = keydir_close(&store->keydir);
    files_close(store->files);
    free(store);
    /* A full disk only means that the last batch has one seal. */
    return status == KV_OK || status == KV_NO_SPACE ? close_status : status;
}

void store_begin_lookup(const struct store *store, struct slice key,
                        struct lookup *lookup_out)
{
    lookup_begin(&store->keydir, key, lookup_out);
}

void store_fetch(struct store *store, struct lookup *lookups, size_t count)
{
    lookup_fetch(&store->lookup_watch, &store->keydir, lookups, count);
}

static enum status find(const struct store *store, const struct lookup *lookup,
                        struct location *location_out)
{
    enum status status = lookup_find(lookup, &store->keydir, location_out);
    if (status != KV_OK && status != KV_NOT_FOUND) {
        return keydir_tell(&store->keydir, location_out, status);
    }
    return status == KV_OK && location_out->is_tombstone ? KV_NOT_FOUND : status;
}

enum status store_get(const struct store *store, const struct lookup *lookup,
                      struct slice *value_out)
{
    struct location location;
    enum status status = find(store, lookup, &location);
    /* What could not be compared is not looked at again: it may be another's. */
    return status == KV_OK ? keydir_read(&store->keydir, &location, value_out) : status;
}

uint64_t store_fault_count(const struct store *store)
{
    const struct log *older = keydir_older_log(&store->keydir);
    return log_fault_count(keydir_log(&store->keydir)) +
           (older == NULL ? 0 : log_fault_count(older));
}

enum status store_exists(const struct store *store, const struct lookup *lookup)
{
    struct location location;
    return find(store, lookup, &location);
}

/*
 * The entry that a write of this key replaces. A damaged record is taken for the key's
 * own if hash and length of its key are the same: with a hash this long it is, and
 * replacing it is how a client mends it; at worst a value that was lost is forgotten. One
 * that cannot be read for the moment may be another's that nobody has lost: KV_IO, until
 * it counts as lost.
 */
static enum status find_replaced(const struct store *store, const struct lookup *lookup,
                                 struct change *found_out)
{
    *found_out = (struct change){.hash = lookup->hash};
    enum status status = lookup_find(lookup, &store->keydir, &found_out->before);
    bool may_be_another =
        status == KV_IO &&
        !keydir_has_given_up(&store->keydir, &found_out->before, READ_RETRY_MS_MAX);
    return may_be_another ? keydir_tell(&store->keydir, &found_out->before, status)
                          : KV_OK;
}

enum status store_set(struct store *store, const struct lookup *lookup,
                      struct slice value)
{
    struct change found;
    enum status status = find_replaced(store, lookup, &found);
    return status == KV_OK
               ? transaction_put(&store->transaction, found, lookup->key, value)
               : status;
}

enum status store_delete(struct store *store, const struct lookup *lookup)
{
    struct change found;
    enum status status = find_replaced(store, lookup, &found);
    if (status == KV_OK &&
        (location_is_nowhere(&found.before) || found.before.is_tombstone)) {
        status = KV_NOT_FOUND;
    }
    return status == KV_OK ? transaction_put(&store->transaction, found, lookup->key,
                                             record_tombstone_value())
                           : status;
}

uint64_t store_staged_bytes(const struct store *store)
{
    return log_staged_bytes(keydir_log(&store->keydir));
}

enum status store_commit(struct store *store)
{
    if (store_staged_bytes(store) == 0) {
        return store->upkeep.has_failed ? KV_FATAL : KV_OK;
    }
    enum status status = upkeep_commit(&store->upkeep);
    store->commit_count += status == KV_OK ? 1 : 0;
    return status;
}

enum status store_sync(struct store *store)
{
    return upkeep_sync(&store->upkeep);
}

uint64_t store_count(const struct store *store)
{
    return store->keydir.key_count;
}

enum status store_walk(const struct store *store, uint64_t *position,
                       struct slice *key_out)
{
    return keydir_walk(&store->keydir, position, key_out);
}

enum status store_compact(struct store *store)
{
    assert(store_staged_bytes(store) == 0);
    return upkeep_compact(&store->upkeep);
}

uint64_t store_due_ms(const struct store *store, enum leisure leisure)
{
    return upkeep_due_ms(&store->upkeep, leisure);
}

enum status store_maintain(struct store *store, enum leisure leisure)
{
    assert(store_staged_bytes(store) == 0);
    return upkeep_run(&store->upkeep, leisure);
}

struct store_stats store_stats(const struct store *store)
{
    const struct log *older = keydir_older_log(&store->keydir);
    uint64_t log_bytes = log_length(keydir_log(&store->keydir)) +
                         store_staged_bytes(store) +
                         (older == NULL ? 0 : log_length(older));
    uint64_t live_bytes = store->keydir.live_bytes;
    return (struct store_stats){
        .keys = store->keydir.key_count,
        .log_bytes = log_bytes,
        .live_bytes = live_bytes,
        .dead_bytes = log_bytes - live_bytes,
        .reserve_bytes = log_ahead_bytes(keydir_log(&store->keydir)),
        .index_bytes = index_bytes(store->keydir.index),
        .commits = store->commit_count,
        .compactions = store->upkeep.compaction.finished_count,
        .compaction_percent = compact_percent(&store->upkeep.compaction),
        .recovered_bytes = store->recovery.scanned_bytes,
        .recovery_ms = store->recovery.elapsed_ms,
        .sync = store->options.sync,
    };
}
