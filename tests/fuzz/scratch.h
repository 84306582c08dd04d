/*
 * One directory for the files of all inputs of a process, below $TMPDIR or /tmp; it is
 * best on a file system in memory.
 */
#ifndef KV_FUZZ_SCRATCH_H
#define KV_FUZZ_SCRATCH_H

#include "base/buffer.h"

/* The path of a file there; valid until the next call with the same name. */
struct scratch_path {
    char text[512];
};
struct scratch_path scratch_path(const char *name);

/* Remove every file there. */
void scratch_clear(void);

void scratch_write(const char *name, struct slice bytes);
bool scratch_exists(const char *name);

bool scratch_holds(const char *name, struct slice bytes);

/* How many files are there. */
size_t scratch_count(void);

#endif
