/* Patterns, their bounds, how bytes are shown; and steps: what they mean and what is wrong with
 * them. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "check/check.h"
#include "check/match.h"
#include "check/step.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* --- searching --- */

/* Where the pattern's first match ends; -1: none, -2: given up. */
static int find_in(struct match *match, const char *bytes, size_t n, size_t seen)
{
    uint64_t budget_ns = MATCH_BUDGET_NS;
    size_t end = 0;
    enum match_result result = match_find(match, bytes, n, seen, &budget_ns, &end);

    return result == MATCH_FOUND ? (int)end : result == MATCH_NONE ? -1 : -2;
}

static int find_regex(const char *pattern, const char *bytes, size_t n)
{
    STR_AUTO problem = {0};
    struct match *match = match_create_regex(pattern, &problem);
    int end;

    ck_assert_msg(match != NULL, "%s: %s", pattern, str_text(&problem));
    end = find_in(match, bytes, n, 0);
    match_free(match);
    return end;
}

#define FIND(pattern, text) find_regex(pattern, text, sizeof(text) - 1)

START_TEST(bytes_are_found)
{
    struct match *match = match_create_bytes("a\0b", 3);

    ck_assert_int_eq(find_in(match, "xa\0b", 4, 0), 4);
    ck_assert_int_eq(find_in(match, "a\0b\0a\0b", 7, 0), 3);
    ck_assert_int_eq(find_in(match, "a\0a", 3, 0), -1);
    ck_assert_int_eq(find_in(match, NULL, 0, 0), -1);
    match_free(match);
}
END_TEST

/* A match that began in what was seen before is found; one that lay in it whole is not there. */
START_TEST(searches_go_on_where_they_were)
{
    struct match *match = match_create_bytes("+PONG", 5);
    const char *text = "xx+PONG";

    for (size_t seen = 0; seen < 7; seen++) {
        ck_assert_int_eq(find_in(match, text, seen, 0), -1);
        ck_assert_int_eq(find_in(match, text, 7, seen), 7);
    }
    match_free(match);
}
END_TEST

START_TEST(expressions_see_bytes)
{
    ck_assert_int_eq(FIND("a.b", "a\nb"), 3);
    ck_assert_int_eq(FIND("a.b", "a\0b"), 3);
    ck_assert_int_eq(FIND("^.$", "\xc3\xa4"), -1); /* two bytes, not one character */
    ck_assert_int_eq(FIND("\\x{c3}\\xa4", "\xc3\xa4"), 2);
    ck_assert_int_eq(FIND("(?i)ok|good", "It is GOOD."), 10);
    ck_assert_int_eq(FIND("(a)(b)(c)\\3", "xabcc"), 5);
    ck_assert_int_eq(FIND("^ok", "not ok"), -1);
    ck_assert_int_eq(FIND("^", ""), 0);
    ck_assert_int_eq(FIND("a(?C1)b", "ab"), 2);
}
END_TEST

