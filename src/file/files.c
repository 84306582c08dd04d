/*
 * Names, the lock, and the making of whole files: write aside, sync, rename, sync the
 * directory.
 */
#include "file/files.h"

#include "base/bounds.h"
#include "base/diag.h"
#include "base/stop.h"
#include "file/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What changes while the files are open, and nobody but this module knows of. */
struct notes {
    bool has_left_new;      /* PATH.new is our own and could not be removed */
    bool has_left_old;      /* likewise */
    bool has_told_unsynced; /* that the directory cannot be synced */
};

struct files {
    int directory;
    int lock_fd;     /* -1: none is there, which only a reader does without */
    bool is_to_read; /* nothing is made or changed */
    struct notes own_notes;
    struct notes *notes; /* which are those */
    const char *name;    /* the last part of path */
    char path[];
};

struct file_name {
    char text[NAME_MAX + 1];
};

static struct file_name make_name(const struct files *files, const char *suffix)
{
    struct file_name name;
    (void)snprintf(name.text, sizeof name.text, "%s%s", files->name, suffix);
    return name; /* files_open made sure that it fits */
}

static enum status open_directory(struct files *files)
{
    char *directory = strdup(files->path);
    if (directory == NULL) {
        return KV_NO_MEMORY;
    }
    /* Cut off the name: "a/b" lies in "a/", "b" in ".", "/b" in "/". */
    directory[files->name - files->path] = '\0';
    const char *place = directory[0] == '\0' ? "." : directory;
    enum status status = io_open_directory(place, &files->directory);
    if (status != KV_OK) {
        diag_error("%s: cannot open the directory; giving up", place);
        status = KV_IO;
    }
    free(directory);
    return status;
}

/* Why a file cannot be ours, or NULL. */
static const char *find_fault(const struct files *files, const struct io_info *info)
{
    bool may_read_all = files->is_to_read && geteuid() == 0;
    if (!info->is_regular) {
        return "is not a regular file";
    }
    if (info->link_count != 1) {
        return "has more than one link";
    }
    return info->owner == (uint64_t)geteuid() || may_read_all ? NULL
                                                              : "belongs to another user";
}

/* Closes a file that is not. */
static enum status check_is_ours(const struct files *files, const char *suffix, int *fd)
{
    struct io_info info;
    if (io_inspect(*fd, &info) != KV_OK) {
        diag_error("%s%s: cannot inspect; it is not used", files->path, suffix);
    } else {
        const char *fault = find_fault(files, &info);
        if (fault == NULL) {
            return KV_OK;
        }
        diag_errorx("%s%s: %s; it is not used", files->path, suffix, fault);
    }
    (void)io_close(*fd); /* nothing was written */
    *fd = -1;
    return KV_IO;
}

enum status files_open_plain(const struct files *files, const char *suffix, int flags,
                             int *fd_out)
{
    enum status status =
        io_open(files->directory, make_name(files, suffix).text, flags, fd_out);
    if (status == KV_NOT_FOUND) {
        return status;
    }
    if (status != KV_OK && errno == ELOOP) {
        diag_errorx("%s%s: is a symbolic link, which is not followed", files->path,
                    suffix);
        return KV_IO;
    }
    if (status != KV_OK) {
        diag_error("%s%s: cannot open; it is not used", files->path, suffix);
        return KV_IO;
    }
    return check_is_ours(files, suffix, fd_out);
}

/* Make a file where nothing is; what it has turned out to be is yet to be checked. */
static enum status create(const struct files *files, const char *suffix, int *fd_out)
{
    return io_open(files->directory, make_name(files, suffix).text,
                   O_RDWR | O_CREAT | O_EXCL, fd_out);
}

/* Somebody else's log gets no lock beside it that its owner could not use, nor does what
 * can be no log, as /dev/null: an attempt to open that tells why. */
