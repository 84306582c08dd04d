/*
 * Reading is forgiving; writing it anew tells whether it was the one text.
 */
#include "base/decimal.h"

#include <inttypes.h>
#include <stdio.h>

struct decimal decimal_of(int64_t number)
{
    struct decimal decimal;
    int length =
        snprintf((char *)decimal.bytes, sizeof decimal.bytes, "%" PRId64, number);
    decimal.length = (size_t)length; /* it fits */
    return decimal;
}

bool decimal_parse(struct slice text, int64_t *number_out)
{
    bool is_negative = text.length > 0 && text.bytes[0] == '-';
    uint64_t magnitude = 0;
    for (size_t i = is_negative ? 1 : 0; i < text.length; i++) {
        uint64_t digit = (uint64_t)text.bytes[i] - '0';
        if (digit > 9 || magnitude > (UINT64_MAX - digit) / 10) {
            return false;
        }
        magnitude = magnitude * 10 + digit;
    }
    if (magnitude > (uint64_t)INT64_MAX + (is_negative ? 1 : 0)) {
        return false;
    }
    int64_t number = magnitude > INT64_MAX ? INT64_MIN : (int64_t)magnitude;
    *number_out = is_negative && number > 0 ? -number : number;
    struct decimal only = decimal_of(*number_out);
    return slice_equal(text, (struct slice){only.bytes, only.length});
}

bool decimal_add(int64_t a, int64_t b, int64_t *sum_out)
{
    bool is_too_large = b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b;
    *sum_out = is_too_large ? 0 : a + b;
    return !is_too_large;
}
