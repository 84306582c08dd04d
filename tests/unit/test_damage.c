/*
 * Damage and failed reads behind an image: what serving makes of them, and whether the
 * next start makes the same.
 *
 * wrap: open openat close fstat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime malloc calloc realloc strdup poll
 */
#include "base/bounds.h"
#include "engine/store.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/table.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

enum { KEY_LENGTH = 3, VALUE_LENGTH = 5 };

static const char *const keys[] = {"aaa", "kkk", "zzz"};

/* Three keys, an image of them, and a store that has believed it; in a new log. */
static void open_on_an_image(struct engine *engine)
{
    (void)unlink(engine->log.path); /* there may be none */
    engine_clean(engine);
    engine->keeps_index = true;
    engine_open(engine);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        engine_put(engine, keys[i], "value");
    }
    engine_close(engine);
    engine_open(engine);
    assert_true(store_stats(engine->store).recovered_bytes == 0);
}

/* The second key is set anew, or deleted. */
static void mend(struct engine *engine, const char *value)
{
    if (value != NULL) {
        engine_put(engine, "kkk", value);
    } else {
        assert_int_equal(engine_delete(engine, "kkk"), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_OK);
    }
}

static void stop_and_expect(struct engine *engine, bool is_killed, const char *value)
{
    if (is_killed) {
        engine_kill(engine);
    } else {
        engine_close(engine);
    }
    engine_forget_messages(engine);
    engine_open(engine);
    engine_expect(engine, "aaa", "value");
    engine_expect(engine, "kkk", value);
    engine_expect(engine, "zzz", "value");
    assert_int_equal(store_count(engine->store), value == NULL ? 2 : 3);
}

/* Where the record of the second key begins. */
static uint64_t second_record(void)
{
    return OPENING_BYTES + record_length(KEY_LENGTH, VALUE_LENGTH) + SEAL_BYTES;
}

/* Whatever part of the record is damaged, and however large that part is. */
static void f103_what_serving_let_replace_damage_a_start_accepts(void **state)
{
    struct engine *engine = *state;
    static const struct {
        uint64_t at;
        size_t length;
    } places[] = {
        {0, 1},                                /* key length */
        {15, 1},                               /* value length */
        {RECORD_HEADER_BYTES + 1, 1},          /* key */
        {RECORD_HEADER_BYTES, KEY_LENGTH},     /* all of it */
        {RECORD_HEADER_BYTES + KEY_LENGTH, 1}, /* value */
        {0, RECORD_HEADER_BYTES + 8},          /* as a lost sector would */
    };
    for (size_t i = 0; i < 2 * (sizeof places / sizeof places[0]); i++) {
        open_on_an_image(engine);
        for (size_t k = 0; k < places[i / 2].length; k++) {
            engine_flip(engine, second_record() + places[i / 2].at + k, 0x11);
        }
        engine_close(engine);
        engine_open(engine);
        engine_expect_failure(engine, "kkk", KV_CORRUPT);
        const char *value = i % 2 == 0 ? "new" : NULL;
        mend(engine, value);
        stop_and_expect(engine, true, value);
        stop_and_expect(engine, true, value);
        stop_and_expect(engine, false, value);
        engine_close(engine);
        /* Nothing else may take the place of the image: damage where it was durable. */
        engine_drop_index(engine);
        assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    }
}

/* The operator reads of it; once it is compacted nothing of it is left. */
static void f103_a_start_tells_what_had_been_replaced_unseen(void **state)
{
    struct engine *engine = *state;
    open_on_an_image(engine);
    engine_flip(engine, second_record() + RECORD_HEADER_BYTES, 0x01);
    engine_put(engine, "kkk", "new");
    engine_kill(engine);
    engine_forget_messages(engine);
    engine_open(engine);
    engine_expect_line(engine,
                       "PATH: 1 records that are damaged or cannot be read had been "
                       "replaced or deleted since; the next compaction leaves them out",
                       0, 0);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(store_compact(engine->store), KV_OK);
    while (store_stats(engine->store).compactions == 0) {
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    }
    engine_close(engine);
    engine_drop_index(engine);
    engine_open(engine);
    engine_expect(engine, "kkk", "new");
}

/*
 * What the image leads to and a later record replaces cannot be read: it may be that of
 * another key with the same hash. A start waits for it, for a minute.
 */
