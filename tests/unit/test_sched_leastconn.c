/* lc, wlc and nq against a model that compares every backend with every other. */
#include <stdlib.h>
#include <string.h>

#include "sched_conformance.h"

static struct bench *start(const struct sched_ops *ops, uint32_t n, const uint32_t *weights)
{
    struct bench *bench = bench_create(ops, n);
    for (uint32_t i = 0; weights != NULL && i < n; i++)
        bench->weight[i] = weights[i] * 1000;
    bench_init(bench, 0);
    return bench;
}

/* Picks and holds once per letter, and compares. */
static void expect_held(struct bench *bench, const char *letters)
{
    char got[100];
    size_t n = strlen(letters);

    for (size_t p = 0; p < n; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        got[p] = i == SCHED_NONE ? '-' : (char)('a' + i);
        if (i != SCHED_NONE)
            atomic_fetch_add(bench_active(bench, i), 1);
    }
    got[n] = '\0';
    ck_assert_str_eq(got, letters);
}

START_TEST(lc_evens_out)
{
    struct bench *bench = start(&sched_lc, 3, (const uint32_t[]){1, 50, 7});

    atomic_store(bench_active(bench, 0), 3);
    atomic_store(bench_active(bench, 1), 1);
    expect_held(bench, "cbcbcabca"); /* 3 1 0, then 3 3 3 after five, then in turn */
    bench_destroy(bench);
}
END_TEST

static const struct sched_ops *const all[] = {&sched_lc, &sched_wlc, &sched_nq};

START_TEST(ties_go_by_turn)
{
    struct bench *bench = start(all[_i], 3, NULL);

    for (int p = 0; p < 9; p++) /* sessions so short that nobody ever has one */
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), (uint32_t)p % 3);
    bench->weight[0] = 0;
    for (int p = 0; p < 4; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), 1 + (uint32_t)p % 2);
    bench_destroy(bench);
}
END_TEST

START_TEST(wlc_goes_by_weight)
{
    struct bench *bench = start(&sched_wlc, 3, (const uint32_t[]){4, 2, 1});

    /* (A+1)/w: a at 1/4; b at 1/2 in its turn, a at 2/4 and 3/4; then all at 1, in turn from b */
    expect_held(bench, "abaabca");
    ck_assert_uint_eq(atomic_load(bench_active(bench, 0)), 4);
    ck_assert_uint_eq(atomic_load(bench_active(bench, 1)), 2);
    ck_assert_uint_eq(atomic_load(bench_active(bench, 2)), 1);
    bench_destroy(bench);
}
END_TEST

START_TEST(nq_takes_idle_ones_first)
{
    struct bench *bench = start(&sched_nq, 4, (const uint32_t[]){10, 2, 1, 2});

    /* The idle ones by weight, b before d in its turn; then as wlc: a from 2/10 to 9/10, then b, d
     * and a at 1, in turn. */
    expect_held(bench, "abdcaaaaaaaabda");
    atomic_store(bench_active(bench, 2), 0); /* what little it may weigh */
    expect_held(bench, "c");
    atomic_store(bench_active(bench, 1), 0);
    atomic_store(bench_active(bench, 3), 0);
    expect_held(bench, "db"); /* it is d's turn */
    bench_destroy(bench);
}
END_TEST

START_TEST(seeds_differ)
{
    for (uint32_t seed = 0; seed < 6; seed++) {
        struct bench *bench = bench_create(all[_i], 4);
        bench_init(bench, seed);
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), seed % 4);
        bench_destroy(bench);
    }
}
END_TEST

static bool usable(const struct bench *bench, uint32_t i, uint32_t tried)
{
    uint32_t active = atomic_load(bench_active(bench, i));
    return bench->weight[i] != 0 && i != tried &&
           (bench->limit[i] == 0 || active < bench->limit[i]);
}

/* Whether a is strictly better than b. */
static bool better(const struct bench *bench, uint32_t a, uint32_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide sessions_a = (wide)atomic_load(bench_active(bench, a)) + 1;
    wide sessions_b = (wide)atomic_load(bench_active(bench, b)) + 1;
    if (bench->ops == &sched_lc)
        return sessions_a < sessions_b;
    if (bench->ops == &sched_nq && (sessions_a == 1) != (sessions_b == 1))
        return sessions_a == 1;
    return sessions_a * bench->weight[b] < sessions_b * bench->weight[a];
}

static bool is_best(const struct bench *bench, uint32_t i, uint32_t tried)
{
    for (uint32_t other = 0; other < bench->n; other++) {
        if (usable(bench, other, tried) && better(bench, other, i))
            return false;
    }
    return true;
}

/* The first of the best ones from next on. */
static uint32_t model_pick(const struct bench *bench, uint32_t next, uint32_t tried)
{
    for (uint32_t k = 0; k < bench->n; k++) {
        uint32_t i = (next + k) % bench->n;
        if (usable(bench, i, tried) && is_best(bench, i, tried))
            return i;
    }
    return SCHED_NONE;
}

static uint32_t random_active(void)
{
    switch (random() % 8) {
    case 0:
        return UINT32_MAX - (uint32_t)random() % 3;
    case 1:
        return (uint32_t)random();
    default:
        return (uint32_t)random() % 4;
    }
}

static uint32_t random_weight(void)
{
    static const uint32_t some[] = {0, 1, 1000, 1000, 2000, 3000, 65535000, 65534999};
    return some[random() % 8];
}

/* Every fourth time all weights are the same, as they mostly are. */
START_TEST(as_the_model)
{
    struct bench *bench = start(all[_i % 3], 1 + (uint32_t)_i, NULL);
    uint32_t next = 0, wrong = 0;

    srandom((unsigned)_i);
    for (int p = 0; p < 3000; p++) {
        uint32_t i = (uint32_t)random() % bench->n;
        uint32_t weight = random_weight();
        bench->weight[i] = _i % 4 != 3 ? weight : weight == 0 ? 0 : 3000;
        bench->limit[i] = random() % 3 == 0 ? (uint32_t)random() % 5 : 0;
        atomic_store(bench_active(bench, i), random_active());
        uint32_t tried = (uint32_t)random() % (2 * bench->n);

        uint32_t expected = model_pick(bench, next, tried);
        wrong += bench_pick(bench, &tried, 1) != expected;
        if (expected != SCHED_NONE)
            next = expected + 1;
    }
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* The one after the last choice keeps its turn, wherever it is now. */
START_TEST(the_turn_is_carried_over)
{
    struct bench *old = start(all[_i], 3, NULL);
    struct bench *new = bench_create(all[_i], 4);

    ck_assert_uint_eq(bench_pick(old, NULL, 0), 0);
    bench_init_from(new, 0, old, (const uint32_t[]){0, SCHED_NONE, 2, 1});
    ck_assert_uint_eq(bench_pick(new, NULL, 0), 3);
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched by load");
    TCase *tcase = tcase_create("leastconn");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, lc_evens_out);
    tcase_add_loop_test(tcase, ties_go_by_turn, 0, 3);
    tcase_add_test(tcase, wlc_goes_by_weight);
    tcase_add_test(tcase, nq_takes_idle_ones_first);
    tcase_add_loop_test(tcase, seeds_differ, 0, 3);
    tcase_add_loop_test(tcase, as_the_model, 0, 36);
    tcase_add_loop_test(tcase, the_turn_is_carried_over, 0, 3);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
