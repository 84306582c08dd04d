/*
 * Values below 64 have a bucket each. Above, a value is shifted right until it is below,
 * and the 32 results that are possible follow those of one shift less.
 */
#include "histogram.h"

#include <stddef.h>

#define SUB_TOTAL (UINT64_C(1) << HISTOGRAM_SUB_BITS)

static size_t bucket_of(uint64_t value)
{
    unsigned shift = 0;
    while (value >> shift >= 2 * SUB_TOTAL) {
        shift++;
    }
    return (size_t)(((uint64_t)shift << HISTOGRAM_SUB_BITS) + (value >> shift));
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < 2 * SUB_TOTAL) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t leading = bucket - ((uint64_t)shift << HISTOGRAM_SUB_BITS);
    return ((leading + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times)
{
    histogram->counts[bucket_of(value)] += times;
    histogram->total += times;
    if (times > 0 && value > histogram->max) {
        histogram->max = value;
    }
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)((double)histogram->total * fraction);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKET_TOTAL; i++) {
        seen += histogram->counts[i];
        if (seen > wanted) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}
