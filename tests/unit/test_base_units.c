/* Times, sizes, rates, numbers, booleans, and the nearest word. */
#include "base/units.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define UNTOUCHED    UINT64_C(0xDEADBEEF)

static const struct {
    const char *text;
    uint64_t value;
} good_times[] = {
    {"250ms", 250},
    {"5s", 5000},
    {"10m", 600000},
    {"1h", 3600000},
    {"2d", 172800000},
    {"0", 0},
    {"0s", 0},
    {"0ms", 0},
    {"010s", 10000},
    {"3650d", UINT64_C(315360000000)},
    {"315360000000ms", UINT64_C(315360000000)},
};

START_TEST(times_parse)
{
    uint64_t ms = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_time(good_times[_i].text, &ms, &problem), 0);
    ck_assert_uint_eq(ms, good_times[_i].value);
    ck_assert_ptr_null(problem);
}
END_TEST

static const char *const bad_times[] = {
    "",
    "s",
    "5",
    "5 s",
    " 5s",
    "5s ",
    "-5s",
    "+5s",
    "0x5s",
    "1.5s",
    "5S",
    "5sec",
    "5s5m",
    "1e3s",
    "٥s",
    "5w",
    "3651d",
    "315360000001ms",
    "18446744073709551616ms",
    "99999999999999999999999d",
    "213503982335d", /* in milliseconds just past 64 bits */
};

START_TEST(bad_times_are_refused)
{
    uint64_t ms = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_time(bad_times[_i], &ms, &problem), -EINVAL);
    ck_assert_uint_eq(ms, UNTOUCHED);
    ck_assert_ptr_nonnull(problem);
}
END_TEST

START_TEST(time_problems_say_what_is_wrong)
{
    uint64_t ms;
    const char *problem;

    ck_assert_int_eq(units_parse_time("soon", &ms, &problem), -EINVAL);
    ck_assert_str_eq(problem, "not a time; write a number with ms, s, m, h or d, such as \"5s\"");
    ck_assert_int_eq(units_parse_time("5", &ms, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem, "no unit"));
    ck_assert_int_eq(units_parse_time("99999d", &ms, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem, "10 years"));
}
END_TEST

static const struct {
    const char *text;
    uint64_t value;
} good_sizes[] = {
    {"0", 0},
    {"512", 512},
    {"64k", 65536},
    {"64K", 65536},
    {"1m", 1048576},
    {"2g", UINT64_C(2147483648)},
    {"2G", UINT64_C(2147483648)},
    {"0512", 512},
    {"18446744073709551615", UINT64_MAX},
    {"17179869183g", UINT64_C(17179869183) << 30},
};

START_TEST(sizes_parse)
{
    uint64_t bytes = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_size(good_sizes[_i].text, &bytes, &problem), 0);
    ck_assert_uint_eq(bytes, good_sizes[_i].value);
}
END_TEST

static const char *const bad_sizes[] = {
    "",
    "k",
    "64 k",
    "64kb",
    "64KiB",
    "-1",
    "+1",
    "0x10",
    "1.5m",
    "1t",
    "1s",
    "18446744073709551616",
    "17179869184g",
    "36893488147419103233",
};

START_TEST(bad_sizes_are_refused)
{
    uint64_t bytes = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_size(bad_sizes[_i], &bytes, &problem), -EINVAL);
    ck_assert_uint_eq(bytes, UNTOUCHED);
    ck_assert_ptr_nonnull(problem);
}
END_TEST

static const struct {
    const char *text;
    struct units_rate rate;
} good_rates[] = {
    {"100/s", {100, 1000, 0}},
    {"100/s:500", {100, 1000, 500}},
    {"1/h", {1, 3600000, 0}},
    {"1/m:1", {1, 60000, 1}},
    {"1000000/s:1000000", {1000000, 1000, 1000000}},
    {"60000000/m", {60000000, 60000, 0}},
    {"3600000000/h", {UINT32_C(3600000000), 3600000, 0}},
    {"none", {0, 0, 0}},
};

START_TEST(rates_parse_and_print)
{
    struct units_rate rate;
    const char *problem = NULL;
    char buf[UNITS_TEXT_MAX];

    ck_assert_int_eq(units_parse_rate(good_rates[_i].text, &rate, &problem), 0);
    ck_assert_uint_eq(rate.count, good_rates[_i].rate.count);
    ck_assert_uint_eq(rate.per_ms, good_rates[_i].rate.per_ms);
    ck_assert_uint_eq(rate.burst, good_rates[_i].rate.burst);
    ck_assert_str_eq(units_format_rate(&rate, buf), good_rates[_i].text);
    ck_assert_ptr_null(problem);
}
END_TEST

#define NO_RATE                                                                                    \
    "not a rate; write a whole number with /s, /m or /h, such as \"100/s\", with a burst "         \
    "\"100/s:500\", or \"none\""
