/*
 * UTF-8: every scalar value is accepted, everything else refused, wherever it stands.
 */
#include "base/utf8.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

#include <stdio.h>

/*
 * The definition, read backwards: decode by the shape of the bits alone, then demand
 * that the value is a scalar value and needed that many bytes.
 */
static bool slow_is_valid(struct slice text)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t at = 0;
    while (at < text.length) {
        uint8_t lead = text.bytes[at];
        size_t length = lead < 0x80           ? 1
                        : (lead >> 5) == 0x06 ? 2
                        : (lead >> 4) == 0x0e ? 3
                        : (lead >> 3) == 0x1e ? 4
                                              : 0;
        if (length == 0 || text.length - at < length) {
            return false;
        }
        uint32_t value = length == 1 ? lead : lead & (0x7fu >> length);
        for (size_t i = 1; i < length; i++) {
            if ((text.bytes[at + i] >> 6) != 2) {
                return false;
            }
            value = value << 6 | (text.bytes[at + i] & 0x3fu);
        }
        bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
        if (value < least[length] || value > 0x10ffff || is_surrogate) {
            return false;
        }
        at += length;
    }
    return true;
}

static size_t encode(uint32_t value, uint8_t out[4])
{
    if (value < 0x80) {
        out[0] = (uint8_t)value;
        return 1;
    }
    size_t length = value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    static const uint8_t leads[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (value & 0x3f));
        value >>= 6;
    }
    out[0] = (uint8_t)(leads[length] | value);
    return length;
}

static void utf8_takes_every_scalar_value_and_no_surrogate(void **state)
{
    (void)state;
    for (uint32_t value = 0; value <= 0x10ffff; value++) {
        uint8_t bytes[4];
        struct slice text = {bytes, encode(value, bytes)};
        bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
        if (utf8_is_valid(text) == is_surrogate) {
            fail_msg("U+%04X", (unsigned)value);
        }
    }
}

struct sequence {
    const char *bytes;
    const char *name;
};

static const struct sequence valid_cases[] = {
    {"", "nothing"},
    {"plain text", "ASCII"},
    {"\x7f", "U+007F, the last of one byte"},
    {"\xc2\x80", "U+0080, the first of two bytes"},
    {"\xdf\xbf", "U+07FF, the last of two bytes"},
    {"\xe0\xa0\x80", "U+0800, the first of three bytes"},
    {"\xe0\xbf\xbf", "U+0FFF"},
    {"\xe1\x80\x80", "U+1000"},
    {"\xec\xbf\xbf", "U+CFFF"},
    {"\xed\x80\x80", "U+D000"},
    {"\xed\x9f\xbf", "U+D7FF, the last before the surrogates"},
    {"\xee\x80\x80", "U+E000, the first behind the surrogates"},
    {"\xef\xbf\xbd", "U+FFFD"},
    {"\xef\xbf\xbe", "U+FFFE, no character but a scalar value"},
    {"\xef\xbf\xbf", "U+FFFF, the last of three bytes"},
    {"\xef\xbb\xbf", "a byte order mark"},
    {"\xf0\x90\x80\x80", "U+10000, the first of four bytes"},
    {"\xf0\xbf\xbf\xbf", "U+3FFFF"},
    {"\xf1\x80\x80\x80", "U+40000"},
    {"\xf3\xbf\xbf\xbf", "U+FFFFF"},
    {"\xf4\x80\x80\x80", "U+100000"},
    {"\xf4\x8f\xbf\xbf", "U+10FFFF, the last of all"},
    {"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87", "Ukrainian"},
    {"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80", "a joined emoji"},
};

