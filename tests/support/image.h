/*
 * A sealed log built in memory, and ways to hurt it. Writes no file.
 */
#ifndef KV_TESTS_IMAGE_H
#define KV_TESTS_IMAGE_H

#include "base/buffer.h"
#include "log/record.h"

#define IMAGE_LOG_ID     UINT64_C(0x0123456789abcdef)
#define IMAGE_OLDER_ID   UINT64_C(0xfedcba9876543210)
#define IMAGE_FOREIGN_ID UINT64_C(0x5a5a5a5a5a5a5a5a)

struct image {
    struct buffer log;
    uint64_t log_id;
    uint64_t sealed_length; /* end of the last seal, or of the opening record */
    uint32_t chain;         /* CRC-32C of what is before sealed_length */
};

/* Start with an opening record. A test without memory ends, here and below. */
void image_begin(struct image *image, const struct opening *opening);

/* The same with a first log of IMAGE_LOG_ID that continues none. */
void image_begin_first(struct image *image);

/* The same with a log that continues another one, which is sealed to its end. */
void image_begin_next(struct image *image, const struct image *older,
                      uint64_t generation);

void image_free(struct image *image);

/* Append one record of the batch that is being built. */
void image_put(struct image *image, struct slice key, struct slice value);
void image_put_text(struct image *image, const char *key, const char *value);
void image_delete(struct image *image, const char *key);
void image_drained(struct image *image, uint64_t older_id);
void image_append(struct image *image, struct slice bytes);

/* End the batch with a seal; it says that everything before the batch was durable. */
void image_seal(struct image *image);

/* The same, but it names the durable length, as --sync everysec lets it lag. */
void image_seal_durable(struct image *image, uint64_t durable_length);

struct slice image_slice(const struct image *image);

/*
 * A first log with the key "key" and a batch of some pages, whose first length is
 * damaged, so that nothing leads to its seal, and space ahead. Returns the offset of the
 * page that the seal ends in: without that, what remains looks like a batch that never
 * was whole.
 */
uint64_t image_make_seal_apart(struct image *image);

/* Damage, to the bytes alone: the chain is not told. */
void image_cut(struct image *image, uint64_t length);
void image_grow(struct image *image, uint64_t count, uint8_t byte);
void image_flip(struct image *image, uint64_t offset, unsigned bit);
void image_fill(struct image *image, uint64_t from, uint64_t to, uint8_t byte);
void image_remove(struct image *image, uint64_t from, uint64_t to);
void image_insert(struct image *image, uint64_t at, struct slice bytes);

#endif
