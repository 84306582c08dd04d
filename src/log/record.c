/*
 * Records and marks to bytes and back; see record.h for the drawing.
 */
#include "log/record.h"

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#include <assert.h>

/* Hexadecimal digits of a field. */
enum {
    DIGITS_KIND = 4,
    DIGITS_VERSION = 4,
    DIGITS_CRC = 8,
    DIGITS_OFFSET = 12,
    DIGITS_ID = 16,
};

/* The most fields between a mark's kind and its checksum, and one more: none. */
enum { FIELDS_MAX = 6 };

enum mark { MARK_SEAL, MARK_DRAINED, MARK_OPENING, MARK_COUNT };

/* A mark is its kind, these fields one behind the other, and its checksum. */
struct mark_format {
    size_t length;
    uint64_t kind;
    int kind_digits;
    int digits[FIELDS_MAX]; /* of each field; 0 behind the last */
};

static const struct mark_format formats[MARK_COUNT] = {
    [MARK_SEAL] = {SEAL_BYTES,
                   0x5ea1,
                   DIGITS_KIND,
                   {DIGITS_ID, DIGITS_OFFSET, DIGITS_CRC}},
    [MARK_DRAINED] = {DRAINED_BYTES, 0xd4a1, DIGITS_KIND, {DIGITS_ID, DIGITS_ID}},
    [MARK_OPENING] = {OPENING_BYTES,
                      UINT64_C(0x6b762d73746f7265),
                      DIGITS_ID,
                      {DIGITS_VERSION, DIGITS_ID, DIGITS_ID, DIGITS_ID, DIGITS_OFFSET}},
};

static const uint8_t tombstone[1] = {0};

void record_encode_header(uint8_t out[RECORD_HEADER_BYTES], uint64_t key_length,
                          uint64_t value_length)
{
    bytes_put_u64(out, key_length);
    bytes_put_u64(out + 8, value_length);
}

void record_encode(uint8_t *out, struct slice key, struct slice value)
{
    record_encode_header(out, key.length, value.length);
    uint8_t *place = slice_copy(key, out + RECORD_HEADER_BYTES);
    (void)slice_copy(value, place);
}

bool record_decode(struct slice bytes, struct record *record_out)
{
    if (bytes.length < RECORD_HEADER_BYTES) {
        return false;
    }
    uint64_t key_length = bytes_get_u64(bytes.bytes);
    uint64_t value_length = bytes_get_u64(bytes.bytes + 8);
    struct slice rest = slice_after(bytes, RECORD_HEADER_BYTES);
    if (key_length > rest.length || value_length > rest.length - key_length) {
        return false;
    }
    record_out->key = slice_first(rest, (size_t)key_length);
    record_out->value =
        slice_first(slice_after(rest, (size_t)key_length), (size_t)value_length);
    record_out->length = record_length(key_length, value_length);
    return true;
}

bool record_next(struct record_walk *walk)
{
    walk->bytes = slice_after(walk->bytes, (size_t)walk->record.length);
    walk->offset += walk->record.length;
    walk->record.length = 0;
    return record_decode(walk->bytes, &walk->record);
}

struct slice record_tombstone_value(void)
{
    return (struct slice){tombstone, sizeof tombstone};
}

bool record_is_tombstone(const struct record *record)
{
    return slice_equal(record->value, record_tombstone_value());
}

bool record_is_mark(const struct record *record)
{
    return record->key.length == 0;
}

bool record_is_within_limits(const struct record *record)
{
    uint64_t key_length = record->key.length;
    uint64_t value_length = record->value.length;
    return key_length <= KEY_BYTES_MAX && value_length <= VALUE_BYTES_MAX;
}

/* Write a number in so many digits; returns the place behind them. */
static uint8_t *put_field(uint8_t *at, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (uint8_t) "0123456789abcdef"[number & 15];
        number >>= 4;
    }
    assert(number == 0);
    return at + digits;
}

/* Read a number; false if some digit is no lower-case hexadecimal one. */
static bool get_field(const uint8_t *at, int digits, uint64_t *number_out)
{
    uint64_t number = 0;
    for (int i = 0; i < digits; i++) {
        uint8_t c = at[i];
        bool is_decimal = c >= '0' && c <= '9';
        if (!is_decimal && (c < 'a' || c > 'f')) {
            return false;
        }
        number = number << 4 | (uint64_t)(is_decimal ? c - '0' : c - 'a' + 10);
    }
    *number_out = number;
    return true;
}

static uint32_t mark_checksum(const uint8_t *mark, size_t length, uint64_t offset)
{
    uint8_t place[8];
    bytes_put_u64(place, offset);
    uint32_t crc = crc32c(0, (struct slice){place, sizeof place});
    return crc32c(crc, (struct slice){mark, length - DIGITS_CRC});
}

static void encode_mark(uint8_t *out, enum mark mark, const uint64_t fields[FIELDS_MAX],
                        uint64_t offset)
{
    const struct mark_format *format = &formats[mark];
    record_encode_header(out, 0, format->length - RECORD_HEADER_BYTES);
    uint8_t *at = put_field(out + RECORD_HEADER_BYTES, format->kind, format->kind_digits);
    for (int i = 0; format->digits[i] != 0; i++) {
        at = put_field(at, fields[i], format->digits[i]);
    }
    at = put_field(at, mark_checksum(out, format->length, offset), DIGITS_CRC);
    assert(at == out + format->length);
}

