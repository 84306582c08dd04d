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

/*
 * The page of a file with this place in it cannot be read any more, by any view.
 * is_to_fade: from when the server has summed it, or a key in it, up once more.
 */
void mappings_lose_page(size_t file, uint64_t offset, bool is_to_fade);

/* Bytes were read, and found right or not. */
void mappings_note_read(struct slice bytes);

/* All of them can be read again, by whoever maps them anew. */
void mappings_mend(void);

/*
 * Whether some page cannot be read, or the program may not have looked again since: it
 * waits between its attempts.
 */
bool mappings_are_failing(void);

/* Whether the system could not read these bytes either. */
bool mappings_have_lost(const void *bytes, size_t length);

/* Where a read fails this is asked, with nothing happening meanwhile. */
void mappings_catch(const struct sigaction *action);

#endif
