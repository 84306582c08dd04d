/*
 * The engine's face: finds what a request needs, stages it in a transaction, and keeps
 * the clock of what is due between commands.
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"
#include "engine/compact.h"
#include "engine/recover.h"
#include "engine/snapshot.h"
#include "engine/transaction.h"

#include <assert.h>
#include <stdlib.h>

/* When the next step of a compaction may be taken. */
struct pace {
    uint64_t earliest_us;   /* while commands are waiting */
    uint64_t retry_us;      /* after a failure; 0: none */
    uint64_t written_bytes; /* by commands since the last step */
};

struct store {
    struct store_options options;
    struct files *files;
    struct keydir keydir;
    struct recovery recovery;
    struct lookup_watch lookup_watch;
    struct transaction transaction;
    struct compaction compaction;
    struct pace pace;
    struct snapshot_writer *snapshot; /* being taken, or NULL */
    uint64_t snapshot_length; /* what it, or else PATH.index, covers; 0: there is none */
    bool wants_snapshot;  /* a compaction has ended since the last; there is one log */
    uint64_t sync_due_ms; /* CLOCK_NEVER: everything is durable */
    uint64_t rest_due_ms; /* when the last batch gets its second seal; CLOCK_NEVER */
    uint64_t look_due_ms; /* when the room on the disk is looked at again */
    uint64_t commit_count;
    bool has_failed; /* after KV_FATAL nothing touches the log any more */
};