START_TEST(expressions_tell_what_is_wrong)
{
    static const struct {
        const char *pattern, *problem;
    } cases[] = {
        {"(a", "missing closing parenthesis at offset 2"},
        {"a[", "missing terminating ] for character class at offset 2"},
        {"*", "quantifier does not follow a repeatable item at offset 0"},
        {"(*UTF)a", "using UTF is disabled by the application at offset 6"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO problem = {0};

        ck_assert_ptr_null(match_create_regex(cases[i].pattern, &problem));
        ck_assert_str_eq(str_text(&problem), cases[i].problem);
    }
}
END_TEST

static uint64_t cpu_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* 64 KiB of what each of these finds hardest: backtracking, scans from every place, deep nesting.
 * PCRE2 alone, with its own limits, is busy with them for seconds to hours. */
START_TEST(no_expression_can_spin)
{
    static const struct {
        const char *pattern, *unit;
    } cases[] = {
        {"^(a+)+$", "a"},
        {"(?:a|aa)+$(?!.)b", "a"},
        {"[^x]*+y", "ab"},
        {"(?:a[^x]*+y|a)+z", "a"},
        {"(a*)*\\1b", "a"},
        {"(a(?R)?b?)*c", "ab"},
        {"foo.*bar.*baz", "foobar"},
        {"(?=.*a.*b.*c)x", "ab"},
    };
    static char subject[65536];

    for (int i = 0; i < COUNT(cases); i++) {
        size_t unit = strlen(cases[i].unit);
        STR_AUTO problem = {0};
        struct match *match = match_create_regex(cases[i].pattern, &problem);
        uint64_t budget_ns = MATCH_BUDGET_NS, start_ns = cpu_now_ns(), spent_ns;
        size_t end;
        enum match_result result;

        for (size_t at = 0; at < sizeof(subject); at++) {
            subject[at] = at == sizeof(subject) - 1 ? '!' : cases[i].unit[at % unit];
        }
        result = match_find(match, subject, sizeof(subject), 0, &budget_ns, &end);
        spent_ns = cpu_now_ns() - start_ns;
        ck_assert_msg(result != MATCH_FOUND, "%s", cases[i].pattern);
        ck_assert_msg(spent_ns < 2 * MATCH_BUDGET_NS, "%s: %llu us", cases[i].pattern,
                      (unsigned long long)(spent_ns / 1000));
        match_free(match);
    }
}
END_TEST

START_TEST(budgets_are_for_all_searches_together)
{
    STR_AUTO problem = {0};
    struct match *match = match_create_regex("^(a+)+$", &problem);
    uint64_t budget_ns = MATCH_BUDGET_NS;
    char subject[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
    size_t end;

    ck_assert_int_eq(match_find(match, "!", 1, 0, &budget_ns, &end), MATCH_NONE);
    ck_assert_uint_gt(budget_ns, 0);
    ck_assert_uint_lt(budget_ns, MATCH_BUDGET_NS);
    ck_assert_int_eq(match_find(match, subject, strlen(subject), 0, &budget_ns, &end),
                     MATCH_GIVEN_UP);
    ck_assert_uint_eq(budget_ns, 0);
    ck_assert_int_eq(match_find(match, "a", 1, 0, &budget_ns, &end), MATCH_GIVEN_UP);
    match_free(match);
}
END_TEST

/* One search, of a run of its own. Adds its CPU time to *spent_ns. */
static enum match_result find_timed(struct match *match, const char *text, uint64_t *spent_ns)
{
    uint64_t budget_ns = MATCH_BUDGET_NS, start_ns = cpu_now_ns();
    size_t end;
    enum match_result result = match_find(match, text, strlen(text), 0, &budget_ns, &end);

    *spent_ns += cpu_now_ns() - start_ns;
    return result;
}

#define SLOW_TEXT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"
#define N_SLOW    150

/* As many as one turn of the loop may bring: they must not add up to what a watchdog kills for. */
START_TEST(many_slow_expressions_share_their_time)
{
    struct match *matches[N_SLOW];
    STR_AUTO problem = {0};
    uint64_t spent_ns = 0, start_us = clock_now_us(), share_ns;
    int n_given_up = 0;

    for (int i = 0; i < N_SLOW; i++) {
        matches[i] = match_create_regex("^(a+)+$", &problem);
        n_given_up += find_timed(matches[i], SLOW_TEXT, &spent_ns) == MATCH_GIVEN_UP;
    }
    ck_assert_int_eq(n_given_up, N_SLOW);
    share_ns = MATCH_SHARED_NS + (clock_now_us() - start_us) * MATCH_SHARED_NS_PER_SECOND / 1000000;
    ck_assert_uint_lt(spent_ns, 3 * (share_ns + N_SLOW * MATCH_FREE_NS) / 2);
    for (int i = 0; i < N_SLOW; i++) { /* who is quick is not touched by it */
        n_given_up -= find_timed(matches[i], "aaa", &spent_ns) == MATCH_FOUND;
        match_free(matches[i]);
    }
    ck_assert_int_eq(n_given_up, 0);
}
END_TEST

/* So that it leaves the time that is shared to others. That it may have become quicker is tried
 * after as many searches as have failed. */
START_TEST(a_slow_expression_is_remembered_until_it_is_quick)
{
    STR_AUTO problem = {0};
    struct match *match = match_create_regex("^(a+)+$", &problem);
    char tried[14] = "";

    for (int i = 0; i < 13; i++) {
        uint64_t spent_ns = 0;

        ck_assert_int_eq(find_timed(match, i == 10 ? "aa" : SLOW_TEXT, &spent_ns),
                         i == 10 ? MATCH_FOUND : MATCH_GIVEN_UP);
        tried[i] = spent_ns >= MATCH_BUDGET_NS ? 'y' : 'n';
    }
    ck_assert_str_eq(tried, "ynnnnnnnynnyn");
    match_free(match);
}
END_TEST

/* What people write, at the largest that there is: within the budget. */
START_TEST(ordinary_expressions_are_not_given_up)
{
    static char subject[65536];

    memset(subject, 'a', sizeof(subject));
    ck_assert_int_eq(find_regex(".*ok", subject, sizeof(subject)), -1);
    ck_assert_int_eq(find_regex("\"status\":\\s*\"ok\"", subject, sizeof(subject)), -1);
    ck_assert_int_eq(find_regex("a+b", subject, 1000), -1);
    memcpy(subject + sizeof(subject) - 2, "ok", 2);
    ck_assert_int_eq(find_regex(".*ok", subject, sizeof(subject)), sizeof(subject));
    ck_assert_int_eq(find_regex("(?i)OK", subject, sizeof(subject)), sizeof(subject));
}
END_TEST

/* --- showing --- */

START_TEST(bytes_are_shown)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *shown;
    } cases[] = {
        {"", 0, "\"\""},
        {"+PONG", 5, "\"+PONG\""},
        {"+PONG\r\n", 7, "\"+PONG\""},
        {"-ERR x\r\nmore", 12, "\"-ERR x…\""},
        {"\r\n", 2, "\"\\r\""},
        {"\n", 1, "\"\\n\""},
        {"a\r", 2, "\"a\\r\""},
        {"d\0\0\0\n5.5\0\n", 10, "\"d\\x00\\x00\\x00\\n5.5\\x00\\n\""},
        {"\t\"\\\x1b[31m\0\xff", 10, "\"\\t\\\"\\\\\\x1b[31m\\x00\\xff\""},
        {"0123456789012345678901234567890123456789012345678901234567890123456789", 70,
         "\"012345678901234567890123456789012345678901234567890123456789…\""},
        {"01234567890123456789012345678901234567890123456789012345678\x01", 60,
         "\"01234567890123456789012345678901234567890123456789012345678…\""},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        char shown[MATCH_SHOWN_MAX];

        ck_assert_str_eq(match_show(cases[i].bytes, cases[i].n, shown), cases[i].shown);
    }
}
END_TEST

