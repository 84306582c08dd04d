/*
 * wrap: clock_gettime
 */
#include "world/clock.h"

#include "world/process.h"

#include <time.h>

int __real_clock_gettime(clockid_t clock, struct timespec *now_out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now_out);

static uint64_t now_us;
static uint64_t jumped_us;
static uint64_t tick_us;

bool world_clock_has_jumped(void)
{
    return jumped_us > 0;
}

void world_clock_begin(uint64_t tick)
{
    /* A machine that has been up for a day. */
    now_us = UINT64_C(86400) * 1000000;
    jumped_us = 0;
    tick_us = tick;
}

void world_clock_tick(void)
{
    now_us += tick_us;
}

void world_clock_move(uint64_t us)
{
    now_us += us;
}

void world_clock_jump(uint64_t us)
{
    now_us += us;
    jumped_us += us;
}

uint64_t world_now_us(void)
{
    return now_us;
}

uint64_t world_fair_us(void)
{
    return now_us - jumped_us;
}

static double read_seconds(clockid_t clock)
{
    struct timespec now;
    (void)__real_clock_gettime(clock, &now); /* cannot fail */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double world_real_seconds(void)
{
    return read_seconds(CLOCK_MONOTONIC);
}

double world_processor_seconds(void)
{
    return read_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now_out)
{
    (void)clock;
    (void)process_enter(CALL_CLOCK, ROLE_ANY, 0, 0); /* it has no way to fail */
    now_out->tv_sec = (time_t)(now_us / 1000000);
    now_out->tv_nsec = (long)(now_us % 1000000) * 1000;
    return 0;
}
