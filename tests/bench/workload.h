/*
 * What is asked for and what must come back: keys, values, requests and their replies in
 * one of three protocols. Knows no socket and no clock.
 *
 * Everything follows from numbers: key N is 16 bytes, and its value is a piece of a pool
 * of random text, at a place that the key alone decides. So a run can verify
 * what another run stored, and no table of values is kept.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES       16
#define VALUE_BYTES_MAX ((size_t)64 << 20)

/* The longest request or reply is this much longer than its value. */
#define OVERHEAD_BYTES_MAX 128

enum wire { WIRE_KV, WIRE_RESP, WIRE_MEMCACHE };

enum order {
    ORDER_SEQUENTIAL, /* each key in turn, and again from the first */
    ORDER_UNIFORM,
    ORDER_ZIPFIAN /* theta 0.99; the favourites lie scattered over all keys */
};

struct workload_options {
    uint64_t wire;          /* enum wire */
    uint64_t order;         /* enum order */
    uint64_t reads_percent; /* the others are writes */
    uint64_t key_count;
    uint64_t value_bytes;
    uint64_t order_seed; /* of the order of operations */
};

struct workload;

struct operation {
    uint64_t key;
    bool is_read;
    size_t reply_end; /* where its reply ends among those of its window */
};

/* NULL: no memory. It lives as long as the program. */
struct workload *workload_create(const struct workload_options *options);

/* How much of a window's buffers one operation may need. */
size_t workload_operation_bytes_max(const struct workload *workload);

/* Choose the next operation; its reply_end is not set. */
struct operation workload_next(struct workload *workload);

/* Write the request, which has room, and return its length. */
size_t workload_put_request(const struct workload *workload,
                            const struct operation *operation, char *out);

/* How long the right reply is. A write is answered with success, a read with a hit. */
size_t workload_reply_bytes(const struct workload *workload,
                            const struct operation *operation);

/* Whether a reply of the right length is the right one. */
bool workload_is_right(const struct workload *workload, const struct operation *operation,
                       const char *reply);

#endif
