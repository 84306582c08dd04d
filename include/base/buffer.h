/*
 * A growable run of bytes with one owner.
 *
 * Room is reserved first, which may fail; appending into reserved room cannot.
 */
#ifndef KV_BUFFER_H
#define KV_BUFFER_H

#include "base/slice.h"
#include "base/status.h"

/* All zero is an empty buffer that owns nothing. */
struct buffer {
    uint8_t *bytes;
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/*
 * Make room for `more` bytes after the ones in use; earlier pointers into the buffer
 * become invalid.
 *
 * KV_NO_MEMORY: the buffer is as it was.
 */
enum status buffer_reserve(struct buffer *buffer, size_t more);

/* Append bytes for which room was reserved. */
void buffer_append(struct buffer *buffer, struct slice bytes);

/*
 * Append bytes for which room was reserved, and which are the caller's to write.
 *
 * Returns their place, which is valid until buffer_reserve.
 */
uint8_t *buffer_extend(struct buffer *buffer, size_t count);

/* Append one byte for which room was reserved. */
void buffer_append_byte(struct buffer *buffer, uint8_t byte);

/* Drop the first `count` bytes in use; the rest moves to the front. */
void buffer_drop_front(struct buffer *buffer, size_t count);

/* Give memory beyond `kept` bytes back if what is in use fits in them. */
void buffer_trim(struct buffer *buffer, size_t kept);

/* Release the memory; the buffer is empty and usable again. */
void buffer_free(struct buffer *buffer);

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return (struct slice){buffer->bytes, buffer->length};
}

#endif
