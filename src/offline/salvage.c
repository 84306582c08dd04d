/*
 * The intact batches of both logs are gone through twice: to load them, which tells which
 * record of each key is the last, and to copy those, which tells what lies lost between.
 */
#include "offline/salvage.h"

#include "base/diag.h"
#include "base/progress.h"
#include "engine/import.h"
#include "engine/load.h"
#include "engine/snapshot.h"
#include "log/rewrite.h"

#include <inttypes.h>
#include <stdio.h>

/* One of the two logs that there may be. */
struct source {
    struct log *log;
    struct opening opening; /* all zero if it is not intact */
    struct scan start;      /* a copy of it goes through the intact batches */
    uint64_t fault_count;   /* when it had been indexed */
};

enum { OLDER, CURRENT };

struct salvage {
    struct files *files;
    struct files *new_files;
    struct source sources[2]; /* PATH.old, if there is one and it is wanted; PATH */
    struct keydir keydir;
    uint64_t lost_bytes;
    bool has_lost_more; /* of which nobody knows how much it was */
};

/*
 * Find out which log it is, from its opening record or, if that is damaged, from a seal.
 * false: there is neither.
 */
static bool identify(struct source *source)
{
    struct seal seal;
    uint64_t at = 0;
    struct slice bytes = log_bytes(source->log);
    if (record_decode_opening(bytes, &source->opening)) {
        scan_begin(&source->start, bytes, source->opening.log_id);
        source->start.skips_damage = true;
        return true;
    }
    for (; record_find_mark(bytes, at, &at); at++) {
        if (record_decode_seal(slice_after(bytes, (size_t)at), at, &seal)) {
            source->start =
                (struct scan){.log = bytes, .log_id = seal.log_id, .skips_damage = true};
            return true;
        }
    }
    return false;
}

/* How much of PATH had been durable, as far as PATH.index tells. */
static void prove_length(const struct salvage *salvage, struct source *source)
{
    if (source->opening.version != 0) {
        source->start.proved_length =
            snapshot_needed_length(salvage->files, &source->opening);
    }
}

static void close_source(struct source *source)
{
    (void)log_close(source->log); /* nothing was written */
    source->log = NULL;
}

/* Keep PATH.old only if it holds data that PATH may lack; say so where it is missing. */
static void choose_older(struct salvage *salvage)
{
    const struct opening *opening = &salvage->sources[CURRENT].opening;
    struct source *older = &salvage->sources[OLDER];
    bool names_older = opening->older_id != 0;
    bool is_unwanted = names_older && logset_is_drained(salvage->sources[CURRENT].log,
                                                        salvage->sources[CURRENT].start,
                                                        opening->older_id);
    /* A damaged opening record says nothing against it. */
    bool is_older = older->log != NULL && identify(older) &&
                    (opening->version == 0 || older->start.log_id == opening->older_id);
    if (!is_older || is_unwanted) {
        close_source(older);
    } else if (names_older) {
        older->start.proved_length = opening->older_length;
    }
    if (names_older && !is_unwanted && !is_older) {
        printf("lost whatever was only in %s" FILES_OLD
               ", which is missing or no part of this log\n",
               files_path(salvage->files));
        salvage->lost_bytes += opening->older_length;
    }
}

static void note_unreadable(struct source *source)
{
    if (source->log == NULL) {
        return;
    }
    source->fault_count = log_fault_count(source->log);
    if (source->fault_count > 0) {
        diag_warnx("%s%s: parts could not be read and count as lost",
                   log_path(source->log), log_suffix(source->log));
    }
}

static void take_older_alone(struct salvage *salvage)
{
    salvage->sources[CURRENT] = salvage->sources[OLDER];
    salvage->sources[OLDER] = (struct source){0};
}

/* Nothing in PATH can be proved, and nobody knows how long it was. */
static void give_current_up(struct salvage *salvage)
{
    struct source *current = &salvage->sources[CURRENT];
    uint64_t length = log_length(current->log);
    note_unreadable(current);
    printf("lost whatever was in %s: its %" PRIu64 " bytes hold no intact mark\n",
           files_path(salvage->files), length);
    salvage->lost_bytes += length;
    salvage->has_lost_more = true;
    close_source(current);
    take_older_alone(salvage);
}

