/*
 * The file of a followed log: opened, looked at again, and what is said of it.
 */
#include "offline/followed.h"

#include "base/diag.h"
#include "log/logset.h"

#include <fcntl.h>
#include <inttypes.h>

void followed_end(struct followed *log)
{
    if (log->fd >= 0) {
        mapping_close(log->mapping);
        (void)io_close(log->fd); /* nothing was written */
    }
    *log = followed_none();
}

enum status followed_tell_unread(const char *path, const char *suffix, enum status status)
{
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s%s: not enough memory to read it; giving up", path, suffix);
    } else {
        diag_error("%s%s: cannot be read; giving up", path, suffix);
    }
    return status;
}

enum status followed_tell_lost(const struct followed *log)
{
    diag_errorx("%s%s: a part of the log cannot be read; giving up",
                files_path(log->files), log->suffix);
    return KV_IO;
}

bool followed_is_cut(const struct followed *log, uint64_t end)
{
    struct io_info info;
    return io_inspect(log->fd, &info) == KV_OK && info.length < end;
}

enum status followed_look(struct followed *log)
{
    enum status status = io_inspect(log->fd, &log->info);
    if (status == KV_OK && mapping_fault_count(log->mapping) > 0) {
        status = mapping_renew(log->mapping); /* it was cut, and may be longer again */
    }
    if (status == KV_OK) {
        status = mapping_cover(log->mapping, log->info.length);
    }
    if (status != KV_OK) {
        return followed_tell_unread(files_path(log->files), log->suffix, status);
    }
    struct slice bytes = {mapping_bytes(log->mapping), (size_t)log->info.length};
    log->ahead.log = bytes;
    log->printed.log = bytes;
    return KV_OK;
}

static enum status open_log(const struct files *files, const char *suffix,
                            struct followed *log)
{
    uint64_t length;
    *log = followed_none();
    int fd = -1;
    enum status status = files_open_plain(files, suffix, O_RDONLY, &fd);
    if (status != KV_OK) {
        return status;
    }
    status = mapping_open(fd, &log->mapping, &length);
    if (status != KV_OK) {
        (void)followed_tell_unread(files_path(files), suffix, status);
        (void)io_close(fd); /* nothing was written */
        return status;
    }
    log->files = files;
    log->fd = fd;
    log->suffix = suffix;
    return followed_look(log);
}

/* A file has no opening record that this program knows. */
static enum status refuse(const struct followed *log)
{
    uint64_t at;
    const char *path = files_path(log->files);
    if (log->opening.version > RECORD_FORMAT_VERSION) {
        diag_errorx("%s%s: the log has format version %" PRIu64
                    ", this program knows version %d; nothing was read",
                    path, log->suffix, log->opening.version, RECORD_FORMAT_VERSION);
        return KV_IO;
    }
    if (!record_find_mark(log->ahead.log, 0, &at) && logset_is_original(log->ahead.log)) {
        diag_errorx("%s%s: a log by the original program, which the server rewrites when "
                    "it starts; nothing was read",
                    path, log->suffix);
        return KV_IO;
    }
    diag_errorx("%s%s: is no kv-store log, or damaged at offset 0; nothing was read",
                path, log->suffix);
    return KV_CORRUPT;
}

static enum status read_opening(struct followed *log)
{
    struct slice bytes = log->ahead.log;
    if (bytes.length < OPENING_BYTES && record_begins_opening(bytes)) {
        return KV_NOT_FOUND; /* nothing, or a drained log that was cut away */
    }
    bool is_known = record_decode_opening(bytes, &log->opening) &&
                    log->opening.version <= RECORD_FORMAT_VERSION;
    if (!is_known && !mapping_is_lost(log->mapping, 0, bytes.length)) {
        return refuse(log);
    }
    if (!is_known) { /* one that was cut away a moment ago is no other file */
        return followed_is_cut(log, bytes.length) ? KV_NOT_FOUND
                                                  : followed_tell_lost(log);
    }
    scan_begin(&log->ahead, bytes, log->opening.log_id);
    log->printed = log->ahead;
    log->written = log->printed.offset;
    return KV_OK;
}

enum status followed_begin(const struct files *files, const char *suffix,
                           struct followed *log)
{
    enum status status = open_log(files, suffix, log);
    if (status == KV_OK) {
        status = read_opening(log);
    }
    if (status != KV_OK) {
        followed_end(log);
    }
    return status;
}

bool followed_next(struct scan *scan, struct batch *batch)
{
    return scan->offset <= scan->log.length && scan_next(scan, batch);
}

bool followed_is_drained(const struct followed *log)
{
    struct scan scan = log->ahead;
    struct batch batch;
    while (scan.drained_id != log->opening.older_id && scan_next(&scan, &batch)) {
    }
    return scan.drained_id == log->opening.older_id;
}

enum status followed_tell_damaged(const struct followed *log, uint64_t offset)
{
    diag_errorx("%s%s: the log is damaged at offset %" PRIu64 "; nothing more is read",
                files_path(log->files), log->suffix, offset);
    return KV_CORRUPT;
}
