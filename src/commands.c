/*
 * One handler for each command of protocol.h, in the order of its verbs. Those that read
 * what is staged in another way than by key return false while anything is.
 */
#include "commands.h"

#include "bounds.h"
#include "clock.h"
#include "version.h"

#include <assert.h>

/* Keys that are walked over between looks at the clock. */
enum { KEYS_BETWEEN_LOOKS = 16 };

static_assert(KEYS_SLICE_COUNT % KEYS_BETWEEN_LOOKS == 0, "a slice is whole");

static void put_status(struct commands *commands, enum status status, enum verb verb)
{
    protocol_put_status(commands->replies, status, verb);
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

static enum status put_value(struct commands *commands, struct slice value)
{
    enum status status = buffer_reserve(commands->replies, value.length + 1);
    if (status == KV_OK) {
        buffer_append(commands->replies, value);
        buffer_append_byte(commands->replies, '\n');
    }
    return status;
}

static bool get(struct commands *commands, const struct lookup *lookup)
{
    struct slice value;
    enum status status = store_get(commands->store, lookup, &value);
    if (status == KV_OK && value.length >= STREAM_VALUE_BYTES_MIN) {
        if (store_staged_bytes(commands->store) > 0) {
            return false;
        }
        commands->stream.kind = STREAM_VALUE;
        commands->stream.value = value;
    } else if (status == KV_OK) {
        status = put_value(commands, value);
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
        protocol_put_number(commands->replies, status == KV_OK ? 1 : 0);
    } else {
        put_status(commands, status, VERB_EXISTS);
    }
}

static bool keys(struct commands *commands, struct slice prefix)
{
    struct stream *stream = &commands->stream;
    if (store_staged_bytes(commands->store) > 0) {
        return false;
    }
    stream->prefix.length = 0;
    if (buffer_reserve(&stream->prefix, prefix.length) == KV_OK) {
        buffer_append(&stream->prefix, prefix);
        stream->position = 0;
        stream->kind = STREAM_KEYS;
    } else {
        put_status(commands, KV_NO_MEMORY, VERB_KEYS);
    }
    return true;
}

static void count(struct commands *commands)
{
    protocol_put_number(commands->replies, store_count(commands->store));
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
    if (buffer_reserve(commands->replies, (line_count + 3) * REPLY_LINE_BYTES_MAX) !=
        KV_OK) {
        put_status(commands, KV_NO_MEMORY, VERB_STATS);
        return;
    }
    protocol_put_stat_text(commands->replies, "version", KV_VERSION);
    protocol_put_stat_text(commands->replies, "sync",
                           figures.sync == SYNC_ALWAYS ? "always" : "everysec");
    for (size_t i = 0; i < line_count; i++) {
        protocol_put_stat(commands->replies, lines[i].name, lines[i].number);
    }
    buffer_append_byte(commands->replies, '\n');
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
    enum status status = protocol_put_help(commands->replies);
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

/* Append the rest of the value and its LF, if that is allowed and there is memory. */
static void put_rest_of_value(struct commands *commands, size_t bytes_max)
{
    struct slice value = commands->stream.value;
    if (value.length < bytes_max && put_value(commands, value) == KV_OK) {
        commands->stream.kind = STREAM_NONE;
    }
}

/* Append the key at the position, or the empty line after the last. */
static void put_key(struct commands *commands)
{
    struct slice key;
    struct stream *stream = &commands->stream;
    enum status status = store_walk(commands->store, &stream->position, &key);
    if (status == KV_NOT_FOUND) {
        buffer_append_byte(commands->replies, '\n');
        stream->kind = STREAM_NONE;
    } else if (status != KV_OK) {
        /* No key holds a space, so this line cannot be mistaken for one. */
        put_status(commands, status, VERB_KEYS);
    } else if (slice_starts_with(key, buffer_slice(&stream->prefix))) {
        buffer_append(commands->replies, key);
        buffer_append_byte(commands->replies, '\n');
    }
}

/* The next keys: false when there is no more room for them, or there are no more. */
static bool put_keys(struct commands *commands, size_t count, size_t end)
{
    for (size_t i = 0; i < count; i++) {
        if (commands->stream.kind != STREAM_KEYS || commands->replies->length >= end ||
            buffer_reserve(commands->replies, KEY_BYTES_MAX + REPLY_LINE_BYTES_MAX) !=
                KV_OK) {
            return false;
        }
        put_key(commands);
    }
    return true;
}

bool commands_continue_stream(struct commands *commands, size_t bytes_max)
{
    size_t end = commands->replies->length + bytes_max;
    if (commands->stream.kind == STREAM_VALUE) {
        put_rest_of_value(commands, bytes_max);
        return false;
    }
    uint64_t end_us = clock_now_us() + KEYS_SLICE_US_MAX;
    for (size_t i = 0; i < KEYS_SLICE_COUNT / KEYS_BETWEEN_LOOKS; i++) {
        if (!put_keys(commands, KEYS_BETWEEN_LOOKS, end)) {
            return false;
        }
        if (clock_now_us() >= end_us) {
            break;
        }
    }
    return true;
}
