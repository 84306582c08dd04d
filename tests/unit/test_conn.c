/*
 * One client's bytes: lines in, slices out, over a socket pair.
 *
 * wrap: recv send shutdown poll clock_gettime malloc calloc realloc
 */
#include "net/conn.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "support/script.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 100, LINES_MAX = 64, LINE_KEPT_BYTES = 256 };

/* The connection under test, and the client's end of it. */
struct pair {
    struct conn *conn;
    int client;
};

static int setup_with(void **state, size_t line_bytes_max)
{
    struct pair *pair = calloc(1, sizeof *pair);
    int fds[2];
    assert_non_null(pair);
    shim_reset();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(conn_create(line_bytes_max, &pair->conn), KV_OK);
    conn_attach(pair->conn, fds[0]);
    pair->client = fds[1];
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
    return setup_with(state, 4 * RECEIVE_BYTES_KEPT);
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    shim_reset();
    if (conn_fd(pair->conn) >= 0) {
        conn_close(pair->conn);
    }
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
    char text[LINES_MAX * LINE_KEPT_BYTES];
    size_t length;
};

static void tell(struct told *told, const char *kind, struct slice line)
{
    int count = snprintf(told->text + told->length, sizeof told->text - told->length,
                         "%s(%.*s)", kind, (int)line.length, (const char *)line.bytes);
    assert_in_range(count, 0, sizeof told->text - told->length - 1);
    told->length += (size_t)count;
}

static bool tell_next(struct pair *pair, struct told *told)
{
    struct slice line = SLICE_LITERAL("");
    switch (conn_next_line(pair->conn, &line)) {
    case LINE_NONE:
        return false;
    case LINE_WHOLE:
        tell(told, "", line);
        return true;
    case LINE_UNFINISHED:
        tell(told, "unfinished", line);
        return true;
    case LINE_TOO_LONG:
        tell(told, "too long", SLICE_LITERAL(""));
        return true;
    case LINE_NO_MEMORY:
        tell(told, "no memory", SLICE_LITERAL(""));
        return true;
    }
    return false;
}

/* Read all there is, as a server does: each round takes every line and consumes them. */
static enum conn_result take(struct pair *pair, struct told *told)
{
    enum conn_result result = CONN_DONE;
    for (size_t round = 0; result == CONN_DONE; round++) {
        assert_in_range(round, 0, 100000);
        while (tell_next(pair, told)) {
        }
        conn_consume(pair->conn);
        if (conn_has_ended(pair->conn)) {
            return CONN_ENDED;
        }
        assert_true(conn_can_receive(pair->conn));
        result = conn_receive(pair->conn);
    }
    while (tell_next(pair, told)) {
    }
    conn_consume(pair->conn);
    return result;
}

/* A line of `length` bytes behind whatever the script holds. */
static void add_line(struct script *script, size_t length, const char *end)
{
    script_add_fill(script, 'x', length);
    script_add_text(script, end);
}

enum { LINES_ADDED = 256 };

/* So many lines, of 128 bytes each with their ends. */
static void add_lines(struct script *script)
{
    for (size_t i = 0; i < LINES_ADDED; i++) {
        add_line(script, 127, "\n");
    }
}

/* A client's whole input and what must come of it. */
struct dialogue {
    const char *input;
    const char *lines;
};

static const struct dialogue dialogues[] = {
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
    {"unfinished", "unfinished(unfinished)"},
};

/* The same lines, wherever the input is split in two. */
static void f11_conn_frames_lines_at_every_split(void **state)
{
    for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
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
            assert_string_equal(told.text, dialogues[i].lines);
            teardown(state);
        }
    }
}

static void f11_conn_frames_lines_byte_by_byte(void **state)
{
    for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
        struct told told = {{0}, 0};
        setup(state);
        struct pair *pair = *state;
        shim_limit_bytes(SHIM_BIT(SHIM_RECV), 1);
        client_says(pair, slice_of_text(dialogues[i].input));
        client_ends(pair);
        assert_int_equal(take(pair, &told), CONN_ENDED);
        assert_string_equal(told.text, dialogues[i].lines);
        teardown(state);
    }
}

