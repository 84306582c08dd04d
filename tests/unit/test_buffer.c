/*
 * The growable run of bytes: room, order, and what it does without memory.
 *
 * wrap: realloc
 */
#include "base/buffer.h"
#include "support/aborts.h"
#include "support/unit.h"

#include <stdlib.h>

static bool memory_is_gone;
static size_t asked_bytes;

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_realloc(void *memory, size_t size)
{
    asked_bytes = size;
    return memory_is_gone ? NULL : __real_realloc(memory, size);
}

/* A buffer of three letters, and all the memory there is. */
#define ON_BUFFER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int setup(void **state)
{
    static struct buffer buffer;
    memory_is_gone = false;
    buffer = (struct buffer){0};
    if (buffer_reserve(&buffer, 3) != KV_OK) {
        return -1;
    }
    buffer_append(&buffer, SLICE_LITERAL("abc"));
    *state = &buffer;
    return 0;
}

static int teardown(void **state)
{
    memory_is_gone = false;
    buffer_free(*state);
    return 0;
}

static void append(struct buffer *buffer, struct slice bytes)
{
    assert_int_equal(buffer_reserve(buffer, bytes.length), KV_OK);
    buffer_append(buffer, bytes);
}

static void buffer_all_zero_is_empty_and_can_be_freed(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_int_equal(buffer_slice(&buffer).length, 0);
    assert_int_equal(buffer_reserve(&buffer, 0), KV_OK);
    buffer_append(&buffer, (struct slice){NULL, 0});
    buffer_drop_front(&buffer, 0);
    buffer_trim(&buffer, 0);
    assert_null(buffer.bytes);
    buffer_free(&buffer);
    buffer_free(&buffer);
    assert_null(buffer.bytes);
}

/* Appending byte by byte must not cost a call to the allocator each. */
static void buffer_keeps_what_was_appended_while_it_doubles(void **state)
{
    enum { COUNT = 1000000 };
    struct buffer *buffer = *state;
    size_t growths = 0;
    for (int i = 0; i < COUNT; i++) {
        size_t before = buffer->capacity;
        assert_int_equal(buffer_reserve(buffer, 1), KV_OK);
        buffer_append_byte(buffer, (uint8_t)(i % 251));
        growths += buffer->capacity != before;
        assert_true(buffer->capacity == before || buffer->capacity >= 2 * before);
    }
    assert_in_range(growths, 1, 20);
    assert_int_equal(buffer->length, 3 + COUNT);
    assert_memory_equal(buffer->bytes, "abc", 3);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(buffer->bytes[3 + i], i % 251);
    }
}

static void buffer_extend_gives_the_place_behind_what_is_there(void **state)
{
    struct buffer *buffer = *state;
    assert_int_equal(buffer_reserve(buffer, 5), KV_OK);
    memcpy(buffer_extend(buffer, 2), "de", 2);
    assert_ptr_equal(buffer_extend(buffer, 0), buffer->bytes + 5);
    memcpy(buffer_extend(buffer, 3), "fgh", 3);
    assert_true(slice_equal(buffer_slice(buffer), SLICE_LITERAL("abcdefgh")));
}

static void buffer_reserve_gives_all_the_room_asked_for(void **state)
{
    static const size_t rooms[] = {1, 4095, 4096, 4097, 65536, 65537, 1000000};
    struct buffer *buffer = *state;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        size_t length = buffer->length;
        assert_int_equal(buffer_reserve(buffer, rooms[i]), KV_OK);
        assert_true(buffer->capacity - length >= rooms[i]);
        assert_int_equal(buffer->length, length);
        memset(buffer_extend(buffer, rooms[i]), 'x', rooms[i]);
        assert_memory_equal(buffer->bytes, "abcx", 4);
    }
}

static void buffer_reserve_without_memory_changes_nothing(void **state)
{
    struct buffer *buffer = *state;
    struct buffer before = *buffer;
    memory_is_gone = true;
    assert_int_equal(buffer_reserve(buffer, buffer->capacity - buffer->length), KV_OK);
    assert_int_equal(buffer_reserve(buffer, buffer->capacity - buffer->length + 1),
                     KV_NO_MEMORY);
    assert_memory_equal(buffer, &before, sizeof before);
    memory_is_gone = false;
    append(buffer, SLICE_LITERAL("def"));
    assert_memory_equal(buffer->bytes, "abcdef", 6);
}

