/*
 * A script over and over, each time with one thing done to it: each of its calls fails,
 * once and for good, with each error that it may give, or falls short; the server is
 * killed or the power goes at each call since which something else would be left, on the
 * disk or with who was sent it; pages of the log fade; and some of these two at a time.
 */
#ifndef KV_WORLD_EVERY_H
#define KV_WORLD_EVERY_H

#include "world/plan.h"

struct every_figures {
    uint64_t failures; /* runs with a call that failed */
    uint64_t deaths;
    uint64_t fades;
    uint64_t pairs;
};

/* How much of it: one of so many runs. 1: all. */
enum { EVERY_SLOW = 40 };

/*
 * script: one that breaks no rule as it stands.
 * Returns whether no run broke one; else broken is the first script that did.
 */
bool every_try(const struct plan *script, unsigned one_of, struct plan *broken,
               struct every_figures *figures);

#endif
