/*
 * The log and, while a compaction runs, the older one that it continues: which files
 * there are, whether they belong together, and loading them in order. Reads only.
 */
#ifndef KV_LOGSET_H
#define KV_LOGSET_H

#include "engine/keydir.h"
#include "engine/load.h"

struct logset {
    const struct files *files;
    enum log_access access; /* LOG_APPEND: PATH.index may be believed */
    struct log *log;        /* PATH; NULL: there is none, or an empty file */
    struct log *older;      /* PATH.old, which PATH continues; NULL: none is wanted */
    bool is_older_alone;    /* a compaction had only begun: `log` is at PATH.old */
    bool is_drained;        /* PATH.old is there and not wanted any more */
    bool has_marks;         /* else a log of the original program, if any */
    struct opening opening; /* if has_marks */
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
    struct scan scan;          /* of PATH */
    uint64_t image_length;     /* what a believed PATH.index covers, or 0 */
    struct load_counts counts; /* of both logs */
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

#endif
