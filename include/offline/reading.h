/*
 * What is at PATH, opened and read as a whole, for whoever changes nothing.
 */
#ifndef KV_READING_H
#define KV_READING_H

#include "engine/recover.h"

struct reading {
    struct files *files;
    struct logset set; /* its log is there */
    struct keydir keydir;
    struct findings found;
};

/*
 * Open and read it; beside a server, or twice at once, too if both only read.
 *
 * counts_all: every record is counted in what is found, and PATH.index says only how long
 * the log has been; else it may stand for the records that it covers, which are verified,
 * but not compared with each other.
 * KV_CORRUPT: damaged, no log at all, or not all of it is there.  KV_IO: there is nothing
 * to read, or it failed.  KV_NO_MEMORY.  All are reported.
 * Release with reading_close, whatever the outcome.
 */
enum status reading_open(const char *path, bool counts_all, struct reading *reading_out);
void reading_close(struct reading *reading);

#endif
