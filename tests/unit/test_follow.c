/*
 * --follow: what is printed, when, and in which order; what it makes of files that change
 * under it, and of those that are no log; and that it changes nothing. That what it
 * prints, beside a server that does whatever it may, gives the store is the world's.
 *
 * wrap: open openat close fstat fstatat pwrite ftruncate fdatasync fsync posix_fadvise
 * wrap: renameat unlinkat fcntl mmap fopen poll malloc calloc realloc strdup
 */
#include "offline/follow.h"

#include "base/bounds.h"
#include "file/files.h"
#include "support/compacting.h"
#include "support/image.h"
#include "support/redirect.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRINTED ".printed"

/* ---- Helpers ---- */

/* Whom the test looks with, and the log that it writes. */
static struct follow *follow;
static struct image image;

/* A test with both; *state is its struct engine. */
#define ON_FOLLOW(test) cmocka_unit_test_setup_teardown(test, engine_setup, teardown)

static void end(void)
{
    follow_close(follow);
    follow = NULL;
}

static int teardown(void **state)
{
    end();
    image_free(&image);
    image = (struct image){0};
    return engine_teardown(state);
}

static void begin(const struct engine *engine, enum lines_format format)
{
    end();
    engine_catch_sigbus(); /* cmocka has taken it away */
    assert_int_equal(follow_open(engine->log.path, format, &follow), KV_OK);
}

static void place(const struct engine *engine)
{
    engine_write(engine, "", image_slice(&image));
}

static enum status look_into(const struct engine *engine, struct script *printed)
{
    struct tempdir_file file = engine_file(engine, PRINTED);
    int kept_fd = redirect_begin(stdout, file.path);
    enum status status = follow_look(follow);
    redirect_end(stdout, kept_fd);
    *printed = (struct script){0};
    script_add_file(printed, file.path);
    script_add_fill(printed, '\0', 1);
    assert_int_equal(unlink(file.path), 0);
    return status;
}

static void expect_look_bytes(const struct engine *engine, struct slice wanted)
{
    struct script printed;
    assert_int_equal(look_into(engine, &printed), KV_OK);
    printed.length--;
    assert_true(slice_equal(script_slice(&printed), wanted));
    script_free(&printed);
}

static void expect_look(const struct engine *engine, enum status status, const char *text)
{
    struct script printed;
    assert_int_equal(look_into(engine, &printed), status);
    assert_string_equal((const char *)printed.bytes, text);
    script_free(&printed);
}

/* Look until what stands there is judged. */
static enum status look_long(const struct engine *engine)
{
    enum status status = KV_OK;
    for (int i = 0; i < 2 * FOLLOW_JUDGE_LOOKS && status == KV_OK; i++) {
        struct script printed;
        status = look_into(engine, &printed);
        assert_int_equal(printed.length, 1);
        script_free(&printed);
    }
    return status;
}

/* Such a log, or none, is refused with exactly this line. */
static void refuse_expect_line(struct engine *engine, struct slice log,
                               enum status status, const char *line)
{
    if (log.bytes != NULL) {
        engine_write(engine, "", log);
    }
    engine_forget_messages(engine);
    assert_int_equal(follow_open(engine->log.path, LINES_SET, &follow), status);
    assert_null(follow);
    engine_expect_line(engine, line, OPENING_BYTES, 0);
    assert_int_equal(engine_told(engine, ""), 1);
}

/* Make the last batch durable, and say so. */
static void rest(struct engine *engine)
{
    shim_advance_clock(SECOND_SEAL_MS);
    assert_int_equal(store_maintain(engine->store, LEISURE_NONE), KV_OK);
}

static void begin_store(struct engine *engine)
{
    shim_set_clock(COMPACTING_START_MS);
    engine_open(engine);
}

/* The end of the first of these. */
#define FIRST_END (OPENING_BYTES + record_length(1, 1) + SEAL_BYTES)

/* Two batches, of which the second is not known to be durable. */
static void make_log(void)
{
    image_begin_first(&image);
    image_put_text(&image, "a", "1");
    image_seal(&image);
    image_put_text(&image, "b", "2");
    image_seal(&image);
}

/* The same at rest. */
static void place_log(const struct engine *engine)
{
    make_log();
    image_seal(&image);
    place(engine);
}

/* ---- What is printed, and when ---- */

