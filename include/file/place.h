/*
 * Which file an open log is, and whether its name still leads to it: somebody may rename,
 * replace or remove the file while it is open. Failures are reported to the operator.
 */
#ifndef KV_PLACE_H
#define KV_PLACE_H

#include "file/files.h"

struct place {
    const struct files *files;
    const char *suffix; /* behind PATH: "", FILES_NEW or FILES_OLD */
    int fd;             /* open; borrowed */
    uint64_t device;    /* this and the next tell the file from every other */
    uint64_t inode;
};

/* Report, with errno, what failed with this file; returns KV_IO for KV_NOT_FOUND. */
enum status place_tell(const struct place *place, enum status status, const char *what);

/*
 * Note which file it is and lock the file itself, whatever name it will be found under,
 * until its descriptor is closed. The lock beside PATH keeps others off that name alone.
 *
 * place: device and inode are written.  is_to_read: others may read as well.
 * KV_IO: it cannot be had.
 */
enum status place_take(struct place *place, bool is_to_read);

/*
 * Make sure that the name leads to the file, and that it is this long, with one system
 * call: what is written to another one, nobody would find.
 *
 * KV_FATAL: it does not, or cannot be looked at.
 */
enum status place_check(const struct place *place, uint64_t length);

/*
 * Whether what stands at PATH may be replaced by a new log.
 *
 * replaced: the file that is known to be there, `length` bytes long; NULL: no file is, or
 * an empty one.  KV_IO: it is something else.
 */
enum status place_judge(const struct files *files, const struct place *replaced,
                        uint64_t length);

/*
 * Give the file, `length` bytes long, another name, durably, if its name leads to it
 * still. Failures as for files_rename; KV_FATAL also as for place_check.
 */
enum status place_rename(struct place *place, const char *suffix, uint64_t length);

/*
 * The same for PATH.new, which gets the name PATH, whatever has that. Failures as for
 * files_place_new and place_check.
 */
enum status place_put_new(struct place *place, uint64_t length);

/* Remove the file's name, durably, if it leads to the file still. KV_IO. */
enum status place_remove(const struct place *place);

#endif
