/*
 * Directories that live as long as one test.
 */
#include "support/tempdir.h"

#include "support/unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* All programs of a run together take less than that. */
#define MEMORY_BYTES_MIN (UINT64_C(512) << 20)

static const char *choose_parent(void)
{
    static const char memory[] = "/dev/shm";
    const char *wanted = getenv("TMPDIR");
    struct statvfs room;
    if (wanted != NULL && wanted[0] != '\0') {
        return wanted;
    }
    bool has_room = statvfs(memory, &room) == 0 &&
                    (uint64_t)room.f_bavail * room.f_frsize >= MEMORY_BYTES_MIN;
    return has_room && access(memory, W_OK | X_OK) == 0 ? memory : "/tmp";
}

void tempdir_create(struct tempdir *tempdir)
{
    const char *parent = choose_parent();
    int length =
        snprintf(tempdir->path, sizeof tempdir->path, "%s/kv-test-XXXXXX", parent);
    assert_in_range(length, 1, sizeof tempdir->path - 1);
    if (mkdtemp(tempdir->path) == NULL) {
        fail_msg("mkdtemp %s: %s", tempdir->path, strerror(errno));
    }
}

static void remove_entry(const struct tempdir *tempdir, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return;
    }
    struct tempdir_file file = tempdir_file(tempdir, name);
    if (unlink(file.path) != 0 && rmdir(file.path) != 0) {
        fail_msg("cannot remove %s: %s", file.path, strerror(errno));
    }
}

void tempdir_remove(struct tempdir *tempdir)
{
    if (tempdir->path[0] == '\0') {
        return;
    }
    DIR *directory = opendir(tempdir->path);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        remove_entry(tempdir, entry->d_name);
    }
    closedir(directory);
    if (rmdir(tempdir->path) != 0) {
        fail_msg("cannot remove %s: %s", tempdir->path, strerror(errno));
    }
    tempdir->path[0] = '\0';
}

struct tempdir_file tempdir_file(const struct tempdir *tempdir, const char *name)
{
    struct tempdir_file file;
    int length = snprintf(file.path, sizeof file.path, "%s/%s", tempdir->path, name);
    assert_in_range(length, 1, sizeof file.path - 1);
    return file;
}