static bool is_unfit(const struct files *files, const char *suffix)
{
    struct io_info info;
    enum status status = files_inspect(files, suffix, &info);
    if (status == KV_OK && info.owner != (uint64_t)geteuid()) {
        diag_errorx("%s%s: belongs to another user; nothing was made", files->path,
                    suffix);
        return true;
    }
    return status == KV_OK && suffix[0] == '\0' && find_fault(files, &info) != NULL &&
           files_find(files, suffix) == KV_IO;
}

static enum status create_lock(struct files *files)
{
    const char *const name = FILES_LOCK;
    if (is_unfit(files, "") || is_unfit(files, FILES_OLD)) {
        return KV_IO;
    }
    enum status status = create(files, name, &files->lock_fd);
    if (status != KV_OK && errno == EEXIST) { /* somebody was faster */
        return files_open_plain(files, name, O_RDWR, &files->lock_fd);
    }
    if (status != KV_OK) {
        diag_error("%s" FILES_LOCK ": cannot create; giving up", files->path);
        return KV_IO;
    }
    struct io_info info;
    if (io_inspect(files->lock_fd, &info) == KV_OK && info.owner != (uint64_t)geteuid()) {
        diag_errorx("%s" FILES_LOCK ": what is made here belongs to another user, as "
                    "where a mount gives every file one owner; giving up",
                    files->path);
        files_drop(files, name);
        return KV_IO;
    }
    return check_is_ours(files, name, &files->lock_fd);
}

/* A reader does without a lock file: beside a server there is one. */
static enum status open_lock(struct files *files)
{
    int flags = files->is_to_read ? O_RDONLY : O_RDWR;
    enum status status = files_open_plain(files, FILES_LOCK, flags, &files->lock_fd);
    if (status == KV_NOT_FOUND && files->is_to_read) {
        return KV_OK;
    }
    return status == KV_NOT_FOUND ? create_lock(files) : status;
}

static enum status take_lock(struct files *files)
{
    enum status status = open_lock(files);
    if (status != KV_OK || files->lock_fd < 0) {
        return status;
    }
    long owner = 0;
    status = io_lock(files->lock_fd, files->is_to_read ? IO_LOCK_SHARED : IO_LOCK_ALONE,
                     &owner);
    if (status == KV_LOCKED && owner == 0) {
        diag_errorx("%s: is in use by another process; giving up", files->path);
    } else if (status == KV_LOCKED) {
        diag_errorx("%s: is in use by process %ld; %s", files->path, owner,
                    files->is_to_read ? "only --follow reads beside it" : "giving up");
    } else if (status != KV_OK) {
        diag_error("%s" FILES_LOCK ": cannot lock; giving up", files->path);
    }
    return status == KV_OK ? KV_OK : KV_IO;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool ends_in(const char *name, size_t length, const char *end)
{
    size_t end_length = strlen(end);
    return length >= end_length &&
           strncmp(name + length - end_length, end, end_length) == 0;
}

bool files_is_side_name(const char *path)
{
    static const char *const suffixes[] = {FILES_LOCK, FILES_NEW, FILES_OLD, FILES_INDEX};
    const char *name = last_part(path);
    size_t length = strlen(name);
    size_t torn_length = length; /* without the numbers that a copy of a tail ends in */
    while (torn_length > 0 && strchr("0123456789.", name[torn_length - 1]) != NULL) {
        torn_length--;
    }
    bool is_side_name =
        length > torn_length + 1 && ends_in(name, torn_length + 1, FILES_TORN);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        is_side_name = is_side_name || ends_in(name, length, suffixes[i]);
    }
    return is_side_name;
}

enum access { TO_WRITE, TO_READ, BESIDE };

static enum status open_files(const char *log_path, enum access access,
                              struct files **files_out)
{
    size_t length = strlen(log_path);
    const char *name = last_part(log_path);
    if (name[0] == '\0' || strlen(name) + FILES_SUFFIX_BYTES_MAX > NAME_MAX) {
        diag_errorx("%s: not the name of a file, or too long; giving up", log_path);
        return KV_IO;
    }
    struct files *files = malloc(sizeof *files + length + 1);
    if (files == NULL) {
        diag_error("%s: not enough memory for the name; giving up", log_path);
        return KV_NO_MEMORY;
    }
    *files =
        (struct files){.directory = -1, .lock_fd = -1, .is_to_read = access != TO_WRITE};
    files->notes = &files->own_notes;
    memcpy(files->path, log_path, length + 1);
    files->name = last_part(files->path);
    enum status status = open_directory(files);
    if (status == KV_OK && access != BESIDE) {
        status = take_lock(files);
    }
    if (status != KV_OK) {
        files_close(files);
        return status;
    }
    *files_out = files;
    return KV_OK;
}

