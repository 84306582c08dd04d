/*
 * How much space ahead is worth making, from what commits took.
 */
#include "engine/ahead.h"

#include "base/bounds.h"
#include "support/unit.h"

enum { SMALL = 200, MIDDLING = 20000, LARGE = 140000, HUGE_BATCH = 600000 };

#define START_MS UINT64_C(1000000)

/* A disk: what its commits and pieces take, and the clock that they move. */
struct bench {
    struct ahead ahead;
    uint64_t appended_us;
    uint64_t overwritten_us;
    uint64_t ns_a_byte;
    uint64_t now_us;
    uint64_t there_bytes;
    uint64_t made_bytes;   /* ever */
    uint64_t usable_bytes; /* as a compaction says */
};

static struct bench bench_of(uint64_t appended_us, uint64_t overwritten_us,
                             uint64_t ns_a_byte)
{
    return (struct bench){.appended_us = appended_us,
                          .overwritten_us = overwritten_us,
                          .ns_a_byte = ns_a_byte,
                          .now_us = START_MS * 1000,
                          .usable_bytes = UINT64_MAX};
}

static uint64_t wanted(const struct bench *bench, uint64_t kept_bytes)
{
    struct ahead_limits limits = {bench->there_bytes, kept_bytes, bench->usable_bytes};
    return ahead_wanted(&bench->ahead, &limits, bench->now_us / 1000);
}

static void make_piece(struct bench *bench, uint64_t kept_bytes)
{
    uint64_t bytes = wanted(bench, kept_bytes);
    if (bytes > 0) {
        uint64_t us = bench->appended_us + bytes * bench->ns_a_byte / 1000;
        assert_int_equal(bytes % 16, 0);
        assert_in_range(bytes, AHEAD_PIECE_BYTES_MIN, AHEAD_PIECE_BYTES_MAX);
        bench->now_us += us;
        bench->there_bytes += bytes;
        bench->made_bytes += bytes;
        ahead_note_made(&bench->ahead, bytes, us);
    }
}

/* Commit as often as said, and make what is wanted between commits. */
static void commit(struct bench *bench, uint64_t bytes, int count)
{
    for (int i = 0; i < count; i++) {
        bool is_overwrite = bench->there_bytes >= bytes;
        struct ahead_commit commit = {
            bytes,
            bytes * bench->ns_a_byte / 1000 +
                (is_overwrite ? bench->overwritten_us : bench->appended_us),
            is_overwrite};
        bench->there_bytes = is_overwrite ? bench->there_bytes - bytes : 0;
        bench->now_us += commit.us;
        ahead_note_commit(&bench->ahead, &commit, bench->now_us / 1000);
        make_piece(bench, 0);
    }
}

static void ahead_is_made_where_it_saves_a_sync(void **state)
{
    (void)state;
    const struct bench disks[] = {bench_of(2000, 1000, 2), bench_of(80, 60, 2),
                                  bench_of(20000, 10000, 10)};
    for (size_t i = 0; i < sizeof disks / sizeof disks[0]; i++) {
        struct bench bench = disks[i];
        commit(&bench, SMALL, 4);
        assert_true(bench.made_bytes > 0);
        commit(&bench, SMALL, 5000);
        assert_true(bench.made_bytes > 4000 * (SMALL - 16));
        assert_true(bench.there_bytes > 0);
    }
}

/* Memory, and disks that put what is overwritten elsewhere. */
static void ahead_costs_nothing_where_it_saves_nothing(void **state)
{
    (void)state;
    struct bench memory = bench_of(3, 3, 1);
    commit(&memory, SMALL, 10000);
    assert_int_equal(memory.made_bytes, 0);
    struct bench elsewhere = bench_of(500, 500, 2);
    commit(&elsewhere, SMALL, 1000);
    assert_in_range(elsewhere.made_bytes, 1, AHEAD_TRIAL_BYTES_MAX);
    uint64_t after_trial = elsewhere.made_bytes;
    commit(&elsewhere, SMALL, 100000); /* 50 s: two trials more */
    assert_in_range(elsewhere.made_bytes - after_trial, 1, MIB);
}

/* The same disk, whose bytes cost more than the sync that is saved. */
static void ahead_is_left_to_small_batches_on_a_fast_disk(void **state)
{
    (void)state;
    struct bench bench = bench_of(80, 60, 2);
    commit(&bench, LARGE, 1000);
    assert_in_range(bench.made_bytes, 1, 4 * AHEAD_TRIAL_BYTES_MAX);
    uint64_t after_trials = bench.made_bytes;
    bench.there_bytes = 0;
    commit(&bench, LARGE, 100);
    assert_int_equal(bench.made_bytes, after_trials);
    commit(&bench, SMALL, 100);
    assert_true(bench.made_bytes > after_trials);
}

