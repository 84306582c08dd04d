/*
 * The model: what a store may hold is worked out by support/contents; here is when it
 * may, and what else of the server is to be seen.
 */
#include "world/model.h"

#include "base/bounds.h"
#include "engine/store.h"
#include "net/protocol.h"
#include "support/contents.h"
#include "support/dice.h"
#include "world/clock.h"
#include "world/disk.h"
#include "world/mappings.h"
#include "world/others.h"
#include "world/process.h"
#include "world/small.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 4096, CALLS_SLACK = 2000, IDLE_SLACK_CALLS = 300 };

static struct contents sure; /* what was acknowledged */

/* By the number of a key: what of that a power loss cannot take; what was found. */
static uint32_t *durable;
static uint32_t *observed;
static uint32_t *copied; /* what --follow has printed leaves there */
static bool *is_counted; /* an INCR of it was received and never answered */
static size_t key_capacity;

static struct writes recent;  /* acknowledged, and perhaps not durable */
static struct writes open;    /* received and never answered */
static struct writes perhaps; /* ADDs among them that count if one before was refused */
static struct hits open_hits; /* what had failed when the first of them came */
static bool has_lost_unsynced;
static bool has_lost_power; /* so that it did */
static struct store *watched;

/*
 * States are told apart by a hash. Those that the store has had since what was printed
 * was all that there is; with a gap where some of them are not known.
 */
static uint64_t sure_hash;
static uint64_t copied_hash;
static uint64_t *states;
static size_t state_count;
static size_t state_capacity;
static bool has_gap;
static size_t followed_count; /* how many of the open ones were carried out */
static uint64_t commands_answered;
static uint64_t sent_away;    /* in this life, so that they could tell */
static const char *suspicion; /* a rule that is broken if the server goes on; or NULL */
static char suspected[256];

/* The reply of one line that the program itself would make, in static memory. */
static uint8_t reply_bytes[LINE_BYTES];
static struct buffer reply = {.bytes = reply_bytes, .capacity = sizeof reply_bytes};

static void make_room_for_keys(size_t needed)
{
    if (needed <= key_capacity) {
        return;
    }
    size_t old = key_capacity;
    key_capacity = needed * 2 + 64;
    durable = resize(durable, key_capacity * sizeof *durable);
    observed = resize(observed, key_capacity * sizeof *observed);
    is_counted = resize(is_counted, key_capacity * sizeof *is_counted);
    memset(is_counted + old, 0, (key_capacity - old) * sizeof *is_counted);
    copied = resize(copied, key_capacity * sizeof *copied);
    memset(copied + old, 0, (key_capacity - old) * sizeof *copied);
    memset(durable + old, 0, (key_capacity - old) * sizeof *durable);
}

static uint32_t key_number(struct slice key)
{
    uint32_t number = contents_key(&sure, key);
    make_room_for_keys(number + 1);
    return number;
}

void model_begin_run(void)
{
    contents_clear(&sure);
    make_room_for_keys(1);
    sure_hash = 0;
    model_forget_printed();
    memset(durable, 0, key_capacity * sizeof *durable);
    recent.count = 0;
    open.count = 0;
    perhaps.count = 0;
    memset(is_counted, 0, key_capacity * sizeof *is_counted);
    has_lost_unsynced = false;
    has_lost_power = false;
    suspicion = NULL;
    sent_away = 0;
    watched = NULL;
}

void model_watch(struct store *store)
{
    watched = store;
}

uint64_t model_command_count(void)
{
    return commands_answered;
}

/* ---- What writes do ---- */

static uint64_t mix(uint32_t key, uint32_t value)
{
    struct dice dice = {(uint64_t)key << 32 | value};
    return value == 0 ? 0 : dice_next(&dice);
}

static void note_state(void)
{
    if (state_count == state_capacity) {
        state_capacity = state_capacity * 2 + 64;
        states = resize(states, state_capacity * sizeof *states);
    }
    states[state_count++] = sure_hash;
}

static void set_sure(uint32_t key, uint32_t value)
{
    sure_hash ^= mix(key, sure.held[key]) ^ mix(key, value);
    note_state();
    contents_set(&sure, key, value);
}

void model_begin_with(struct slice key, const struct slice *value)
{
    uint32_t number = key_number(key);
    set_sure(number, value == NULL ? 0 : words_put(&sure.values, *value));
    durable[number] = sure.held[number];
    has_gap = true; /* it is rewritten first */
}

/* Whether a power loss may take what was acknowledged a moment ago. */
static bool is_late(void)
{
    return process_serving()->is_everysec || disk_lies();
}

static void acknowledge(struct slice key, uint32_t value)
{
    uint32_t number = key_number(key);
    if (sure.held[number] == value && value == 0) {
        return; /* nothing was there to delete */
    }
    set_sure(number, value);
    if (is_late()) {
        writes_put(&recent, (struct write){number, value, world_fair_us(), false});
    } else {
        durable[number] = value;
    }
}

/*
 * How long a write may wait for its sync. While the server waits for a client that was
 * told to go, it syncs nothing.
 */
