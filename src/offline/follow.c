/*
 * Two scans of one log: one runs ahead and learns from seals what is durable, the other
 * follows it so far and prints. If what the first has seen is taken away, as by a server
 * that could not sync, it begins again where the second stands.
 */
#include "offline/follow.h"

#include "base/diag.h"
#include "base/stop.h"
#include "file/files.h"
#include "log/logset.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* A log that is being read. */
struct followed {
    int fd; /* -1: there is none */
    struct mapping *mapping;
    const char *suffix;  /* of its name when it was opened; a log keeps its inode */
    struct io_info info; /* when last looked */
    struct opening opening;
    struct scan ahead;   /* as far as there are batches */
    struct scan printed; /* as far as they were printed */
    uint64_t written;    /* as far as that left this process */
    uint64_t end;        /* where its successor begins; UINT64_MAX: there is none yet */
};

struct follow {
    struct files *files;
    struct lines lines;
    struct followed log;
    struct followed next; /* what continues it, if it is there */
    uint64_t vain_looks;  /* since a batch was found */
    uint64_t torn_offset; /* where a torn tail was told of; 0: nowhere */
};

static const struct followed no_log = {.fd = -1, .end = UINT64_MAX};

/* ---- One log ---- */

static void end_log(struct followed *log)
{
    if (log->fd >= 0) {
        mapping_close(log->mapping);
        (void)io_close(log->fd); /* nothing was written */
    }
    *log = no_log;
}

static enum status tell_unread(const char *path, const char *suffix, enum status status)
{
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s%s: not enough memory to read it; giving up", path, suffix);
    } else {
        diag_error("%s%s: cannot be read; giving up", path, suffix);
    }
    return status;
}

/* The file is as long as it should be, but the disk does not give it. */
static enum status tell_lost(const struct follow *follow, const struct followed *log)
{
    diag_errorx("%s%s: a part of the log cannot be read; giving up",
                files_path(follow->files), log->suffix);
    return KV_IO;
}

/* Whether it is not the disk that keeps back what stands before this place. */
static bool is_cut(const struct followed *log, uint64_t end)
{
    struct io_info info;
    return io_inspect(log->fd, &info) == KV_OK && info.length < end;
}

/* See as much of the file as there is now. KV_IO, KV_NO_MEMORY: reported. */
static enum status look_at(const struct follow *follow, struct followed *log)
{
    enum status status = io_inspect(log->fd, &log->info);
    if (status == KV_OK && mapping_fault_count(log->mapping) > 0) {
        status = mapping_renew(log->mapping); /* it was cut, and may be longer again */
    }
    if (status == KV_OK) {
        status = mapping_cover(log->mapping, log->info.length);
    }
    if (status != KV_OK) {
        return tell_unread(files_path(follow->files), log->suffix, status);
    }
    struct slice bytes = {mapping_bytes(log->mapping), (size_t)log->info.length};
    log->ahead.log = bytes;
    log->printed.log = bytes;
    return KV_OK;
}

static enum status open_log(const struct follow *follow, const char *suffix,
                            struct followed *log)
{
    uint64_t length;
    *log = no_log;
    int fd = -1;
    enum status status = files_open_plain(follow->files, suffix, O_RDONLY, &fd);
    if (status != KV_OK) {
        return status;
    }
    status = mapping_open(fd, &log->mapping, &length);
    if (status != KV_OK) {
        (void)tell_unread(files_path(follow->files), suffix, status);
        (void)io_close(fd); /* nothing was written */
        return status;
    }
    log->fd = fd;
    log->suffix = suffix;
    return look_at(follow, log);
}

