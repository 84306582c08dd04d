/*
 * Bytes that end at an unreadable page: reading one byte too many ends the test
 * program at the very place.
 */
#ifndef KV_TESTS_GUARDED_H
#define KV_TESTS_GUARDED_H

#include "base/slice.h"

struct guarded {
    uint8_t *pages;
    size_t bytes_max;   /* readable bytes */
    size_t pages_bytes; /* the unreadable page included */
};

/* Room for up to `bytes_max` bytes.  A test without memory ends. */
void guarded_create(struct guarded *guarded, size_t bytes_max);
void guarded_destroy(struct guarded *guarded);

/*
 * A copy of the bytes, flush against the unreadable page; valid until the next call.
 * The byte before the copy is a letter, so that a step back is seen as well.
 */
struct slice guarded_place(struct guarded *guarded, struct slice bytes);

#endif
