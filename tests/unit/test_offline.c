/*
 * The offline modes inside this program: what they print of whole, torn and damaged logs;
 * and without memory, room or randomness, with pages that cannot be read, with output
 * that nobody takes, and with rot while they run.
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
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NEW_LOG ".salvaged"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

enum { PAGE = 4096 };

/* ---- The system ---- */

static const struct hash_seed seed = {{1, 2}};

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

/* ---- Logs ---- */

/* What a test places: PATH, and PATH.old; empty, there is no such file. */
static struct image image;
static struct image older;

static void forget_images(void)
{
    image_free(&image);
    image_free(&older);
    image = (struct image){0};
    older = (struct image){0};
}

static int teardown(void **state)
{
    forget_images();
    user = getuid();
    return engine_teardown(state);
}

/* A test with both; *state is its struct engine. */
#define ON_LOGS(test) cmocka_unit_test_setup_teardown(test, engine_setup, teardown)

static void place(const struct engine *engine)
{
    engine_clean(engine);
    (void)unlink(engine->log.path); /* there may be none */
    if (image.log.length > 0) {
        engine_write(engine, "", image_slice(&image));
    }
    if (older.log.length > 0) {
        engine_write(engine, FILES_OLD, image_slice(&older));
    }
}

static void expect_untouched(const struct engine *engine)
{
    if (image.log.length > 0) {
        engine_expect_file(engine, "", image_slice(&image));
    }
    if (older.log.length > 0) {
        engine_expect_file(engine, FILES_OLD, image_slice(&older));
    }
}

