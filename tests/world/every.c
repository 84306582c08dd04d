/*
 * Four loops.
 */
#include "world/every.h"

#include "support/bytes.h"
#include "support/dice.h"
#include "world/faults.h"
#include "world/process.h"
#include "world/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

enum { ERRORS_MAX = 6, STATES = 16, PAIRS = 1000, FADES = 400, SECOND_DEATH_CALLS = 60 };

/* What each call may give; a cut to so many bytes counts as one. */
static const struct {
    enum call call;
    int errors[ERRORS_MAX];
    uint64_t cuts[2];
} failures[] = {
    {CALL_OPEN, {EIO, EMFILE, EINTR}, {0}},
    {CALL_OPENAT, {EIO, ENOSPC, EMFILE, EACCES, EINTR}, {0}},
    {CALL_CLOSE, {EIO}, {0}},
    {CALL_FSTAT, {EIO}, {0}},
    {CALL_PWRITE, {EIO, ENOSPC, EDQUOT, EFBIG, EINTR}, {1, 40}},
    {CALL_FTRUNCATE, {EIO, ENOSPC, EINTR}, {0}},
    {CALL_FDATASYNC, {EIO, ENOSPC, EINTR}, {0}},
    {CALL_FSYNC, {EIO, ENOSPC, EINTR}, {0}},
    {CALL_FADVISE, {EINVAL, ENOSYS}, {0}},
    {CALL_RENAMEAT, {EIO, ENOSPC, EACCES}, {0}},
    {CALL_UNLINKAT, {EIO, EROFS}, {0}},
    {CALL_FCNTL, {EIO}, {0}},
    {CALL_MMAP, {ENOMEM}, {0}},
    {CALL_FOPEN, {EMFILE}, {0}},
    {CALL_FSTATVFS, {EIO, ENOSYS}, {0}},
    {CALL_ACCEPT, {EMFILE, ECONNABORTED, EINTR}, {0}},
    {CALL_RECV, {ECONNRESET, EINTR}, {1, 40}},
    {CALL_SEND, {ECONNRESET, EPIPE, EINTR}, {1, 40}},
    {CALL_SHUTDOWN, {ECONNRESET}, {0}},
    {CALL_POLL, {EINTR}, {0}},
    {CALL_MALLOC, {ENOMEM}, {0}},
    {CALL_CALLOC, {ENOMEM}, {0}},
    {CALL_REALLOC, {ENOMEM}, {0}},
};

enum { FAILURE_COUNT = sizeof failures / sizeof failures[0] };

struct trial {
    const struct plan *script;
    struct plan *plan;
    unsigned one_of;
    uint64_t count; /* of what was to be done, done or not */
    uint64_t met[FAILURE_COUNT];
    uint64_t calls;
    uint64_t *deaths; /* the calls at which a death leaves something else than before */
    size_t death_count;
    struct dice dice;
};

/* The events come with the first calls of the first life. */
static bool run_with(struct trial *trial, const struct event *events, size_t count)
{
    plan_copy(trial->plan, trial->script);
    size_t at = plan_leading(trial->plan);
    for (size_t i = 0; i < count; i++) {
        struct event event = events[i];
        event.after_calls = 1;
        plan_insert(trial->plan, at + i, event);
    }
    return run_plan(trial->plan);
}

static bool is_wanted(struct trial *trial)
{
    return trial->count++ % trial->one_of == 0;
}

static struct event failing(size_t which, uint64_t nth, int error)
{
    return (struct event){
        .kind = EVENT_FAIL,
        .fault = {
            .call = failures[which].call, .role = ROLE_ANY, .nth = nth, .error = error}};
}

static struct event cutting(size_t which, uint64_t nth, uint64_t bytes)
{
    struct event event = failing(which, nth, 0);
    event.kind = EVENT_CUT;
    event.fault.bytes = bytes;
    return event;
}

static bool fail_call(struct trial *trial, size_t which, uint64_t nth, uint64_t *runs)
{
    for (size_t i = 0; i < ERRORS_MAX && failures[which].errors[i] != 0; i++) {
        struct event event = failing(which, nth, failures[which].errors[i]);
        for (int for_good = 0; for_good < 2; for_good++) {
            event.fault.is_sticky = for_good == 1;
            /* What is only interrupted is tried again, and never for good. */
            bool is_apt = for_good == 0 || (event.fault.error != EINTR &&
                                            event.fault.error != ECONNABORTED);
            if (is_apt && is_wanted(trial)) {
                ++*runs;
                if (!run_with(trial, &event, 1)) {
                    return false;
                }
            }
        }
    }
    for (size_t i = 0; i < 2 && failures[which].cuts[i] != 0; i++) {
        /* It falls short; or then fails, and has taken a part. */
        struct event events[2] = {cutting(which, nth, failures[which].cuts[i]),
                                  failing(which, nth + 1, failures[which].errors[0])};
        for (size_t count = 1; count <= 2; count++) {
            if (is_wanted(trial)) {
                ++*runs;
                if (!run_with(trial, events, count)) {
                    return false;
                }
            }
        }
    }
    return true;
}

static bool fail_each(struct trial *trial, uint64_t *runs)
{
    for (size_t which = 0; which < FAILURE_COUNT; which++) {
        for (uint64_t nth = 1; nth <= trial->met[which]; nth++) {
            if (!fail_call(trial, which, nth, runs)) {
                return false;
            }
        }
    }
    return true;
}

