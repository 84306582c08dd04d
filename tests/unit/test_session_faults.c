/*
 * One client's session over a socket pair: what each command answers when memory, the
 * log or the socket fails it, and what the session then waits for.
 *
 * wrap: fstat fstatat pwrite ftruncate fdatasync recv send shutdown poll clock_gettime
 * wrap: malloc calloc realloc
 */
#include "net/session.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

enum { RUNS_MAX = 100000, PIECE_BYTES = 65536 };

static const struct session_options options = {.value_bytes_max = MIB, .idle_ms = 10000};

/* A client on one end, a session on the other. */
struct talk {
    struct engine *engine;
    struct session *session;
    enum session_state state;
    int client_fd;
    struct script said;
    size_t said_length; /* what the socket has taken of it */
    struct script heard;
    bool has_no_memory; /* no buffer of the session can grow */
};

static struct talk begin_with(struct engine *engine, const struct session_options *wanted)
{
    struct talk talk = {.engine = engine};
    int fds[2];
    if (engine->store == NULL) {
        engine_open(engine);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(session_create(wanted, engine->store, &talk.session), KV_OK);
    session_begin(talk.session, fds[0]);
    talk.client_fd = fds[1];
    return talk;
}

static struct talk begin(struct engine *engine)
{
    return begin_with(engine, &options);
}

static void end(struct talk *talk)
{
    assert_int_equal(close(talk->client_fd), 0);
    session_end(talk->session);
    session_destroy(talk->session);
    script_free(&talk->said);
    script_free(&talk->heard);
}

/* Send what the socket takes; returns whether it took any. */
static bool say(struct talk *talk)
{
    size_t left = talk->said.length - talk->said_length;
    if (left == 0) {
        return false;
    }
    ssize_t count = write(talk->client_fd, talk->said.bytes + talk->said_length, left);
    talk->said_length += count > 0 ? (size_t)count : 0;
    return count > 0;
}

/* Take what has come; returns whether there was any. */
static bool hear(struct talk *talk)
{
    static uint8_t piece[PIECE_BYTES];
    ssize_t count = read(talk->client_fd, piece, sizeof piece);
    if (count > 0) {
        script_add(&talk->heard, (struct slice){piece, (size_t)count});
    }
    return count > 0;
}

/* The faults that last, for one run. */
static void run_once(struct talk *talk, bool is_deaf)
{
    const struct shim_fault no_memory = {SHIM_BIT(SHIM_REALLOC), SHIM_ANY, 1, ENOMEM,
                                         true};
    const struct shim_fault no_room = {SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, EAGAIN, true};
    if (talk->has_no_memory) {
        shim_inject(&no_memory);
    }
    if (is_deaf) {
        shim_inject(&no_room);
    }
    assert_int_equal(session_run(talk->session, &talk->state), KV_OK);
    if (talk->has_no_memory || is_deaf) {
        shim_clear_faults();
    }
}

/* Go on until neither side has anything to do; a client that is deaf takes nothing. */
static void run(struct talk *talk, bool is_deaf)
{
    bool is_moving = true;
    for (size_t i = 0; is_moving && talk->state != SESSION_OVER; i++) {
        assert_in_range(i, 0, RUNS_MAX);
        is_moving = say(talk);
        run_once(talk, is_deaf);
        is_moving = (!is_deaf && hear(talk)) || is_moving || talk->state == SESSION_READY;
    }
    while (!is_deaf && hear(talk)) {
    }
}

static void expect_heard(const struct talk *talk, struct slice reply)
{
    assert_int_equal(talk->heard.length, reply.length);
    if (reply.length > 0) {
        assert_memory_equal(talk->heard.bytes, reply.bytes, reply.length);
    }
}

/* A whole conversation in one batch. */
static void expect_reply(struct talk *talk, const char *request, const char *reply)
{
    script_free(&talk->heard);
    talk->heard = (struct script){0};
    script_add_text(&talk->said, request);
    run(talk, false);
    expect_heard(talk, slice_of_text(reply));
}

/* Store a value of so many bytes under a key of one byte. */
static void store_value(struct engine *engine, char key, size_t length)
{
    struct script value = {0};
    script_add_fill(&value, key, length);
    assert_int_equal(keyed_set(engine->store, (struct slice){(const uint8_t *)&key, 1},
                               script_slice(&value)),
                     KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    script_free(&value);
}

/* ---- A batch that is refused ---- */

/* The disk has no room for the next batch. */
static void refuse_next(void)
{
    shim_clear_faults();
    shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_ANY, 1, ENOSPC);
}

/* A batch is refused, and what follows arrives before the session has run again. */
static void expect_behind_refused(struct talk *talk, const char *refused,
                                  const char *request, const char *reply)
{
    refuse_next();
    script_add_text(&talk->said, refused);
    assert_true(say(talk));
    run_once(talk, false);
    assert_true(hear(talk));
    expect_reply(talk, request, reply);
}

/* The next line stands where the refused one stood, and its key is as long. */
static void f98_a_key_behind_a_refused_one_is_its_own(void **state)
{
    struct talk talk = begin(*state);
    expect_reply(&talk, "SET old1 v1\n", "success\n");
    expect_behind_refused(&talk, "SET new1 x\n", "GET old1\n", "v1\n");
    expect_behind_refused(&talk, "SET new1 x\n", "SET old1 v2\nGET old1\nCOUNT\n",
                          "success\nv2\n1\n");
    expect_behind_refused(&talk, "SET old1 x\n", "GET new1\n", "no value stored\n");
    expect_behind_refused(&talk, "DELETE old1\n", "EXISTS othr3\n", "0\n");
    end(&talk);
    engine_close(talk.engine);
    engine_drop_index(talk.engine);
    engine_open(talk.engine);
    engine_expect(talk.engine, "old1", "v2");
    assert_int_equal(store_count(talk.engine->store), 1);
}

/* What is refused for one client says nothing about the keys of the next. */
static void f98_the_next_client_of_a_refused_one_gets_its_own_keys(void **state)
{
    struct talk talk = begin(*state);
    struct talk next = talk;
    int fds[2];
    expect_reply(&talk, "SET old1 v1\n", "success\n");
    refuse_next();
    script_add_text(&talk.said, "SET new1 x\n");
    assert_true(say(&talk));
    run_once(&talk, false);
    assert_true(hear(&talk));
    session_end(talk.session);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    session_begin(talk.session, fds[0]);
    next.client_fd = fds[1];
    expect_reply(&next, "SET old1 v2\nGET old1\nCOUNT\n", "success\nv2\n1\n");
    script_free(&next.said);
    script_free(&next.heard);
    assert_int_equal(close(next.client_fd), 0);
    end(&talk);
}

/* More writes than a group has are answered once each, and what follows is of its own
 * keys. */
static void f98_groups_of_refused_writes_leave_nothing_behind(void **state)
{
    enum { LINES = 5 * GROUP_LINES_MAX / 2 };
    struct script refused = {0};
    struct script reply = {0};
    struct talk talk = begin(*state);
    expect_reply(&talk, "SET k000 v\nSET k129 v\n", "success\nsuccess\n");
    for (int i = 0; i < LINES; i++) {
        script_add_format(&refused, "SET n%03d v\n", i);
        script_add_text(&reply, "error: storage full\n");
    }
    refuse_next();
    script_add(&talk.said, script_slice(&refused));
    talk.heard.length = 0;
    assert_true(say(&talk));
    run_once(&talk, false);
    assert_true(hear(&talk));
    expect_heard(&talk, script_slice(&reply));
    expect_reply(&talk, "SET k000 w\nGET k000\nGET k129\nCOUNT\n", "success\nw\nv\n2\n");
    script_free(&refused);
    script_free(&reply);
    end(&talk);
}

/* ---- A walk through many keys ---- */

/* KEYS that finds nothing gives way to others again and again, and is not idle. */
static void f105_a_list_that_finds_nothing_is_made_in_slices(void **state)
{
    enum { KEYS = 3 * KEYS_SLICE_COUNT };
    struct engine *engine = *state;
    struct talk talk = begin(engine);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(keyed_set(engine->store,
                                   (struct slice){(const uint8_t *)&i, sizeof i},
                                   SLICE_LITERAL("v")),
                         KV_OK);
    }
    assert_int_equal(store_commit(engine->store), KV_OK);
    shim_set_clock(START_MS);
    script_add_text(&talk.said, "KEYS zzzzz\nCOUNT\n");
    assert_true(say(&talk));
    int runs = 0;
    do {
        assert_int_equal(session_run(talk.session, &talk.state), KV_OK);
        assert_int_equal(talk.state, SESSION_READY);
        /* Time that the disk takes for keys counts against nobody. */
        shim_advance_clock(options.idle_ms);
        runs++;
    } while (!hear(&talk));
    assert_in_range(runs, KEYS / KEYS_SLICE_COUNT, RUNS_MAX);
    run(&talk, false);
    expect_heard(&talk, SLICE_LITERAL("\n12288\n"));

