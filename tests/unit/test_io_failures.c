/*
 * Calls that neither fail nor do what they are for.
 *
 * wrap: pwrite fopen
 */
#include "file/io.h"

#include "support/engine.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static unsigned pwrite_count;

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset);
FILE *__wrap_fopen(const char *path, const char *mode);

/* Takes nothing, for ever, and says that all is well. */
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    (void)fd;
    (void)bytes;
    (void)length;
    (void)offset;
    assert_in_range(++pwrite_count, 1, 3); /* not for ever, in a test */
    errno = 0;
    return 0;
}

/* A source of random bytes that runs dry. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
    static char bytes[] = "abc";
    assert_string_equal(path, "/dev/urandom");
    return fmemopen(bytes, 3, mode);
}

static void io_write_at_does_not_spin_on_a_file_that_takes_nothing(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_WRONLY);
    assert_in_range(fd, 0, 1023);
    assert_int_equal(io_write_at(fd, SLICE_LITERAL("text"), 0), KV_IO);
    assert_int_equal(errno, EIO);
    assert_int_equal(pwrite_count, 1);
    assert_int_equal(close(fd), 0);
}

static void io_random_refuses_fewer_bytes_than_it_needs(void **state)
{
    char bytes[4];
    (void)state;
    assert_int_equal(io_random(bytes, 3), KV_OK);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(io_random(bytes, 4), KV_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(io_write_at_does_not_spin_on_a_file_that_takes_nothing),
        cmocka_unit_test(io_random_refuses_fewer_bytes_than_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
