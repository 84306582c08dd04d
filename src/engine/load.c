/*
 * Entries wait in a list for each part of the index, and are taken in the order of their
 * hashes, which is that of the part: its memory is gone through from front to back, as no
 * processor has to wait for. What is new to the index is put in all at once. The order of
 * records of one key is kept: one key is always in one part, equal hashes keep theirs.
 */
#include "engine/load.h"

#include "base/bounds.h"
#include "base/progress.h"
#include "engine/slot.h"
#include "file/waits.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/*
 * Of a long log so many wait for each part that there is one for every few entries of a
 * part of some million keys, if records are as short as some are; of any log a group,
 * which is looked up together.
 */
enum { WAITING_MAX = 2048, GROUP_MAX = 64, RECORD_BYTES = 32 };

/* By the first bits of a hash within a part; buckets of a list have one entry on average.
 */
enum { BUCKET_BITS = 11, BUCKET_COUNT = 1 << BUCKET_BITS, BUCKETS_WORTH = 64 };

/* Between lists, so that the ends of all do not share few lines of a cache. */
enum { GAP_SLOTS = 4 };

/* A list in the order of hashes; what is left of it while it is put in. */
struct sorted {
    size_t part;
    size_t count;
    size_t new_count; /* at its beginning: what the index has nothing of */
    uint16_t ends[BUCKET_COUNT];
    struct slot entries[WAITING_MAX];
};

struct load {
    struct keydir *keydir;
    struct load_counts *counts;
    uint64_t start;        /* of the log that is loaded; an image has what is before */
    bool has_read_batches; /* to verify them; else what comes next is yet to be read */
    bool is_random;        /* the log is read so at present */
    uint64_t waited_ms;    /* for what could not be read; at most READ_RETRY_MS_MAX */
    struct waits waits;
    bool has_waited; /* for the disk: the last list that had earlier records */
    struct sorted sorted;
    size_t waiting_max;
    uint16_t list_counts[INDEX_PART_COUNT];
    struct slot *lists; /* one for each part: records that are to be put into it */
};

static struct slot *list_of(const struct load *load, size_t part)
{
    return load->lists + part * (load->waiting_max + GAP_SLOTS);
}

/* As much of the hash as the index asks for. */
static uint64_t hash_of(size_t part, const struct slot *slot)
{
    return (uint64_t)part << (64 - INDEX_PART_BITS) | slot_hash(slot);
}

/*
 * Whether an earlier record that is damaged, or cannot be read, may be replaced as it may
 * be while serving: what the image leads to is not verified by a start. Anything else
 * was, a moment ago.
 */
static bool is_of_image(const struct load *load, const struct location *earlier)
{
    return !keydir_is_older(load->keydir, earlier) && earlier->offset < load->start;
}

/*
 * The earlier record of a key, in change->before. One that cannot be read for the moment
 * may be another key's with the same hash, as while serving: it is waited for until it
 * can be, or counts as lost, which is KV_CORRUPT; but no start waits for longer in all.
 */
static enum status find_earlier(struct load *load, struct change *change)
{
    const struct keydir *keydir = load->keydir;
    for (;;) {
        enum status status = keydir_find(
            keydir, change->hash, keydir_key(keydir, &change->now), &change->before);
        if (status != KV_IO || !is_of_image(load, &change->before)) {
            return status;
        }
        uint64_t left_ms = READ_RETRY_MS_MAX - load->waited_ms;
        if (keydir_has_given_up(keydir, &change->before, left_ms)) {
            return KV_CORRUPT;
        }
        if (left_ms == 0) {
            return status;
        }
        (void)keydir_tell(keydir, &change->before, status);
        (void)poll(NULL, 0, (int)READ_RETRY_MS_MIN); /* a signal only makes it shorter */
        load->waited_ms += READ_RETRY_MS_MIN;
    }
}

