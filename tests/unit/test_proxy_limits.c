/*
 * Limits of upstreams: of their uses, age and idle time, of how many are kept, and of how many
 * connections their backend takes, where idle ones make room for those that are needed.
 */
#include "proxy_bench.h"

START_TEST(uses_are_counted)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->max_uses = 2;
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_serve(client, up);
    bench_hear_discard(0, DISCARD_MAX_USES);
    bench_hear_end(up);
    bench_serve(client, -1);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
}
END_TEST

START_TEST(age_ends_idle_ones_and_lent_ones_on_return)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->max_age_ms = 10000;
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_pass(8000); /* of 10 s, at most a fifth less */
    if (_i == 1) {
        bench_say(client, "ask\n");
        bench_hear(up, "ask\n");
    }
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_pass(2000);
    if (_i == 1) {
        bench_settle();
        ck_assert_uint_eq(bench_discards(0), 0);
        bench_say(up, "answer\n");
        bench_hear(client, "answer\n");
    }
    bench_hear_discard(0, DISCARD_MAX_AGE);
    bench_hear_end(up);
}
END_TEST

/* Or what was opened together would have to be opened together again. */
START_TEST(ages_differ)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_WARM, FRAMING_NONE);
    reuse->warm_min = 32;
    reuse->max_age_ms = 10000;
    bench_start();
    UNTIL(bench_cell(0)->idle == 32);
    bench_pass(8000);
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_pass(1000);
    ck_assert_uint_gt(bench_discards(0), 0); /* all alike: once in 2^32 times */
    ck_assert_uint_lt(bench_discards(0), 32);
    bench_pass(1000);
    ck_assert_uint_eq(bench_discards(0), 32);
}
END_TEST

START_TEST(idle_time_ends_idle_ones_alone)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->idle_max_ms = 5000;
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_pass(4900);
    bench_say(client, "ask\n");
    bench_hear(up, "ask\n");
    bench_pass(9000);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    bench_pass(4900);
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_pass(200);
    bench_hear_discard(0, DISCARD_IDLE_MAX);
    bench_hear_end(up);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
}
END_TEST

START_TEST(no_more_than_enough_are_kept)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->max_idle = 1;
    bench_start();
    int clients[2], ups[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = bench_client();
        bench_say(clients[i], "ask\n");
        ups[i] = bench_accept(0);
        bench_hear(ups[i], "ask\n");
    }
    for (int i = 0; i < 2; i++) {
        bench_say(ups[i], "answer\n");
        bench_hear(clients[i], "answer\n");
    }
    bench_hear_discard(0, DISCARD_MAX_IDLE);
    /* The newest stays: what is old may be of a kind that nobody asks for any more. */
    bench_hear_end(ups[0]);
    bench_serve(clients[1], ups[1]);
}
END_TEST

/* --- max_connections --- */

static void limit(uint32_t n)
{
    image.backends[0].max_connections = image.backends[0].resume_connections = n;
}

START_TEST(idle_ones_count_and_make_room)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->policy = REUSE_SAFE;
    limit(2);
    bench_start();
    int ups[2];
    ups[0] = bench_serve(bench_client(), -1);
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 1);
    ups[1] = bench_serve(bench_client(), -1); /* the first one is not proven yet */
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 2);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    bench_serve(bench_client(), -1);
    bench_hear_discard(0, DISCARD_EVICTED);
    bench_hear_end(ups[0]); /* the oldest */
    bench_hear_silence(ups[1]);
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 2);
    ck_assert_uint_eq(bench_cell(0)->idle, 2);
}
END_TEST

/* It is of connections, not of requests. */
START_TEST(the_connect_rate_holds_for_new_ones)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    image.backends[0].connect_rate = (struct snapshot_rate){.interval_ns = 1000000000, .burst = 1};
    image.pools[0].queue = 1;
    bench_start();
    int client = bench_client(), other = bench_client();
    int up = bench_serve(client, -1);
    bench_serve(other, up);
    bench_say(client, "ask\n");
    bench_hear(up, "ask\n");
    bench_say(other, "too\n");
    bench_settle();
    ck_assert(!bench_is_called(0));
    bench_pass(1000);
    bench_pass(1);
    bench_hear(bench_accept(0), "too\n");
    ck_assert_uint_eq(bench_cell(0)->opened, 2);
    ck_assert_uint_eq(bench_cell(0)->reused, 2);
}
END_TEST

START_TEST(lent_ones_are_never_in_excess)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    limit(1);
    bench_start();
    int client = bench_client(), other = bench_client();
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    bench_say(other, "me too\n");
    bench_hear_reset(other);
    ck_assert_uint_eq(bench_refused(REFUSAL_FULL), 1);
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 1);
}
END_TEST

START_TEST(another_workers_idle_one_makes_room)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    limit(1);
    bench_start();
    int up = bench_serve(bench_client(), -1);
    int other = bench_client_of(1);
    bench_say(other, "ask\n");
    bench_hear_discard(0, DISCARD_EVICTED);
    bench_hear_end(up);
    ck_assert_uint_eq(bench_cell_of(0, 0)->idle, 0);
    bench_pass(1);
    up = bench_accept(0);
    bench_hear(up, "ask\n");
    ck_assert_uint_eq(bench_cell_of(1, 0)->lent, 1);
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 1);
    bench_say(up, "answer\n");
    bench_hear(other, "answer\n");
    /* and back again */
    bench_say(bench_client(), "ask\n");
    bench_hear_discard(0, DISCARD_EVICTED);
    bench_pass(1);
    bench_hear(bench_accept(0), "ask\n");
}
END_TEST

START_TEST(who_gives_up_waiting_for_room_leaves_nothing)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    limit(1);
    bench_start();
    int client = bench_client();
    bench_serve(client, bench_serve(client, -1)); /* by now its end is watched */
    bench_settle();
    image.pools[0].reuse.settings++;
    bench_apply();
    bench_hear_discard(0, DISCARD_CHANGED);
    ck_assert(scoreboard_reserve(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0), 1));
    bench_say(client, "ask\n");
    UNTIL(sb.slots[BENCH_SLOT(0)].wanted == 1);
    bench_reset(client);
    UNTIL(bench_refused(REFUSAL_CLIENT_GONE) == 1);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 0);
    bench_pass(5000);
    scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/limits");
    TCase *tc = bench_case(suite, "one worker", bench_setup_one);
    tcase_add_test(tc, uses_are_counted);
    tcase_add_loop_test(tc, age_ends_idle_ones_and_lent_ones_on_return, 0, 2);
    tcase_add_test(tc, ages_differ);
    tcase_add_test(tc, idle_time_ends_idle_ones_alone);
    tcase_add_test(tc, no_more_than_enough_are_kept);
    tcase_add_test(tc, idle_ones_count_and_make_room);
    tcase_add_test(tc, the_connect_rate_holds_for_new_ones);
    tcase_add_test(tc, lent_ones_are_never_in_excess);
    tc = bench_case(suite, "two workers", bench_setup_two);
    tcase_add_test(tc, another_workers_idle_one_makes_room);
    tcase_add_test(tc, who_gives_up_waiting_for_room_leaves_nothing);
    return bench_run(suite);
}