/* --- steps --- */

START_TEST(sends_are_understood)
{
    static const struct {
        const char *text, *bytes;
        size_t n;
    } cases[] = {
        {"send PING\\r\\n", "PING\r\n", 6},
        {"send  a \\t\\0\\x41\\x0A\\\\", " a \t\0A\n\\", 8},
        {"  send x", "x", 1},
        {"send raw \r\n", "raw \r\n", 6},
        {"send-hex 50494e47", "PING", 4},
        {"send-hex 0d 0A", "\r\n", 2},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO problem = {0};
        struct step step;

        ck_assert_msg(step_parse(cases[i].text, &step, &problem) == 0, "%s: %s", cases[i].text,
                      str_text(&problem));
        ck_assert_int_eq(step.kind, STEP_SEND);
        ck_assert_uint_eq(step.bytes.len, cases[i].n);
        ck_assert_mem_eq(step.bytes.data, cases[i].bytes, cases[i].n);
        ck_assert_uint_eq(step.deadline_ms, 0);
        step_clear(&step);
    }
}
END_TEST

START_TEST(expects_are_understood)
{
    static const struct {
        const char *text;
        uint32_t deadline_ms;
        const char *input;
        size_t n;
        const char *wanted;
    } cases[] = {
        {"expect +PONG", 0, "x+PONG", 6, "\"+PONG\""},
        {"expect a\\x00b", 0, "a\0b", 3, "\"a\\x00b\""},
        {"expect-hex 2b504f", 0, "+PO", 3, "2b504f"},
        {"expect-regex ^2\\d\\d ", 0, "220 ", 4, "/^2\\d\\d /"},
        {"expect(500ms) +PONG", 500, "+PONG", 5, "\"+PONG\""},
        {"expect-regex(2s) (a|b)", 2000, "b", 1, "/(a|b)/"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO problem = {0};
        struct step step;

        ck_assert_msg(step_parse(cases[i].text, &step, &problem) == 0, "%s: %s", cases[i].text,
                      str_text(&problem));
        ck_assert_int_eq(step.kind, STEP_EXPECT);
        ck_assert_uint_eq(step.deadline_ms, cases[i].deadline_ms);
        ck_assert_int_eq(find_in(step.match, cases[i].input, cases[i].n, 0), (int)cases[i].n);
        ck_assert_str_eq(step.wanted, cases[i].wanted);
        step_clear(&step);
    }
}
END_TEST

START_TEST(closes_are_understood)
{
    STR_AUTO problem = {0};
    struct step step;

    ck_assert_int_eq(step_parse("expect-close(1s)", &step, &problem), 0);
    ck_assert_int_eq(step.kind, STEP_EXPECT_CLOSE);
    ck_assert_uint_eq(step.deadline_ms, 1000);
    step_clear(&step);
    step_clear(&step); /* twice is safe */
}
END_TEST

/* Faults as the judge tells them. */
START_TEST(faults_of_steps_say_what_would_be_right)
{
    static const char *const cases[][2] = {
        {"sned PING", "step \"sned PING\": unknown step \"sned\"; did you mean \"send\"?"},
        {"expect-rgex x", "step \"expect-rgex x\": unknown step \"expect-rgex\"; did you mean "
                          "\"expect-regex\"?"},
        {"frobnicate", "step \"frobnicate\": unknown step \"frobnicate\"; write one of send, "
                       "send-hex, expect, expect-hex, expect-regex, expect-close"},
        {"", "step \"\": empty; write \"send TEXT\" or \"expect TEXT\""},
        {" \t", "step \" \\t\": empty; write \"send TEXT\" or \"expect TEXT\""},
        {"send", "step \"send\": nothing stands after it; write \"send TEXT\""},
        {"send ", "step \"send \": nothing stands after it; write \"send TEXT\""},
        {"expect-hex  ",
         "step \"expect-hex  \": nothing stands after it; write \"expect-hex 2b504f4e47\""},
        {"expect-close now",
         "step \"expect-close now\": takes nothing after it; write \"expect-close\""},
        {"send-hex 504", "step \"send-hex 504\": odd number of hex digits; write two for each "
                         "byte, as in 0d0a"},
        {"send-hex 5 0", "step \"send-hex 5 0\": \" \" is no hex digit; write two for each byte, "
                         "as in 0d0a"},
        {"send-hex 5g", "step \"send-hex 5g\": \"g\" is no hex digit; write two for each byte, as "
                        "in 0d0a"},
        {"send a\\qb",
         "step \"send a\\\\qb\": unknown escape \"q\"; the known ones are \\r \\n \\t "
         "\\0 \\xHH, and \\\\ for a backslash"},
        {"expect \\x4", "step \"expect \\\\x4\": unknown escape \"x\"; the known ones are \\r \\n "
                        "\\t \\0 \\xHH, and \\\\ for a backslash"},
        {"expect a\\", "step \"expect a\\\\\": unknown escape \"\"; the known ones are \\r \\n \\t "
                       "\\0 \\xHH, and \\\\ for a backslash"},
        {"expect-regex (a", "step \"expect-regex (a\": missing closing parenthesis at offset 2"},
        {"send(1s) x", "step \"send(1s) x\": a send has no deadline; write \"send TEXT\""},
        {"expect(1s x",
         "step \"expect(1s x\": its deadline has no end; write \"expect(500ms) TEXT\""},
        {"expect(1s)x",
         "step \"expect(1s)x\": its deadline has no end; write \"expect(500ms) TEXT\""},
        {"expect(0s) x", "step \"expect(0s) x\": bad deadline \"0s\": write a time from \"1ms\" to "
                         "\"1h\""},
        {"expect(2h) x", "step \"expect(2h) x\": bad deadline \"2h\": write a time from \"1ms\" to "
                         "\"1h\""},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO problem = {0};

        ck_assert(!check_judge("expect", "steps", cases[i][0], &problem));
        ck_assert_str_eq(str_text(&problem), cases[i][1]);
    }
}
END_TEST

START_TEST(times_of_steps_are_judged_as_times)
{
    STR_AUTO problem = {0};

    ck_assert(!check_judge("expect", "steps", "expect(5) x", &problem));
    ck_assert_ptr_nonnull(strstr(str_text(&problem), "bad deadline \"5\": "));
    ck_assert(!check_judge("expect", "steps",
                           "expect(123456789012345678901234567890123456789012s) x", &problem));
}
END_TEST

START_TEST(right_steps_pass_the_judge)
{
    STR_AUTO problem = {0};

    ck_assert(check_judge("expect", "steps", "send PING\r\n", &problem));
    ck_assert(check_judge("expect", "steps", "expect-regex ^\\+PONG", &problem));
    ck_assert_uint_eq(problem.len, 0);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        bytes_are_found,
        searches_go_on_where_they_were,
        expressions_see_bytes,
        expressions_tell_what_is_wrong,
        no_expression_can_spin,
        budgets_are_for_all_searches_together,
        many_slow_expressions_share_their_time,
        a_slow_expression_is_remembered_until_it_is_quick,
        ordinary_expressions_are_not_given_up,
        bytes_are_shown,
        sends_are_understood,
        expects_are_understood,
        closes_are_understood,
        faults_of_steps_say_what_would_be_right,
        times_of_steps_are_judged_as_times,
        right_steps_pass_the_judge,
    };
    Suite *suite = suite_create("check/match");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    for (int i = 0; i < COUNT(tests); i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