/* A sum that wraps round would ask for less room than is then written to. */
static void buffer_reserve_refuses_lengths_that_overflow(void **state)
{
    static const size_t lengths[] = {SIZE_MAX,     SIZE_MAX - 1,    SIZE_MAX - 2,
                                     SIZE_MAX - 3, SIZE_MAX - 4096, SIZE_MAX / 2 + 1};
    struct buffer *buffer = *state;
    memory_is_gone = true; /* none of these may be asked for in earnest */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        asked_bytes = SIZE_MAX;
        assert_int_equal(buffer_reserve(buffer, lengths[i]), KV_NO_MEMORY);
        assert_true(asked_bytes >= lengths[i]);
        assert_memory_equal(buffer->bytes, "abc", 3);
    }
}

static void buffer_drop_front_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    for (size_t count = 0; count <= 10; count++) {
        struct buffer buffer = {0};
        append(&buffer, SLICE_LITERAL("0123456789"));
        buffer_drop_front(&buffer, count);
        assert_true(slice_equal(buffer_slice(&buffer),
                                slice_after(SLICE_LITERAL("0123456789"), count)));
        append(&buffer, SLICE_LITERAL("end"));
        assert_memory_equal(buffer.bytes + buffer.length - 3, "end", 3);
        buffer_free(&buffer);
    }
}

static void buffer_trim_gives_memory_back_only_when_the_rest_fits(void **state)
{
    struct buffer *buffer = *state;
    assert_int_equal(buffer_reserve(buffer, 100000), KV_OK);
    size_t large = buffer->capacity;
    buffer_trim(buffer, 2);
    assert_int_equal(buffer->capacity, large);
    buffer_trim(buffer, large + 1);
    assert_int_equal(buffer->capacity, large);
    memory_is_gone = true;
    buffer_trim(buffer, 3);
    assert_int_equal(buffer->capacity, large);
    assert_memory_equal(buffer->bytes, "abc", 3);
    memory_is_gone = false;
    buffer_trim(buffer, 3);
    assert_int_equal(buffer->capacity, 3);
    append(buffer, SLICE_LITERAL("more"));
    assert_memory_equal(buffer->bytes, "abcmore", 7);
    buffer->length = 0;
    large = buffer->capacity;
    buffer_trim(buffer, 0); /* nothing is no size for memory */
    assert_int_equal(buffer->capacity, large);
}

static void buffer_free_leaves_a_usable_buffer(void **state)
{
    struct buffer *buffer = *state;
    buffer_free(buffer);
    assert_int_equal(buffer->length, 0);
    assert_int_equal(buffer->capacity, 0);
    append(buffer, SLICE_LITERAL("def"));
    assert_true(slice_equal(buffer_slice(buffer), SLICE_LITERAL("def")));
}

static void append_past_the_room(void *context)
{
    struct buffer *buffer = context;
    uint8_t bytes[8] = {0};
    buffer_append(buffer, (struct slice){bytes, buffer->capacity - buffer->length + 1});
}

static void append_byte_past_the_room(void *context)
{
    buffer_append_byte(context, 0);
}

static void extend_past_the_room(void *context)
{
    struct buffer *buffer = context;
    (void)buffer_extend(buffer, buffer->capacity - buffer->length + 1);
}

static void drop_more_than_there_is(void *context)
{
    struct buffer *buffer = context;
    buffer_drop_front(buffer, buffer->length + 1);
}

static void buffer_calls_beyond_their_room_end_the_program(void **state)
{
    (void)state;
    uint8_t memory[4] = {0};
    struct buffer buffer = {memory, 2, 4};
    assert_true(aborts(append_past_the_room, &buffer));
    assert_true(aborts(extend_past_the_room, &buffer));
    assert_true(aborts(drop_more_than_there_is, &buffer));
    buffer.length = 4;
    assert_true(aborts(append_byte_past_the_room, &buffer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_all_zero_is_empty_and_can_be_freed),
        ON_BUFFER(buffer_keeps_what_was_appended_while_it_doubles),
        ON_BUFFER(buffer_extend_gives_the_place_behind_what_is_there),
        ON_BUFFER(buffer_reserve_gives_all_the_room_asked_for),
        ON_BUFFER(buffer_reserve_without_memory_changes_nothing),
        ON_BUFFER(buffer_reserve_refuses_lengths_that_overflow),
        cmocka_unit_test(buffer_drop_front_moves_the_rest_to_the_front),
        ON_BUFFER(buffer_trim_gives_memory_back_only_when_the_rest_fits),
        ON_BUFFER(buffer_free_leaves_a_usable_buffer),
        cmocka_unit_test(buffer_calls_beyond_their_room_end_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
