/*
 * Those who are connected and have not had a turn, over calls that fail or tell what is
 * not so.
 *
 * wrap: accept recv poll clock_gettime
 */
#include "net/lobby.h"

#include "base/clock.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

/* So many sockets are polled besides the clients'. */
enum { CLIENTS = 8, NOBODY_POLLED = WAIT_OTHERS + 1 };

static const struct pollfd nobody[WAIT_OTHERS] = {{.fd = -1}, {.fd = -1}};

/* The lobby under test, the clients' ends, and theirs that accept gives next. */
static struct lobby lobby;
static int clients[CLIENTS];
static int coming[CLIENTS];
static size_t coming_count;
static size_t come_count;
static int bell[2]; /* in place of a socket that listens */

static nfds_t polled_max; /* for more of them poll fails with this */
static int poll_error;

int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

int __wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    (void)fd;
    (void)address;
    (void)length;
    errno = EAGAIN;
    return come_count < coming_count ? coming[come_count++] : -1;
}

/* Time goes by where nothing is ready; a wait without end would be one. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    errno = poll_error;
    int ready = count > polled_max ? -1 : __real_poll(fds, count, 0);
    if (ready == 0) {
        assert_true(timeout >= 0);
        shim_advance_clock((uint64_t)timeout);
    }
    return ready;
}

static int setup(void **state)
{
    int result = engine_setup(state);
    shim_reset();
    shim_set_clock(START_MS);
    polled_max = NOBODY_POLLED + CLIENTS;
    assert_int_equal(pipe(bell), 0);
    assert_int_equal(write(bell[1], "!", 1), 1);
    lobby_open(&lobby, bell, 1);
    for (size_t i = 0; i < CLIENTS; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
        coming[i] = fds[0];
        clients[i] = fds[1];
    }
    coming_count = CLIENTS;
    come_count = 0;
    lobby_look(&lobby, nobody, 0);
    assert_int_equal(come_count, CLIENTS);
    return result;
}

static int teardown(void **state)
{
    shim_reset();
    lobby_close(&lobby);
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)close(clients[i]); /* a socket */
    }
    (void)close(bell[0]); /* only a pipe */
    (void)close(bell[1]);
    return engine_teardown(state);
}

#define IN_LOBBY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void speak(size_t client)
{
    assert_int_equal(write(clients[client], "x", 1), 1);
}

static bool is_closed(size_t client)
{
    char byte;
    ssize_t count = recv(clients[client], &byte, sizeof byte, 0);
    return count == 0 || (count < 0 && errno == ECONNRESET);
}

/*
 * Urgent data on a Unix-domain socket are such a thing: the socket is ready, and nothing
 * can be peeked. Who was kept would end each wait at once.
 */
static void f118_lobby_keeps_nobody_who_is_ready_without_a_byte(void **state)
{
    (void)state;
    speak(2);
    shim_fail_once(SHIM_BIT(SHIM_RECV), SHIM_ANY, 1, EAGAIN);
    lobby_look(&lobby, nobody, 0);
    shim_clear_faults();
    assert_int_equal(lobby_heard_count(&lobby), 0);
    assert_true(is_closed(2));
    speak(3);
    lobby_look(&lobby, nobody, 0);
    assert_int_equal(lobby_heard_count(&lobby), 1);
}

/* The limit was lowered while the server ran: who was silent longest goes, one for each
 * wait that fails, and the others are heard. */
static void f14_lobby_under_a_lowered_limit_makes_room(void **state)
{
    (void)state;
    polled_max = NOBODY_POLLED + CLIENTS - 2;
    poll_error = EINVAL;
    speak(CLIENTS - 1);
    for (int i = 0; i < 3; i++) {
        lobby_look(&lobby, nobody, CLOCK_NEVER);
    }
    assert_int_equal(lobby_heard_count(&lobby), 1);
    assert_int_equal(lobby.closed_count, 2);
    assert_true(is_closed(0));
    assert_true(is_closed(1));
    assert_false(is_closed(2));
}

static void f12_lobby_closes_nobody_for_a_signal(void **state)
{
    (void)state;
    polled_max = WAIT_OTHERS;
    poll_error = EINTR;
    lobby_look(&lobby, nobody, CLOCK_NEVER);
    assert_int_equal(lobby.closed_count, 0);
    assert_int_equal(clock_now_ms(), START_MS);
}

/* With nobody to close each wait that fails takes a moment, if there is so much time. */
static void f14_lobby_that_cannot_wait_does_not_spin(void **state)
{
    struct engine *engine = *state;
    polled_max = WAIT_OTHERS;
    poll_error = ENOMEM;
    for (int i = 0; i < CLIENTS; i++) {
        lobby_look(&lobby, nobody, CLOCK_NEVER);
    }
    assert_int_equal(lobby.closed_count, CLIENTS);
    assert_int_equal(clock_now_ms(), START_MS);
    engine_forget_messages(engine);
    lobby_look(&lobby, nobody, CLOCK_NEVER);
    assert_int_equal(clock_now_ms(), START_MS + ACCEPT_PAUSE_MS);
    lobby_look(&lobby, nobody, START_MS + ACCEPT_PAUSE_MS + 10);
    assert_int_equal(clock_now_ms(), START_MS + ACCEPT_PAUSE_MS + 10);
    engine_expect_line(engine, "cannot wait for clients for now; trying again: ERROR", 0,
                       ENOMEM);
    assert_int_equal(engine_told(engine, ""), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_LOBBY(f118_lobby_keeps_nobody_who_is_ready_without_a_byte),
        IN_LOBBY(f14_lobby_under_a_lowered_limit_makes_room),
        IN_LOBBY(f12_lobby_closes_nobody_for_a_signal),
        IN_LOBBY(f14_lobby_that_cannot_wait_does_not_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
