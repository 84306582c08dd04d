/*
 * Messages on stderr: whole lines, never in the way, errno kept.
 */
#include "base/diag.h"

#include "base/bounds.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT_BYTES = 1 << 18 };

/* stderr while a test listens: the pipe's ends, and the real one. */
static int read_fd = -1;
static int write_fd = -1;
static int kept_stderr = -1;
static char kept[KEPT_BYTES];

/* Everything told since the last call; the pipe never blocks a reader. */
static const char *told(void)
{
    size_t length = 0;
    ssize_t count;
    while ((count = read(read_fd, kept + length, sizeof kept - 1 - length)) > 0) {
        length += (size_t)count;
    }
    kept[length] = '\0';
    return kept;
}

static void set_blocking(int fd, bool is_blocking)
{
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    flags = is_blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

/* A test that reads what is told; the journal does not read it. */
#define LISTENING(test) cmocka_unit_test_setup_teardown(test, listen_begin, listen_end)

static int listen_begin(void **state)
{
    (void)state;
    int ends[2];
    kept_stderr = dup(STDERR_FILENO);
    if (kept_stderr < 0 || pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) {
        return -1;
    }
    read_fd = ends[0];
    write_fd = ends[1];
    set_blocking(read_fd, false);
    (void)unsetenv("JOURNAL_STREAM"); /* the name is a plain one */
    /* What an earlier test left to be told is told now. */
    diag_info("begin");
    (void)told();
    return 0;
}

static int listen_end(void **state)
{
    (void)state;
    (void)dup2(kept_stderr, STDERR_FILENO); /* a test that fails here shows itself */
    (void)close(kept_stderr);
    (void)close(write_fd);
    if (read_fd >= 0) {
        (void)close(read_fd);
    }
    return 0;
}

/* Fill the pipe until not a byte fits, as when nobody reads. */
static void fill_pipe(void)
{
    static const char block[4096];
    set_blocking(STDERR_FILENO, false);
    while (write(STDERR_FILENO, block, sizeof block) > 0) {
    }
    while (write(STDERR_FILENO, block, 1) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    set_blocking(STDERR_FILENO, true);
}

/* Name stderr as the journal's, its inode off by so many, with a text behind. */
static void set_journal(uintmax_t inode_off_by, const char *behind)
{
    char name[128];
    struct stat info;
    assert_int_equal(fstat(STDERR_FILENO, &info), 0);
    (void)snprintf(name, sizeof name, "%ju:%ju%s", (uintmax_t)info.st_dev,
                   (uintmax_t)info.st_ino + inode_off_by, behind);
    assert_int_equal(setenv("JOURNAL_STREAM", name, 1), 0);
}

static void diag_tells_each_kind_with_or_without_a_cause(void **state)
{
    (void)state;
    char expected[512];
    errno = ENOSPC;
    diag_info("listening on %s:%d", "127.0.0.1", 7878);
    diag_warn("cannot write %s", "kv.log");
    diag_warnx("warnx");
    diag_error("error");
    diag_errorx("errorx");
    assert_int_equal(errno, ENOSPC);
    (void)snprintf(expected, sizeof expected,
                   "kv-store: listening on 127.0.0.1:7878\n"
                   "kv-store: cannot write kv.log: %s\nkv-store: warnx\n"
                   "kv-store: error: %s\nkv-store: errorx\n",
                   strerror(ENOSPC), strerror(ENOSPC)); /* fits */
    assert_string_equal(told(), expected);
}

/* A path may hold what would end the line, or move the cursor of a terminal. */
static void diag_blanks_control_characters(void **state)
{
    (void)state;
    diag_info("%s: \xc3\xa9~", "a\nb\x1b[2J\x7f\tc");
    assert_string_equal(told(), "kv-store: a?b?[2J??c: \xc3\xa9~\n");
}

/* Lines that are held are told in order or forgotten; there is room for so many. */
static void diag_holds_lines_until_they_are_told_or_not(void **state)
{
    (void)state;
    diag_hold();
    diag_info("one");
    errno = EIO;
    diag_warn("two");
    assert_string_equal(told(), "");
    diag_release(true);
    assert_string_equal(told(), "kv-store: one\nkv-store: two: Input/output error\n");
    diag_hold();
    diag_info("three");
    diag_release(false);
    diag_info("four");
    assert_string_equal(told(), "kv-store: four\n");
    diag_hold();
    for (int i = 0; i <= DIAG_HELD_MAX; i++) {
        diag_info("line %d", i);
    }
    assert_string_equal(told(), "kv-store: line 4\n");
    diag_release(false);
    diag_release(true); /* there is nothing left */
    assert_string_equal(told(), "");
}

/* What was told is one line, and how long it is. */
static size_t line_length(void)
{
    const char *line = told();
    size_t length = strlen(line);
    assert_in_range(length, 1, DIAG_LINE_BYTES_MAX);
    assert_ptr_equal(strchr(line, '\n'), line + length - 1);
    return length;
}

/* Tell a message so long that its line would have `total` bytes. */
static size_t told_length(size_t total)
{
    static char text[8192];
    size_t length = total - strlen("kv-store: \n");
    memset(text, 'm', length);
    text[length] = '\0';
    diag_info("%s", text);
    return line_length();
}

/* The limit counts the NUL of the text as well. */
static void diag_cuts_a_line_at_its_limit(void **state)
{
    (void)state;
    assert_int_equal(told_length(DIAG_LINE_BYTES_MAX - 2), DIAG_LINE_BYTES_MAX - 2);
    for (int is_journal = 0; is_journal < 2; is_journal++) {
        assert_in_range(told_length(DIAG_LINE_BYTES_MAX - 1), DIAG_LINE_BYTES_MAX - 1,
                        DIAG_LINE_BYTES_MAX);
        assert_in_range(told_length(DIAG_LINE_BYTES_MAX + 1), DIAG_LINE_BYTES_MAX - 1,
                        DIAG_LINE_BYTES_MAX);
        assert_in_range(told_length(8000), DIAG_LINE_BYTES_MAX - 1, DIAG_LINE_BYTES_MAX);
        set_journal(0, ""); /* with a level */
    }
}

static void diag_warn_cuts_the_cause_too(void **state)
{
    static char text[8192];
    (void)state;
    memset(text, 'm', sizeof text - 1);
    for (size_t length = DIAG_LINE_BYTES_MAX - 60; length < DIAG_LINE_BYTES_MAX + 5;
         length++) {
        text[length] = '\0';
        errno = ENOSPC;
        diag_warn("%s", text);
        (void)line_length();
        text[length] = 'm';
    }
}

static void diag_drops_lines_that_nobody_reads_and_counts_them(void **state)
{
    (void)state;
    fill_pipe();
    errno = EIO;
    for (int i = 0; i < 3; i++) {
        diag_info("lost %d", i);
    }
    diag_warn("lost as well");
    assert_int_equal(errno, EIO);
    (void)told();
    diag_info("back");
    assert_string_equal(told(),
                        "kv-store: 4 messages were dropped here\nkv-store: back\n");
    diag_info("again");
    assert_string_equal(told(), "kv-store: again\n");
}

/* A line that was never shown is not taken away, one that was shown once is. */
static void diag_show_gives_up_where_nobody_reads(void **state)
{
    (void)state;
    fill_pipe();
    diag_show("unseen");
    (void)told();
    diag_info("first");
    assert_string_equal(told(), "kv-store: first\n");
    diag_show("shown");
    fill_pipe();
    diag_show("unseen");
    (void)told();
    diag_info("second");
    const char *cleared = told();
    assert_int_equal(cleared[0], '\r');
    assert_string_equal(strrchr(cleared, '\r'), "\rkv-store: second\n");
}

/* What ends the program takes the line away that is shown, and writes nothing else. */
static void diag_leave_takes_away_what_is_shown(void **state)
{
    (void)state;
    char blanks[DIAG_COLUMNS_MAX + 3];
    (void)snprintf(blanks, sizeof blanks, "\r%*s\r", DIAG_COLUMNS_MAX, "");
    diag_leave();
    assert_string_equal(told(), "");
    diag_show("on the way");
    (void)told();
    diag_leave();
    assert_string_equal(told(), blanks);
    diag_clear();
    (void)told();
    diag_leave();
    assert_string_equal(told(), "");
}

/* No reason to die, nor to forget errno. */
static void diag_survives_a_reader_that_went_away_and_a_closed_stderr(void **state)
{
    (void)state;
    assert_int_equal(close(STDERR_FILENO), 0);
    assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
    errno = ENOLCK;
    diag_info("lost");
    assert_int_equal(errno, ENOLCK);
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    assert_int_equal(dup2(write_fd, STDERR_FILENO), STDERR_FILENO);
    diag_info("back");
    assert_string_equal(told(),
                        "kv-store: 1 messages were dropped here\nkv-store: back\n");
    assert_int_equal(close(read_fd), 0);
    read_fd = -1;
    errno = ENOLCK;
    diag_info("lost");
    assert_int_equal(errno, ENOLCK);
}

static void diag_puts_levels_where_the_journal_reads(void **state)
{
    (void)state;
    set_journal(0, "");
    errno = EIO;
    diag_info("info");
    diag_warnx("warnx");
    diag_errorx("errorx");
    assert_string_equal(told(), "<6>kv-store: info\n<4>kv-store: warnx\n"
                                "<3>kv-store: errorx\n");
    diag_warn("warn");
    assert_memory_equal(told(), "<4>kv-store: warn: ", 19);
    diag_error("error");
    assert_memory_equal(told(), "<3>kv-store: error: ", 20);
    fill_pipe();
    diag_info("lost");
    (void)told();
    diag_info("back");
    assert_string_equal(told(), "<4>kv-store: 1 messages were dropped here\n"
                                "<6>kv-store: back\n");
}

/* Inherited, but stderr goes elsewhere; or no such name at all. */
static void diag_puts_no_level_where_the_journal_does_not_read(void **state)
{
    static const char *const names[] = {NULL, "", ":", "8:", "0:0", "journal", "%s%n"};
    static const struct {
        uintmax_t off_by;
        const char *behind;
    } others[] = {{1, ""}, {0, "0"}, {0, " "}};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        set_journal(others[i].off_by, others[i].behind);
        diag_info("other");
        assert_string_equal(told(), "kv-store: other\n");
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(names[i] == NULL ? unsetenv("JOURNAL_STREAM")
                                          : setenv("JOURNAL_STREAM", names[i], 1),
                         0);
        diag_info("name");
        assert_string_equal(told(), "kv-store: name\n");
    }
}

int main(void)
{
    /* The server ignores it too. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* A message that blocks must fail the test, not hang it. */
    (void)alarm(WATCHDOG_S);
    const struct CMUnitTest tests[] = {
        LISTENING(diag_blanks_control_characters),
        LISTENING(diag_holds_lines_until_they_are_told_or_not),
        LISTENING(diag_cuts_a_line_at_its_limit),
        LISTENING(diag_warn_cuts_the_cause_too),
        LISTENING(diag_drops_lines_that_nobody_reads_and_counts_them),
        LISTENING(diag_show_gives_up_where_nobody_reads),
        LISTENING(diag_leave_takes_away_what_is_shown),
        LISTENING(diag_survives_a_reader_that_went_away_and_a_closed_stderr),
        LISTENING(diag_tells_each_kind_with_or_without_a_cause),
        LISTENING(diag_puts_levels_where_the_journal_reads),
        LISTENING(diag_puts_no_level_where_the_journal_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
