/*
 * The engine under failing disks, damaged logs and missing memory.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime malloc calloc realloc strdup
 * wrap: hash_key
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "base/hash.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

uint64_t __real_hash_key(const struct hash_seed *seed, struct slice key);
uint64_t __wrap_hash_key(const struct hash_seed *seed, struct slice key);

static bool is_one_hash; /* of all keys */

uint64_t __wrap_hash_key(const struct hash_seed *seed, struct slice key)
{
    return is_one_hash ? 7 : __real_hash_key(seed, key);
}

/* Three keys that are committed, and their model. */
static struct model put_some(struct engine *engine)
{
    struct model model = {0};
    for (size_t i = 0; i < 3; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "committed value %zu", i);
        engine_put(engine, model_key(i), value);
        model_set(&model, i, value);
    }
    return model;
}

static void f30_store_rest_seal_without_space_is_tried_again(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    struct model model = put_some(engine);
    uint64_t length = engine_log_length(engine);
    shim_set_space(SHIM_LOG, length + 20, ENOSPC);
    for (int i = 0; i < 3; i++) {
        shim_advance_clock(SECOND_SEAL_MS);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
        assert_int_equal(engine_log_length(engine), length);
        assert_int_equal(store_due_ms(engine->store, LEISURE_ALL),
                         START_MS + (uint64_t)(i + 2) * SECOND_SEAL_MS);
    }
    shim_give_space();
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_OK);
    assert_int_equal(engine_log_length(engine), length + SEAL_BYTES);
    model_expect(&model, engine);
}

/* A sync fails: that of a batch, the one a second later, that of a seal after a rest. */
static void fail_to_sync(struct engine *engine, size_t which)
{
    engine->sync = which == 1 ? SYNC_EVERYSEC : SYNC_ALWAYS;
    engine_open(engine);
    (void)put_some(engine);
    engine_forget_messages(engine);
    if (which == 0) {
        assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
    } else {
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
        shim_advance_clock(which == 1 ? SYNC_LAG_MS_MAX : SECOND_SEAL_MS);
        assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_FATAL);
    }
    assert_int_equal(engine_told(engine, ""), 1);
}

/* Nothing is written or synced once the log's state is unknown, not even at the end. */
static void f35_store_that_could_not_sync_is_dead_for_ever(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    for (size_t which = 0; which < 3; which++) {
        fail_to_sync(engine, which);
        shim_forget_trace();
        (void)engine_set(engine, model_key(9), "after the failure");
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_int_equal(store_sync(engine->store), KV_FATAL);
        engine_abandon(engine);
        assert_string_equal(shim_trace_text(SHIM_CHANGES), "");
        engine_open(engine);
        engine_expect(engine, model_key(9), NULL);
        engine_close(engine);
        assert_int_equal(remove(engine->log.path), 0);
        engine_clean(engine);
    }
}

/* A full disk only means that the last batch has one seal. */
static void f30_store_close_without_space_is_clean_and_without_disk_is_not(void **state)
{
    const int errors[] = {ENOSPC, EDQUOT, EFBIG, EIO};
    struct engine *engine = *state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        engine_open(engine);
        struct model model = put_some(engine);
        uint64_t length = engine_log_length(engine);
        shim_set_space(SHIM_LOG, length + 5, errors[i]);
        struct store *store = engine->store;
        engine->store = NULL;
        assert_int_equal(store_close(store), errors[i] == EIO ? KV_IO : KV_OK);
        shim_give_space();
        assert_int_equal(engine_log_length(engine), length);
        engine_open(engine);
        model_expect(&model, engine);
        engine_close(engine);
    }
}

static void f91_store_close_tells_that_the_log_could_not_be_closed(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    (void)put_some(engine);
    shim_fail_once(SHIM_BIT(SHIM_CLOSE), SHIM_LOG, 1, EIO);
    struct store *store = engine->store;
    engine->store = NULL;
    assert_int_equal(store_close(store), KV_IO);
    assert_int_equal(engine_told(engine, "cannot close the log"), 1);
}

/* ---- After a failed sync: what the disk lacks ---- */

struct loss {
    const struct engine *engine;
    uint64_t from;
    uint64_t to;
};

/* What the disk has in place of bytes that only memory held. */
static void lose(void *context)
{
    const struct loss *loss = context;
    FILE *file = fopen(loss->engine->log.path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)loss->from, SEEK_SET), 0);
    for (uint64_t at = loss->from; at < loss->to; at++) {
        assert_int_equal(fputc(0, file), 0);
    }
    assert_int_equal(fclose(file), 0);
}

