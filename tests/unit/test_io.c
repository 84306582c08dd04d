/*
 * The durable-file calls: full writes, EINTR, and errno sorted into outcomes.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl fopen fstatvfs
 */
#include "file/io.h"

#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct slice text(void)
{
    return SLICE_LITERAL("the quick brown fox jumps over the lazy dog");
}

static int open_directory(const struct engine *engine)
{
    int fd = -1;
    assert_int_equal(io_open_directory(engine->tempdir.path, &fd), KV_OK);
    return fd;
}

static int open_log(const struct engine *engine)
{
    int directory = open_directory(engine);
    int fd = -1;
    assert_int_equal(io_open(directory, "kv.log", O_RDWR | O_CREAT, &fd), KV_OK);
    assert_int_equal(io_close(directory), KV_OK);
    return fd;
}

static void f32_io_write_at_completes_short_writes(void **state)
{
    struct engine *engine = *state;
    const size_t limits[] = {0, 1, 2, 7, SHIM_HALF};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        engine_write(engine, "", SLICE_LITERAL("0123456789"));
        int fd = open_log(engine);
        shim_reset();
        shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), limits[i]);
        assert_int_equal(io_write_at(fd, SLICE_LITERAL(""), 50), KV_OK);
        assert_int_equal(shim_count(SHIM_PWRITE), 0);
        assert_int_equal(io_write_at(fd, SLICE_LITERAL("the lazy dog"), 10), KV_OK);
        assert_true(shim_count(SHIM_PWRITE) >= (limits[i] == 0 ? 1 : 2));
        assert_int_equal(io_close(fd), KV_OK);
        engine_expect_file(engine, "", SLICE_LITERAL("0123456789the lazy dog"));
    }
}

static void f30_io_write_at_stops_where_space_ends(void **state)
{
    struct engine *engine = *state;
    for (uint64_t room = 0; room < text().length; room++) {
        engine_write(engine, "", SLICE_LITERAL(""));
        int fd = open_log(engine);
        shim_reset();
        shim_set_space(SHIM_LOG, room, ENOSPC);
        assert_int_equal(io_write_at(fd, text(), 0), KV_NO_SPACE);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(engine_log_length(engine), room);
        shim_give_space();
        assert_int_equal(io_write_at(fd, text(), 0), KV_OK);
        assert_int_equal(io_close(fd), KV_OK);
        engine_expect_file(engine, "", text());
    }
}

struct sorting {
    int error;
    enum status status;
};

static void io_sorts_errno_into_outcomes(void **state)
{
    const struct sorting sortings[] = {{ENOSPC, KV_NO_SPACE}, {EDQUOT, KV_NO_SPACE},
                                       {EFBIG, KV_NO_SPACE},  {EIO, KV_IO},
                                       {EROFS, KV_IO},        {ENOMEM, KV_IO},
                                       {EBADF, KV_IO},        {ENOENT, KV_NOT_FOUND}};
    int fd = open_log(*state);
    int directory = open_directory(*state);
    for (size_t i = 0; i < sizeof sortings / sizeof sortings[0]; i++) {
        enum status wanted = sortings[i].status;
        int ignored = -1;
        shim_reset();
        shim_fail_from(SHIM_CHANGES, SHIM_ANY, 1, sortings[i].error);
        assert_int_equal(io_open(directory, "x", O_RDONLY, &ignored), wanted);
        assert_int_equal(io_write_at(fd, text(), 0), wanted);
        assert_int_equal(io_truncate(fd, 0), wanted);
        assert_int_equal(io_sync(fd), wanted);
        assert_int_equal(io_sync_directory(directory), wanted);
        assert_int_equal(io_rename(directory, "a", "b"), wanted);
        assert_int_equal(io_unlink(directory, "a"), wanted);
        assert_int_equal(errno, sortings[i].error);
        assert_int_equal(shim_fired_count(), 7);
    }
    shim_reset();
    assert_int_equal(io_close(fd), KV_OK);
    assert_int_equal(io_close(directory), KV_OK);
}

