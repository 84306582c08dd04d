/*
 * One session over a socket pair and a store in this process, where the test decides what
 * each receive brings and which call fails: which lines share a commit, what is answered
 * without memory and over a damaged log, and how much may wait for the client.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap recv send shutdown poll clock_gettime
 * wrap: malloc calloc realloc fstatvfs
 */
#include "net/session.h"

#include "base/bounds.h"
#include "log/record.h"
#include "net/protocol.h"
#include "support/disk.h"
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

enum { VAIN_RUNS_MAX = 100, PIECE_BYTES = 65536 };

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
    bool is_deaf;       /* its socket takes nothing */
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
    shim_reset();
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
    ssize_t count = talk->is_deaf ? 0 : read(talk->client_fd, piece, sizeof piece);
    if (count > 0) {
        script_add(&talk->heard, (struct slice){piece, (size_t)count});
    }
    return count > 0;
}

static void run_once(struct talk *talk)
{
    const struct shim_fault no_memory = {SHIM_BIT(SHIM_REALLOC), SHIM_ANY, 1, ENOMEM,
                                         true};
    const struct shim_fault no_room = {SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, EAGAIN, true};
    if (talk->has_no_memory) {
        shim_inject(&no_memory);
    }
    if (talk->is_deaf) {
        shim_inject(&no_room);
    }
    assert_int_equal(session_run(talk->session, &talk->state), KV_OK);
    if (talk->has_no_memory || talk->is_deaf) {
        shim_clear_faults();
    }
}

/* Go on until neither side has anything to do. */
static void run(struct talk *talk)
{
    bool is_moving = true;
    for (size_t vain_runs = 0; is_moving && talk->state != SESSION_OVER;) {
        bool has_moved = say(talk);
        run_once(talk);
        has_moved = hear(talk) || has_moved;
        vain_runs = has_moved ? 0 : vain_runs + 1;
        assert_in_range(vain_runs, 0, VAIN_RUNS_MAX);
        is_moving = has_moved || talk->state == SESSION_READY;
    }
    while (hear(talk)) {
    }
}

/* All that was heard since the last time. */
static void expect_heard(struct talk *talk, struct slice reply)
{
    assert_int_equal(talk->heard.length, reply.length);
    if (reply.length > 0) {
        assert_memory_equal(talk->heard.bytes, reply.bytes, reply.length);
    }
    talk->heard.length = 0;
}

/* A whole conversation, in one batch if the socket takes the request at once. */
static void expect_reply(struct talk *talk, const char *request, const char *reply)
{
    script_add_text(&talk->said, request);
    run(talk);
    expect_heard(talk, slice_of_text(reply));
}

static void add_repeated(struct script *script, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        script_add_text(script, text);
    }
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

/* ---- Which lines share a commit ---- */

static void session_gives_one_sync_to_all_that_has_arrived(void **state)
{
    struct talk talk = begin(*state);
    struct script replies = {0};
    run(&talk);
    shim_limit_bytes(SHIM_BIT(SHIM_RECV), 1000);
    uint64_t syncs = shim_count(SHIM_FDATASYNC);
    uint64_t writes = shim_count(SHIM_PWRITE);
    add_repeated(&talk.said, "SET a value\nSET b value\nSET c value\n", 100);
    add_repeated(&replies, "success\n", 300);
    run(&talk);
    assert_int_equal(shim_count(SHIM_FDATASYNC) - syncs, 1);
    assert_int_equal(shim_count(SHIM_PWRITE) - writes, 1);
    expect_heard(&talk, script_slice(&replies));
    script_free(&replies);
    end(&talk);
}

/* A client that never stops sending: before each receive there is more. */
static void say_again(void *context)
{
    struct talk *talk = context;
    talk->said_length = 0;
    assert_true(say(talk));
    assert_int_equal(talk->said_length, talk->said.length);
    shim_before(SHIM_BIT(SHIM_RECV), SHIM_ANY, say_again, talk);
}

