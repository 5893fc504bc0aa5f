/*
 * wrr when backends come and go: nobody gets a burst for the time that he was away, nobody waits
 * for those who were. With few backends and with many, for it has a structure for each.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched_conformance.h"

/* All alike. */
static struct bench *start(uint32_t n)
{
    struct bench *bench = bench_create(&sched_wrr, n);
    bench_init(bench, 0);
    return bench;
}

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

/* One of the largest weight among n of the smallest. */
static struct bench *one_large(uint32_t n)
{
    struct bench *bench = bench_create(&sched_wrr, n);
    bench->weight[0] = 65535000;
    bench_init(bench, 0);
    return bench;
}

START_TEST(no_burst_when_the_large_one_goes)
{
    for (int picks = 0; picks < 70000; picks += 4999) {
        struct bench *bench = one_large(_i < 3 ? 3 : 40);
        uint32_t counts[40];
        bench_count(bench, (uint32_t)picks, false, counts);
        if (_i % 3 != 2)
            bench->weight[0] = _i % 3 == 0 ? 0 : 1000;
        bench->limit[0] = 1;
        atomic_store(bench_active(bench, 0), _i % 3 == 2); /* full */
        ck_assert_uint_le(longest_run(bench, 1000), 3);
        bench_destroy(bench);
    }
}
END_TEST

/* Nor when it has been full for long and is free again. */
START_TEST(no_burst_when_it_is_free_again)
{
    struct bench *bench = bench_create(&sched_wrr, _i == 0 ? 10 : 100);
    uint32_t n = bench->n, counts[100];

    bench->weight[1] = 1000 * (n - 1);
    bench->limit[1] = 1;
    bench_init(bench, 0);
    atomic_store(bench_active(bench, 1), 1);
    bench_count(bench, 50 * n, false, counts);
    ck_assert_uint_eq(counts[1], 0);
    atomic_store(bench_active(bench, 1), 0);
    ck_assert_uint_le(longest_run(bench, 40), 3);
    bench_count(bench, 40, false, counts);
    ck_assert(counts[1] >= 17 && counts[1] <= 23);
    bench_destroy(bench);
}
END_TEST

/* Half of all have been full for long: when they are free again nobody has to wait for all of them
 * to be served first. */
START_TEST(no_famine_when_many_are_free_again)
{
    struct bench *bench = bench_create(&sched_wrr, _i == 0 ? 31 : 401);
    uint32_t n = bench->n, waited = 0, longest = 0, counts[401];

    bench->weight[0] = 1000 * (n - 1);
    for (uint32_t i = 1; i < n; i += 2) {
        bench->limit[i] = 1;
        atomic_store(bench_active(bench, i), 1);
    }
    bench_init(bench, 0);
    bench_count(bench, 20 * n, false, counts);
    for (uint32_t i = 1; i < n; i += 2)
        atomic_store(bench_active(bench, i), 0);
    for (uint32_t p = 0; p < 4 * n; p++) {
        waited = bench_pick(bench, NULL, 0) == 0 ? 0 : waited + 1;
        longest = waited > longest ? waited : longest;
    }
    ck_assert_uint_le(longest, 6);
    bench_destroy(bench);
}
END_TEST

