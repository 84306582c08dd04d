/*
 * Open addressing in many small tables ("parts").
 *
 * The top bits of a hash choose the part, its low bits the home slot within. A part is
 * kept sorted by hash, with gaps: an entry stands at its home or behind it, never
 * before an entry with a smaller hash, so a search ends at the first larger hash, and
 * growing is one pass from front to back. Behind the last home there are spare slots,
 * so that no probe wraps round.
 */
#include "engine/index.h"

#include "base/platform.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Hash bits kept in a slot; the part adds nine more. */
#define HASH_BITS INDEX_ENTRY_HASH_BITS

/* A part holds at most four fifths of its homes, and grows by a third. */
#define LOAD_NUMERATOR   4
#define LOAD_DENOMINATOR 5

#define HOMES_MIN        8
#define SPARE_SLOTS_MAX  32
#define LAYOUT_TRIES_MAX 16

/* From so many homes on, the sizes of parts are spread. */
#define HOMES_SPREAD 128

/*
 * A part that uses less than a quarter of its homes gets twice as many as it uses: far
 * from where it would grow, and from where it would shrink again. Small ones are left.
 */
#define SHRINK_DIVISOR 4
#define SHRINK_FACTOR  2
#define HOMES_KEPT     (2 * HOMES_SPREAD)

/* So much was freed before the system gets it back, which takes a look at the whole heap.
 */
#define RETURN_BYTES (4 * MIB)

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

struct part {
    struct slot *slots; /* homes, then spare slots */
    uint32_t home_count;
    uint32_t slot_count;
    uint32_t entry_count;
    uint32_t version; /* raised with each change of an entry */
};

struct index {
    struct part parts[INDEX_PART_COUNT];
    uint64_t removal_count;
    uint64_t freed_bytes; /* by parts that shrank, and not yet given back */
};

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

static size_t home_of(const struct part *part, uint32_t hash)
{
    return (size_t)((uint64_t)hash * part->home_count >> HASH_BITS);
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
        free(index->parts[i].slots);
    }
    free(index);
}

/* Empty slots for so many homes at least; false if there is no memory for them. */
static bool make_slots(struct part *part, uint64_t home_count)
{
    home_count = home_count < HOMES_MIN ? HOMES_MIN : home_count;
    uint64_t spare = home_count < SPARE_SLOTS_MAX ? home_count : SPARE_SLOTS_MAX;
    if (home_count + spare > UINT32_MAX) {
        return false;
    }
    *part = (struct part){
        .slots = calloc((size_t)(home_count + spare), sizeof(struct slot)),
        .home_count = (uint32_t)home_count,
        .slot_count = (uint32_t)(home_count + spare),
    };
    return part->slots != NULL;
}

/* Put the entry that is next in order into its slot; false if the spare slots run out. */
static bool append(struct part *part, size_t *next, const struct slot *entry)
{
    size_t home = home_of(part, hash_of(entry));
    *next = *next > home ? *next : home;
    if (*next + 1 >= part->slot_count) {
        return false;
    }
    part->slots[(*next)++] = *entry;
    part->entry_count++;
    return true;
}

static bool copy_entries(struct part *to, const struct part *from)
{
    size_t next = 0;
    for (size_t i = 0; i < from->slot_count; i++) {
        if (!is_empty(&from->slots[i]) && !append(to, &next, &from->slots[i])) {
            return false;
        }
    }
    return true;
}

static uint64_t a_third_more(uint64_t home_count)
{
    return home_count + home_count / 3 + 1;
}

/*
 * Parts of one size would all grow within a few batches of a client. So their sizes are
 * spread, by their numbers and for good, over the third by which they grow.
 */
static uint64_t spread(size_t part_number, uint64_t home_count)
{
    return home_count + home_count * part_number / (UINT64_C(3) * INDEX_PART_COUNT);
}

/*
 * Give a part so many homes. A layout that leaves no spare slot is tried again larger;
 * only equal hashes beyond the spare slots, which no seed gives, exhaust the tries.
 */
static enum status lay_out(struct part *part, uint64_t home_count)
{
    for (int tries = 0; tries < LAYOUT_TRIES_MAX; tries++) {
        struct part laid;
        if (!make_slots(&laid, home_count)) {
            return KV_NO_MEMORY;
        }
        if (copy_entries(&laid, part)) {
            laid.version = part->version;
            free(part->slots);
            *part = laid;
            return KV_OK;
        }
        free(laid.slots);
        home_count = a_third_more(home_count);
    }
    return KV_NO_MEMORY;
}

enum status index_reserve(struct index *index, uint64_t hash)
{
    size_t part_number = index_part_of(hash);
    struct part *part = &index->parts[part_number];
    uint64_t entries_max = (uint64_t)part->home_count * LOAD_NUMERATOR / LOAD_DENOMINATOR;
    if (part->entry_count < entries_max && is_empty(&part->slots[part->slot_count - 1])) {
        return KV_OK;
    }
    uint64_t more = a_third_more(part->home_count);
    if (part->home_count < HOMES_SPREAD && more >= HOMES_SPREAD) {
        more = spread(part_number, more);
    }
    return lay_out(part, more);
}

