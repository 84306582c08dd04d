/*
 * A run of bytes that somebody else owns: pointer and length, never apart.
 */
#ifndef KV_SLICE_H
#define KV_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *bytes;
    size_t length;
};

/* The slice of a string literal, without its NUL. */
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

/* The slice of a NUL-terminated text, without the NUL. */
static inline struct slice slice_of_text(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

/* What follows the first count bytes; count is at most the length. */
static inline struct slice slice_after(struct slice slice, size_t count)
{
    return (struct slice){slice.bytes + count, slice.length - count};
}

/* The first count bytes; count is at most the length. */
static inline struct slice slice_first(struct slice slice, size_t count)
{
    return (struct slice){slice.bytes, count};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length &&
           (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static inline bool slice_starts_with(struct slice slice, struct slice prefix)
{
    return slice.length >= prefix.length &&
           slice_equal(slice_first(slice, prefix.length), prefix);
}

/* Copy it to where there is room; returns the place behind the copy. */
static inline uint8_t *slice_copy(struct slice slice, uint8_t *out)
{
    if (slice.length > 0) {
        memcpy(out, slice.bytes, slice.length);
    }
    return out + slice.length;
}

/* Whether all of it, if there is any, is zeros. */
static inline bool slice_is_zero(struct slice slice)
{
    /* The first is zero, and each is as the one before it. */
    return slice.length == 0 ||
           (slice.bytes[0] == 0 &&
            memcmp(slice.bytes, slice.bytes + 1, slice.length - 1) == 0);
}

#endif
