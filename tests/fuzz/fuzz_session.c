/*
 * Whatever a client sends and however it arrives, the replies and the store are those
 * of a plain array, now and after a restart.
 */
#include "fuzz/fuzz.h"

#include "base/clock.h"
#include "fuzz/model.h"
#include "fuzz/scratch.h"
#include "fuzz/wire.h"
#include "net/protocol.h"
#include "net/session.h"
#include "support/keyed.h"

#include <sys/socket.h>
#include <unistd.h>

enum { VALUE_BYTES = 200000, ROUNDS_MAX = 100000 };

struct client {
    struct store *store;
    struct session *session;
    enum session_state state;
    int peer;
    struct wire wire;
    struct buffer replies;
};

static struct store *open_store(void)
{
    struct store *store = NULL;
    struct scratch_path path = scratch_path("log");
    struct store_options options = {.path = path.text, .sync = SYNC_EVERYSEC};
    REQUIRE(store_open(&options, &store) == KV_OK);
    return store;
}

/* Read replies; returns whether there were any. */
static bool take_replies(struct client *client, size_t bytes_max)
{
    REQUIRE(buffer_reserve(&client->replies, bytes_max) == KV_OK);
    uint8_t *end = client->replies.bytes + client->replies.length;
    ssize_t count = recv(client->peer, end, bytes_max, 0);
    client->replies.length += count > 0 ? (size_t)count : 0;
    return count > 0;
}

/* As the server does between two runs: here a compaction makes its steps. */
static void maintain(struct client *client)
{
    enum leisure leisure = session_leisure(client->session);
    if (leisure == LEISURE_SOME && client->state == SESSION_WAITING) {
        leisure = LEISURE_ALL;
    }
    if (store_due_ms(client->store, leisure) <= clock_now_ms()) {
        REQUIRE(store_maintain(client->store, leisure) == KV_OK);
    }
}

/* Run the session until it waits for the client, who reads everything, or a little. */
static void run(struct client *client, size_t bytes_max)
{
    bool is_moving = true;
    for (int round = 0; is_moving && client->state != SESSION_OVER; round++) {
        REQUIRE(round < ROUNDS_MAX);
        REQUIRE(session_run(client->session, &client->state) == KV_OK);
        maintain(client);
        bool is_reading = client->state == SESSION_WAITING && bytes_max > 0;
        is_moving = (is_reading && take_replies(client, bytes_max)) ||
                    client->state == SESSION_READY;
    }
}

static void send_piece(struct client *client, const struct piece *piece)
{
    static const size_t appetites[4] = {65536, 65536, 1000, 0};
    struct slice bytes = piece->bytes;
    while (bytes.length > 0 && client->state != SESSION_OVER) {
        ssize_t count = send(client->peer, bytes.bytes, bytes.length, MSG_NOSIGNAL);
        bytes = slice_after(bytes, count > 0 ? (size_t)count : 0);
        run(client, appetites[piece->action]);
        if (count <= 0) {
            run(client, 65536); /* neither side may wait for the other for ever */
        }
    }
}

static void talk(struct client *client)
{
    struct piece piece;
    while (wire_next(&client->wire, &piece)) {
        send_piece(client, &piece);
    }
    REQUIRE(shutdown(client->peer, SHUT_WR) == 0);
    client->state = client->state == SESSION_OVER ? SESSION_OVER : SESSION_READY;
    run(client, 65536);
    REQUIRE(client->state == SESSION_OVER);
    session_end(client->session); /* the end of input was seen */
    while (take_replies(client, 65536)) {
    }
}

/* What is left of the replies that were received. */
struct reading {
    struct slice rest;
};

static void expect(struct reading *reading, struct slice bytes)
{
    REQUIRE(slice_starts_with(reading->rest, bytes));
    reading->rest = slice_after(reading->rest, bytes.length);
}

static struct slice next_reply_line(struct reading *reading)
{
    const uint8_t *lf = memchr(reading->rest.bytes, '\n', reading->rest.length);
    REQUIRE(lf != NULL);
    struct slice line = slice_first(reading->rest, (size_t)(lf - reading->rest.bytes));
    reading->rest = slice_after(reading->rest, line.length + 1);
    return line;
}

static void expect_status(struct reading *reading, enum status status, enum verb verb)
{
    struct buffer line = {0};
    REQUIRE(buffer_reserve(&line, 256) == KV_OK);
    protocol_put_status(&line, status, verb);
    expect(reading, buffer_slice(&line));
    buffer_free(&line);
}

static void expect_number(struct reading *reading, uint64_t number)
{
    struct buffer line = {0};
    REQUIRE(buffer_reserve(&line, 256) == KV_OK);
    protocol_put_number(&line, number);
    expect(reading, buffer_slice(&line));
    buffer_free(&line);
}

