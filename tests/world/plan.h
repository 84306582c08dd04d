/* clang-format off: a table */
/*
 * A script of the world: options of the server, and events one after another, each of
 * which happens so many calls of the server, or so much time, after the one before, or
 * else when the server next waits. What a script says is all that decides a run.
 *
 * A line for each, in these words; # begins a comment:
 *
 *     serve sync=everysec idle=2 max-value=4096 processors=1 tick=9 sync-us=300 seed=7
 *     serve image=3000 piece=90                saved when the log has grown so, in pieces
 *     serve addresses=2                        to listen on; each has its clients
 *     serve addresses=2 paths=1                the last of them is a path
 *     serve parts=2 hashes=50                  of the index and of keys, in all lives
 *     client 1 says SET a {300#7}\nGET a\n     bytes arrive; 300 letters of kind 7
 *     client 1 comes                           connects, and sends nothing yet
 *     client 1 takes 100                       its socket has room for so many bytes
 *     client 1 dribbles 3                      the next 200 recv give no more of it
 *     client 1 stays                           does not close when the server does
 *     client 1 ends                            no more will come
 *     client 1 resets
 *     client 2 runs 17 get a                   is a kv with these words; 17 decides what
 *                                              befalls it
 *     fail 2 pwrite log ENOSPC                 the second from now, once
 *     fail 1 malloc any ENOMEM for good
 *     cut 1 send other 5                       takes no more than 5 bytes
 *     faults end
 *     room 100                                 bytes left on the disk
 *     signal TERM
 *     kill                                     and a start on what is there
 *     power 17                                 likewise; 17 decides what the disk kept,
 *                                              0: nothing that was not synced
 *     dies 317                                 killed at the 317th call from now; another
 *     dies 20 power 5                          one counts from that death
 *     unreadable log 500                       a page at 500 thousandths, till faults end
 *     fades log 500 2                          likewise, but not before its bytes have
 *                                              passed a check once more, and then 2 more
 *     follower fails 7                         the seventh call from now of who follows
 *     other moves                              another process takes the log's name away
 *     other replaces                           and gives it to a file of its own
 *     other cuts 500                           shortens the log, while the server waits;
 *                                              it is put back when the server has ended
 *     rot log 500 3                            at rest: bit 3 at 500 thousandths of it
 *     jump 5000                                the clock, by ms
 *     path file                                another process puts a file of its own at
 *                                              the path of a socket, while the server
 *                                              waits; or `server`: it listens there;
 *                                              `dead`: it did once; `nothing`: it removes
 *                                              what is there
 *     original 12                              the first start finds a log that the
 *                                              original left, with so many records
 *     lies                                     no sync reaches the disk
 *
 * in front of it `+3 ` (calls) or `~1500 ` (ms). `all` stands for a number without limit.
 * `serve`, `original` and `lies` at the beginning are there before the first start.
 */
/* clang-format on */
#ifndef KV_WORLD_PLAN_H
#define KV_WORLD_PLAN_H

#include "world/calls.h"
#include "world/memory.h"

enum event_kind {
    EVENT_SERVE,
    EVENT_SAYS,
    EVENT_COMES,
    EVENT_TAKES,
    EVENT_DRIBBLES,
    EVENT_STAYS,
    EVENT_ENDS,
    EVENT_RESETS,
    EVENT_RUNS,
    EVENT_FAIL,
    EVENT_CUT,
    EVENT_FAULTS_END,
    EVENT_ROOM,
    EVENT_SIGNAL,
    EVENT_KILL,
    EVENT_POWER,
    EVENT_ROT,
    EVENT_JUMP,
    EVENT_DIES,
    EVENT_ORIGINAL,
    EVENT_LIES,
    EVENT_UNREADABLE,
    EVENT_FADES,
    EVENT_OTHER_MOVES,
    EVENT_OTHER_REPLACES,
    EVENT_OTHER_CUTS,
    EVENT_PATH,
    EVENT_FOLLOWER_FAILS,
    EVENT_KIND_COUNT
};

/* What stands at the path of a socket. */
enum path_thing { PATH_NOTHING, PATH_DEAD, PATH_SERVER, PATH_FILE, PATH_THINGS };

enum { CLIENTS_MAX = 8 };

#define WORLD_ALL UINT64_MAX

/* See looks below. */
enum { PLAN_LOOKS_MAX = 20, PLAN_ADDRESSES_MAX = 3 };

/* From the next start on. */
struct serving {
    bool is_everysec;
    uint64_t idle_s;
    uint64_t value_bytes_max;
    uint64_t processors;
    uint64_t address_count; /* 1 to PLAN_ADDRESSES_MAX; clients come to them by turns */
    uint64_t path_count;    /* of them; 0 or 1 */
    uint64_t tick_us;       /* each call takes so long */
    uint64_t sync_us;       /* and a sync, twice if the file has another length */
    uint64_t image_growth_bytes; /* of the log, before the index is saved again */
    uint64_t image_piece_bytes;
    uint64_t part_count; /* of the index, that keys go to; 0: all it has */
    uint64_t hash_count; /* that all keys share; 0: each has its own */
    uint64_t seed;       /* of the random numbers that the system gives */
    /* Of --follow beside it: one at each wait, and after so many calls; if they are more
     * than PLAN_LOOKS_MAX, by the clock; 0: nobody follows. */
    uint64_t looks;
};

struct fault {
    enum call call;
    enum role role;
    uint64_t nth; /* 1: the next */
    int error;    /* 0: it is cut to so many bytes */
    uint64_t bytes;
    bool is_sticky;
};

struct event {
    enum event_kind kind;
    uint64_t after_calls;
    uint64_t after_ms;
    unsigned client; /* 0 to CLIENTS_MAX - 1; a script counts from 1 */
    uint64_t number;
    uint64_t bit;  /* of FADES: after how many checks more */
    bool is_power; /* of DIES: `bit` decides what the disk kept */
    struct fault fault;
    struct serving serving;
    char *text; /* of SAYS, RUNS, owned; escapes and {LENGTH#KIND} as in a script */
};

struct plan {
    struct event *events;
    size_t count;
    size_t capacity;
};

struct serving plan_default_serving(void);

/* Options have numbers, from 0 on; false: there are no more. */
bool plan_make_option_usual(struct serving *serving, size_t option);

/* Takes over the text of the event. */
void plan_add(struct plan *plan, struct event event);
void plan_insert(struct plan *plan, size_t at, struct event event);
void plan_remove(struct plan *plan, size_t at);
void plan_clear(struct plan *plan);
void plan_copy(struct plan *to, const struct plan *from);

/* One event in words, without an end of line, appended. */
void plan_print(const struct event *event, struct bytes *text);

/* How many of the events are there before the first start. */
size_t plan_leading(const struct plan *plan);

/* false: line is none (not of the empty lines and comments, which add nothing). */
bool plan_parse(struct plan *plan, const char *line);

/* A copy of a text for an event. */
char *plan_text(const char *text, size_t length);

#endif
