/*
 * Only record.c knows the bytes; this knows in which order they stand in a log.
 */
#include "support/image.h"

#include "base/crc32c.h"

#include <stdlib.h>

void image_append(struct image *image, struct slice bytes)
{
    if (buffer_reserve(&image->log, bytes.length) != KV_OK) {
        abort();
    }
    buffer_append(&image->log, bytes);
}

/* Everything so far is now before the last seal. */
static void move_chain(struct image *image)
{
    struct slice added =
        slice_after(buffer_slice(&image->log), (size_t)image->sealed_length);
    image->chain = crc32c(image->chain, added);
    image->sealed_length = image->log.length;
}

void image_begin(struct image *image, const struct opening *opening)
{
    uint8_t bytes[OPENING_BYTES];
    *image = (struct image){.log_id = opening->log_id};
    record_encode_opening(bytes, opening);
    image_append(image, (struct slice){bytes, sizeof bytes});
    move_chain(image);
}

void image_begin_first(struct image *image)
{
    struct opening opening = {
        .version = RECORD_FORMAT_VERSION,
        .log_id = IMAGE_LOG_ID,
        .generation = 1,
    };
    image_begin(image, &opening);
}

void image_begin_next(struct image *image, const struct image *older, uint64_t generation)
{
    const struct opening opening = {
        .version = RECORD_FORMAT_VERSION,
        .log_id = IMAGE_FOREIGN_ID,
        .generation = generation,
        .older_id = older->log_id,
        .older_length = older->sealed_length,
    };
    image_begin(image, &opening);
}

void image_free(struct image *image)
{
    buffer_free(&image->log);
}

void image_put(struct image *image, struct slice key, struct slice value)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, key.length, value.length);
    image_append(image, (struct slice){header, sizeof header});
    image_append(image, key);
    image_append(image, value);
}

void image_put_text(struct image *image, const char *key, const char *value)
{
    image_put(image, slice_of_text(key), slice_of_text(value));
}

void image_delete(struct image *image, const char *key)
{
    image_put(image, slice_of_text(key), record_tombstone_value());
}

void image_drained(struct image *image, uint64_t older_id)
{
    uint8_t bytes[DRAINED_BYTES];
    struct drained drained = {image->log_id, older_id};
    record_encode_drained(bytes, &drained, image->log.length);
    image_append(image, (struct slice){bytes, sizeof bytes});
}

void image_seal_durable(struct image *image, uint64_t durable_length)
{
    uint8_t bytes[SEAL_BYTES];
    move_chain(image);
    struct seal seal = {image->log_id, durable_length, image->chain};
    record_encode_seal(bytes, &seal, image->log.length);
    image_append(image, (struct slice){bytes, sizeof bytes});
    move_chain(image);
}

void image_seal(struct image *image)
{
    image_seal_durable(image, image->sealed_length);
}

struct slice image_slice(const struct image *image)
{
    return buffer_slice(&image->log);
}

void image_cut(struct image *image, uint64_t length)
{
    if (length > image->log.length) {
        abort();
    }
    image->log.length = (size_t)length;
}

void image_grow(struct image *image, uint64_t count, uint8_t byte)
{
    if (buffer_reserve(&image->log, (size_t)count) != KV_OK) {
        abort();
    }
    memset(image->log.bytes + image->log.length, byte, (size_t)count);
    image->log.length += (size_t)count;
}

void image_flip(struct image *image, uint64_t offset, unsigned bit)
{
    if (offset >= image->log.length) {
        abort();
    }
    image->log.bytes[offset] ^= (uint8_t)(1u << bit);
}

void image_fill(struct image *image, uint64_t from, uint64_t to, uint8_t byte)
{
    if (from > to || to > image->log.length) {
        abort();
    }
    memset(image->log.bytes + from, byte, (size_t)(to - from));
}

void image_remove(struct image *image, uint64_t from, uint64_t to)
{
    if (from > to || to > image->log.length) {
        abort();
    }
    uint8_t *bytes = image->log.bytes;
    memmove(bytes + from, bytes + to, image->log.length - (size_t)to);
    image->log.length -= (size_t)(to - from);
}

void image_insert(struct image *image, uint64_t at, struct slice bytes)
{
    if (at > image->log.length || buffer_reserve(&image->log, bytes.length) != KV_OK) {
        abort();
    }
    uint8_t *place = image->log.bytes + at;
    memmove(place + bytes.length, place, image->log.length - (size_t)at);
    memcpy(place, bytes.bytes, bytes.length);
    image->log.length += bytes.length;
}

uint64_t image_make_seal_apart(struct image *image)
{
    enum { PAGE = 4096 };
    static char value[3 * PAGE];
    memset(value, 'v', sizeof value - 1);
    image_begin_first(image);
    image_put_text(image, "key", "value");
    image_seal(image);
    uint64_t end = image->log.length;
    image_put_text(image, "long", value);
    image_seal(image);
    image_flip(image, end + 2, 0);
    uint64_t seal_page = (image->log.length - 1) / PAGE * PAGE;
    image_grow(image, 2 * PAGE, 0);
    return seal_page;
}