/* One call of each function on a small file, in an order in which each succeeds. */
static void call_everything(const struct engine *engine)
{
    int directory = -1;
    int fd = -1;
    long owner = -1;
    struct io_space space = {0};
    struct io_info info;
    assert_int_equal(io_open_directory(engine->tempdir.path, &directory), KV_OK);
    assert_int_equal(io_measure(directory, &space), KV_OK);
    assert_in_range(space.free_bytes, 1, space.capacity_bytes);
    assert_int_equal(io_open(directory, "kv.log", O_RDWR | O_CREAT, &fd), KV_OK);
    assert_int_equal(io_write_at(fd, text(), 0), KV_OK);
    assert_int_equal(io_truncate(fd, 3), KV_OK);
    assert_int_equal(io_inspect(fd, &info), KV_OK);
    assert_int_equal(info.length, 3);
    assert_int_equal(io_sync(fd), KV_OK);
    assert_int_equal(io_forget_cache(fd, 0), KV_OK);
    assert_int_equal(io_rename(directory, "kv.log", "kv.log.old"), KV_OK);
    assert_int_equal(io_sync_directory(directory), KV_OK);
    assert_int_equal(io_lock(fd, IO_LOCK_ALONE, &owner), KV_OK);
    assert_int_equal(io_unlink(directory, "kv.log.old"), KV_OK);
    assert_int_equal(io_close(fd), KV_OK);
    assert_int_equal(io_close(directory), KV_OK);
}

/* io.h: every function retries EINTR; close does not, and the descriptor is gone. */
static void f12_io_retries_every_interrupted_call(void **state)
{
    const unsigned calls = SHIM_FILES & ~SHIM_BIT(SHIM_FOPEN);
    shim_reset();
    call_everything(*state);
    uint64_t call_count = shim_count_all(calls);
    assert_in_range(call_count, 14, 20);
    for (uint64_t nth = 1; nth <= call_count; nth++) {
        shim_reset();
        shim_fail_once(calls, SHIM_ANY, nth, EINTR);
        call_everything(*state);
        assert_int_equal(shim_fired_count(), 1);
    }
}

static void f91_io_close_is_not_retried(void **state)
{
    const struct sorting sortings[] = {
        {EINTR, KV_OK}, {EIO, KV_IO}, {ENOSPC, KV_IO}, {EDQUOT, KV_IO}};
    for (size_t i = 0; i < sizeof sortings / sizeof sortings[0]; i++) {
        shim_reset();
        int fd = open_log(*state);
        shim_reset();
        shim_fail_from(SHIM_BIT(SHIM_CLOSE), SHIM_ANY, 1, sortings[i].error);
        assert_int_equal(io_close(fd), sortings[i].status);
        assert_int_equal(shim_count(SHIM_CLOSE), 1);
    }
}

/* Nobody holds the other end: an open that waits for it would wait for ever. */
static void f82_io_open_of_a_pipe_does_not_wait(void **state)
{
    struct engine *engine = *state;
    int directory = open_directory(engine);
    int fd = -1;
    struct io_info info;
    assert_int_equal(mkfifo(engine->log.path, 0600), 0);
    assert_int_equal(io_open(directory, "kv.log", O_RDONLY, &fd), KV_OK);
    assert_int_equal(io_inspect(fd, &info), KV_OK);
    assert_false(info.is_regular);
    assert_int_equal(io_close(fd), KV_OK);
    assert_int_equal(io_close(directory), KV_OK);
}

static void f75_io_open_makes_private_files(void **state)
{
    struct stat info;
    mode_t umask_before = umask(0);
    int fd = open_log(*state);
    (void)umask(umask_before);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(io_close(fd), KV_OK);
}

