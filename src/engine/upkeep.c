/*
 * Deadlines for what must be done, pace for what can wait.
 */
#include "engine/upkeep.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"
#include "engine/recover.h"
#include "engine/snapshot.h"
#include "engine/worth.h"
#include "file/room.h"

#include <assert.h>

static struct keydir *keydir_of(const struct upkeep *upkeep)
{
    return upkeep->transaction->keydir;
}

static struct log *log_of(const struct upkeep *upkeep)
{
    return keydir_log(keydir_of(upkeep));
}

static const struct files *files_of(const struct upkeep *upkeep)
{
    return upkeep->compaction.files;
}

void upkeep_init(struct upkeep *upkeep, const struct files *files,
                 struct transaction *transaction, const struct recovery *recovery)
{
    bool is_at_rest = recovery->is_at_rest; /* else a crash took the second seal */
    *upkeep = (struct upkeep){
        .transaction = transaction,
        .image =
            {
                .length = recovery->snapshot_length,
                .tried_length = recovery->snapshot_length,
                .pace = {.growth_bytes_min = IMAGE_GROWTH_BYTES_MIN,
                         .growth_factor = IMAGE_GROWTH_FACTOR,
                         .piece_bytes_min = IMAGE_PIECE_BYTES_MIN,
                         .piece_bytes_max = IMAGE_PIECE_BYTES_MAX},
            },
        .sync_due_ms = CLOCK_NEVER,
        .seal_due_ms = is_at_rest ? CLOCK_NEVER : clock_now_ms() + SECOND_SEAL_MS,
    };
    compact_init(&upkeep->compaction, files, transaction);
}

/* None is saved until the log has grown again; the one of before stays. */
static void give_up_image(struct upkeep *upkeep)
{
    if (upkeep->image.writer != NULL) {
        snapshot_abort(upkeep->image.writer, &upkeep->waste);
        upkeep->image.writer = NULL;
    }
    upkeep->image.tried_length = log_length(log_of(upkeep));
    upkeep->image.is_wanted = false;
}

/* Something else wants the disk, or the log is about to end. */
static void abort_image(struct upkeep *upkeep)
{
    if (upkeep->image.writer != NULL) {
        give_up_image(upkeep);
    }
}

/* A fatal failure is for ever: nobody may build on a log whose state is unknown. */
static enum status note_failure(struct upkeep *upkeep, enum status status)
{
    if (status == KV_FATAL) {
        upkeep->has_failed = true;
    }
    return status;
}

enum status upkeep_sync(struct upkeep *upkeep)
{
    upkeep->sync_due_ms = CLOCK_NEVER;
    return upkeep->has_failed ? KV_FATAL : note_failure(upkeep, log_sync(log_of(upkeep)));
}

/* Something was written: it wants a sync, if it has none yet, and a second seal. */
static void note_written(struct upkeep *upkeep)
{
    uint64_t now_ms = clock_now_ms();
    if (now_ms >= upkeep->look_due_ms) {
        log_look_again(log_of(upkeep));
        upkeep->look_due_ms = now_ms + ROOM_LOOK_MS;
    }
    if (!upkeep->transaction->is_durable && upkeep->sync_due_ms == CLOCK_NEVER) {
        upkeep->sync_due_ms = now_ms + SYNC_LAG_MS_MAX;
    }
    upkeep->seal_due_ms = now_ms + SECOND_SEAL_MS;
}

/*
 * The batch replaced the last damaged record of the older log. No start would read that
 * log, so before the batch is answered it must not be wanted any more.
 */
static enum status end_mended(struct upkeep *upkeep)
{
    if (!compact_is_mended(&upkeep->compaction)) {
        return KV_OK;
    }
    enum status status = note_failure(upkeep, compact_step(&upkeep->compaction));
    return status == KV_FATAL ? status : KV_OK; /* else it is tried again in time */
}

/* Commit, and see what it takes. A sync that comes later is shared by many batches, and
 * space ahead would save none of them anything. */
static enum status commit_measured(struct upkeep *upkeep)
{
    const struct log *log = log_of(upkeep);
    if (!upkeep->transaction->is_durable) {
        return transaction_commit(upkeep->transaction);
    }
    uint64_t start = log_length(log);
    uint64_t file_length = start + log_ahead_bytes(log);
    uint64_t start_us = clock_now_us();
    enum status status = transaction_commit(upkeep->transaction);
    uint64_t end_us = clock_now_us();
    if (status == KV_OK) {
        struct ahead_commit commit = {
            .bytes = log_length(log) - start,
            .us = end_us - start_us,
            .is_overwrite = log_length(log) + log_ahead_bytes(log) == file_length,
        };
        ahead_note_commit(&upkeep->ahead, &commit, end_us / 1000);
    }
    return status;
}