/* Two batches of a first log, and a log that continues it and sets one key more. */
static void make_pair(int more_keys)
{
    char key[32];
    image_begin_first(&older);
    for (int i = 0; i < more_keys; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        image_put_text(&older, key, "older");
    }
    image_put_text(&older, "one", "older");
    image_put_text(&older, "two", "older");
    image_seal(&older);
    image_put_text(&older, "three", "older");
    image_seal(&older);
    image_seal(&older);
    image_begin_next(&image, &older, 2);
    image_put_text(&image, "four", "newer");
    image_seal(&image);
    image_seal(&image);
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

/*
 * The same with stdout in a file; main made it unbuffered. No file comes or goes but the
 * one that was asked for, and nothing half made is left of that.
 */
static enum status run_into(struct engine *engine, enum mode mode, const char *path)
{
    size_t file_count = engine_count_files(engine, "kv.log");
    size_t new_count = engine_count_files(engine, NEW_LOG);
    engine_forget_messages(engine);
    int kept_fd = redirect_begin(stdout, path);
    enum status status = run(engine, mode);
    redirect_end(stdout, kept_fd);
    new_count = engine_count_files(engine, NEW_LOG) - new_count;
    assert_int_equal(engine_count_files(engine, "kv.log"), file_count + new_count);
    assert_true((mode == SALVAGE && status != KV_NOT_FOUND) || new_count == 0);
    assert_false(engine_has_file(engine, NEW_LOG FILES_NEW));
    assert_true(status == KV_OK || (mode == VERIFY && status == KV_CORRUPT) ||
                engine_told(engine, "") > 0);
    return status;
}

/* The same, and what it printed, for script_free. */
static enum status run_mode(struct engine *engine, enum mode mode, struct script *output)
{
    struct tempdir_file file = tempdir_file(&engine->tempdir, "output");
    enum status status = run_into(engine, mode, file.path);
    *output = (struct script){0};
    script_add_file(output, file.path);
    script_add_fill(output, '\0', 1); /* it is a text, too */
    return status;
}

/* What a failure is about; NULL: the test alone. */
static const char *about;

/* A run prints exactly this, or at least this; in it PATH stands for that of the log. */
static void expect_print(struct engine *engine, enum mode mode, enum status status,
                         const char *text)
{
    struct script output;
    struct script shown = {0};
    enum status found = run_mode(engine, mode, &output);
    const char *rest = (const char *)output.bytes;
    for (const char *path; (path = strstr(rest, engine->log.path)) != NULL;) {
        script_add(&shown, (struct slice){(const uint8_t *)rest, (size_t)(path - rest)});
        script_add_text(&shown, "PATH");
        rest = path + strlen(engine->log.path);
    }
    script_add_text(&shown, rest);
    script_add_fill(&shown, '\0', 1);
    const char *wanted = text == NULL ? "" : text;
    if (about != NULL && strcmp((const char *)shown.bytes, wanted) != 0) {
        print_message("of %s:\n", about);
    }
    assert_string_equal((const char *)shown.bytes, wanted);
    assert_int_equal(found, status);
    script_free(&shown);
    script_free(&output);
}

static void expect_run(struct engine *engine, enum mode mode, enum status status,
                       const char *text)
{
    struct script output;
    assert_int_equal(run_mode(engine, mode, &output), status);
    assert_non_null(strstr((const char *)output.bytes, text));
    script_free(&output);
}

static void drop_new_log(const struct engine *engine)
{
    static const char *const suffixes[] = {"", ".index", ".lock"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        char suffix[32];
        (void)snprintf(suffix, sizeof suffix, NEW_LOG "%s", suffixes[i]);
        (void)unlink(engine_file(engine, suffix).path); /* there may be none */
    }
}

/* What was salvaged is whole, needs no salvage, and has this dump. */
static void expect_salvaged(struct engine *engine, const char *lines)
{
    struct engine salvaged = *engine;
    salvaged.log = engine_file(engine, NEW_LOG);
    expect_run(&salvaged, VERIFY, KV_OK, "damage none\n");
    expect_run(&salvaged, SALVAGE, KV_OK, "\nlost 0 bytes in all\n");
    drop_new_log(&salvaged);
    expect_print(&salvaged, DUMP_LINES, KV_OK, lines);
    drop_new_log(engine);
}

/* ---- What is printed of which logs ---- */

/*
 * Batches that end at offsets 255, 379, 503 and 648: each has a key of its own and sets
 * the key "shared" anew; the last one deletes the key "gone", which the first one set.
 */
static void make_batches(void)
{
    enum { BATCHES = 4 };
    image_begin_first(&image);
    for (int i = 0; i < BATCHES; i++) {
        char key[16];
        char value[16];
        (void)snprintf(key, sizeof key, "own%d", i);
        (void)snprintf(value, sizeof value, "version %d", i);
        image_put_text(&image, key, value);
        image_put_text(&image, "shared", value);
        if (i == 0) {
            image_put_text(&image, "gone", "for now");
        }
        if (i == BATCHES - 1) {
            image_delete(&image, "gone");
        }
        image_seal(&image);
    }
}

static void make_text(void)
{
    image_append(&image, SLICE_LITERAL("Dear diary, this is no log at all.\n"));
}

static void make_torn_tail(void)
{
    make_batches();
    image_put_text(&image, "unsealed", "value");
}

/* What a SET line can carry, though it looks as if it could not. */
static void make_odd_values(void)
{
    static const char *const pairs[][2] = {
        {"empty", ""},
        {"spaces", "  two before, one after "},
        {"cr", "ends in CR\r"},
        {"two-crs", "\r\r"},
        {"cr-inside", "a\rb"},
        {"utf-8", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98"},
        {"\xc3\xbc", "a key beyond ASCII"},
        {"command", "DELETE plain"},
        {"tab", "\t"},
    };
    image_begin_first(&image);
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        image_put_text(&image, pairs[i][0], pairs[i][1]);
    }
    image_seal(&image);
}

static void make_original(void)
{
    image_put_text(&image, "a", "1");
    image_put_text(&image, "b", "2");
    image_put_text(&image, "a", "33");
    image_delete(&image, "b");
}

static void make_torn_original(void)
{
    make_original();
    image_append(&image, SLICE_LITERAL("half"));
}

/* PATH.old with two keys, and a log that continues it: one set anew, one deleted. */
static void make_two_logs(void)
{
    image_begin_first(&older);
    image_put_text(&older, "kept", "in the older log");
    image_put_text(&older, "newer", "then");
    image_put_text(&older, "gone", "soon");
    image_seal(&older);
    image_begin_next(&image, &older, 2);
    image_put_text(&image, "newer", "now");
    image_delete(&image, "gone");
    image_seal(&image);
}

static void make_two_logs_of_which_one_is_damaged(void)
{
    make_two_logs();
    image_flip(&older, OPENING_BYTES + 18, 0);
}

static void make_two_logs_of_which_one_is_cut(void)
{
    make_two_logs();
    image_cut(&older, older.sealed_length - 1);
}

/* Nothing that is there tells that there was more. */
static void make_two_logs_of_which_one_is_cut_at_a_seal(void)
{
    make_two_logs();
    image_cut(&older, OPENING_BYTES);
}

static void make_two_logs_of_which_one_ends_in_zeros(void)
{
    make_two_logs();
    image_fill(&older, OPENING_BYTES, older.sealed_length, 0);
}

static void make_a_log_without_its_older_one(void)
{
    make_two_logs();
    image_free(&older);
}

static void make_a_log_beside_a_text(void)
{
    make_a_log_without_its_older_one();
    image_append(&older, SLICE_LITERAL("no log at all"));
}

static void make_a_log_beside_another(void)
{
    make_a_log_without_its_older_one();
    image_append(&older, image_slice(&image));
}

/* All that is live in the older log was copied, and what was deleted since stays so. */
static void make_a_drained_log(void)
{
    make_two_logs();
    image_drained(&image, IMAGE_LOG_ID);
    image_seal(&image);
    image_seal(&image);
}

/* A state that a crash can leave: the log has its old name and no successor yet. */
static void make_an_older_log_alone(void)
{
    make_two_logs();
    image_free(&image);
}

static void make_a_cut_older_log_alone(void)
{
    make_an_older_log_alone();
    image_cut(&older, older.sealed_length - 1);
}

/* What the disk may leave of a log that had just been made beside its older one. */
static void make_an_older_log_beside_a_damaged_opening_record(void)
{
    make_two_logs();
    image_cut(&image, OPENING_BYTES);
    image_flip(&image, RECORD_HEADER_BYTES + 10, 0);
}

static void make_an_older_log_beside_zeros(void)
{
    make_two_logs();
    image_fill(&image, 0, image.log.length, 0);
}

static void make_zeros_beside_zeros(void)
{
    make_an_older_log_beside_zeros();
    image_fill(&older, 0, older.log.length, 0);
}

#define DOUBT "a lost range may have held newer values of these keys, or deletions\n"

#define OLDER_IS_MISSING                                                                 \
    "lost whatever was only in PATH.old, which is missing or no part of this log\n"

/* What is there, and what of it the modes print; in it PATH is the path of the log. */
struct situation {
    const char *name;
    void (*make)(void);
    uint64_t flips[2];  /* where bytes of the log are damaged; 0: nowhere */
    enum status status; /* of --verify and --dump */
    const char
        *findings; /* --verify prints this; "" also if it is left out, here and below */
    const char *lines; /* --dump does */
    enum status salvage_status;
    const char *summary;  /* --salvage prints this */
    const char *salvaged; /* the dump of what it makes; NULL: that of the log itself */
};

static const struct situation situations[] = {
    {.name = "nothing", .status = KV_IO, .salvage_status = KV_NOT_FOUND},
    {.name = "a text",
     .make = make_text,
     .status = KV_CORRUPT,
     .salvage_status = KV_CORRUPT},
    {.name = "a whole log",
     .make = make_batches,
     .findings = "format sealed\nlog_bytes 648\nrecords 10\nlive_keys 5\n"
                 "dead_bytes 501\nseals 4\nreserve_bytes 0\ndamage none\n",
     .lines = "SET own0 version 0\nSET own1 version 1\nSET own2 version 2\n"
              "SET own3 version 3\nSET shared version 3\n",
     .summary = "kept 5 keys, 147 bytes\nlost 0 bytes in all\n"},
    {.name = "odd values",
     .make = make_odd_values,
     .findings = "format sealed\nlog_bytes 438\nrecords 9\nlive_keys 9\n"
                 "dead_bytes 168\nseals 1\nreserve_bytes 0\ndamage none\n",
     .lines = "SET empty \nSET spaces   two before, one after \n"
              "SET cr ends in CR\r\r\nSET two-crs \r\r\r\nSET cr-inside a\rb\n"
              "SET utf-8 \xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98\n"
              "SET \xc3\xbc"
              " a key beyond ASCII\nSET command DELETE plain\n"
              "SET tab \t\n",
     .summary = "kept 9 keys, 270 bytes\nlost 0 bytes in all\n"},
    {.name = "a torn tail",
     .make = make_torn_tail,
     .findings = "format sealed\nlog_bytes 677\nrecords 10\nlive_keys 5\n"
                 "dead_bytes 501\nseals 4\nreserve_bytes 0\n"
                 "damage at offset 648, 29 bytes: torn tail, never acknowledged; cut off "
                 "at the next start\n",
     .lines = "SET own0 version 0\nSET own1 version 1\nSET own2 version 2\n"
              "SET own3 version 3\nSET shared version 3\n",
     .summary = "lost 29 bytes from offset 648 to 677 of PATH\n"
                "kept 5 keys, 147 bytes\nlost 29 bytes in all\n" DOUBT},
    {.name = "a damaged batch",
     .make = make_batches,
     .flips = {280},
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 648\nrecords 3\nlive_keys 3\n"
                 "dead_bytes 168\nseals 1\nreserve_bytes 0\n"
                 "damage at offset 255, 393 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 124 bytes from offset 255 to 379 of PATH\n"
                "kept 4 keys, 118 bytes\nlost 124 bytes in all\n" DOUBT,
     .salvaged = "SET own0 version 0\nSET own2 version 2\nSET own3 version 3\n"
                 "SET shared version 3\n"},
    {.name = "a damaged first batch",
     .make = make_batches,
     .flips = {OPENING_BYTES + 18},
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 648\nrecords 0\nlive_keys 0\n"
                 "dead_bytes 104\nseals 0\nreserve_bytes 0\n"
                 "damage at offset 104, 544 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 151 bytes from offset 104 to 255 of PATH\n"
                "kept 4 keys, 118 bytes\nlost 151 bytes in all\n" DOUBT,
     .salvaged = "SET own1 version 1\nSET own2 version 2\nSET own3 version 3\n"
                 "SET shared version 3\n"},
    {.name = "a damaged last batch",
     .make = make_batches,
     .flips = {521},
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 648\nrecords 7\nlive_keys 5\n"
                 "dead_bytes 358\nseals 3\nreserve_bytes 0\n"
                 "damage at offset 503, 145 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 145 bytes from offset 503 to 648 of PATH\n"
                "kept 5 keys, 145 bytes\nlost 145 bytes in all\n" DOUBT,
     .salvaged = "SET own0 version 0\nSET gone for now\nSET own1 version 1\n"
                 "SET own2 version 2\nSET shared version 2\n"},
    {.name = "several damages",
     .make = make_batches,
     .flips = {OPENING_BYTES + 18, 397},
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 648\nrecords 0\nlive_keys 0\n"
                 "dead_bytes 104\nseals 0\nreserve_bytes 0\n"
                 "damage at offset 104, 544 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 151 bytes from offset 104 to 255 of PATH\n"
                "lost 124 bytes from offset 379 to 503 of PATH\n"
                "kept 3 keys, 89 bytes\nlost 275 bytes in all\n" DOUBT,
     .salvaged = "SET own1 version 1\nSET own3 version 3\nSET shared version 3\n"},
    {.name = "a damaged seal",
     .make = make_batches,
     .flips = {335},
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 648\nrecords 3\nlive_keys 3\n"
                 "dead_bytes 168\nseals 1\nreserve_bytes 0\n"
                 "damage at offset 255, 393 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 248 bytes from offset 255 to 503 of PATH\n"
                "kept 3 keys, 89 bytes\nlost 248 bytes in all\n" DOUBT,
     .salvaged = "SET own0 version 0\nSET own3 version 3\nSET shared version 3\n"},
    {.name = "no opening record",
     .make = make_batches,
     .flips = {20},
     .status = KV_CORRUPT,
     .summary = "lost 255 bytes from offset 0 to 255 of PATH\n"
                "kept 4 keys, 118 bytes\nlost 255 bytes in all\n" DOUBT,
     .salvaged = "SET own1 version 1\nSET own2 version 2\nSET own3 version 3\n"
                 "SET shared version 3\n"},
    {.name = "a log of the original",
     .make = make_original,
     .findings = "format without marks\nlog_bytes 73\nrecords 4\nlive_keys 1\n"
                 "dead_bytes 54\nseals 0\nreserve_bytes 0\ndamage none\n",
     .lines = "SET a 33\n",
     .salvage_status = KV_CORRUPT},
    {.name = "half a record of the original",
     .make = make_torn_original,
     .findings = "format without marks\nlog_bytes 77\nrecords 4\nlive_keys 1\n"
                 "dead_bytes 54\nseals 0\nreserve_bytes 0\n"
                 "damage at offset 73, 4 bytes: torn tail, never acknowledged; cut off "
                 "at the next start\n",
     .lines = "SET a 33\n",
     .salvage_status = KV_CORRUPT},
    {.name = "two logs",
     .make = make_two_logs,
     .findings = "format sealed, being compacted\nlog_bytes 466\nrecords 5\n"
                 "live_keys 2\ndead_bytes 406\nseals 2\nreserve_bytes 0\ndamage none\n",
     .lines = "SET kept in the older log\nSET newer now\n",
     .summary = "kept 2 keys, 60 bytes\nlost 0 bytes in all\n"},
    {.name = "two logs, the older one damaged",
     .make = make_two_logs_of_which_one_is_damaged,
     .status = KV_CORRUPT,
     .summary = "lost 149 bytes from offset 104 to 253 of PATH.old\n"
                "kept 1 keys, 24 bytes\nlost 149 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "two logs, the older one cut",
     .make = make_two_logs_of_which_one_is_cut,
     .status = KV_CORRUPT,
     .summary = "lost 149 bytes from offset 104 to 253 of PATH.old\n"
                "kept 1 keys, 24 bytes\nlost 149 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "two logs, the older one cut at a seal",
     .make = make_two_logs_of_which_one_is_cut_at_a_seal,
     .status = KV_CORRUPT,
     .summary = "lost 149 bytes from offset 104 to 253 of PATH.old\n"
                "kept 1 keys, 24 bytes\nlost 149 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "two logs, the older one zeros from a seal on",
     .make = make_two_logs_of_which_one_ends_in_zeros,
     .status = KV_CORRUPT,
     .summary = "lost 149 bytes from offset 104 to 253 of PATH.old\n"
                "kept 1 keys, 24 bytes\nlost 149 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "two logs, without an opening record",
     .make = make_two_logs,
     .flips = {20},
     .status = KV_CORRUPT,
     .summary = "lost 213 bytes from offset 0 to 213 of PATH\nkept 3 keys, 85 bytes\n"
                "lost 213 bytes in all\n" DOUBT,
     .salvaged = "SET kept in the older log\nSET newer then\nSET gone soon\n"},
    {.name = "a log without its older one",
     .make = make_a_log_without_its_older_one,
     .status = KV_CORRUPT,
     .summary = OLDER_IS_MISSING "kept 1 keys, 24 bytes\nlost 253 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "a log beside a text",
     .make = make_a_log_beside_a_text,
     .status = KV_CORRUPT,
     .summary = OLDER_IS_MISSING "kept 1 keys, 24 bytes\nlost 253 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "a log beside another one",
     .make = make_a_log_beside_another,
     .status = KV_CORRUPT,
     .summary = OLDER_IS_MISSING "kept 1 keys, 24 bytes\nlost 253 bytes in all\n" DOUBT,
     .salvaged = "SET newer now\n"},
    {.name = "a drained older log",
     .make = make_a_drained_log,
     .findings = "format sealed\nlog_bytes 401\nrecords 2\nlive_keys 1\n"
                 "dead_bytes 377\nseals 3\nreserve_bytes 0\ndamage none\n",
     .lines = "SET newer now\n",
     .summary = "kept 1 keys, 24 bytes\nlost 0 bytes in all\n"},
    {.name = "an older log alone",
     .make = make_an_older_log_alone,
     .findings = "format sealed\nlog_bytes 253\nrecords 3\nlive_keys 3\n"
                 "dead_bytes 168\nseals 1\nreserve_bytes 0\ndamage none\n",
     .lines = "SET kept in the older log\nSET newer then\nSET gone soon\n",
     .summary = "kept 3 keys, 85 bytes\nlost 0 bytes in all\n"},
    {.name = "an older log alone, and cut",
     .make = make_a_cut_older_log_alone,
     .status = KV_CORRUPT,
     .findings = "format sealed\nlog_bytes 252\nrecords 0\nlive_keys 0\n"
                 "dead_bytes 104\nseals 0\nreserve_bytes 0\n"
                 "damage at offset 104, 148 bytes: corrupt: it had been durable, or "
                 "cannot be a torn tail\n",
     .summary = "lost 148 bytes from offset 104 to 252 of PATH.old\n"
                "kept 0 keys, 0 bytes\nlost 148 bytes in all\n" DOUBT},
    {.name = "an older log beside a damaged opening record",
     .make = make_an_older_log_beside_a_damaged_opening_record,
     .status = KV_CORRUPT,
     .summary = "lost whatever was in PATH: its 104 bytes hold no intact mark\n"
                "kept 3 keys, 85 bytes\nlost 104 bytes in all\n" DOUBT,
     .salvaged = "SET kept in the older log\nSET newer then\nSET gone soon\n"},
    {.name = "an older log beside zeros",
     .make = make_an_older_log_beside_zeros,
     .status = KV_CORRUPT,
     .summary = "lost whatever was in PATH: its 213 bytes hold no intact mark\n"
                "kept 3 keys, 85 bytes\nlost 213 bytes in all\n" DOUBT,
     .salvaged = "SET kept in the older log\nSET newer then\nSET gone soon\n"},
    {.name = "two files of zeros",
     .make = make_zeros_beside_zeros,
     .status = KV_CORRUPT,
     .salvage_status = KV_CORRUPT},
};

/* A log that is damaged is not dumped at all; what is intact in it can be salvaged. */
static void f88_f96_the_modes_print_what_each_log_holds(void **state)
{
    struct engine *engine = *state;
    for (size_t i = 0; i < COUNT_OF(situations); i++) {
        const struct situation *now = &situations[i];
        about = now->name;
        forget_images();
        if (now->make != NULL) {
            now->make();
        }
        for (size_t flip = 0; flip < 2 && now->flips[flip] != 0; flip++) {
            image_flip(&image, now->flips[flip], 0);
        }
        place(engine);
        shim_forget_trace();
        expect_print(engine, VERIFY, now->status, now->findings);
        assert_true(now->findings != NULL || engine_told(engine, "") > 0);
        expect_print(engine, DUMP_LINES, now->status, now->lines);
        expect_run(engine, DUMP_REDIS, now->status,
                   now->lines == NULL ? "" : "*3\r\n$3\r\nSET\r\n");
        assert_string_equal(shim_trace_text(SHIM_CHANGES & ~SHIM_BIT(SHIM_OPENAT)), "");
        expect_print(engine, SALVAGE, now->salvage_status, now->summary);
        if (now->salvage_status == KV_OK) {
            expect_salvaged(engine, now->salvaged == NULL ? now->lines : now->salvaged);
        }
        expect_untouched(engine);
    }
    about = NULL;
}

/*
 * A log that is shorter, or has zeros where it had more, than its index says is refused
 * by a start: --verify, which counts every record, has to say the same.
 */
static void f87_no_mode_takes_a_log_for_whole_that_its_index_outgrew(void **state)
{
    struct engine *engine = *state;
    char line[200];
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "one", "first");
    engine_put(engine, "two", "second");
    engine_close(engine);
    struct script whole = engine_read(engine, "");
    uint64_t end = whole.length - RECORD_HEADER_BYTES;
    engine_write(engine, "", slice_first(script_slice(&whole), (size_t)end));
    (void)snprintf(line, sizeof line,
                   "PATH: the log is %zu bytes long, but OFFSET of it were durable when "
                   "PATH.index was written; nothing was changed",
                   (size_t)end);
    for (enum mode mode = VERIFY; mode < SALVAGE; mode++) {
        expect_print(engine, mode, KV_CORRUPT, "");
        engine_expect_line(engine, line, whole.length, 0);
        assert_int_equal(engine_told(engine, ""), 1);
    }
    engine_forget_messages(engine);
    assert_int_equal(engine_try_open(engine), KV_CORRUPT);
    engine_expect_line(engine, line, whole.length, 0);
    uint64_t seal_offset = whole.length - SEAL_BYTES;
    memset(whole.bytes + seal_offset, 0, SEAL_BYTES);
    engine_write(engine, "", script_slice(&whole));
    (void)snprintf(line, sizeof line,
                   "damage at offset %" PRIu64 ", %d bytes: corrupt: ", seal_offset,
                   SEAL_BYTES);
    expect_run(engine, VERIFY, KV_CORRUPT, line);
    script_free(&whole);
}

