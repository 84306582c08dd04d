/*
 * Lines as clients send them, chosen by dice: what a run leaves out is left out of all of
 * its lines. They are in the words of the world's scripts, where an escape stands for a
 * byte and {300#7} for 300 letters of kind 7.
 */
#ifndef KV_SUPPORT_LINES_H
#define KV_SUPPORT_LINES_H

#include "base/platform.h"
#include "support/bytes.h"
#include "support/dice.h"

#include <stdbool.h>

enum line_feature {
    MAY_SET,
    MAY_GET,
    MAY_DELETE,
    MAY_EXISTS,
    MAY_ADD,
    MAY_INCR,
    MAY_KEYS,
    MAY_LIST,
    MAY_COUNT,
    MAY_STATS,
    MAY_SYNC,
    MAY_COMPACT,
    MAY_HELP,
    MAY_QUIT,
    MAY_BREAK, /* lines that are none */
    MAY_BE_LARGE,
    MAY_BE_MIDDLING,
    LINE_FEATURES
};

struct lines {
    struct dice dice;
    uint64_t features; /* a bit for each line_feature; others are for the caller */
    struct bytes text; /* what was put so far */
    unsigned key_count;
    unsigned key_bytes;  /* keys that would be shorter are made so long */
    unsigned dwells_on;  /* the number of the key that most lines are about; 0: none */
    unsigned kind;       /* of the next value */
    bool is_large;       /* the run has some: few keys, and compactions in the midst */
    unsigned large_left; /* values that are larger than some buffer */
};

/* A line, without its end. */
void lines_put(struct lines *lines);

/* Parts of one: words of a script, a key, that of a number, a value, so many letters. */
void lines_put_text(struct lines *lines, const char *text);
void lines_put_key(struct lines *lines);
void lines_put_key_number(struct lines *lines, unsigned number);
void lines_put_value(struct lines *lines);
void lines_put_letters(struct lines *lines, uint64_t length, unsigned kind);

/* Append the bytes that a text stands for. */
void lines_expand(const char *text, struct bytes *bytes);

#endif
