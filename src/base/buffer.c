/*
 * Growth doubles, so that appending costs a constant per byte over time.
 */
#include "base/buffer.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_BYTES_MIN = 4096 };

enum status buffer_reserve(struct buffer *buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->length) {
        return KV_OK;
    }
    if (more > SIZE_MAX / 2 - buffer->length) {
        return KV_NO_MEMORY;
    }
    size_t needed = buffer->length + more;
    size_t capacity =
        buffer->capacity < CAPACITY_BYTES_MIN ? CAPACITY_BYTES_MIN : buffer->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (bytes == NULL) {
        return KV_NO_MEMORY;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return KV_OK;
}

void buffer_append(struct buffer *buffer, struct slice bytes)
{
    assert(bytes.length <= buffer->capacity - buffer->length);
    if (bytes.length > 0) {
        memcpy(buffer->bytes + buffer->length, bytes.bytes, bytes.length);
        buffer->length += bytes.length;
    }
}

uint8_t *buffer_extend(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->capacity - buffer->length);
    uint8_t *place = buffer->bytes + buffer->length;
    buffer->length += count;
    return place;
}

void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    assert(buffer->length < buffer->capacity);
    buffer->bytes[buffer->length++] = byte;
}

void buffer_drop_front(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->length);
    buffer->length -= count;
    if (buffer->length > 0) {
        memmove(buffer->bytes, buffer->bytes + count, buffer->length);
    }
}

void buffer_trim(struct buffer *buffer, size_t kept)
{
    if (buffer->capacity <= kept || buffer->length > kept || kept == 0) {
        return;
    }
    uint8_t *bytes = realloc(buffer->bytes, kept);
    if (bytes != NULL) {
        buffer->bytes = bytes;
        buffer->capacity = kept;
    }
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}