/* How much was lost with it nobody knows, only that something may have been. */
static void f88_salvage_keeps_the_older_log_beside_an_empty_one(void **state)
{
    struct engine *engine = *state;
    make_two_logs();
    place(engine);
    engine_write(engine, "", SLICE_LITERAL(""));
    expect_print(engine, SALVAGE, KV_OK,
                 "lost whatever was in PATH: its 0 bytes hold no intact mark\n"
                 "kept 3 keys, 85 bytes\nlost 0 bytes in all\n" DOUBT);
    expect_salvaged(engine, "SET kept in the older log\nSET newer then\nSET gone soon\n");
}

/* It has no marks, and is not lost for that: who put it there decides. */
static void f88_salvage_gives_up_no_log_of_the_original_for_an_older_one(void **state)
{
    struct engine *engine = *state;
    make_two_logs();
    place(engine);
    image_free(&image);
    image = (struct image){0};
    make_original();
    engine_write(engine, "", image_slice(&image));
    expect_print(engine, SALVAGE, KV_CORRUPT, "");
    engine_expect_line(
        engine, "PATH: holds no intact mark, so nothing in it can be proved", 0, 0);
}

/* What is there is whole, and what was there besides is lost. */
static void f88_salvage_counts_what_its_index_says_was_there_as_lost(void **state)
{
    struct engine *engine = *state;
    const uint64_t end = OPENING_BYTES + record_length(3, 5) + SEAL_BYTES;
    char text[200];
    engine->keeps_index = true;
    engine_open(engine);
    engine_put(engine, "one", "first");
    engine_put(engine, "two", "second");
    engine_close(engine);
    struct script whole = engine_read(engine, "");
    (void)snprintf(text, sizeof text,
                   "lost %zu bytes from offset %" PRIu64 " to %zu of PATH\n"
                   "kept 1 keys, 24 bytes\nlost %zu bytes in all\n" DOUBT,
                   whole.length - (size_t)end, end, whole.length,
                   whole.length - (size_t)end);
    engine_write(engine, "", slice_first(script_slice(&whole), (size_t)end));
    expect_print(engine, SALVAGE, KV_OK, text);
    drop_new_log(engine);
    memset(whole.bytes + end, 0, whole.length - (size_t)end);
    engine_write(engine, "", script_slice(&whole));
    expect_print(engine, SALVAGE, KV_OK, text);
    assert_int_equal(engine_told(engine, ""), 0);
    script_free(&whole);
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
    enum { KEYS = 4, LONG = 300 }; /* the first ones are no keys for a line */
    char key[LONG + 1];
    memset(key, 'k', LONG);
    key[LONG] = '\0';
    image_begin_first(&image);
    image_put_text(&image, "good", "value\r");
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        image_put(&image, records[i].key, records[i].value);
    }
    image_put(&image, slice_of_text(key), SLICE_LITERAL("v\nw"));
    image_seal(&image);
    place(engine);
    expect_print(engine, DUMP_LINES, KV_PARTIAL, "SET good value\r\r\n");
    /* A key with a newline in it is blanked in the message, which stays one line. */
    assert_int_equal(engine_told(engine, ": no line can carry it; left out"), KEYS);
    assert_int_equal(engine_told(engine, ": no SET line can carry its value; left out"),
                     COUNT_OF(records) - KEYS + 1);
    engine_expect_line(
        engine, "the key a b: no line can carry it; left out: see --dump=resp", 0, 0);
    engine_expect_line(
        engine,
        "the key newline: no SET line can carry its value; left out: see --dump=resp", 0,
        0);
    key[200] = '\0';
    assert_int_equal(engine_told(engine, key), 1);
    key[200] = 'k';
    key[201] = '\0';
    assert_int_equal(engine_told(engine, key), 0);
    /* Of the other form nothing is left out. */
    struct script output;
    static const uint8_t wanted[] = "*3\r\n$3\r\nSET\r\n$3\r\nnul\r\n$3\r\nv\0w\r\n";
    assert_int_equal(run_mode(engine, DUMP_REDIS, &output), KV_OK);
    size_t at = 0;
    while (memcmp(output.bytes + at, wanted, sizeof wanted - 1) != 0) {
        assert_in_range(++at, 0, output.length - sizeof wanted);
    }
    script_free(&output);
    expect_run(engine, DUMP_REDIS, KV_OK, "$4\r\ngood\r\n$6\r\nvalue\r\r\n*3\r\n");
}

