/*
 * The durable-file system calls, and no others: whatever the program does to a disk
 * goes through here, so that tests can fail, cut short, delay and record each call.
 *
 * Every function retries EINTR, returns a status and leaves errno set on failure; the
 * caller, who knows path and offset, reports it. Where nothing else is said:
 * KV_NO_SPACE for ENOSPC, EDQUOT and EFBIG; KV_NOT_FOUND for ENOENT; KV_IO otherwise.
 */
#ifndef KV_IO_H
#define KV_IO_H

#include "base/slice.h"
#include "base/status.h"

/* What the system knows of an open file. */
struct io_info {
    uint64_t length;
    uint64_t link_count;
    bool is_regular;
    uint64_t owner;  /* user id */
    uint64_t device; /* this and the next tell a file from every other */
    uint64_t inode;
};

static inline bool io_is_same_file(const struct io_info *a, const struct io_info *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/* Several may share a file if none of them wants it alone, which needs O_RDWR. */
enum io_lock { IO_LOCK_ALONE, IO_LOCK_SHARED };

/* Open a directory, to name files in it and to sync it. */
enum status io_open_directory(const char *path, int *fd_out);

/*
 * Open a file in a directory; never follows a symbolic link, never waits for the other
 * end of a pipe, gives new files mode 0600.
 *
 * flags: as for open(2): O_RDONLY or O_RDWR, with O_CREAT and O_EXCL if wanted.
 */
enum status io_open(int directory, const char *name, int flags, int *fd_out);

/* Close once: after EINTR the descriptor is gone too. KV_IO: data may be lost. */
enum status io_close(int fd);

enum status io_inspect(int fd, struct io_info *info_out);

/* The same of what a name in a directory leads to; a symbolic link is looked at itself.
 */
enum status io_inspect_name(int directory, const char *name, struct io_info *info_out);

/*
 * Write all bytes at an offset, in calls of at most WRITE_BYTES_MAX.
 * On failure any part of them may have been written.
 */
enum status io_write_at(int fd, struct slice bytes, uint64_t offset);

/* The same. written_out: how many bytes the calls before one that failed have written. */
enum status io_write_counted(int fd, struct slice bytes, uint64_t offset,
                             uint64_t *written_out);

enum status io_truncate(int fd, uint64_t length);

/* Make the bytes and the length of a file durable (fdatasync). Never retry after a
 * failure. */
enum status io_sync(int fd);

/* A hint that these bytes will be synced: the disk may begin with them now. */
void io_begin_sync(int fd, uint64_t offset, uint64_t length);

/* Make the names in a directory durable. */
enum status io_sync_directory(int directory);

/*
 * Forget what memory holds of a synced file from `offset` on, or from a little before:
 * the next read is the disk's.
 */
enum status io_forget_cache(int fd, uint64_t offset);

/*
 * Lock a file for this process, until it closes any descriptor of that file.
 *
 * KV_LOCKED: somebody else holds it; owner_out: their process id, or 0: not known.
 */
enum status io_lock(int fd, enum io_lock kind, long *owner_out);

/*
 * Lock a file for this descriptor, until it is closed: where the system has no such
 * locks, as above. KV_LOCKED: somebody else holds it.
 */
enum status io_lock_open_file(int fd, enum io_lock kind);

/* What may be written to a file system. */
struct io_space {
    uint64_t free_bytes; /* still */
    uint64_t capacity_bytes;
};

/* Of the file system of a directory. KV_IO: it does not say. */
enum status io_measure(int directory, struct io_space *space_out);

/* How long a file may become that this process writes; UINT64_MAX: no limit. */
uint64_t io_length_max(void);

enum status io_rename(int directory, const char *from, const char *to);
enum status io_unlink(int directory, const char *name);

/* Random bytes of the system. */
enum status io_random(void *bytes, size_t length);

#endif
