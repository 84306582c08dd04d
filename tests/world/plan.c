/*
 * Scripts to words and back.
 */
#include "world/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINT_BYTES_MAX = 256 };

static const struct {
    int number;
    const char *name;
} errors[] = {
    {EINTR, "EINTR"},   {EIO, "EIO"},       {ENOSPC, "ENOSPC"},
    {ENOMEM, "ENOMEM"}, {EMFILE, "EMFILE"}, {ECONNRESET, "ECONNRESET"},
    {EROFS, "EROFS"},   {EDQUOT, "EDQUOT"}, {ECONNABORTED, "ECONNABORTED"},
    {EFBIG, "EFBIG"},   {EINVAL, "EINVAL"}, {ENOSYS, "ENOSYS"},
    {EACCES, "EACCES"}, {EPIPE, "EPIPE"},
};

static const char *const path_things[PATH_THINGS] = {
    [PATH_NOTHING] = "nothing",
    [PATH_DEAD] = "dead",
    [PATH_SERVER] = "server",
    [PATH_FILE] = "file",
};

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGTERM, "TERM"}, {SIGINT, "INT"}};

/* Of a server: all of them numbers. */
static const struct {
    const char *name;
    size_t offset;
} options[] = {
    {"idle", offsetof(struct serving, idle_s)},
    {"max-value", offsetof(struct serving, value_bytes_max)},
    {"processors", offsetof(struct serving, processors)},
    {"tick", offsetof(struct serving, tick_us)},
    {"sync-us", offsetof(struct serving, sync_us)},
    {"image", offsetof(struct serving, image_growth_bytes)},
    {"piece", offsetof(struct serving, image_piece_bytes)},
    {"addresses", offsetof(struct serving, address_count)},
    {"paths", offsetof(struct serving, path_count)},
    {"parts", offsetof(struct serving, part_count)},
    {"hashes", offsetof(struct serving, hash_count)},
    {"seed", offsetof(struct serving, seed)},
    {"looks", offsetof(struct serving, looks)},
};

enum {
    ERROR_COUNT = sizeof errors / sizeof errors[0],
    OPTION_COUNT = sizeof options / sizeof options[0]
};

static uint64_t option_of(const struct serving *serving, size_t option)
{
    uint64_t number;
    memcpy(&number, (const char *)serving + options[option].offset, sizeof number);
    return number;
}

static void set_option(struct serving *serving, size_t option, uint64_t number)
{
    memcpy((char *)serving + options[option].offset, &number, sizeof number);
}

struct serving plan_default_serving(void)
{
    return (struct serving){.idle_s = 10,
                            .value_bytes_max = 64 << 20,
                            .image_growth_bytes = 64 << 20,
                            .image_piece_bytes = 64 << 10,
                            .processors = 2,
                            .address_count = 1,
                            .tick_us = 5,
                            .seed = 1};
}

bool plan_make_option_usual(struct serving *serving, size_t option)
{
    const struct serving usual = plan_default_serving();
    if (option < OPTION_COUNT) {
        set_option(serving, option, option_of(&usual, option));
    }
    return option < OPTION_COUNT;
}

void plan_add(struct plan *plan, struct event event)
{
    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity * 2 + 32;
        plan->events = resize(plan->events, plan->capacity * sizeof *plan->events);
    }
    plan->events[plan->count++] = event;
}

void plan_insert(struct plan *plan, size_t at, struct event event)
{
    plan_add(plan, event);
    memmove(&plan->events[at + 1], &plan->events[at],
            (plan->count - 1 - at) * sizeof *plan->events);
    plan->events[at] = event;
}

size_t plan_leading(const struct plan *plan)
{
    size_t count = 0;
    while (count < plan->count && (plan->events[count].kind == EVENT_SERVE ||
                                   plan->events[count].kind == EVENT_ORIGINAL ||
                                   plan->events[count].kind == EVENT_LIES)) {
        count++;
    }
    return count;
}

static void drop_text(struct event *event)
{
    event->text = resize(event->text, 0);
}

void plan_remove(struct plan *plan, size_t at)
{
    drop_text(&plan->events[at]);
    plan->count--;
    memmove(&plan->events[at], &plan->events[at + 1],
            (plan->count - at) * sizeof *plan->events);
}

void plan_clear(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        drop_text(&plan->events[i]);
    }
    plan->count = 0;
}

