/*
 * One client's bytes: lines in, slices out, over a socket pair. What any bytes in any
 * pieces must come to, long lines and going back included, fuzz/fuzz_conn demands.
 *
 * wrap: recv send shutdown poll clock_gettime malloc calloc realloc
 */
#include "net/conn.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 20, LARGE_LINE_MAX_BYTES = 4 * RECEIVE_BYTES_KEPT };

/* The connection under test, and the client's end of it. */
struct pair {
    struct conn *conn;
    int client;
};

static void attach(struct pair *pair)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    conn_attach(pair->conn, fds[0]);
    pair->client = fds[1];
}

static int setup_with(void **state, size_t line_bytes_max)
{
    struct pair *pair = calloc(1, sizeof *pair);
    assert_non_null(pair);
    shim_reset();
    shim_set_clock(1000);
    assert_int_equal(conn_create(line_bytes_max, &pair->conn), KV_OK);
    attach(pair);
    *state = pair;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, LINE_MAX_BYTES);
}

/* Lines that do not fit the buffer that every connection keeps. */
static int setup_large(void **state)
{
    return setup_with(state, LARGE_LINE_MAX_BYTES);
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    shim_reset();
    conn_close(pair->conn);
    conn_destroy(pair->conn);
    (void)close(pair->client); /* a socket */
    free(pair);
    return 0;
}

#define ON_PAIR(test)       cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ON_LARGE_PAIR(test) cmocka_unit_test_setup_teardown(test, setup_large, teardown)

static void client_says(const struct pair *pair, struct slice bytes)
{
    assert_int_equal(write(pair->client, bytes.bytes, bytes.length), bytes.length);
}

static void client_ends(const struct pair *pair)
{
    assert_int_equal(shutdown(pair->client, SHUT_WR), 0);
}

/* ---- What came out of it, as text: one piece for each line ---- */

struct told {
    char text[512];
    size_t length;
};

static bool tell_next(struct pair *pair, struct told *told)
{
    static const char *const kinds[] = {[LINE_WHOLE] = "",
                                        [LINE_UNFINISHED] = "unfinished",
                                        [LINE_TOO_LONG] = "too long",
                                        [LINE_NO_MEMORY] = "no memory"};
    struct slice line;
    enum line kind = conn_next_line(pair->conn, &line);
    if (kind == LINE_NONE) {
        return false;
    }
    bool is_shown = kind == LINE_WHOLE || kind == LINE_UNFINISHED;
    size_t room = sizeof told->text - told->length;
    int count = snprintf(told->text + told->length, room, "%s(%.*s)", kinds[kind],
                         is_shown ? (int)line.length : 0, (const char *)line.bytes);
    assert_in_range(count, 0, room - 1);
    told->length += (size_t)count;
    return true;
}

/* Read all there is, as a server does: each round takes every line and consumes them. */
static enum conn_result take(struct pair *pair, struct told *told)
{
    enum conn_result result = CONN_DONE;
    while (true) {
        while (tell_next(pair, told)) {
        }
        conn_consume(pair->conn);
        if (result != CONN_DONE) {
            return result;
        }
        assert_true(conn_can_receive(pair->conn));
        result = conn_receive(pair->conn);
    }
}

