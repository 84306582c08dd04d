/*
 * Monotonic milliseconds.
 */
#include "base/clock.h"

#include <limits.h>
#include <time.h>

uint64_t clock_now_us(void)
{
    struct timespec now;
    /* CLOCK_MONOTONIC with a valid pointer has no way to fail. */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

bool clock_is_due(uint64_t *last_ms, uint64_t period_ms)
{
    uint64_t now_ms = clock_now_ms();
    if (*last_ms != 0 && now_ms - *last_ms < period_ms) {
        return false;
    }
    *last_ms = now_ms;
    return true;
}

int clock_poll_timeout(uint64_t now_ms, uint64_t deadline_ms)
{
    if (deadline_ms == CLOCK_NEVER) {
        return -1;
    }
    if (deadline_ms <= now_ms) {
        return 0;
    }
    uint64_t left_ms = deadline_ms - now_ms;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}