static const struct sequence invalid_cases[] = {
    {"\x80", "a continuation byte alone"},
    {"\xbf", "the last continuation byte alone"},
    {"\x80\x80", "two continuation bytes"},
    {"\xc0\x80", "NUL in two bytes"},
    {"\xc0\xaf", "a slash in two bytes"},
    {"\xc1\xbf", "U+007F in two bytes"},
    {"\xe0\x80\x80", "NUL in three bytes"},
    {"\xe0\x80\xaf", "a slash in three bytes"},
    {"\xe0\x9f\xbf", "U+07FF in three bytes"},
    {"\xf0\x80\x80\x80", "NUL in four bytes"},
    {"\xf0\x80\x80\xaf", "a slash in four bytes"},
    {"\xf0\x8f\xbf\xbf", "U+FFFF in four bytes"},
    {"\xed\xa0\x80", "U+D800, the first surrogate"},
    {"\xed\xaf\xbf", "U+DBFF, the last high surrogate"},
    {"\xed\xb0\x80", "U+DC00, the first low surrogate"},
    {"\xed\xbf\xbf", "U+DFFF, the last surrogate"},
    {"\xed\xa0\xbd\xed\xb8\x80", "a pair of surrogates"},
    {"\xf4\x90\x80\x80", "U+110000, the first beyond the last"},
    {"\xf4\xbf\xbf\xbf", "U+13FFFF"},
    {"\xf5\x80\x80\x80", "F5"},
    {"\xf6\x80\x80\x80", "F6"},
    {"\xf7\xbf\xbf\xbf", "F7, U+1FFFFF"},
    {"\xf8\x88\x80\x80\x80", "five bytes"},
    {"\xfc\x84\x80\x80\x80\x80", "six bytes"},
    {"\xfe", "FE"},
    {"\xff", "FF"},
    {"\xc2", "one of two bytes"},
    {"\xdf", "one of two bytes, the last lead"},
    {"\xe0", "one of three bytes"},
    {"\xe0\xa0", "two of three bytes"},
    {"\xef\xbf", "two of three bytes, the last lead"},
    {"\xf0", "one of four bytes"},
    {"\xf0\x90", "two of four bytes"},
    {"\xf0\x90\x80", "three of four bytes"},
    {"\xf4\x8f\xbf", "three of four bytes, the last lead"},
    {"\xc2\x7f", "below the continuation bytes"},
    {"\xc2\xc0", "above the continuation bytes"},
    {"\xe1\x7f\x80", "second of three too low"},
    {"\xe1\xc0\x80", "second of three too high"},
    {"\xe1\x80\x7f", "third of three too low"},
    {"\xe1\x80\xc0", "third of three too high"},
    {"\xf1\x7f\x80\x80", "second of four too low"},
    {"\xf1\xc0\x80\x80", "second of four too high"},
    {"\xf1\x80\x7f\x80", "third of four too low"},
    {"\xf1\x80\xc0\x80", "third of four too high"},
    {"\xf1\x80\x80\x7f", "fourth of four too low"},
    {"\xf1\x80\x80\xc0", "fourth of four too high"},
    {"\xc2\x80\x80", "a continuation byte too many"},
    {"\xe1\x80\x80\x80", "a continuation byte too many behind three"},
    {"\xf1\x80\x80\x80\x80", "a continuation byte too many behind four"},
};

/*
 * The verdict on a sequence with `before` letters before it and `after` behind it,
 * where the text ends at an unreadable page. Words of eight bytes are read at once, so
 * the place of a sequence matters.
 */
static bool verdict(struct guarded *guarded, const char *bytes, size_t before,
                    size_t after)
{
    uint8_t text[64];
    struct slice sequence = slice_of_text(bytes);
    memset(text, 'x', sizeof text);
    memcpy(text + before, sequence.bytes, sequence.length);
    struct slice whole = {text, before + sequence.length + after};
    return utf8_is_valid(guarded_place(guarded, whole));
}

static void check_everywhere(const struct sequence *sequences, size_t count,
                             bool is_valid)
{
    struct guarded guarded;
    guarded_create(&guarded, 64);
    for (size_t i = 0; i < count * 18 * 18; i++) {
        const struct sequence *sequence = &sequences[i / 18 / 18];
        size_t before = i / 18 % 18;
        if (verdict(&guarded, sequence->bytes, before, i % 18) != is_valid) {
            fail_msg("%s, behind %zu and before %zu letters", sequence->name, before,
                     i % 18);
        }
    }
    guarded_destroy(&guarded);
}

static void utf8_takes_the_ends_of_each_range_and_nothing_malformed(void **state)
{
    (void)state;
    check_everywhere(valid_cases, sizeof valid_cases / sizeof *valid_cases, true);
    check_everywhere(invalid_cases, sizeof invalid_cases / sizeof *invalid_cases, false);
}

/* A NUL is a character of UTF-8; who forbids it says so elsewhere. */
static void utf8_takes_nul_and_no_text_at_all(void **state)
{
    (void)state;
    assert_true(utf8_is_valid(SLICE_LITERAL("\0")));
    assert_true(utf8_is_valid(SLICE_LITERAL("12345678\0abcdefgh\0")));
    assert_true(utf8_is_valid((struct slice){NULL, 0}));
}

