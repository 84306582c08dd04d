/*
 * wrap: open openat fstat fstatat pwrite pread ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fstatvfs sync_file_range fopen setbuf fread fclose
 * wrap: getrusage getrlimit sysconf isatty
 *
 * The calls on files, on top of the disk.
 */
#include "world/files.h"

#include "base/bounds.h"
#include "support/dice.h"
#include "world/clock.h"
#include "world/descriptors.h"
#include "world/disk.h"
#include "world/faults.h"
#include "world/mappings.h"
#include "world/process.h"
#include "world/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

FILE *__real_fopen(const char *path, const char *mode);
void __real_setbuf(FILE *file, char *buffer);
size_t __real_fread(void *to, size_t length, size_t count, FILE *file);
int __real_fclose(FILE *file);
long __real_sysconf(int name);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_fstat(int fd, struct stat *info);
int __wrap_fstatat(int directory, const char *name, struct stat *info, int flags);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t length, off_t offset);
int __wrap_ftruncate(int fd, off_t length);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice);
int __wrap_renameat(int from_directory, const char *from, int directory, const char *to);
int __wrap_unlinkat(int directory, const char *name, int flags);
int __wrap_fstatvfs(int fd, struct statvfs *info);
int __wrap_sync_file_range(int fd, off_t offset, off_t length, unsigned flags);
FILE *__wrap_fopen(const char *path, const char *mode);
void __wrap_setbuf(FILE *file, char *buffer);
size_t __wrap_fread(void *to, size_t length, size_t count, FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_getrusage(int who, struct rusage *usage);
int __wrap_getrlimit(int resource, struct rlimit *limit);
long __wrap_sysconf(int name);
int __wrap_isatty(int fd);

ssize_t __real_pread(int fd, void *bytes, size_t length, off_t offset);

static struct dice randomness; /* of /dev/urandom, and whether the disk was waited for */
static long blocks_read;
static char random_source; /* its address stands for the stream of random bytes */

void files_begin_run(void)
{
    randomness.state = process_serving()->seed;
    blocks_read = 0;
    mappings_begin_run();
}

void files_begin_life(void)
{
    descriptors_close_all();
    mappings_begin_life();
}

int __wrap_open(const char *path, int flags, ...)
{
    int error = process_enter(CALL_OPEN, ROLE_ANY, 0, 0);
    if (error != 0) {
        return outcome(error);
    }
    bool is_zero = strcmp(path, "/dev/zero") == 0;
    if (!is_zero && (flags & O_DIRECTORY) == 0) {
        return outcome(ENOENT);
    }
    return descriptor_open(is_zero ? DESCRIPTOR_ZERO : DESCRIPTOR_DIRECTORY, 0);
}

int __wrap_openat(int directory, const char *name, int flags, ...)
{
    int error = process_enter(CALL_OPENAT, role_of(name), (uint64_t)flags, 0);
    size_t file = disk_find(name);
    bool is_creating = (flags & O_CREAT) != 0;
    if (descriptor_at(directory).kind != DESCRIPTOR_DIRECTORY) {
        error = EBADF;
    } else if (error == 0 && file == DISK_NONE && !is_creating) {
        error = ENOENT;
    } else if (error == 0 && file != DISK_NONE && (flags & O_EXCL) != 0) {
        error = EEXIST;
    } else if (error == 0 && file == DISK_NONE && disk_room() == 0) {
        error = ENOSPC;
        faults_note(CALL_OPENAT, error);
    }
    if (error != 0) {
        return outcome(error);
    }
    file = file == DISK_NONE ? disk_create(name) : file;
    int fd = descriptor_open(DESCRIPTOR_FILE, file);
    if (fd >= 0) {
        disk_hold(file);
    }
    return fd;
}

static void inspect(size_t file, struct stat *info)
{
    memset(info, 0, sizeof *info);
    info->st_size = (off_t)disk_length(file);
    info->st_nlink = disk_link_count(file);
    info->st_mode = S_IFREG | 0600;
    info->st_uid = geteuid();
    info->st_ino = file + 1;
    info->st_dev = 1;
}

/* Begin a call on an open file; returns the error. */
static int enter(enum call call, int fd, uint64_t b, size_t *file_out)
{
    struct descriptor descriptor = descriptor_at(fd);
    bool is_file = descriptor.kind == DESCRIPTOR_FILE;
    enum role role = is_file ? disk_role(descriptor.number)
                     : descriptor.kind == DESCRIPTOR_DIRECTORY ? ROLE_DIRECTORY
                                                               : ROLE_OTHER;
    int error = process_enter(call, role, (uint64_t)fd, b);
    *file_out = is_file ? descriptor.number : DISK_NONE;
    return error == 0 && descriptor.kind == DESCRIPTOR_NONE ? EBADF : error;
}

int __wrap_fstat(int fd, struct stat *info)
{
    size_t file;
    int error = enter(CALL_FSTAT, fd, 0, &file);
    if (error == 0) {
        inspect(file, info);
    }
    return outcome(error);
}

int __wrap_fstatat(int directory, const char *name, struct stat *info, int flags)
{
    (void)flags;
    int error = process_enter(CALL_FSTAT, role_of(name), 0, 0);
    size_t file = disk_find(name);
    if (error == 0 && descriptor_at(directory).kind != DESCRIPTOR_DIRECTORY) {
        error = EBADF;
    }
    if (error == 0 && file == DISK_NONE) {
        error = ENOENT;
    }
    if (error == 0) {
        inspect(file, info);
    }
    return outcome(error);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    size_t file;
    int error = enter(CALL_PWRITE, fd, (uint64_t)offset << 24 ^ length, &file);
    if (error == 0 && mappings_have_lost(bytes, length)) {
        error = EFAULT;
        faults_note(CALL_READ, error);
    }
    if (error != 0) {
        return outcome(error);
    }
    size_t wanted = process_cut(length);
    size_t count = disk_write(file, bytes, wanted, (uint64_t)offset);
    if (count > 0 && count < length) {
        disk_note_short(file);
    }
    if (count < wanted) { /* a life may end before it asks for the rest */
        faults_note(CALL_PWRITE, ENOSPC);
    }
    return count == 0 && length > 0 ? outcome(ENOSPC) : (ssize_t)count;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t length, off_t offset)
{
    size_t file;
    int error = enter(CALL_PWRITE, fd, (uint64_t)offset << 24 ^ length, &file);
    return error != 0
               ? outcome(error)
               : __real_pread(disk_real_fd(file), bytes, process_cut(length), offset);
}

int __wrap_ftruncate(int fd, off_t length)
{
    size_t file;
    int error = enter(CALL_FTRUNCATE, fd, (uint64_t)length, &file);
    if (error == 0) {
        disk_truncate(file, (uint64_t)length);
    }
    return outcome(error);
}

int __wrap_fdatasync(int fd)
{
    size_t file;
    int error = enter(CALL_FDATASYNC, fd, 0, &file);
    if (error == 0) {
        uint64_t us = process_serving()->sync_us;
        world_clock_move(disk_has_other_length(file) ? 2 * us : us);
        disk_sync(file);
    } else if (error != EINTR && file != DISK_NONE) {
        disk_fail_sync(file, dice_next(&randomness));
    }
    return outcome(error);
}

int __wrap_fsync(int fd)
{
    size_t file;
    int error = enter(CALL_FSYNC, fd, 0, &file);
    if (error == 0 && file == DISK_NONE) {
        disk_sync_names();
    } else if (error == 0) {
        disk_sync(file);
    }
    return outcome(error);
}

int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
    (void)length;
    size_t file;
    int error = enter(CALL_FADVISE, fd, (uint64_t)offset, &file);
    if (error == 0 && advice == POSIX_FADV_DONTNEED) {
        disk_forget_cache(file);
    }
    return error;
}

