/*
 * Messages on stderr: whole lines, never in the way, errno kept.
 */
#include "diag.h"

#include "bounds.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { KEPT_BYTES = 1 << 18, HANG_S = 60 };

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

static void diag_info_tells_one_line(void **state)
{
    (void)state;
    diag_info("listening on %s:%d", "127.0.0.1", 7878);
    assert_string_equal(told(), "kv-store: listening on 127.0.0.1:7878\n");
}

static void diag_warn_tells_the_cause(void **state)
{
    (void)state;
    errno = ENOSPC;
    diag_warn("cannot write %s", "kv.log");
    char expected[256] = "kv-store: cannot write kv.log: ";
    strcat(strcat(expected, strerror(ENOSPC)), "\n");
    assert_string_equal(told(), expected);
}

static void diag_tells_lines_in_order(void **state)
{
    (void)state;
    diag_info("one");
    errno = EIO;
    diag_warn("two");
    diag_info("three");
    char expected[256] = "kv-store: one\nkv-store: two: ";
    strcat(strcat(expected, strerror(EIO)), "\nkv-store: three\n");
    assert_string_equal(told(), expected);
}

static void diag_keeps_errno(void **state)
{
    (void)state;
    errno = ENOLCK;
    diag_info("anything");
    assert_int_equal(errno, ENOLCK);
    diag_warn("anything");
    assert_int_equal(errno, ENOLCK);
    fill_pipe();
    errno = ENOLCK;
    diag_info("lost");
    assert_int_equal(errno, ENOLCK);
    diag_warn("lost");
    assert_int_equal(errno, ENOLCK);
}

/* A message so long that its line has `total` bytes. */
static size_t told_length(size_t total)
{
    static char text[8192];
    size_t length = total - strlen("kv-store: \n");
    memset(text, 'm', length);
    text[length] = '\0';
    diag_info("%s", text);
    const char *line = told();
    size_t shown = strlen(line);
    assert_memory_equal(line, "kv-store: mmm", 13);
    assert_ptr_equal(strchr(line, '\n'), line + shown - 1);
    return shown;
}

static void diag_cuts_a_line_at_its_limit(void **state)
{
    (void)state;
    /* The limit counts the NUL of the text as well. */
    assert_int_equal(told_length(DIAG_LINE_BYTES_MAX - 2), DIAG_LINE_BYTES_MAX - 2);
    assert_int_equal(told_length(DIAG_LINE_BYTES_MAX - 1), DIAG_LINE_BYTES_MAX - 1);
    assert_in_range(told_length(DIAG_LINE_BYTES_MAX + 1), DIAG_LINE_BYTES_MAX - 1,
                    DIAG_LINE_BYTES_MAX);
    assert_in_range(told_length(8000), DIAG_LINE_BYTES_MAX - 1, DIAG_LINE_BYTES_MAX);
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
        const char *line = told();
        assert_in_range(strlen(line), 1, DIAG_LINE_BYTES_MAX);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        text[length] = 'm';
    }
}

static void diag_drops_lines_that_nobody_reads_and_counts_them(void **state)
{
    (void)state;
    fill_pipe();
    for (int i = 0; i < 3; i++) {
        diag_info("lost %d", i);
    }
    errno = EIO;
    diag_warn("lost as well");
    (void)told();
    diag_info("back");
    assert_string_equal(told(),
                        "kv-store: 4 messages were dropped here\nkv-store: back\n");
    diag_info("again");
    assert_string_equal(told(), "kv-store: again\n");
}

/* A reader that went away is no reason to die, nor to forget errno. */
static void diag_survives_a_reader_that_went_away(void **state)
{
    (void)state;
    assert_int_equal(close(read_fd), 0);
    read_fd = -1;
    errno = ENOLCK;
    diag_info("lost");
    assert_int_equal(errno, ENOLCK);
}

static void diag_survives_a_closed_stderr(void **state)
{
    (void)state;
    assert_int_equal(close(STDERR_FILENO), 0);
    errno = ENOLCK;
    diag_info("lost");
    assert_int_equal(errno, ENOLCK);
    assert_int_equal(dup2(write_fd, STDERR_FILENO), STDERR_FILENO);
    diag_info("back");
    assert_string_equal(told(),
                        "kv-store: 1 messages were dropped here\nkv-store: back\n");
}

int main(void)
{
    /* The server ignores it too. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* A message that blocks must fail the test, not hang it. */
    (void)alarm(HANG_S);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(diag_info_tells_one_line, listen_begin,
                                        listen_end),
        cmocka_unit_test_setup_teardown(diag_warn_tells_the_cause, listen_begin,
                                        listen_end),
        cmocka_unit_test_setup_teardown(diag_tells_lines_in_order, listen_begin,
                                        listen_end),
        cmocka_unit_test_setup_teardown(diag_keeps_errno, listen_begin, listen_end),
        cmocka_unit_test_setup_teardown(diag_cuts_a_line_at_its_limit, listen_begin,
                                        listen_end),
        cmocka_unit_test_setup_teardown(diag_warn_cuts_the_cause_too, listen_begin,
                                        listen_end),
        cmocka_unit_test_setup_teardown(
            diag_drops_lines_that_nobody_reads_and_counts_them, listen_begin, listen_end),
        cmocka_unit_test_setup_teardown(diag_survives_a_reader_that_went_away,
                                        listen_begin, listen_end),
        cmocka_unit_test_setup_teardown(diag_survives_a_closed_stderr, listen_begin,
                                        listen_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
