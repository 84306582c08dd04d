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

/*
 * The instruction takes three cycles but can begin one each: long runs are done in three
 * lanes side by side, which are joined by shifting a register over a lane of zeros.
 */
enum { LANE_WORDS = 64, LANE_BYTES = LANE_WORDS * 8 };

/* shifts[k][b]: the register b << 8k after LANE_BYTES zero bytes. */
static uint32_t shifts[4][256];
static bool shifts_are_made;

static uint32_t after_zeros(uint32_t state)
{
    for (int i = 0; i < LANE_BYTES; i++) {
        state = state >> 8 ^ tables[0][state & 0xff];
    }
    return state;
}

/* The shift is linear: the bits of a byte are shifted one by one and added up. */
static void make_shifts(void)
{
    make_tables();
    for (int k = 0; k < 4; k++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t shifted = after_zeros(UINT32_C(1) << (8 * k + bit));
            for (int byte = 0; byte < 256; byte++) {
                shifts[k][byte] ^= (byte >> bit & 1) != 0 ? shifted : 0;
            }
        }
    }
    shifts_are_made = true;
}

static uint32_t shift_over_lane(uint32_t state)
{
    return shifts[0][state & 0xff] ^ shifts[1][state >> 8 & 0xff] ^
           shifts[2][state >> 16 & 0xff] ^ shifts[3][state >> 24];
}

/* The words of the instruction and of the machine are both little-endian. */
static inline uint64_t word_at(const uint8_t *bytes, size_t number)
{
    uint64_t word;
    memcpy(&word, bytes + number * 8, 8);
    return word;
}

KV_TARGET_CRC32C static uint32_t three_lanes(uint32_t state, const uint8_t *bytes)
{
    uint64_t first = state;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < LANE_WORDS; i++) {
        first = _mm_crc32_u64(first, word_at(bytes, i));
        second = _mm_crc32_u64(second, word_at(bytes, i + LANE_WORDS));
        third = _mm_crc32_u64(third, word_at(bytes, i + (size_t)LANE_WORDS * 2));
    }
    uint32_t joined = shift_over_lane((uint32_t)first) ^ (uint32_t)second;
    return shift_over_lane(joined) ^ (uint32_t)third;
}

KV_TARGET_CRC32C static uint32_t crc32c_x86(uint32_t crc, struct slice bytes)
{
    uint64_t state = ~crc;
    if (bytes.length >= (size_t)LANE_BYTES * 3 && !shifts_are_made) {
        make_shifts();
    }
    while (bytes.length >= (size_t)LANE_BYTES * 3) {
        state = three_lanes((uint32_t)state, bytes.bytes);
        bytes = slice_after(bytes, (size_t)LANE_BYTES * 3);
    }
    while (bytes.length >= 8) {
        state = _mm_crc32_u64(state, word_at(bytes.bytes, 0));
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
