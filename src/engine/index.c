/*
 * Many small tables ("parts"), so that one that grows holds nobody up: the top bits of a
 * hash choose the part.
 */
#include "engine/index.h"

#include "engine/part.h"
#include "engine/part_size.h"

#include <assert.h>
#include <stdlib.h>

static_assert(INDEX_PART_COUNT <= PARTS_MAX, "parts have numbers below that");

struct index {
    struct part parts[INDEX_PART_COUNT];
    struct chunks chunks;
    uint64_t removal_count;
};

static struct part *part_of(struct index *index, uint64_t hash)
{
    return &index->parts[index_part_of(hash)];
}

static const struct part *look_at_part(const struct index *index, uint64_t hash)
{
    return &index->parts[index_part_of(hash)];
}

enum status index_create(struct index **index_out)
{
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        return KV_NO_MEMORY;
    }
    for (uint32_t i = 0; i < INDEX_PART_COUNT; i++) {
        part_init(&index->parts[i], &index->chunks, i);
    }
    *index_out = index;
    return KV_OK;
}

void index_destroy(struct index *index)
{
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; i < INDEX_PART_COUNT; i++) {
        part_destroy(&index->parts[i]);
    }
    chunks_destroy(&index->chunks);
    free(index);
}

enum status index_reserve(struct index *index, uint64_t hash)
{
    return part_reserve(part_of(index, hash), hash);
}

void index_prefetch(const struct index *index, uint64_t hash)
{
    part_prefetch(look_at_part(index, hash), hash);
}

uint32_t index_version(const struct index *index, uint64_t hash)
{
    return look_at_part(index, hash)->version;
}

struct index_cursor index_find(const struct index *index, uint64_t hash)
{
    return (struct index_cursor){hash, part_home(look_at_part(index, hash), hash)};
}

bool index_next(struct index_cursor *cursor, const struct index *index,
                struct location *location_out)
{
    return part_next(look_at_part(index, cursor->hash), cursor->hash, &cursor->slot,
                     location_out);
}

void index_insert(struct index *index, uint64_t hash, const struct location *location)
{
    part_insert(part_of(index, hash), hash, location);
}

bool index_get(const struct index *index, uint64_t hash, struct location *location)
{
    return part_get(look_at_part(index, hash), hash, location);
}

bool index_replace(struct index *index, uint64_t hash, const struct location *from,
                   const struct location *to)
{
    return part_replace(part_of(index, hash), hash, from, to);
}

bool index_remove(struct index *index, uint64_t hash, const struct location *from)
{
    bool was_there = part_remove(part_of(index, hash), hash, from);
    index->removal_count += was_there ? 1 : 0;
    return was_there;
}

uint64_t index_removal_count(const struct index *index)
{
    return index->removal_count;
}

uint64_t index_bytes(const struct index *index)
{
    uint64_t table_bytes = index->chunks.count * sizeof(struct chunk *);
    return sizeof *index + table_bytes + index->chunks.count * sizeof(struct chunk);
}

/* A position is the part in the upper half and the next slot in the lower. */
bool index_walk(const struct index *index, uint64_t *position,
                struct location *location_out)
{
    struct index_entry entry;
    size_t part_number = (size_t)(*position >> 32);
    size_t slot = (size_t)(*position & UINT32_MAX);
    for (; part_number < INDEX_PART_COUNT; part_number++, slot = 0) {
        if (part_visit(&index->parts[part_number], &slot, &entry)) {
            *location_out = entry.location;
            *position = (uint64_t)part_number << 32 | slot;
            return true;
        }
    }
    *position = (uint64_t)INDEX_PART_COUNT << 32;
    return false;
}

bool index_walk_matches(const struct index *index, uint64_t position, uint64_t hash)
{
    size_t part_number = (size_t)(position >> 32);
    size_t next = (size_t)(position & UINT32_MAX);
    assert(part_number < INDEX_PART_COUNT && next > 0);
    return index_part_of(hash) == part_number &&
           part_hash_at(&index->parts[part_number], next - 1) ==
               (hash & INDEX_ENTRY_HASH_MAX);
}

size_t index_part_count(const struct index *index, size_t part_number)
{
    return index->parts[part_number].entry_count;
}

bool index_next_entry(const struct index *index, size_t part_number, size_t *slot,
                      struct index_entry *entry_out)
{
    return part_visit(&index->parts[part_number], slot, entry_out);
}

enum status index_begin_part(struct index *index, size_t part_number, size_t count)
{
    return part_begin(&index->parts[part_number], count);
}

enum status index_append(struct index *index, size_t part_number, size_t *next,
                         const struct index_entry *entry)
{
    return part_append(&index->parts[part_number], next, entry);
}

enum status index_merge(struct index *index, size_t part_number,
                        const struct slot *entries, size_t count)
{
    return part_merge(&index->parts[part_number], entries, count);
}
