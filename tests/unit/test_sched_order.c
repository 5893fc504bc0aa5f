/* first and ovf: the order of backends, when it is left, and when it changes. */
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

START_TEST(first_fills_one_after_the_other)
{
    struct bench *bench = start(&sched_first, 4, (const uint32_t[]){5, 9, 9, 1});

    for (uint32_t i = 0; i < 4; i++)
        bench->limit[i] = 2 + i;
    expect_held(bench, "bbbccccaaddddd-");
    atomic_fetch_sub(bench_active(bench, 0), 1);
    atomic_fetch_sub(bench_active(bench, 2), 1);
    expect_held(bench, "ca-");
    bench_destroy(bench);
}
END_TEST

START_TEST(first_stays_without_limits)
{
    struct bench *bench = start(&sched_first, 3, NULL);

    expect_held(bench, "aaaaaaaa");
    ck_assert_uint_eq(bench_pick(bench, (const uint32_t[]){0}, 1), 1);
    expect_held(bench, "aa");
    bench->weight[0] = 0;
    expect_held(bench, "bb");
    bench->weight[0] = 500; /* in slow start: it is behind the others now */
    expect_held(bench, "bb");
    bench->weight[0] = 1000;
    expect_held(bench, "aa");
    bench->weight[2] = 1001;
    expect_held(bench, "cc");
    bench_destroy(bench);
}
END_TEST

START_TEST(ovf_goes_on_when_one_has_its_weight)
{
    struct bench *bench = start(&sched_ovf, 4, (const uint32_t[]){2, 3, 1, 2});

    expect_held(bench, "bbbaaddc");
    atomic_fetch_sub(bench_active(bench, 1), 2);
    atomic_fetch_sub(bench_active(bench, 3), 1);
    expect_held(bench, "bbd");
    bench_destroy(bench);
}
END_TEST

/* All are over: (A+1)/w, of equals the first in order. */
START_TEST(ovf_refuses_nobody)
{
    struct bench *bench = start(&sched_ovf, 3, (const uint32_t[]){1, 3, 2});

    /* b c a hold 3 2 1: 4/3, 3/2, 2/1; then b 5/3, c 3/2; then b 5/3, c 4/2; then all 2. */
    expect_held(bench, "bbbcca"
                       "bcbbca");
    bench_destroy(bench);
}
END_TEST

/* Less than a whole unit of weight still stands for one session. */
START_TEST(ovf_in_slow_start)
{
    struct bench *bench = start(&sched_ovf, 2, (const uint32_t[]){1, 1});

    bench->weight[0] = 999;
    bench->weight[1] = 100;
    expect_held(bench, "ab");
    bench->weight[0] = 2500; /* two and a half stand for two */
    expect_held(bench, "aa");
    bench_destroy(bench);
}
END_TEST

START_TEST(tried_and_full_ones_are_passed_over)
{
    struct bench *bench = start(&sched_ovf, 3, (const uint32_t[]){9, 5, 1});

    bench->limit[0] = 2;
    expect_held(bench, "aab");
    ck_assert_uint_eq(bench_pick(bench, (const uint32_t[]){1}, 1), 2);
    expect_held(bench, "bbbbcb"); /* a is full, and over with it nobody */
    bench_destroy(bench);
}
END_TEST

static uint32_t room_of(const struct bench *bench, uint32_t i)
{
    return bench->weight[i] < 1000 ? 1 : bench->weight[i] / 1000;
}

/* Whether a is to be taken rather than b: ovf's rule, or first's. */
static bool precedes(const struct bench *bench, uint32_t a, uint32_t b)
{
    uint64_t active_a = atomic_load(bench_active(bench, a));
    uint64_t active_b = atomic_load(bench_active(bench, b));

    if (bench->ops == &sched_ovf) {
        bool under_a = active_a < room_of(bench, a), under_b = active_b < room_of(bench, b);
        uint64_t load_a = (active_a + 1) * bench->weight[b];
        uint64_t load_b = (active_b + 1) * bench->weight[a];
        if (under_a != under_b)
            return under_a;
        if (!under_a && load_a != load_b)
            return load_a < load_b;
    }
    if (bench->weight[a] != bench->weight[b])
        return bench->weight[a] > bench->weight[b];
    return a < b;
}

static uint32_t model_pick(const struct bench *bench, uint32_t tried)
{
    uint32_t best = SCHED_NONE;
    for (uint32_t i = 0; i < bench->n; i++) {
        uint32_t active = atomic_load(bench_active(bench, i));
        if (bench->weight[i] == 0 || i == tried ||
            (bench->limit[i] != 0 && active >= bench->limit[i]))
            continue;
        if (best == SCHED_NONE || precedes(bench, i, best))
            best = i;
    }
    return best;
}

static uint32_t random_weight(void)
{
    static const uint32_t some[] = {0, 1, 999, 1000, 2000, 2999, 3000, 65535000};
    return some[random() % 8];
}

START_TEST(as_the_model)
{
    struct bench *bench =
        start(_i % 2 == 0 ? &sched_first : &sched_ovf, 1 + 3 * (uint32_t)_i, NULL);
    uint32_t wrong = 0;

    srandom((unsigned)_i);
    for (int p = 0; p < 2000; p++) {
        uint32_t i = (uint32_t)random() % bench->n;
        bench->weight[i] = random_weight();
        bench->limit[i] = random() % 3 == 0 ? (uint32_t)random() % 5 : 0;
        atomic_store(bench_active(bench, i),
                     random() % 20 == 0 ? UINT32_MAX : (uint32_t)random() % 6);
        uint32_t tried = (uint32_t)random() % (2 * bench->n);
        wrong += bench_pick(bench, &tried, 1) != model_pick(bench, tried);
    }
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* Each is tried in turn: so the whole order is seen. */
START_TEST(sorts_any_number)
{
    enum { N = 1000 };
    struct bench *bench = bench_create(&sched_first, N);
    uint32_t last = SCHED_NONE, wrong = 0;

    srandom(1);
    for (uint32_t i = 0; i < N; i++) {
        bench->weight[i] = (uint32_t)random() % 300;
        bench->limit[i] = 1;
    }
    bench_init(bench, 0);
    for (uint32_t i = bench_pick(bench, NULL, 0); i != SCHED_NONE; i = bench_pick(bench, NULL, 0)) {
        wrong += last != SCHED_NONE && !precedes(bench, last, i);
        atomic_store(bench_active(bench, i), 1);
        last = i;
    }
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched by order");
    TCase *tcase = tcase_create("order");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, first_fills_one_after_the_other);
    tcase_add_test(tcase, first_stays_without_limits);
    tcase_add_test(tcase, ovf_goes_on_when_one_has_its_weight);
    tcase_add_test(tcase, ovf_refuses_nobody);
    tcase_add_test(tcase, ovf_in_slow_start);
    tcase_add_test(tcase, tried_and_full_ones_are_passed_over);
    tcase_add_loop_test(tcase, as_the_model, 0, 20);
    tcase_add_test(tcase, sorts_any_number);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
