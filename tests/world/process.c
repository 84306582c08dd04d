/*
 * The pump: what happens next, and when.
 */
#include "world/process.h"

#include "base/bounds.h"
#include "support/bytes.h"
#include "world/beside.h"
#include "world/clock.h"
#include "world/disk.h"
#include "world/faults.h"
#include "world/mappings.h"
#include "world/others.h"
#include "world/path.h"
#include "world/small.h"
#include "world/sockets.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    SIGNALS_MAX = 32,
    IDLE_CALLS_MAX = 20000, /* without progress */
    DEATHS_MAX = 4,
    LAST_WAITS = 40, /* before a stop, when the script is over */
    DIAG_BYTES = 2048,
    DRIBBLES = 200 /* what a client sends comes in small pieces so many times */
};

sigjmp_buf process_death;
sigjmp_buf process_violation;
char violation_rule[128];
char violation_text[2048];

static struct {
    const struct plan *plan;
    size_t next;
    uint64_t hits_seen_to;  /* failed calls when the log was last looked at */
    uint64_t calls;         /* since the last event */
    uint64_t last_event_us; /* on the fair clock */
    uint64_t call_count;
    bool has_lasting; /* since the last call */
    uint64_t look_us; /* when who follows by the clock looks again */
    const struct event *deaths[DEATHS_MAX]; /* that are to come, one after another */
    size_t death_count;
    uint64_t calls_to_death; /* 0: none is to come */
    struct serving serving;
    struct serving next_serving;
    const struct event *rot;
    uint64_t digest;
    size_t cut;
    bool is_quiet;
    bool is_waiting;
    bool is_healed;
    unsigned last_waits;
    uint64_t idle_calls;
    void (*handlers[SIGNALS_MAX])(int signal_number);
    bool are_signals_held;
    int held_signal; /* the last that came meanwhile; 0: none */
    bool is_stopping;
    uint64_t stop_us;
    char diag[DIAG_BYTES];
    size_t diag_length;
    size_t diag_of_life; /* where the lines of this life begin */
} process;

/* Of a call of this run. */
struct past_call {
    enum call call;
    bool is_another_death; /* something that outlives it has happened before */
};

static struct past_call *past_calls;
static uint64_t past_capacity;

void process_begin_run(const struct plan *plan)
{
    memset(&process, 0, sizeof process);
    process.has_lasting = true;
    process.plan = plan;
    process.next_serving = plan_default_serving();
    process.next = plan_leading(plan);
    for (size_t i = 0; i < process.next; i++) {
        if (plan->events[i].kind == EVENT_SERVE) {
            process.next_serving = plan->events[i].serving;
        }
    }
    process.serving = process.next_serving;
    world_clock_begin(process.serving.tick_us);
}

void process_begin_life(void)
{
    memset(process.handlers, 0, sizeof process.handlers);
    process.serving = process.next_serving;
    process.are_signals_held = false;
    process.held_signal = 0;
    process.is_stopping = false;
    process.is_quiet = false;
    process.is_waiting = false;
    process.idle_calls = 0;
    process.last_waits = LAST_WAITS;
    process.diag_of_life = process.diag_length;
}

const struct serving *process_serving(void)
{
    return &process.serving;
}

uint64_t process_calls_us(uint64_t calls)
{
    enum { CALLS_A_SYNC = 8 };
    return calls * process.serving.tick_us +
           calls / CALLS_A_SYNC * 2 * process.serving.sync_us;
}

bool process_plan_is_over(void)
{
    return process.next >= process.plan->count;
}

void process_be_quiet(bool is_quiet)
{
    process.is_quiet = is_quiet;
}

bool process_is_waiting(void)
{
    return process.is_waiting;
}

bool process_is_quiet(void)
{
    return process.is_quiet;
}

/* ---- Digest ---- */

void process_digest(uint64_t word)
{
    process.digest = (process.digest ^ word) * UINT64_C(0x9fb21c651e98df25);
    process.digest ^= process.digest >> 32;
}

