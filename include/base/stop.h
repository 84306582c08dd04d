/*
 * Stop signals: SIGTERM, SIGINT and SIGHUP, which is left alone if it was ignored at the
 * start, as nohup does. They are caught from the first moment on, since a process 1, as
 * in a container, never gets one that it does not catch.
 *
 * What was rejected: a flag that every long loop looks at. A loop forgets; and wherever
 * the program dies the files are as a crash may leave them, which the next start takes
 * anyway. So until there are clients to answer, the handler itself ends the program.
 */
#ifndef KV_STOP_H
#define KV_STOP_H

#include "base/status.h"

#include <stdbool.h>

/*
 * From now on a stop signal ends the program at once, as it does without a handler: by
 * the signal, or where that does nothing with status 128 and its number.
 */
void stop_catch(void);

/* The same, but with status 0: a start that is broken off has harmed nothing. */
void stop_exit_cleanly(void);

/*
 * From now on stop signals are only noted, but for the second SIGINT, which ends the
 * program at once.
 *
 * KV_IO: there is no descriptor that could wake a wait (reported); all is as before.
 */
enum status stop_note(void);

/* Whether a stop signal was noted; a descriptor that is readable from then on. */
bool stop_is_wanted(void);
int stop_fd(void);

/*
 * A file that is half made and goes away with a program that ends at once: there is one
 * at a time. It is made between stop_hold, from which on stop signals wait, and
 * stop_release. stop_forget_file: it has its name now, or is removed.
 *
 * directory: a descriptor that stays open meanwhile.  name: within it, not too long for
 * a file.
 */
void stop_hold(void);
void stop_release(void);
void stop_remember_file(int directory, const char *name);
void stop_forget_file(void);

#endif
