/*
 * Compaction: the log shrinks to its live records while it is served.
 *
 * It begins by making a new log that names the one at PATH, which gets the name PATH.old,
 * and putting it in its place; new records go there. Then it takes one bounded step at a
 * time: copy records that are still live, write the drained mark, cut the older log away.
 * A crash between any two steps leaves a state that recovery takes up.
 */
#ifndef KV_COMPACT_H
#define KV_COMPACT_H

#include "engine/transaction.h"

/* One is running while the key directory has an older log. */
struct compaction {
    const struct files *files;       /* borrowed */
    struct keydir *keydir;           /* borrowed */
    struct transaction *transaction; /* borrowed: copies are staged in it */
    uint64_t cursor;                 /* how far the older log was gone through */
    uint64_t position;               /* after that: how far the index was */
    bool has_found_more;             /* ... and that something was copied on the way */
    uint64_t removal_count;          /* ... and what was removed before it began */
    uint64_t unread_count;           /* ... and how many records could not be read */
    bool is_stuck;   /* what is left in the older log is damaged: it stays */
    bool is_waiting; /* what is left is that or cannot be read: it is read again later */
    bool is_drained; /* the drained mark is durable: the older log is being removed */
    uint64_t finished_count;
    uint64_t retry_ms;       /* after a failure: how long to wait */
    uint64_t keep_until_ms;  /* the older log stays until then, drained or not */
    uint64_t read_wait_ms;   /* after a read that failed: longer each time */
    uint64_t told_begin_ms;  /* when it was told last why none could begin */
    bool has_told_unread;    /* told once for each compaction */
    bool has_told_no_room;   /* told once, until it begins */
    bool has_told_no_memory; /* told once, until a step works */
};

/* Take up what recovery found: an older log to copy from, or none. */
void compact_init(struct compaction *compaction, const struct files *files,
                  struct transaction *transaction);

/*
 * Begin. Everything in the log is durable and sealed, and nothing is staged.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: it could not begin; all is as before (reported, once
 * a minute at most).
 * KV_FATAL: unknown which files there are (reported).
 */
enum status compact_begin(struct compaction *compaction);

/* Whether there is a step to take. */
bool compact_has_work(const struct compaction *compaction);

/*
 * When that may be, 0: at once. A log that is drained is kept for a while, for who
 * follows its changes (offline/follow.h) and has to see that there is a newer one.
 */
uint64_t compact_due_ms(const struct compaction *compaction);

/*
 * Whether all that held the compaction up, records of the older log that are damaged or
 * cannot be read, has been replaced or deleted, and the next step makes that last.
 */
bool compact_is_mended(const struct compaction *compaction);

/*
 * Take one step, whose work is bounded but for a single record larger than a slice.
 * Nothing is staged, before and after.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: the step was taken back, or what is left cannot be
 * read; try again later.
 * KV_FATAL: as for a commit.
 */
enum status compact_step(struct compaction *compaction);

/* How much of the older log was gone through; 100 when no compaction runs. */
unsigned compact_percent(const struct compaction *compaction);

#endif