/* ---- Long lines ---- */

/* One past the limit is a line of its own kind; those around it are not touched. */
static void f25_conn_takes_lines_up_to_the_limit(void **state)
{
    const size_t lengths[] = {LINE_MAX_BYTES - 1, LINE_MAX_BYTES,     LINE_MAX_BYTES + 1,
                              LINE_MAX_BYTES + 2, LINE_MAX_BYTES + 3, 3 * LINE_MAX_BYTES};
    const char *const ends[] = {"\n", "\r\n"};
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        struct script script = {0};
        struct script wanted = {0};
        bool is_too_long = lengths[i / 2] > LINE_MAX_BYTES;
        script_add_text(&script, "a\n");
        add_line(&script, lengths[i / 2], ends[i % 2]);
        script_add_text(&script, "b\n");
        script_add_text(&wanted, is_too_long ? "(a)too long(" : "(a)(");
        script_add_fill(&wanted, 'x', is_too_long ? 0 : lengths[i / 2]);
        script_add_text(&wanted, ")(b)");
        script_add(&wanted, (struct slice){(const uint8_t *)"", 1});
        for (size_t split = 0; split <= script.length; split++) {
            struct told told = {{0}, 0};
            setup(state);
            struct pair *pair = *state;
            client_says(pair, slice_first(script_slice(&script), split));
            assert_int_equal(take(pair, &told), CONN_BLOCKED);
            client_says(pair, slice_after(script_slice(&script), split));
            assert_int_equal(take(pair, &told), CONN_BLOCKED);
            assert_string_equal(told.text, (const char *)wanted.bytes);
            teardown(state);
        }
        script_free(&script);
        script_free(&wanted);
    }
}

/* The end of input within a long line: it gets its one reply all the same. */
static void f25_conn_ends_within_a_long_line(void **state)
{
    const size_t lengths[] = {LINE_MAX_BYTES, LINE_MAX_BYTES + 1, LINE_MAX_BYTES + 2,
                              5000, 600000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct told told = {{0}, 0};
        setup(state);
        struct pair *pair = *state;
        struct script script = {0};
        add_line(&script, lengths[i], "");
        struct slice rest = script_slice(&script);
        while (rest.length > 0) {
            size_t part = rest.length < 10000 ? rest.length : 10000;
            client_says(pair, slice_first(rest, part));
            rest = slice_after(rest, part);
            assert_int_equal(take(pair, &told), CONN_BLOCKED);
        }
        assert_int_equal(told.length, 0);
        client_ends(pair);
        assert_int_equal(take(pair, &told), CONN_ENDED);
        if (lengths[i] > LINE_MAX_BYTES) {
            assert_string_equal(told.text, "too long()");
        } else {
            assert_memory_equal(told.text, "unfinished(", 11);
        }
        script_free(&script);
        teardown(state);
    }
}

