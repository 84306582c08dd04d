/*
 * A part of the index: a table of its own, with open addressing, for the hashes whose top
 * bits say so.
 *
 * It holds no key and no file: of equal hashes all are candidates.
 */
#ifndef KV_PART_H
#define KV_PART_H

#include "base/status.h"
#include "engine/chunks.h"
#include "engine/location.h"

#include <stddef.h>

struct slot;

struct part {
    struct chunks *memory; /* borrowed: where chunks come from */
    struct chunk **chunks; /* homes, then spare slots */
    uint32_t number;
    uint32_t chunk_count;
    uint32_t home_count;
    uint32_t slot_count; /* all that the chunks have, but for a part of one chunk */
    uint32_t entry_count;
    uint32_t version;  /* raised with each change of an entry */
    bool is_last_used; /* the last slot, once in this size: no probe may have to go on */
};

/* Empty, and without memory yet. */
void part_init(struct part *part, struct chunks *chunks, uint32_t number);

/* Its chunks go with those of all parts, by chunks_destroy. */
void part_destroy(struct part *part);

/* Make room for one more. May move all entries.  KV_NO_MEMORY: nothing changed. */
enum status part_reserve(struct part *part, uint64_t hash);

/* Prefetch the slot where this hash will be looked up. */
void part_prefetch(const struct part *part, uint64_t hash);

/* Step through the candidates of a hash: `at` starts at its home and is moved on. */
size_t part_home(const struct part *part, uint64_t hash);
bool part_next(const struct part *part, uint64_t hash, size_t *at,
               struct location *location_out);

/* As the calls of index.h on entries; room to insert was reserved. */
void part_insert(struct part *part, uint64_t hash, const struct location *location);
bool part_get(const struct part *part, uint64_t hash, struct location *location);
bool part_replace(struct part *part, uint64_t hash, const struct location *from,
                  const struct location *to);
bool part_remove(struct part *part, uint64_t hash, const struct location *from);

/* Visit all in order of their hashes: slot starts at 0. false: there are no more. */
bool part_visit(const struct part *part, size_t *slot, struct index_entry *entry_out);

/* The low bits of the hash of the entry in a slot. */
uint32_t part_hash_at(const struct part *part, size_t slot);

/* Fill an empty part in order: room for so many, then each. next starts at 0 and is moved
 * on.  KV_NO_MEMORY: it is to be destroyed. */
enum status part_begin(struct part *part, size_t count);
enum status part_append(struct part *part, size_t *next, const struct index_entry *entry);

/*
 * Put in many at once, in order of their hashes, which the part has none of.
 * KV_NO_MEMORY: it is to be destroyed.
 */
enum status part_merge(struct part *part, const struct slot *entries, size_t count);

#endif
