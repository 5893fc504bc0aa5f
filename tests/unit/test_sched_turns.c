/* rr and wrr: their order, their spread, and what happens to it when backends come and go. */
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
    struct bench *new = start(&sched_rr, rr_carries[_i].n, NULL, 1);

    expect(old, "ab");
    sched_rr.carry(new->state, &new->view, old->state, 4, rr_carries[_i].old_index);
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

/* nginx's algorithm as it stands in textbooks: with constant weights, ours is the same. */
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
    enum { N = 40 };
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

/* At every moment each is within a few turns of its due. */
START_TEST(wrr_spreads_evenly)
{
    enum { N = 50 };
    uint32_t weights[N];
    double sum = 0, got[N] = {0};

    srandom((unsigned)_i);
    for (uint32_t i = 0; i < N; i++) {
        weights[i] = 1 + (uint32_t)random() % 1000;
        sum += weights[i];
    }
    struct bench *bench = start(&sched_wrr, N, weights, (uint32_t)_i);
    for (int p = 1; p <= 3000; p++) {
        got[bench_pick(bench, NULL, 0)]++;
        for (uint32_t i = 0; i < N; i++) {
            double due = p * (weights[i] / sum);
            ck_assert(got[i] > due - 2.5 && got[i] < due + 2.5);
        }
    }
    bench_destroy(bench);
}
END_TEST

START_TEST(wrr_workers_do_not_walk_in_step)
{
    enum { WORKERS = 16, N = 10 };
    uint32_t counts[N] = {0};

    for (uint32_t seed = 0; seed < WORKERS; seed++) {
        struct bench *bench = start(&sched_wrr, N, NULL, seed);
        counts[bench_pick(bench, NULL, 0)]++;
        bench_destroy(bench);
    }
    for (uint32_t i = 0; i < N; i++)
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
    for (uint32_t i = 0; i < N; i++)
        ck_assert(counts[i] >= 2 && counts[i] <= 4);
    bench_destroy(bench);
}
END_TEST