static void session_commits_in_time_while_a_client_sends_on_and_on(void **state)
{
    struct talk talk = begin(*state);
    run(&talk);
    script_add_text(&talk.said, "SET key ");
    script_add_fill_line(&talk.said, 'v', 30000);
    say_again(&talk);
    run_once(&talk); /* it receives */
    uint64_t before = engine_log_length(talk.engine);
    run_once(&talk);
    assert_in_range(engine_log_length(talk.engine) - before, GATHER_BYTES_MAX,
                    GATHER_BYTES_MAX + RECEIVE_BYTES_KEPT);
    end(&talk);
}

/* Likewise, a short line at a time: its first one is answered before too many more. */
static void session_commits_in_time_what_comes_line_by_line(void **state)
{
    struct talk talk = begin(*state);
    run(&talk);
    uint64_t receives = shim_count(SHIM_RECV);
    script_add_text(&talk.said, "SET key value\n");
    say_again(&talk);
    run_once(&talk);
    assert_int_equal(shim_count(SHIM_RECV) - receives, 1 + GATHER_RECEIVES_MAX);
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
    talk.is_deaf = true;
    run(&talk);
    assert_int_equal(talk.said_length, talk.said.length);
    assert_int_equal(store_stats(engine->store).commits, commits);
    talk.is_deaf = false;
    run(&talk);
    expect_heard(&talk, script_slice(&reply));
    assert_int_equal(store_stats(engine->store).commits, commits + 2);
    script_free(&reply);
    end(&talk);
}

static void f8_session_keeps_what_came_before_a_client_was_lost_amid_a_batch(void **state)
{
    struct talk talk = begin(*state);
    run(&talk);
    script_add_text(&talk.said, "SET a 1\nSET b 2\n");
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 2, ECONNRESET);
    run(&talk);
    assert_int_equal(talk.state, SESSION_OVER);
    engine_expect(talk.engine, "a", "1");
    engine_expect(talk.engine, "b", "2");
    end(&talk);
}

/* More writes than a group has are refused once each, and so are what reads them and
 * what follows them; behind them each line has its own key. */
static void f30_f98_a_refused_batch_leaves_nothing_behind(void **state)
{
    enum { LINES = 5 * GROUP_LINES_MAX / 2 };
    struct talk talk = begin(*state);
    struct script replies = {0};
    expect_reply(&talk, "SET k000 v\nSET k129 v\n", "success\nsuccess\n");
    for (int i = 0; i < LINES; i++) {
        script_add_format(&talk.said, "SET n%03d v\n", i);
    }
    script_add_text(&talk.said, "GET k000\nDELETE k000\nGET k000\n"
                                "ADD n000 v\nINCR n000\nEXISTS n000\n");
    add_repeated(&replies, "error: storage full\n", LINES);
    script_add_text(&replies, "v\nerror: storage full\nv\n"
                              "error: storage full\nerror: storage full\n0\n");
    shim_set_space(SHIM_LOG, engine_log_length(talk.engine) + 10, ENOSPC);
    run(&talk);
    expect_heard(&talk, script_slice(&replies));
    shim_give_space();
    expect_reply(&talk, "SET k000 w\nGET k000\nGET k129\nCOUNT\n", "success\nw\nv\n2\n");
    script_free(&replies);
    end(&talk);
}

static void expect_refused(struct talk *talk, const char *line)
{
    script_add_text(&talk->said, "STATS\n");
    run(talk);
    script_add_fill(&talk->heard, '\0', 1);
    assert_non_null(strstr((const char *)talk->heard.bytes, line));
    talk->heard.length = 0;
}

/* It is what tells a full disk: by a write that fails, or since the last room is kept. */
static void f99_stats_count_a_batch_with_refused_writes_once(void **state)
{
    struct talk talk = begin(*state);
    expect_refused(&talk, "\nrefused 0\n");
    shim_set_space(SHIM_LOG, engine_log_length(talk.engine) + 10, ENOSPC);
    expect_reply(&talk, "SET a 1\nSET b 2\n",
                 "error: storage full\nerror: storage full\n");
    expect_refused(&talk, "\nrefused 1\n");
    shim_give_space();
    disk_set_free(1000);
    shim_advance_clock(ROOM_LOOK_MS);
    assert_int_equal(store_maintain(talk.engine->store, LEISURE_ALL), KV_OK);
    expect_reply(&talk, "SET a 1\nADD b 2\nINCR c\nGET a\n",
                 "error: storage full\nerror: storage full\n"
                 "error: storage full\nno value stored\n");
    expect_refused(&talk, "\nrefused 2\n");
    expect_reply(&talk, "ADD c\nGET a\nINCR a x\n", /* not the disk's refusals */
                 "error: usage: ADD key value\nno value stored\n"
                 "error: not a number\n");
    expect_refused(&talk, "\nrefused 2\n");
    end(&talk);
}

