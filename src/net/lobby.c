/*
 * The silent clients stand behind the listening sockets in one array for poll, so that a
 * look at all of them is one call. A client in the lobby costs others nothing: it is
 * looked at between turns, once a millisecond at most, and while a client that does not
 * use its turn is waited for.
 */
#include "net/lobby.h"

#include "base/clock.h"
#include "base/diag.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

void lobby_open(struct lobby *lobby, const int *listen_fds, size_t count)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    assert(count > 0);
    assert(count <= LISTENERS_MAX);
    *lobby = (struct lobby){.listener_count = count, .clients_max = LOBBY_CLIENTS_MAX};
    for (size_t i = 0; i < count; i++) {
        lobby->listeners[i] = (struct pollfd){.fd = listen_fds[i], .events = POLLIN};
    }
    lobby->silent = &lobby->polled[WAIT_OTHERS + count];
    (void)getrlimit(RLIMIT_NOFILE, &limit); /* else it is as without one */
    if (limit.rlim_cur < LOBBY_CLIENTS_MAX + DESCRIPTORS_KEPT) {
        lobby->clients_max = limit.rlim_cur > DESCRIPTORS_KEPT
                                 ? (size_t)limit.rlim_cur - DESCRIPTORS_KEPT
                                 : 1;
    }
}

/* A silent one may be sending something just now, which must not meet an orderly end. */
static void reset(int fd)
{
    struct linger at_once = {.l_onoff = 1};
    /* Where this fails the system makes a reset of what is unread, and else an end. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(fd); /* a socket: nothing to lose */
}

void lobby_close(struct lobby *lobby)
{
    for (size_t i = 0; i < lobby->silent_count; i++) {
        reset(lobby->silent[i].fd);
    }
    for (int fd = lobby_take(lobby); fd >= 0; fd = lobby_take(lobby)) {
        reset(fd);
    }
    lobby->silent_count = 0;
}

int lobby_take(struct lobby *lobby)
{
    if (lobby->heard_count == 0) {
        return -1;
    }
    int fd = lobby->heard[lobby->first_heard];
    lobby->first_heard = (lobby->first_heard + 1) % LOBBY_CLIENTS_MAX;
    lobby->heard_count--;
    return fd;
}

size_t lobby_heard_count(const struct lobby *lobby)
{
    return lobby->heard_count;
}

bool lobby_has_newcomer(const struct lobby *lobby)
{
    return lobby->has_newcomer;
}

enum hearing { HEARD, SILENT, GONE };

/* Whether a client has sent something, of which nothing is taken. */
static enum hearing listen_to(int fd)
{
    char byte;
    ssize_t count;
    do {
        count = recv(fd, &byte, sizeof byte, MSG_PEEK);
    } while (count < 0 && errno == EINTR);
    return count > 0                                                ? HEARD
           : count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? SILENT
                                                                    : GONE;
}

/* Whoever was heard waits for a turn; who went without a word had none to wait for. */
static enum hearing sort(struct lobby *lobby, int fd)
{
    enum hearing hearing = listen_to(fd);
    if (hearing == HEARD) {
        size_t place = (lobby->first_heard + lobby->heard_count) % LOBBY_CLIENTS_MAX;
        lobby->heard[place] = fd;
        lobby->heard_count++;
    } else if (hearing == GONE) {
        (void)close(fd); /* a socket: nothing to lose */
    }
    return hearing;
}

/* The one that was silent longest makes room. Returns whether there was one. */
static bool close_oldest(struct lobby *lobby)
{
    if (lobby->silent_count == 0) {
        return false;
    }
    (void)close(lobby->silent[0].fd); /* a socket: nothing to lose */
    lobby->silent_count--;
    memmove(&lobby->silent[0], &lobby->silent[1],
            lobby->silent_count * sizeof lobby->silent[0]);
    lobby->has_newcomer = lobby->has_newcomer && lobby->silent_count > 0;
    lobby->closed_count++;
    return true;
}

/* A client that went away, or a network that did, before it was accepted. */
static bool is_passing_failure(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* Out of descriptors or memory, as errno says. Returns till when to let time pass. */
static uint64_t tell_exhausted(struct lobby *lobby, const char *what)
{
    uint64_t now_ms = clock_now_ms();
    if (clock_is_due(&lobby->told_exhausted_ms, ACCEPT_MESSAGE_MS)) {
        diag_warn("cannot %s for now; trying again", what);
    }
    return now_ms + ACCEPT_PAUSE_MS;
}

/* Accept one. -1: there is none now. */
static int accept_one(struct lobby *lobby, int listen_fd)
{
    int fd = accept(listen_fd, NULL, NULL);
    if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        diag_warn("cannot set up a client's socket; closing it");
        (void)close(fd); /* a socket: nothing to lose */
        return -1;
    }
    if (fd >= 0 || errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK) {
        return fd;
    }
    if (is_passing_failure(errno)) {
        diag_warn("a client was lost before it was accepted; going on");
    } else if ((errno != EMFILE && errno != ENFILE) || !close_oldest(lobby)) {
        /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
        lobby->paused_until_ms = tell_exhausted(lobby, "accept a client");
    }
    return -1;
}

