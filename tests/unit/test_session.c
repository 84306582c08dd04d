/*
 * One session over a socket pair and a store in this process, where the test decides
 * what each receive brings: which lines share a commit.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap recv poll fstatvfs
 */
#include "net/session.h"

#include "base/bounds.h"
#include "net/protocol.h"
#include "support/disk.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = 64 * 1024 };

struct pair {
    struct engine *engine;
    struct session *session;
    enum session_state state;
    int client_fd;
};

static struct pair begin_with(struct engine *engine, uint64_t value_bytes_max)
{
    struct pair pair = {.engine = engine, .state = SESSION_READY};
    struct session_options options = {value_bytes_max, 10000};
    int fds[2];
    if (engine->store == NULL) {
        engine_open(engine);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(session_create(&options, engine->store, &pair.session), KV_OK);
    session_begin(pair.session, fds[0]);
    pair.client_fd = fds[1];
    return pair;
}

static struct pair begin(struct engine *engine)
{
    return begin_with(engine, 16 * MIB);
}

static void end(struct pair *pair)
{
    assert_int_equal(close(pair->client_fd), 0);
    session_end(pair->session);
    session_destroy(pair->session);
}

static void send_text(const struct pair *pair, const char *text)
{
    size_t length = strlen(text);
    assert_int_equal(write(pair->client_fd, text, length), length);
}

/* A text again and again. Released with free. */
static char *repeat(const char *text, size_t count)
{
    size_t length = strlen(text);
    char *all = malloc(count * length + 1);
    assert_non_null(all);
    for (size_t i = 0; i < count; i++) {
        memcpy(all + i * length, text, length);
    }
    all[count * length] = '\0';
    return all;
}

static void run(struct pair *pair)
{
    do {
        assert_int_equal(session_run(pair->session, &pair->state), KV_OK);
    } while (pair->state == SESSION_READY);
}

static void expect_replies(const struct pair *pair, const char *expected)
{
    static char replies[TEXT_BYTES_MAX];
    ssize_t length = read(pair->client_fd, replies, sizeof replies - 1);
    assert_true(length >= 0);
    replies[length] = '\0';
    assert_string_equal(replies, expected);
}

static void session_gives_one_sync_to_all_that_has_arrived(void **state)
{
    struct pair pair = begin(*state);
    char *request = repeat("SET a value\nSET b value\nSET c value\n", 100);
    char *replies = repeat("success\n", 300);
    run(&pair);
    shim_limit_bytes(SHIM_BIT(SHIM_RECV), 1000);
    uint64_t syncs = shim_count(SHIM_FDATASYNC);
    uint64_t writes = shim_count(SHIM_PWRITE);
    send_text(&pair, request);
    run(&pair);
    assert_int_equal(shim_count(SHIM_FDATASYNC) - syncs, 1);
    assert_int_equal(shim_count(SHIM_PWRITE) - writes, 1);
    expect_replies(&pair, replies);
    free(request);
    free(replies);
    end(&pair);
}

/* A client that never stops sending: before each receive there is more. */
static void send_more(void *context)
{
    struct pair *pair = context;
    static char line[32 * 1024];
    int length = snprintf(line, sizeof line, "SET key %030000d\n", 7);
    assert_int_equal(write(pair->client_fd, line, (size_t)length), length);
    shim_before(SHIM_BIT(SHIM_RECV), SHIM_ANY, send_more, pair);
}

static void session_commits_in_time_while_a_client_sends_on_and_on(void **state)
{
    struct pair pair = begin(*state);
    run(&pair);
    send_more(&pair);
    assert_int_equal(session_run(pair.session, &pair.state), KV_OK); /* it receives */
    uint64_t before = engine_log_length(pair.engine);
    assert_int_equal(session_run(pair.session, &pair.state), KV_OK);
    assert_in_range(engine_log_length(pair.engine) - before, GATHER_BYTES_MAX,
                    GATHER_BYTES_MAX + RECEIVE_BYTES_KEPT);
    shim_reset();
    end(&pair);
}

/* Likewise, a short line at a time: its first one is answered before too many more. */
static void send_a_little_more(void *context)
{
    struct pair *pair = context;
    send_text(pair, "SET key value\n");
    shim_before(SHIM_BIT(SHIM_RECV), SHIM_ANY, send_a_little_more, pair);
}

static void session_commits_in_time_what_comes_line_by_line(void **state)
{
    struct pair pair = begin(*state);
    run(&pair);
    uint64_t receives = shim_count(SHIM_RECV);
    send_a_little_more(&pair);
    assert_int_equal(session_run(pair.session, &pair.state), KV_OK);
    assert_int_equal(shim_count(SHIM_RECV) - receives, 1 + GATHER_RECEIVES_MAX);
    shim_reset();
    end(&pair);
}

/* Who was told to go is waited for, as long as it stays, at a time for so long as asked.
 */
static void f16_session_linger_tells_whether_the_client_is_still_there(void **state)
{
    struct pair pair = begin(*state);
    shim_set_clock(1000);
    run(&pair);
    assert_false(session_linger(pair.session, 1500)); /* it was not */
    send_text(&pair, "QUIT\n");
    run(&pair);
    assert_int_equal(pair.state, SESSION_OVER);
    assert_true(session_linger(pair.session, 1500));
    send_text(&pair, "COUNT\n");
    assert_true(session_linger(pair.session, 2000));
    assert_int_equal(shutdown(pair.client_fd, SHUT_WR), 0);
    assert_false(session_linger(pair.session, 2500));
    end(&pair);
}

/* Who has not taken its replies is not waited for again, though it had said goodbye. */
static void f3_session_linger_waits_for_nobody_who_was_dropped(void **state)
{
    struct pair pair = begin(*state);
    char *value = repeat("v", 30000);
    char *requests = repeat("GET key\n", 100);
    engine_put(pair.engine, "key", value);
    shim_set_clock(1000);
    send_text(&pair, requests);
    send_text(&pair, "QUIT\n");
    run(&pair);
    assert_int_equal(pair.state, SESSION_WAITING);
    assert_true(session_send_away(pair.session)); /* another waits */
    assert_false(session_linger(pair.session, 2000));
    free(requests);
    free(value);
    end(&pair);
}

static void f30_session_refuses_each_write_of_a_gathered_batch(void **state)
{
    struct pair pair = begin(*state);
    char *request =
        repeat("SET k new\nGET k\nDELETE k\nGET k\nEXISTS n\nADD n 1\nINCR n\n"
               "EXISTS n\n",
               50);
    char *replies = repeat("error: storage full\nold\nerror: storage full\nold\n0\n"
                           "error: storage full\nerror: storage full\n0\n",
                           50);
    send_text(&pair, "SET k old\n");
    run(&pair);
    expect_replies(&pair, "success\n");
    shim_set_space(SHIM_LOG, engine_log_length(pair.engine) + 200, ENOSPC);
    shim_limit_bytes(SHIM_BIT(SHIM_RECV), 333);
    send_text(&pair, request);
    run(&pair);
    expect_replies(&pair, replies);
    shim_give_space();
    send_text(&pair, "GET k\nSET k new\nGET k\n");
    run(&pair);
    expect_replies(&pair, "old\nsuccess\nnew\n");
    free(request);
    free(replies);
    end(&pair);
}

/* What closes the connection comes with the batch, and its lines once more as well. */
static void f30_session_refuses_the_writes_before_a_quit(void **state)
{
    struct pair pair = begin(*state);
    shim_set_space(SHIM_LOG, engine_log_length(pair.engine) + 10, ENOSPC);
    send_text(&pair, "SET a 1\nGET a\nQUIT\n");
    run(&pair);
    assert_int_equal(pair.state, SESSION_OVER);
    expect_replies(&pair, "error: storage full\nno value stored\n");
    shim_give_space();
    end(&pair);
}

static void expect_refused(struct pair *pair, const char *line)
{
    static char replies[TEXT_BYTES_MAX];
    send_text(pair, "STATS\n");
    run(pair);
    ssize_t length = read(pair->client_fd, replies, sizeof replies - 1);
    assert_true(length > 0);
    replies[length] = '\0';
    assert_non_null(strstr(replies, line));
}

/* It is what tells a full disk: by a write that fails, or since the last room is kept. */
static void f99_stats_count_a_batch_with_refused_writes_once(void **state)
{
    struct pair pair = begin(*state);
    expect_refused(&pair, "\nrefused 0\n");
    shim_set_space(SHIM_LOG, engine_log_length(pair.engine) + 10, ENOSPC);
    send_text(&pair, "SET a 1\nSET b 2\n");
    run(&pair);
    expect_replies(&pair, "error: storage full\nerror: storage full\n");
    expect_refused(&pair, "\nrefused 1\n");
    shim_give_space();
    disk_set_free(1000);
    shim_advance_clock(ROOM_LOOK_MS);
    assert_int_equal(store_maintain(pair.engine->store, LEISURE_ALL), KV_OK);
    send_text(&pair, "SET a 1\nADD b 2\nINCR c\nGET a\n");
    run(&pair);
    expect_replies(&pair, "error: storage full\nerror: storage full\n"
                          "error: storage full\nno value stored\n");
    expect_refused(&pair, "\nrefused 2\n");
    send_text(&pair, "ADD c\nGET a\nINCR a x\n"); /* not the disk's refusals */
    run(&pair);
    expect_replies(&pair, "error: usage: ADD key value\nno value stored\n"
                          "error: not a number\n");
    expect_refused(&pair, "\nrefused 2\n");
    end(&pair);
}

static void f8_session_keeps_what_came_before_a_client_was_lost_amid_a_batch(void **state)
{
    struct pair pair = begin(*state);
    run(&pair);
    send_text(&pair, "SET a 1\nSET b 2\n");
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 2, ECONNRESET);
    run(&pair);
    assert_int_equal(pair.state, SESSION_OVER);
    engine_expect(pair.engine, "a", "1");
    engine_expect(pair.engine, "b", "2");
    end(&pair);
}