static bool has_header(struct slice bytes, enum mark mark)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, 0, formats[mark].length - RECORD_HEADER_BYTES);
    return slice_starts_with(bytes, (struct slice){header, sizeof header});
}

/* Whether a whole mark of this kind stands here and its checksum is right. */
static bool decode_mark(struct slice bytes, enum mark mark, uint64_t offset,
                        uint64_t fields_out[FIELDS_MAX])
{
    const struct mark_format *format = &formats[mark];
    uint64_t kind = 0;
    uint64_t checksum = 0;
    if (bytes.length < format->length || !has_header(bytes, mark) ||
        !get_field(bytes.bytes + format->length - DIGITS_CRC, DIGITS_CRC, &checksum) ||
        checksum != mark_checksum(bytes.bytes, format->length, offset)) {
        return false;
    }
    const uint8_t *at = bytes.bytes + RECORD_HEADER_BYTES;
    bool is_valid = get_field(at, format->kind_digits, &kind) && kind == format->kind;
    at += format->kind_digits;
    for (int i = 0; is_valid && format->digits[i] != 0; i++) {
        is_valid = get_field(at, format->digits[i], &fields_out[i]);
        at += format->digits[i];
    }
    return is_valid;
}

void record_encode_opening(uint8_t out[OPENING_BYTES], const struct opening *opening)
{
    const uint64_t fields[FIELDS_MAX] = {opening->version, opening->log_id,
                                         opening->generation, opening->older_id,
                                         opening->older_length};
    encode_mark(out, MARK_OPENING, fields, 0);
}

bool record_begins_opening(struct slice bytes)
{
    uint8_t mark[OPENING_BYTES];
    record_encode_opening(mark, &(struct opening){0});
    struct slice fixed = {mark, RECORD_HEADER_BYTES + DIGITS_ID};
    size_t length = bytes.length < fixed.length ? bytes.length : fixed.length;
    return slice_equal(slice_first(bytes, length), slice_first(fixed, length));
}

bool record_decode_opening(struct slice bytes, struct opening *opening_out)
{
    uint64_t fields[FIELDS_MAX];
    if (!decode_mark(bytes, MARK_OPENING, 0, fields)) {
        return false;
    }
    *opening_out =
        (struct opening){fields[0], fields[1], fields[2], fields[3], fields[4]};
    return true;
}

void record_encode_seal(uint8_t out[SEAL_BYTES], const struct seal *seal, uint64_t offset)
{
    const uint64_t fields[FIELDS_MAX] = {seal->log_id, seal->durable_length, seal->chain};
    encode_mark(out, MARK_SEAL, fields, offset);
}

bool record_decode_seal(struct slice bytes, uint64_t offset, struct seal *seal_out)
{
    uint64_t fields[FIELDS_MAX];
    if (!decode_mark(bytes, MARK_SEAL, offset, fields)) {
        return false;
    }
    *seal_out = (struct seal){fields[0], fields[1], (uint32_t)fields[2]};
    return true;
}

void record_encode_drained(uint8_t out[DRAINED_BYTES], const struct drained *drained,
                           uint64_t offset)
{
    const uint64_t fields[FIELDS_MAX] = {drained->log_id, drained->older_id};
    encode_mark(out, MARK_DRAINED, fields, offset);
}

bool record_decode_drained(struct slice bytes, uint64_t offset,
                           struct drained *drained_out)
{
    uint64_t fields[FIELDS_MAX];
    if (!decode_mark(bytes, MARK_DRAINED, offset, fields)) {
        return false;
    }
    *drained_out = (struct drained){fields[0], fields[1]};
    return true;
}

bool record_has_seal_header(struct slice bytes)
{
    return has_header(bytes, MARK_SEAL);
}

bool record_has_mark_header(struct slice bytes)
{
    for (enum mark mark = 0; mark < MARK_COUNT; mark++) {
        if (has_header(bytes, mark)) {
            return true;
        }
    }
    return false;
}

/* An opening record stands at offset 0, which its checksum is made for. */
static bool has_intact_mark(struct slice bytes, uint64_t offset)
{
    uint64_t fields[FIELDS_MAX];
    for (enum mark mark = 0; mark < MARK_COUNT; mark++) {
        if (decode_mark(bytes, mark, offset, fields)) {
            return true;
        }
    }
    return false;
}

/*
 * The first place at `from` or later where a mark may begin: 15 zero bytes, which its
 * header starts with, and then one that is not zero. The length of the log if there is
 * none. A run of zeros is met by looking at each 15th byte alone.
 */
static uint64_t find_mark_header(struct slice log, uint64_t from)
{
    enum { RUN = RECORD_HEADER_BYTES - 1 };
    uint64_t start = from;
    while (log.length - start > RUN) {
        uint64_t zeros = 0; /* that the next RUN bytes end in */
        while (zeros < RUN && log.bytes[start + RUN - 1 - zeros] == 0) {
            zeros++;
        }
        if (zeros < RUN) {
            start += RUN - zeros;
            continue;
        }
        uint64_t end = start + RUN;
        while (end < log.length && log.bytes[end] == 0) {
            end++;
        }
        return end < log.length ? end - RUN : log.length;
    }
    return log.length;
}

bool record_find_mark(struct slice log, uint64_t from, uint64_t *offset_out)
{
    if (from > log.length) {
        return false;
    }
    for (uint64_t at = find_mark_header(log, from); at < log.length;
         at = find_mark_header(log, at + 1)) {
        if (has_intact_mark(slice_after(log, (size_t)at), at)) {
            *offset_out = at;
            return true;
        }
    }
    return false;
}
