/*
 * The small client as one more client of the server: the real kv, linked once more, on a
 * stack of its own. Its calls are answered here; while it waits in one of them the server
 * goes on. It is judged when it ends: its status, what it printed and what it told, by
 * what the server had answered to it.
 *
 * Its words stand in an event: `get KEY`, `-t 2 set KEY the rest of the line`, and behind
 * a `<` in place of a value what stands on its standard input. A number decides what
 * befalls it: how long it rests between its calls, in what pieces it sends and receives,
 * which of its own calls fail; 0: nothing.
 */
#ifndef KV_WORLD_SMALL_H
#define KV_WORLD_SMALL_H

#include "base/slice.h"
#include "net/protocol.h"
#include "world/plan.h"

/* How many are at work: with none nothing else here needs to be called. */
extern unsigned small_count;

/* How many have ended, in all runs. */
uint64_t small_ended_count(void);

/* Nobody is at work. */
void small_begin_run(void);

/* One begins, as the client of a number, if that is free. */
void small_begin(unsigned number, uint64_t luck, const char *words);

/* Whether the client of a number is one of these, and what it says its own affair. */
bool small_is_at(unsigned number);

/* The server makes a call: let those go on whose time that is. */
void small_go_on(void);

/* When the first can go on, on the clock that never jumps; WORLD_ALL: none ever. */
uint64_t small_next_us(void);

/* The server waits, and that moment has come. */
void small_go_on_waiting(void);

/* The server has sent something, or ended its side, or closed. */
void small_note_sent(unsigned number, const void *bytes, size_t length);
void small_note_shut(unsigned number);
void small_note_closed(unsigned number, bool is_reset);

/* A reply is complete, and right. */
void small_note_reply(unsigned number, struct slice reply);

/* The server is gone, before its clients are forgotten; is_silent: with its machine. */
void small_note_life_over(bool is_silent);

/* No other server will come. */
void small_end_run(void);

#endif
