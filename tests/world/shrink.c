/*
 * Leave out more and more: events, then lines of what is said, then delays, numbers and
 * lengths; until nothing more can go.
 */
#include "world/shrink.h"

#include "world/clock.h"
#include "world/process.h"
#include "world/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Past it the smallest so far has to do. */
#define SHRINK_SECONDS_MAX 20.0

struct shrinking {
    struct plan *best;
    struct plan trial;
    char rule[sizeof violation_rule];
    double end_s;
};

/* Take the trial over if it still breaks the rule; else it is the best again. */
static bool try(struct shrinking *shrinking)
{
    bool is_better = world_processor_seconds() < shrinking->end_s &&
                     !run_plan(&shrinking->trial) &&
                     strcmp(violation_rule, shrinking->rule) == 0;
    plan_copy(is_better ? shrinking->best : &shrinking->trial,
              is_better ? &shrinking->trial : shrinking->best);
    return is_better;
}

/* Runs of events of a length, from the end to the beginning. */
static bool leave_out_events(struct shrinking *shrinking)
{
    bool has_shrunk = false;
    for (size_t length = shrinking->best->count / 2; length > 0; length /= 2) {
        for (size_t end = shrinking->best->count; end > 0;) {
            size_t from = end > length ? end - length : 0;
            for (size_t i = end; i > from; i--) {
                plan_remove(&shrinking->trial, i - 1);
            }
            has_shrunk = try(shrinking) || has_shrunk;
            end = from;
            end = end < shrinking->best->count ? end : shrinking->best->count;
        }
    }
    return has_shrunk;
}

/* Where the line of a script's text that begins here ends: behind its \n. */
static size_t line_end(const char *text, size_t from)
{
    const char *lf = strstr(text + from, "\\n");
    return lf == NULL ? strlen(text) : (size_t)(lf - text) + 2;
}

static bool leave_out_bytes(struct shrinking *shrinking, size_t at, size_t from,
                            size_t to)
{
    char *text = shrinking->trial.events[at].text;
    memmove(text + from, text + to, strlen(text + to) + 1);
    return try(shrinking);
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (size_t from = 0; text[from] != '\0'; from = line_end(text, from)) {
        count++;
    }
    return count;
}

/* Runs of lines within one text. */
static bool leave_out_lines(struct shrinking *shrinking, size_t at)
{
    bool has_shrunk = false;
    for (size_t length = count_lines(shrinking->best->events[at].text); length > 0;
         length /= 2) {
        size_t from = 0;
        while (shrinking->best->events[at].text[from] != '\0') {
            const char *text = shrinking->best->events[at].text;
            size_t to = from;
            for (size_t i = 0; i < length && text[to] != '\0'; i++) {
                to = line_end(text, to);
            }
            if (leave_out_bytes(shrinking, at, from, to)) {
                has_shrunk = true;
            } else {
                from = line_end(text, from);
            }
        }
    }
    return has_shrunk;
}

/* Each number in braces: the lengths of values. */
static bool shorten_values(struct shrinking *shrinking, size_t at)
{
    bool has_shrunk = false;
    for (size_t from = 0;; from++) {
        const char *text = shrinking->best->events[at].text;
        const char *brace = strchr(text + from, '{');
        if (brace == NULL) {
            return has_shrunk;
        }
        from = (size_t)(brace - text);
        unsigned long long length = strtoull(brace + 1, NULL, 10);
        const unsigned long long tries[] = {1, length / 2, length - length / 4,
                                            length - 1};
        for (size_t i = 0; i < 4; i++) {
            if (tries[i] >= length || tries[i] == 0) {
                continue;
            }
            const char *rest = strchr(brace, '#');
            struct bytes shorter = {0};
            char number[32];
            (void)snprintf(number, sizeof number, "{%llu", tries[i]); /* it fits */
            bytes_put(&shorter, text, from);
            bytes_put(&shorter, number, strlen(number));
            bytes_put(&shorter, rest, strlen(rest) + 1);
            char **to = &shrinking->trial.events[at].text;
            *to = resize(*to, 0);
            *to = (char *)shorter.at;
            if (try(shrinking)) {
                has_shrunk = true;
                break;
            }
        }
    }
}

