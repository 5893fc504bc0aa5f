/*
 * What every scheduler must do, whatever its rule. Runs over all of sched_table, so that a new one
 * is covered by being in it. Also the bench that the schedulers' own tests use.
 */
#ifndef SLUICE_TESTS_SCHED_CONFORMANCE_H
#define SLUICE_TESTS_SCHED_CONFORMANCE_H

#include <check.h>

#include "sched/sched.h"

/* A view of n backends that can be changed at will, with the state of one scheduler. All weights
 * are 1000, no limits, nothing active, slots in reverse order. */
struct bench {
    const struct sched_ops *ops;
    void *state;
    uint32_t n;
    uint32_t *weight, *slot, *limit;
    _Atomic uint32_t *active; /* by slot */
    struct sched_view view;
    uint64_t key; /* of the next pick: another one each time */
};

/* Before init: weights may be set in between. */
struct bench *bench_create(const struct sched_ops *ops, uint32_t n);
void bench_init(struct bench *bench, uint32_t seed);
void bench_destroy(struct bench *bench);

static inline _Atomic uint32_t *bench_active(const struct bench *bench, uint32_t i)
{
    return &bench->active[bench->slot[i]];
}

/* Picks, and fails the test when the answer is not usable, or none while one is. */
uint32_t bench_pick(struct bench *bench, const uint32_t *tried, uint32_t n_tried);
/* Picks n times and counts; held: each pick raises the active count. */
void bench_count(struct bench *bench, uint32_t n, bool held, uint32_t *counts);

void sched_conformance_add(Suite *suite);

#endif
