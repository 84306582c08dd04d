/*
 * A disk that is made up: what fstatvfs says of it. The files of an engine are alone on
 * it, or so much of it is free whatever is written. It is real again after shim_reset.
 */
#ifndef KV_SUPPORT_DISK_H
#define KV_SUPPORT_DISK_H

#include "support/engine.h"

void disk_be_real(void);

/* As some file systems of user space answer. */
void disk_be_of_unknown_size(void);

void disk_set_free(uint64_t bytes);

/* engine: borrowed until the disk is another one. */
void disk_set_size(const struct engine *engine, uint64_t bytes);

/* As large as what is there, and so much. */
void disk_set_left(const struct engine *engine, uint64_t bytes);

uint64_t disk_size(void);

/* What the log and its side files take. */
uint64_t disk_used_bytes(void);

#endif
