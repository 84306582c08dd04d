/*
 * What a store holds, what lines make of it and get for an answer, and which states it
 * may be found in. Written here anew; parsing and the texts of outcomes are the program's
 * own, which other tests hold to the letter.
 *
 * Keys and values have numbers; 0 is no key, or that a key has no value.
 */
#ifndef KV_SUPPORT_CONTENTS_H
#define KV_SUPPORT_CONTENTS_H

#include "net/protocol.h"
#include "support/words.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero is an empty store. */
struct contents {
    struct words keys;
    struct words values;
    uint32_t *held; /* by the number of a key: that of its value */
    size_t capacity;
    uint64_t key_count;  /* of those that have a value */
    uint64_t live_bytes; /* their records */
};

void contents_clear(struct contents *contents);

/* The number of a key, for which there is room in `held` from now on. */
uint32_t contents_key(struct contents *contents, struct slice key);

void contents_set(struct contents *contents, uint32_t key, uint32_t value);

/* All of `held` was changed by others: count anew. */
void contents_sum_up(struct contents *contents);

/* Give back the memory of values that no key has; numbers of values change. */
void contents_forget_unused(struct contents *contents);

/* A line without its LF: less the CR that may stand at its end. */
struct slice contents_line(struct slice line);

/* What a write makes of the value that its key has; false: it changes nothing. */
bool contents_written(struct contents *contents, const struct request *request,
                      uint32_t before, uint32_t *after_out);

/*
 * The reply to a request that is carried out, without its end: not to KEYS, LIST, STATS
 * and HELP, which get more than a line. Valid until the next call.
 */
struct slice contents_reply(struct contents *contents, const struct request *request);

/* The one that tells such an outcome; verb: of KV_USAGE. Valid until the next call. */
struct slice contents_status(enum status status, enum verb verb);

/* Whether a text is a number as the store counts on. */
bool contents_is_decimal(struct slice text, int64_t *number_out);

/* ---- Replies of many lines ---- */

enum match { MATCH, MORE, WRONG };

/* What was heard, and how much of it is matched. */
struct hearing {
    struct slice rest;
    size_t used;
};

bool hearing_next(struct hearing *hearing, struct slice *line_out);

/*
 * The reply to KEYS, or with values to LIST: each key that begins so once, in any order,
 * then an empty line. may_fail: what cannot be read has a line of its own in place of a
 * key, or at the end of those with values.
 */
enum match contents_match_keys(const struct contents *contents, struct hearing *hearing,
                               const struct request *request, bool may_fail);

/* ---- Writes that may have been carried out ---- */

/* In the order of sending; value 0: a deletion. The rest is the caller's. */
struct write {
    uint32_t key;
    uint32_t value;
    uint64_t fair_us; /* when it was acknowledged */
    bool is_doubtful; /* it was refused, or carried out and then replaced */
};

struct writes {
    struct write *items;
    size_t count;
    size_t capacity;
};

void writes_put(struct writes *writes, struct write write);

/* In how many of the keys two states differ. */
size_t states_differing(const uint32_t held[], const uint32_t observed[],
                        size_t key_count);

/*
 * Go on from `held` by writes in their order, until it is as observed or none is left;
 * *differing: in how many keys it is not. Returns how many were carried out.
 */
size_t writes_follow(const struct writes *writes, uint32_t held[],
                     const uint32_t observed[], size_t *differing);

#endif
