/*
 * Logs of the original program: records without marks, rewritten once as a log of ours.
 */
#ifndef KV_IMPORT_H
#define KV_IMPORT_H

#include "log/logset.h"

/*
 * Rewrite the live records of such a log as PATH.new with marks, and
 * put it at PATH. Empty keys are counted and left out; an incomplete last record is saved
 * aside.
 *
 * KV_IO, KV_NO_SPACE, KV_NO_MEMORY: reported, the original is untouched.
 * KV_FATAL: unknown which of the two is there (reported).
 */
enum status import_original(const struct logset *original);

#endif