static void follow_prints_a_batch_when_a_later_seal_calls_it_durable(void **state)
{
    struct engine *engine = *state;
    begin_store(engine);
    engine_put(engine, "a", "1");
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "");
    engine_put(engine, "b", "2");
    expect_look(engine, KV_OK, "SET a 1\n");
    expect_look(engine, KV_OK, "");
    rest(engine);
    expect_look(engine, KV_OK, "SET b 2\n");
    assert_int_equal(engine_delete(engine, "a"), KV_OK);
    assert_int_equal(engine_set(engine, "c", "3"), KV_OK);
    assert_int_equal(store_commit(engine->store), KV_OK);
    rest(engine);
    expect_look(engine, KV_OK, "DELETE a\nSET c 3\n");
    assert_int_equal(look_long(engine), KV_OK);
    assert_int_equal(engine_told(engine, ""), 0);
}

static void follow_prints_what_loads_again(void **state)
{
    struct engine *engine = *state;
    image_begin_first(&image);
    image_put_text(&image, "cr", "v\r");
    image_put_text(&image, "empty", "");
    image_put(&image, SLICE_LITERAL("nul"), SLICE_LITERAL("v\0w"));
    image_delete(&image, "gone\r");
    image_seal(&image);
    image_seal(&image);
    place(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET cr v\r\r\nSET empty \nDELETE gone\r\r\n");
    engine_expect_line(
        engine, "the key nul: no SET line can carry its value; left out: see --dump=resp",
        0, 0);
    begin(engine, LINES_RESP);
    expect_look_bytes(engine,
                      SLICE_LITERAL("*3\r\n$3\r\nSET\r\n$2\r\ncr\r\n$2\r\nv\r\r\n"
                                    "*3\r\n$3\r\nSET\r\n$5\r\nempty\r\n$0\r\n\r\n"
                                    "*3\r\n$3\r\nSET\r\n$3\r\nnul\r\n$3\r\nv\0w\r\n"
                                    "*2\r\n$3\r\nDEL\r\n$5\r\ngone\r\r\n"));
}

/* More than is gathered before it is written, in one batch and in many. */
static void follow_prints_much_as_it_stands(void **state)
{
    struct engine *engine = *state;
    struct script wanted = {0};
    struct script value = {0};
    script_add_fill(&value, 'v', 30000);
    image_begin_first(&image);
    for (int i = 0; i < 60; i++) {
        image_put(&image, SLICE_LITERAL("k"), script_slice(&value));
        script_add_text(&wanted, "SET k ");
        script_add(&wanted, script_slice(&value));
        script_add_text(&wanted, "\n");
        if (i < 20 || i == 59) {
            image_seal(&image);
        }
    }
    image_seal(&image);
    place(engine);
    begin(engine, LINES_SET);
    expect_look_bytes(engine, script_slice(&wanted));
    script_free(&wanted);
    script_free(&value);
}

/* ---- Files that change ---- */

static void follow_waits_before_a_torn_tail(void **state)
{
    struct engine *engine = *state;
    make_log();
    uint64_t end = image.sealed_length;
    image_append(&image, SLICE_LITERAL("xxxxx"));
    place(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET a 1\n");
    assert_int_equal(look_long(engine), KV_OK);
    assert_int_equal(look_long(engine), KV_OK);
    engine_expect_line(engine, "PATH: waiting before a torn tail at offset OFFSET", end,
                       0);
    assert_int_equal(engine_told(engine, ""), 1);
    begin_store(engine); /* which cuts it off */
    rest(engine);
    expect_look(engine, KV_OK, "SET b 2\n");
}

static void follow_ends_before_damage(void **state)
{
    struct engine *engine = *state;
    make_log();
    image_put_text(&image, "c", "3");
    image_seal(&image);
    image_seal(&image);
    image_flip(&image, FIRST_END + 17, 0);
    place(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "");
    assert_int_equal(look_long(engine), KV_CORRUPT);
    engine_expect_line(engine,
                       "PATH: the log is damaged at offset OFFSET; nothing more is read",
                       FIRST_END, 0);
    assert_int_equal(engine_told(engine, ""), 1);
}

/* Cut behind its back, which no server does. */
static void follow_ends_where_the_log_became_shorter(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET a 1\nSET b 2\n");
    image_cut(&image, OPENING_BYTES + 20);
    place(engine);
    assert_int_equal(look_long(engine), KV_CORRUPT);
}

/* ---- Compactions ---- */

static void begin_compaction(const struct engine *engine)
{
    assert_int_equal(store_compact(engine->store), KV_OK);
}

static void compact(const struct engine *engine)
{
    begin_compaction(engine);
    (void)compacting_finish(engine);
}

/* A store with one key, which is followed before it is printed. */
static void begin_beside_a_store(struct engine *engine)
{
    begin_store(engine);
    engine_put(engine, "a", "1");
    begin(engine, LINES_SET);
}

/* Where only the second has begun, its older log is the one that is next; a short log
 * that has gone can still be read by who has it open. */
static void follow_finds_its_way_behind_a_second_compaction(void **state)
{
    struct engine *engine = *state;
    begin_beside_a_store(engine);
    engine_put(engine, "b", "2");
    compact(engine);
    engine_put(engine, "c", "3");
    begin_compaction(engine);
    expect_look(engine, KV_OK, "SET a 1\nSET b 2\nSET a 1\nSET b 2\nSET c 3\n");
    (void)compacting_finish(engine);
    expect_look(engine, KV_OK, "SET a 1\nSET b 2\nSET c 3\n");
}

static void expect_behind(struct engine *engine, uint64_t offset)
{
    expect_look(engine, KV_BEHIND, "");
    engine_expect_line(engine,
                       "PATH: fell behind by more than a compaction, at offset OFFSET of "
                       "a log that is gone; begin anew with an empty reader",
                       offset, 0);
    assert_int_equal(engine_told(engine, ""), 1);
}

static void follow_says_that_two_compactions_went_by(void **state)
{
    struct engine *engine = *state;
    begin_beside_a_store(engine);
    compact(engine);
    compact(engine);
    expect_behind(engine, OPENING_BYTES);
}

/* The older log is cut away before it was read to its end. */
static void follow_says_that_the_older_log_was_cut_away(void **state)
{
    struct engine *engine = *state;
    begin_beside_a_store(engine);
    compacting_grow_log(engine, CUT_STEP_BYTES);
    compact(engine);
    expect_behind(engine, OPENING_BYTES);
}

/* ... or while it is printed: nothing comes out of what turns to zeros meanwhile. */
static void cut_older(void *context)
{
    assert_int_equal(truncate(context, OPENING_BYTES + 30), 0);
}

static void follow_prints_nothing_that_is_cut_away_under_it(void **state)
{
    struct engine *engine = *state;
    begin_beside_a_store(engine);
    engine_put(engine, "b", "2");
    begin_compaction(engine);
    struct tempdir_file older = engine_file(engine, FILES_OLD);
    shim_before(SHIM_BIT(SHIM_REALLOC), SHIM_ANY, cut_older, older.path); /* for a line */
    expect_behind(engine, OPENING_BYTES);
}

/* Another log has come to PATH, as from a backup. */
static void follow_takes_no_other_log_for_the_next(void **state)
{
    struct engine *engine = *state;
    make_log();
    place(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET a 1\n");
    assert_int_equal(rename(engine->log.path, engine_file(engine, ".kept").path), 0);
    expect_look(engine, KV_OK, ""); /* between two names */
    place(engine);
    expect_behind(engine, FIRST_END);
}

/* ---- What is refused ---- */

static void follow_refuses_what_a_start_would(void **state)
{
    struct engine *engine = *state;
    uint8_t opening[OPENING_BYTES];
    const struct opening newer = {.version = RECORD_FORMAT_VERSION + 1, .log_id = 1};
    shim_set_clock(COMPACTING_START_MS);
    refuse_expect_line(engine, (struct slice){NULL, 0}, KV_IO,
                       "PATH: there is no log, or an empty file; nothing was read");
    refuse_expect_line(
        engine, SLICE_LITERAL("some text that is no log at all"), KV_CORRUPT,
        "PATH: is no kv-store log, or damaged at offset 0; nothing was read");
    image_put_text(&image, "k", "value");
    refuse_expect_line(
        engine, image_slice(&image), KV_IO,
        "PATH: a log by the original program, which the server rewrites when "
        "it starts; nothing was read");
    record_encode_opening(opening, &newer);
    refuse_expect_line(
        engine, (struct slice){opening, sizeof opening}, KV_IO,
        "PATH: the log has format version 2, this program knows version 1; "
        "nothing was read");
}

static void follow_refuses_a_log_without_its_older_one(void **state)
{
    struct engine *engine = *state;
    struct image older;
    shim_set_clock(COMPACTING_START_MS);
    image_begin_first(&older);
    image_put_text(&older, "a", "1");
    image_seal(&older);
    image_begin_next(&image, &older, 2);
    image_put_text(&image, "c", "3");
    image_seal(&image);
    refuse_expect_line(engine, image_slice(&image), KV_CORRUPT,
                       "PATH.old: is missing, or no part of this log; nothing was read");
    image_cut(&older, older.log.length - 1);
    engine_write(engine, FILES_OLD, image_slice(&older));
    refuse_expect_line(engine, image_slice(&image), KV_CORRUPT,
                       "PATH.old: is missing, or no part of this log; nothing was read");
    assert_int_equal(unlink(engine_file(engine, FILES_OLD).path), 0);
    image_drained(&image, IMAGE_LOG_ID);
    image_seal(&image);
    image_seal(&image);
    image_flip(&image, OPENING_BYTES + 17, 0); /* the drained mark is not seen */
    refuse_expect_line(engine, image_slice(&image), KV_CORRUPT,
                       "PATH: the log is damaged at offset OFFSET; nothing more is read");
    image_flip(&image, OPENING_BYTES + 17, 0);
    place(engine);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET c 3\n");
    image_free(&older);
}

/* A compaction that had only given the log its second name. */
static void follow_reads_an_older_log_that_is_alone(void **state)
{
    struct engine *engine = *state;
    make_log();
    image_seal(&image);
    engine_write(engine, FILES_OLD, image_slice(&image));
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET a 1\nSET b 2\n");
    begin_store(engine); /* which finishes it */
    engine_put(engine, "c", "3");
    rest(engine);
    struct script printed;
    assert_int_equal(look_into(engine, &printed), KV_OK);
    assert_non_null(strstr((const char *)printed.bytes, "SET c 3\n"));
    script_free(&printed);
}

/* A page that the disk does not give is no damage, and no end. */
static void follow_tells_what_cannot_be_read(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct script value = {0};
    script_add_fill(&value, 'v', 9000);
    image_begin_first(&image);
    image_put(&image, SLICE_LITERAL("k"), script_slice(&value));
    image_seal(&image);
    image_seal(&image);
    place(engine);
    int fd = engine_map_instead(engine, SHIM_LOG, slice_first(image_slice(&image), 4096));
    begin(engine, LINES_SET);
    assert_int_equal(look_long(engine), KV_IO);
    engine_map_again(SHIM_LOG, fd);
    engine_expect_line(engine, "PATH: a part of the log cannot be read; giving up", 0, 0);
    end();
    engine_forget_messages(engine);
    shim_reset();
    shim_set_clock(COMPACTING_START_MS);
    shim_fail_once(SHIM_BIT(SHIM_FSTAT), SHIM_LOG, 2, EIO); /* the owner was asked */
    assert_int_equal(follow_open(engine->log.path, LINES_SET, &follow), KV_IO);
    engine_expect_line(engine, "PATH: cannot be read; giving up: ERROR", 0, EIO);
    shim_clear_faults();
    script_free(&value);
}

/* What was found, and can no more be read when it is durable: told, and not left out. */
static void follow_goes_back_to_what_it_could_not_read(void **state)
{
    watchdog_skip_under_valgrind();
    struct engine *engine = *state;
    struct script value = {0};
    struct script wanted = {0};
    script_add_fill(&value, 'v', 2 * MIB);
    image_begin_first(&image);
    image_put(&image, SLICE_LITERAL("a"), slice_first(script_slice(&value), 5000));
    image_seal(&image);
    place(engine);
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 1,
                   ENOMEM); /* the view is a short one */
    shim_fail_once(SHIM_BIT(SHIM_MMAP), SHIM_LOG, 2, ENOMEM);
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "");
    shim_clear_faults();
    image_put(&image, SLICE_LITERAL("b"), script_slice(&value));
    image_seal(&image);
    place(engine);
    shim_lose_page(0); /* in the one that is made now */
    assert_int_equal(look_long(engine), KV_IO);
    engine_expect_line(engine, "PATH: a part of the log cannot be read; giving up", 0, 0);
    shim_reset();
    script_add_text(&wanted, "SET a ");
    script_add_fill_line(&wanted, 'v', 5000);
    expect_look_bytes(engine, script_slice(&wanted));
    script_free(&wanted);
    script_free(&value);
}

/* Whichever allocation fails, it is told, and what was printed before was right. */
static void follow_without_memory_says_so(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        uint64_t fired = shim_fired_count();
        engine_forget_messages(engine);
        shim_fail_once(SHIM_MEMORY, SHIM_ANY, nth, ENOMEM);
        struct tempdir_file file = engine_file(engine, PRINTED);
        int kept_fd = redirect_begin(stdout, file.path);
        enum status status = follow_open(engine->log.path, LINES_SET, &follow);
        if (status == KV_OK) {
            status = follow_look(follow);
        }
        redirect_end(stdout, kept_fd);
        shim_clear_faults();
        has_failed = shim_fired_count() > fired;
        end();
        assert_int_equal(status, has_failed ? KV_NO_MEMORY : KV_OK);
        assert_int_equal(engine_told(engine, "") > 0, has_failed);
        assert_in_range(nth, 1, 20);
    }
}

