/*
 * Starts on logs that do not belong together, that cannot be read, or that change
 * meanwhile: each is refused with its reason, and nothing is changed.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen
 * wrap: malloc calloc realloc strdup
 */
#include "log/logset.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PAGE = 4096, RECORDS = 200 };

/* ---- Logs ---- */

/* Several pages of batches in a first log, and a log that continues it. */
struct pair {
    struct image older;
    struct image log;
};

static void pair_make(struct pair *pair, uint64_t generation)
{
    image_begin_first(&pair->older);
    for (int i = 0; i < RECORDS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i % 7);
        image_put_text(&pair->older, key, "a value that takes some room in the log");
        image_seal(&pair->older);
    }
    image_seal(&pair->older);
    image_begin_next(&pair->log, &pair->older, generation);
    image_put_text(&pair->log, "key-3", "newer");
    image_seal(&pair->log);
}

static void pair_free(struct pair *pair)
{
    image_free(&pair->older);
    image_free(&pair->log);
}

/* What belongs together, for all tests that change nothing of it. */
static struct pair whole;

static int make_whole(void **state)
{
    (void)state;
    pair_make(&whole, 2);
    return 0;
}

static int free_whole(void **state)
{
    (void)state;
    pair_free(&whole);
    return 0;
}

/* Put files where a start looks for them; NULL bytes: there is none. */
static void place(struct engine *engine, struct slice log, struct slice older)
{
    engine_clean(engine);
    (void)unlink(engine->log.path); /* there may be none */
    engine_forget_messages(engine);
    if (log.bytes != NULL) {
        engine_write(engine, "", log);
    }
    if (older.bytes != NULL) {
        engine_write(engine, FILES_OLD, older);
    }
}

static void expect_left_alone(const struct engine *engine, struct slice log,
                              struct slice older)
{
    assert_int_equal(engine_has_file(engine, ""), log.bytes != NULL);
    assert_int_equal(engine_has_file(engine, FILES_OLD), older.bytes != NULL);
    if (log.bytes != NULL) {
        engine_expect_file(engine, "", log);
    }
    if (older.bytes != NULL) {
        engine_expect_file(engine, FILES_OLD, older);
    }
}

/* A start on these files ends so, says why once, and changes neither of them. */
static void expect_refused(struct engine *engine, struct slice log, struct slice older,
                           enum status status, const char *reason)
{
    place(engine, log, older);
    assert_int_equal(engine_try_open(engine), status);
    assert_int_equal(engine_told(engine, reason), 1);
    expect_left_alone(engine, log, older);
}

static void expect_pair_serves(struct engine *engine)
{
    place(engine, image_slice(&whole.log), image_slice(&whole.older));
    engine_open(engine);
    assert_int_equal(store_count(engine->store), 7);
    engine_expect(engine, "key-3", "newer");
    engine_expect(engine, "key-4", "a value that takes some room in the log");
    engine_close(engine);
}

/* ---- What does not belong together ---- */

static void f68_the_right_id_with_another_generation_is_refused(void **state)
{
    struct engine *engine = *state;
    expect_pair_serves(engine);
    for (uint64_t generation = 1; generation <= 3; generation += 2) {
        struct pair pair;
        pair_make(&pair, generation);
        expect_refused(engine, image_slice(&pair.log), image_slice(&pair.older),
                       KV_CORRUPT, "kv.log.old: is not the log that this one");
        pair_free(&pair);
    }
}

static void f68_an_older_log_beside_no_log_of_ours_is_refused(void **state)
{
    struct engine *engine = *state;
    struct slice original = SLICE_LITERAL("\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\5keyvalue");
    struct slice older = image_slice(&whole.older);
    expect_refused(engine, original, older, KV_CORRUPT,
                   "kv.log.old: does not belong to a log without marks");
    expect_refused(engine, SLICE_LITERAL(""), older, KV_CORRUPT,
                   "kv.log: is empty, but there is an older log beside it");
}

/* PATH.old got its name when all of it was sealed: with any damage it is no state that a
 * crash leaves. */
