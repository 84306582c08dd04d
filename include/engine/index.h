/*
 * The in-memory index: from the hash of a key to the place of its record.
 *
 * It holds no key. A caller steps through the candidates of a hash and compares the
 * key in the log, so memory per key is the same for every key length, and the index
 * never touches a file. A key takes 27 bytes on average, 29 at most: 20 are its slot, and
 * parts of the table are 68 to 85 percent full.
 *
 * Rejected: fuller parts, since probes get long (at 7/8 a look-up took a fifth longer);
 * smaller steps of growth, since each entry is moved more often (by a sixth: a tenth more
 * for an insertion); linear hashing, which splits one bucket at a time, but
 * leaves those that wait for their turn twice as full as the others.
 */
#ifndef KV_INDEX_H
#define KV_INDEX_H

#include "base/bounds.h"
#include "base/buffer.h"
#include "base/status.h"
#include "engine/location.h"

#include <stdbool.h>
#include <stddef.h>

struct index;
struct slot; /* an entry as a part of the index has it: slot.h */

/* So many small tables, numbered from 0; the top bits of a hash choose one. */
#define INDEX_PART_BITS  9
#define INDEX_PART_COUNT (1 << INDEX_PART_BITS)

static inline size_t index_part_of(uint64_t hash)
{
    return (size_t)(hash >> (64 - INDEX_PART_BITS));
}

/* A walk through the candidates of one hash; any change to the index ends it. */
struct index_cursor {
    uint64_t hash;
    size_t slot;
};

/* KV_NO_MEMORY.  Release with index_destroy. */
enum status index_create(struct index **index_out);
void index_destroy(struct index *index);

/*
 * Make sure that one more insertion with this hash cannot fail.
 *
 * May move the entries of one part of the table, a 512th of all: the index is many small
 * tables, each of which grows alone and by a quarter, so that no command waits for all of
 * it.
 * KV_NO_MEMORY: nothing changed.
 */
enum status index_reserve(struct index *index, uint64_t hash);

/* Prefetch the slot where this hash will be looked up. */
void index_prefetch(const struct index *index, uint64_t hash);

/*
 * A number that rises with each insertion, replacement or removal of an entry of this
 * hash, and by others: while it stays, the candidates that were found are right.
 */
uint32_t index_version(const struct index *index, uint64_t hash);

/* Step through candidates; false when there is none left. */
struct index_cursor index_find(const struct index *index, uint64_t hash);
bool index_next(struct index_cursor *cursor, const struct index *index,
                struct location *location_out);

/* Add an entry; room for it was reserved. */
void index_insert(struct index *index, uint64_t hash, const struct location *location);

/*
 * Whether there is an entry of this hash at a place.
 *
 * location: its side and offset say where; all of it is written if there is.
 */
bool index_get(const struct index *index, uint64_t hash, struct location *location);

/*
 * Point the entry of this hash that is at a place to another location, or remove it. Of
 * `from` only side and offset count.
 * Returns false if there is no such entry. Neither needs memory; a part of the table that
 * removals have left less than half as full as it may be is made smaller.
 */
bool index_replace(struct index *index, uint64_t hash, const struct location *from,
                   const struct location *to);
bool index_remove(struct index *index, uint64_t hash, const struct location *from);

/* How many entries were removed so far: what a walk had not visited may have passed it.
 */
uint64_t index_removal_count(const struct index *index);

/* Bytes of memory in use; what was allocated and never touched does not count. */
uint64_t index_bytes(const struct index *index);

/*
 * Visit all entries in no particular order: position starts at 0 and is moved on;
 * false at the end. Replacing entries on the way is allowed, nothing else.
 */
bool index_walk(const struct index *index, uint64_t *position,
                struct location *location_out);

/* Whether a key with this hash may be what the entry last visited at position stands for.
 */
bool index_walk_matches(const struct index *index, uint64_t position, uint64_t hash);

size_t index_part_count(const struct index *index, size_t part);

/* Visit the entries of one part in order of their hashes: slot starts at 0. */
bool index_next_entry(const struct index *index, size_t part, size_t *slot,
                      struct index_entry *entry_out);

/*
 * Fill an empty part with entries in order of their hashes: room for `count` of them,
 * then each. next starts at 0 and is moved on. KV_NO_MEMORY: the index is to be
 * destroyed.
 */
enum status index_begin_part(struct index *index, size_t part, size_t count);
enum status index_append(struct index *index, size_t part, size_t *next,
                         const struct index_entry *entry);

/*
 * Put many entries into one part in order of their hashes, of which it has none yet: a
 * pass over its memory for all of them, where each insertion takes a search.
 * KV_NO_MEMORY: the index is to be destroyed.
 */
enum status index_merge(struct index *index, size_t part, const struct slot *entries,
                        size_t count);

#endif
