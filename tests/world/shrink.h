/*
 * A script that breaks a rule, made as small as it gets while it breaks the same rule.
 */
#ifndef KV_WORLD_SHRINK_H
#define KV_WORLD_SHRINK_H

#include "world/plan.h"

/* plan: breaks a rule, which violation_rule names; replaced by the smaller one. */
void shrink(struct plan *plan);

#endif
