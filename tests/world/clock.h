/*
 * The simulated clock. It moves when the server makes a call or waits, or when a script
 * says that it jumps.
 */
#ifndef KV_WORLD_CLOCK_H
#define KV_WORLD_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

void world_clock_begin(uint64_t tick_us);
void world_clock_tick(void);
void world_clock_move(uint64_t us);
void world_clock_jump(uint64_t us);

/* Whether it has: then how long anybody waited is not the server's doing. */
bool world_clock_has_jumped(void);

/* What the server sees, and the same without the jumps. */
uint64_t world_now_us(void);
uint64_t world_fair_us(void);

/* Of the machine itself, for `make world SECONDS=n` alone; and what this program has had
 * of its processor, which does not depend on who else is at work. */
double world_real_seconds(void);
double world_processor_seconds(void);

#endif
