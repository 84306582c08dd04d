/*
 * Fixed-width integers to and from big-endian bytes, one byte at a time, so that
 * neither the byte order nor the alignment of the machine matters.
 */
#ifndef KV_BYTES_H
#define KV_BYTES_H

#include <stdint.h>

static inline void bytes_put_u64(uint8_t out[8], uint64_t number)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)number;
        number >>= 8;
    }
}

static inline uint64_t bytes_get_u64(const uint8_t in[8])
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number = number << 8 | in[i];
    }
    return number;
}

#endif
