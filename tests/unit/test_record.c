/*
 * The bytes on disk: golden texts written out by hand, refusals, and the search for
 * marks in what may be anything.
 */
#include "log/record.h"

#include "base/bounds.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "support/dice.h"
#include "support/guarded.h"
#include "support/unit.h"

#include <stdlib.h>

/* The header of a mark whose text has `length` bytes, an octal or a printable literal. */
#define MARK_HEADER(length) "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" length

static const struct opening golden_opening = {
    .version = 1,
    .log_id = UINT64_C(0x0123456789abcdef),
    .generation = 2,
    .older_id = UINT64_C(0xfedcba9876543210),
    .older_length = UINT64_C(0x1234abcd),
};

static const struct seal golden_seal = {
    .log_id = UINT64_C(0x0123456789abcdef),
    .durable_length = 104,
    .chain = UINT32_C(0xb568597b),
};

static const struct drained golden_drained = {
    .log_id = UINT64_C(0x0123456789abcdef),
    .older_id = UINT64_C(0xfedcba9876543210),
};

enum { GOLDEN_SEAL_OFFSET = 104, GOLDEN_DRAINED_OFFSET = 168 };

/* Checksums by another program, bit by bit from the text in record.h. */
static const char opening_bytes[] = MARK_HEADER("\130") "6b762d73746f7265"
                                                        "0001"
                                                        "0123456789abcdef"
                                                        "0000000000000002"
                                                        "fedcba9876543210"
                                                        "00001234abcd"
                                                        "c73db11d";
static const char seal_bytes[] = MARK_HEADER("\060") "5ea1"
                                                     "0123456789abcdef"
                                                     "000000000068"
                                                     "b568597b"
                                                     "098a4254";
static const char drained_bytes[] = MARK_HEADER("\054") "d4a1"
                                                        "0123456789abcdef"
                                                        "fedcba9876543210"
                                                        "34d87cee";

/* The three kinds of marks behind one face. */
struct kind {
    const char *name;
    struct slice golden;
    uint64_t offset;
    bool (*decode)(struct slice bytes, uint64_t offset);
    void (*encode)(uint8_t *out, uint64_t offset);
    const char *another; /* how the text of no mark begins */
};

static bool decode_opening(struct slice bytes, uint64_t offset)
{
    struct opening opening;
    return offset == 0 && record_decode_opening(bytes, &opening);
}

static bool decode_seal(struct slice bytes, uint64_t offset)
{
    struct seal seal;
    return record_decode_seal(bytes, offset, &seal);
}

static bool decode_drained(struct slice bytes, uint64_t offset)
{
    struct drained drained;
    return record_decode_drained(bytes, offset, &drained);
}

static void encode_opening(uint8_t *out, uint64_t offset)
{
    assert_int_equal(offset, 0);
    record_encode_opening(out, &golden_opening);
}

static void encode_seal(uint8_t *out, uint64_t offset)
{
    record_encode_seal(out, &golden_seal, offset);
}

static void encode_drained(uint8_t *out, uint64_t offset)
{
    record_encode_drained(out, &golden_drained, offset);
}

#define GOLDEN(bytes)                                                                    \
    {                                                                                    \
        (const uint8_t *)(bytes), sizeof(bytes) - 1                                      \
    }

