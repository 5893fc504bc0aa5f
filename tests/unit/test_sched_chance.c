/*
 * Schedulers by chance: that each is drawn as often as it should be, whoever else is usable; which
 * of two is taken; and what least_time makes of times that are unknown or old.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pool/ewma.h"
#include "sched_conformance.h"

enum { BACKENDS = 1000, PICKS = 20000 };

static const struct sched_ops *const all[] = {&sched_random, &sched_p2c, &sched_least_time};

static struct bench *start(const struct sched_ops *ops, uint32_t n, const uint32_t *weights)
{
    struct bench *bench = bench_create(ops, n);
    for (uint32_t i = 0; weights != NULL && i < n; i++)
        bench->weight[i] = weights[i] * 1000;
    bench_init(bench, 0);
    return bench;
}

static void set_active(struct bench *bench, const uint32_t *active)
{
    for (uint32_t i = 0; i < bench->n; i++)
        atomic_store(bench_active(bench, i), active[i]);
}

/* A word for ewma: average time, sampled now. */
static void set_time(struct bench *bench, uint32_t i, uint64_t time_us)
{
    _Atomic uint64_t *word = &bench->sb.slot_time[bench->slot[i]];
    atomic_store(word, 0);
    if (time_us != 0)
        ewma_add(word, time_us, bench->now_us / 1000);
}

/* Five standard deviations, and nothing at all where nothing is due. */
static bool is_near(uint32_t count, double due)
{
    return fabs(count - due) <= 5 * sqrt(due);
}

static void expect_parts(struct bench *bench, const uint32_t *tried, uint32_t n_tried,
                         const double *parts)
{
    uint32_t counts[BACKENDS] = {0}, wrong = 0;

    for (int p = 0; p < PICKS; p++)
        counts[bench_pick(bench, tried, n_tried)]++;
    for (uint32_t i = 0; i < bench->n; i++)
        wrong += !is_near(counts[i], PICKS * parts[i]);
    ck_assert_msg(wrong == 0, "%s: %u wrong, counts %u %u %u", bench->ops->name, wrong, counts[0],
                  counts[1], counts[2]);
}

static uint32_t count_of(struct bench *bench, uint32_t i, int picks)
{
    uint32_t count = 0;
    for (int p = 0; p < picks; p++)
        count += bench_pick(bench, NULL, 0) == i;
    return count;
}

/* random */

START_TEST(random_goes_by_weight)
{
    struct bench *bench = start(&sched_random, 6, (const uint32_t[]){1, 0, 2, 3, 0, 94});

    expect_parts(bench, NULL, 0, (const double[]){.01, 0, .02, .03, 0, .94});
    bench->weight[0] = 906000;
    bench->weight[2] = 1000;
    bench->weight[3] = 0;
    bench->weight[4] = 49000;
    bench->weight[5] = 44000;
    expect_parts(bench, NULL, 0, (const double[]){.906, 0, .001, 0, .049, .044});
    bench_destroy(bench);
}
END_TEST

/* What is not usable leaves its part to the others by their weights: both where a further draw
 * finds one soon and where hardly any would. */
START_TEST(random_goes_by_weight_among_usable_ones)
{
    static const uint32_t tried[] = {1, 3};
    struct bench *bench = start(&sched_random, 5, (const uint32_t[]){1, 3, 2, 1000, 4});
    double parts[] = {1 / 7.0, 0, 2 / 7.0, 0, 4 / 7.0};

    if (_i == 0)
        bench->weight[3] = 4000;
    expect_parts(bench, tried, 2, parts);
    bench->limit[2] = 1;
    atomic_store(bench_active(bench, 2), 1);
    parts[0] = 1 / 5.0;
    parts[2] = 0;
    parts[4] = 4 / 5.0;
    expect_parts(bench, tried, 2, parts);
    bench_destroy(bench);
}
END_TEST

