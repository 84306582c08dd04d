/*
 * From a seed to a script. Each run leaves out about half of what there is: commands,
 * sizes, faults and habits, since what always happens together hides what happens alone.
 */
#ifndef KV_WORLD_SWARM_H
#define KV_WORLD_SWARM_H

#include "world/plan.h"

/* plan: emptied first. */
void swarm_make(uint64_t seed, struct plan *plan);

#endif
