/*
 * The offline modes inside this program: without memory, room or randomness, with pages
 * that cannot be read, with output that nobody takes, and with rot while they run.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen clock_gettime
 * wrap: malloc calloc realloc strdup geteuid
 */
#include "base/bounds.h"
#include "base/hash.h"
#include "file/files.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "support/engine.h"
#include "support/image.h"
#include "support/redirect.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NEW_LOG ".salvaged"

enum { PAGE = 4096 };

/* ---- The system ---- */

static const struct hash_seed seed = {{1, 2}};

/* Two keys that have equal hashes with this seed; such a pair is one in 2^38. */
static const char *const twins[] = {"k1779222", "k1807960"};

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

/* Random bytes are always the seed above. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
    static struct hash_seed bytes;
    if (strcmp(path, "/dev/urandom") != 0) {
        return __real_fopen(path, mode);
    }
    bytes = seed;
    return fmemopen(&bytes, sizeof bytes, mode);
}

/* Each batch that is loaded looks at the clock: then, after so many looks, a byte of the
 * log changes. */
static struct {
    const struct engine *engine; /* NULL: nothing changes */
    size_t looks;
    uint64_t offset;
} rot;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    *now = (struct timespec){.tv_sec = 5000};
    if (rot.engine != NULL && --rot.looks == 0) {
        engine_flip(rot.engine, rot.offset, 1);
        rot.engine = NULL;
    }
    return 0;
}

/* Who runs the program. */
static uid_t user;

uid_t __wrap_geteuid(void);

uid_t __wrap_geteuid(void)
{
    return user;
}

/* ---- Running a mode ---- */

enum mode { VERIFY, DUMP_LINES, DUMP_REDIS, SALVAGE, MODE_COUNT };

static enum status run(const struct engine *engine, enum mode mode)
{
    struct tempdir_file new_log = engine_file(engine, NEW_LOG);
    switch (mode) {
    case VERIFY:
        return verify_log(engine->log.path);
    case DUMP_LINES:
        return dump_log(engine->log.path, LINES_SET);
    case DUMP_REDIS:
        return dump_log(engine->log.path, LINES_RESP);
    default:
        return salvage_log(engine->log.path, new_log.path);
    }
}

/* The same with stdout in a file; main made it unbuffered. */
static enum status run_into(struct engine *engine, enum mode mode, const char *path)
{
    int kept_fd = redirect_begin(stdout, path);
    engine_forget_messages(engine);
    enum status status = run(engine, mode);
    redirect_end(stdout, kept_fd);
    return status;
}

/* The same, and what it printed, for script_free. */
static enum status run_mode(struct engine *engine, enum mode mode, struct script *output)
{
    struct tempdir_file file = tempdir_file(&engine->tempdir, "output");
    enum status status = run_into(engine, mode, file.path);
    *output = (struct script){0};
    script_add_file(output, file.path);
    script_add_fill(output, '\0', 1);
    output->length--; /* it is a text, too */
    return status;
}

static bool has_printed(const struct script *output, const char *text)
{
    return strstr((const char *)output->bytes, text) != NULL;
}

/* A run that fails silently on stdout, or prints at least this. */
static void expect_run(struct engine *engine, enum mode mode, enum status status,
                       const char *text)
{
    struct script output;
    assert_int_equal(run_mode(engine, mode, &output), status);
    assert_true(has_printed(&output, text));
    script_free(&output);
}

static void drop_new_log(const struct engine *engine)
{
    (void)unlink(engine_file(engine, NEW_LOG).path); /* there may be none */
    (void)unlink(engine_file(engine, NEW_LOG FILES_INDEX).path);
}

/* The salvaged log opens, and has so many keys. */
static void expect_salvaged(const struct engine *engine, uint64_t keys)
{
    struct tempdir_file file = engine_file(engine, NEW_LOG);
    struct store_options options = {.path = file.path, .sync = SYNC_ALWAYS};
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store), KV_OK);
    assert_int_equal(store_count(store), keys);
    assert_int_equal(store_close(store), KV_OK);
    drop_new_log(engine);
}

