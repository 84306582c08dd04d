/*
 * One handler for each command of protocol.h, in the order of its verbs. Those that read
 * what is staged in another way than by key return false while anything is.
 */
#include "net/commands.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/version.h"

#include <assert.h>

void commands_init(struct commands *commands, struct store *store,
                   struct replies *replies)
{
    *commands = (struct commands){
        .store = store,
        .replies = replies,
        .started_ms = clock_now_ms(),
    };
}

void commands_note_client(struct commands *commands)
{
    commands->counters.connections++;
}

void commands_begin_batch(struct commands *commands)
{
    commands->refusal = KV_OK;
    commands->wants_sync = false;
    commands->counters_before = commands->counters;
    commands->held_before = replies_held(commands->replies)->length;
}

enum status commands_commit(struct commands *commands)
{
    enum status status = store_commit(commands->store);
    if (status == KV_OK && commands->wants_sync) {
        status = store_sync(commands->store);
    } else if (status != KV_OK && status != KV_FATAL) {
        commands->refusal = status;
        commands->wants_sync = false;
        commands->counters = commands->counters_before;
        commands->counters.refused++;
        replies_held(commands->replies)->length = commands->held_before;
    }
    return status;
}

/* The one line about a write. A batch counts as refused once, however many of its are. */
static void put_outcome(struct commands *commands, enum status status, enum verb verb)
{
    if (status == KV_NO_SPACE || status == KV_IO || status == KV_NO_MEMORY) {
        commands->counters.refused = commands->counters_before.refused + 1;
    }
    replies_put_status(commands->replies, status, verb);
}

static void set(struct commands *commands, const struct lookup *lookup,
                struct slice value)
{
    enum status status = commands->refusal;
    if (status == KV_OK) {
        status = store_set(commands->store, lookup, value);
    }
    commands->counters.sets++;
    put_outcome(commands, status, VERB_SET);
}

static bool get(struct commands *commands, const struct lookup *lookup)
{
    struct slice value;
    enum status status = store_get(commands->store, lookup, &value);
    if (status == KV_OK && value.length >= STREAM_VALUE_BYTES_MIN) {
        if (store_staged_bytes(commands->store) > 0) {
            return false;
        }
        replies_begin_value(commands->replies, value);
    } else if (status == KV_OK) {
        status = replies_put_value(commands->replies, value);
    }
    commands->counters.gets++;
    if (status != KV_OK) {
        replies_put_status(commands->replies, status, VERB_GET);
    }
    return true;
}

static void delete (struct commands *commands, const struct lookup *lookup)
{
    enum status status = commands->refusal;
    if (status == KV_OK) {
        status = store_delete(commands->store, lookup);
    }
    commands->counters.deletes++;
    put_outcome(commands, status == KV_NOT_FOUND ? KV_OK : status, VERB_DELETE);
}

static void add(struct commands *commands, const struct lookup *lookup,
                struct slice value)
{
    enum status status = commands->refusal;
    if (status == KV_OK) {
        status = store_exists(commands->store, lookup);
        status = status == KV_OK          ? KV_ALREADY_STORED
                 : status == KV_NOT_FOUND ? store_set(commands->store, lookup, value)
                                          : status;
    }
    commands->counters.sets++;
    put_outcome(commands, status, VERB_ADD);
}

/* What a key counts, 0 if it has no value, and a number more. */
static enum status sum_up(const struct commands *commands, const struct lookup *lookup,
                          int64_t number, int64_t *sum_out)
{
    struct slice value;
    int64_t count = 0;
    enum status status = store_get(commands->store, lookup, &value);
    uint64_t fault_count = store_fault_count(commands->store);
    if (status == KV_OK && !decimal_parse(value, &count)) {
        status = KV_NOT_A_NUMBER;
    }
    if (store_fault_count(commands->store) != fault_count) {
        return KV_IO; /* it may be zeros that are no number */
    }
    if (status != KV_OK && status != KV_NOT_FOUND) {
        return status;
    }
    return decimal_add(count, number, sum_out) ? KV_OK : KV_NUMBER_TOO_LARGE;
}

static void incr(struct commands *commands, const struct lookup *lookup, int64_t number)
{
    int64_t sum = 0;
    enum status status = commands->refusal;
    if (status == KV_OK) {
        status = sum_up(commands, lookup, number, &sum);
    }
    struct decimal text = decimal_of(sum);
    struct slice value = {text.bytes, text.length};
    if (status == KV_OK) {
        status = store_set(commands->store, lookup, value);
    }
    commands->counters.sets++;
    if (status == KV_OK) {
        status = replies_put_value(commands->replies, value);
        assert(status == KV_OK); /* room for a line was reserved */
    } else {
        put_outcome(commands, status, VERB_INCR);
    }
}

