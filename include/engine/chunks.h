/*
 * The memory of the index: chunks of one size, which stand close together.
 *
 * Chunks are taken and given back one at a time. Where one was given back the last one
 * moves to, so there are no holes, whatever order the parts of the index grow and shrink
 * in, and the system gets back what is empty at the end. A chunk knows where the pointer
 * to it stands, and moving it sets that pointer anew.
 *
 * The memory comes in slabs. From the ninth on they are asked to be huge pages, where
 * the system has such: that saves a look-up half of its walks through page tables, and
 * rounds what is resident up to 2 MiB, too much for a small index.
 *
 * Rejected: a table for each part from the C library. Growing tables leave holes that
 * only smaller ones would fit into, 3.7 bytes a key of them; and of tables smaller than
 * 2 MiB no system makes huge pages.
 */
#ifndef KV_CHUNKS_H
#define KV_CHUNKS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES 2560

struct chunk {
    struct chunk **holder; /* where the pointer to this chunk stands */
    uint32_t words[CHUNK_BYTES / sizeof(uint32_t)];
};

struct slab;

/* All zero is one without chunks.  Release with chunks_destroy. */
struct chunks {
    struct slab *slabs;
    size_t slab_count;
    size_t used_count; /* chunks of the last slab in use */
    size_t count;      /* of all slabs */
};

/* The chunks are gone with it. */
void chunks_destroy(struct chunks *chunks);

/*
 * Take a chunk, all zero.
 *
 * holder: gets the pointer to it, and again whenever the chunk moves; if the holder
 * itself moves, chunk->holder is to be set.
 * KV_NO_MEMORY: nothing changed.
 */
enum status chunks_take(struct chunks *chunks, struct chunk **holder);

/* Give a chunk back. Another may move into its place: pointers to slots are void. */
void chunks_give(struct chunks *chunks, struct chunk *chunk);

#endif
