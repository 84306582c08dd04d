/*
 * A --follow beside the server: a program of its own, with its own data, memory and
 * descriptors, which looks between two calls of the server and lives on when that dies.
 * A loss of power ends both, and its reader begins anew.
 */
#ifndef KV_WORLD_BESIDE_H
#define KV_WORLD_BESIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the calls that are answered now are those of the follower. */
bool beside_is_looking(void);

/* Of its calls from now on, the how manieth fails; and the errno, for each of them. */
void beside_fail(uint64_t nth);
int beside_meets_fault(void);

/* Nobody follows yet. Also when what is followed is no longer what it was. */
void beside_end(void);

/* The server starts: that removes a drained log at once, whoever reads it. */
void beside_note_start(void);

/* Have it look, and judge what it prints. */
void beside_look(void);

/* The server has stopped and everything is known: what was printed is the store. */
void beside_check_at_rest(void);

/* What it writes. */
void beside_take(int fd, const void *bytes, size_t length);

#endif