/* ---- Output that nobody takes ---- */

/* An error of stdout stays one, though there is nothing left for the last flush to do. */
static void the_modes_remember_that_their_output_was_not_taken(void **state)
{
    static const struct {
        const char *line;
    } told[] = {
        [VERIFY] = {.line =
                        "standard output: cannot write the findings; giving up: ERROR"},
        [DUMP_LINES] = {.line = "standard output: cannot write; giving up: ERROR"},
        [DUMP_REDIS] = {.line = "standard output: cannot write; giving up: ERROR"},
        [SALVAGE] = {.line =
                         "standard output: cannot write the summary; PATH.salvaged is "
                         "complete: ERROR"},
    };
    struct engine *engine = *state;
    make_pair(0);
    place(engine);
    for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
        assert_int_equal(run_into(engine, mode, "/dev/full"), KV_IO);
        engine_expect_line(engine, told[mode].line, 0, ENOSPC);
        assert_int_equal(engine_told(engine, ""), 1);
        expect_untouched(engine);
    }
    expect_salvaged(engine, "SET one older\nSET two older\nSET three older\n"
                            "SET four newer\n");
}

static void close_fd(void *fd)
{
    assert_int_equal(close(*(const int *)fd), 0);
}

/* As `--dump | head -1` does: the reader goes before anything is printed. */
static enum status run_into_a_closed_pipe(struct engine *engine, enum mode mode)
{
    struct tempdir_file pipe = tempdir_file(&engine->tempdir, "pipe");
    int reader = open(pipe.path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    int kept_fd = redirect_begin(stdout, pipe.path);
    shim_before(SHIM_BIT(SHIM_FCNTL), SHIM_LOG, close_fd, &reader);
    enum status status = run(engine, mode);
    redirect_end(stdout, kept_fd);
    assert_int_equal(engine_told(engine, ""), 0);
    return status;
}

/* The reader has what it wants, and nothing is wrong but what --verify found. */
static void f9_the_modes_end_quietly_when_their_reader_goes(void **state)
{
    struct engine *engine = *state;
    make_pair(0);
    place(engine);
    assert_int_equal(mkfifo(tempdir_file(&engine->tempdir, "pipe").path, 0600), 0);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* as main does */
    for (enum mode mode = VERIFY; mode <= DUMP_REDIS; mode++) {
        assert_int_equal(run_into_a_closed_pipe(engine, mode), KV_OK);
    }
    engine_flip(engine, OPENING_BYTES + RECORD_HEADER_BYTES, 1);
    assert_int_equal(run_into_a_closed_pipe(engine, VERIFY), KV_CORRUPT);
    (void)signal(SIGPIPE, before);
}

/* ---- Rot while a mode runs ---- */

/* A byte of the log changes after so many looks at the clock: the first comes when
 * reading begins, the second when dumping does. */
static void rot_at(const struct engine *engine, uint64_t offset)
{
    rot.looks = 2;
    rot.offset = offset;
    rot.engine = engine;
}

/* Rot that comes after the log was checked: a key is left out and named, others are not,
 * and the outcome is not success. */
static void f40_a_dump_names_records_that_rot_under_it(void **state)
{
    struct engine *engine = *state;
    static const struct {
        size_t place;
        const char *line;
    } rots[] = {
        {.place = RECORD_HEADER_BYTES,
         .line =
             "PATH: left out 1 keys whose records were damaged meanwhile; see --salvage"},
        {.place = RECORD_HEADER_BYTES + 3,
         .line = "PATH: the record at offset OFFSET is damaged, its checksum is wrong; "
                 "it is not served"},
    };
    uint64_t offsets[2];
    image_begin_first(&image);
    offsets[0] = image.log.length;
    image_put_text(&image, "one", "first");
    offsets[1] = image.log.length;
    image_put_text(&image, "two", "second");
    image_seal(&image);
    image_seal(&image);
    for (size_t i = 0; i < 4; i++) {
        size_t victim = i % 2;
        place(engine);
        rot_at(engine, offsets[victim] + rots[i / 2].place);
        expect_print(engine, DUMP_LINES, KV_CORRUPT,
                     victim == 0 ? "SET two second\n" : "SET one first\n");
        assert_null(rot.engine);
        engine_expect_line(engine, rots[i / 2].line, offsets[victim], 0);
    }
}

/* Records are found by where they stand, and not by their keys: a rotten one of the same
 * hash hides nothing. */
static void f40_a_dump_prints_a_key_behind_a_rotten_one_of_equal_hash(void **state)
{
    struct engine *engine = *state;
    /* Two keys that have equal hashes with the seed; such a pair is one in 2^38. */
    static const char *const twins[] = {"k1779222", "k1807960"};
    uint64_t difference = hash_key(&seed, slice_of_text(twins[0])) ^
                          hash_key(&seed, slice_of_text(twins[1]));
    assert_int_equal(difference >> 55, 0);
    assert_int_equal(difference & ((1u << 30) - 1), 0);
    image_begin_first(&image);
    uint64_t offset = image.log.length;
    image_put_text(&image, twins[0], "first");
    image_put_text(&image, twins[1], "second");
    image_put_text(&image, "other", "third");
    image_seal(&image);
    image_seal(&image);
    place(engine);
    expect_print(engine, DUMP_LINES, KV_OK,
                 "SET k1779222 first\nSET k1807960 second\nSET other third\n");
    rot_at(engine, offset + RECORD_HEADER_BYTES);
    expect_print(engine, DUMP_LINES, KV_CORRUPT,
                 "SET k1807960 second\nSET other third\n");
}

/* ---- Without memory and room ---- */

/*
 * Without memory at any place, the operator is told, nothing is left of a new log, and
 * the old ones are as they were. Records go into the index in lots, so that with many of
 * them memory is wanted in the middle of a log.
 */
static void f71_the_modes_without_memory_fail_and_change_nothing(void **state)
{
    static const struct {
        const char *line;
    } told[] = {
        [VERIFY] = {.line = "PATH: not enough memory to read it; giving up"},
        [DUMP_LINES] = {.line = "PATH: not enough memory to read it; giving up"},
        [DUMP_REDIS] = {.line = "PATH: not enough memory to read it; giving up"},
        [SALVAGE] = {.line = "PATH: not salvaged: out of memory"},
    };
    struct engine *engine = *state;
    struct tempdir_file output = tempdir_file(&engine->tempdir, "output");
    const int more_keys[] = {0, (int)watchdog_scaled(40000, 8000)};
    for (int i = 0; i < 2 * MODE_COUNT; i++) {
        enum mode mode = (enum mode)(i % MODE_COUNT);
        uint64_t nth = 0;
        bool has_failed = true;
        forget_images();
        make_pair(more_keys[i / MODE_COUNT]);
        place(engine);
        shim_omit_syncs();
        /* Each of the first thirty fails, and of the small ones every one. */
        while (has_failed && (i < MODE_COUNT || nth < 30)) {
            uint64_t fired = shim_fired_count();
            shim_fail_once(SHIM_MEMORY, SHIM_ANY, ++nth, ENOMEM);
            enum status status = run_into(engine, mode, output.path);
            shim_clear_faults();
            has_failed = shim_fired_count() > fired;
            assert_int_equal(status, has_failed ? KV_NO_MEMORY : KV_OK);
            assert_int_equal(engine_has_file(engine, NEW_LOG),
                             mode == SALVAGE && !has_failed);
            if (nth == 2) {
                engine_expect_line(engine, told[mode].line, 0, 0);
            }
        }
        assert_in_range(nth, 8, 100);
        assert_int_equal(has_failed, i >= MODE_COUNT);
        expect_untouched(engine);
    }
}

/* A batch is written on the way when it has its full size; what fails there ends it. */
static void f30_salvage_without_room_for_the_new_log_leaves_none(void **state)
{
    struct engine *engine = *state;
    enum { VALUES = 9 };
    static char value[MIB + 1];
    memset(value, 'v', sizeof value - 1);
    image_begin_first(&image);
    for (int i = 0; i < VALUES; i++) {
        const char key[] = {'k', (char)('0' + i), '\0'};
        image_put_text(&image, key, value);
        image_seal(&image);
    }
    place(engine);
    for (uint64_t room = 1; room < VALUES; room += 3) {
        shim_set_space(SHIM_NEW, room * MIB, ENOSPC);
        expect_print(engine, SALVAGE, KV_NO_SPACE, "");
        shim_give_space();
        assert_int_equal(engine_told(engine, "cannot append at offset"), 1);
        assert_int_equal(engine_told(engine, ""), 1); /* one reason, once */
        assert_false(engine_has_file(engine, NEW_LOG));
    }
    expect_run(engine, SALVAGE, KV_OK, "kept 9 keys");
    expect_untouched(engine);
}

/* ---- Pages that cannot be read ---- */

/* They are lost ranges like any others, and are told to be so. */
static void f57_f88_salvage_tells_that_parts_could_not_be_read(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    make_pair(0);
    for (int i = 0; i < 200; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "more-%d", i);
        image_put_text(&image, key, "some value that takes its room");
        image_seal(&image);
    }
    place(engine);
    int fd = engine_map_instead(engine, SHIM_LOG, slice_first(image_slice(&image), PAGE));
    expect_run(engine, SALVAGE, KV_OK, "lost ");
    engine_map_again(SHIM_LOG, fd);
    engine_expect_line(engine, "PATH: parts could not be read and count as lost", 0, 0);
    drop_new_log(engine);
    fd = engine_map_instead(engine, SHIM_OLD, SLICE_LITERAL(""));
    expect_run(engine, SALVAGE, KV_OK, "lost ");
    engine_map_again(SHIM_OLD, fd);
    expect_untouched(engine);
}