/* ---- Logs ---- */

/* Two batches of a first log, and a log that continues it and sets one key more. */
struct pair {
    struct image older;
    struct image log;
};

static void pair_make_with(struct pair *pair, int more_keys)
{
    char key[32];
    image_begin_first(&pair->older);
    for (int i = 0; i < more_keys; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        image_put_text(&pair->older, key, "older");
    }
    image_put_text(&pair->older, "one", "older");
    image_put_text(&pair->older, "two", "older");
    image_seal(&pair->older);
    image_put_text(&pair->older, "three", "older");
    image_seal(&pair->older);
    image_seal(&pair->older);
    image_begin_next(&pair->log, &pair->older, 2);
    image_put_text(&pair->log, "four", "newer");
    image_seal(&pair->log);
    image_seal(&pair->log);
}

static void pair_make(struct pair *pair)
{
    pair_make_with(pair, 0);
}

static void pair_place(const struct engine *engine, const struct pair *pair)
{
    engine_clean(engine);
    engine_write(engine, "", image_slice(&pair->log));
    engine_write(engine, FILES_OLD, image_slice(&pair->older));
}

static void pair_expect_untouched(const struct engine *engine, const struct pair *pair)
{
    engine_expect_file(engine, "", image_slice(&pair->log));
    engine_expect_file(engine, FILES_OLD, image_slice(&pair->older));
}

static void pair_free(struct pair *pair)
{
    image_free(&pair->older);
    image_free(&pair->log);
}

/* ---- Output ---- */

/* An error of stdout stays one, though there is nothing left for the last flush to do. */
static void the_modes_remember_that_their_output_was_not_taken(void **state)
{
    struct engine *engine = *state;
    struct pair pair;
    pair_make(&pair);
    pair_place(engine, &pair);
    for (int mode = VERIFY; mode < MODE_COUNT; mode++) {
        assert_int_equal(run_into(engine, (enum mode)mode, "/dev/full"), KV_IO);
        assert_int_equal(engine_told(engine, ""), 1);
        pair_expect_untouched(engine, &pair);
    }
    drop_new_log(engine);
    expect_run(engine, VERIFY, KV_OK, "live_keys 4\n");
    expect_run(engine, DUMP_LINES, KV_OK, "SET three older\n");
    expect_run(engine, DUMP_REDIS, KV_OK, "\r\nthree\r\n$5\r\nolder\r\n");
    expect_run(engine, SALVAGE, KV_OK, "kept 4 keys");
    pair_free(&pair);
}

/* What a SET line would turn into something else is named and left out, one by one. */
static void a_dump_leaves_out_each_kind_of_what_no_line_can_carry(void **state)
{
    struct engine *engine = *state;
    const struct {
        struct slice key;
        struct slice value;
    } records[] = {
        {SLICE_LITERAL("a b"), SLICE_LITERAL("v")},
        {SLICE_LITERAL("a\nb"), SLICE_LITERAL("v")},
        {SLICE_LITERAL("a\0b"), SLICE_LITERAL("v")},
        {SLICE_LITERAL("\xff"), SLICE_LITERAL("v")},
        {SLICE_LITERAL("newline"), SLICE_LITERAL("v\nw")},
        {SLICE_LITERAL("nul"), SLICE_LITERAL("v\0w")},
        {SLICE_LITERAL("no-utf-8"), SLICE_LITERAL("\xc0\x80")},
    };
    enum { RECORDS = sizeof records / sizeof records[0], LONG = 300 };
    struct image image;
    struct script output;
    char key[LONG + 1];
    memset(key, 'k', LONG);
    key[LONG] = '\0';
    image_begin_first(&image);
    for (size_t i = 0; i < RECORDS; i++) {
        image_put(&image, records[i].key, records[i].value);
    }
    image_put(&image, slice_of_text(key), SLICE_LITERAL("v\nw"));
    image_put_text(&image, "good", "value");
    image_seal(&image);
    image_seal(&image);
    engine_write(engine, "", image_slice(&image));
    assert_int_equal(run_mode(engine, DUMP_LINES, &output), KV_PARTIAL);
    assert_string_equal((const char *)output.bytes, "SET good value\n");
    /* A key with a newline in it is blanked in the message, which stays one line. */
    assert_int_equal(engine_told(engine, "no SET line can carry"), RECORDS + 1);
    assert_int_equal(engine_told(engine, "the key newline"), 1);
    key[200] = '\0';
    assert_int_equal(engine_told(engine, key), 1);
    key[200] = 'k';
    key[201] = '\0';
    assert_int_equal(engine_told(engine, key), 0);
    script_free(&output);
    image_free(&image);
}

