/*
 * Waits with an end.
 */
#include "support/watchdog.h"

#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

uint64_t watchdog_deadline_ms(void)
{
    return shim_real_clock_ms() + WATCHDOG_S * UINT64_C(1000);
}

void watchdog_check(uint64_t deadline_ms, const char *what)
{
    if (shim_real_clock_ms() > deadline_ms) {
        fail_msg("gave up waiting for %s", what);
    }
}

/* Returns what poll returned, with a wait that signals do not prolong. */
static int poll_until(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    for (;;) {
        uint64_t reached_ms = shim_real_clock_ms();
        int left_ms = reached_ms < deadline_ms ? (int)(deadline_ms - reached_ms) : 0;
        int count = poll(&wanted, 1, left_ms);
        if (count >= 0 || errno != EINTR) {
            return count;
        }
    }
}

void watchdog_await(int fd, short events, uint64_t deadline_ms, const char *what)
{
    int count = poll_until(fd, events, deadline_ms);
    if (count < 0) {
        fail_msg("poll for %s: %s", what, strerror(errno));
    }
    if (count == 0) {
        fail_msg("gave up waiting for %s", what);
    }
}

bool watchdog_sees(int fd, short events)
{
    return poll_until(fd, events, 0) > 0;
}

bool watchdog_is_slow(void)
{
    const char *slow = getenv("KV_TEST_SLOW");
    return slow != NULL && strcmp(slow, "1") == 0;
}

size_t watchdog_scaled(size_t native, size_t slow)
{
    return watchdog_is_slow() ? slow : native;
}

void watchdog_skip_under_valgrind(void)
{
    if (getenv("KV_TEST_VALGRIND") != NULL) {
        skip();
    }
}
