/*
 * A read-only view of a growing file in memory.
 *
 * Reading a mapped page that the disk cannot deliver, or that somebody cut off the
 * file, raises SIGBUS. Here it puts zeros in that place and remembers it: every reader
 * checks a CRC, so zeros never pass for data, and asks mapping_is_lost to tell damage
 * from a failed read. With too many such places the program ends, status 1, and says so.
 */
#ifndef KV_MAPPING_H
#define KV_MAPPING_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping;

/*
 * Map a file.
 *
 * fd: borrowed for the life of the mapping.  length_out: of the file.
 * KV_IO; errno is ENODEV where the file system lets no file be mapped.  KV_NO_MEMORY: it
 * does not fit the address space.  errno is set.
 */
enum status mapping_open(int fd, struct mapping **mapping_out, uint64_t *length_out);
void mapping_close(struct mapping *mapping);

/*
 * Make sure that bytes up to `length` can be read once the file is that long.
 *
 * May move the view: pointers into it become invalid.
 * KV_IO, KV_NO_MEMORY: the view is as it was; errno is set.
 */
enum status mapping_cover(struct mapping *mapping, uint64_t length);

/* Give up the view from `length` on, before the file is cut there. */
void mapping_cut(struct mapping *mapping, uint64_t length);

/* Drop the pages of the view, so that they are read anew. Errors as above. */
enum status mapping_renew(struct mapping *mapping);

/*
 * From now on reads are few and anywhere, or no longer: where the file is not in memory,
 * only what is asked for is read. The system would read megabytes around each place.
 */
void mapping_read_at_random(struct mapping *mapping, bool is_random);

/* Ask for these bytes, as far as the view covers them, to be read all at once. */
void mapping_will_read(const struct mapping *mapping, uint64_t offset, uint64_t length);

const uint8_t *mapping_bytes(const struct mapping *mapping);

/*
 * Behind the last place in the file that could not be read at some time, if only for a
 * while; 0: everything could.
 */
uint64_t mapping_lost_end(const struct mapping *mapping);

/*
 * How often reading failed. If it is as it was before bytes were verified, the same bytes
 * may have been copied since.
 */
uint64_t mapping_fault_count(const struct mapping *mapping);

/* Whether some of these bytes could not be read so long ago, nor since. */
bool mapping_has_given_up(struct mapping *mapping, uint64_t offset, uint64_t length,
                          uint64_t patience_ms);

/*
 * Whether zeros stand, or the file ends, where these bytes should be; also where it
 * cannot be learned where the file ends.
 */
bool mapping_is_lost(struct mapping *mapping, uint64_t offset, uint64_t length);

/*
 * Read what could not be read once more, if the last failure is some time ago: a second,
 * and longer each time that it is in vain.
 *
 * Returns whether these bytes are now those of the file, and were not before.
 */
bool mapping_read_again(struct mapping *mapping, uint64_t offset, uint64_t length);

/*
 * The same for all of the first `length` bytes that could not be read, at once: one place
 * after the other until one fails, which has its turn behind the others the next time.
 *
 * Returns false if the first one failed: then nothing can be read that could not before.
 */
bool mapping_read_all_again(struct mapping *mapping, uint64_t length);

#endif