/* Accept one for whom there is a place, or one is made. -1: there is none now. */
static int admit(struct lobby *lobby, int listen_fd)
{
    int fd = accept_one(lobby, listen_fd);
    if (fd >= 0 && lobby->silent_count + lobby->heard_count >= lobby->clients_max) {
        bool has_room = close_oldest(lobby);
        assert(has_room); /* nobody is accepted where all wait for their turn */
    }
    return fd;
}

void lobby_put_back(struct lobby *lobby, int fd)
{
    assert(lobby->silent_count + lobby->heard_count < lobby->clients_max);
    lobby->silent[lobby->silent_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    lobby->came_ms = clock_now_ms();
}

/* Take one in, if one comes. */
static bool take_in(struct lobby *lobby, int listen_fd)
{
    int fd = admit(lobby, listen_fd);
    if (fd >= 0 && sort(lobby, fd) == SILENT) {
        lobby_put_back(lobby, fd);
        lobby->has_newcomer = true;
    }
    return fd >= 0;
}

/* Whether nobody may be accepted now. */
static bool is_closed(const struct lobby *lobby, uint64_t now_ms)
{
    return lobby->heard_count >= lobby->clients_max || now_ms < lobby->paused_until_ms;
}

/*
 * Hear those of the silent of which there is something to hear. One that is ready though
 * nothing can be heard, as after urgent data on a Unix-domain socket, would end each wait
 * at once.
 */
static void hear(struct lobby *lobby)
{
    size_t kept = 0;
    for (size_t i = 0; i < lobby->silent_count; i++) {
        struct pollfd client = lobby->silent[i];
        if (client.revents == 0) {
            lobby->silent[kept++] = client;
        } else if (sort(lobby, client.fd) == SILENT) {
            reset(client.fd);
        }
    }
    lobby->silent_count = kept;
    lobby->has_newcomer = false;
}

void lobby_shut(struct lobby *lobby)
{
    lobby->paused_until_ms = CLOCK_NEVER;
}

uint64_t lobby_grace_ms(const struct lobby *lobby)
{
    return lobby->silent_count > 0 ? lobby->came_ms + STOP_GRACE_MS : 0;
}

int lobby_glance(struct lobby *lobby)
{
    int fd = -1;
    if (lobby->has_newcomer) {
        lobby->has_newcomer = false;
        return lobby->silent[--lobby->silent_count].fd;
    }
    for (size_t i = 0; i < lobby->listener_count && fd < 0 && lobby->paused_until_ms == 0;
         i++) {
        fd = admit(lobby, lobby->listeners[i].fd);
    }
    return fd;
}

/*
 * There is no memory to wait for so many, or they are more than the limit of descriptors,
 * which was lowered since: the next try is for fewer, or comes later.
 */
static void bear_failed_wait(struct lobby *lobby, uint64_t until_ms)
{
    if (!close_oldest(lobby)) {
        until_ms = clock_earlier(until_ms, tell_exhausted(lobby, "wait for clients"));
        (void)poll(NULL, 0, clock_poll_timeout(clock_now_ms(), until_ms)); /* a rest */
    }
}

void lobby_look(struct lobby *lobby, const struct pollfd *first, uint64_t until_ms)
{
    uint64_t now_ms = clock_now_ms();
    bool is_paused = now_ms < lobby->paused_until_ms;
    struct pollfd *listeners = &lobby->polled[WAIT_OTHERS];
    memcpy(lobby->polled, first, WAIT_OTHERS * sizeof *first);
    memcpy(listeners, lobby->listeners, lobby->listener_count * sizeof *listeners);
    for (size_t i = 0; i < lobby->listener_count && is_closed(lobby, now_ms); i++) {
        listeners[i].fd = -1;
    }
    until_ms = is_paused ? clock_earlier(until_ms, lobby->paused_until_ms) : until_ms;
    lobby->paused_until_ms = is_paused ? lobby->paused_until_ms : 0;
    size_t count = WAIT_OTHERS + lobby->listener_count + lobby->silent_count;
    int ready = poll(lobby->polled, (nfds_t)count, clock_poll_timeout(now_ms, until_ms));
    bool has_failed = ready < 0 && errno != EINTR;
    lobby->looked_ms = clock_now_ms();
    if (has_failed) {
        bear_failed_wait(lobby, until_ms);
    }
    if (ready <= 0) {
        return;
    }
    hear(lobby);
    for (size_t i = 0; i < lobby->listener_count; i++) {
        size_t taken = 0;
        while (listeners[i].revents != 0 && !is_closed(lobby, lobby->looked_ms) &&
               taken++ < LOBBY_CLIENTS_MAX && take_in(lobby, listeners[i].fd)) {
        }
    }
}
