/*
 * Open addressing, at most half full.
 */
#include "support/words.h"

static uint64_t hash_of(struct slice bytes)
{
    uint64_t hash = bytes.length;
    while (bytes.length > 0) {
        uint64_t word = 0;
        size_t length = bytes.length < sizeof word ? bytes.length : sizeof word;
        memcpy(&word, bytes.bytes, length);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 32;
        bytes = slice_after(bytes, length);
    }
    return hash;
}

void words_clear(struct words *words)
{
    words->count = 0;
    words->bytes.length = 0;
    if (words->slot_count > 0) {
        memset(words->slots, 0, words->slot_count * sizeof *words->slots);
    }
}

void words_free(struct words *words)
{
    (void)resize(words->items, 0); /* nothing is left */
    (void)resize(words->slots, 0);
    (void)resize(words->bytes.at, 0);
    *words = (struct words){0};
}

struct slice words_get(const struct words *words, uint32_t number)
{
    const struct word *word = &words->items[number - 1];
    return (struct slice){words->bytes.at + word->at, word->length};
}

/* The slot that holds the bytes, or the empty one where they belong. */
static uint32_t *find_slot(const struct words *words, struct slice bytes, uint64_t hash)
{
    size_t at = (size_t)hash & (words->slot_count - 1);
    while (words->slots[at] != 0 &&
           (words->items[words->slots[at] - 1].hash != hash ||
            !slice_equal(words_get(words, words->slots[at]), bytes))) {
        at = (at + 1) & (words->slot_count - 1);
    }
    return &words->slots[at];
}

static void grow(struct words *words)
{
    words->slot_count = words->slot_count == 0 ? 256 : words->slot_count * 2;
    words->slots = resize(words->slots, words->slot_count * sizeof *words->slots);
    memset(words->slots, 0, words->slot_count * sizeof *words->slots);
    for (uint32_t i = 1; i <= words->count; i++) {
        *find_slot(words, words_get(words, i), words->items[i - 1].hash) = i;
    }
}

uint32_t words_find(const struct words *words, struct slice bytes)
{
    return words->slot_count == 0 ? 0 : *find_slot(words, bytes, hash_of(bytes));
}

uint32_t words_put(struct words *words, struct slice bytes)
{
    if (words->count * 2 >= words->slot_count) {
        grow(words);
    }
    uint64_t hash = hash_of(bytes);
    uint32_t *slot = find_slot(words, bytes, hash);
    if (*slot != 0) {
        return *slot;
    }
    if (words->count == words->capacity) {
        words->capacity = words->capacity * 2 + 64;
        words->items = resize(words->items, words->capacity * sizeof *words->items);
    }
    words->items[words->count++] = (struct word){words->bytes.length, bytes.length, hash};
    bytes_put(&words->bytes, bytes.bytes, bytes.length);
    *slot = (uint32_t)words->count;
    return *slot;
}
