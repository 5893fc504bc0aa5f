/* The conformance suite of schedulers: see the header. */
#include "sched_conformance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The bench */

struct bench *bench_create(const struct sched_ops *ops, uint32_t n)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    size_t room = n == 0 ? 1 : n;

    bench->ops = ops;
    bench->n = n;
    bench->weight = calloc(room, sizeof(*bench->weight));
    bench->slot = calloc(room, sizeof(*bench->slot));
    bench->limit = calloc(room, sizeof(*bench->limit));
    bench->active = calloc(room, sizeof(*bench->active));
    for (uint32_t i = 0; i < n; i++) {
        bench->weight[i] = 1000;
        bench->slot[i] = n - 1 - i;
    }
    bench->view = (struct sched_view){.n = n,
                                      .weight = bench->weight,
                                      .slot = bench->slot,
                                      .limit = bench->limit,
                                      .slot_active = bench->active};
    return bench;
}

void bench_init(struct bench *bench, uint32_t seed)
{
    if (bench->ops->state_bytes != NULL) {
        size_t bytes = bench->ops->state_bytes(bench->n);
        bench->state = calloc(1, bytes == 0 ? 1 : bytes);
    }
    if (bench->ops->init != NULL)
        bench->ops->init(bench->state, &bench->view, seed);
}

void bench_destroy(struct bench *bench)
{
    free(bench->state);
    free(bench->weight);
    free(bench->slot);
    free(bench->limit);
    free((void *)bench->active);
    free(bench);
}

/* By the words of the interface, and not by sched_usable(). */
static bool is_usable(const struct bench *bench, const uint32_t *tried, uint32_t n_tried,
                      uint32_t i)
{
    if (i >= bench->n || bench->weight[i] == 0)
        return false;
    if (bench->limit[i] != 0 && atomic_load(bench_active(bench, i)) >= bench->limit[i])
        return false;
    for (uint32_t t = 0; t < n_tried; t++) {
        if (tried[t] == i)
            return false;
    }
    return true;
}

static bool any_usable(const struct bench *bench, const uint32_t *tried, uint32_t n_tried)
{
    for (uint32_t i = 0; i < bench->n; i++) {
        if (is_usable(bench, tried, n_tried, i))
            return true;
    }
    return false;
}

uint32_t bench_pick(struct bench *bench, const uint32_t *tried, uint32_t n_tried)
{
    struct sched_request request = {
        .tried = tried,
        .n_tried = n_tried,
        .key = bench->key++ * UINT64_C(0x9e3779b97f4a7c15),
    };
    uint32_t i = bench->ops->pick(bench->state, &bench->view, &request);
    if (i == SCHED_NONE)
        ck_assert_msg(!any_usable(bench, tried, n_tried), "%s overlooks one", bench->ops->name);
    else
        ck_assert_msg(is_usable(bench, tried, n_tried, i), "%s picks %u, which is not usable",
                      bench->ops->name, i);
    return i;
}

void bench_count(struct bench *bench, uint32_t n, bool held, uint32_t *counts)
{
    memset(counts, 0, bench->n * sizeof(*counts));
    for (uint32_t p = 0; p < n; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        ck_assert_uint_ne(i, SCHED_NONE);
        counts[i]++;
        if (held)
            atomic_fetch_add(bench_active(bench, i), 1);
    }
}

/* The suite: each test runs with each scheduler. */

static struct bench *start(int index, uint32_t n)
{
    struct bench *bench = bench_create(sched_table[index], n);
    bench_init(bench, 0);
    return bench;
}

START_TEST(describes_itself)
{
    const struct sched_ops *ops = sched_table[_i];

    ck_assert_str_ne(ops->name, "");
    ck_assert_str_ne(ops->help, "");
    ck_assert(ops->pick != NULL);
    ck_assert_uint_eq(sched_find(ops->name), (uint32_t)_i);
    for (const char *const *alias = ops->aliases; alias != NULL && *alias != NULL; alias++)
        ck_assert_uint_eq(sched_find(*alias), (uint32_t)_i);
}
END_TEST

START_TEST(no_backends)
{
    struct bench *bench = start(_i, 0);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    bench_destroy(bench);
}
END_TEST

START_TEST(one_backend)
{
    struct bench *bench = start(_i, 1);
    static const uint32_t tried[] = {0};

    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 0);
    ck_assert_uint_eq(bench_pick(bench, tried, 1), SCHED_NONE);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), 0);
    bench_destroy(bench);
}
END_TEST

START_TEST(weight_zero_is_never_chosen)
{
    struct bench *bench = start(_i, 5);
    uint32_t counts[5];

    bench->weight[0] = bench->weight[3] = 0;
    bench_count(bench, 500, true, counts);
    ck_assert_uint_eq(counts[0] + counts[3], 0);
    bench_destroy(bench);
}
END_TEST

