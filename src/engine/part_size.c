/*
 * All that the chunks of a part have room for is used, but in a part of one chunk.
 */
#include "engine/part_size.h"

#include <assert.h>

#define GROWTH_DIVISOR   4
#define GROWTH_ROUNDINGS 16

/*
 * A part that needs less than half of its homes gets a quarter more than it needs: as
 * far from where it would grow as one that has grown, and from where it would shrink.
 */
#define SHRINK_DIVISOR 2

#define HOMES_MIN       8
#define SPARE_SLOTS_MAX 32

static_assert(CHUNK_SLOTS * sizeof(struct slot) == CHUNK_BYTES, "chunks are full");
static_assert(CHUNK_SLOTS == 128, "a place in a chunk is some bits of that in a part");

/* So many homes at least, and all that its chunks have room for. */
static struct part_size size_for(uint64_t home_count)
{
    home_count = home_count < HOMES_MIN ? HOMES_MIN : home_count;
    uint64_t spare = home_count < SPARE_SLOTS_MAX ? home_count : SPARE_SLOTS_MAX;
    uint64_t slot_count = home_count + spare;
    uint64_t chunk_count = (slot_count + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    if (chunk_count > 1) {
        slot_count = chunk_count * CHUNK_SLOTS;
        home_count = slot_count - SPARE_SLOTS_MAX;
    }
    return (struct part_size){home_count, slot_count, chunk_count};
}

static struct part_size size_of_chunks(uint64_t chunk_count)
{
    return size_for(chunk_count * CHUNK_SLOTS - SPARE_SLOTS_MAX);
}

struct part_size part_size_beyond(struct part_size size, size_t part_number)
{
    if (size.chunk_count <= 1) {
        return size_for(size.home_count + size.home_count / 3 + 1);
    }
    uint64_t rounding = part_number % GROWTH_ROUNDINGS;
    uint64_t more = (size.chunk_count * GROWTH_ROUNDINGS / GROWTH_DIVISOR + rounding) /
                    GROWTH_ROUNDINGS;
    return size_of_chunks(size.chunk_count + (more == 0 ? 1 : more));
}

struct part_size part_size_with_room(struct part_size size, size_t part_number,
                                     uint64_t entry_count)
{
    while (part_size_entries_max(size.home_count) < entry_count) {
        size = part_size_beyond(size, part_number);
    }
    return size;
}

struct part_size part_size_to_fill(size_t part_number, size_t entry_count)
{
    const uint64_t spread_divisor = (uint64_t)GROWTH_DIVISOR * PARTS_MAX;
    uint64_t least = (uint64_t)entry_count * LOAD_DENOMINATOR / LOAD_NUMERATOR + 1;
    struct part_size size = size_for(least);
    return size.chunk_count <= 1
               ? size
               : size_of_chunks(size.chunk_count +
                                size.chunk_count * part_number / spread_divisor);
}

struct part_size part_size_shrunk(struct part_size size, uint64_t entry_count)
{
    uint64_t needed = entry_count * LOAD_DENOMINATOR / LOAD_NUMERATOR;
    return size.chunk_count <= 1 || needed >= size.home_count / SHRINK_DIVISOR
               ? size
               : size_for(needed + needed / GROWTH_DIVISOR);
}
