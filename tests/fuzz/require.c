/*
 * abort() is what libFuzzer, the sanitizers and replay.c all notice.
 */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