static const struct kind kinds[] = {
    {"opening record", GOLDEN(opening_bytes), 0, decode_opening, encode_opening,
     "6b762d73746f7266"},
    {"seal", GOLDEN(seal_bytes), GOLDEN_SEAL_OFFSET, decode_seal, encode_seal, "5ea2"},
    {"drained mark", GOLDEN(drained_bytes), GOLDEN_DRAINED_OFFSET, decode_drained,
     encode_drained, "d4a0"},
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

/* A mark of a kind, to be changed. */
struct changed {
    uint8_t bytes[OPENING_BYTES];
    struct slice slice; /* of these bytes */
};

static void take_golden(struct changed *mark, const struct kind *kind)
{
    memcpy(mark->bytes, kind->golden.bytes, kind->golden.length);
    mark->slice = (struct slice){mark->bytes, kind->golden.length};
}

/* Write the checksum anew over text that was changed, so that only the text is wrong. */
static void write_checksum(uint8_t *mark, size_t length, uint64_t offset)
{
    uint8_t place[8];
    bytes_put_u64(place, offset);
    uint32_t crc = crc32c(0, (struct slice){place, sizeof place});
    crc = crc32c(crc, (struct slice){mark, length - 8});
    for (int i = 0; i < 8; i++) {
        mark[length - 8 + (size_t)i] =
            (uint8_t) "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
    }
}

static void record_sizes_are_those_of_the_format(void **state)
{
    (void)state;
    assert_int_equal(RECORD_FORMAT_VERSION, 1);
    assert_int_equal(sizeof opening_bytes - 1, OPENING_BYTES);
    assert_int_equal(sizeof seal_bytes - 1, SEAL_BYTES);
    assert_int_equal(sizeof drained_bytes - 1, DRAINED_BYTES);
    assert_true(record_length(3, 5) == 24);
    assert_true(record_length(KEY_BYTES_MAX, VALUE_BYTES_MAX) ==
                UINT64_C(16) + 65535 + UINT64_C(4294967295));
}

static void record_encode_header_writes_two_big_endian_lengths(void **state)
{
    (void)state;
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, 3, 0x0102030405060708);
    assert_memory_equal(header, "\0\0\0\0\0\0\0\3\1\2\3\4\5\6\7\10", sizeof header);
}

/* Whatever follows; no byte behind the text is read. */
static void record_encode_is_taken_apart_by_record_decode(void **state)
{
    static const struct {
        struct slice key, value;
        struct slice bytes;
        bool is_mark, is_tombstone;
    } cases[] = {
        {GOLDEN("a"), GOLDEN("hello"), GOLDEN("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5ahello"),
         false, false},
        {GOLDEN("key"),
         {NULL, 0},
         GOLDEN("\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0key"),
         false,
         false},
        {GOLDEN("k"), GOLDEN("\0"), GOLDEN("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1k\0"), false,
         true},
        {{NULL, 0}, {NULL, 0}, GOLDEN("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), true, false},
    };
    (void)state;
    struct guarded guarded;
    guarded_create(&guarded, 32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[32] = "what stands behind the record";
        struct record record;
        struct slice bytes = cases[i].bytes;
        assert_true(record_length(cases[i].key.length, cases[i].value.length) ==
                    bytes.length);
        record_encode(out, cases[i].key, cases[i].value);
        assert_memory_equal(out, bytes.bytes, bytes.length);
        assert_true(record_decode((struct slice){out, sizeof out}, &record));
        assert_true(slice_equal(record.key, cases[i].key));
        assert_true(slice_equal(record.value, cases[i].value));
        assert_true(record.length == bytes.length);
        assert_int_equal(record_is_mark(&record), cases[i].is_mark);
        assert_int_equal(record_is_tombstone(&record), cases[i].is_tombstone);
        for (size_t length = 0; length <= bytes.length; length++) {
            struct slice cut = guarded_place(&guarded, slice_first(bytes, length));
            assert_int_equal(record_decode(cut, &record), length == bytes.length);
        }
    }
    guarded_destroy(&guarded);
}

static void record_encode_of_marks_gives_the_golden_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        uint8_t out[OPENING_BYTES];
        kinds[i].encode(out, kinds[i].offset);
        assert_memory_equal(out, kinds[i].golden.bytes, kinds[i].golden.length);
    }
}

