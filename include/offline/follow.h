/*
 * --follow: print every change of a log, and go on as changes are made, beside a server
 * or without one.
 *
 * A batch is printed when a later seal calls it durable, so that no loss of power can
 * take back what was printed; as a whole, or not at all. From PATH.old it goes on to
 * PATH, and through compactions, whose copies come as SETs again. What is printed,
 * carried out in order on an empty store, gives the store.
 *
 * It takes no lock and writes nothing. The files may change in any way while they are
 * read: nothing counts that its chain of seals does not prove.
 *
 * Rejected: waiting for changes by inotify, which is Linux's alone and says nothing of a
 * file behind a network. Looking at a few bytes of memory and two names a twentieth of a
 * second costs nothing that could be measured.
 */
#ifndef KV_FOLLOW_H
#define KV_FOLLOW_H

#include "log/scan.h"
#include "offline/lines.h"

struct follow;

/*
 * Begin with the oldest log that is there; nothing is printed yet.
 *
 * KV_CORRUPT: damaged, no log at all, or not all of it is there.  KV_IO: there is nothing
 * to read, or a log by the original program or of a later version, or it failed.
 * KV_NO_MEMORY. All are reported.  Release with follow_close.
 */
enum status follow_open(const char *path, enum lines_format format,
                        struct follow **follow_out);
void follow_close(struct follow *follow);

/*
 * Print what can be printed now; waits for nothing but the reader.
 *
 * KV_OK: that was all.  KV_NOT_FOUND: the reader has gone (not reported).
 * KV_BEHIND: a compaction has taken away what was not read yet.  KV_CORRUPT: damage.
 * KV_IO, KV_NO_MEMORY. All are reported.
 */
enum status follow_look(struct follow *follow);

/* Up to where, and in which file, everything was printed: for tests. */
uint64_t follow_place(const struct follow *follow, uint64_t *inode_out);

/*
 * Do all of that, and look again and again. A stop signal ends the process, status 0.
 *
 * KV_OK: the reader has gone.  Else as above.
 */
enum status follow_log(const char *path, enum lines_format format);

#endif
