/*
 * One handler, and what it may touch. All that it calls may be called in a handler.
 */
#include "base/stop.h"

#include "base/diag.h"
#include "base/platform.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum manner { BY_SIGNAL, CLEANLY, NOTED };

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};

static volatile sig_atomic_t manner = BY_SIGNAL;
static volatile sig_atomic_t is_wanted;
static volatile sig_atomic_t is_urgent; /* a SIGINT was noted: the next is the second */
static int wake_pipe[2] = {-1, -1};
static struct {
    volatile sig_atomic_t directory; /* -1: there is none */
    char name[NAME_MAX + 1];
} half_made = {.directory = -1};

/* A process 1 survives this, unless another kills it. */
static void die_by(int signal_number)
{
    sigset_t it;
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigemptyset(&action.sa_mask); /* none of these can fail with valid arguments */
    (void)sigaction(signal_number, &action, NULL);
    (void)sigemptyset(&it);
    (void)sigaddset(&it, signal_number);
    (void)raise(signal_number);
    (void)sigprocmask(SIG_UNBLOCK, &it, NULL);
}

static void end_at_once(int signal_number)
{
    if (half_made.directory >= 0) {
        (void)unlinkat((int)half_made.directory, half_made.name, 0); /* best effort */
    }
    diag_leave();
    if (manner == CLEANLY) {
        _exit(0);
    }
    if (manner == BY_SIGNAL) {
        die_by(signal_number);
    }
    _exit(128 + signal_number);
}

static void take_signal(int signal_number)
{
    int kept_errno = errno;
    if (manner != NOTED || (is_urgent != 0 && signal_number == SIGINT)) {
        end_at_once(signal_number);
    }
    is_wanted = 1;
    is_urgent = is_urgent != 0 || signal_number == SIGINT;
    /* The pipe does not block; if it is full, somebody is being woken already. */
    ssize_t written = write(wake_pipe[1], "", 1);
    (void)written;
    errno = kept_errno;
}

static sigset_t all_of_them(void)
{
    sigset_t set;
    (void)sigemptyset(&set); /* neither can fail with valid arguments */
    for (size_t i = 0; i < sizeof stop_signals / sizeof stop_signals[0]; i++) {
        (void)sigaddset(&set, stop_signals[i]);
    }
    return set;
}

void stop_catch(void)
{
    struct sigaction before;
    struct sigaction action = {.sa_handler = take_signal, .sa_mask = all_of_them()};
    for (size_t i = 0; i < sizeof stop_signals / sizeof stop_signals[0]; i++) {
        (void)sigaction(stop_signals[i], NULL, &before); /* cannot fail, nor the next */
        if (stop_signals[i] != SIGHUP || before.sa_handler != SIG_IGN) {
            (void)sigaction(stop_signals[i], &action, NULL);
        }
    }
}

void stop_exit_cleanly(void)
{
    manner = CLEANLY;
}

static bool set_flags(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

enum status stop_note(void)
{
    if (pipe(wake_pipe) < 0 || !set_flags(wake_pipe[0]) || !set_flags(wake_pipe[1])) {
        diag_error("signals: cannot make a pipe; giving up");
        return KV_IO;
    }
    manner = NOTED;
    stop_catch();
    return KV_OK;
}

bool stop_is_wanted(void)
{
    return is_wanted != 0;
}

int stop_fd(void)
{
    return wake_pipe[0];
}

void stop_hold(void)
{
    sigset_t set = all_of_them();
    (void)sigprocmask(SIG_BLOCK, &set, NULL); /* cannot fail with valid arguments */
}

void stop_release(void)
{
    sigset_t set = all_of_them();
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL); /* likewise */
}

void stop_remember_file(int directory, const char *name)
{
    assert(strlen(name) < sizeof half_made.name);
    stop_forget_file();
    memcpy(half_made.name, name, strlen(name) + 1);
    KV_SIGNAL_FENCE(); /* the name before that there is one */
    half_made.directory = directory;
}

void stop_forget_file(void)
{
    half_made.directory = -1;
    KV_SIGNAL_FENCE();
}
