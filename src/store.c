/*
 * The engine's face, and the order of the durable steps.
 *
 * A change is reserved (may fail), staged in the log's buffer and noted in the index
 * (cannot fail). store_commit then goes: one write, one sync, publish. The commit point
 * is the sync; before it, every change can be taken back, after it none.
 */
#include "store.h"

#include "clock.h"
#include "files.h"
#include "keydir.h"
#include "recover.h"

#include <assert.h>
#include <stdlib.h>

/* What the list of staged changes keeps between batches. */
#define CHANGES_KEPT 4096

struct store {
    struct store_options options;
    struct files *files;
    struct keydir keydir;
    struct recovery recovery;
    struct change *changes; /* staged, in order */
    size_t change_count;
    size_t change_capacity;
    uint64_t unsynced_since_ms; /* CLOCK_NEVER: everything is durable */
    uint64_t rest_due_ms; /* when the last batch gets its second seal; CLOCK_NEVER */
    uint64_t commit_count;
    bool has_failed; /* after KV_FATAL nothing touches the log any more */
};

enum status store_open(const struct store_options *options, struct store **store_out)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return KV_NO_MEMORY;
    }
    store->options = *options;
    store->unsynced_since_ms = CLOCK_NEVER;
    enum status status = files_open(options->path, &store->files);
    if (status == KV_OK) {
        status = recover_open(store->files, &store->keydir, &store->recovery);
    }
    if (status != KV_OK) {
        files_close(store->files);
        free(store);
        return status;
    }
    /* The last batch before a crash may lack its second seal. */
    store->rest_due_ms =
        store->recovery.is_at_rest ? CLOCK_NEVER : clock_now_ms() + REST_SEAL_MS;
    *store_out = store;
    return KV_OK;
}

static void drop_changes(struct store *store)
{
    store->change_count = 0;
    if (store->change_capacity > CHANGES_KEPT) {
        free(store->changes);
        store->changes = NULL;
        store->change_capacity = 0;
    }
}

/* Take back everything staged, last change first. */
static void roll_back(struct store *store)
{
    while (store->change_count > 0) {
        keydir_revert(&store->keydir, &store->changes[--store->change_count]);
    }
    drop_changes(store);
    log_unstage(store->keydir.log);
}

static void publish(struct store *store)
{
    for (size_t i = 0; i < store->change_count; i++) {
        keydir_settle(&store->keydir, &store->changes[i]);
    }
    drop_changes(store);
}

/* A fatal failure is for ever: nobody may build on a log whose state is unknown. */
static enum status note_failure(struct store *store, enum status status)
{
    store->has_failed = store->has_failed || status == KV_FATAL;
    return status;
}

/* Follow the last batch by another seal, which says that the batch is durable. */
static enum status rest(struct store *store)
{
    struct log *log = store->keydir.log;
    store->rest_due_ms = CLOCK_NEVER;
    enum status status = store_sync(store);
    if (status == KV_OK) {
        status = note_failure(store, log_write(log));
        log_unstage(log);
    }
    return status == KV_OK ? store_sync(store) : status;
}

enum status store_close(struct store *store)
{
    if (store == NULL) {
        return KV_OK;
    }
    roll_back(store);
    bool is_at_rest = store->rest_due_ms == CLOCK_NEVER || store->has_failed;
    enum status status = is_at_rest ? KV_OK : rest(store);
    enum status close_status = log_close(store->keydir.log);
    keydir_destroy(&store->keydir);
    files_close(store->files);
    free(store->changes);
    free(store);
    /* A full disk only means that the last batch has one seal. */
    return status == KV_OK || status == KV_NO_SPACE ? close_status : status;
}

static enum status find(struct store *store, struct slice key,
                        struct location *location_out)
{
    uint64_t hash = keydir_hash(&store->keydir, key);
    enum status status = keydir_find(&store->keydir, hash, key, location_out);
    return status == KV_OK && location_out->is_tombstone ? KV_NOT_FOUND : status;
}

enum status store_get(struct store *store, struct slice key, struct slice *value_out)
{
    struct location location;
    enum status status = find(store, key, &location);
    return status == KV_NOT_FOUND ? status
                                  : keydir_read(&store->keydir, &location, value_out);
}

enum status store_exists(struct store *store, struct slice key)
{
    struct location location;
    return find(store, key, &location);
}

static enum status reserve_change(struct store *store)
{
    if (store->change_count < store->change_capacity) {
        return KV_OK;
    }
    size_t capacity = store->change_capacity == 0 ? 64 : store->change_capacity * 2;
    struct change *changes = realloc(store->changes, capacity * sizeof *changes);
    if (changes == NULL) {
        return KV_NO_MEMORY;
    }
    store->changes = changes;
    store->change_capacity = capacity;
    return KV_OK;
}

