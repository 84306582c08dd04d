/*
 * Two passes of one walk over the intact batches: load them, then copy what is live.
 */
#include "salvage.h"

#include "diag.h"
#include "load.h"
#include "progress.h"
#include "rewrite.h"
#include "scan.h"

#include <inttypes.h>
#include <stdio.h>

/* One of the two logs that there may be. */
struct source {
    struct log *log;
    uint64_t log_id;
    struct opening opening; /* if has_opening: it is intact */
    bool has_opening;
    uint64_t drained_id; /* which older log a drained mark in it names */
};

struct salvage {
    struct files *files;
    struct files *new_files;
    struct source older; /* PATH.old, if there is one and it is wanted */
    struct source source;
    struct keydir keydir;
    struct load *load; /* of the first pass */
    uint64_t lost_bytes;
};

/* What to do with each intact batch, if anything, and whether to tell what is lost. */
struct visitor {
    enum status (*batch)(struct salvage *salvage, struct slice records, uint64_t offset,
                         struct log *to);
    struct log *to;
    bool tells_lost;
};

static enum status take(struct salvage *salvage, struct slice records, uint64_t offset,
                        struct log *to)
{
    uint64_t count = 0; /* what is kept in the end is told instead */
    (void)to;           /* the first pass copies nothing */
    return load_records(salvage->load, records, offset, &count);
}

static enum status copy_current(struct salvage *salvage, struct slice records,
                                uint64_t offset, struct log *to)
{
    return rewrite_copy(to, &salvage->keydir, records,
                        keydir_current_offset(&salvage->keydir, offset));
}

static enum status copy_older(struct salvage *salvage, struct slice records,
                              uint64_t offset, struct log *to)
{
    return rewrite_copy(to, &salvage->keydir, records,
                        keydir_older_offset(&salvage->keydir, offset));
}

static void note_lost(struct salvage *salvage, const struct source *source, uint64_t from,
                      uint64_t to)
{
    diag_clear(); /* stdout may be the same terminal */
    printf("lost %" PRIu64 " bytes from offset %" PRIu64 " to %" PRIu64 " of %s%s\n",
           to - from, from, to, log_path(source->log), log_suffix(source->log));
    salvage->lost_bytes += to - from;
}

/* Step over damage; false if nothing intact follows. */
static bool skip_damage(struct salvage *salvage, const struct source *source,
                        const struct visitor *visitor, struct scan *scan)
{
    uint64_t from = scan->offset;
    bool has_more = scan_skip_damage(scan);
    if (visitor->tells_lost) {
        note_lost(salvage, source, from, has_more ? scan->offset : scan->log.length);
    }
    return has_more;
}

/* Walk the intact batches of a log from front to back. */
static enum status walk(struct salvage *salvage, struct source *source,
                        const struct visitor *visitor)
{
    struct batch batch;
    struct scan scan = {.log = log_bytes(source->log), .log_id = source->log_id};
    enum scan_result result = SCAN_DAMAGED;
    enum status status = KV_OK;
    if (source->has_opening) {
        scan_begin(&scan, log_bytes(source->log), source->log_id);
        result = scan_next(&scan, &batch);
    }
    progress_begin(visitor->to == NULL ? "reading" : "copying", log_path(source->log),
                   log_suffix(source->log), log_length(source->log));
    while (status == KV_OK && result != SCAN_END) {
        if (result == SCAN_BATCH && visitor->batch != NULL) {
            status = visitor->batch(salvage, batch.records, batch.offset, visitor->to);
        } else if (result == SCAN_DAMAGED &&
                   !skip_damage(salvage, source, visitor, &scan)) {
            break;
        }
        result = scan_next(&scan, &batch);
    }
    progress_end();
    source->drained_id = scan.drained_id;
    return status;
}

/* The id of the log, from its opening record or, if that is damaged, from a seal. */
static bool identify(struct source *source)
{
    struct seal seal;
    uint64_t at = 0;
    struct slice bytes = log_bytes(source->log);
    source->has_opening = record_decode_opening(bytes, &source->opening);
    source->log_id = source->opening.log_id;
    while (!source->has_opening && record_find_mark(bytes, at, &at)) {
        if (record_decode_seal(slice_after(bytes, (size_t)at), at, &seal)) {
            source->log_id = seal.log_id;
            return true;
        }
        at++;
    }
    return source->has_opening;
}

static void close_source(struct source *source)
{
    (void)log_close(source->log); /* nothing was written */
    source->log = NULL;
}

