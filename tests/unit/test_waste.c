/*
 * Files that lost their name: cut away a step at a time, and only if they did lose it.
 *
 * wrap: close fstat ftruncate
 */
#include "file/waste.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two whole steps, and a bit. */
#define LENGTH (2 * CUT_STEP_BYTES + 100)

/* A file of that length without a block, and a descriptor of it that shows its length. */
struct doomed {
    int fd;
    int look_fd;
};

static struct doomed make_file(const struct engine *engine, bool keeps_name)
{
    struct tempdir_file file = tempdir_file(&engine->tempdir, "doomed");
    struct doomed doomed = {.fd = open(file.path, O_RDWR | O_CREAT, 0600)};
    doomed.look_fd = open(file.path, O_RDONLY);
    assert_true(doomed.fd >= 0 && doomed.look_fd >= 0);
    assert_int_equal(ftruncate(doomed.fd, (off_t)LENGTH), 0);
    if (!keeps_name) {
        assert_int_equal(unlink(file.path), 0);
    }
    return doomed;
}

static uint64_t length_of(struct doomed doomed)
{
    struct stat info;
    assert_int_equal(fstat(doomed.look_fd, &info), 0);
    return (uint64_t)info.st_size;
}

static void waste_is_cut_away_in_steps(void **state)
{
    struct waste waste = {0};
    struct doomed doomed = make_file(*state, false);
    waste_take(&waste, doomed.fd);
    waste_step(&waste);
    assert_int_equal(length_of(doomed), LENGTH - CUT_STEP_BYTES);
    waste_step(&waste);
    assert_int_equal(length_of(doomed), LENGTH - 2 * CUT_STEP_BYTES);
    assert_int_equal(waste.count, 1);
    waste_step(&waste); /* the system frees the rest */
    assert_int_equal(waste.count, 0);
    assert_int_equal(fcntl(doomed.fd, F_GETFD), -1);
    waste_step(&waste); /* nothing is left to do */
    assert_int_equal(close(doomed.look_fd), 0);
}

/* A rename that failed, or a second link: it is somebody's still; or calls that fail. */
static void waste_that_has_a_name_or_cannot_be_cut_is_closed_as_it_is(void **state)
{
    static const enum shim_call calls[] = {SHIM_CALL_COUNT, SHIM_FSTAT, SHIM_FTRUNCATE};
    for (size_t i = 0; i < 3; i++) {
        struct waste waste = {0};
        struct doomed doomed = make_file(*state, i == 0);
        waste_take(&waste, doomed.fd);
        if (i > 0) {
            shim_fail_once(SHIM_BIT(calls[i]), SHIM_ANY, 1, EIO);
        }
        waste_step(&waste);
        shim_clear_faults();
        assert_int_equal(waste.count, 0);
        assert_int_equal(length_of(doomed), LENGTH);
        assert_int_equal(fcntl(doomed.fd, F_GETFD), -1);
        assert_int_equal(close(doomed.look_fd), 0);
    }
}

/* One more than are held, and all of them at once. */
static void waste_holds_so_many_files_and_drops_them_all(void **state)
{
    struct waste waste = {0};
    struct doomed doomed[WASTE_FILES_MAX + 1];
    for (size_t i = 0; i < WASTE_FILES_MAX + 1; i++) {
        doomed[i] = make_file(*state, false);
        waste_take(&waste, doomed[i].fd);
        assert_int_equal(waste.count, i < WASTE_FILES_MAX ? i + 1 : WASTE_FILES_MAX);
    }
    uint64_t closed = shim_count(SHIM_CLOSE);
    waste_drop(&waste);
    assert_int_equal(shim_count(SHIM_CLOSE), closed + WASTE_FILES_MAX);
    assert_int_equal(waste.count, 0);
    for (size_t i = 0; i < WASTE_FILES_MAX + 1; i++) {
        assert_int_equal(length_of(doomed[i]), LENGTH);
        assert_int_equal(close(doomed[i].look_fd), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(waste_is_cut_away_in_steps),
        ON_ENGINE(waste_that_has_a_name_or_cannot_be_cut_is_closed_as_it_is),
        ON_ENGINE(waste_holds_so_many_files_and_drops_them_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
