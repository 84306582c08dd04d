/*
 * Nothing is synced on the way: the new file counts for nothing until it is put in place.
 */
#include "log/rewrite.h"

#include "base/bytes.h"
#include "base/diag.h"
#include "file/torn.h"

/* Whether a seal says that some of the log was durable: then it was in use. */
static bool has_been_used(struct slice log)
{
    struct seal seal;
    for (uint64_t at = 0; record_find_mark(log, at, &at); at++) {
        if (record_decode_seal(slice_after(log, (size_t)at), at, &seal) &&
            seal.durable_length > 0) {
            return true;
        }
    }
    return false;
}

/*
 * Whether a crash may have left it at PATH.new: a beginning of a log that never was in
 * use, or of an image of the index. The first bytes of both are durable before others
 * follow.
 */
static bool is_half_made(struct slice bytes)
{
    bool is_image = bytes.length >= 8 && bytes_get_u64(bytes.bytes) == FILES_INDEX_MAGIC;
    return is_image || slice_is_zero(bytes) ||
           (record_begins_opening(bytes) && !has_been_used(bytes));
}

/*
 * The first bytes of a new file, before they were synced, may be anything after a power
 * loss; so may a small file of somebody's. It goes, and a copy of it stays.
 */
static enum status keep_copy(const struct files *files, struct slice bytes)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    enum status status = torn_save(files, bytes, 0, suffix);
    if (status == KV_OK) {
        diag_warnx("%s" FILES_NEW
                   ": holds %zu bytes that may be somebody's, kept in %s%s",
                   files_path(files), bytes.length, files_path(files), suffix);
    }
    return status;
}

/* Whether all that was seen of it until now was what stands there. */
static enum status check_was_read(const struct files *files,
                                  const struct files_view *view)
{
    if (mapping_lost_end(view->mapping) == 0) {
        return KV_OK;
    }
    diag_errorx("%s" FILES_NEW ": cannot be read; it is left there", files_path(files));
    return KV_IO;
}

/* Whether the file may be removed; errors as for rewrite_clear. */
static enum status judge_new(const struct files *files, const struct files_view *view)
{
    bool is_ours = is_half_made(view->bytes);
    enum status status = check_was_read(files, view);
    if (status != KV_OK || is_ours) {
        return status;
    }
    if (view->bytes.length <= OPENING_BYTES) {
        status = keep_copy(files, view->bytes);
        return status == KV_OK ? check_was_read(files, view) : status;
    }
    diag_errorx("%s" FILES_NEW ": was not left half made here, so it is somebody's: move "
                "it away; nothing was changed",
                files_path(files));
    return KV_CORRUPT;
}

enum status rewrite_clear(const struct files *files)
{
    struct files_view view;
    enum status status = files_view(files, FILES_NEW, &view);
    if (status != KV_OK) {
        return status == KV_NOT_FOUND ? KV_OK : status;
    }
    status = judge_new(files, &view);
    files_release(&view);
    if (status == KV_OK) {
        files_drop(files, FILES_NEW);
    }
    return status;
}

enum status rewrite_begin(const struct files *files, struct log **log_out)
{
    return log_create(files, &(struct opening){.generation = 1}, log_out);
}

enum status rewrite_append(struct log *to, const struct record *record)
{
    enum status status = log_reserve(to, record->key.length, record->value.length);
    if (status != KV_OK) {
        return status;
    }
    /* Where it stands is told when the new log is opened and read. */
    (void)log_stage(to, record->key, record->value);
    return log_staged_bytes(to) < BATCH_BYTES_MAX ? KV_OK : log_write(to);
}

/* A seal that calls everything before it durable: from now on the log is in use. */
static enum status seal_as_used(struct log *log)
{
    if (log_length(log) == OPENING_BYTES) {
        return KV_OK; /* its first batch will say so */
    }
    enum status status = log_write(log);
    if (status == KV_OK) {
        status = log_sync(log);
    }
    return status == KV_FATAL ? status : KV_OK; /* without room, a later one says so */
}

enum status rewrite_end(const struct files *files, struct log *log,
                        const struct log *replaced, enum status status)
{
    if (status == KV_OK && log_staged_bytes(log) > 0) {
        status = log_write(log);
    }
    if (status == KV_OK) {
        status = log_publish(log, replaced);
    }
    bool is_in_place = status == KV_OK;
    if (is_in_place) {
        status = seal_as_used(log);
    }
    enum status close_status = log_close(log);
    if (!is_in_place) {
        files_drop(files, FILES_NEW);
    }
    if (status == KV_OK && close_status != KV_OK) {
        return KV_FATAL; /* it has its name already */
    }
    return status;
}
