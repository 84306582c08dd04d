/*
 * The accept loop and the one wait. A stop signal makes a descriptor readable, so that it
 * ends a wait that is about to begin as surely as one that has begun.
 */
#include "net/server.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/platform.h"
#include "base/stop.h"
#include "net/listener.h"
#include "net/notify.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
    struct store *store;
    struct session *session;
    int listen_fd;
    uint64_t stop_ms;       /* when a stop waits no longer; CLOCK_NEVER: none has begun */
    bool has_processors;    /* more than one is online */
    unsigned vain_spins;    /* how many to pass over after the next in vain */
    unsigned skipped_spins; /* how many are still to be passed over */
    uint64_t awake_until_us;    /* till then the next client is looked for awake */
    uint64_t told_exhausted_ms; /* when the operator was last told */
};

/* In place of a client where none is waited for. */
static const struct pollfd nobody = {.fd = -1};

/*
 * The one wait: until a signal asks for a stop that has not begun, the client's socket is
 * ready, the moment has come or, where a listening socket is given, another client can be
 * accepted; returns whether it can. A descriptor of -1 is passed over.
 */
static bool wait_for(const struct server *server, struct pollfd client, int listen_fd,
                     uint64_t until_ms)
{
    struct pollfd fds[] = {
        {.fd = server->stop_ms == CLOCK_NEVER ? stop_fd() : -1, .events = POLLIN},
        client,
        {.fd = listen_fd, .events = POLLIN},
    };
    int ready = poll(fds, sizeof fds / sizeof fds[0],
                     clock_poll_timeout(clock_now_ms(), until_ms));
    return ready > 0 && fds[2].revents != 0;
}

/*
 * Wait for the client. Once it has been idle for too long, the first who comes, or is
 * waiting already, ends its turn.
 */
static void wait_for_client(const struct server *server)
{
    struct session *session = server->session;
    struct session_wait wait = session_wait(session);
    bool is_idle = wait.idle_ms <= clock_now_ms();
    uint64_t until_ms =
        clock_earlier(clock_earlier(wait.until_ms, server->stop_ms),
                      store_due_ms(server->store, session_leisure(session)));
    if (!is_idle) {
        until_ms = clock_earlier(until_ms, wait.idle_ms);
    }
    if (wait_for(server, wait.socket, is_idle ? server->listen_fd : -1, until_ms)) {
        session_stop(session, KV_IDLE);
    }
}

/* Deliver what is due before a stop, as long as the client takes it at once. */
static void begin_stop(struct server *server)
{
    server->stop_ms = clock_now_ms() + STOP_DRAIN_MS_MAX;
    session_stop(server->session, KV_OK);
}

static enum status maintain(struct server *server, enum leisure leisure)
{
    return store_due_ms(server->store, leisure) <= clock_now_ms()
               ? store_maintain(server->store, leisure)
               : KV_OK;
}

/*
 * A wake-up costs more than all the rest of a short command. So after a reply, stay awake
 * and look for the next command for a moment, where that pays: not with one processor,
 * which the client needs, and each time in vain makes the next tries rarer.
 */
static enum status spin(struct server *server, enum session_state *state)
{
    enum status status = KV_OK;
    if (server->skipped_spins > 0) {
        server->skipped_spins--;
        return status;
    }
    uint64_t end_us = clock_now_us() + SPIN_US_MAX;
    while (status == KV_OK && *state == SESSION_WAITING && !stop_is_wanted() &&
           clock_now_us() < end_us) {
        status = session_run(server->session, state);
    }
    if (*state != SESSION_WAITING) {
        server->vain_spins = 0;
    } else if (server->vain_spins < SPINS_SKIPPED_MAX) {
        server->vain_spins = server->vain_spins * 2 + 1;
    }
    server->skipped_spins = server->vain_spins;
    return status;
}

/* Wait for a client that was told to go, and do what is due meanwhile. */
static enum status linger(struct server *server)
{
    enum status status = KV_OK;
    uint64_t until_ms =
        clock_now_ms() + (stop_is_wanted() ? STOP_LINGER_MS_MAX : LINGER_MS_MAX);
    while (status == KV_OK &&
           session_linger(
               server->session,
               clock_earlier(until_ms, store_due_ms(server->store, LEISURE_NONE))) &&
           clock_now_ms() < until_ms) {
        status = maintain(server, LEISURE_NONE);
    }
    return status;
}

