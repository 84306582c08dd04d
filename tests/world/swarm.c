/*
 * The dice.
 */
#include "world/swarm.h"

#include "base/bounds.h"
#include "support/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

/* What else a run may do. */
enum feature {
    MAY_CUT_LINES = LINE_FEATURES,
    MAY_CROWD, /* several clients */
    MAY_BE_SLOW,
    MAY_RESET,
    MAY_END,
    MAY_STAY,
    MAY_FILL_DISK,
    MAY_FAIL_FILES,
    MAY_FAIL_SYNCS,
    MAY_FAIL_MEMORY,
    MAY_FAIL_SOCKETS,
    MAY_CUT_CALLS,
    MAY_INTERRUPT,
    MAY_STOP,
    MAY_KILL,
    MAY_LOSE_POWER,
    MAY_ROT,
    MAY_JUMP,
    MAY_PAUSE,
    MAY_COME_BETWEEN,
    MAY_CHANGE_OPTIONS,
    MAY_BE_MANY, /* keys, and lines at once */
    MAY_INHERIT, /* a log of the original */
    MAY_SAVE,    /* images of the index, often */
    MAY_FAIL_READS,
    MAY_BE_TOUCHED, /* the log, by another process */
    MAY_FOLLOW,
    MAY_RUN_SMALL, /* kv, as clients */
    MAY_USE_PATH,  /* to listen on, which others use too */
    FEATURE_COUNT
};

struct swarm {
    struct lines lines; /* whose features are those of the run */
    struct plan *plan;
    unsigned client_count;
    unsigned client; /* who does something next */
    unsigned lines_max;
    uint64_t value_bytes_max;
    bool is_everysec;
    uint64_t idle_ms;
    bool has_long_log; /* a compaction of more than is removed at once is to come */
    bool is_narrow;    /* the index has few parts, and grows them by many keys */
    uint64_t looks;    /* of --follow */
};

static uint64_t below(struct swarm *swarm, uint64_t count)
{
    return dice_below(&swarm->lines.dice, count);
}

static bool may(const struct swarm *swarm, unsigned feature)
{
    return (swarm->lines.features >> feature & 1) != 0;
}

static bool one_in(struct swarm *swarm, uint64_t count)
{
    return below(swarm, count) == 0;
}

/* Small ones most often. */
static uint64_t small_number(struct swarm *swarm, uint64_t max)
{
    uint64_t bits = 0;
    while (max >> bits > 1) {
        bits++;
    }
    uint64_t top = (uint64_t)1 << below(swarm, bits + 1);
    return below(swarm, top < max ? top : max) + 1;
}

static void put(struct swarm *swarm, const char *text)
{
    lines_put_text(&swarm->lines, text);
}

/* ---- Events ---- */

static struct event make(struct swarm *swarm, enum event_kind kind)
{
    struct event event = {.kind = kind};
    event.client = swarm->client;
    if (may(swarm, MAY_COME_BETWEEN) && !one_in(swarm, 3)) {
        event.after_calls = small_number(swarm, 64);
    } else if (may(swarm, MAY_PAUSE) && one_in(swarm, 3)) {
        event.after_ms = small_number(swarm, one_in(swarm, 8) ? 64000 : 2000);
    }
    return event;
}

/* Cut what is said in two, between the bytes of a script. */
static size_t choose_cut(struct swarm *swarm)
{
    size_t at = (size_t)below(swarm, swarm->lines.text.length + 1);
    /* Not within an escape or a value's braces. */
    const char *text = (const char *)swarm->lines.text.at;
    size_t safe = 0;
    for (size_t i = 0; i < at;) {
        size_t step = 1;
        if (text[i] == '\\') {
            step = text[i + 1] == 'x' ? 4 : 2;
        } else if (text[i] == '{') {
            while (text[i + step - 1] != '}') {
                step++;
            }
        }
        i += step;
        safe = i <= at ? i : safe;
    }
    return safe;
}

static void say(struct swarm *swarm, unsigned client, size_t from, size_t to)
{
    struct event event = make(swarm, EVENT_SAYS);
    event.client = client;
    event.text = plan_text((const char *)swarm->lines.text.at + from, to - from);
    plan_add(swarm->plan, event);
}

static void add_lines(struct swarm *swarm)
{
    unsigned client = swarm->client;
    uint64_t count = small_number(swarm, swarm->lines_max);
    swarm->lines.text.length = 0;
    for (uint64_t i = 0; i < count; i++) {
        lines_put(&swarm->lines);
        put(swarm, one_in(swarm, 30) ? "\\r\\n" : "\\n");
    }
    size_t cut = may(swarm, MAY_CUT_LINES) && one_in(swarm, 2) ? choose_cut(swarm) : 0;
    if (cut > 0) {
        say(swarm, client, 0, cut);
    }
    say(swarm, client, cut, swarm->lines.text.length);
}