static void f6_session_executes_the_end_of_input_that_a_batch_runs_into(void **state)
{
    struct pair pair = begin(*state);
    run(&pair);
    shim_limit_bytes(SHIM_BIT(SHIM_RECV), 8);
    send_text(&pair, "SET a 1\nGET a\nSET b 2");
    assert_int_equal(shutdown(pair.client_fd, SHUT_WR), 0);
    run(&pair);
    assert_int_equal(pair.state, SESSION_OVER);
    expect_replies(&pair, "success\n1\nerror: incomplete line\n");
    engine_expect(pair.engine, "b", NULL);
    end(&pair);
}

/* Keys are looked up for a group of lines ahead, so these must see each other's doing. */
static void session_executes_lines_on_one_key_in_order(void **state)
{
    struct pair pair = begin(*state);
    send_text(&pair, "GET k\nSET k 1\nGET k\nSET k 2\nGET k\nDELETE k\nGET k\nEXISTS k\n"
                     "SET k 3\nEXISTS k\nGET k\nDELETE k\nDELETE k\nEXISTS k\n");
    run(&pair);
    expect_replies(&pair, "no value stored\nsuccess\n1\nsuccess\n2\nsuccess\n"
                          "no value stored\n0\nsuccess\n1\n3\nsuccess\nsuccess\n0\n");
    end(&pair);
}

