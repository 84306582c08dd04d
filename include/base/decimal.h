/*
 * Whole numbers of 64 bits as decimal text, of which each number has exactly one: digits
 * without a leading zero, behind a minus sign if it is negative.
 */
#ifndef KV_DECIMAL_H
#define KV_DECIMAL_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* The longest: a sign and 19 digits. */
enum { DECIMAL_BYTES_MAX = 20 };

/* The text of a number. */
struct decimal {
    uint8_t bytes[DECIMAL_BYTES_MAX + 1]; /* a NUL follows */
    size_t length;
};

struct decimal decimal_of(int64_t number);

/* false: the text is not that of a number of 64 bits. */
bool decimal_parse(struct slice text, int64_t *number_out);

/* false: the sum does not fit into 64 bits. */
bool decimal_add(int64_t a, int64_t b, int64_t *sum_out);

#endif