/* Whether a call of a script that meets no fault leaves something that outlives it. */
static bool is_lasting(const struct trial *trial, enum call call)
{
    bool has_room = true;
    for (size_t i = 0; i < trial->script->count; i++) {
        has_room = has_room && trial->script->events[i].kind != EVENT_ROOM;
    }
    return (call == CALL_PWRITE && has_room) || call == CALL_FTRUNCATE ||
           call == CALL_FDATASYNC || call == CALL_FSYNC || call == CALL_RENAMEAT ||
           call == CALL_SEND;
}

/* Else deaths would be left out, and only their count would tell. */
static bool are_deaths_known(const struct trial *trial)
{
    for (uint64_t number = 1; number < trial->calls; number++) {
        enum call call = process_past_call(number);
        if (is_lasting(trial, call) && !process_is_another_death(number + 1)) {
            (void)snprintf(violation_rule, sizeof violation_rule,
                           "the world does not note what outlives a death");
            (void)snprintf(violation_text, sizeof violation_text, "%s, call %" PRIu64,
                           call_name(call), number);
            return false;
        }
    }
    return true;
}

static void note_deaths(struct trial *trial)
{
    trial->deaths = resize(NULL, (size_t)(trial->calls + 1) * sizeof trial->deaths[0]);
    for (uint64_t call = 1; call <= trial->calls; call++) {
        if (process_is_another_death(call)) {
            trial->deaths[trial->death_count++] = call;
        }
    }
}

/* A kill, losses of power that leave different things, and a death amid the next start.
 */
static bool die_at_each(struct trial *trial, uint64_t *runs)
{
    for (size_t death = 0; death < trial->death_count; death++) {
        uint64_t call = trial->deaths[death];
        for (unsigned i = 0; i < STATES + 2; i++) {
            struct event events[2] = {{.kind = EVENT_DIES, .number = call}};
            events[0].is_power = i > 0;
            events[0].bit = i == 1 ? 0 : dice_next(&trial->dice) >> 32;
            events[1] = events[0];
            events[1].number = 1 + dice_below(&trial->dice, SECOND_DEATH_CALLS);
            events[0].is_power = events[0].is_power && i != STATES + 1;
            if (is_wanted(trial)) {
                ++*runs;
                if (!run_with(trial, events, i < STATES ? 1 : 2)) {
                    return false;
                }
            }
        }
    }
    return true;
}

static struct event any_failure(struct trial *trial)
{
    size_t which = (size_t)dice_below(&trial->dice, FAILURE_COUNT);
    uint64_t nth = 1 + dice_below(&trial->dice, trial->met[which] + 1);
    size_t count = 0;
    while (count < ERRORS_MAX && failures[which].errors[count] != 0) {
        count++;
    }
    return failing(which, nth, failures[which].errors[dice_below(&trial->dice, count)]);
}

static bool fail_two(struct trial *trial, uint64_t *runs)
{
    for (int i = 0; i < PAIRS; i++) {
        struct event events[2] = {any_failure(trial), any_failure(trial)};
        if (dice_below(&trial->dice, 3) == 0) {
            events[1] =
                (struct event){.kind = EVENT_DIES,
                               .number = 1 + dice_below(&trial->dice, trial->calls),
                               .is_power = true,
                               .bit = dice_next(&trial->dice) >> 32};
        }
        if (is_wanted(trial)) {
            ++*runs;
            if (!run_with(trial, events, 2)) {
                return false;
            }
        }
    }
    return true;
}

/* Between two events of the script a page begins to fade, from some check of it on. */
static bool fade_pages(struct trial *trial, uint64_t *runs)
{
    size_t first = plan_leading(trial->script);
    for (int i = 0; i < FADES; i++) {
        struct event event = {.kind = EVENT_FADES};
        size_t at =
            first + (size_t)dice_below(&trial->dice, trial->script->count - first);
        event.after_calls = 1 + dice_below(&trial->dice, 40);
        event.fault.role = dice_below(&trial->dice, 4) == 0 ? ROLE_OLD : ROLE_LOG;
        event.number = 250 * dice_below(&trial->dice, 5);
        event.bit = dice_below(&trial->dice, UINT64_C(1) << dice_below(&trial->dice, 8));
        if (is_wanted(trial)) {
            ++*runs;
            plan_copy(trial->plan, trial->script);
            plan_insert(trial->plan, at, event);
            if (!run_plan(trial->plan)) {
                return false;
            }
        }
    }
    return true;
}

bool every_try(const struct plan *script, unsigned one_of, struct plan *broken,
               struct every_figures *figures)
{
    struct trial trial = {
        .script = script, .plan = broken, .one_of = one_of, .dice = {script->count}};
    if (!run_with(&trial, NULL, 0)) {
        return false;
    }
    trial.calls = process_call_count();
    for (size_t i = 0; i < FAILURE_COUNT; i++) {
        trial.met[i] = faults_met(failures[i].call);
    }
    note_deaths(&trial);
    bool is_right = are_deaths_known(&trial) && fail_each(&trial, &figures->failures) &&
                    die_at_each(&trial, &figures->deaths) &&
                    fade_pages(&trial, &figures->fades) &&
                    fail_two(&trial, &figures->pairs);
    trial.deaths = resize(trial.deaths, 0);
    return is_right;
}