/* Records that are longer than a page, behind one that is not. */
static int map_long_records(struct engine *engine)
{
    static char value[4 * PAGE];
    memset(value, 'v', sizeof value - 1);
    image_begin_first(&image);
    image_put_text(&image, "first", "value");
    image_put_text(&image, "a", value);
    image_put_text(&image, "b", value);
    image_seal(&image);
    engine_catch_sigbus();
    engine_place(engine, image_slice(&image));
    return engine_map_instead(engine, SHIM_LOG, image_slice(&image));
}

/* For shim_before: the file is cut when the first record is about to be copied. */
static void cut_when_copying_begins(void *fd)
{
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, engine_cut_to_a_page, fd);
}

/* Likewise when the new log is made, which is looked for once before. */
static void cut_when_a_log_is_made(void *fd)
{
    shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, engine_cut_to_a_page, fd);
}

/*
 * A disk that fails behind the first walk through the log, before a batch is verified
 * once more or only before its copy: zeros get no seal, and no batch that was counted is
 * left out.
 */
static void f113_salvage_seals_nothing_that_it_could_not_read_twice(void **state)
{
    struct engine *engine = *state;
    void (*const cuts[])(void *fd) = {cut_when_a_log_is_made, cut_when_copying_begins};
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        int fd = map_long_records(engine);
        shim_before(SHIM_BIT(SHIM_OPENAT), SHIM_NEW, cuts[i], &fd);
        expect_run(engine, SALVAGE, KV_IO, "");
        engine_expect_line(engine,
                           "PATH: what was read a moment ago cannot be read any more; no "
                           "new log is made",
                           0, 0);
        assert_false(engine_has_file(engine, NEW_LOG));
        engine_map_again(SHIM_LOG, fd);
        expect_run(engine, SALVAGE, KV_OK, "kept 3 keys");
        drop_new_log(engine);
        forget_images();
    }
}

