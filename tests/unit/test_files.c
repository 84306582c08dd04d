/*
 * The log's place: what is refused there, the lock, and whole files made aside.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fstatvfs
 */
#include "file/files.h"
#include "file/room.h"

#include "base/bounds.h"
#include "file/io.h"
#include "file/torn.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Open for each test that is ON_FILES. */
static struct files *files;

static int setup(void **state)
{
    assert_int_equal(engine_setup(state), 0);
    const struct engine *engine = *state;
    assert_int_equal(files_open(engine->log.path, &files), KV_OK);
    return 0;
}

static int teardown(void **state)
{
    shim_reset();
    files_close(files);
    files = NULL;
    return engine_teardown(state);
}

#define ON_FILES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- What may not stand at the place of a log or of its lock ---- */

static void make_link(const struct engine *engine, const char *path)
{
    engine_write(engine, ".target", SLICE_LITERAL("kept"));
    assert_int_equal(symlink(engine_file(engine, ".target").path, path), 0);
}

static void make_dangling_link(const struct engine *engine, const char *path)
{
    assert_int_equal(symlink(engine_file(engine, ".target").path, path), 0);
}

static void make_directory(const struct engine *engine, const char *path)
{
    (void)engine;
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_pipe(const struct engine *engine, const char *path)
{
    (void)engine;
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_second_link(const struct engine *engine, const char *path)
{
    engine_write(engine, ".target", SLICE_LITERAL("kept"));
    assert_int_equal(link(engine_file(engine, ".target").path, path), 0);
}

struct intruder {
    void (*make)(const struct engine *engine, const char *path);
    const char *told;
};

static const struct intruder intruders[] = {
    {make_link, "symbolic link"},
    {make_dangling_link, "symbolic link"},
    {make_directory, ""},
    {make_pipe, "is not a regular file"},
    {make_second_link, "has more than one link"},
};

enum { INTRUDER_COUNT = sizeof intruders / sizeof intruders[0] };

static void plant(const struct engine *engine, const char *suffix, size_t number)
{
    intruders[number].make(engine, engine_file(engine, suffix).path);
}

/* It was still there, and so was what it led to. */
static void uproot(struct engine *engine, const char *suffix)
{
    assert_int_equal(remove(engine_file(engine, suffix).path), 0);
    if (engine_has_file(engine, ".target")) {
        engine_expect_file(engine, ".target", SLICE_LITERAL("kept"));
        assert_int_equal(unlink(engine_file(engine, ".target").path), 0);
    }
    engine_forget_messages(engine);
}

static void f82_f83_files_refuse_what_is_no_plain_log_or_lock(void **state)
{
    struct engine *engine = *state;
    const char *const suffixes[] = {FILES_LOCK, ""};
    for (size_t i = 0; i < 2 * INTRUDER_COUNT; i++) {
        const char *suffix = suffixes[i / INTRUDER_COUNT];
        plant(engine, suffix, i % INTRUDER_COUNT);
        assert_int_equal(engine_try_open(engine), KV_IO);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(engine_told(engine, engine_file(engine, suffix).path), 1);
        assert_int_equal(engine_told(engine, intruders[i % INTRUDER_COUNT].told), 1);
        assert_int_equal(engine_has_file(engine, ""), i >= INTRUDER_COUNT);
        assert_false(engine_has_file(engine, FILES_NEW));
        /* Nor is there one beside /dev/null, say. */
        assert_true(i < INTRUDER_COUNT || !engine_has_file(engine, FILES_LOCK));
        uproot(engine, suffix);
    }
}

static void f83_files_refuse_another_owner(void **state)
{
    struct engine *engine = *state;
    const enum shim_role roles[] = {SHIM_LOG, SHIM_LOCK};
    engine_open(engine);
    engine_put(engine, "key", "value");
    engine_close(engine);
    struct script before = engine_read(engine, "");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        engine_forget_messages(engine);
        shim_reset();
        shim_disown(roles[i]);
        assert_int_equal(engine_try_open(engine), KV_IO);
        assert_int_equal(engine_told(engine, "belongs to another user"), 1);
        engine_expect_file(engine, "", script_slice(&before));
    }
    script_free(&before);
    shim_reset();
    engine_open(engine);
    engine_expect(engine, "key", "value");
}

/* The longest name leaves room for a suffix. */
static void f84_files_open_needs_a_directory_and_a_name_that_fits(void **state)
{
    struct engine *engine = *state;
    struct files *opened = NULL;
    char name[NAME_MAX + 1] = {0};
    engine_write(engine, ".file", SLICE_LITERAL(""));
    memset(name, 'x', NAME_MAX - FILES_SUFFIX_BYTES_MAX + 1);
    const char *names[] = {"missing/kv.log", "", "kv.log.file/kv.log", name};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        engine_forget_messages(engine);
        assert_int_equal(
            files_open(tempdir_file(&engine->tempdir, names[i]).path, &opened), KV_IO);
        assert_null(opened);
        assert_int_equal(engine_told(engine, ""), 1);
    }
    assert_int_equal(engine_count_files(engine, "kv.log"), 1);
    name[NAME_MAX - FILES_SUFFIX_BYTES_MAX] = '\0';
    assert_int_equal(files_open(tempdir_file(&engine->tempdir, name).path, &opened),
                     KV_OK);
    files_close(opened);
}

