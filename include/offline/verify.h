/*
 * --verify: read a whole log, say what is in it, change nothing.
 */
#ifndef KV_VERIFY_H
#define KV_VERIFY_H

#include "base/status.h"

/*
 * Print `name value` lines about the log on stdout, the first damage among them.
 *
 * KV_OK: it can be served; a torn tail is told.  KV_CORRUPT: damaged, or no log.  Other:
 * it could not be read (reported).
 */
enum status verify_log(const char *path);

#endif
