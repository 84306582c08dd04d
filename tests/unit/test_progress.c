/*
 * Progress on stderr, a terminal or a pipe: when it is told, in which words, and that
 * lines never mix; then that each kind of long work tells it.
 *
 * wrap: clock_gettime isatty
 */
#define _XOPEN_SOURCE 700 /* pseudo-terminals */

#include "base/progress.h"

#include "base/bounds.h"
#include "base/diag.h"
#include "engine/store.h"
#include "log/record.h"
#include "offline/dump.h"
#include "offline/salvage.h"
#include "offline/verify.h"
#include "support/image.h"
#include "support/redirect.h"
#include "support/script.h"
#include "support/tempdir.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { TOLD_BYTES = 1 << 16, COLUMNS = 80 };

/* ---- Time ---- */

static uint64_t now_ms;
static uint64_t tick_ms; /* by so much each look at the clock moves it on */
static uint64_t look_count;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock; /* one for all */
    look_count++;
    now_ms += tick_ms;
    *now = (struct timespec){.tv_sec = (time_t)(now_ms / 1000),
                             .tv_nsec = (long)(now_ms % 1000) * 1000000};
    return 0;
}

/* ---- stderr ---- */

static bool has_terminal_stdout;

int __real_isatty(int fd);
int __wrap_isatty(int fd);

int __wrap_isatty(int fd)
{
    return fd == STDOUT_FILENO && has_terminal_stdout ? 1 : __real_isatty(fd);
}

struct watch {
    struct tempdir tempdir;
    struct tempdir_file log;
    int read_fd;
    int kept_stdout;
    int kept_stderr;
    char told[TOLD_BYTES];
};

