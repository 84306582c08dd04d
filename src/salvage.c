/*
 * Two passes of one walk over the intact batches: load them, then copy what is live.
 */
#include "salvage.h"

#include "diag.h"
#include "rewrite.h"
#include "scan.h"

#include <inttypes.h>
#include <stdio.h>

struct salvage {
    struct files *files;
    struct files *new_files;
    struct log *log;
    struct keydir keydir;
    struct slice bytes;
    uint64_t log_id;
    bool has_opening; /* the opening record is intact */
    uint64_t lost_bytes;
};

/* What to do with each intact batch. */
typedef enum status batch_action(struct salvage *salvage, const struct batch *batch,
                                 struct log *to);

static enum status load(struct salvage *salvage, const struct batch *batch,
                        struct log *to)
{
    (void)to;           /* the first pass copies nothing */
    uint64_t count = 0; /* what is kept in the end is told instead */
    return keydir_load(&salvage->keydir, batch->records, batch->offset, &count);
}

static enum status copy(struct salvage *salvage, const struct batch *batch,
                        struct log *to)
{
    return rewrite_copy(to, &salvage->keydir, batch->records, batch->offset);
}

static void tell_lost(struct salvage *salvage, uint64_t from, uint64_t to)
{
    printf("lost %" PRIu64 " bytes from offset %" PRIu64 " to %" PRIu64 "\n", to - from,
           from, to);
    salvage->lost_bytes += to - from;
}

/* Where the first batch to be proved begins; false if there is no intact seal at all. */
static bool begin(struct salvage *salvage, struct scan *scan)
{
    if (salvage->has_opening) {
        scan_begin(scan, salvage->bytes, salvage->log_id);
        return true;
    }
    *scan = (struct scan){.log = salvage->bytes, .log_id = salvage->log_id};
    return scan_skip_damage(scan);
}

/* Walk the intact batches; in the first pass tell the ranges between them. */
static enum status walk(struct salvage *salvage, batch_action *action, struct log *to)
{
    struct scan scan;
    struct batch batch;
    bool is_first_pass = action == load;
    bool has_more = begin(salvage, &scan);
    if (is_first_pass && !salvage->has_opening) {
        tell_lost(salvage, 0, has_more ? scan.offset : salvage->bytes.length);
    }
    while (has_more) {
        enum scan_result result = scan_next(&scan, &batch);
        if (result == SCAN_END) {
            return KV_OK;
        }
        if (result == SCAN_BATCH) {
            enum status status = action(salvage, &batch, to);
            if (status != KV_OK) {
                return status;
            }
            continue;
        }
        uint64_t from = scan.offset;
        has_more = scan_skip_damage(&scan);
        if (is_first_pass) {
            tell_lost(salvage, from, has_more ? scan.offset : salvage->bytes.length);
        }
    }
    return KV_OK;
}

/* The id of the log, from its opening record or, if that is damaged, from a seal. */
static enum status identify(struct salvage *salvage)
{
    struct opening opening;
    struct seal seal;
    uint64_t at = 0;
    salvage->has_opening = record_decode_opening(salvage->bytes, &opening);
    if (salvage->has_opening) {
        salvage->log_id = opening.log_id;
        return KV_OK;
    }
    while (record_find_mark(salvage->bytes, at, &at)) {
        if (record_decode_seal(slice_after(salvage->bytes, (size_t)at), at, &seal)) {
            salvage->log_id = seal.log_id;
            return KV_OK;
        }
        at++;
    }
    diag_info("%s: holds no intact mark, so nothing in it can be proved",
              files_path(salvage->files));
    return KV_CORRUPT;
}

static enum status open_old(struct salvage *salvage)
{
    enum status status = log_open(salvage->files, LOG_READ, &salvage->log);
    if (status == KV_NOT_FOUND) {
        diag_info("%s: there is no such log", files_path(salvage->files));
    }
    if (status == KV_OK) {
        salvage->bytes = log_bytes(salvage->log);
        status = identify(salvage);
    }
    return status == KV_OK ? keydir_init(&salvage->keydir, salvage->log) : status;
}

static enum status refuse_existing(const struct files *files)
{
    int fd = -1;
    enum status status = files_open_plain(files, "", true, &fd);
    if (status == KV_NOT_FOUND) {
        return KV_OK;
    }
    if (status == KV_OK) {
        diag_info("%s: is there already; salvage writes only a new log",
                  files_path(files));
        files_close_plain(fd);
    }
    return KV_IO;
}

static enum status write_new(struct salvage *salvage)
{
    struct log *to = NULL;
    enum status status = refuse_existing(salvage->new_files);
    if (status == KV_OK) {
        status = rewrite_begin(salvage->new_files, &to);
    }
    if (status != KV_OK) {
        return status;
    }
    return rewrite_end(salvage->new_files, to, walk(salvage, copy, to));
}

static enum status print_summary(const struct salvage *salvage)
{
    printf("kept %" PRIu64 " keys, %" PRIu64 " bytes\n", salvage->keydir.key_count,
           keydir_live_bytes(&salvage->keydir));
    printf("lost %" PRIu64 " bytes in all\n", salvage->lost_bytes);
    if (salvage->lost_bytes > 0) {
        printf("a lost range may have held newer values of these keys, or deletions\n");
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? KV_OK : KV_IO;
}

static enum status run(struct salvage *salvage)
{
    enum status status = open_old(salvage);
    if (status == KV_OK) {
        status = walk(salvage, load, NULL);
    }
    if (status == KV_OK && log_has_failed_reads(salvage->log)) {
        diag_info("%s: parts of the log could not be read and count as lost",
                  files_path(salvage->files));
    }
    if (status == KV_OK) {
        status = write_new(salvage);
    }
    if (status == KV_OK) {
        status = print_summary(salvage);
    }
    return status;
}

enum status salvage_log(const char *path, const char *new_path)
{
    struct salvage salvage = {0};
    enum status status = files_open(path, &salvage.files);
    if (status == KV_OK) {
        status = files_open(new_path, &salvage.new_files);
    }
    if (status == KV_OK) {
        status = run(&salvage);
    }
    if (status != KV_OK) {
        diag_info("%s: not salvaged: %s", path, status_text(status));
    }
    keydir_destroy(&salvage.keydir);
    (void)log_close(salvage.log); /* nothing was written */
    files_close(salvage.new_files);
    files_close(salvage.files);
    return status;
}
