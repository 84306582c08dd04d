/*
 * Stop signals before there is a client: at any call of a start and of the other modes,
 * and in a process 1, which does not die by them.
 *
 * wrap: open openat close fstat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap raise
 */
#include "base/stop.h"

#include "engine/store.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FINISHED = 77 };

#define ANY_CALL SHIM_FILES
#define NEW_LOG  ".salvaged"

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

/* What a signal with its default action does to process 1: nothing. */
static bool is_process_1;

int __real_raise(int number);
int __wrap_raise(int number);

int __wrap_raise(int number)
{
    return is_process_1 ? 0 : __real_raise(number);
}

/* ---- What is interrupted ---- */

typedef void work(struct engine *engine);

static void start(struct engine *engine)
{
    stop_exit_cleanly();
    (void)engine_try_open(engine);
}

static void salvage(struct engine *engine)
{
    (void)salvage_log(engine->log.path, engine_file(engine, NEW_LOG).path);
}

static void verify(struct engine *engine)
{
    (void)verify_log(engine->log.path);
}

static void dump(struct engine *engine)
{
    (void)dump_log(engine->log.path, LINES_SET);
}

static struct {
    int number;
    uint64_t calls_left;
} coming;

static void come_closer(void *context)
{
    if (--coming.calls_left > 0) {
        shim_before(ANY_CALL, SHIM_ANY, come_closer, context);
    } else {
        (void)kill(getpid(), coming.number);
    }
}

/*
 * A signal comes before the nth call of a task, in a child: its exit status, or 128 and
 * the signal that ended it; FINISHED: there was no such call.
 */