/* A web page's line is none of ours, however long: neither whole nor before it ends. */
static void session_drops_who_is_no_client_before_its_line_is_too_long(void **state)
{
    static const char *const ends[] = {"", "\n", "\nSET k v\n"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct pair pair = begin_with(*state, 1);
        char *filler = repeat("x", protocol_line_bytes_max(1) + 3);
        send_text(&pair, "SET a 1\nPOST ");
        send_text(&pair, filler);
        send_text(&pair, ends[i]);
        run(&pair);
        assert_int_equal(pair.state, SESSION_OVER);
        expect_replies(&pair, "success\n");
        engine_expect(pair.engine, "k", NULL);
        free(filler);
        end(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(session_gives_one_sync_to_all_that_has_arrived),
        ON_ENGINE(session_commits_in_time_while_a_client_sends_on_and_on),
        ON_ENGINE(session_commits_in_time_what_comes_line_by_line),
        ON_ENGINE(f16_session_linger_tells_whether_the_client_is_still_there),
        ON_ENGINE(f3_session_linger_waits_for_nobody_who_was_dropped),
        ON_ENGINE(f30_session_refuses_each_write_of_a_gathered_batch),
        ON_ENGINE(f30_session_refuses_the_writes_before_a_quit),
        ON_ENGINE(f99_stats_count_a_batch_with_refused_writes_once),
        ON_ENGINE(f8_session_keeps_what_came_before_a_client_was_lost_amid_a_batch),
        ON_ENGINE(f6_session_executes_the_end_of_input_that_a_batch_runs_into),
        ON_ENGINE(session_drops_who_is_no_client_before_its_line_is_too_long),
        ON_ENGINE(session_executes_lines_on_one_key_in_order),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