void index_prefetch(const struct index *index, uint64_t hash)
{
    const struct part *part = &index->parts[index_part_of(hash)];
    if (part->slot_count > 0) {
        const struct slot *home = &part->slots[home_of(part, short_hash(hash))];
        KV_PREFETCH(home);
        KV_PREFETCH(home + 2); /* a probe often goes over the end of the line */
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
    while (cursor->slot < part->slot_count) {
        const struct slot *slot = &part->slots[cursor->slot];
        if (is_empty(slot) || hash_of(slot) > wanted) {
            return false;
        }
        cursor->slot++;
        if (hash_of(slot) == wanted) {
            *location_out = decode(slot);
            return true;
        }
    }
    return false;
}

void index_insert(struct index *index, uint64_t hash, const struct location *location)
{
    struct part *part = &index->parts[index_part_of(hash)];
    uint32_t wanted = short_hash(hash);
    size_t at = home_of(part, wanted);
    while (!is_empty(&part->slots[at]) && hash_of(&part->slots[at]) <= wanted) {
        at++;
        assert(at < part->slot_count);
    }
    size_t gap = at;
    while (!is_empty(&part->slots[gap])) {
        gap++;
        assert(gap < part->slot_count);
    }
    memmove(&part->slots[at + 1], &part->slots[at], (gap - at) * sizeof(struct slot));
    part->slots[at] = encode(hash, location);
    part->entry_count++;
    part->version++;
}

static struct slot *find_slot(const struct part *part, uint64_t hash,
                              const struct location *place)
{
    uint32_t wanted = short_hash(hash);
    for (size_t at = home_of(part, wanted); at < part->slot_count; at++) {
        struct slot *slot = &part->slots[at];
        if (is_empty(slot) || hash_of(slot) > wanted) {
            return NULL;
        }
        if (hash_of(slot) == wanted && offset_of(slot) == place->offset &&
            side_of(slot) == place->side) {
            return slot;
        }
    }
    return NULL;
}

bool index_get(const struct index *index, uint64_t hash, struct location *location)
{
    const struct part *part = &index->parts[index_part_of(hash)];
    const struct slot *slot = find_slot(part, hash, location);
    if (slot != NULL) {
        *location = decode(slot);
    }
    return slot != NULL;
}

bool index_replace(struct index *index, uint64_t hash, const struct location *from,
                   const struct location *to)
{
    struct part *part = &index->parts[index_part_of(hash)];
    struct slot *slot = find_slot(part, hash, from);
    if (slot == NULL) {
        return false;
    }
    *slot = encode(hash, to);
    part->version++;
    return true;
}

/* Without memory for a smaller table the larger one stays: nothing depends on it. */
static void shrink(struct index *index, size_t part_number)
{
    struct part *part = &index->parts[part_number];
    uint32_t slot_count = part->slot_count;
    if (part->home_count <= HOMES_KEPT ||
        part->entry_count >= part->home_count / SHRINK_DIVISOR) {
        return;
    }
    uint64_t wanted = (uint64_t)part->entry_count * SHRINK_FACTOR;
    wanted = wanted < HOMES_SPREAD ? HOMES_SPREAD : wanted;
    if (lay_out(part, spread(part_number, wanted)) != KV_OK ||
        part->slot_count >= slot_count) {
        return;
    }
    index->freed_bytes += (slot_count - part->slot_count) * sizeof(struct slot);
    if (index->freed_bytes >= RETURN_BYTES) {
        KV_RETURN_MEMORY();
        index->freed_bytes = 0;
    }
}

bool index_remove(struct index *index, uint64_t hash, const struct location *from)
{
    struct part *part = &index->parts[index_part_of(hash)];
    struct slot *slot = find_slot(part, hash, from);
    if (slot == NULL) {
        return false;
    }
    /* What stands behind its home moves one slot towards it. */
    size_t at = (size_t)(slot - part->slots);
    size_t end = at + 1;
    while (end < part->slot_count && !is_empty(&part->slots[end]) &&
           home_of(part, hash_of(&part->slots[end])) < end) {
        end++;
    }
    memmove(&part->slots[at], &part->slots[at + 1], (end - at - 1) * sizeof(struct slot));
    part->slots[end - 1] = (struct slot){0};
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
    uint64_t slot_count = 0;
    for (size_t i = 0; i < INDEX_PART_COUNT; i++) {
        slot_count += index->parts[i].slot_count;
    }
    return sizeof *index + slot_count * sizeof(struct slot);
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
            if (!is_empty(&part->slots[at])) {
                *location_out = decode(&part->slots[at]);
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
           hash_of(&index->parts[part_number].slots[next - 1]) == short_hash(hash);
}

size_t index_part_count(const struct index *index, size_t part_number)
{
    return index->parts[part_number].entry_count;
}

bool index_next_entry(const struct index *index, size_t part_number, size_t *slot,
                      struct index_entry *entry_out)
{
    const struct part *part = &index->parts[part_number];
    while (*slot < part->slot_count && is_empty(&part->slots[*slot])) {
        ++*slot;
    }
    if (*slot == part->slot_count) {
        return false;
    }
    const struct slot *found = &part->slots[(*slot)++];
    *entry_out = (struct index_entry){hash_of(found), decode(found)};
    return true;
}

enum status index_begin_part(struct index *index, size_t part_number, size_t count)
{
    uint64_t least = (uint64_t)count * LOAD_DENOMINATOR / LOAD_NUMERATOR + 1;
    assert(index->parts[part_number].slots == NULL);
    return lay_out(&index->parts[part_number], spread(part_number, least));
}

enum status index_append(struct index *index, size_t part_number, size_t *next,
                         const struct index_entry *entry)
{
    struct part *part = &index->parts[part_number];
    struct slot slot = encode(entry->hash, &entry->location);
    for (int tries = 0; tries < LAYOUT_TRIES_MAX; tries++) {
        if (append(part, next, &slot)) {
            return KV_OK;
        }
        /* The spare slots have run out: the entries so far go to a larger layout. */
        enum status status = lay_out(part, a_third_more(part->home_count));
        if (status != KV_OK) {
            return status;
        }
        *next = part->slot_count;
        while (*next > 0 && is_empty(&part->slots[*next - 1])) {
            --*next;
        }
    }
    return KV_NO_MEMORY;
}
