/*
 * How keys are spread over the index: as always, or so that few of them fill it.
 */
#ifndef KV_WORLD_HASHES_H
#define KV_WORLD_HASHES_H

#include "world/plan.h"

/* From now on, for all lives of a run: an image of the index outlives them. */
void hashes_begin_run(const struct serving *serving);

#endif