START_TEST(a_thousand_are_all_drawn)
{
    struct bench *bench = start(&sched_random, BACKENDS, NULL);
    static uint32_t counts[BACKENDS];
    uint32_t wrong = 0;

    bench_count(bench, 100 * BACKENDS, false, counts);
    for (uint32_t i = 0; i < BACKENDS; i++)
        wrong += !is_near(counts[i], 100);
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* Neighbouring seeds, 0 too, give draws that have nothing to do with each other. */
START_TEST(workers_draw_apart)
{
    enum { SEEDS = 20, DRAWS = 2000 };
    static uint32_t drawn[SEEDS][DRAWS];
    uint32_t wrong = 0;

    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        struct bench *bench = bench_create(all[_i], 10);
        bench_init(bench, seed);
        for (uint32_t p = 0; p < DRAWS; p++)
            drawn[seed][p] = bench_pick(bench, NULL, 0);
        bench_destroy(bench);
    }
    for (uint32_t a = 1; a < SEEDS; a++) {
        uint32_t alike = 0, shifted = 0;
        for (uint32_t p = 0; p + a < DRAWS; p++) {
            alike += drawn[a][p] == drawn[0][p];
            shifted += drawn[a][p] == drawn[0][p + a];
        }
        wrong += !is_near(alike, (DRAWS - a) / 10.0) || !is_near(shifted, (DRAWS - a) / 10.0);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* Of two */

/* Loads that order them: 0 the least loaded for its weight, 2 the most. */
static struct bench *start_ordered(const struct sched_ops *ops)
{
    struct bench *bench = start(ops, 3, (const uint32_t[]){1, 2, 3});
    set_active(bench, (const uint32_t[]){0, 5, 90});
    for (uint32_t i = 0; i < 3; i++)
        set_time(bench, i, 1000);
    return bench;
}

/* Two different ones: the worst of three is never taken, and the others as often as they are drawn
 * before it or with it. By hand: 0 and 1, in either order, 1/6 * 2/5 + 2/6 * 1/4 = 9/60; 0 and 2
 * 1/6 * 3/5 + 3/6 * 1/3 = 16/60; 1 and 2 the rest. */
START_TEST(the_better_of_two_different_ones)
{
    struct bench *bench = start_ordered(all[_i]);

    expect_parts(bench, NULL, 0, (const double[]){25 / 60.0, 35 / 60.0, 0});
    bench_destroy(bench);
}
END_TEST

START_TEST(equals_go_by_weight)
{
    struct bench *bench = start(all[_i], 3, (const uint32_t[]){1, 2, 3});

    set_active(bench, (const uint32_t[]){0, 1, 2});
    for (uint32_t i = 0; i < 3; i++)
        set_time(bench, i, 6000 / (i + 1));
    expect_parts(bench, NULL, 0, (const double[]){1 / 6.0, 2 / 6.0, 3 / 6.0});
    bench_destroy(bench);
}
END_TEST

/* Of a thousand two are usable, the others tried or full: both are always looked at. */
START_TEST(both_are_usable_where_two_are)
{
    struct bench *bench = start(all[_i], BACKENDS, NULL);
    uint32_t tried[300];

    for (uint32_t i = 0; i < 300; i++)
        tried[i] = i;
    for (uint32_t i = 300; i < BACKENDS; i++) {
        bench->limit[i] = 5;
        atomic_store(bench_active(bench, i), i == 400 ? 3 : i == 900 ? 2 : 5);
        set_time(bench, i, 1000);
    }
    uint32_t wrong = 0;
    for (int p = 0; p < 100; p++)
        wrong += bench_pick(bench, tried, 300) != 900;
    atomic_store(bench_active(bench, 900), 5);
    for (int p = 0; p < 100; p++)
        wrong += bench_pick(bench, tried, 300) != 400;
    ck_assert_uint_eq(wrong, 0);
    bench_destroy(bench);
}
END_TEST

/* One has nearly all the weight: the other is nonetheless a different one, by weight among the rest
 * (1/4, 3/4), and wins, being idle. */
START_TEST(beside_a_giant)
{
    struct bench *bench = start(all[_i], 3, (const uint32_t[]){1, 60000, 3});

    set_active(bench, (const uint32_t[]){0, 1000000, 0});
    for (uint32_t i = 0; i < 3; i++)
        set_time(bench, i, 1000);
    expect_parts(bench, NULL, 0, (const double[]){1 / 4.0, 0, 3 / 4.0});
    bench_destroy(bench);
}
END_TEST

START_TEST(the_largest_numbers_compare)
{
    struct bench *bench = start(all[_i], 2, (const uint32_t[]){65535, 65535});

    for (uint32_t i = 0; i < 2; i++)
        set_time(bench, i, EWMA_MAX_US);
    set_active(bench, (const uint32_t[]){UINT32_MAX, UINT32_MAX - 1});
    ck_assert_uint_eq(count_of(bench, 1, 100), 100);
    set_active(bench, (const uint32_t[]){UINT32_MAX, 1});
    ck_assert_uint_eq(count_of(bench, 1, 100), 100);
    bench_destroy(bench);
}
END_TEST

START_TEST(p2c_evens_out)
{
    enum { N = 100 };
    struct bench *bench = start(&sched_p2c, N, NULL);
    uint32_t counts[N], most = 0;

    bench_count(bench, 100 * N, true, counts);
    for (uint32_t i = 0; i < N; i++)
        most = counts[i] > most ? counts[i] : most;
    ck_assert_uint_le(most, 104); /* by chance alone it would be about 125 */
    bench_destroy(bench);
}
END_TEST

/* least_time */

START_TEST(the_sooner_of_two)
{
    struct bench *bench = start(&sched_least_time, 2, (const uint32_t[]){1, 100});

    set_time(bench, 0, 2000);
    set_time(bench, 1, 5000);
    set_active(bench, (const uint32_t[]){1, 0}); /* 4000 to 5000 */
    ck_assert_uint_eq(count_of(bench, 0, 100), 100);
    set_active(bench, (const uint32_t[]){2, 0}); /* 6000 to 5000 */
    ck_assert_uint_eq(count_of(bench, 0, 100), 0);
    bench_destroy(bench);
}
END_TEST

/* Neither put off for ever by a long session that nobody has timed, nor stormed before it has
 * answered once. */
START_TEST(a_new_one_is_compared_by_load)
{
    struct bench *bench = start(&sched_least_time, 2, NULL);

    set_time(bench, 0, 1);
    set_active(bench, (const uint32_t[]){3, 2});
    ck_assert_uint_eq(count_of(bench, 1, 100), 100);
    set_active(bench, (const uint32_t[]){2, 3});
    ck_assert_uint_eq(count_of(bench, 1, 100), 0);
    set_time(bench, 1, 1000000);
    set_active(bench, (const uint32_t[]){4000000, 1});
    ck_assert_uint_eq(count_of(bench, 1, 100), 100);
    bench_destroy(bench);
}
END_TEST

/* Of nobody is anything known yet: as p2c. */
START_TEST(without_any_time_loads_decide)
{
    struct bench *bench = start(&sched_least_time, 3, (const uint32_t[]){1, 2, 3});

    set_active(bench, (const uint32_t[]){1, 5, 90});
    expect_parts(bench, NULL, 0, (const double[]){25 / 60.0, 35 / 60.0, 0});
    bench_destroy(bench);
}
END_TEST

/* One answer in a thousand times the others' time must not put a backend off for ever. */
START_TEST(an_old_bad_time_is_forgiven)
{
    struct bench *bench = start(&sched_least_time, 2, NULL);

    set_time(bench, 0, 1000);
    set_time(bench, 1, 1000000);
    ck_assert_uint_eq(count_of(bench, 1, 100), 0);
    bench->now_us += UINT64_C(11) * EWMA_HALF_MS * 1000;
    set_time(bench, 0, 1000);
    ck_assert_uint_eq(count_of(bench, 1, 100), 100);
    bench_destroy(bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched by chance");
    TCase *tcase = tcase_create("chance");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, random_goes_by_weight);
    tcase_add_loop_test(tcase, random_goes_by_weight_among_usable_ones, 0, 2);
    tcase_add_test(tcase, a_thousand_are_all_drawn);
    tcase_add_loop_test(tcase, workers_draw_apart, 0, 3);
    tcase_add_loop_test(tcase, the_better_of_two_different_ones, 1, 3);
    tcase_add_loop_test(tcase, equals_go_by_weight, 1, 3);
    tcase_add_loop_test(tcase, both_are_usable_where_two_are, 1, 3);
    tcase_add_loop_test(tcase, beside_a_giant, 1, 3);
    tcase_add_loop_test(tcase, the_largest_numbers_compare, 1, 3);
    tcase_add_test(tcase, p2c_evens_out);
    tcase_add_test(tcase, the_sooner_of_two);
    tcase_add_test(tcase, a_new_one_is_compared_by_load);
    tcase_add_test(tcase, without_any_time_loads_decide);
    tcase_add_test(tcase, an_old_bad_time_is_forgiven);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
