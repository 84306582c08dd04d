/*
 * The key directory where its users never lead it.
 *
 * wrap: fopen calloc
 */
#include "load.h"

#include "bounds.h"
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

/* A key directory on a log with this image, and a load into it. */
static struct load *bench_begin_load(struct bench *bench, const struct engine *engine,
                                     const struct image *image)
{
    struct load *load = NULL;
    engine_write(engine, "", image_slice(image));
    bench_open(bench, engine);
    assert_int_equal(keydir_init(&bench->keydir, bench->log), KV_OK);
    assert_int_equal(load_begin(&bench->keydir, &load), KV_OK);
    return load;
}

/* Every record of the log. */
static enum status bench_load(const struct bench *bench, struct load *load,
                              uint64_t *count_out)
{
    struct slice records = slice_after(log_bytes(bench->log), OPENING_BYTES);
    return load_records(load, records, OPENING_BYTES, count_out);
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

/* Whatever was asked of the records before: what no slot can hold is not taken in. */
static void load_refuses_a_key_over_the_limit(void **state)
{
    struct engine *engine = *state;
    for (size_t more = 0; more < 2; more++) {
        struct bench bench;
        struct image image;
        struct location location;
        uint64_t count = 0;
        size_t length = (size_t)KEY_BYTES_MAX + more;
        uint8_t *bytes = malloc(length);
        assert_non_null(bytes);
        memset(bytes, 'k', length);
        struct slice key = {bytes, length};
        image_begin_first(&image);
        image_put(&image, key, SLICE_LITERAL("value"));
        struct load *load = bench_begin_load(&bench, engine, &image);
        assert_int_equal(load_end(load, bench_load(&bench, load, &count)),
                         more == 0 ? KV_OK : KV_CORRUPT);
        assert_int_equal(count, more == 0 ? 1 : 0);
        assert_int_equal(bench.keydir.key_count, count);
        assert_int_equal(
            keydir_find(&bench.keydir, keydir_hash(&bench.keydir, key), key, &location),
            more == 0 ? KV_OK : KV_NOT_FOUND);
        bench_close(&bench);
        image_free(&image);
        free(bytes);
    }
}

/* Enough records of one key make a load put them in before its end. */
static void f62_load_records_without_memory_takes_no_more_of_them(void **state)
{
    enum { RECORDS = 100 };
    struct engine *engine = *state;
    struct bench bench;
    struct image image;
    uint64_t count = 0;
    image_begin_first(&image);
    for (int i = 0; i < RECORDS; i++) {
        image_put(&image, SLICE_LITERAL("key"), SLICE_LITERAL("value"));
    }
    struct load *load = bench_begin_load(&bench, engine, &image);
    shim_inject(&(struct shim_fault){
        .calls = SHIM_BIT(SHIM_CALLOC), .nth = 1, .error = ENOMEM, .is_sticky = true});
    enum status status = bench_load(&bench, load, &count);
    assert_int_equal(status, KV_NO_MEMORY);
    assert_in_range(count, 1, RECORDS - 1);
    assert_int_equal(load_end(load, status), KV_NO_MEMORY);
    assert_int_equal(bench.keydir.key_count, 0);
    bench_close(&bench);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(keydir_init_without_random_bytes_fails),
        ON_ENGINE(load_refuses_a_key_over_the_limit),
        ON_ENGINE(f62_load_records_without_memory_takes_no_more_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
