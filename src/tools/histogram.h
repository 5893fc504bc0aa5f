/*
 * A log-linear histogram of 64-bit values, after Gil Tene's HdrHistogram: below 128 every value has
 * its own bucket, above that each power of two is split into 128. A percentile is told as the upper
 * edge of its bucket, and never above the largest value seen: it is never lower than the true one
 * and at most 1/128 (0.8 %) higher. The largest value is exact. 59 KiB, no pointers: it may lie in
 * shared memory.
 */
#ifndef SLUICE_TOOLS_HISTOGRAM_H
#define SLUICE_TOOLS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/*
 * The value that this many of a hundred thousand values do not exceed (50000: the median,
 * 99900: p99.9); 0 while nothing is recorded.
 */
uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_100000);

#endif
