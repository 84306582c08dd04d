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
    (void)state;
    uint8_t out[10] = {0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa};
    bytes_put_u64(out + 1, UINT64_C(0x8102030405060780));
    assert_memory_equal(out, "\xaa\x81\2\3\4\5\6\7\x80\xaa", sizeof out);
    assert_true(bytes_get_u64(out + 1) == UINT64_C(0x8102030405060780));
    assert_true(bytes_get_u64((const uint8_t *)"\0\0\0\0\xff\0\0\0") == 0xff000000);
}

/* A literal that may stand in a table. */
#define SLICE_INIT(text)                                                                 \
    {                                                                                    \
        (const uint8_t *)(text), sizeof(text) - 1                                        \
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

static void slice_comparisons_look_at_lengths_and_every_byte(void **state)
{
    static const struct {
        struct slice text, other;
        bool is_equal, is_start; /* the other of the text */
    } cases[] = {
        {{NULL, 0}, {NULL, 0}, true, true},
        {{NULL, 0}, SLICE_INIT(""), true, true},
        {{NULL, 0}, SLICE_INIT("a"), false, false},
        {SLICE_INIT("a\0b"), SLICE_INIT("a\0b"), true, true},
        {SLICE_INIT("a\0b"), SLICE_INIT("a\0c"), false, false},
        {SLICE_INIT("abc"), SLICE_INIT("xbc"), false, false},
        {SLICE_INIT("abc"), SLICE_INIT("abC"), false, false},
        {SLICE_INIT("abc"), SLICE_INIT("b"), false, false},
        {SLICE_INIT("abc"), SLICE_INIT("abcd"), false, false},
        {SLICE_INIT("abc"), SLICE_INIT("ab"), false, true},
        {SLICE_INIT("abc"), SLICE_INIT(""), false, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(slice_equal(cases[i].text, cases[i].other), cases[i].is_equal);
        assert_int_equal(slice_equal(cases[i].other, cases[i].text), cases[i].is_equal);
        assert_int_equal(slice_starts_with(cases[i].text, cases[i].other),
                         cases[i].is_start);
    }
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
        cmocka_unit_test(slice_comparisons_look_at_lengths_and_every_byte),
        cmocka_unit_test(clock_now_ms_counts_whole_milliseconds),
        cmocka_unit_test(clock_is_due_once_in_a_period),
        cmocka_unit_test(clock_earlier_is_never_later),
        cmocka_unit_test(slice_is_zero_looks_at_every_byte),
        cmocka_unit_test(clock_poll_timeout_fits_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