/* A batch is in memory and, as nobody can tell, not on the disk: all of it, all but its
 * last byte, or nothing of it is lost. */
static void f36_store_open_judges_the_last_batch_by_the_disk(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    struct model before = put_some(engine);
    struct model after = before;
    uint64_t batch = engine_log_length(engine);
    assert_int_equal(engine_set(engine, model_key(0), "staged"), KV_OK);
    model_set(&after, 0, "staged");
    assert_int_equal(engine_delete(engine, model_key(1)), KV_OK);
    model_delete(&after, 1);
    shim_fail_from(SHIM_BIT(SHIM_FDATASYNC) | SHIM_BIT(SHIM_FTRUNCATE), SHIM_ANY, 1, EIO);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
    engine_crash(engine);
    struct script log = engine_read(engine, "");
    const uint64_t ends[] = {log.length, log.length - 1, batch};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct loss loss = {engine, batch, ends[i]};
        bool is_lost = ends[i] > batch;
        engine_write(engine, "", script_slice(&log));
        shim_reset();
        shim_before(SHIM_BIT(SHIM_FADVISE), SHIM_LOG, lose, &loss);
        for (size_t starts = 0; starts < 2; starts++) {
            engine_open(engine);
            model_expect(is_lost ? &before : &after, engine);
            /* Of a batch that is missing as a whole nothing is left to be kept. */
            assert_int_equal(engine_count_files(engine, ".torn."), i == 1 ? 1 : 0);
            assert_int_equal(engine_log_length(engine) - (starts == 0 ? 0 : SEAL_BYTES),
                             is_lost ? batch : log.length);
            engine_close(engine);
        }
        engine_clean(engine);
    }
    script_free(&log);
}

/* The cache can only be dropped of what is synced and of pages that nobody maps. */
static void f36_store_open_drops_the_cache_after_sync_and_renewal(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    (void)put_some(engine);
    uint64_t durable = engine_log_length(engine) - SEAL_BYTES -
                       record_length(strlen(model_key(2)), strlen("committed value 2"));
    engine_crash(engine);
    shim_reset();
    engine_open(engine);
    assert_string_equal(shim_trace_text(SHIM_BIT(SHIM_FDATASYNC) |
                                        SHIM_BIT(SHIM_FADVISE) | SHIM_BIT(SHIM_MMAP)),
                        "mmap:log fdatasync:log mmap:log posix_fadvise:log");
    size_t i = 0;
    while (shim_event_at(i)->call != SHIM_FADVISE) {
        i++;
    }
    /* Of a unit of the cache that begins before the place nothing would be dropped. */
    assert_in_range(shim_event_at(i)->offset, 0, durable);
    assert_int_equal(shim_event_at(i)->offset % (2 * MIB), 0);
    assert_int_equal(shim_event_at(i)->length, 0); /* to the end of the file */
}

/* ---- Reads of a damaged log ---- */

static void f40_store_get_of_a_changed_record_is_corrupt_and_no_other(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    struct model model = put_some(engine);
    uint64_t start = OPENING_BYTES + record_length(5, 17) + SEAL_BYTES; /* of key-1 */
    uint64_t end = start + record_length(5, 17);
    for (uint64_t offset = start; offset < end; offset++) {
        uint8_t mask = (uint8_t)(1u << offset % 8);
        shim_advance_clock(LOG_MESSAGE_MS);
        engine_flip(engine, offset, mask);
        engine_forget_messages(engine);
        engine_expect_failure(engine, model_key(1), KV_CORRUPT);
        char told[64];
        (void)snprintf(told, sizeof told, "offset %d", (int)start);
        assert_int_equal(engine_told(engine, told), 1);
        engine_expect(engine, model_key(0), model.values[0]);
        engine_expect(engine, model_key(2), model.values[2]);
        engine_expect(engine, model_key(3), NULL);
        assert_int_equal(store_count(engine->store), 3);
        engine_flip(engine, offset, mask);
        model_expect(&model, engine);
    }
}

