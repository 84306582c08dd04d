/*
 * --dump: print the live data in a form that loads elsewhere.
 */
#ifndef KV_DUMP_H
#define KV_DUMP_H

#include "offline/lines.h"

/*
 * Print every key and its value on stdout, in the order of the log; nothing is changed.
 * Two dumps of a log are the same bytes.
 *
 * KV_OK, also if the reader of stdout has seen enough.  KV_PARTIAL: all was printed but
 * what a SET line cannot carry (reported, one line each).  KV_CORRUPT: the log is
 * damaged, and nothing was printed, or a record is. KV_IO: the log cannot be read, or is
 * in use, or stdout takes no more.  KV_NO_MEMORY. All are reported.
 */
enum status dump_log(const char *path, enum lines_format format);

#endif
