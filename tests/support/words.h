/*
 * Byte strings with numbers: the same bytes have the same number. 0 is none.
 */
#ifndef KV_SUPPORT_WORDS_H
#define KV_SUPPORT_WORDS_H

#include "base/slice.h"
#include "support/bytes.h"

struct word {
    size_t at;
    size_t length;
    uint64_t hash;
};

/* All zero is empty. */
struct words {
    struct word *items; /* number 1 is the first */
    size_t count;
    size_t capacity;
    uint32_t *slots;
    size_t slot_count; /* a power of two */
    struct bytes bytes;
};

void words_clear(struct words *words);
void words_free(struct words *words);
uint32_t words_put(struct words *words, struct slice bytes);

/* 0: there is none. */
uint32_t words_find(const struct words *words, struct slice bytes);

/* Borrowed until more are put. */
struct slice words_get(const struct words *words, uint32_t number);

#endif
