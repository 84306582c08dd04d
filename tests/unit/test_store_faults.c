/*
 * The engine under failing disks, damaged logs and missing memory.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap clock_gettime malloc calloc realloc strdup
 */
#include "engine/store.h"

#include "base/bounds.h"
#include "log/record.h"
#include "support/engine.h"
#include "support/keyed.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_MS UINT64_C(5000000)

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

/* A batch that replaces, deletes and adds; the model it leads to. */
static struct model stage_some(struct engine *engine, const struct model *before)
{
    struct model model = *before;
    assert_int_equal(engine_set(engine, model_key(0), "staged"), KV_OK);
    model_set(&model, 0, "staged");
    assert_int_equal(engine_delete(engine, model_key(1)), KV_OK);
    model_delete(&model, 1);
    assert_int_equal(engine_set(engine, model_key(4), "new"), KV_OK);
    model_set(&model, 4, "new");
    return model;
}

/* The store and, after a crash, what is read from the file are both the model's. */
static void expect_also_after_a_crash(const struct model *model, struct engine *engine)
{
    model_expect(model, engine);
    engine_crash(engine);
    engine_open(engine);
    model_expect(model, engine);
    assert_int_equal(engine_count_files(engine, ".torn."), 0);
}

/* ---- Writes ---- */

struct space {
    int error;
    enum status status;
};

static const struct space spaces[] = {
    {ENOSPC, KV_NO_SPACE}, {EDQUOT, KV_NO_SPACE}, {EFBIG, KV_NO_SPACE}, {EIO, KV_IO}};

static void f30_store_commit_without_space_takes_everything_back(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    struct model before = put_some(engine);
    uint64_t length = engine_log_length(engine);
    (void)stage_some(engine, &before);
    uint64_t batch = store_staged_bytes(engine->store) + SEAL_BYTES;
    assert_int_equal(store_commit(engine->store), KV_OK);
    engine_crash(engine);
    assert_int_equal(truncate(engine->log.path, (off_t)length), 0);
    engine_open(engine);
    uint64_t step = watchdog_is_slow() ? 7 : 1;
    shim_omit_syncs();
    for (uint64_t i = 0; i < 4 * batch; i += step) {
        const struct space *space = &spaces[i % 4];
        (void)stage_some(engine, &before);
        shim_set_space(SHIM_LOG, length + i / 4, space->error);
        assert_int_equal(store_commit(engine->store), space->status);
        shim_give_space();
        assert_int_equal(engine_log_length(engine), length);
        model_expect(&before, engine);
    }
    expect_also_after_a_crash(&before, engine);
    struct model after = stage_some(engine, &before);
    assert_int_equal(store_commit(engine->store), KV_OK);
    expect_also_after_a_crash(&after, engine);
}

static void f30_store_goes_on_when_space_returns_after_each_failure(void **state)
{
    struct engine *engine = *state;
    struct model model = {0};
    engine_open(engine);
    for (uint64_t room = 0; room < 60; room++) {
        char value[32];
        (void)snprintf(value, sizeof value, "value %d", (int)room);
        assert_int_equal(engine_set(engine, model_key(2), value), KV_OK);
        shim_set_space(SHIM_LOG, engine_log_length(engine) + room, ENOSPC);
        assert_int_equal(store_commit(engine->store), KV_NO_SPACE);
        model_expect(&model, engine);
        shim_give_space();
        engine_put(engine, model_key(2), value);
        model_set(&model, 2, value);
    }
    expect_also_after_a_crash(&model, engine);
}

static void f32_store_commit_completes_short_writes(void **state)
{
    struct engine *engine = *state;
    const size_t limits[] = {1, 3, SHIM_HALF};
    engine_open(engine);
    struct model model = put_some(engine);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        shim_limit_bytes(SHIM_BIT(SHIM_PWRITE), limits[i]);
        assert_int_equal(engine_set(engine, model_key(7), "short"), KV_OK);
        model_set(&model, 7, "short");
        assert_int_equal(store_commit(engine->store), KV_OK);
        expect_also_after_a_crash(&model, engine);
    }
}

