/*
 * Rounds over a group: prefetch the slots of all keys, read them, prefetch all records.
 *
 * Prefetching is a loop of its own each time. A page that is not in the TLB takes a walk
 * through tables in memory; the processor makes several such walks at once, but only for
 * addresses that stand close together in the program.
 *
 * Where the log does not fit into memory, the disk is asked for the records of all keys
 * before the first is read: it serves many at once several times faster than in turn.
 * Where everything is in memory asking would cost more than the work itself; so groups
 * are watched, many at a time since that has a price too, and if the disk was read during
 * them, it is asked during the next.
 */
#include "engine/lookup.h"

enum { WATCHED_GROUPS = 16 };

void lookup_begin(const struct keydir *keydir, struct slice key,
                  struct lookup *lookup_out)
{
    lookup_out->key = key;
    lookup_out->hash = keydir_hash(keydir, key);
    lookup_out->is_fetched = false;
}

/*
 * The records are wanted from the disk: of large values, which may not be wanted at all,
 * only the key.
 */
static void ask_disk(const struct keydir *keydir, const struct lookup *lookups,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct location *candidate = &lookups[i].candidate;
        if (!location_is_nowhere(candidate)) {
            bool is_large = candidate->value_length >= READ_AHEAD_BYTES_MIN;
            keydir_will_read(keydir, candidate,
                             record_length(candidate->key_length,
                                           is_large ? 0 : candidate->value_length));
        }
    }
}

/* The groups before this one have been used; learn from them, now and then. */
static void watch_groups(struct lookup_watch *watch)
{
    if (++watch->group_count == WATCHED_GROUPS) {
        watch->group_count = 0;
        watch->has_waited = waits_end(&watch->disk);
        waits_begin(&watch->disk);
    }
}

void lookup_fetch(struct lookup_watch *watch, const struct keydir *keydir,
                  struct lookup *lookups, size_t count)
{
    if (count == 0) {
        return;
    }
    watch_groups(watch);
    for (size_t i = 0; i < count; i++) {
        index_prefetch(keydir->index, lookups[i].hash);
    }
    for (size_t i = 0; i < count; i++) {
        struct lookup *lookup = &lookups[i];
        lookup->version = index_version(keydir->index, lookup->hash);
        keydir_find_candidate(keydir, lookup->hash, &lookup->candidate);
        lookup->is_fetched = true;
    }
    if (watch->has_waited) {
        ask_disk(keydir, lookups, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!location_is_nowhere(&lookups[i].candidate)) {
            keydir_prefetch_record(keydir, &lookups[i].candidate);
        }
    }
}

enum status lookup_find(const struct lookup *lookup, const struct keydir *keydir,
                        struct location *location_out)
{
    *location_out = (struct location){0};
    if (lookup->is_fetched &&
        lookup->version == index_version(keydir->index, lookup->hash)) {
        if (location_is_nowhere(&lookup->candidate)) {
            return KV_NOT_FOUND;
        }
        if (slice_equal(keydir_key(keydir, &lookup->candidate), lookup->key)) {
            *location_out = lookup->candidate;
            return KV_OK;
        }
    }
    return keydir_find(keydir, lookup->hash, lookup->key, location_out);
}
