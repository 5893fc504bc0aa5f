/*
 * rr and wrr: their order, their spread and what is carried over. What wrr promises is tested with
 * few backends and with many, for it has a structure for each.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched_conformance.h"

static struct bench *start(const struct sched_ops *ops, uint32_t n, const uint32_t *weights,
                           uint32_t seed)
{
    struct bench *bench = bench_create(ops, n);
    for (uint32_t i = 0; weights != NULL && i < n; i++)
        bench->weight[i] = weights[i] * 1000;
    bench_init(bench, seed);
    return bench;
}

/* Picks once per letter and compares. */
static void expect(struct bench *bench, const char *letters)
{
    char got[100];
    size_t n = strlen(letters);

    for (size_t p = 0; p < n; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        got[p] = i == SCHED_NONE ? '-' : (char)('a' + i);
    }
    got[n] = '\0';
    ck_assert_str_eq(got, letters);
}

START_TEST(rr_goes_round)
{
    struct bench *bench = start(&sched_rr, 3, (const uint32_t[]){5, 1, 9}, 0);

    expect(bench, "abcabca");
    bench->weight[1] = 0;
    expect(bench, "cac");
    bench->weight[1] = 1;
    expect(bench, "abcabc");
    bench_destroy(bench);
}
END_TEST

START_TEST(rr_skips_what_was_tried)
{
    struct bench *bench = start(&sched_rr, 3, NULL, 0);

    ck_assert_uint_eq(bench_pick(bench, (const uint32_t[]){0}, 1), 1);
    ck_assert_uint_eq(bench_pick(bench, (const uint32_t[]){2, 0}, 2), 1);
    expect(bench, "cab");
    bench_destroy(bench);
}
END_TEST

/* Whoever is away when his turn comes loses it; the turn itself is lost by nobody. */
START_TEST(rr_keeps_the_turn_while_backends_come_and_go)
{
    struct bench *bench = start(&sched_rr, 5, NULL, 0);

    expect(bench, "ab");
    bench->weight[2] = bench->weight[3] = 0;
    bench->weight[2] = 1000;
    expect(bench, "c");
    bench->weight[0] = bench->weight[4] = 0;
    expect(bench, "bc");
    bench->weight[3] = bench->weight[0] = 1000;
    expect(bench, "dabcd");
    bench_destroy(bench);
}
END_TEST

START_TEST(rr_starts_by_seed)
{
    for (uint32_t seed = 0; seed < 7; seed++) {
        struct bench *bench = start(&sched_rr, 3, NULL, seed);
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), seed % 3);
        bench_destroy(bench);
    }
}
END_TEST

/* Old a b c d, next is c; what the new pool's backends were, and who is first there. */
static const struct {
    uint32_t n;
    uint32_t old_index[5];
    const char *order;
} rr_carries[] = {
    {4, {0, 1, 2, 3}, "cdabc"},
    {4, {3, 2, 1, 0}, "bcdab"},
    {3, {0, 1, 3}, "cabc"},                  /* c is gone, d is next */
    {2, {0, 1}, "abab"},                     /* c and d are gone */
    {5, {SCHED_NONE, 0, 1, 2, 3}, "deabcd"}, /* a new one in front */
    {2, {SCHED_NONE, SCHED_NONE}, "abab"},
};