static void f84_f89_store_open_leaves_nothing_where_it_may_not_write_or_lock(void **state)
{
    struct engine *engine = *state;
    static const struct {
        enum shim_call call;
        int error;
        const char *told;
        size_t files;
    } cases[] = {
        {SHIM_OPENAT, EACCES, "", 0},
        {SHIM_OPENAT, EROFS, "", 0},
        {SHIM_OPENAT, ENOSPC, "", 0},
        {SHIM_OPENAT, EDQUOT, "", 0},
        {SHIM_OPENAT, EMFILE, "", 0},
        {SHIM_FCNTL, ENOLCK, "cannot lock", 1},
        {SHIM_FCNTL, EOPNOTSUPP, "cannot lock", 1},
        {SHIM_FCNTL, EINVAL, "cannot lock", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shim_reset();
        engine_forget_messages(engine);
        shim_fail_from(SHIM_BIT(cases[i].call), SHIM_ANY, 1, cases[i].error);
        assert_int_not_equal(engine_try_open(engine), KV_OK);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(engine_told(engine, engine->log.path), 1);
        assert_int_equal(engine_told(engine, cases[i].told), 1);
        assert_int_equal(engine_told(engine, strerror(cases[i].error)), 1);
        assert_int_equal(engine_count_files(engine, "kv.log"), cases[i].files);
    }
}

/* Every call that fails while a first log is made: no half of one stays at PATH. */
static void f84_store_open_makes_a_log_whole_or_not_at_all(void **state)
{
    struct engine *engine = *state;
    const int errors[] = {EIO, ENOSPC};
    engine_open(engine);
    engine_close(engine);
    uint64_t call_count = shim_count_all(SHIM_FILES);
    for (uint64_t i = 0; i < 2 * call_count; i++) {
        assert_int_equal(unlink(engine->log.path), 0);
        engine_clean(engine);
        engine_forget_messages(engine);
        shim_reset();
        shim_fail_once(SHIM_FILES, SHIM_ANY, 1 + i / 2, errors[i % 2]);
        enum status status = engine_try_open(engine);
        shim_clear_faults();
        if (status == KV_OK) {
            engine_close(engine);
        } else {
            assert_int_not_equal(status, KV_CORRUPT); /* nothing was there to be */
            assert_in_range(engine_told(engine, ""), 1, 2);
            assert_false(engine_has_file(engine, ".new"));
        }
        engine_open(engine);
        assert_int_equal(store_count(engine->store), 0);
        engine_close(engine);
    }
}

/* ---- The lock ---- */

/* How an open in a child ends, which leaves the store of the parent alone. */
static int try_elsewhere(const struct engine *engine)
{
    int result = 0;
    pid_t child = fork();
    if (child == 0) {
        struct engine other = *engine;
        other.store = NULL;
        enum status status = engine_try_open(&other);
        (void)store_close(other.store); /* nothing was written to it */
        _exit((int)status);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    return WEXITSTATUS(result);
}

static void f78_files_keep_a_second_server_off(void **state)
{
    struct engine *engine = *state;
    char text[64];
    pid_t child = engine_hold_elsewhere(engine);
    struct script before = engine_read(engine, "");
    engine_write(engine, ".new", SLICE_LITERAL("the first server is making this"));
    shim_reset();
    assert_int_equal(engine_try_open(engine), KV_IO);
    (void)snprintf(text, sizeof text, "in use by process %ld", (long)child);
    assert_int_equal(engine_told(engine, text), 1);
    /* Nothing but the lock was looked at. */
    assert_string_equal(shim_trace_text(SHIM_CHANGES), "openat:lock");
    engine_expect_file(engine, "", script_slice(&before));
    assert_true(engine_has_file(engine, ".new"));
    script_free(&before);
    engine_end_holder(child);
}

static void f80_files_open_after_the_holder_was_killed(void **state)
{
    struct engine *engine = *state;
    for (int i = 0; i < 10; i++) {
        engine_end_holder(engine_hold_elsewhere(engine));
        assert_true(engine_has_file(engine, ".lock"));
        engine_open(engine);
        engine_close(engine);
    }
    engine_write(engine, ".lock", SLICE_LITERAL("1\n"));
    engine_open(engine);
}

static void f81_files_keep_the_lock_when_the_log_is_closed_elsewhere(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    int fd = open(engine->log.path, O_RDWR);
    assert_int_equal(close(fd), 0);
    assert_int_equal(try_elsewhere(engine), KV_IO);
    engine_close(engine);
    assert_int_equal(try_elsewhere(engine), KV_OK);
}

/* ---- New files ---- */

static void f100_files_begin_new_leaves_another_file_there(void **state)
{
    struct engine *engine = *state;
    int fd = -1;
    for (size_t i = 0; i < INTRUDER_COUNT; i++) {
        plant(engine, FILES_NEW, i);
        assert_int_equal(files_begin_new(files, &fd), KV_IO);
        assert_int_equal(engine_told(engine, "is there already and was not made here"),
                         1);
        uproot(engine, FILES_NEW);
    }
    assert_int_equal(files_begin_new(files, &fd), KV_OK);
    assert_int_equal(io_close(fd), KV_OK);
    /* Our own that could not be removed is in nobody's way. */
    shim_fail_once(SHIM_BIT(SHIM_UNLINKAT), SHIM_NEW, 1, EACCES);
    files_drop(files, FILES_NEW);
    assert_true(engine_has_file(engine, FILES_NEW));
    assert_int_equal(files_begin_new(files, &fd), KV_OK);
    assert_int_equal(io_close(fd), KV_OK);
    files_drop(files, FILES_NEW);
    assert_false(engine_has_file(engine, FILES_NEW));
    engine_forget_messages(engine);
    files_drop(files, FILES_NEW); /* none is there: nothing to tell */
    assert_int_equal(engine_told(engine, ""), 0);
}

static void f100_files_rename_never_replaces(void **state)
{
    struct engine *engine = *state;
    engine_write(engine, "", SLICE_LITERAL("a log"));
    for (size_t i = 0; i < INTRUDER_COUNT; i++) {
        plant(engine, FILES_OLD, i);
        assert_int_equal(files_rename(files, "", FILES_OLD), KV_IO);
        assert_int_equal(engine_told(engine, ""), 1);
        engine_expect_file(engine, "", SLICE_LITERAL("a log"));
        uproot(engine, FILES_OLD);
    }
    assert_int_equal(files_rename(files, "", FILES_OLD), KV_OK);
    engine_expect_file(engine, FILES_OLD, SLICE_LITERAL("a log"));
}

/* What was left at PATH.old, since it could not be removed, goes where it is in the way
 * of another one, and not before. */
static void
f67_files_rename_removes_what_was_left_only_where_it_is_in_the_way(void **state)
{
    struct engine *engine = *state;
    engine_write(engine, "", SLICE_LITERAL("a log"));
    engine_write(engine, FILES_OLD, SLICE_LITERAL("left"));
    shim_fail_once(SHIM_BIT(SHIM_UNLINKAT), SHIM_OLD, 1, EACCES);
    assert_int_equal(files_remove(files, FILES_OLD), KV_IO);
    assert_int_equal(files_rename(files, "", FILES_INDEX), KV_OK);
    engine_expect_file(engine, FILES_OLD, SLICE_LITERAL("left"));
    assert_int_equal(files_rename(files, FILES_INDEX, FILES_OLD), KV_OK);
    engine_expect_file(engine, FILES_OLD, SLICE_LITERAL("a log"));
}

/* Nor does anything go that has got that name since, though the removal of what had it
 * before was not known to be durable. */
static void
f67_f100_files_rename_forgets_what_was_left_when_the_name_is_used(void **state)
{
    struct engine *engine = *state;
    engine_write(engine, "", SLICE_LITERAL("a log"));
    shim_fail_once(SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, 1, EIO);
    shim_fail_once(SHIM_BIT(SHIM_FSYNC), SHIM_DIRECTORY, 2, EIO);
    assert_int_equal(files_remove(files, FILES_OLD), KV_IO);
    assert_int_equal(files_rename(files, "", FILES_OLD), KV_OK);
    engine_write(engine, "", SLICE_LITERAL("another"));
    assert_int_equal(files_rename(files, "", FILES_OLD), KV_IO);
    engine_expect_file(engine, FILES_OLD, SLICE_LITERAL("a log"));
}

/* The name is compared with no byte before it, whatever stands there. */
static void f100_files_take_no_short_name_for_that_of_a_side_file(void **state)
{
    (void)state;
    static const char *const suffixes[] = {FILES_LOCK, FILES_NEW, FILES_OLD, FILES_INDEX};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        assert_true(files_is_side_name(suffixes[i]));
        assert_false(files_is_side_name(suffixes[i] + 1));
    }
}

static void f68_store_open_removes_a_stale_new_file(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    engine_put(engine, "key", "value");
    engine_close(engine);
    engine_write(engine, ".new", SLICE_LITERAL(""));
    engine_open(engine);
    engine_expect(engine, "key", "value");
    assert_false(engine_has_file(engine, ".new"));
}

static void files_new_is_synced_before_and_after_it_gets_its_name(void **state)
{
    struct engine *engine = *state;
    int fd = -1;
    assert_int_equal(files_begin_new(files, &fd), KV_OK);
    assert_int_equal(io_write_at(fd, SLICE_LITERAL("new"), 0), KV_OK);
    shim_forget_trace();
    assert_int_equal(files_sync_new(files, fd), KV_OK);
    assert_int_equal(files_place_new(files, ""), KV_OK);
    assert_string_equal(shim_trace_text(SHIM_FILES),
                        "fdatasync:new renameat:log fsync:directory");
    assert_int_equal(io_close(fd), KV_OK);
    engine_expect_file(engine, "", SLICE_LITERAL("new"));
}

/* ---- Copies of torn tails ---- */

static enum status try_save(struct slice bytes)
{
    char suffix[FILES_SUFFIX_BYTES_MAX];
    return torn_save(files, bytes, 4711, suffix);
}

static void save(struct slice bytes, const char *suffix)
{
    char given[FILES_SUFFIX_BYTES_MAX];
    assert_int_equal(torn_save(files, bytes, 4711, given), KV_OK);
    assert_string_equal(given, suffix);
}

static void f51_torn_save_never_replaces_another_copy(void **state)
{
    struct engine *engine = *state;
    save(SLICE_LITERAL("one"), ".torn.4711");
    save(SLICE_LITERAL("one"), ".torn.4711");
    save(SLICE_LITERAL("two"), ".torn.4711.2");
    save(SLICE_LITERAL("three"), ".torn.4711.3");
    save(SLICE_LITERAL("two"), ".torn.4711.2");
    engine_expect_file(engine, ".torn.4711", SLICE_LITERAL("one"));
    engine_expect_file(engine, ".torn.4711.2", SLICE_LITERAL("two"));
    engine_expect_file(engine, ".torn.4711.3", SLICE_LITERAL("three"));
    assert_int_equal(engine_count_files(engine, ".torn."), 3);
}

static void f51_torn_save_refuses_an_intruder_at_its_name(void **state)
{
    struct engine *engine = *state;
    for (size_t i = 0; i < INTRUDER_COUNT; i++) {
        plant(engine, ".torn.4711", i);
        assert_int_equal(try_save(SLICE_LITERAL("x")), KV_IO);
        assert_int_equal(engine_told(engine, engine_file(engine, ".torn.4711").path), 1);
        uproot(engine, ".torn.4711");
    }
}

static void f56_torn_save_failing_anywhere_leaves_no_half(void **state)
{
    struct engine *engine = *state;
    const struct slice tail = SLICE_LITERAL("the tail of the log");
    const unsigned calls = SHIM_FILES & ~SHIM_BIT(SHIM_UNLINKAT);
    shim_reset();
    save(tail, ".torn.4711");
    uint64_t call_count = shim_count_all(calls);
    for (uint64_t nth = 1; nth <= call_count; nth++) {
        assert_int_equal(unlink(engine_file(engine, ".torn.4711").path), 0);
        engine_forget_messages(engine);
        shim_reset();
        shim_fail_once(calls, SHIM_ANY, nth, ENOSPC);
        assert_int_not_equal(try_save(tail), KV_OK);
        assert_int_equal(shim_fired_count(), 1);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_false(engine_has_file(engine, ".new"));
        shim_clear_faults();
        save(tail, ".torn.4711");
        engine_expect_file(engine, ".torn.4711", tail);
    }
}

/* ---- What else a system may say ---- */

/* What failed first is told and returned, and nothing else is. */
static void f56_torn_save_that_fails_twice_tells_the_first(void **state)
{
    struct engine *engine = *state;
    shim_fail_once(SHIM_BIT(SHIM_PWRITE), SHIM_TORN, 1, ENOSPC);
    shim_fail_once(SHIM_BIT(SHIM_CLOSE), SHIM_TORN, 1, EIO);
    assert_int_equal(try_save(SLICE_LITERAL("x")), KV_NO_SPACE);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_told(engine, "cannot save the torn tail"), 1);
}