    /* Keys that the disk is slow to give: a slice is over when its time is. */
    shim_slow_down(KEYS_SLICE_US_MAX / 2);
    script_add_text(&talk.said, "KEYS zzzzz\n");
    assert_true(say(&talk));
    for (runs = 0; runs < 2 * KEYS / KEYS_SLICE_COUNT; runs++) {
        assert_int_equal(session_run(talk.session, &talk.state), KV_OK);
        assert_false(hear(&talk));
    }
    shim_set_clock(2 * START_MS);
    run(&talk, false);
    end(&talk);
}

/* ---- Without memory ---- */

static void f71_session_create_without_memory_fails_cleanly(void **state)
{
    struct engine *engine = *state;
    struct session *session = NULL;
    enum status status = KV_NO_MEMORY;
    uint64_t nth = 0;
    engine_open(engine);
    while (status != KV_OK) {
        nth++;
        assert_in_range(nth, 1, 10);
        shim_clear_faults();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        status = session_create(&options, engine->store, &session);
        assert_true(status == KV_OK || (status == KV_NO_MEMORY && session == NULL));
    }
    assert_int_equal(nth, 5); /* session, connection, two buffers; then it worked */
    session_destroy(session);
}

static void session_create_refuses_lines_that_no_memory_can_hold(void **state)
{
    struct engine *engine = *state;
    struct session *session = NULL;
    struct session_options large = options;
    large.value_bytes_max = SIZE_MAX / 4;
    engine_open(engine);
    assert_int_equal(session_create(&large, engine->store, &session), KV_NO_MEMORY);
    assert_null(session);
    session_destroy(NULL);
}

