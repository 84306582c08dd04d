/*
 * The clients of the server, and the calls through which it meets them. A socket is a
 * buffer for each direction.
 */
#ifndef KV_WORLD_SOCKETS_H
#define KV_WORLD_SOCKETS_H

#include "world/faults.h"
#include "world/plan.h"

/* So few may be in the lobby that they have to make room for each other. */
enum { SOCKETS_IN_LOBBY_MAX = 3 };

enum client_state { CLIENT_GONE, CLIENT_WAITING, CLIENT_LOBBY, CLIENT_SERVED };

/* How far the input had been received when what had failed: a refusal needs a reason. */
struct mark {
    size_t received;
    struct hits hits;
    uint64_t sent_away; /* clients, in this life, so that they could tell */
};

struct client {
    enum client_state state;
    struct bytes said;
    size_t received;  /* how much of it the server has */
    uint64_t takes;   /* room in its socket */
    uint64_t dribble; /* one recv gives no more */
    unsigned dribbles_left;
    bool stays;
    bool has_ended;
    bool is_reset;
    bool is_lost;           /* the server was told that it is gone */
    bool is_shut;           /* the server sends no more */
    bool is_small;          /* it is a kv, which has a will of its own */
    bool has_left;          /* and is gone: what it is sent ends in a reset */
    bool is_cut_off;        /* the server is going to close it with a reset */
    uint64_t line_came_us;  /* when the first came of the lines that it waits for */
    uint64_t room_came_us;  /* when its socket had room again */
    uint64_t seen_to_speak; /* the how manieth it was in the lobby; 0: not yet */

    /* What the model makes of it. */
    struct bytes heard;
    size_t answered;       /* in said: every line before was replied to */
    size_t matched;        /* in heard: every reply before was right */
    size_t heard_searched; /* no LF in heard between matched and here */
    bool is_closing;       /* no more replies will come */
    bool is_evicted;
    uint64_t last_reply_us; /* when it had answered one */
    uint64_t last_moved_us; /* when it did anything, on the clock that never jumps */
    uint64_t taking_us;     /* till then it may take nothing, or a little later */
    uint64_t renewed_us;    /* likewise, from its last line on that found no reply due */
    struct mark *marks;
    size_t mark_count;
    size_t mark_capacity;
};

void sockets_begin_run(void);

/* Nobody is connected any more. */
void sockets_begin_life(void);

struct client *sockets_client(unsigned number);
unsigned sockets_number(const struct client *client);

/* The one whose turn it is; NULL: nobody's. */
struct client *sockets_served(void);

/* Whether somebody else has sent something. */
bool sockets_is_somebody_waiting(void);

/* The same, or it has gone since: the server may not have learned that yet. */
bool sockets_has_somebody_spoken(void);

/* Whether one in the lobby that is silent may be closed for another. */
bool sockets_may_crowd_out(void);

/* What a script says of a client; it connects first if it has not. */
void sockets_connect(unsigned number);
/* A kv connects. Whether somebody would hear it. */
void sockets_connect_small(unsigned number);
bool sockets_is_listening(void);

void sockets_say(unsigned number, const char *text);

/* Whether a line has come, read or not, that was not answered. */
bool sockets_has_line(const struct client *client);

/* More is about to be said. */
void sockets_note_saying(struct client *client);
void sockets_reset(unsigned number);

/* Everybody takes everything, and says no more. */
void sockets_heal(void);

void sockets_note_closed(size_t number);
void sockets_note_deaf(void);

#endif
