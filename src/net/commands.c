/*
 * One handler for each command of protocol.h, in the order of its verbs. Those that read
 * what is staged in another way than by key return false while anything is.
 */
#include "net/commands.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/version.h"

#include <assert.h>

static void put_status(struct commands *commands, enum status status, enum verb verb)
{
    protocol_put_status(replies_held(commands->replies), status, verb);
}

static void set(struct commands *commands, const struct lookup *lookup,
                struct slice value)
{
    enum status status = commands->refusal;
    if (status == KV_OK) {
        status = store_set(commands->store, lookup, value);
    }
    commands->counters.sets++;
    put_status(commands, status, VERB_SET);
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
        put_status(commands, status, VERB_GET);
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
    put_status(commands, status == KV_NOT_FOUND ? KV_OK : status, VERB_DELETE);
}

static void exists(struct commands *commands, const struct lookup *lookup)
{
    enum status status = store_exists(commands->store, lookup);
    if (status == KV_OK || status == KV_NOT_FOUND) {
        protocol_put_number(replies_held(commands->replies), status == KV_OK ? 1 : 0);
    } else {
        put_status(commands, status, VERB_EXISTS);
    }
}

static bool keys(struct commands *commands, struct slice prefix)
{
    if (store_staged_bytes(commands->store) > 0) {
        return false;
    }
    enum status status = replies_begin_keys(commands->replies, prefix);
    if (status != KV_OK) {
        put_status(commands, status, VERB_KEYS);
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
    const struct {
        const char *name;
        uint64_t number;
    } lines[] = {
        {"uptime_seconds", (clock_now_ms() - commands->started_ms) / 1000},
        {"keys", figures.keys},
        {"log_bytes", figures.log_bytes},
        {"live_bytes", figures.live_bytes},
        {"dead_bytes", figures.dead_bytes},
        {"index_bytes", figures.index_bytes},
        {"commands", counters->commands},
        {"gets", counters->gets},
        {"sets", counters->sets},
        {"deletes", counters->deletes},
        {"connections", counters->connections},
        {"commits", figures.commits},
        {"compactions", figures.compactions},
        {"compaction_percent", figures.compaction_percent},
        {"recovered_bytes", figures.recovered_bytes},
        {"recovery_ms", figures.recovery_ms},
    };
    size_t line_count = sizeof lines / sizeof lines[0];
    struct buffer *held = replies_held(commands->replies);
    if (buffer_reserve(held, (line_count + 3) * REPLY_LINE_BYTES_MAX) != KV_OK) {
        put_status(commands, KV_NO_MEMORY, VERB_STATS);
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
    put_status(commands, KV_OK, VERB_SYNC);
}

static bool compact(struct commands *commands)
{
    if (store_staged_bytes(commands->store) > 0) {
        return false;
    }
    put_status(commands, store_compact(commands->store), VERB_COMPACT);
    return true;
}

static void help(struct commands *commands)
{
    enum status status = protocol_put_help(replies_held(commands->replies));
    if (status != KV_OK) {
        put_status(commands, status, VERB_HELP);
    }
}

bool commands_execute(struct commands *commands, const struct request *request,
                      const struct lookup *lookup)
{
    assert(request->verb < VERB_QUIT);
    /* There is no default, so that the compiler tells which command has no handler. */
    switch (request->verb) {
    case VERB_SET:
        set(commands, lookup, request->value);
        return true;
    case VERB_GET:
        return get(commands, lookup);
    case VERB_DELETE:
        delete (commands, lookup);
        return true;
    case VERB_EXISTS:
        exists(commands, lookup);
        return true;
    case VERB_KEYS:
        return keys(commands, request->key);
    case VERB_COUNT:
        count(commands);
        return true;
    case VERB_STATS:
        stats(commands);
        return true;
    case VERB_SYNC:
        sync(commands);
        return true;
    case VERB_COMPACT:
        return compact(commands);
    case VERB_HELP:
        help(commands);
        return true;
    case VERB_QUIT: /* the session's own: it changes the connection and nothing else */
    case VERB_NONE:
        break;
    }
    return true;
}
