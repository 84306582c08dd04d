/*
 * Entries wait in a list for each part of the index. The order of records of one key is
 * kept, since one key is always in one part.
 */
#include "engine/load.h"

#include "base/progress.h"
#include "file/waits.h"

#include <stdlib.h>

/* All lists together fit a processor's own cache. */
enum { WAITING_MAX = 64 };

/* A record that is to be put in. */
struct waiting {
    uint64_t hash;
    struct location location;
};

struct list {
    uint32_t count;
    struct waiting entries[WAITING_MAX];
};

struct load {
    struct keydir *keydir;
    struct load_counts *counts;
    uint64_t start;        /* of the log that is loaded; an image has what is before */
    bool has_read_batches; /* to verify them; else what comes next is yet to be read */
    bool is_random;        /* the log is read so at present */
    struct waits waits;
    bool has_waited; /* for the disk: the last list that had earlier records */
    struct list lists[INDEX_PART_COUNT];
};

/*
 * Whether an earlier record that is damaged, or cannot be read, may be replaced as it may
 * be while serving: what the image leads to is not verified by a start. Anything else
 * was, a moment ago.
 */
static bool is_of_image(const struct load *load, const struct location *earlier)
{
    return !keydir_is_older(load->keydir, earlier) && earlier->offset < load->start;
}

static enum status put(struct load *load, const struct waiting *waiting)
{
    struct keydir *keydir = load->keydir;
    struct change change = {.hash = waiting->hash, .now = waiting->location};
    enum status status =
        keydir_find(keydir, change.hash, keydir_key(keydir, &change.now), &change.before);
    if (status != KV_OK && status != KV_NOT_FOUND) {
        if (!is_of_image(load, &change.before)) {
            return status;
        }
        load->counts->replaced_unseen++;
    }
    if (change.now.is_tombstone && location_is_nowhere(&change.before)) {
        return KV_OK;
    }
    status = index_reserve(keydir->index, change.hash);
    if (status == KV_OK) {
        keydir_apply(keydir, &change);
        keydir_settle(keydir, &change);
    }
    return status;
}

/* The log is read from end to end, but for the earlier records of keys. */
static void read_at_random(struct load *load, bool is_random)
{
    if (load->is_random != is_random) {
        keydir_read_at_random(load->keydir, is_random);
        load->is_random = is_random;
    }
}

/*
 * Whether some entry of a list may have an earlier record. The keys of all of them are
 * going to be compared: they are prefetched, and if they have to come from the disk, it
 * is asked for all at once.
 */
static bool has_earlier(const struct load *load, const struct list *list)
{
    bool has_one = false;
    for (uint32_t i = 0; i < list->count; i++) {
        struct location earlier;
        keydir_find_candidate(load->keydir, list->entries[i].hash, &earlier);
        if (location_is_nowhere(&earlier)) {
            continue;
        }
        has_one = true;
        keydir_prefetch_key(load->keydir, &earlier);
        keydir_prefetch_key(load->keydir, &list->entries[i].location);
        if (load->has_waited) {
            keydir_will_read(load->keydir, &earlier,
                             record_length(earlier.key_length, 0));
        }
    }
    return has_one;
}

static enum status put_list(struct load *load, struct list *list)
{
    struct keydir *keydir = load->keydir;
    enum status status = KV_OK;
    for (uint32_t i = 0; i < list->count; i++) {
        index_prefetch(keydir->index, list->entries[i].hash);
    }
    bool has_random = has_earlier(load, list);
    if (has_random) {
        waits_begin(&load->waits);
        read_at_random(load, true);
    }
    for (uint32_t i = 0; status == KV_OK && i < list->count; i++) {
        status = put(load, &list->entries[i]);
    }
    if (has_random) {
        load->has_waited = waits_end(&load->waits);
    }
    list->count = 0;
    return status;
}

/* Have a record wait for its part, which is put in when its list is full. */
static enum status take_record(struct load *load, const struct record_walk *walk)
{
    const struct record *record = &walk->record;
    if (record_is_mark(record)) {
        load->counts->marks++;
        return KV_OK;
    }
    enum status status = KV_OK;
    uint64_t hash = keydir_hash(load->keydir, record->key);
    struct list *list = &load->lists[index_part_of(hash)];
    list->entries[list->count++] =
        (struct waiting){hash, keydir_locate(load->keydir, record, walk->offset)};
    if (list->count == WAITING_MAX) {
        status = put_list(load, list);
        read_at_random(load, load->is_random && load->has_read_batches);
    }
    load->counts->records++;
    progress_at(walk->offset);
    return status;
}

static enum status take_batch(struct load *load, const struct batch *batch)
{
    enum status status = KV_OK;
    struct record_walk walk = record_walk_begin(batch->records, batch->offset);
    while (status == KV_OK && record_next(&walk)) {
        status = take_record(load, &walk);
    }
    read_at_random(load, false);
    return status;
}

enum status load_log(struct keydir *keydir, struct scan *scan, struct load_counts *counts)
{
    struct batch batch;
    enum status status = KV_OK;
    struct load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return KV_NO_MEMORY;
    }
    load->keydir = keydir;
    load->counts = counts;
    load->start = scan->offset;
    load->has_read_batches = !scan->is_unmarked;
    log_begin_progress(keydir_log(keydir), "reading", scan->log.length);
    while (status == KV_OK && scan_next(scan, &batch)) {
        status = take_batch(load, &batch);
        counts->seals += scan->is_unmarked ? 0 : 1;
    }
    for (size_t i = 0; status == KV_OK && i < INDEX_PART_COUNT; i++) {
        status = put_list(load, &load->lists[i]);
    }
    read_at_random(load, false);
    progress_end();
    free(load);
    return status;
}
