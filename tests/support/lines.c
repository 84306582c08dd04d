/*
 * SET and GET are most of what is sent; edges of lengths and of numbers come often.
 */
#include "support/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t below(struct lines *lines, uint64_t count)
{
    return dice_below(&lines->dice, count);
}

static bool may(const struct lines *lines, enum line_feature feature)
{
    return (lines->features >> feature & 1) != 0;
}

static bool one_in(struct lines *lines, uint64_t count)
{
    return below(lines, count) == 0;
}

void lines_put_text(struct lines *lines, const char *text)
{
    bytes_put(&lines->text, text, strlen(text));
}

/* So many letters of a kind. */
void lines_put_letters(struct lines *lines, uint64_t length, unsigned kind)
{
    char text[64];
    (void)snprintf(text, sizeof text, "{%" PRIu64 "#%u}", length, kind); /* it fits */
    lines_put_text(lines, text);
}

void lines_put_key_number(struct lines *lines, unsigned number)
{
    char key[80];
    int length = snprintf(key, sizeof key, "%c%u", 'a' + (int)(number % 26), number / 26);
    lines_put_text(lines, key);
    for (unsigned i = (unsigned)length; i < lines->key_bytes; i++) {
        lines_put_text(lines, "x");
    }
}

void lines_put_key(struct lines *lines)
{
    unsigned number = (unsigned)below(lines, lines->key_count);
    if (lines->dwells_on > 0 && !one_in(lines, 4)) {
        number = lines->dwells_on - 1;
    }
    lines_put_key_number(lines, number);
}

static uint64_t value_length(struct lines *lines)
{
    static const uint32_t edges[] = {65536, 131072, 262144, 524288, 1048576, 4194304};
    if (lines->large_left > 0 && one_in(lines, 20)) {
        lines->large_left--;
        uint64_t edge =
            edges[one_in(lines, 2) ? 1 : below(lines, one_in(lines, 8) ? 6 : 4)];
        return edge + below(lines, 3) * below(lines, 40) - below(lines, 60);
    }
    if (may(lines, MAY_BE_MIDDLING) && one_in(lines, 3)) {
        return below(lines, 6000);
    }
    return below(lines, 24);
}

void lines_put_value(struct lines *lines)
{
    static const char *const numbers[] = {"0",
                                          "-1",
                                          "41",
                                          "9223372036854775806",
                                          "-9223372036854775808",
                                          "9223372036854775808",
                                          "007",
                                          "+1",
                                          "1 2"};
    if (may(lines, MAY_INCR) && one_in(lines, 4)) {
        lines_put_text(lines, numbers[below(lines, sizeof numbers / sizeof numbers[0])]);
        return;
    }
    uint64_t length = value_length(lines);
    if (length > 1 && one_in(lines, 8)) {
        lines_put_text(
            lines, one_in(lines, 2) ? " " : "\\xc3\\xa4"); /* a space first, or UTF-8 */
    }
    if (length > 0) {
        lines_put_letters(lines, length, lines->kind++);
    }
    if (one_in(lines, 20)) {
        lines_put_text(lines, one_in(lines, 2) ? "\\r\\r" : " ");
    }
}

static void put_broken(struct lines *lines)
{
    static const char *const broken[] = {
        "",           "nonsense",
        "SET",        "SET a",
        "GET",        "GET a b",
        "\\xff\\xfe", "SET a \\x00",
        "count",      "Get a0",
        "DELETE",     "SET  a",
        "COUNT x",    "SET a \\xed\\xa0\\x80",
        "KEYS a b",   "EXISTS",
        "set a0 low", "INCR a x",
        "INCR a 1 2", "ADD a",
        "LIST a b",
    };
    static const char *const goodbyes[] = {"POST / HTTP/1.1", "\\xff\\xf4", "Host: x"};
    if (one_in(lines, 24)) {
        lines_put_text(lines, goodbyes[below(lines, 3)]);
    } else if (one_in(lines, 12)) {
        lines_put_text(lines, "GET ");
        lines_put_letters(lines, 65530 + below(lines, 12), 1);
    } else {
        lines_put_text(lines, broken[below(lines, sizeof broken / sizeof broken[0])]);
    }
}

static void put_incr(struct lines *lines)
{
    static const char *const numbers[] = {" 1", " -1", " 5", " 9223372036854775807",
                                          " -9223372036854775808"};
    lines_put_text(lines, "INCR ");
    lines_put_key(lines);
    if (one_in(lines, 2)) {
        lines_put_text(lines, numbers[below(lines, one_in(lines, 4) ? 5 : 3)]);
    }
}

