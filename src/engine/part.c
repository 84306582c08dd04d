/*
 * A part is kept sorted by hash, with gaps: an entry stands at its home or behind it,
 * never before an entry with a smaller hash, and as near to it as those before it let it.
 * So a search ends at the first larger hash. Behind the last home there are spare slots,
 * so that no probe wraps round.
 *
 * A part grows and shrinks where it is, chunk by chunk: with more homes every entry
 * stands farther behind, with fewer farther ahead, in the same order.
 */
#include "engine/part.h"

#include "base/bounds.h"
#include "base/platform.h"
#include "engine/part_size.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LAYOUT_TRIES_MAX 16

/* Whole slots of a line of memory, and how many are fetched together. */
#define LINE_SLOTS         3
#define SETTLE_AHEAD_SLOTS 16

/* Of a probe so many slots are looked at together: most end within them. */
#define PROBE_SLOTS 4

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

static size_t home_of(const struct part *part, uint32_t hash)
{
    return part_size_home(part->home_count, hash);
}

void part_init(struct part *part, struct chunks *chunks, uint32_t number)
{
    *part = (struct part){.memory = chunks, .number = number};
}

void part_destroy(struct part *part)
{
    free(part->chunks);
}

/* Whether the entries of a part fit into this size, and leave the last slot empty. */
static bool fits(const struct part *part, const struct part_size *size)
{
    if (size->home_count > part->home_count && !part->is_last_used) {
        return true; /* see grow */
    }
    size_t next = 0;
    for (size_t i = 0; i < part->slot_count; i++) {
        const struct slot *slot = slot_at(part, i);
        if (!slot_is_empty(slot)) {
            size_t home = part_size_home(size->home_count, slot_hash(slot));
            next = (next > home ? next : home) + 1;
        }
    }
    return next < size->slot_count;
}

/* Have so many chunks, fewer than now. */
static void give_chunks(struct part *part, uint64_t count)
{
    while (part->chunk_count > count) {
        chunks_give(part->memory, part->chunks[--part->chunk_count]);
    }
}

