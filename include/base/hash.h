/*
 * The seeded hash of keys: SipHash-1-3 (Aumasson and Bernstein, 2012, with one round
 * a block and three at the end), so that a client who cannot see the seed cannot
 * choose keys that collide.
 */
#ifndef KV_HASH_H
#define KV_HASH_H

#include "base/slice.h"

struct hash_seed {
    uint64_t words[2]; /* random for each start of the server */
};

uint64_t hash_key(const struct hash_seed *seed, struct slice key);

#endif
