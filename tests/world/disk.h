/*
 * Files and their names: as the running system has them, and what of that the disk is
 * sure to have. Contents are real files in memory, so that they can be mapped.
 *
 * What a power loss may leave: of the names, any subset of the changes since their
 * directory was synced; of each file, any of its blocks in any version since it was
 * synced, any length that it had meanwhile, truncations done or not, and zeros or garbage
 * where nothing was written. A write that fell short and went on is one: nothing writes a
 * block back between two calls that follow each other.
 */
#ifndef KV_WORLD_DISK_H
#define KV_WORLD_DISK_H

#include "world/calls.h"
#include "world/plan.h"

enum { DISK_NAME_BYTES = 64, DISK_NONE = 1000 };

/* Nothing is there, and there is room without end. */
void disk_begin_run(void);

/* The number of the file of this name, or DISK_NONE. */
size_t disk_find(const char *name);
size_t disk_find_role(enum role role);
enum role disk_role(size_t file);
size_t disk_create(const char *name);
void disk_hold(size_t file); /* by a descriptor */
void disk_release(size_t file);

uint64_t disk_length(size_t file);
unsigned disk_link_count(size_t file);
int disk_real_fd(size_t file);

/* Returns how many of the bytes there was room for. */
size_t disk_write(size_t file, const void *bytes, size_t length, uint64_t offset);
void disk_note_short(size_t file); /* the last write: what was asked for was more */
void disk_truncate(size_t file, uint64_t length);
void disk_sync(size_t file);

/* Whether the disk knows of another length of the file, which it has to note. */
bool disk_has_other_length(size_t file);
void disk_sync_names(void);

/* false: no such name. */
bool disk_rename(const char *from, const char *to);
bool disk_unlink(const char *name);

/* A sync that failed: memory calls clean what the disk has any part of. */
void disk_fail_sync(size_t file, uint64_t seed);

/* Whether a sync of a log has failed since the last call. */
bool disk_take_failed_sync(void);
bool disk_has_failed_sync(void); /* the same, and it stays so */

/* What the disk has takes the place of what memory has, if that is clean. */
void disk_forget_cache(size_t file);

/* Whether what was written to the log, or the log's name, is not durable. */
bool disk_is_unsafe(void);

/* Whether no power loss can take what a file holds up to there, but by a truncation. */
bool disk_has(size_t file, uint64_t end);

/* Since when bytes of the log have not been synced, on the clock that never jumps. */
uint64_t disk_unsafe_since_us(void);

/* seed: what is left; 0: nothing that was not synced. */
void disk_lose_power(uint64_t seed);

/* From now on no sync makes anything durable. */
void disk_lie(void);
bool disk_lies(void);

/* Whether a power loss has left bytes that nobody wrote, and no start has judged them. */
bool disk_has_garbage(void);
void disk_note_judged(void);

/* Of the first file of this role; 0: there is none. */
uint64_t disk_length_of(enum role role);

/* Whether zeros stand behind the last seal, in the first file of this role. */
bool disk_ends_in_zero(enum role role);

/*
 * A log is a sequence of records and nothing else, at any time while it is served, but
 * when a write has just failed. Of a disk that lies nothing is demanded.
 */
void disk_check_log(void);

/* Of all writes since the program began, those that made no file longer. */
uint64_t disk_overwrite_count(void);

/* Flip a bit of a file that nobody writes to, unless it ends before. */
void disk_flip(size_t file, uint64_t offset, unsigned bit);

/* All of a file, as memory has it. */
void disk_read(size_t file, struct bytes *bytes_out);

void disk_set_room(uint64_t bytes);
uint64_t disk_room(void);

#endif
