/*
 * CRC-32C: eight tables that take eight bytes a step, or the processor's own
 * instruction, chosen at the first call.
 */
#include "crc32c.h"

#include "platform.h"

#if KV_HAVE_X86_CRC32C
#include <nmmintrin.h>
#endif

#define POLYNOMIAL UINT32_C(0x82f63b78)

/* tables[k][b]: the CRC register after byte b and then k zero bytes. */
static uint32_t tables[8][256];
static bool tables_are_made;

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        }
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][before & 0xff];
        }
    }
    tables_are_made = true;
}

uint32_t crc32c_portable(uint32_t crc, struct slice bytes)
{
    if (!tables_are_made) {
        make_tables();
    }
    crc = ~crc;
    while (bytes.length >= 8) {
        const uint8_t *b = bytes.bytes;
        crc = tables[7][(crc ^ b[0]) & 0xff] ^ tables[6][(crc >> 8 ^ b[1]) & 0xff] ^
              tables[5][(crc >> 16 ^ b[2]) & 0xff] ^ tables[4][crc >> 24 ^ b[3]] ^
              tables[3][b[4]] ^ tables[2][b[5]] ^ tables[1][b[6]] ^ tables[0][b[7]];
        bytes = slice_after(bytes, 8);
    }
    for (size_t i = 0; i < bytes.length; i++) {
        crc = crc >> 8 ^ tables[0][(crc ^ bytes.bytes[i]) & 0xff];
    }
    return ~crc;
}

#if KV_HAVE_X86_CRC32C

KV_TARGET_CRC32C static uint32_t crc32c_x86(uint32_t crc, struct slice bytes)
{
    uint64_t state = ~crc;
    while (bytes.length >= 8) {
        uint64_t word;
        memcpy(&word, bytes.bytes,
               8); /* the instruction and the machine are little-endian */
        state = _mm_crc32_u64(state, word);
        bytes = slice_after(bytes, 8);
    }
    uint32_t tail = (uint32_t)state;
    for (size_t i = 0; i < bytes.length; i++) {
        tail = _mm_crc32_u8(tail, bytes.bytes[i]);
    }
    return ~tail;
}

uint32_t crc32c(uint32_t crc, struct slice bytes)
{
    if (__builtin_cpu_supports("sse4.2")) {
        return crc32c_x86(crc, bytes);
    }
    return crc32c_portable(crc, bytes);
}

#else

uint32_t crc32c(uint32_t crc, struct slice bytes)
{
    return crc32c_portable(crc, bytes);
}

#endif