/* ---- The end ---- */

/* Who was told to go is waited for, as long as it stays, at a time for so long as asked.
 */
static void f16_session_linger_tells_whether_the_client_is_still_there(void **state)
{
    struct talk talk = begin(*state);
    shim_set_clock(1000);
    run(&talk);
    assert_false(session_linger(talk.session, 1500)); /* it was not */
    expect_reply(&talk, "QUIT\n", "");
    assert_int_equal(talk.state, SESSION_OVER);
    assert_true(session_linger(talk.session, 1500));
    script_add_text(&talk.said, "COUNT\n");
    assert_true(say(&talk));
    assert_true(session_linger(talk.session, 2000));
    assert_int_equal(shutdown(talk.client_fd, SHUT_WR), 0);
    assert_false(session_linger(talk.session, 2500));
    end(&talk);
}

/* Who has not taken its replies is not waited for again, though it had said goodbye. */
static void f3_session_linger_waits_for_nobody_who_was_dropped(void **state)
{
    struct talk talk = begin(*state);
    store_value(talk.engine, 'k', 30000);
    shim_set_clock(1000);
    talk.is_deaf = true;
    expect_reply(&talk, "GET k\nQUIT\n", "");
    assert_int_equal(talk.state, SESSION_WAITING);
    assert_true(session_send_away(talk.session)); /* another waits */
    assert_false(session_linger(talk.session, 2000));
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
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN | POLLOUT);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + 11 * options.idle_ms);
    expect_reply(&talk, "COUNT\n", "error: idle too long\n");
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
}

/* A web page's line is none of ours, however long: neither whole nor before it ends. */
static void session_drops_who_is_no_client_before_its_line_is_too_long(void **state)
{
    static const char *const ends[] = {"", "\n", "\nSET k v\n"};
    struct session_options short_values = options;
    short_values.value_bytes_max = 1;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct talk talk = begin_with(*state, &short_values);
        script_add_text(&talk.said, "SET a 1\nPOST ");
        script_add_fill(&talk.said, 'x', (size_t)protocol_line_bytes_max(1) + 3);
        expect_reply(&talk, ends[i], "success\n");
        assert_int_equal(talk.state, SESSION_OVER);
        engine_expect(talk.engine, "k", NULL);
        end(&talk);
    }
}

/* A web page chooses the method: as the first line, what would store the version of HTTP.
 */
static void session_drops_who_begins_with_a_request_of_http(void **state)
{
    static const char *const firsts[] = {"SET /k HTTP/1.1\r\nHost: x\r\n\r\n",
                                         "set /k HTTP/1.0\r\n", "ADD /k HTTP/1.1\r\n",
                                         "\xef\xbb\xbfSET /k HTTP/1.1\r\n"};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        struct talk talk = begin(*state);
        script_add_text(&talk.said, firsts[i]);
        expect_reply(&talk, "SET k v\n", "");
        assert_int_equal(talk.state, SESSION_OVER);
        engine_expect(talk.engine, "/k", NULL);
        engine_expect(talk.engine, "k", NULL);
        end(&talk);
    }
}

/* So is no line that ends in LF alone, as a dump's do, nor a later one. */
static void session_stores_what_only_looks_like_http(void **state)
{
    static const char *const firsts[] = {"SET proto HTTP/1.1\r\n", "SET /k HTTP/1.1\n"};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        struct talk talk = begin(*state);
        script_add_text(&talk.said, firsts[i]);
        expect_reply(&talk, "SET /k HTTP/1.1\r\nGET /k\n",
                     "success\nsuccess\nHTTP/1.1\n");
        expect_reply(&talk, "DELETE /l\nADD /l HTTP/1.1\r\n", "success\nsuccess\n");
        end(&talk);
    }
}