/* A copy that is there already is then neither trusted nor replaced. */
static void f56_torn_save_that_cannot_look_at_an_earlier_copy_fails(void **state)
{
    struct engine *engine = *state;
    const struct {
        struct shim_fault fault;
        const char *told; /* in the one message for the operator */
    } failings[] = {
        {{SHIM_BIT(SHIM_OPENAT), SHIM_TORN, 1, EIO, false}, ": cannot open"},
        {{SHIM_BIT(SHIM_FSTAT), SHIM_TORN, 1, EIO, false}, ": cannot inspect"},
        {{SHIM_BIT(SHIM_FSTAT), SHIM_TORN, 2, EIO, false}, ": cannot read"},
        {{SHIM_BIT(SHIM_MMAP), SHIM_TORN, 1, ENOMEM, true}, ": cannot read"},
    };
    save(SLICE_LITERAL("one"), ".torn.4711");
    for (size_t i = 0; i < sizeof failings / sizeof failings[0]; i++) {
        engine_forget_messages(engine);
        shim_reset();
        shim_inject(&failings[i].fault);
        assert_int_not_equal(try_save(SLICE_LITERAL("one")), KV_OK);
        shim_clear_faults();
        assert_true(shim_fired_count() > 0);
        assert_int_equal(engine_told(engine, failings[i].told), 1);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(engine_count_files(engine, ".torn."), 1);
        engine_expect_file(engine, ".torn.4711", SLICE_LITERAL("one"));
    }
    save(SLICE_LITERAL("one"), ".torn.4711");
}

