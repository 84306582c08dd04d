/*
 * How large a part of the index is: homes, one for each range of hashes; spare slots
 * behind the last home; chunks that hold both. Arithmetic alone.
 */
#ifndef KV_PART_SIZE_H
#define KV_PART_SIZE_H

#include "engine/chunks.h"
#include "engine/slot.h"

#include <stddef.h>

/* Parts of an index are numbered below this. */
#define PARTS_MAX 512

#define CHUNK_SLOTS (CHUNK_BYTES / sizeof(struct slot))

/* A part holds at most 17/20 of its homes. */
#define LOAD_NUMERATOR   17
#define LOAD_DENOMINATOR 20

struct part_size {
    uint64_t home_count;
    uint64_t slot_count;
    uint64_t chunk_count;
};

/* Where an entry stands, or behind it. */
static inline size_t part_size_home(uint64_t home_count, uint32_t hash)
{
    return (size_t)(hash * home_count >> SLOT_HASH_BITS);
}

/* More entries than these want more homes. */
static inline uint64_t part_size_entries_max(uint64_t home_count)
{
    return home_count * LOAD_NUMERATOR / LOAD_DENOMINATOR;
}

/*
 * The next size of a part: a quarter more, rounded up or down by the number of the part.
 * Parts of one size would all grow within a few batches of a client; so rounded, their
 * sizes are soon spread over all between two sizes of one part.
 */
struct part_size part_size_beyond(struct part_size size, size_t part_number);

/* The least size in that order that has room for so many entries. */
struct part_size part_size_with_room(struct part_size size, size_t part_number,
                                     uint64_t entry_count);

/* For a part that is filled from an image: up to a quarter more than it needs, so that
 * parts are spread. */
struct part_size part_size_to_fill(size_t part_number, size_t entry_count);

/* The size for what a part has left; that it has if it needs more than half of it. */
struct part_size part_size_shrunk(struct part_size size, uint64_t entry_count);

#endif