/* A number that means itself from `least` on. */
static bool lower(struct shrinking *shrinking, size_t at, size_t field, uint64_t least)
{
    bool has_shrunk = false;
    for (;;) {
        uint64_t number;
        const char *from = (const char *)&shrinking->best->events[at] + field;
        memcpy(&number, from, sizeof number);
        const uint64_t tries[] = {0, 1, number / 2, number - number / 4, number - 1};
        bool is_lower = false;
        for (size_t i = 0; i < 5 && !is_lower; i++) {
            bool is_small_step = tries[i] + 1 == number && number > 64;
            if (tries[i] >= number || tries[i] < least || number == WORLD_ALL ||
                is_small_step) {
                continue;
            }
            memcpy((char *)&shrinking->trial.events[at] + field, &tries[i],
                   sizeof number);
            is_lower = try(shrinking);
        }
        if (!is_lower) {
            return has_shrunk;
        }
        has_shrunk = true;
    }
}

/* Each option as it is by default. */
static bool plain_options(struct shrinking *shrinking, size_t at)
{
    bool has_shrunk = false;
    struct event *event = &shrinking->trial.events[at];
    if (event->serving.is_everysec) {
        event->serving.is_everysec = false;
        has_shrunk = try(shrinking);
    }
    for (size_t i = 0;; i++) {
        struct serving *serving = &shrinking->trial.events[at].serving;
        struct serving before = *serving;
        if (!plan_make_option_usual(serving, i)) {
            return has_shrunk;
        }
        if (memcmp(serving, &before, sizeof before) != 0) {
            has_shrunk = try(shrinking) || has_shrunk;
        }
    }
}

static bool simplify(struct shrinking *shrinking, size_t at)
{
    enum event_kind kind = shrinking->best->events[at].kind;
    bool has_shrunk = lower(shrinking, at, offsetof(struct event, after_calls), 0);
    has_shrunk = lower(shrinking, at, offsetof(struct event, after_ms), 0) || has_shrunk;
    if (kind == EVENT_FAIL || kind == EVENT_CUT) {
        size_t nth = offsetof(struct event, fault) + offsetof(struct fault, nth);
        return lower(shrinking, at, nth, 1) || has_shrunk;
    }
    if (kind == EVENT_SERVE) {
        return plain_options(shrinking, at) || has_shrunk;
    }
    /* None of these is something else: no log of the original, no death. */
    bool is_one_least = kind == EVENT_ORIGINAL || kind == EVENT_DIES ||
                        kind == EVENT_DRIBBLES || kind == EVENT_FOLLOWER_FAILS;
    has_shrunk =
        lower(shrinking, at, offsetof(struct event, number), is_one_least) || has_shrunk;
    if (kind == EVENT_SAYS) {
        has_shrunk = leave_out_lines(shrinking, at) || has_shrunk;
    }
    if (kind == EVENT_SAYS || kind == EVENT_RUNS) {
        has_shrunk = shorten_values(shrinking, at) || has_shrunk;
    }
    return has_shrunk;
}

/* What one client says in two pieces, in one. */
static bool join(struct shrinking *shrinking, size_t at)
{
    const struct event *first = &shrinking->best->events[at];
    const struct event *second = first + 1;
    if (first->kind != EVENT_SAYS || second->kind != EVENT_SAYS ||
        first->client != second->client) {
        return false;
    }
    struct bytes text = {0};
    bytes_put(&text, first->text, strlen(first->text));
    bytes_put(&text, second->text, strlen(second->text) + 1);
    char **to = &shrinking->trial.events[at].text;
    *to = resize(*to, 0);
    *to = (char *)text.at;
    plan_remove(&shrinking->trial, at + 1);
    return try(shrinking);
}

void shrink(struct plan *plan)
{
    struct shrinking shrinking = {
        .best = plan, .end_s = world_processor_seconds() + SHRINK_SECONDS_MAX};
    memcpy(shrinking.rule, violation_rule, sizeof shrinking.rule);
    plan_copy(&shrinking.trial, plan);
    bool has_shrunk = true;
    while (has_shrunk && world_processor_seconds() < shrinking.end_s) {
        has_shrunk = leave_out_events(&shrinking);
        for (size_t i = 0; i + 1 < plan->count; i++) {
            has_shrunk = join(&shrinking, i) || has_shrunk;
        }
        for (size_t i = 0; i < plan->count; i++) {
            has_shrunk = simplify(&shrinking, i) || has_shrunk;
        }
    }
    (void)run_plan(plan); /* for the text of the violation */
    plan_clear(&shrinking.trial);
    shrinking.trial.events = resize(shrinking.trial.events, 0);
}
