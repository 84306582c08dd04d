/*
 * --salvage: copy everything provably intact from a damaged log to a new one.
 */
#ifndef KV_SALVAGE_H
#define KV_SALVAGE_H

#include "base/status.h"

/*
 * Write the live records of every intact batch of the log at `path` to a new log at
 * `new_path`, and print on stdout what was kept and each range that could not be used.
 *
 * A batch is proved by the seals on both its sides and the chain between them. A lost
 * range may have held newer values of keys that are kept, or their deletions; it may lie
 * behind the end of a file of which PATH or PATH.index says that it was longer.
 * The old log is never written to. An existing new_path is refused.
 *
 * KV_OK: the new log is whole and durable.  KV_NOT_FOUND: there is no old one.
 * KV_CORRUPT: nothing in PATH can be proved, nor in PATH.old.  KV_IO, KV_NO_SPACE,
 * KV_NO_MEMORY: failed. Then there is no new log, unless the message says that only
 * telling of it failed. All are reported.
 */
enum status salvage_log(const char *path, const char *new_path);

#endif