static void ahead_is_made_for_large_batches_where_a_sync_is_slow(void **state)
{
    (void)state;
    struct bench bench = bench_of(4000, 2000, 2);
    commit(&bench, LARGE, 1000);
    assert_true(bench.made_bytes > 500 * LARGE);
    struct bench other = bench_of(4000, 2000, 2);
    commit(&other, HUGE_BATCH, 1000);
    assert_int_equal(other.made_bytes, 0);
}

/* As much as two seconds need, within bounds; and on top what a full disk shall leave. */
static void ahead_is_as_large_as_what_was_committed(void **state)
{
    (void)state;
    struct bench slow = bench_of(20000, 10000, 2);
    struct bench quick = bench_of(300, 100, 2);
    commit(&slow, SMALL, 1000);
    assert_in_range(slow.there_bytes, AHEAD_PIECE_BYTES_MIN, 2 * AHEAD_PIECE_BYTES_MIN);
    commit(&quick, MIDDLING, 10000);
    assert_in_range(quick.there_bytes, AHEAD_BYTES_MAX / 4, AHEAD_BYTES_MAX);
    for (int i = 0; i < 100; i++) {
        make_piece(&quick, MIB);
    }
    assert_in_range(quick.there_bytes, AHEAD_BYTES_MAX / 2 + MIB, AHEAD_BYTES_MAX + MIB);
}

/* A disk that others keep busy for a while does not change what was found out. */
static void ahead_bears_a_busy_disk(void **state)
{
    (void)state;
    struct bench bench = bench_of(2000, 1000, 2);
    commit(&bench, SMALL, 1000);
    uint64_t overwritten_us = bench.overwritten_us;
    for (int i = 0; i < 30; i++) {
        bench.overwritten_us = 9 * overwritten_us;
        commit(&bench, SMALL, 5);
        bench.overwritten_us = overwritten_us;
        commit(&bench, SMALL, 1);
    }
    bench.there_bytes = 0;
    assert_true(wanted(&bench, 0) > 0);
}

/* Pieces take little longer than a commit. */
static void ahead_pieces_shrink_on_a_slow_disk(void **state)
{
    (void)state;
    struct bench bench = bench_of(300, 100, 1);
    commit(&bench, MIDDLING, 2000);
    bench.there_bytes = 0;
    assert_int_equal(wanted(&bench, 0), AHEAD_PIECE_BYTES_MAX);
    bench.ns_a_byte = 100;
    for (int i = 0; i < 10; i++) {
        bench.there_bytes = 0;
        make_piece(&bench, 0);
    }
    bench.there_bytes = 0;
    assert_int_equal(wanted(&bench, 0), AHEAD_PIECE_BYTES_MIN);
}

static void ahead_waits_after_a_failure(void **state)
{
    (void)state;
    struct bench bench = bench_of(2000, 1000, 2);
    commit(&bench, SMALL, 100);
    bench.there_bytes = 0;
    assert_true(wanted(&bench, 0) > 0);
    ahead_note_failed(&bench.ahead, bench.now_us / 1000);
    assert_int_equal(wanted(&bench, 0), 0);
    bench.now_us += (AHEAD_RETRY_MS - 1) * 1000;
    assert_int_equal(wanted(&bench, 0), 0);
    bench.now_us += 1000;
    assert_true(wanted(&bench, 0) > 0);
}

/* What a compaction would cut off at once is not made. */
static void ahead_ends_where_a_compaction_begins(void **state)
{
    (void)state;
    struct bench bench = bench_of(2000, 1000, 2);
    commit(&bench, SMALL, 100);
    bench.there_bytes = 0;
    bench.usable_bytes = AHEAD_PIECE_BYTES_MIN - 1;
    assert_int_equal(wanted(&bench, MIB), 0);
    bench.usable_bytes++;
    assert_int_equal(wanted(&bench, MIB), AHEAD_PIECE_BYTES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ahead_is_made_where_it_saves_a_sync),
        cmocka_unit_test(ahead_costs_nothing_where_it_saves_nothing),
        cmocka_unit_test(ahead_is_left_to_small_batches_on_a_fast_disk),
        cmocka_unit_test(ahead_is_made_for_large_batches_where_a_sync_is_slow),
        cmocka_unit_test(ahead_is_as_large_as_what_was_committed),
        cmocka_unit_test(ahead_bears_a_busy_disk),
        cmocka_unit_test(ahead_pieces_shrink_on_a_slow_disk),
        cmocka_unit_test(ahead_waits_after_a_failure),
        cmocka_unit_test(ahead_ends_where_a_compaction_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