/* A file has no opening record that this program knows. */
static enum status refuse(const struct follow *follow, const struct followed *log)
{
    uint64_t at;
    const char *path = files_path(follow->files);
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

static enum status read_opening(const struct follow *follow, struct followed *log)
{
    struct slice bytes = log->ahead.log;
    if (bytes.length < OPENING_BYTES && record_begins_opening(bytes)) {
        return KV_NOT_FOUND; /* nothing, or a drained log that was cut away */
    }
    bool is_known = record_decode_opening(bytes, &log->opening) &&
                    log->opening.version <= RECORD_FORMAT_VERSION;
    if (!is_known && !mapping_is_lost(log->mapping, 0, bytes.length)) {
        return refuse(follow, log);
    }
    if (!is_known) { /* one that was cut away a moment ago is no other file */
        return is_cut(log, bytes.length) ? KV_NOT_FOUND : tell_lost(follow, log);
    }
    scan_begin(&log->ahead, bytes, log->opening.log_id);
    log->printed = log->ahead;
    log->written = log->printed.offset;
    return KV_OK;
}

/*
 * Open a log and stand at its beginning. KV_NOT_FOUND: there is none, or it does not
 * begin yet.  Other failures are reported.  Nothing is open then.
 */
static enum status begin_log(const struct follow *follow, const char *suffix,
                             struct followed *log)
{
    enum status status = open_log(follow, suffix, log);
    if (status == KV_OK) {
        status = read_opening(follow, log);
    }
    if (status != KV_OK) {
        end_log(log);
    }
    return status;
}

/* The file may have become shorter than what was read of it. */
static bool next_batch(struct scan *scan, struct batch *batch)
{
    return scan->offset <= scan->log.length && scan_next(scan, batch);
}

/* ---- Printing ---- */

static enum status put_batch(struct lines *lines, const struct batch *batch)
{
    struct record_walk walk = record_walk_begin(batch->records, batch->offset);
    enum status status = KV_OK;
    while (status == KV_OK && record_next(&walk)) {
        const struct record *record = &walk.record;
        if (record_is_mark(record)) {
            continue;
        }
        status = record_is_tombstone(record)
                     ? lines_put_delete(lines, record->key)
                     : lines_put_set(lines, record->key, record->value);
        if (status == KV_PARTIAL) {
            status = KV_OK; /* left out, and told: what follows is printed */
        }
    }
    return status;
}

/*
 * Let out what was put, if it was there still when the last of it had been copied: zeros
 * come in the place of what is cut off a file, or cannot be read.
 */
static enum status write_out(struct follow *follow)
{
    struct followed *log = &follow->log;
    uint64_t length = log->printed.offset - log->written;
    if (length == 0) {
        return KV_OK;
    }
    if (mapping_is_lost(log->mapping, log->written, length)) {
        lines_drop(&follow->lines);
        return is_cut(log, log->printed.offset) ? KV_BEHIND : tell_lost(follow, log);
    }
    log->written = log->printed.offset;
    return lines_write(&follow->lines);
}

/* Print up to a place that is known to be durable, where a batch ends. */
static enum status print_to(struct follow *follow, uint64_t end)
{
    struct followed *log = &follow->log;
    enum status status = KV_OK;
    struct batch batch;
    while (status == KV_OK && log->printed.offset < end &&
           next_batch(&log->printed, &batch)) {
        status = put_batch(&follow->lines, &batch);
        if (status == KV_OK && lines_are_many(&follow->lines)) {
            status = write_out(follow);
        }
    }
    return status;
}

/* ---- Which log follows which ---- */

static enum status tell_damaged(const struct follow *follow, const struct followed *log,
                                uint64_t offset)
{
    diag_errorx("%s%s: the log is damaged at offset %" PRIu64 "; nothing more is read",
                files_path(follow->files), log->suffix, offset);
    return KV_CORRUPT;
}

/* Whether a log says that all that is live was copied from the older one. */
static bool is_drained(const struct followed *log)
{
    struct scan scan = log->ahead;
    struct batch batch;
    while (scan.drained_id != log->opening.older_id && scan_next(&scan, &batch)) {
    }
    return scan.drained_id == log->opening.older_id;
}

static void take_next(struct follow *follow)
{
    end_log(&follow->log);
    follow->log = follow->next;
    follow->next = no_log;
}

/*
 * Open the oldest log that is wanted and, if it has one, its successor. KV_NOT_FOUND:
 * what is there does not fit together, or not yet.
 */
static enum status open_oldest(struct follow *follow)
{
    enum status status = begin_log(follow, "", &follow->next);
    if (status == KV_NOT_FOUND) { /* a compaction that had only begun */
        return begin_log(follow, FILES_OLD, &follow->log);
    }
    if (status != KV_OK || follow->next.opening.older_id == 0 ||
        is_drained(&follow->next)) {
        take_next(follow);
        return status;
    }
    status = begin_log(follow, FILES_OLD, &follow->log);
    if (status != KV_OK) {
        return status;
    }
    follow->log.end = follow->next.opening.older_length;
    bool is_its = follow->log.opening.log_id == follow->next.opening.older_id &&
                  follow->log.info.length >= follow->log.end;
    return is_its ? KV_OK : KV_NOT_FOUND;
}

/* false: nobody reads what is printed any more. */
static bool wait_a_moment(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, (int)FOLLOW_LOOK_MS) <= 0;
}