/* All of it is said and heard while memory does not grow; that ends the talk. */
static void expect_without_memory(struct talk *talk, struct script *reply)
{
    talk->has_no_memory = true;
    run(talk, false);
    expect_heard(talk, script_slice(reply));
    script_free(reply);
    end(talk);
}

/* Replies that wait leave so much room for the next one, and there will be no more. */
enum { ROOM_BYTES = 1000, LONG_VALUE = 100000 };
enum { REST_VALUE = REPLIES_BYTES_KEPT - 2 * (LONG_VALUE + 1) - 1 - ROOM_BYTES };

static void f71_commands_without_memory_say_so_and_the_next_goes_on(void **state)
{
    struct engine *engine = *state;
    struct script reply = {0};
    struct talk talk = begin(engine);
    store_value(engine, 'a', LONG_VALUE);
    store_value(engine, 'b', REST_VALUE);
    script_add_text(&talk.said,
                    "GET a\nGET a\nGET b\nHELP\nSTATS\nGET b\nKEYS a\nCOUNT\n");
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill(&reply, 'b', REST_VALUE);
    script_add_text(&reply, "\nerror: out of memory\nerror: out of memory\n"
                            "error: out of memory\nerror: out of memory\n2\n");
    assert_int_equal(write(talk.client_fd, talk.said.bytes, talk.said.length),
                     talk.said.length); /* all at once: one batch */
    talk.said_length = talk.said.length;
    expect_without_memory(&talk, &reply);
}

/* Where not even an error line has room, the next command waits until some was sent. */
static void f71_commands_wait_for_room_for_their_reply(void **state)
{
    struct engine *engine = *state;
    struct script reply = {0};
    struct talk talk = begin(engine);
    enum { FULL_VALUE = REST_VALUE + ROOM_BYTES - REPLY_LINE_BYTES_MAX + 1 };
    store_value(engine, 'a', LONG_VALUE);
    store_value(engine, 'b', FULL_VALUE);
    script_add_text(&talk.said, "GET a\nGET a\nGET b\nCOUNT\n");
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill(&reply, 'b', FULL_VALUE);
    script_add_text(&reply, "\n2\n");
    talk.has_no_memory = true;
    run(&talk, true);
    shim_fail_once(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, 1, ENOMEM);
    session_stop(talk.session, KV_IDLE); /* nor has its line any */
    shim_clear_faults();
    run(&talk, false);
    /* Stopped before its turn, COUNT is not executed. */
    expect_heard(&talk, slice_first(script_slice(&reply), reply.length - 2));
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
    talk = begin(engine);
    script_add_text(&talk.said, "GET a\nGET a\nGET b\nCOUNT\n");
    expect_without_memory(&talk, &reply);
}