/* The longest run of one backend in the next n picks. */
static uint32_t longest_run(struct bench *bench, uint32_t n)
{
    uint32_t longest = 0, run = 0, last = SCHED_NONE;

    for (uint32_t p = 0; p < n; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        run = i == last ? run + 1 : 1;
        last = i;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static const uint32_t one_large[] = {65535, 1, 1};

START_TEST(no_burst_when_the_large_one_goes)
{
    for (int picks = 0; picks < 70000; picks += 4999) {
        struct bench *bench = start(&sched_wrr, 3, one_large, 0);
        for (int p = 0; p < picks; p++)
            bench_pick(bench, NULL, 0);
        if (_i != 2)
            bench->weight[0] = _i == 0 ? 0 : 1000;
        bench->limit[0] = 1;
        atomic_store(bench_active(bench, 0), _i == 2); /* full */
        ck_assert_uint_le(longest_run(bench, 1000), 3);
        bench_destroy(bench);
    }
}
END_TEST

START_TEST(no_burst_and_no_famine_when_it_comes_back)
{
    struct bench *bench = start(&sched_wrr, 4, (const uint32_t[]){1, 1, 1, 1}, 0);

    for (uint32_t away = 1; away < 4; away++) {
        for (int round = 0; round < 20; round++) {
            for (uint32_t i = 0; i < away; i++)
                bench->weight[i] = 0;
            for (int p = 0; p < 101 + round; p++)
                bench_pick(bench, NULL, 0);
            for (uint32_t i = 0; i < away; i++)
                bench->weight[i] = 1000;
            uint32_t counts[4];
            bench_count(bench, 12, false, counts);
            for (uint32_t i = 0; i < 4; i++)
                ck_assert(counts[i] >= 2 && counts[i] <= 5);
        }
    }
    bench_destroy(bench);
}
END_TEST

/*
 * The same when they go and come in the worst order: pairs are made usable alone, always such that
 * the later one gains on the earlier. Were gains kept, those at the end would be many turns ahead.
 */
START_TEST(even_after_a_staircase)
{
    enum { N = 32 };
    struct bench *bench = start(&sched_wrr, N, NULL, 0);
    double gain[N] = {0};
    uint32_t counts[N];

    memset(bench->weight, 0, N * sizeof(*bench->weight));
    for (int round = 0; round < 20000; round++) {
        uint32_t i = (uint32_t)round % (N - 1);
        if (gain[i] < gain[i + 1])
            continue;
        gain[i] -= 0.5;
        gain[i + 1] += 0.5;
        bench->weight[i] = bench->weight[i + 1] = 1000;
        bench_pick(bench, NULL, 0);
        bench->weight[i] = bench->weight[i + 1] = 0;
    }
    for (uint32_t i = 0; i < N; i++)
        bench->weight[i] = 1000;
    bench_count(bench, 3 * N, false, counts);
    for (uint32_t i = 0; i < N; i++)
        ck_assert(counts[i] >= 1 && counts[i] <= 5);
    bench_destroy(bench);
}
END_TEST

enum { GROUPS = 6, GROUP = 1000 };

/* Makes turns in the group that begins with first alone; notes who got one. */
static void serve_some(struct bench *bench, uint32_t first, uint32_t turns, bool *served)
{
    for (uint32_t i = first; i < first + GROUP; i++)
        bench->weight[i] = 1000;
    for (uint32_t p = 0; p < turns; p++)
        served[bench_pick(bench, NULL, 0)] = true;
    memset(&bench->weight[first], 0, GROUP * sizeof(*bench->weight));
}

/*
 * Of each group alone a part gets a turn; then, group by group, either that part or the rest is
 * made usable for one turn beside the first n_first. An algorithm that levels what it finds side by
 * side would let the first drift away from all others.
 */
static struct bench *drift(uint32_t n_first, uint32_t turns, bool beside_served)
{
    struct bench *bench = start(&sched_wrr, n_first + GROUPS * GROUP, NULL, 0);
    bool *served = calloc(bench->n, sizeof(*served));

    memset(bench->weight, 0, bench->n * sizeof(*bench->weight));
    for (uint32_t g = 0; g < GROUPS; g++)
        serve_some(bench, n_first + g * GROUP, turns, served);
    for (uint32_t i = 0; i < n_first; i++)
        bench->weight[i] = 1000;
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint32_t first = n_first + g * GROUP;
        for (uint32_t i = first; i < first + GROUP; i++)
            bench->weight[i] = served[i] == beside_served ? 1000 : 0;
        bench_pick(bench, NULL, 0);
        memset(&bench->weight[first], 0, GROUP * sizeof(*bench->weight));
    }
    for (uint32_t i = 0; i < bench->n; i++)
        bench->weight[i] = 1000;
    free(served);
    return bench;
}

START_TEST(no_famine_after_a_drift)
{
    struct bench *bench = drift(1, GROUP * 9 / 10, false);
    uint32_t waited = 0;

    while (bench_pick(bench, NULL, 0) != 0)
        waited++;
    ck_assert_uint_le(waited, 2 * bench->n);
    bench_destroy(bench);
}
END_TEST

START_TEST(no_burst_after_a_drift)
{
    enum { FIRST = 10 };
    struct bench *bench = drift(FIRST, GROUP / 10, true);
    uint32_t got = 0;

    for (int p = 0; p < 4 * FIRST; p++)
        got += bench_pick(bench, NULL, 0) < FIRST;
    ck_assert_uint_le(got, 2 * FIRST);
    bench_destroy(bench);
}
END_TEST

/*
 * Nearly saturated: of 100 backends with room for one session each only some are free at a time,
 * and at each turn one becomes full and another free; all must get alike.
 */
START_TEST(fair_at_the_limits)
{
    enum { N = 100, PICKS = 20000 };
    const uint32_t n_free = _i == 0 ? 5 : 50;
    struct bench *bench = start(&sched_wrr, N, NULL, 0);
    uint32_t counts[N] = {0}, last[N] = {0};

    srandom(5);
    for (uint32_t i = 0; i < N; i++) {
        bench->limit[i] = 1;
        atomic_store(bench_active(bench, i), i >= n_free);
    }
    for (uint32_t p = 0; p < PICKS; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        counts[i]++;
        ck_assert_uint_lt(p - last[i], 12 * N);
        last[i] = p;
        atomic_store(bench_active(bench, i), 1);
        uint32_t ended;
        do
            ended = (uint32_t)random() % N;
        while (atomic_load(bench_active(bench, ended)) == 0);
        atomic_store(bench_active(bench, ended), 0);
    }
    for (uint32_t i = 0; i < N; i++)
        ck_assert(counts[i] > PICKS / N * 7 / 10 && counts[i] < PICKS / N * 13 / 10);
    bench_destroy(bench);
}
END_TEST

/* A different part is usable at each turn: everyone gets the sum of the shares it was due. */
START_TEST(shares_add_up_while_sets_change)
{
    enum { N = 10 };
    static const uint32_t weights[N] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct bench *bench = start(&sched_wrr, N, weights, 0);
    double due[N] = {0}, got[N] = {0};

    srandom(2);
    for (int p = 0; p < 20000; p++) {
        uint32_t tried[3];
        bool out[N] = {false};
        double sum = 0;
        for (uint32_t t = 0; t < 3; t++) {
            tried[t] = (uint32_t)random() % N;
            out[tried[t]] = true;
        }
        for (uint32_t i = 0; i < N; i++)
            sum += out[i] ? 0 : weights[i];
        for (uint32_t i = 0; i < N; i++)
            due[i] += out[i] ? 0 : weights[i] / sum;
        got[bench_pick(bench, tried, 3)]++;
    }
    for (uint32_t i = 0; i < N; i++)
        ck_assert(got[i] > due[i] - 4 && got[i] < due[i] + 4);
    bench_destroy(bench);
}
END_TEST

/* A backend whose connects always fail is asked in its turn only, and the others share what it
 * fails. */
START_TEST(a_failing_one_gets_its_turns_only)
{
    struct bench *bench = start(&sched_wrr, 4, (const uint32_t[]){1, 1, 1, 1}, 0);
    uint32_t counts[4] = {0};
    static const uint32_t failing[] = {2};

    for (int session = 0; session < 1000; session++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        counts[i]++;
        if (i == 2)
            counts[bench_pick(bench, failing, 1)]++;
    }
    ck_assert_uint_ge(counts[2], 180);
    ck_assert_uint_le(counts[2], 300);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert(i == 2 || (counts[i] > 300 && counts[i] < 370));
    bench_destroy(bench);
}
END_TEST

START_TEST(wrr_carries_lags)
{
    struct bench *old = start(&sched_wrr, 3, (const uint32_t[]){5, 1, 1}, 0);
    struct bench *new = start(&sched_wrr, 3, (const uint32_t[]){1, 5, 1}, 4);

    expect(old, "aaba"); /* c a a are to come */
    sched_wrr.carry(new->state, &new->view, old->state, 3, (const uint32_t[]){2, 0, 1});
    expect(new, "abbbbabcbb"); /* c is called a now, a is b, b is c */
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
    tcase_add_test(rr, rr_starts_by_seed);
    tcase_add_loop_test(rr, rr_carries_whose_turn_it_is, 0, n_carries);
    suite_add_tcase(suite, rr);

    tcase_set_timeout(wrr, 120);
    tcase_add_loop_test(wrr, wrr_order, 0, n_orders);
    tcase_add_loop_test(wrr, wrr_is_the_textbooks, 0, 20);
    tcase_add_loop_test(wrr, wrr_spreads_evenly, 0, 4);
    tcase_add_test(wrr, wrr_workers_do_not_walk_in_step);
    tcase_add_test(wrr, wrr_largest_sums);
    tcase_add_loop_test(wrr, no_burst_when_the_large_one_goes, 0, 3);
    tcase_add_test(wrr, no_burst_and_no_famine_when_it_comes_back);
    tcase_add_test(wrr, even_after_a_staircase);
    tcase_add_test(wrr, no_famine_after_a_drift);
    tcase_add_test(wrr, no_burst_after_a_drift);
    tcase_add_loop_test(wrr, fair_at_the_limits, 0, 2);
    tcase_add_test(wrr, shares_add_up_while_sets_change);
    tcase_add_test(wrr, a_failing_one_gets_its_turns_only);
    tcase_add_test(wrr, wrr_carries_lags);
    suite_add_tcase(suite, wrr);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
