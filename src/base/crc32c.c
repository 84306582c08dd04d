/*
 * CRC-32C: eight tables that take eight bytes a step, or the processor's own
 * instruction, chosen at the first call.
 */
#include "base/crc32c.h"

#include "base/platform.h"

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

KV_OUT_OF_LINE uint32_t crc32c_portable(uint32_t crc, struct slice bytes)
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
 * The instruction takes three cycles but one can begin each cycle, so runs are done in
 * three lanes side by side: long ones for speed, short ones so that small records gain,
 * too. Lanes are joined by shifting a register over as many zero bytes as the lanes
 * behind it have: a carry-less product with x^(8n - 33) mod P, bits reversed, of which
 * the instruction itself takes the remainder (Gopal et al., "Fast CRC Computation for
 * iSCSI Polynomial Using CRC32 Instruction", 2011).
 */
enum { LONG_WORDS = 64, SHORT_WORDS = 5 };

struct lanes {
    size_t words;      /* of eight bytes, in each lane */
    uint32_t over_one; /* the factor that shifts over one lane */
    uint32_t over_two;
};

static const struct lanes long_lanes = {LONG_WORDS, 0xdd7e3b0c, 0x170076fa};
static const struct lanes short_lanes = {SHORT_WORDS, 0x3da6d0cb, 0x39d3b296};

/* The words of the instruction and of the machine are both little-endian. */
static inline uint64_t word_at(const uint8_t *bytes, size_t number)
{
    uint64_t word;
    memcpy(&word, bytes + number * 8, 8);
    return word;
}

KV_TARGET_CRC32C static inline uint64_t shift(uint64_t state, uint32_t factor)
{
    return _mm_crc32_u64(0, KV_CARRYLESS_PRODUCT(state, factor));
}

KV_TARGET_CRC32C static inline uint64_t three_lanes(uint64_t state, const uint8_t *bytes,
                                                    const struct lanes *lanes)
{
    size_t words = lanes->words;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < words; i++) {
        state = _mm_crc32_u64(state, word_at(bytes, i));
        second = _mm_crc32_u64(second, word_at(bytes, i + words));
        third = _mm_crc32_u64(third, word_at(bytes, i + words * 2));
    }
    return shift(state, lanes->over_two) ^ shift(second, lanes->over_one) ^ third;
}

/* As many lanes as there are whole ones; the rest of the bytes is left. */
KV_TARGET_CRC32C static inline uint64_t take_lanes(uint64_t state, struct slice *bytes,
                                                   const struct lanes *lanes)
{
    size_t step = lanes->words * 8 * 3;
    while (bytes->length >= step) {
        state = three_lanes(state, bytes->bytes, lanes);
        *bytes = slice_after(*bytes, step);
    }
    return state;
}

KV_TARGET_CRC32C static uint32_t crc32c_x86(uint32_t crc, struct slice bytes)
{
    uint64_t state = take_lanes(~crc, &bytes, &long_lanes);
    state = take_lanes(state, &bytes, &short_lanes);
    while (bytes.length >= 8) {
        state = _mm_crc32_u64(state, word_at(bytes.bytes, 0));
        bytes = slice_after(bytes, 8);
    }
    uint32_t tail = (uint32_t)state;
    if (bytes.length >= 4) {
        uint32_t half;
        memcpy(&half, bytes.bytes, 4);
        tail = _mm_crc32_u32(tail, half);
        bytes = slice_after(bytes, 4);
    }
    for (size_t i = 0; i < bytes.length; i++) {
        tail = _mm_crc32_u8(tail, bytes.bytes[i]);
    }
    return ~tail;
}

#endif

uint32_t crc32c(uint32_t crc, struct slice bytes)
{
#if KV_HAVE_X86_CRC32C
    if (KV_X86_CRC32C_IS_THERE()) {
        return crc32c_x86(crc, bytes);
    }
#endif
    return crc32c_portable(crc, bytes);
}