static uint64_t sync_lag_us(void)
{
    return SYNC_LAG_MS_MAX * 1000 + process_calls_us(CALLS_SLACK);
}

/* All of them, or those that are old enough, are durable whatever comes. */
static void note_durable(bool is_all)
{
    size_t count = 0;
    while (count < recent.count && !disk_lies() &&
           (is_all || recent.items[count].fair_us + sync_lag_us() < world_fair_us())) {
        durable[recent.items[count].key] = recent.items[count].value;
        count++;
    }
    recent.count -= count;
    if (count > 0) {
        memmove(recent.items, recent.items + count, recent.count * sizeof *recent.items);
    }
}

/* ---- Lines ---- */

struct line {
    struct request request;
    enum status status;
    bool is_hangup;
    size_t end; /* in said: behind it */
};

/* The next line that was received whole, or the unfinished one at the end of input. */
static bool next_line(const struct client *client, size_t at, struct line *line)
{
    struct slice rest = {client->said.at + at, client->received - at};
    if (rest.length == 0) {
        return false;
    }
    const uint8_t *lf = memchr(rest.bytes, '\n', rest.length);
    bool is_all = client->has_ended && client->received == client->said.length;
    if (lf == NULL && !is_all) {
        return false;
    }
    size_t length = lf == NULL ? rest.length : (size_t)(lf - rest.bytes);
    struct slice text = contents_line(slice_first(rest, length));
    uint64_t value_bytes_max = process_serving()->value_bytes_max;
    line->end = at + length + (lf == NULL ? 0 : 1);
    line->is_hangup = protocol_is_hangup(text);
    if (text.length > protocol_line_bytes_max(value_bytes_max)) {
        line->request = (struct request){.verb = VERB_NONE};
        line->status = KV_LINE_TOO_LONG;
        return true;
    }
    line->status = protocol_parse(text, value_bytes_max, &line->request);
    if (lf == NULL && protocol_is_write(line->request.verb)) {
        line->status = KV_INCOMPLETE_LINE;
    }
    return true;
}

/* ---- Replies ---- */

static bool is_reply(struct slice heard, enum status status, enum verb verb)
{
    return slice_equal(heard, contents_status(status, verb));
}

/* How things stood when the line began to come. */
static struct mark mark_before(const struct client *client, size_t start)
{
    for (size_t i = 0; i < client->mark_count; i++) {
        if (client->marks[i].received > start) {
            return client->marks[i];
        }
    }
    return (struct mark){0, *faults_hits(), sent_away};
}

static struct hits hits_before(const struct client *client, size_t start)
{
    return mark_before(client, start).hits;
}

/* Whether reading fails, whoever asks. */
static bool is_failing(void)
{
    return mappings_are_failing() || others_have_touched();
}

/*
 * Whether it is an error that something which failed since explains: a file that cannot
 * be made for want of room counts as failed, one whose room cannot be asked for as full.
 */
static bool is_excused(const struct client *client, const struct line *line,
                       struct slice heard)
{
    if (!slice_starts_with(heard, SLICE_LITERAL("error: "))) {
        return false;
    }
    struct hits before = hits_before(client, client->answered);
    const struct hits *now = faults_hits();
    bool has_no_space = now->space != before.space;
    bool has_failed = now->io != before.io || before.is_failing || is_failing();
    bool has_no_memory = now->memory != before.memory;
    bool is_compact = line->request.verb == VERB_COMPACT;
    return ((has_no_space || (has_failed && is_compact)) &&
            is_reply(heard, KV_NO_SPACE, VERB_NONE)) ||
           ((has_failed || has_no_space) && is_reply(heard, KV_IO, VERB_NONE)) ||
           (has_no_memory && is_reply(heard, KV_NO_MEMORY, VERB_NONE));
}

static bool has_failed_since(const struct hits *before)
{
    const struct hits *now = faults_hits();
    return now->space != before->space || now->io != before->io ||
           now->memory != before->memory || before->is_failing || is_failing();
}

static bool is_stat(struct slice heard, const char *name, uint64_t *number_out)
{
    struct slice word = slice_of_text(name);
    if (!slice_starts_with(heard, word) || heard.bytes[word.length] != ' ') {
        return false;
    }
    *number_out = strtoull((const char *)heard.bytes + word.length + 1, NULL, 10);
    return true;
}

static enum match match_stats(const struct client *client, struct hearing *hearing)
{
    struct slice heard;
    uint64_t number;
    uint64_t sent_away_before = mark_before(client, client->answered).sent_away;
    while (hearing_next(hearing, &heard)) {
        if (heard.length == 0) {
            return MATCH;
        }
        if ((is_stat(heard, "evicted", &number) && number < sent_away_before) ||
            (is_stat(heard, "keys", &number) && number != sure.key_count) ||
            (is_stat(heard, "live_bytes", &number) && number != sure.live_bytes)) {
            return WRONG;
        }
    }
    return MORE;
}

