/*
 * A file is known by its device and inode; a name may come to lead to another.
 */
#include "file/place.h"

#include "base/diag.h"

#include <inttypes.h>

enum status place_tell(const struct place *place, enum status status, const char *what)
{
    diag_error("%s%s: %s", files_path(place->files), place->suffix, what);
    return status == KV_NOT_FOUND ? KV_IO : status;
}

enum status place_take(struct place *place, bool is_to_read)
{
    struct io_info info;
    if (io_inspect(place->fd, &info) != KV_OK) {
        return place_tell(place, KV_IO, "cannot inspect the log; it is not used");
    }
    place->device = info.device;
    place->inode = info.inode;
    enum status status =
        io_lock_open_file(place->fd, is_to_read ? IO_LOCK_SHARED : IO_LOCK_ALONE);
    if (status == KV_LOCKED) {
        diag_errorx("%s%s: is in use by another process under another name; giving up",
                    files_path(place->files), place->suffix);
        return KV_IO;
    }
    return status == KV_OK
               ? KV_OK
               : place_tell(place, status, "cannot lock the log; it is not used");
}

static bool is_its_file(const struct place *place, const struct io_info *info)
{
    return info->device == place->device && info->inode == place->inode;
}

/* Its name leads nowhere. */
static void tell_gone(const struct place *place)
{
    struct io_info info;
    const char *path = files_path(place->files);
    if (io_inspect(place->fd, &info) == KV_OK && info.link_count == 0) {
        diag_errorx("%s%s: the log was removed while it was served; stopping", path,
                    place->suffix);
    } else {
        diag_errorx("%s%s: the log was renamed while it was served; stopping", path,
                    place->suffix);
    }
}

enum status place_check(const struct place *place, uint64_t length)
{
    struct io_info info;
    const char *path = files_path(place->files);
    enum status status = files_inspect(place->files, place->suffix, &info);
    if (status == KV_NOT_FOUND) {
        tell_gone(place);
        return KV_FATAL;
    }
    if (status != KV_OK) {
        return place_tell(place, KV_FATAL, "cannot inspect the log; stopping");
    }
    if (!is_its_file(place, &info)) {
        diag_errorx("%s%s: another file has taken the place of the log; stopping", path,
                    place->suffix);
        return KV_FATAL;
    }
    if (info.length != length) {
        diag_errorx("%s%s: the log is %" PRIu64 " bytes long, not %" PRIu64
                    ": something else changed it; stopping",
                    path, place->suffix, info.length, length);
        return KV_FATAL;
    }
    return KV_OK;
}

enum status place_judge(const struct files *files, const struct place *replaced,
                        uint64_t length)
{
    struct io_info info;
    enum status status = files_inspect(files, "", &info);
    if (status == KV_NOT_FOUND) {
        return KV_OK;
    }
    if (status != KV_OK) {
        diag_error("%s: cannot inspect; it is not replaced", files_path(files));
        return KV_IO;
    }
    bool may_go = replaced == NULL
                      ? info.is_regular && info.length == 0
                      : is_its_file(replaced, &info) && info.length == length;
    if (!may_go) {
        diag_errorx("%s: was put there or changed meanwhile; it is not replaced",
                    files_path(files));
    }
    return may_go ? KV_OK : KV_IO;
}

enum status place_rename(struct place *place, const char *suffix, uint64_t length)
{
    enum status status = place_check(place, length);
    if (status == KV_OK) {
        status = files_rename(place->files, place->suffix, suffix);
    }
    if (status == KV_OK) {
        place->suffix = suffix;
    }
    return status;
}

enum status place_put_new(struct place *place, uint64_t length)
{
    enum status status = place_check(place, length);
    if (status == KV_OK) {
        status = files_place_new(place->files, "");
    }
    if (status == KV_OK) {
        place->suffix = "";
    }
    return status;
}

enum status place_remove(const struct place *place)
{
    struct io_info info;
    enum status status = files_inspect(place->files, place->suffix, &info);
    if (status == KV_OK && !is_its_file(place, &info)) {
        diag_warnx("%s%s: another file has taken the place of the log; it is left there",
                   files_path(place->files), place->suffix);
        return KV_OK;
    }
    return files_remove(place->files, place->suffix);
}
