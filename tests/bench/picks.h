/*
 * bench_picks: what the choice of a backend costs. Shared by its files; never installed.
 *
 * All of them print samples, one JSON object a line, that picks.py puts together. What cannot be
 * done ends the program with a message: half a measurement is none.
 */
#ifndef SLUICE_TESTS_BENCH_PICKS_H
#define SLUICE_TESTS_BENCH_PICKS_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/choose.h"

#define NS_PER_MS INT64_C(1000000)

/* --- picks.c --- */

struct options {
    uint32_t round; /* seeds what differs from round to round: clients, names in hash tables */
    uint32_t ms;    /* of CPU time, a sample */
};

struct sample {
    const char *row;       /* of the report: a table */
    const char *contender; /* a line of it */
    const char *metric;    /* a column of it */
    double value;
    uint64_t operations;
    double seconds;
    uint64_t failures; /* operations that found no backend, though there is always room */
};

void sample_print(const struct sample *sample);
_Noreturn __attribute__((format(printf, 1, 2))) void give_up(const char *format, ...);
/* Zeroed; never NULL. */
void *take_memory(uint64_t n, uint64_t item_bytes);
/* Of the calling process alone, so that what others do meanwhile does not count. */
int64_t cpu_now_ns(void);

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Steele, Lea and Flood's splitmix64, inline: it is part of what is measured. */
static inline uint64_t draw(uint64_t *random)
{
    *random += UINT64_C(0x9e3779b97f4a7c15);
    return mix(*random);
}

static inline uint32_t draw_below(uint64_t *random, uint32_t n)
{
    return (uint32_t)((draw(random) >> 32) * n >> 32);
}

/* --- picks_pool.c: a pool, without master --- */

#define POOL_SESSIONS 10 /* for each backend */
#define POOL_LIMIT    20 /* max_connections, of all where any has one */

struct pool {
    struct snapshot_header *snapshot; /* one service, one pool, its table; owned */
    const struct snapshot_backend *backends;
    uint32_t n;
    bool limited;
    struct scoreboard sb;
};

/* n backends "b0", "b1", … with weights of 1 to 4, the same each time. */
void pool_open(struct pool *pool, uint32_t n, bool limited);
void pool_close(struct pool *pool);
/* Whose scheduler is now that one, with a scoreboard as after a start: all backends up, idle, of
 * different response times. pool_leave() ends that. */
void pool_enter(struct pool *pool, uint32_t scheduler, uint32_t n_workers);
void pool_leave(struct pool *pool);
uint32_t pool_weight(uint32_t i);

/* --- picks_seats.c: one worker's sessions on a pool --- */

/*
 * A seat holds one session. A step ends the session of a seat drawn at random and chooses for the
 * next: lives are of random length, as many sessions stand all the time, and each scheduler is
 * measured under the load that it makes itself. Clients are drawn at random, destinations from
 * DESTINATIONS; the clock goes on by STEP_US, since nothing here waits.
 */
#define STEP_US      20
#define DESTINATIONS 1000

struct seats {
    uint32_t *slot; /* of the session's backend; SCHED_NONE: nobody sits there */
    uint32_t n;
    uint64_t random, now_us;
    uint64_t failures;
};

void seats_open(struct seats *seats, uint32_t n, uint64_t seed);
void seats_close(struct seats *seats);

/* The scheduler alone: a view as choose.h's files make one, load kept without atomic additions,
 * as there is one process. */
struct direct {
    struct pool *pool;
    const struct sched_ops *ops;
    void *state;
    struct sched_view view;
    uint32_t *weight, *factor, *eligible, *slot, *limit, *resume;
    struct snapshot_rate *rate;
    struct seats seats;
};

/* Both of these: made with every seat taken and changed once on average. ops: any; not only that
 * of the pool's. */
void direct_open(struct direct *direct, struct pool *pool, const struct sched_ops *ops,
                 uint64_t seed);
void direct_close(struct direct *direct);
void direct_step(void *direct, uint32_t steps);

/* The whole choice: chooser_choose() and scoreboard_release(). */
struct whole {
    struct pool *pool;
    struct chooser *chooser;
    uint32_t worker;
    struct seats seats;
};

void whole_open(struct whole *whole, struct pool *pool, uint32_t worker, uint32_t n_seats,
                uint64_t seed);
void whole_close(struct whole *whole);
void whole_step(void *whole, uint32_t steps);

/* --- the parts of the benchmark --- */

void measure_direct(const struct options *options);    /* picks_single.c */
void measure_whole(const struct options *options);     /* picks_single.c */
void measure_contended(const struct options *options); /* picks_contended.c */
void measure_maglev(const struct options *options);    /* picks_maglev.c */

#endif
