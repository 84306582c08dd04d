/*
 * Open addressing in many small tables ("parts").
 *
 * The top bits of a hash choose the part, its low bits the home slot within. A part is
 * kept sorted by hash, with gaps: an entry stands at its home or behind it, never
 * before an entry with a smaller hash, and as near to it as those before it let it. So a
 * search ends at the first larger hash. Behind the last home there are spare slots, so
 * that no probe wraps round.
 *
 * A part grows and shrinks where it is, chunk by chunk: with more homes every entry
 * stands farther behind, with fewer farther ahead, in the same order.
 */
#include "engine/index.h"

#include "base/platform.h"
#include "engine/chunks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Hash bits kept in a slot; the part adds nine more. */
#define HASH_BITS INDEX_ENTRY_HASH_BITS

/* A part holds at most 17/20 of its homes, and grows by a quarter. */
#define LOAD_NUMERATOR   17
#define LOAD_DENOMINATOR 20
#define GROWTH_DIVISOR   4
#define GROWTH_ROUNDINGS 16

/* Parts that are filled from an image get up to a quarter more, so that they are spread.
 */
#define BEGIN_SPREAD_DIVISOR ((uint64_t)GROWTH_DIVISOR * INDEX_PART_COUNT)

#define HOMES_MIN        8
#define SPARE_SLOTS_MAX  32
#define LAYOUT_TRIES_MAX 16

/* Whole slots of a line of memory, and how many are fetched together. */
#define LINE_SLOTS         3
#define SETTLE_AHEAD_SLOTS 16

/*
 * A part that needs less than half of its homes gets a quarter more than it needs: as
 * far from where it would grow as one that has grown, and from where it would shrink.
 */
#define SHRINK_DIVISOR 2

/* 20 bytes; a key length of 0 means that the slot is empty. */
struct slot {
    uint32_t hash; /* HASH_BITS low bits, and two flags above them */
    uint32_t crc;
    uint32_t value_length;
    uint32_t offset_low;
    uint16_t offset_high;
    uint16_t key_length;
};

static_assert(sizeof(struct slot) == 20, "memory per key is a promise");

#define HASH_MASK     ((UINT32_C(1) << HASH_BITS) - 1)
#define TOMBSTONE_BIT (UINT32_C(1) << HASH_BITS)
#define SIDE_BIT      (UINT32_C(2) << HASH_BITS)

#define CHUNK_SLOTS (CHUNK_BYTES / sizeof(struct slot))

static_assert(CHUNK_SLOTS * sizeof(struct slot) == CHUNK_BYTES, "chunks are full");
static_assert(CHUNK_SLOTS == 128, "a place in a chunk is some bits of that in a part");

struct part {
    struct chunk **chunks; /* homes, then spare slots */
    uint32_t chunk_count;
    uint32_t home_count;
    uint32_t slot_count; /* all that the chunks have, but for a part of one chunk */
    uint32_t entry_count;
    uint32_t version;  /* raised with each change of an entry */
    bool is_last_used; /* the last slot: there is no room for a probe to go on */
};

struct index {
    struct part parts[INDEX_PART_COUNT];
    struct chunks chunks;
    uint64_t removal_count;
};

/* How large a part is to be. */
struct size {
    uint64_t home_count;
    uint64_t slot_count;
    uint64_t chunk_count;
};

static struct slot *slot_at(const struct part *part, size_t at)
{
    void *slots = part->chunks[at / CHUNK_SLOTS]->words;
    return (struct slot *)slots + at % CHUNK_SLOTS;
}

/* The slot behind one, at this place; NULL behind the last. Most are in the same chunk.
 */
static struct slot *slot_behind(const struct part *part, struct slot *slot, size_t at)
{
    if (at % CHUNK_SLOTS != 0) {
        return slot + 1;
    }
    return at / CHUNK_SLOTS < part->chunk_count ? slot_at(part, at) : NULL;
}

static uint32_t short_hash(uint64_t hash)
{
    return (uint32_t)hash & HASH_MASK;
}

static uint32_t hash_of(const struct slot *slot)
{
    return slot->hash & HASH_MASK;
}

static bool is_empty(const struct slot *slot)
{
    return slot->key_length == 0;
}