/* Not all that is wanted is there. Damage may hide that it is not wanted. */
static enum status tell_incomplete(const struct follow *follow)
{
    const struct followed *next = &follow->next;
    struct scan scan = next->ahead;
    struct batch batch;
    if (next->opening.older_id == 0) {
        diag_errorx("%s: there is no log, or an empty file; nothing was read",
                    files_path(follow->files));
        return KV_IO;
    }
    while (scan_next(&scan, &batch)) {
    }
    enum tail tail = scan_judge_tail(&scan);
    if (mapping_is_lost(next->mapping, 0, next->info.length)) {
        return tell_lost(follow, next); /* such as that it is drained */
    }
    if (tail == TAIL_CORRUPT || tail == TAIL_FOREIGN) {
        return tell_damaged(follow, next, scan.offset);
    }
    diag_errorx("%s" FILES_OLD ": is missing, or no part of this log; nothing was read",
                files_path(follow->files));
    return KV_CORRUPT;
}

/* Files may be between two names, or a drained one about to go. */
static enum status open_in_time(struct follow *follow)
{
    for (int i = 0; i < FOLLOW_OPEN_LOOKS; i++) {
        enum status status = open_oldest(follow);
        if (status != KV_NOT_FOUND) {
            return status;
        }
        if (i + 1 < FOLLOW_OPEN_LOOKS) {
            end_log(&follow->log);
            end_log(&follow->next);
            (void)wait_a_moment(); /* whoever has gone will be missed later */
        }
    }
    return tell_incomplete(follow);
}

enum status follow_open(const char *path, enum lines_format format,
                        struct follow **follow_out)
{
    struct follow *follow = malloc(sizeof *follow);
    if (follow == NULL) {
        return tell_unread(path, "", KV_NO_MEMORY);
    }
    *follow = (struct follow){.lines.format = format, .log = no_log, .next = no_log};
    enum status status = files_open_beside(path, &follow->files);
    if (status == KV_NO_MEMORY) {
        (void)tell_unread(path, "", status);
    }
    if (status == KV_OK) {
        status = open_in_time(follow);
    }
    if (status != KV_OK) {
        follow_close(follow);
        return status;
    }
    *follow_out = follow;
    return KV_OK;
}

void follow_close(struct follow *follow)
{
    if (follow == NULL) {
        return;
    }
    end_log(&follow->log);
    end_log(&follow->next);
    lines_free(&follow->lines);
    files_close(follow->files);
    free(follow);
}

/*
 * Look for the log that continues this one under a name. KV_NOT_FOUND: there is none, or
 * this one.  KV_BEHIND: another log.
 */
static enum status find_next_at(struct follow *follow, const char *suffix)
{
    struct io_info info;
    if (files_inspect(follow->files, suffix, &info) != KV_OK ||
        io_is_same_file(&info, &follow->log.info)) {
        return KV_NOT_FOUND;
    }
    enum status status = begin_log(follow, suffix, &follow->next);
    if (status == KV_OK && follow->next.opening.older_id == follow->log.opening.log_id) {
        follow->log.end = follow->next.opening.older_length;
        return KV_OK;
    }
    end_log(&follow->next);
    return status == KV_OK ? KV_BEHIND : status;
}

/* Where a second compaction has begun meanwhile, the next one has become PATH.old. */
static enum status find_next(struct follow *follow)
{
    if (follow->next.fd >= 0) {
        return KV_OK;
    }
    enum status status = find_next_at(follow, "");
    if (status != KV_BEHIND) {
        return status == KV_NOT_FOUND ? KV_OK : status;
    }
    status = find_next_at(follow, FILES_OLD);
    return status == KV_NOT_FOUND ? KV_BEHIND : status;
}

