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
    const struct health_rules rules = {.rise = (uint32_t)rise, .fall = (uint32_t)fall};

    for (unsigned results = 0; results < 1U << SEQUENCE_BITS; results++) {
        struct health health;

        health_init(&health, start);
        for (int n = 1; n <= SEQUENCE_BITS; n++) {
            bool passed = results >> (n - 1) & 1;
            enum sb_health before = health.state;
            bool changed = health_note(&health, passed, &rules, (uint64_t)n);

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
    const struct health_rules rules = {.rise = 2, .fall = 10};
    struct health health = {0};
    static const bool results[] = {true, true, false, true, false, false, false};
    static const uint32_t streaks[] = {1, 2, 1, 1, 1, 2, 3};

    for (int i = 0; i < COUNT(results); i++) {
        (void)health_note(&health, results[i], &rules, 1);
        ck_assert_uint_eq(health.streak, streaks[i]);
    }
    health.streak = UINT32_MAX;
    (void)health_note(&health, false, &rules, 1);
    ck_assert_uint_eq(health.streak, UINT32_MAX);
}
END_TEST

/* --- damping --- */

static const struct health_rules damped = {.rise = 2, .fall = 3, .flap_ms = 1000};

/* Passes until it is up; returns how many it took. */
static int passes_to_rise(struct health *health, uint64_t now_ms)
{
    int n = 0;

    while (health->state != SB_HEALTH_UP) {
        (void)health_note(health, true, &damped, now_ms);
        n++;
    }
    return n;
}

static void fall(struct health *health, uint64_t now_ms)
{
    while (health->state != SB_HEALTH_DOWN) {
        (void)health_note(health, false, &damped, now_ms);
    }
}

/* Down again just before the time is over, time and again. */
START_TEST(each_flap_doubles_rise_up_to_sixteen_times)
{
    static const int expected[] = {2, 4, 8, 16, 32, 32, 32};
    struct health health;
    uint64_t now_ms = 5000;

    health_init(&health, SB_HEALTH_DOWN);
    for (int i = 0; i < COUNT(expected); i++) {
        ck_assert_uint_eq(health_rise(&health, 2), (uint32_t)expected[i]);
        ck_assert_int_eq(passes_to_rise(&health, now_ms), expected[i]);
        now_ms += 999;
        fall(&health, now_ms);
    }
}
END_TEST

START_TEST(staying_up_forgives_one_doubling_each_time)
{
    static const struct {
        uint64_t up_ms;
        int expected;
    } steps[] = {{0, 4},   {0, 8},    {0, 16},   {1000, 8},   {1999, 4},
                 {999, 8}, {0, 16},   {2500, 4}, {100000, 2}, {100000, 2},
                 {999, 4}, {1000, 2}, {1000, 2}, {0, 4},      {UINT32_MAX, 2}};
    struct health health;
    uint64_t now_ms = 1;

    health_init(&health, SB_HEALTH_DOWN);
    (void)passes_to_rise(&health, now_ms);
    for (int i = 0; i < COUNT(steps); i++) {
        now_ms += steps[i].up_ms;
        fall(&health, now_ms);
        now_ms += 123456; /* being down forgives nothing */
        ck_assert_msg(passes_to_rise(&health, now_ms) == steps[i].expected, "step %d", i);
    }
}
END_TEST

/* Its first state was not a rise, nor is one that was taken over. */
START_TEST(only_who_has_come_up_again_flaps)
{
    struct health health = {0};

    ck_assert_int_eq(passes_to_rise(&health, 1), 1);
    fall(&health, 2);
    ck_assert_int_eq(passes_to_rise(&health, 3), 2);
    health_init(&health, SB_HEALTH_UP);
    fall(&health, 4);
    ck_assert_int_eq(passes_to_rise(&health, 5), 2);
    fall(&health, 6);
    ck_assert_int_eq(passes_to_rise(&health, 7), 4);
}
END_TEST

/* A pass among failures of one that is up is no rise, and a failure among its passes costs only
 * those. */
START_TEST(damping_counts_transitions_only)
{
    struct health health;

    health_init(&health, SB_HEALTH_DOWN);
    (void)passes_to_rise(&health, 10);
    (void)health_note(&health, false, &damped, 11);
    (void)health_note(&health, true, &damped, 12);
    fall(&health, 2000);
    (void)health_note(&health, true, &damped, 2001);
    (void)health_note(&health, false, &damped, 2002);
    ck_assert_int_eq(passes_to_rise(&health, 2003), 2);
    ck_assert_uint_eq(health.doublings, 0);
}
END_TEST

START_TEST(a_large_rise_does_not_overflow)
{
    struct health health = {.state = SB_HEALTH_DOWN, .doublings = HEALTH_DOUBLINGS_MAX};

    ck_assert_uint_eq(health_rise(&health, UINT32_MAX), UINT32_MAX);
    ck_assert_uint_eq(health_rise(&health, 0), 16);
}
END_TEST

/* --- several checks --- */

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

START_TEST(one_of_several_checks_is_enough)
{
    const enum sb_health u = SB_HEALTH_UNKNOWN, up = SB_HEALTH_UP, down = SB_HEALTH_DOWN;
    const enum sb_health expected[3][3] = {[SB_HEALTH_UNKNOWN] = {u, up, u},
                                           [SB_HEALTH_UP] = {up, up, up},
                                           [SB_HEALTH_DOWN] = {u, up, down}};

    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            ck_assert_int_eq(health_combine_any((enum sb_health)a, (enum sb_health)b),
                             expected[a][b]);
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
    tcase_add_test(tc, each_flap_doubles_rise_up_to_sixteen_times);
    tcase_add_test(tc, staying_up_forgives_one_doubling_each_time);
    tcase_add_test(tc, only_who_has_come_up_again_flaps);
    tcase_add_test(tc, damping_counts_transitions_only);
    tcase_add_test(tc, a_large_rise_does_not_overflow);
    tcase_add_test(tc, several_checks_must_all_pass);
    tcase_add_test(tc, one_of_several_checks_is_enough);
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
