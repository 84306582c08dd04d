/*
 * --verify: read a whole log, say what is in it, change nothing.
 */
#ifndef KV_VERIFY_H
#define KV_VERIFY_H

#include "base/status.h"

/*
 * Print `name value` lines about the log on stdout, the first damage among them; nothing,
 * but a line on stderr, where PATH.old is damaged or PATH is no log, or not all of one.
 *
 * KV_OK: it can be served; a torn tail is told.  KV_CORRUPT: damaged, or no log. Both
 * also if the reader of stdout has seen enough.
 * KV_IO: it cannot be read, or is in use, or stdout takes no more; KV_NO_MEMORY: both
 * reported.
 */
enum status verify_log(const char *path);

#endif