enum status files_open(const char *log_path, struct files **files_out)
{
    return open_files(log_path, TO_WRITE, files_out);
}

enum status files_open_to_read(const char *log_path, struct files **files_out)
{
    return open_files(log_path, TO_READ, files_out);
}

enum status files_open_beside(const char *log_path, struct files **files_out)
{
    return open_files(log_path, BESIDE, files_out);
}

void files_close(struct files *files)
{
    if (files == NULL) {
        return;
    }
    stop_forget_file(); /* there is no half-made one any more */
    if (files->lock_fd >= 0) {
        (void)io_close(files->lock_fd); /* never written to */
    }
    if (files->directory >= 0) {
        (void)io_close(files->directory); /* never written to */
    }
    free(files);
}

const char *files_path(const struct files *files)
{
    return files->path;
}

enum status files_inspect(const struct files *files, const char *suffix,
                          struct io_info *info_out)
{
    if (suffix[0] == '\0') { /* before each commit: nothing is put together */
        return io_inspect_name(files->directory, files->name, info_out);
    }
    return io_inspect_name(files->directory, make_name(files, suffix).text, info_out);
}

enum status files_find(const struct files *files, const char *suffix)
{
    int fd = -1;
    enum status status = files_open_plain(files, suffix, O_RDONLY, &fd);
    if (status == KV_OK) {
        (void)io_close(fd); /* nothing was written */
    }
    return status;
}

enum status files_view(const struct files *files, const char *suffix,
                       struct files_view *view_out)
{
    uint64_t length = 0;
    struct files_view view = {.fd = -1};
    enum status status = files_open_plain(files, suffix, O_RDONLY, &view.fd);
    if (status != KV_OK) {
        return status;
    }
    status = mapping_open(view.fd, &view.mapping, &length);
    if (status != KV_OK) {
        diag_error("%s%s: cannot read; it is not used", files->path, suffix);
        (void)io_close(view.fd); /* nothing was written */
        return status;
    }
    view.bytes = (struct slice){mapping_bytes(view.mapping), (size_t)length};
    *view_out = view;
    return KV_OK;
}

void files_release(struct files_view *view)
{
    mapping_close(view->mapping);
    (void)io_close(view->fd); /* nothing was written */
}

void files_hold(const struct files *files, const char *suffix, struct waste *waste)
{
    int fd = -1;
    if (io_open(files->directory, make_name(files, suffix).text, O_RDWR, &fd) == KV_OK) {
        waste_take(waste, fd);
    }
}

void files_drop(const struct files *files, const char *suffix)
{
    enum status status = io_unlink(files->directory, make_name(files, suffix).text);
    bool is_left = status != KV_OK && status != KV_NOT_FOUND;
    if (is_left) {
        diag_warn("%s%s: cannot remove; it is left there", files->path, suffix);
    }
    if (strcmp(suffix, FILES_NEW) == 0) {
        stop_forget_file();
        files->notes->has_left_new = is_left;
    }
}

/* Make PATH.new, where nothing is; from then on a stop signal removes it. */
static enum status make_new(const struct files *files, int *fd_out)
{
    enum status status = create(files, FILES_NEW, fd_out);
    if (status != KV_OK && errno == EEXIST) {
        diag_errorx("%s" FILES_NEW ": is there already and was not made here; it is left "
                    "there, and nothing is made",
                    files->path);
        return KV_IO;
    }
    if (status != KV_OK) {
        diag_error("%s" FILES_NEW ": cannot create; giving up", files->path);
        return status == KV_NOT_FOUND ? KV_IO : status;
    }
    status = check_is_ours(files, FILES_NEW, fd_out);
    if (status != KV_OK) {
        files_drop(files, FILES_NEW);
        return status;
    }
    stop_remember_file(files->directory, make_name(files, FILES_NEW).text);
    return KV_OK;
}

