/*
 * Upstreams on their shelves: who gets which, how they are watched while nobody has them, what ends
 * them. Lines go over them, request by request.
 */
#include "proxy_bench.h"

#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Waits until worker 0 has that many clients. */
static void await_clients(size_t n)
{
    UNTIL(proxy_sessions(proxies[0]) == n);
}

START_TEST(an_upstream_goes_from_client_to_client)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int first = bench_client();
    int up = bench_serve(first, -1);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
    ck_assert_uint_eq(bench_cell(0)->lent, 0);
    bench_serve(bench_client(), up);
    bench_serve(first, up);
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_cell(0)->opened, 1);
    ck_assert_uint_eq(bench_cell(0)->reused, 2);
    ck_assert_uint_eq(bench_cell(0)->requests, 3);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connections_total, 2);
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 0); /* no limit: not counted */
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

START_TEST(only_what_is_asked_counts_as_load)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    await_clients(1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    ck_assert(!bench_is_called(0));
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    ck_assert_uint_eq(bench_cell(0)->lent, 1);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
    ck_assert_uint_eq(sb.services[0].active, 1);
}
END_TEST

START_TEST(the_newest_is_lent_first)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int clients[3], ups[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = bench_client();
        bench_say(clients[i], "ask\n");
        ups[i] = bench_accept(0);
        bench_hear(ups[i], "ask\n");
    }
    static const int order[] = {1, 2, 0};
    for (int i = 0; i < 3; i++) {
        bench_say(ups[order[i]], "answer\n");
        bench_hear(clients[order[i]], "answer\n");
    }
    ck_assert_uint_eq(bench_cell(0)->idle, 3);
    for (int i = 2; i >= 0; i--) {
        bench_say(clients[0], "again\n");
        bench_hear(ups[order[i]], "again\n");
        bench_reset(ups[order[i]]);
        bench_hear_reset(clients[0]);
        bench_close(clients[0]);
        clients[0] = bench_client();
    }
}
END_TEST

/* Idle ones are of no weight: backends take turns, and only then one is borrowed. */
START_TEST(the_scheduler_comes_first)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    image.pools[0].n_backends = 2;
    bench_start();
    int client = bench_client();
    bench_say(client, "ask\n");
    UNTIL(bench_is_called(0) || bench_is_called(1));
    uint32_t b = bench_is_called(0) ? 0 : 1;
    int ups[] = {bench_accept(b), -1};
    for (int turn = 0; turn < 5; turn++) {
        if (turn > 0) {
            bench_say(client, "ask\n");
        }
        if (turn == 1) {
            ups[1] = bench_accept(1 - b);
        }
        bench_hear(ups[turn % 2], "ask\n");
        bench_say(ups[turn % 2], "answer\n");
        bench_hear(client, "answer\n");
    }
    ck_assert_uint_eq(bench_cell(0)->opened, 1);
    ck_assert_uint_eq(bench_cell(1)->opened, 1);
}
END_TEST

/* --- watched while idle --- */

static const enum discard troubles[] = {DISCARD_STRAY_BYTES, DISCARD_BACKEND_CLOSED,
                                        DISCARD_BACKEND_CLOSED};

static void trouble(int i, int up)
{
    if (i == 0) {
        bench_say(up, "boo");
    } else if (i == 1) {
        bench_close(up);
    } else {
        bench_reset(up);
    }
}

START_TEST(an_idle_one_in_trouble_is_discarded)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    trouble(_i, up);
    bench_hear_discard(0, troubles[_i]);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, _i == 0 ? 3 : 0);
    ck_assert_uint_eq(bench_row(0)->stale, 0);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_FINE);
    bench_serve(client, -1);
}
END_TEST

/* The request comes first, so nothing has told of the trouble before it is looked for. */
START_TEST(one_in_trouble_is_not_lent)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_settle();
    bench_say(client, "ask\n");
    trouble(_i, up);
    up = bench_accept(0);
    bench_hear(up, "ask\n");
    ck_assert_uint_eq(bench_row(0)->stale, 1);
    bench_hear_discard(0, troubles[_i]);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
}
END_TEST

/* --- what ends them --- */

static void go_down(void)
{
    bench_set_health(0, SB_HEALTH_DOWN);
}

static void be_maintained(void)
{
    image.backends[0].admin = ADMIN_MAINTENANCE;
    bench_apply();
}

