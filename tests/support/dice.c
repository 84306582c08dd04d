/*
 * SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough for tests.
 */
#include "support/dice.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void dice_begin(struct dice *dice)
{
    const char *given = getenv("KV_TEST_SEED");
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* a poor seed is still a seed */
    dice->state = given != NULL ? strtoull(given, NULL, 10)
                                : (uint64_t)now.tv_sec * 1000000000 +
                                      (uint64_t)now.tv_nsec + (uint64_t)getpid();
    printf("KV_TEST_SEED=%llu\n", (unsigned long long)dice->state);
    (void)fflush(stdout); /* a test that crashes must have told its seed */
}

uint64_t dice_next(struct dice *dice)
{
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t word = dice->state;
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

uint64_t dice_below(struct dice *dice, uint64_t count)
{
    return dice_next(dice) % count;
}
