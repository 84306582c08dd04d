/*
 * Made at the first use, removed at exit.
 */
#include "fuzz/scratch.h"

#include "fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[256];
static pid_t owner;

/* A child leaves the directory of its parent alone. */
static void remove_directory(void)
{
    if (getpid() == owner) {
        scratch_clear();
        (void)rmdir(directory); /* what is left is for whoever owns the place */
    }
}

static void make_directory(void)
{
    if (owner == getpid()) {
        return;
    }
    const char *parent = getenv("TMPDIR");
    (void)snprintf(directory, sizeof directory, "%s/kv-fuzz-XXXXXX",
                   parent == NULL || parent[0] == '\0' ? "/tmp" : parent);
    REQUIRE(mkdtemp(directory) != NULL);
    owner = getpid();
    REQUIRE(atexit(remove_directory) == 0);
}

struct scratch_path scratch_path(const char *name)
{
    struct scratch_path path;
    make_directory();
    int length = snprintf(path.text, sizeof path.text, "%s/%s", directory, name);
    REQUIRE(length > 0 && (size_t)length < sizeof path.text);
    return path;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Count the files, and remove them if asked to. */
static size_t visit(bool is_removing)
{
    size_t count = 0;
    make_directory();
    DIR *stream = opendir(directory);
    REQUIRE(stream != NULL);
    for (const struct dirent *entry = readdir(stream); entry != NULL;
         entry = readdir(stream)) {
        if (is_dots(entry->d_name)) {
            continue;
        }
        count++;
        if (is_removing) {
            REQUIRE(unlink(scratch_path(entry->d_name).text) == 0);
        }
    }
    REQUIRE(closedir(stream) == 0);
    return count;
}

void scratch_clear(void)
{
    (void)visit(true);
}

size_t scratch_count(void)
{
    return visit(false);
}

void scratch_write(const char *name, struct slice bytes)
{
    int fd = open(scratch_path(name).text, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, bytes.bytes, bytes.length) == (ssize_t)bytes.length);
    REQUIRE(close(fd) == 0);
}

bool scratch_exists(const char *name)
{
    return access(scratch_path(name).text, F_OK) == 0;
}

bool scratch_holds(const char *name, struct slice bytes)
{
    struct buffer found = {0};
    if (!scratch_exists(name)) {
        return false;
    }
    fuzz_read(scratch_path(name).text, &found);
    bool is_same = slice_equal(buffer_slice(&found), bytes);
    buffer_free(&found);
    return is_same;
}