START_TEST(rr_carries_whose_turn_it_is)
{
    struct bench *old = start(&sched_rr, 4, NULL, 0);
    struct bench *new = bench_create(&sched_rr, rr_carries[_i].n);

    expect(old, "ab");
    bench_init_from(new, 1, old, rr_carries[_i].old_index);
    expect(new, rr_carries[_i].order);
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

static const struct {
    uint32_t n;
    uint32_t weights[6];
    const char *order;
} wrr_orders[] = {
    {3, {5, 1, 1}, "aabacaaaabacaa"},
    {3, {5000, 1000, 1000}, "aabacaaaabacaa"},
    {2, {1, 1}, "ababab"},
    {2, {2, 1}, "abaaba"},
    {3, {3, 2, 1}, "abacbaabacba"},
    {3, {1, 0, 1}, "acacac"},
    {4, {4, 3, 2, 1}, "abcabdacba"},
    {1, {7}, "aaa"},
};

START_TEST(wrr_order)
{
    struct bench *bench = start(&sched_wrr, wrr_orders[_i].n, wrr_orders[_i].weights, 0);
    expect(bench, wrr_orders[_i].order);
    bench_destroy(bench);
}
END_TEST

/* nginx's algorithm as it stands in textbooks: with constant weights, that for few is the same. */
static uint32_t textbook_pick(int64_t *current, const uint32_t *weights, uint32_t n)
{
    int64_t sum = 0;
    uint32_t best = 0;

    for (uint32_t i = 0; i < n; i++) {
        current[i] += weights[i];
        sum += weights[i];
        if (current[i] > current[best])
            best = i;
    }
    current[best] -= sum;
    return best;
}

START_TEST(wrr_is_the_textbooks)
{
    enum { N = 32 };
    uint32_t weights[N];
    int64_t current[N] = {0};

    srandom((unsigned)_i);
    uint32_t n = 1 + (uint32_t)random() % N;
    uint32_t most = _i % 2 == 0 ? 65535 : 4;
    for (uint32_t i = 0; i < n; i++)
        weights[i] = 1 + (uint32_t)random() % most;
    struct bench *bench = start(&sched_wrr, n, weights, 0);
    for (int p = 0; p < 2000; p++)
        ck_assert_uint_eq(bench_pick(bench, NULL, 0), textbook_pick(current, weights, n));
    bench_destroy(bench);
}
END_TEST

/* Weights of every kind: alike, one as heavy as all others together, at random, far apart. */
static uint32_t some_weight(int kind, uint32_t i, uint32_t n)
{
    switch (kind) {
    case 0:
        return 7;
    case 1:
        return i == n / 2 ? n - 1 : 1;
    case 2:
        return 1 + (uint32_t)random() % 1000;
    default:
        return i % 5 == 0 ? 65535 : 1 + i % 3;
    }
}

/*
 * At every moment each is within a few turns of its due, and so in every window within twice as
 * many. Many: half a turn for where it began, and one either way.
 */
START_TEST(wrr_spreads_evenly)
{
    static const uint32_t sizes[] = {7, 32, 33, 50, 300};
    enum { N_MAX = 300 };
    uint32_t n = sizes[_i % 5], weights[N_MAX];
    double sum = 0, got[N_MAX] = {0}, worst = 0;

    srandom((unsigned)_i);
    for (uint32_t i = 0; i < n; i++) {
        weights[i] = some_weight(_i / 5, i, n);
        sum += weights[i];
    }
    struct bench *bench = start(&sched_wrr, n, weights, (uint32_t)_i % 2 * 77);
    for (int p = 1; p <= 3000; p++) {
        got[bench_pick(bench, NULL, 0)]++;
        for (uint32_t i = 0; i < n; i++)
            worst = fmax(worst, fabs(got[i] - p * (weights[i] / sum)));
    }
    ck_assert_double_le(worst, n > 32 ? 1.6 : 2.5);
    bench_destroy(bench);
}
END_TEST

/* One with as many turns as all others together gets every other one, more or less. */
START_TEST(wrr_is_smooth)
{
    static const uint32_t sizes[] = {20, 40, 1000};
    const uint32_t n = sizes[_i];
    struct bench *bench = bench_create(&sched_wrr, n);
    uint32_t run = 0, wait = 0, longest_run = 0, longest_wait = 0;

    bench->weight[3] = 1000 * (n - 1);
    bench_init(bench, 5);
    for (uint32_t p = 0; p < 3 * n; p++) {
        bool is_it = bench_pick(bench, NULL, 0) == 3;
        run = is_it ? run + 1 : 0;
        wait = is_it ? 0 : wait + 1;
        longest_run = run > longest_run ? run : longest_run;
        longest_wait = wait > longest_wait ? wait : longest_wait;
    }
    ck_assert_uint_le(longest_run, 2);
    ck_assert_uint_le(longest_wait, 3);
    bench_destroy(bench);
}
END_TEST

START_TEST(wrr_workers_do_not_walk_in_step)
{
    enum { WORKERS = 16, N_MAX = 40 };
    const uint32_t n = _i == 0 ? 10 : N_MAX;
    uint32_t counts[N_MAX] = {0};

    for (uint32_t seed = 0; seed < WORKERS; seed++) {
        struct bench *bench = start(&sched_wrr, n, NULL, seed);
        counts[bench_pick(bench, NULL, 0)]++;
        bench_destroy(bench);
    }
    for (uint32_t i = 0; i < n; i++)
        ck_assert_uint_lt(counts[i], WORKERS / 2);
}
END_TEST

START_TEST(wrr_largest_sums)
{
    enum { N = 8192 };
    struct bench *bench = bench_create(&sched_wrr, N);
    static uint32_t counts[N];

    for (uint32_t i = 0; i < N; i++)
        bench->weight[i] = 65535000;
    bench_init(bench, 9);
    bench_count(bench, 3 * N, false, counts);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < N; i++)
        wrong += counts[i] < 2 || counts[i] > 4;
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* Without seed, equal ones go in file order, however many. */
START_TEST(wrr_plain_order)
{
    const uint32_t n = _i == 0 ? 32 : 100;
    struct bench *bench = start(&sched_wrr, n, NULL, 0);
    uint32_t wrong = 0;

    for (uint32_t p = 0; p < 5 * n; p++)
        wrong += bench_pick(bench, NULL, 0) != p % n;
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

START_TEST(wrr_carries_lags)
{
    struct bench *old = start(&sched_wrr, 3, (const uint32_t[]){5, 1, 1}, 0);
    struct bench *new = bench_create(&sched_wrr, 3);

    expect(old, "aaba"); /* c a a are to come */
    new->weight[1] = 5000;
    bench_init_from(new, 4, old, (const uint32_t[]){2, 0, 1});
    expect(new, "abbbbabcbb"); /* c is called a now, a is b, b is c */
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

/* Those that have not had their turn yet have it first, also when few become many or many few. */
START_TEST(wrr_carries_lags_to_another_size)
{
    static const uint32_t sizes[][2] = {{20, 50}, {50, 20}, {32, 33}, {33, 32}, {50, 60}};
    const uint32_t n_old = sizes[_i][0], n_new = sizes[_i][1], half = 8;
    struct bench *old = start(&sched_wrr, n_old, NULL, 0);
    struct bench *new = bench_create(&sched_wrr, n_new);
    uint32_t old_index[64], counts[64], early = 0;

    bench_count(old, n_old + half, false, counts);
    for (uint32_t i = 0; i < n_new; i++)
        old_index[i] = i < n_old ? i : SCHED_NONE;
    bench_init_from(new, 0, old, old_index);
    for (uint32_t waiting = half; waiting > 0;) {
        uint32_t i = bench_pick(new, NULL, 0);
        early += i < half;
        waiting -= i >= half && i < 2 * half;
    }
    ck_assert_uint_eq(early, 0);
    bench_destroy(old);
    bench_destroy(new);
}
END_TEST

int main(void)
{
    const int n_carries = sizeof(rr_carries) / sizeof(rr_carries[0]);
    const int n_orders = sizeof(wrr_orders) / sizeof(wrr_orders[0]);
    Suite *suite = suite_create("sched by turns");
    TCase *rr = tcase_create("rr");
    TCase *wrr = tcase_create("wrr");

    tcase_add_test(rr, rr_goes_round);
    tcase_add_test(rr, rr_skips_what_was_tried);
    tcase_add_test(rr, rr_keeps_the_turn_while_backends_come_and_go);
    tcase_add_test(rr, rr_starts_by_seed);
    tcase_add_loop_test(rr, rr_carries_whose_turn_it_is, 0, n_carries);
    suite_add_tcase(suite, rr);

    tcase_set_timeout(wrr, 60);
    tcase_add_loop_test(wrr, wrr_order, 0, n_orders);
    tcase_add_loop_test(wrr, wrr_is_the_textbooks, 0, 20);
    tcase_add_loop_test(wrr, wrr_plain_order, 0, 2);
    tcase_add_loop_test(wrr, wrr_spreads_evenly, 0, 20);
    tcase_add_loop_test(wrr, wrr_is_smooth, 0, 3);
    tcase_add_loop_test(wrr, wrr_workers_do_not_walk_in_step, 0, 2);
    tcase_add_test(wrr, wrr_largest_sums);
    tcase_add_test(wrr, wrr_carries_lags);
    tcase_add_loop_test(wrr, wrr_carries_lags_to_another_size, 0, 5);
    suite_add_tcase(suite, wrr);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
