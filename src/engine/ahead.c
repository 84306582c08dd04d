/*
 * Others who use the disk make everything take longer, and never shorter; so the least
 * that was seen is compared.
 */
#include "engine/ahead.h"

#include "base/bounds.h"

/* So many commits of each kind are compared: a few more of one would find it quicker. */
enum { APPENDED_MIN = 4, OVERWRITTEN_MIN = 8, COUNT_MAX = 8 };

static const uint64_t size_bytes_max[AHEAD_SIZES] = {4 * KIB, 64 * KIB, 512 * KIB};

static void note(struct ahead_time *time, uint64_t us)
{
    if (time->count < COUNT_MAX) {
        time->least_us = time->count == 0 || us < time->least_us ? us : time->least_us;
        time->count++;
    }
}

/* Whether commits of the size of the last one gain enough. Both kinds were seen. */
static bool pays(const struct ahead *ahead, const struct ahead_size *size)
{
    uint64_t appended_us = size->appended.least_us;
    uint64_t share_us = ahead->made.least_us * ahead->batch_bytes / MIB;
    uint64_t gain_us_min = AHEAD_GAIN_US_MIN + appended_us / AHEAD_GAIN_PART_MIN;
    return appended_us >= size->overwritten.least_us + share_us + gain_us_min;
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

static void give_up(struct ahead_size *size, uint64_t now_ms)
{
    uint64_t wait_ms = size->wait_ms == 0 ? AHEAD_TRIAL_MS_MIN : 2 * size->wait_ms;
    size->wait_ms = wait_ms < AHEAD_TRIAL_MS_MAX ? wait_ms : AHEAD_TRIAL_MS_MAX;
    size->verdict = AHEAD_IN_VAIN;
    size->until_ms = now_ms + size->wait_ms;
}

/* A verdict holds for a while; then it is found out anew. */
static void judge(struct ahead *ahead, struct ahead_size *size, uint64_t now_ms)
{
    bool is_seen = size->overwritten.count >= OVERWRITTEN_MIN &&
                   size->appended.count >= APPENDED_MIN;
    if (size->verdict != AHEAD_UNKNOWN) {
        if (now_ms >= size->until_ms) {
            *size = (struct ahead_size){.wait_ms = size->wait_ms};
            ahead->made.count = 0;
        }
    } else if (is_seen && pays(ahead, size)) {
        size->verdict = AHEAD_PAYS;
        size->until_ms = now_ms + AHEAD_TRIAL_MS_MAX;
        size->wait_ms = 0;
    } else if (is_seen || size->tried_bytes >= AHEAD_TRIAL_BYTES_MAX) {
        give_up(size, now_ms);
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

/*
 * Pieces grow as long as they take little more than a commit does anyway, and shrink when
 * one after another takes much more.
 */
void ahead_note_made(struct ahead *ahead, uint64_t bytes, uint64_t us)
{
    struct ahead_size *size = &ahead->sizes[ahead->size];
    uint64_t commit_us = size->appended.least_us;
    bool was_slow = ahead->was_slow;
    ahead->was_slow = us > commit_us + 2 * AHEAD_PIECE_US;
    if (us <= commit_us + AHEAD_PIECE_US) {
        uint64_t more = bytes < AHEAD_PIECE_BYTES_MAX ? 2 * bytes : bytes;
        ahead->piece_bytes = more > ahead->piece_bytes ? more : ahead->piece_bytes;
    } else if (ahead->was_slow && was_slow && bytes > AHEAD_PIECE_BYTES_MIN) {
        ahead->piece_bytes = bytes / 2;
    }
    note(&ahead->made, us * MIB / bytes);
    size->tried_bytes += size->verdict == AHEAD_UNKNOWN ? bytes : 0;
}

void ahead_note_failed(struct ahead *ahead, uint64_t now_ms)
{
    ahead->retry_ms = now_ms + AHEAD_RETRY_MS;
}

/* For a trial, what it takes; else for what was committed lately. */
static uint64_t needed_bytes(const struct ahead *ahead, bool is_proved)
{
    uint64_t needed = is_proved ? ahead->previous_bytes + ahead->window_bytes
                                : (OVERWRITTEN_MIN + 2) * ahead->batch_bytes;
    needed = needed < AHEAD_BYTES_MAX ? needed : AHEAD_BYTES_MAX;
    return needed > 2 * AHEAD_PIECE_BYTES_MIN ? needed : 2 * AHEAD_PIECE_BYTES_MIN;
}

/* The largest piece that fits below `most`. */
static uint64_t fitting_piece(const struct ahead *ahead, uint64_t there, uint64_t most)
{
    uint64_t piece = ahead->piece_bytes > AHEAD_PIECE_BYTES_MIN ? ahead->piece_bytes
                                                                : AHEAD_PIECE_BYTES_MIN;
    while (there + piece > most && piece > AHEAD_PIECE_BYTES_MIN) {
        piece /= 2;
    }
    return there + piece <= most ? piece : 0;
}

uint64_t ahead_wanted(const struct ahead *ahead, const struct ahead_limits *limits,
                      uint64_t now_ms)
{
    if (ahead->size == AHEAD_SIZES || now_ms < ahead->retry_ms) {
        return 0;
    }
    const struct ahead_size *size = &ahead->sizes[ahead->size];
    if (size->verdict == AHEAD_IN_VAIN || size->appended.count < APPENDED_MIN ||
        size->appended.least_us < AHEAD_APPENDED_US_MIN) {
        return 0;
    }
    bool is_proved = size->verdict == AHEAD_PAYS;
    uint64_t needed = needed_bytes(ahead, is_proved);
    uint64_t kept = is_proved ? limits->kept_bytes : 0;
    uint64_t most = needed + kept;
    most = most < limits->usable_bytes ? most : limits->usable_bytes;
    /* Not for each few bytes that were used up, which would make for small pieces. */
    return limits->there_bytes <= kept + needed / 2
               ? fitting_piece(ahead, limits->there_bytes, most)
               : 0;
}