static void f68_an_older_log_alone_has_to_be_whole(void **state)
{
    struct engine *engine = *state;
    struct slice none = {0};
    struct slice older = image_slice(&whole.older);
    const size_t lengths[] = {
        0, 1, OPENING_BYTES - 1, OPENING_BYTES + 1, PAGE, older.length - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        expect_refused(engine, none, slice_first(older, lengths[i]), KV_CORRUPT,
                       lengths[i] < OPENING_BYTES
                           ? "kv.log.old: is no whole log, and there is none beside it"
                           : "kv.log.old: the log is damaged at offset");
    }
    place(engine, none, older);
    engine_open(engine);
    assert_int_equal(store_count(engine->store), 7);
    assert_false(engine_has_file(engine, FILES_OLD));
    engine_close(engine);
}

/* ---- What cannot be read ---- */

/* Of PATH.old only so many bytes can be read: that is a failure, and no finding. */
static void expect_unreadable(struct engine *engine, struct slice log, size_t length,
                              const char *reason)
{
    place(engine, log, image_slice(&whole.older));
    struct slice readable = slice_first(image_slice(&whole.older), length);
    int fd = engine_map_instead(engine, SHIM_OLD, readable);
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_map_again(SHIM_OLD, fd);
    assert_int_equal(engine_told(engine, reason), 1);
    expect_left_alone(engine, log, image_slice(&whole.older));
}

static void f57_an_older_log_that_cannot_be_read_is_not_judged(void **state)
{
    struct engine *engine = *state;
    struct slice none = {0};
    engine_catch_sigbus();
    struct slice log = image_slice(&whole.log);
    const char *reason = "kv.log.old: a part of the log cannot be read";
    expect_unreadable(engine, log, 0, reason);
    expect_unreadable(engine, none, 0, reason);
    expect_unreadable(engine, none, PAGE, reason);
    expect_unreadable(engine, log, PAGE, "a part of the log cannot be read");
    expect_pair_serves(engine);
}

/* Without memory somewhere in loading either log; what was loaded is given back. */
static void f71_a_start_on_two_logs_without_memory_changes_nothing(void **state)
{
    struct engine *engine = *state;
    uint64_t nth = 0;
    bool has_failed = true;
    shim_omit_syncs();
    place(engine, image_slice(&whole.log), image_slice(&whole.older));
    while (has_failed) {
        uint64_t fired = shim_fired_count();
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, ++nth, ENOMEM);
        enum status status = engine_try_open(engine);
        shim_clear_faults();
        has_failed = shim_fired_count() > fired;
        assert_int_equal(status, has_failed ? KV_NO_MEMORY : KV_OK);
        if (has_failed) {
            expect_left_alone(engine, image_slice(&whole.log), image_slice(&whole.older));
        }
    }
    assert_in_range(nth, 10, 200);
    engine_close(engine);
}

/* ---- What happens meanwhile ---- */

static void remove_log(void *context)
{
    const struct engine *engine = context;
    assert_int_equal(unlink(engine->log.path), 0);
}

/* When the log is opened that was just made, somebody has taken it away. */
static void wait_for_second_look(void *context)
{
    shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_LOG, remove_log, context);
}

static void f42_a_log_that_vanishes_as_soon_as_it_is_made_ends_the_start(void **state)
{
    struct engine *engine = *state;
    shim_before(SHIM_BIT(SHIM_RENAMEAT), SHIM_LOG, wait_for_second_look, engine);
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_expect_line(engine, "PATH: something else changed it meanwhile; giving up", 0,
                       0);
    assert_false(engine_has_file(engine, ""));
    assert_false(engine_has_file(engine, FILES_NEW));
    engine_open(engine); /* nobody interferes now */
    engine_put(engine, "key", "value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f68_the_right_id_with_another_generation_is_refused),
        ON_ENGINE(f68_an_older_log_beside_no_log_of_ours_is_refused),
        ON_ENGINE(f68_an_older_log_alone_has_to_be_whole),
        ON_ENGINE(f57_an_older_log_that_cannot_be_read_is_not_judged),
        ON_ENGINE(f71_a_start_on_two_logs_without_memory_changes_nothing),
        ON_ENGINE(f42_a_log_that_vanishes_as_soon_as_it_is_made_ends_the_start),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, make_whole, free_whole);
}
