/*
 * What a compaction writes and what it gives back, and so when one is worth beginning.
 * Arithmetic over what the key directory and its logs know: nothing is done here.
 */
#ifndef KV_WORTH_H
#define KV_WORTH_H

#include "engine/keydir.h"

/* What a compaction that begins now would write, in bytes. */
uint64_t worth_bytes_to_begin(const struct keydir *keydir);

/*
 * What the one that is running, and has gone through the older log so far, will write
 * yet, at most. 0: none is.
 */
uint64_t worth_bytes_to_finish(const struct keydir *keydir, uint64_t cursor);

/*
 * Whether one should begin by itself: so much of the log is dead, or the disk so full.
 *
 * is_full: a value was refused for want of room.
 */
bool worth_beginning(const struct keydir *keydir, bool is_full);

/*
 * How much may be written before so much is dead at the earliest, if nothing else than
 * dead bytes comes of it. The log is the only one.
 */
uint64_t worth_bytes_until(const struct keydir *keydir);

#endif
