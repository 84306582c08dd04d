/*
 * Replies that are held until the client takes them, over a socket pair. Long ones, which
 * need a store, are in test_session and test_server_connection.
 *
 * wrap: send malloc calloc realloc
 */
#include "net/replies.h"

#include "base/bounds.h"
#include "support/script.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The replies under test, and the client's end of the connection. */
struct pair {
    struct conn *conn;
    struct replies replies;
    int client;
};

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    int fds[2];
    assert_non_null(pair);
    shim_reset();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(conn_create(100, &pair->conn), KV_OK);
    assert_int_equal(replies_init(&pair->replies, pair->conn, NULL), KV_OK);
    conn_attach(pair->conn, fds[0]);
    pair->client = fds[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    shim_reset();
    replies_destroy(&pair->replies);
    conn_close(pair->conn);
    conn_destroy(pair->conn);
    (void)close(pair->client); /* a socket */
    free(pair);
    return 0;
}

#define ON_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void put(struct pair *pair, struct slice bytes)
{
    assert_int_equal(buffer_reserve(replies_held(&pair->replies), bytes.length), KV_OK);
    buffer_append(replies_held(&pair->replies), bytes);
}

/* What the client has got so far. */
static void read_client(const struct pair *pair, struct script *script)
{
    uint8_t bytes[65536];
    ssize_t count;
    while ((count = read(pair->client, bytes, sizeof bytes)) > 0) {
        script_add(script, (struct slice){bytes, (size_t)count});
    }
}

/* Send and take until nothing is due. */
static void drain(struct pair *pair, struct script *got)
{
    for (int i = 0; i < 10000 && replies_are_due(&pair->replies); i++) {
        read_client(pair, got);
        assert_int_not_equal(replies_send(&pair->replies), CONN_LOST);
    }
    assert_false(replies_are_due(&pair->replies));
    assert_int_equal(replies_send(&pair->replies), CONN_DONE);
    read_client(pair, got);
}

static void f10_replies_are_the_same_bytes_in_any_pieces(void **state)
{
    const size_t limits[] = {1, 2, 7, 1000, SHIM_HALF, 0};
    struct script replies = {0};
    script_add_random(&replies, 7, 5000);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct script got = {0};
        setup(state);
        struct pair *pair = *state;
        shim_limit_bytes(SHIM_BIT(SHIM_SEND), limits[i]);
        put(pair, slice_first(script_slice(&replies), 3000));
        for (int j = 0; j < 10; j++) {
            (void)replies_send(&pair->replies); /* as far as it goes */
        }
        put(pair,
            slice_after(script_slice(&replies), 3000)); /* more while some is held */
        drain(pair, &got);
        assert_int_equal(conn_sent_bytes(pair->conn), replies.length);
        assert_int_equal(got.length, replies.length);
        assert_memory_equal(got.bytes, replies.bytes, got.length);
        script_free(&got);
        teardown(state);
    }
    script_free(&replies);
}

static void f3_replies_hold_what_the_client_does_not_take(void **state)
{
    struct pair *pair = *state;
    struct script got = {0};
    struct script sent = {0};
    enum conn_result result = CONN_DONE;
    for (int i = 0; i < 10000 && result == CONN_DONE; i++) {
        for (int j = 0; j < 100; j++) {
            struct slice reply = SLICE_LITERAL("a reply that nobody reads for now\n");
            put(pair, reply);
            script_add(&sent, reply);
        }
        result = replies_send(&pair->replies);
    }
    assert_int_equal(result, CONN_BLOCKED);
    assert_int_equal(replies_send(&pair->replies), CONN_BLOCKED);
    assert_true(replies_await_client(&pair->replies));
    drain(pair, &got);
    assert_false(replies_await_client(&pair->replies));
    assert_int_equal(got.length, sent.length);
    assert_memory_equal(got.bytes, sent.bytes, got.length);
    script_free(&got);
    script_free(&sent);
}

/* What was not sent to one client is not sent to the next. */
static void replies_are_forgotten_with_their_client(void **state)
{
    struct pair *pair = *state;
    struct script got = {0};
    put(pair, SLICE_LITERAL("for the first, who got 10\n"));
    shim_limit_bytes(SHIM_BIT(SHIM_SEND), 10);
    assert_int_equal(replies_send(&pair->replies), CONN_BLOCKED);
    shim_reset();
    read_client(pair, &got);
    replies_drop(&pair->replies);
    assert_false(replies_are_due(&pair->replies));
    put(pair, SLICE_LITERAL("for the second\n"));
    drain(pair, &got);
    assert_true(
        slice_equal(script_slice(&got), SLICE_LITERAL("for the fifor the second\n")));
    script_free(&got);
}

static void f7_replies_tell_a_lost_client_and_keep_the_rest(void **state)
{
    struct pair *pair = *state;
    put(pair, SLICE_LITERAL("reply\n"));
    shim_fail_from(SHIM_BIT(SHIM_SEND), SHIM_ANY, 1, ECONNRESET);
    assert_int_equal(replies_send(&pair->replies), CONN_LOST);
    assert_true(replies_are_due(&pair->replies));
}

static void f71_replies_without_memory_have_no_room_and_append_nothing(void **state)
{
    struct pair *pair = *state;
    struct replies second;
    struct script value = {0};
    script_add_fill(&value, 'v', REPLIES_BYTES_KEPT + 1);
    shim_fail_from(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    assert_int_equal(replies_init(&second, pair->conn, NULL), KV_NO_MEMORY);
    assert_int_equal(replies_put_value(&pair->replies, script_slice(&value)),
                     KV_NO_MEMORY);
    assert_false(replies_are_due(&pair->replies));
    assert_true(replies_have_room(&pair->replies)); /* that was there from the start */
    put(pair, slice_first(script_slice(&value), REPLIES_BYTES_KEPT));
    assert_false(replies_have_room(&pair->replies));
    shim_clear_faults();
    assert_true(replies_have_room(&pair->replies));
    script_free(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f10_replies_are_the_same_bytes_in_any_pieces),
        ON_PAIR(f3_replies_hold_what_the_client_does_not_take),
        ON_PAIR(replies_are_forgotten_with_their_client),
        ON_PAIR(f7_replies_tell_a_lost_client_and_keep_the_rest),
        ON_PAIR(f71_replies_without_memory_have_no_room_and_append_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
