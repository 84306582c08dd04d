/*
 * Whose turn it is, and the one wait. A stop signal makes a descriptor readable, so that
 * it ends a wait that is about to begin as surely as one that has begun.
 */
#include "net/server.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/platform.h"
#include "base/stop.h"
#include "net/commands.h"
#include "net/listener.h"
#include "net/lobby.h"
#include "net/notify.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of what happened to clients the operator is told. */
enum event { EVENT_EVICTED, EVENT_DROPPED, EVENT_CROWDED, EVENT_CUT, EVENTS };

struct server {
    struct store *store;
    struct session *session;
    uint64_t stop_ms;       /* when a stop waits no longer; CLOCK_NEVER: none has begun */
    bool has_processors;    /* more than one is online */
    unsigned vain_spins;    /* how many to pass over after the next in vain */
    unsigned skipped_spins; /* how many are still to be passed over */
    uint64_t awake_until_us; /* till then the next client is looked for awake */
    struct {
        uint64_t count; /* that were not told yet */
        uint64_t told_ms;
    } events[EVENTS];
    uint64_t noted_count; /* of those that the lobby has closed */
    struct lobby lobby;
};

/* In place of a client where none is waited for. */
static const struct pollfd nobody = {.fd = -1};

/* The first of these at once, then once a second at most, with how many there were. */
static void tell(struct server *server, enum event event)
{
    static const char *const texts[EVENTS] = {
        [EVENT_EVICTED] = "sent nothing for too long while others waited; closed",
        [EVENT_DROPPED] = "did not take replies while others waited; connection reset",
        [EVENT_CROWDED] = "had sent nothing, and others needed the place; closed",
        [EVENT_CUT] = "was cut off before all was answered; connection reset",
    };
    uint64_t count = server->events[event].count;
    if (count > 0 && clock_is_due(&server->events[event].told_ms, CLIENTS_MESSAGE_MS)) {
        char times[40] = "";
        if (count > 1) {
            (void)snprintf(times, sizeof times, " (%llu times)",
                           (unsigned long long)count);
        }
        diag_info("a client %s%s", texts[event], times);
        server->events[event].count = 0;
    }
}

static void note(struct server *server, enum event event)
{
    server->events[event].count++;
    tell(server, event);
}

/* What was to be told later; returns when there will be more to tell. */
static uint64_t tell_rest(struct server *server)
{
    uint64_t due_ms = CLOCK_NEVER;
    for (enum event event = 0; event < EVENTS; event++) {
        tell(server, event);
        if (server->events[event].count > 0) {
            due_ms =
                clock_earlier(due_ms, server->events[event].told_ms + CLIENTS_MESSAGE_MS);
        }
    }
    return due_ms;
}

/* What the one wait is for besides the lobby: a stop that has not begun, and a client. */
static void fill_first(const struct server *server, struct pollfd client,
                       struct pollfd *first_out)
{
    first_out[WAIT_STOP] = (struct pollfd){
        .fd = server->stop_ms == CLOCK_NEVER ? stop_fd() : -1, .events = POLLIN};
    first_out[WAIT_CLIENT] = client;
}

/* Those in the lobby who had to make room since the last time. */
static void note_crowded(struct server *server)
{
    for (; server->noted_count < server->lobby.closed_count; server->noted_count++) {
        session_crowd(server->session)->evicted++;
        note(server, EVENT_CROWDED);
    }
}

/* The one wait, with all of the lobby. */
static void look_around(struct server *server, struct pollfd client, uint64_t until_ms)
{
    struct pollfd first[WAIT_OTHERS];
    fill_first(server, client, first);
    lobby_look(&server->lobby, first, until_ms);
    note_crowded(server);
    session_crowd(server->session)->waiting = lobby_heard_count(&server->lobby);
}

/* The client has not used its turn, and another has come for it. Whether it is lost. */
static bool send_away(struct server *server)
{
    struct crowd *crowd = session_crowd(server->session);
    bool is_lost = session_send_away(server->session);
    crowd->dropped += is_lost ? 1 : 0;
    crowd->evicted += is_lost ? 0 : 1;
    note(server, is_lost ? EVENT_DROPPED : EVENT_EVICTED);
    return is_lost;
}