/* A client's whole input, and what must come of it with lines of 20 bytes at most. */
static const struct {
    const char *input;
    const char *lines;
} dialogues[] = {
    {"", ""},
    {"one\n", "(one)"},
    {"one\ntwo\n", "(one)(two)"},
    {"one\r\ntwo\r\n", "(one)(two)"},
    {"\n\r\n", "()()"},
    {"one\r\r\n", "(one\r)"},
    {"a\rb\n", "(a\rb)"},
    {"\rone\n", "(\rone)"},
    {"one\n\ntwo\n\n", "(one)()(two)()"},
    {"one\ntwo", "(one)unfinished(two)"},
    {"one\ntwo\r", "(one)unfinished(two)"},
    {"\r", "unfinished()"},
    {"a\n20 bytes of one line\nb\n", "(a)(20 bytes of one line)(b)"},
    {"a\n20 bytes of one line\r\nb\n", "(a)(20 bytes of one line)(b)"},
    {"a\n20 bytes of one line!\nb\n", "(a)too long()(b)"},
    {"a\n20 bytes of one line!\r\nb\n", "(a)too long()(b)"},
    {"a\n20 bytes of one line\r\r\nb\n", "(a)too long()(b)"},
    {"20 bytes of one line", "unfinished(20 bytes of one line)"},
    {"20 bytes of one line\r", "unfinished(20 bytes of one line)"},
    {"20 bytes of one line!", "too long()"},
    {"a\nb\nmuch more than is kept of a long line\nc\nd",
     "(a)(b)too long()(c)unfinished(d)"},
    {"one that is much too long\na\nanother line that is too long\nb\n",
     "too long()(a)too long()(b)"},
    {"a\none that is much too long, and then the end", "(a)too long()"},
};

enum { DIALOGUE_COUNT = sizeof dialogues / sizeof *dialogues, LINES_MAX = 8 };

/* The same lines, wherever the input is split in two. */
static void f11_f25_conn_frames_lines_at_every_split(void **state)
{
    for (size_t i = 0; i < DIALOGUE_COUNT; i++) {
        struct slice input = slice_of_text(dialogues[i].input);
        for (size_t split = 0; split <= input.length; split++) {
            struct told told = {{0}, 0};
            setup(state);
            struct pair *pair = *state;
            client_says(pair, slice_first(input, split));
            assert_int_equal(take(pair, &told), CONN_BLOCKED);
            client_says(pair, slice_after(input, split));
            client_ends(pair);
            assert_int_equal(take(pair, &told), CONN_ENDED);
            assert_true(conn_has_ended(pair->conn));
            assert_string_equal(told.text, dialogues[i].lines);
            teardown(state);
        }
    }
}

/* Byte by byte; each position can be gone back to, and the same lines come again. */
static void f90_conn_rewinds_to_every_line(void **state)
{
    for (size_t i = 0; i < DIALOGUE_COUNT; i++) {
        struct told told = {{0}, 0};
        size_t positions[LINES_MAX];
        size_t told_before[LINES_MAX];
        size_t count = 0;
        setup(state);
        struct pair *pair = *state;
        client_says(pair, slice_of_text(dialogues[i].input));
        client_ends(pair);
        shim_limit_bytes(SHIM_BIT(SHIM_RECV), 1);
        while (!conn_has_ended(pair->conn)) {
            (void)conn_receive(pair->conn); /* a byte, or the end */
            do {
                assert_in_range(count, 0, LINES_MAX - 1);
                positions[count] = conn_position(pair->conn);
                told_before[count] = told.length;
            } while (tell_next(pair, &told) && ++count > 0);
        }
        assert_string_equal(told.text, dialogues[i].lines);
        for (size_t line = 0; line <= count; line++) {
            struct told again = {{0}, 0};
            conn_rewind(pair->conn, positions[line]);
            while (tell_next(pair, &again)) {
            }
            assert_string_equal(again.text, dialogues[i].lines + told_before[line]);
        }
        teardown(state);
    }
}

/* ---- Much input ---- */