/* The next key of a list waits likewise. */
static void f71_keys_wait_for_room_in_the_replies(void **state)
{
    struct engine *engine = *state;
    struct script reply = {0};
    struct talk talk = begin(engine);
    store_value(engine, 'a', LONG_VALUE);
    script_add_text(&talk.said, "GET a\nGET a\nKEYS\nCOUNT\n");
    for (int i = 0; i < 2; i++) {
        script_add_fill_line(&reply, 'a', LONG_VALUE);
    }
    script_add_text(&reply, "a\n\n1\n");
    expect_without_memory(&talk, &reply);
}

/* Lines that nothing is executed for, more than a session takes while it cannot go on. */
enum { JUNK_LINES = 30, JUNK_BYTES = 50000 };

static void add_junk(struct script *said, struct script *reply)
{
    for (int i = 0; i < JUNK_LINES; i++) {
        script_add_fill_line(said, 'x', JUNK_BYTES);
        script_add_text(reply, "error: unknown command\n");
    }
}

/* A value that is sent from the log is not held instead, and nothing is lost by that. */
static void f71_a_streamed_value_is_not_held_without_memory(void **state)
{
    enum { STREAMED = 600000 };
    struct engine *engine = *state;
    struct script reply = {0};
    struct talk talk = begin(engine);
    store_value(engine, 'a', STREAMED);
    script_add_text(&talk.said, "GET a\n");
    script_add_fill_line(&reply, 'a', STREAMED);
    add_junk(&talk.said, &reply);
    talk.has_no_memory = true;
    run(&talk, true);
    assert_true(session_leisure(talk.session) == LEISURE_NONE);
    assert_true(talk.said_length < talk.said.length);
    run(&talk, false);
    expect_heard(&talk, script_slice(&reply));
    script_free(&reply);
    end(&talk);
}

/* What is heard is a list of these keys in any order, and then this. */
static void expect_keys(const struct talk *talk, size_t count, size_t key_length,
                        struct slice rest)
{
    size_t list_length = count * (key_length + 1) + 1;
    unsigned seen = 0;
    assert_int_equal(talk->heard.length, list_length + rest.length);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *key = talk->heard.bytes + i * (key_length + 1);
        for (size_t at = 1; at < key_length; at++) {
            assert_int_equal(key[at], key[0]);
        }
        assert_int_equal(key[key_length], '\n');
        seen |= 1u << (key[0] - 'a');
    }
    assert_int_equal(seen, (1u << count) - 1);
    assert_int_equal(talk->heard.bytes[list_length - 1], '\n');
    assert_memory_equal(talk->heard.bytes + list_length, rest.bytes, rest.length);
}

/* More keys than replies can be held for wait for the client, and none is left out. */
static void f71_a_list_of_keys_is_not_held_without_memory(void **state)
{
    enum { KEYS = 5, KEY_BYTES = 60000 };
    struct engine *engine = *state;
    struct script reply = {0};
    struct talk talk = begin(engine);
    for (int i = 0; i < KEYS; i++) {
        struct script key = {0};
        script_add_fill(&key, (char)('a' + i), KEY_BYTES);
        assert_int_equal(keyed_set(engine->store, script_slice(&key), SLICE_LITERAL("v")),
                         KV_OK);
        assert_int_equal(store_commit(engine->store), KV_OK);
        script_free(&key);
    }
    script_add_text(&talk.said, "KEYS\n");
    add_junk(&talk.said, &reply);
    talk.has_no_memory = true;
    run(&talk, true);
    assert_true(session_leisure(talk.session) == LEISURE_NONE);
    run(&talk, false);
    expect_keys(&talk, KEYS, KEY_BYTES, script_slice(&reply));
    script_free(&reply);
    end(&talk);
}

/* What piled up meanwhile is more than one batch takes: it is committed in parts. */
static void f43_lines_beyond_a_batch_are_committed_in_parts(void **state)
{
    enum { SETS = 5 };
    struct engine *engine = *state;
    struct session_options large = options;
    struct script reply = {0};
    large.value_bytes_max = 8 * MIB;
    struct talk talk = begin_with(engine, &large);
    store_value(engine, 'a', MIB);
    uint64_t commits = store_stats(engine->store).commits;
    script_add_text(&talk.said, "GET a\n");
    script_add_fill_line(&reply, 'a', MIB);
    for (int i = 0; i < SETS; i++) {
        script_add_text(&talk.said, "SET b ");
        script_add_fill_line(&talk.said, (char)('0' + i), MIB);
        script_add_text(&reply, "success\n");
    }
    run(&talk, true);
    assert_int_equal(talk.said_length, talk.said.length);
    assert_int_equal(store_stats(engine->store).commits, commits);
    run(&talk, false);
    expect_heard(&talk, script_slice(&reply));
    assert_int_equal(store_stats(engine->store).commits, commits + 2);
    script_free(&reply);
    end(&talk);
}