/* Nothing of it would be stored: it is refused as it is anywhere. */
static void session_refuses_a_first_line_of_http_that_is_none_of_ours(void **state)
{
    static const struct {
        const char *first;
        const char *reply;
    } rows[] = {
        {"GET /k HTTP/1.1\n", "error: usage: GET key\n"},
        {"INCR /k HTTP/1.1\n", "error: not a number\n"},
        {"SET /k HTTP/1.1 \n", "success\n"},
        {"SET /k HTTP/1.12\n", "success\n"},
        {"SET /k x HTTP/1.1\n", "success\n"},
        {"SET /k HTTP/1.2\n", "success\n"},
        {"SET x/k HTTP/1.1\n", "success\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk talk = begin(*state);
        expect_reply(&talk, rows[i].first, rows[i].reply);
        expect_reply(&talk, "EXISTS no\n", "0\n");
        end(&talk);
    }
}

enum { SHORT_VALUE_BYTES = 100 }; /* enough for a SET to be the longest line */

/* Say the longest SET, and so many bytes more. */
static void say_longest(struct talk *talk, const char *before, size_t more_bytes)
{
    script_add_text(&talk->said, before);
    script_add_fill(&talk->said, 'k', KEY_BYTES_MAX);
    script_add_text(&talk->said, " ");
    script_add_fill(&talk->said, 'v', SHORT_VALUE_BYTES + more_bytes);
    script_add_text(&talk->said, "\r");
}

/* The mark is none of the line's bytes, neither to its harm nor to its good. */
static void f25_a_byte_order_mark_takes_nothing_of_the_longest_line(void **state)
{
    struct session_options short_values = options;
    short_values.value_bytes_max = SHORT_VALUE_BYTES;
    for (size_t more_bytes = 0; more_bytes <= 4; more_bytes++) {
        struct talk talk = begin_with(*state, &short_values);
        say_longest(&talk, "\xef\xbb\xbfSET ", more_bytes);
        expect_reply(&talk, "\n",
                     more_bytes == 0 ? "success\n" : "error: line too long\n");
        say_longest(&talk, "SET ", more_bytes);
        expect_reply(&talk, "\n",
                     more_bytes == 0 ? "success\n" : "error: line too long\n");
        end(&talk);
    }
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
        run_once(&talk);
        assert_int_equal(talk.state, SESSION_READY);
        /* Time that the disk takes for keys counts against nobody. */
        shim_advance_clock(options.idle_ms);
        runs++;
    } while (!hear(&talk));
    assert_in_range(runs, KEYS / KEYS_SLICE_COUNT, VAIN_RUNS_MAX);
    run(&talk);
    expect_heard(&talk, SLICE_LITERAL("\n12288\n"));

    /* Keys that the disk is slow to give: a slice is over when its time is. */
    shim_slow_down(KEYS_SLICE_US_MAX / 2);
    script_add_text(&talk.said, "KEYS zzzzz\n");
    assert_true(say(&talk));
    for (runs = 0; runs < 2 * KEYS / KEYS_SLICE_COUNT; runs++) {
        run_once(&talk);
        assert_false(hear(&talk));
    }
    shim_set_clock(2 * START_MS);
    run(&talk);
    end(&talk);
}

/* ---- Without memory ---- */

static void f71_session_create_without_memory_fails_cleanly(void **state)
{
    struct engine *engine = *state;
    struct session *session = NULL;
    struct session_options large = options;
    enum status status = KV_NO_MEMORY;
    large.value_bytes_max = SIZE_MAX / 4; /* lines that no memory can hold */
    engine_open(engine);
    assert_int_equal(session_create(&large, engine->store, &session), KV_NO_MEMORY);
    for (uint64_t nth = 1; status != KV_OK; nth++) {
        assert_null(session);
        assert_in_range(nth, 1, 10);
        shim_clear_faults();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        status = session_create(&options, engine->store, &session);
        assert_true(status == KV_OK || status == KV_NO_MEMORY);
    }
    session_destroy(session);
    session_destroy(NULL);
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
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill_line(&reply, 'a', LONG_VALUE);
    script_add_fill_line(&reply, 'b', REST_VALUE);
    add_repeated(&reply, "error: out of memory\n", 4);
    script_add_text(&reply, "2\n");
    script_add_text(&talk.said,
                    "GET a\nGET a\nGET b\nHELP\nSTATS\nGET b\nKEYS a\nCOUNT\n");
    talk.has_no_memory = true;
    run(&talk);
    expect_heard(&talk, script_slice(&reply));
    script_free(&reply);
    end(&talk);
}