static enum match match_help(struct slice name, struct hearing *hearing)
{
    reply.length = 0;
    (void)protocol_put_help(&reply, name); /* there is room */
    struct slice wanted = buffer_slice(&reply);
    if (hearing->rest.length < wanted.length) {
        return slice_starts_with(wanted, hearing->rest) ? MORE : WRONG;
    }
    hearing->used = wanted.length;
    return slice_starts_with(hearing->rest, wanted) ? MATCH : WRONG;
}

static void carry_out(const struct request *request)
{
    uint32_t value = 0;
    if (protocol_is_write(request->verb)) {
        uint32_t key = key_number(request->key); /* which may move what it counts */
        if (contents_written(&sure, request, sure.held[key], &value)) {
            acknowledge(request->key, value);
        }
    } else if (request->verb == VERB_SYNC) {
        note_durable(true);
    }
}

static int shown(size_t length)
{
    return (int)(length < 100 ? length : 100);
}

/* What is acknowledged stands in the log, and the log where it belongs. */
static void check_where_it_goes(const struct client *client, const struct line *line)
{
    const struct request *request = &line->request;
    if (!others_have_touched() || !protocol_is_write(request->verb) ||
        hits_before(client, client->answered).touches != faults_hits()->touches) {
        return;
    }
    uint32_t key = words_find(&sure.keys, request->key);
    uint32_t before = key == 0 ? 0 : sure.held[key];
    uint32_t after = before;
    if (contents_written(&sure, request, before, &after) && (before != 0 || after != 0)) {
        violation("a write is acknowledged into a log that is not there any more", "%.*s",
                  shown(request->key.length), (const char *)request->key.bytes);
    }
}

static enum match match_line(const struct client *client, const struct line *line,
                             struct hearing *hearing)
{
    struct slice heard;
    struct hearing one = *hearing;
    if (!hearing_next(&one, &heard)) {
        return MORE;
    }
    if (line->status != KV_OK) {
        *hearing = one;
        return is_reply(heard, line->status, line->request.verb) ||
                       is_excused(client, line, heard)
                   ? MATCH
                   : WRONG;
    }
    enum verb verb = line->request.verb;
    bool is_walk = verb == VERB_KEYS || verb == VERB_LIST;
    bool is_long = is_walk || verb == VERB_STATS || verb == VERB_HELP;
    if (!is_long && slice_equal(heard, contents_reply(&sure, &line->request))) {
        check_where_it_goes(client, line);
        carry_out(&line->request);
        *hearing = one;
        return MATCH;
    }
    bool is_unread = is_walk && is_reply(heard, KV_IO, VERB_NONE);
    if (!is_unread && is_excused(client, line, heard)) {
        *hearing = one;
        return MATCH;
    }
    if (is_reply(heard, KV_IDLE, VERB_NONE)) {
        return WRONG; /* no reply of many lines begins so */
    }
    struct hits before = hits_before(client, client->answered);
    return is_walk              ? contents_match_keys(&sure, hearing, &line->request,
                                                      has_failed_since(&before))
           : verb == VERB_STATS ? match_stats(client, hearing)
           : verb == VERB_HELP  ? match_help(line->request.key, hearing)
                                : WRONG;
}

_Noreturn static void tell_wrong(const struct client *client, size_t end)
{
    struct slice line = {client->said.at + client->answered, end - client->answered};
    struct slice heard = {client->heard.at + client->matched,
                          client->heard.length - client->matched};
    uint32_t value = 0;
    struct request request;
    if (protocol_parse(slice_first(line, line.length - (line.length > 0)),
                       VALUE_BYTES_MAX, &request) == KV_OK &&
        protocol_has_key(request.verb)) {
        uint32_t key = words_find(&sure.keys, request.key);
        value = key == 0 ? 0 : sure.held[key];
    }
    struct slice wanted =
        value == 0 ? SLICE_LITERAL("nothing") : words_get(&sure.values, value);
    violation("a reply is wrong",
              "to the line \"%.*s\" came \"%.*s\"; the store holds %.*s (%zu bytes), "
              "%" PRIu64 " keys",
              shown(line.length), (const char *)line.bytes, shown(heard.length),
              (const char *)heard.bytes, shown(wanted.length), (const char *)wanted.bytes,
              wanted.length, sure.key_count);
}

/* Whether a line that was received is still owed a reply. */
static bool owes(const struct client *client)
{
    struct line line;
    if (client->is_closing || !next_line(client, client->answered, &line)) {
        return false;
    }
    bool is_quit = line.request.verb == VERB_QUIT && line.status == KV_OK;
    return !is_quit && !line.is_hangup;
}

/*
 * The server counts whole milliseconds, from behind the sync and just before the replies
 * were sent; the last of a walk are made in between.
 */
static uint64_t early_us(void)
{
    return 1000 + KEYS_SLICE_US_MAX + IDLE_SLACK_CALLS * process_serving()->tick_us;
}

