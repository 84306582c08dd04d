/*
 * The log and, while a compaction runs, the older one that it continues: which files
 * there are, whether they belong together, and loading them in order. Reads only.
 */
#ifndef KV_LOGSET_H
#define KV_LOGSET_H

#include "keydir.h"
#include "scan.h"

enum logset_shape {
    LOGSET_NONE,        /* neither PATH nor PATH.old, or PATH is empty */
    LOGSET_OLDER_ALONE, /* a compaction had begun and not made its new log */
    LOGSET_UNMARKED,    /* records without marks: a log of the original program */
    LOGSET_SEALED       /* an opening record, and PATH.old if it is still wanted */
};

struct logset {
    const struct files *files;
    enum logset_shape shape;
    struct log *log;        /* PATH; NULL for LOGSET_NONE and LOGSET_OLDER_ALONE */
    struct log *older;      /* PATH.old, or NULL */
    struct opening opening; /* LOGSET_SEALED */
    bool is_drained;        /* PATH.old is there and not wanted any more */
};

/*
 * Open what is there and judge how it belongs together.
 *
 * KV_CORRUPT: damaged, no log at all, or logs that do not belong together.  KV_IO,
 * KV_NO_MEMORY: failed.  All are reported; set_out is empty then.
 * Release with logset_close.
 */
enum status logset_open(const struct files *files, enum log_access access,
                        struct logset *set_out);

/* Close the logs that the set still has. */
void logset_close(struct logset *set);

/* How far loading a sealed set came. */
struct logset_end {
    struct scan scan; /* of PATH */
    enum scan_result result;
    uint64_t record_count; /* of both logs, marks left out */
    uint64_t seal_count;
};

/*
 * Verify and load a sealed set into a key directory, which is initialised here: the older
 * log first, which must be whole, then PATH up to its end or its first damage.
 *
 * KV_CORRUPT: the older log is damaged, or missing though it is wanted.  KV_IO,
 * KV_NO_MEMORY: failed.  All are reported; the key directory is to be destroyed anyway.
 */
enum status logset_load(const struct logset *set, struct keydir *keydir_out,
                        struct logset_end *end_out);

#endif