/* ---- Looking ---- */

/* What the scan that runs ahead has seen may have been taken back since. */
static void check_ahead(struct followed *log)
{
    struct scan there = log->printed;
    if (!scan_go_to(&there, log->ahead.offset, log->ahead.chain)) {
        log->ahead = log->printed;
    }
}

/* Read on in the log, as far as it goes. */
static enum status read_on(struct follow *follow)
{
    struct followed *log = &follow->log;
    struct batch batch;
    enum status status = look_at(follow, log);
    if (status == KV_OK) {
        check_ahead(log);
        /* What could not be read when it was found to be durable may be readable now. */
        status = print_to(follow, log->ahead.durable_length);
    }
    while (status == KV_OK && next_batch(&log->ahead, &batch)) {
        follow->vain_looks = 0;
        status = print_to(follow, log->ahead.durable_length);
    }
    if (status == KV_OK && log->end != UINT64_MAX) {
        /* That it was continued proves that all of it was durable. */
        status = print_to(follow, log->end);
        bool is_short = log->info.length < log->end && log->printed.offset < log->end;
        status = status == KV_OK && is_short ? KV_BEHIND : status;
    }
    return status == KV_OK ? write_out(follow) : status;
}

/* What stands behind the last batch has been no batch for a while: as a start judges. */
static enum status judge(struct follow *follow)
{
    struct followed *log = &follow->log;
    const struct scan *scan = &log->ahead;
    bool is_shorter = scan->offset > scan->log.length;
    enum tail tail = is_shorter ? TAIL_CORRUPT : scan_judge_tail(scan);
    follow->vain_looks = 0;
    uint64_t unread = log->printed.offset;
    if (!is_shorter && mapping_is_lost(log->mapping, unread, scan->log.length - unread)) {
        return tell_lost(follow, log);
    }
    if (tail == TAIL_CORRUPT || tail == TAIL_FOREIGN) {
        return tell_damaged(follow, log, scan->offset);
    }
    if (tail == TAIL_TORN && !scan_is_at_end(scan) &&
        follow->torn_offset != scan->offset) {
        follow->torn_offset = scan->offset;
        diag_warnx("%s%s: waiting before a torn tail at offset %" PRIu64,
                   files_path(follow->files), log->suffix, scan->offset);
    }
    return KV_OK;
}

/* Read to where all that there is ends, through as many logs as there are. */
static enum status read_all(struct follow *follow)
{
    enum status status = find_next(follow);
    if (status == KV_OK) {
        status = read_on(follow);
    }
    while (status == KV_OK && follow->next.fd >= 0 &&
           follow->log.printed.offset >= follow->log.end) {
        take_next(follow);
        follow->vain_looks = 0;
        status = find_next(follow);
        if (status == KV_OK) {
            status = read_on(follow);
        }
    }
    return status;
}

enum status follow_look(struct follow *follow)
{
    enum status status = read_all(follow);
    if (status == KV_OK && ++follow->vain_looks >= FOLLOW_JUDGE_LOOKS) {
        status = judge(follow);
    }
    if (status == KV_BEHIND) {
        diag_errorx("%s: fell behind by more than a compaction, at offset %" PRIu64
                    " of a log that is gone; begin anew with an empty reader",
                    files_path(follow->files), follow->log.written);
    }
    return status;
}

uint64_t follow_place(const struct follow *follow, uint64_t *inode_out)
{
    *inode_out = follow->log.info.inode;
    return follow->log.written;
}

enum status follow_log(const char *path, enum lines_format format)
{
    struct follow *follow = NULL;
    stop_exit_cleanly();
    enum status status = follow_open(path, format, &follow);
    while (status == KV_OK) {
        status = follow_look(follow);
        if (status == KV_OK && !wait_a_moment()) {
            status = KV_NOT_FOUND;
        }
    }
    follow_close(follow);
    return status == KV_NOT_FOUND ? KV_OK : status; /* its reader has seen enough */
}
