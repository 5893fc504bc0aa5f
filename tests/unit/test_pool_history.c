/* The ring of the last results of checks. */
#include "pool/history.h"

#include <check.h>
#include <stdlib.h>

static struct sb_history history;
static struct history_result results[SB_HISTORY_MAX];

static void start(void)
{
    history = (struct sb_history){0};
}

START_TEST(the_last_ones_are_kept_newest_first)
{
    ck_assert_uint_eq(history_read(&history, 1000, results), 0);
    for (uint32_t i = 1; i <= 20; i++) {
        uint32_t expected = i < SB_HISTORY_MAX ? i : SB_HISTORY_MAX, wrong = 0;

        history_add(&history, i % 3 == 0, i * 10, i * 1000);
        ck_assert_uint_eq(history_read(&history, 20000, results), expected);
        for (uint32_t k = 0; k < expected; k++) {
            wrong += results[k].passed != ((i - k) % 3 == 0) ||
                     results[k].latency_us != (i - k) * 10 || results[k].age_s != 20 - (i - k);
        }
        ck_assert_uint_eq(wrong, 0);
    }
}
END_TEST

START_TEST(latencies_are_right_to_a_thousandth)
{
    uint64_t wrong_by_permille = 0;

    for (uint64_t us = 0; us < UINT64_C(3600000000); us += 1 + us / 7) {
        uint64_t error;

        history_add(&history, true, us, 0);
        (void)history_read(&history, 0, results);
        ck_assert_uint_le(results[0].latency_us, us);
        error = us - results[0].latency_us;
        ck_assert_msg(error < 10 || error * 1000 <= us, "%u for %llu", results[0].latency_us,
                      (unsigned long long)us);
        if (us > 10000 && error * 1000 / us > wrong_by_permille) {
            wrong_by_permille = error * 1000 / us;
        }
    }
    ck_assert_uint_le(wrong_by_permille, 1);
    history_add(&history, false, UINT64_MAX, 0);
    (void)history_read(&history, 0, results);
    ck_assert(!results[0].passed);
    ck_assert_uint_gt(results[0].latency_us, UINT32_C(3590000000));
    ck_assert_uint_le(results[0].latency_us, UINT32_C(3600000000));
}
END_TEST

/* The clock's seconds do not fit into a word: only differences count. */
START_TEST(ages_pass_the_wrap_of_their_clock)
{
    for (uint64_t at_s = 65530; at_s < 65545; at_s++) {
        history_add(&history, true, 5, at_s * 1000);
        (void)history_read(&history, (at_s + 30000) * 1000, results);
        ck_assert_uint_eq(results[0].age_s, 30000);
        ck_assert_uint_eq(results[0].latency_us, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool/history");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, the_last_ones_are_kept_newest_first);
    tcase_add_test(tc, latencies_are_right_to_a_thousandth);
    tcase_add_test(tc, ages_pass_the_wrap_of_their_clock);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
