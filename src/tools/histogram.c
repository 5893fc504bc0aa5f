/*
 * Bucket arithmetic of the log-linear histogram. Owns nothing.
 */
#include "histogram.h"

#define SUB_COUNT (1U << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
    if (value < SUB_COUNT)
        return (unsigned)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

static uint64_t upper_edge(unsigned bucket)
{
    if (bucket < 2 * SUB_COUNT)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t lower = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
    return lower + ((1ULL << shift) - 1);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_100000)
{
    /* The rank is rounded up, so that p50 of a single value is that value. */
    unsigned __int128 product = (unsigned __int128)histogram->count * per_100000;
    uint64_t rank = (uint64_t)((product + 99999) / 100000);
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank && seen > 0) {
            uint64_t edge = upper_edge(i);
            return edge < histogram->max ? edge : histogram->max;
        }
    }
    return histogram->max;
}