static void follow_tells_which_value_it_has_no_memory_for(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    begin(engine, LINES_SET);
    shim_fail_once(SHIM_MEMORY, SHIM_ANY, 1, ENOMEM);
    expect_look(engine, KV_NO_MEMORY, "");
    shim_clear_faults();
    engine_expect_line(engine, "not enough memory to print a value of 1 bytes; giving up",
                       0, 0);
}

/* ---- The reader, and everybody else ---- */

/* With something to print, and with nothing. */
static void follow_ends_quietly_when_its_reader_goes(void **state)
{
    struct engine *engine = *state;
    struct tempdir_file pipe = engine_file(engine, ".pipe");
    assert_int_equal(mkfifo(pipe.path, 0600), 0);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* as main does */
    for (int is_idle = 0; is_idle < 2; is_idle++) {
        image_begin_first(&image);
        if (is_idle == 0) {
            image_put_text(&image, "a", "1");
            image_seal(&image);
        }
        image_seal(&image);
        place(engine);
        int reader = open(pipe.path, O_RDONLY | O_NONBLOCK);
        int kept_fd = redirect_begin(stdout, pipe.path);
        assert_int_equal(close(reader), 0);
        enum status status = follow_log(engine->log.path, LINES_SET);
        redirect_end(stdout, kept_fd);
        assert_int_equal(status, KV_OK);
        image_free(&image);
    }
    assert_int_equal(engine_told(engine, ""), 0);
    (void)signal(SIGPIPE, before);
}

