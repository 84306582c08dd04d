/*
 * A store of many rows beside a plain array of what it must hold: which row is there, and
 * which version of its value.
 */
#ifndef KV_SUPPORT_TABLE_H
#define KV_SUPPORT_TABLE_H

#include "support/engine.h"

enum {
    TABLE_ROWS_MAX = 9000,
    TABLE_VALUE_BYTES_LEAST = 32,
    TABLE_VALUE_BYTES_MOST = 16384
};

struct table {
    struct engine *engine;
    size_t row_count;
    size_t value_bytes;                /* about so long is each value */
    unsigned versions[TABLE_ROWS_MAX]; /* 0: the row is not there */
    unsigned last_version;
};

/*
 * For an engine that keeps its index, with syncs left out and the shim's clock at
 * TABLE_START_MS; owned, free. The teardown of a test whose *state is one frees it.
 */
#define TABLE_START_MS UINT64_C(5000000)
struct table *table_make(struct engine *engine, size_t row_count);
int table_teardown(void **state);

/* The key of a row, and a value of it; valid until the next call. */
struct slice table_key(size_t row);
struct slice table_value(const struct table *table, size_t row, unsigned version);

/* What the row holds now, which must be there; likewise. */
struct slice table_value_now(const struct table *table, size_t row);

/* Into the batch in hand: the next version of a row, or none. */
void table_stage(struct table *table, size_t row);
void table_stage_delete(struct table *table, size_t row);

void table_commit(const struct table *table);

/* One batch of one record. */
void table_put(struct table *table, size_t row);
void table_delete(struct table *table, size_t row);

/* Set every row anew, in batches of several records. */
void table_fill(struct table *table);

uint64_t table_live_rows(const struct table *table);
uint64_t table_live_bytes(const struct table *table);

bool table_holds_row(const struct table *table, size_t row);

/* Whether values, counts and live bytes of the store are those of the array; says which
 * are not. */
bool table_holds(const struct table *table);

#endif