/* Memory stays as it is, however much of a line is thrown away. */
static void f25_conn_skips_a_long_line_in_bounded_memory(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    static uint8_t piece[50000];
    size_t piece_count = watchdog_scaled(2000, 100);
    memset(piece, 'x', sizeof piece);
    uint64_t allocations = shim_count_all(SHIM_MEMORY);
    for (size_t i = 0; i < piece_count; i++) {
        client_says(pair, (struct slice){piece, sizeof piece});
        assert_int_equal(take(pair, &told), CONN_BLOCKED);
    }
    assert_int_equal(shim_count_all(SHIM_MEMORY), allocations);
    client_says(pair, SLICE_LITERAL("end\nnext\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "too long()(next)");
}

enum { BLOCK_BYTES = 4096, BLOCK_LINES = BLOCK_BYTES / 4 };

/* A block of lines of four bytes. */
static void client_says_a_block(const struct pair *pair)
{
    uint8_t block[BLOCK_BYTES];
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = i % 4 == 3 ? '\n' : 'x';
    }
    client_says(pair, (struct slice){block, sizeof block});
}

/* Send until there is no room for more; returns how many lines were sent. */
static size_t fill(const struct pair *pair)
{
    size_t line_count = 0;
    while (conn_can_receive(pair->conn)) {
        client_says_a_block(pair);
        line_count += BLOCK_LINES;
        (void)conn_receive(pair->conn); /* the last one is left where it is */
    }
    return line_count;
}

/* Where one of many lines is consumed, that much room is there for more. */
static void f3_conn_takes_no_more_than_it_may_hold(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    assert_int_equal(fill(pair), RECEIVE_BYTES_KEPT / 4);
    assert_int_equal(conn_partial_line(pair->conn).length, RECEIVE_BYTES_KEPT);
    assert_int_equal(conn_next_line(pair->conn, &line), LINE_WHOLE);
    assert_true(conn_is_full(pair->conn));
    conn_consume(pair->conn);
    assert_false(conn_is_full(pair->conn));
    assert_int_equal(fill(pair), BLOCK_LINES);
    assert_int_equal(conn_partial_line(pair->conn).length, RECEIVE_BYTES_KEPT);
}

static void conn_partial_line_shows_what_has_no_end_yet(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    client_says(pair, SLICE_LITERAL("one\n\xff\xf4"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_true(slice_equal(conn_partial_line(pair->conn), SLICE_LITERAL("\xff\xf4")));
    conn_discard_input(pair->conn);
    assert_int_equal(conn_partial_line(pair->conn).length, 0);
    client_says(pair, SLICE_LITERAL("two\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(one)(two)");
}

/* A closed connection leaves nothing to the next client. */
static void conn_serves_one_client_after_another(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    client_says(pair, SLICE_LITERAL("one\nhalf"));
    client_ends(pair);
    assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    assert_int_equal(conn_receive(pair->conn), CONN_ENDED);
    assert_true(tell_next(pair, &told));
    struct slice rest = SLICE_LITERAL("for the 1st");
    assert_int_equal(conn_send(pair->conn, &rest), CONN_DONE);
    conn_close(pair->conn);
    (void)close(pair->client); /* a socket */
    attach(pair);
    assert_false(conn_has_ended(pair->conn));
    assert_int_equal(conn_sent_bytes(pair->conn), 0);
    client_says(pair, SLICE_LITERAL("ne\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(one)(ne)");
}

/* ---- Without memory ---- */

static void f71_conn_create_without_memory_fails_cleanly(void **state)
{
    (void)state;
    enum status status = KV_NO_MEMORY;
    for (uint64_t nth = 1; status == KV_NO_MEMORY; nth++) {
        struct conn *conn = NULL;
        shim_reset();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        status = conn_create(LINE_MAX_BYTES, &conn);
        assert_int_equal(status, shim_fired_count() > 0 ? KV_NO_MEMORY : KV_OK);
        shim_clear_faults();
        conn_destroy(conn);
    }
}

static void f71_conn_skips_a_line_that_memory_cannot_hold(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    static uint8_t piece[50000];
    memset(piece, 'x', sizeof piece);
    client_says(pair, SLICE_LITERAL("before\n"));
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    for (size_t sent = 0; sent < 3 * RECEIVE_BYTES_KEPT; sent += sizeof piece) {
        client_says(pair, (struct slice){piece, sizeof piece});
        assert_int_equal(take(pair, &told), CONN_BLOCKED);
    }
    client_says(pair, SLICE_LITERAL("\nbehind\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(before)no memory()(behind)");
    shim_clear_faults();
    client_says(pair, SLICE_LITERAL("and on\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(before)no memory()(behind)(and on)");
}

/*
 * Whole lines pile up while a reply is being sent, and then the buffer cannot grow: each
 * of them is still due one reply, and that there is no room is not the end of the input.
 */
static void f71_conn_without_memory_keeps_the_lines_that_wait(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    size_t line_count = fill(pair);
    shim_clear_faults();
    assert_int_equal(line_count, RECEIVE_BYTES_KEPT / 4 + BLOCK_LINES);
    conn_consume(pair->conn); /* of nothing: memory that was short stays short */
    assert_true(conn_is_full(pair->conn));
    client_ends(pair);
    size_t taken = 0;
    do {
        assert_int_equal(conn_next_line(pair->conn, &line), LINE_WHOLE);
        taken++;
        conn_consume(pair->conn);
        assert_false(conn_is_full(pair->conn));
    } while (conn_receive(pair->conn) == CONN_DONE);
    while (conn_next_line(pair->conn, &line) == LINE_WHOLE) {
        taken++;
    }
    assert_int_equal(taken, line_count);
}

/* ---- Interruptions and losses ---- */

static void f12_conn_retries_when_interrupted(void **state)
{
    struct pair *pair = *state;
    client_says(pair, SLICE_LITERAL("one\n"));
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EINTR);
    assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    struct slice rest = SLICE_LITERAL("reply\n");
    shim_fail_once(SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, EINTR);
    assert_int_equal(conn_send(pair->conn, &rest), CONN_DONE);
    assert_int_equal(shim_fired_count(), 2);
    assert_int_equal(rest.length, 0);
}

static void f7_conn_tells_a_lost_client(void **state)
{
    struct pair *pair = *state;
    const int errors[] = {ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH};
    struct slice rest = SLICE_LITERAL("reply\n");
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        shim_reset();
        shim_fail_from(SHIM_BIT(SHIM_RECV) | SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, errors[i]);
        assert_int_equal(conn_receive(pair->conn), CONN_LOST);
        assert_int_equal(conn_send(pair->conn, &rest), CONN_LOST);
    }
    assert_int_equal(rest.length, 6);
}

/* A real peer that is gone: the program must live, so SIGPIPE may not come. */
static void f9_conn_send_to_a_gone_client_raises_no_signal(void **state)
{
    struct pair *pair = *state;
    assert_int_equal(close(pair->client), 0);
    pair->client = -1;
    struct slice rest = SLICE_LITERAL("reply\n");
    assert_int_equal(conn_send(pair->conn, &rest), CONN_LOST);
}

static void f10_conn_send_moves_on_by_what_was_taken(void **state)
{
    struct pair *pair = *state;
    uint8_t got[16];
    struct slice rest = SLICE_LITERAL("0123456789");
    shim_limit_bytes(SHIM_BIT(SHIM_SEND), 4);
    assert_int_equal(conn_send(pair->conn, &rest), CONN_BLOCKED);
    assert_true(slice_equal(rest, SLICE_LITERAL("456789")));
    assert_int_equal(conn_send(pair->conn, &rest), CONN_BLOCKED);
    assert_int_equal(conn_send(pair->conn, &rest), CONN_DONE);
    assert_int_equal(rest.length, 0);
    assert_int_equal(conn_sent_bytes(pair->conn), 10);
    assert_int_equal(read(pair->client, got, sizeof got), 10);
    assert_memory_equal(got, "0123456789", 10);
}

/* ---- Closing politely ---- */

/* Returns whether more may come. */
static bool linger(const struct pair *pair)
{
    return conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
}

static void f16_conn_linger_ends_with_the_client(void **state)
{
    struct pair *pair = *state;
    uint8_t byte;
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    client_ends(pair);
    assert_false(linger(pair));
    assert_int_equal(read(pair->client, &byte, 1), 0); /* the client sees the end */
}

static void f16_conn_linger_takes_no_longer_than_its_time(void **state)
{
    struct pair *pair = *state;
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    assert_true(linger(pair)); /* the client neither ends nor sends on */
    assert_in_range(shim_count(SHIM_POLL), 1, 5);
}

static void f16_conn_linger_takes_no_more_than_its_bytes(void **state)
{
    struct pair *pair = *state;
    size_t sent = 0;
    for (; sent < 2 * LINGER_BYTES_MAX; sent += BLOCK_BYTES) {
        client_says_a_block(pair);
    }
    assert_false(linger(pair));
    assert_in_range(shim_count(SHIM_RECV), 1, LINGER_BYTES_MAX / BLOCK_BYTES + 1);
    assert_int_equal(recv(conn_fd(pair->conn), &sent, 1, 0), 1); /* some is left */
}

static void f12_conn_linger_goes_on_when_interrupted(void **state)
{
    struct pair *pair = *state;
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    client_ends(pair);
    shim_fail_once(SHIM_BIT(SHIM_POLL), SHIM_ANY, 1, EINTR);
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EINTR);
    assert_false(linger(pair));
    assert_int_equal(shim_fired_count(), 2);
    assert_int_equal(shim_count(SHIM_RECV), 3); /* the failed one, the text, the end */
}

/* A client that cannot be told the end is not waited for either, nor one that ended. */
static void f16_conn_linger_does_not_wait_for_a_lost_client(void **state)
{
    struct pair *pair = *state;
    shim_fail_once(SHIM_BIT(SHIM_SHUTDOWN), SHIM_ANY, 1, ENOTCONN);
    assert_false(linger(pair));
    client_ends(pair);
    assert_int_equal(conn_receive(pair->conn), CONN_ENDED);
    uint64_t shutdowns = shim_count(SHIM_SHUTDOWN);
    assert_false(linger(pair));
    assert_int_equal(shim_count(SHIM_SHUTDOWN), shutdowns);
    assert_int_equal(shim_count(SHIM_POLL), 0);
}

/* A socket that was ready and is not any more is asked again, one that failed is not. */
static void f16_conn_linger_ends_when_the_socket_fails(void **state)
{
    struct pair *pair = *state;
    client_says(pair, SLICE_LITERAL("x"));
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EAGAIN);
    assert_true(linger(pair));
    assert_int_equal(shim_count(SHIM_RECV), 2);
    client_says(pair, SLICE_LITERAL("x"));
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, ECONNRESET);
    assert_false(linger(pair));
    assert_int_equal(shim_count(SHIM_RECV), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f11_f25_conn_frames_lines_at_every_split),
        cmocka_unit_test(f90_conn_rewinds_to_every_line),
        ON_PAIR(f25_conn_skips_a_long_line_in_bounded_memory),
        ON_PAIR(f3_conn_takes_no_more_than_it_may_hold),
        ON_PAIR(conn_partial_line_shows_what_has_no_end_yet),
        ON_PAIR(conn_serves_one_client_after_another),
        cmocka_unit_test(f71_conn_create_without_memory_fails_cleanly),
        ON_LARGE_PAIR(f71_conn_skips_a_line_that_memory_cannot_hold),
        ON_LARGE_PAIR(f71_conn_without_memory_keeps_the_lines_that_wait),
        ON_PAIR(f12_conn_retries_when_interrupted),
        ON_PAIR(f7_conn_tells_a_lost_client),
        ON_PAIR(f9_conn_send_to_a_gone_client_raises_no_signal),
        ON_PAIR(f10_conn_send_moves_on_by_what_was_taken),
        ON_PAIR(f16_conn_linger_ends_with_the_client),
        ON_PAIR(f16_conn_linger_takes_no_longer_than_its_time),
        ON_PAIR(f16_conn_linger_takes_no_more_than_its_bytes),
        ON_PAIR(f12_conn_linger_goes_on_when_interrupted),
        ON_PAIR(f16_conn_linger_does_not_wait_for_a_lost_client),
        ON_PAIR(f16_conn_linger_ends_when_the_socket_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
