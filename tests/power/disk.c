/*
 * A disk that keeps a record of what reaches it:
 *
 *     disk DIRECTORY IMAGE RECORD [SYNC_MICROSECONDS]
 *
 * A FUSE file system on DIRECTORY, in the foreground until it is unmounted, with one file
 * `disk`: the bytes of IMAGE, for a loop device with direct I/O. RECORD grows by an entry
 * for each write and each sync before it is answered, so its length is a place in
 * time. Requests are served one after the other, so what stands before a sync had been
 * answered when the sync came. A sync takes SYNC_MICROSECONDS at least. RECORD may be
 * `-`: then nothing is noted, and the disk is only slow.
 */
#define FUSE_USE_VERSION 31

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char disk_path[] = "/disk";

enum { REQUEST_BYTES_MAX = 1024 * 1024 };

/* What an entry of the record begins with, in the byte order of the machine. */
enum kind { KIND_WRITE = 1, KIND_SYNC = 2 };
struct entry {
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint64_t offset;
    uint32_t length; /* of the bytes that follow */
    uint32_t kind;
};

static int image_fd = -1;
static int record_fd = -1; /* none: nothing is noted */
static long sync_us;

/* A record with a hole would prove nothing: without it the disk is gone. */
static void note(enum kind kind, const char *bytes, size_t length, off_t offset)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    struct entry entry = {
        .time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
        .offset = (uint64_t)offset,
        .length = (uint32_t)length,
        .kind = kind,
    };
    union {
        const char *constant;
        char *plain;
    } same = {.constant = bytes}; /* writev changes nothing, its type does not say so */
    struct iovec parts[2] = {{&entry, sizeof entry}, {same.plain, length}};
    if (record_fd >= 0 &&
        writev(record_fd, parts, 2) != (ssize_t)(sizeof entry + length)) {
        perror("disk: cannot write the record");
        _exit(1);
    }
}

static int disk_getattr(const char *path, struct stat *info, struct fuse_file_info *file)
{
    (void)file;
    memset(info, 0, sizeof *info);
    if (strcmp(path, "/") == 0) {
        info->st_mode = S_IFDIR | 0700;
        info->st_nlink = 2;
        return 0;
    }
    if (strcmp(path, disk_path) != 0) {
        return -ENOENT;
    }
    struct stat image;
    if (fstat(image_fd, &image) != 0) {
        return -errno;
    }
    info->st_mode = S_IFREG | 0600;
    info->st_nlink = 1;
    info->st_size = image.st_size;
    return 0;
}

static int disk_open(const char *path, struct fuse_file_info *file)
{
    file->direct_io = 1;
    return strcmp(path, disk_path) == 0 ? 0 : -ENOENT;
}

static int disk_read(const char *path, char *bytes, size_t length, off_t offset,
                     struct fuse_file_info *file)
{
    (void)path;
    (void)file;
    ssize_t count = pread(image_fd, bytes, length, offset);
    return count < 0 ? -errno : (int)count;
}

static int disk_write(const char *path, const char *bytes, size_t length, off_t offset,
                      struct fuse_file_info *file)
{
    (void)path;
    (void)file;
    ssize_t count = pwrite(image_fd, bytes, length, offset);
    if (count < 0) {
        return -errno;
    }
    note(KIND_WRITE, bytes, (size_t)count, offset);
    return (int)count;
}

static int disk_fsync(const char *path, int is_data_only, struct fuse_file_info *file)
{
    (void)path;
    (void)is_data_only;
    (void)file;
    struct timespec pause = {.tv_sec = sync_us / 1000000,
                             .tv_nsec = sync_us % 1000000 * 1000};
    while (sync_us > 0 && nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
    note(KIND_SYNC, NULL, 0, 0);
    return 0;
}

static void *disk_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->max_write = REQUEST_BYTES_MAX;
    config->nullpath_ok = 0;
    return NULL;
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr,
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .fsync = disk_fsync,
    .init = disk_init,
};

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        (void)fprintf(stderr, "usage: disk DIRECTORY IMAGE RECORD [SYNC_MICROSECONDS]\n");
        return 2;
    }
    sync_us = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    image_fd = open(argv[2], O_RDWR | O_CLOEXEC);
    if (image_fd < 0) {
        perror(argv[2]);
        return 1;
    }
    if (strcmp(argv[3], "-") != 0) {
        record_fd = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (record_fd < 0) {
            perror(argv[3]);
            return 1;
        }
    }
    /* In the foreground, one request at a time. */
    char foreground[] = "-f";
    char one_by_one[] = "-s";
    char *arguments[] = {argv[0], argv[1], foreground, one_by_one, NULL};
    return fuse_main(4, arguments, &operations, NULL);
}
