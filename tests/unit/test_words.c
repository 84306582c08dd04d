/*
 * The smallest modules: status texts, big-endian words, slices and the clock.
 *
 * wrap: clock_gettime
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/slice.h"
#include "base/status.h"
#include "support/aborts.h"
#include "support/unit.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

static void status_text_is_the_phrase_that_clients_match_on(void **state)
{
    static const struct {
        enum status status;
        const char *text;
    } cases[] = {
        {KV_OK, "success"},
        {KV_NOT_FOUND, "no value stored"},
        {KV_ALREADY_STORED, "already stored"},
        {KV_UNKNOWN_COMMAND, "unknown command"},
        {KV_USAGE, "usage"},
        {KV_EMPTY_LINE, "empty line"},
        {KV_NOT_UTF8, "not UTF-8"},
        {KV_NUL_BYTE, "NUL byte"},
        {KV_KEY_TOO_LONG, "key too long"},
        {KV_VALUE_TOO_LONG, "value too long"},
        {KV_LINE_TOO_LONG, "line too long"},
        {KV_INCOMPLETE_LINE, "incomplete line"},
        {KV_NOT_A_NUMBER, "not a number"},
        {KV_NUMBER_TOO_LARGE, "number too large"},
        {KV_NO_SPACE, "storage full"},
        {KV_IO, "storage failed"},
        {KV_CORRUPT, "corrupt value"},
        {KV_NO_MEMORY, "out of memory"},
        {KV_IDLE, "idle too long"},
        {KV_LOCKED, "in use"},
        {KV_PARTIAL, "incomplete"},
        {KV_BEHIND, "behind"},
        {KV_FATAL, "storage failed"},
    };
    (void)state;
    assert_int_equal(sizeof cases / sizeof *cases, KV_STATUS_COUNT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cases[i].status, i);
        assert_string_equal(status_text(cases[i].status), cases[i].text);
        assert_true(
            slice_equal(status_slice(cases[i].status), slice_of_text(cases[i].text)));
    }
}

static void take_text_of_no_status(void *context)
{
    (void)context;
    (void)status_text(KV_STATUS_COUNT);
}

static void status_text_refuses_what_is_no_status(void **state)
{
    (void)state;
    assert_true(aborts(take_text_of_no_status, NULL));
}

static void bytes_u64_is_big_endian(void **state)
{
    static const struct {
        uint64_t number;
        uint8_t bytes[8];
    } cases[] = {
        {0, {0, 0, 0, 0, 0, 0, 0, 0}},
        {1, {0, 0, 0, 0, 0, 0, 0, 1}},
        {0xff00, {0, 0, 0, 0, 0, 0, 0xff, 0}},
        {UINT64_C(0x80000000), {0, 0, 0, 0, 0x80, 0, 0, 0}},
        {UINT64_C(0x0102030405060708), {1, 2, 3, 4, 5, 6, 7, 8}},
        {UINT64_C(0x8000000000000000), {0x80, 0, 0, 0, 0, 0, 0, 0}},
        {UINT64_MAX, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[10] = {0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa};
        bytes_put_u64(out + 1, cases[i].number);
        assert_memory_equal(out + 1, cases[i].bytes, 8);
        assert_int_equal(out[0], 0xaa);
        assert_int_equal(out[9], 0xaa);
        assert_true(bytes_get_u64(cases[i].bytes) == cases[i].number);
    }
}

static void slice_literal_and_text_leave_out_the_nul(void **state)
{
    (void)state;
    struct slice literal = SLICE_LITERAL("a\0b");
    assert_int_equal(literal.length, 3);
    assert_memory_equal(literal.bytes, "a\0b", 3);
    assert_int_equal(SLICE_LITERAL("").length, 0);
    assert_int_equal(slice_of_text("abc").length, 3);
    assert_int_equal(slice_of_text("").length, 0);
}

static void slice_first_and_after_part_it_at_any_place(void **state)
{
    (void)state;
    struct slice whole = SLICE_LITERAL("abcdef");
    for (size_t i = 0; i <= whole.length; i++) {
        struct slice first = slice_first(whole, i);
        struct slice after = slice_after(whole, i);
        assert_ptr_equal(first.bytes, whole.bytes);
        assert_int_equal(first.length, i);
        assert_ptr_equal(after.bytes, whole.bytes + i);
        assert_int_equal(after.length, whole.length - i);
    }
}

static void slice_equal_compares_length_and_every_byte(void **state)
{
    (void)state;
    struct slice nothing = {NULL, 0};
    assert_true(slice_equal(nothing, SLICE_LITERAL("")));
    assert_true(slice_equal(nothing, nothing));
    assert_true(slice_equal(SLICE_LITERAL("a\0b"), SLICE_LITERAL("a\0b")));
    assert_false(slice_equal(SLICE_LITERAL("a\0b"), SLICE_LITERAL("a\0c")));
    assert_false(slice_equal(SLICE_LITERAL("xbc"), SLICE_LITERAL("abc")));
    assert_false(slice_equal(SLICE_LITERAL("ab"), SLICE_LITERAL("abc")));
    assert_false(slice_equal(SLICE_LITERAL("abc"), SLICE_LITERAL("ab")));
    assert_false(slice_equal(nothing, SLICE_LITERAL("a")));
}

static void slice_starts_with_wants_the_whole_prefix(void **state)
{
    (void)state;
    struct slice nothing = {NULL, 0};
    assert_true(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("")));
    assert_true(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("ab")));
    assert_true(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("abc")));
    assert_true(slice_starts_with(nothing, nothing));
    assert_false(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("abcd")));
    assert_false(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("b")));
    assert_false(slice_starts_with(SLICE_LITERAL("abc"), SLICE_LITERAL("abC")));
    assert_false(slice_starts_with(nothing, SLICE_LITERAL("a")));
}

static void slice_is_zero_looks_at_every_byte(void **state)
{
    (void)state;
    uint8_t bytes[20] = {0};
    assert_true(slice_is_zero((struct slice){NULL, 0}));
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_true(slice_is_zero((struct slice){bytes, sizeof bytes}));
        bytes[i] = 1;
        assert_false(slice_is_zero((struct slice){bytes, sizeof bytes}));
        assert_true(slice_is_zero((struct slice){bytes, i}));
        bytes[i] = 0;
    }
}

/* What the system's clock shows; -1 second lets the real one through. */
static struct timespec shown = {-1, 0};

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (shown.tv_sec < 0) {
        return __real_clock_gettime(clock, now);
    }
    if (clock != CLOCK_MONOTONIC) {
        abort(); /* the wall clock may be set while the server runs */
    }
    *now = shown;
    return 0;
}

