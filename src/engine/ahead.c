/*
 * Others who use the disk make everything take longer, and never shorter; so the least
 * that was seen is compared.
 */
#include "engine/ahead.h"

#include "base/bounds.h"

/* What is seen of appended commits before space is made, and of the others in a trial. */
enum { APPENDED_MIN = 3, OVERWRITTEN_MIN = 8 };

enum { PARTS_OF_US = 64 };

static const uint64_t size_bytes_max[AHEAD_SIZES] = {4 * KIB, 64 * KIB, 512 * KIB};

static void note(struct ahead_time *time, uint64_t us)
{
    if (time->count == 0 || us * PARTS_OF_US < time->parts) {
        time->parts = us * PARTS_OF_US;
    } else {
        time->parts += us - time->parts / PARTS_OF_US;
    }
    time->count++;
}

static uint64_t us_of(const struct ahead_time *time)
{
    return time->parts / PARTS_OF_US;
}

/* Whether enough was seen to say that commits of this size gain too little. */
static bool gains_nothing(const struct ahead *ahead, const struct ahead_size *size)
{
    if (size->overwritten.count < OVERWRITTEN_MIN || size->appended.count == 0) {
        return size->tried_bytes >= AHEAD_TRIAL_BYTES_MAX;
    }
    uint64_t appended_us = us_of(&size->appended);
    uint64_t share_us = us_of(&ahead->made) * ahead->batch_bytes / MIB;
    uint64_t cost_us = us_of(&size->overwritten) + share_us;
    return appended_us < cost_us + AHEAD_GAIN_US_MIN + appended_us / AHEAD_GAIN_PART_MIN;
}

static bool is_proved(const struct ahead_size *size)
{
    return size->overwritten.count >= OVERWRITTEN_MIN && size->trial_ms == 0;
}

/* Once a second of commits is over it is the one before. */
static void note_bytes(struct ahead *ahead, uint64_t bytes, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - ahead->window_ms;
    if (passed_ms >= AHEAD_WINDOW_MS) {
        ahead->previous_bytes = passed_ms < 2 * AHEAD_WINDOW_MS ? ahead->window_bytes : 0;
        ahead->window_bytes = 0;
        ahead->window_ms = now_ms;
    }
    ahead->window_bytes += bytes;
}

static void judge(struct ahead *ahead, struct ahead_size *size, uint64_t now_ms)
{
    if (size->trial_ms == 0 && gains_nothing(ahead, size)) {
        uint64_t wait_ms = size->wait_ms == 0 ? AHEAD_TRIAL_MS_MIN : 2 * size->wait_ms;
        size->wait_ms = wait_ms < AHEAD_TRIAL_MS_MAX ? wait_ms : AHEAD_TRIAL_MS_MAX;
        size->trial_ms = now_ms + size->wait_ms;
    } else if (size->trial_ms != 0 && now_ms >= size->trial_ms) {
        size->trial_ms = 0;
        size->tried_bytes = 0;
        size->overwritten.count = 0;
    } else if (size->trial_ms == 0 && size->overwritten.count > AHEAD_SETTLED_COUNT) {
        size->wait_ms = 0;
    }
}

void ahead_note_commit(struct ahead *ahead, const struct ahead_commit *commit,
                       uint64_t now_ms)
{
    note_bytes(ahead, commit->bytes, now_ms);
    ahead->batch_bytes = commit->bytes;
    ahead->size = 0;
    while (ahead->size < AHEAD_SIZES && commit->bytes > size_bytes_max[ahead->size]) {
        ahead->size++;
    }
    if (ahead->size == AHEAD_SIZES) {
        return;
    }
    struct ahead_size *size = &ahead->sizes[ahead->size];
    note(commit->is_overwrite ? &size->overwritten : &size->appended, commit->us);
    judge(ahead, size, now_ms);
}

/* Pieces grow as long as they take little more than a commit does anyway. */
void ahead_note_made(struct ahead *ahead, uint64_t bytes, uint64_t us)
{
    struct ahead_size *size = &ahead->sizes[ahead->size];
    uint64_t commit_us = us_of(&size->appended);
    if (us <= commit_us + AHEAD_PIECE_US) {
        ahead->piece_bytes = bytes < AHEAD_PIECE_BYTES_MAX ? 2 * bytes : bytes;
    } else if (us > commit_us + 2 * AHEAD_PIECE_US && bytes > AHEAD_PIECE_BYTES_MIN) {
        ahead->piece_bytes = bytes / 2;
    }
    note(&ahead->made, us * MIB / bytes);
    if (!is_proved(size)) {
        size->tried_bytes += bytes;
    }
}

void ahead_note_failed(struct ahead *ahead, uint64_t now_ms)
{
    ahead->retry_ms = now_ms + AHEAD_RETRY_MS;
}

uint64_t ahead_wanted(const struct ahead *ahead, uint64_t there_bytes,
                      uint64_t kept_bytes, uint64_t now_ms)
{
    if (ahead->size == AHEAD_SIZES || now_ms < ahead->retry_ms) {
        return 0;
    }
    const struct ahead_size *size = &ahead->sizes[ahead->size];
    if (size->trial_ms != 0 || size->appended.count < APPENDED_MIN ||
        us_of(&size->appended) < AHEAD_APPENDED_US_MIN) {
        return 0;
    }
    /* For a trial, what it takes; else for what was committed lately. */
    uint64_t needed = is_proved(size) ? ahead->previous_bytes + ahead->window_bytes
                                      : (OVERWRITTEN_MIN + 2) * ahead->batch_bytes;
    uint64_t piece = ahead->piece_bytes;
    needed = needed < AHEAD_BYTES_MAX ? needed : AHEAD_BYTES_MAX;
    needed = needed > 2 * AHEAD_PIECE_BYTES_MIN ? needed : 2 * AHEAD_PIECE_BYTES_MIN;
    while (piece > needed / 2) {
        piece /= 2;
    }
    piece = piece > AHEAD_PIECE_BYTES_MIN ? piece : AHEAD_PIECE_BYTES_MIN;
    needed += is_proved(size) ? kept_bytes : 0;
    return there_bytes + piece <= needed ? piece : 0;
}
