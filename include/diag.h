/*
 * Messages for the operator: one line each on stderr, after "kv-store: ".
 *
 * No call blocks: when nobody reads stderr, lines are dropped and counted, and the
 * next line that gets through says how many. errno is kept.
 */
#ifndef KV_DIAG_H
#define KV_DIAG_H

#include "platform.h"

/* Tell what happened. */
void diag_info(const char *format, ...) KV_PRINTF_LIKE(1, 2);

/* Tell what failed; the text of errno follows after ": ". */
void diag_warn(const char *format, ...) KV_PRINTF_LIKE(1, 2);

#endif