enum status upkeep_commit(struct upkeep *upkeep)
{
    if (upkeep->has_failed) {
        return KV_FATAL;
    }
    uint64_t staged_bytes = log_staged_bytes(log_of(upkeep));
    enum status status = note_failure(upkeep, commit_measured(upkeep));
    if (status == KV_NO_SPACE) {
        abort_image(upkeep); /* a hint, which may hold the room that is missing */
    }
    if (status != KV_OK) {
        return status;
    }
    upkeep->pace.written_bytes += staged_bytes;
    note_written(upkeep);
    return end_mended(upkeep);
}

/* Follow the last batch by another seal, which says that the batch is durable. */
static enum status seal_again(struct upkeep *upkeep)
{
    if (upkeep->seal_due_ms == CLOCK_NEVER) {
        return KV_OK;
    }
    enum status status = upkeep_sync(upkeep);
    log_look_again(log_of(upkeep));
    if (status == KV_OK) { /* of nothing, which makes a seal */
        status = note_failure(upkeep, transaction_commit(upkeep->transaction));
    }
    if (status == KV_OK) {
        status = upkeep_sync(upkeep);
    }
    /* Without room for a seal it is tried again. */
    upkeep->seal_due_ms = status == KV_OK ? CLOCK_NEVER : clock_now_ms() + SECOND_SEAL_MS;
    return status;
}

/*
 * An image must leave the room that is kept for deletions, and while it is served what
 * commands will write, or be left out: it is a hint. What is ahead of the log is kept
 * already.
 */
static bool has_room_for_image(const struct upkeep *upkeep, uint64_t factor)
{
    const struct snapshot_writer *writer = upkeep->image.writer;
    uint64_t written = writer == NULL ? 0 : snapshot_length(writer);
    uint64_t length = snapshot_length_of(keydir_of(upkeep));
    uint64_t left_bytes = length > written ? length - written : 0;
    struct io_space space = room_measure(files_of(upkeep), written);
    uint64_t kept_bytes = room_kept(&space, ROOM_KEPT_BYTES);
    uint64_t ahead_bytes = log_ahead_bytes(log_of(upkeep));
    kept_bytes -= ahead_bytes < kept_bytes ? ahead_bytes : kept_bytes;
    return space.free_bytes >= left_bytes * factor + kept_bytes;
}

/* Put the image in place, behind everything that its entries point at. */
static enum status finish_image(struct upkeep *upkeep)
{
    struct snapshot_writer *writer = upkeep->image.writer;
    uint64_t covered = snapshot_covered(writer);
    enum status status = upkeep_sync(upkeep);
    if (status != KV_OK) {
        return status;
    }
    upkeep->image.writer = NULL;
    status = snapshot_finish(writer, &upkeep->waste);
    if (status == KV_OK) {
        upkeep->image.length = covered;
        upkeep->image.is_wanted = false;
    }
    return status == KV_FATAL ? KV_IO
                              : status; /* whichever image a start finds is right */
}

/* Begin an image, or write a piece of it. KV_NOT_FOUND: all of it is written. */
static enum status begin_or_go_on(struct upkeep *upkeep, bool is_served)
{
    const struct image_pace *pace = &upkeep->image.pace;
    uint64_t bytes = is_served ? upkeep->pace.written_bytes : pace->piece_bytes_max;
    if (upkeep->image.writer == NULL) {
        upkeep->image.tried_length = log_length(log_of(upkeep));
        return snapshot_begin(files_of(upkeep), keydir_of(upkeep), &upkeep->image.writer);
    }
    bytes = bytes < pace->piece_bytes_min ? pace->piece_bytes_min : bytes;
    bytes = bytes > pace->piece_bytes_max ? pace->piece_bytes_max : bytes;
    return snapshot_step(upkeep->image.writer, bytes,
                         is_served ? pace->piece_bytes_max : 0);
}

/*
 * Begin an image, write one piece of it, or put it in place. It is a hint: why one could
 * not be saved is told once, until one is, and at the end; it harms nothing. A sync that
 * fails is noted as ever.
 */
static void advance_image(struct upkeep *upkeep, bool is_served)
{
    if (!has_room_for_image(upkeep, is_served ? IMAGE_ROOM_FACTOR : 1)) {
        give_up_image(upkeep);
        return;
    }
    diag_hold();
    enum status status = begin_or_go_on(upkeep, is_served);
    if (status == KV_NOT_FOUND) {
        status = finish_image(upkeep);
    }
    diag_release(!upkeep->image.has_told || !is_served || status == KV_FATAL);
    if (status != KV_OK) {
        upkeep->image.has_told = true;
        give_up_image(upkeep);
    } else if (upkeep->image.writer == NULL) {
        upkeep->image.has_told = false;
    }
}

