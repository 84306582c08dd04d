#include "support/disk.h"

#include "base/bounds.h"
#include "file/files.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

static const struct engine *user;
static uint64_t size_bytes;
static uint64_t free_bytes;

uint64_t disk_size(void)
{
    return size_bytes;
}

uint64_t disk_used_bytes(void)
{
    static const char *const suffixes[] = {"", FILES_OLD, FILES_NEW, FILES_INDEX};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        struct stat info;
        if (stat(engine_file(user, suffixes[i]).path, &info) == 0) {
            bytes += (uint64_t)info.st_size;
        }
    }
    return bytes;
}

static void tell_nothing(struct statvfs *info)
{
    *info = (struct statvfs){.f_frsize = 4096};
}

static void tell_free(struct statvfs *info)
{
    info->f_frsize = 1;
    info->f_blocks = (fsblkcnt_t)GIB;
    info->f_bavail = (fsblkcnt_t)free_bytes;
}

static void tell_left(struct statvfs *info)
{
    uint64_t used = disk_used_bytes();
    info->f_frsize = 1;
    info->f_blocks = (fsblkcnt_t)size_bytes;
    info->f_bavail = (fsblkcnt_t)(used < size_bytes ? size_bytes - used : 0);
}

void disk_be_real(void)
{
    shim_change_space(NULL);
}

void disk_be_of_unknown_size(void)
{
    shim_change_space(tell_nothing);
}

void disk_set_free(uint64_t bytes)
{
    free_bytes = bytes;
    shim_change_space(tell_free);
}

void disk_set_size(const struct engine *engine, uint64_t bytes)
{
    user = engine;
    size_bytes = bytes;
    shim_change_space(tell_left);
}

void disk_set_left(const struct engine *engine, uint64_t bytes)
{
    user = engine;
    disk_set_size(engine, disk_used_bytes() + bytes);
}
