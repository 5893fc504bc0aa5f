/* The conformance suite of schedulers: each test runs with each scheduler. */
#include "sched_conformance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct bench *start(int index, uint32_t n)
{
    struct bench *bench = bench_create(sched_table[index], n);
    bench_init(bench, 0);
    return bench;
}

/* Picks n times; bench_ask() does the checking. */
static void pick_some(struct bench *bench, int n)
{
    for (int p = 0; p < n; p++)
        bench_pick(bench, NULL, 0);
}

START_TEST(describes_itself)
{
    const struct sched_ops *ops = sched_table[_i];

    ck_assert_str_ne(ops->name, "");
    ck_assert_str_ne(ops->help, "");
    ck_assert_int_lt(ops->kind, SCHED_KIND_COUNT);
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

/* Between resume_connections and the limit it counts whether a backend has been at the limit. */
START_TEST(a_full_one_waits_for_resume)
{
    struct bench *bench = start(_i, 2);

    for (uint32_t i = 0; i < 2; i++) {
        bench->limit[i] = 10;
        bench->resume[i] = 5;
        atomic_store(bench_active(bench, i), 5);
        atomic_store(&bench->sb.slot_full[bench->slot[i]], 1);
    }
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    atomic_store(bench_active(bench, 1), 4);
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 1);
    atomic_store(&bench->sb.slot_full[bench->slot[0]], 0);
    atomic_store(bench_active(bench, 1), 5);
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 0);
    bench_destroy(bench);
}
END_TEST

START_TEST(rates_are_kept)
{
    struct bench *bench = start(_i, 3);
    uint64_t now_ns = bench->now_us * 1000;

    for (uint32_t i = 0; i < 3; i++) {
        bench->rate[i] = (struct snapshot_rate){.interval_ns = 1000000, .burst = 2};
        atomic_store(&bench->sb.slot_rate[bench->slot[i]], now_ns + 1000001 + 1000 * i);
    }
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    bench->now_us++;
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 0);
    bench->now_us++;
    pick_some(bench, 10);
    bench_destroy(bench);
}
END_TEST

START_TEST(held_ones_are_passed_over)
{
    struct bench *bench = start(_i, 4);

    bench->held[0] = bench->held[2] = 1;
    pick_some(bench, 40);
    bench->held[3] = 1;
    for (int p = 0; p < 5; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 1);
    bench->held[1] = 1;
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    memset(bench->held, 0, 4);
    pick_some(bench, 40);
    bench_destroy(bench);
}
END_TEST

START_TEST(tried_ones_are_skipped)
{
    static const uint32_t sizes[] = {6, 40};

    for (size_t s = 0; s < 2; s++) {
        struct bench *bench = start(_i, sizes[s]);
        uint32_t tried[40];
        for (int round = 0; round < 20; round++) {
            uint32_t n = 0;
            while (n < bench->n && (tried[n] = bench_pick(bench, tried, n)) != SCHED_NONE)
                n++;
            ck_assert_uint_eq(n, bench->n);
            ck_assert_uint_eq(bench_pick(bench, tried, n), SCHED_NONE);
        }
        bench_destroy(bench);
    }
}
END_TEST

/*
 * Four standard deviations of a random choice, which is the loosest that keeps the promise. Those
 * that go by a table promise no shares of sessions, for some clients have more of them; but where
 * each client comes once, as here, they give them.
 */
static void check_shares(const struct bench *bench, const uint32_t *counts, uint32_t n)
{
    double sum = 0;

    if (!bench->ops->weighted && !bench->ops->has_table)
        return;
    for (uint32_t i = 0; i < bench->n; i++)
        sum += bench->weight[i];
    for (uint32_t i = 0; i < bench->n; i++) {
        double due = n * (bench->weight[i] / sum);
        if (fabs(counts[i] - due) > 4 * sqrt(due) + 2)
            ck_abort_msg("%s gives %u to %u, due %.1f", bench->ops->name, counts[i], i, due);
    }
}

static void end_sessions(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->n; i++)
        atomic_store(bench_active(bench, i), 0);
}

START_TEST(weights_are_honoured)
{
    static const uint32_t weights[] = {1, 2, 3, 5, 8, 13, 100, 1}, sizes[] = {8, 32, 33, 64};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct bench *bench = bench_create(sched_table[_i], sizes[s]);
        uint32_t counts[64];
        for (uint32_t i = 0; i < bench->n; i++)
            bench->weight[i] = weights[i % 8] * 1000;
        bench_init(bench, 0);
        bench_count(bench, 6650, true, counts);
        check_shares(bench, counts, 6650);
        bench_destroy(bench);
    }
}
END_TEST

