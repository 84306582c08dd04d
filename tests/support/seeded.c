#include "support/seeded.h"

void seeded_set(struct seeded *seeded, size_t key, uint64_t seed, size_t length)
{
    seeded->count += seeded->values[key].is_stored ? 0 : 1;
    seeded->values[key].is_stored = true;
    seeded->values[key].seed = seed;
    seeded->values[key].length = length;
}

void seeded_delete(struct seeded *seeded, size_t key)
{
    seeded->count -= seeded->values[key].is_stored ? 1 : 0;
    seeded->values[key].is_stored = false;
}
