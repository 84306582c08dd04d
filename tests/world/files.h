/*
 * What the calls on files keep besides the disk.
 */
#ifndef KV_WORLD_FILES_H
#define KV_WORLD_FILES_H

void files_begin_run(void);

/* Descriptors and mappings of the life before are gone. */
void files_begin_life(void);

#endif
