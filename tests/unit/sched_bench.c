/* The bench of schedulers: see the header. */
#include "sched_bench.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/maglev.h"

#define TABLE_SIZE  5003 /* small, because it is often made anew; a prime */
#define TABLE_SMALL 64   /* backends that it is for */

/* What weighs comes first: only that makes the scheduler fold. */
static size_t weights_bytes(const struct bench *bench)
{
    return bench->n * 2 * sizeof(uint32_t);
}

static size_t knobs_bytes(const struct bench *bench)
{
    return weights_bytes(bench) +
           bench->n * (sizeof(struct snapshot_rate) + 2 * sizeof(uint32_t) + sizeof(uint8_t));
}

static void *at_least(size_t bytes)
{
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

static void place_knobs(struct bench *bench)
{
    size_t n = bench->n;

    bench->knobs = at_least(knobs_bytes(bench));
    bench->folded = at_least(knobs_bytes(bench));
    bench->weight = bench->knobs;
    bench->factor = bench->weight + n;
    bench->rate = (struct snapshot_rate *)(bench->factor + n);
    bench->limit = (uint32_t *)(bench->rate + n);
    bench->resume = bench->limit + n;
    bench->held = (uint8_t *)(bench->resume + n);
}

struct bench *bench_create(const struct sched_ops *ops, uint32_t n)
{
    struct bench *bench = at_least(sizeof(*bench));

    bench->ops = ops;
    bench->n = n;
    bench->now_us = UINT64_C(1000000000);
    ck_assert_int_eq(scoreboard_create(&bench->sb, 1, 1, 1), 0);
    place_knobs(bench);
    bench->slot = at_least(n * sizeof(*bench->slot));
    bench->eligible = at_least(n * sizeof(*bench->eligible));
    bench->tabled = at_least(n * sizeof(*bench->tabled));
    bench->backends = at_least(n * sizeof(*bench->backends));
    for (uint32_t i = 0; i < n; i++) {
        bench->weight[i] = bench->factor[i] = 1000;
        bench->slot[i] = n - 1 - i;
        struct snapshot_backend *backend = &bench->backends[i];
        backend->slot = bench->slot[i];
        backend->row = i;
        (void)snprintf(backend->name, sizeof(backend->name), "b%u", i);
    }
    bench->view = (struct sched_view){.n = n,
                                      .weight = bench->weight,
                                      .factor = bench->factor,
                                      .eligible = bench->eligible,
                                      .slot = bench->slot,
                                      .slot_active = bench->sb.slot_active,
                                      .limit = bench->limit,
                                      .resume = bench->resume,
                                      .rate = bench->rate,
                                      .backends = bench->backends,
                                      .sb = &bench->sb,
                                      .seed = 12345};
    return bench;
}

void bench_destroy(struct bench *bench)
{
    free(bench->state);
    free(bench->knobs);
    free(bench->folded);
    free(bench->slot);
    free(bench->eligible);
    free(bench->tabled);
    free(bench->backends);
    free(bench->entries);
    scoreboard_destroy(&bench->sb);
    free(bench);
}

/* The table goes by configured weights; one that is 0 for now has the weight it had. */
static void make_table(struct bench *bench)
{
    uint32_t size = bench->n <= TABLE_SMALL ? TABLE_SIZE : MAGLEV_SIZE;
    bool changed = bench->entries == NULL;

    for (uint32_t i = 0; i < bench->n; i++) {
        uint32_t units = bench->weight[i] / bench->factor[i];
        if (bench->weight[i] != 0 && units == 0)
            units = 1;
        if (units != 0 && units != bench->tabled[i]) {
            bench->tabled[i] = units;
            changed = true;
        }
    }
    if (!changed)
        return;
    struct maglev_backend *backends = at_least(bench->n * sizeof(*backends));
    for (uint32_t i = 0; i < bench->n; i++)
        backends[i] =
            maglev_backend(bench->backends[i].name, bench->tabled[i], bench->view.seed, size);
    if (bench->entries == NULL)
        bench->entries = at_least(size * sizeof(*bench->entries));
    bool built = maglev_build(backends, bench->n, size, bench->entries) == 0;
    bench->view.entries = built ? bench->entries : NULL;
    bench->view.n_entries = built ? size : 0;
    free(backends);
}

static void fold_weights(struct bench *bench)
{
    struct sched_view *view = &bench->view;

    view->n_eligible = 0;
    view->weight_sum = 0;
    for (uint32_t i = 0; i < bench->n; i++) {
        if (bench->weight[i] == 0)
            continue;
        bench->eligible[view->n_eligible++] = i;
        view->weight_sum += bench->weight[i];
    }
    if (bench->ops->has_table)
        make_table(bench);
}

static void fold_bounds(struct bench *bench)
{
    struct sched_view *view = &bench->view;

    view->bounded = false;
    view->held = NULL;
    for (uint32_t i = 0; i < bench->n; i++) {
        if (bench->held[i] != 0)
            view->held = bench->held;
        if (bench->held[i] != 0 || bench->limit[i] != 0 || bench->rate[i].interval_ns != 0)
            view->bounded = true;
    }
}

static void fold(struct bench *bench)
{
    if (memcmp(bench->knobs, bench->folded, knobs_bytes(bench)) == 0)
        return;
    bool weights_changed = memcmp(bench->knobs, bench->folded, weights_bytes(bench)) != 0;
    memcpy(bench->folded, bench->knobs, knobs_bytes(bench));
    fold_bounds(bench);
    if (!weights_changed)
        return;
    fold_weights(bench);
    if (bench->state != NULL && bench->ops->fold != NULL)
        bench->ops->fold(bench->state, &bench->view);
}

void bench_init_from(struct bench *bench, uint32_t seed, const struct bench *old,
                     const uint32_t *old_index)
{
    const struct sched_ops *ops = bench->ops;

    fold(bench);
    bench->state = at_least(ops->state_bytes == NULL ? 0 : ops->state_bytes(bench->n));
    if (ops->init != NULL)
        ops->init(bench->state, &bench->view, seed);
    if (old != NULL && ops->carry != NULL)
        ops->carry(bench->state, &bench->view, old->state, old->n, old_index);
    if (ops->fold != NULL)
        ops->fold(bench->state, &bench->view);
}

void bench_init(struct bench *bench, uint32_t seed)
{
    bench_init_from(bench, seed, NULL, NULL);
}

/* By the words of the interface, and not by sched_usable(). */
static bool is_usable(const struct bench *bench, const struct sched_request *request, uint32_t i)
{
    if (i >= bench->n || bench->weight[i] == 0 || bench->held[i] != 0)
        return false;
    uint32_t active = atomic_load(bench_active(bench, i)), limit = bench->limit[i];
    if (limit != 0 && active >= limit)
        return false;
    if (limit != 0 && active >= bench->resume[i] &&
        atomic_load(&bench->sb.slot_full[bench->slot[i]]) != 0)
        return false;
    const struct snapshot_rate *rate = &bench->rate[i];
    uint64_t ahead_ns = rate->interval_ns * (rate->burst - 1);
    if (rate->interval_ns != 0 &&
        atomic_load(&bench->sb.slot_rate[bench->slot[i]]) > request->now_us * 1000 + ahead_ns)
        return false;
    for (uint32_t t = 0; t < request->n_tried; t++) {
        if (request->tried[t] == i)
            return false;
    }
    return true;
}

static bool any_usable(const struct bench *bench, const struct sched_request *request)
{
    for (uint32_t i = 0; i < bench->n; i++) {
        if (is_usable(bench, request, i))
            return true;
    }
    return false;
}

struct sched_request bench_request(struct bench *bench, const uint32_t *tried, uint32_t n_tried)
{
    uint64_t key = sched_mix(bench->key++);
    return (struct sched_request){.tried = tried,
                                  .n_tried = n_tried,
                                  .key = key,
                                  .destination = sched_mix(~key),
                                  .now_us = bench->now_us};
}

static uint32_t ask_folded(struct bench *bench, const struct sched_request *request)
{
    uint32_t i = bench->ops->pick(bench->state, &bench->view, request);

    if (i == SCHED_NONE && any_usable(bench, request))
        ck_abort_msg("%s overlooks one", bench->ops->name);
    if (i != SCHED_NONE && !is_usable(bench, request, i))
        ck_abort_msg("%s picks %u, which is not usable", bench->ops->name, i);
    return i;
}

uint32_t bench_ask(struct bench *bench, const struct sched_request *request)
{
    fold(bench);
    return ask_folded(bench, request);
}

uint32_t bench_pick(struct bench *bench, const uint32_t *tried, uint32_t n_tried)
{
    struct sched_request request = bench_request(bench, tried, n_tried);
    return bench_ask(bench, &request);
}

void bench_count(struct bench *bench, uint32_t n, bool held, uint32_t *counts)
{
    memset(counts, 0, bench->n * sizeof(*counts));
    fold(bench);
    for (uint32_t p = 0; p < n; p++) {
        struct sched_request request = bench_request(bench, NULL, 0);
        uint32_t i = ask_folded(bench, &request);
        if (i == SCHED_NONE)
            ck_abort_msg("%s: no backend is usable", bench->ops->name);
        counts[i]++;
        if (held)
            atomic_fetch_add(bench_active(bench, i), 1);
    }
}