/* At the first write, though there is more to print. */
static void follow_tells_that_its_output_is_not_taken(void **state)
{
    struct engine *engine = *state;
    struct script value = {0};
    script_add_fill(&value, 'v', LINES_BYTES_MAX);
    image_begin_first(&image);
    image_put(&image, SLICE_LITERAL("k"), script_slice(&value));
    image_seal_durable(&image, 0);
    image_put_text(&image, "a", "1");
    image_seal_durable(&image, 0);
    image_seal(&image); /* and now both of them are */
    script_free(&value);
    place(engine);
    int kept_fd = redirect_begin(stdout, "/dev/full");
    enum status status = follow_log(engine->log.path, LINES_SET);
    redirect_end(stdout, kept_fd);
    assert_int_equal(status, KV_IO);
    engine_expect_line(engine, "standard output: cannot write; giving up: ERROR", 0,
                       ENOSPC);
}

/* Nothing is made, changed or locked: also where nothing can be. */
static void follow_leaves_everything_alone(void **state)
{
    struct engine *engine = *state;
    place_log(engine);
    size_t files = engine_count_files(engine, "");
    shim_forget_trace();
    begin(engine, LINES_SET);
    expect_look(engine, KV_OK, "SET a 1\nSET b 2\n");
    assert_string_equal(
        shim_trace_text((SHIM_CHANGES & ~SHIM_BIT(SHIM_OPENAT)) | SHIM_BIT(SHIM_FCNTL)),
        "");
    assert_int_equal(engine_count_files(engine, ""), files);
    engine_open(engine); /* nobody is in its way */
    engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FOLLOW(follow_prints_a_batch_when_a_later_seal_calls_it_durable),
        ON_FOLLOW(follow_prints_what_loads_again),
        ON_FOLLOW(follow_prints_much_as_it_stands),
        ON_FOLLOW(follow_waits_before_a_torn_tail),
        ON_FOLLOW(follow_ends_before_damage),
        ON_FOLLOW(follow_ends_where_the_log_became_shorter),
        ON_FOLLOW(follow_finds_its_way_behind_a_second_compaction),
        ON_FOLLOW(follow_says_that_two_compactions_went_by),
        ON_FOLLOW(follow_says_that_the_older_log_was_cut_away),
        ON_FOLLOW(follow_prints_nothing_that_is_cut_away_under_it),
        ON_FOLLOW(follow_takes_no_other_log_for_the_next),
        ON_FOLLOW(follow_refuses_what_a_start_would),
        ON_FOLLOW(follow_refuses_a_log_without_its_older_one),
        ON_FOLLOW(follow_reads_an_older_log_that_is_alone),
        ON_FOLLOW(follow_tells_what_cannot_be_read),
        ON_FOLLOW(follow_goes_back_to_what_it_could_not_read),
        ON_FOLLOW(follow_without_memory_says_so),
        ON_FOLLOW(follow_tells_which_value_it_has_no_memory_for),
        ON_FOLLOW(follow_ends_quietly_when_its_reader_goes),
        ON_FOLLOW(follow_tells_that_its_output_is_not_taken),
        ON_FOLLOW(follow_leaves_everything_alone),
    };
    engine_catch_sigbus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