/* Each key with the prefix once, in any order, then an empty line. */
static void expect_keys(struct reading *reading, const struct model *model,
                        struct slice prefix)
{
    struct model seen = {0};
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        count += slice_starts_with(model->entries[i].key, prefix) ? 1 : 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice key = next_reply_line(reading);
        REQUIRE(slice_starts_with(key, prefix));
        REQUIRE(model_get(model, key) != NULL && model_get(&seen, key) == NULL);
        model_set(&seen, key, key);
    }
    REQUIRE(next_reply_line(reading).length == 0);
    model_free(&seen);
}

static void expect_lines(struct reading *reading)
{
    while (next_reply_line(reading).length > 0) {
    }
}

/* Do to the model what the request does to the store, and check the reply. */
static void expect_executed(struct reading *reading, struct model *model,
                            const struct request *request)
{
    const struct slice *value = model_get(model, request->key);
    switch (request->verb) {
    case VERB_SET:
        model_set(model, request->key, request->value);
        expect_status(reading, KV_OK, VERB_SET);
        break;
    case VERB_GET:
        if (value == NULL) {
            expect_status(reading, KV_NOT_FOUND, VERB_GET);
        } else {
            expect(reading, *value);
            expect(reading, SLICE_LITERAL("\n"));
        }
        break;
    case VERB_DELETE:
        model_delete(model, request->key);
        expect_status(reading, KV_OK, VERB_DELETE);
        break;
    case VERB_EXISTS:
        expect_number(reading, value == NULL ? 0 : 1);
        break;
    case VERB_KEYS:
        expect_keys(reading, model, request->key);
        break;
    case VERB_COUNT:
        expect_number(reading, model->count);
        break;
    case VERB_STATS:
    case VERB_HELP:
        expect_lines(reading);
        break;
    default: /* SYNC, COMPACT: one line */
        expect_status(reading, KV_OK, request->verb);
        break;
    }
}

/* Returns false when the connection closes at this line. */
static bool expect_line(struct reading *reading, struct model *model, enum wire_line kind,
                        struct slice line)
{
    struct request request;
    if (protocol_is_hangup(line)) {
        return false;
    }
    if (kind == WIRE_TOO_LONG) {
        expect_status(reading, KV_LINE_TOO_LONG, VERB_NONE);
        return true;
    }
    enum status status = protocol_parse(line, VALUE_BYTES, &request);
    if (kind == WIRE_UNFINISHED && protocol_is_write(request.verb)) {
        status = KV_INCOMPLETE_LINE;
    }
    if (status != KV_OK) {
        expect_status(reading, status, request.verb);
        return true;
    }
    if (request.verb == VERB_QUIT) {
        return false;
    }
    expect_executed(reading, model, &request);
    return true;
}

static void check_replies(struct client *client, struct model *model)
{
    struct slice line;
    enum wire_line kind;
    struct slice sent = buffer_slice(&client->wire.sent);
    struct reading reading = {buffer_slice(&client->replies)};
    while (
        wire_split(&sent, (size_t)protocol_line_bytes_max(VALUE_BYTES), &kind, &line) &&
        expect_line(&reading, model, kind, line)) {
    }
    REQUIRE(reading.rest.length == 0);
}

static void check_store(struct store *store, const struct model *model)
{
    struct slice value;
    REQUIRE(store_count(store) == model->count);
    for (size_t i = 0; i < model->count; i++) {
        REQUIRE(keyed_get(store, model->entries[i].key, &value) == KV_OK);
        REQUIRE(slice_equal(value, model->entries[i].value));
    }
}

int fuzz_session(const uint8_t *data, size_t size)
{
    int fds[2];
    struct model model = {0};
    struct client client = {.state = SESSION_READY};
    struct session_options options = {.value_bytes_max = VALUE_BYTES, .idle_ms = 1000};
    scratch_clear();
    wire_begin(&client.wire, (struct slice){data, size});
    wire_connect(fds);
    client.peer = fds[0];
    client.store = open_store();
    REQUIRE(session_create(&options, client.store, &client.session) == KV_OK);
    session_begin(client.session, fds[1]);
    talk(&client);
    session_destroy(client.session);
    check_replies(&client, &model);
    check_store(client.store, &model);
    REQUIRE(store_close(client.store) == KV_OK);
    client.store = open_store();
    check_store(client.store, &model);
    REQUIRE(store_close(client.store) == KV_OK);
    (void)close(client.peer); /* a socket of no further use */
    wire_end(&client.wire);
    buffer_free(&client.replies);
    model_free(&model);
    return 0;
}