static int setup(void **state, int read_fd, int write_fd)
{
    struct watch *watch = calloc(1, sizeof *watch);
    assert_non_null(watch);
    now_ms = 1000000;
    tick_ms = 0;
    has_terminal_stdout = false;
    tempdir_create(&watch->tempdir);
    watch->log = tempdir_file(&watch->tempdir, "kv.log");
    watch->read_fd = read_fd;
    (void)fflush(stdout); /* what fails here would be seen */
    watch->kept_stdout = dup(STDOUT_FILENO);
    watch->kept_stderr = dup(STDERR_FILENO);
    assert_true(read_fd >= 0 && write_fd >= 0 && watch->kept_stderr >= 0);
    assert_int_equal(fcntl(read_fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(dup2(write_fd, STDERR_FILENO), STDERR_FILENO);
    (void)close(write_fd); /* stderr holds it */
    *state = watch;
    return 0;
}

static int setup_pipe(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    return setup(state, ends[0], ends[1]);
}

/* A terminal that passes on bytes as they are. */
static int setup_terminal(void **state)
{
    struct termios mode;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(slave, &mode), 0);
    mode.c_oflag &= ~(tcflag_t)OPOST;
    assert_int_equal(tcsetattr(slave, TCSANOW, &mode), 0);
    return setup(state, master, slave);
}

static int teardown(void **state)
{
    struct watch *watch = *state;
    progress_end();
    (void)fflush(stdout); /* to wherever the test put it */
    (void)dup2(watch->kept_stdout, STDOUT_FILENO);
    (void)dup2(watch->kept_stderr, STDERR_FILENO);
    (void)close(watch->kept_stdout); /* copies */
    (void)close(watch->kept_stderr);
    (void)close(watch->read_fd);
    tempdir_remove(&watch->tempdir);
    free(watch);
    return 0;
}

#define ON_PIPE(test)     cmocka_unit_test_setup_teardown(test, setup_pipe, teardown)
#define ON_TERMINAL(test) cmocka_unit_test_setup_teardown(test, setup_terminal, teardown)

/* Everything written to stderr since the last call. */
static const char *told(struct watch *watch)
{
    size_t length = 0;
    ssize_t count;
    while ((count = read(watch->read_fd, watch->told + length,
                         sizeof watch->told - 1 - length)) > 0) {
        length += (size_t)count;
    }
    watch->told[length] = '\0';
    return watch->told;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

/* ---- A terminal's screen ---- */

/* What is to be seen: lines that ended, each with its LF, then the one of the cursor. */
struct screen {
    char text[TOLD_BYTES];
    size_t length;
    char row[COLUMNS + 1];
    size_t column;
};

static void end_row(struct screen *screen)
{
    size_t width = strlen(screen->row);
    while (width > 0 && screen->row[width - 1] == ' ') {
        width--;
    }
    memcpy(screen->text + screen->length, screen->row, width);
    screen->length += width;
    screen->text[screen->length] = '\0';
    memset(screen->row, 0, sizeof screen->row);
}

/* A line that reaches the last column would wrap; only one that is rewritten must not. */
static void put_byte(struct screen *screen, char byte)
{
    if (byte == '\r') {
        screen->column = 0;
    } else if (byte == '\n') {
        end_row(screen);
        screen->text[screen->length++] = '\n';
        screen->column = 0;
    } else {
        assert_in_range(byte, ' ', '~');
        assert_in_range(screen->column, 0, COLUMNS - 1);
        screen->row[screen->column++] = byte;
    }
}

static void expect_screen(struct watch *watch, const char *expected)
{
    static struct screen screen;
    screen = (struct screen){.length = 0};
    for (const char *at = told(watch); *at != '\0'; at++) {
        put_byte(&screen, *at);
    }
    end_row(&screen);
    assert_string_equal(screen.text, expected);
}

/* ---- The module ---- */

static void begin(const char *path)
{
    progress_begin("reading", path, ".old", 1000 * MIB);
    progress_at(0);
}

static void work_until(uint64_t ms, uint64_t done_bytes)
{
    now_ms = 1000000 + ms;
    progress_at(done_bytes);
}

/* Work of 1,000 MiB that began at one place, and what is told when it is at another. */
struct moment {
    uint64_t from_mib;
    uint64_t ms;
    uint64_t done_mib;
    const char *told;
};

/* Short work is not told of; what was done before is no sign of how fast the work is. */
static void progress_shows_percent_rate_and_time_left(void **state)
{
    static const struct moment moments[] = {
        {0, 999, 900, ""},
        {0, 2000, 100, "kv-store: 10% of 1000 MiB, 50 MiB/s, 17 s left: reading kv.log"},
        {0, 20000, 101, "kv-store: 10% of 1000 MiB, 5 MiB/s, 2 min left: reading kv.log"},
        {0, 200000, 200,
         "kv-store: 20% of 1000 MiB, 1 MiB/s, 13 min left: reading kv.log"},
        {800, 2000, 900, "kv-store: 90% of 1000 MiB, 50 MiB/s, 1 s left: reading kv.log"},
    };
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        work_until(0, 0);
        progress_begin("reading", "kv.log", "", 1000 * MIB);
        progress_at(moments[i].from_mib * MIB);
        work_until(moments[i].ms, moments[i].done_mib * MIB);
        expect_screen(*state, moments[i].told);
    }
}

static void progress_tells_the_same_as_a_message(void **state)
{
    begin("kv.log");
    work_until(2999, 150 * MIB);
    assert_string_equal(told(*state), "");
    work_until(4000, 200 * MIB);
    assert_string_equal(told(*state), "kv-store: 20% of 1000 MiB, 50 MiB/s, 15 s left: "
                                      "reading kv.log.old\n");
}

static void progress_rewrites_the_line_no_more_often_than_can_be_read(void **state)
{
    begin("kv.log");
    for (uint64_t ms = 1; ms <= 3000; ms++) {
        work_until(ms, ms * 64 * KIB);
    }
    /* After 1 s, and each 200 ms from then on. */
    assert_int_equal(count_of(told(*state), "\r"), 11);
}

static void progress_tells_a_message_every_few_seconds(void **state)
{
    begin("kv.log");
    for (uint64_t ms = 1; ms <= 12500; ms++) {
        work_until(ms, ms * 64 * KIB);
    }
    const char *text = told(*state);
    assert_int_equal(count_of(text, "\n"), 4);
    assert_int_equal(count_of(text, "kv-store: "), 4);
    assert_int_equal(count_of(text, "\r"), 0);
}

static void progress_makes_room_for_messages(void **state)
{
    begin("kv.log");
    work_until(2000, 100 * MIB);
    diag_info("one");
    errno = ENOSPC;
    diag_warn("two");
    assert_int_equal(errno, ENOSPC);
    char expected[256];
    (void)snprintf(expected, sizeof expected, "kv-store: one\nkv-store: two: %s\n",
                   strerror(ENOSPC));
    expect_screen(*state, expected);
    diag_info("three");
    assert_string_equal(told(*state), "kv-store: three\n");
    work_until(2100, 110 * MIB);
    assert_string_equal(told(*state), "");
    work_until(2200, 120 * MIB);
    assert_non_null(strstr(told(*state), "12%"));
}

static void progress_leaves_nothing_when_it_ends(void **state)
{
    struct watch *watch = *state;
    begin("kv.log");
    work_until(2000, 100 * MIB);
    progress_end();
    expect_screen(watch, "");
    work_until(9000, 500 * MIB);
    progress_end();
    assert_string_equal(told(watch), "");
    /* Other work takes its place, from a time of its own on. */
    begin("kv.log");
    work_until(11000, 100 * MIB);
    begin("other.log");
    expect_screen(watch, "");
    work_until(11900, 200 * MIB);
    assert_string_equal(told(watch), "");
}

static void progress_fits_into_one_row(void **state)
{
    static char path[300];
    memset(path, 'p', sizeof path - 1);
    path[0] = '\n';
    path[1] = '\x1b';
    begin(path);
    work_until(2000, 100 * MIB);
    const char *line = told(*state);
    assert_int_equal(strlen(line), COLUMNS);
    assert_non_null(strstr(line, "reading ??ppp"));
}

static void progress_goes_neither_back_nor_beyond_the_end(void **state)
{
    begin("kv.log");
    work_until(4000, 500 * MIB);
    assert_non_null(strstr(told(*state), " 50% of"));
    work_until(8000, 100 * MIB);
    assert_string_equal(told(*state), "");
    work_until(12000, 2000 * MIB);
    assert_non_null(strstr(told(*state), " 100% of 2000 MiB"));
    progress_begin("reading", "kv.log", "", 0);
    progress_at(0);
    work_until(20000, MIB);
    assert_non_null(strstr(told(*state), " 100% of 1 MiB"));
}

static void progress_does_nothing_where_there_is_no_work(void **state)
{
    look_count = 0;
    for (uint64_t at = 0; at < GIB; at += MIB) {
        progress_at(at);
    }
    progress_at(UINT64_MAX);
    assert_int_equal(look_count, 0);
    assert_string_equal(told(*state), "");
}

/* Records are many: none of them costs a look at the clock. */
static void progress_looks_at_the_clock_once_a_step(void **state)
{
    (void)state;
    begin("kv.log");
    look_count = 0;
    for (uint64_t at = 0; at <= 16 * PROGRESS_STEP_BYTES; at += 64) {
        progress_at(at);
    }
    assert_int_equal(look_count, 16);
}

/* ---- Work ---- */

/* A batch is more than a step of progress. */
enum { BATCHES = 20, VALUE_BYTES = 70000, PLAIN_RECORDS = 2000, PLAIN_BYTES = 1000 };

static void put_filled(struct image *image, const char *key, size_t value_bytes)
{
    struct script value = {0};
    script_add_fill(&value, 'v', value_bytes);
    image_put(image, slice_of_text(key), script_slice(&value));
    script_free(&value);
}

/* So many keys, and a seal behind each; returns where the third last of them begins. */
static uint64_t put_keys(struct image *image, size_t count, size_t value_bytes,
                         bool is_sealed)
{
    uint64_t third_last = 0;
    for (size_t i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key%zu", i);
        third_last = i + 3 == count ? image->log.length : third_last;
        put_filled(image, key, value_bytes);
        if (is_sealed) {
            image_seal(image);
        }
    }
    return third_last;
}

static void write_file(const struct watch *watch, const char *name, struct slice bytes)
{
    struct script script = {0};
    script_add(&script, bytes);
    script_write_file(&script, tempdir_file(&watch->tempdir, name).path);
    script_free(&script);
}

enum log_kind {
    LOG_SOUND,
    LOG_DAMAGED,
    LOG_ORIGINAL,   /* as the original program writes it */
    LOG_ONE_BATCH,  /* of many records: verified at once, taken record by record */
    LOG_PAIR,       /* PATH continues PATH.old, which is still wanted */
    LOG_OLDER_ALONE /* PATH.old, as a compaction that had only begun leaves it */
};

static void write_log(const struct watch *watch, enum log_kind kind)
{
    struct image image;
    struct image next;
    image_begin_first(&image);
    uint64_t damage =
        kind == LOG_ORIGINAL    ? put_keys(&image, PLAIN_RECORDS, PLAIN_BYTES, false)
        : kind == LOG_ONE_BATCH ? put_keys(&image, 8, MIB, false)
                                : put_keys(&image, BATCHES, VALUE_BYTES, true);
    if (kind == LOG_ONE_BATCH) {
        image_seal(&image);
    } else if (kind == LOG_DAMAGED) {
        image_flip(&image, damage + 100, 0);
    } else if (kind == LOG_PAIR) {
        image_begin_next(&next, &image, 2);
        (void)put_keys(&next, BATCHES, VALUE_BYTES, true);
        write_file(watch, "kv.log", image_slice(&next));
        image_free(&next);
    }
    bool is_older = kind == LOG_PAIR || kind == LOG_OLDER_ALONE;
    write_file(
        watch, is_older ? "kv.log.old" : "kv.log",
        slice_after(image_slice(&image), kind == LOG_ORIGINAL ? OPENING_BYTES : 0));
    image_free(&image);
}

static enum status start_and_stop(const struct watch *watch)
{
    struct store_options options = {.path = watch->log.path};
    struct store *store = NULL;
    enum status status = store_open(&options, &store);
    return status == KV_OK ? store_close(store) : status;
}

static enum status verify(const struct watch *watch)
{
    return verify_log(watch->log.path);
}

static enum status salvage(const struct watch *watch)
{
    return salvage_log(watch->log.path, tempdir_file(&watch->tempdir, "new.log").path);
}

static enum status dump(const struct watch *watch)
{
    return dump_log(watch->log.path, LINES_SET);
}

/* Work on one kind of log, and what so many lines tell of it at least. */
struct work {
    const char *name;
    enum status (*run)(const struct watch *watch);
    enum log_kind log;
    size_t lines_min;
    const char *told[3]; /* a verb and a file */
};

static const struct work works[] = {
    {"start", start_and_stop, LOG_SOUND, 10, {"reading kv.log"}},
    {"start on two", start_and_stop, LOG_PAIR, 10, {"reading kv.log.old"}},
    /* Twice: first it is asked whether PATH.old is still wanted. */
    {"start on two", start_and_stop, LOG_PAIR, 30, {"reading kv.log"}},
    {"start on PATH.old", start_and_stop, LOG_OLDER_ALONE, 10, {"reading kv.log.old"}},
    {"start", start_and_stop, LOG_ORIGINAL, 10, {"reading kv.log", "copying kv.log"}},
    {"start", start_and_stop, LOG_ONE_BATCH, 7, {"reading kv.log"}},
    {"verify", verify, LOG_SOUND, 10, {"reading kv.log"}},
    {"verify", verify, LOG_ORIGINAL, 10, {"reading kv.log"}},
    {"salvage", salvage, LOG_DAMAGED, 10, {"reading kv.log", "copying kv.log"}},
    {"salvage of two",
     salvage,
     LOG_PAIR,
     10,
     {"reading kv.log.old", "copying kv.log.old", "copying kv.log"}},
    {"dump", dump, LOG_SOUND, 10, {"reading kv.log", "dumping kv.log"}},
};

/* Lines tell of this work on this file, with percents that rise to near the end. */
static void expect_lines(const char *text, const char *wanted, const struct work *work)
{
    unsigned last = 0;
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "kv-store: ")) != NULL; at++) {
        char said[TEMPDIR_FILE_BYTES + 32];
        char verb[16];
        char path[TEMPDIR_FILE_BYTES];
        unsigned percent;
        unsigned mib;
        if (sscanf(at, "kv-store: %u%% of %u MiB, %*u MiB/s, %*u %*s left: %15s %511s",
                   &percent, &mib, verb, path) != 4) {
            continue;
        }
        (void)snprintf(said, sizeof said, "%s %s", verb, strrchr(path, '/') + 1);
        if (strcmp(said, wanted) == 0) {
            assert_in_range(mib, 1, 8);
            /* Another pass may begin once the one before has come near its end. */
            assert_in_range(percent, last < 80 ? last : 0, 100);
            last = percent;
            lines++;
        }
    }
    if (lines < work->lines_min || last < 80) {
        /* Where stderr goes nobody would see it. */
        print_message("%s: %s was told in %zu lines, up to %u percent\n", work->name,
                      wanted, lines, last);
        fail();
    }
}

