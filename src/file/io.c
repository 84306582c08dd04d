/*
 * Thin wrappers: full writes, EINTR, and errno sorted into the outcomes that callers
 * tell apart.
 */
#include "file/io.h"

#include "base/bounds.h"
#include "base/platform.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 * A system forgets whole units of its cache, and passes over one that begins before the
 * place: pages or, as Linux makes them of long writes, up to so many bytes of pages.
 */
#define CACHE_UNIT_BYTES_MAX (2 * MIB)

/* off_t stays in this file: 64 bits of it are needed. */
static_assert(sizeof(off_t) >= 8, "compile with 64-bit file offsets");

static enum status failure(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KV_NO_SPACE;
    case ENOENT:
        return KV_NOT_FOUND;
    default:
        return KV_IO;
    }
}

/* Make a system call again for as long as a signal interrupts it. */
#define RETRY(result, call)                                                              \
    do {                                                                                 \
        (result) = (call);                                                               \
    } while ((result) < 0 && errno == EINTR)

static enum status outcome(int result)
{
    return result < 0 ? failure() : KV_OK;
}

enum status io_open_directory(const char *path, int *fd_out)
{
    int fd;
    RETRY(fd, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    *fd_out = fd;
    return outcome(fd);
}

enum status io_open(int directory, const char *name, int flags, int *fd_out)
{
    int fd;
    int safe_flags = flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    RETRY(fd, openat(directory, name, safe_flags, 0600));
    *fd_out = fd;
    return outcome(fd);
}

enum status io_close(int fd)
{
    int result = close(fd);
    return result < 0 && errno != EINTR ? KV_IO : KV_OK;
}

static struct io_info describe(const struct stat *info)
{
    return (struct io_info){
        .length = (uint64_t)info->st_size,
        .link_count = (uint64_t)info->st_nlink,
        .is_regular = S_ISREG(info->st_mode),
        .owner = (uint64_t)info->st_uid,
        .device = (uint64_t)info->st_dev,
        .inode = (uint64_t)info->st_ino,
    };
}

enum status io_inspect(int fd, struct io_info *info_out)
{
    struct stat info;
    int result;
    RETRY(result, fstat(fd, &info));
    if (result < 0) {
        return KV_IO;
    }
    *info_out = describe(&info);
    return KV_OK;
}

enum status io_inspect_name(int directory, const char *name, struct io_info *info_out)
{
    struct stat info;
    int result;
    RETRY(result, fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW));
    if (result < 0) {
        return failure();
    }
    *info_out = describe(&info);
    return KV_OK;
}

enum status io_write_counted(int fd, struct slice bytes, uint64_t offset,
                             uint64_t *written_out)
{
    *written_out = 0;
    while (bytes.length > 0) {
        size_t part =
            bytes.length < WRITE_BYTES_MAX ? bytes.length : (size_t)WRITE_BYTES_MAX;
        ssize_t count;
        RETRY(count, pwrite(fd, bytes.bytes, part, (off_t)offset));
        if (count == 0) {
            errno = EIO; /* no regular file takes nothing; do not spin on one that does */
        }
        if (count <= 0) {
            return failure();
        }
        bytes = slice_after(bytes, (size_t)count);
        offset += (uint64_t)count;
        *written_out += (uint64_t)count;
    }
    return KV_OK;
}

enum status io_write_at(int fd, struct slice bytes, uint64_t offset)
{
    uint64_t written;
    return io_write_counted(fd, bytes, offset, &written);
}

enum status io_truncate(int fd, uint64_t length)
{
    int result;
    RETRY(result, ftruncate(fd, (off_t)length));
    return outcome(result);
}

enum status io_sync(int fd)
{
    int result;
    RETRY(result, fdatasync(fd));
    return outcome(result);
}

void io_begin_sync(int fd, uint64_t offset, uint64_t length)
{
    KV_BEGIN_WRITING(fd, offset, length); /* whether it fails, the sync will tell */
}

enum status io_sync_directory(int directory)
{
    int result;
    RETRY(result, fsync(directory));
    return outcome(result);
}

enum status io_forget_cache(int fd, uint64_t offset)
{
    uint64_t start = offset - offset % CACHE_UNIT_BYTES_MAX;
    do {
        errno = posix_fadvise(fd, (off_t)start, 0, POSIX_FADV_DONTNEED);
    } while (errno == EINTR);
    return errno == 0 ? KV_OK : KV_IO;
}

/* The whole file, whatever its length. */
static struct flock lock_of(enum io_lock kind)
{
    return (struct flock){
        .l_type = kind == IO_LOCK_ALONE ? F_WRLCK : F_RDLCK,
        .l_whence = SEEK_SET,
    };
}

static int set_lock(int fd, int command, struct flock *lock)
{
    int result;
    RETRY(result, fcntl(fd, command, lock));
    return result;
}

static enum status lock_outcome(int result)
{
    if (result == 0) {
        return KV_OK;
    }
    return errno == EACCES || errno == EAGAIN ? KV_LOCKED : KV_IO;
}

enum status io_lock(int fd, enum io_lock kind, long *owner_out)
{
    struct flock lock = lock_of(kind);
    *owner_out = 0;
    enum status status = lock_outcome(set_lock(fd, F_SETLK, &lock));
    /* A holder in another namespace has no number here, an open file never has. */
    if (status == KV_LOCKED && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
        lock.l_pid > 0) {
        *owner_out = (long)lock.l_pid;
    }
    return status;
}

enum status io_lock_open_file(int fd, enum io_lock kind)
{
    struct flock lock = lock_of(kind);
    int result = set_lock(fd, KV_SET_LOCK_OF_OPEN_FILE, &lock);
    if (result < 0 && errno == EINVAL) { /* a system that is older than these locks */
        result = set_lock(fd, F_SETLK, &lock);
    }
    return lock_outcome(result);
}

enum status io_measure(int directory, struct io_space *space_out)
{
    struct statvfs info;
    int result;
    RETRY(result, fstatvfs(directory, &info));
    if (result == 0 && (info.f_blocks == 0 || info.f_frsize == 0)) {
        errno = EOPNOTSUPP; /* some file systems count no blocks */
        result = -1;
    }
    if (result < 0) {
        return KV_IO;
    }
    *space_out = (struct io_space){
        .free_bytes = (uint64_t)info.f_bavail * info.f_frsize,
        .capacity_bytes = (uint64_t)info.f_blocks * info.f_frsize,
    };
    return KV_OK;
}

uint64_t io_length_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    return (uint64_t)limit.rlim_cur;
}

enum status io_rename(int directory, const char *from, const char *to)
{
    int result;
    RETRY(result, renameat(directory, from, directory, to));
    return outcome(result);
}

enum status io_unlink(int directory, const char *name)
{
    int result;
    RETRY(result, unlinkat(directory, name, 0));
    return outcome(result);
}

enum status io_random(void *bytes, size_t length)
{
    FILE *source = fopen("/dev/urandom", "rb");
    if (source == NULL) {
        return KV_IO;
    }
    setbuf(source, NULL); /* take no more than is asked for */
    size_t count = fread(bytes, 1, length, source);
    (void)fclose(source); /* nothing was written to it */
    return count == length ? KV_OK : KV_IO;
}
