/*
 * Loaded with LD_PRELOAD: notes each change that the program makes to a file or a name,
 * and each sync, in the file that KV_POWER_WITNESS names, if it does, with the length
 * that the record of the disk (KV_POWER_RECORD) had before the call. A sync that has
 * returned is noted again.
 *
 * An entry: kind, inode, place, offset, length of the first name or of the bytes, length
 * of the second name; then these. rules.py reads it.
 *
 * And it makes the program break its promise, to see that check-power notices, as
 * KV_POWER_FAULT says; what is noted is what the program asked for.
 *
 * no-fdatasync       nothing is ever synced, no file at least
 * no-directory-sync  a name is durable when the file system pleases
 * reply-first        a sync is made when the replies that wait for it have left
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    KIND_CREATE = 1,
    KIND_WRITE,
    KIND_TRUNCATE,
    KIND_RENAME,
    KIND_UNLINK,
    KIND_SYNC,
    KIND_SYNCED,
};

struct entry {
    uint64_t kind;
    uint64_t inode;
    uint64_t place;
    uint64_t offset;
    uint64_t length;
    uint64_t second_length;
};

/* The functions of the C library behind ours; a union since C has no such cast. */
union next {
    void *symbol;
    int (*openat)(int directory, const char *name, int flags, mode_t mode);
    ssize_t (*pwrite)(int fd, const void *bytes, size_t length, off_t offset);
    int (*ftruncate)(int fd, off_t length);
    int (*renameat)(int from_directory, const char *from, int to_directory,
                    const char *to);
    int (*unlinkat)(int directory, const char *name, int flags);
    int (*sync)(int fd);
    ssize_t (*receive)(int fd, void *bytes, size_t length, int flags);
    int (*wait)(struct pollfd *fds, nfds_t count, int timeout_ms);
};

static union next find(const char *name)
{
    return (union next){.symbol = dlsym(RTLD_NEXT, name)};
}

static bool is_noting(void)
{
    return getenv("KV_POWER_WITNESS") != NULL;
}

static uint64_t place(void)
{
    struct stat info;
    const char *record = getenv("KV_POWER_RECORD");
    if (!is_noting()) {
        return 0;
    }
    if (record == NULL || stat(record, &info) != 0) {
        abort();
    }
    return (uint64_t)info.st_size;
}

static uint64_t inode_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

static uint64_t inode_of_name(int directory, const char *name)
{
    struct stat info;
    return fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0
               ? (uint64_t)info.st_ino
               : 0;
}

static void note(struct entry entry, const void *bytes, const char *second)
{
    static int fd = -1;
    if (!is_noting()) {
        return;
    }
    if (fd < 0) {
        fd = find("openat").openat(AT_FDCWD, getenv("KV_POWER_WITNESS"),
                                   O_WRONLY | O_APPEND | O_CREAT, 0600);
    }
    union {
        const void *constant;
        void *plain;
    } first = {.constant = bytes}, other = {.constant = second};
    struct iovec parts[3] = {{&entry, sizeof entry},
                             {first.plain, entry.length},
                             {other.plain, entry.second_length}};
    if (fd < 0 || writev(fd, parts, 3) < (ssize_t)sizeof entry) {
        abort();
    }
}

int openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    uint64_t before = place();
    bool is_new = (flags & O_CREAT) != 0 && inode_of_name(directory, name) == 0;
    int fd = find("openat").openat(directory, name, flags, mode);
    if (is_new && fd >= 0) {
        note((struct entry){KIND_CREATE, inode_of(fd), before, 0, strlen(name), 0}, name,
             NULL);
    }
    return fd;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    note((struct entry){KIND_WRITE, inode_of(fd), place(), (uint64_t)offset, length, 0},
         bytes, NULL);
    return find("pwrite").pwrite(fd, bytes, length, offset);
}

int ftruncate(int fd, off_t length)
{
    note((struct entry){KIND_TRUNCATE, inode_of(fd), place(), (uint64_t)length, 0, 0},
         NULL, NULL);
    return find("ftruncate").ftruncate(fd, length);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    note((struct entry){KIND_RENAME, inode_of_name(from_directory, from), place(), 0,
                        strlen(from), strlen(to)},
         from, to);
    return find("renameat").renameat(from_directory, from, to_directory, to);
}

int unlinkat(int directory, const char *name, int flags)
{
    uint64_t inode = inode_of_name(directory, name);
    if (inode != 0) {
        note((struct entry){KIND_UNLINK, inode, place(), 0, strlen(name), 0}, name, NULL);
    }
    return find("unlinkat").unlinkat(directory, name, flags);
}

/* ---- Syncs, and what may be wrong with them ---- */

static int late_fd = -1; /* to be synced; none */

static bool is_fault(const char *name)
{
    const char *fault = getenv("KV_POWER_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

static void sync_late(void)
{
    if (late_fd >= 0) {
        (void)find("fdatasync").sync(late_fd); /* it promises nothing any more */
        late_fd = -1;
    }
}

static int sync_with(const char *name, int fd)
{
    bool is_data = strcmp(name, "fdatasync") == 0;
    note((struct entry){KIND_SYNC, inode_of(fd), place(), 0, 0, 0}, NULL, NULL);
    sync_late();
    int result = 0;
    if (is_data && is_fault("reply-first")) {
        late_fd = fd;
    } else if (!is_fault(is_data ? "no-fdatasync" : "no-directory-sync")) {
        result = find(name).sync(fd);
    }
    if (result == 0) {
        note((struct entry){KIND_SYNCED, inode_of(fd), place(), 0, 0, 0}, NULL, NULL);
    }
    return result;
}

int fdatasync(int fd)
{
    return sync_with("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_with("fsync", fd);
}

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    sync_late();
    return find("recv").receive(fd, bytes, length, flags);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    sync_late();
    return find("poll").wait(fds, count, timeout_ms);
}
