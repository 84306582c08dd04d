/*
 * --dump: print the live data in a form that loads elsewhere.
 */
#ifndef KV_DUMP_H
#define KV_DUMP_H

#include "base/status.h"

enum dump_format {
    DUMP_SET, /* lines that nc sends to a kv-store */
    DUMP_RESP /* the Redis protocol (RESP2), for redis-cli --pipe */
};

/*
 * Print every key and its value on stdout; nothing is changed.
 *
 * KV_OK.  KV_PARTIAL: all was printed but what a SET line cannot carry (reported, one
 * line each).  KV_CORRUPT: the log is damaged, and nothing was printed, or a record is.
 * KV_IO: the log cannot be read, or is in use, or stdout takes no more.  KV_NO_MEMORY.
 * All are reported.
 */
enum status dump_log(const char *path, enum dump_format format);

#endif
