/*
 * A store whose log is being compacted: a table of rows that spans several slices, and
 * the steps of a compaction, one at a time.
 */
#ifndef KV_SUPPORT_COMPACTING_H
#define KV_SUPPORT_COMPACTING_H

#include "support/table.h"

/* Where the clock stands when a test begins. */
#define COMPACTING_START_MS UINT64_C(5000000)

/* More steps than any compaction here takes: one that needs them all never ends. */
enum { COMPACTING_STEPS_MAX = 10000 };

/* ---- The store ---- */

/* On an empty directory, with so many rows of about so many bytes; the shim is reset,
 * time stands still, and syncs are omitted. */
void compacting_begin(struct table *table, struct engine *engine, size_t row_count,
                      size_t value_bytes);

/* Rows for about six slices; for three, which have a first, a middle and a last one, too,
 * where everything runs slowly. */
void compacting_begin_some(struct table *table, struct engine *engine);

/* All rows in one batch, and a compaction has begun; the first row's header is rotten, so
 * that the walk through the log does not find the others. */
void compacting_begin_rotten(struct table *table, struct engine *engine, size_t row_count,
                             size_t value_bytes);

/* By a value of so many bytes, which is dead: a drained log so long is cut away first. */
void compacting_grow_log(const struct engine *engine, size_t value_bytes);

/* As after kill -9 at this moment; the table is there. */
void compacting_reopen(const struct table *table);

/* Close, if it is open, and remove everything, for the next of many runs. */
void compacting_start_over(struct engine *engine);

/* ---- Steps ---- */

bool compacting_is_running(const struct engine *engine);

void compacting_start(const struct engine *engine);

/* What is due when nobody waits for anything. */
enum status compacting_step(const struct engine *engine);

/* Until it is over; returns how many steps it took. */
size_t compacting_finish(const struct engine *engine);

/* Until about a part of the older log was copied, in percent. */
void compacting_advance(const struct engine *engine, uint64_t percent);

/* Go on until nothing is left to do. */
void compacting_exhaust(const struct engine *engine);

/* ---- The bytes of a log ---- */

/* PATH is the live data, each record once, and the marks that belong to it. */
void compacting_expect_log(const struct table *table);

/* Where the record of a row with its present value begins in a file. */
uint64_t compacting_find_row(const struct table *table, const char *suffix, size_t row);

/* Change a bit of PATH.old. */
void compacting_flip_older(const struct engine *engine, uint64_t offset);

#endif
