/*
 * abort() is what libFuzzer, the sanitizers and replay.c all notice.
 */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

void fuzz_require(bool is_fact, const char *fact, const char *file, int line)
{
    if (!is_fact) {
        (void)fprintf(stderr, "%s:%d: broken: %s\n", file, line, fact);
        abort();
    }
}
