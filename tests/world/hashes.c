/*
 * wrap: hash_key
 *
 * The hash itself is the program's. To bring many keys into one part of the index, and
 * several to one hash, takes hundreds of thousands of keys, or this.
 */
#include "world/hashes.h"

#include "base/hash.h"
#include "engine/index.h"
#include "world/mappings.h"

#include <string.h>

enum { PART_SHIFT = 64 - INDEX_PART_BITS };

uint64_t __real_hash_key(const struct hash_seed *seed, struct slice key);
uint64_t __wrap_hash_key(const struct hash_seed *seed, struct slice key);

static uint64_t part_count; /* 0: all */
static uint64_t hash_count; /* likewise */

void hashes_begin_run(const struct serving *serving)
{
    part_count = serving->part_count;
    hash_count = serving->hash_count;
}

uint64_t __wrap_hash_key(const struct hash_seed *seed, struct slice key)
{
    uint64_t hash = __real_hash_key(seed, key);
    mappings_note_read(key);
    /* Zeros of what cannot be read are told from a key by their hash alone. */
    if (hash_count > 0 && memchr(key.bytes, 0, key.length) == NULL) {
        hash = (hash % hash_count + 1) * UINT64_C(0x9e3779b97f4a7c15);
    }
    if (part_count > 0) {
        uint64_t part = (hash >> PART_SHIFT) % part_count;
        hash = part << PART_SHIFT | (hash & ((UINT64_C(1) << PART_SHIFT) - 1));
    }
    return hash;
}