#define NO_SUCH_RATE  "rate out of range; at least \"1/h\", at most \"1000000/s\""
#define NO_SUCH_BURST "burst out of range; 1 to 1000000"

static const struct {
    const char *text, *problem;
} bad_rates[] = {
    {"", NO_RATE},
    {"100", NO_RATE},
    {"/s", NO_RATE},
    {"100/", NO_RATE},
    {"100/d", NO_RATE},
    {"100/ms", NO_RATE},
    {"100/S", NO_RATE},
    {"100 /s", NO_RATE},
    {"100/s ", NO_RATE},
    {"100/s500", NO_RATE},
    {"100/s:", NO_RATE},
    {"100/s:x", NO_RATE},
    {"100/s:5:5", NO_RATE},
    {"1.5/s", NO_RATE},
    {"-1/s", NO_RATE},
    {"None", NO_RATE},
    {"0/s", NO_SUCH_RATE},
    {"1000001/s", NO_SUCH_RATE},
    {"60000001/m", NO_SUCH_RATE},
    {"3600000001/h", NO_SUCH_RATE},
    {"18446744073709551617/s", NO_SUCH_RATE}, /* past 64 bits, where it would be 1 */
    {"1/s:0", NO_SUCH_BURST},
    {"1/s:1000001", NO_SUCH_BURST},
    {"1/s:18446744073709551617", NO_SUCH_BURST},
};

START_TEST(bad_rates_are_refused)
{
    struct units_rate rate = {7, 8, 9};
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_rate(bad_rates[_i].text, &rate, &problem), -EINVAL);
    ck_assert_str_eq(problem, bad_rates[_i].problem);
    ck_assert(rate.count == 7 && rate.per_ms == 8 && rate.burst == 9);
}
END_TEST

START_TEST(whole_numbers)
{
    uint64_t n = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_uint("010", 0, 10, &n, &problem), 0);
    ck_assert_uint_eq(n, 10);
    ck_assert_int_eq(units_parse_uint("18446744073709551615", 0, UINT64_MAX, &n, &problem), 0);
    ck_assert_uint_eq(n, UINT64_MAX);
    n = UNTOUCHED;
    ck_assert_int_eq(units_parse_uint("11", 0, 10, &n, &problem), -EINVAL);
    ck_assert_str_eq(problem, "number too large");
    ck_assert_int_eq(units_parse_uint("1", 2, 10, &n, &problem), -EINVAL);
    ck_assert_str_eq(problem, "number too small");
    ck_assert_int_eq(units_parse_uint("18446744073709551616", 0, UINT64_MAX, &n, &problem),
                     -EINVAL);
    ck_assert_uint_eq(n, UNTOUCHED);
}
END_TEST

static const char *const bad_numbers[] = {"",   " 1",  "1 ", "-1",  "+1", "0x1",
                                          "1.", "1e3", "k",  "ten", "1k", "1,000"};

START_TEST(bad_numbers_are_refused)
{
    uint64_t n = UNTOUCHED;
    const char *problem = NULL;

    ck_assert_int_eq(units_parse_uint(bad_numbers[_i], 0, UINT64_MAX, &n, &problem), -EINVAL);
    ck_assert_uint_eq(n, UNTOUCHED);
    ck_assert_ptr_nonnull(strstr(problem, "whole number"));
}
END_TEST

START_TEST(booleans)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    static const char *const neither[] = {"", "True", "YES", "2", "onn", "o", "10", " 1"};
    const char *problem = NULL;
    bool value;

    for (int i = 0; i < 4; i++) {
        value = false;
        ck_assert_int_eq(units_parse_bool(yes[i], &value, &problem), 0);
        ck_assert(value);
        ck_assert_int_eq(units_parse_bool(no[i], &value, &problem), 0);
        ck_assert(!value);
    }
    for (int i = 0; i < COUNT(neither); i++) {
        value = true;
        problem = NULL;
        ck_assert_int_eq(units_parse_bool(neither[i], &value, &problem), -EINVAL);
        ck_assert(value);
        ck_assert_ptr_nonnull(problem);
    }
}
END_TEST

START_TEST(times_print)
{
    char buf[UNITS_TEXT_MAX];

    ck_assert_ptr_eq(units_format_time(0, buf), buf);
    ck_assert_str_eq(buf, "0s");
    ck_assert_str_eq(units_format_time(1, buf), "1ms");
    ck_assert_str_eq(units_format_time(1500, buf), "1500ms");
    ck_assert_str_eq(units_format_time(90000, buf), "90s");
    ck_assert_str_eq(units_format_time(60000, buf), "1m");
    ck_assert_str_eq(units_format_time(129600000, buf), "36h");
    ck_assert_str_eq(units_format_time(172800000, buf), "2d");
    ck_assert_str_eq(units_format_time(UINT64_MAX, buf), "18446744073709551615ms");
}
END_TEST

