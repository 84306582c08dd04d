/*
 * Writing a whole new log, record by record, and putting it in place. Which records those
 * are is the caller's business.
 */
#ifndef KV_REWRITE_H
#define KV_REWRITE_H

#include "log/log.h"

/*
 * Remove what a crash left half made at PATH.new; of a file too short to tell, a copy is
 * kept. Any other file there is left alone.
 *
 * KV_CORRUPT: there is one.  KV_IO, KV_NO_MEMORY: it cannot be looked at.  All reported.
 */
enum status rewrite_clear(const struct files *files);

/* Begin a first-generation log as PATH.new of these files. Errors as for log_create;
 * release with rewrite_end. */
enum status rewrite_begin(const struct files *files, struct log **log_out);

/*
 * Append a record, in batches of ordinary size. KV_NO_MEMORY; else errors as for
 * log_write and log_reserve. After any of them only rewrite_end is left.
 */
enum status rewrite_append(struct log *to, const struct record *record);

/*
 * Put the new log in place and close it, if status is KV_OK; else drop it. Returns the
 * first failure; KV_FATAL if the new log may be in place all the same.
 *
 * replaced: as for log_publish.
 */
enum status rewrite_end(const struct files *files, struct log *log,
                        const struct log *replaced, enum status status);

#endif
