/*
 * Writing a whole new log that holds the live records of an old one.
 */
#ifndef KV_REWRITE_H
#define KV_REWRITE_H

#include "engine/keydir.h"
#include "log/scan.h"

/*
 * Remove what a crash left half made at PATH.new; of a file too short to tell, a copy is
 * kept. Any other file there is left alone.
 *
 * KV_CORRUPT: there is one.  KV_IO, KV_NO_MEMORY: it cannot be looked at.  All reported.
 */
enum status rewrite_clear(const struct files *files);

/* Begin a first-generation log as PATH.new of these files. Errors as for log_create. */
enum status rewrite_begin(const struct files *files, struct log **log_out);

/*
 * Append those records of a batch of an old log that give their key its value.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: as for log_write.
 */
enum status rewrite_copy(struct log *to, const struct keydir *keydir,
                         const struct log *from, const struct batch *batch);

/*
 * Put the new log in place and close it, if status is KV_OK; else drop it. Returns the
 * first failure; KV_FATAL if the new log may be in place all the same.
 *
 * replaced: as for log_publish.
 */
enum status rewrite_end(const struct files *files, struct log *log,
                        const struct log *replaced, enum status status);

#endif