/* One that takes a part; the next, for the rest, is about to fail. */
static void add_short_write(struct swarm *swarm, struct event *failure)
{
    struct event event = *failure;
    event.kind = EVENT_CUT;
    event.fault.error = 0;
    event.fault.is_sticky = false;
    event.fault.bytes = small_number(swarm, 300);
    plan_add(swarm->plan, event);
    failure->after_calls = 0;
    failure->after_ms = 0;
    failure->fault.nth++;
}

static void add_fault(struct swarm *swarm, enum feature why)
{
    static const enum call file_calls[] = {
        CALL_OPENAT,   CALL_FSTAT,   CALL_PWRITE,   CALL_FTRUNCATE,
        CALL_FSYNC,    CALL_FADVISE, CALL_RENAMEAT, CALL_UNLINKAT,
        CALL_FSTATVFS, CALL_PWRITE,  CALL_MMAP,     CALL_CLOSE,
        CALL_OPEN,     CALL_FOPEN,   CALL_FCNTL,    CALL_LISTEN};
    static const enum call memory_calls[] = {CALL_MALLOC, CALL_CALLOC, CALL_REALLOC,
                                             CALL_REALLOC};
    static const enum call socket_calls[] = {CALL_ACCEPT, CALL_RECV, CALL_SEND,
                                             CALL_SHUTDOWN};
    static const enum call eager_calls[] = {CALL_OPENAT, CALL_PWRITE, CALL_FDATASYNC,
                                            CALL_RECV,   CALL_SEND,   CALL_POLL,
                                            CALL_ACCEPT, CALL_FSYNC,  CALL_FTRUNCATE};
    struct event event = make(swarm, EVENT_FAIL);
    struct fault *fault = &event.fault;
    *fault = (struct fault){.nth = small_number(swarm, 24), .role = ROLE_ANY};
    fault->is_sticky = one_in(swarm, 6);
    switch (why) {
    case MAY_FAIL_SYNCS:
        fault->call = CALL_FDATASYNC;
        fault->error = EIO;
        break;
    case MAY_FAIL_MEMORY:
        fault->call = memory_calls[below(swarm, 4)];
        fault->error = ENOMEM;
        break;
    case MAY_FAIL_SOCKETS:
        fault->call = socket_calls[below(swarm, 4)];
        fault->error = fault->call == CALL_ACCEPT
                           ? (one_in(swarm, 2) ? EMFILE : ECONNABORTED)
                           : ECONNRESET;
        fault->is_sticky = fault->is_sticky && fault->error != ECONNABORTED;
        break;
    case MAY_INTERRUPT:
        fault->call = eager_calls[below(swarm, 9)];
        fault->error = EINTR;
        fault->is_sticky = false;
        break;
    case MAY_CUT_CALLS:
        event.kind = EVENT_CUT;
        fault->call = eager_calls[one_in(swarm, 2) ? 1 : 3 + below(swarm, 2)];
        /* A byte at a time for good would take the clock along. */
        fault->bytes = small_number(swarm, 300) + (fault->is_sticky ? 4096 : 0);
        break;
    default:
        fault->call = file_calls[below(swarm, 16)];
        fault->error = fault->call == CALL_MMAP ? ENOMEM
                       : one_in(swarm, 2)       ? EIO
                                                : ENOSPC;
        if (fault->call == CALL_PWRITE && one_in(swarm, 2)) {
            add_short_write(swarm, &event);
        }
        break;
    }
    plan_add(swarm->plan, event);
}

static void add_room(struct swarm *swarm)
{
    struct event event = make(swarm, EVENT_ROOM);
    event.number = one_in(swarm, 3) ? WORLD_ALL : small_number(swarm, 4096) - 1;
    plan_add(swarm->plan, event);
    if (event.number != WORLD_ALL && !one_in(swarm, 4)) {
        add_lines(swarm);
        event = make(swarm, EVENT_ROOM);
        event.number = WORLD_ALL;
        plan_add(swarm->plan, event);
    }
}

/* A value that replies do not hold: what is behind it waits until it was sent. */
static void put_long_value(struct swarm *swarm)
{
    put(swarm, "SET ");
    lines_put_key(&swarm->lines);
    put(swarm, " ");
    lines_put_letters(&swarm->lines, 66000 + below(swarm, 400000), swarm->lines.kind++);
    put(swarm, "\\n");
}

