/*
 * The key directory where its users never lead it.
 *
 * wrap: fopen calloc
 */
#include "engine/load.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <stdlib.h>

/* A key directory on a log that is only read. */
struct bench {
    struct files *files;
    struct log *log;
    struct keydir keydir;
};

static void bench_open(struct bench *bench, const struct engine *engine)
{
    *bench = (struct bench){0};
    assert_int_equal(files_open(engine->log.path, &bench->files), KV_OK);
    assert_int_equal(log_open(bench->files, "", LOG_READ, &bench->log), KV_OK);
}

static void bench_close(struct bench *bench)
{
    keydir_destroy(&bench->keydir);
    assert_int_equal(log_close(bench->log), KV_OK);
    files_close(bench->files);
}

/* A key directory on a log with this image, and a scan of all of it. */
static void bench_begin_scan(struct bench *bench, const struct engine *engine,
                             const struct image *image, struct scan *scan_out)
{
    engine_write(engine, "", image_slice(image));
    bench_open(bench, engine);
    assert_int_equal(keydir_init(&bench->keydir, bench->log), KV_OK);
    scan_begin_unmarked(scan_out, log_bytes(bench->log));
}

/* A hash without a secret seed could be aimed at: there is none without randomness. */
static void keydir_init_without_random_bytes_fails(void **state)
{
    struct engine *engine = *state;
    struct bench bench;
    engine_write(engine, "", SLICE_LITERAL("text"));
    bench_open(&bench, engine);
    shim_fail_once(SHIM_BIT(SHIM_FOPEN), SHIM_ANY, 1, EMFILE);
    assert_int_equal(keydir_init(&bench.keydir, bench.log), KV_IO);
    assert_int_equal(engine_told(engine, "/dev/urandom: cannot read the hash seed"), 1);
    assert_int_equal(keydir_init(&bench.keydir, bench.log), KV_OK);
    bench_close(&bench);
}

/* What no slot can hold is not taken in, and the scan stays before it. */
static void load_log_ends_before_a_key_over_the_limit(void **state)
{
    struct engine *engine = *state;
    for (size_t more = 0; more < 2; more++) {
        struct bench bench;
        struct image image;
        struct location location;
        struct scan scan;
        struct load_counts counts = {0};
        size_t length = (size_t)KEY_BYTES_MAX + more;
        uint8_t *bytes = malloc(length);
        assert_non_null(bytes);
        memset(bytes, 'k', length);
        struct slice key = {bytes, length};
        image_begin_first(&image);
        image_put(&image, key, SLICE_LITERAL("value"));
        bench_begin_scan(&bench, engine, &image, &scan);
        assert_int_equal(load_log(&bench.keydir, &scan, &counts), KV_OK);
        assert_int_equal(counts.marks, 1); /* the opening record */
        assert_int_equal(counts.records, more == 0 ? 1 : 0);
        assert_int_equal(scan.offset,
                         more == 0 ? log_length(bench.log) : (uint64_t)OPENING_BYTES);
        assert_int_equal(bench.keydir.key_count, counts.records);
        assert_int_equal(
            keydir_find(&bench.keydir, keydir_hash(&bench.keydir, key), key, &location),
            more == 0 ? KV_OK : KV_NOT_FOUND);
        bench_close(&bench);
        image_free(&image);
        free(bytes);
    }
}

/* Enough records of one key make a load put them in before its end. */
static void f62_load_log_without_memory_takes_no_more_of_them(void **state)
{
    enum { RECORDS = 3000 };
    struct engine *engine = *state;
    struct bench bench;
    struct image image;
    struct scan scan;
    struct load_counts counts = {0};
    image_begin_first(&image);
    for (int i = 0; i < RECORDS; i++) {
        image_put(&image, SLICE_LITERAL("key"), SLICE_LITERAL("value"));
    }
    bench_begin_scan(&bench, engine, &image, &scan);
    /* The first two are for what collects the records. */
    shim_inject(&(struct shim_fault){
        .calls = SHIM_BIT(SHIM_CALLOC), .nth = 3, .error = ENOMEM, .is_sticky = true});
    assert_int_equal(load_log(&bench.keydir, &scan, &counts), KV_NO_MEMORY);
    assert_in_range(counts.records, 1, RECORDS - 1);
    assert_int_equal(bench.keydir.key_count, 0);
    bench_close(&bench);
    image_free(&image);
}

/* The records of a log, in its order, as entries of one hash. */
static void put_all_under(struct bench *bench, uint64_t hash)
{
    struct record_walk walk = record_walk_begin(
        slice_after(log_bytes(bench->log), OPENING_BYTES), OPENING_BYTES);
    while (record_next(&walk)) {
        struct change change = {
            .hash = hash,
            .now = keydir_locate(&bench->keydir, &walk.record, walk.offset)};
        if (!record_is_mark(&walk.record)) {
            assert_int_equal(index_reserve(bench->keydir.index, hash), KV_OK);
            keydir_apply(&bench->keydir, &change);
        }
    }
}

/* Of keys that share a hash, one whose record is damaged stands for itself at most. */
static void f65_keydir_takes_a_damaged_record_for_no_other_key(void **state)
{
    enum { HASH = 7 };
    static const struct {
        const char *key;
        enum status found;
    } cases[] = {
        {"apple", KV_OK},       {"fig", KV_OK},
        {"mango", KV_OK},       {"kiwi", KV_NOT_FOUND},
        {"figs", KV_NOT_FOUND}, {"grape", KV_CORRUPT}, /* as far as anybody can tell */
    };
    struct engine *engine = *state;
    struct bench bench;
    struct image image;
    struct scan scan;
    struct location location;
    image_begin_first(&image);
    image_put(&image, SLICE_LITERAL("mango"), SLICE_LITERAL("ripe"));
    image_put(&image, SLICE_LITERAL("apple"), SLICE_LITERAL("red"));
    image_put(&image, SLICE_LITERAL("fig"), SLICE_LITERAL("green"));
    bench_begin_scan(&bench, engine, &image, &scan);
    put_all_under(&bench, HASH);
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES + sizeof "mango", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            keydir_find(&bench.keydir, HASH, slice_of_text(cases[i].key), &location),
            cases[i].found);
    }
    bench_close(&bench);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(keydir_init_without_random_bytes_fails),
        ON_ENGINE(load_log_ends_before_a_key_over_the_limit),
        ON_ENGINE(f62_load_log_without_memory_takes_no_more_of_them),
        ON_ENGINE(f65_keydir_takes_a_damaged_record_for_no_other_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
