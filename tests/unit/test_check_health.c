/* The health state machine and the timing of checks, against plain models of their rules. */
#include "check/health.h"

#include <check.h>
#include <stdlib.h>

#include "check/pace.h"

#define SEQUENCE_BITS 9
#define COUNT(table)  ((int)(sizeof(table) / sizeof((table)[0])))

/* The rules as a person would tell them: look back over all results so far. */
static enum sb_health model_state(enum sb_health start, unsigned results, int n, int rise, int fall)
{
    enum sb_health state = start;

    for (int i = 0; i < n; i++) {
        bool passed = results >> i & 1;
        int alike = 0;

        for (int j = i; j >= 0 && (results >> j & 1) == (unsigned)passed; j--) {
            alike++;
        }
        if (state == SB_HEALTH_UNKNOWN) {
            state = passed ? SB_HEALTH_UP : SB_HEALTH_DOWN;
        } else if (state == SB_HEALTH_UP && !passed && alike >= fall) {
            state = SB_HEALTH_DOWN;
        } else if (state == SB_HEALTH_DOWN && passed && alike >= rise) {
            state = SB_HEALTH_UP;
        }
    }
    return state;
}

/* Every sequence of results, from every state, with every small rise and fall. */
START_TEST(every_sequence_is_as_the_rules_say)
{
    enum sb_health start = (enum sb_health)(_i % 3);
    int rise = _i / 3 % 4, fall = _i / 12;

    for (unsigned results = 0; results < 1U << SEQUENCE_BITS; results++) {
        struct health health;

        health_init(&health, start);
        for (int n = 1; n <= SEQUENCE_BITS; n++) {
            bool passed = results >> (n - 1) & 1;
            enum sb_health before = health.state;
            bool changed = health_note(&health, passed, (uint32_t)rise, (uint32_t)fall);

            ck_assert_int_eq(health.state, model_state(start, results, n, rise, fall));
            ck_assert_int_eq(changed, health.state != before);
            ck_assert_int_eq(health_is_changing(&health), passed != (health.state == SB_HEALTH_UP));
        }
    }
}
END_TEST

START_TEST(nothing_is_changing_before_a_result)
{
    for (int state = 0; state < SB_HEALTH_COUNT; state++) {
        struct health health;

        health_init(&health, (enum sb_health)state);
        ck_assert(!health_is_changing(&health));
        ck_assert_int_eq(health.state, state);
    }
}
END_TEST

START_TEST(streaks_count_results_alike)
{
    struct health health = {0};
    static const bool results[] = {true, true, false, true, false, false, false};
    static const uint32_t streaks[] = {1, 2, 1, 1, 1, 2, 3};

    for (int i = 0; i < COUNT(results); i++) {
        (void)health_note(&health, results[i], 2, 10);
        ck_assert_uint_eq(health.streak, streaks[i]);
    }
    health.streak = UINT32_MAX;
    (void)health_note(&health, false, 2, 10);
    ck_assert_uint_eq(health.streak, UINT32_MAX);
}
END_TEST

START_TEST(several_checks_must_all_pass)
{
    const enum sb_health u = SB_HEALTH_UNKNOWN, up = SB_HEALTH_UP, down = SB_HEALTH_DOWN;
    const enum sb_health expected[3][3] = {[SB_HEALTH_UNKNOWN] = {u, u, down},
                                           [SB_HEALTH_UP] = {u, up, down},
                                           [SB_HEALTH_DOWN] = {down, down, down}};

    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            ck_assert_int_eq(health_combine((enum sb_health)a, (enum sb_health)b), expected[a][b]);
        }
    }
}
END_TEST

static const struct snapshot_check timing = {
    .interval_ms = 2000, .fast_interval_ms = 500, .down_interval_ms = 10000};
static const uint64_t timing_us[PACE_COUNT] = {2000000, 500000, 10000000};

START_TEST(delays_stay_within_five_percent)
{
    uint64_t whole_us = timing_us[_i];

    ck_assert_uint_eq(pace_delay_us(&timing, (enum pace)_i, 0), whole_us / 100 * 95);
    ck_assert_uint_eq(pace_delay_us(&timing, (enum pace)_i, UINT64_MAX / 2 + 1), whole_us);
    ck_assert_uint_lt(pace_delay_us(&timing, (enum pace)_i, UINT64_MAX), whole_us / 100 * 105);
    ck_assert_uint_gt(pace_delay_us(&timing, (enum pace)_i, UINT64_MAX), whole_us / 100 * 104);
}
END_TEST

START_TEST(first_delays_fill_the_whole_interval)
{
    uint64_t random = 1;
    int quarters[4] = {0};

    for (int i = 0; i < 10000; i++) {
        uint64_t us = pace_first_delay_us(&timing, PACE_STEADY, pace_random(&random));

        ck_assert_uint_lt(us, 2000000);
        quarters[us / 500000]++;
    }
    for (int q = 0; q < 4; q++) {
        ck_assert_int_gt(quarters[q], 2300);
        ck_assert_int_lt(quarters[q], 2700);
    }
    ck_assert_uint_eq(pace_first_delay_us(&timing, PACE_CHANGING, 0), 475000);
}
END_TEST

START_TEST(odd_intervals_do_no_harm)
{
    const struct snapshot_check none = {0};
    const struct snapshot_check longest = {.interval_ms = UINT32_MAX};

    ck_assert_uint_gt(pace_delay_us(&none, PACE_STEADY, 0), 0);
    ck_assert_uint_gt(pace_delay_us(&longest, PACE_STEADY, UINT64_MAX),
                      UINT32_MAX * UINT64_C(1000));
    ck_assert_uint_gt(pace_first_delay_us(&longest, PACE_STEADY, UINT64_MAX),
                      UINT32_MAX * UINT64_C(999));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check/health");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, every_sequence_is_as_the_rules_say, 0, 3 * 4 * 4);
    tcase_add_test(tc, nothing_is_changing_before_a_result);
    tcase_add_test(tc, streaks_count_results_alike);
    tcase_add_test(tc, several_checks_must_all_pass);
    tcase_add_loop_test(tc, delays_stay_within_five_percent, 0, PACE_COUNT);
    tcase_add_test(tc, first_delays_fill_the_whole_interval);
    tcase_add_test(tc, odd_intervals_do_no_harm);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
