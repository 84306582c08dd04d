/*
 * A copy is made under its own name, so that no other file has to make room for it; what
 * an interrupted one left is completed.
 */
#include "file/torn.h"

#include "base/bounds.h"
#include "base/diag.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

enum { TORN_COPIES_MAX = 1000 };

/*
 * Whether a file holds nothing but what a copy of these bytes may have held when it was
 * interrupted: in each sector either what belongs there or zeros, and not all of them.
 */
static bool is_part_of(struct slice part, struct slice bytes)
{
    static const uint8_t zeros[SECTOR_BYTES];
    if (part.length > bytes.length) {
        return false;
    }
    for (size_t at = 0; at < part.length; at += SECTOR_BYTES) {
        size_t left = part.length - at;
        size_t length = left < SECTOR_BYTES ? left : SECTOR_BYTES;
        const uint8_t *sector = part.bytes + at;
        if (memcmp(sector, bytes.bytes + at, length) != 0 &&
            memcmp(sector, zeros, length) != 0) {
            return false;
        }
    }
    return true;
}

/*
 * Choose a name for the copy. KV_NOT_FOUND: no file has it.  KV_OK: the very same bytes
 * are there already, or a part of them.
 */
static enum status choose_torn_name(const struct files *files, struct slice bytes,
                                    uint64_t offset,
                                    char suffix_out[FILES_SUFFIX_BYTES_MAX])
{
    (void)snprintf(suffix_out, FILES_SUFFIX_BYTES_MAX, FILES_TORN "%" PRIu64, offset);
    for (int copy = 2; copy < TORN_COPIES_MAX; copy++) {
        struct files_view there;
        enum status status = files_view(files, suffix_out, &there);
        if (status != KV_OK) {
            return status;
        }
        bool is_part =
            is_part_of(there.bytes, bytes) && mapping_lost_end(there.mapping) == 0;
        files_release(&there);
        if (is_part) {
            return KV_OK;
        }
        (void)snprintf(suffix_out, FILES_SUFFIX_BYTES_MAX, FILES_TORN "%" PRIu64 ".%d",
                       offset, copy);
    }
    diag_errorx("%s: too many copies of torn tails at offset %" PRIu64
                "; it is not cut off",
                files_path(files), offset);
    return KV_IO;
}

/* Write all of the copy, whatever part of it is there, and make it and its name durable.
 */
static enum status write_torn(const struct files *files, int fd, struct slice bytes,
                              const char *suffix)
{
    enum status status = io_write_at(fd, bytes, 0);
    if (status == KV_OK) {
        status = io_sync(fd);
    }
    if (status != KV_OK) {
        diag_error("%s%s: cannot save the torn tail, so it is not cut off",
                   files_path(files), suffix);
    }
    if (io_close(fd) != KV_OK && status == KV_OK) {
        diag_error("%s%s: cannot close, so the torn tail is not cut off",
                   files_path(files), suffix);
        return KV_IO;
    }
    return status == KV_OK ? files_settle_names(files) : status;
}

enum status torn_save(const struct files *files, struct slice bytes, uint64_t offset,
                      char suffix_out[FILES_SUFFIX_BYTES_MAX])
{
    int fd = -1;
    enum status status = choose_torn_name(files, bytes, offset, suffix_out);
    bool is_made = status == KV_NOT_FOUND;
    if (status != KV_OK && !is_made) {
        return status;
    }
    int flags = is_made ? O_RDWR | O_CREAT | O_EXCL : O_RDWR;
    status = files_open_plain(files, suffix_out, flags, &fd);
    if (status == KV_NOT_FOUND) {
        diag_error("%s%s: cannot create, so the torn tail is not cut off",
                   files_path(files), suffix_out);
        return KV_IO;
    }
    if (status == KV_OK) {
        status = write_torn(files, fd, bytes, suffix_out);
    }
    if (status != KV_OK && is_made && fd >= 0) {
        files_drop(files, suffix_out);
    }
    return status;
}
