/*
 * UTF-8: every scalar value is accepted, everything else refused, wherever it stands.
 */
#include "base/utf8.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

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

/* A NUL is a character of UTF-8; who forbids it says so elsewhere. */
static void utf8_takes_nul_and_no_text_at_all(void **state)
{
    (void)state;
    assert_true(utf8_is_valid(SLICE_LITERAL("\0")));
    assert_true(utf8_is_valid(SLICE_LITERAL("12345678\0abcdefgh\0")));
    assert_true(utf8_is_valid((struct slice){NULL, 0}));
}

/* Some bytes with letters before and behind them, where the text ends at an unreadable
 * page. Words of eight bytes are read at once, so the place of a sequence matters. */
struct place {
    struct guarded guarded;
    size_t before;
    size_t after;
};

static void agree(struct place *place, const uint8_t *bytes, size_t length)
{
    uint8_t text[64];
    memset(text, 'x', sizeof text);
    memcpy(text + place->before, bytes, length);
    struct slice whole = {text, place->before + length + place->after};
    if (utf8_is_valid(guarded_place(&place->guarded, whole)) != slow_is_valid(whole)) {
        fail_msg("%02x %02x %02x %02x, %zu bytes, behind %zu and before %zu letters",
                 bytes[0], bytes[1], bytes[2], bytes[3], length, place->before,
                 place->after);
    }
    place->before = place->before == 17 ? 0 : place->before + 1;
    place->after = place->after == 18 ? 0 : place->after + 1;
}

/*
 * Every byte, every pair of bytes, and what may follow a pair near every limit: those of
 * a second byte end in 0 or f. Each is met at many places, and each place often.
 */
static void utf8_agrees_with_the_definition_near_every_limit(void **state)
{
    static const uint8_t others[] = {0x7f, 0x80, 0xbf, 0xc0};
    (void)state;
    struct place place = {.before = 0};
    guarded_create(&place.guarded, 64);
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        uint8_t bytes[4] = {(uint8_t)(pair >> 8), (uint8_t)pair};
        agree(&place, bytes, 1);
        agree(&place, bytes, 2);
        bool is_limit = pair % 16 == 0 || pair % 16 == 15;
        for (unsigned i = 0; is_limit && i < 16; i++) {
            bytes[2] = others[i % 4];
            bytes[3] = others[i / 4];
            agree(&place, bytes, 3);
            agree(&place, bytes, 4);
        }
    }
    guarded_destroy(&place.guarded);
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
        cmocka_unit_test(utf8_takes_nul_and_no_text_at_all),
        cmocka_unit_test(utf8_agrees_with_the_definition_near_every_limit),
        cmocka_unit_test(utf8_agrees_with_the_definition_on_damaged_texts),
        cmocka_unit_test(utf8_is_plain_finds_every_other_byte_at_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
