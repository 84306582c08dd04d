/*
 * Messages for the operator: one line each on stderr, after "kv-store: ". In front of
 * that stands the level, as "<4>", where the journal of systemd reads stderr:
 * JOURNAL_STREAM in the environment names what it reads.
 *
 * No call blocks: when nobody reads stderr, lines are dropped and counted, and the
 * next line that gets through says how many. errno is kept.
 */
#ifndef KV_DIAG_H
#define KV_DIAG_H

#include "base/platform.h"

#include <stdbool.h>

/* Tell what happened: an event like any other. */
void diag_info(const char *format, ...) KV_PRINTF_LIKE(1, 2);

/*
 * Tell what is wrong and how the program gets along with it. The text of errno follows
 * after ": "; as in err.h of BSD it does not after an x.
 */
void diag_warn(const char *format, ...) KV_PRINTF_LIKE(1, 2);
void diag_warnx(const char *format, ...) KV_PRINTF_LIKE(1, 2);

/* Tell what failed, or was lost or refused. Likewise. */
void diag_error(const char *format, ...) KV_PRINTF_LIKE(1, 2);
void diag_errorx(const char *format, ...) KV_PRINTF_LIKE(1, 2);

/*
 * Keep the next lines, DIAG_HELD_MAX at most, until it is known whether they are to be
 * told; those that come beyond are told at once.
 */
void diag_hold(void);
void diag_release(bool is_told);

/*
 * Show a line, cut to DIAG_COLUMNS_MAX, on the terminal that stderr is, in place of the
 * one shown before. The next message takes it away, and so does diag_clear, which is for
 * whoever writes to that terminal by another way.
 */
void diag_show(const char *format, ...) KV_PRINTF_LIKE(1, 2);
void diag_clear(void);

/* diag_clear for a signal handler that ends the program. */
void diag_leave(void);

#endif