/* ---- Rot while a mode runs ---- */

/* Rot that comes after the log was checked: a key is left out and named, others are not,
 * and the outcome is not success. */
static void f40_a_dump_names_records_that_rot_under_it(void **state)
{
    struct engine *engine = *state;
    const size_t places[] = {RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + 3};
    const char *const told[] = {"left out 1 keys", "is damaged"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t victim = 0; victim < 2; victim++) {
            struct script output;
            struct image image;
            image_begin_first(&image);
            uint64_t offsets[2];
            offsets[0] = image.log.length;
            image_put_text(&image, "one", "first");
            offsets[1] = image.log.length;
            image_put_text(&image, "two", "second");
            image_seal(&image);
            image_seal(&image);
            engine_write(engine, "", image_slice(&image));
            rot.looks = 2; /* when reading begins, and when dumping does */
            rot.offset = offsets[victim] + places[i];
            rot.engine = engine;
            assert_int_equal(run_mode(engine, DUMP_LINES, &output), KV_CORRUPT);
            assert_null(rot.engine);
            assert_int_equal(engine_told(engine, told[i]), 1);
            if (i == 0) {
                engine_expect_line(engine,
                                   "PATH: left out 1 keys whose records were damaged "
                                   "meanwhile; see --salvage",
                                   0, 0);
            }
            assert_string_equal((const char *)output.bytes,
                                victim == 0 ? "SET two second\n" : "SET one first\n");
            script_free(&output);
            image_free(&image);
        }
    }
}

/* Records are found by where they stand, and not by their keys: a rotten one of the same
 * hash hides nothing. */
static void f40_a_dump_prints_a_key_behind_a_rotten_one_of_equal_hash(void **state)
{
    struct engine *engine = *state;
    struct script output;
    struct image image;
    image_begin_first(&image);
    uint64_t offset = image.log.length;
    image_put_text(&image, twins[0], "first");
    image_put_text(&image, twins[1], "second");
    image_put_text(&image, "other", "third");
    image_seal(&image);
    image_seal(&image);
    engine_write(engine, "", image_slice(&image));
    uint64_t difference = hash_key(&seed, slice_of_text(twins[0])) ^
                          hash_key(&seed, slice_of_text(twins[1]));
    assert_int_equal(difference >> 55, 0);
    assert_int_equal(difference & ((1u << 30) - 1), 0);
    assert_int_equal(run_mode(engine, DUMP_LINES, &output), KV_OK);
    assert_true(has_printed(&output, "SET k1779222 first\n"));
    assert_true(has_printed(&output, "SET k1807960 second\n"));
    script_free(&output);
    rot.looks = 2;
    rot.offset = offset + RECORD_HEADER_BYTES;
    rot.engine = engine;
    assert_int_equal(run_mode(engine, DUMP_LINES, &output), KV_CORRUPT);
    assert_string_equal((const char *)output.bytes,
                        "SET k1807960 second\nSET other third\n");
    script_free(&output);
    image_free(&image);
}

/* ---- Salvage ---- */

/* Without memory at any place, nothing is left of the new log, and the old ones are as
 * they were. */