/* The largest durable length, and a chain that begins with zeros. */
static void record_encode_seal_fills_its_fields_with_zeros(void **state)
{
    (void)state;
    struct seal seal = {golden_seal.log_id, LOG_BYTES_MAX - 1, UINT32_C(0x00c0ffee)};
    uint8_t out[SEAL_BYTES];
    record_encode_seal(out, &seal, UINT64_C(0xfedcba987654));
    assert_memory_equal(out + RECORD_HEADER_BYTES,
                        "5ea10123456789abcdefffffffffffff00c0ffee39cd3b14", 48);
    struct seal again = {0};
    assert_true(record_decode_seal((struct slice){out, sizeof out},
                                   UINT64_C(0xfedcba987654), &again));
    assert_true(again.durable_length == LOG_BYTES_MAX - 1);
    assert_int_equal(again.chain, 0x00c0ffee);
}

static void record_decode_reads_the_golden_marks(void **state)
{
    (void)state;
    struct opening opening = {0};
    struct seal seal = {0};
    struct drained drained = {0};
    assert_true(record_decode_opening(kinds[0].golden, &opening));
    assert_true(record_decode_seal(kinds[1].golden, GOLDEN_SEAL_OFFSET, &seal));
    assert_true(record_decode_drained(kinds[2].golden, GOLDEN_DRAINED_OFFSET, &drained));
    assert_memory_equal(&opening, &golden_opening, sizeof opening);
    assert_true(seal.log_id == golden_seal.log_id);
    assert_true(seal.durable_length == golden_seal.durable_length);
    assert_int_equal(seal.chain, golden_seal.chain);
    assert_memory_equal(&drained, &golden_drained, sizeof drained);
}

/* What stands behind a mark is not looked at, and nothing beyond the text is read. */
static void record_decode_of_marks_reads_their_own_bytes_only(void **state)
{
    (void)state;
    struct guarded guarded;
    guarded_create(&guarded, 256);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = &kinds[i];
        uint8_t bytes[256];
        memset(bytes, 'z', sizeof bytes);
        memcpy(bytes, kind->golden.bytes, kind->golden.length);
        assert_true(kind->decode((struct slice){bytes, sizeof bytes}, kind->offset));
        assert_true(kind->decode(guarded_place(&guarded, kind->golden), kind->offset));
        for (size_t length = 0; length < kind->golden.length; length++) {
            struct slice cut = slice_first(kind->golden, length);
            assert_false(kind->decode(guarded_place(&guarded, cut), kind->offset));
        }
    }
    guarded_destroy(&guarded);
}

static void record_decode_refuses_every_other_byte_in_a_mark(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct changed mark;
        take_golden(&mark, &kinds[i]);
        for (size_t at = 0; at < mark.slice.length; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                mark.bytes[at] = (uint8_t)byte;
                bool is_golden = byte == kinds[i].golden.bytes[at];
                if (kinds[i].decode(mark.slice, kinds[i].offset) != is_golden) {
                    fail_msg("%s with byte %zu as %u", kinds[i].name, at, byte);
                }
            }
            mark.bytes[at] = kinds[i].golden.bytes[at];
        }
    }
}

static void record_decode_refuses_a_mark_at_another_offset(void **state)
{
    (void)state;
    for (size_t i = 1; i < KIND_COUNT; i++) {
        for (int bit = 0; bit < 64; bit++) {
            uint64_t elsewhere = kinds[i].offset ^ UINT64_C(1) << bit;
            assert_false(kinds[i].decode(kinds[i].golden, elsewhere));
        }
        assert_false(kinds[i].decode(kinds[i].golden, kinds[i].offset + 1));
        assert_false(kinds[i].decode(kinds[i].golden, kinds[i].offset - 1));
        assert_false(kinds[i].decode(kinds[i].golden, 0));
    }
}

/* Upper case would be a second way to write the same mark. */
static void record_decode_refuses_digits_that_are_not_lower_case_hexadecimal(void **state)
{
    static const char wrong[] = {'A', 'F', 'g', '/',  ':',   '@',
                                 '`', ' ', 'G', '\0', '\xff'};
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct changed mark;
        size_t length = kinds[i].golden.length;
        for (size_t at = RECORD_HEADER_BYTES; at < length - 8; at++) {
            for (size_t k = 0; k < sizeof wrong; k++) {
                take_golden(&mark, &kinds[i]);
                mark.bytes[at] = (uint8_t)wrong[k];
                write_checksum(mark.bytes, length, kinds[i].offset);
                assert_false(kinds[i].decode(mark.slice, kinds[i].offset));
            }
        }
    }
}

