/*
 * Rounds over a group: ask for the slots of all keys, read them, ask for all records.
 *
 * Asking is a loop of its own each time. An address whose page is not in the processor's
 * cache of them has to be found in tables in memory first; it waits for several such at
 * once, but only for as many as stand close together in the program.
 *
 * Where the log does not fit into memory, the disk is asked for the records of all keys
 * before the first is read: it serves many at once several times faster than in turn.
 * Where everything is in memory asking would cost more than the work itself; so groups
 * are watched, many at a time since that has a price too, and if the disk was read during
 * them, it is asked during the next.
 */
#include "lookahead.h"

#include <assert.h>

enum { WATCHED_GROUPS = 16 };

/*
 * The records are wanted from the disk: of large values, which may not be wanted at all,
 * only the key.
 */
static void ask_disk(const struct lookahead *lookahead, const struct keydir *keydir)
{
    for (size_t i = 0; i < lookahead->count; i++) {
        const struct location *candidate = &lookahead->expected[i].candidate;
        if (!location_is_nowhere(candidate)) {
            bool is_large = candidate->value_length >= READ_AHEAD_BYTES_MIN;
            keydir_will_read(keydir, candidate,
                             record_length(candidate->key_length,
                                           is_large ? 0 : candidate->value_length));
        }
    }
}

void lookahead_end(struct lookahead *lookahead)
{
    lookahead->count = 0;
    lookahead->next = 0;
    lookahead->is_fetched = false;
}

/* The hash is worked out here, where the processor does it beside what the caller does.
 */
void lookahead_add(struct lookahead *lookahead, const struct keydir *keydir,
                   struct slice key)
{
    if (lookahead->is_fetched || lookahead->count == EXPECTED_KEYS_MAX) {
        lookahead_end(lookahead);
    }
    struct expected *expected = &lookahead->expected[lookahead->count++];
    expected->key = key;
    expected->hash = keydir_hash(keydir, key);
}

/* The groups before this one have been used; learn from them, now and then. */
static void watch_groups(struct lookahead *lookahead)
{
    if (++lookahead->watched_groups == WATCHED_GROUPS) {
        lookahead->watched_groups = 0;
        lookahead->has_waited = mapping_watch_end(&lookahead->watch);
        mapping_watch_begin(&lookahead->watch);
    }
}

static void fetch(struct lookahead *lookahead, const struct keydir *keydir)
{
    struct expected *expected = lookahead->expected;
    watch_groups(lookahead);
    for (size_t i = 0; i < lookahead->count; i++) {
        index_prefetch(keydir->index, expected[i].hash);
    }
    for (size_t i = 0; i < lookahead->count; i++) {
        expected[i].version = index_version(keydir->index, expected[i].hash);
        expected[i].candidate = keydir_find_candidate(keydir, expected[i].hash);
    }
    if (lookahead->has_waited) {
        ask_disk(lookahead, keydir);
    }
    for (size_t i = 0; i < lookahead->count; i++) {
        if (!location_is_nowhere(&expected[i].candidate)) {
            keydir_prefetch_record(keydir, &expected[i].candidate);
        }
    }
    lookahead->is_fetched = true;
}

/* What was announced about a key whose turn it is, or NULL. */
static const struct expected *take_expected(struct lookahead *lookahead, struct slice key)
{
    const struct expected *expected = &lookahead->expected[lookahead->next];
    if (lookahead->next == lookahead->count || expected->key.bytes != key.bytes ||
        expected->key.length != key.length) {
        return NULL;
    }
    lookahead->next++;
    return expected;
}

enum status lookahead_find(struct lookahead *lookahead, const struct keydir *keydir,
                           struct slice key, struct change *found_out)
{
    if (!lookahead->is_fetched && lookahead->count > 0) {
        fetch(lookahead, keydir);
    }
    const struct expected *expected = take_expected(lookahead, key);
    found_out->hash = expected == NULL ? keydir_hash(keydir, key) : expected->hash;
    if (expected != NULL &&
        expected->version == index_version(keydir->index, expected->hash)) {
        if (location_is_nowhere(&expected->candidate)) {
            return KV_NOT_FOUND;
        }
        if (slice_equal(keydir_key(keydir, &expected->candidate), key)) {
            found_out->before = expected->candidate;
            return KV_OK;
        }
    }
    return keydir_find(keydir, found_out->hash, key, &found_out->before);
}