/* The one line that no request asked for. */
static bool take_eviction(struct client *client, struct hearing *hearing)
{
    struct slice heard;
    if (!hearing_next(hearing, &heard)) {
        return true; /* of which more will come */
    }
    if (!is_reply(heard, KV_IDLE, VERB_NONE)) {
        return false;
    }
    uint64_t up_us =
        client->last_reply_us + process_serving()->idle_s * 1000000 - early_us();
    /* The end of the input makes a line of what is unfinished, and may come any time. */
    bool came_before = sockets_has_line(client) && client->line_came_us < up_us;
    bool is_early = !world_clock_has_jumped() && (world_now_us() < up_us || came_before);
    if (!sockets_has_somebody_spoken() || is_early) {
        violation("a client was sent away though its time was not up",
                  "after %" PRIu64 " us, %s waiting, %s",
                  world_now_us() - client->last_reply_us,
                  sockets_has_somebody_spoken() ? "others" : "nobody",
                  came_before ? "with a line in hand" : "silent");
    }
    client->is_closing = true;
    client->is_evicted = true;
    sent_away++;
    return true;
}

void model_note_sent(struct client *client)
{
    struct line line;
    if (!process_serving()->is_everysec && disk_is_unsafe()) {
        violation("a reply left before its sync", "%.*s", shown(client->heard.length),
                  (const char *)client->heard.at);
    }
    while (client->matched < client->heard.length) {
        struct hearing hearing = {
            {client->heard.at + client->matched, client->heard.length - client->matched},
            0};
        bool has_line = !client->is_closing && next_line(client, client->answered, &line);
        if (has_line && (line.is_hangup || line.request.verb == VERB_QUIT)) {
            has_line = line.status != KV_OK && !line.is_hangup;
        }
        if (!has_line) {
            if (client->is_closing || !take_eviction(client, &hearing)) {
                violation("a reply to nothing", "%.*s", shown(hearing.rest.length),
                          (const char *)hearing.rest.bytes);
            }
            client->matched += hearing.used;
            return;
        }
        if (client->heard_searched < client->heard.length &&
            memchr(client->heard.at + client->heard_searched, '\n',
                   client->heard.length - client->heard_searched) == NULL) {
            client->heard_searched = client->heard.length;
            return;
        }
        struct hearing eviction = hearing;
        enum match match = match_line(client, &line, &hearing);
        if (match == WRONG && take_eviction(client, &eviction)) {
            client->matched += eviction.used;
            return;
        }
        if (match == MORE) {
            return;
        }
        if (match == WRONG) {
            tell_wrong(client, line.end);
        }
        if (client->is_small && !client->has_left) {
            small_note_reply(sockets_number(client),
                             slice_first(hearing.rest, hearing.used));
        }
        commands_answered++;
        client->last_reply_us = world_now_us();
        client->matched += hearing.used;
        client->heard_searched = client->matched;
        client->answered = line.end;
    }
    if (client->matched == client->heard.length) {
        client->matched = client->heard.length = client->heard_searched = 0;
    }
}

/* So many bytes should take no longer. */
static uint64_t fair_us_for(size_t count)
{
    return count * UINT64_C(1000) / (PROGRESS_BYTES_A_MS);
}

void model_note_received(struct client *client, size_t count)
{
    if (client->mark_count == client->mark_capacity) {
        client->mark_capacity = client->mark_capacity * 2 + 16;
        client->marks =
            resize(client->marks, client->mark_capacity * sizeof *client->marks);
    }
    /* Of lines that were answered long ago nobody asks any more. */
    if (client->mark_count > 0 &&
        client->answered >= client->marks[client->mark_count - 1].received) {
        client->mark_count = 0;
    }
    struct mark mark = {client->received, *faults_hits(), sent_away};
    mark.hits.is_failing = is_failing();
    client->marks[client->mark_count++] = mark;
    size_t before = client->received - count;
    if (memchr(client->said.at + before, '\n', count) != NULL) {
        bool was_owed =
            before > client->answered && memchr(client->said.at + client->answered, '\n',
                                                before - client->answered) != NULL;
        if (!was_owed) { /* all of its time for the replies to come, unless it is late */
            client->renewed_us = world_now_us() + process_serving()->idle_s * 1000000;
        }
        client->last_moved_us = world_fair_us();
    } else { /* a line that is on its way may take the time that its bytes are worth */
        uint64_t now_us = world_fair_us();
        uint64_t idle_us = process_serving()->idle_s * 1000000;
        uint64_t from_us = client->last_moved_us;
        /* Also when its time was up, and nobody was there who waited. */
        from_us = from_us + idle_us < now_us ? now_us - idle_us : from_us;
        uint64_t moved_us = from_us + fair_us_for(count);
        client->last_moved_us = moved_us < now_us ? moved_us : now_us;
    }
}

/* ---- Ends ---- */

/* What a key has once all that is open was carried out. */
static uint32_t value_at_last(uint32_t key)
{
    for (size_t i = open.count; i > 0; i--) {
        if (open.items[i - 1].key == key) {
            return open.items[i - 1].value;
        }
    }
    return sure.held[key];
}

/* Of the writes before this one some may be refused, and then it does something else. */
static void note_conditional(const struct request *request, uint32_t key)
{
    is_counted[key] = is_counted[key] || request->verb == VERB_INCR;
    if (request->verb == VERB_ADD) {
        uint32_t value = words_put(&sure.values, request->value);
        writes_put(&perhaps, (struct write){key, value, 0, true});
    }
}