static int interrupt(struct engine *engine, work *task, int number, uint64_t nth)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        (void)dup2(nowhere, STDOUT_FILENO);
        (void)alarm(WATCHDOG_S);       /* what never ends must fail, not hang */
        (void)signal(SIGHUP, SIG_DFL); /* whatever these tests were started by */
        stop_catch();
        coming.number = number;
        coming.calls_left = nth;
        shim_before(ANY_CALL, SHIM_ANY, come_closer, NULL);
        task(engine);
        _exit(FINISHED);
    }
    assert_true(child > 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- Logs ---- */

/* A log by the original program, which a start rewrites. */
static void have_original(struct engine *engine)
{
    struct image image = {0};
    image_put_text(&image, "a", "old");
    image_put_text(&image, "b", "two");
    image_put_text(&image, "a", "one");
    engine_place(engine, image_slice(&image));
    image_free(&image);
}

/* A torn tail, which a start keeps aside and cuts off. */
static void have_torn(struct engine *engine)
{
    struct image image;
    image_begin_first(&image);
    image_put_text(&image, "a", "one");
    image_put_text(&image, "b", "two");
    image_seal(&image);
    image_put_text(&image, "c", "never sealed");
    engine_place(engine, image_slice(&image));
    image_free(&image);
}

static void expect_content(struct engine *engine)
{
    engine_open(engine);
    engine_expect(engine, "a", "one");
    engine_expect(engine, "b", "two");
    assert_int_equal(store_count(engine->store), 2);
    engine_close(engine);
}

typedef void have(struct engine *engine);

/* ---- Tests ---- */

/* Status 0, nothing half made, and the next start finds everything. */
static void f106_a_start_is_broken_off_at_any_call_and_harms_nothing(void **state)
{
    struct engine *engine = *state;
    have *const logs[] = {have_original, have_torn};
    for (size_t log = 0; log < sizeof logs / sizeof logs[0]; log++) {
        uint64_t nth = 0;
        int status = 0;
        while (status != FINISHED) {
            logs[log](engine);
            status = interrupt(engine, start, numbers[nth % 3], nth + 1);
            assert_true(status == 0 || status == FINISHED);
            assert_false(engine_has_file(engine, FILES_NEW));
            expect_content(engine);
            nth++;
        }
        assert_in_range(nth, 20, 1000);
    }
}

/* It dies by the signal; the new log is whole or not there. */
static void f106_salvage_leaves_no_new_log_half_made(void **state)
{
    struct engine *engine = *state;
    uint64_t nth = 0;
    int status = 0;
    size_t whole_count = 0;
    while (status != FINISHED) {
        have_torn(engine);
        struct script before = engine_read(engine, "");
        status = interrupt(engine, salvage, numbers[nth % 3], nth + 1);
        assert_true(status == 1000 + numbers[nth % 3] || status == FINISHED);
        assert_false(engine_has_file(engine, NEW_LOG FILES_NEW));
        engine_expect_file(engine, "", script_slice(&before));
        if (engine_has_file(engine, NEW_LOG)) {
            struct script made = engine_read(engine, NEW_LOG);
            engine_place(engine, script_slice(&made)); /* and nothing beside it */
            expect_content(engine);
            script_free(&made);
            whole_count++;
        }
        script_free(&before);
        nth++;
    }
    assert_in_range(nth, 20, 1000);
    assert_in_range(whole_count, 1, nth / 2);
}

/* Where the signal itself does nothing the status says which it was. */
static void f106_process_1_ends_by_a_stop_signal_too(void **state)
{
    struct engine *engine = *state;
    work *const tasks[] = {verify, dump, salvage, start};
    have_torn(engine);
    for (size_t i = 0; i < 4 * 3; i++) {
        int number = numbers[i % 3];
        bool is_start = tasks[i / 3] == start;
        is_process_1 = false;
        assert_int_equal(interrupt(engine, tasks[i / 3], number, 3),
                         is_start ? 0 : 1000 + number);
        is_process_1 = true;
        assert_int_equal(interrupt(engine, tasks[i / 3], number, 3),
                         is_start ? 0 : 128 + number);
    }
    is_process_1 = false;
}

/* The log was rewritten and has its name; what is at PATH.new now is somebody else's. */
static void start_beside_another_file(struct engine *engine)
{
    (void)engine_try_open(engine);
    engine_write(engine, FILES_NEW, SLICE_LITERAL("somebody's"));
    (void)kill(getpid(), SIGTERM);
}

static void f106_only_what_is_half_made_is_removed(void **state)
{
    struct engine *engine = *state;
    have_original(engine);
    assert_int_equal(interrupt(engine, start_beside_another_file, SIGTERM, 1000000),
                     1000 + SIGTERM);
    assert_true(engine_has_file(engine, FILES_NEW));
}

/* nohup's word holds; the other two are caught whatever the parent did. */
static void f106_a_sighup_that_was_ignored_stays_ignored(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(WATCHDOG_S);
        (void)signal(SIGHUP, SIG_IGN);
        (void)signal(SIGINT, SIG_IGN);
        stop_catch();
        if (kill(getpid(), SIGHUP) != 0 || stop_note() != KV_OK ||
            kill(getpid(), SIGHUP) != 0 || stop_is_wanted()) {
            _exit(1);
        }
        struct pollfd wake = {.fd = stop_fd(), .events = POLLIN};
        if (poll(&wake, 1, 0) != 0 || kill(getpid(), SIGINT) != 0 || !stop_is_wanted() ||
            poll(&wake, 1, 0) != 1) {
            _exit(2);
        }
        (void)kill(getpid(), SIGTERM); /* a second one of these is patient */
        (void)kill(getpid(), SIGINT);
        _exit(3);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
}

/* Another that came before, as from a service manager, makes the first SIGINT none. */
static void f72_a_first_sigint_behind_another_signal_is_patient(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(WATCHDOG_S);
        if (stop_note() != KV_OK || kill(getpid(), SIGTERM) != 0 ||
            kill(getpid(), SIGINT) != 0 || !stop_is_wanted()) {
            _exit(1);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f106_a_start_is_broken_off_at_any_call_and_harms_nothing),
        ON_ENGINE(f106_salvage_leaves_no_new_log_half_made),
        ON_ENGINE(f106_process_1_ends_by_a_stop_signal_too),
        ON_ENGINE(f106_only_what_is_half_made_is_removed),
        ON_ENGINE(f106_a_sighup_that_was_ignored_stays_ignored),
        ON_ENGINE(f72_a_first_sigint_behind_another_signal_is_patient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