static void f113_a_start_waits_for_what_it_may_replace(void **state)
{
    struct engine *engine = *state;
    static char large[2 * 4096 + 1];
    engine_catch_sigbus();
    memset(large, 'v', sizeof large - 1);
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "large", large);
    uint64_t offset = engine_log_length(engine);
    engine_put(engine, "kkk", "value");
    engine_put(engine, "larger", large);
    engine_close(engine); /* with an image */
    engine_open(engine);
    engine_put(engine, "kkk", "new");
    engine_kill(engine);
    shim_set_clock(START_MS);
    shim_lose_page(offset / 4096 * 4096);
    engine_forget_messages(engine);
    engine_open(engine);
    engine_expect_line(
        engine, "PATH: the record at offset OFFSET cannot be read; it is not served",
        offset, 0);
    engine_expect_line(engine,
                       "PATH: 1 records that are damaged or cannot be read had been "
                       "replaced or deleted since; the next compaction leaves them out",
                       0, 0);
    engine_expect(engine, "kkk", "new");
    assert_in_range(store_stats(engine->store).recovery_ms, READ_RETRY_MS_MAX / 2,
                    READ_RETRY_MS_MAX + READ_RETRY_MS_MIN);
    engine_kill(engine);
    shim_reset();
    engine_open(engine);
    engine_expect(engine, "kkk", "new");
}

/* A compaction that damage holds up has two logs, which no start would read. */
static void f103_what_is_mended_amid_a_compaction_a_start_accepts(void **state)
{
    struct engine *engine = *state;
    for (int i = 0; i < 4; i++) {
        open_on_an_image(engine);
        engine_flip(engine, second_record() + RECORD_HEADER_BYTES, 0x01);
        assert_int_equal(store_compact(engine->store), KV_OK);
        for (int step = 0; step < 20; step++) {
            assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        }
        engine_expect_failure(engine, "kkk", KV_CORRUPT);
        assert_int_equal(store_compact(engine->store), KV_CORRUPT); /* it is held up */
        mend(engine, i % 2 == 0 ? "new" : NULL);
        stop_and_expect(engine, i < 2, i % 2 == 0 ? "new" : NULL);
        engine_close(engine);
        assert_false(engine_has_file(engine, FILES_OLD));
    }
}

/* ---- Reads that fail ---- */

/* They are told as such, and the time goes on when a test says so. */
static void let_reads_fail(void)
{
    engine_catch_sigbus();
    shim_set_clock(START_MS);
}

/* The log as the store sees it, to be cut and mended, and the store on it. */
static int open_on_a_double(struct engine *engine, struct script *log_out)
{
    open_on_an_image(engine);
    engine_close(engine);
    *log_out = engine_read(engine, "");
    int fd = engine_map_instead(engine, SHIM_LOG, script_slice(log_out));
    engine_open(engine);
    return fd;
}

static size_t count_walk(struct engine *engine, enum status wanted)
{
    uint64_t position = 0;
    struct slice key;
    size_t count = 0;
    enum status status = store_walk(engine->store, &position, &key);
    for (; status != KV_NOT_FOUND; status = store_walk(engine->store, &position, &key)) {
        count += status == wanted;
    }
    return count;
}

/* The read fails, and a second later it would not: no restart is wanted for that. */
static void f113_a_read_error_that_passes_is_over_without_a_restart(void **state)
{
    struct engine *engine = *state;
    let_reads_fail();
    for (int is_walked = 0; is_walked < 2; is_walked++) {
        struct script log = {0};
        int fd = open_on_a_double(engine, &log);
        assert_int_equal(ftruncate(fd, 0), 0);
        engine_expect_failure(engine, "kkk", KV_IO);
        assert_int_equal(count_walk(engine, KV_IO), 3);
        assert_int_equal(ftruncate(fd, (off_t)log.length), 0);
        assert_int_equal(pwrite(fd, log.bytes, log.length, 0), log.length);
        shim_advance_clock(READ_RETRY_MS_MIN - 1);
        engine_expect_failure(engine, "kkk", KV_IO); /* not asked all the time */
        shim_advance_clock(1);
        if (is_walked != 0) {
            assert_int_equal(count_walk(engine, KV_OK), 3);
        }
        engine_expect(engine, "kkk", "value");
        engine_expect(engine, "none", NULL);
        assert_int_equal(count_walk(engine, KV_OK), 3);
        engine_close(engine);
        engine_map_again(SHIM_LOG, fd);
        script_free(&log);
    }
}

/* A disk that may take seconds to say that it cannot is asked more and more rarely. */
static void f113_a_read_error_that_stays_is_looked_for_ever_more_rarely(void **state)
{
    struct engine *engine = *state;
    struct script log = {0};
    let_reads_fail();
    int fd = open_on_a_double(engine, &log);
    assert_int_equal(ftruncate(fd, 0), 0);
    engine_expect_failure(engine, "kkk", KV_IO);
    uint64_t wait_ms = READ_RETRY_MS_MIN;
    for (int i = 0; i < 10; i++) {
        uint64_t tries = shim_count(SHIM_MMAP);
        shim_advance_clock(wait_ms - 1);
        engine_expect_failure(engine, "kkk", KV_IO);
        assert_int_equal(shim_count(SHIM_MMAP), tries);
        shim_advance_clock(1);
        engine_expect_failure(engine, "kkk", KV_IO);
        assert_int_equal(shim_count(SHIM_MMAP), tries + 2); /* the file, then zeros */
        wait_ms = 2 * wait_ms < READ_RETRY_MS_MAX ? 2 * wait_ms : READ_RETRY_MS_MAX;
    }
    engine_close(engine);
    engine_map_again(SHIM_LOG, fd);
    script_free(&log);
}

