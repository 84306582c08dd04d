/*
 * What tests of the index and of its image do with one: make it, fill it, count it.
 */
#ifndef KV_SUPPORT_ENTRIES_H
#define KV_SUPPORT_ENTRIES_H

#include "engine/index.h"

/* Released with index_destroy. */
struct index *entries_create(void);

void entries_insert(struct index *index, uint64_t hash, struct location location);

/* Staged deletes included. */
uint64_t entries_count(const struct index *index);

/* Fill an empty index with the entries of another, as an image does. KV_NO_MEMORY. */
enum status entries_copy(struct index *copy, const struct index *index);

#endif