static void f71_the_modes_without_memory_fail_and_change_nothing(void **state)
{
    struct engine *engine = *state;
    struct pair pair;
    pair_make(&pair);
    pair_place(engine, &pair);
    shim_omit_syncs();
    for (int mode = VERIFY; mode < MODE_COUNT; mode++) {
        uint64_t nth = 0;
        bool has_failed = true;
        while (has_failed) {
            struct script output;
            uint64_t fired = shim_fired_count();
            shim_fail_once(SHIM_MEMORY, SHIM_ANY, ++nth, ENOMEM);
            enum status status = run_into(engine, (enum mode)mode,
                                          tempdir_file(&engine->tempdir, "output").path);
            shim_clear_faults();
            has_failed = shim_fired_count() > fired;
            assert_int_equal(status, has_failed ? KV_NO_MEMORY : KV_OK);
            assert_int_equal(engine_has_file(engine, NEW_LOG),
                             mode == SALVAGE && !has_failed);
            assert_false(engine_has_file(engine, NEW_LOG FILES_NEW));
            output = engine_read(engine, "");
            assert_true(slice_equal(script_slice(&output), image_slice(&pair.log)));
            script_free(&output);
        }
        assert_in_range(nth, 8, 100);
        pair_expect_untouched(engine, &pair);
    }
    expect_salvaged(engine, 4);
    pair_free(&pair);
}

/* Records go into the index in lots, so that memory is wanted in the middle of a log. */
static void f71_the_modes_without_memory_fail_in_the_middle_of_a_log(void **state)
{
    struct engine *engine = *state;
    enum { KEYS = 40000, CALLS = 30 };
    struct pair pair;
    pair_make_with(&pair, KEYS);
    pair_place(engine, &pair);
    shim_omit_syncs();
    for (int mode = VERIFY; mode < MODE_COUNT; mode++) {
        for (uint64_t nth = 1; nth <= CALLS; nth++) {
            shim_inject(
                &(struct shim_fault){.calls = SHIM_MEMORY, .nth = nth, .error = ENOMEM});
            enum status status = run_into(engine, (enum mode)mode,
                                          tempdir_file(&engine->tempdir, "output").path);
            shim_clear_faults();
            assert_int_equal(status, KV_NO_MEMORY);
            assert_false(engine_has_file(engine, NEW_LOG));
        }
    }
    pair_expect_untouched(engine, &pair);
    pair_free(&pair);
}

/* A batch is written on the way when it has its full size; what fails there ends it. */
static void f30_salvage_without_room_for_the_new_log_leaves_none(void **state)
{
    struct engine *engine = *state;
    enum { VALUE_BYTES = 1024 * 1024, VALUES = 9 };
    struct image image;
    uint8_t *value = malloc(VALUE_BYTES);
    assert_non_null(value);
    memset(value, 'v', VALUE_BYTES);
    image_begin_first(&image);
    for (int i = 0; i < VALUES; i++) {
        const char key[] = {'k', (char)('0' + i), '\0'};
        image_put(&image, slice_of_text(key), (struct slice){value, VALUE_BYTES});
        image_seal(&image);
    }
    engine_write(engine, "", image_slice(&image));
    for (uint64_t room = 1; room < VALUES; room += 3) {
        shim_set_space(SHIM_NEW, room * MIB, ENOSPC);
        expect_run(engine, SALVAGE, KV_NO_SPACE, "");
        shim_give_space();
        assert_int_equal(engine_told(engine, "cannot append at offset"), 1);
        assert_int_equal(engine_told(engine, ""), 1); /* one reason, once */
        assert_false(engine_has_file(engine, NEW_LOG));
        assert_false(engine_has_file(engine, NEW_LOG FILES_NEW));
    }
    expect_run(engine, SALVAGE, KV_OK, "kept 9 keys");
    expect_salvaged(engine, VALUES);
    engine_expect_file(engine, "", image_slice(&image));
    image_free(&image);
    free(value);
}