void process_digest_bytes(const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    process_digest(length);
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        process_digest(word);
    }
    for (size_t i = 0; i < length; i++) {
        process_digest(at[i]);
    }
}

uint64_t process_digest_now(void)
{
    return process.digest;
}

/* ---- Signals ---- */

void process_catch(int signal_number, void (*handler)(int signal_number))
{
    process.handlers[signal_number] = handler;
}

bool process_is_stopping(void)
{
    return process.is_stopping;
}

uint64_t process_stop_us(void)
{
    return process.stop_us;
}

void (*process_handler(int signal_number))(int)
{
    return process.handlers[signal_number];
}

static void deliver(int signal_number)
{
    if (process.are_signals_held) {
        process.held_signal = signal_number;
        return;
    }
    if (process.handlers[signal_number] == NULL) {
        siglongjmp(process_death, DEATH_KILLED); /* what the system does by itself */
    }
    if (!process.is_stopping) {
        process.is_stopping = true;
        process.stop_us = world_fair_us();
    }
    process.handlers[signal_number](signal_number);
}

void process_hold_signals(bool are_held)
{
    int signal_number = process.held_signal;
    process.are_signals_held = are_held;
    if (!are_held && signal_number != 0) {
        process.held_signal = 0;
        deliver(signal_number);
    }
}

/* ---- Events ---- */

static void apply_to_client(const struct event *event)
{
    struct client *client = sockets_client(event->client);
    bool is_its_own_affair = event->kind == EVENT_SAYS || event->kind == EVENT_COMES ||
                             event->kind == EVENT_ENDS || event->kind == EVENT_STAYS;
    if (is_its_own_affair && (client->is_small || small_is_at(event->client))) {
        return; /* such things it does by itself */
    }
    switch (event->kind) {
    case EVENT_RUNS:
        small_begin(event->client, event->number, event->text);
        break;
    case EVENT_SAYS:
        sockets_say(event->client, event->text);
        break;
    case EVENT_TAKES:
        sockets_connect(event->client);
        client->room_came_us = client->takes > 0 ? client->room_came_us : world_now_us();
        client->takes = event->number;
        break;
    case EVENT_DRIBBLES:
        sockets_connect(event->client);
        client->dribble = event->number == 0 ? 1 : event->number;
        client->dribbles_left = DRIBBLES;
        break;
    case EVENT_STAYS:
        sockets_connect(event->client);
        client->stays = true;
        break;
    case EVENT_ENDS:
        client->has_ended = true;
        break;
    case EVENT_RESETS:
        sockets_reset(event->client);
        break;
    default: /* EVENT_COMES */
        sockets_connect(event->client);
        break;
    }
}

static void lose_power(uint64_t seed)
{
    disk_lose_power(seed);
    siglongjmp(process_death, DEATH_POWER);
}

/* The first of the deaths has come, and the next one counts from here. */
static void die(void)
{
    const struct event *event = process.deaths[0];
    process.death_count--;
    memmove(process.deaths, process.deaths + 1,
            process.death_count * sizeof process.deaths[0]);
    process.calls_to_death = process.death_count > 0 ? process.deaths[0]->number : 0;
    if (event->is_power) {
        lose_power(event->bit);
    }
    siglongjmp(process_death, DEATH_KILLED);
}

static void expect_death(const struct event *event)
{
    if (process.death_count == DEATHS_MAX) {
        violation("the world is too small", "deaths");
    }
    process.deaths[process.death_count++] = event;
    if (process.death_count == 1) {
        process.calls_to_death = event->number;
    }
}

