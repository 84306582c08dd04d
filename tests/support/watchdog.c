/*
 * Waits with an end.
 */
#include "support/watchdog.h"

#include "support/unit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WATCHDOG_MS      UINT64_C(20000)
#define WATCHDOG_MS_SLOW UINT64_C(200000)

uint64_t watchdog_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t watchdog_deadline_ms(void)
{
    return watchdog_now_ms() + (watchdog_is_slow() ? WATCHDOG_MS_SLOW : WATCHDOG_MS);
}

/* Returns what poll returned, with a wait that signals do not prolong. */
static int poll_until(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now_ms = watchdog_now_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
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

bool watchdog_sees(int fd, short events, uint64_t wait_ms)
{
    return poll_until(fd, events, watchdog_now_ms() + wait_ms) > 0;
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
