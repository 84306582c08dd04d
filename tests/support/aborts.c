/*
 * A child that makes one call, silently and without leaving a core file.
 */
#include "support/aborts.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_silently(void (*work)(void *), void *context)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none); /* a core file would only be litter */
    (void)signal(SIGABRT, SIG_DFL);      /* the test framework may catch it */
    int null_fd = open("/dev/null", O_WRONLY);
    if (null_fd < 0 || dup2(null_fd, STDERR_FILENO) < 0) {
        _exit(2);
    }
    work(context);
    _exit(0);
}

bool aborts(void (*work)(void *), void *context)
{
    pid_t child = fork();
    if (child < 0) {
        abort();
    }
    if (child == 0) {
        run_silently(work, context);
    }
    int result = 0;
    if (waitpid(child, &result, 0) != child) {
        abort();
    }
    return WIFSIGNALED(result) && WTERMSIG(result) == SIGABRT;
}