static void io_inspect_tells_what_a_file_is(void **state)
{
    struct engine *engine = *state;
    struct io_info info;
    engine_write(engine, "", text());
    int fd = open_log(engine);
    assert_int_equal(io_inspect(fd, &info), KV_OK);
    assert_int_equal(info.length, text().length);
    assert_int_equal(info.link_count, 1);
    assert_true(info.is_regular);
    assert_int_equal(info.owner, geteuid());
    assert_int_equal(link(engine->log.path, engine_file(engine, ".2").path), 0);
    assert_int_equal(io_inspect(fd, &info), KV_OK);
    assert_int_equal(info.link_count, 2);
    shim_disown(SHIM_LOG);
    assert_int_equal(io_inspect(fd, &info), KV_OK);
    assert_int_not_equal(info.owner, geteuid());
    assert_int_equal(io_close(fd), KV_OK);
}

static enum status lock_log(struct engine *engine)
{
    long owner = 0;
    return io_lock(open_log(engine), IO_LOCK_ALONE,
                   &owner); /* stays open as long as the process */
}

static void f78_io_lock_names_the_process_that_holds_it(void **state)
{
    long owner = -1;
    int fd = open_log(*state);
    pid_t holder = engine_take_elsewhere(*state, lock_log);
    assert_int_equal(io_lock(fd, IO_LOCK_ALONE, &owner), KV_LOCKED);
    assert_int_equal(owner, holder);
    engine_end_holder(holder);
    assert_int_equal(io_lock(fd, IO_LOCK_ALONE, &owner), KV_OK);
    assert_int_equal(io_close(fd), KV_OK);
}

static void io_random_differs_and_fails_without_its_source(void **state)
{
    uint8_t first[16] = {0};
    uint8_t second[16] = {0};
    (void)state;
    assert_int_equal(io_random(first, sizeof first), KV_OK);
    assert_int_equal(io_random(second, sizeof second), KV_OK);
    assert_memory_not_equal(first, second, sizeof first);
    shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, 1, ENOENT);
    assert_int_equal(io_random(first, sizeof first), KV_IO);
}

/* POSIX allows two errors for a lock that is held; any other means that there is none. */
static void f78_f89_io_lock_tells_a_held_lock_from_a_failure(void **state)
{
    const struct sorting refusals[] = {
        {EACCES, KV_LOCKED}, {EAGAIN, KV_LOCKED}, {ENOLCK, KV_IO}, {EBADF, KV_IO},
        {EINVAL, KV_IO},     {EOPNOTSUPP, KV_IO}, {EIO, KV_IO}};
    int fd = open_log(*state);
    for (size_t i = 0; i < 2 * (sizeof refusals / sizeof refusals[0]); i++) {
        long owner = -1;
        shim_reset();
        /* Nobody holds it when the holder is asked for, or nobody can be asked. */
        shim_inject(&(struct shim_fault){.calls = SHIM_BIT(SHIM_FCNTL),
                                         .nth = 1,
                                         .error = refusals[i / 2].error,
                                         .is_sticky = i % 2 == 1});
        assert_int_equal(io_lock(fd, IO_LOCK_ALONE, &owner), refusals[i / 2].status);
        assert_int_equal(owner, 0);
    }
    shim_reset();
    assert_int_equal(io_close(fd), KV_OK);
}

int main(void)
{
    /* An open that waits must fail the test, not hang it. */
    (void)alarm(WATCHDOG_S);
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f32_io_write_at_completes_short_writes),
        ON_ENGINE(f30_io_write_at_stops_where_space_ends),
        ON_ENGINE(io_sorts_errno_into_outcomes),
        ON_ENGINE(f12_io_retries_every_interrupted_call),
        ON_ENGINE(f91_io_close_is_not_retried),
        ON_ENGINE(f82_io_open_of_a_pipe_does_not_wait),
        ON_ENGINE(f75_io_open_makes_private_files),
        ON_ENGINE(io_inspect_tells_what_a_file_is),
        ON_ENGINE(f78_io_lock_names_the_process_that_holds_it),
        ON_ENGINE(f78_f89_io_lock_tells_a_held_lock_from_a_failure),
        ON_ENGINE(io_random_differs_and_fails_without_its_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
