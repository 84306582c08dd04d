/*
 * abort() is what libFuzzer, the sanitizers and replay.c all notice.
 */
#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_require(bool is_fact, const char *fact, const char *file, int line)
{
    if (!is_fact) {
        (void)fprintf(stderr, "%s:%d: broken: %s\n", file, line, fact);
        abort();
    }
}

uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = size == 0 ? NULL : malloc(size);
    REQUIRE(size == 0 || copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

void fuzz_read(const char *path, struct buffer *buffer)
{
    struct stat info;
    int fd = open(path, O_RDONLY);
    REQUIRE(fd >= 0);
    REQUIRE(fstat(fd, &info) == 0);
    buffer->length = 0;
    REQUIRE(buffer_reserve(buffer, (size_t)info.st_size + 1) == KV_OK);
    ssize_t count = read(fd, buffer->bytes, (size_t)info.st_size);
    REQUIRE(count == (ssize_t)info.st_size);
    buffer->length = (size_t)count;
    REQUIRE(close(fd) == 0);
}