/* Each is of its own kind alone, and what is of none is none with a right checksum. */
static void record_decode_refuses_a_mark_of_another_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            bool decoded = kinds[i].decode(kinds[k].golden, kinds[k].offset);
            assert_int_equal(decoded, i == k);
        }
        struct changed mark;
        take_golden(&mark, &kinds[i]);
        write_checksum(mark.bytes, mark.slice.length, kinds[i].offset);
        assert_true(slice_equal(mark.slice, kinds[i].golden));
        memcpy(mark.bytes + RECORD_HEADER_BYTES, kinds[i].another,
               strlen(kinds[i].another));
        write_checksum(mark.bytes, mark.slice.length, kinds[i].offset);
        assert_false(kinds[i].decode(mark.slice, kinds[i].offset));
    }
}

static void record_decode_leaves_its_result_alone_when_it_refuses(void **state)
{
    (void)state;
    struct slice junk = SLICE_LITERAL("no record");
    struct record record = {.length = 77};
    struct opening opening = {.version = 77};
    struct seal seal = {.chain = 77};
    struct drained drained = {.log_id = 77};
    assert_false(record_decode(junk, &record));
    assert_false(record_decode_opening(junk, &opening));
    assert_false(record_decode_seal(junk, 0, &seal));
    assert_false(record_decode_drained(junk, 0, &drained));
    assert_true(record.length == 77 && opening.version == 77);
    assert_true(seal.chain == 77 && drained.log_id == 77);
}

/* Any version is read, so that a newer log is told apart from a damaged one. */
static void record_marks_survive_a_round_trip_at_random(void **state)
{
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    for (int round = 0; round < 500; round++) {
        uint8_t bytes[OPENING_BYTES];
        uint64_t offset = dice_next(&dice) >> dice_below(&dice, 64);
        struct opening opening = {dice_next(&dice) >> 48, dice_next(&dice),
                                  dice_next(&dice), dice_next(&dice),
                                  dice_next(&dice) >> 16};
        struct opening opening_again;
        record_encode_opening(bytes, &opening);
        assert_true(
            record_decode_opening((struct slice){bytes, OPENING_BYTES}, &opening_again));
        assert_memory_equal(&opening, &opening_again, sizeof opening);
        struct drained drained = {dice_next(&dice), dice_next(&dice)};
        struct drained drained_again;
        record_encode_drained(bytes, &drained, offset);
        assert_true(record_decode_drained((struct slice){bytes, DRAINED_BYTES}, offset,
                                          &drained_again));
        assert_memory_equal(&drained, &drained_again, sizeof drained);
        struct seal seal = {dice_next(&dice), dice_next(&dice) >> 16,
                            (uint32_t)dice_next(&dice)};
        struct seal again;
        record_encode_seal(bytes, &seal, offset);
        assert_true(
            record_decode_seal((struct slice){bytes, SEAL_BYTES}, offset, &again));
        assert_true(seal.log_id == again.log_id && seal.chain == again.chain);
        assert_true(seal.durable_length == again.durable_length);
    }
}

static void record_decode_takes_any_reader_s_view_of_a_mark(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct record record;
        assert_true(record_decode(kinds[i].golden, &record));
        assert_true(record_is_mark(&record));
        assert_false(record_is_tombstone(&record));
        assert_true(record.length == kinds[i].golden.length);
    }
}