/* What stands at PATH.old counts only if it is the log that PATH names, and is needed. */
static void f88_salvage_takes_only_the_older_log_that_is_wanted(void **state)
{
    struct engine *engine = *state;
    struct pair pair;
    pair_make(&pair);
    /* Bytes without a mark, and a log that is another one. */
    pair_place(engine, &pair);
    engine_write(engine, FILES_OLD, SLICE_LITERAL("no log at all"));
    expect_run(engine, SALVAGE, KV_OK, "lost whatever was only in ");
    expect_salvaged(engine, 1);
    engine_write(engine, FILES_OLD, image_slice(&pair.log));
    expect_run(engine, SALVAGE, KV_OK, "lost whatever was only in ");
    expect_salvaged(engine, 1);
    /* Where PATH has lost its opening record, nobody can say that it is not. */
    pair_place(engine, &pair);
    engine_flip(engine, 20, 1);
    expect_run(engine, SALVAGE, KV_OK, "kept 3 keys");
    expect_salvaged(engine, 3);
    /* Drained: everything live in it was copied, and what was deleted since stays so. */
    image_drained(&pair.log, IMAGE_LOG_ID);
    image_seal(&pair.log);
    image_seal(&pair.log);
    pair_place(engine, &pair);
    expect_run(engine, SALVAGE, KV_OK, "lost 0 bytes in all\n");
    expect_salvaged(engine, 1);
    pair_free(&pair);
}

/* It is a failure, not a missing file, when what is there cannot be opened. */
static void f88_salvage_refuses_an_older_log_that_is_no_plain_file(void **state)
{
    struct engine *engine = *state;
    struct pair pair;
    pair_make(&pair);
    pair_place(engine, &pair);
    struct tempdir_file older = engine_file(engine, FILES_OLD);
    assert_int_equal(unlink(older.path), 0);
    assert_int_equal(symlink("kv.log", older.path), 0);
    expect_run(engine, SALVAGE, KV_IO, "");
    assert_int_equal(engine_told(engine, "kv.log.old: is a symbolic link"), 1);
    assert_false(engine_has_file(engine, NEW_LOG));
    pair_free(&pair);
}

/* Pages that cannot be read are lost ranges like any others, and are told to be so. */
static void f57_f88_salvage_tells_that_parts_could_not_be_read(void **state)
{
    struct engine *engine = *state;
    const enum shim_role roles[] = {SHIM_LOG, SHIM_OLD};
    const char *const told[] = {"kv.log: parts could not be read",
                                "kv.log.old: parts could not be read"};
    struct pair pair;
    engine_catch_sigbus();
    pair_make(&pair);
    for (int i = 0; i < 200; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "more-%d", i);
        image_put_text(&pair.log, key, "some value that takes its room");
        image_seal(&pair.log);
    }
    for (size_t i = 0; i < 2; i++) {
        pair_place(engine, &pair);
        struct script bytes = engine_read(engine, i == 0 ? "" : FILES_OLD);
        struct slice readable = slice_first(script_slice(&bytes), i == 0 ? PAGE : 0);
        int fd = engine_map_instead(engine, roles[i], readable);
        expect_run(engine, SALVAGE, KV_OK, "lost ");
        engine_map_again(roles[i], fd);
        assert_int_equal(engine_told(engine, told[i]), i == 0 ? 1 : 0);
        pair_expect_untouched(engine, &pair);
        script_free(&bytes);
        drop_new_log(engine);
    }
    pair_free(&pair);
}

/* For shim_before: the file is cut when the first record is about to be copied. */
static void cut_when_copying_begins(void *fd)
{
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, engine_cut_to_a_page, fd);
}

/* A disk that fails between the check of a batch and its copy: zeros get no seal. */
static void f113_salvage_seals_nothing_that_it_could_not_read_twice(void **state)
{
    struct engine *engine = *state;
    struct image image;
    static char value[4 * PAGE];
    memset(value, 'v', sizeof value - 1);
    image_begin_first(&image);
    image_put_text(&image, "a", value);
    image_put_text(&image, "b", value);
    image_seal(&image);
    engine_catch_sigbus();
    engine_place(engine, image_slice(&image));
    int fd = engine_map_instead(engine, SHIM_LOG, image_slice(&image));
    shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, cut_when_copying_begins, &fd);
    expect_run(engine, SALVAGE, KV_IO, "");
    engine_expect_line(engine,
                       "PATH: what was read a moment ago cannot be read any more; no new "
                       "log is made",
                       0, 0);
    assert_false(engine_has_file(engine, NEW_LOG));
    assert_false(engine_has_file(engine, NEW_LOG FILES_NEW));
    engine_map_again(SHIM_LOG, fd);
    expect_run(engine, SALVAGE, KV_OK, "kept 2 keys");
    image_free(&image);
}

