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
    enum log_access access; /* LOG_APPEND: PATH.index may be believed */
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

/*
 * Whether a file that holds no mark is a log of the original: at least one whole record
 * with a non-empty key in UTF-8 stands before the first record that is not whole.
 */
bool logset_is_original(struct slice bytes);

/* Close the logs that the set still has. */
void logset_close(struct logset *set);

/* How far loading a set came. */
struct logset_end {
    struct scan scan; /* of PATH; without marks only its offset counts */
    enum scan_result result;
    uint64_t image_length;  /* what a believed PATH.index covers, or 0 */
    uint64_t proved_length; /* so much of PATH had been durable, says PATH.index */
    uint64_t record_count;  /* of both logs, marks left out */
    uint64_t seal_count;
    uint64_t empty_key_count; /* of a log without marks */
};

/*
 * Verify and load a set that has a log into a key directory, which is initialised here:
 * the older log first, which must be whole, then PATH up to its end or its first damage.
 *
 * KV_CORRUPT: the older log is damaged, or missing though it is wanted.  KV_IO,
 * KV_NO_MEMORY: failed.  All are reported; the key directory is to be destroyed anyway.
 */
enum status logset_load(const struct logset *set, struct keydir *keydir_out,
                        struct logset_end *end_out);

/* A set that was read as a whole, with what it holds. */
struct reading {
    struct files *files;
    struct logset set;
    struct keydir keydir;
    struct logset_end end;
};

/*
 * Open and load what is at PATH for one of the offline modes.
 *
 * KV_IO: there is nothing to load (reported); else as for logset_open and logset_load.
 * Release with logset_release, whatever the outcome.
 */
enum status logset_read(const char *path, struct reading *reading_out);
void logset_release(struct reading *reading);

/* What to think of the bytes behind a load: TAIL_TORN also when there are none. */
enum tail logset_judge_tail(const struct logset *set, const struct logset_end *end);

#endif
