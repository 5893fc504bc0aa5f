/*
 * Every scheduler in pools of several sizes, one process: the scheduler alone, and the whole
 * choice.
 */
#include <inttypes.h>
#include <stdio.h>

#include "picks.h"

#define BATCH 1024 /* picks between two looks at the clock, which is a system call */

static const uint32_t sizes[] = {3, 32, 1000, 4000};

#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

typedef void step_fn(void *arg, uint32_t steps);

/* Fills in value, operations and seconds. */
static void time_steps(step_fn *step, void *arg, uint32_t ms, struct sample *sample)
{
    int64_t began_ns = cpu_now_ns(), spent_ns;
    uint64_t steps = 0;

    do {
        step(arg, BATCH);
        steps += BATCH;
        spent_ns = cpu_now_ns() - began_ns;
    } while (spent_ns < ms * NS_PER_MS);
    sample->operations = steps;
    sample->seconds = (double)spent_ns / 1e9;
    sample->value = (double)spent_ns / (double)steps;
}

/* What is left when nothing is chosen: the seats, and the drawing of clients. */
static uint32_t pick_anybody(void *state, const struct sched_view *view,
                             const struct sched_request *request)
{
    (void)state;
    return (uint32_t)((request->key >> 32) * view->n >> 32);
}

static const struct sched_ops anybody = {.name = "loop alone", .pick = pick_anybody};

static void time_direct(struct pool *pool, const struct sched_ops *ops,
                        const struct options *options, struct sample *sample)
{
    struct direct direct;

    direct_open(&direct, pool, ops, options->round);
    time_steps(direct_step, &direct, options->ms, sample);
    sample->failures = direct.seats.failures;
    direct_close(&direct);
}

static void time_whole(struct pool *pool, const struct sched_ops *ops,
                       const struct options *options, struct sample *sample)
{
    struct whole whole;

    (void)ops; /* the pool's */
    whole_open(&whole, pool, 0, pool->n * POOL_SESSIONS, options->round);
    time_steps(whole_step, &whole, options->ms, sample);
    sample->failures = whole.seats.failures;
    whole_close(&whole);
}

typedef void time_fn(struct pool *pool, const struct sched_ops *ops, const struct options *options,
                     struct sample *sample);

static void measure_one(struct pool *pool, uint32_t scheduler, const struct sched_ops *ops,
                        time_fn *time, const char *row, const struct options *options)
{
    char metric[16];
    struct sample sample = {.row = row, .contender = ops->name, .metric = metric};

    snprintf(metric, sizeof(metric), "%" PRIu32, pool->n);
    pool_enter(pool, scheduler, 1);
    time(pool, ops, options, &sample);
    pool_leave(pool);
    sample_print(&sample);
}

void measure_direct(const struct options *options)
{
    for (size_t row = 0; row < 2 * SIZE_COUNT; row++) {
        bool limited = row >= SIZE_COUNT;
        const char *name = limited ? "direct-limited" : "direct-unlimited";
        struct pool pool;

        pool_open(&pool, sizes[row % SIZE_COUNT], limited);
        if (!limited) /* it does not look at limits */
            measure_one(&pool, 0, &anybody, time_direct, name, options);
        for (uint32_t s = 0; sched_table[s] != NULL; s++)
            measure_one(&pool, s, sched_table[s], time_direct, name, options);
        pool_close(&pool);
    }
}

void measure_whole(const struct options *options)
{
    for (size_t row = 0; row < 2 * SIZE_COUNT; row++) {
        bool limited = row >= SIZE_COUNT;
        struct pool pool;

        pool_open(&pool, sizes[row % SIZE_COUNT], limited);
        for (uint32_t s = 0; sched_table[s] != NULL; s++)
            measure_one(&pool, s, sched_table[s], time_whole,
                        limited ? "whole-limited" : "whole-unlimited", options);
        pool_close(&pool);
    }
}
