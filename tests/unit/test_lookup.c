/*
 * When the disk is asked for records ahead: only where reads have waited for it, and then
 * for all that will be wanted at once; by lookups, and by filling the index at the start.
 *
 * wrap: posix_madvise getrusage clock_gettime
 */
#include "engine/lookup.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "engine/load.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/shim.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Groups until a wait shows: more than are watched at once. */
enum { GROUPS = 64, RUN_RECORDS = 192, PAGE = 4096, ASKED_MAX = 256 };

#ifdef KV_POSIX_ONLY
static const bool reads_are_counted = false;
#else
static const bool reads_are_counted = true;
#endif

/* What the system was told, and how it answers. */
static struct {
    size_t random_count;
    size_t normal_count;
    size_t asked_count;
    struct {
        const void *start;
        size_t length;
    } asked[ASKED_MAX];
    size_t look_count; /* at blocks_read */
    long blocks_read;
    bool is_disk_busy;         /* work takes long, and blocks are read meanwhile */
    bool is_slow;              /* work takes long */
    const struct engine *hurt; /* its log is damaged when it is to be read at random */
} system_calls;

/* The key of each of the first records. */
static void hurt_keys(const struct engine *engine)
{
    for (uint64_t i = 0; i < RUN_RECORDS / 3; i++) {
        engine_flip(engine, OPENING_BYTES + i * record_length(3, 5) + RECORD_HEADER_BYTES,
                    0x01);
    }
}

int __wrap_posix_madvise(void *start, size_t length, int advice);
int __wrap_getrusage(int who, struct rusage *usage);

int __wrap_posix_madvise(void *start, size_t length, int advice)
{
    if (advice == POSIX_MADV_WILLNEED) {
        assert_true(system_calls.asked_count < ASKED_MAX);
        system_calls.asked[system_calls.asked_count].start = start;
        system_calls.asked[system_calls.asked_count++].length = length;
    }
    system_calls.random_count += advice == POSIX_MADV_RANDOM ? 1 : 0;
    if (system_calls.hurt != NULL && advice == POSIX_MADV_RANDOM) {
        hurt_keys(system_calls.hurt);
    }
    system_calls.normal_count += advice == POSIX_MADV_NORMAL ? 1 : 0;
    shim_advance_clock(system_calls.is_disk_busy || system_calls.is_slow ? 1 : 0);
    return 0;
}

int __wrap_getrusage(int who, struct rusage *usage)
{
    assert_int_equal(who, RUSAGE_SELF);
    system_calls.look_count++;
    system_calls.blocks_read += system_calls.is_disk_busy ? 8 : 0;
    *usage = (struct rusage){.ru_inblock = system_calls.blocks_read};
    return 0;
}

struct bench {
    struct files *files;
    struct log *log;
    struct keydir keydir;
    struct image image;
};

/* A log of the image, whose records can be loaded. */
static void bench_open(struct bench *bench, const struct engine *engine)
{
    engine_write(engine, "", image_slice(&bench->image));
    assert_int_equal(files_open(engine->log.path, &bench->files), KV_OK);
    assert_int_equal(log_open(bench->files, "", LOG_READ, &bench->log), KV_OK);
    assert_int_equal(keydir_init(&bench->keydir, bench->log), KV_OK);
    shim_set_clock(1000);
    memset(&system_calls, 0, sizeof system_calls);
}

/* Take all records of the log, which are one batch, verified or not. */
static void bench_load(struct bench *bench, bool is_verified)
{
    struct scan scan;
    struct load_counts counts = {0};
    if (is_verified) {
        scan_begin(&scan, log_bytes(bench->log), IMAGE_LOG_ID);
    } else {
        scan_begin_unmarked(&scan, log_bytes(bench->log));
    }
    assert_int_equal(load_log(&bench->keydir, &scan, &counts), KV_OK);
}

static void bench_close(struct bench *bench)
{
    keydir_destroy(&bench->keydir);
    assert_int_equal(log_close(bench->log), KV_OK);
    files_close(bench->files);
    image_free(&bench->image);
}

/* Enough records of one key for three lists of the load, of which the second and the
 * third have earlier ones, and one of another key. */
static void bench_open_overwritten(struct bench *bench, const struct engine *engine)
{
    *bench = (struct bench){0};
    image_begin_first(&bench->image);
    for (int i = 0; i < RUN_RECORDS; i++) {
        image_put_text(&bench->image, "key", "value");
    }
    image_put_text(&bench->image, "other", "value");
    image_seal(&bench->image);
    bench_open(bench, engine);
}

/* A run is read at random from where it needs to be up to its end, and not after. */
static void load_in_memory_asks_the_disk_for_nothing(void **state)
{
    struct bench bench;
    for (int is_slow = 0; is_slow < 2; is_slow++) {
        bench_open_overwritten(&bench, *state);
        system_calls.is_slow = is_slow != 0;
        bench_load(&bench, true);
        assert_int_equal(system_calls.random_count, 1);
        assert_int_equal(system_calls.normal_count, 1);
        assert_int_equal(system_calls.asked_count, 0);
        assert_true(is_slow != 0 || system_calls.look_count == 0);
        assert_int_equal(bench.keydir.key_count, 2);
        bench_close(&bench);
    }
}

