/*
 * Copies of what is cut off a log, beside it.
 */
#ifndef KV_TORN_H
#define KV_TORN_H

#include "file/files.h"

/*
 * Keep a copy of bytes that are about to be cut off the log, as PATH.torn.OFFSET;
 * a file there with other bytes is never replaced: the copy gets another number.
 *
 * suffix_out: the suffix that the copy got.
 * KV_IO, KV_NO_SPACE, KV_NO_MEMORY: there is no copy to rely on, so nothing may be cut
 * (reported).
 */
enum status torn_save(const struct files *files, struct slice bytes, uint64_t offset,
                      char suffix_out[FILES_SUFFIX_BYTES_MAX]);

#endif