char *plan_text(const char *text, size_t length)
{
    char *copy = resize(NULL, length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

void plan_copy(struct plan *to, const struct plan *from)
{
    plan_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        struct event event = from->events[i];
        if (event.text != NULL) {
            event.text = plan_text(event.text, strlen(event.text));
        }
        plan_add(to, event);
    }
}

/* ---- Printing ---- */

static void print(struct bytes *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print(struct bytes *text, const char *format, ...)
{
    va_list arguments;
    bytes_reserve(text, PRINT_BYTES_MAX);
    va_start(arguments, format);
    int length =
        vsnprintf((char *)text->at + text->length, PRINT_BYTES_MAX, format, arguments);
    va_end(arguments);
    text->length += (size_t)length; /* words and numbers are short */
}

static void print_number(struct bytes *text, uint64_t number)
{
    if (number == WORLD_ALL) {
        print(text, "all");
    } else {
        print(text, "%" PRIu64, number);
    }
}

static void print_serving(const struct serving *serving, struct bytes *text)
{
    const struct serving usual = plan_default_serving();
    print(text, "serve%s", serving->is_everysec ? " sync=everysec" : "");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        uint64_t number = option_of(serving, i);
        if (number != option_of(&usual, i)) {
            print(text, " %s=%" PRIu64, options[i].name, number);
        }
    }
}

static const char *error_name(int number)
{
    size_t at = 0;
    while (at + 1 < ERROR_COUNT && errors[at].number != number) {
        at++;
    }
    return errors[at].name;
}

static void print_fault(const struct event *event, struct bytes *text)
{
    const struct fault *fault = &event->fault;
    print(text, "%s %" PRIu64 " %s %s ", event->kind == EVENT_FAIL ? "fail" : "cut",
          fault->nth, call_name(fault->call), role_name(fault->role));
    if (event->kind == EVENT_FAIL) {
        print(text, "%s", error_name(fault->error));
    } else {
        print(text, "%" PRIu64, fault->bytes);
    }
    print(text, "%s", fault->is_sticky ? " for good" : "");
}

static void print_client(const struct event *event, struct bytes *text)
{
    static const char *const words[] = {
        [EVENT_SAYS] = "says ",         [EVENT_COMES] = "comes", [EVENT_TAKES] = "takes ",
        [EVENT_DRIBBLES] = "dribbles ", [EVENT_STAYS] = "stays", [EVENT_ENDS] = "ends",
        [EVENT_RESETS] = "resets",      [EVENT_RUNS] = "runs ",
    };
    print(text, "client %u %s", event->client + 1, words[event->kind]);
    if (event->kind == EVENT_SAYS) {
        bytes_put(text, event->text, strlen(event->text));
    } else if (event->kind == EVENT_TAKES || event->kind == EVENT_DRIBBLES) {
        print_number(text, event->number);
    } else if (event->kind == EVENT_RUNS) {
        print_number(text, event->number);
        print(text, " ");
        bytes_put(text, event->text, strlen(event->text));
    }
}

void plan_print(const struct event *event, struct bytes *text)
{
    if (event->after_calls > 0) {
        print(text, "+%" PRIu64 " ", event->after_calls);
    } else if (event->after_ms > 0) {
        print(text, "~%" PRIu64 " ", event->after_ms);
    }
    switch (event->kind) {
    case EVENT_SERVE:
        print_serving(&event->serving, text);
        break;
    case EVENT_FAIL:
    case EVENT_CUT:
        print_fault(event, text);
        break;
    case EVENT_FAULTS_END:
        print(text, "faults end");
        break;
    case EVENT_ROOM:
        print(text, "room ");
        print_number(text, event->number);
        break;
    case EVENT_SIGNAL:
        print(text, "signal %s", event->number == SIGTERM ? "TERM" : "INT");
        break;
    case EVENT_KILL:
        print(text, "kill");
        break;
    case EVENT_POWER:
        print(text, "power %" PRIu64, event->number);
        break;
    case EVENT_ROT:
        print(text, "rot %s %" PRIu64 " %" PRIu64, role_name(event->fault.role),
              event->number, event->bit);
        break;
    case EVENT_JUMP:
        print(text, "jump %" PRIu64, event->number);
        break;
    case EVENT_DIES:
        print(text, "dies %" PRIu64, event->number);
        if (event->is_power) {
            print(text, " power %" PRIu64, event->bit);
        }
        break;
    case EVENT_ORIGINAL:
        print(text, "original %" PRIu64, event->number);
        break;
    case EVENT_LIES:
        print(text, "lies");
        break;
    case EVENT_UNREADABLE:
    case EVENT_FADES:
        print(text, "%s %s %" PRIu64, event->kind == EVENT_FADES ? "fades" : "unreadable",
              role_name(event->fault.role), event->number);
        if (event->bit > 0) {
            print(text, " %" PRIu64, event->bit);
        }
        break;
    case EVENT_OTHER_MOVES:
    case EVENT_OTHER_REPLACES:
        print(text, "other %s", event->kind == EVENT_OTHER_MOVES ? "moves" : "replaces");
        break;
    case EVENT_OTHER_CUTS:
        print(text, "other cuts %" PRIu64, event->number);
        break;
    case EVENT_FOLLOWER_FAILS:
        print(text, "follower fails %" PRIu64, event->number);
        break;
    case EVENT_PATH:
        print(text, "path %s", path_things[event->number]);
        break;
    default:
        print_client(event, text);
        break;
    }
}

/* ---- Parsing ---- */

/* A line that is being read, word by word. */
struct reading {
    const char *rest;
    char word[PRINT_BYTES_MAX];
};

static bool next_word(struct reading *reading)
{
    int used = 0;
    reading->word[0] = '\0';
    if (sscanf(reading->rest, " %255s%n", reading->word, &used) < 1) {
        return false;
    }
    reading->rest += used;
    return true;
}

static bool is_word(const struct reading *reading, const char *word)
{
    return strcmp(reading->word, word) == 0;
}

static bool next_number(struct reading *reading, uint64_t *number_out)
{
    char *end = NULL;
    if (!next_word(reading)) {
        return false;
    }
    if (is_word(reading, "all")) {
        *number_out = WORLD_ALL;
        return true;
    }
    *number_out = strtoull(reading->word, &end, 10);
    return *end == '\0';
}

static bool parse_serving(struct reading *reading, struct event *event)
{
    event->kind = EVENT_SERVE;
    event->serving = plan_default_serving();
    struct serving *serving = &event->serving;
    while (next_word(reading)) {
        char *value = strchr(reading->word, '=');
        size_t i = 0;
        if (value == NULL) {
            return false;
        }
        *value++ = '\0';
        while (i < OPTION_COUNT && !is_word(reading, options[i].name)) {
            i++;
        }
        if (i < OPTION_COUNT) {
            set_option(serving, i, strtoull(value, NULL, 10));
        } else if (is_word(reading, "sync")) {
            serving->is_everysec = strcmp(value, "everysec") == 0;
        } else {
            return false;
        }
    }
    return serving->path_count <= 1 && serving->address_count >= 1 &&
           serving->address_count <= PLAN_ADDRESSES_MAX;
}

static bool parse_client(struct reading *reading, struct event *event)
{
    uint64_t client = 0;
    if (!next_number(reading, &client) || client < 1 || client > CLIENTS_MAX ||
        !next_word(reading)) {
        return false;
    }
    event->client = (unsigned)client - 1;
    if (is_word(reading, "says") || is_word(reading, "runs")) {
        event->kind = is_word(reading, "says") ? EVENT_SAYS : EVENT_RUNS;
        if (event->kind == EVENT_RUNS && !next_number(reading, &event->number)) {
            return false;
        }
        const char *text = reading->rest + (*reading->rest == ' ' ? 1 : 0);
        event->text = plan_text(text, strlen(text));
        return true;
    }
    if (is_word(reading, "takes") || is_word(reading, "dribbles")) {
        event->kind = is_word(reading, "takes") ? EVENT_TAKES : EVENT_DRIBBLES;
        return next_number(reading, &event->number);
    }
    event->kind = is_word(reading, "comes")    ? EVENT_COMES
                  : is_word(reading, "stays")  ? EVENT_STAYS
                  : is_word(reading, "ends")   ? EVENT_ENDS
                  : is_word(reading, "resets") ? EVENT_RESETS
                                               : EVENT_KIND_COUNT;
    return event->kind != EVENT_KIND_COUNT;
}

static bool parse_fault(struct reading *reading, struct event *event, bool is_cut)
{
    struct fault *fault = &event->fault;
    event->kind = is_cut ? EVENT_CUT : EVENT_FAIL;
    if (!next_number(reading, &fault->nth) || !next_word(reading)) {
        return false;
    }
    fault->call = call_named(reading->word);
    if (!next_word(reading)) {
        return false;
    }
    fault->role = role_named(reading->word);
    if (is_cut) {
        if (!next_number(reading, &fault->bytes)) {
            return false;
        }
    } else {
        (void)next_word(reading); /* an empty word is no error's name */
        for (size_t i = 0; i < ERROR_COUNT; i++) {
            fault->error =
                is_word(reading, errors[i].name) ? errors[i].number : fault->error;
        }
    }
    fault->is_sticky = next_word(reading) && is_word(reading, "for");
    return fault->call < CALL_COUNT && fault->role < ROLE_COUNT &&
           (is_cut || fault->error != 0);
}

static bool parse_signal(struct reading *reading, struct event *event)
{
    event->kind = EVENT_SIGNAL;
    (void)next_word(reading); /* as above */
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (is_word(reading, signals[i].name)) {
            event->number = (uint64_t)signals[i].number;
        }
    }
    return event->number != 0;
}