static void exists(struct commands *commands, const struct lookup *lookup)
{
    enum status status = store_exists(commands->store, lookup);
    if (status == KV_OK || status == KV_NOT_FOUND) {
        protocol_put_number(replies_held(commands->replies), status == KV_OK ? 1 : 0);
    } else {
        replies_put_status(commands->replies, status, VERB_EXISTS);
    }
}

/* KEYS or LIST. */
static bool walk(struct commands *commands, enum verb verb, struct slice prefix)
{
    if (store_staged_bytes(commands->store) > 0) {
        return false;
    }
    enum status status = replies_begin_walk(commands->replies, verb, prefix);
    if (status != KV_OK) {
        replies_put_status(commands->replies, status, verb);
    }
    return true;
}

static void count(struct commands *commands)
{
    protocol_put_number(replies_held(commands->replies), store_count(commands->store));
}

static void stats(struct commands *commands)
{
    const struct store_stats figures = store_stats(commands->store);
    const struct counters *counters = &commands->counters;
    bool has_compacted = figures.compactions > 0 || figures.compaction_percent < 100;
    const struct {
        const char *name;
        uint64_t number;
    } lines[] = {
        {"uptime_seconds", (clock_now_ms() - commands->started_ms) / 1000},
        {"keys", figures.keys},
        {"log_bytes", figures.log_bytes},
        {"live_bytes", figures.live_bytes},
        {"dead_bytes", figures.dead_bytes},
        {"reserve_bytes", figures.reserve_bytes},
        {"index_bytes", figures.index_bytes},
        {"commands", counters->commands},
        {"gets", counters->gets},
        {"sets", counters->sets},
        {"deletes", counters->deletes},
        {"connections", counters->connections},
        {"waiting", commands->crowd.waiting},
        {"evicted", commands->crowd.evicted},
        {"dropped", commands->crowd.dropped},
        {"refused", counters->refused},
        {"commits", figures.commits},
        {"compactions", figures.compactions},
        {"compaction_percent", has_compacted ? figures.compaction_percent : 0},
        {"recovered_bytes", figures.recovered_bytes},
        {"recovery_ms", figures.recovery_ms},
    };
    size_t line_count = sizeof lines / sizeof lines[0];
    struct buffer *held = replies_held(commands->replies);
    if (buffer_reserve(held, (line_count + 3) * REPLY_LINE_BYTES_MAX) != KV_OK) {
        replies_put_status(commands->replies, KV_NO_MEMORY, VERB_STATS);
        return;
    }
    protocol_put_stat_text(held, "version", KV_VERSION);
    protocol_put_stat_text(held, "sync",
                           figures.sync == SYNC_ALWAYS ? "always" : "everysec");
    for (size_t i = 0; i < line_count; i++) {
        protocol_put_stat(held, lines[i].name, lines[i].number);
    }
    buffer_append_byte(held, '\n');
}

static void sync(struct commands *commands)
{
    commands->wants_sync = true;
    replies_put_status(commands->replies, KV_OK, VERB_SYNC);
}

static bool compact(struct commands *commands)
{
    if (store_staged_bytes(commands->store) > 0) {
        return false;
    }
    replies_put_status(commands->replies, store_compact(commands->store), VERB_COMPACT);
    return true;
}

static void help(struct commands *commands, struct slice name)
{
    enum status status = protocol_put_help(replies_held(commands->replies), name);
    if (status != KV_OK) {
        replies_put_status(commands->replies, status, VERB_HELP);
    }
}

bool commands_execute(struct commands *commands, const struct request *request,
                      enum status refusal, const struct lookup *lookup)
{
    bool is_done = true;
    if (refusal != KV_OK) {
        replies_put_status(commands->replies, refusal, request->verb);
        commands->counters.commands++;
        return true;
    }
    /* There is no default, so that the compiler tells which command has no handler. */
    switch (request->verb) {
    case VERB_SET:
        set(commands, lookup, request->value);
        break;
    case VERB_GET:
        is_done = get(commands, lookup);
        break;
    case VERB_DELETE:
        delete (commands, lookup);
        break;
    case VERB_ADD:
        add(commands, lookup, request->value);
        break;
    case VERB_INCR:
        incr(commands, lookup, request->number);
        break;
    case VERB_EXISTS:
        exists(commands, lookup);
        break;
    case VERB_KEYS:
    case VERB_LIST:
        is_done = walk(commands, request->verb, request->key);
        break;
    case VERB_COUNT:
        count(commands);
        break;
    case VERB_STATS:
        stats(commands);
        break;
    case VERB_SYNC:
        sync(commands);
        break;
    case VERB_COMPACT:
        is_done = compact(commands);
        break;
    case VERB_HELP:
        help(commands, request->key);
        break;
    case VERB_QUIT: /* the session's: it changes the connection and nothing else */
    case VERB_NONE: /* always refused */
        break;
    }
    commands->counters.commands += is_done ? 1 : 0;
    return is_done;
}