START_TEST(sizes_print)
{
    char buf[UNITS_TEXT_MAX];

    ck_assert_ptr_eq(units_format_size(0, buf), buf);
    ck_assert_str_eq(buf, "0");
    ck_assert_str_eq(units_format_size(1023, buf), "1023");
    ck_assert_str_eq(units_format_size(1024, buf), "1k");
    ck_assert_str_eq(units_format_size(1536, buf), "1536");
    ck_assert_str_eq(units_format_size(3 << 20, buf), "3m");
    ck_assert_str_eq(units_format_size(UINT64_C(5) << 30, buf), "5g");
    ck_assert_str_eq(units_format_size(UINT64_MAX, buf), "18446744073709551615");
}
END_TEST

static uint64_t random_u64(void)
{
    uint64_t value = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();

    return value >> (random() % 64);
}

START_TEST(what_is_printed_parses_back)
{
    static const uint64_t factors[] = {1, 1000, 60000, 3600000, 86400000, 1024, 1 << 20, 1 << 30};
    char buf[UNITS_TEXT_MAX];
    const char *problem;

    srandom(2);
    for (int i = 0; i < 100000; i++) {
        uint64_t value = random_u64();
        uint64_t parsed;

        if (random() % 2 == 0) {
            value = value / (1 << 30) * factors[random() % COUNT(factors)];
        }
        ck_assert_int_eq(units_parse_size(units_format_size(value, buf), &parsed, &problem), 0);
        ck_assert_uint_eq(parsed, value);
        value %= UINT64_C(315360000001);
        ck_assert_int_eq(units_parse_time(units_format_time(value, buf), &parsed, &problem), 0);
        ck_assert_uint_eq(parsed, value);
    }
}
END_TEST

static const char *const known[] = {
    "max_connections", "connect_timeout", "idle_timeout", "pool", "listen", "on", "off", "m", NULL};

static const struct {
    const char *text;
    const char *nearest;
} words[] = {
    {"pool", "pool"},
    {"poll", "pool"},
    {"pol", "pool"},
    {"poool", "pool"},
    {"opol", "pool"},
    {"lsiten", "listen"},
    {"listner", "listen"},
    {"max_conections", "max_connections"},
    {"max_conn", NULL},
    {"conect_timout", "connect_timeout"},
    {"timeout", NULL},
    {"of", "on"}, /* as near as "off", and first */
    {"m", "m"},
    {"x", NULL},
    {"xy", NULL},
    {"", NULL},
    {"backend", NULL},
};

START_TEST(nearest_word)
{
    const char *nearest = units_nearest(words[_i].text, known);

    if (words[_i].nearest == NULL) {
        ck_assert_msg(nearest == NULL, "%s gave %s", words[_i].text, nearest);
    } else {
        ck_assert_ptr_nonnull(nearest);
        ck_assert_str_eq(nearest, words[_i].nearest);
    }
}
END_TEST

START_TEST(nearest_counts_swaps_once)
{
    /* by replacing alone "bacd" would be two from "abcd" and as far from "baxx" */
    static const char *const pair[] = {"baxx", "abcd", NULL};

    ck_assert_str_eq(units_nearest("bacd", pair), "abcd");
}
END_TEST

START_TEST(nearest_bears_long_words)
{
    char text[200];
    const char *const longs[] = {text, "pool", NULL};

    memset(text, 'a', sizeof(text));
    text[199] = '\0';
    ck_assert_ptr_null(units_nearest(text, known));
    ck_assert_str_eq(units_nearest("pooll", longs), "pool");
    text[64] = '\0';
    ck_assert_str_eq(units_nearest(text, longs), text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/units");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, times_parse, 0, COUNT(good_times));
    tcase_add_loop_test(tc, bad_times_are_refused, 0, COUNT(bad_times));
    tcase_add_test(tc, time_problems_say_what_is_wrong);
    tcase_add_loop_test(tc, sizes_parse, 0, COUNT(good_sizes));
    tcase_add_loop_test(tc, bad_sizes_are_refused, 0, COUNT(bad_sizes));
    tcase_add_loop_test(tc, rates_parse_and_print, 0, COUNT(good_rates));
    tcase_add_loop_test(tc, bad_rates_are_refused, 0, COUNT(bad_rates));
    tcase_add_test(tc, whole_numbers);
    tcase_add_loop_test(tc, bad_numbers_are_refused, 0, COUNT(bad_numbers));
    tcase_add_test(tc, booleans);
    tcase_add_test(tc, times_print);
    tcase_add_test(tc, sizes_print);
    tcase_add_test(tc, what_is_printed_parses_back);
    tcase_add_loop_test(tc, nearest_word, 0, COUNT(words));
    tcase_add_test(tc, nearest_counts_swaps_once);
    tcase_add_test(tc, nearest_bears_long_words);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
