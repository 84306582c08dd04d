/*
 * Records go over in the order of the old log, in batches of ordinary size. Nothing is
 * synced on the way: the new file counts for nothing until it is put in place.
 */
#include "rewrite.h"

#include "progress.h"

enum status rewrite_begin(const struct files *files, struct log **log_out)
{
    return log_create(files, &(struct opening){.generation = 1}, log_out);
}

/* Whether a record is the one that gives its key its value. */
static bool is_latest(const struct keydir *keydir, const struct record *record,
                      uint64_t offset)
{
    struct location location;
    return !record_is_mark(record) &&
           keydir_find(keydir, keydir_hash(keydir, record->key), record->key,
                       &location) == KV_OK &&
           location.offset == offset;
}

static enum status copy_record(struct log *to, const struct record *record)
{
    enum status status = log_reserve(to, record->key.length, record->value.length);
    if (status != KV_OK) {
        return status;
    }
    /* Where it stands is told when the new log is opened and read. */
    (void)log_stage(to, record->key, record->value);
    return log_staged_bytes(to) < BATCH_BYTES_MAX ? KV_OK : log_write(to);
}

enum status rewrite_copy(struct log *to, const struct keydir *from, struct slice records,
                         uint64_t offset)
{
    struct record record;
    while (record_decode(records, &record)) {
        if (is_latest(from, &record, offset)) {
            enum status status = copy_record(to, &record);
            if (status != KV_OK) {
                return status;
            }
        }
        progress_at(keydir_offset_in_log(offset));
        offset += record.length;
        records = slice_after(records, (size_t)record.length);
    }
    return KV_OK;
}

enum status rewrite_end(const struct files *files, struct log *log, enum status status)
{
    if (status == KV_OK && log_staged_bytes(log) > 0) {
        status = log_write(log);
    }
    if (status == KV_OK) {
        status = log_publish(log);
    }
    enum status close_status = log_close(log);
    if (status != KV_OK) {
        files_drop(files, FILES_NEW);
    }
    if (status == KV_OK && close_status != KV_OK) {
        return KV_FATAL; /* it has its name already */
    }
    return status;
}
