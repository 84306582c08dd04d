/*
 * When to tell of progress, and in which words.
 */
#include "base/progress.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define NEVER UINT64_MAX

static struct {
    const char *verb;
    const char *path;
    const char *suffix;
    uint64_t total;
    uint64_t from;    /* NEVER: nobody has said where the work begins */
    uint64_t look_at; /* so far on, look at the clock; NEVER: no work */
    uint64_t begun_ms;
    uint64_t due_ms; /* when to tell */
    bool is_terminal;
} work = {.look_at = NEVER};

void progress_begin(const char *verb, const char *path, const char *suffix,
                    uint64_t total_bytes)
{
    uint64_t now_ms = clock_now_ms();
    progress_end();
    work.verb = verb;
    work.path = path;
    work.suffix = suffix;
    work.total = total_bytes;
    work.from = NEVER;
    work.look_at = 0;
    work.begun_ms = now_ms;
    work.is_terminal = isatty(STDERR_FILENO) == 1;
    work.due_ms = now_ms + (work.is_terminal ? PROGRESS_SHORT_MS : PROGRESS_MESSAGE_MS);
}

/* At the average rate so far; `done` is more than work.from, and time has passed. */
static void show(uint64_t done, uint64_t now_ms)
{
    char text[DIAG_LINE_BYTES_MAX];
    uint64_t total = done < work.total ? work.total : done;
    uint64_t rate = (done - work.from) * 1000 / (now_ms - work.begun_ms) + 1;
    uint64_t left_s = (total - done) / rate;
    bool is_long = left_s >= 120;
    (void)snprintf(text, sizeof text,
                   "%" PRIu64 "%% of %" PRIu64 " MiB, %" PRIu64 " MiB/s, %" PRIu64
                   " %s left: %s %s%s",
                   done * 100 / total, total / MIB, rate / MIB,
                   is_long ? left_s / 60 : left_s, is_long ? "min" : "s", work.verb,
                   work.path, work.suffix); /* it may be cut */
    if (work.is_terminal) {
        diag_show("kv-store: %s", text);
    } else {
        diag_info("%s", text);
    }
}

void progress_at(uint64_t done_bytes)
{
    if (done_bytes < work.look_at || work.look_at == NEVER) {
        return;
    }
    work.look_at = done_bytes + PROGRESS_STEP_BYTES;
    if (work.from == NEVER) {
        work.from = done_bytes;
        return;
    }
    uint64_t now_ms = clock_now_ms();
    if (now_ms >= work.due_ms) {
        show(done_bytes, now_ms);
        work.due_ms =
            now_ms + (work.is_terminal ? PROGRESS_SHOW_MS : PROGRESS_MESSAGE_MS);
    }
}

void progress_end(void)
{
    work.look_at = NEVER;
    diag_clear();
}