/* The writes among the lines that got no reply may have been carried out. */
static void leave_open(const struct client *client)
{
    struct line line;
    size_t at = client->answered;
    if (open.count == 0) {
        open_hits = hits_before(client, at);
    }
    while (!client->is_closing && next_line(client, at, &line) && !line.is_hangup &&
           line.request.verb != VERB_QUIT) {
        uint32_t value = 0;
        bool is_write = line.status == KV_OK && protocol_is_write(line.request.verb);
        uint32_t key = is_write ? key_number(line.request.key) : 0;
        if (is_write) {
            note_conditional(&line.request, key);
        }
        if (is_write &&
            contents_written(&sure, &line.request, value_at_last(key), &value)) {
            writes_put(&open, (struct write){key, value, world_fair_us(), false});
        }
        at = line.end;
    }
}

/* A server that is about to end may leave anybody; one that goes on may not. */
static void suspect(const char *rule, const struct client *client)
{
    if (suspicion == NULL) {
        suspicion = rule;
        (void)snprintf(suspected, sizeof suspected, "%.*s",
                       shown(client->received - client->answered),
                       (const char *)client->said.at + client->answered);
    }
}

void model_note_going_on(void)
{
    if (suspicion != NULL) {
        violation(suspicion, "%s", suspected);
    }
}

void model_note_taken(struct client *client, size_t count)
{
    uint64_t now_us = world_now_us();
    uint64_t most_us = now_us + process_serving()->idle_s * 1000000;
    uint64_t from_us = client->taking_us > now_us ? client->taking_us : now_us;
    client->taking_us = from_us + fair_us_for(count);
    client->taking_us = client->taking_us < most_us ? client->taking_us : most_us;
}

/* It has had no turn. */
static void note_left_the_lobby(const struct client *client)
{
    bool has_spoken = client->said.length > 0;
    if (process_is_stopping() || client->is_reset || client->is_lost) {
        return;
    }
    bool is_crowded_out = sockets_may_crowd_out() && client->seen_to_speak == 0;
    sent_away += is_crowded_out && !client->has_ended ? 1 : 0;
    if (!is_crowded_out && (has_spoken || !client->has_ended)) {
        suspect(has_spoken ? "a client that waits for its turn is sent away"
                           : "a silent client is sent away",
                client);
    }
}

void model_note_closed(struct client *client)
{
    if (client->state != CLIENT_SERVED) {
        note_left_the_lobby(client);
        return;
    }
    bool had_room =
        client->takes > 0 && client->room_came_us + early_us() < client->taking_us;
    bool has_stalled = sockets_has_somebody_spoken() &&
                       (world_clock_has_jumped() ||
                        (world_now_us() + early_us() >= client->taking_us && !had_room));
    bool is_unread = faults_hits()->reads != hits_before(client, client->answered).reads;
    bool is_explained =
        client->is_lost || has_stalled || is_unread || process_is_stopping();
    if (owes(client) && !is_explained) {
        suspect("a client was left without its replies", client);
    }
    if (client->matched < client->heard.length && !is_explained) {
        suspect("a reply was cut off", client);
    }
    struct line line;
    bool has_quit =
        client->is_closing || (next_line(client, client->answered, &line) &&
                               (line.is_hangup || line.request.verb == VERB_QUIT));
    bool has_all = client->has_ended && client->received == client->said.length;
    bool is_hangup =
        client->received > client->answered &&
        protocol_is_hangup((struct slice){client->said.at + client->answered,
                                          client->received - client->answered});
    if (!has_quit && !has_all && !is_hangup && !is_explained) {
        suspect("a client was sent away without a reason", client);
    }
    leave_open(client);
}

void model_note_end(bool has_failed_sync, bool lost_power)
{
    struct client *client = sockets_served();
    if (client != NULL) {
        leave_open(client);
    }
    note_durable(false);
    has_lost_unsynced = has_lost_unsynced || has_failed_sync || lost_power;
    has_lost_power = has_lost_power || lost_power;
    suspicion = NULL;
    sent_away = 0;
}

void model_note_stopped(void)
{
    note_durable(true);
}

/* ---- Which state is it? ---- */

static bool is_among(const struct writes *writes, uint32_t key)
{
    for (size_t i = 0; i < writes->count; i++) {
        if (writes->items[i].key == key && writes->items[i].value == observed[key]) {
            return true;
        }
    }
    return false;
}

/* Refused batches may be missing among the others: then each key has one of its values.
 */
static bool has_own_values(const uint32_t base[])
{
    int64_t number;
    for (uint32_t key = 1; key <= sure.keys.count; key++) {
        bool is_one =
            base[key] == observed[key] || is_among(&open, key) ||
            is_among(&perhaps, key) || (base == durable && is_among(&recent, key)) ||
            (is_counted[key] && observed[key] != 0 &&
             contents_is_decimal(words_get(&sure.values, observed[key]), &number));
        if (!is_one) {
            return false;
        }
    }
    return true;
}

