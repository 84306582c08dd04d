/*
 * Changes in a form that loads elsewhere, on standard output: SET and DELETE lines for a
 * kv-store, or the Redis protocol (RESP2).
 *
 * They are gathered in memory, so that whoever puts them can take back what turns out
 * not to be as it was verified, and few calls write many.
 */
#ifndef KV_LINES_H
#define KV_LINES_H

#include "base/bounds.h"
#include "base/buffer.h"

enum lines_format {
    LINES_SET, /* lines that nc sends to a kv-store */
    LINES_RESP /* for redis-cli --pipe */
};

/* Zero but for the format it has no lines. Release with lines_free. */
struct lines {
    enum lines_format format;
    struct buffer text; /* not written yet */
};

/*
 * KV_PARTIAL: left out, since no line can carry the key, or its value (reported).
 * KV_NO_MEMORY: not put (reported).
 */
enum status lines_put_set(struct lines *lines, struct slice key, struct slice value);
enum status lines_put_delete(struct lines *lines, struct slice key);

/* Whether it is time to write them. */
static inline bool lines_are_many(const struct lines *lines)
{
    return lines->text.length >= LINES_BYTES_MAX;
}

/*
 * Write what was put; waits for the reader.
 *
 * KV_NOT_FOUND: the reader has gone, which is no failure of ours (not reported).
 * KV_IO: it cannot be written (reported).
 */
enum status lines_write(struct lines *lines);

/* Forget what was put and not written. */
void lines_drop(struct lines *lines);

void lines_free(struct lines *lines);

#endif