static void drain(void)
{
    image.backends[0].admin = ADMIN_DRAIN;
    bench_apply();
}

static void weigh_nothing(void)
{
    image.backends[0].weight = 0;
    bench_apply();
}

static void change_settings(void)
{
    image.pools[0].reuse.settings++;
    bench_apply();
}

static void remove_backend(void)
{
    image.pools[0].first_backend = 1;
    bench_apply();
}

static void change_address(void)
{
    image.backends[0].address = image.backends[1].address;
    image.backends[0].slot = 99;
    bench_apply();
}

static void switch_reuse_off(void)
{
    image.pools[0].reuse = (struct snapshot_reuse){0};
    bench_apply();
}

static const struct {
    void (*happen)(void);
    enum discard reason;
} changes[] = {
    {go_down, DISCARD_NOT_UP},
    {be_maintained, DISCARD_NOT_UP},
    {drain, DISCARD_NOT_UP},
    {weigh_nothing, DISCARD_NOT_UP},
    {change_settings, DISCARD_CHANGED},
    {remove_backend, DISCARD_CHANGED},
    {change_address, DISCARD_CHANGED},
    {switch_reuse_off, DISCARD_CHANGED},
};

START_TEST(idle_ones_go_at_once)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_check(0);
    bench_start();
    int up = bench_serve(bench_client(), -1);
    changes[_i].happen();
    bench_hear_discard(0, changes[_i].reason);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
    bench_hear_end(up);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
}
END_TEST

START_TEST(lent_ones_go_when_they_come_back)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_check(0);
    bench_start();
    int client = bench_client();
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    changes[_i].happen();
    bench_settle();
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    bench_hear_discard(0, changes[_i].reason);
    bench_hear_end(up);
    ck_assert_uint_eq(bench_cell(0)->lent, 0);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
}
END_TEST

START_TEST(a_new_snapshot_alone_ends_nothing)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    image.pools[0].reuse.max_idle++;
    bench_apply();
    bench_serve(client, up);
    bench_apply();
    bench_serve(bench_client(), up);
}
END_TEST

/* --- with another worker --- */

START_TEST(what_one_worker_learns_all_heed)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->warm_min = 1;
    bench_start();
    int ups[] = {bench_accept(0), bench_accept(0)};
    UNTIL(bench_cell_of(0, 0)->idle == 1 && bench_cell_of(1, 0)->idle == 1);
    bench_say(ups[_i], "220 ready\n");
    bench_settle();
    bench_pass(1100);
    UNTIL(bench_discards(0) >= 1);
    bench_pass(100); /* the other one looks now and then */
    UNTIL(bench_discards(0) == 2);
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_STRAY_BYTES], 1);
    bench_pass(2000);
    bench_settle();
    ck_assert(!bench_is_called(0));
}
END_TEST

START_TEST(workers_keep_their_own)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int up = bench_serve(bench_client_of(0), -1);
    int other = bench_serve(bench_client_of(1), -1);
    bench_serve(bench_client_of(0), up);
    bench_serve(bench_client_of(1), other);
    ck_assert_uint_eq(bench_cell_of(0, 0)->idle, 1);
    ck_assert_uint_eq(bench_cell_of(1, 0)->idle, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/upstream");
    TCase *tc = bench_case(suite, "one worker", bench_setup_one);
    tcase_add_test(tc, an_upstream_goes_from_client_to_client);
    tcase_add_test(tc, only_what_is_asked_counts_as_load);
    tcase_add_test(tc, the_newest_is_lent_first);
    tcase_add_test(tc, the_scheduler_comes_first);
    tcase_add_loop_test(tc, an_idle_one_in_trouble_is_discarded, 0, COUNT(troubles));
    tcase_add_loop_test(tc, one_in_trouble_is_not_lent, 0, COUNT(troubles));
    tcase_add_loop_test(tc, idle_ones_go_at_once, 0, COUNT(changes));
    tcase_add_loop_test(tc, lent_ones_go_when_they_come_back, 0, COUNT(changes));
    tcase_add_test(tc, a_new_snapshot_alone_ends_nothing);
    tc = bench_case(suite, "two workers", bench_setup_two);
    tcase_add_loop_test(tc, what_one_worker_learns_all_heed, 0, 2);
    tcase_add_test(tc, workers_keep_their_own);
    return bench_run(suite);
}