/*
 * A write that finds no room, most of it about one key, and more that comes at once
 * behind it; sometimes when all that was said before has been answered, and the value
 * that the key keeps is long.
 */
static void add_refusal(struct swarm *swarm)
{
    struct event event = make(swarm, EVENT_FAIL);
    swarm->lines.dwells_on = 1 + (unsigned)below(swarm, swarm->lines.key_count);
    if (swarm->lines.is_large && one_in(swarm, 2)) {
        swarm->lines.text.length = 0;
        put_long_value(swarm);
        say(swarm, swarm->client, 0, swarm->lines.text.length);
        event.after_calls = 0;
        event.after_ms = 0;
    }
    event.fault = (struct fault){.call = CALL_PWRITE,
                                 .role = ROLE_LOG,
                                 .nth = 1,
                                 .error = one_in(swarm, 4) ? EIO : ENOSPC};
    plan_add(swarm->plan, event);
    if (swarm->lines.is_large &&
        one_in(swarm, 2)) { /* in a batch that writes and reads it */
        swarm->lines.text.length = 0;
        if (one_in(swarm, 2)) { /* and begins when what came with it has been sent */
            put(swarm, "GET ");
            lines_put_key(&swarm->lines);
            put(swarm, "\\n");
        }
        put(swarm, "SET ");
        lines_put_key(&swarm->lines);
        put(swarm, " short\\nGET ");
        lines_put_key(&swarm->lines);
        put(swarm, "\\n");
        lines_put(&swarm->lines);
        put(swarm, "\\n");
        say(swarm, swarm->client, 0, swarm->lines.text.length);
    } else {
        add_lines(swarm);
    }
    swarm->lines.dwells_on = 0;
    uint64_t more = below(swarm, 4);
    for (uint64_t i = 0; i < more; i++) {
        size_t first = swarm->plan->count;
        add_lines(swarm);
        for (size_t at = first; at < swarm->plan->count; at++) {
            swarm->plan->events[at].after_ms = 0;
            swarm->plan->events[at].after_calls = 1 + below(swarm, 12);
        }
    }
}

static struct serving choose_serving(struct swarm *swarm)
{
    static const uint64_t sizes[] = {1, 20, 1000, 70000, 400000};
    struct serving serving = plan_default_serving();
    serving.is_everysec = one_in(swarm, 3);
    serving.idle_s = one_in(swarm, 2) ? serving.idle_s : 1 + below(swarm, 4);
    swarm->idle_ms = serving.idle_s * 1000;
    swarm->is_everysec = serving.is_everysec;
    serving.processors = 1 + below(swarm, 2);
    serving.address_count =
        may(swarm, MAY_CROWD) ? 1 + below(swarm, PLAN_ADDRESSES_MAX) : 1;
    serving.path_count = may(swarm, MAY_USE_PATH) ? below(swarm, 2) : 0;
    serving.tick_us = 1 + below(swarm, 20);
    serving.seed = dice_next(&swarm->lines.dice) >> 40;
    serving.sync_us = one_in(swarm, 6) ? 0 : 30 + below(swarm, 300);
    serving.looks = swarm->looks;
    serving.value_bytes_max = swarm->value_bytes_max;
    if (may(swarm, MAY_SAVE)) {
        serving.image_growth_bytes = 50 + small_number(swarm, 4000);
        serving.image_piece_bytes = 40 + small_number(swarm, 4000);
    }
    if (swarm->value_bytes_max == 0) {
        serving.value_bytes_max = one_in(swarm, 4) ? sizes[below(swarm, 5)] : 8 << 20;
        swarm->value_bytes_max = serving.value_bytes_max;
    }
    return serving;
}

/*
 * Few parts for many keys; and few hashes, so that keys share one, but where records may
 * be damaged, or unreadable for more than a minute: those are told by their hash alone.
 */
static void choose_hashes(struct swarm *swarm, struct serving *serving)
{
    swarm->is_narrow =
        may(swarm, MAY_BE_MANY) && !swarm->lines.is_large && one_in(swarm, 4);
    if (swarm->is_narrow) {
        swarm->lines.key_count = 100 + (unsigned)below(swarm, 500);
        serving->part_count = 1 + below(swarm, 3);
    }
    bool is_told_by_hash = may(swarm, MAY_ROT) || may(swarm, MAY_BE_TOUCHED) ||
                           (may(swarm, MAY_FAIL_READS) && may(swarm, MAY_JUMP));
    if (!is_told_by_hash && one_in(swarm, 2)) {
        serving->hash_count = 1 + swarm->lines.key_count / (1 + below(swarm, 8));
    }
}

