/*
 * Fixed-width integers to and from big-endian bytes, one byte at a time, so that
 * neither the byte order nor the alignment of the machine matters. Written out, because
 * compilers make one load or store of that.
 */
#ifndef KV_BYTES_H
#define KV_BYTES_H

#include <stdint.h>

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
    out[0] = (uint8_t)(number >> 56);
    out[1] = (uint8_t)(number >> 48);
    out[2] = (uint8_t)(number >> 40);
    out[3] = (uint8_t)(number >> 32);
    out[4] = (uint8_t)(number >> 24);
    out[5] = (uint8_t)(number >> 16);
    out[6] = (uint8_t)(number >> 8);
    out[7] = (uint8_t)number;
}

static inline uint64_t bytes_get_u64(const uint8_t in[8])
{
    return (uint64_t)in[0] << 56 | (uint64_t)in[1] << 48 | (uint64_t)in[2] << 40 |
           (uint64_t)in[3] << 32 | (uint64_t)in[4] << 24 | (uint64_t)in[5] << 16 |
           (uint64_t)in[6] << 8 | (uint64_t)in[7];
}

#endif
