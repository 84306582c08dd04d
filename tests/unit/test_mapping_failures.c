/*
 * Mappings that cannot be made, the answer to SIGBUS where it is not theirs to give, and
 * what the system is told about reading.
 *
 * wrap: open openat fstat mmap signal __sysv_signal posix_madvise
 */
#include "file/mapping.h"

#include "base/bounds.h"
#include "support/engine.h"
#include "support/shim.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GAVE_UP = 70, WAS_SERVED = 71, PAGE = 4096 };

typedef void (*handler)(int);
handler __wrap_signal(int number, handler wanted);
handler __wrap___sysv_signal(int number, handler wanted); /* what glibc makes of it */

static bool ends_when_it_gives_up;

/* The handler gives up by asking for the default action, which a test may look at. */
handler __wrap_signal(int number, handler wanted)
{
    struct sigaction action = {.sa_handler = wanted};
    if (ends_when_it_gives_up && number == SIGBUS && wanted == SIG_DFL) {
        _exit(GAVE_UP);
    }
    assert_int_equal(sigaction(number, &action, NULL), 0);
    return wanted;
}

handler __wrap___sysv_signal(int number, handler wanted)
{
    return __wrap_signal(number, wanted);
}

/* The advice given last, and where. */
static struct {
    const void *start;
    size_t length;
    int advice;
} advised;

int __wrap_posix_madvise(void *start, size_t length, int advice);

int __wrap_posix_madvise(void *start, size_t length, int advice)
{
    advised.start = start;
    advised.length = length;
    advised.advice = advice;
    return 0;
}

static int open_text(const struct engine *engine, const char *suffix)
{
    engine_write(engine, suffix, SLICE_LITERAL("text"));
    return open(engine_file(engine, suffix).path, O_RDONLY);
}

/* Before any other test: the handler is installed only once. */
static void f57_mapping_open_without_its_source_of_zeros_fails(void **state)
{
    struct mapping *mapping = NULL;
    uint64_t length = 0;
    int fd = open_text(*state, "");
    shim_fail_once(SHIM_BIT(SHIM_OPEN), SHIM_ANY, 1, EMFILE);
    assert_int_equal(mapping_open(fd, &mapping, &length), KV_IO);
    assert_null(mapping);
    assert_int_equal(mapping_open(fd, &mapping, &length), KV_OK); /* is tried again */
    engine_catch_sigbus();                                        /* keeps the handler */
    assert_true(length == 4);
    assert_memory_equal(mapping_bytes(mapping), "text", 4);
    mapping_close(mapping);
    assert_int_equal(close(fd), 0);
}

/* ---- SIGBUS ---- */

/* A file of one page, and a view of two: the second one cannot be read. */
static struct mapping *open_short(const struct engine *engine, const char *suffix)
{
    struct mapping *mapping = NULL;
    uint64_t length = 0;
    engine_catch_sigbus();
    int fd = open_text(engine, suffix);
    assert_int_equal(mapping_open(fd, &mapping, &length), KV_OK);
    return mapping; /* the descriptor is left to the end of the program */
}

static void read_byte(const uint8_t *place)
{
    volatile uint8_t byte = *(const volatile uint8_t *)place;
    (void)byte;
}

/* How a child ends that reads a byte: an exit status, or 128 and a signal. */
static int read_in_child(const uint8_t *place)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none); /* a core file would only be litter */
        (void)alarm(WATCHDOG_S);             /* the fault may come for ever */
        read_byte(place);
        _exit(WAS_SERVED);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A view of a file without a page, which is not a mapping of this module. */
static const uint8_t *map_foreign(const struct engine *engine)
{
    engine_write(engine, ".foreign", SLICE_LITERAL(""));
    int fd = open(engine_file(engine, ".foreign").path, O_RDONLY);
    void *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    return bytes;
}

static void f57_mapping_puts_zeros_in_the_view_that_failed_and_no_other(void **state)
{
    struct engine *engine = *state;
    struct mapping *mappings[3];
    for (int i = 0; i < 3; i++) {
        const char *const names[] = {".a", ".b", ".c"};
        mappings[i] = open_short(engine, names[i]);
    }
    mapping_close(mappings[0]); /* leaves an empty place in front of the others */
    for (int i = 2; i > 0; i--) {
        assert_int_equal(mapping_lost_end(mappings[i]), 0);
        assert_int_equal(mapping_bytes(mappings[i])[PAGE + 7], 0);
        assert_true(mapping_lost_end(mappings[i]) > PAGE);
        assert_memory_equal(mapping_bytes(mappings[i]), "text", 4);
    }
    mapping_close(mappings[1]);
    mapping_close(mappings[2]);
}