/* A thing that a client does besides talking. */
static void add_habit(struct swarm *swarm, enum event_kind kind)
{
    struct event event = make(swarm, kind);
    if (kind == EVENT_TAKES || kind == EVENT_DRIBBLES) {
        uint64_t most = swarm->lines.is_large && one_in(swarm, 2) ? 300000 : 600;
        event.number = one_in(swarm, 4) ? WORLD_ALL : small_number(swarm, most) - 1;
    }
    plan_add(swarm->plan, event);
}

static void add_plain(struct swarm *swarm, enum event_kind kind, uint64_t number)
{
    struct event event = make(swarm, kind);
    event.number = number;
    plan_add(swarm->plan, event);
}

/* The text is said by the client so much later. */
static void say_later(struct swarm *swarm, uint64_t after_ms)
{
    struct event event = {
        .kind = EVENT_SAYS, .client = swarm->client, .after_ms = after_ms};
    event.text = plan_text((const char *)swarm->lines.text.at, swarm->lines.text.length);
    plan_add(swarm->plan, event);
}

/*
 * Several who say something, or half of it, at once or when one of them has just been
 * silent for too long: turns end by the clock, and the next begin.
 */
static void add_turns(struct swarm *swarm)
{
    uint64_t count = 2 + below(swarm, 5);
    for (uint64_t i = 0; i < count; i++) {
        swarm->client = (unsigned)below(swarm, swarm->client_count);
        swarm->lines.text.length = 0;
        put(swarm, "GET ");
        lines_put_key(&swarm->lines);
        put(swarm, one_in(swarm, 2) ? "\\n" : "");
        uint64_t after_ms = 0;
        if (one_in(swarm, 3)) {
            after_ms = swarm->idle_ms / (1 + below(swarm, 3));
            after_ms += below(swarm, 20);
        }
        say_later(swarm, after_ms);
    }
}

/* One that goes on asking though it takes next to nothing, while another waits. */
static void add_asking_on(struct swarm *swarm)
{
    unsigned asker = swarm->client;
    struct event takes = make(swarm, EVENT_TAKES);
    takes.number = below(swarm, 200);
    plan_add(swarm->plan, takes);
    add_lines(swarm);
    uint64_t count = 3 + below(swarm, 8);
    uint64_t waiting = below(swarm, 3); /* who waits comes before, or amid of them */
    for (uint64_t i = 0; i < count; i++) {
        swarm->lines.text.length = 0;
        put(swarm, "GET ");
        lines_put_key(&swarm->lines);
        put(swarm, "\\n");
        if (i == waiting) {
            swarm->client = (unsigned)below(swarm, swarm->client_count);
            say_later(swarm, 0);
            swarm->client = asker;
        }
        say_later(swarm, swarm->idle_ms / (1 + below(swarm, 4)) + below(swarm, 20));
    }
}

/* A client that takes next to nothing of what it asks for, and stays when it may. */
static void add_blocked(struct swarm *swarm)
{
    add_habit(swarm, EVENT_TAKES);
    if (may(swarm, MAY_STAY)) {
        add_habit(swarm, EVENT_STAYS);
    }
    add_lines(swarm);
}

/* Most of a log that is served may be space ahead, and what is written stand before it.
 */
static void add_lost_page(struct swarm *swarm)
{
    struct event event = make(swarm, one_in(swarm, 3) ? EVENT_FADES : EVENT_UNREADABLE);
    event.fault.role = one_in(swarm, 4)   ? ROLE_OLD
                       : one_in(swarm, 6) ? ROLE_INDEX
                                          : ROLE_LOG;
    event.number = one_in(swarm, 2) ? small_number(swarm, 1000) - 1 : below(swarm, 1000);
    if (event.kind == EVENT_FADES && one_in(swarm, 2)) {
        event.bit = small_number(swarm, 300);
    }
    plan_add(swarm->plan, event);
}

/*
 * More than there is room for, behind a large value that is not taken and, perhaps, a
 * disk that does not give it any more.
 */
