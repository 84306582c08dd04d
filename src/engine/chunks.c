#include "engine/chunks.h"

#include "base/bounds.h"
#include "base/platform.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Small slabs first: most indexes are small. */
#define SMALL_SLABS      8
#define SMALL_SLAB_BYTES (2 * MIB)
#define HUGE_SLAB_BYTES  (8 * MIB)
#define HUGE_PAGE_BYTES  (2 * MIB)

/* Memory that was not touched yet is the system's still, so slabs may be generous. */
struct slab {
    void *memory;
    struct chunk *chunks; /* in it */
    size_t chunk_count;   /* that have room in it */
};

static void release_last(struct chunks *chunks)
{
    free(chunks->slabs[--chunks->slab_count].memory);
}

void chunks_destroy(struct chunks *chunks)
{
    while (chunks->slab_count > 0) {
        release_last(chunks);
    }
    free(chunks->slabs);
    *chunks = (struct chunks){0};
}

static bool make_slab(struct slab *slab, size_t number)
{
    bool is_huge = number >= SMALL_SLABS;
    size_t bytes = is_huge ? HUGE_SLAB_BYTES : SMALL_SLAB_BYTES;
    uint8_t *memory = malloc(is_huge ? bytes + HUGE_PAGE_BYTES : bytes);
    if (memory == NULL) {
        return false;
    }
    uint8_t *start = memory;
    if (is_huge) {
        start +=
            (HUGE_PAGE_BYTES - (uintptr_t)memory % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
        KV_PREFER_HUGE_PAGES(start, bytes);
    }
    void *chunks = start;
    *slab = (struct slab){memory, chunks, bytes / sizeof(struct chunk)};
    return true;
}

static enum status add_slab(struct chunks *chunks)
{
    struct slab *slabs = calloc(chunks->slab_count + 1, sizeof *slabs);
    if (slabs == NULL || !make_slab(&slabs[chunks->slab_count], chunks->slab_count)) {
        free(slabs);
        return KV_NO_MEMORY;
    }
    for (size_t i = 0; i < chunks->slab_count; i++) {
        slabs[i] = chunks->slabs[i];
    }
    free(chunks->slabs);
    chunks->slabs = slabs;
    chunks->slab_count++;
    chunks->used_count = 0;
    return KV_OK;
}

enum status chunks_take(struct chunks *chunks, struct chunk **holder)
{
    if (chunks->slab_count == 0 ||
        chunks->used_count == chunks->slabs[chunks->slab_count - 1].chunk_count) {
        enum status status = add_slab(chunks);
        if (status != KV_OK) {
            return status;
        }
    }
    struct chunk *chunk =
        &chunks->slabs[chunks->slab_count - 1].chunks[chunks->used_count++];
    memset(chunk, 0, sizeof *chunk);
    chunk->holder = holder;
    *holder = chunk;
    chunks->count++;
    return KV_OK;
}

void chunks_give(struct chunks *chunks, struct chunk *chunk)
{
    assert(chunks->used_count > 0);
    struct slab *slab = &chunks->slabs[chunks->slab_count - 1];
    const struct chunk *last = &slab->chunks[--chunks->used_count];
    if (chunk != last) {
        *chunk = *last;
        *chunk->holder = chunk;
    }
    chunks->count--;
    if (chunks->used_count == 0) {
        release_last(chunks);
        chunks->used_count = chunks->slab_count == 0
                                 ? 0
                                 : chunks->slabs[chunks->slab_count - 1].chunk_count;
        KV_RETURN_MEMORY();
    }
}
