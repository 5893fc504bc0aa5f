/* The bench on which schedulers are tested: it stands in for the chooser and the scoreboard. */
#ifndef SLUICE_TESTS_SCHED_BENCH_H
#define SLUICE_TESTS_SCHED_BENCH_H

#include "sched/sched.h"

/*
 * A view of n backends with a scoreboard of its own and the state of one scheduler, on which it
 * acts as the chooser would. All weights are 1000 and all factors too, no limits, nothing active,
 * slots in reverse order, rows in order, names b0, b1, ….
 */
struct bench {
    const struct sched_ops *ops;
    void *state;
    uint32_t n;
    /* May be changed at will: the next pick folds where it has to. A weight other than 0 that does
     * not follow from its factor is a new configured one, so it makes a new hash table too. */
    uint32_t *weight, *factor, *limit, *resume;
    struct snapshot_rate *rate;
    uint8_t *held;
    /* As it comes. */
    uint32_t *slot;
    struct snapshot_backend *backends;
    struct scoreboard sb;
    struct sched_view view;
    uint64_t key;    /* counts picks: each has a client and a destination of its own */
    uint64_t now_us; /* may be changed at will */
    /* The bench's own. */
    void *knobs, *folded; /* what may be changed, and how it was when last folded */
    uint32_t *eligible, *tabled;
    uint16_t *entries;
};

/* Before init: weights may be set in between. */
struct bench *bench_create(const struct sched_ops *ops, uint32_t n);
void bench_init(struct bench *bench, uint32_t seed);
/* As at a reload: with what is worth keeping of the old one's state, where the scheduler says. */
void bench_init_from(struct bench *bench, uint32_t seed, const struct bench *old,
                     const uint32_t *old_index);
void bench_destroy(struct bench *bench);

static inline _Atomic uint32_t *bench_active(const struct bench *bench, uint32_t i)
{
    return &bench->sb.slot_active[bench->slot[i]];
}

/* The next request; bench_ask() leaves it to come again. */
struct sched_request bench_request(struct bench *bench, const uint32_t *tried, uint32_t n_tried);
/* Picks, and fails the test when the answer is not usable, or none while one is. */
uint32_t bench_ask(struct bench *bench, const struct sched_request *request);
/* Both together. */
uint32_t bench_pick(struct bench *bench, const uint32_t *tried, uint32_t n_tried);
/* Picks n times and counts; held: each pick raises the active count. */
void bench_count(struct bench *bench, uint32_t n, bool held, uint32_t *counts);

#endif
