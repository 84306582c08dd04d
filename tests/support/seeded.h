/*
 * What a store must hold, as an array by the numbers of its keys: a value, which may be
 * long, is told by its seed and its length alone.
 */
#ifndef KV_SUPPORT_SEEDED_H
#define KV_SUPPORT_SEEDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEEDED_KEYS = 64 };

struct seeded {
    struct {
        bool is_stored;
        uint64_t seed;
        size_t length;
    } values[SEEDED_KEYS];
    size_t count;
};

void seeded_set(struct seeded *seeded, size_t key, uint64_t seed, size_t length);
void seeded_delete(struct seeded *seeded, size_t key);

#endif
