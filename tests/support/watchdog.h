/*
 * Time limits for tests that wait for another process: a wait ends with the event or
 * fails the test, and never hangs.
 */
#ifndef KV_SUPPORT_WATCHDOG_H
#define KV_SUPPORT_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A hundred times what the longest wait takes here: only a hang lasts so long. */
enum { WATCHDOG_S = 300 };

/*
 * When a wait that begins now is given up. What time it is stays untold: a test that
 * measures proves nothing on another machine. Time that matters is the shim's.
 */
uint64_t watchdog_deadline_ms(void);

/* Fail the test if the moment is over; what: that which did not come. */
void watchdog_check(uint64_t deadline_ms, const char *what);

/* Wait until poll reports something for the descriptor; what: named when it fails. */
void watchdog_await(int fd, short events, uint64_t deadline_ms, const char *what);

/* Whether poll reports something for the descriptor already. */
bool watchdog_sees(int fd, short events);

/* Whether KV_TEST_SLOW=1 asks for smaller cases, since everything runs slowly. */
bool watchdog_is_slow(void);

/* The size of a case: the first number, or the second under KV_TEST_SLOW. */
size_t watchdog_scaled(size_t native, size_t slow);

/*
 * Skips the test, which the last line of a run names: valgrind does not give the
 * registers back as they were where a page that fails is read in a loop.
 */
void watchdog_skip_under_valgrind(void);

#endif