/* By a new value or by a deletion, whichever part of the record is damaged. */
static void f40_store_writes_mend_a_key_whose_record_is_damaged(void **state)
{
    struct engine *engine = *state;
    const uint64_t places[] = {0,
                               3,
                               15,
                               RECORD_HEADER_BYTES,
                               RECORD_HEADER_BYTES + 4,
                               RECORD_HEADER_BYTES + 5,
                               RECORD_HEADER_BYTES + 21};
    shim_set_clock(START_MS);
    engine_open(engine);
    struct model model = put_some(engine);
    uint64_t start = OPENING_BYTES + record_length(5, 17) + SEAL_BYTES;
    for (size_t i = 0; i < 2 * (sizeof places / sizeof places[0]); i++) {
        engine_flip(engine, start + places[i / 2], 0x10);
        engine_expect_failure(engine, model_key(1), KV_CORRUPT);
        bool is_deleted = i % 2 == 1;
        assert_int_equal(is_deleted ? engine_delete(engine, model_key(1))
                                    : engine_set(engine, model_key(1), "staged"),
                         KV_OK);
        engine_expect(engine, model_key(1), is_deleted ? NULL : "staged");
        /* The commit fails: the damage is back, and so are the counts. */
        shim_set_space(SHIM_LOG, engine_log_length(engine), ENOSPC);
        assert_int_equal(store_commit(engine->store), KV_NO_SPACE);
        shim_give_space();
        engine_expect_failure(engine, model_key(1), KV_CORRUPT);
        assert_int_equal(store_count(engine->store), 3);
        if (is_deleted) {
            assert_int_equal(engine_delete(engine, model_key(1)), KV_OK);
            assert_int_equal(store_commit(engine->store), KV_OK);
            model_delete(&model, 1);
            model_expect(&model, engine);
        }
        start = engine_log_length(engine);
        engine_put(engine, model_key(1), "committed value x");
        model_set(&model, 1, "committed value x");
        model_expect(&model, engine);
    }
}

static void f40_store_walk_passes_over_a_damaged_key(void **state)
{
    struct engine *engine = *state;
    uint64_t position = 0;
    struct slice key;
    size_t counts[KV_STATUS_COUNT] = {0};
    engine_open(engine);
    (void)put_some(engine);
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES, 0x04);
    for (int i = 0; i < 4; i++) {
        counts[store_walk(engine->store, &position, &key)]++;
    }
    assert_int_equal(counts[KV_OK], 2);
    assert_int_equal(counts[KV_CORRUPT], 1);
    assert_int_equal(counts[KV_NOT_FOUND], 1);
}

/* ---- A log that is changed by somebody else ---- */

static void cut_log(const struct engine *engine, uint64_t length)
{
    assert_int_equal(truncate(engine->log.path, (off_t)length), 0);
}