int __wrap_renameat(int from_directory, const char *from, int directory, const char *to)
{
    (void)from_directory;
    (void)directory;
    int error = process_enter(CALL_RENAMEAT, role_of(from), (uint64_t)role_of(to), 0);
    if (error == 0 && !disk_rename(from, to)) {
        error = ENOENT;
    }
    return outcome(error);
}

int __wrap_unlinkat(int directory, const char *name, int flags)
{
    (void)directory;
    (void)flags;
    int error = process_enter(CALL_UNLINKAT, role_of(name), 0, 0);
    if (error == 0 && !disk_unlink(name)) {
        error = ENOENT;
    }
    return outcome(error);
}

int __wrap_fstatvfs(int fd, struct statvfs *info)
{
    size_t file;
    int error = enter(CALL_FSTATVFS, fd, 0, &file);
    uint64_t room = disk_room() < (uint64_t)1 << 40 ? disk_room() : (uint64_t)1 << 40;
    if (error == 0) {
        memset(info, 0, sizeof *info);
        info->f_frsize = 1;
        info->f_bavail = room;
        if (room < (uint64_t)1 << 40) {
            faults_note(CALL_FSTATVFS, ENOSPC); /* it may be too little */
        }
    }
    return outcome(error);
}

int __wrap_sync_file_range(int fd, off_t offset, off_t length, unsigned flags)
{
    (void)fd; /* any part of what is pending may reach the disk as it is */
    (void)offset;
    (void)length;
    (void)flags;
    return 0;
}

/* ---- Random numbers ---- */

static bool is_random(const FILE *file)
{
    return (const void *)file == &random_source;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (strcmp(path, "/dev/urandom") != 0) {
        return __real_fopen(path, mode);
    }
    int error = process_enter(CALL_FOPEN, ROLE_ANY, 0, 0);
    errno = error;
    return error != 0 ? NULL : (FILE *)(void *)&random_source;
}

void __wrap_setbuf(FILE *file, char *buffer)
{
    if (!is_random(file)) {
        __real_setbuf(file, buffer);
    }
}

size_t __wrap_fread(void *to, size_t length, size_t count, FILE *file)
{
    if (!is_random(file)) {
        return __real_fread(to, length, count, file);
    }
    unsigned char *bytes = to;
    for (size_t i = 0; i < length * count; i++) {
        bytes[i] = (unsigned char)(dice_next(&randomness) >> 56);
    }
    return count;
}

int __wrap_fclose(FILE *file)
{
    return is_random(file) ? 0 : __real_fclose(file);
}

/* ---- The machine ---- */

int __wrap_getrusage(int who, struct rusage *usage)
{
    (void)who;
    memset(usage, 0, sizeof *usage);
    blocks_read += dice_below(&randomness, 2) == 0 ? 1 : 0; /* now and then it reads */
    usage->ru_inblock = blocks_read;
    return 0;
}

int __wrap_getrlimit(int resource, struct rlimit *limit)
{
    limit->rlim_cur = resource == RLIMIT_NOFILE
                          ? (rlim_t)(DESCRIPTORS_KEPT + SOCKETS_IN_LOBBY_MAX)
                          : RLIM_INFINITY;
    limit->rlim_max = limit->rlim_cur;
    return 0;
}

long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? (long)process_serving()->processors
                                        : __real_sysconf(name);
}

int __wrap_isatty(int fd)
{
    (void)fd;
    return 0;
}
