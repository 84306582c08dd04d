/*
 * One run: lives of the server one after another, until the script is over and a last
 * one has been looked at.
 */
#ifndef KV_WORLD_RUN_H
#define KV_WORLD_RUN_H

#include "world/plan.h"

struct run_figures {
    uint64_t starts;
    uint64_t kills;
    uint64_t power_losses;
    uint64_t refused_starts; /* each for a fault */
    uint64_t rots;
    uint64_t unread; /* how often a mode read a log of which pages cannot be read */
};

/* Once, before anything else of the world: what every life begins with. */
void run_prepare(void);

/* true: no rule was broken; else violation_rule and violation_text say which. */
bool run_plan(const struct plan *plan);

const struct run_figures *run_figures(void);

#endif
