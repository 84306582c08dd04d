/*
 * What a run of the small client must come to: its status, its output and its errors
 * follow from what it was asked, what was answered, and how much of that it got.
 */
#ifndef KV_WORLD_SMALL_VERDICT_H
#define KV_WORLD_SMALL_VERDICT_H

#include "base/slice.h"
#include "world/memory.h"

#include <stdint.h>

enum { SMALL_WORDS_MAX = 12, SMALL_LINES_MAX = 2 };

struct small_run {
    struct bytes words;             /* as in the event, with a NUL behind */
    struct bytes text;              /* of its arguments, each with a NUL behind */
    size_t places[SMALL_WORDS_MAX]; /* of these in it */
    char *argv[SMALL_WORDS_MAX + 1];
    size_t word_count;
    size_t command_at;   /* which of them is the command */
    struct bytes input;  /* on its standard input */
    uint64_t patience_s; /* as it was told */

    struct bytes wanted; /* the lines that it has to say */
    size_t wanted_count;
    bool is_odd; /* no line carries its words: it has to refuse them */
    struct bytes said;
    struct bytes replied; /* the whole replies, all of them right */
    size_t reply_ends[SMALL_LINES_MAX];
    size_t reply_count;

    uint64_t received_bytes;
    bool has_seen_end; /* an orderly end of what it received */
    bool has_reason;   /* a call on the connection failed, or it has ended */
    bool is_hurt;      /* a call of another kind failed */

    bool has_ended;
    int status;
    const char *flaw; /* in how it makes its calls, or NULL */
    struct bytes printed;
    struct bytes told;
};

/* It is asked to do this. */
void small_verdict_begin(struct small_run *run, const char *words);

void small_verdict_note_reply(struct small_run *run, struct slice reply);

/* It has ended: a rule that it broke is a violation. */
void small_verdict(const struct small_run *run);

#endif