/* Take so many chunks more, to stand before the others. KV_NO_MEMORY: nothing changed. */
static enum status take_chunks(struct part *part, size_t count)
{
    size_t had = part->chunk_count;
    struct chunk **chunks = calloc(had + count, sizeof(struct chunk *));
    if (chunks == NULL) {
        return KV_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (chunks_take(part->memory, &chunks[i]) != KV_OK) {
            while (i > 0) {
                chunks_give(part->memory, chunks[--i]);
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
        size_t home = slot_is_empty(&entry) ? 0 : home_of(part, slot_hash(&entry));
        next = next > home ? next : home;
        assert(next <= at);
        *slot_at(part, next) = entry;
        next += slot_is_empty(&entry) ? 0 : 1;
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
static enum status grow(struct part *part, struct part_size size)
{
    for (int tries = 0; !fits(part, &size); tries++) {
        if (tries == LAYOUT_TRIES_MAX) {
            return KV_NO_MEMORY;
        }
        size = part_size_beyond(size, part->number);
    }
    if (size.slot_count > UINT32_MAX) {
        return KV_NO_MEMORY;
    }
    size_t homes_more = (size_t)size.home_count - part->home_count;
    size_t more = (homes_more + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    enum status status = take_chunks(part, more);
    if (status != KV_OK) {
        return status;
    }
    part->home_count = (uint32_t)size.home_count;
    settle(part, more * CHUNK_SLOTS, more * CHUNK_SLOTS + part->slot_count);
    part->slot_count = (uint32_t)size.slot_count;
    part->is_last_used = false;
    give_chunks(part, size.chunk_count);
    return KV_OK;
}

static struct part_size size_of(const struct part *part)
{
    return (struct part_size){part->home_count, part->slot_count, part->chunk_count};
}

enum status part_reserve(struct part *part, uint64_t hash)
{
    if (part->entry_count < part_size_entries_max(part->home_count) &&
        !part->is_last_used) {
        const struct slot *home = slot_at(part, home_of(part, slot_hash_from(hash)));
        KV_PREFETCH(home + 6); /* where the next gap may be */
        KV_PREFETCH(home + 9);
        return KV_OK;
    }
    return grow(part, part_size_beyond(size_of(part), part->number));
}

void part_prefetch(const struct part *part, uint64_t hash)
{
    if (part->slot_count > 0) {
        const struct slot *home = slot_at(part, home_of(part, slot_hash_from(hash)));
        KV_PREFETCH(home);
        KV_PREFETCH(home + 3); /* a probe often goes over the end of the line */
    }
}

size_t part_home(const struct part *part, uint64_t hash)
{
    return home_of(part, slot_hash_from(hash));
}

/*
 * How many of a few slots, from the first on and without a gap, hold smaller hashes.
 * Counted without a branch: no processor could foretell where a probe ends.
 */
static size_t count_smaller(const struct slot *slots, uint32_t wanted)
{
    size_t count = 0;
    unsigned is_smaller = 1;
    for (size_t i = 0; i < PROBE_SLOTS; i++) {
        is_smaller &= (unsigned)(slot_hash(&slots[i]) < wanted) &
                      (unsigned)!slot_is_empty(&slots[i]);
        count += is_smaller;
    }
    return count;
}

/*
 * Move on from `at`, a hash's home or behind it, to where its entries are, or would be.
 * Returns the slot there; NULL behind the last.
 */
static struct slot *seek(const struct part *part, uint32_t wanted, size_t *at)
{
    if (*at >= part->slot_count) {
        return NULL;
    }
    struct slot *slot = slot_at(part, *at);
    size_t place = *at % CHUNK_SLOTS;
    if (place + PROBE_SLOTS < CHUNK_SLOTS && *at + PROBE_SLOTS < part->slot_count) {
        size_t count = count_smaller(slot, wanted);
        slot += count;
        *at += count;
    }
    while (slot != NULL && !slot_is_empty(slot) && slot_hash(slot) < wanted) {
        slot = slot_behind(part, slot, ++*at);
    }
    return slot;
}

static bool holds(const struct slot *slot, uint32_t wanted)
{
    return slot != NULL && !slot_is_empty(slot) && slot_hash(slot) == wanted;
}

bool part_next(const struct part *part, uint64_t hash, size_t *at,
               struct location *location_out)
{
    uint32_t wanted = slot_hash_from(hash);
    const struct slot *slot = seek(part, wanted, at);
    if (!holds(slot, wanted)) {
        return false;
    }
    *location_out = slot_decode(slot);
    ++*at;
    return true;
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

void part_insert(struct part *part, uint64_t hash, const struct location *location)
{
    uint32_t wanted = slot_hash_from(hash);
    size_t at = home_of(part, wanted);
    struct slot *slot = seek(part, wanted, &at);
    while (holds(slot, wanted)) {
        slot = slot_behind(part, slot, ++at);
    }
    assert(at < part->slot_count);
    struct slot *place = slot;
    size_t gap = at;
    while (!slot_is_empty(slot)) {
        slot = slot_behind(part, slot, ++gap);
        assert(gap < part->slot_count);
    }
    move_up(part, at, gap);
    *place = slot_encode(hash, location);
    part->is_last_used = part->is_last_used || gap + 1 == part->slot_count;
    part->entry_count++;
    part->version++;
}

/* Where the entry of this hash at a place is, or behind all slots if there is none. */
static size_t find_place(const struct part *part, uint64_t hash,
                         const struct location *place)
{
    uint32_t wanted = slot_hash_from(hash);
    size_t at = home_of(part, wanted);
    struct slot *slot = seek(part, wanted, &at);
    for (; holds(slot, wanted); slot = slot_behind(part, slot, ++at)) {
        if (slot_offset(slot) == place->offset && slot_side(slot) == place->side) {
            return at;
        }
    }
    return part->slot_count;
}

bool part_get(const struct part *part, uint64_t hash, struct location *location)
{
    size_t at = find_place(part, hash, location);
    if (at == part->slot_count) {
        return false;
    }
    *location = slot_decode(slot_at(part, at));
    return true;
}

bool part_replace(struct part *part, uint64_t hash, const struct location *from,
                  const struct location *to)
{
    size_t at = find_place(part, hash, from);
    if (at == part->slot_count) {
        return false;
    }
    *slot_at(part, at) = slot_encode(hash, to);
    part->version++;
    return true;
}

/* Needs no memory. */
static void shrink(struct part *part)
{
    struct part_size size = part_size_shrunk(size_of(part), part->entry_count);
    uint32_t slot_count = part->slot_count;
    if (size.chunk_count < part->chunk_count && fits(part, &size)) {
        part->home_count = (uint32_t)size.home_count;
        settle(part, 0, slot_count);
        part->slot_count = (uint32_t)size.slot_count;
        part->is_last_used = false;
        give_chunks(part, size.chunk_count);
    }
}

bool part_remove(struct part *part, uint64_t hash, const struct location *from)
{
    size_t place = find_place(part, hash, from);
    if (place == part->slot_count) {
        return false;
    }
    /* What stands behind its home moves one slot towards it. */
    size_t at = place + 1;
    while (at < part->slot_count && !slot_is_empty(slot_at(part, at)) &&
           home_of(part, slot_hash(slot_at(part, at))) < at) {
        *slot_at(part, at - 1) = *slot_at(part, at);
        at++;
    }
    *slot_at(part, at - 1) = (struct slot){0};
    part->entry_count--;
    part->version++;
    shrink(part);
    return true;
}

bool part_visit(const struct part *part, size_t *slot, struct index_entry *entry_out)
{
    while (*slot < part->slot_count && slot_is_empty(slot_at(part, *slot))) {
        ++*slot;
    }
    if (*slot == part->slot_count) {
        return false;
    }
    const struct slot *found = slot_at(part, (*slot)++);
    *entry_out = (struct index_entry){slot_hash(found), slot_decode(found)};
    return true;
}

uint32_t part_hash_at(const struct part *part, size_t slot)
{
    return slot_hash(slot_at(part, slot));
}

enum status part_begin(struct part *part, size_t count)
{
    assert(part->chunks == NULL);
    return grow(part, part_size_to_fill(part->number, count));
}

enum status part_append(struct part *part, size_t *next, const struct index_entry *entry)
{
    struct slot slot = slot_encode(entry->hash, &entry->location);
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
        enum status status = grow(part, part_size_beyond(size_of(part), part->number));
        if (status != KV_OK) {
            return status;
        }
        *next = part->slot_count;
        while (*next > 0 && slot_is_empty(slot_at(part, *next - 1))) {
            --*next;
        }
    }
    return KV_NO_MEMORY;
}

/* Put an entry at its home or behind those before it, and return the place behind it. */
static size_t place_next(const struct part *part, size_t next, const struct slot *entry)
{
    size_t home = home_of(part, slot_hash(entry));
    size_t at = next > home ? next : home;
    *slot_at(part, at) = *entry;
    return at + 1;
}

/*
 * Move all entries ahead to where they belong, which is before where each is, and put
 * fresh ones between them, which are in order of their hashes, too. Returns the place
 * behind the last.
 */
static size_t merge_slots(const struct part *part, size_t from, const struct slot *fresh,
                          size_t count)
{
    size_t next = 0;
    const struct slot *fresh_end = fresh + count;
    struct slot *slot = NULL;
    for (size_t at = from; at < from + part->slot_count; at++, slot++) {
        if (at % CHUNK_SLOTS == 0) {
            slot = slot_at(part, at);
        }
        if (at % SETTLE_AHEAD_SLOTS == 0 && at / CHUNK_SLOTS + 1 < part->chunk_count) {
            prefetch_slots(part, at + CHUNK_SLOTS);
        }
        assert(slot != NULL); /* `from` is where a chunk begins */
        if (slot_is_empty(slot)) {
            continue;
        }
        uint32_t hash = slot_hash(slot);
        while (fresh < fresh_end && slot_hash(fresh) < hash) {
            next = place_next(part, next, fresh++);
        }
        next = place_next(part, next, slot);
        assert(next <= at);
        slot->key_length = 0;
    }
    while (fresh < fresh_end) {
        next = place_next(part, next, fresh++);
    }
    return next;
}

/*
 * As grow, but with so many chunks more before the others that every entry moves ahead,
 * whatever comes before it. As many are given back from the end.
 */
enum status part_merge(struct part *part, const struct slot *entries, size_t count)
{
    struct part_size size = part_size_with_room(size_of(part), part->number,
                                                (uint64_t)part->entry_count + count);
    size_t homes_more = (size_t)size.home_count - part->home_count;
    size_t more = (homes_more + count) / CHUNK_SLOTS + 1;
    enum status status =
        size.slot_count > UINT32_MAX / 2 ? KV_NO_MEMORY : take_chunks(part, more);
    if (status != KV_OK) {
        return status;
    }
    size_t from = more * CHUNK_SLOTS;
    part->home_count = (uint32_t)size.home_count;
    size_t end = merge_slots(part, from, entries, count);
    part->entry_count += (uint32_t)count;
    part->version++;
    if (end < size.slot_count) {
        part->slot_count = (uint32_t)size.slot_count;
        part->is_last_used = false;
        give_chunks(part, size.chunk_count);
        return KV_OK;
    }
    /* A crowd at the end: all that the chunks have is used until it has grown. */
    part->slot_count = (uint32_t)(part->chunk_count * CHUNK_SLOTS);
    part->is_last_used = true;
    return grow(part, part_size_beyond(size, part->number));
}