static void apply(const struct event *event)
{
    process_digest((uint64_t)event->kind);
    switch (event->kind) {
    case EVENT_SERVE:
        process.next_serving = event->serving;
        break;
    case EVENT_FAIL:
    case EVENT_CUT:
        faults_arm(&event->fault);
        break;
    case EVENT_FAULTS_END:
        faults_clear();
        break;
    case EVENT_ROOM:
        disk_set_room(event->number);
        break;
    case EVENT_SIGNAL:
        deliver((int)event->number);
        break;
    case EVENT_KILL:
        siglongjmp(process_death, DEATH_KILLED);
    case EVENT_POWER:
        lose_power(event->number);
        break;
    case EVENT_DIES:
        expect_death(event);
        break;
    case EVENT_LIES:
        disk_lie();
        break;
    case EVENT_ORIGINAL: /* too late for one */
        break;
    case EVENT_ROT:
        process.rot = event;
        break;
    case EVENT_OTHER_MOVES:
    case EVENT_OTHER_REPLACES:
    case EVENT_OTHER_CUTS:
        others_touch(event);
        break;
    case EVENT_FOLLOWER_FAILS:
        beside_fail(event->number);
        break;
    case EVENT_PATH:
        path_touch(event);
        break;
    case EVENT_UNREADABLE:
    case EVENT_FADES: {
        size_t file = disk_find_role(event->fault.role);
        if (file != DISK_NONE && disk_length(file) > 0) {
            uint64_t offset = (disk_length(file) - 1) * event->number / 1000;
            if (event->kind == EVENT_FADES) {
                mappings_fade_page(file, offset, event->bit);
            } else {
                mappings_lose_page(file, offset);
            }
        }
        break;
    }
    case EVENT_JUMP:
        world_clock_jump(event->number * 1000);
        break;
    default:
        apply_to_client(event);
        break;
    }
}

static void fire(void)
{
    const struct event *event = &process.plan->events[process.next++];
    process.calls = 0;
    process.last_event_us = world_fair_us();
    process_note_progress();
    apply(event);
}

const struct event *process_take_rot(void)
{
    const struct event *rot = process.rot;
    process.rot = NULL;
    return rot;
}

/* ---- Calls ---- */

static void fire_due(void)
{
    while (!process_plan_is_over()) {
        const struct event *event = &process.plan->events[process.next];
        if (event->after_calls == 0 || process.calls < event->after_calls) {
            return;
        }
        fire();
    }
}

/* What failed was seen to before the server waits again. */
static void look_at_log(enum call call)
{
    if (call == CALL_POLL && process.hits_seen_to != faults_hits_sum()) {
        process.hits_seen_to = faults_hits_sum();
        disk_check_log();
    }
}

/* Who follows the server looks at each of its waits, and in between; or by the clock, as
 * in truth, which is as often as the server lets it. */
static void look_beside(enum call call)
{
    uint64_t looks = process.serving.looks;
    bool is_time =
        looks > PLAN_LOOKS_MAX
            ? world_now_us() >= process.look_us
            : looks > 0 && (call == CALL_POLL || process.call_count % looks == 0);
    if (is_time) {
        process.look_us = world_now_us() + FOLLOW_LOOK_MS * 1000;
        beside_look();
    }
}

static void note_call(enum call call)
{
    if (process.call_count == past_capacity) {
        past_capacity = past_capacity * 2 + 1024;
        past_calls = resize(past_calls, (size_t)past_capacity * sizeof *past_calls);
    }
    past_calls[process.call_count++] = (struct past_call){call, process.has_lasting};
    process.has_lasting = false;
}

enum call process_past_call(uint64_t number)
{
    return past_calls[number - 1].call;
}

bool process_is_another_death(uint64_t number)
{
    return past_calls[number - 1].is_another_death;
}

void process_note_lasting(void)
{
    process.has_lasting = true;
}

int process_enter(enum call call, enum role role, uint64_t a, uint64_t b)
{
    process.cut = SIZE_MAX;
    if (process.is_quiet) {
        return beside_meets_fault();
    }
    look_beside(call);
    process.calls++;
    note_call(call);
    look_at_log(call);
    world_clock_tick();
    if (small_count > 0) {
        small_go_on();
    }
    process_digest((uint64_t)call << 8 ^ (uint64_t)role ^ a << 16 ^ b << 40);
    if (++process.idle_calls > IDLE_CALLS_MAX) {
        violation("the server spins", "%d calls brought it no further, the last: %s",
                  IDLE_CALLS_MAX, call_name(call));
    }
    fire_due();
    if (process.calls_to_death > 0 && --process.calls_to_death == 0) {
        die();
    }
    int error = faults_meet(call, role, &process.cut);
    process_digest((uint64_t)error);
    return error;
}

