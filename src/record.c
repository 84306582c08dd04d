/*
 * Records and marks to bytes and back; see record.h for the drawing.
 */
#include "record.h"

#include "bounds.h"
#include "bytes.h"
#include "crc32c.h"

#include <assert.h>

#define OPENING_MAGIC UINT64_C(0x6b762d73746f7265)
#define SEAL_KIND     UINT64_C(0x5ea1)
#define DRAINED_KIND  UINT64_C(0xd4a1)

/* Hexadecimal digits of each field. */
enum {
    DIGITS_KIND = 4,
    DIGITS_VERSION = 4,
    DIGITS_CRC = 8,
    DIGITS_OFFSET = 12,
    DIGITS_ID = 16,
};

static_assert(OPENING_BYTES - RECORD_HEADER_BYTES ==
                  4 * DIGITS_ID + DIGITS_VERSION + DIGITS_OFFSET + DIGITS_CRC,
              "fields of the opening record");
static_assert(SEAL_BYTES - RECORD_HEADER_BYTES ==
                  DIGITS_KIND + DIGITS_ID + DIGITS_OFFSET + 2 * DIGITS_CRC,
              "fields of a seal");
static_assert(DRAINED_BYTES - RECORD_HEADER_BYTES ==
                  DIGITS_KIND + 2 * DIGITS_ID + DIGITS_CRC,
              "fields of a drained mark");

static const uint8_t tombstone[1] = {0};

void record_encode_header(uint8_t out[RECORD_HEADER_BYTES], uint64_t key_length,
                          uint64_t value_length)
{
    bytes_put_u64(out, key_length);
    bytes_put_u64(out + 8, value_length);
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

/* A mark that is being written or read: where the next field goes or comes from. */
struct mark_cursor {
    uint8_t *at;
};

struct mark_reader {
    const uint8_t *at;
    bool is_valid; /* false once a byte was no lower-case hexadecimal digit */
};

static void put_field(struct mark_cursor *cursor, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        cursor->at[i] = (uint8_t) "0123456789abcdef"[number & 15];
        number >>= 4;
    }
    assert(number == 0);
    cursor->at += digits;
}

static uint64_t get_field(struct mark_reader *reader, int digits)
{
    uint64_t number = 0;
    for (int i = 0; i < digits; i++) {
        uint8_t c = *reader->at++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        reader->is_valid = reader->is_valid && digit < 16;
        number = number << 4 | (digit & 15);
    }
    return number;
}

static uint32_t mark_checksum(const uint8_t *mark, size_t length, uint64_t offset)
{
    uint8_t place[8];
    bytes_put_u64(place, offset);
    uint32_t crc = crc32c(0, (struct slice){place, sizeof place});
    return crc32c(crc, (struct slice){mark, length - DIGITS_CRC});
}

static struct mark_cursor begin_mark(uint8_t *out, size_t length)
{
    record_encode_header(out, 0, length - RECORD_HEADER_BYTES);
    return (struct mark_cursor){out + RECORD_HEADER_BYTES};
}

static void end_mark(struct mark_cursor *cursor, uint8_t *out, size_t length,
                     uint64_t offset)
{
    assert(cursor->at == out + length - DIGITS_CRC);
    put_field(cursor, mark_checksum(out, length, offset), DIGITS_CRC);
}

static bool has_mark_header(struct slice bytes, size_t length)
{
    uint8_t header[RECORD_HEADER_BYTES];
    record_encode_header(header, 0, length - RECORD_HEADER_BYTES);
    return slice_starts_with(bytes, (struct slice){header, sizeof header});
}

/* Whether a whole mark of this length stands here and its checksum is right. */
static bool open_mark(struct slice bytes, size_t length, uint64_t offset,
                      struct mark_reader *reader_out)
{
    if (bytes.length < length || !has_mark_header(bytes, length)) {
        return false;
    }
    struct mark_reader checksum = {bytes.bytes + length - DIGITS_CRC, true};
    uint64_t stored = get_field(&checksum, DIGITS_CRC);
    if (!checksum.is_valid || stored != mark_checksum(bytes.bytes, length, offset)) {
        return false;
    }
    *reader_out = (struct mark_reader){bytes.bytes + RECORD_HEADER_BYTES, true};
    return true;
}

