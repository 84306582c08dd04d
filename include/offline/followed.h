/*
 * One log that --follow reads: its file, as much of it as there is, and how far two scans
 * of it have come. It may grow, be cut, or lose its name meanwhile, and the disk may not
 * give all of it.
 */
#ifndef KV_FOLLOWED_H
#define KV_FOLLOWED_H

#include "file/files.h"
#include "file/mapping.h"
#include "log/scan.h"

struct followed {
    const struct files *files; /* borrowed */
    int fd;                    /* -1: there is none */
    struct mapping *mapping;
    const char *suffix;  /* of its name when it was opened; a log keeps its inode */
    struct io_info info; /* when last looked */
    struct opening opening;
    struct scan ahead;   /* as far as there are batches */
    struct scan printed; /* as far as they were printed */
    uint64_t written;    /* as far as that left this process */
    uint64_t end;        /* where its successor begins; UINT64_MAX: there is none yet */
};

static inline struct followed followed_none(void)
{
    return (struct followed){.fd = -1, .end = UINT64_MAX};
}

/*
 * Open a log and stand at its beginning.
 *
 * suffix: borrowed as long as the log is followed.
 * KV_NOT_FOUND: there is none, or it does not begin yet.  Other failures are reported.
 * Nothing is open then.  Release with followed_end.
 */
enum status followed_begin(const struct files *files, const char *suffix,
                           struct followed *log);

/* Close it, if there is one: there is none then. */
void followed_end(struct followed *log);

/* See as much of the file as there is now. KV_IO, KV_NO_MEMORY: reported. */
enum status followed_look(struct followed *log);

/* As scan_next, of a file that may have become shorter than what was read of it. */
bool followed_next(struct scan *scan, struct batch *batch);

/* Whether it is not the disk that keeps back what stands before this place. */
bool followed_is_cut(const struct followed *log, uint64_t end);

/* Whether it says that all that is live was copied from the older one. */
bool followed_is_drained(const struct followed *log);

/* Report a status of reading, and return it. */
enum status followed_tell_unread(const char *path, const char *suffix,
                                 enum status status);

/* The file is as long as it should be, but the disk does not give it. KV_IO. */
enum status followed_tell_lost(const struct followed *log);

/* KV_CORRUPT. */
enum status followed_tell_damaged(const struct followed *log, uint64_t offset);

#endif
