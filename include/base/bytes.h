/*
 * Fixed-width integers to and from big-endian bytes, one byte at a time, so that
 * neither the byte order nor the alignment of the machine matters. Written out, because
 * compilers make one load of that, but not always one store: a record's header costs 70
 * instructions where they do not, so where the byte order is known that is made for them.
 */
#ifndef KV_BYTES_H
#define KV_BYTES_H

#include "base/platform.h"

#include <stdint.h>
#include <string.h>

static inline void bytes_put_u32(uint8_t out[4], uint32_t number)
{
    out[0] = (uint8_t)(number >> 24);
    out[1] = (uint8_t)(number >> 16);
    out[2] = (uint8_t)(number >> 8);
    out[3] = (uint8_t)number;
}

static inline uint32_t bytes_get_u32(const uint8_t in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static inline void bytes_put_u64(uint8_t out[8], uint64_t number)
{
#ifdef KV_BIG_ENDIAN_64
    uint64_t word = KV_BIG_ENDIAN_64(number);
    memcpy(out, &word, sizeof word);
#else
    bytes_put_u32(out, (uint32_t)(number >> 32));
    bytes_put_u32(out + 4, (uint32_t)number);
#endif
}

static inline uint64_t bytes_get_u64(const uint8_t in[8])
{
    return (uint64_t)in[0] << 56 | (uint64_t)in[1] << 48 | (uint64_t)in[2] << 40 |
           (uint64_t)in[3] << 32 | (uint64_t)in[4] << 24 | (uint64_t)in[5] << 16 |
           (uint64_t)in[6] << 8 | (uint64_t)in[7];
}

#endif
