/*
 * Room is made half as much again as is needed.
 */
#include "support/bytes.h"

#include <string.h>

void bytes_reserve(struct bytes *bytes, size_t more)
{
    if (more > bytes->capacity - bytes->length) {
        bytes->capacity = (bytes->length + more) * 3 / 2 + 64;
        bytes->at = resize(bytes->at, bytes->capacity);
    }
}

void bytes_put(struct bytes *bytes, const void *from, size_t length)
{
    bytes_reserve(bytes, length);
    if (length > 0) {
        memcpy(bytes->at + bytes->length, from, length);
    }
    bytes->length += length;
}

void bytes_set_length(struct bytes *bytes, size_t length)
{
    if (length > bytes->length) {
        size_t more = length - bytes->length;
        bytes_reserve(bytes, more);
        memset(bytes->at + bytes->length, 0, more);
    }
    bytes->length = length;
}
