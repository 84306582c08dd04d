/*
 * Mappings of the disk's files, and pages of them that cannot be read: touching one
 * raises SIGBUS, as it does where a disk has failed.
 */
#ifndef KV_WORLD_MAPPINGS_H
#define KV_WORLD_MAPPINGS_H

#include "base/slice.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every page can be read. */
void mappings_begin_run(void);

/* Those of the life before are gone. */
void mappings_begin_life(void);

/* Whether the program has given all of them back. */
bool mappings_are_gone(void);

/* The page of a file with this place in it cannot be read any more, by any view. */
void mappings_lose_page(size_t file, uint64_t offset);

/* The same from when it, or a key in it, was summed up once, and then so often more. */
void mappings_fade_page(size_t file, uint64_t offset, uint64_t more_sums);

/* What faded since the first becomes readable again, and is about to fade as it was. */
void mappings_begin_look(void);
void mappings_end_look(void);

/* Bytes were read, and found right or not. */
void mappings_note_read(struct slice bytes);

/* The file is gone for good. */
void mappings_forget_file(size_t file);

/* All of them can be read again, by whoever maps them anew. */
void mappings_mend(void);

/*
 * Whether some page cannot be read, or the program may not have looked again since: it
 * waits between its attempts.
 */
bool mappings_are_failing(void);

/* Whether some page cannot be read, or soon will not be. */
bool mappings_are_losing(void);

/* Whether the system could not read these bytes either. */
bool mappings_have_lost(const void *bytes, size_t length);

/* Where a read fails this is asked, with nothing happening meanwhile. */
void mappings_catch(const struct sigaction *action);

#endif