static uint64_t offset_of(const struct slot *slot)
{
    return (uint64_t)slot->offset_high << 32 | slot->offset_low;
}

static uint8_t side_of(const struct slot *slot)
{
    return (uint8_t)((slot->hash & SIDE_BIT) != 0);
}

static size_t home_among(uint64_t home_count, uint32_t hash)
{
    return (size_t)(hash * home_count >> HASH_BITS);
}

static size_t home_of(const struct part *part, uint32_t hash)
{
    return home_among(part->home_count, hash);
}

static struct slot encode(uint64_t hash, const struct location *location)
{
    assert(location->offset < LOG_BYTES_MAX && location->side <= 1);
    assert(location->key_length > 0 && location->key_length <= KEY_BYTES_MAX);
    return (struct slot){
        .hash = short_hash(hash) | (location->is_tombstone ? TOMBSTONE_BIT : 0) |
                (location->side != 0 ? SIDE_BIT : 0),
        .crc = location->crc,
        .value_length = location->value_length,
        .offset_low = (uint32_t)location->offset,
        .offset_high = (uint16_t)(location->offset >> 32),
        .key_length = (uint16_t)location->key_length,
    };
}

static struct location decode(const struct slot *slot)
{
    return (struct location){
        .offset = offset_of(slot),
        .key_length = slot->key_length,
        .value_length = slot->value_length,
        .crc = slot->crc,
        .is_tombstone = (slot->hash & TOMBSTONE_BIT) != 0,
        .side = side_of(slot),
    };
}

enum status index_create(struct index **index_out)
{
    *index_out = calloc(1, sizeof **index_out);
    return *index_out == NULL ? KV_NO_MEMORY : KV_OK;
}

void index_destroy(struct index *index)
{
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; i < INDEX_PART_COUNT; i++) {
        free(index->parts[i].chunks);
    }
    chunks_destroy(&index->chunks);
    free(index);
}