/* Where not even an error line has room, the next command waits until some was sent; a
 * stop that comes before its turn has none for a line either. */
static void f71_commands_wait_for_room_for_their_reply(void **state)
{
    enum { FULL_VALUE = REST_VALUE + ROOM_BYTES - REPLY_LINE_BYTES_MAX + 1 };
    struct engine *engine = *state;
    for (int is_stopped = 0; is_stopped < 2; is_stopped++) {
        struct script reply = {0};
        struct talk talk = begin(engine);
        store_value(engine, 'a', LONG_VALUE);
        store_value(engine, 'b', FULL_VALUE);
        script_add_text(&talk.said, "GET a\nGET a\nGET b\nCOUNT\n");
        script_add_fill_line(&reply, 'a', LONG_VALUE);
        script_add_fill_line(&reply, 'a', LONG_VALUE);
        script_add_fill_line(&reply, 'b', FULL_VALUE);
        script_add_text(&reply, is_stopped ? "" : "2\n");
        talk.has_no_memory = true;
        talk.is_deaf = true;
        run(&talk);
        if (is_stopped) {
            shim_fail_once(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, 1, ENOMEM);
            session_stop(talk.session, KV_IDLE);
            shim_clear_faults();
        }
        talk.is_deaf = false;
        run(&talk);
        expect_heard(&talk, script_slice(&reply));
        script_free(&reply);
        end(&talk);
    }
}

/* The next key of a list waits likewise. */
static void f71_keys_wait_for_room_in_the_replies(void **state)
{
    struct script reply = {0};
    struct script value = {0};
    struct script key = {0};
    struct talk talk = begin(*state);
    script_add_fill(&key, 'k', KEY_BYTES_MAX);
    script_add_fill(&value, 'a', LONG_VALUE);
    assert_int_equal(
        keyed_set(talk.engine->store, script_slice(&key), script_slice(&value)), KV_OK);
    assert_int_equal(store_commit(talk.engine->store), KV_OK);
    for (int i = 0; i < 2; i++) {
        script_add_text(&talk.said, "GET ");
        script_add_fill_line(&talk.said, 'k', KEY_BYTES_MAX);
        script_add_fill_line(&reply, 'a', LONG_VALUE);
    }
    script_add_text(&talk.said, "KEYS\nCOUNT\n");
    script_add_fill_line(&reply, 'k', KEY_BYTES_MAX);
    script_add_text(&reply, "\n1\n");
    script_free(&value);
    script_free(&key);
    talk.has_no_memory = true;
    run(&talk);
    expect_heard(&talk, script_slice(&reply));
    script_free(&reply);
    end(&talk);
}

/* More lines that are answered at once than a session takes while it cannot go on. */
static void add_junk(struct talk *talk, struct script *reply)
{
    enum { JUNK_LINES = 30, JUNK_BYTES = 50000 };
    for (int i = 0; i < JUNK_LINES; i++) {
        script_add_fill_line(&talk->said, 'x', JUNK_BYTES);
        script_add_text(reply, "error: unknown command\n");
    }
}

/* The client takes nothing until the session takes no more of it, and then all. */
static void run_full(struct talk *talk)
{
    talk->is_deaf = true;
    run(talk);
    assert_true(session_leisure(talk->session) == LEISURE_NONE);
    assert_true(talk->said_length < talk->said.length);
    talk->is_deaf = false;
    run(talk);
}

/* The last of a talk, which asks for more than there is memory for and goes on asking. */
static void expect_without_memory(struct talk *talk, struct script *reply)
{
    add_junk(talk, reply);
    talk->has_no_memory = true;
    run_full(talk);
    expect_heard(talk, script_slice(reply));
    script_free(reply);
    end(talk);
}