START_TEST(none_eligible)
{
    struct bench *bench = start(_i, 4);

    memset(bench->weight, 0, 4 * sizeof(*bench->weight));
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    bench->weight[2] = 1000;
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 2);
    bench_destroy(bench);
}
END_TEST

START_TEST(fills_up_to_the_limits)
{
    struct bench *bench = start(_i, 4);
    uint32_t counts[4];

    for (uint32_t i = 0; i < 4; i++)
        bench->limit[i] = 1 + i;
    bench_count(bench, 10, true, counts);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(counts[i], 1 + i);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    atomic_fetch_sub(bench_active(bench, 1), 1);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), 1);
    bench_destroy(bench);
}
END_TEST

START_TEST(tried_ones_are_skipped)
{
    struct bench *bench = start(_i, 6);
    uint32_t tried[6];

    for (int round = 0; round < 50; round++) {
        for (uint32_t n = 0; n < 6; n++) {
            tried[n] = bench_pick(bench, tried, n);
            ck_assert_uint_ne(tried[n], SCHED_NONE);
        }
        ck_assert_uint_eq(bench_pick(bench, tried, 6), SCHED_NONE);
    }
    bench_destroy(bench);
}
END_TEST

/* Four standard deviations of a random choice, which is the loosest that keeps the promise. */
static void check_shares(const struct bench *bench, const uint32_t *counts, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < bench->n; i++)
        sum += bench->weight[i];
    for (uint32_t i = 0; i < bench->n; i++) {
        double due = n * (bench->weight[i] / sum);
        ck_assert_msg(fabs(counts[i] - due) <= 4 * sqrt(due) + 2, "%s gives %u to %u, due %.1f",
                      bench->ops->name, counts[i], i, due);
    }
}

static void end_sessions(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->n; i++)
        atomic_store(bench_active(bench, i), 0);
}

START_TEST(weights_are_honoured)
{
    static const uint32_t weights[] = {1, 2, 3, 5, 8, 13, 100, 1};
    struct bench *bench = start(_i, 8);
    uint32_t counts[8];

    if (bench->ops->weighted) {
        for (uint32_t i = 0; i < 8; i++)
            bench->weight[i] = weights[i] * 1000;
        bench_count(bench, 6650, true, counts);
        check_shares(bench, counts, 6650);
    }
    bench_destroy(bench);
}
END_TEST

START_TEST(weights_are_honoured_with_any_seed)
{
    for (uint32_t seed = 1; seed < 300; seed *= 3) {
        struct bench *bench = bench_create(sched_table[_i], 3);
        uint32_t counts[3];
        for (uint32_t i = 0; i < 3; i++)
            bench->weight[i] = 1500 * (i + 1);
        bench_init(bench, seed);
        bench_count(bench, 600, true, counts);
        if (bench->ops->weighted)
            check_shares(bench, counts, 600);
        bench_destroy(bench);
    }
}
END_TEST

START_TEST(changes_in_mid_flow)
{
    struct bench *bench = start(_i, 5);
    uint32_t counts[5];
    static const uint32_t weights[][5] = {
        {65535000, 1000, 1000, 1000, 1000},
        {0, 1000, 1000, 0, 1000},
        {1000, 0, 7000, 2000, 0},
        {1, 1, 1, 1, 1},
        {0, 0, 0, 0, 5000},
        {1000, 2000, 3000, 4000, 5000},
    };

    for (size_t w = 0; w < sizeof(weights) / sizeof(weights[0]); w++) {
        memcpy(bench->weight, weights[w], sizeof(weights[w]));
        bench_count(bench, 3000, true, counts);
        if (bench->ops->weighted)
            check_shares(bench, counts, 3000);
        end_sessions(bench);
    }
    bench_destroy(bench);
}
END_TEST

/* One random change of anything. */
static void stir(struct bench *bench)
{
    uint32_t i = (uint32_t)random() % bench->n;
    switch (random() % 4) {
    case 0:
        bench->weight[i] = random() % 3 == 0 ? 0 : (uint32_t)random() % 65536 * 1000;
        break;
    case 1:
        bench->limit[i] = (uint32_t)random() % 3 * ((uint32_t)random() % 20);
        break;
    case 2:
        atomic_store(bench_active(bench, i), (uint32_t)random() % 20);
        break;
    default:
        atomic_store(bench_active(bench, i), 0);
        break;
    }
}