/*
 * A batch whose first length is damaged, and whose seal cannot be read: it is not known
 * to be a torn tail.
 */
static void f57_no_mode_judges_a_tail_that_it_cannot_read(void **state)
{
    struct engine *engine = *state;
    engine_catch_sigbus();
    uint64_t seal_page = image_make_seal_apart(&image);
    engine_place(engine, image_slice(&image));
    shim_lose_page(seal_page);
    for (enum mode mode = VERIFY; mode < SALVAGE; mode++) {
        expect_print(engine, mode, KV_IO, "");
        engine_expect_line(
            engine, "PATH: a part of the log cannot be read; nothing was changed", 0, 0);
    }
    expect_run(engine, SALVAGE, KV_OK, "kept 1 keys");
    engine_expect_line(engine, "PATH: parts could not be read and count as lost", 0, 0);
    expect_untouched(engine);
}

/* Zeros in the place of a whole batch are no space ahead. */
static void f57_salvage_counts_an_unreadable_end_as_lost(void **state)
{
    struct engine *engine = *state;
    static char value[PAGE - OPENING_BYTES - SEAL_BYTES - RECORD_HEADER_BYTES - 3 + 1];
    char text[64];
    engine_catch_sigbus();
    memset(value, 'v', sizeof value - 1);
    image_begin_first(&image);
    image_put_text(&image, "key", value);
    image_seal(&image);
    assert_int_equal(image.log.length, PAGE);
    image_put_text(&image, "other", "value");
    image_seal(&image);
    engine_place(engine, image_slice(&image));
    shim_lose_page(PAGE);
    (void)snprintf(text, sizeof text, "\nlost %zu bytes in all\n",
                   image.log.length - PAGE);
    expect_run(engine, SALVAGE, KV_OK, text);
}

