/* Moving averages against the formula in double precision, at their limits, and by many writers. */
#include "pool/ewma.h"

#include <check.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic uint64_t the_word;
static _Atomic uint64_t *const word = &the_word; /* each test has its own process */

static double model_add(double average, double sample, double dt_ms)
{
    return sample >= average ? sample : sample + (average - sample) * exp(-dt_ms / EWMA_TAU_MS);
}

START_TEST(no_sample_is_zero)
{
    ck_assert_uint_eq(ewma_get(word), 0);
    ck_assert_uint_eq(ewma_fade(word, 123456), 0);
}
END_TEST

START_TEST(the_first_sample_is_the_average)
{
    ewma_add(word, 777, 0);
    ck_assert_uint_eq(ewma_get(word), 777);
    ck_assert_uint_eq(ewma_fade(word, 0), 777);
}
END_TEST

START_TEST(a_peak_counts_at_once)
{
    ewma_add(word, 1000, 50000);
    ewma_add(word, 90000, 50001);
    ck_assert_uint_eq(ewma_get(word), 90000);
}
END_TEST

START_TEST(falls_as_the_formula_says)
{
    ewma_add(word, 100000, 1000);
    ewma_add(word, 20000, 1000 + EWMA_TAU_MS); /* 20000 + 80000 / e */
    ck_assert_uint_eq(ewma_get(word), 49430);
    ewma_add(word, 20000, 1000 + EWMA_TAU_MS + EWMA_HALF_MS); /* half of the rest, nearly */
    ck_assert_uint_eq(ewma_get(word), 34715);
}
END_TEST

START_TEST(out_of_range_samples)
{
    ewma_add(word, 0, 5);
    ck_assert_uint_eq(ewma_get(word), 1);
    ewma_add(word, UINT64_C(1) << 40, 6);
    ck_assert_uint_eq(ewma_get(word), EWMA_MAX_US);
    ewma_add(word, 0, 6 + 40 * EWMA_TAU_MS);
    ck_assert_uint_eq(ewma_get(word), 1);
}
END_TEST

/* The clock's 32 bits wrap in the middle of it. */
START_TEST(as_the_model)
{
    uint64_t now_ms = (UINT64_C(3) << 32) - 100000;
    double model = 0, worst = 0;

    srandom(3);
    for (int i = 0; i < 3000; i++) {
        uint32_t dt_ms = (uint32_t)random() % 200;
        uint32_t sample_us = 200 + (uint32_t)random() % 1000;
        if (random() % 50 == 0)
            sample_us *= 100;
        now_ms += dt_ms;
        ewma_add(word, sample_us, now_ms);
        model = model_add(model, sample_us, dt_ms);
        worst = fmax(worst, fabs(ewma_get(word) + 0.5 - model) / (model + 1000));
    }
    ck_assert_double_lt(worst, 0.001);
}
END_TEST

/* Were each of many small steps rounded to microseconds, the average would stay up for ever. */
START_TEST(crowded_samples_count)
{
    static const uint32_t peaks[] = {5000, 2000, 50000};
    const double left = exp(-1);

    atomic_store(word, 0);
    ewma_add(word, peaks[_i], 7000);
    for (uint64_t i = 1; i <= 4 * EWMA_TAU_MS; i++)
        ewma_add(word, 1000, 7000 + i / 4);
    double due = 1000 + (peaks[_i] - 1000) * left;
    ck_assert_double_eq_tol(ewma_get(word), due, 0.002 * due);
}
END_TEST

START_TEST(a_clock_that_is_behind)
{
    ewma_add(word, 5000, 90000);
    ewma_add(word, 1000, 89000); /* no time has passed */
    ck_assert_uint_eq(ewma_get(word), 5000);
    ck_assert_uint_eq(ewma_fade(word, 40000), 5000);
}
END_TEST

START_TEST(fades_while_nobody_samples)
{
    ewma_add(word, 8000, 1000);
    ck_assert_uint_eq(ewma_fade(word, 1000 + EWMA_HALF_MS - 1), 8000);
    ck_assert_uint_eq(ewma_fade(word, 1000 + EWMA_HALF_MS), 4000);
    ck_assert_uint_eq(ewma_fade(word, 1000 + 3 * EWMA_HALF_MS), 1000);
    ck_assert_uint_eq(ewma_fade(word, 1000 + 13 * EWMA_HALF_MS), 1);
    ck_assert_uint_eq(ewma_fade(word, 1000 + 32 * EWMA_HALF_MS), 1);
    ck_assert_uint_eq(ewma_fade(word, UINT64_C(3000000000)), 1); /* a month later */
    ck_assert_uint_eq(ewma_get(word), 8000);
}
END_TEST

/* Spins, so that all go on at the same moment; but lets others run now and then. */
static void wait_for(const _Atomic uint32_t *count, uint32_t value)
{
    for (uint32_t spins = 1; atomic_load(count) < value; spins++) {
        if (spins % 10000 == 0)
            sched_yield();
    }
}

/* Each round on a word of its own, all at the same moment: the largest sample must be left. */
START_TEST(writers_lose_nothing)
{
    enum { CHILDREN = 2, ROUNDS = 10000 };
    struct {
        _Atomic uint32_t n_ready;
        _Atomic uint64_t words[ROUNDS];
    } *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t lost = 0;

    ck_assert_ptr_ne(shared, MAP_FAILED);
    for (uint32_t c = 0; c < CHILDREN; c++) {
        if (fork() != 0)
            continue;
        for (uint32_t r = 0; r < ROUNDS; r++) {
            atomic_fetch_add(&shared->n_ready, 1);
            wait_for(&shared->n_ready, (r + 1) * CHILDREN);
            ewma_add(&shared->words[r], 1000 + (r + c) % CHILDREN, 4000);
        }
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
    for (uint32_t r = 0; r < ROUNDS; r++)
        lost += ewma_get(&shared->words[r]) != 1000 + CHILDREN - 1;
    ck_assert_uint_eq(lost, 0);
    munmap(shared, sizeof(*shared));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool ewma");
    TCase *tcase = tcase_create("ewma");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, no_sample_is_zero);
    tcase_add_test(tcase, the_first_sample_is_the_average);
    tcase_add_test(tcase, a_peak_counts_at_once);
    tcase_add_test(tcase, falls_as_the_formula_says);
    tcase_add_test(tcase, out_of_range_samples);
    tcase_add_test(tcase, as_the_model);
    tcase_add_loop_test(tcase, crowded_samples_count, 0, 3);
    tcase_add_test(tcase, a_clock_that_is_behind);
    tcase_add_test(tcase, fades_while_nobody_samples);
    tcase_add_test(tcase, writers_lose_nothing);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
