/*
 * Start-up: from whatever is on disk to a log that can be appended to and a key
 * directory that is complete, or a refusal that changes nothing.
 */
#ifndef KV_RECOVER_H
#define KV_RECOVER_H

#include "engine/load.h"
#include "log/logset.h"

/* What was found in a log and the older one that it continues, if there is one. */
struct findings {
    struct scan scan;          /* of PATH, to its end or its first damage */
    uint64_t image_length;     /* what a believed PATH.index covers, or 0 */
    struct load_counts counts; /* of both logs */
};

/*
 * Verify the logs of a set and fill a key directory with what they hold: the older log
 * first, which must be whole, then PATH up to its end or its first damage.
 *
 * set: has a log.  keydir_out: initialised here, and to be destroyed whatever the
 * outcome. KV_CORRUPT: the older log is damaged, or missing though it is wanted.  KV_IO,
 * KV_NO_MEMORY: failed.  All but KV_NO_MEMORY are reported.
 */
enum status recover_fill(const struct logset *set, struct keydir *keydir_out,
                         struct findings *found_out);

struct recovery {
    uint64_t scanned_bytes;
    uint64_t snapshot_length; /* what PATH.index covers, or 0 */
    uint64_t elapsed_ms;
    bool is_at_rest; /* the last batch is followed by another seal */
};

/*
 * Open the log, or make a new one; verify it whole, cut a torn tail (after saving it
 * aside), and fill the key directory.
 *
 * keydir_out: initialised here; on KV_OK release with keydir_destroy and log_close.
 * KV_CORRUPT: the log is damaged or no log at all, and untouched.
 * KV_IO, KV_NO_SPACE, KV_NO_MEMORY: failed.  All are reported.
 */
enum status recover_open(const struct files *files, struct keydir *keydir_out,
                         struct recovery *recovery_out);

#endif