static void f71_a_line_that_memory_cannot_hold_is_answered(void **state)
{
    struct talk talk = begin(*state);
    script_add_text(&talk.said, "SET k ");
    script_add_fill(&talk.said, 'v', RECEIVE_BYTES_KEPT);
    script_add_text(&talk.said, "\nCOUNT\n");
    talk.has_no_memory = true;
    run(&talk, false);
    expect_heard(&talk, SLICE_LITERAL("error: out of memory\n0\n"));
    end(&talk);
}

/* ---- A client that takes nothing for now ---- */

/* valgrind puts a library of its own before all others, and takes a minute for a full
 * backlog, which has one size only. */
static bool is_under_valgrind(void)
{
    const char *libraries = getenv("LD_PRELOAD");
    return libraries != NULL && strstr(libraries, "vgpreload") != NULL;
}

/* Replies of this size are held; so many of them nearly make a full backlog. */
enum { HELD_VALUE = 120000, HELD_NEARLY = 554, HELD_MORE = 600 };

static void ask_for_held_values(struct talk *talk, int count)
{
    store_value(talk->engine, 'a', HELD_VALUE);
    for (int i = 0; i < count; i++) {
        script_add_text(&talk->said, "GET a\n");
    }
}

/* What is heard is so many of those values, and then this. */
static void expect_held_values(const struct talk *talk, size_t count, struct slice rest)
{
    struct script line = {0};
    script_add_fill_line(&line, 'a', HELD_VALUE);
    assert_int_equal(talk->heard.length, count * line.length + rest.length);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            memcmp(talk->heard.bytes + i * line.length, line.bytes, line.length), 0);
    }
    assert_memory_equal(talk->heard.bytes + count * line.length, rest.bytes, rest.length);
    script_free(&line);
}

/* Past the limit nothing is executed until the client has taken some. */
static void f3_f4_a_full_backlog_stops_execution(void **state)
{
    if (is_under_valgrind()) {
        skip();
    }
    struct talk talk = begin(*state);
    ask_for_held_values(&talk, HELD_MORE);
    script_add_text(&talk.said, "SET k v\n");
    run(&talk, true);
    assert_int_equal(talk.state, SESSION_WAITING);
    assert_true(session_is_cut(talk.session)); /* if it ended now */
    engine_expect(talk.engine, "k", NULL);
    run(&talk, false);
    assert_false(session_is_cut(talk.session));
    engine_expect(talk.engine, "k", "v");
    expect_held_values(&talk, HELD_MORE, SLICE_LITERAL("success\n"));
    end(&talk);
}

/* A large value for which too little of the limit is left stays in the log. */
static void f3_f4_a_value_beyond_the_backlog_is_not_held(void **state)
{
    if (is_under_valgrind()) {
        skip();
    }
    struct script reply = {0};
    struct talk talk = begin(*state);
    store_value(talk.engine, 'b', MIB);
    ask_for_held_values(&talk, HELD_NEARLY);
    script_add_text(&talk.said, "GET b\n");
    script_add_fill_line(&reply, 'b', MIB);
    add_junk(&talk.said, &reply);
    run(&talk, true);
    assert_true(session_leisure(talk.session) == LEISURE_NONE);
    assert_true(talk.said_length < talk.said.length);
    run(&talk, false);
    expect_held_values(&talk, HELD_NEARLY, script_slice(&reply));
    script_free(&reply);
    end(&talk);
}

/* ---- Over a damaged log ---- */

static void f40_commands_say_which_key_is_damaged(void **state)
{
    struct engine *engine = *state;
    struct talk talk = begin(engine);
    engine_put(engine, "k", "value");
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES, 1);
    expect_reply(&talk, "EXISTS k\n", "error: corrupt value\n");
    expect_reply(&talk, "GET k\n", "error: corrupt value\n");
    expect_reply(&talk, "KEYS\n", "error: corrupt value\n\n");
    expect_reply(&talk, "ADD k new\n", "error: corrupt value\n");
    expect_reply(&talk, "INCR k\n", "error: corrupt value\n");
    expect_reply(&talk, "LIST\n", "error: corrupt value\n");
    expect_reply(&talk, "EXISTS other\n", "0\n");
    end(&talk);
}

