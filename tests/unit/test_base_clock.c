/* Clocks and the printing of wall-clock time. */
#include "base/clock.h"

#include <check.h>
#include <stdlib.h>
#include <time.h>

START_TEST(monotonic_units_agree)
{
    uint64_t before_ns = clock_now_ns();
    uint64_t us = clock_now_us();
    uint64_t ms = clock_now_ms();
    uint64_t after_ns = clock_now_ns();

    ck_assert_uint_ge(us, before_ns / 1000);
    ck_assert_uint_le(us, after_ns / 1000);
    ck_assert_uint_ge(ms, before_ns / 1000000);
    ck_assert_uint_le(ms, after_ns / 1000000);
}
END_TEST

START_TEST(wall_is_the_wall_clock)
{
    uint64_t before = (uint64_t)time(NULL);
    uint64_t wall_ms = clock_wall_ms();

    /* time() may read a coarser clock that lags by a tick */
    ck_assert_uint_ge(wall_ms / 1000, before);
    ck_assert_uint_le(wall_ms / 1000, before + 5);
}
END_TEST

static const struct {
    uint64_t wall_ms;
    const char *text;
} formats[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {999, "1970-01-01T00:00:00.999Z"},
    {UINT64_C(1769903999123), "2026-01-31T23:59:59.123Z"},
    {UINT64_C(1709164800007), "2024-02-29T00:00:00.007Z"},
    {UINT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
};

START_TEST(format_prints)
{
    char buf[CLOCK_TEXT_MAX];

    ck_assert_ptr_eq(clock_format_wall(formats[_i].wall_ms, buf), buf);
    ck_assert_str_eq(buf, formats[_i].text);
}
END_TEST

START_TEST(format_survives_the_absurd)
{
    char buf[CLOCK_TEXT_MAX];

    ck_assert_str_ne(clock_format_wall(UINT64_MAX, buf), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/clock");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, monotonic_units_agree);
    tcase_add_test(tc, wall_is_the_wall_clock);
    tcase_add_loop_test(tc, format_prints, 0, (int)(sizeof(formats) / sizeof(formats[0])));
    tcase_add_test(tc, format_survives_the_absurd);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
