/*
 * One file of any bytes, through everything that opens a log.
 */
#ifndef KV_FUZZ_REOPEN_H
#define KV_FUZZ_REOPEN_H

#include "base/slice.h"
#include "base/status.h"

/*
 * Verify, salvage, open, read, close and open again a log of these bytes, and check that
 * what is refused is untouched, that what is served stands in the file, and that all of
 * them agree. Returns the outcome of opening it.
 */
enum status reopen_check(struct slice bytes);

#endif
