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

/* A part taken apart and put together again, as saving and loading do with it. */
static enum status copy_part(struct index *copy, const struct index *index, size_t part)
{
    size_t slot = 0;
    size_t next = 0;
    struct index_entry entry;
    size_t count = index_part_count(index, part);
    enum status status = count == 0 ? KV_OK : index_begin_part(copy, part, count);
    for (size_t i = 0; status == KV_OK && i < count; i++) {
        assert_true(index_next_entry(index, part, &slot, &entry));
        status = index_append(copy, part, &next, &entry);
    }
    assert_true(status != KV_OK || !index_next_entry(index, part, &slot, &entry));
    return status;
}

enum status entries_copy(struct index *copy, const struct index *index)
{
    enum status status = KV_OK;
    for (size_t part = 0; status == KV_OK && part < INDEX_PART_COUNT; part++) {
        status = copy_part(copy, index, part);
    }
    return status;
}
