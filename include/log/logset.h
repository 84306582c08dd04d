/*
 * The log and, while a compaction runs, the older one that it continues: which files
 * there are, and whether they belong together. Reads only.
 */
#ifndef KV_LOGSET_H
#define KV_LOGSET_H

#include "log/log.h"
#include "log/scan.h"

struct logset {
    const struct files *files;
    enum log_access access;
    bool may_use_image;     /* PATH.index may stand for records; else all are counted */
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
 * KV_CORRUPT: damaged, no log at all, or logs that do not belong together.  KV_IO:
 * failed. Both are reported.  KV_NO_MEMORY: the caller tells.  set_out is empty then.
 * Release with logset_close.
 */
enum status logset_open(const struct files *files, enum log_access access,
                        struct logset *set_out);

/*
 * Whether a file that holds no mark is a log of the original: at least one whole record
 * with a non-empty key in UTF-8 stands before the first record that is not whole.
 */
bool logset_is_original(struct slice bytes);

/*
 * Whether everything behind `from` was read as it is: what could not be read is zeros,
 * about which nothing else may be said. KV_IO: it was not (reported).
 */
enum status logset_check_was_read(const struct log *log, uint64_t from);

/*
 * Judge what stands in a log where a scan of it found no next batch, as scan_judge_tail
 * does. It is looked at for the first time then, so only now it can be asked whether all
 * of it was read: damage before a seal that cannot be read is no torn tail.
 *
 * KV_IO: it was not (reported); tail_out is not written.
 */
enum status logset_judge_tail(const struct log *log, const struct scan *scan,
                              enum tail *tail_out);

/*
 * Verify batches from a scan of this log on, up to an offset or the first damage, where
 * the scan is left to stand. Tells its progress.
 */
void logset_verify(const struct log *log, struct scan *scan, uint64_t end);

/*
 * Whether the batches of a log, from the scan on, say with a drained mark that everything
 * live was copied from the older log with this id. Tells its progress.
 */
bool logset_is_drained(const struct log *log, struct scan scan, uint64_t older_id);

/*
 * Note for a scan of PATH that so much of it had been durable, as PATH.index says.
 *
 * KV_CORRUPT: it is shorter (reported).
 */
enum status logset_prove_length(const struct files *files, struct scan *scan,
                                uint64_t length);

/* Report that a file of the set (PATH and suffix) is not as it has to be: KV_CORRUPT. */
enum status logset_refuse(const struct logset *set, const char *suffix,
                          const char *reason);

/* Close the logs that the set still has. */
void logset_close(struct logset *set);

#endif