/* So many homes at least, and all that its chunks have room for. */
static struct size size_for(uint64_t home_count)
{
    home_count = home_count < HOMES_MIN ? HOMES_MIN : home_count;
    uint64_t spare = home_count < SPARE_SLOTS_MAX ? home_count : SPARE_SLOTS_MAX;
    uint64_t slot_count = home_count + spare;
    uint64_t chunk_count = (slot_count + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    if (chunk_count > 1) {
        slot_count = chunk_count * CHUNK_SLOTS;
        home_count = slot_count - SPARE_SLOTS_MAX;
    }
    return (struct size){home_count, slot_count, chunk_count};
}

static struct size size_of_chunks(uint64_t chunk_count)
{
    return size_for(chunk_count * CHUNK_SLOTS - SPARE_SLOTS_MAX);
}

/*
 * The next size of a part: a quarter more, rounded up or down by the number of the part.
 * Parts of one size would all grow within a few batches of a client; so rounded, their
 * sizes are soon spread over all between two sizes of one part.
 */
static struct size size_beyond(size_t part_number, struct size size)
{
    if (size.chunk_count <= 1) {
        return size_for(size.home_count + size.home_count / 3 + 1);
    }
    uint64_t rounding = part_number % GROWTH_ROUNDINGS;
    uint64_t more = (size.chunk_count * GROWTH_ROUNDINGS / GROWTH_DIVISOR + rounding) /
                    GROWTH_ROUNDINGS;
    return size_of_chunks(size.chunk_count + (more == 0 ? 1 : more));
}

/* Whether the entries of a part fit into this size, and leave the last slot empty. */
static bool fits(const struct part *part, const struct size *size)
{
    if (size->home_count > part->home_count && !part->is_last_used) {
        return true; /* see grow */
    }
    size_t next = 0;
    for (size_t i = 0; i < part->slot_count; i++) {
        const struct slot *slot = slot_at(part, i);
        if (!is_empty(slot)) {
            size_t home = home_among(size->home_count, hash_of(slot));
            next = (next > home ? next : home) + 1;
        }
    }
    return next < size->slot_count;
}

/* Have so many chunks, fewer than now. */
static void give_chunks(struct index *index, struct part *part, uint64_t count)
{
    while (part->chunk_count > count) {
        chunks_give(&index->chunks, part->chunks[--part->chunk_count]);
    }
}

/* Take so many chunks more, to stand before the others. KV_NO_MEMORY: nothing changed. */
static enum status take_chunks(struct index *index, struct part *part, size_t count)
{
    size_t had = part->chunk_count;
    struct chunk **chunks = calloc(had + count, sizeof(struct chunk *));
    if (chunks == NULL) {
        return KV_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (chunks_take(&index->chunks, &chunks[i]) != KV_OK) {
            while (i > 0) {
                chunks_give(&index->chunks, chunks[--i]);
            }
            free(chunks);
            return KV_NO_MEMORY;
        }
    }
    for (size_t i = 0; i < had; i++) {
        chunks[count + i] = part->chunks[i];
        chunks[count + i]->holder = &chunks[count + i];
    }
    free(part->chunks);
    part->chunks = chunks;
    part->chunk_count += (uint32_t)count;
    return KV_OK;
}

/* The processor foresees lines of one chunk, and not where the next one is. */
static void prefetch_slots(const struct part *part, size_t at)
{
    const struct slot *slot = slot_at(part, at);
    for (size_t i = 0; i < SETTLE_AHEAD_SLOTS; i += LINE_SLOTS) {
        KV_PREFETCH(slot + i);
    }
}

/*
 * Move all entries, of which none stands before `from`, ahead to where they belong. Empty
 * slots are moved like others, and then written over: no processor could foretell them.
 */
static void settle(struct part *part, size_t from, size_t end)
{
    size_t next = 0;
    for (size_t at = from; at < end; at++) {
        if (at % SETTLE_AHEAD_SLOTS == 0 && at + CHUNK_SLOTS < end) {
            prefetch_slots(part, at + CHUNK_SLOTS);
        }
        struct slot *slot = slot_at(part, at);
        struct slot entry = *slot;
        slot->key_length = 0;
        size_t home = is_empty(&entry) ? 0 : home_of(part, hash_of(&entry));
        next = next > home ? next : home;
        assert(next <= at);
        *slot_at(part, next) = entry;
        next += is_empty(&entry) ? 0 : 1;
    }
}

/*
 * Make a part larger. Its new chunks come before those it has, so that every entry stands
 * behind its new place: one pass from front to back moves them all.
 *
 * With n homes more no entry has to move farther behind than by n slots, so they fit if
 * the last slot is empty now. Where it is not, sizes are passed over until they do; only
 * equal hashes beyond the spare slots, which no seed gives, exhaust the tries.
 */
static enum status grow(struct index *index, size_t part_number, struct size size)
{
    struct part *part = &index->parts[part_number];
    for (int tries = 0; !fits(part, &size); tries++) {
        if (tries == LAYOUT_TRIES_MAX) {
            return KV_NO_MEMORY;
        }
        size = size_beyond(part_number, size);
    }
    if (size.slot_count > UINT32_MAX) {
        return KV_NO_MEMORY;
    }
    size_t homes_more = (size_t)size.home_count - part->home_count;
    size_t more = (homes_more + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    enum status status = take_chunks(index, part, more);
    if (status != KV_OK) {
        return status;
    }
    part->home_count = (uint32_t)size.home_count;
    settle(part, more * CHUNK_SLOTS, more * CHUNK_SLOTS + part->slot_count);
    part->slot_count = (uint32_t)size.slot_count;
    part->is_last_used = false;
    give_chunks(index, part, size.chunk_count);
    return KV_OK;
}

static struct size size_of(const struct part *part)
{
    return (struct size){part->home_count, part->slot_count, part->chunk_count};
}

enum status index_reserve(struct index *index, uint64_t hash)
{
    size_t part_number = index_part_of(hash);
    const struct part *part = &index->parts[part_number];
    uint64_t entries_max = (uint64_t)part->home_count * LOAD_NUMERATOR / LOAD_DENOMINATOR;
    if (part->entry_count < entries_max && !part->is_last_used) {
        const struct slot *home = slot_at(part, home_of(part, short_hash(hash)));
        KV_PREFETCH(home + 6); /* where the next gap may be */
        KV_PREFETCH(home + 9);
        return KV_OK;
    }
    return grow(index, part_number, size_beyond(part_number, size_of(part)));
}

void index_prefetch(const struct index *index, uint64_t hash)
{
    const struct part *part = &index->parts[index_part_of(hash)];
    if (part->slot_count > 0) {
        const struct slot *home = slot_at(part, home_of(part, short_hash(hash)));
        KV_PREFETCH(home);
        KV_PREFETCH(home + 3); /* a probe often goes over the end of the line */
    }
}

uint32_t index_version(const struct index *index, uint64_t hash)
{
    return index->parts[index_part_of(hash)].version;
}

struct index_cursor index_find(const struct index *index, uint64_t hash)
{
    const struct part *part = &index->parts[index_part_of(hash)];
    return (struct index_cursor){hash, home_of(part, short_hash(hash))};
}

bool index_next(struct index_cursor *cursor, const struct index *index,
                struct location *location_out)
{
    const struct part *part = &index->parts[index_part_of(cursor->hash)];
    uint32_t wanted = short_hash(cursor->hash);
    if (cursor->slot >= part->slot_count) {
        return false;
    }
    struct slot *slot = slot_at(part, cursor->slot);
    while (slot != NULL && !is_empty(slot) && hash_of(slot) <= wanted) {
        const struct slot *found = slot;
        slot = slot_behind(part, slot, ++cursor->slot);
        if (hash_of(found) == wanted) {
            *location_out = decode(found);
            return true;
        }
    }
    return false;
}

/* Move the slots from one place on up to another by one, over the empty one there. */
static void move_up(const struct part *part, size_t from, size_t gap)
{
    while (gap > from) {
        size_t first = gap / CHUNK_SLOTS * CHUNK_SLOTS; /* of its chunk */
        size_t start = first > from ? first : from;
        struct slot *slots = slot_at(part, start);
        memmove(slots + 1, slots, (gap - start) * sizeof *slots);
        gap = start;
        if (gap > from) {
            *slot_at(part, gap) = *slot_at(part, gap - 1);
            gap--;
        }
    }
}

void index_insert(struct index *index, uint64_t hash, const struct location *location)
{
    struct part *part = &index->parts[index_part_of(hash)];
    uint32_t wanted = short_hash(hash);
    size_t at = home_of(part, wanted);
    struct slot *slot = slot_at(part, at);
    while (!is_empty(slot) && hash_of(slot) <= wanted) {
        slot = slot_behind(part, slot, ++at);
        assert(at < part->slot_count);
    }
    struct slot *place = slot;
    size_t gap = at;
    while (!is_empty(slot)) {
        slot = slot_behind(part, slot, ++gap);
        assert(gap < part->slot_count);
    }
    move_up(part, at, gap);
    *place = encode(hash, location);
    part->is_last_used = part->is_last_used || gap + 1 == part->slot_count;
    part->entry_count++;
    part->version++;
}

/* Where the entry of this hash at a place is, or behind all slots if there is none. */
static size_t find_place(const struct part *part, uint64_t hash,
                         const struct location *place)
{
    uint32_t wanted = short_hash(hash);
    size_t at = home_of(part, wanted);
    struct slot *slot = at < part->slot_count ? slot_at(part, at) : NULL;
    for (; slot != NULL && !is_empty(slot) && hash_of(slot) <= wanted;
         slot = slot_behind(part, slot, ++at)) {
        if (hash_of(slot) == wanted && offset_of(slot) == place->offset &&
            side_of(slot) == place->side) {
            return at;
        }
    }
    return part->slot_count;
}

bool index_get(const struct index *index, uint64_t hash, struct location *location)
{
    const struct part *part = &index->parts[index_part_of(hash)];
    size_t at = find_place(part, hash, location);
    if (at == part->slot_count) {
        return false;
    }
    *location = decode(slot_at(part, at));
    return true;
}

bool index_replace(struct index *index, uint64_t hash, const struct location *from,
                   const struct location *to)
{
    struct part *part = &index->parts[index_part_of(hash)];
    size_t at = find_place(part, hash, from);
    if (at == part->slot_count) {
        return false;
    }
    *slot_at(part, at) = encode(hash, to);
    part->version++;
    return true;
}

/* Needs no memory. */
static void shrink(struct index *index, size_t part_number)
{
    struct part *part = &index->parts[part_number];
    uint64_t needed = (uint64_t)part->entry_count * LOAD_DENOMINATOR / LOAD_NUMERATOR;
    if (part->chunk_count <= 1 || needed >= part->home_count / SHRINK_DIVISOR) {
        return;
    }
    struct size size = size_for(needed + needed / GROWTH_DIVISOR);
    uint32_t slot_count = part->slot_count;
    if (size.chunk_count < part->chunk_count && fits(part, &size)) {
        part->home_count = (uint32_t)size.home_count;
        settle(part, 0, slot_count);
        part->slot_count = (uint32_t)size.slot_count;
        part->is_last_used = false;
        give_chunks(index, part, size.chunk_count);
    }
}

bool index_remove(struct index *index, uint64_t hash, const struct location *from)
{
    struct part *part = &index->parts[index_part_of(hash)];
    size_t place = find_place(part, hash, from);
    if (place == part->slot_count) {
        return false;
    }
    /* What stands behind its home moves one slot towards it. */
    size_t at = place + 1;
    while (at < part->slot_count && !is_empty(slot_at(part, at)) &&
           home_of(part, hash_of(slot_at(part, at))) < at) {
        *slot_at(part, at - 1) = *slot_at(part, at);
        at++;
    }
    *slot_at(part, at - 1) = (struct slot){0};
    part->is_last_used = part->is_last_used && at < part->slot_count;
    part->entry_count--;
    part->version++;
    index->removal_count++;
    shrink(index, index_part_of(hash));
    return true;
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
    size_t part_number = (size_t)(*position >> 32);
    size_t at = (size_t)(*position & UINT32_MAX);
    for (; part_number < INDEX_PART_COUNT; part_number++, at = 0) {
        const struct part *part = &index->parts[part_number];
        for (; at < part->slot_count; at++) {
            if (!is_empty(slot_at(part, at))) {
                *location_out = decode(slot_at(part, at));
                *position = (uint64_t)part_number << 32 | (at + 1);
                return true;
            }
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
           hash_of(slot_at(&index->parts[part_number], next - 1)) == short_hash(hash);
}

size_t index_part_count(const struct index *index, size_t part_number)
{
    return index->parts[part_number].entry_count;
}

bool index_next_entry(const struct index *index, size_t part_number, size_t *slot,
                      struct index_entry *entry_out)
{
    const struct part *part = &index->parts[part_number];
    while (*slot < part->slot_count && is_empty(slot_at(part, *slot))) {
        ++*slot;
    }
    if (*slot == part->slot_count) {
        return false;
    }
    const struct slot *found = slot_at(part, (*slot)++);
    *entry_out = (struct index_entry){hash_of(found), decode(found)};
    return true;
}

enum status index_begin_part(struct index *index, size_t part_number, size_t count)
{
    struct part *part = &index->parts[part_number];
    uint64_t least = (uint64_t)count * LOAD_DENOMINATOR / LOAD_NUMERATOR + 1;
    struct size size = size_for(least);
    assert(part->chunks == NULL);
    if (size.chunk_count > 1) {
        size = size_of_chunks(size.chunk_count +
                              size.chunk_count * part_number / BEGIN_SPREAD_DIVISOR);
    }
    return grow(index, part_number, size);
}

enum status index_append(struct index *index, size_t part_number, size_t *next,
                         const struct index_entry *entry)
{
    struct part *part = &index->parts[part_number];
    struct slot slot = encode(entry->hash, &entry->location);
    for (int tries = 0; tries < LAYOUT_TRIES_MAX; tries++) {
        size_t home = home_of(part, entry->hash);
        size_t at = *next > home ? *next : home;
        if (at + 1 < part->slot_count) {
            *slot_at(part, at) = slot;
            part->entry_count++;
            *next = at + 1;
            return KV_OK;
        }
        /* The spare slots have run out: the entries so far get more homes. */
        enum status status =
            grow(index, part_number, size_beyond(part_number, size_of(part)));
        if (status != KV_OK) {
            return status;
        }
        *next = part->slot_count;
        while (*next > 0 && is_empty(slot_at(part, *next - 1))) {
            --*next;
        }
    }
    return KV_NO_MEMORY;
}