/* All but a few have been full for so long that nobody could keep count: then all start afresh. */
START_TEST(no_famine_when_nearly_all_are_free_again)
{
    enum { FEW = 4, N_MAX = 400 };
    struct bench *bench = start(_i == 0 ? 32 : N_MAX);
    uint32_t n = bench->n, counts[N_MAX], wrong = 0;

    for (uint32_t i = FEW; i < n; i++) {
        bench->limit[i] = 1;
        atomic_store(bench_active(bench, i), 1);
    }
    bench_count(bench, 50 * n, false, counts);
    for (uint32_t i = FEW; i < n; i++)
        atomic_store(bench_active(bench, i), 0);
    bench_count(bench, 4 * n, false, counts);
    for (uint32_t i = 0; i < n; i++)
        wrong += counts[i] < 2 || counts[i] > 6;
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/*
 * Again and again those leave that have just had a turn, so that those who stay are all behind.
 * That is nobody's debt: who has half of all turns has them all the time.
 */
START_TEST(no_famine_when_the_served_leave)
{
    enum { N_MAX = 401 };
    struct bench *bench = bench_create(&sched_wrr, _i == 0 ? 32 : N_MAX);
    uint32_t n = bench->n, n_left = n - 1, waited = 0, longest = 0;

    bench->weight[0] = 1000 * (n - 1);
    bench_init(bench, 0);
    while (n_left > 10) {
        uint32_t n_leaving = n_left / 2;
        bool served[N_MAX] = {false};
        while (n_leaving > 0) {
            uint32_t i = bench_pick(bench, NULL, 0);
            waited = i == 0 ? 0 : waited + 1;
            longest = waited > longest ? waited : longest;
            n_leaving -= i != 0 && !served[i];
            served[i] = true;
        }
        for (uint32_t i = 1; i < n; i++) {
            n_left -= served[i];
            bench->weight[i] = served[i] ? 0 : bench->weight[i];
        }
    }
    ck_assert_uint_le(longest, 2);
    bench_destroy(bench);
}
END_TEST

/* The lightest that there can be has served alone for so long that time has begun anew. */
START_TEST(no_famine_after_the_lightest_served_alone)
{
    enum { N = 40 };
    struct bench *bench = bench_create(&sched_wrr, N);
    uint32_t counts[N], wrong = 0;

    for (uint32_t i = 1; i < N; i++) {
        bench->weight[i] = 65535000;
        bench->limit[i] = 1;
        atomic_store(bench_active(bench, i), 1);
    }
    bench->weight[0] = 1;
    bench_init(bench, 0);
    bench_count(bench, 70000, false, counts);
    for (uint32_t i = 1; i < N; i++)
        atomic_store(bench_active(bench, i), 0);
    bench_count(bench, 10 * N, false, counts);
    for (uint32_t i = 1; i < N; i++)
        wrong += counts[i] < 8 || counts[i] > 12;
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_le(counts[0], 2);
    bench_destroy(bench);
}
END_TEST

START_TEST(no_burst_and_no_famine_when_it_comes_back)
{
    const uint32_t n = _i == 0 ? 4 : 44;
    struct bench *bench = start(n);
    uint32_t counts[44], wrong = 0;

    for (uint32_t away = n / 4; away < n; away += n / 4) {
        for (uint32_t round = 0; round < 20; round++) {
            for (uint32_t i = 0; i < away; i++)
                bench->weight[i] = 0;
            bench_count(bench, 25 * n + 1 + round, false, counts);
            for (uint32_t i = 0; i < away; i++)
                bench->weight[i] = 1000;
            bench_count(bench, 3 * n, false, counts);
            for (uint32_t i = 0; i < n; i++)
                wrong += counts[i] < 2 || counts[i] > 5;
        }
    }
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/*
 * The same when they go and come in the worst order: pairs are made usable alone, always such that
 * the later one gains on the earlier. Were gains kept, those at the end would be many turns ahead.
 */
START_TEST(even_after_a_staircase)
{
    enum { N_MAX = 64 };
    const uint32_t n = _i == 0 ? 32 : N_MAX;
    struct bench *bench = start(n);
    double gain[N_MAX] = {0};
    uint32_t counts[N_MAX], wrong = 0;

    memset(bench->weight, 0, n * sizeof(*bench->weight));
    for (uint32_t round = 0; round < 600 * n; round++) {
        uint32_t i = round % (n - 1);
        if (gain[i] < gain[i + 1])
            continue;
        gain[i] -= 0.5;
        gain[i + 1] += 0.5;
        bench->weight[i] = bench->weight[i + 1] = 1000;
        bench_pick(bench, NULL, 0);
        bench->weight[i] = bench->weight[i + 1] = 0;
    }
    for (uint32_t i = 0; i < n; i++)
        bench->weight[i] = 1000;
    bench_count(bench, 3 * n, false, counts);
    for (uint32_t i = 0; i < n; i++)
        wrong += counts[i] < 1 || counts[i] > 5;
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

enum { GROUPS = 6 };

static void set_group(struct bench *bench, uint32_t first, uint32_t group, uint32_t weight)
{
    for (uint32_t i = first; i < first + group; i++)
        bench->weight[i] = weight;
}

/* Makes turns in the group that begins with first alone; notes who got one. */
static void serve_some(struct bench *bench, uint32_t first, uint32_t group, uint32_t turns,
                       bool *served)
{
    set_group(bench, first, group, 1000);
    for (uint32_t p = 0; p < turns; p++)
        served[bench_pick(bench, NULL, 0)] = true;
    set_group(bench, first, group, 0);
}

/*
 * Of each group alone a part gets a turn; then, group by group, either that part or the rest is
 * made usable for one turn beside the first n_first. An algorithm that levels what it finds side by
 * side would let the first drift away from all others.
 */
static struct bench *drift(uint32_t n_first, uint32_t group, uint32_t turns, bool beside_served)
{
    struct bench *bench = start(n_first + GROUPS * group);
    bool *served = calloc(bench->n, sizeof(*served));

    set_group(bench, 0, bench->n, 0);
    for (uint32_t g = 0; g < GROUPS; g++)
        serve_some(bench, n_first + g * group, group, turns, served);
    set_group(bench, 0, n_first, 1000);
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint32_t first = n_first + g * group;
        for (uint32_t i = first; i < first + group; i++)
            bench->weight[i] = served[i] == beside_served ? 1000 : 0;
        bench_pick(bench, NULL, 0);
        set_group(bench, first, group, 0);
    }
    set_group(bench, 0, bench->n, 1000);
    free(served);
    return bench;
}

START_TEST(no_famine_after_a_drift)
{
    struct bench *bench = _i == 0 ? drift(1, 5, 4, false) : drift(1, 1000, 900, false);
    uint32_t waited = 0;

    while (bench_pick(bench, NULL, 0) != 0)
        waited++;
    ck_assert_uint_le(waited, 2 * bench->n);
    bench_destroy(bench);
}
END_TEST

START_TEST(no_burst_after_a_drift)
{
    const uint32_t n_first = _i == 0 ? 3 : 10;
    struct bench *bench = _i == 0 ? drift(3, 4, 1, true) : drift(10, 1000, 100, true);
    uint32_t got = 0;

    for (uint32_t p = 0; p < 4 * n_first; p++)
        got += bench_pick(bench, NULL, 0) < n_first;
    ck_assert_uint_le(got, 2 * n_first);
    bench_destroy(bench);
}
END_TEST

static uint32_t random_busy(const struct bench *bench)
{
    uint32_t i;
    do
        i = (uint32_t)random() % bench->n;
    while (atomic_load(bench_active(bench, i)) == 0);
    return i;
}

/*
 * Nearly saturated: of n backends with room for one session each only some are free at a time, and
 * at each turn one becomes full and another free; all must get alike.
 */
START_TEST(fair_at_the_limits)
{
    enum { N_MAX = 100 };
    static const uint32_t sizes[] = {30, 30, N_MAX, N_MAX}, free_ones[] = {2, 15, 5, 50};
    const uint32_t n = sizes[_i], each = 200;
    struct bench *bench = start(n);
    uint32_t counts[N_MAX] = {0}, last[N_MAX] = {0}, longest = 0, wrong = 0;

    srandom(5);
    for (uint32_t i = 0; i < n; i++) {
        bench->limit[i] = 1;
        atomic_store(bench_active(bench, i), i >= free_ones[_i]);
    }
    for (uint32_t p = 0; p < each * n; p++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        counts[i]++;
        longest = p - last[i] > longest ? p - last[i] : longest;
        last[i] = p;
        atomic_store(bench_active(bench, i), 1);
        atomic_store(bench_active(bench, random_busy(bench)), 0);
    }
    for (uint32_t i = 0; i < n; i++)
        wrong += counts[i] < each * 7 / 10 || counts[i] > each * 13 / 10;
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_lt(longest, 12 * n);
    bench_destroy(bench);
}
END_TEST

/* A different part is usable at each turn: everyone gets the sum of the shares it was due. Where
 * they are many, those whose turn comes when they are not usable lose it, so by chance only. */
START_TEST(shares_add_up_while_sets_change)
{
    enum { N_MAX = 40 };
    const uint32_t n = _i == 0 ? 10 : N_MAX, n_tried = 3 * n / 10;
    struct bench *bench = bench_create(&sched_wrr, n);
    double due[N_MAX] = {0}, got[N_MAX] = {0}, worst = 0;

    for (uint32_t i = 0; i < n; i++)
        bench->weight[i] = 1000 * (1 + i % 10);
    bench_init(bench, 0);
    srandom(2);
    for (int p = 0; p < 20000; p++) {
        uint32_t tried[N_MAX];
        bool out[N_MAX] = {false};
        double sum = 0;
        for (uint32_t t = 0; t < n_tried; t++) {
            tried[t] = (uint32_t)random() % n;
            out[tried[t]] = true;
        }
        for (uint32_t i = 0; i < n; i++)
            sum += out[i] ? 0 : bench->weight[i];
        for (uint32_t i = 0; i < n; i++)
            due[i] += out[i] ? 0 : bench->weight[i] / sum;
        got[bench_pick(bench, tried, n_tried)]++;
    }
    for (uint32_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(got[i] - due[i]) / (_i == 0 ? 4 : 3 * sqrt(due[i])));
    ck_assert_double_lt(worst, 1);
    bench_destroy(bench);
}
END_TEST

/* The same for those that come and go by health, which is seen in good time: so always exactly. */
START_TEST(shares_add_up_while_backends_come_and_go)
{
    enum { N_MAX = 100 };
    const uint32_t n = _i == 0 ? 10 : _i == 1 ? 33 : N_MAX;
    struct bench *bench = bench_create(&sched_wrr, n);
    double due[N_MAX] = {0}, got[N_MAX] = {0}, worst = 0;

    bench_init(bench, 0);
    srandom(3);
    for (uint32_t p = 0; p < 20000; p++) {
        uint32_t i = (uint32_t)random() % n;
        if (p % 10 == 0)
            bench->weight[i] = bench->weight[i] != 0 ? 0 : 1000 * (1 + i % 10);
        uint32_t picked = bench_pick(bench, NULL, 0);
        if (picked == SCHED_NONE)
            continue;
        got[picked]++;
        for (uint32_t b = 0; b < n; b++) {
            due[b] += bench->weight[b] / (double)bench->view.weight_sum;
            worst = fmax(worst, fabs(got[b] - due[b]));
        }
    }
    ck_assert_double_lt(worst, 3.5);
    bench_destroy(bench);
}
END_TEST

/* A backend whose connects always fail is asked in its turn only, and the others share what it
 * fails. */
START_TEST(a_failing_one_gets_its_turns_only)
{
    const uint32_t n = _i == 0 ? 4 : 40, each = 250;
    struct bench *bench = start(n);
    uint32_t counts[40] = {0}, wrong = 0;
    static const uint32_t failing[] = {2};

    for (uint32_t session = 0; session < each * n; session++) {
        uint32_t i = bench_pick(bench, NULL, 0);
        counts[i]++;
        if (i == 2)
            counts[bench_pick(bench, failing, 1)]++;
    }
    ck_assert_uint_ge(counts[2], each * 7 / 10);
    ck_assert_uint_le(counts[2], each * 12 / 10);
    double due = each * (1 + 1.0 / (n - 1));
    for (uint32_t i = 0; i < n; i++)
        wrong += i != 2 && (counts[i] < due * 0.9 || counts[i] > due * 1.1);
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched wrr");
    TCase *tcase = tcase_create("coming and going");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, no_burst_when_the_large_one_goes, 0, 6);
    tcase_add_loop_test(tcase, no_burst_when_it_is_free_again, 0, 2);
    tcase_add_loop_test(tcase, no_famine_when_many_are_free_again, 0, 2);
    tcase_add_loop_test(tcase, no_famine_when_nearly_all_are_free_again, 0, 2);
    tcase_add_loop_test(tcase, no_famine_when_the_served_leave, 0, 2);
    tcase_add_test(tcase, no_famine_after_the_lightest_served_alone);
    tcase_add_loop_test(tcase, no_burst_and_no_famine_when_it_comes_back, 0, 2);
    tcase_add_loop_test(tcase, even_after_a_staircase, 0, 2);
    tcase_add_loop_test(tcase, no_famine_after_a_drift, 0, 2);
    tcase_add_loop_test(tcase, no_burst_after_a_drift, 0, 2);
    tcase_add_loop_test(tcase, fair_at_the_limits, 0, 4);
    tcase_add_loop_test(tcase, shares_add_up_while_sets_change, 0, 2);
    tcase_add_loop_test(tcase, shares_add_up_while_backends_come_and_go, 0, 3);
    tcase_add_loop_test(tcase, a_failing_one_gets_its_turns_only, 0, 2);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