/*
 * Wait for the client, of which all is executed that had arrived when it was looked for,
 * at seen_ms or later. If its time was up by then the first who has something to say ends
 * its turn: what the disk took since is none of its time. Returns whether it is over.
 */
static bool wait_for_client(struct server *server, uint64_t seen_ms)
{
    struct session_wait wait = session_wait(server->session);
    uint64_t now_ms = clock_now_ms();
    bool is_stopping = server->stop_ms != CLOCK_NEVER;
    bool is_up = wait.idle_ms <= seen_ms && !is_stopping;
    uint64_t until_ms =
        clock_earlier(clock_earlier(tell_rest(server), server->stop_ms),
                      store_due_ms(server->store, session_leisure(server->session)));
    if (is_up && lobby_heard_count(&server->lobby) > 0) {
        return send_away(server);
    }
    if (!is_up && !is_stopping) {
        until_ms = clock_earlier(until_ms, wait.idle_ms);
    }
    if (is_up ||
        (!is_stopping && now_ms - server->lobby.looked_ms >= LOBBY_LOOK_TURN_MS)) {
        look_around(server, wait.socket, until_ms);
    } else {
        struct pollfd first[WAIT_OTHERS];
        fill_first(server, wait.socket, first);
        (void)poll(first, WAIT_OTHERS, clock_poll_timeout(now_ms, until_ms));
    }
    return false;
}

