/*
 * One life of the server: between two of its calls, and while it waits, time passes and
 * what the script says happens; then a call may fail.
 */
#ifndef KV_WORLD_PROCESS_H
#define KV_WORLD_PROCESS_H

#include "world/plan.h"

#include <setjmp.h>

/* How a life ended other than by returning. */
enum death { DEATH_NONE, DEATH_KILLED, DEATH_POWER, DEATH_GIVEN_UP };

/* Where a death goes; set by whoever begins a life. */
extern sigjmp_buf process_death;

/* The same for a rule that is broken. */
extern sigjmp_buf process_violation;

/* Begin a run. The plan is borrowed until the next. */
void process_begin_run(const struct plan *plan);

/* Begin a life: what the last one held is gone. */
void process_begin_life(void);

const struct serving *process_serving(void);

/* How long so many calls may take, with as many syncs among them as there may be. */
uint64_t process_calls_us(uint64_t calls);
bool process_plan_is_over(void);

/* Calls are answered, and nothing happens between them: for what the world itself asks.
 */
void process_be_quiet(bool is_quiet);

/* Whether what happens does so while the server waits. */
bool process_is_waiting(void);
bool process_is_quiet(void);

/*
 * A call begins. Returns the errno that it is to fail with, or 0; a and b go into the
 * digest. Does not return if the server dies here.
 */
int process_enter(enum call call, enum role role, uint64_t a, uint64_t b);

/* Calls in this run so far. */
uint64_t process_call_count(void);

/* How many bytes the call that has begun may move. */
size_t process_cut(size_t length);

/* As process_enter, for calls between which nothing can happen. */
int process_meets_fault(enum call call, enum role role);

/*
 * The server waits, at most until a moment; WORLD_ALL: without end. Returns when
 * something has happened, or true when the moment has come.
 */
bool process_wait(uint64_t until_us);

/* The server did something that brings it nearer to an end. */
void process_note_progress(void);

/* What a death leaves behind has changed: the disk, or what has been sent. */
void process_note_lasting(void);

/* The calls of this run, from 1 on. */
enum call process_past_call(uint64_t number);

/* Whether that has changed between the call before this one and this one. */
bool process_is_another_death(uint64_t number);

/* What the server did with a signal; NULL: nothing yet. */
void process_catch(int signal_number, void (*handler)(int signal_number));
void (*process_handler(int signal_number))(int signal_number);

/* While they are held back signals wait. */
void process_hold_signals(bool are_held);
bool process_is_stopping(void);
uint64_t process_stop_us(void); /* when, on the clock that never jumps */

/* A hash of every call and reply of the run. */
void process_digest(uint64_t word);
void process_digest_bytes(const void *bytes, size_t length);
uint64_t process_digest_now(void);

/* Rot that waits for the next clean stop; NULL: none. Taken by the call. */
const struct event *process_take_rot(void);

/* Why a run failed: the rule in a few words, and what was seen. */
extern char violation_rule[128];
extern char violation_text[2048];
_Noreturn void violation(const char *rule, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The last lines that the server told the operator in this run. */
void process_note_diag(const char *line, size_t length);
const char *process_diag(void);

/* Whether some line of this life had these words. */
bool process_has_told(const char *words);

#endif
