/*
 * Rewriting logs: which records of one that was read go into a new one. Logs of the
 * original program, records without marks, are rewritten once as a log of ours.
 */
#ifndef KV_IMPORT_H
#define KV_IMPORT_H

#include "engine/keydir.h"
#include "log/logset.h"

/*
 * Append those records of a batch that give their key its value. Tells how far it came.
 *
 * batch: of the current log of the key directory or, if is_older, of the older one.
 * Errors as for rewrite_append.
 */
enum status import_copy(const struct keydir *keydir, const struct batch *batch,
                        bool is_older, struct log *to);

/*
 * Rewrite the live records of such a log, which was read, as PATH.new with marks, and put
 * it at PATH. Empty keys are left out; an incomplete last record is saved aside.
 *
 * end: of the last whole record.  mark_count: records with an empty key, for the report.
 * KV_IO, KV_NO_SPACE, KV_NO_MEMORY: the original is untouched; the caller tells so.
 * KV_FATAL: unknown which of the two is there (reported).
 */
enum status import_original(const struct logset *original, const struct keydir *keydir,
                            uint64_t end, uint64_t mark_count);

#endif