/* Each look at the clock is so long after the one before that each tells. */
static void long_work_tells_its_progress(void **state)
{
    static const char *const files[] = {"kv.log", "kv.log.old", "kv.log.index",
                                        "new.log"};
    struct watch *watch = *state;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        for (size_t k = 0; k < sizeof files / sizeof files[0]; k++) {
            (void)unlink(tempdir_file(&watch->tempdir, files[k]).path); /* if any */
        }
        write_log(watch, works[i].log);
        int kept_fd = redirect_begin(stdout, "/dev/null");
        tick_ms = PROGRESS_MESSAGE_MS;
        enum status status = works[i].run(watch);
        tick_ms = 0;
        redirect_end(stdout, kept_fd);
        assert_int_equal(status, KV_OK);
        const char *text = told(watch);
        for (size_t k = 0; k < 3 && works[i].told[k] != NULL; k++) {
            expect_lines(text, works[i].told[k], &works[i]);
        }
    }
}

/* A terminal that takes so much without a reader is not to be had: this one is none. */
static void dump_to_a_terminal_is_not_disturbed(void **state)
{
    struct watch *watch = *state;
    write_log(watch, LOG_SOUND);
    int kept_fd = redirect_begin(stdout, "/dev/null");
    has_terminal_stdout = true;
    tick_ms = PROGRESS_MESSAGE_MS;
    assert_int_equal(dump_log(watch->log.path, LINES_SET), KV_OK);
    redirect_end(stdout, kept_fd);
    assert_null(strstr(told(watch), "dumping"));
}