static enum status serve_client(struct server *server, int fd)
{
    struct session *session = server->session;
    enum session_state state = SESSION_READY;
    enum status status = KV_OK;
    session_begin(session, fd);
    while (status == KV_OK && state != SESSION_OVER &&
           (server->stop_ms == CLOCK_NEVER || clock_now_ms() < server->stop_ms)) {
        status = session_run(session, &state);
        if (status == KV_OK) {
            status = maintain(server, session_leisure(session));
        }
        if (status == KV_OK && state == SESSION_WAITING && server->has_processors) {
            status = spin(server, &state);
        }
        if (status == KV_OK && stop_is_wanted() && server->stop_ms == CLOCK_NEVER) {
            begin_stop(server);
        } else if (status == KV_OK && state == SESSION_WAITING) {
            wait_for_client(server);
        }
    }
    if (status == KV_OK) {
        status = linger(server);
    }
    session_end(session);
    /* A script that makes a connection for each command is about to make the next. */
    server->awake_until_us = server->has_processors ? clock_now_us() + SPIN_US_MAX : 0;
    return status;
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

/* Out of descriptors or memory: tell once a minute, and let some time pass. */
static void pause_accepting(struct server *server)
{
    uint64_t now_ms = clock_now_ms();
    if (server->told_exhausted_ms == 0 ||
        now_ms - server->told_exhausted_ms >= ACCEPT_MESSAGE_MS) {
        diag_warn("cannot accept a client for now; trying again");
        server->told_exhausted_ms = now_ms;
    }
    (void)wait_for(server, nobody, -1,
                   clock_earlier(now_ms + ACCEPT_PAUSE_MS,
                                 store_due_ms(server->store, LEISURE_ALL)));
}

/* Accept; just after a client has gone, the next is looked for awake for a moment. */
static int accept_awake(const struct server *server)
{
    int fd;
    do {
        fd = accept(server->listen_fd, NULL, NULL);
    } while (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !stop_is_wanted() &&
             clock_now_us() < server->awake_until_us);
    return fd;
}

/* Returns a socket that does not block, or -1 when there is nobody to serve now. */
static int accept_client(struct server *server)
{
    int fd = accept_awake(server);
    if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        diag_warn("cannot set up a client's socket; closing it");
        (void)close(fd); /* a socket: nothing to lose */
        return -1;
    }
    if (fd >= 0 || errno == EINTR) {
        return fd;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        (void)wait_for(server, nobody, server->listen_fd,
                       store_due_ms(server->store, LEISURE_ALL));
    } else if (is_passing_failure(errno)) {
        diag_warn("a client was lost before it was accepted; going on");
    } else {
        pause_accepting(server); /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
    }
    return -1;
}

static enum status serve_clients(struct server *server)
{
    enum status status = KV_OK;
    while (status == KV_OK && !stop_is_wanted()) {
        int fd = accept_client(server);
        status = fd >= 0 ? serve_client(server, fd) : maintain(server, LEISURE_ALL);
    }
    return status;
}

enum status server_run(const struct server_options *options, struct store *store)
{
    struct server server = {
        .store = store,
        .listen_fd = -1,
        .stop_ms = CLOCK_NEVER,
        .has_processors = KV_PROCESSOR_COUNT() > 1,
    };
    enum status status = session_create(&options->session, store, &server.session);
    if (status != KV_OK) {
        diag_errorx("--max-value: not enough memory for values of that size; giving up");
        return status;
    }
    status = listener_open(options->address, options->port, &server.listen_fd);
    if (status == KV_OK) {
        status = stop_note();
    }
    if (status == KV_OK) {
        listener_tell_ready(options->address, options->port, server.listen_fd);
        notify_ready();
        status = serve_clients(&server);
    }
    if (status == KV_OK) {
        notify_stopping();
    }
    session_destroy(server.session);
    if (server.listen_fd >= 0) {
        (void)close(server.listen_fd); /* a socket: nothing to lose */
    }
    return status;
}
