/*
 * How far long work has come, for the operator: on a terminal one line that is rewritten
 * until the work ends or a message takes its place, elsewhere a message every few
 * seconds. Of work that is short nothing is said: bounds.h has the times.
 *
 * There is one piece of work at a time, as there is one stderr: to begin another ends the
 * one before. While there is none, progress_at does nothing.
 */
#ifndef KV_PROGRESS_H
#define KV_PROGRESS_H

#include <stdint.h>

/*
 * Begin work of so many bytes on the file at path and suffix.
 *
 * verb, path, suffix: borrowed until progress_end; told as "reading kv.log.old".
 */
void progress_begin(const char *verb, const char *path, const char *suffix,
                    uint64_t total_bytes);

/*
 * The work has come so far; the first call says where it begins, one that goes back is
 * passed over. Costs a comparison, and a look at the clock every PROGRESS_STEP_BYTES.
 */
void progress_at(uint64_t done_bytes);

/* The work is over, or given up: nothing of it stays on a terminal. */
void progress_end(void);

#endif
