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
        /* An iSCSI SCSI Read (10) command PDU, the last vector of RFC 3720 B.4. */
        {"\x01\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\x04\0\0\0\0\x14\0\0\0\x18"
         "\x28\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0",
         48, UINT32_C(0xd9963a56)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice bytes = {(const uint8_t *)cases[i].bytes, cases[i].length};
        assert_int_equal(crc32c(0, bytes), cases[i].crc);
        assert_int_equal(crc32c_portable(0, bytes), cases[i].crc);
    }
}

static void crc32c_gives_the_values_of_rfc_3720_for_32_bytes(void **state)
{
    (void)state;
    uint8_t bytes[4][32];
    static const uint32_t crcs[4] = {UINT32_C(0x8a9136aa), UINT32_C(0x62a8ab43),
                                     UINT32_C(0x46dd794e), UINT32_C(0x113fdb5c)};
    for (int i = 0; i < 32; i++) {
        bytes[0][i] = 0;
        bytes[1][i] = 0xff;
        bytes[2][i] = (uint8_t)i;
        bytes[3][i] = (uint8_t)(31 - i);
    }
    for (int i = 0; i < 4; i++) {
        struct slice slice = {bytes[i], 32};
        assert_int_equal(crc32c(0, slice), crcs[i]);
        assert_int_equal(crc32c_portable(0, slice), crcs[i]);
    }
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
                assert_int_equal(crc32c(0, slice), expected);
                assert_int_equal(crc32c_portable(0, slice), expected);
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
            assert_int_equal(crc32c(starts[i], slice), slow_crc32c(starts[i], slice));
            assert_int_equal(crc32c_portable(starts[i], slice),
                             slow_crc32c(starts[i], slice));
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

static void crc32c_of_no_bytes_changes_nothing(void **state)
{
    (void)state;
    struct slice nothing = {NULL, 0};
    assert_int_equal(crc32c(0, nothing), 0);
    assert_int_equal(crc32c(0xdeadbeef, nothing), 0xdeadbeef);
    assert_int_equal(crc32c_portable(0xdeadbeef, nothing), 0xdeadbeef);
}

static void crc32c_changes_with_every_single_bit(void **state)
{
    (void)state;
    uint8_t bytes[128];
    fill(bytes, sizeof bytes);
    struct slice slice = {bytes, sizeof bytes};
    uint32_t before = crc32c(0, slice);
    for (size_t i = 0; i < 8 * sizeof bytes; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(crc32c(0, slice), before);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_gives_the_values_of_rfc_3720_for_32_bytes),
        cmocka_unit_test(crc32c_is_the_same_at_every_length_and_alignment),
        cmocka_unit_test(crc32c_continues_over_any_split),
        cmocka_unit_test(crc32c_continues_from_any_value),
        cmocka_unit_test(crc32c_reads_no_byte_too_many),
        cmocka_unit_test(crc32c_of_no_bytes_changes_nothing),
        cmocka_unit_test(crc32c_changes_with_every_single_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
