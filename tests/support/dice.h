/*
 * Random numbers that can be had again: the seed is printed, and the environment
 * variable KV_TEST_SEED gives it.
 */
#ifndef KV_TESTS_DICE_H
#define KV_TESTS_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state;
};

/* Choose and print a seed. */
void dice_begin(struct dice *dice);

uint64_t dice_next(struct dice *dice);

/* A number from 0 to count - 1; count is not 0. */
uint64_t dice_below(struct dice *dice, uint64_t count);

#endif