static enum status identify_both(struct salvage *salvage)
{
    struct source *older = &salvage->sources[OLDER];
    if (identify(&salvage->sources[CURRENT])) {
        prove_length(salvage, &salvage->sources[CURRENT]);
        choose_older(salvage);
        return KV_OK;
    }
    if (older->log == NULL || !identify(older) ||
        logset_is_original(log_bytes(salvage->sources[CURRENT].log))) {
        diag_errorx("%s: holds no intact mark, so nothing in it can be proved",
                    files_path(salvage->files));
        return KV_CORRUPT;
    }
    give_current_up(salvage);
    return KV_OK;
}

static enum status open_old(struct salvage *salvage)
{
    enum status status =
        log_open(salvage->files, "", LOG_READ, &salvage->sources[CURRENT].log);
    if (status == KV_OK || status == KV_NOT_FOUND) {
        status =
            log_open(salvage->files, FILES_OLD, LOG_READ, &salvage->sources[OLDER].log);
    }
    if (status != KV_OK && status != KV_NOT_FOUND) {
        return status;
    }
    if (salvage->sources[CURRENT].log == NULL) { /* a compaction had only begun */
        take_older_alone(salvage);
    }
    if (salvage->sources[CURRENT].log == NULL) {
        diag_errorx("%s: there is no such log; nothing to salvage",
                    files_path(salvage->files));
        return KV_NOT_FOUND;
    }
    return identify_both(salvage);
}

/* Tell of bytes between two intact places, if there are any. */
static void note_lost(struct salvage *salvage, const struct source *source, uint64_t from,
                      uint64_t to)
{
    if (from == to) {
        return;
    }
    diag_clear(); /* stdout may be the same terminal */
    printf("lost %" PRIu64 " bytes from offset %" PRIu64 " to %" PRIu64 " of %s%s\n",
           to - from, from, to, log_path(source->log), log_suffix(source->log));
    salvage->lost_bytes += to - from;
}

static void tell_not_salvaged(const char *path, enum status status)
{
    diag_errorx("%s: not salvaged: %s", path, status_text(status));
}

static enum status index_source(struct salvage *salvage, const struct source *source)
{
    struct load_counts counts = {0}; /* what is kept in the end is told instead */
    struct scan scan = source->start;
    return load_log(&salvage->keydir, &scan, &counts);
}

/* The older log first, as in every start. */
static enum status index_once(struct salvage *salvage)
{
    enum status status = KV_OK;
    if (salvage->sources[OLDER].log != NULL) {
        status = index_source(salvage, &salvage->sources[OLDER]);
        keydir_push_log(&salvage->keydir, salvage->sources[CURRENT].log);
    }
    return status == KV_OK ? index_source(salvage, &salvage->sources[CURRENT]) : status;
}

/* How often reading either log has failed. */
static uint64_t count_faults(const struct salvage *salvage)
{
    uint64_t count = 0;
    for (int i = OLDER; i <= CURRENT; i++) {
        const struct log *log = salvage->sources[i].log;
        count += log == NULL ? 0 : log_fault_count(log);
    }
    return count;
}

/*
 * Once more where reading failed, with zeros instead of that from the first: it may have
 * failed between the check of a batch and the look at its keys. What cannot be read is
 * told by nobody yet.
 */
static enum status index_both(struct salvage *salvage)
{
    struct log *older = salvage->sources[OLDER].log;
    struct log *first = older != NULL ? older : salvage->sources[CURRENT].log;
    enum status status;
    uint64_t fault_count;
    do {
        fault_count = count_faults(salvage);
        keydir_destroy(&salvage->keydir);
        status = keydir_init(&salvage->keydir, first);
        if (status != KV_OK) {
            return status;
        }
        status = index_once(salvage);
    } while (status != KV_NO_MEMORY && count_faults(salvage) != fault_count);
    note_unreadable(&salvage->sources[OLDER]);
    note_unreadable(&salvage->sources[CURRENT]);
    if (status == KV_CORRUPT || status == KV_IO) {
        tell_not_salvaged(files_path(salvage->files), status);
    }
    return status;
}

