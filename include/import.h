/*
 * Logs of the original program: records without marks, rewritten once as a log of ours.
 */
#ifndef KV_IMPORT_H
#define KV_IMPORT_H

#include "log.h"

/*
 * Whether a file that holds no mark is a log of the original: at least one whole record
 * with a non-empty key in UTF-8 stands before the first record that is not whole.
 */
bool import_is_original(struct slice bytes);

/*
 * Rewrite the live records of such a log as PATH.new with marks, and put it at PATH.
 * Empty keys are reported and skipped; an incomplete last record is saved aside.
 *
 * KV_IO, KV_NO_SPACE, KV_NO_MEMORY: reported, the original is untouched.
 */
enum status import_original(const struct files *files, struct log *original);

#endif