/* What is found is printed while the walk goes on. */
static void salvage_prints_whole_lines_on_the_same_terminal(void **state)
{
    struct watch *watch = *state;
    write_log(watch, LOG_DAMAGED);
    assert_int_equal(chdir(watch->tempdir.path), 0);
    (void)fflush(stdout); /* of cmocka */
    assert_int_equal(dup2(STDERR_FILENO, STDOUT_FILENO), STDOUT_FILENO);
    assert_int_equal(setvbuf(stdout, NULL, _IOLBF, 0), 0); /* as on any terminal */
    tick_ms = PROGRESS_MESSAGE_MS;
    assert_int_equal(salvage_log("kv.log", "new.log"), KV_OK);
    uint64_t batch_bytes = record_length(5, VALUE_BYTES) + SEAL_BYTES;
    uint64_t start = OPENING_BYTES + (BATCHES - 3) * batch_bytes - 10;
    char expected[512];
    (void)snprintf(
        expected, sizeof expected,
        "lost %llu bytes from offset %llu to %llu of kv.log\n"
        "kept %d keys, %llu bytes\nlost %llu bytes in all\n"
        "a lost range may have held newer values of these keys, or deletions\n",
        (unsigned long long)batch_bytes, (unsigned long long)start,
        (unsigned long long)(start + batch_bytes), BATCHES - 1,
        (unsigned long long)((BATCHES - 1) * record_length(5, VALUE_BYTES) - 10),
        (unsigned long long)batch_bytes);
    expect_screen(watch, expected);
    assert_int_equal(chdir("/"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TERMINAL(progress_shows_percent_rate_and_time_left),
        ON_PIPE(progress_tells_the_same_as_a_message),
        ON_TERMINAL(progress_rewrites_the_line_no_more_often_than_can_be_read),
        ON_PIPE(progress_tells_a_message_every_few_seconds),
        ON_TERMINAL(progress_makes_room_for_messages),
        ON_TERMINAL(progress_leaves_nothing_when_it_ends),
        ON_TERMINAL(progress_fits_into_one_row),
        ON_PIPE(progress_goes_neither_back_nor_beyond_the_end),
        ON_PIPE(progress_does_nothing_where_there_is_no_work),
        ON_PIPE(progress_looks_at_the_clock_once_a_step),
        ON_PIPE(long_work_tells_its_progress),
        ON_TERMINAL(dump_to_a_terminal_is_not_disturbed),
        ON_TERMINAL(salvage_prints_whole_lines_on_the_same_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
