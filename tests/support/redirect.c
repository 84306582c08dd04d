#include "support/redirect.h"

#include "support/unit.h"

#include <fcntl.h>
#include <unistd.h>

int redirect_begin(FILE *stream, const char *path)
{
    (void)fflush(stream); /* what is there already belongs to the terminal */
    int kept_fd = dup(fileno(stream));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    assert_in_range(fd, 0, 1023);
    assert_int_equal(dup2(fd, fileno(stream)), fileno(stream));
    assert_int_equal(close(fd), 0);
    return kept_fd;
}

void redirect_end(FILE *stream, int kept_fd)
{
    (void)fflush(stream); /* into the file */
    clearerr(stream);
    assert_int_equal(dup2(kept_fd, fileno(stream)), fileno(stream));
    assert_int_equal(close(kept_fd), 0);
}
