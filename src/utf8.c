/*
 * UTF-8 validation: plain text is passed over eight bytes at a time, everything else
 * goes through the table of well-formed sequences.
 */
#include "utf8.h"

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

bool utf8_is_plain(struct slice text)
{
    size_t at = 0;
    for (; text.length - at >= 8; at += 8) {
        if (!is_plain_word(word_at(text.bytes + at))) {
            return false;
        }
    }
    for (; at < text.length; at++) {
        if (text.bytes[at] == 0 || text.bytes[at] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* The length of the run of bytes below 0x80 at the start. */
static size_t ascii_length(struct slice text)
{
    size_t at = 0;
    while (text.length - at >= 8 && (word_at(text.bytes + at) & EACH_BYTE(0x80)) == 0) {
        at += 8;
    }
    while (at < text.length && text.bytes[at] < 0x80) {
        at++;
    }
    return at;
}

/*
 * The length of the well-formed sequence of two to four bytes at the start, or 0.
 * Only the second byte has a range that depends on the first.
 */
static size_t sequence_length(struct slice text)
{
    uint8_t lead = text.bytes[0];
    size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || text.length < length) {
        return 0;
    }
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (text.bytes[1] < low || text.bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (text.bytes[i] < 0x80 || text.bytes[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

bool utf8_is_valid(struct slice text)
{
    struct slice rest = slice_after(text, ascii_length(text));
    while (rest.length > 0) {
        size_t length = sequence_length(rest);
        if (length == 0) {
            return false;
        }
        rest = slice_after(rest, length);
        rest = slice_after(rest, ascii_length(rest));
    }
    return true;
}