/* SET and GET are most of what is sent; what a run leaves out becomes one of them. */
void lines_put(struct lines *lines)
{
    static const struct {
        enum line_feature feature;
        const char *word;
    } rare[] = {{MAY_KEYS, "KEYS"},       {MAY_STATS, "STATS"}, {MAY_SYNC, "SYNC"},
                {MAY_COMPACT, "COMPACT"}, {MAY_LIST, "LIST"},   {MAY_HELP, "HELP"}};
    uint64_t kind = below(lines, 100);
    if (lines->is_large && may(lines, MAY_COMPACT) && one_in(lines, 16)) {
        lines_put_text(lines, "COMPACT");
        return;
    }
    if (kind < 6) {
        size_t which = (size_t)below(lines, sizeof rare / sizeof rare[0]);
        if (may(lines, rare[which].feature)) {
            lines_put_text(lines, rare[which].word);
            return;
        }
    } else if (kind < 12 && may(lines, MAY_BREAK)) {
        put_broken(lines);
        return;
    } else if (kind < 24 && may(lines, MAY_DELETE)) {
        lines_put_text(lines, "DELETE ");
        lines_put_key(lines);
        return;
    } else if (kind < 30 && may(lines, MAY_EXISTS)) {
        lines_put_text(lines, "EXISTS ");
        lines_put_key(lines);
        return;
    } else if (kind < 34 && may(lines, MAY_COUNT)) {
        lines_put_text(lines, "COUNT");
        return;
    } else if (kind < 36 && may(lines, MAY_QUIT) && one_in(lines, 8)) {
        lines_put_text(lines, "QUIT");
        return;
    } else if (kind < 44 && may(lines, MAY_INCR)) {
        put_incr(lines);
        return;
    } else if (kind < 52 && may(lines, MAY_ADD)) {
        lines_put_text(lines, "ADD ");
        lines_put_key(lines);
        lines_put_text(lines, " ");
        lines_put_value(lines);
        return;
    }
    bool is_get = may(lines, MAY_GET) && (!may(lines, MAY_SET) || one_in(lines, 2));
    lines_put_text(lines, is_get ? "GET " : "SET ");
    lines_put_key(lines);
    if (!is_get) {
        lines_put_text(lines, " ");
        lines_put_value(lines);
    }
}

/* ---- The bytes that a text stands for ---- */

/* So many letters, of which each kind has its own, told apart at each place. */
static void expand_letters(struct bytes *bytes, size_t length, unsigned kind)
{
    char pattern[64];
    int period = snprintf(pattern, sizeof pattern, "%c%u-%u.", 'a' + (char)(kind % 26),
                          kind, kind * 2654435761u % 1000);
    bytes_reserve(bytes, length);
    unsigned char *to = bytes->at + bytes->length;
    size_t done = length < (size_t)period ? length : (size_t)period;
    memcpy(to, pattern, done);
    while (done < length) { /* whole periods, twice as many each time */
        size_t more = done < length - done ? done : length - done;
        memcpy(to + done, to, more);
        done += more;
    }
    bytes->length += length;
}

static const char *expand_escape(const char *at, struct bytes *bytes)
{
    unsigned byte = 0;
    unsigned char plain = (unsigned char)at[1];
    if (at[1] == 'x' && sscanf(at + 2, "%2x", &byte) == 1) {
        plain = (unsigned char)byte;
        bytes_put(bytes, &plain, 1);
        return at + 4;
    }
    plain = at[1] == 'n' ? '\n' : at[1] == 'r' ? '\r' : plain;
    bytes_put(bytes, &plain, 1);
    return at + (at[1] == '\0' ? 1 : 2);
}

void lines_expand(const char *text, struct bytes *bytes)
{
    while (*text != '\0') {
        size_t plain = strcspn(text, "\\{");
        size_t length = 0;
        unsigned kind = 0;
        int used = 0;
        bytes_put(bytes, text, plain);
        text += plain;
        if (*text == '\\') {
            text = expand_escape(text, bytes);
        } else if (sscanf(text, "{%zu#%u}%n", &length, &kind, &used) == 2 && used > 0) {
            expand_letters(bytes, length, kind);
            text += used;
        } else if (*text == '{') {
            bytes_put(bytes, text++, 1);
        }
    }
}