START_TEST(weights_are_honoured_with_any_seed)
{
    for (uint32_t seed = 1; seed < 300; seed *= 3) {
        struct bench *bench = bench_create(sched_table[_i], seed % 4 == 1 ? 3 : 36);
        uint32_t counts[36];
        for (uint32_t i = 0; i < bench->n; i++)
            bench->weight[i] = 1500 * (i + 1);
        bench_init(bench, seed);
        bench_count(bench, 600, true, counts);
        check_shares(bench, counts, 600);
        bench_destroy(bench);
    }
}
END_TEST

static const uint32_t changes[][5] = {
    {65535000, 1000, 1000, 1000, 1000},
    {0, 1000, 1000, 0, 1000},
    {1000, 0, 7000, 2000, 0},
    {1, 1, 1, 1, 1},
    {0, 0, 0, 0, 5000},
    {1000, 2000, 3000, 4000, 5000},
};

START_TEST(changes_in_mid_flow)
{
    static const uint32_t sizes[] = {5, 40};

    for (size_t s = 0; s < 2; s++) {
        struct bench *bench = start(_i, sizes[s]);
        uint32_t counts[40];
        for (size_t c = 0; c < sizeof(changes) / sizeof(changes[0]); c++) {
            for (uint32_t i = 0; i < bench->n; i++)
                bench->weight[i] = changes[c][i % 5];
            bench_count(bench, 3000, true, counts);
            check_shares(bench, counts, 3000);
            end_sessions(bench);
        }
        bench_destroy(bench);
    }
}
END_TEST

/* What moves by itself counts as much as what is configured. */
START_TEST(slow_starters_get_less)
{
    struct bench *bench = start(_i, 6);
    uint32_t counts[6];

    for (uint32_t i = 0; i < 6; i++) {
        bench->factor[i] = i % 2 == 0 ? 100 : 1000;
        bench->weight[i] = 3 * bench->factor[i];
    }
    bench_count(bench, 3300, true, counts);
    check_shares(bench, counts, 3300);
    bench_destroy(bench);
}
END_TEST

/* One random change of anything. */
static void stir(struct bench *bench)
{
    uint32_t i = (uint32_t)random() % bench->n;
    uint32_t slot = bench->slot[i];

    switch (random() % 8) {
    case 0: /* one and the same configured weight for each */
        bench->factor[i] = random() % 2 == 0 ? 1000 : 1 + (uint32_t)random() % 1000;
        bench->weight[i] = random() % 3 == 0 ? 0 : (65535 - 7919 * i % 65535) * bench->factor[i];
        break;
    case 1:
        bench->limit[i] = (uint32_t)random() % 3 * ((uint32_t)random() % 20);
        bench->resume[i] = bench->limit[i] == 0 ? 0 : 1 + (uint32_t)random() % bench->limit[i];
        break;
    case 2:
        atomic_store(&bench->sb.slot_full[slot], (uint8_t)(random() % 2));
        break;
    case 3:
        bench->held[i] = random() % 4 == 0;
        break;
    case 4:
        bench->rate[i] =
            (struct snapshot_rate){.interval_ns = (uint64_t)random() % 3 * 1000, .burst = 2};
        atomic_store(&bench->sb.slot_rate[slot],
                     (bench->now_us - 10 + (uint64_t)random() % 20) * 1000);
        break;
    case 5:
        atomic_store(bench_active(bench, i), (uint32_t)random() % 20);
        break;
    case 6:
        bench->now_us++;
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
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < N; i++)
        wrong += counts[i] != (i % 10 == 0 ? 0 : 3);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(bench_pick(bench, NULL, 0), SCHED_NONE);
    bench_destroy(bench);
}
END_TEST

/* From n_old backends to n_new, with some kept in another order. */
static void carry_over(int index, uint32_t n_old, uint32_t n_new)
{
    struct bench *old = start(index, n_old);
    struct bench *new = bench_create(sched_table[index], n_new);
    uint32_t old_index[64], counts[64];

    pick_some(old, (int)(2 * n_old));
    for (uint32_t i = 0; i < n_new; i++) {
        uint32_t from = n_new - 1 - i;
        old_index[i] = from < n_old && from % 3 != 2 ? from : SCHED_NONE;
    }
    bench_init_from(new, 1, old, old_index);
    bench_count(new, 50 * n_new, true, counts);
    check_shares(new, counts, 50 * n_new);
    bench_destroy(old);
    bench_destroy(new);
}

