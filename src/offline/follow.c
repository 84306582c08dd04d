/*
 * Two scans of one log: one runs ahead and learns from seals what is durable, the other
 * follows it so far and prints. If what the first has seen is taken away, as by a server
 * that could not sync, it begins again where the second stands.
 */
#include "offline/follow.h"

#include "base/diag.h"
#include "base/stop.h"
#include "file/files.h"
#include "offline/followed.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

struct follow {
    struct files *files;
    struct lines lines;
    struct followed log;
    struct followed next; /* what continues it, if it is there */
    uint64_t vain_looks;  /* since a batch was found */
    uint64_t torn_offset; /* where a torn tail was told of; 0: nowhere */
};

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
        return followed_is_cut(log, log->printed.offset) ? KV_BEHIND
                                                         : followed_tell_lost(log);
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
           followed_next(&log->printed, &batch)) {
        status = put_batch(&follow->lines, &batch);
        if (status == KV_OK && lines_are_many(&follow->lines)) {
            status = write_out(follow);
        }
    }
    return status;
}

/* ---- Which log follows which ---- */

static void take_next(struct follow *follow)
{
    followed_end(&follow->log);
    follow->log = follow->next;
    follow->next = followed_none();
}

/*
 * Open the oldest log that is wanted and, if it has one, its successor. KV_NOT_FOUND:
 * what is there does not fit together, or not yet.
 */
static enum status open_oldest(struct follow *follow)
{
    enum status status = followed_begin(follow->files, "", &follow->next);
    if (status == KV_NOT_FOUND) { /* a compaction that had only begun */
        return followed_begin(follow->files, FILES_OLD, &follow->log);
    }
    if (status != KV_OK || follow->next.opening.older_id == 0 ||
        followed_is_drained(&follow->next)) {
        take_next(follow);
        return status;
    }
    status = followed_begin(follow->files, FILES_OLD, &follow->log);
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
        return followed_tell_lost(next); /* such as that it is drained */
    }
    if (tail == TAIL_CORRUPT || tail == TAIL_FOREIGN) {
        return followed_tell_damaged(next, scan.offset);
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
            followed_end(&follow->log);
            followed_end(&follow->next);
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
        (void)followed_tell_unread(path, "", KV_NO_MEMORY);
        return KV_NO_MEMORY;
    }
    *follow = (struct follow){
        .lines.format = format, .log = followed_none(), .next = followed_none()};
    enum status status = files_open_beside(path, &follow->files);
    if (status == KV_NO_MEMORY) {
        (void)followed_tell_unread(path, "", status);
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
    followed_end(&follow->log);
    followed_end(&follow->next);
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
    enum status status = followed_begin(follow->files, suffix, &follow->next);
    if (status == KV_OK && follow->next.opening.older_id == follow->log.opening.log_id) {
        follow->log.end = follow->next.opening.older_length;
        return KV_OK;
    }
    followed_end(&follow->next);
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
    enum status status = followed_look(log);
    if (status == KV_OK) {
        check_ahead(log);
        /* What could not be read when it was found to be durable may be readable now. */
        status = print_to(follow, log->ahead.durable_length);
    }
    while (status == KV_OK && followed_next(&log->ahead, &batch)) {
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
        return followed_tell_lost(log);
    }
    if (tail == TAIL_CORRUPT || tail == TAIL_FOREIGN) {
        return followed_tell_damaged(log, scan->offset);
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
