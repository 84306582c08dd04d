/*
 * Another process that touches the log while it is served: it takes its name away, gives
 * the name to a file of its own, or shortens the log. When the server has ended the
 * operator puts back what was there, and nothing that was acknowledged may be missing.
 */
#ifndef KV_WORLD_OTHERS_H
#define KV_WORLD_OTHERS_H

#include "world/plan.h"

void others_begin_run(void);

/* Nobody touches it while it is not served. */
void others_note_serving(bool is_serving);

/* Does nothing while there are two logs, or on a disk that lies, or a second time. */
void others_touch(const struct event *event);

/* Whether the log is not where, or what, the server left it. */
bool others_have_touched(void);

/* Whether what was put back stands behind what a failed sync may have lost. */
bool others_have_left_a_hole(void);

/* The server has ended: the operator mends it. */
void others_put_back(void);

#endif