/* The same of a dump: no zeros are printed for a value, and what is left out is told. */
static void f113_a_dump_prints_nothing_that_it_could_not_read_twice(void **state)
{
    struct engine *engine = *state;
    struct image image;
    static char value[4 * PAGE];
    memset(value, 'v', sizeof value - 1);
    image_begin_first(&image);
    image_put_text(&image, "first", "value");
    image_put_text(&image, "a", value);
    image_put_text(&image, "b", value);
    image_seal(&image);
    engine_catch_sigbus();
    engine_place(engine, image_slice(&image));
    int fd = engine_map_instead(engine, SHIM_LOG, image_slice(&image));
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, engine_cut_to_a_page, &fd);
    struct script output;
    assert_int_equal(run_mode(engine, DUMP_LINES, &output), KV_IO);
    assert_string_equal((const char *)output.bytes, "SET first value\n");
    script_free(&output);
    engine_expect_line(engine, "PATH: left out 2 keys whose records cannot be read", 0,
                       0);
    engine_map_again(SHIM_LOG, fd);
    expect_run(engine, DUMP_LINES, KV_OK, "SET first value\nSET a v");
    image_free(&image);
}

/* ---- Where nothing can be changed, or not by us ---- */

static void place_log(struct engine *engine)
{
    engine_open(engine);
    engine_put(engine, "key", "value");
    engine_close(engine);
}

/* Every mode does its work, and no file comes or goes but the one that was asked for. */
static void expect_all_modes(struct engine *engine)
{
    size_t file_count = engine_count_files(engine, "kv.log");
    expect_run(engine, VERIFY, KV_OK, "live_keys 1\n");
    expect_run(engine, DUMP_LINES, KV_OK, "SET key value\n");
    expect_run(engine, DUMP_REDIS, KV_OK, "value\r\n");
    assert_int_equal(engine_count_files(engine, "kv.log"), file_count);
    expect_run(engine, SALVAGE, KV_OK, "kept 1 keys");
    drop_new_log(engine);
    assert_int_equal(unlink(engine_file(engine, NEW_LOG ".lock").path), 0);
    assert_int_equal(engine_count_files(engine, "kv.log"), file_count);
}

static void f107_the_modes_work_on_a_volume_that_is_read_only(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    shim_make_read_only("kv.log");
    expect_all_modes(engine);
    assert_int_equal(unlink(engine_file(engine, ".lock").path), 0);
    expect_all_modes(engine);
}

/* A log that somebody serves is refused, though its lock can only be read. */
static void f107_the_modes_refuse_a_log_in_use_on_a_volume_that_is_read_only(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    pid_t holder = engine_hold_elsewhere(engine);
    shim_make_read_only("kv.log");
    for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
        expect_run(engine, mode, KV_IO, "");
        assert_int_equal(engine_told(engine, "is in use by process"), 1);
    }
    /* Without the lock file, the lock on the log itself says so. */
    assert_int_equal(unlink(engine_file(engine, ".lock").path), 0);
    for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
        expect_run(engine, mode, KV_IO, "");
        assert_int_equal(engine_told(engine, "is in use by another process"), 1);
    }
    assert_false(engine_has_file(engine, NEW_LOG ".lock"));
    engine_end_holder(holder);
}

