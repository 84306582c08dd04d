/*
 * The log's place in the file system: its directory, the names of its side files, and
 * the lock that keeps a second server off.
 *
 *     PATH               the log
 *     PATH.lock          locked while somebody uses the log; never unlinked
 *     PATH.new           a file that is being made, renamed when it is complete
 *     PATH.old           the log before, while a compaction copies from it
 *     PATH.index         an image of the index, for a fast start
 *     PATH.torn.OFFSET   what a crash left behind the last good seal
 *
 * These functions report their failures to the operator.
 */
#ifndef KV_FILES_H
#define KV_FILES_H

#include "base/slice.h"
#include "base/status.h"
#include "file/io.h"
#include "file/mapping.h"
#include "file/waste.h"

#define FILES_LOCK  ".lock"
#define FILES_NEW   ".new"
#define FILES_OLD   ".old"
#define FILES_INDEX ".index"
/* What an image of the index begins with; snapshot.c knows the rest. */
#define FILES_INDEX_MAGIC UINT64_C(0x6b76696e64657831)

#define FILES_TORN ".torn." /* an offset follows, and perhaps another number */

/* A suffix with its NUL. */
#define FILES_SUFFIX_BYTES_MAX 64

struct files;

/*
 * Whether a path ends as the name of a side file does. Such a file belongs to the log
 * beside it, so nothing of its own may stand there.
 */
bool files_is_side_name(const char *path);

/*
 * Open the directory of a log and take its lock; nothing of the log is read.
 *
 * KV_IO: it cannot be had.  KV_NO_MEMORY.  Both are reported.  Release with files_close,
 * which drops the lock.
 */
enum status files_open(const char *log_path, struct files **files_out);

/*
 * The same for whoever changes nothing: works on a volume that is read-only, and for root
 * on anybody's log. Several may read at once. Where there is no lock file none is made,
 * and the log's own lock (log_open) must do. Errors as above.
 */
enum status files_open_to_read(const char *log_path, struct files **files_out);

/* The same without any lock, beside whoever has it: what is read may change meanwhile. */
enum status files_open_beside(const char *log_path, struct files **files_out);
void files_close(struct files *files);

/* The log's path as the operator gave it. */
const char *files_path(const struct files *files);

/*
 * Open the log (suffix "") or a side file.
 *
 * Refuses what is no plain file of our own: a symbolic link, a directory, a second
 * link, another owner.
 *
 * flags: as for io_open.
 * KV_NOT_FOUND: there is none (not reported).  KV_IO: refused or failed (reported).
 */
enum status files_open_plain(const struct files *files, const char *suffix, int flags,
                             int *fd_out);

/* What its name leads to now, without opening it: KV_NOT_FOUND, KV_IO (not reported). */
enum status files_inspect(const struct files *files, const char *suffix,
                          struct io_info *info_out);

/* Whether there is such a file of our own: KV_OK or KV_NOT_FOUND.  KV_IO: as for
 * files_open_plain. */
enum status files_find(const struct files *files, const char *suffix);

/* A side file to look at, as a whole. */
struct files_view {
    int fd;
    struct mapping *mapping;
    struct slice bytes;
};

/*
 * KV_NOT_FOUND: there is none (not reported).  KV_IO, KV_NO_MEMORY: it is not ours, or
 * cannot be mapped (reported).  Release with files_release.
 */
enum status files_view(const struct files *files, const char *suffix,
                       struct files_view *view_out);
void files_release(struct files_view *view);

/*
 * A side file is about to lose its name: hold it, so that it can be cut away in steps. If
 * it cannot be held (not reported), the system frees all of it at once.
 */
void files_hold(const struct files *files, const char *suffix, struct waste *waste);

/*
 * Begin PATH.new. What stands there already is left alone, unless this process made it
 * and could not remove it.
 *
 * fd_out: the caller's to close.  KV_NO_SPACE, KV_IO (reported).
 */
enum status files_begin_new(const struct files *files, int *fd_out);

/*
 * Make a complete PATH.new durable and give it its name, durably, in two steps: between
 * them the caller makes sure that what has that name may be replaced.
 *
 * KV_IO, KV_NO_SPACE: it did not get the name (reported).  KV_FATAL: unknown whether it
 * has it for good (reported).
 */
enum status files_sync_new(const struct files *files, int fd);
enum status files_place_new(const struct files *files, const char *suffix);

/*
 * Give the log or a side file another name, durably, which no file has yet.
 *
 * KV_IO, KV_NO_SPACE: it has the name it had.  KV_FATAL: unknown which it has for good.
 * All are reported.
 */
enum status files_rename(const struct files *files, const char *from, const char *to);

/*
 * Make the names durable that are there now: what a process that died has renamed may be
 * known to the running system alone. KV_IO (reported).
 */
enum status files_settle_names(const struct files *files);

/* Remove a side file, durably. KV_IO (reported). */
enum status files_remove(const struct files *files, const char *suffix);

/* The room on the disk that they are on. KV_IO: the system does not say (not reported).
 */
enum status files_measure(const struct files *files, struct io_space *space_out);

/* Remove a side file if there is one. It may come back after a power loss. */
void files_drop(const struct files *files, const char *suffix);

#endif