static bool has_doubtful(const struct writes *writes)
{
    for (size_t i = 0; i < writes->count; i++) {
        if (writes->items[i].is_doubtful) {
            return true;
        }
    }
    return false;
}

static bool is_possible(void)
{
    uint32_t *base = has_lost_unsynced ? durable : sure.held;
    followed_count = 0;
    if ((open.count > 0 && has_failed_since(&open_hits)) ||
        (base == durable && has_doubtful(&recent))) {
        return has_own_values(base);
    }
    size_t differing = states_differing(base, observed, sure.keys.count);
    if (differing == 0) {
        return true;
    }
    if (base == durable) {
        (void)writes_follow(&recent, base, observed, &differing); /* how far: no matter */
    }
    followed_count = writes_follow(&open, base, observed, &differing);
    return differing == 0;
}

static void observe(struct store *store)
{
    for (uint32_t i = 1; i <= sure.keys.count; i++) {
        struct slice value;
        struct slice key = words_get(&sure.keys, i);
        struct lookup lookup;
        store_begin_lookup(store, key, &lookup);
        enum status status = store_get(store, &lookup, &value);
        uint64_t fault_count = store_fault_count(store);
        int64_t number;
        bool is_sum =
            status == KV_OK && is_counted[i] && contents_is_decimal(value, &number);
        observed[i] = is_sum            ? words_put(&sure.values, value)
                      : status == KV_OK ? words_find(&sure.values, value)
                                        : 0;
        status =
            store_fault_count(store) != fault_count ? KV_IO : status; /* it has faded */
        if ((status == KV_CORRUPT && disk_lies()) || (status == KV_IO && is_failing())) {
            siglongjmp(process_death, DEATH_GIVEN_UP); /* damage is what it is */
        }
        if ((status == KV_OK && observed[i] == 0) ||
            (status != KV_OK && status != KV_NOT_FOUND)) {
            violation("a key has a value that nobody wrote", "%.*s: status %d, %.*s",
                      shown(key.length), (const char *)key.bytes, (int)status,
                      status == KV_OK ? shown(value.length) : 0,
                      status == KV_OK ? (const char *)value.bytes : "");
        }
    }
}

static void tell_impossible(const char *rule)
{
    char text[1024];
    size_t length = 0;
    const uint32_t *base = has_lost_unsynced ? durable : sure.held;
    for (uint32_t i = 1; i <= sure.keys.count && length < sizeof text - 200; i++) {
        if (base[i] != observed[i]) {
            struct slice key = words_get(&sure.keys, i);
            struct slice wanted = base[i] == 0 ? SLICE_LITERAL("nothing")
                                               : words_get(&sure.values, base[i]);
            struct slice has = observed[i] == 0 ? SLICE_LITERAL("nothing")
                                                : words_get(&sure.values, observed[i]);
            length += (size_t)snprintf(text + length, sizeof text - length,
                                       " %.*s: %.*s, not %.*s;", shown(key.length) / 2,
                                       (const char *)key.bytes, shown(has.length) / 2,
                                       (const char *)has.bytes, shown(wanted.length) / 2,
                                       (const char *)wanted.bytes);
            length = length < sizeof text ? length : sizeof text - 1;
        }
    }
    text[length] = '\0';
    violation(rule, "%zu acknowledged lately, %zu open;%s", recent.count, open.count,
              text);
}

/* What was observed is what there is. */
static void believe(void)
{
    uint64_t hash = 0;
    for (uint32_t i = 1; i <= sure.keys.count; i++) {
        hash ^= mix(i, observed[i]);
        sure.held[i] = observed[i];
    }
    contents_sum_up(&sure);
    has_gap = has_gap || open.count > 0 || hash != sure_hash;
    sure_hash = hash;
    open.count = 0;
    if (recent.count == 0) {
        perhaps.count = 0;
        memset(is_counted, 0, key_capacity * sizeof *is_counted);
    }
}

static void check_sums(struct store *store)
{
    struct store_stats stats = store_stats(store);
    uint64_t position = 0;
    uint64_t walked = 0;
    struct slice key;
    enum status status;
    while ((status = store_walk(store, &position, &key)) == KV_OK) {
        uint64_t fault_count = store_fault_count(store);
        uint32_t number = words_find(&sure.keys, key);
        if (store_fault_count(store) != fault_count) {
            siglongjmp(process_death, DEATH_GIVEN_UP);
        }
        walked++;
        if (number == 0 || sure.held[number] == 0) {
            violation("a key is there that nobody wrote", "%.*s", shown(key.length),
                      (const char *)key.bytes);
        }
    }
    if (status == KV_IO && is_failing()) {
        siglongjmp(process_death, DEATH_GIVEN_UP);
    }
    if (status != KV_NOT_FOUND || walked != sure.key_count ||
        stats.keys != sure.key_count || stats.live_bytes != sure.live_bytes) {
        violation("the store's figures are wrong",
                  "keys %" PRIu64 ", walked %" PRIu64 ", should be %" PRIu64
                  "; live bytes %" PRIu64 ", should be %" PRIu64,
                  stats.keys, walked, sure.key_count, stats.live_bytes, sure.live_bytes);
    }
}