/* It tells where each record stands, and stays behind the last one for good. */
static void record_next_walks_to_the_first_record_that_is_not_whole(void **state)
{
    (void)state;
    static const char bytes[] = "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2ab1"
                                "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2c";
    struct record_walk walk = record_walk_begin(SLICE_LITERAL(bytes), 1000);
    assert_true(record_next(&walk));
    assert_true(walk.offset == 1000);
    assert_true(slice_equal(walk.record.key, SLICE_LITERAL("a")));
    assert_true(slice_equal(walk.bytes, SLICE_LITERAL(bytes)));
    assert_true(record_next(&walk));
    assert_true(walk.offset == 1019);
    assert_true(record_is_mark(&walk.record));
    for (int i = 0; i < 3; i++) {
        assert_false(record_next(&walk));
        assert_true(walk.offset == 1035);
        assert_int_equal(walk.bytes.length, 17);
    }
    walk = record_walk_begin(SLICE_LITERAL(""), 0);
    assert_false(record_next(&walk));
}

static void record_tombstone_is_the_single_byte_zero_and_nothing_else(void **state)
{
    (void)state;
    assert_true(slice_equal(record_tombstone_value(), SLICE_LITERAL("\0")));
    static const struct {
        struct slice value;
        bool is_tombstone;
    } cases[] = {
        {{(const uint8_t *)"", 1}, true},      {{(const uint8_t *)"", 0}, false},
        {{(const uint8_t *)"\0\0", 2}, false}, {{(const uint8_t *)"0", 1}, false},
        {{(const uint8_t *)"\1", 1}, false},   {{(const uint8_t *)"\0x", 2}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct record record = {.key = SLICE_LITERAL("k"), .value = cases[i].value};
        assert_int_equal(record_is_tombstone(&record), cases[i].is_tombstone);
    }
}

/* Twenty bytes stand behind the header, so these are all that fit; sums may wrap round.
 */
static void record_decode_refuses_lengths_that_do_not_fit(void **state)
{
    static const uint64_t lengths[] = {0,
                                       1,
                                       7,
                                       13,
                                       14,
                                       20,
                                       21,
                                       UINT32_MAX,
                                       UINT64_C(1) << 32,
                                       UINT64_C(1) << 63,
                                       UINT64_MAX - 15,
                                       UINT64_MAX - 9,
                                       UINT64_MAX};
    enum { COUNT = sizeof lengths / sizeof *lengths, ROOM = 20 };
    (void)state;
    struct guarded guarded;
    guarded_create(&guarded, RECORD_HEADER_BYTES + ROOM);
    for (size_t i = 0; i < (size_t)COUNT * COUNT; i++) {
        uint8_t bytes[RECORD_HEADER_BYTES + ROOM] = {0};
        struct record record;
        uint64_t key_length = lengths[i / COUNT];
        uint64_t value_length = lengths[i % COUNT];
        bool fits = key_length <= ROOM && value_length <= ROOM - key_length;
        record_encode_header(bytes, key_length, value_length);
        struct slice slice = guarded_place(&guarded, (struct slice){bytes, sizeof bytes});
        assert_int_equal(record_decode(slice, &record), fits);
        if (fits) {
            assert_int_equal(record.key.length, key_length);
            assert_int_equal(record.value.length, value_length);
        }
    }
    guarded_destroy(&guarded);
}

static void record_has_seal_header_looks_at_the_header_alone(void **state)
{
    (void)state;
    assert_true(record_has_seal_header(kinds[1].golden));
    assert_true(record_has_seal_header(slice_first(kinds[1].golden, 16)));
    assert_false(record_has_seal_header(slice_first(kinds[1].golden, 15)));
    assert_false(record_has_seal_header((struct slice){NULL, 0}));
    assert_false(record_has_seal_header(kinds[0].golden));
    assert_false(record_has_seal_header(kinds[2].golden));
    assert_true(record_has_seal_header(SLICE_LITERAL(MARK_HEADER("\060") "anything")));
}

/* The definition of what is looked for. */
static bool is_mark_at(struct slice log, uint64_t at)
{
    bool is_mark = false;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        is_mark = is_mark || kinds[i].decode(slice_after(log, (size_t)at), at);
    }
    return is_mark;
}