/* ---- A client that goes away ---- */

static void f7_a_session_whose_client_is_lost_is_over(void **state)
{
    const char *const requests[] = {"GET k\n", "GET k\nQUIT\n", "KEYS\n"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct talk talk = begin(*state);
        script_add_text(&talk.said, requests[i]);
        shim_fail_once(SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, ECONNRESET);
        run(&talk, false);
        assert_int_equal(talk.state, SESSION_OVER);
        expect_heard(&talk, (struct slice){NULL, 0});
        uint64_t shutdowns = shim_count(SHIM_SHUTDOWN);
        (void)session_linger(talk.session, clock_now_ms() + LINGER_MS_MAX);
        session_end(talk.session);
        assert_int_equal(shim_count(SHIM_SHUTDOWN), shutdowns); /* nobody is there */
        shim_clear_faults();
        session_destroy(talk.session);
        assert_int_equal(close(talk.client_fd), 0);
        script_free(&talk.said);
    }
}

static void f7_a_session_whose_input_is_lost_is_over(void **state)
{
    struct talk talk = begin(*state);
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, ECONNRESET);
    run(&talk, false);
    shim_clear_faults();
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
}

/* ---- What it waits for ---- */

static void f3_a_session_with_replies_due_is_not_idle(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    struct talk talk = begin(engine);
    store_value(engine, 'a', MIB);
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + options.idle_ms);
    script_add_text(&talk.said, "GET a\n");
    run(&talk, true);
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN | POLLOUT);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + options.idle_ms);
    assert_int_equal(shutdown(talk.client_fd, SHUT_WR), 0);
    run(&talk, true);
    assert_int_equal(session_wait(talk.session).socket.events, POLLOUT);
    run(&talk, false);
    assert_int_equal(talk.heard.length, MIB + 1);
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
}

static void a_session_that_is_stopped_says_why_and_is_over(void **state)
{
    struct talk talk = begin(*state);
    expect_reply(&talk, "COUNT\n", "0\n");
    session_stop(talk.session, KV_IDLE);
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN | POLLOUT);
    expect_reply(&talk, "COUNT\n", "error: idle too long\n");
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
}

/* One that has taken nothing for long, since nothing was due, has its time for this. */
static void f1_a_session_idle_for_long_has_time_to_take_its_last_reply(void **state)
{
    shim_set_clock(START_MS);
    struct talk talk = begin(*state);
    expect_reply(&talk, "COUNT\n", "0\n");
    shim_advance_clock(10 * options.idle_ms);
    session_stop(talk.session, KV_IDLE);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + 11 * options.idle_ms);
    expect_reply(&talk, "", "error: idle too long\n");
    end(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f98_a_key_behind_a_refused_one_is_its_own),
        ON_ENGINE(f98_the_next_client_of_a_refused_one_gets_its_own_keys),
        ON_ENGINE(f98_groups_of_refused_writes_leave_nothing_behind),
        ON_ENGINE(f105_a_list_that_finds_nothing_is_made_in_slices),
        ON_ENGINE(f71_session_create_without_memory_fails_cleanly),
        ON_ENGINE(session_create_refuses_lines_that_no_memory_can_hold),
        ON_ENGINE(f71_commands_without_memory_say_so_and_the_next_goes_on),
        ON_ENGINE(f71_commands_wait_for_room_for_their_reply),
        ON_ENGINE(f71_keys_wait_for_room_in_the_replies),
        ON_ENGINE(f71_a_streamed_value_is_not_held_without_memory),
        ON_ENGINE(f71_a_list_of_keys_is_not_held_without_memory),
        ON_ENGINE(f3_f4_a_full_backlog_stops_execution),
        ON_ENGINE(f3_f4_a_value_beyond_the_backlog_is_not_held),
        ON_ENGINE(f43_lines_beyond_a_batch_are_committed_in_parts),
        ON_ENGINE(f71_a_line_that_memory_cannot_hold_is_answered),
        ON_ENGINE(f40_commands_say_which_key_is_damaged),
        ON_ENGINE(f7_a_session_whose_client_is_lost_is_over),
        ON_ENGINE(f7_a_session_whose_input_is_lost_is_over),
        ON_ENGINE(f3_a_session_with_replies_due_is_not_idle),
        ON_ENGINE(a_session_that_is_stopped_says_why_and_is_over),
        ON_ENGINE(f1_a_session_idle_for_long_has_time_to_take_its_last_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
