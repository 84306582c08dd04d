/*
 * Directories that live as long as one test.
 */
#include "support/tempdir.h"

#include "support/unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tempdir_create(struct tempdir *tempdir)
{
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0') {
        parent = "/tmp";
    }
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