static void say_too_much(struct swarm *swarm)
{
    uint64_t count = 1 + below(swarm, 4);
    add_lost_page(swarm);
    swarm->lines.text.length = 0;
    for (uint64_t i = 0; i < count; i++) {
        put_long_value(swarm);
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
}

/*
 * A large value that is read slowly while a compaction copies it, and then cuts away the
 * log that it is being read from.
 */
static void add_slow_read(struct swarm *swarm)
{
    bool is_set = may(swarm, MAY_SET) && one_in(swarm, 2);
    struct event takes = make(swarm, EVENT_TAKES);
    takes.number = below(swarm, 70000);
    plan_add(swarm->plan, takes);
    swarm->lines.text.length = 0;
    if (is_set) {
        put_long_value(swarm);
    }
    put(swarm, one_in(swarm, 2) ? "COMPACT\\n" : "");
    if (one_in(swarm, 4)) {
        put(swarm, "LIST\\n");
    } else {
        put(swarm, "GET ");
        lines_put_key(&swarm->lines);
        put(swarm, "\\n");
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
    if (may(swarm, MAY_FAIL_READS) && one_in(swarm, 2)) {
        say_too_much(swarm);
    }
    uint64_t count = 1 + below(swarm, 6);
    for (uint64_t i = 0; i <= count; i++) {
        takes.number = i == count ? WORLD_ALL : below(swarm, 70000);
        takes.after_calls = 0;
        takes.after_ms = 1 + below(swarm, 600);
        plan_add(swarm->plan, takes);
    }
}

static void add_unreadable(struct swarm *swarm)
{
    add_lost_page(swarm);
    add_lines(swarm);
    if (one_in(swarm, 2)) {
        add_plain(swarm, EVENT_FAULTS_END, 0);
    }
}

static void add_rot(struct swarm *swarm)
{
    static const enum role roles[] = {ROLE_LOG, ROLE_LOG, ROLE_INDEX, ROLE_OLD};
    struct event event = make(swarm, EVENT_ROT);
    event.fault.role = roles[below(swarm, 4)];
    event.number = below(swarm, 1000);
    event.bit = below(swarm, 8);
    if (may(swarm, MAY_FAIL_READS) && one_in(swarm, 2)) {
        add_lost_page(swarm);
    }
    plan_add(swarm->plan, event);
    if (one_in(swarm, 3)) {
        add_plain(swarm, EVENT_KILL, 0);
    } else {
        add_plain(swarm, EVENT_SIGNAL, SIGTERM);
    }
}

static void put_short_write(struct swarm *swarm)
{
    put(swarm, "SET ");
    lines_put_key(&swarm->lines);
    put(swarm, " ");
    lines_put_letters(&swarm->lines, 1 + below(swarm, 40), swarm->lines.kind++);
    put(swarm, "\\n");
}

/*
 * Lines that fill a batch to its limit and a little over: those that arrive in one piece,
 * since the first is so long that there has to be room for it.
 */
static void say_a_full_batch(struct swarm *swarm)
{
    swarm->lines.text.length = 0;
    put(swarm, "SET ");
    lines_put_key(&swarm->lines);
    put(swarm, " ");
    lines_put_letters(&swarm->lines, BATCH_BYTES_MAX - below(swarm, 200),
                      swarm->lines.kind++);
    put(swarm, "\\n");
    uint64_t count = below(swarm, 16);
    for (uint64_t i = 0; i < count; i++) {
        if (one_in(swarm, 2)) {
            put_short_write(swarm);
        } else {
            lines_put(&swarm->lines);
            put(swarm, "\\n");
        }
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
}

/* A full batch that waits for its sync, a few times over. */
static void lose_full_batches(struct swarm *swarm)
{
    uint64_t count = 1 + below(swarm, 4);
    for (uint64_t i = 0; i < count; i++) {
        say_a_full_batch(swarm);
        struct event event = {.kind = EVENT_POWER, .number = below(swarm, 100000)};
        plan_add(swarm->plan, event);
    }
}

/* Amid the writes of a batch, most likely; or when the server next waits, or later. */
static void add_power_loss(struct swarm *swarm)
{
    struct event event = make(swarm, EVENT_POWER);
    event.number = below(swarm, 100000);
    bool can_be_full = may(swarm, MAY_BE_LARGE) && swarm->is_everysec &&
                       swarm->value_bytes_max >= BATCH_BYTES_MAX;
    if (can_be_full && one_in(swarm, 2)) {
        lose_full_batches(swarm);
        return;
    }
    if (one_in(swarm, 2)) {
        add_lines(swarm);
        event.after_calls = 1 + below(swarm, 24);
    }
    plan_add(swarm->plan, event);
}

/* What kv is asked: words that it takes, or bytes on its standard input. */
static void put_small(struct swarm *swarm)
{
    static const char *const names[] = {"get",  "get",    "set",    "set",  "add",
                                        "incr", "delete", "exists", "keys", "list",
                                        "list", "count",  "stats",  "sync", "compact"};
    size_t which = (size_t)below(swarm, sizeof names / sizeof names[0]);
    swarm->lines.text.length = 0;
    put(swarm, one_in(swarm, 3) ? "-t 2 " : one_in(swarm, 8) ? "-a /s " : "");
    put(swarm, names[which]);
    if (which < 8) {
        put(swarm, " ");
        lines_put_key(&swarm->lines);
    }
    if (which >= 2 && which < 5) {
        bool is_input = one_in(swarm, 2);
        put(swarm, is_input ? " <" : " ");
        lines_put_value(&swarm->lines);
        put(swarm, is_input && one_in(swarm, 2) ? "\\n" : "");
    } else if (which == 5) {
        put(swarm, one_in(swarm, 2) ? " -3" : "");
    }
}

/* What it does not expect: often after a part of the answer. */
static void add_trouble(struct swarm *swarm, unsigned client)
{
    static const enum event_kind troubles[] = {EVENT_KILL, EVENT_KILL, EVENT_POWER,
                                               EVENT_RESETS, EVENT_SIGNAL};
    struct event event = {.client = client, .after_calls = 1 + below(swarm, 60)};
    if (one_in(swarm, 2)) {
        event.kind = EVENT_TAKES;
        event.number = below(swarm, one_in(swarm, 2) ? 12 : 400);
        plan_add(swarm->plan, event);
        event.after_calls = one_in(swarm, 2) ? 0 : event.after_calls;
    }
    if (!one_in(swarm, 4)) {
        event.kind = troubles[below(swarm, sizeof troubles / sizeof troubles[0])];
        event.number = event.kind == EVENT_SIGNAL ? SIGTERM : below(swarm, 100000);
        plan_add(swarm->plan, event);
    }
}

static void add_small(struct swarm *swarm)
{
    uint64_t count = 1 + below(swarm, 4);
    for (uint64_t i = 0; i < count; i++) {
        struct event event = make(swarm, EVENT_RUNS);
        event.client = (unsigned)below(swarm, CLIENTS_MAX);
        event.number = one_in(swarm, 3) ? 0 : below(swarm, 1000000);
        put_small(swarm);
        event.text =
            plan_text((const char *)swarm->lines.text.at, swarm->lines.text.length);
        plan_add(swarm->plan, event);
        if (one_in(swarm, 3)) {
            add_trouble(swarm, event.client);
        }
    }
}

/* What may come over a server at any moment, and ends it: now, or amid of its stop. */
static void add_end(struct swarm *swarm)
{
    if (may(swarm, MAY_STOP) && one_in(swarm, 2)) {
        add_plain(swarm, EVENT_SIGNAL, SIGTERM);
    }
    if (may(swarm, MAY_FAIL_READS) && !one_in(swarm, 3)) {
        add_lost_page(swarm);
    }
    if (may(swarm, MAY_LOSE_POWER) && one_in(swarm, 2)) {
        add_plain(swarm, EVENT_POWER, below(swarm, 100000));
    } else if (may(swarm, MAY_KILL)) {
        add_plain(swarm, EVENT_KILL, 0);
    }
}

/* Lines that store so much that the log has more than a page or two. */
static void say_some_pages(struct swarm *swarm)
{
    uint64_t count = 1 + below(swarm, 4);
    swarm->lines.text.length = 0;
    for (uint64_t i = 0; i < count; i++) {
        put(swarm, "SET ");
        lines_put_key(&swarm->lines);
        put(swarm, " ");
        lines_put_letters(&swarm->lines, 1 + below(swarm, 9000), swarm->lines.kind++);
        put(swarm, "\\n");
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
}

/* So much that a compaction clears it away in more than one step, and little of it live.
 */
static void say_dead_bytes(struct swarm *swarm)
{
    unsigned number = (unsigned)below(swarm, swarm->lines.key_count);
    swarm->lines.text.length = 0;
    for (int i = 0; i < 2; i++) {
        put(swarm, "SET ");
        lines_put_key_number(&swarm->lines, number);
        put(swarm, " ");
        lines_put_letters(&swarm->lines, i == 1 ? 1 : 3 * CUT_STEP_BYTES,
                          swarm->lines.kind++);
        put(swarm, "\\n");
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
}

/*
 * A compaction right behind some writes and right before others, so that no look from
 * outside comes between; and then, while it copies or when it just has, the end of a
 * life.
 */
static void add_compaction(struct swarm *swarm)
{
    bool is_long = swarm->has_long_log;
    swarm->has_long_log = false;
    if (is_long) {
        say_dead_bytes(swarm);
    }
    if (one_in(swarm, 2)) {
        say_some_pages(swarm);
    } else {
        add_lines(swarm);
    }
    swarm->lines.text.length = 0;
    if (may(swarm, MAY_DELETE) && one_in(swarm, 2)) { /* which no copy says once more */
        put(swarm, "DELETE ");
        lines_put_key(&swarm->lines);
        put(swarm, "\\n");
    }
    put(swarm, "COMPACT\\n");
    uint64_t count = below(swarm, 4);
    for (uint64_t i = 0; i < count; i++) {
        lines_put(&swarm->lines);
        put(swarm, "\\n");
    }
    size_t at = swarm->plan->count;
    say(swarm, swarm->client, 0, swarm->lines.text.length);
    swarm->plan->events[at].after_ms = 0;
    swarm->plan->events[at].after_calls = 1 + below(swarm, 6);
    if (may(swarm, MAY_FAIL_FILES) &&
        (is_long || one_in(swarm, 2))) { /* what is left stays */
        struct event event = {.kind = EVENT_FAIL, .client = swarm->client};
        event.fault = (struct fault){
            .call = CALL_UNLINKAT, .role = ROLE_ANY, .nth = 1, .error = EIO};
        plan_add(swarm->plan, event);
    }
    if (is_long || !one_in(swarm, 3)) {
        at = swarm->plan->count;
        add_end(swarm);
        if (at < swarm->plan->count && !one_in(swarm, 4)) {
            swarm->plan->events[at].after_calls = 0;
            swarm->plan->events[at].after_ms = 1 + below(swarm, 800);
        }
    }
}

/* Keys one after another, stored or deleted: tables grow, and shrink again. */
static void add_many_keys(struct swarm *swarm)
{
    bool is_deletion = may(swarm, MAY_DELETE) && one_in(swarm, 3);
    unsigned count = swarm->lines.key_count / (1 + (unsigned)below(swarm, 3));
    unsigned first = (unsigned)below(swarm, swarm->lines.key_count);
    swarm->lines.text.length = 0;
    for (unsigned i = 0; i < count; i++) {
        put(swarm, is_deletion ? "DELETE " : "SET ");
        lines_put_key_number(&swarm->lines, (first + i) % swarm->lines.key_count);
        if (!is_deletion) {
            put(swarm, " ");
            lines_put_letters(&swarm->lines, 1 + below(swarm, 9), swarm->lines.kind++);
        }
        put(swarm, "\\n");
    }
    say(swarm, swarm->client, 0, swarm->lines.text.length);
}

static void add_event(struct swarm *swarm)
{
    /* What one client does is mostly followed by what the same one does. */
    if (one_in(swarm, 3)) {
        swarm->client = (unsigned)below(swarm, swarm->client_count);
    }
    if (may(swarm, MAY_RUN_SMALL) && one_in(swarm, 6)) {
        add_small(swarm);
        return;
    }
    if (swarm->is_narrow && one_in(swarm, 4)) {
        add_many_keys(swarm);
        return;
    }
    if (may(swarm, MAY_COMPACT) && one_in(swarm, 24)) {
        add_compaction(swarm);
        return;
    }
    enum feature feature =
        (enum feature)(MAY_CROWD + below(swarm, FEATURE_COUNT - MAY_CROWD));
    if (one_in(swarm, 3) || !may(swarm, feature)) {
        add_lines(swarm);
        return;
    }
    switch (feature) {
    case MAY_CROWD:
        if (one_in(swarm, 2)) {
            add_turns(swarm);
        } else {
            add_habit(swarm, EVENT_COMES);
        }
        break;
    case MAY_BE_SLOW:
        if (swarm->lines.is_large && may(swarm, MAY_COMPACT) && one_in(swarm, 2)) {
            add_slow_read(swarm);
            break;
        }
        if (may(swarm, MAY_CROWD) && one_in(swarm, 3)) {
            add_asking_on(swarm);
            break;
        }
        add_habit(swarm, one_in(swarm, 2) ? EVENT_TAKES : EVENT_DRIBBLES);
        break;
    case MAY_RESET:
        add_habit(swarm, EVENT_RESETS);
        break;
    case MAY_END:
        add_habit(swarm, EVENT_ENDS);
        break;
    case MAY_STAY:
        add_habit(swarm, EVENT_STAYS);
        break;
    case MAY_FILL_DISK:
        if (one_in(swarm, swarm->lines.is_large ? 4 : 2)) {
            add_room(swarm);
        } else {
            add_refusal(swarm);
        }
        break;
    case MAY_STOP:
        if (may(swarm, MAY_BE_SLOW) && one_in(swarm, 2)) {
            add_blocked(swarm);
        }
        add_plain(swarm, EVENT_SIGNAL, one_in(swarm, 3) ? SIGINT : SIGTERM);
        break;
    case MAY_KILL:
        add_plain(swarm, EVENT_KILL, 0);
        break;
    case MAY_LOSE_POWER:
        add_power_loss(swarm);
        break;
    case MAY_ROT:
        add_rot(swarm);
        break;
    case MAY_BE_TOUCHED: {
        static const enum event_kind kinds[] = {EVENT_OTHER_MOVES, EVENT_OTHER_REPLACES,
                                                EVENT_OTHER_CUTS};
        enum event_kind kind = kinds[below(swarm, 3)]; /* before the next throw */
        add_plain(swarm, kind, below(swarm, 1000));
        break;
    }
    case MAY_FAIL_READS:
        add_unreadable(swarm);
        break;
    case MAY_FOLLOW:
        add_plain(swarm, EVENT_FOLLOWER_FAILS, small_number(swarm, 300));
        add_lines(swarm);
        break;
    case MAY_USE_PATH:
        add_plain(swarm, EVENT_PATH, below(swarm, PATH_THINGS));
        add_end(swarm);
        break;
    case MAY_JUMP:
        add_plain(swarm, EVENT_JUMP, small_number(swarm, 3600000));
        break;
    case MAY_CHANGE_OPTIONS: {
        struct event event = make(swarm, EVENT_SERVE);
        event.serving = choose_serving(swarm);
        plan_add(swarm->plan, event);
        break;
    }
    case MAY_FAIL_FILES:
    case MAY_FAIL_SYNCS:
    case MAY_FAIL_MEMORY:
    case MAY_FAIL_SOCKETS:
    case MAY_CUT_CALLS:
    case MAY_INTERRUPT:
        if (one_in(swarm, 4)) {
            add_plain(swarm, EVENT_FAULTS_END, 0);
        } else {
            add_fault(swarm, feature);
        }
        break;
    default:
        add_lines(swarm);
        break;
    }
}

void swarm_make(uint64_t seed, struct plan *plan)
{
    static struct bytes text;
    struct swarm swarm = {
        .lines = {.dice = {seed * 2654435761u + 1}, .text = text},
        .plan = plan,
    };
    plan_clear(plan);
    swarm.lines.features = dice_next(&swarm.lines.dice);
    swarm.lines.key_count = may(&swarm, MAY_BE_MANY) && one_in(&swarm, 2)
                                ? 200
                                : 2 + (unsigned)below(&swarm, 10);
    swarm.lines.key_bytes = one_in(&swarm, 4) ? 2 + (unsigned)below(&swarm, 60) : 3;
    swarm.client_count = may(&swarm, MAY_CROWD) ? 2 + (unsigned)below(&swarm, 5) : 1;
    swarm.lines_max = may(&swarm, MAY_BE_MANY) ? 600 : 4 + (unsigned)below(&swarm, 60);
    swarm.lines.large_left = may(&swarm, MAY_BE_LARGE) && one_in(&swarm, 2) ? 6 : 0;
    swarm.lines.is_large = swarm.lines.large_left > 0;
    if (swarm.lines.is_large) {
        swarm.lines.key_count = 1 + (unsigned)below(&swarm, 4);
    }
    swarm.looks = may(&swarm, MAY_FOLLOW) ? 1 + below(&swarm, 2 * PLAN_LOOKS_MAX) : 0;
    struct event first = {.kind = EVENT_SERVE, .serving = choose_serving(&swarm)};
    swarm.has_long_log = may(&swarm, MAY_BE_LARGE) && may(&swarm, MAY_FAIL_FILES) &&
                         may(&swarm, MAY_FAIL_READS) && may(&swarm, MAY_COMPACT) &&
                         swarm.value_bytes_max >= BATCH_BYTES_MAX;
    choose_hashes(&swarm, &first.serving);
    plan_add(plan, first);
    if (may(&swarm, MAY_INHERIT) && one_in(&swarm, 8)) {
        struct event original = {.kind = EVENT_ORIGINAL, .number = 1 + below(&swarm, 40)};
        plan_add(plan, original);
    }
    uint64_t count = 4 + small_number(&swarm, 60);
    for (uint64_t i = 0; i < count; i++) {
        add_event(&swarm);
    }
    text = swarm.lines.text;
}