static enum status copy_source(struct salvage *salvage, const struct source *source,
                               struct log *to)
{
    struct batch batch;
    struct scan scan = source->start;
    uint64_t intact_end = scan.offset;
    enum status status = KV_OK;
    if (source->log == NULL) {
        return KV_OK;
    }
    log_begin_progress(source->log, "copying", scan.log.length);
    while (status == KV_OK && scan_next(&scan, &batch)) {
        note_lost(salvage, source, intact_end, batch.offset);
        status =
            import_copy(&salvage->keydir, &batch, source == &salvage->sources[OLDER], to);
        intact_end = scan.offset;
    }
    uint64_t end = scan.log.length;
    bool is_ahead =
        scan_judge_tail(&scan) == TAIL_AHEAD && log_lost_end(source->log) <= scan.offset;
    if (status == KV_OK && !is_ahead) {
        end = scan.proved_length > end ? scan.proved_length : end; /* it was cut off */
        note_lost(salvage, source, intact_end, end);
    }
    progress_end();
    return status;
}

/*
 * Zeros that came in the place of what had been indexed must not be sealed, nor a batch
 * be left out that others rely on.
 */
static enum status check_was_copied(const struct source *source)
{
    const struct log *log = source->log;
    if (log == NULL || log_fault_count(log) == source->fault_count) {
        return KV_OK;
    }
    diag_errorx("%s%s: what was read a moment ago cannot be read any more; no new log "
                "is made",
                log_path(log), log_suffix(log));
    return KV_IO;
}

/* An older log beside the new one would be taken for a part of it. */
static enum status refuse_existing(const struct files *files)
{
    static const char *const suffixes[] = {"", FILES_OLD};
    enum status status = KV_NOT_FOUND;
    for (size_t i = 0; i < 2 && status == KV_NOT_FOUND; i++) {
        status = files_find(files, suffixes[i]);
        if (status == KV_OK) {
            diag_errorx("%s%s: is there already; salvage writes only a new log",
                        files_path(files), suffixes[i]);
            return KV_IO;
        }
    }
    return status == KV_NOT_FOUND ? KV_OK : status;
}

/* Before anything is made there, so that a mistake leaves nothing behind. */
static enum status look_at_place(const char *new_path)
{
    struct files *files = NULL;
    enum status status = files_open_to_read(new_path, &files);
    if (status == KV_OK) {
        status = refuse_existing(files);
    }
    files_close(files);
    return status;
}

static enum status write_new(struct salvage *salvage)
{
    struct log *to = NULL;
    enum status status = rewrite_begin(salvage->new_files, &to);
    if (status != KV_OK) {
        return status;
    }
    for (int i = OLDER; status == KV_OK && i <= CURRENT; i++) {
        status = copy_source(salvage, &salvage->sources[i], to);
    }
    for (int i = OLDER; status == KV_OK && i <= CURRENT; i++) {
        status = check_was_copied(&salvage->sources[i]);
    }
    return rewrite_end(salvage->new_files, to, NULL, status);
}

static enum status print_summary(const struct salvage *salvage)
{
    printf("kept %" PRIu64 " keys, %" PRIu64 " bytes\n", salvage->keydir.key_count,
           salvage->keydir.live_bytes);
    printf("lost %" PRIu64 " bytes in all\n", salvage->lost_bytes);
    if (salvage->lost_bytes > 0 || salvage->has_lost_more) {
        printf("a lost range may have held newer values of these keys, or deletions\n");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        diag_error("standard output: cannot write the summary; %s is complete",
                   files_path(salvage->new_files));
        return KV_IO;
    }
    return KV_OK;
}

static enum status run(struct salvage *salvage)
{
    enum status status = refuse_existing(salvage->new_files);
    if (status == KV_OK) {
        status = rewrite_clear(salvage->new_files);
    }
    if (status == KV_OK) {
        status = index_both(salvage);
    }
    return status == KV_OK ? write_new(salvage) : status;
}

enum status salvage_log(const char *path, const char *new_path)
{
    struct salvage salvage = {0};
    enum status status = look_at_place(new_path);
    if (status == KV_OK) {
        status = files_open_to_read(path, &salvage.files);
    }
    if (status == KV_OK) {
        status = open_old(&salvage);
    }
    if (status == KV_OK) {
        status = files_open(new_path, &salvage.new_files);
    }
    if (status == KV_OK) {
        status = run(&salvage);
    }
    if (status == KV_OK) {
        status = print_summary(&salvage);
    } else if (status == KV_NO_MEMORY) {
        tell_not_salvaged(path, status); /* others were told where they were met */
    }
    keydir_destroy(&salvage.keydir);
    close_source(&salvage.sources[OLDER]);
    close_source(&salvage.sources[CURRENT]);
    files_close(salvage.new_files);
    files_close(salvage.files);
    return status;
}