/* bench_pick() does the checking. */
START_TEST(storm)
{
    static const uint32_t sizes[] = {1, 2, 3, 7, 40};
    uint32_t tried[8];

    srandom((unsigned)_i);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct bench *bench = start(_i, sizes[s]);
        for (int turn = 0; turn < 4000; turn++) {
            stir(bench);
            uint32_t n_tried = (uint32_t)random() % 4;
            for (uint32_t t = 0; t < n_tried; t++)
                tried[t] = (uint32_t)random() % (bench->n + 1); /* also one that is not there */
            uint32_t i = bench_pick(bench, tried, n_tried);
            if (i != SCHED_NONE)
                atomic_fetch_add(bench_active(bench, i), 1);
        }
        bench_destroy(bench);
    }
}
END_TEST

START_TEST(a_thousand_backends)
{
    enum { N = 1000 };
    struct bench *bench = bench_create(sched_table[_i], N);
    static uint32_t counts[N];

    for (uint32_t i = 0; i < N; i++) {
        bench->weight[i] = i % 10 == 0 ? 0 : 65535000;
        bench->limit[i] = 3;
    }
    bench_init(bench, 255);
    bench_count(bench, 2700, true, counts);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_uint_eq(counts[i], i % 10 == 0 ? 0 : 3);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    bench_destroy(bench);
}
END_TEST

/* From n_old backends to n_new, with some kept in another order. */
static void carry_over(int index, uint32_t n_old, uint32_t n_new)
{
    struct bench *old = start(index, n_old);
    struct bench *new = start(index, n_new);
    uint32_t old_index[64];

    for (uint32_t p = 0; p < 2 * n_old; p++)
        bench_pick(old, NULL, 0);
    for (uint32_t i = 0; i < n_new; i++) {
        uint32_t from = n_new - 1 - i;
        old_index[i] = from < n_old && from % 3 != 2 ? from : SCHED_NONE;
    }
    if (new->ops->carry != NULL)
        new->ops->carry(new->state, &new->view, old->state, n_old, old_index);
    uint32_t counts[64];
    bench_count(new, 50 * n_new, true, counts);
    if (new->ops->weighted && n_new != 0)
        check_shares(new, counts, 50 * n_new);
    bench_destroy(old);
    bench_destroy(new);
}

START_TEST(state_is_carried_over)
{
    static const uint32_t sizes[] = {0, 1, 2, 5, 9, 64};

    for (size_t from = 0; from < sizeof(sizes) / sizeof(sizes[0]); from++) {
        for (size_t to = 0; to < sizeof(sizes) / sizeof(sizes[0]); to++)
            carry_over(_i, sizes[from], sizes[to]);
    }
}
END_TEST

/* With nothing changed, what comes after a carry is what would have come without it. */
START_TEST(an_unchanged_pool_goes_on)
{
    enum { N = 5 };
    uint32_t old_index[N];
    struct bench *old = bench_create(sched_table[_i], N);
    struct bench *new = bench_create(sched_table[_i], N);

    for (uint32_t i = 0; i < N; i++) {
        old->weight[i] = new->weight[i] = 1000 * (1 + i * i);
        old_index[i] = i;
    }
    if (old->ops->carry != NULL) {
        bench_init(old, 0);
        bench_init(new, 0);
        for (int p = 0; p < 13; p++)
            bench_pick(old, NULL, 0);
        new->ops->carry(new->state, &new->view, old->state, N, old_index);
        new->key = old->key;
        for (int p = 0; p < 100; p++)
            ck_assert_uint_eq(bench_pick(new, NULL, 0), bench_pick(old, NULL, 0));
    }
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

void sched_conformance_add(Suite *suite)
{
    TCase *tcase = tcase_create("conformance");
    int n = 0;

    while (sched_table[n] != NULL)
        n++;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, describes_itself, 0, n);
    tcase_add_loop_test(tcase, no_backends, 0, n);
    tcase_add_loop_test(tcase, one_backend, 0, n);
    tcase_add_loop_test(tcase, weight_zero_is_never_chosen, 0, n);
    tcase_add_loop_test(tcase, none_eligible, 0, n);
    tcase_add_loop_test(tcase, fills_up_to_the_limits, 0, n);
    tcase_add_loop_test(tcase, tried_ones_are_skipped, 0, n);
    tcase_add_loop_test(tcase, weights_are_honoured, 0, n);
    tcase_add_loop_test(tcase, weights_are_honoured_with_any_seed, 0, n);
    tcase_add_loop_test(tcase, changes_in_mid_flow, 0, n);
    tcase_add_loop_test(tcase, storm, 0, n);
    tcase_add_loop_test(tcase, a_thousand_backends, 0, n);
    tcase_add_loop_test(tcase, state_is_carried_over, 0, n);
    tcase_add_loop_test(tcase, an_unchanged_pool_goes_on, 0, n);
    suite_add_tcase(suite, tcase);
}