void record_encode_opening(uint8_t out[OPENING_BYTES], const struct opening *opening)
{
    struct mark_cursor cursor = begin_mark(out, OPENING_BYTES);
    put_field(&cursor, OPENING_MAGIC, DIGITS_ID);
    put_field(&cursor, opening->version, DIGITS_VERSION);
    put_field(&cursor, opening->log_id, DIGITS_ID);
    put_field(&cursor, opening->generation, DIGITS_ID);
    put_field(&cursor, opening->older_id, DIGITS_ID);
    put_field(&cursor, opening->older_length, DIGITS_OFFSET);
    end_mark(&cursor, out, OPENING_BYTES, 0);
}

bool record_decode_opening(struct slice bytes, struct opening *opening_out)
{
    struct mark_reader reader;
    if (!open_mark(bytes, OPENING_BYTES, 0, &reader) ||
        get_field(&reader, DIGITS_ID) != OPENING_MAGIC) {
        return false;
    }
    struct opening opening;
    opening.version = get_field(&reader, DIGITS_VERSION);
    opening.log_id = get_field(&reader, DIGITS_ID);
    opening.generation = get_field(&reader, DIGITS_ID);
    opening.older_id = get_field(&reader, DIGITS_ID);
    opening.older_length = get_field(&reader, DIGITS_OFFSET);
    if (reader.is_valid) {
        *opening_out = opening;
    }
    return reader.is_valid;
}

void record_encode_seal(uint8_t out[SEAL_BYTES], const struct seal *seal, uint64_t offset)
{
    struct mark_cursor cursor = begin_mark(out, SEAL_BYTES);
    put_field(&cursor, SEAL_KIND, DIGITS_KIND);
    put_field(&cursor, seal->log_id, DIGITS_ID);
    put_field(&cursor, seal->durable_length, DIGITS_OFFSET);
    put_field(&cursor, seal->chain, DIGITS_CRC);
    end_mark(&cursor, out, SEAL_BYTES, offset);
}

bool record_decode_seal(struct slice bytes, uint64_t offset, struct seal *seal_out)
{
    struct mark_reader reader;
    if (!open_mark(bytes, SEAL_BYTES, offset, &reader) ||
        get_field(&reader, DIGITS_KIND) != SEAL_KIND) {
        return false;
    }
    struct seal seal;
    seal.log_id = get_field(&reader, DIGITS_ID);
    seal.durable_length = get_field(&reader, DIGITS_OFFSET);
    seal.chain = (uint32_t)get_field(&reader, DIGITS_CRC);
    if (reader.is_valid) {
        *seal_out = seal;
    }
    return reader.is_valid;
}

void record_encode_drained(uint8_t out[DRAINED_BYTES], const struct drained *drained,
                           uint64_t offset)
{
    struct mark_cursor cursor = begin_mark(out, DRAINED_BYTES);
    put_field(&cursor, DRAINED_KIND, DIGITS_KIND);
    put_field(&cursor, drained->log_id, DIGITS_ID);
    put_field(&cursor, drained->older_id, DIGITS_ID);
    end_mark(&cursor, out, DRAINED_BYTES, offset);
}

bool record_decode_drained(struct slice bytes, uint64_t offset,
                           struct drained *drained_out)
{
    struct mark_reader reader;
    if (!open_mark(bytes, DRAINED_BYTES, offset, &reader) ||
        get_field(&reader, DIGITS_KIND) != DRAINED_KIND) {
        return false;
    }
    struct drained drained;
    drained.log_id = get_field(&reader, DIGITS_ID);
    drained.older_id = get_field(&reader, DIGITS_ID);
    if (reader.is_valid) {
        *drained_out = drained;
    }
    return reader.is_valid;
}

bool record_has_seal_header(struct slice bytes)
{
    return has_mark_header(bytes, SEAL_BYTES);
}

bool record_has_mark_header(struct slice bytes)
{
    return has_mark_header(bytes, OPENING_BYTES) || record_has_seal_header(bytes) ||
           has_mark_header(bytes, DRAINED_BYTES);
}

static bool has_intact_mark(struct slice bytes, uint64_t offset)
{
    struct opening opening;
    struct seal seal;
    struct drained drained;
    return record_decode_seal(bytes, offset, &seal) ||
           record_decode_drained(bytes, offset, &drained) ||
           (offset == 0 && record_decode_opening(bytes, &opening));
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
        uint64_t last = start + RUN - 1;
        while (last > start && log.bytes[last] == 0) {
            last--;
        }
        if (log.bytes[last] != 0) {
            start = last + 1;
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
    uint64_t at = find_mark_header(log, from);
    while (at < log.length) {
        if (has_intact_mark(slice_after(log, (size_t)at), at)) {
            *offset_out = at;
            return true;
        }
        at = find_mark_header(log, at + 1);
    }
    return false;
}