/* The search for a free name has an end. */
static void f51_torn_save_gives_up_among_too_many_copies(void **state)
{
    struct engine *engine = *state;
    char suffix[FILES_SUFFIX_BYTES_MAX];
    enum { COPIES = 998 };
    engine_write(engine, ".torn.4711", SLICE_LITERAL("other"));
    for (int copy = 2; copy < COPIES; copy++) {
        (void)snprintf(suffix, sizeof suffix, ".torn.4711.%d", copy);
        engine_write(engine, suffix, SLICE_LITERAL("other"));
    }
    save(SLICE_LITERAL("the last"), ".torn.4711.998");
    assert_int_equal(try_save(SLICE_LITERAL("one more")), KV_IO);
    assert_int_equal(engine_told(engine, "too many copies of torn tails at offset 4711"),
                     1);
    assert_int_equal(engine_count_files(engine, ".torn."), COPIES);
    assert_false(engine_has_file(engine, FILES_NEW));
}

/* "kv.log" lies in the directory that the program was started in. */
static void files_open_takes_a_name_without_a_directory(void **state)
{
    const struct engine *engine = *state;
    struct files *opened = NULL;
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(engine->tempdir.path), 0);
    enum status status = files_open("kv.log", &opened);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(status, KV_OK);
    assert_string_equal(files_path(opened), "kv.log");
    assert_true(engine_has_file(engine, ".lock"));
    files_close(opened);
}