/* Deliver what is due before a stop, as long as the client takes it at once. */
static void begin_stop(struct server *server)
{
    server->stop_ms = clock_earlier(server->stop_ms, clock_now_ms() + STOP_DRAIN_MS_MAX);
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

/* Wait for a client that was told to go, and do what is due meanwhile. In steps, since a
 * stop may come in between, which leaves it less time. */
static enum status linger(struct server *server)
{
    enum status status = KV_OK;
    uint64_t since_ms = clock_now_ms();
    uint64_t now_ms = since_ms;
    uint64_t until_ms = CLOCK_NEVER;
    while (status == KV_OK && now_ms < until_ms) {
        until_ms = since_ms + (stop_is_wanted() ? STOP_LINGER_MS_MAX : LINGER_MS_MAX);
        uint64_t step_ms = clock_earlier(now_ms + STOP_LINGER_MS_MAX, until_ms);
        uint64_t due_ms = store_due_ms(server->store, LEISURE_NONE);
        if (!session_linger(server->session, clock_earlier(step_ms, due_ms))) {
            return status;
        }
        status = maintain(server, LEISURE_NONE);
        now_ms = clock_now_ms();
    }
    return status;
}

/* fd: of one whose turn it is, or who has only just come; that one goes back if it says
 * nothing. */
static enum status serve_client(struct server *server, int fd)
{
    struct session *session = server->session;
    enum session_state state = SESSION_READY;
    enum status status = KV_OK;
    bool is_stopped = false;
    session_begin(session, fd);
    session_crowd(session)->waiting = lobby_heard_count(&server->lobby);
    while (status == KV_OK && state != SESSION_OVER &&
           (server->stop_ms == CLOCK_NEVER || clock_now_ms() < server->stop_ms)) {
        uint64_t seen_ms = clock_now_ms();
        status = session_run(session, &state);
        if (status == KV_OK) {
            status = maintain(server, session_leisure(session));
        }
        if (status == KV_OK && state == SESSION_WAITING && server->has_processors) {
            status = spin(server, &state);
        }
        if (status == KV_OK && state == SESSION_WAITING && !session_has_begun(session)) {
            lobby_put_back(&server->lobby, session_give_back(session));
            return KV_OK;
        }
        if (status == KV_OK && stop_is_wanted() && !is_stopped) {
            begin_stop(server);
            is_stopped = true;
        } else if (status == KV_OK && state == SESSION_WAITING) {
            state = wait_for_client(server, seen_ms) ? SESSION_OVER : SESSION_WAITING;
        }
    }
    if (status == KV_OK) {
        status = linger(server);
    }
    if (session_is_cut(session) && (stop_is_wanted() || status != KV_OK)) {
        session_crowd(session)->dropped++;
        note(server, EVENT_CUT);
    }
    session_end(session);
    /* A script that makes a connection for each command is about to make the next. */
    server->awake_until_us = server->has_processors ? clock_now_us() + SPIN_US_MAX : 0;
    return status;
}

/*
 * Wait for one whose turn it is, or is about to be; just after a client has gone, or one
 * has come, awake for a moment. Who is silent is looked at often enough to be heard among
 * many who are not. Returns its socket; -1: something else may be due.
 */
static int wait_for_somebody(struct server *server)
{
    int fd = -1;
    uint64_t now_ms = clock_now_ms();
    uint64_t until_ms =
        clock_earlier(tell_rest(server), store_due_ms(server->store, LEISURE_ALL));
    if (now_ms - server->lobby.looked_ms >= LOBBY_LOOK_MS) {
        look_around(server, nobody, 0);
    }
    while (fd < 0 && lobby_heard_count(&server->lobby) == 0 && !stop_is_wanted() &&
           clock_now_us() < server->awake_until_us) {
        fd = lobby_glance(&server->lobby);
    }
    note_crowded(server);
    if (fd < 0 && lobby_heard_count(&server->lobby) == 0) {
        look_around(server, nobody, until_ms);
        bool is_awake = server->has_processors && lobby_has_newcomer(&server->lobby);
        server->awake_until_us = is_awake ? clock_now_us() + SPIN_US_MAX : 0;
    }
    return fd < 0 && !stop_is_wanted() ? lobby_take(&server->lobby) : fd;
}

static enum status serve_clients(struct server *server)
{
    enum status status = KV_OK;
    while (status == KV_OK && !stop_is_wanted()) {
        int fd = wait_for_somebody(server);
        status = fd >= 0 ? serve_client(server, fd) : maintain(server, LEISURE_ALL);
    }
    return status;
}

/*
 * A stop has begun. Who was accepted and has sent something by now, or does so at once,
 * is answered, as long as there is time: nobody else will, not even a server that takes
 * over the sockets.
 */
static enum status serve_the_last(struct server *server)
{
    enum status status = KV_OK;
    uint64_t grace_ms;
    server->stop_ms = clock_earlier(server->stop_ms, clock_now_ms() + STOP_DRAIN_MS_MAX);
    lobby_shut(&server->lobby);
    do {
        grace_ms = clock_earlier(server->stop_ms, lobby_grace_ms(&server->lobby));
        look_around(server, nobody, grace_ms);
        while (status == KV_OK && lobby_heard_count(&server->lobby) > 0 &&
               clock_now_ms() < server->stop_ms) {
            status = serve_client(server, lobby_take(&server->lobby));
        }
    } while (status == KV_OK && clock_now_ms() < grace_ms);
    return status;
}

/* The end of all that have not had a turn. */
static void close_lobby(struct server *server)
{
    server->events[EVENT_CUT].count += lobby_heard_count(&server->lobby);
    lobby_close(&server->lobby);
    for (enum event event = 0; event < EVENTS; event++) {
        server->events[event].told_ms = 0; /* there is no later */
    }
    (void)tell_rest(server);
}

enum status server_run(const struct server_options *options, struct listener *listener,
                       struct store *store)
{
    struct server server = {
        .store = store,
        .stop_ms = CLOCK_NEVER,
        .has_processors = KV_PROCESSOR_COUNT() > 1,
    };
    enum status status = session_create(&options->session, store, &server.session);
    if (status != KV_OK) {
        diag_errorx("--max-value: not enough memory for values of that size; giving up");
        return status;
    }
    status = listener_open(&options->listener, listener);
    if (status == KV_OK) {
        status = stop_note();
    }
    if (status == KV_OK) {
        listener_tell_ready(listener);
        notify_ready();
        lobby_open(&server.lobby, listener->fds, listener->count);
        status = serve_clients(&server);
        status = status == KV_OK ? serve_the_last(&server) : status;
        close_lobby(&server);
    }
    if (status == KV_OK) {
        notify_stopping();
    }
    session_destroy(server.session);
    return status;
}
