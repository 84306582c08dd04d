/*
 * kv-store: start-up and shutdown as a checklist.
 */
#include "diag.h"
#include "options.h"
#include "salvage.h"
#include "verify.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CORRUPT = 3 };

/* The log must never get a number under which something else writes messages. */
static bool fill_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd < 0 || close(fd) == 0;
}

/* Whatever the parent process left behind must not decide how this one behaves. */
static void reset_inheritance(void)
{
    sigset_t none;
    (void)umask(077);
    (void)sigemptyset(&none); /* none of these can fail with valid arguments */
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ,
                 SIG_IGN); /* a file at its size limit is an error like a full disk */
}

static int exit_code(enum status status)
{
    return status == KV_OK        ? EXIT_CLEAN
           : status == KV_CORRUPT ? EXIT_CORRUPT
                                  : EXIT_FAILED;
}

static int serve(const struct options *options)
{
    struct store *store = NULL;
    struct server *server = NULL;
    enum status status = store_open(&options->store, &store);
    if (status != KV_OK) {
        return exit_code(status);
    }
    status = server_create(&options->server, store, &server);
    if (status == KV_OK) {
        status = server_run(server);
    }
    server_destroy(server);
    enum status close_status = store_close(store);
    return status == KV_OK && close_status == KV_OK ? EXIT_CLEAN : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct options options;
    if (!fill_standard_descriptors()) {
        return EXIT_FAILED;
    }
    reset_inheritance();
    switch (options_parse(argc, argv, &options)) {
    case OPTIONS_DONE:
        return EXIT_CLEAN;
    case OPTIONS_FAILED:
        return EXIT_FAILED;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    switch (options.mode) {
    case MODE_VERIFY:
        return exit_code(verify_log(options.store.path));
    case MODE_SALVAGE:
        return exit_code(salvage_log(options.store.path, options.salvage_path));
    case MODE_DUMP:
        return exit_code(dump_log(options.store.path, options.dump_format));
    case MODE_SERVE:
        break;
    }
    return serve(&options);
}