/* Begin to serve what was recovered. */
static void begin(struct store *store)
{
    bool is_at_rest = store->recovery.is_at_rest; /* else a crash took the second seal */
    keydir_read_at_random(&store->keydir, true);
    store->transaction = (struct transaction){
        .keydir = &store->keydir,
        .is_durable = store->options.sync == SYNC_ALWAYS,
    };
    compact_init(&store->compaction, store->files, &store->transaction);
    store->snapshot_length = store->recovery.snapshot_length;
    store->sync_due_ms = CLOCK_NEVER;
    store->rest_due_ms = is_at_rest ? CLOCK_NEVER : clock_now_ms() + REST_SEAL_MS;
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

/* A fatal failure is for ever: nobody may build on a log whose state is unknown. */
static enum status note_failure(struct store *store, enum status status)
{
    if (status == KV_FATAL) {
        store->has_failed = true;
    }
    return status;
}

/* Follow the last batch by another seal, which says that the batch is durable. */
static enum status rest(struct store *store)
{
    if (store->rest_due_ms == CLOCK_NEVER) {
        return KV_OK;
    }
    enum status status = store_sync(store);
    log_look_again(keydir_log(&store->keydir));
    if (status == KV_OK) { /* of nothing, which makes a seal */
        status = note_failure(store, transaction_commit(&store->transaction));
    }
    if (status == KV_OK) {
        status = store_sync(store);
    }
    /* Without room for a seal it is tried again. */
    store->rest_due_ms = status == KV_OK ? CLOCK_NEVER : clock_now_ms() + REST_SEAL_MS;
    return status;
}

static void abort_snapshot(struct store *store)
{
    if (store->snapshot != NULL) {
        snapshot_abort(store->snapshot);
        store->snapshot = NULL;
        store->snapshot_length = 0;
    }
}

/* Put the snapshot in place, behind everything that its entries point at. */
static enum status finish_snapshot(struct store *store)
{
    struct snapshot_writer *writer = store->snapshot;
    enum status status = store_sync(store);
    if (status == KV_OK) {
        store->snapshot = NULL;
        if (snapshot_finish(writer) != KV_OK) {
            store->snapshot_length = 0;
        }
    }
    return status;
}

/* An image must leave the room that is kept for deletions, or be left out: it is a hint.
 */
static bool has_room_for_image(const struct store *store)
{
    struct io_space space = files_space(store->files, 0);
    uint64_t kept_bytes = files_kept(&space, ROOM_KEPT_BYTES);
    return space.free_bytes >= index_bytes(store->keydir.index) + kept_bytes;
}

/*
 * Begin a snapshot, write one part of it, or put it in place. It is a hint: one that
 * could not be saved was told, and harms nothing. KV_FATAL: as for a sync.
 */
static enum status advance_snapshot(struct store *store, bool is_synced)
{
    enum status status = KV_OK;
    if (store->snapshot == NULL && !has_room_for_image(store)) {
        store->wants_snapshot = false;
        return KV_OK;
    }
    if (store->snapshot == NULL) {
        status = snapshot_begin(store->files, &store->keydir, &store->snapshot);
        store->snapshot_length =
            status == KV_OK ? log_length(keydir_log(&store->keydir)) : 0;
    } else {
        status = snapshot_step(store->snapshot, is_synced);
    }
    store->wants_snapshot = status == KV_OK;
    if (status == KV_NOT_FOUND) {
        return finish_snapshot(store);
    }
    if (status != KV_OK) {
        abort_snapshot(store);
    }
    return KV_OK;
}

/* At the end the whole index is saved at once, unless what there is says it all. */
static void save_index(struct store *store)
{
    abort_snapshot(store);
    store->wants_snapshot =
        keydir_older_log(&store->keydir) == NULL &&
        store->snapshot_length != log_length(keydir_log(&store->keydir));
    while (store->wants_snapshot) {
        (void)advance_snapshot(store, false); /* told if it failed */
    }
}

enum status store_close(struct store *store)
{
    if (store == NULL) {
        return KV_OK;
    }
    transaction_abort(&store->transaction);
    transaction_destroy(&store->transaction);
    enum status status = store->has_failed ? KV_OK : rest(store);
    if (status == KV_OK && !store->has_failed) {
        save_index(store);
    }
    abort_snapshot(store);
    (void)log_close(keydir_older_log(&store->keydir)); /* it was durable all the time */
    enum status close_status = log_close(keydir_log(&store->keydir));
    keydir_destroy(&store->keydir);
    files_close(store->files);
    free(store);
    /* A full disk only means that the last batch has one seal. */
    return status == KV_OK || status == KV_NO_SPACE ? close_status : status;
}

struct lookup store_begin_lookup(const struct store *store, struct slice key)
{
    return lookup_begin(&store->keydir, key);
}

void store_fetch(struct store *store, struct lookup *lookups, size_t count)
{
    lookup_fetch(&store->lookup_watch, &store->keydir, lookups, count);
}

static enum status find(const struct store *store, const struct lookup *lookup,
                        struct location *location_out)
{
    enum status status = lookup_find(lookup, &store->keydir, location_out);
    return status == KV_OK && location_out->is_tombstone ? KV_NOT_FOUND : status;
}

enum status store_get(struct store *store, const struct lookup *lookup,
                      struct slice *value_out)
{
    struct location location;
    enum status status = find(store, lookup, &location);
    return status == KV_NOT_FOUND ? status
                                  : keydir_read(&store->keydir, &location, value_out);
}

enum status store_exists(struct store *store, const struct lookup *lookup)
{
    struct location location;
    return find(store, lookup, &location);
}

/*
 * The entry that a write of this key replaces. A damaged record under its hash is taken
 * for the key's own: with a hash this long it is, and replacing it is how a client mends
 * it.
 */
static struct change find_replaced(const struct store *store, const struct lookup *lookup)
{
    struct change found = {.hash = lookup->hash};
    (void)lookup_find(lookup, &store->keydir, &found.before);
    return found;
}

enum status store_set(struct store *store, const struct lookup *lookup,
                      struct slice value)
{
    return transaction_put(&store->transaction, find_replaced(store, lookup), lookup->key,
                           value);
}

enum status store_delete(struct store *store, const struct lookup *lookup)
{
    struct change found = find_replaced(store, lookup);
    if (location_is_nowhere(&found.before) || found.before.is_tombstone) {
        return KV_NOT_FOUND;
    }
    return transaction_put(&store->transaction, found, lookup->key,
                           record_tombstone_value());
}

uint64_t store_staged_bytes(const struct store *store)
{
    return log_staged_bytes(keydir_log(&store->keydir));
}

/* Something was written: it wants a sync, if it has none yet, and a second seal. */
static void note_written(struct store *store)
{
    uint64_t now_ms = clock_now_ms();
    if (now_ms >= store->look_due_ms) {
        log_look_again(keydir_log(&store->keydir));
        store->look_due_ms = now_ms + ROOM_LOOK_MS;
    }
    if (!store->transaction.is_durable && store->sync_due_ms == CLOCK_NEVER) {
        store->sync_due_ms = now_ms + SYNC_LAG_MS_MAX;
    }
    store->rest_due_ms = now_ms + REST_SEAL_MS;
}

/*
 * The batch replaced the last damaged record of the older log. No start would read that
 * log, so before the batch is answered it must not be wanted any more.
 */
static enum status end_mended(struct store *store)
{
    if (!compact_is_mended(&store->compaction)) {
        return KV_OK;
    }
    enum status status = note_failure(store, compact_step(&store->compaction));
    return status == KV_FATAL ? status : KV_OK; /* else it is tried again in time */
}

enum status store_commit(struct store *store)
{
    if (store->has_failed) {
        return KV_FATAL;
    }
    uint64_t staged_bytes = store_staged_bytes(store);
    if (staged_bytes == 0) {
        return KV_OK;
    }
    enum status status = note_failure(store, transaction_commit(&store->transaction));
    if (status == KV_OK) {
        store->pace.written_bytes += staged_bytes;
        store->commit_count++;
        note_written(store);
        status = end_mended(store);
    }
    return status;
}

enum status store_sync(struct store *store)
{
    store->sync_due_ms = CLOCK_NEVER;
    return store->has_failed ? KV_FATAL
                             : note_failure(store, log_sync(keydir_log(&store->keydir)));
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

static void drop_image(struct store *store)
{
    snapshot_remove(store->files);
    store->snapshot_length = 0;
    store->wants_snapshot = false;
}

/*
 * Begin with everything durable and followed by a seal. Where there is no room for that
 * one, the log that is made says as well how much of this one had been durable.
 */
static enum status begin_compaction(struct store *store)
{
    enum status status = rest(store);
    store->compaction.retry_ms = COMPACT_RETRY_MS;
    if (status != KV_OK && status != KV_NO_SPACE) {
        return status;
    }
    abort_snapshot(store); /* it is of a log that is about to end */
    status = compact_begin(&store->compaction);
    if (status == KV_NO_SPACE && store->snapshot_length > 0) {
        drop_image(store); /* a hint, which may hold just the room that is missing */
        status = compact_begin(&store->compaction);
    }
    status = note_failure(store, status);
    if (status == KV_OK) {
        drop_image(store);
    }
    store->pace = (struct pace){0};
    return status;
}

enum status store_compact(struct store *store)
{
    assert(store_staged_bytes(store) == 0);
    if (store->has_failed) {
        return KV_FATAL;
    }
    if (keydir_older_log(&store->keydir) == NULL) {
        return begin_compaction(store);
    }
    return compact_has_work(&store->compaction) ? KV_OK : KV_CORRUPT;
}

static enum status step_compaction(struct store *store)
{
    enum status status = note_failure(store, compact_step(&store->compaction));
    if (status == KV_OK) {
        note_written(store);
    }
    store->wants_snapshot = keydir_older_log(&store->keydir) == NULL;
    return status;
}

static enum status step_snapshot(struct store *store)
{
    return advance_snapshot(store, true);
}

typedef enum status step(struct store *store);

/* What there is to do besides syncs and seals, the most wanted first; or NULL. */
static step *next_step(const struct store *store, enum leisure leisure)
{
    bool is_long = log_length(keydir_log(&store->keydir)) >= SNAPSHOT_LOG_BYTES_MIN;
    if (leisure == LEISURE_NONE) {
        return NULL;
    }
    if (compact_has_work(&store->compaction)) {
        return step_compaction;
    }
    if (store->wants_snapshot && (is_long || leisure == LEISURE_ALL)) {
        return step_snapshot;
    }
    return compact_is_worthwhile(&store->compaction) ? begin_compaction : NULL;
}

/* When that may be done, in microseconds; CLOCK_NEVER: there is nothing. */
static uint64_t step_due_us(const struct store *store, enum leisure leisure)
{
    const struct pace *pace = &store->pace;
    if (next_step(store, leisure) == NULL) {
        return CLOCK_NEVER;
    }
    if (pace->retry_us != 0) {
        return pace->retry_us;
    }
    bool is_free = leisure == LEISURE_ALL || pace->written_bytes >= COMPACT_SLICE_BYTES;
    return is_free ? 0 : pace->earliest_us;
}

uint64_t store_due_ms(const struct store *store, enum leisure leisure)
{
    uint64_t step_us = step_due_us(store, leisure);
    uint64_t step_ms = step_us == CLOCK_NEVER ? CLOCK_NEVER : (step_us + 999) / 1000;
    return clock_earlier(step_ms, clock_earlier(store->sync_due_ms, store->rest_due_ms));
}

/* Do it, and set when the next may be done. */
static void take_step(struct store *store, step *next)
{
    uint64_t start_us = clock_now_us();
    enum status status = next(store);
    uint64_t end_us = clock_now_us();
    store->pace = (struct pace){
        .earliest_us = end_us + (end_us - start_us) * COMPACT_PAUSE_FACTOR,
        .retry_us = status == KV_OK ? 0 : end_us + store->compaction.retry_ms * 1000,
    };
}

enum status store_maintain(struct store *store, enum leisure leisure)
{
    assert(store_staged_bytes(store) == 0);
    uint64_t now_ms = clock_now_ms();
    if (!store->has_failed && store->sync_due_ms <= now_ms) {
        (void)store_sync(store); /* what fails here and below is noted in the store */
    }
    if (!store->has_failed && store->rest_due_ms <= now_ms) {
        (void)rest(store);
    }
    if (!store->has_failed && step_due_us(store, leisure) <= clock_now_us()) {
        take_step(store, next_step(store, leisure));
    }
    return store->has_failed ? KV_FATAL : KV_OK;
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
        .index_bytes = index_bytes(store->keydir.index),
        .commits = store->commit_count,
        .compactions = store->compaction.finished_count,
        .compaction_percent = compact_percent(&store->compaction),
        .recovered_bytes = store->recovery.scanned_bytes,
        .recovery_ms = store->recovery.elapsed_ms,
        .sync = store->options.sync,
    };
}
