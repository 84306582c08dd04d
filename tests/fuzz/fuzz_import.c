/*
 * Logs of the original program. The input says which records a log holds, so that the
 * lengths in it are right except where they are meant to be wrong:
 *
 *     0-199     a key of so many bytes modulo 50, then a value
 *     200-209   the same with a tombstone for the value
 *     210-219   an empty key, then a value
 *     220       a key of the greatest length, 221: one byte more; then a value
 *     222       sixteen bytes that stand for a header as they are
 *     223-255   the rest as it is
 *
 * A value is a byte that gives its length, and its bytes; from 250 on the length is
 * a thousand times what is above 249, of the byte that follows.
 */
#include "fuzz/fuzz.h"

#include "base/bounds.h"
#include "base/buffer.h"
#include "fuzz/model.h"
#include "fuzz/reopen.h"
#include "log/record.h"

enum {
    KIND_TOMBSTONE = 200,
    KIND_EMPTY_KEY = 210,
    KIND_LONG_KEY = 220,
    KIND_LONGER_KEY = 221,
    KIND_HEADER = 222,
    KIND_REST = 223,
    KEY_BYTES = 50,
    VALUE_KIND_LONG = 250,
    VALUE_BYTES_LONG = 1000,
    LOG_BYTES = 1 << 18
};

struct builder {
    struct slice input;
    struct buffer log;
};

static uint8_t *grow(struct builder *builder, size_t count)
{
    REQUIRE(buffer_reserve(&builder->log, count + 1) == KV_OK);
    uint8_t *place = builder->log.bytes + builder->log.length;
    builder->log.length += count;
    return place;
}

/* Append the next bytes of the input, and zeros where there are too few. */
static void put_input(struct builder *builder, size_t count)
{
    size_t there = count < builder->input.length ? count : builder->input.length;
    uint8_t *place = grow(builder, count);
    memset(place, 0, count);
    if (there > 0) {
        memcpy(place, builder->input.bytes, there);
    }
    builder->input = slice_after(builder->input, there);
}

static void put_repeated(struct builder *builder, uint8_t byte, size_t count)
{
    memset(grow(builder, count), byte, count);
}

static uint8_t take_byte(struct builder *builder)
{
    if (builder->input.length == 0) {
        return 0;
    }
    uint8_t byte = builder->input.bytes[0];
    builder->input = slice_after(builder->input, 1);
    return byte;
}

static void put_header(struct builder *builder, size_t key_length, size_t value_length)
{
    record_encode_header(grow(builder, RECORD_HEADER_BYTES), key_length, value_length);
}

static void put_record(struct builder *builder, uint8_t kind)
{
    bool is_long = kind == KIND_LONG_KEY || kind == KIND_LONGER_KEY;
    size_t key_length = kind == KIND_LONG_KEY     ? (size_t)KEY_BYTES_MAX
                        : kind == KIND_LONGER_KEY ? (size_t)KEY_BYTES_MAX + 1
                        : kind >= KIND_EMPTY_KEY  ? 0
                                                  : kind % KEY_BYTES;
    bool is_tombstone = kind >= KIND_TOMBSTONE && kind < KIND_EMPTY_KEY;
    size_t value_kind = is_tombstone ? 1 : take_byte(builder);
    bool is_value_long = value_kind >= VALUE_KIND_LONG;
    size_t value_length = is_value_long
                              ? (value_kind - VALUE_KIND_LONG + 1) * VALUE_BYTES_LONG
                              : value_kind;
    put_header(builder, key_length, value_length);
    if (is_long) {
        put_repeated(builder, 'k', key_length);
    } else {
        put_input(builder, key_length);
    }
    if (is_tombstone) {
        put_repeated(builder, 0, 1);
    } else if (is_value_long) {
        put_repeated(builder, take_byte(builder), value_length);
    } else {
        put_input(builder, value_length);
    }
}

static void build(struct builder *builder)
{
    while (builder->input.length > 0 && builder->log.length < LOG_BYTES) {
        uint8_t kind = take_byte(builder);
        if (kind < KIND_HEADER) {
            put_record(builder, kind);
        } else {
            put_input(builder, kind == KIND_HEADER ? 16 : builder->input.length);
        }
    }
}

/* Table 3-7 of Unicode 15, by decoding each code point. */
static bool is_utf8(struct slice text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    size_t at = 0;
    while (at < text.length) {
        uint8_t lead = text.bytes[at++];
        size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        uint32_t point = more == 0 ? lead : lead & (0x3fU >> more);
        if ((lead >= 0x80 && lead < 0xc0) || lead >= 0xf8 || more > text.length - at) {
            return false;
        }
        for (size_t i = 0; i < more; i++) {
            uint8_t byte = text.bytes[at++];
            if ((byte & 0xc0) != 0x80) {
                return false;
            }
            point = point << 6 | (byte & 0x3fU);
        }
        if (point < least[more] || point > 0x10ffff ||
            (point >= 0xd800 && point <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

/* What opening a log without any mark must come to. */
static enum status expected(struct slice log)
{
    struct slice key;
    struct slice value;
    bool is_log = log.length == 0; /* an empty file is a log that was never begun */
    bool has_longer_key = false;
    while (model_read_record(log, &key, &value)) {
        is_log = is_log || (key.length > 0 && is_utf8(key));
        has_longer_key = has_longer_key || key.length > KEY_BYTES_MAX;
        log = slice_after(log, RECORD_HEADER_BYTES + key.length + value.length);
    }
    return !is_log ? KV_CORRUPT : has_longer_key ? KV_IO : KV_OK;
}

int fuzz_import(const uint8_t *data, size_t size)
{
    uint64_t offset = 0;
    struct builder builder = {.input = {data, size}};
    build(&builder);
    struct slice log = buffer_slice(&builder.log);
    enum status status = reopen_check(log);
    if (!record_find_mark(log, 0, &offset)) {
        REQUIRE(status == expected(log));
    }
    buffer_free(&builder.log);
    return 0;
}