static enum status step_image(struct upkeep *upkeep)
{
    advance_image(upkeep, true);
    return KV_OK;
}

static void drop_image(struct upkeep *upkeep)
{
    snapshot_remove(files_of(upkeep), &upkeep->waste);
    upkeep->image.length = 0;
    upkeep->image.is_wanted = false;
}

/*
 * Begin with everything durable and followed by a seal. Where there is no room for that
 * one, the log that is made says as well how much of this one had been durable.
 */
static enum status begin_compaction(struct upkeep *upkeep)
{
    enum status status = seal_again(upkeep);
    upkeep->compaction.retry_ms = COMPACT_RETRY_MS;
    if (status != KV_OK && status != KV_NO_SPACE) {
        return status;
    }
    abort_image(upkeep); /* it is of a log that is about to end */
    status = note_failure(upkeep, log_cut_ahead(log_of(upkeep)));
    if (status != KV_OK) {
        return status;
    }
    status = compact_begin(&upkeep->compaction);
    if (status == KV_NO_SPACE && upkeep->image.length > 0) {
        drop_image(upkeep); /* a hint, which may hold just the room that is missing */
        status = compact_begin(&upkeep->compaction);
    }
    status = note_failure(upkeep, status);
    if (status == KV_OK) {
        drop_image(upkeep);
        upkeep->image.tried_length = 0; /* another log has begun */
    }
    upkeep->pace.earliest_us = 0;
    upkeep->pace.retry_us = 0;
    upkeep->pace.written_bytes = 0;
    return status;
}

enum status upkeep_compact(struct upkeep *upkeep)
{
    if (upkeep->has_failed) {
        return KV_FATAL;
    }
    if (keydir_older_log(keydir_of(upkeep)) == NULL) {
        return begin_compaction(upkeep);
    }
    if (upkeep->compaction.is_waiting) {
        upkeep->pace.retry_us = 0; /* whoever asks may have mended the disk */
    }
    return compact_has_work(&upkeep->compaction) ? KV_OK : KV_CORRUPT;
}

static enum status step_compaction(struct upkeep *upkeep)
{
    enum status status = note_failure(upkeep, compact_step(&upkeep->compaction));
    if (status == KV_OK) {
        note_written(upkeep);
    }
    upkeep->image.is_wanted = keydir_older_log(keydir_of(upkeep)) == NULL;
    return status;
}

/* How much of the space ahead is kept when the disk is full. */
static uint64_t kept_ahead(const struct upkeep *upkeep)
{
    const struct io_space *space = log_space(log_of(upkeep));
    return space == NULL ? 0 : room_kept(space, ROOM_KEPT_BYTES);
}

static uint64_t wanted_ahead(const struct upkeep *upkeep)
{
    struct ahead_limits limits = {
        .there_bytes = log_ahead_bytes(log_of(upkeep)),
        .kept_bytes = kept_ahead(upkeep),
        .usable_bytes = worth_bytes_until(keydir_of(upkeep)),
    };
    return ahead_wanted(&upkeep->ahead, &limits, clock_now_ms());
}

/* Make a piece of space ahead, where that leaves the room that is kept to others. */
static enum status step_ahead(struct upkeep *upkeep)
{
    struct log *log = log_of(upkeep);
    uint64_t bytes = wanted_ahead(upkeep);
    uint64_t start_us = clock_now_us();
    enum status status = KV_NO_SPACE;
    if (log_has_room(log, log_ahead_bytes(log) + bytes, ROOM_KEPT_BYTES)) {
        status = note_failure(upkeep, log_make_ahead(log, bytes));
    }
    uint64_t end_us = clock_now_us();
    if (status == KV_OK) {
        ahead_note_made(&upkeep->ahead, bytes, end_us - start_us);
    } else {
        ahead_note_failed(&upkeep->ahead, end_us / 1000);
        log_look_again(log);
    }
    return KV_OK; /* batches are appended without it; what ends all is noted */
}

/* Whether one is being taken, or the log has grown enough since the last. */
static bool is_image_due(const struct upkeep *upkeep)
{
    uint64_t grown = log_length(log_of(upkeep)) - upkeep->image.tried_length;
    if (upkeep->image.writer != NULL) {
        return true;
    }
    return keydir_older_log(keydir_of(upkeep)) == NULL &&
           grown >= upkeep->image.pace.growth_bytes_min &&
           grown >=
               upkeep->image.pace.growth_factor * snapshot_length_of(keydir_of(upkeep));
}