/*
 * What is open was written, as far as it was, and may wait for its sync. Without an order
 * each write may have been refused, or carried out and then replaced: a power loss may
 * show any value that the key had on the way to the one that was observed.
 */
static void note_open_as_recent(bool has_order)
{
    uint64_t now_us = world_fair_us();
    for (size_t i = 0; i < (has_order ? followed_count : open.count); i++) {
        struct write write = open.items[i];
        write.fair_us = now_us;
        write.is_doubtful = !has_order;
        writes_put(&recent, write);
    }
    for (size_t i = 0; !has_order && i < open.count; i++) {
        uint32_t key = open.items[i].key;
        writes_put(&recent, (struct write){key, observed[key], now_us, true});
    }
}

/* A disk that lies has lost some of it, and may lose what of it it gave back. */
static void doubt_recent(void)
{
    for (size_t i = 0; i < recent.count; i++) {
        recent.items[i].is_doubtful = true;
    }
}

/* What was found is what there is; and what the disk has, if it can be believed. */
static void note_started(void)
{
    if (disk_lies() && !has_lost_power) {
        note_open_as_recent(!has_lost_unsynced && !has_failed_since(&open_hits));
        if (has_lost_unsynced) {
            doubt_recent();
        }
    } else {
        memcpy(durable, observed, (sure.keys.count + 1) * sizeof *durable);
        recent.count = 0;
    }
    believe();
    has_lost_unsynced = false;
    has_lost_power = false;
}

void model_check_store(struct store *store)
{
    observe(store);
    if (!is_possible()) {
        tell_impossible(has_lost_unsynced
                            ? "after a power loss the store holds what it cannot"
                            : "after a start the store holds what it cannot");
    }
    note_started();
    check_sums(store);
}

bool model_is_settled(void)
{
    return open.count == 0 && recent.count == 0 && !has_lost_unsynced;
}

void model_check_damaged(struct store *store)
{
    for (uint32_t i = 1; i <= sure.keys.count; i++) {
        struct slice value;
        struct slice key = words_get(&sure.keys, i);
        struct lookup lookup;
        uint64_t fault_count = store_fault_count(store);
        store_begin_lookup(store, key, &lookup);
        enum status status = store_get(store, &lookup, &value);
        bool is_right =
            status == KV_CORRUPT || (status == KV_IO && is_failing()) ||
            (sure.held[i] == 0
                 ? status == KV_NOT_FOUND
                 : status == KV_OK &&
                       slice_equal(value, words_get(&sure.values, sure.held[i])));
        if (!is_right && store_fault_count(store) == fault_count) {
            violation("damage is served", "%.*s: status %d", shown(key.length),
                      (const char *)key.bytes, (int)status);
        }
    }
    if (store_count(store) != sure.key_count) {
        violation("damage makes keys fewer", "%" PRIu64 " of %" PRIu64,
                  store_count(store), sure.key_count);
    }
}

/*
 * Writes that undo each other may have been carried out as well, each in a batch of its
 * own, of which a power loss may leave the first alone.
 */
static void follow_as_far_as_possible(void)
{
    size_t differing = 0;
    for (size_t i = followed_count; i < open.count; i++) {
        const struct write *write = &open.items[i];
        differing -= sure.held[write->key] != observed[write->key] ? 1 : 0;
        sure.held[write->key] =
            write->value; /* what is observed is believed in a moment */
        differing += sure.held[write->key] != observed[write->key] ? 1 : 0;
        followed_count = differing == 0 ? i + 1 : followed_count;
    }
}

/* Between clients nothing is lost; what is found to have happened counts from now on. */
void model_settle(void)
{
    model_note_going_on();
    if (open.count == 0 || watched == NULL) {
        return;
    }
    process_be_quiet(true);
    observe(watched);
    process_be_quiet(false);
    bool has_order = !has_failed_since(&open_hits);
    if (!is_possible()) {
        tell_impossible("after a client was lost the store holds what it cannot");
    }
    if (has_order) {
        follow_as_far_as_possible();
    }
    if (!is_late()) {
        memcpy(durable, observed, (sure.keys.count + 1) * sizeof *durable);
    }
    if (is_late()) {
        note_open_as_recent(has_order);
    }
    believe();
}

/* Whether all that is due to a client surely fits what may be held for it. */
static bool fits_backlog(const struct client *client)
{
    struct line line;
    uint64_t line_count = 0;
    for (size_t at = client->answered; next_line(client, at, &line); at = line.end) {
        line_count++;
    }
    uint64_t most_bytes =
        sure.live_bytes + client->said.length - client->answered + LINE_BYTES;
    return line_count * most_bytes < BACKLOG_BYTES_MAX && faults_hits()->memory == 0;
}