/* The directory was removed under the program: "not found" is no answer there. */
static void f84_files_report_a_directory_that_is_gone(void **state)
{
    struct engine *engine = *state;
    struct files *opened = NULL;
    int fd = -1;
    shim_fail_from(SHIM_BIT(SHIM_OPENAT), SHIM_ANY, 1, ENOENT);
    assert_int_equal(files_open(engine->log.path, &opened), KV_IO);
    assert_int_equal(engine_told(engine, "kv.log.lock: cannot create"), 1);
    assert_int_equal(files_begin_new(files, &fd), KV_IO);
    assert_int_equal(engine_told(engine, "kv.log.new: cannot create"), 1);
    assert_int_equal(files_rename(files, FILES_NEW, ""), KV_IO); /* there is none */
    assert_int_equal(engine_told(engine, "cannot rename"), 1);
    assert_int_equal(engine_told(engine, ""), 3);
}

/* Where the room cannot be learned, a write has to tell. */
static void f64_f109_room_measure_is_endless_where_it_cannot_be_learned(void **state)
{
    (void)state;
    shim_fail_once(SHIM_BIT(SHIM_FSTATVFS), SHIM_ANY, 1, EIO);
    struct io_space space = room_measure(files, 0);
    assert_true(space.free_bytes == UINT64_MAX && space.capacity_bytes == UINT64_MAX);
    space = room_measure(files, 0);
    assert_in_range(space.free_bytes, 1, space.capacity_bytes);
    assert_true(space.capacity_bytes < UINT64_MAX);
}