/* A value that is sent from the log is not held instead, and nothing is lost by that. */
static void f71_a_streamed_value_is_not_held_without_memory(void **state)
{
    enum { STREAMED = 600000 };
    struct script reply = {0};
    struct talk talk = begin(*state);
    store_value(talk.engine, 'a', STREAMED);
    script_add_text(&talk.said, "GET a\n");
    script_add_fill_line(&reply, 'a', STREAMED);
    expect_without_memory(&talk, &reply);
}

/* More keys than replies can be held for wait for the client, and none is left out. */
static void f71_a_list_of_keys_is_not_held_without_memory(void **state)
{
    enum { KEYS = 5, KEY_BYTES = 60000 };
    struct script rest = {0};
    struct script keys[KEYS] = {{0}};
    struct talk talk = begin(*state);
    unsigned seen = 0;
    for (int i = 0; i < KEYS; i++) {
        script_add_fill(&keys[i], (char)('a' + i), KEY_BYTES);
        assert_int_equal(
            keyed_set(talk.engine->store, script_slice(&keys[i]), SLICE_LITERAL("v")),
            KV_OK);
        script_add_text(&keys[i], "\n");
    }
    assert_int_equal(store_commit(talk.engine->store), KV_OK);
    script_add_text(&talk.said, "KEYS\n");
    script_add_text(&rest, "\n");
    add_junk(&talk, &rest);
    talk.has_no_memory = true;
    run_full(&talk);
    struct slice heard = script_slice(&talk.heard);
    for (int i = 0; i < KEYS; i++) { /* in any order */
        unsigned number = (unsigned)(heard.bytes[0] - 'a');
        assert_in_range(number, 0, KEYS - 1);
        assert_true(slice_starts_with(heard, script_slice(&keys[number])));
        heard = slice_after(heard, keys[number].length);
        seen |= 1u << number;
    }
    assert_int_equal(seen, (1u << KEYS) - 1);
    assert_true(slice_equal(heard, script_slice(&rest)));
    for (int i = 0; i < KEYS; i++) {
        script_free(&keys[i]);
    }
    script_free(&rest);
    end(&talk);
}

/* Nor is a value of a list, for whose key there is memory: the list waits as well. */
static void f71_a_value_of_a_list_is_not_held_without_memory(void **state)
{
    enum { THIRD_VALUE = REPLIES_BYTES_KEPT / 3 + ROOM_BYTES };
    struct script reply = {0};
    struct talk talk = begin(*state);
    store_value(talk.engine, 'a', THIRD_VALUE);
    script_add_text(&talk.said, "GET a\nGET a\nLIST\n");
    script_add_fill_line(&reply, 'a', THIRD_VALUE);
    script_add_fill_line(&reply, 'a', THIRD_VALUE);
    script_add_text(&reply, "a ");
    script_add_fill_line(&reply, 'a', THIRD_VALUE);
    script_add_text(&reply, "\n");
    expect_without_memory(&talk, &reply);
}

/* ---- A client that takes nothing for now ---- */

/* valgrind puts a library of its own before all others, and takes a minute for a full
 * backlog, which has one size only. */
static bool is_under_valgrind(void)
{
    const char *libraries = getenv("LD_PRELOAD");
    return libraries != NULL && strstr(libraries, "vgpreload") != NULL;
}

/* Values of this size are held; so many of them nearly make a full backlog, or more. */
enum { HELD_VALUE = 120000, HELD_NEARLY = 554, HELD_MORE = 600 };

static void ask_for_held_values(struct talk *talk, size_t count, struct script *reply)
{
    store_value(talk->engine, 'a', HELD_VALUE);
    for (size_t i = 0; i < count; i++) {
        script_add_text(&talk->said, "GET a\n");
        script_add_fill_line(reply, 'a', HELD_VALUE);
    }
}