/* Damage that is no failed read stays damage, also where something else cannot be read.
 */
static void f113_damage_beside_what_cannot_be_read_is_damage(void **state)
{
    struct engine *engine = *state;
    static char large[64 * 1024 + 1];
    let_reads_fail();
    memset(large, 'v', sizeof large - 1);
    engine_open(engine);
    engine_put(engine, "small", "value");
    engine_put(engine, "large", large);
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES + 6, 0x01);
    assert_int_equal(truncate(engine->log.path, 16 * 1024), 0);
    engine_expect_failure(engine, "large", KV_IO);
    engine_expect_failure(engine, "small", KV_CORRUPT);
    assert_int_equal(engine_told(engine, "cannot be read"), 1);
    assert_int_equal(engine_told(engine, "is damaged"), 1);
}

/* A disk that fails between the check of a record and its copy, and then recovers. */
static void f113_compaction_copies_nothing_that_it_could_not_read_twice(void **state)
{
    struct engine *engine = *state;
    static char large[32 * 1024 + 1];
    let_reads_fail();
    memset(large, 'v', sizeof large - 1);
    engine_open(engine);
    engine_put(engine, "large", large);
    engine_put(engine, "small", "value");
    engine_close(engine);
    struct script log = engine_read(engine, "");
    int fd = engine_map_instead(engine, SHIM_LOG, script_slice(&log));
    engine_open(engine);
    assert_int_equal(store_compact(engine->store), KV_OK);
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, engine_cut_to_a_page, &fd);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    engine_expect_failure(engine, "large", KV_IO);
    assert_int_equal(pwrite(fd, log.bytes, log.length, 0), log.length);
    shim_advance_clock(READ_RETRY_MS_MIN);
    for (int i = 0; i < 30; i++) {
        shim_advance_clock(1000);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    }
    assert_int_equal(store_stats(engine->store).compactions, 1);
    engine_expect(engine, "large", large);
    engine_expect(engine, "small", "value");
    engine_close(engine);
    engine_map_again(SHIM_LOG, fd);
    script_free(&log);
}

/* Whatever was cut off takes one mapping and one line, not one for each page or key. */
static void f104_a_log_cut_short_is_told_once_and_answered_for_each_key(void **state)
{
    enum { ROWS = 400, VALUE_BYTES = 2048 };
    struct engine *engine = *state;
    struct table table = {
        .engine = engine, .row_count = ROWS, .value_bytes = VALUE_BYTES};
    let_reads_fail();
    engine_open(engine);
    table_fill(&table);
    assert_int_equal(truncate(engine->log.path, 5000), 0); /* within a page */
    engine_forget_messages(engine);
    uint64_t mappings = shim_count(SHIM_MMAP);
    size_t lost = count_walk(engine, KV_IO);
    assert_in_range(lost, ROWS - 20, ROWS - 1);
    assert_int_equal(count_walk(engine, KV_OK), ROWS - lost);
    assert_int_equal(count_walk(engine, KV_CORRUPT), 0);
    for (size_t row = 20; row < ROWS; row++) {
        struct slice value;
        assert_int_equal(keyed_get(engine->store, table_key(row), &value), KV_IO);
    }
    assert_int_equal(shim_count(SHIM_MMAP), mappings + 1);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_told(engine, "cannot be read; it is not served"), 1);
    shim_advance_clock(LOG_MESSAGE_MS);
    (void)count_walk(engine, KV_IO);
    engine_expect_line(engine, "PATH: OFFSET reads more failed like the one told last",
                       3 * lost - 1 + ROWS - 20, 0);
    assert_int_equal(engine_told(engine, ""), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f103_what_serving_let_replace_damage_a_start_accepts),
        ON_ENGINE(f103_a_start_tells_what_had_been_replaced_unseen),
        ON_ENGINE(f113_a_start_waits_for_what_it_may_replace),
        ON_ENGINE(f103_what_is_mended_amid_a_compaction_a_start_accepts),
        ON_ENGINE(f113_a_read_error_that_passes_is_over_without_a_restart),
        ON_ENGINE(f113_a_read_error_that_stays_is_looked_for_ever_more_rarely),
        ON_ENGINE(f113_damage_beside_what_cannot_be_read_is_damage),
        ON_ENGINE(f113_compaction_copies_nothing_that_it_could_not_read_twice),
        ON_ENGINE(f104_a_log_cut_short_is_told_once_and_answered_for_each_key),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