static bool parse_other(struct reading *reading, struct event *event)
{
    (void)next_word(reading); /* as above */
    event->kind = is_word(reading, "moves")      ? EVENT_OTHER_MOVES
                  : is_word(reading, "replaces") ? EVENT_OTHER_REPLACES
                  : is_word(reading, "cuts")     ? EVENT_OTHER_CUTS
                                                 : EVENT_KIND_COUNT;
    return event->kind != EVENT_KIND_COUNT &&
           (event->kind != EVENT_OTHER_CUTS || next_number(reading, &event->number));
}

static bool parse_path(struct reading *reading, struct event *event)
{
    (void)next_word(reading); /* as above */
    event->kind = EVENT_PATH;
    while (event->number < PATH_THINGS && !is_word(reading, path_things[event->number])) {
        event->number++;
    }
    return event->number < PATH_THINGS;
}

static bool parse_event(struct reading *reading, struct event *event)
{
    if (is_word(reading, "serve")) {
        return parse_serving(reading, event);
    }
    if (is_word(reading, "client")) {
        return parse_client(reading, event);
    }
    if (is_word(reading, "fail") || is_word(reading, "cut")) {
        return parse_fault(reading, event, is_word(reading, "cut"));
    }
    if (is_word(reading, "signal")) {
        return parse_signal(reading, event);
    }
    if (is_word(reading, "faults") || is_word(reading, "kill")) {
        event->kind = is_word(reading, "kill") ? EVENT_KILL : EVENT_FAULTS_END;
        return true;
    }
    if (is_word(reading, "other")) {
        return parse_other(reading, event);
    }
    if (is_word(reading, "follower")) {
        event->kind = EVENT_FOLLOWER_FAILS;
        return next_word(reading) && is_word(reading, "fails") &&
               next_number(reading, &event->number);
    }
    if (is_word(reading, "path")) {
        return parse_path(reading, event);
    }
    if (is_word(reading, "unreadable") || is_word(reading, "fades")) {
        event->kind = is_word(reading, "fades") ? EVENT_FADES : EVENT_UNREADABLE;
        (void)next_word(reading); /* as above */
        event->fault.role = role_named(reading->word);
        bool is_right =
            event->fault.role < ROLE_COUNT && next_number(reading, &event->number);
        (void)next_number(reading, &event->bit); /* a script may leave it out */
        return is_right;
    }
    if (is_word(reading, "rot")) {
        event->kind = EVENT_ROT;
        (void)next_word(reading); /* as above */
        event->fault.role = role_named(reading->word);
        return event->fault.role < ROLE_COUNT && next_number(reading, &event->number) &&
               next_number(reading, &event->bit);
    }
    if (is_word(reading, "lies")) {
        event->kind = EVENT_LIES;
        return true;
    }
    if (is_word(reading, "dies")) {
        event->kind = EVENT_DIES;
        bool is_right = next_number(reading, &event->number);
        event->is_power = next_word(reading) && is_word(reading, "power");
        return is_right && (!event->is_power || next_number(reading, &event->bit));
    }
    event->kind = is_word(reading, "room")       ? EVENT_ROOM
                  : is_word(reading, "power")    ? EVENT_POWER
                  : is_word(reading, "jump")     ? EVENT_JUMP
                  : is_word(reading, "original") ? EVENT_ORIGINAL
                                                 : EVENT_KIND_COUNT;
    return event->kind != EVENT_KIND_COUNT && next_number(reading, &event->number);
}

bool plan_parse(struct plan *plan, const char *line)
{
    struct event event = {0};
    struct reading reading = {.rest = line};
    if (!next_word(&reading) || reading.word[0] == '#') {
        return true;
    }
    if (reading.word[0] == '+' || reading.word[0] == '~') {
        uint64_t number = strtoull(reading.word + 1, NULL, 10);
        *(reading.word[0] == '+' ? &event.after_calls : &event.after_ms) = number;
        (void)next_word(&reading); /* an empty word is no event */
    }
    if (!parse_event(&reading, &event)) {
        return false;
    }
    plan_add(plan, event);
    return true;
}
