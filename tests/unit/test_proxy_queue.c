/*
 * Sessions that wait for a backend, where there is much of that: many at a time, and one that has
 * tried in vain more backends than it can remember.
 */
#include "proxy_bench.h"

#include <string.h>

#include "proxy/session.h"

#define MANY        150
#define MANY_A_TURN 64

static int clients[MANY];

static void come(void)
{
    for (int i = 0; i < MANY; i++) {
        clients[i] = bench_client();
        bench_turn(); /* or too many would wait to be accepted */
    }
}

static uint32_t count_waiting(void)
{
    return sb.workers[0].waiting;
}

/* Each turn some of them get on, until all have. */
static void find_turns_bounded(void)
{
    uint32_t before, most = 0, turns = 0;

    while ((before = count_waiting()) > 0) {
        bench_turn();
        most = before - count_waiting() > most ? before - count_waiting() : most;
        ck_assert_uint_le(++turns, 100);
    }
    ck_assert_uint_gt(turns, 1);
    ck_assert_uint_le(most, MANY_A_TURN);
    for (int i = 0; i < MANY; i++) {
        bench_say(clients[i], "x");
    }
    for (int i = 0; i < MANY; i++) {
        bench_hear(bench_accept(0), "x");
    }
}

START_TEST(many_wait_for_a_health)
{
    bench_check(0);
    bench_set_health(0, SB_HEALTH_UNKNOWN);
    bench_start();
    come();
    UNTIL(count_waiting() == MANY);
    bench_set_health(0, SB_HEALTH_UP);
    find_turns_bounded();
}
END_TEST

/* None is asked twice, be there ever so many, and none waits for another occasion. */
START_TEST(many_go_on_waiting_for_a_health)
{
    image.pools[0].n_backends = 2;
    bench_check(0);
    bench_check(1);
    bench_set_health(0, SB_HEALTH_UNKNOWN);
    bench_set_health(1, SB_HEALTH_UNKNOWN);
    bench_start();
    come();
    UNTIL(count_waiting() == MANY);
    bench_set_health(1, SB_HEALTH_DOWN);
    bench_settle();
    ck_assert(!proxy_busy(proxies[0]));
    ck_assert_uint_eq(count_waiting(), MANY);
    bench_set_health(0, SB_HEALTH_UP);
    find_turns_bounded();
}
END_TEST

START_TEST(many_wait_for_a_place)
{
    image.pools[0].queue = MANY;
    image.backends[0].max_connections = image.backends[0].resume_connections = 1;
    bench_start();
    ck_assert(scoreboard_reserve(&sb, 0, SB_SLOT, BENCH_SLOT(0), 0));
    come();
    UNTIL(count_waiting() == MANY);
    image.backends[0].max_connections = image.backends[0].resume_connections = 0;
    bench_apply();
    find_turns_bounded();
    scoreboard_release(&sb, 0, SB_SLOT, BENCH_SLOT(0));
}
END_TEST

/* As many as can be remembered, none of which is there any more. */
static void forget_room(struct attempt *attempt)
{
    attempt->n_tried = TRIED_MAX;
    attempt->failed_us = bench_now_ms() * 1000;
    for (uint32_t i = 0; i < TRIED_MAX; i++) {
        attempt->tried[i] = (struct choose_tried){.pool = 1, .index = (uint16_t)i};
    }
}

START_TEST(what_cannot_be_remembered_is_not_tried_for_ever)
{
    struct snapshot_backend *backend = &image.backends[0];
    image.pools[0].queue = 1;
    backend->max_connections = backend->resume_connections = 1;
    backend->n_sources = 0;
    backend->address = (struct addr){.ip.family = ADDR_UNIX, .path = "/nobody/listens/here"};
    bench_start();
    ck_assert(scoreboard_reserve(&sb, 0, SB_SLOT, BENCH_SLOT(0), 0));
    int client = bench_client();
    UNTIL(count_waiting() == 1);
    forget_room(TAILQ_FIRST(&proxies[0]->sessions)->attempt);
    scoreboard_release(&sb, 0, SB_SLOT, BENCH_SLOT(0));
    proxy_woken(proxies[0]);
    bench_settle(); /* it would never come back */
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 1);
    ck_assert_uint_eq(sb.pools[0].queued, 1);
    ck_assert(!proxy_busy(proxies[0]));
    bench_pass(1000); /* all is forgotten, and there is only this one */
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_refused(REFUSAL_CONNECT_FAILED), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/queue");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, many_wait_for_a_health);
    tcase_add_test(tc, many_go_on_waiting_for_a_health);
    tcase_add_test(tc, many_wait_for_a_place);
    tcase_add_test(tc, what_cannot_be_remembered_is_not_tried_for_ever);
    return bench_run(suite);
}