static enum status put(struct load *load, uint64_t hash, const struct slot *slot)
{
    struct keydir *keydir = load->keydir;
    struct change change = {.hash = hash, .now = slot_decode(slot)};
    enum status status = find_earlier(load, &change);
    if (status != KV_OK && status != KV_NOT_FOUND) {
        if (status != KV_CORRUPT || !is_of_image(load, &change.before)) {
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

/* Whether another entry of the list has the same hash. */
static bool has_twin(const struct sorted *sorted, size_t i)
{
    const struct slot *entry = &sorted->entries[i];
    return (i > 0 && slot_hash(entry - 1) == slot_hash(entry)) ||
           (i + 1 < sorted->count && slot_hash(entry + 1) == slot_hash(entry));
}

/*
 * Look up some entries. The keys of those that may have an earlier record are going to be
 * compared: they are prefetched, and if they have to come from the disk, it is asked for
 * all at once.
 *
 * is_new_out: for each, whether neither index nor list has anything else of its hash.
 * Returns whether there may be earlier records.
 */
static bool look_up(const struct load *load, size_t first, size_t end,
                    bool is_new_out[GROUP_MAX])
{
    bool has_earlier = false;
    const struct sorted *sorted = &load->sorted;
    for (size_t i = first; i < end; i++) {
        index_prefetch(load->keydir->index, hash_of(sorted->part, &sorted->entries[i]));
    }
    for (size_t i = first; i < end; i++) {
        uint64_t hash = hash_of(sorted->part, &sorted->entries[i]);
        struct location earlier;
        keydir_find_candidate(load->keydir, hash, &earlier);
        is_new_out[i - first] = location_is_nowhere(&earlier) && !has_twin(sorted, i);
        if (location_is_nowhere(&earlier)) {
            continue;
        }
        struct location location = slot_decode(&sorted->entries[i]);
        has_earlier = true;
        keydir_prefetch_key(load->keydir, &earlier);
        keydir_prefetch_key(load->keydir, &location);
        if (load->has_waited) {
            keydir_will_read(load->keydir, &earlier,
                             record_length(earlier.key_length, 0));
        }
    }
    return has_earlier;
}

/* What is new is collected at the beginning of the list, the rest put in. */
static enum status put_group(struct load *load, size_t first, size_t end)
{
    assert(first < end);
    struct sorted *sorted = &load->sorted;
    enum status status = KV_OK;
    bool is_new[GROUP_MAX];
    bool has_earlier = look_up(load, first, end, is_new);
    if (has_earlier) {
        waits_begin(&load->waits);
        read_at_random(load, true);
    }
    for (size_t i = first; status == KV_OK && i < end; i++) {
        const struct slot *entry = &sorted->entries[i];
        if (!is_new[i - first]) {
            status = put(load, hash_of(sorted->part, entry), entry);
        } else if (!slot_is_tombstone(entry)) {
            sorted->entries[sorted->new_count++] = *entry;
        }
    }
    if (has_earlier) {
        load->has_waited = waits_end(&load->waits);
    }
    return status;
}

static size_t bucket_of(const struct slot *slot)
{
    return slot_hash(slot) >> (SLOT_HASH_BITS - BUCKET_BITS);
}

static void sort_by_bucket(struct sorted *sorted, const struct slot *entries)
{
    uint16_t *ends = sorted->ends;
    memset(ends, 0, sizeof sorted->ends);
    for (size_t i = 0; i < sorted->count; i++) {
        ends[bucket_of(&entries[i])]++;
    }
    for (size_t i = 1; i < BUCKET_COUNT; i++) {
        ends[i] = (uint16_t)(ends[i] + ends[i - 1]);
    }
    for (size_t i = sorted->count; i-- > 0;) {
        sorted->entries[--ends[bucket_of(&entries[i])]] = entries[i];
    }
}

/* Long lists by bucket first; little is left to do then. Equal hashes keep their order.
 */
static void sort(struct sorted *sorted, const struct slot *entries)
{
    struct slot *out = sorted->entries;
    if (sorted->count < BUCKETS_WORTH) {
        memcpy(out, entries, sorted->count * sizeof *entries);
    } else {
        sort_by_bucket(sorted, entries);
    }
    for (size_t i = 1; i < sorted->count; i++) {
        struct slot entry = out[i];
        size_t at = i;
        for (; at > 0 && slot_hash(&out[at - 1]) > slot_hash(&entry); at--) {
            out[at] = out[at - 1];
        }
        out[at] = entry;
    }
}

static enum status put_list(struct load *load, size_t part)
{
    enum status status = KV_OK;
    struct sorted *sorted = &load->sorted;
    sorted->part = part;
    sorted->count = load->list_counts[part];
    sorted->new_count = 0;
    sort(sorted, list_of(load, part));
    for (size_t at = 0; status == KV_OK && at < sorted->count; at += GROUP_MAX) {
        size_t left = sorted->count - at;
        status = put_group(load, at, at + (left < GROUP_MAX ? left : GROUP_MAX));
    }
    load->list_counts[part] = 0;
    return status == KV_OK && sorted->new_count > 0
               ? keydir_add(load->keydir, part, sorted->entries, sorted->new_count)
               : status;
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
    size_t part = index_part_of(hash);
    struct location location = keydir_locate(load->keydir, record, walk->offset);
    list_of(load, part)[load->list_counts[part]++] = slot_encode(hash, &location);
    if (load->list_counts[part] == load->waiting_max) {
        status = put_list(load, part);
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

static enum status load_all(struct load *load, struct scan *scan)
{
    struct batch batch;
    enum status status = KV_OK;
    while (status == KV_OK && scan_next(scan, &batch)) {
        status = take_batch(load, &batch);
        load->counts->seals += scan->is_unmarked ? 0 : 1;
    }
    for (size_t i = 0; status == KV_OK && i < INDEX_PART_COUNT; i++) {
        status = put_list(load, i);
    }
    read_at_random(load, false);
    return status;
}

static size_t waiting_max_for(uint64_t bytes)
{
    uint64_t count = bytes / RECORD_BYTES / INDEX_PART_COUNT;
    count = count < GROUP_MAX ? GROUP_MAX : count;
    return count < WAITING_MAX ? (size_t)count : WAITING_MAX;
}

enum status load_log(struct keydir *keydir, struct scan *scan, struct load_counts *counts)
{
    enum status status = KV_NO_MEMORY;
    size_t waiting_max = waiting_max_for(scan->log.length - scan->offset);
    struct load *load = calloc(1, sizeof *load);
    struct slot *lists =
        calloc((waiting_max + GAP_SLOTS) * INDEX_PART_COUNT, sizeof *lists);
    if (load != NULL && lists != NULL) {
        load->keydir = keydir;
        load->counts = counts;
        load->start = scan->offset;
        load->has_read_batches = !scan->is_unmarked;
        load->waiting_max = waiting_max;
        load->lists = lists;
        log_begin_progress(keydir_log(keydir), "reading", scan->log.length);
        status = load_all(load, scan);
        progress_end();
    }
    free(lists);
    free(load);
    return status;
}