/* Memory stays as it is, however much of a line is thrown away. */
static void f25_conn_skips_a_long_line_in_bounded_memory(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    struct script piece = {0};
    size_t piece_count = watchdog_scaled(2000, 100);
    add_line(&piece, 50000, "");
    client_says(pair, SLICE_LITERAL("before\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    uint64_t allocations = shim_count_all(SHIM_MEMORY);
    for (size_t i = 0; i < piece_count; i++) {
        client_says(pair, script_slice(&piece));
        assert_int_equal(take(pair, &told), CONN_BLOCKED);
    }
    assert_int_equal(shim_count_all(SHIM_MEMORY), allocations);
    assert_string_equal(told.text, "(before)");
    client_says(pair, SLICE_LITERAL("end\nbehind\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(before)too long()(behind)");
    script_free(&piece);
}

/* Nothing is consumed here: the buffer fills up to its limit and takes no more. */
static void f3_conn_takes_no_more_than_it_may_hold(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    struct script lines = {0};
    size_t received = 0;
    for (int i = 0; i < 1000; i++) {
        add_line(&lines, 99, "\n");
    }
    for (int i = 0; i < 20 && conn_can_receive(pair->conn); i++) {
        client_says(pair, script_slice(&lines));
        while (conn_can_receive(pair->conn) && conn_receive(pair->conn) == CONN_DONE) {
            while (conn_next_line(pair->conn, &line) == LINE_WHOLE) {
                received += line.length + 1;
            }
        }
    }
    assert_true(conn_is_full(pair->conn));
    assert_in_range(received, RECEIVE_BYTES_KEPT - 100, RECEIVE_BYTES_KEPT);
    conn_consume(pair->conn);
    assert_false(conn_is_full(pair->conn));
    assert_true(conn_can_receive(pair->conn));
    script_free(&lines);
}

/* Where only the first of many lines is consumed, that much room is there for more. */
static void f3_conn_that_was_full_takes_as_much_as_was_consumed(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    struct script lines = {0};
    while (lines.length < RECEIVE_BYTES_KEPT) {
        add_line(&lines, 99, "\n");
    }
    struct slice rest = script_slice(&lines);
    while (conn_can_receive(pair->conn)) {
        size_t part = rest.length < 4096 ? rest.length : 4096;
        client_says(pair, slice_first(rest, part));
        rest = slice_after(rest, part);
        assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    }
    assert_int_equal(conn_next_line(pair->conn, &line), LINE_WHOLE);
    conn_consume(pair->conn);
    client_says(pair, slice_first(script_slice(&lines), 4096));
    assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    assert_true(conn_is_full(pair->conn));
    assert_int_equal(conn_partial_line(pair->conn).length, RECEIVE_BYTES_KEPT);
    script_free(&lines);
}

static void conn_takes_a_line_larger_than_what_it_keeps(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    const size_t max = 4 * RECEIVE_BYTES_KEPT;
    struct script text = {0};
    add_line(&text, max, "\r\n");
    struct slice rest = script_slice(&text);
    enum line found = LINE_NONE;
    while (rest.length > 0) {
        assert_int_equal(found, LINE_NONE);
        size_t part = rest.length < 40000 ? rest.length : 40000;
        client_says(pair, slice_first(rest, part));
        rest = slice_after(rest, part);
        while (conn_can_receive(pair->conn) && conn_receive(pair->conn) == CONN_DONE) {
            found = conn_next_line(pair->conn, &line);
        }
    }
    assert_int_equal(found, LINE_WHOLE);
    assert_int_equal(line.length, max);
    script_free(&text);
}

/* ---- Going back ---- */

/* Each position can be gone back to, and the same lines come again. */
static void f90_conn_rewinds_over_a_skipped_line(void **state)
{
    struct pair *pair = *state;
    struct script script = {0};
    const char *const tails[] = {"a)(b)too long()(c)(d)", "b)too long()(c)(d)",
                                 "too long()(c)(d)", "c)(d)", "d)"};
    size_t positions[6];
    script_add_text(&script, "a\nb\n");
    add_line(&script, 5 * LINE_MAX_BYTES, "\n");
    script_add_text(&script, "c\nd\n");
    struct told told = {{0}, 0};
    struct slice rest = script_slice(&script);
    size_t count = 0;
    positions[0] = conn_position(pair->conn);
    for (size_t i = 0; i < rest.length; i++) {
        client_says(pair, slice_first(slice_after(rest, i), 1));
        assert_int_equal(conn_receive(pair->conn), CONN_DONE);
        while (tell_next(pair, &told)) {
            positions[++count] = conn_position(pair->conn);
        }
    }
    assert_int_equal(count, 5);
    assert_string_equal(told.text, "(a)(b)too long()(c)(d)");
    for (size_t i = 0; i < 5; i++) {
        told.length = 0;
        conn_rewind(pair->conn, positions[i]);
        while (tell_next(pair, &told)) {
        }
        assert_non_null(strstr(told.text, tails[i]));
        assert_int_equal(told.length, strlen(tails[i]) + (tails[i][0] == 't' ? 0 : 1));
    }
    conn_consume(pair->conn);
    script_free(&script);
}

/* A second long line behind a first that is still to be answered. */
static void f90_conn_rewinds_over_two_skipped_lines(void **state)
{
    struct pair *pair = *state;
    struct script script = {0};
    struct told told = {{0}, 0};
    size_t start = conn_position(pair->conn);
    add_line(&script, 3 * LINE_MAX_BYTES, "\n");
    script_add_text(&script, "a\n");
    add_line(&script, 3 * LINE_MAX_BYTES, "\n");
    script_add_text(&script, "b\n");
    struct slice rest = script_slice(&script);
    for (size_t i = 0; i < rest.length; i++) {
        client_says(pair, slice_first(slice_after(rest, i), 1));
        assert_int_equal(conn_receive(pair->conn), CONN_DONE);
        while (tell_next(pair, &told)) {
        }
    }
    assert_string_equal(told.text, "too long()(a)too long()(b)");
    told.length = 0;
    conn_rewind(pair->conn, start);
    while (tell_next(pair, &told)) {
    }
    assert_string_equal(told.text, "too long()(a)too long()(b)");
    script_free(&script);
}

static void conn_partial_line_shows_what_has_no_end_yet(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    client_says(pair, SLICE_LITERAL("one\n\xff\xf4"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(one)");
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
    int fds[2];
    client_says(pair, SLICE_LITERAL("one\nhalf a li"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    struct slice rest = SLICE_LITERAL("for the 1st");
    assert_int_equal(conn_send(pair->conn, &rest), CONN_DONE);
    client_ends(pair);
    conn_close(pair->conn);
    assert_int_equal(conn_sent_bytes(pair->conn), 0);
    (void)close(pair->client); /* a socket */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    pair->client = fds[1];
    conn_attach(pair->conn, fds[0]);
    assert_false(conn_has_ended(pair->conn));
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

/* Send all of it while memory does not grow; the lines that come of it. */
static void feed(struct pair *pair, struct slice input, struct told *told)
{
    struct slice rest = input;
    while (rest.length > 0) {
        size_t part = rest.length < 30000 ? rest.length : 30000;
        client_says(pair, slice_first(rest, part));
        rest = slice_after(rest, part);
        assert_int_equal(take(pair, told), CONN_BLOCKED);
    }
}

static void f71_conn_skips_a_line_that_memory_cannot_hold(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    struct script script = {0};
    script_add_text(&script, "before\n");
    add_line(&script, 3 * RECEIVE_BYTES_KEPT, "\n");
    script_add_text(&script, "behind\n");
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    feed(pair, script_slice(&script), &told);
    assert_string_equal(told.text, "(before)no memory()(behind)");
    shim_clear_faults();
    client_says(pair, SLICE_LITERAL("and on\n"));
    assert_int_equal(take(pair, &told), CONN_BLOCKED);
    assert_string_equal(told.text, "(before)no memory()(behind)(and on)");
    script_free(&script);
}

/*
 * Whole lines pile up while a reply is being sent, and then the buffer cannot grow: each
 * of them is still due one reply.
 */
static void f71_conn_without_memory_keeps_the_lines_that_wait(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    struct script lines = {0};
    size_t sent = 0;
    add_lines(&lines);
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    for (int i = 0; i < 9; i++) { /* one piece more than the buffer holds */
        client_says(pair, script_slice(&lines));
        sent += LINES_ADDED;
        enum conn_result result = CONN_DONE;
        while (result == CONN_DONE && conn_can_receive(pair->conn)) {
            result = conn_receive(pair->conn);
        }
    }
    shim_clear_faults();
    client_ends(pair);
    size_t replies = 0;
    while (true) {
        while (conn_next_line(pair->conn, &line) != LINE_NONE) {
            replies++;
        }
        conn_consume(pair->conn);
        if (conn_has_ended(pair->conn)) {
            break;
        }
        (void)conn_receive(pair->conn); /* that it ended is seen above */
    }
    assert_int_equal(replies, sent);
    script_free(&lines);
}

/*
 * Lines that were returned and not consumed fill the buffer, and it cannot grow: that
 * is not the end of the client's input.
 */
static void f71_conn_without_memory_does_not_take_a_full_buffer_for_the_end(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    struct script lines = {0};
    size_t count = 0;
    add_lines(&lines);
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    for (int i = 0; i < 10; i++) {
        client_says(pair, script_slice(&lines));
        enum conn_result result = CONN_DONE;
        while (result == CONN_DONE && conn_can_receive(pair->conn)) {
            result = conn_receive(pair->conn);
            assert_int_not_equal(result, CONN_ENDED);
            while (conn_next_line(pair->conn, &line) == LINE_WHOLE) {
                count++;
            }
        }
    }
    assert_false(conn_has_ended(pair->conn));
    assert_in_range(count, 256 * 8, 256 * 10);
    script_free(&lines);
}

/* ---- Interruptions and losses ---- */

static void f12_conn_retries_when_interrupted(void **state)
{
    struct pair *pair = *state;
    struct told told = {{0}, 0};
    client_says(pair, SLICE_LITERAL("one\n"));
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EINTR);
    assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    assert_true(tell_next(pair, &told));
    struct slice rest = SLICE_LITERAL("reply\n");
    shim_clear_faults();
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

/* ---- What is sent ---- */

/* What the client has got so far. */
static void read_client(const struct pair *pair, struct script *script)
{
    uint8_t bytes[65536];
    ssize_t count;
    while ((count = read(pair->client, bytes, sizeof bytes)) > 0) {
        script_add(script, (struct slice){bytes, (size_t)count});
    }
}

static void f10_conn_send_moves_on_by_what_was_taken(void **state)
{
    struct pair *pair = *state;
    struct script got = {0};
    struct slice rest = SLICE_LITERAL("0123456789");
    shim_limit_bytes(SHIM_BIT(SHIM_SEND), 4);
    assert_int_equal(conn_send(pair->conn, &rest), CONN_BLOCKED);
    assert_true(slice_equal(rest, SLICE_LITERAL("456789")));
    assert_int_equal(conn_send(pair->conn, &rest), CONN_BLOCKED);
    assert_int_equal(conn_send(pair->conn, &rest), CONN_DONE);
    assert_int_equal(rest.length, 0);
    assert_int_equal(conn_sent_bytes(pair->conn), 10);
    read_client(pair, &got);
    assert_true(slice_equal(script_slice(&got), SLICE_LITERAL("0123456789")));
    script_free(&got);
}

/* ---- Closing politely ---- */

static void f16_conn_linger_ends_with_the_client(void **state)
{
    struct pair *pair = *state;
    uint8_t byte;
    shim_set_clock(1000);
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    client_ends(pair);
    (void)conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
    assert_int_equal(read(pair->client, &byte, 1), 0); /* the client sees the end */
}

static void f16_conn_linger_takes_no_longer_than_its_time(void **state)
{
    struct pair *pair = *state;
    shim_set_clock(1000);
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    (void)conn_linger(pair->conn,
                      clock_now_ms() +
                          LINGER_MS_MAX); /* the client neither ends nor sends on */
    assert_in_range(shim_count(SHIM_POLL), 1, 5);
}

static void f16_conn_linger_takes_no_more_than_its_bytes(void **state)
{
    struct pair *pair = *state;
    uint8_t bytes[4096] = {0};
    shim_set_clock(1000);
    size_t sent = 0;
    while (write(pair->client, bytes, sizeof bytes) == sizeof bytes) {
        sent += sizeof bytes;
    }
    assert_true(sent > LINGER_BYTES_MAX + 65536);
    (void)conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
    assert_in_range(shim_count(SHIM_RECV), LINGER_BYTES_MAX / 65536,
                    LINGER_BYTES_MAX / 4096 + 1);
}

static void f12_conn_linger_goes_on_when_interrupted(void **state)
{
    struct pair *pair = *state;
    shim_set_clock(1000);
    client_says(pair, SLICE_LITERAL("what nobody reads\n"));
    client_ends(pair);
    shim_fail_once(SHIM_BIT(SHIM_POLL), SHIM_ANY, 1, EINTR);
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EINTR);
    (void)conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
    assert_int_equal(shim_fired_count(), 2);
    assert_int_equal(shim_count(SHIM_RECV), 3); /* the failed one, the text, the end */
}

/* A client that cannot be told the end is not waited for either. */
static void f16_conn_linger_does_not_wait_for_a_lost_client(void **state)
{
    struct pair *pair = *state;
    shim_set_clock(1000);
    shim_fail_once(SHIM_BIT(SHIM_SHUTDOWN), SHIM_ANY, 1, ENOTCONN);
    (void)conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
    assert_int_equal(shim_count(SHIM_POLL), 0);
    assert_int_equal(shim_count(SHIM_RECV), 0);
    shim_clear_faults();
    client_ends(pair);
    assert_int_equal(conn_receive(pair->conn), CONN_ENDED);
    uint64_t shutdowns = shim_count(SHIM_SHUTDOWN);
    (void)conn_linger(pair->conn,
                      clock_now_ms() + LINGER_MS_MAX); /* nothing more can come */
    assert_int_equal(shim_count(SHIM_SHUTDOWN), shutdowns);
}

struct linger_end {
    int error;
    uint64_t receives;
};

/* A socket that was ready and is not any more is asked again, one that failed is not. */
static void f16_conn_linger_ends_when_the_socket_fails(void **state)
{
    struct pair *pair = *state;
    const struct linger_end ends[] = {{EAGAIN, 2}, {ECONNRESET, 1}};
    shim_set_clock(1000);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        uint64_t before = shim_count(SHIM_RECV);
        client_says(pair, SLICE_LITERAL("x"));
        shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, ends[i].error);
        (void)conn_linger(pair->conn, clock_now_ms() + LINGER_MS_MAX);
        shim_clear_faults();
        assert_int_equal(shim_count(SHIM_RECV) - before, ends[i].receives);
    }
}

/* Memory that was short stays short until some of what waits is consumed. */
static void f71_conn_without_memory_waits_until_a_line_is_consumed(void **state)
{
    struct pair *pair = *state;
    struct slice line;
    struct script lines = {0};
    add_lines(&lines);
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    for (int i = 0; i < 9; i++) { /* one piece more than the buffer holds */
        client_says(pair, script_slice(&lines));
        while (conn_can_receive(pair->conn) && conn_receive(pair->conn) == CONN_DONE) {
        }
    }
    shim_clear_faults();
    assert_true(conn_is_full(pair->conn));
    conn_consume(pair->conn); /* of nothing */
    assert_true(conn_is_full(pair->conn));
    assert_int_equal(conn_next_line(pair->conn, &line), LINE_WHOLE);
    conn_consume(pair->conn);
    assert_false(conn_is_full(pair->conn));
    assert_int_equal(conn_receive(pair->conn), CONN_DONE);
    script_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f11_conn_frames_lines_at_every_split),
        cmocka_unit_test(f11_conn_frames_lines_byte_by_byte),
        cmocka_unit_test(f25_conn_takes_lines_up_to_the_limit),
        cmocka_unit_test(f25_conn_ends_within_a_long_line),
        ON_PAIR(f25_conn_skips_a_long_line_in_bounded_memory),
        ON_PAIR(f3_conn_takes_no_more_than_it_may_hold),
        ON_PAIR(f3_conn_that_was_full_takes_as_much_as_was_consumed),
        ON_LARGE_PAIR(conn_takes_a_line_larger_than_what_it_keeps),
        ON_PAIR(f90_conn_rewinds_over_a_skipped_line),
        ON_PAIR(f90_conn_rewinds_over_two_skipped_lines),
        ON_PAIR(conn_partial_line_shows_what_has_no_end_yet),
        ON_PAIR(conn_serves_one_client_after_another),
        cmocka_unit_test(f71_conn_create_without_memory_fails_cleanly),
        ON_LARGE_PAIR(f71_conn_skips_a_line_that_memory_cannot_hold),
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
        ON_LARGE_PAIR(f71_conn_without_memory_waits_until_a_line_is_consumed),
        ON_LARGE_PAIR(f71_conn_without_memory_keeps_the_lines_that_wait),
        ON_LARGE_PAIR(f71_conn_without_memory_does_not_take_a_full_buffer_for_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