/* Append letters, zeros, or a mark, which may be another log's or of another place. */
static void put_piece(struct dice *dice, struct buffer *log)
{
    uint8_t bytes[OPENING_BYTES] = {0};
    size_t length = (size_t)dice_below(dice, sizeof bytes);
    uint64_t offset = log->length + (dice_below(dice, 4) == 0);
    struct seal seal = golden_seal;
    switch (dice_below(dice, 6)) {
    case 0:
        memset(bytes, 'x', sizeof bytes);
        break;
    case 1:
        break;
    case 2:
        encode_seal(bytes, offset);
        length = SEAL_BYTES;
        break;
    case 3:
        seal.log_id = dice_next(dice);
        record_encode_seal(bytes, &seal, offset);
        length = SEAL_BYTES;
        break;
    case 4:
        encode_drained(bytes, offset);
        length = DRAINED_BYTES;
        break;
    default:
        encode_opening(bytes, 0);
        length = OPENING_BYTES;
    }
    assert_int_equal(buffer_reserve(log, length), KV_OK);
    buffer_append(log, (struct slice){bytes, length});
}

/* From every place on, behind the end too, in logs that may end within a mark. */
static void record_find_mark_agrees_with_the_definition(void **state)
{
    (void)state;
    enum { PIECES_MAX = 6 };
    struct dice dice;
    struct guarded guarded;
    size_t mark_count = 0;
    dice_begin(&dice);
    guarded_create(&guarded, PIECES_MAX * OPENING_BYTES);
    for (int round = 0; round < 300; round++) {
        struct buffer log = {0};
        for (uint64_t pieces = dice_below(&dice, PIECES_MAX + 1); pieces > 0; pieces--) {
            put_piece(&dice, &log);
        }
        size_t end = log.length - (size_t)dice_below(&dice, 1 + log.length) / 4;
        struct slice slice =
            guarded_place(&guarded, slice_first(buffer_slice(&log), end));
        uint64_t found = 7777; /* it stays if there is none */
        uint64_t expected = found;
        assert_false(record_find_mark(slice, UINT64_MAX, &found));
        assert_false(record_find_mark(slice, end + 1, &found));
        for (uint64_t from = end + 1; from-- > 0; found = 7777) {
            if (is_mark_at(slice, from)) {
                expected = from;
                mark_count++;
            }
            assert_int_equal(record_find_mark(slice, from, &found), expected != 7777);
            assert_int_equal(found, expected);
        }
        buffer_free(&log);
    }
    guarded_destroy(&guarded);
    assert_in_range(mark_count, 100, 1000); /* or the test would say little */
}

/* Lengths whose bytes hold as many zeros as a client can get. */
static size_t pick_length(struct dice *dice, bool may_be_zero)
{
    static const size_t lengths[] = {0, 1, 2, 48, 88, 256, 512, 65280};
    size_t at = (size_t)dice_below(dice, sizeof lengths / sizeof *lengths);
    size_t length = lengths[at];
    return length == 0 && !may_be_zero ? 1 : length;
}

/* Append one record as a client can make it, with the text of a mark as its value. */
static size_t put_user_record(struct dice *dice, uint8_t *out)
{
    size_t key_length = pick_length(dice, false);
    bool is_delete = dice_below(dice, 4) == 0;
    size_t value_length = is_delete ? 1 : pick_length(dice, true);
    record_encode_header(out, key_length, value_length);
    uint8_t *at = out + RECORD_HEADER_BYTES;
    memset(at, '0', key_length + value_length);
    if (value_length >= 48) {
        memcpy(at + key_length, seal_bytes + RECORD_HEADER_BYTES, 48);
    }
    if (is_delete) {
        at[key_length] = 0;
    }
    return RECORD_HEADER_BYTES + key_length + value_length;
}

static void record_find_mark_finds_none_in_records_of_clients(void **state)
{
    (void)state;
    struct dice dice;
    dice_begin(&dice);
    enum { LOG_BYTES = 1 << 21, RECORD_BYTES_MAX = 16 + 2 * 65280 };
    uint8_t *log = malloc(LOG_BYTES);
    assert_non_null(log);
    size_t length = 0;
    while (length + RECORD_BYTES_MAX <= LOG_BYTES) {
        length += put_user_record(&dice, log + length);
    }
    size_t run = 0;
    for (size_t i = 0; i < length; i++) {
        run = log[i] == 0 ? run + 1 : 0;
        assert_in_range(run, 0, 9); /* the bound that record.h promises */
    }
    uint64_t found = 0;
    assert_false(record_find_mark((struct slice){log, length}, 0, &found));
    free(log);
}