/* The length that files of the process may have is room as well as the disk is. */
static void f31_room_measure_ends_at_the_file_size_limit(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {.rlim_cur = 100000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct io_space spaces[] = {room_measure(files, 0), room_measure(files, 99999),
                                room_measure(files, 100000), room_measure(files, 100001)};
    const uint64_t left[] = {100000, 1, 0, 0};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(spaces[i].free_bytes, left[i]);
        assert_int_equal(spaces[i].capacity_bytes, 100000);
    }
}

static void files_keep_less_on_a_small_disk(void **state)
{
    (void)state; /* no file is needed */
    const struct io_space spaces[] = {{0, UINT64_MAX},
                                      {0, ROOM_KEPT_CAPACITY_BYTES},
                                      {0, ROOM_KEPT_CAPACITY_BYTES / 4},
                                      {0, 0}};
    const uint64_t kept[] = {1000, 1000, 250, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(room_kept(&spaces[i], 1000), kept[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f82_f83_files_refuse_what_is_no_plain_log_or_lock),
        ON_ENGINE(f83_files_refuse_another_owner),
        ON_ENGINE(f84_files_open_needs_a_directory_and_a_name_that_fits),
        ON_ENGINE(f84_f89_store_open_leaves_nothing_where_it_may_not_write_or_lock),
        ON_ENGINE(f84_store_open_makes_a_log_whole_or_not_at_all),
        ON_ENGINE(f78_files_keep_a_second_server_off),
        ON_ENGINE(f80_files_open_after_the_holder_was_killed),
        ON_ENGINE(f81_files_keep_the_lock_when_the_log_is_closed_elsewhere),
        ON_FILES(f100_files_begin_new_leaves_another_file_there),
        ON_FILES(f100_files_rename_never_replaces),
        ON_FILES(f67_files_rename_removes_what_was_left_only_where_it_is_in_the_way),
        ON_FILES(f67_f100_files_rename_forgets_what_was_left_when_the_name_is_used),
        cmocka_unit_test(f100_files_take_no_short_name_for_that_of_a_side_file),
        ON_ENGINE(f68_store_open_removes_a_stale_new_file),
        ON_FILES(files_new_is_synced_before_and_after_it_gets_its_name),
        ON_FILES(f51_torn_save_never_replaces_another_copy),
        ON_FILES(f51_torn_save_refuses_an_intruder_at_its_name),
        ON_FILES(f56_torn_save_failing_anywhere_leaves_no_half),
        ON_FILES(f56_torn_save_that_fails_twice_tells_the_first),
        ON_FILES(f56_torn_save_that_cannot_look_at_an_earlier_copy_fails),
        ON_FILES(f51_torn_save_gives_up_among_too_many_copies),
        ON_ENGINE(files_open_takes_a_name_without_a_directory),
        ON_FILES(f84_files_report_a_directory_that_is_gone),
        ON_FILES(f64_f109_room_measure_is_endless_where_it_cannot_be_learned),
        ON_FILES(f31_room_measure_ends_at_the_file_size_limit),
        cmocka_unit_test(files_keep_less_on_a_small_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