/* Past the limit nothing is executed until the client has taken some. */
static void f3_f4_a_full_backlog_stops_execution(void **state)
{
    if (is_under_valgrind()) {
        skip();
    }
    struct talk talk = begin(*state);
    struct script reply = {0};
    ask_for_held_values(&talk, HELD_MORE, &reply);
    script_add_text(&reply, "success\n");
    script_add_text(&talk.said, "SET k v\n");
    talk.is_deaf = true;
    run(&talk);
    assert_int_equal(talk.state, SESSION_WAITING);
    assert_true(session_is_cut(talk.session)); /* if it ended now */
    engine_expect(talk.engine, "k", NULL);
    talk.is_deaf = false;
    run(&talk);
    assert_false(session_is_cut(talk.session));
    engine_expect(talk.engine, "k", "v");
    assert_true(slice_equal(script_slice(&talk.heard), script_slice(&reply)));
    script_free(&reply);
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
    ask_for_held_values(&talk, HELD_NEARLY, &reply);
    script_add_text(&talk.said, "GET b\n");
    script_add_fill_line(&reply, 'b', MIB);
    add_junk(&talk, &reply);
    run_full(&talk);
    assert_true(slice_equal(script_slice(&talk.heard), script_slice(&reply)));
    script_free(&reply);
    end(&talk);
}

/* Likewise one of a list, which looks at the limit before a key and not behind it. */
static void f3_f4_a_value_behind_a_key_beyond_the_backlog_is_not_held(void **state)
{
    enum { HELD_FULL = BACKLOG_BYTES_MAX / (HELD_VALUE + 1) };
    if (is_under_valgrind()) {
        skip();
    }
    struct script key = {0};
    struct script value = {0};
    struct script reply = {0};
    struct talk talk = begin(*state);
    script_add_fill(&key, 'k', KEY_BYTES_MAX);
    script_add_fill(&value, 'v', STREAM_VALUE_BYTES_MIN);
    assert_int_equal(
        keyed_set(talk.engine->store, script_slice(&key), script_slice(&value)), KV_OK);
    ask_for_held_values(&talk, HELD_FULL, &reply);
    script_add_text(&talk.said, "LIST k\n");
    script_add(&reply, script_slice(&key));
    script_add_text(&reply, " ");
    script_add(&reply, script_slice(&value));
    script_add_text(&reply, "\n\n");
    add_junk(&talk, &reply);
    run_full(&talk);
    assert_true(slice_equal(script_slice(&talk.heard), script_slice(&reply)));
    script_free(&key);
    script_free(&value);
    script_free(&reply);
    end(&talk);
}

/* Large values are held one after another, so that what it sends is read and answered. */
static void f4_a_list_of_large_values_waits_for_no_client_that_sends_on(void **state)
{
    struct script line = {0};
    struct script rest = {0};
    struct talk talk = begin(*state);
    for (char key = 'a'; key <= 'c'; key++) {
        store_value(talk.engine, key, STREAM_VALUE_BYTES_MIN);
    }
    script_add_text(&talk.said, "LIST\n");
    script_add_text(&rest, "\n");
    add_junk(&talk, &rest);
    talk.is_deaf = true;
    run(&talk);
    assert_true((session_wait(talk.session).socket.events & POLLIN) != 0);
    talk.is_deaf = false;
    run(&talk);
    struct slice heard = script_slice(&talk.heard);
    for (int i = 0; i < 3; i++) { /* in any order */
        line.length = 0;
        script_add(&line, slice_first(heard, 1));
        script_add_text(&line, " ");
        script_add_fill_line(&line, (char)heard.bytes[0], STREAM_VALUE_BYTES_MIN);
        assert_true(slice_starts_with(heard, script_slice(&line)));
        heard = slice_after(heard, line.length);
    }
    assert_true(slice_equal(heard, script_slice(&rest)));
    script_free(&line);
    script_free(&rest);
    end(&talk);
}

/* The socket has no room for a moment, and then has some: for what is due first. */
static void f3_a_value_that_is_sent_from_the_log_overtakes_no_reply(void **state)
{
    struct script reply = {0};
    struct talk talk = begin(*state);
    store_value(talk.engine, 'b', MIB);
    script_add_text(&reply, "1\n");
    script_add_fill_line(&reply, 'b', MIB);
    script_add_text(&talk.said, "COUNT\nGET b\n");
    shim_fail_once(SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, EAGAIN);
    run(&talk);
    assert_true(slice_equal(script_slice(&talk.heard), script_slice(&reply)));
    script_free(&reply);
    end(&talk);
}