/* A fault elsewhere ends the program as it would without a handler, whatever is mapped.
 */
static void f57_mapping_leaves_the_faults_of_others_alone(void **state)
{
    struct engine *engine = *state;
    const uint8_t *above = map_foreign(engine);
    struct mapping *mapping = open_short(engine, ".a");
    const uint8_t *below = map_foreign(engine);
    for (int i = 0; i < 2; i++) {
        ends_when_it_gives_up = i == 1;
        int expected = i == 0 ? 128 + SIGBUS : GAVE_UP;
        assert_int_equal(read_in_child(above), expected);
        assert_int_equal(read_in_child(below), expected);
        assert_int_equal(read_in_child(mapping_bytes(mapping) + PAGE), WAS_SERVED);
    }
    ends_when_it_gives_up = false;
    assert_int_equal(mapping_lost_end(mapping), 0); /* the children's did */
    mapping_close(mapping);
}

/* A signal that somebody sends, without a fault, is no reason to end at once. */
static void f57_mapping_gives_a_sent_signal_back_to_the_system(void **state)
{
    struct engine *engine = *state;
    struct sigaction action;
    struct mapping *mapping = open_short(engine, ".a");
    errno = EXDEV;
    assert_int_equal(raise(SIGBUS), 0);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(sigaction(SIGBUS, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL); /* the next one ends the program */
    assert_int_equal(mapping_lost_end(mapping), 0);
    engine_catch_sigbus();
    mapping_close(mapping);
}

static void expect_given_up(struct engine *engine)
{
    engine_expect_line(
        engine, "a file in use cannot be read in too many places; giving up", 0, 0);
    assert_int_equal(engine_told(engine, ""), 1);
    engine_forget_messages(engine);
}

/* Without zeros to put there the fault is answered by an end in order, not a signal. */
static void f57_mapping_without_a_page_of_zeros_ends_the_program(void **state)
{
    struct engine *engine = *state;
    struct mapping *mapping = open_short(engine, ".a");
    shim_fail_from(SHIM_BIT(SHIM_MMAP), SHIM_ANY, 1, ENOMEM);
    assert_int_equal(read_in_child(mapping_bytes(mapping) + PAGE), EXIT_FAILURE);
    expect_given_up(engine);
    mapping_close(mapping);
}

/* What the views of open_unreadable show. */
static int shown_fd = -1;

/* A file of so many pages, of which a view shows the first as if no other could be read.
 */
static struct mapping *open_unreadable(struct engine *engine, size_t page_count)
{
    struct mapping *mapping = NULL;
    uint64_t length = 0;
    engine_catch_sigbus();
    shim_set_clock(1000);
    engine_write(engine, "", SLICE_LITERAL("text"));
    assert_int_equal(truncate(engine->log.path, (off_t)(page_count * PAGE)), 0);
    shown_fd = engine_map_instead(engine, SHIM_LOG, SLICE_LITERAL("text"));
    int fd = openat(AT_FDCWD, engine->log.path, O_RDONLY); /* its name is noted */
    assert_int_equal(mapping_open(fd, &mapping, &length), KV_OK);
    assert_int_equal(length, page_count * PAGE);
    return mapping; /* the descriptors are left to the end of the program */
}

/* So many single pages are lost as are kept; one more ends the program. */
static void f104_mapping_ends_the_program_when_too_many_places_are_lost(void **state)
{
    struct engine *engine = *state;
    struct mapping *mapping = open_unreadable(engine, 2 * MAPPING_HOLES_MAX + 4);
    const uint8_t *bytes = mapping_bytes(mapping);
    for (size_t i = 0; i < MAPPING_HOLES_MAX; i++) {
        assert_int_equal(bytes[(2 * i + 1) * PAGE], 0);
    }
    assert_int_equal(mapping_lost_end(mapping), 2 * MAPPING_HOLES_MAX * PAGE);
    assert_int_equal(read_in_child(bytes + 2 * PAGE), WAS_SERVED); /* joins two */
    assert_int_equal(engine_told(engine, ""), 0);
    assert_int_equal(read_in_child(bytes + (2 * MAPPING_HOLES_MAX + 1) * PAGE),
                     EXIT_FAILURE);
    expect_given_up(engine);
    mapping_close(mapping);
}

/* A long stretch that is lost costs one failing read when it is tried again, not one for
 * each of its pages: a disk may take half a minute for each. */
static void f113_mapping_read_again_stops_at_the_first_page_that_fails(void **state)
{
    watchdog_skip_under_valgrind();
    struct mapping *mapping = open_unreadable(*state, 16);
    for (size_t i = 1; i < 16; i++) {
        read_byte(mapping_bytes(mapping) + i * PAGE);
    }
    assert_int_equal(mapping_fault_count(mapping), 15);
    assert_int_equal(ftruncate(shown_fd, 4 * PAGE), 0);
    shim_advance_clock(READ_RETRY_MS_MIN);
    assert_false(mapping_read_again(mapping, PAGE, 15 * PAGE));
    assert_int_equal(mapping_fault_count(mapping), 16);
    assert_false(mapping_is_lost(mapping, PAGE, 3 * PAGE));
    assert_true(mapping_is_lost(mapping, 4 * PAGE, PAGE));
    mapping_close(mapping);
}

/* Bytes over several places that were lost are the file's again, or are still lost. */
static void f113_mapping_reads_all_places_again_that_bytes_lie_in(void **state)
{
    struct engine *engine = *state;
    watchdog_skip_under_valgrind();
    struct mapping *mapping = open_unreadable(engine, 4);
    for (int i = 0; i < 3; i++) { /* the last one of them fills what was between two */
        static const size_t order[] = {1, 3, 2};
        read_byte(mapping_bytes(mapping) + order[i] * PAGE);
    }
    struct script text = {0};
    script_add_fill(&text, 'x', 4 * PAGE);
    engine_write(engine, "", script_slice(&text));
    shim_map_role_instead(SHIM_LOG, -1);
    shim_advance_clock(READ_RETRY_MS_MIN);
    assert_true(mapping_is_lost(mapping, PAGE, 3 * PAGE));
    assert_true(mapping_read_again(mapping, PAGE, 3 * PAGE));
    assert_false(mapping_is_lost(mapping, PAGE, 3 * PAGE));
    assert_memory_equal(mapping_bytes(mapping) + PAGE, text.bytes + PAGE, 3 * PAGE);
    mapping_close(mapping);
    script_free(&text);
}

/* A place that can be read again is worth telling, also if the next one cannot. */
static void f113_mapping_read_all_again_fails_if_nothing_more_can_be_read(void **state)
{
    watchdog_skip_under_valgrind();
    struct mapping *mapping = open_unreadable(*state, 4);
    read_byte(mapping_bytes(mapping) + PAGE);
    read_byte(mapping_bytes(mapping) + 3 * PAGE);
    assert_int_equal(ftruncate(shown_fd, 2 * PAGE), 0);
    assert_true(mapping_read_all_again(mapping, 4 * PAGE));
    assert_false(mapping_is_lost(mapping, PAGE, PAGE));
    assert_true(mapping_is_lost(mapping, 3 * PAGE, PAGE));
    assert_false(mapping_read_all_again(mapping, 4 * PAGE));
    mapping_close(mapping);
}

/* What is longer than any address space is refused, not cut down to what fits. */
static void mapping_cover_refuses_more_than_the_address_space(void **state)
{
    struct mapping *mapping = open_short(*state, ".a");
    uint64_t mappings = shim_count(SHIM_MMAP);
    errno = 0;
    assert_int_equal(mapping_cover(mapping, SIZE_MAX / 2), KV_NO_MEMORY);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(shim_count(SHIM_MMAP), mappings);
    assert_memory_equal(mapping_bytes(mapping), "text", 4); /* as it was */
    mapping_close(mapping);
}

/* Bytes that can be read are lost if the file ends before them, or may do so. */
static void f42_mapping_is_lost_where_the_file_ends_or_may_end(void **state)
{
    struct mapping *mapping = open_short(*state, ".a");
    assert_false(mapping_is_lost(mapping, 0, 4));
    assert_true(mapping_is_lost(mapping, 0, 5));
    shim_fail_once(SHIM_BIT(SHIM_FSTAT), SHIM_ANY, 1, EIO);
    assert_true(mapping_is_lost(mapping, 0, 4));
    mapping_close(mapping);
}

/* How many mappings the system keeps for this program; 0 where it does not tell. */
static size_t count_system_mappings(void)
{
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps != NULL) {
        for (int byte = fgetc(maps); byte != EOF; byte = fgetc(maps)) {
            count += byte == '\n';
        }
        (void)fclose(maps);
    }
    return count;
}

