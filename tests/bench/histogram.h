/*
 * Latencies in logarithmic buckets: 32 to each power of two, so that a percentile is
 * right to about three percent at any magnitude, in 15 KiB and without keeping samples.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS     5
#define HISTOGRAM_BUCKET_TOTAL ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKET_TOTAL];
    uint64_t total;
    uint64_t max; /* exact */
};

/* Count a value a number of times. */
void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times);

/* The value that a fraction of all (0 to 1) does not exceed; 0 if there is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
