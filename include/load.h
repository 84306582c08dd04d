/*
 * Filling a key directory with the records of its current log, in order.
 *
 * Records are collected and put into the index one part of it at a time: a part fits
 * the caches, all of it does not. So nothing of them can be found before load_end.
 */
#ifndef KV_LOAD_H
#define KV_LOAD_H

#include "keydir.h"

struct load;

/* KV_NO_MEMORY.  Release with load_end. */
enum status load_begin(struct keydir *keydir, struct load **load_out);

/*
 * Take a run of whole records as they stand in the current log from `offset` on, until
 * the first that is not whole; marks are passed over.
 *
 * count: raised by one for each record.
 * KV_NO_MEMORY, KV_CORRUPT, KV_IO: applied in part.
 */
enum status load_records(struct load *load, struct slice records, uint64_t offset,
                         uint64_t *count);

/*
 * Put in what is still to be put in, unless something failed before, and release.
 * Returns the first failure: that one, or one of load_records.
 */
enum status load_end(struct load *load, enum status status);

#endif
