#include "support/table.h"
#include "support/keyed.h"

#include "log/record.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_ROWS = 8 };

struct table *table_make(struct engine *engine, size_t row_count)
{
    struct table *table = calloc(1, sizeof *table);
    assert_non_null(table);
    assert_in_range(row_count, 1, TABLE_ROWS_MAX);
    table->engine = engine;
    table->row_count = row_count;
    table->value_bytes = TABLE_VALUE_BYTES_LEAST;
    engine->keeps_index = true;
    shim_omit_syncs();
    shim_set_clock(TABLE_START_MS);
    shim_set_random(7);
    return table;
}

int table_teardown(void **state)
{
    struct table *table = *state;
    *state = table->engine;
    free(table);
    return engine_teardown(state);
}

struct slice table_key(size_t row)
{
    static char text[32];
    (void)snprintf(text, sizeof text, "row-%zu", row);
    return slice_of_text(text);
}

static size_t value_length(const struct table *table, size_t row, unsigned version)
{
    return table->value_bytes + (row + version) % 7;
}

struct slice table_value(const struct table *table, size_t row, unsigned version)
{
    static char text[TABLE_VALUE_BYTES_MOST];
    size_t length = value_length(table, row, version);
    assert_in_range(length, TABLE_VALUE_BYTES_LEAST, sizeof text);
    memset(text, 'a' + (int)((row + version) % 26), length);
    int count = snprintf(text, TABLE_VALUE_BYTES_LEAST, "%zu/%u", row, version);
    text[count] = ':';
    return (struct slice){(const uint8_t *)text, length};
}

struct slice table_value_now(const struct table *table, size_t row)
{
    assert_int_not_equal(table->versions[row], 0);
    return table_value(table, row, table->versions[row]);
}

void table_stage(struct table *table, size_t row)
{
    table->versions[row] = ++table->last_version;
    assert_int_equal(
        keyed_set(table->engine->store, table_key(row), table_value_now(table, row)),
        KV_OK);
}

void table_stage_delete(struct table *table, size_t row)
{
    enum status expected = table->versions[row] == 0 ? KV_NOT_FOUND : KV_OK;
    assert_int_equal(keyed_delete(table->engine->store, table_key(row)), expected);
    table->versions[row] = 0;
}

void table_commit(const struct table *table)
{
    assert_int_equal(store_commit(table->engine->store), KV_OK);
}

void table_put(struct table *table, size_t row)
{
    table_stage(table, row);
    table_commit(table);
}

void table_delete(struct table *table, size_t row)
{
    table_stage_delete(table, row);
    table_commit(table);
}

void table_fill(struct table *table)
{
    for (size_t row = 0; row < table->row_count; row++) {
        table_stage(table, row);
        if (row % BATCH_ROWS == BATCH_ROWS - 1) {
            table_commit(table);
        }
    }
    table_commit(table);
}

uint64_t table_live_rows(const struct table *table)
{
    uint64_t count = 0;
    for (size_t row = 0; row < table->row_count; row++) {
        count += table->versions[row] != 0;
    }
    return count;
}

uint64_t table_live_bytes(const struct table *table)
{
    uint64_t bytes = 0;
    for (size_t row = 0; row < table->row_count; row++) {
        if (table->versions[row] != 0) {
            bytes += record_length(table_key(row).length,
                                   value_length(table, row, table->versions[row]));
        }
    }
    return bytes;
}

bool table_holds_row(const struct table *table, size_t row)
{
    struct slice found;
    enum status status = keyed_get(table->engine->store, table_key(row), &found);
    if (table->versions[row] == 0) {
        return status == KV_NOT_FOUND;
    }
    return status == KV_OK && slice_equal(found, table_value_now(table, row));
}

bool table_holds(const struct table *table)
{
    for (size_t row = 0; row < table->row_count; row++) {
        if (!table_holds_row(table, row)) {
            print_message("row %zu is not as version %u left it\n", row,
                          table->versions[row]);
            return false;
        }
    }
    struct store_stats stats = store_stats(table->engine->store);
    bool is_right = stats.keys == table_live_rows(table) &&
                    stats.live_bytes == table_live_bytes(table);
    if (!is_right) {
        print_message(
            "%llu keys, %llu live bytes are counted, and it should be %llu, %llu\n",
            (unsigned long long)stats.keys, (unsigned long long)stats.live_bytes,
            (unsigned long long)table_live_rows(table),
            (unsigned long long)table_live_bytes(table));
    }
    return is_right;
}