/*
 * Zeros, and headers of marks without a mark behind them, are met in one pass: a search
 * that began again at each byte would take hours for these.
 */
static void record_find_mark_takes_one_pass_through_zeros_and_false_headers(void **state)
{
    (void)state;
    enum { LOG_BYTES = 1 << 22, LAST = LOG_BYTES - SEAL_BYTES };
    uint8_t *log = calloc(1, LOG_BYTES);
    assert_non_null(log);
    struct slice slice = {log, LOG_BYTES};
    uint64_t found = 0;
    assert_false(record_find_mark(slice, 0, &found));
    record_encode_seal(log + LAST, &golden_seal, LAST);
    assert_true(record_find_mark(slice, 0, &found));
    assert_true(found == LAST);
    for (size_t at = 0; at < LAST; at += RECORD_HEADER_BYTES) {
        record_encode_header(log + at, 0, 48);
    }
    assert_true(record_find_mark(slice, 0, &found));
    assert_true(found == LAST);
    free(log);
}

/* The lengths alone are looked at: nobody has such a value for a test. */
static void record_limits_are_those_of_an_index_slot(void **state)
{
    static const uint8_t bytes[1] = {'x'};
    const struct {
        uint64_t key_length;
        uint64_t value_length;
        bool is_within;
    } cases[] = {
        {KEY_BYTES_MAX, 0, true},
        {KEY_BYTES_MAX + 1, 0, false},
        {1, VALUE_BYTES_MAX, true},
        {1, VALUE_BYTES_MAX + 1, false},
        {0, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct record record = {.key = {bytes, (size_t)cases[i].key_length},
                                .value = {bytes, (size_t)cases[i].value_length}};
        assert_int_equal(record_is_within_limits(&record), cases[i].is_within);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_sizes_are_those_of_the_format),
        cmocka_unit_test(record_encode_header_writes_two_big_endian_lengths),
        cmocka_unit_test(record_encode_is_taken_apart_by_record_decode),
        cmocka_unit_test(record_encode_of_marks_gives_the_golden_bytes),
        cmocka_unit_test(record_encode_seal_fills_its_fields_with_zeros),
        cmocka_unit_test(record_decode_reads_the_golden_marks),
        cmocka_unit_test(record_decode_of_marks_reads_their_own_bytes_only),
        cmocka_unit_test(record_decode_refuses_every_other_byte_in_a_mark),
        cmocka_unit_test(record_decode_refuses_a_mark_at_another_offset),
        cmocka_unit_test(
            record_decode_refuses_digits_that_are_not_lower_case_hexadecimal),
        cmocka_unit_test(record_decode_refuses_a_mark_of_another_kind),
        cmocka_unit_test(record_decode_leaves_its_result_alone_when_it_refuses),
        cmocka_unit_test(record_marks_survive_a_round_trip_at_random),
        cmocka_unit_test(record_decode_takes_any_reader_s_view_of_a_mark),
        cmocka_unit_test(record_next_walks_to_the_first_record_that_is_not_whole),
        cmocka_unit_test(record_tombstone_is_the_single_byte_zero_and_nothing_else),
        cmocka_unit_test(record_decode_refuses_lengths_that_do_not_fit),
        cmocka_unit_test(record_has_seal_header_looks_at_the_header_alone),
        cmocka_unit_test(record_find_mark_agrees_with_the_definition),
        cmocka_unit_test(record_find_mark_finds_none_in_records_of_clients),
        cmocka_unit_test(record_find_mark_takes_one_pass_through_zeros_and_false_headers),
        cmocka_unit_test(record_limits_are_those_of_an_index_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
