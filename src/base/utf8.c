/*
 * UTF-8 validation: plain text is passed over eight bytes at a time, everything else
 * goes through the table of well-formed sequences.
 */
#include "base/utf8.h"

/* Of long text so much is looked at before it is told whether to go on. */
enum { PIECE_BYTES = 512 };

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

/* Taking 1 from a byte sets its top bit only if it was 0 or had that bit or more. */
static inline bool is_plain_word(uint64_t word)
{
    return (((word - EACH_BYTE(1)) | word) & EACH_BYTE(0x80)) == 0;
}

/* Four of them at once, since values are long. */
static inline bool is_plain_block(const uint8_t *bytes)
{
    uint64_t first = word_at(bytes);
    uint64_t second = word_at(bytes + 8);
    uint64_t third = word_at(bytes + 16);
    uint64_t fourth = word_at(bytes + 24);
    uint64_t tops = (first - EACH_BYTE(1)) | first | (second - EACH_BYTE(1)) | second |
                    (third - EACH_BYTE(1)) | third | (fourth - EACH_BYTE(1)) | fourth;
    return (tops & EACH_BYTE(0x80)) == 0;
}

/* The length of the run of ASCII without NUL at the start. */
static inline size_t plain_length(struct slice text)
{
    size_t at = 0;
    while (text.length - at >= 32 && is_plain_block(text.bytes + at)) {
        at += 32;
    }
    while (text.length - at >= 8 && is_plain_word(word_at(text.bytes + at))) {
        at += 8;
    }
    while (at < text.length && text.bytes[at] > 0 && text.bytes[at] < 0x80) {
        at++;
    }
    return at;
}

/*
 * All words without a look between them, which compilers do several at a time, and the
 * last bytes once more as a word.
 */
static bool is_plain_piece(struct slice text)
{
    uint64_t tops = 0;
    size_t word_count = text.length / 8;
    for (size_t i = 0; i < word_count; i++) {
        uint64_t word = word_at(text.bytes + i * 8);
        tops |= (word - EACH_BYTE(1)) | word;
    }
    uint64_t last = word_at(text.bytes + text.length - 8);
    tops |= (last - EACH_BYTE(1)) | last;
    return (tops & EACH_BYTE(0x80)) == 0;
}

bool utf8_is_plain(struct slice text)
{
    if (text.length < 8) {
        return plain_length(text) == text.length;
    }
    while (text.length >= PIECE_BYTES + 8) {
        if (!is_plain_piece(slice_first(text, PIECE_BYTES))) {
            return false;
        }
        text = slice_after(text, PIECE_BYTES);
    }
    return is_plain_piece(text);
}

/*
 * The length of the well-formed sequence at the start, or 0. Only the second byte has a
 * range that depends on the first.
 */
static size_t sequence_length(struct slice text)
{
    uint8_t lead = text.bytes[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    bool is_lead = lead < 0x80 || (lead >= 0xc2 && lead <= 0xf4);
    if (!is_lead || text.length < length) {
        return 0;
    }
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (text.bytes[i] < low || text.bytes[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

bool utf8_is_valid(struct slice text)
{
    struct slice rest = slice_after(text, plain_length(text));
    while (rest.length > 0) {
        size_t length = sequence_length(rest);
        if (length == 0) {
            return false;
        }
        rest = slice_after(rest, length);
        rest = slice_after(rest, plain_length(rest));
    }
    return true;
}
