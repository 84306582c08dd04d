/*
 * Who is connected and has not had a turn: those that have sent nothing yet, in the order
 * in which they came, and those that have, in the order in which it was seen. The silent
 * ones keep nobody waiting and may stay for ever; of too many the oldest is closed.
 *
 * The lobby never holds up a client that is served: it is looked at when the server asks.
 */
#ifndef KV_LOBBY_H
#define KV_LOBBY_H

#include "base/bounds.h"
#include "base/status.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* What else the one wait is for: a stop signal, and the client that is served. */
enum { WAIT_STOP, WAIT_CLIENT, WAIT_OTHERS };

struct lobby {
    struct pollfd listeners[LISTENERS_MAX]; /* borrowed descriptors */
    size_t listener_count;
    size_t clients_max;
    size_t silent_count;
    bool has_newcomer; /* the last of the silent came at the last look */
    size_t heard_count;
    size_t first_heard;           /* in heard, which is a ring */
    int heard[LOBBY_CLIENTS_MAX]; /* owned, as those in silent */
    struct pollfd *silent;        /* within polled */
    uint64_t paused_until_ms;     /* nobody is accepted: there is no descriptor */
    uint64_t told_exhausted_ms;   /* when the operator was last told */
    uint64_t looked_ms;
    uint64_t came_ms;      /* when the last came of whom nothing was heard */
    uint64_t closed_count; /* of silent ones, for want of room */
    struct pollfd polled[WAIT_OTHERS + LISTENERS_MAX + LOBBY_CLIENTS_MAX];
};

/*
 * Begin with the sockets that listen; they do not block.
 *
 * listen_fds: borrowed until lobby_close.  count: LISTENERS_MAX at most.
 */
void lobby_open(struct lobby *lobby, const int *listen_fds, size_t count);

/* Close everybody's socket; they see a reset. */
void lobby_close(struct lobby *lobby);

/* The one that was first heard, whose socket is the caller's from now on; -1: nobody. */
int lobby_take(struct lobby *lobby);

/* How many have sent something, as far as was seen. */
size_t lobby_heard_count(const struct lobby *lobby);

/* Whether somebody came at the last look, and had sent nothing yet. */
bool lobby_has_newcomer(const struct lobby *lobby);

/*
 * Wait for one of the first, or for somebody in the lobby or on the way to it; take in
 * who comes, and note who has sent something.
 *
 * first: what else to wait for, WAIT_OTHERS of them, -1 for none.
 * until_ms: of clock_now_ms; 0: do not wait.
 */
void lobby_look(struct lobby *lobby, const struct pollfd *first, uint64_t until_ms);

/* Nobody is taken in from now on. */
void lobby_shut(struct lobby *lobby);

/* Till when a silent one who has only just come is about to speak; long ago: there is
 * none. */
uint64_t lobby_grace_ms(const struct lobby *lobby);

/*
 * Without a wait, where nobody was heard: one who has come just now, whose socket is the
 * caller's and may have something to say, or not yet; -1: nobody.
 */
int lobby_glance(struct lobby *lobby);

/* One from lobby_glance has sent nothing. Nobody was taken in since. */
void lobby_put_back(struct lobby *lobby, int fd);

#endif
