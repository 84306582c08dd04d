/*
 * CRC-32C: the published vectors, and the fast ways against the slow one.
 */
#include "base/crc32c.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

#include <stdbool.h>

/* Long runs are done in three lanes of 512 bytes: twice so many, and some bytes. */
enum { LANES_BYTES = 3 * 512, LENGTH_MAX = 2 * LANES_BYTES + 20, ALIGNMENTS = 16 };

/* Short, or just around whole lanes. */
static bool is_worth_a_look(size_t length)
{
    return length <= 300 || (length + 9) % LANES_BYTES <= 18;
}

/* The definition, one bit at a time. */
static uint32_t slow_crc32c(uint32_t crc, struct slice bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes.length; i++) {
        crc ^= bytes.bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            bool carries = (crc & 1) != 0;
            crc >>= 1;
            if (carries) {
                crc ^= UINT32_C(0x82f63b78);
            }
        }
    }
    return ~crc;
}

static void fill(uint8_t *bytes, size_t length)
{
    struct dice dice;
    dice_begin(&dice);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)dice_next(&dice);
    }
}

/* Both ways, fast and portable. */
static void expect_crc(uint32_t start, struct slice bytes, uint32_t crc)
{
    assert_int_equal(crc32c(start, bytes), crc);
    assert_int_equal(crc32c_portable(start, bytes), crc);
}

static void crc32c_gives_the_published_values(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        uint32_t crc;
    } cases[] = {
        {"", 0, 0},
        {"a", 1, UINT32_C(0xc1d04330)},
        {"123456789", 9, UINT32_C(0xe3069283)},
        /* RFC 3720 B.4: zeros, bytes that rise, and an iSCSI SCSI Read (10) command. */
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
         UINT32_C(0x8a9136aa)},
        {"\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27"
         "\30\31\32\33\34\35\36\37",
         32, UINT32_C(0x46dd794e)},
        {"\x01\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\x04\0\0\0\0\x14\0\0\0\x18"
         "\x28\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0",
         48, UINT32_C(0xd9963a56)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice bytes = {(const uint8_t *)cases[i].bytes, cases[i].length};
        expect_crc(0, bytes, cases[i].crc);
        assert_int_equal(slow_crc32c(0, bytes), cases[i].crc);
    }
    expect_crc(0, (struct slice){NULL, 0}, 0);
    expect_crc(0xdeadbeef, (struct slice){NULL, 0}, 0xdeadbeef);
}

static void crc32c_is_the_same_at_every_length_and_alignment(void **state)
{
    (void)state;
    uint8_t bytes[LENGTH_MAX + ALIGNMENTS];
    fill(bytes, sizeof bytes);
    for (size_t alignment = 0; alignment < ALIGNMENTS; alignment++) {
        uint32_t expected = 0;
        for (size_t length = 0; length <= LENGTH_MAX; length++) {
            struct slice slice = {bytes + alignment, length};
            if (is_worth_a_look(length)) {
                expect_crc(0, slice, expected);
            }
            struct slice next = {bytes + alignment + length, 1};
            if (length < LENGTH_MAX) {
                expected = slow_crc32c(expected, next);
            }
        }
    }
}

static void crc32c_continues_over_any_split(void **state)
{
    (void)state;
    uint8_t bytes[LENGTH_MAX];
    fill(bytes, sizeof bytes);
    struct slice whole = {bytes, sizeof bytes};
    uint32_t expected = slow_crc32c(0, whole);
    for (size_t split = 0; split <= whole.length; split++) {
        struct slice first = slice_first(whole, split);
        struct slice rest = slice_after(whole, split);
        assert_int_equal(crc32c(crc32c(0, first), rest), expected);
        assert_int_equal(crc32c_portable(crc32c_portable(0, first), rest), expected);
        assert_int_equal(crc32c(crc32c_portable(0, first), rest), expected);
    }
}

/* The whole register is carried on, whatever was in it. */
static void crc32c_continues_from_any_value(void **state)
{
    static const uint32_t starts[] = {0,          1,          0x80000000,
                                      0x7fffffff, 0xffffffff, 0xdeadbeef};
    (void)state;
    uint8_t bytes[LENGTH_MAX];
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        /* Bytes, words and lanes, and steps between that are no multiple of any. */
        for (size_t length = 0; length <= sizeof bytes; length += length < 41 ? 1 : 37) {
            struct slice slice = {bytes, length};
            expect_crc(starts[i], slice, slow_crc32c(starts[i], slice));
        }
    }
}

static void crc32c_reads_no_byte_too_many(void **state)
{
    (void)state;
    uint8_t bytes[LENGTH_MAX];
    fill(bytes, sizeof bytes);
    struct guarded guarded;
    guarded_create(&guarded, sizeof bytes);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        if (!is_worth_a_look(length)) {
            continue;
        }
        struct slice slice = guarded_place(&guarded, (struct slice){bytes, length});
        assert_int_equal(crc32c(0, slice), crc32c_portable(0, slice));
    }
    guarded_destroy(&guarded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_is_the_same_at_every_length_and_alignment),
        cmocka_unit_test(crc32c_continues_over_any_split),
        cmocka_unit_test(crc32c_continues_from_any_value),
        cmocka_unit_test(crc32c_reads_no_byte_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