/* A text that was cut is whole only where a character ends. */
static void utf8_refuses_a_text_cut_within_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\xc2\x80"
                               "b\xe1\x80\x80"
                               "c\xf1\x80\x80\x80"
                               "d\xd0\xba";
    struct guarded guarded;
    guarded_create(&guarded, sizeof text);
    for (size_t length = 0; length < sizeof text; length++) {
        bool is_whole = length == sizeof text - 1 || (text[length] & 0xc0) != 0x80;
        struct slice cut = {(const uint8_t *)text, length};
        assert_int_equal(utf8_is_valid(guarded_place(&guarded, cut)), is_whole);
    }
    guarded_destroy(&guarded);
}

static void agree(const uint8_t *bytes, size_t length)
{
    struct slice text = {bytes, length};
    if (utf8_is_valid(text) != slow_is_valid(text)) {
        fail_msg("%02x %02x %02x %02x, %zu bytes", bytes[0], bytes[1], bytes[2], bytes[3],
                 length);
    }
}

/* All pairs of bytes; every limit of a second byte, which ends in 0 or f, and others. */
static void utf8_agrees_with_the_definition_near_every_limit(void **state)
{
    static const uint8_t others[] = {0x7f, 0x80, 0xbf, 0xc0};
    (void)state;
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        uint8_t bytes[4] = {(uint8_t)(pair >> 8), (uint8_t)pair};
        agree(bytes, 1);
        agree(bytes, 2);
        bool is_limit = pair % 16 == 0 || pair % 16 == 15;
        for (unsigned i = 0; is_limit && i < 16; i++) {
            bytes[2] = others[i % 4];
            bytes[3] = others[i / 4];
            agree(bytes, 3);
            agree(bytes, 4);
        }
    }
}

static void utf8_agrees_with_the_definition_on_damaged_texts(void **state)
{
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    size_t valid_count = 0;
    enum { ROUNDS = 20000 };
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t bytes[80];
        size_t length = 0;
        size_t wanted = (size_t)dice_below(&dice, 60);
        while (length < wanted) {
            uint32_t mask = UINT32_C(0x1fffff) >> dice_below(&dice, 20);
            length += encode((uint32_t)dice_next(&dice) & mask, bytes + length);
        }
        if (length > 0 && dice_below(&dice, 2) == 0) {
            bytes[dice_below(&dice, length)] ^= (uint8_t)(1u << dice_below(&dice, 8));
        }
        struct slice text = {bytes, length};
        bool is_valid = slow_is_valid(text);
        valid_count += is_valid;
        assert_int_equal(utf8_is_valid(text), is_valid);
    }
    /* Both answers were met often, or the test would say little. */
    assert_in_range(valid_count, ROUNDS / 10, ROUNDS - ROUNDS / 10);
}

/* Lengths about a word, a piece that is looked at at once, and two; bytes at each place
 * of them, that are plain and that are not. */
static void utf8_is_plain_finds_every_other_byte_at_every_place(void **state)
{
    (void)state;
    static const uint8_t others[] = {0x00, 0x80, 0xff};
    uint8_t bytes[1100];
    struct guarded guarded;
    guarded_create(&guarded, sizeof bytes);
    memset(bytes, 0x01, sizeof bytes);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        bool is_near = length < 40 || (length > 500 && length < 540) || length > 1020;
        if (!is_near) {
            continue;
        }
        struct slice text = guarded_place(&guarded, (struct slice){bytes, length});
        assert_true(utf8_is_plain(text));
        for (size_t at = 0; at < length; at++) {
            bytes[at] = others[at % sizeof others];
            text = guarded_place(&guarded, (struct slice){bytes, length});
            assert_false(utf8_is_plain(text));
            bytes[at] = at % 2 == 0 ? 0x7f : 0x01;
        }
    }
    guarded_destroy(&guarded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_takes_every_scalar_value_and_no_surrogate),
        cmocka_unit_test(utf8_takes_the_ends_of_each_range_and_nothing_malformed),
        cmocka_unit_test(utf8_takes_nul_and_no_text_at_all),
        cmocka_unit_test(utf8_refuses_a_text_cut_within_a_character),
        cmocka_unit_test(utf8_agrees_with_the_definition_near_every_limit),
        cmocka_unit_test(utf8_agrees_with_the_definition_on_damaged_texts),
        cmocka_unit_test(utf8_is_plain_finds_every_other_byte_at_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