static enum status reserve(struct store *store, uint64_t hash, struct slice key,
                           struct slice value)
{
    enum status status = reserve_change(store);
    if (status == KV_OK) {
        status = keydir_reserve(&store->keydir, hash);
    }
    return status == KV_OK ? log_reserve(store->keydir.log, key.length, value.length)
                           : status;
}

/* Stage a record for a change whose `before` was found; room was reserved. */
static void stage(struct store *store, struct change *change, struct slice key,
                  struct slice value)
{
    struct log *log = store->keydir.log;
    struct record record = {key, value, record_length(key.length, value.length)};
    uint64_t offset = log_stage(log, key, value);
    change->now = keydir_locate(log_record(log, offset, record.length), &record, offset);
    store->changes[store->change_count++] = *change;
    keydir_apply(&store->keydir, change);
}

/*
 * A damaged record under this hash is taken for the key's own: with a hash this long
 * it is, and replacing it is how a client mends it.
 */
static bool has_entry(enum status find_status)
{
    return find_status != KV_NOT_FOUND;
}

enum status store_set(struct store *store, struct slice key, struct slice value)
{
    struct change change = {.hash = keydir_hash(&store->keydir, key)};
    change.had_before =
        has_entry(keydir_find(&store->keydir, change.hash, key, &change.before));
    enum status status = reserve(store, change.hash, key, value);
    if (status == KV_OK) {
        stage(store, &change, key, value);
    }
    return status;
}

enum status store_delete(struct store *store, struct slice key)
{
    struct change change = {.hash = keydir_hash(&store->keydir, key)};
    change.had_before =
        has_entry(keydir_find(&store->keydir, change.hash, key, &change.before));
    if (!change.had_before || change.before.is_tombstone) {
        return KV_NOT_FOUND;
    }
    enum status status = reserve(store, change.hash, key, record_tombstone_value());
    if (status == KV_OK) {
        stage(store, &change, key, record_tombstone_value());
    }
    return status;
}

uint64_t store_staged_bytes(const struct store *store)
{
    return log_staged_bytes(store->keydir.log);
}

enum status store_commit(struct store *store)
{
    if (store->change_count == 0) {
        return KV_OK;
    }
    if (store->has_failed) {
        return KV_FATAL;
    }
    struct log *log = store->keydir.log;
    enum status status = note_failure(store, log_write(log)); /* the batch and its seal */
    if (status == KV_FATAL) {
        return status;
    }
    if (status != KV_OK) {
        roll_back(store);
        return status;
    }
    if (store->options.sync == SYNC_ALWAYS) {
        status = note_failure(store, log_sync(log)); /* the commit point */
        if (status != KV_OK) {
            return status;
        }
    }
    publish(store);
    uint64_t now_ms = clock_now_ms();
    if (store->options.sync == SYNC_EVERYSEC && store->unsynced_since_ms == CLOCK_NEVER) {
        store->unsynced_since_ms = now_ms;
    }
    store->rest_due_ms = now_ms + REST_SEAL_MS;
    store->commit_count++;
    return KV_OK;
}

enum status store_sync(struct store *store)
{
    store->unsynced_since_ms = CLOCK_NEVER;
    return store->has_failed ? KV_FATAL
                             : note_failure(store, log_sync(store->keydir.log));
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

static uint64_t sync_due_ms(const struct store *store)
{
    return store->unsynced_since_ms == CLOCK_NEVER
               ? CLOCK_NEVER
               : store->unsynced_since_ms + SYNC_LAG_MS_MAX;
}

uint64_t store_due_ms(const struct store *store)
{
    uint64_t sync_ms = sync_due_ms(store);
    return sync_ms < store->rest_due_ms ? sync_ms : store->rest_due_ms;
}

enum status store_maintain(struct store *store)
{
    assert(store->change_count == 0);
    uint64_t now_ms = clock_now_ms();
    enum status status = KV_OK;
    if (store->rest_due_ms <= now_ms) {
        status = rest(store);
    } else if (sync_due_ms(store) <= now_ms) {
        status = store_sync(store);
    }
    if (status == KV_FATAL) {
        return status;
    }
    if (status != KV_OK) {
        store->rest_due_ms = now_ms + REST_SEAL_MS; /* no room for a seal: try again */
    }
    return KV_OK;
}

struct store_stats store_stats(const struct store *store)
{
    uint64_t log_bytes =
        log_length(store->keydir.log) + log_staged_bytes(store->keydir.log);
    return (struct store_stats){
        .keys = store->keydir.key_count,
        .log_bytes = log_bytes,
        .live_bytes = store->keydir.live_bytes,
        .dead_bytes = log_bytes - store->keydir.live_bytes,
        .index_bytes = index_bytes(store->keydir.index),
        .commits = store->commit_count,
        .recovered_bytes = store->recovery.scanned_bytes,
        .recovery_ms = store->recovery.elapsed_ms,
    };
}