static enum status step_waste(struct upkeep *upkeep)
{
    waste_step(&upkeep->waste);
    return KV_OK;
}

typedef enum status step(struct upkeep *upkeep);

/* What there is to do besides syncs and seals, the most wanted first; or NULL. */
static step *next_step(const struct upkeep *upkeep, enum leisure leisure)
{
    bool is_long = log_length(log_of(upkeep)) >= SNAPSHOT_LOG_BYTES_MIN;
    if (leisure == LEISURE_NONE) {
        return NULL;
    }
    if (upkeep->waste.count > 0) {
        return step_waste;
    }
    if (compact_has_work(&upkeep->compaction)) {
        return step_compaction;
    }
    if (worth_beginning(keydir_of(upkeep), upkeep->transaction->is_full)) {
        return begin_compaction; /* which would make an image of this log useless */
    }
    if (is_image_due(upkeep) ||
        (upkeep->image.is_wanted && (is_long || leisure == LEISURE_ALL))) {
        return step_image;
    }
    return wanted_ahead(upkeep) > 0 ? step_ahead : NULL;
}

/* When that may be done, in microseconds; CLOCK_NEVER: there is nothing. */
static uint64_t step_due_us(const struct upkeep *upkeep, enum leisure leisure)
{
    step *next = next_step(upkeep, leisure);
    if (next == NULL) {
        return CLOCK_NEVER;
    }
    if (upkeep->pace.retry_us != 0) {
        return upkeep->pace.retry_us;
    }
    uint64_t share =
        next == step_image ? upkeep->image.pace.piece_bytes_min : COMPACT_SLICE_BYTES;
    bool is_free = leisure == LEISURE_ALL || upkeep->pace.written_bytes >= share;
    uint64_t earliest_us = is_free ? 0 : upkeep->pace.earliest_us;
    uint64_t kept_us =
        next == step_compaction ? compact_due_ms(&upkeep->compaction) * 1000 : 0;
    return kept_us > earliest_us ? kept_us : earliest_us;
}

uint64_t upkeep_due_ms(const struct upkeep *upkeep, enum leisure leisure)
{
    uint64_t step_us = step_due_us(upkeep, leisure);
    uint64_t step_ms = step_us == CLOCK_NEVER ? CLOCK_NEVER : (step_us + 999) / 1000;
    return clock_earlier(step_ms,
                         clock_earlier(upkeep->sync_due_ms, upkeep->seal_due_ms));
}

/* Do it, and set when the next may be done. */
static void take_step(struct upkeep *upkeep, step *next)
{
    uint64_t start_us = clock_now_us();
    enum status status = next(upkeep);
    uint64_t end_us = clock_now_us();
    upkeep->pace.earliest_us = end_us + (end_us - start_us) * COMPACT_PAUSE_FACTOR;
    upkeep->pace.retry_us =
        status == KV_OK ? 0 : end_us + upkeep->compaction.retry_ms * 1000;
    upkeep->pace.written_bytes = 0;
}

enum status upkeep_run(struct upkeep *upkeep, enum leisure leisure)
{
    uint64_t now_ms = clock_now_ms();
    if (!upkeep->has_failed && upkeep->sync_due_ms <= now_ms) {
        (void)upkeep_sync(upkeep); /* what fails here and below is noted */
    }
    if (!upkeep->has_failed && upkeep->seal_due_ms <= now_ms) {
        (void)seal_again(upkeep);
    }
    if (!upkeep->has_failed && step_due_us(upkeep, leisure) <= clock_now_us()) {
        take_step(upkeep, next_step(upkeep, leisure));
    }
    return upkeep->has_failed ? KV_FATAL : KV_OK;
}

enum status upkeep_end(struct upkeep *upkeep)
{
    enum status status = upkeep->has_failed ? KV_OK : seal_again(upkeep);
    abort_image(upkeep);
    if (!upkeep->has_failed && note_failure(upkeep, log_cut_ahead(log_of(upkeep))) ==
                                   KV_FATAL) { /* else it is cut off at the next start */
        status = KV_FATAL;
    }
    if (status == KV_OK && !upkeep->has_failed) {
        upkeep->image.is_wanted = keydir_older_log(keydir_of(upkeep)) == NULL &&
                                  upkeep->image.length != log_length(log_of(upkeep));
        while (upkeep->image.is_wanted) {
            advance_image(upkeep, false); /* told if it failed */
        }
    }
    waste_drop(&upkeep->waste);
    return status;
}