static void f107_a_mistyped_path_leaves_nothing_behind(void **state)
{
    struct engine *engine = *state;
    for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
        enum status wanted = mode == SALVAGE ? KV_NOT_FOUND : KV_IO;
        expect_run(engine, mode, wanted, "");
        assert_int_equal(engine_count_files(engine, "kv.log"), 0);
    }
    place_log(engine);
    engine_write(engine, NEW_LOG, SLICE_LITERAL("somebody's work"));
    expect_run(engine, SALVAGE, KV_IO, "");
    assert_false(engine_has_file(engine, NEW_LOG ".lock"));
}

static void f108_root_may_read_the_log_of_another_and_leaves_no_file(void **state)
{
    struct engine *engine = *state;
    const enum shim_role roles[] = {SHIM_LOG, SHIM_LOCK};
    place_log(engine);
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        user = 0;
        shim_disown(roles[i]);
        expect_run(engine, VERIFY, KV_OK, "live_keys 1\n");
        expect_run(engine, DUMP_LINES, KV_OK, "SET key value\n");
        user = 1000;
        expect_run(engine, VERIFY, KV_IO, "");
        assert_int_equal(engine_told(engine, "belongs to another user"), 1);
        assert_int_equal(engine_told(engine, ""), 1);
    }
    /* Without a lock file nobody makes one that the owner could not use. */
    assert_int_equal(unlink(engine_file(engine, ".lock").path), 0);
    shim_disown(SHIM_LOG);
    user = 0;
    expect_run(engine, VERIFY, KV_OK, "live_keys 1\n");
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_expect_line(engine, "PATH: belongs to another user; nothing was made", 0, 0);
    assert_int_equal(engine_count_files(engine, ".lock"), 0);
    shim_disown(SHIM_ANY);
    user = getuid();
}

/* A mount that gives every file one owner: what was just made is not ours. */
static void f110_a_start_where_nothing_is_ours_says_why_and_leaves_nothing(void **state)
{
    struct engine *engine = *state;
    shim_disown(SHIM_LOCK);
    assert_int_equal(engine_try_open(engine), KV_IO);
    engine_expect_line(engine,
                       "PATH.lock: what is made here belongs to another user, as where a "
                       "mount gives every file one owner; giving up",
                       0, 0);
    assert_int_equal(engine_told(engine, ""), 1);
    assert_int_equal(engine_count_files(engine, "kv.log"), 0);
    shim_disown(SHIM_ANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(the_modes_remember_that_their_output_was_not_taken),
        ON_ENGINE(a_dump_leaves_out_each_kind_of_what_no_line_can_carry),
        ON_ENGINE(f40_a_dump_names_records_that_rot_under_it),
        ON_ENGINE(f40_a_dump_prints_a_key_behind_a_rotten_one_of_equal_hash),
        ON_ENGINE(f71_the_modes_without_memory_fail_and_change_nothing),
        ON_ENGINE(f71_the_modes_without_memory_fail_in_the_middle_of_a_log),
        ON_ENGINE(f30_salvage_without_room_for_the_new_log_leaves_none),
        ON_ENGINE(f88_salvage_takes_only_the_older_log_that_is_wanted),
        ON_ENGINE(f88_salvage_refuses_an_older_log_that_is_no_plain_file),
        ON_ENGINE(f107_the_modes_work_on_a_volume_that_is_read_only),
        ON_ENGINE(f107_the_modes_refuse_a_log_in_use_on_a_volume_that_is_read_only),
        ON_ENGINE(f107_a_mistyped_path_leaves_nothing_behind),
        ON_ENGINE(f108_root_may_read_the_log_of_another_and_leaves_no_file),
        ON_ENGINE(f110_a_start_where_nothing_is_ours_says_why_and_leaves_nothing),
        ON_ENGINE(f57_f88_salvage_tells_that_parts_could_not_be_read),
        ON_ENGINE(f113_a_dump_prints_nothing_that_it_could_not_read_twice),
        ON_ENGINE(f113_salvage_seals_nothing_that_it_could_not_read_twice),
    };
    /* Each write is made at once, so that an error shows where it happens. */
    if (setvbuf(stdout, NULL, _IONBF, 0) != 0) {
        return EXIT_FAILURE;
    }
    user = getuid();
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