/* Keep PATH.old only if it holds data that PATH may lack; say so where it is missing. */
static void judge_older(struct salvage *salvage)
{
    struct source *source = &salvage->source;
    struct source *older = &salvage->older;
    (void)walk(salvage, source, &(struct visitor){0}); /* without a visit none fails */
    bool names_older = source->has_opening && source->opening.older_id != 0;
    bool is_drained = names_older && source->drained_id == source->opening.older_id;
    bool is_older = older->log != NULL && identify(older) &&
                    (!source->has_opening || older->log_id == source->opening.older_id);
    if (!is_older || is_drained) {
        close_source(older);
    }
    if (names_older && !is_drained && !is_older) {
        printf("lost whatever was only in %s" FILES_OLD
               ", which is missing or no part of this "
               "log\n",
               files_path(salvage->files));
        salvage->lost_bytes += source->opening.older_length;
    }
}

static enum status open_old(struct salvage *salvage)
{
    enum status status = log_open(salvage->files, "", LOG_READ, &salvage->source.log);
    if (status == KV_NOT_FOUND) {
        diag_errorx("%s: there is no such log; nothing to salvage",
                    files_path(salvage->files));
    }
    if (status != KV_OK) {
        return status;
    }
    if (!identify(&salvage->source)) {
        diag_errorx("%s: holds no intact mark, so nothing in it can be proved",
                    files_path(salvage->files));
        return KV_CORRUPT;
    }
    status = log_open(salvage->files, FILES_OLD, LOG_READ, &salvage->older.log);
    if (status != KV_OK && status != KV_NOT_FOUND) {
        return status;
    }
    judge_older(salvage);
    return KV_OK;
}

/* The older log first, as in every start. */
static enum status take_all(struct salvage *salvage)
{
    const struct visitor visitor = {.batch = take, .tells_lost = true};
    enum status status = KV_OK;
    if (salvage->older.log != NULL) {
        status = walk(salvage, &salvage->older, &visitor);
        keydir_push_log(&salvage->keydir, salvage->source.log);
    }
    return status == KV_OK ? walk(salvage, &salvage->source, &visitor) : status;
}

static enum status load_all(struct salvage *salvage)
{
    struct log *older = salvage->older.log;
    enum status status =
        keydir_init(&salvage->keydir, older != NULL ? older : salvage->source.log);
    if (status == KV_OK) {
        status = load_begin(&salvage->keydir, &salvage->load);
    }
    return status == KV_OK ? load_end(salvage->load, take_all(salvage)) : status;
}

static enum status copy_all(struct salvage *salvage, struct log *to)
{
    enum status status = KV_OK;
    if (salvage->older.log != NULL) {
        status = walk(salvage, &salvage->older,
                      &(struct visitor){.batch = copy_older, .to = to});
    }
    return status == KV_OK ? walk(salvage, &salvage->source,
                                  &(struct visitor){.batch = copy_current, .to = to})
                           : status;
}

static enum status refuse_existing(const struct files *files)
{
    int fd = -1;
    enum status status = files_open_plain(files, "", true, &fd);
    if (status == KV_NOT_FOUND) {
        return KV_OK;
    }
    if (status == KV_OK) {
        diag_errorx("%s: is there already; salvage writes only a new log",
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
    return status == KV_OK ? rewrite_end(salvage->new_files, to, copy_all(salvage, to))
                           : status;
}

static enum status print_summary(const struct salvage *salvage)
{
    printf("kept %" PRIu64 " keys, %" PRIu64 " bytes\n", salvage->keydir.key_count,
           salvage->keydir.live_bytes);
    printf("lost %" PRIu64 " bytes in all\n", salvage->lost_bytes);
    if (salvage->lost_bytes > 0) {
        printf("a lost range may have held newer values of these keys, or deletions\n");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        diag_error("standard output: cannot write the summary; %s is complete",
                   files_path(salvage->new_files));
        return KV_IO;
    }
    return KV_OK;
}

static void tell_unreadable(const struct source *source)
{
    if (source->log != NULL && log_has_failed_reads(source->log)) {
        diag_warnx("%s%s: parts could not be read and count as lost",
                   log_path(source->log), log_suffix(source->log));
    }
}

static enum status run(struct salvage *salvage)
{
    enum status status = open_old(salvage);
    if (status == KV_OK) {
        status = load_all(salvage);
    }
    tell_unreadable(&salvage->older);
    tell_unreadable(&salvage->source);
    if (status == KV_OK) {
        status = write_new(salvage);
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
    if (status == KV_OK) {
        status = print_summary(&salvage);
    } else {
        diag_errorx("%s: not salvaged: %s", path, status_text(status));
    }
    keydir_destroy(&salvage.keydir);
    close_source(&salvage.older);
    close_source(&salvage.source);
    files_close(salvage.new_files);
    files_close(salvage.files);
    return status;
}