/* The same of a dump: no zeros are printed for a value, and what is left out is told. */
static void f113_a_dump_prints_nothing_that_it_could_not_read_twice(void **state)
{
    struct engine *engine = *state;
    int fd = map_long_records(engine);
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, engine_cut_to_a_page, &fd);
    expect_print(engine, DUMP_LINES, KV_IO, "SET first value\n");
    engine_expect_line(engine, "PATH: left out 2 keys whose records cannot be read", 0,
                       0);
    engine_map_again(SHIM_LOG, fd);
    expect_run(engine, DUMP_LINES, KV_OK, "SET first value\nSET a v");
}

/* ---- Files that are not ours, or that nobody may change ---- */

/* Each mode ends so, and prints nothing. */
static void expect_all(struct engine *engine, enum status status, const char *told)
{
    for (enum mode mode = 0; mode < MODE_COUNT; mode++) {
        expect_print(engine, mode, status, "");
        assert_int_equal(engine_told(engine, told), 1);
        assert_int_equal(engine_told(engine, ""), 1);
    }
}

static void f88_the_modes_refuse_an_older_log_that_is_no_plain_file(void **state)
{
    struct engine *engine = *state;
    make_a_log_without_its_older_one();
    place(engine);
    assert_int_equal(symlink("kv.log", engine_file(engine, FILES_OLD).path), 0);
    expect_all(engine, KV_IO, "kv.log.old: is a symbolic link");
}