/* A long stretch that is lost is one place, page by page as it is met, or at once. */
static void f104_mapping_joins_what_is_lost_side_by_side(void **state)
{
    struct engine *engine = *state;
    watchdog_skip_under_valgrind();
    struct mapping *mapping = open_unreadable(engine, 4 * MAPPING_HOLES_MAX);
    const uint8_t *bytes = mapping_bytes(mapping);
    size_t before = count_system_mappings();
    for (size_t i = 1; i < 4 * MAPPING_HOLES_MAX; i++) {
        read_byte(bytes + i * PAGE);
    }
    assert_in_range(count_system_mappings(), before, before + 2);
    mapping_close(mapping);
    shim_reset();
    mapping = open_short(engine, ".a");
    uint64_t calls = shim_count(SHIM_MMAP);
    for (size_t i = 10; i > 0; i--) {
        read_byte(mapping_bytes(mapping) + i * PAGE);
    }
    assert_int_equal(shim_count(SHIM_MMAP), calls + 1);
    mapping_close(mapping);
}

/* A view that moves is read as before; what will be read begins with a whole page. */
static void mapping_tells_the_system_how_it_is_read(void **state)
{
    struct mapping *mapping = open_short(*state, ".a");
    mapping_read_at_random(mapping, true);
    assert_ptr_equal(advised.start, mapping_bytes(mapping));
    assert_int_equal(advised.advice, POSIX_MADV_RANDOM);

    uint64_t room = advised.length;
    assert_int_equal(mapping_cover(mapping, room + 1), KV_OK);
    assert_ptr_equal(advised.start, mapping_bytes(mapping));
    assert_true(advised.length > room);
    assert_int_equal(advised.advice, POSIX_MADV_RANDOM);
    advised.start = NULL;
    assert_int_equal(mapping_renew(mapping), KV_OK);
    assert_ptr_equal(advised.start, mapping_bytes(mapping));
    mapping_will_read(mapping, PAGE + 5, 10);
    assert_ptr_equal(advised.start, mapping_bytes(mapping) + PAGE);
    assert_int_equal(advised.length, 15);
    mapping_will_read(mapping, 0, UINT64_C(1) << 50);
    assert_true(advised.length > room && advised.length < UINT64_C(1) << 40);
    assert_int_equal(advised.advice, POSIX_MADV_WILLNEED);
    mapping_read_at_random(mapping, false);
    assert_int_equal(advised.advice, POSIX_MADV_NORMAL);
    mapping_close(mapping);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ENGINE(f57_mapping_open_without_its_source_of_zeros_fails),
        ON_ENGINE(mapping_cover_refuses_more_than_the_address_space),
        ON_ENGINE(f57_mapping_puts_zeros_in_the_view_that_failed_and_no_other),
        ON_ENGINE(f57_mapping_leaves_the_faults_of_others_alone),
        ON_ENGINE(f57_mapping_gives_a_sent_signal_back_to_the_system),
        ON_ENGINE(f57_mapping_without_a_page_of_zeros_ends_the_program),
        ON_ENGINE(f104_mapping_ends_the_program_when_too_many_places_are_lost),
        ON_ENGINE(f104_mapping_joins_what_is_lost_side_by_side),
        ON_ENGINE(f113_mapping_read_again_stops_at_the_first_page_that_fails),
        ON_ENGINE(f113_mapping_reads_all_places_again_that_bytes_lie_in),
        ON_ENGINE(f113_mapping_read_all_again_fails_if_nothing_more_can_be_read),
        ON_ENGINE(f42_mapping_is_lost_where_the_file_ends_or_may_end),
        ON_ENGINE(mapping_tells_the_system_how_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