static void load_from_a_disk_asks_for_a_list_of_earlier_keys_at_once(void **state)
{
    struct bench bench;
    bench_open_overwritten(&bench, *state);
    system_calls.is_disk_busy = true;
    bench_load(&bench, true);
    assert_int_equal(system_calls.random_count, 1);
    assert_int_equal(system_calls.normal_count, 1);
    assert_int_equal(system_calls.asked_count, reads_are_counted ? RUN_RECORDS / 3 : 0);
    assert_int_equal(bench.keydir.key_count, 2);
    assert_int_equal(bench.keydir.live_bytes, record_length(3, 5) + record_length(5, 5));
    bench_close(&bench);
}

/* What a start has just verified, it replaces only as what it was: it is no damage that
 * serving had let be replaced. */
static void f103_load_ends_where_what_was_verified_is_damaged_since(void **state)
{
    struct bench bench;
    struct scan scan;
    struct load_counts counts = {0};
    bench_open_overwritten(&bench, *state);
    system_calls.hurt = *state;
    scan_begin(&scan, log_bytes(bench.log), IMAGE_LOG_ID);
    assert_int_equal(load_log(&bench.keydir, &scan, &counts), KV_CORRUPT);
    assert_int_equal(counts.replaced_unseen, 0);
    system_calls.hurt = NULL;
    bench_close(&bench);
}

/* What was not verified may not have been read yet: in between it is read in order. */
static void load_of_what_was_not_read_goes_back_to_reading_in_order(void **state)
{
    struct bench bench;
    bench_open_overwritten(&bench, *state);
    bench_load(&bench, false);
    assert_int_equal(system_calls.random_count, 2);
    assert_int_equal(system_calls.normal_count, 2);
    assert_int_equal(bench.keydir.key_count, 2);
    bench_close(&bench);
}

/* Three keys: a small record, a large one, none. Finding them takes a while. */
static void look_up(struct lookup_watch *watch, const struct bench *bench)
{
    struct lookup lookups[3];
    lookup_begin(&bench->keydir, SLICE_LITERAL("small"), &lookups[0]);
    lookup_begin(&bench->keydir, SLICE_LITERAL("large"), &lookups[1]);
    lookup_begin(&bench->keydir, SLICE_LITERAL("none"), &lookups[2]);
    struct location found;
    lookup_fetch(watch, &bench->keydir, lookups, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lookup_find(&lookups[i], &bench->keydir, &found),
                         i < 2 ? KV_OK : KV_NOT_FOUND);
        assert_int_equal(location_is_nowhere(&found), i == 2);
    }
    shim_advance_clock(system_calls.is_disk_busy || system_calls.is_slow ? 1 : 0);
}

/* Returns how often the disk was asked. */
static size_t look_up_often(struct lookup_watch *watch, const struct bench *bench)
{
    system_calls.asked_count = 0;
    for (int i = 0; i < GROUPS; i++) {
        look_up(watch, bench);
    }
    return system_calls.asked_count;
}

static void lookup_asks_the_disk_while_it_is_read(void **state)
{
    struct bench bench = {0};
    struct lookup_watch watch = {0};
    uint8_t *bytes = calloc(1, READ_AHEAD_BYTES_MIN);
    assert_non_null(bytes);
    image_begin_first(&bench.image);
    image_put(&bench.image, SLICE_LITERAL("small"), (struct slice){bytes, PAGE});
    image_put(&bench.image, SLICE_LITERAL("large"),
              (struct slice){bytes, READ_AHEAD_BYTES_MIN});
    bench_open(&bench, *state);
    bench_load(&bench, false);

    watch.disk.since_us = clock_now_us();
    assert_int_equal(look_up_often(&watch, &bench), 0);
    assert_int_equal(system_calls.look_count, 0);
    system_calls.is_slow = true;
    assert_int_equal(look_up_often(&watch, &bench), 0);
    system_calls.is_disk_busy = true;
    size_t asked = look_up_often(&watch, &bench);
    if (reads_are_counted) {
        /* The whole record, whose value ends on the second page; of the large one its
         * key, which is there. */
        assert_in_range(asked, GROUPS, 2 * GROUPS);
        assert_ptr_equal(system_calls.asked[0].start, log_bytes(bench.log).bytes);
        assert_int_equal(system_calls.asked[0].length,
                         OPENING_BYTES + record_length(5, PAGE));
        assert_ptr_equal(system_calls.asked[1].start, log_bytes(bench.log).bytes + PAGE);
        assert_in_range(system_calls.asked[1].length, 1, PAGE);
    } else {
        assert_int_equal(asked, 0);
    }
    system_calls.is_disk_busy = false;
    (void)look_up_often(&watch, &bench);
    assert_int_equal(look_up_often(&watch, &bench), 0);
    bench_close(&bench);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(load_in_memory_asks_the_disk_for_nothing),
        ON_ENGINE(load_from_a_disk_asks_for_a_list_of_earlier_keys_at_once),
        ON_ENGINE(f103_load_ends_where_what_was_verified_is_damaged_since),
        ON_ENGINE(load_of_what_was_not_read_goes_back_to_reading_in_order),
        ON_ENGINE(lookup_asks_the_disk_while_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