/* Whatever has the name of the new log stays, and its lock file is not made. */
static void f88_salvage_writes_only_a_new_file(void **state)
{
    struct engine *engine = *state;
    struct tempdir_file new_log = engine_file(engine, NEW_LOG);
    make_batches();
    place(engine);
    engine_write(engine, NEW_LOG, SLICE_LITERAL("somebody's work"));
    expect_print(engine, SALVAGE, KV_IO, "");
    engine_expect_file(engine, NEW_LOG, SLICE_LITERAL("somebody's work"));
    assert_int_equal(unlink(new_log.path), 0);
    assert_int_equal(symlink("nowhere", new_log.path), 0);
    expect_print(engine, SALVAGE, KV_IO, "");
    assert_int_equal(engine_count_files(engine, "nowhere"), 0);
    assert_int_equal(unlink(new_log.path), 0);
    assert_int_equal(mkdir(new_log.path, 0700), 0);
    expect_print(engine, SALVAGE, KV_IO, "");
    assert_int_equal(rmdir(new_log.path), 0);
    assert_int_equal(engine_count_files(engine, NEW_LOG), 0);
    assert_int_equal(salvage_log(engine->log.path, engine->log.path), KV_IO);
    new_log = tempdir_file(&engine->tempdir, "missing/new.log");
    assert_int_equal(salvage_log(engine->log.path, new_log.path), KV_IO);
    expect_untouched(engine);
}

static void place_log(struct engine *engine)
{
    engine_open(engine);
    engine_put(engine, "key", "value");
    engine_close(engine);
}

static void expect_all_work(struct engine *engine)
{
    expect_run(engine, VERIFY, KV_OK, "live_keys 1\n");
    expect_print(engine, DUMP_LINES, KV_OK, "SET key value\n");
    expect_print(engine, DUMP_REDIS, KV_OK,
                 "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n");
    expect_run(engine, SALVAGE, KV_OK, "kept 1 keys");
    drop_new_log(engine);
}

static void f107_the_modes_work_on_a_volume_that_is_read_only(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    shim_make_read_only("kv.log");
    expect_all_work(engine);
    assert_int_equal(unlink(engine_file(engine, ".lock").path), 0);
    expect_all_work(engine);
}

/* A log that somebody serves is refused, though its lock can only be read. */
static void f107_the_modes_refuse_a_log_in_use_on_a_volume_that_is_read_only(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    pid_t holder = engine_hold_elsewhere(engine);
    shim_make_read_only("kv.log");
    expect_all(engine, KV_IO, "is in use by process");
    /* Without the lock file, the lock on the log itself says so. */
    assert_int_equal(unlink(engine_file(engine, ".lock").path), 0);
    expect_all(engine, KV_IO, "is in use by another process");
    assert_int_equal(engine_count_files(engine, NEW_LOG), 0);
    engine_end_holder(holder);
}

static void f108_root_may_read_the_log_of_another_and_leaves_no_file(void **state)
{
    struct engine *engine = *state;
    const enum shim_role roles[] = {SHIM_LOG, SHIM_LOCK};
    place_log(engine);
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        user = 0;
        shim_disown(roles[i]);
        expect_run(engine, VERIFY, KV_OK, "live_keys 1\n");
        expect_print(engine, DUMP_LINES, KV_OK, "SET key value\n");
        user = 1000;
        expect_print(engine, VERIFY, KV_IO, "");
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
        ON_LOGS(f88_f96_the_modes_print_what_each_log_holds),
        ON_LOGS(f87_no_mode_takes_a_log_for_whole_that_its_index_outgrew),
        ON_LOGS(f88_salvage_keeps_the_older_log_beside_an_empty_one),
        ON_LOGS(f88_salvage_gives_up_no_log_of_the_original_for_an_older_one),
        ON_LOGS(f88_salvage_counts_what_its_index_says_was_there_as_lost),
        ON_LOGS(a_dump_leaves_out_each_kind_of_what_no_line_can_carry),
        ON_LOGS(the_modes_remember_that_their_output_was_not_taken),
        ON_LOGS(f9_the_modes_end_quietly_when_their_reader_goes),
        ON_LOGS(f40_a_dump_names_records_that_rot_under_it),
        ON_LOGS(f40_a_dump_prints_a_key_behind_a_rotten_one_of_equal_hash),
        ON_LOGS(f71_the_modes_without_memory_fail_and_change_nothing),
        ON_LOGS(f30_salvage_without_room_for_the_new_log_leaves_none),
        ON_LOGS(f57_f88_salvage_tells_that_parts_could_not_be_read),
        ON_LOGS(f113_salvage_seals_nothing_that_it_could_not_read_twice),
        ON_LOGS(f57_no_mode_judges_a_tail_that_it_cannot_read),
        ON_LOGS(f57_salvage_counts_an_unreadable_end_as_lost),
        ON_LOGS(f113_a_dump_prints_nothing_that_it_could_not_read_twice),
        ON_LOGS(f88_the_modes_refuse_an_older_log_that_is_no_plain_file),
        ON_LOGS(f88_salvage_writes_only_a_new_file),
        ON_LOGS(f107_the_modes_work_on_a_volume_that_is_read_only),
        ON_LOGS(f107_the_modes_refuse_a_log_in_use_on_a_volume_that_is_read_only),
        ON_LOGS(f108_root_may_read_the_log_of_another_and_leaves_no_file),
        ON_LOGS(f110_a_start_where_nothing_is_ours_says_why_and_leaves_nothing),
    };
    /* Each write is made at once, so that an error shows where it happens. */
    if (setvbuf(stdout, NULL, _IONBF, 0) != 0) {
        return EXIT_FAILURE;
    }
    user = getuid();
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
