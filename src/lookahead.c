/*
 * Rounds over a group: ask for the slots of all keys, read them, ask for all records.
 *
 * Asking is a loop of its own each time. An address whose page is not in the processor's
 * cache of them has to be found in tables in memory first; it waits for several such at
 * once, but only for as many as stand close together in the program.
 */
#include "lookahead.h"

#include <assert.h>

void lookahead_begin(struct lookahead *lookahead, const struct keydir *keydir,
                     const struct slice *keys, size_t count)
{
    struct expected *expected = lookahead->expected;
    assert(count <= EXPECTED_KEYS_MAX);
    lookahead->count = count;
    lookahead->next = 0;
    memset(lookahead->written, 0, sizeof lookahead->written);
    for (size_t i = 0; i < count; i++) {
        expected[i].key = keys[i];
        expected[i].hash = keydir_hash(keydir, keys[i]);
    }
    for (size_t i = 0; i < count; i++) {
        index_prefetch(keydir->index, expected[i].hash);
    }
    for (size_t i = 0; i < count; i++) {
        expected[i].candidate = keydir_find_candidate(keydir, expected[i].hash);
    }
    for (size_t i = 0; i < count; i++) {
        if (!location_is_nowhere(&expected[i].candidate)) {
            keydir_prefetch_record(keydir, &expected[i].candidate);
        }
    }
}

/* The bit of a hash in `written`: other bits of it than those that number its slot. */
static size_t bit_of(uint64_t hash)
{
    return (size_t)(hash >> 32) % LOOKAHEAD_BITS;
}

void lookahead_note_written(struct lookahead *lookahead, uint64_t hash)
{
    size_t bit = bit_of(hash);
    lookahead->written[bit / LOOKAHEAD_WORD_BITS] |= UINT64_C(1)
                                                     << bit % LOOKAHEAD_WORD_BITS;
}

static bool may_be_written(const struct lookahead *lookahead, uint64_t hash)
{
    size_t bit = bit_of(hash);
    uint64_t word = lookahead->written[bit / LOOKAHEAD_WORD_BITS];
    return (word >> bit % LOOKAHEAD_WORD_BITS & 1) != 0;
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
    const struct expected *expected = take_expected(lookahead, key);
    found_out->hash = expected == NULL ? keydir_hash(keydir, key) : expected->hash;
    if (expected != NULL && !may_be_written(lookahead, expected->hash)) {
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