enum status files_begin_new(const struct files *files, int *fd_out)
{
    if (files->notes->has_left_new) {
        files_drop(files, FILES_NEW);
    }
    stop_hold();
    enum status status = make_new(files, fd_out);
    stop_release();
    return status;
}

/*
 * Some network and user-space file systems know no sync of a directory. They cannot be
 * made to, and keep names as well as they do: tell once what that means.
 */
static enum status sync_directory(const struct files *files)
{
    enum status status = io_sync_directory(files->directory);
    if (status == KV_OK || (errno != EINVAL && errno != EOPNOTSUPP)) {
        return status;
    }
    if (!files->notes->has_told_unsynced) {
        diag_warn("%s: its directory cannot be synced; a loss of power may take away the "
                  "name of a file that was just made, and what was written to it",
                  files->path);
    }
    files->notes->has_told_unsynced = true;
    return KV_OK;
}

static enum status rename_durably(const struct files *files, const char *from,
                                  const char *to)
{
    enum status status = io_rename(files->directory, make_name(files, from).text,
                                   make_name(files, to).text);
    if (status != KV_OK) {
        diag_error("%s%s: cannot rename to %s%s; the names stay", files->path, from,
                   files->path, to);
        return status == KV_NOT_FOUND ? KV_IO : status;
    }
    if (strcmp(from, FILES_NEW) == 0) {
        stop_forget_file(); /* it has its name */
    }
    if (sync_directory(files) != KV_OK) {
        diag_error("%s%s: cannot sync the directory after a rename; stopping",
                   files->path, to);
        return KV_FATAL;
    }
    return KV_OK;
}

enum status files_rename(const struct files *files, const char *from, const char *to)
{
    struct io_info info;
    if (files->notes->has_left_old && strcmp(to, FILES_OLD) == 0) {
        (void)files_remove(files, FILES_OLD); /* told; it may be in the way again */
    }
    enum status status = files_inspect(files, to, &info);
    if (status == KV_OK) {
        diag_errorx("%s%s: is there already and is not replaced; %s%s keeps its name",
                    files->path, to, files->path, from);
        return KV_IO;
    }
    if (status != KV_NOT_FOUND) {
        diag_error("%s%s: cannot inspect; %s%s keeps its name", files->path, to,
                   files->path, from);
        return KV_IO;
    }
    if (strcmp(to, FILES_OLD) == 0) {
        files->notes->has_left_old = false; /* nothing is, and what comes is wanted */
    }
    return rename_durably(files, from, to);
}

enum status files_settle_names(const struct files *files)
{
    if (sync_directory(files) != KV_OK) {
        diag_error("%s: cannot sync the directory; giving up", files->path);
        return KV_IO;
    }
    return KV_OK;
}

enum status files_sync_new(const struct files *files, int fd)
{
    enum status status = io_sync(fd);
    if (status != KV_OK) {
        diag_error("%s" FILES_NEW ": cannot sync; it is not put in place", files->path);
    }
    return status;
}

enum status files_place_new(const struct files *files, const char *suffix)
{
    return rename_durably(files, FILES_NEW, suffix);
}

enum status files_remove(const struct files *files, const char *suffix)
{
    enum status status = io_unlink(files->directory, make_name(files, suffix).text);
    if (status == KV_OK || status == KV_NOT_FOUND) { /* gone, but perhaps not for good */
        status = sync_directory(files);
    }
    if (strcmp(suffix, FILES_OLD) == 0) {
        files->notes->has_left_old = status != KV_OK;
    }
    if (status != KV_OK) {
        diag_warn("%s%s: cannot remove; to be tried again", files->path, suffix);
        return KV_IO;
    }
    return KV_OK;
}

enum status files_measure(const struct files *files, struct io_space *space_out)
{
    return io_measure(files->directory, space_out);
}