static void clock_now_ms_counts_whole_milliseconds(void **state)
{
    static const struct {
        struct timespec now;
        uint64_t ms;
    } cases[] = {
        {{0, 0}, 0},
        {{0, 999999}, 0},
        {{0, 1000000}, 1},
        {{5, 999999999}, 5999},
        {{4294968, 0}, UINT64_C(4294968000)},
        {{INT_MAX, 1000000}, UINT64_C(2147483647001)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shown = cases[i].now;
        assert_true(clock_now_ms() == cases[i].ms);
    }
    shown = (struct timespec){-1, 0};
}

static void clock_is_due_once_in_a_period(void **state)
{
    static const struct {
        uint64_t now_s;
        bool is_due;
    } cases[] = {{1, true},    {1, false},  {60, false}, {61, true},
                 {120, false}, {121, true}, {900, true}};
    (void)state;
    uint64_t last_ms = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shown = (struct timespec){(time_t)cases[i].now_s, 0};
        assert_int_equal(clock_is_due(&last_ms, 60000), cases[i].is_due);
    }
    shown = (struct timespec){-1, 0};
}

static void clock_earlier_is_never_later(void **state)
{
    (void)state;
    assert_true(clock_earlier(1, 2) == 1);
    assert_true(clock_earlier(2, 1) == 1);
    assert_true(clock_earlier(CLOCK_NEVER, 5) == 5);
    assert_true(clock_earlier(CLOCK_NEVER, CLOCK_NEVER) == CLOCK_NEVER);
}

static void clock_now_ms_never_goes_back(void **state)
{
    (void)state;
    uint64_t before = clock_now_ms();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_now_ms();
        assert_true(now >= before);
        assert_true(now != CLOCK_NEVER);
        before = now;
    }
}

static void clock_poll_timeout_fits_poll(void **state)
{
    static const struct {
        uint64_t now_ms;
        uint64_t deadline_ms;
        int timeout;
    } cases[] = {
        {100, 100, 0},
        {100, 99, 0},
        {100, 0, 0},
        {100, 101, 1},
        {0, 30000, 30000},
        {7, UINT64_C(7) + INT_MAX, INT_MAX},
        {7, UINT64_C(8) + INT_MAX, INT_MAX},
        {0, CLOCK_NEVER - 1, INT_MAX},
        {CLOCK_NEVER - 1, CLOCK_NEVER - 1, 0},
        {0, CLOCK_NEVER, -1},
        {CLOCK_NEVER - 1, CLOCK_NEVER, -1},
        {CLOCK_NEVER, CLOCK_NEVER, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(clock_poll_timeout(cases[i].now_ms, cases[i].deadline_ms),
                         cases[i].timeout);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_text_is_the_phrase_that_clients_match_on),
        cmocka_unit_test(status_text_refuses_what_is_no_status),
        cmocka_unit_test(bytes_u64_is_big_endian),
        cmocka_unit_test(slice_literal_and_text_leave_out_the_nul),
        cmocka_unit_test(slice_first_and_after_part_it_at_any_place),
        cmocka_unit_test(slice_equal_compares_length_and_every_byte),
        cmocka_unit_test(slice_starts_with_wants_the_whole_prefix),
        cmocka_unit_test(clock_now_ms_counts_whole_milliseconds),
        cmocka_unit_test(clock_now_ms_never_goes_back),
        cmocka_unit_test(clock_is_due_once_in_a_period),
        cmocka_unit_test(clock_earlier_is_never_later),
        cmocka_unit_test(slice_is_zero_looks_at_every_byte),
        cmocka_unit_test(clock_poll_timeout_fits_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
