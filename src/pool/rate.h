/*
 * A rate limit that all workers share: the generic cell rate algorithm (ITU-T I.371), a token
 * bucket in one word of shared memory. The word is the theoretical arrival time of the next event
 * in nanoseconds; an event may come when that is no more than (burst - 1) intervals ahead. Exact:
 * changed by compare-and-swap. Pure.
 */
#ifndef SLUICE_POOL_RATE_H
#define SLUICE_POOL_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sluice/snapshot.h"

/* Two workers' ideas of now (the starts of their turns) are never so far apart. */
#define RATE_SLACK_NS UINT64_C(10000000000)

/* How far ahead the word may be for an event to come now. */
static inline uint64_t rate_ahead_ns(const struct snapshot_rate *rate)
{
    return rate->interval_ns * (rate->burst - 1);
}

/* The word as it counts. Far further ahead than the rate ever puts it, it was left by a slower rate
 * that held before, and says nothing any more. */
static inline uint64_t rate_arrival_ns(uint64_t word_ns, const struct snapshot_rate *rate,
                                       uint64_t now_ns)
{
    uint64_t most_ns = now_ns + rate_ahead_ns(rate) + rate->interval_ns + RATE_SLACK_NS;
    return word_ns < now_ns || word_ns > most_ns ? now_ns : word_ns;
}

/* When the next event may come (ns, monotonic); now_ns: at once. rate has a limit. */
static inline uint64_t rate_due_ns(const _Atomic uint64_t *word, const struct snapshot_rate *rate,
                                   uint64_t now_ns)
{
    uint64_t arrival_ns =
        rate_arrival_ns(atomic_load_explicit(word, memory_order_relaxed), rate, now_ns);
    uint64_t ahead_ns = arrival_ns - now_ns;
    return ahead_ns > rate_ahead_ns(rate) ? arrival_ns - rate_ahead_ns(rate) : now_ns;
}

static inline bool rate_allows(const _Atomic uint64_t *word, const struct snapshot_rate *rate,
                               uint64_t now_ns)
{
    return rate->interval_ns == 0 || rate_due_ns(word, rate, now_ns) <= now_ns;
}

/* Takes one event now. False: not yet. */
static inline bool rate_take(_Atomic uint64_t *word, const struct snapshot_rate *rate,
                             uint64_t now_ns)
{
    if (rate->interval_ns == 0) {
        return true;
    }
    uint64_t old_ns = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t from_ns;
    do {
        from_ns = rate_arrival_ns(old_ns, rate, now_ns);
        if (from_ns - now_ns > rate_ahead_ns(rate)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(word, &old_ns, from_ns + rate->interval_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Gives an event back that was taken and did not come. */
static inline void rate_give_back(_Atomic uint64_t *word, const struct snapshot_rate *rate)
{
    atomic_fetch_sub_explicit(word, rate->interval_ns, memory_order_relaxed);
}

#endif