START_TEST(state_is_carried_over)
{
    static const uint32_t sizes[] = {0, 1, 5, 9, 64};

    for (size_t from = 0; from < sizeof(sizes) / sizeof(sizes[0]); from++) {
        for (size_t to = 0; to < sizeof(sizes) / sizeof(sizes[0]); to++)
            carry_over(_i, sizes[from], sizes[to]);
    }
}
END_TEST

/* With uneven weights that are no multiples of each other. */
static struct bench *create_uneven(int index, uint32_t n)
{
    struct bench *bench = bench_create(sched_table[index], n);
    for (uint32_t i = 0; i < n; i++)
        bench->weight[i] = 1000 * (1 + i * i);
    return bench;
}

/* With nothing changed, what comes after a carry is what would have come without it. */
START_TEST(an_unchanged_pool_goes_on)
{
    static const uint32_t sizes[] = {5, 40};
    uint32_t old_index[40];

    for (uint32_t i = 0; i < 40; i++)
        old_index[i] = i;
    for (size_t s = 0; s < 2 && sched_table[_i]->carry != NULL; s++) {
        struct bench *old = create_uneven(_i, sizes[s]);
        struct bench *new = create_uneven(_i, sizes[s]);
        bench_init(old, 0);
        pick_some(old, 13);
        bench_init_from(new, 0, old, old_index);
        new->key = old->key;
        for (int p = 0; p < 100; p++)
            ck_assert_uint_eq(bench_pick(new, NULL, 0), bench_pick(old, NULL, 0));
        bench_destroy(old);
        bench_destroy(new);
    }
}
END_TEST

/* What explain does: asks, and puts the state back. */
static uint32_t ask_dry(struct bench *bench, const struct sched_request *request)
{
    size_t bytes = bench->ops->state_bytes == NULL ? 0 : bench->ops->state_bytes(bench->n);
    struct sched_request dry = *request;
    void *copy = malloc(bytes + 1);

    dry.dry = true;
    memcpy(copy, bench->state, bytes);
    uint32_t i = bench_ask(bench, &dry);
    memcpy(bench->state, copy, bytes);
    free(copy);
    return i;
}

/* A bench that is asked a lot besides goes the way of one that is not. */
START_TEST(a_dry_run_leaves_no_trace)
{
    static const uint32_t sizes[] = {5, 40};

    for (size_t s = 0; s < 2; s++) {
        struct bench *asked = create_uneven(_i, sizes[s]);
        struct bench *other = create_uneven(_i, sizes[s]);
        bench_init(asked, 0);
        bench_init(other, 0);
        for (int p = 0; p < 200; p++) {
            struct sched_request stray = {.key = sched_mix((uint64_t)p << 32),
                                          .destination = sched_mix((uint64_t)p << 33),
                                          .now_us = asked->now_us};
            (void)ask_dry(asked, &stray);
            struct sched_request request = bench_request(asked, NULL, 0);
            uint32_t foretold = ask_dry(asked, &request);
            uint32_t i = bench_ask(asked, &request);
            ck_assert_uint_eq(i, foretold);
            ck_assert_uint_eq(i, bench_pick(other, NULL, 0));
            atomic_fetch_add(bench_active(asked, i), 1);
            atomic_fetch_add(bench_active(other, i), 1);
        }
        bench_destroy(asked);
        bench_destroy(other);
    }
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
    tcase_add_loop_test(tcase, a_full_one_waits_for_resume, 0, n);
    tcase_add_loop_test(tcase, rates_are_kept, 0, n);
    tcase_add_loop_test(tcase, held_ones_are_passed_over, 0, n);
    tcase_add_loop_test(tcase, tried_ones_are_skipped, 0, n);
    tcase_add_loop_test(tcase, weights_are_honoured, 0, n);
    tcase_add_loop_test(tcase, weights_are_honoured_with_any_seed, 0, n);
    tcase_add_loop_test(tcase, changes_in_mid_flow, 0, n);
    tcase_add_loop_test(tcase, slow_starters_get_less, 0, n);
    tcase_add_loop_test(tcase, storm, 0, n);
    tcase_add_loop_test(tcase, a_thousand_backends, 0, n);
    tcase_add_loop_test(tcase, state_is_carried_over, 0, n);
    tcase_add_loop_test(tcase, an_unchanged_pool_goes_on, 0, n);
    tcase_add_loop_test(tcase, a_dry_run_leaves_no_trace, 0, n);
    suite_add_tcase(suite, tcase);
}