/* Nothing is written or synced once the log's state is unknown, not even at the end. */
static void expect_dead(struct engine *engine)
{
    shim_clear_faults();
    shim_give_space();
    shim_forget_trace();
    uint64_t length = engine_log_length(engine);
    (void)engine_set(engine, model_key(9), "after the failure");
    assert_int_equal(store_commit(engine->store), KV_FATAL);
    assert_int_equal(store_sync(engine->store), KV_FATAL);
    struct store *store = engine->store;
    engine->store = NULL;
    (void)store_close(store); /* there is nothing left to save */
    assert_string_equal(shim_trace_text(SHIM_CHANGES), "");
    assert_int_equal(engine_log_length(engine), length);
}

static void f34_store_commit_that_cannot_cut_back_is_fatal(void **state)
{
    struct engine *engine = *state;
    const enum shim_call calls[] = {SHIM_FTRUNCATE, SHIM_FDATASYNC};
    for (size_t i = 0; i < 2; i++) {
        engine_open(engine);
        struct model before = put_some(engine);
        (void)stage_some(engine, &before);
        shim_set_space(SHIM_LOG, engine_log_length(engine) + 30, ENOSPC);
        shim_fail_from(SHIM_BIT(calls[i]), SHIM_ANY, 1, EIO);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        expect_dead(engine);
        engine_open(engine); /* the next start drops what half was written */
        model_expect(&before, engine);
        assert_int_equal(engine_count_files(engine, ".torn."), i == 0 ? 1 : 0);
        engine_close(engine);
        engine_clean(engine);
        assert_int_equal(remove(engine->log.path), 0);
    }
}

/* ---- Syncs ---- */

static void f35_store_commit_that_cannot_sync_is_fatal_for_ever(void **state)
{
    struct engine *engine = *state;
    const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        engine_open(engine);
        struct model before = put_some(engine);
        uint64_t length = engine_log_length(engine);
        uint64_t syncs = shim_count(SHIM_FDATASYNC);
        (void)stage_some(engine, &before);
        engine_forget_messages(engine);
        shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, errors[i]);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_int_equal(shim_count(SHIM_FDATASYNC), syncs + 1);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(engine_told(engine, engine->log.path), 1);
        assert_int_equal(engine_log_length(engine), length);
        expect_dead(engine);
        engine_open(engine);
        model_expect(&before, engine);
        engine_close(engine);
        engine_clean(engine);
        assert_int_equal(remove(engine->log.path), 0);
    }
}

static void f35_store_everysec_sync_that_fails_is_fatal_for_ever(void **state)
{
    struct engine *engine = *state;
    engine->sync = SYNC_EVERYSEC;
    shim_set_clock(START_MS);
    engine_open(engine);
    (void)put_some(engine);
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
    shim_advance_clock(SYNC_LAG_MS_MAX);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_FATAL);
    expect_dead(engine);
}

static void f35_store_rest_seal_that_cannot_be_synced_is_fatal(void **state)
{
    struct engine *engine = *state;
    shim_set_clock(START_MS);
    engine_open(engine);
    struct model model = put_some(engine);
    shim_fail_once(SHIM_BIT(SHIM_FDATASYNC), SHIM_ANY, 1, EIO);
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_ALL), KV_FATAL);
    expect_dead(engine);
    engine_open(engine);
    model_expect(&model, engine);
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

static void f30_store_close_without_space_is_clean_and_without_disk_is_not(void **state)
{
    struct engine *engine = *state;
    for (size_t i = 0; i < 4; i++) {
        engine_open(engine);
        struct model model = put_some(engine);
        uint64_t length = engine_log_length(engine);
        shim_set_space(SHIM_LOG, length + 5, spaces[i].error);
        struct store *store = engine->store;
        engine->store = NULL;
        assert_int_equal(store_close(store), spaces[i].status == KV_IO ? KV_IO : KV_OK);
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
    struct script bytes = engine_read(loss->engine, "");
    assert_in_range(loss->to, loss->from, bytes.length);
    memset(bytes.bytes + loss->from, 0, (size_t)(loss->to - loss->from));
    FILE *file = fopen(loss->engine->log.path, "r+");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.bytes, 1, bytes.length, file), bytes.length);
    assert_int_equal(fclose(file), 0);
    script_free(&bytes);
}