uint64_t process_call_count(void)
{
    return process.call_count;
}

size_t process_cut(size_t length)
{
    return length < process.cut ? length : process.cut;
}

int process_meets_fault(enum call call, enum role role)
{
    size_t cut = SIZE_MAX;
    return process.is_quiet ? beside_meets_fault() : faults_meet(call, role, &cut);
}

void process_note_progress(void)
{
    process.idle_calls = 0;
}

static void heal(void)
{
    faults_clear();
    disk_set_room(WORLD_ALL);
    sockets_heal();
    process.is_healed = true;
}

/* Bring the fair clock to a moment on it, or to the end of the wait. */
static bool pass_time(uint64_t until_us, uint64_t event_us)
{
    uint64_t now_us = world_now_us();
    uint64_t event_in_us = event_us > world_fair_us() ? event_us - world_fair_us() : 0;
    bool is_over = until_us != WORLD_ALL && until_us - now_us < event_in_us;
    world_clock_move(is_over ? until_us - now_us : event_in_us);
    process_note_progress();
    return is_over;
}

/* The time of the next event; WORLD_ALL: there is none. */
static uint64_t next_event_us(void)
{
    return process_plan_is_over()
               ? WORLD_ALL
               : process.last_event_us +
                     process.plan->events[process.next].after_ms * 1000;
}

bool process_wait(uint64_t until_us)
{
    uint64_t event_us = next_event_us();
    uint64_t small_us = small_count > 0 ? small_next_us() : WORLD_ALL;
    if (small_us < event_us) {
        if (pass_time(until_us, small_us)) {
            return true;
        }
        small_go_on_waiting();
        return false;
    }
    if (!process_plan_is_over()) {
        if (pass_time(until_us, event_us)) {
            return true;
        }
        process.is_waiting = true;
        fire();
        process.is_waiting = false;
        return false;
    }
    if (!process.is_healed) {
        heal();
        return false;
    }
    if (until_us != WORLD_ALL && (process.is_stopping || process.last_waits > 0)) {
        process.last_waits--;
        return pass_time(until_us, WORLD_ALL);
    }
    if (process.is_stopping) {
        violation("the server waits for ever, though it was told to stop", "%s",
                  process_diag());
    }
    deliver(SIGTERM);
    return false;
}

/* ---- What was seen ---- */

void violation(const char *rule, const char *format, ...)
{
    va_list arguments;
    (void)snprintf(violation_rule, sizeof violation_rule, "%s", rule);
    va_start(arguments, format);
    (void)vsnprintf(violation_text, sizeof violation_text, format, arguments);
    va_end(arguments);
    siglongjmp(process_violation, 1);
}

/* The oldest lines give way. */
void process_note_diag(const char *line, size_t length)
{
    process_digest_bytes(line, length);
    length = length < DIAG_BYTES - 1 ? length : DIAG_BYTES - 1;
    while (process.diag_length + length >= DIAG_BYTES) {
        char *lf = memchr(process.diag, '\n', process.diag_length);
        size_t dropped =
            lf == NULL ? process.diag_length : (size_t)(lf - process.diag) + 1;
        process.diag_length -= dropped;
        process.diag_of_life -=
            process.diag_of_life < dropped ? process.diag_of_life : dropped;
        memmove(process.diag, process.diag + dropped, process.diag_length);
    }
    memcpy(process.diag + process.diag_length, line, length);
    process.diag_length += length;
    process.diag[process.diag_length] = '\0';
}

const char *process_diag(void)
{
    return process.diag;
}

bool process_has_told(const char *words)
{
    return process.diag_length > 0 &&
           strstr(process.diag + process.diag_of_life, words) != NULL;
}