void model_check_wait(uint64_t until_us)
{
    model_note_going_on();
    if (disk_is_unsafe() && until_us - world_now_us() > (SYNC_LAG_MS_MAX + 1) * 1000) {
        violation("the server waits longer than until a sync is due", "%s",
                  until_us == WORLD_ALL ? "for ever" : "for more than a second");
    }
    struct client *client = sockets_served();
    if (world_fair_us() - disk_unsafe_since_us() > sync_lag_us()) {
        violation("what was written waits longer than a second for its sync",
                  "%" PRIu64 " us", world_fair_us() - disk_unsafe_since_us());
    }
    if (process_is_stopping()) {
        return;
    }
    /* Whom no descriptor is left for cannot be heard. */
    bool are_others = sockets_is_somebody_waiting() && faults_hits()->network == 0;
    if (client == NULL && are_others) {
        violation("a client that has spoken waits for nobody", "for %" PRIu64 " us",
                  until_us == WORLD_ALL ? until_us : until_us - world_now_us());
    }
    if (client == NULL || client->is_reset || client->is_shut) {
        return;
    }
    bool is_blocked = client->takes == 0;
    if (!is_blocked && owes(client)) {
        violation("the server waits though a line is not answered", "%.*s",
                  shown(client->received - client->answered),
                  (const char *)client->said.at + client->answered);
    }
    if (!is_blocked && !client->is_closing && client->received < client->said.length &&
        !client->is_lost) {
        violation("the server waits though input has arrived", "%zu bytes",
                  client->said.length - client->received);
    }
    if (is_blocked && owes(client) && client->received < client->said.length &&
        !client->is_lost && fits_backlog(client)) {
        violation("the server waits for a client that waits for it", "%zu bytes",
                  client->said.length - client->received);
    }
    uint64_t allowed_us =
        process_serving()->idle_s * 1000000 + 50000 + process_calls_us(CALLS_SLACK);
    are_others = are_others && !world_clock_has_jumped();
    uint64_t taking_us =
        client->taking_us > client->renewed_us ? client->taking_us : client->renewed_us;
    if (is_blocked && owes(client) && are_others &&
        world_now_us() > taking_us + allowed_us) {
        violation("a client that takes nothing keeps others waiting",
                  "for %" PRIu64 " us", world_now_us() - taking_us);
    }
    if (!is_blocked && !client->is_closing && are_others &&
        world_fair_us() > client->last_moved_us + allowed_us) {
        violation("an idle client keeps others waiting", "for %" PRIu64 " us",
                  world_fair_us() - client->last_moved_us);
    }
}

/* ---- What --follow prints ---- */

void model_forget_printed(void)
{
    make_room_for_keys(1);
    memset(copied, 0, key_capacity * sizeof *copied);
    copied_hash = 0;
    state_count = 0;
    has_gap = true;
}

void model_note_printed(struct slice line)
{
    struct request request;
    if (protocol_parse(contents_line(line), VALUE_BYTES_MAX, &request) != KV_OK ||
        (request.verb != VERB_SET && request.verb != VERB_DELETE)) {
        violation("--follow prints what is no change", "%.*s", shown(line.length),
                  (const char *)line.bytes);
    }
    uint32_t key = key_number(request.key);
    uint32_t value =
        request.verb == VERB_SET ? words_put(&sure.values, request.value) : 0;
    copied_hash ^= mix(key, copied[key]) ^ mix(key, value);
    copied[key] = value;
}

void model_check_printed(bool was_hindered)
{
    const struct client *client = sockets_served();
    if (has_lost_unsynced || open.count > 0 ||
        (client != NULL && (client->is_closing || owes(client)))) {
        return; /* it may know more than is known here */
    }
    /* There may be more to come that comes to nothing. */
    bool has_more = (has_gap && is_late()) || was_hindered;
    if (copied_hash == sure_hash && !has_more) {
        state_count = 0;
        has_gap = false;
        note_state();
    }
    if (has_gap) {
        return;
    }
    for (size_t i = 0; i < state_count; i++) {
        if (states[i] == copied_hash) {
            return;
        }
    }
    violation("--follow prints what the store never was", "after %zu states",
              state_count);
}

void model_check_all_printed(void)
{
    for (uint32_t i = 1; i <= sure.keys.count; i++) {
        if (copied[i] != sure.held[i]) {
            struct slice key = words_get(&sure.keys, i);
            violation("what --follow has printed is not the store", "%.*s",
                      shown(key.length), (const char *)key.bytes);
        }
    }
}

void model_check_dump(const struct bytes *text)
{
    struct hearing hearing = {{text->at, text->length}, 0};
    struct slice line;
    uint64_t count = 0;
    while (hearing_next(&hearing, &line)) {
        struct request request;
        if (protocol_parse(contents_line(line), VALUE_BYTES_MAX, &request) != KV_OK ||
            request.verb != VERB_SET) {
            violation("--dump prints what is no SET line", "%.*s", shown(line.length),
                      (const char *)line.bytes);
        }
        uint32_t key = words_find(&sure.keys, request.key);
        uint32_t value = words_find(&sure.values, request.value);
        count++;
        if (key == 0 || value == 0 || sure.held[key] != value) {
            violation("--dump prints what the store does not hold", "%.*s",
                      shown(line.length), (const char *)line.bytes);
        }
    }
    if (count != sure.key_count) {
        violation("--dump leaves keys out", "%" PRIu64 " of %" PRIu64, count,
                  sure.key_count);
    }
}