/* Leave a log whose last batch is in memory and, as nobody can tell, not on the disk. */
static struct model fail_to_sync(struct engine *engine, struct model *after_out)
{
    engine_open(engine);
    struct model before = put_some(engine);
    *after_out = stage_some(engine, &before);
    shim_fail_from(SHIM_BIT(SHIM_FDATASYNC) | SHIM_BIT(SHIM_FTRUNCATE), SHIM_ANY, 1, EIO);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
    engine_crash(engine);
    shim_reset();
    return before;
}

static void f36_store_open_judges_the_last_batch_by_the_disk(void **state)
{
    struct engine *engine = *state;
    struct model after;
    struct model before = fail_to_sync(engine, &after);
    struct script log = engine_read(engine, "");
    uint64_t batch = engine_log_length(engine) - SEAL_BYTES;
    for (size_t i = 0; i < 3; i++) {
        batch -= record_length(strlen(model_key(i)), i == 0   ? strlen("staged")
                                                     : i == 1 ? 1
                                                              : strlen("new"));
    }
    const struct loss losses[] = {
        {engine, batch, log.length},      /* all of the batch */
        {engine, batch, log.length - 1},  /* all but its last byte */
        {engine, log.length, log.length}, /* nothing */
    };
    for (size_t i = 0; i < 3; i++) {
        struct loss loss = losses[i];
        bool is_lost = loss.from < loss.to;
        engine_write(engine, "", script_slice(&log));
        shim_reset();
        shim_before(SHIM_BIT(SHIM_FADVISE), SHIM_LOG, lose, &loss);
        engine_open(engine);
        model_expect(is_lost ? &before : &after, engine);
        assert_int_equal(engine_log_length(engine), is_lost ? batch : log.length);
        /* Of a batch that is missing as a whole nothing is left to be kept. */
        assert_int_equal(engine_count_files(engine, ".torn."), i == 1 ? 1 : 0);
        engine_close(engine);
        engine_open(engine);
        model_expect(is_lost ? &before : &after, engine);
        engine_close(engine);
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

static void f40_store_set_mends_a_key_whose_record_is_damaged(void **state)
{
    struct engine *engine = *state;
    const uint64_t places[] = {0,
                               15,
                               RECORD_HEADER_BYTES,
                               RECORD_HEADER_BYTES + 4,
                               RECORD_HEADER_BYTES + 5,
                               RECORD_HEADER_BYTES + 21};
    shim_set_clock(START_MS);
    engine_open(engine);
    struct model model = put_some(engine);
    uint64_t start = OPENING_BYTES + record_length(5, 17) + SEAL_BYTES;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        engine_flip(engine, start + places[i], 0x10);
        engine_expect_failure(engine, model_key(1), KV_CORRUPT);
        assert_int_equal(engine_set(engine, model_key(1), "staged"), KV_OK);
        engine_expect(engine, model_key(1), "staged");
        /* The commit fails: the damage is back, and so are the counts. */
        shim_set_space(SHIM_LOG, engine_log_length(engine), ENOSPC);
        assert_int_equal(store_commit(engine->store), KV_NO_SPACE);
        shim_give_space();
        engine_expect_failure(engine, model_key(1), KV_CORRUPT);
        assert_int_equal(store_count(engine->store), 3);
        start = engine_log_length(engine);
        engine_put(engine, model_key(1), "committed value x");
        model_set(&model, 1, "committed value x");
        model_expect(&model, engine);
    }
}

static void f40_store_delete_removes_a_key_whose_record_is_damaged(void **state)
{
    struct engine *engine = *state;
    const uint64_t places[] = {3, RECORD_HEADER_BYTES + 2, RECORD_HEADER_BYTES + 9};
    engine_open(engine);
    struct model model = put_some(engine);
    uint64_t start = OPENING_BYTES + record_length(5, 17) + SEAL_BYTES;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        engine_flip(engine, start + places[i], 0x01);
        assert_int_equal(engine_delete(engine, model_key(1)), KV_OK);
        engine_expect(engine, model_key(1), NULL);
        assert_int_equal(store_commit(engine->store), KV_OK);
        model_delete(&model, 1);
        model_expect(&model, engine);
        start = engine_log_length(engine);
        engine_put(engine, model_key(1), "committed value x");
        model_set(&model, 1, "committed value x");
    }
    model_expect(&model, engine);
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

static void truncate_log(const struct engine *engine, uint64_t length)
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
    truncate_log(engine, length - 3 * SEAL_BYTES);
    engine_expect(engine, "small", "value");
    truncate_log(engine, 20 * 1024);
    engine_expect_failure(engine, "large", KV_IO);
    engine_expect_failure(engine, "behind", KV_IO);
    engine_expect(engine, "small", "value");
    engine_expect(engine, "none", NULL);
    assert_int_equal(engine_set(engine, "small", "again"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
}

static void remove_log(const struct engine *engine)
{
    assert_int_equal(unlink(engine->log.path), 0);
}

static void replace_log(const struct engine *engine)
{
    engine_write(engine, ".2", SLICE_LITERAL("another file"));
    assert_int_equal(rename(engine_file(engine, ".2").path, engine->log.path), 0);
}

static void rename_log(const struct engine *engine)
{
    assert_int_equal(rename(engine->log.path, engine_file(engine, ".1").path), 0);
}

static void shorten_log(const struct engine *engine)
{
    truncate_log(engine, 100);
}

static void shorten_log_by_one(const struct engine *engine)
{
    truncate_log(engine, engine_log_length(engine) - 1);
}

static void empty_log(const struct engine *engine)
{
    truncate_log(engine, 0);
}

static void lengthen_log(const struct engine *engine)
{
    truncate_log(engine, engine_log_length(engine) + 1000);
}

struct meddling {
    void (*meddle)(const struct engine *engine);
    const char *told;
};

static const struct meddling meddlings[] = {
    {remove_log, "removed"},
    {replace_log, "another file has taken the place of the log"},
    {rename_log, "renamed"},
    {lengthen_log, "something else changed it"},
};

static void
f42_f101_store_commit_to_a_log_that_is_not_ours_any_more_is_fatal(void **state)
{
    struct engine *engine = *state;
    for (size_t i = 0; i < sizeof meddlings / sizeof meddlings[0]; i++) {
        engine_open(engine);
        (void)put_some(engine);
        meddlings[i].meddle(engine);
        engine_forget_messages(engine);
        assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_int_equal(engine_told(engine, ""), 1);
        assert_int_equal(engine_told(engine, engine->log.path), 1);
        assert_int_equal(engine_told(engine, meddlings[i].told), 1);
        struct store *store = engine->store;
        engine->store = NULL;
        (void)store_close(store); /* there is nothing left to save */
        (void)unlink(engine->log.path);
        engine_clean(engine);
    }
}

/* The hole that a write behind a cut leaves must not pass for a committed batch. */
static void f42_store_commit_to_a_log_that_was_cut_is_fatal(void **state)
{
    struct engine *engine = *state;
    void (*const cuts[])(const struct engine *) = {shorten_log, shorten_log_by_one,
                                                   empty_log};
    engine_catch_sigbus();
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        engine_open(engine);
        (void)put_some(engine);
        cuts[i](engine);
        engine_forget_messages(engine);
        assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
        assert_int_equal(store_commit(engine->store), KV_FATAL);
        assert_int_equal(engine_told(engine, engine->log.path), 1);
        struct store *store = engine->store;
        engine->store = NULL;
        (void)store_close(store); /* there is nothing left to save */
        assert_int_equal(unlink(engine->log.path), 0);
        engine_clean(engine);
    }
}

static void f42_store_commit_that_cannot_inspect_the_log_is_fatal(void **state)
{
    struct engine *engine = *state;
    engine_open(engine);
    (void)put_some(engine);
    assert_int_equal(engine_set(engine, "key", "value"), KV_OK);
    shim_fail_once(SHIM_BIT(SHIM_FSTATAT), SHIM_ANY, 1, EIO);
    assert_int_equal(store_commit(engine->store), KV_FATAL);
    expect_dead(engine);
}

/* ---- Memory ---- */

enum { SCRIPT_STEPS = 150 };

/* Whether the step took memory that was not there; then nothing may have changed. */
static bool is_refused(enum status status, enum status wanted)
{
    if (status == KV_NO_MEMORY) {
        return true;
    }
    assert_int_equal(status, wanted);
    return false;
}

/* One step of a script that grows every buffer of the store. */
static void play_step(struct engine *engine, struct model *staged,
                      struct model *committed, size_t step)
{
    static char value[MODEL_VALUE_BYTES];
    size_t key = step * 7 % MODEL_KEYS;
    size_t length = step % 29 == 28 ? MODEL_VALUE_BYTES - 1 : step % 11;
    memset(value, 'a' + (int)(step % 26), length);
    value[length] = '\0';
    if (step % 5 == 4) {
        enum status wanted = staged->has[key] ? KV_OK : KV_NOT_FOUND;
        if (!is_refused(engine_delete(engine, model_key(key)), wanted)) {
            model_delete(staged, key);
        }
    } else if (!is_refused(engine_set(engine, model_key(key), value), KV_OK)) {
        model_set(staged, key, value);
    }
    if (step % 40 == 20 || step == SCRIPT_STEPS - 1) {
        if (is_refused(store_commit(engine->store), KV_OK)) {
            *staged = *committed;
        }
        *committed = *staged;
    }
}

static void play_without_memory(struct engine *engine, uint64_t nth, bool is_sticky)
{
    struct model *staged = calloc(1, sizeof *staged);
    struct model *committed = calloc(1, sizeof *committed);
    assert_true(staged != NULL && committed != NULL);
    engine_open(engine);
    shim_reset();
    shim_omit_syncs();
    shim_inject(&(struct shim_fault){
        .calls = SHIM_MEMORY, .nth = nth, .error = ENOMEM, .is_sticky = is_sticky});
    for (size_t step = 0; step < SCRIPT_STEPS; step++) {
        play_step(engine, staged, committed, step);
    }
    shim_clear_faults();
    model_expect(committed, engine);
    assert_int_equal(engine_set(engine, model_key(0), "afterwards"), KV_OK);
    model_set(committed, 0, "afterwards");
    assert_int_equal(store_commit(engine->store), KV_OK);
    expect_also_after_a_crash(committed, engine);
    engine_close(engine);
    free(staged);
    free(committed);
    assert_int_equal(unlink(engine->log.path), 0);
    engine_clean(engine);
}

static void f71_store_without_memory_equals_the_model(void **state)
{
    struct engine *engine = *state;
    for (int is_sticky = 0; is_sticky < 2; is_sticky++) {
        uint64_t nth = 0;
        do {
            nth++;
            play_without_memory(engine, nth, is_sticky != 0);
            assert_in_range(nth, 1, 1000);
        } while (shim_fired_count() > 0);
        assert_in_range(nth, 15, 1000); /* so many allocations there were */
    }
}

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
        ON_ENGINE(f30_store_commit_without_space_takes_everything_back),
        ON_ENGINE(f30_store_goes_on_when_space_returns_after_each_failure),
        ON_ENGINE(f32_store_commit_completes_short_writes),
        ON_ENGINE(f34_store_commit_that_cannot_cut_back_is_fatal),
        ON_ENGINE(f35_store_commit_that_cannot_sync_is_fatal_for_ever),
        ON_ENGINE(f35_store_everysec_sync_that_fails_is_fatal_for_ever),
        ON_ENGINE(f35_store_rest_seal_that_cannot_be_synced_is_fatal),
        ON_ENGINE(f30_store_rest_seal_without_space_is_tried_again),
        ON_ENGINE(f30_store_close_without_space_is_clean_and_without_disk_is_not),
        ON_ENGINE(f91_store_close_tells_that_the_log_could_not_be_closed),
        ON_ENGINE(f36_store_open_judges_the_last_batch_by_the_disk),
        ON_ENGINE(f36_store_open_drops_the_cache_after_sync_and_renewal),
        ON_ENGINE(f40_store_get_of_a_changed_record_is_corrupt_and_no_other),
        ON_ENGINE(f40_store_set_mends_a_key_whose_record_is_damaged),
        ON_ENGINE(f40_store_delete_removes_a_key_whose_record_is_damaged),
        ON_ENGINE(f40_store_walk_passes_over_a_damaged_key),
        ON_ENGINE(f42_store_get_survives_a_log_that_was_cut_under_it),
        ON_ENGINE(f42_f101_store_commit_to_a_log_that_is_not_ours_any_more_is_fatal),
        ON_ENGINE(f42_store_commit_to_a_log_that_was_cut_is_fatal),
        ON_ENGINE(f42_store_commit_that_cannot_inspect_the_log_is_fatal),
        ON_ENGINE(f71_store_without_memory_equals_the_model),
        ON_ENGINE(f71_store_open_without_memory_says_so_and_changes_nothing),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
