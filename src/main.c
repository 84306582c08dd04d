/*
 * kv-store: start-up and shutdown as a checklist.
 */
#include "base/stop.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "options.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EXIT_CLEAN = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_CORRUPT = 3,
    EXIT_BEHIND = 4
};

/*
 * The log must never get a number under which something else writes messages. What is
 * closed stays a place from which nothing comes and, but for stderr, where nothing can be
 * written: output that nobody gets is an error.
 */
static bool fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int access = fd == STDERR_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", access) != fd) {
            return false;
        }
    }
    return true;
}

/* Whatever the parent process left behind must not decide how this one behaves. */
static void reset_inheritance(void)
{
    sigset_t none;
    (void)umask(077);
    (void)sigemptyset(&none); /* none of these can fail with valid arguments */
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    /* A file at its size limit is an error like a full disk. */
    (void)signal(SIGXFSZ, SIG_IGN);
}

static enum status serve(const struct options *options)
{
    struct store *store = NULL;
    struct listener listener;
    stop_exit_cleanly();
    enum status status = listener_bind(&options->server.listener, &listener);
    if (status == KV_OK) {
        status = store_open(&options->store, &store);
    }
    if (status == KV_OK) {
        status = server_run(&options->server, &listener, store);
    }
    listener_close(&listener);
    enum status close_status = store == NULL ? KV_OK : store_close(store);
    return status == KV_OK ? close_status : status;
}

static enum status run(const struct options *options)
{
    switch (options->mode) {
    case MODE_VERIFY:
        return verify_log(options->store.path);
    case MODE_SALVAGE:
        return salvage_log(options->store.path, options->salvage_path);
    case MODE_DUMP:
        return dump_log(options->store.path, options->format);
    case MODE_FOLLOW:
        return follow_log(options->store.path, options->format);
    case MODE_SERVE:
        break;
    }
    return serve(options);
}

static int exit_status(enum status status)
{
    switch (status) {
    case KV_OK:
        return EXIT_CLEAN;
    case KV_CORRUPT:
        return EXIT_CORRUPT;
    case KV_BEHIND:
        return EXIT_BEHIND;
    default:
        return EXIT_FAILED;
    }
}

int main(int argc, char **argv)
{
    struct options options;
    stop_catch();
    if (!fill_standard_descriptors()) {
        return EXIT_FAILED;
    }
    reset_inheritance();
    enum options_result result = options_parse(argc, argv, &options);
    if (result != OPTIONS_RUN) {
        return result == OPTIONS_DONE    ? EXIT_CLEAN
               : result == OPTIONS_WRONG ? EXIT_USAGE
                                         : EXIT_FAILED;
    }
    enum status status = run(&options);
    return exit_status(status);
}
