/* Ports by pair: taking, giving back, limits, and what a dead worker leaves behind. */
#include "pool/ports.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 3
#define PAIR    5

static struct scoreboard sb;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, WORKERS, 1, 1), 0);
    sb.header->pairs_end = 10;
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

START_TEST(taken_and_given_back)
{
    ck_assert(ports_take(&sb, 0, PAIR, 3));
    ck_assert(ports_take(&sb, 1, PAIR, 3));
    ck_assert(ports_take(&sb, 0, PAIR, 3));
    ck_assert(!ports_take(&sb, 2, PAIR, 3));
    ck_assert_uint_eq(ports_used(&sb, PAIR), 3);
    ck_assert(ports_take(&sb, 2, PAIR, 0)); /* no limit is known */
    ports_give(&sb, 2, PAIR);
    ports_give(&sb, 2, PAIR); /* it has none */
    ck_assert_uint_eq(ports_used(&sb, PAIR), 3);
    ports_give(&sb, 1, PAIR);
    ck_assert(ports_take(&sb, 2, PAIR, 3));
    ck_assert_uint_eq(ports_used(&sb, PAIR + 1), 0);
}
END_TEST

START_TEST(pair_0_is_not_counted)
{
    for (int i = 0; i < 5; i++)
        ck_assert(ports_take(&sb, 0, 0, 1));
    ports_give(&sb, 0, 0);
    ports_fail(&sb, 0, SB_PAIR_ABSENT, EADDRNOTAVAIL, 100);
    ck_assert_uint_eq(ports_used(&sb, 0), 0);
    ck_assert(!ports_is_shut(&sb, 0, 101));
    ck_assert_uint_eq(ports_trouble(&sb, 0), SB_PAIR_FINE);
}
END_TEST

START_TEST(a_pair_is_shut_for_a_while)
{
    ck_assert(!ports_is_shut(&sb, PAIR, 0));
    ports_fail(&sb, PAIR, SB_PAIR_NO_PORT, EADDRNOTAVAIL, 100);
    ck_assert(ports_is_shut(&sb, PAIR, 1099));
    ck_assert(!ports_is_shut(&sb, PAIR, 1100));
    ck_assert_uint_eq(sb.pairs[PAIR].failures, 1);
    ck_assert_uint_eq(ports_trouble(&sb, PAIR), SB_PAIR_NO_PORT);
    ck_assert_uint_eq(sb.header->sources_turned, 0);
}
END_TEST

/* For how long the next failure shuts it, as soon as it is open. */
static uint64_t next_shut_ms(enum sb_pair_trouble trouble, uint64_t *now_ms)
{
    uint64_t from_ms = *now_ms;

    ports_fail(&sb, PAIR, trouble, EADDRNOTAVAIL, *now_ms);
    ports_fail(&sb, PAIR, trouble, EADDRNOTAVAIL,
               *now_ms + 1); /* another worker's: no difference */
    *now_ms = sb.pairs[PAIR].shut_until_ms;
    return *now_ms - from_ms;
}

START_TEST(for_longer_each_time)
{
    static const uint64_t absent[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    static const uint64_t no_port[] = {1, 2, 4, 4, 4};
    uint64_t now_ms = 1;

    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        ck_assert_uint_eq(next_shut_ms(SB_PAIR_ABSENT, &now_ms), absent[i] * 1000);
    ck_assert_uint_eq(sb.header->sources_turned, 1);
    ck_assert_uint_eq(sb.pairs[PAIR].error, EADDRNOTAVAIL);
    ports_succeed(&sb, PAIR);
    ck_assert(!ports_is_shut(&sb, PAIR, now_ms - 1));
    ck_assert_uint_eq(ports_trouble(&sb, PAIR), SB_PAIR_FINE);
    ck_assert_uint_eq(sb.header->sources_turned, 2);
    ck_assert_uint_eq(next_shut_ms(SB_PAIR_ABSENT, &now_ms), 1000);
    for (size_t i = 0; i < sizeof(no_port) / sizeof(no_port[0]); i++)
        ck_assert_uint_eq(next_shut_ms(SB_PAIR_NO_PORT, &now_ms), no_port[i] * 1000);
}
END_TEST

START_TEST(a_dead_workers_are_given_back)
{
    for (int i = 0; i < 7; i++)
        ck_assert(ports_take(&sb, (uint32_t)i % 2, PAIR, 0));
    ck_assert(ports_take(&sb, 1, 9, 0));
    (void)scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(ports_used(&sb, PAIR), 4);
    ck_assert_uint_eq(ports_used(&sb, 9), 0);
    (void)scoreboard_repair(&sb, 1);
    ck_assert_uint_eq(ports_used(&sb, PAIR), 4);
    ports_give(&sb, 1, PAIR); /* its successor has none of them */
    ck_assert_uint_eq(ports_used(&sb, PAIR), 4);
}
END_TEST

START_TEST(the_last_32nd_is_left)
{
    ck_assert_uint_eq(ports_limit(28232), 28232 - 882);
    ck_assert_uint_eq(ports_limit(16), 16);
    ck_assert_uint_eq(ports_limit(0), 0);
}
END_TEST

static void work(uint32_t worker)
{
    uint32_t has = 0;
    for (int i = 0; i < 30000; i++) {
        if (i % 3 == 2 && has > 0) {
            ports_give(&sb, worker, PAIR);
            has--;
        } else {
            has += ports_take(&sb, worker, PAIR, 100);
        }
    }
    _exit((int)has);
}

START_TEST(many_at_once)
{
    uint32_t sum = 0;
    for (uint32_t w = 0; w < WORKERS; w++) {
        if (fork() == 0)
            work(w);
    }
    int status;
    while (wait(&status) > 0) {
        ck_assert(WIFEXITED(status));
        sum += (uint32_t)WEXITSTATUS(status);
    }
    ck_assert_uint_eq(ports_used(&sb, PAIR), sum);
    ck_assert_uint_le(sum, 100);
    for (uint32_t w = 0; w < WORKERS; w++)
        ports_take_out(&sb, w);
    ck_assert_uint_eq(ports_used(&sb, PAIR), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool ports");
    TCase *tcase = tcase_create("ports");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, taken_and_given_back);
    tcase_add_test(tcase, pair_0_is_not_counted);
    tcase_add_test(tcase, a_pair_is_shut_for_a_while);
    tcase_add_test(tcase, for_longer_each_time);
    tcase_add_test(tcase, a_dead_workers_are_given_back);
    tcase_add_test(tcase, the_last_32nd_is_left);
    tcase_add_test(tcase, many_at_once);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