/* A value of several pages, so that one of them lies wholly behind the cut. */
static void f42_store_get_survives_a_log_that_was_cut_under_it(void **state)
{
    struct engine *engine = *state;
    static char large[64 * 1024 + 1];
    engine_catch_sigbus();
    memset(large, 'v', sizeof large - 1);
    engine_open(engine);
    engine_put(engine, "small", "value");
    engine_put(engine, "large", large);
    uint64_t length = engine_log_length(engine);
    engine_put(engine, "behind", "value");
    cut_log(engine, length - 3 * SEAL_BYTES);
    engine_expect(engine, "small", "value");
    cut_log(engine, 20 * 1024);
    engine_expect_failure(engine, "large", KV_IO);
    engine_expect_failure(engine, "behind", KV_IO);
    engine_expect(engine, "small", "value");
    engine_expect(engine, "none", NULL);
    assert_int_equal(engine_set(engine, "small", "again"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
}

/*
 * A record that could not be read when its key was looked at, and can when its value is,
 * may be that of another key with the same hash.
 */
static void f65_store_get_serves_no_record_whose_key_it_could_not_read(void **state)
{
    struct engine *engine = *state;
    static char large[2 * 4096];
    memset(large, 'v', sizeof large - 1);
    is_one_hash = true;
    for (uint64_t look_ms = 50; look_ms < 2 * READ_RETRY_MS_MIN; look_ms += 50) {
        engine_catch_sigbus();
        engine_open(engine);
        engine_put(engine, "large", large);
        engine_put(engine, "one", "value");
        struct script log = engine_read(engine, "");
        cut_log(engine, 4096);
        engine_expect_failure(engine, "one", KV_IO);
        engine_write(engine, "", script_slice(&log));
        shim_slow_down(look_ms * 1000);
        enum status status = KV_IO;
        while (status == KV_IO) {
            struct slice value;
            status = keyed_get(engine->store, SLICE_LITERAL("two"), &value);
        }
        assert_int_equal(status, KV_NOT_FOUND);
        engine_expect(engine, "one", "value");
        script_free(&log);
        engine_abandon(engine);
        engine_clean(engine);
        assert_int_equal(unlink(engine->log.path), 0);
        shim_reset();
    }
    is_one_hash = false;
}

/* Nor is it replaced by a write of a key that may be another, while reading may work
 * again. */
static void f65_store_write_replaces_no_record_that_it_cannot_read_yet(void **state)
{
    struct engine *engine = *state;
    static char large[2 * 4096];
    engine_catch_sigbus();
    memset(large, 'v', sizeof large - 1);
    is_one_hash = true;
    shim_set_clock(START_MS);
    engine_open(engine);
    engine_put(engine, "large", large);
    engine_put(engine, "one", "value");
    struct script log = engine_read(engine, "");
    cut_log(engine, 4096);
    engine_forget_messages(engine);
    assert_int_equal(engine_set(engine, "two", "value"), KV_IO);
    assert_int_equal(engine_delete(engine, "two"), KV_IO);
    assert_int_equal(engine_told(engine, "cannot be read; it is not served"), 1);
    assert_int_equal(engine_set(engine, "longer", "value"), KV_OK); /* it is another */
    engine_write(engine, "", script_slice(&log));
    shim_advance_clock(READ_RETRY_MS_MAX);
    engine_put(engine, "two", "another value");
    engine_expect(engine, "one", "value");
    engine_expect(engine, "two", "another value");
    engine_expect(engine, "longer", "value");
    is_one_hash = false;
    script_free(&log);
}

/* The hole that a write behind a cut leaves must not pass for a committed batch. */
static void f42_store_commit_to_a_log_that_was_cut_is_fatal(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    for (size_t i = 0; i < 3; i++) {
        engine_open(engine);
        (void)put_some(engine);
        const uint64_t lengths[] = {100, engine_log_length(engine) - 1, 0};
        cut_log(engine, lengths[i]);
        engine_forget_messages(engine);
        assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_int_equal(engine_told(engine, engine->log.path), 1);
        engine_abandon(engine);
        assert_int_equal(unlink(engine->log.path), 0);
        engine_clean(engine);
    }
}

/* Nor is anything written into another file of the same length, or acknowledged. */
static void f42_f101_store_commit_to_a_copy_of_the_log_is_fatal(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    (void)put_some(engine);
    struct script log = engine_read(engine, "");
    engine_write(engine, ".copy", script_slice(&log));
    assert_int_equal(rename(engine_file(engine, ".copy").path, engine->log.path), 0);
    assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
    assert_int_equal(engine_told(engine, "another file has taken the place"), 1);
    engine_abandon(engine);
    engine_expect_file(engine, "", script_slice(&log));
    script_free(&log);
}

/* ---- Memory ---- */

/* A log without marks has the longest way to open. */
static void f71_store_open_without_memory_says_so_and_changes_nothing(void **state)
{
    struct engine *engine = *state;
    static const char bytes[] = "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1kv"
                                "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1Kv"
                                "\0\0\0\0\0\0\0\1\0\0";
    const struct slice contents[] = {{NULL, 0},
                                     {(const uint8_t *)bytes, sizeof bytes - 1}};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        enum status status = KV_NO_MEMORY;
        for (uint64_t nth = 1; status != KV_OK; nth++) {
            engine_write(engine, "", contents[i]);
            engine_forget_messages(engine);
            shim_reset();
            shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
            status = engine_try_open(engine);
            shim_clear_faults();
            if (status != KV_OK) {
                assert_int_equal(status, KV_NO_MEMORY);
                assert_true(engine_told(engine, "") >= 1);
            }
        }
        assert_int_equal(shim_fired_count(), 0);
        assert_int_equal(store_count(engine->store), i == 0 ? 0 : 2);
        engine_close(engine);
        engine_clean(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f30_store_rest_seal_without_space_is_tried_again),
        ON_ENGINE(f35_store_that_could_not_sync_is_dead_for_ever),
        ON_ENGINE(f30_store_close_without_space_is_clean_and_without_disk_is_not),
        ON_ENGINE(f91_store_close_tells_that_the_log_could_not_be_closed),
        ON_ENGINE(f36_store_open_judges_the_last_batch_by_the_disk),
        ON_ENGINE(f36_store_open_drops_the_cache_after_sync_and_renewal),
        ON_ENGINE(f40_store_get_of_a_changed_record_is_corrupt_and_no_other),
        ON_ENGINE(f40_store_writes_mend_a_key_whose_record_is_damaged),
        ON_ENGINE(f40_store_walk_passes_over_a_damaged_key),
        ON_ENGINE(f42_store_get_survives_a_log_that_was_cut_under_it),
        ON_ENGINE(f65_store_get_serves_no_record_whose_key_it_could_not_read),
        ON_ENGINE(f65_store_write_replaces_no_record_that_it_cannot_read_yet),
        ON_ENGINE(f42_store_commit_to_a_log_that_was_cut_is_fatal),
        ON_ENGINE(f42_f101_store_commit_to_a_copy_of_the_log_is_fatal),
        ON_ENGINE(f71_store_open_without_memory_says_so_and_changes_nothing),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
