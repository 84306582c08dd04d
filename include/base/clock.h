/*
 * Monotonic time: never the wall clock, which may be set while the server runs.
 */
#ifndef KV_CLOCK_H
#define KV_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* "No time at all": later than every deadline. */
#define CLOCK_NEVER UINT64_MAX

/* Milliseconds, or microseconds, since some fixed moment. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);

/* The earlier of two times. */
static inline uint64_t clock_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * Whether something may be done that is done once in a period at most: then it counts as
 * done now. last_ms: when it was done; 0: never.
 */
bool clock_is_due(uint64_t *last_ms, uint64_t period_ms);

/*
 * Milliseconds from now until the deadline as poll() takes them: 0 when it has
 * passed, -1 when it is CLOCK_NEVER.
 */
int clock_poll_timeout(uint64_t now_ms, uint64_t deadline_ms);

#endif