/* Its requests are read on meanwhile, and its time is counted by what it takes. */
static void f3_a_session_with_replies_due_is_not_idle(void **state)
{
    shim_set_clock(START_MS);
    struct talk talk = begin(*state);
    store_value(talk.engine, 'a', MIB);
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + options.idle_ms);
    talk.is_deaf = true;
    expect_reply(&talk, "GET a\n", "");
    assert_int_equal(session_wait(talk.session).socket.events, POLLIN | POLLOUT);
    assert_int_equal(session_wait(talk.session).idle_ms, START_MS + options.idle_ms);
    assert_int_equal(shutdown(talk.client_fd, SHUT_WR), 0);
    run(&talk);
    assert_int_equal(session_wait(talk.session).socket.events, POLLOUT);
    talk.is_deaf = false;
    run(&talk);
    assert_int_equal(talk.heard.length, MIB + 1);
    assert_int_equal(talk.state, SESSION_OVER);
    end(&talk);
}

/* ---- Over a damaged log ---- */

static void f40_commands_say_which_key_is_damaged(void **state)
{
    static const struct {
        const char *request;
        const char *reply;
    } rows[] = {
        {"EXISTS k\n", "error: corrupt value\n"},
        {"GET k\n", "error: corrupt value\n"},
        {"KEYS\n", "error: corrupt value\n\n"},
        {"ADD k new\n", "error: corrupt value\n"},
        {"INCR k\n", "error: corrupt value\n"},
        {"LIST\n", "error: corrupt value\n"},
        {"EXISTS other\n", "0\n"},
    };
    struct engine *engine = *state;
    struct talk talk = begin(engine);
    engine_put(engine, "k", "value");
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_reply(&talk, rows[i].request, rows[i].reply);
    }
    end(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(session_gives_one_sync_to_all_that_has_arrived),
        ON_ENGINE(session_commits_in_time_while_a_client_sends_on_and_on),
        ON_ENGINE(session_commits_in_time_what_comes_line_by_line),
        ON_ENGINE(f43_lines_beyond_a_batch_are_committed_in_parts),
        ON_ENGINE(f8_session_keeps_what_came_before_a_client_was_lost_amid_a_batch),
        ON_ENGINE(f30_f98_a_refused_batch_leaves_nothing_behind),
        ON_ENGINE(f99_stats_count_a_batch_with_refused_writes_once),
        ON_ENGINE(f16_session_linger_tells_whether_the_client_is_still_there),
        ON_ENGINE(f3_session_linger_waits_for_nobody_who_was_dropped),
        ON_ENGINE(f1_a_session_idle_for_long_has_time_to_take_its_last_reply),
        ON_ENGINE(session_drops_who_is_no_client_before_its_line_is_too_long),
        ON_ENGINE(session_drops_who_begins_with_a_request_of_http),
        ON_ENGINE(session_stores_what_only_looks_like_http),
        ON_ENGINE(session_refuses_a_first_line_of_http_that_is_none_of_ours),
        ON_ENGINE(f25_a_byte_order_mark_takes_nothing_of_the_longest_line),
        ON_ENGINE(f105_a_list_that_finds_nothing_is_made_in_slices),
        ON_ENGINE(f71_session_create_without_memory_fails_cleanly),
        ON_ENGINE(f71_commands_without_memory_say_so_and_the_next_goes_on),
        ON_ENGINE(f71_commands_wait_for_room_for_their_reply),
        ON_ENGINE(f71_keys_wait_for_room_in_the_replies),
        ON_ENGINE(f71_a_streamed_value_is_not_held_without_memory),
        ON_ENGINE(f71_a_list_of_keys_is_not_held_without_memory),
        ON_ENGINE(f71_a_value_of_a_list_is_not_held_without_memory),
        ON_ENGINE(f3_f4_a_full_backlog_stops_execution),
        ON_ENGINE(f3_f4_a_value_beyond_the_backlog_is_not_held),
        ON_ENGINE(f3_f4_a_value_behind_a_key_beyond_the_backlog_is_not_held),
        ON_ENGINE(f4_a_list_of_large_values_waits_for_no_client_that_sends_on),
        ON_ENGINE(f3_a_value_that_is_sent_from_the_log_overtakes_no_reply),
        ON_ENGINE(f3_a_session_with_replies_due_is_not_idle),
        ON_ENGINE(f40_commands_say_which_key_is_damaged),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
