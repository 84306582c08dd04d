#include "support/entries.h"

#include "support/unit.h"

struct index *entries_create(void)
{
    struct index *index = NULL;
    assert_int_equal(index_create(&index), KV_OK);
    return index;
}

void entries_insert(struct index *index, uint64_t hash, struct location location)
{
    assert_int_equal(index_reserve(index, hash), KV_OK);
    index_insert(index, hash, &location);
}

uint64_t entries_count(const struct index *index)
{
    uint64_t count = 0;
    uint64_t position = 0;
    struct location location;
    while (index_walk(index, &position, &location)) {
        count++;
    }
    return count;
}
