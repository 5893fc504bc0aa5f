/*
 * Connections that may not be opened now where backends' are kept: for the connect_rate, for
 * max_connections, or for want of a port. Who needs one waits, or is refused, as it would be
 * without reuse, and idle connections make room. It is never the backend's failure.
 */
#include <errno.h>

#include "pool/ports.h"
#include "proxy_bench.h"

#define SECOND_NS UINT64_C(1000000000)

/* Two a second: sooner than those who wait look again by themselves. */
static void set_rate(uint32_t b)
{
    image.backends[b].connect_rate =
        (struct snapshot_rate){.interval_ns = SECOND_NS / 2, .burst = 1};
}

static void limit(uint32_t n)
{
    image.backends[0].max_connections = image.backends[0].resume_connections = n;
}

static void set_queue(uint32_t timeout_ms)
{
    image.pools[0].queue = 10;
    image.pools[0].queue_timeout_ms = timeout_ms;
}

static void find_no_blame(uint32_t b)
{
    ck_assert_uint_eq(sb.rows[BENCH_ROW(b)].connect_failures, 0);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(b)].retries, 0);
}

/* --- connect_rate --- */

static const struct {
    enum reuse_mode mode;
    enum framing_kind framing;
} kinds[] = {
    {REUSE_OFF, FRAMING_NONE},
    {REUSE_WARM, FRAMING_NONE},
    {REUSE_SESSION, FRAMING_LINE},
    {REUSE_REQUEST, FRAMING_LINE},
};

static void keep(int kind)
{
    if (kinds[kind].mode != REUSE_OFF) {
        bench_reuse(kinds[kind].mode, kinds[kind].framing);
    }
}

static int ask(const char *text)
{
    int client = bench_client();
    bench_say(client, text);
    return client;
}

START_TEST(too_fast_is_full)
{
    keep(_i);
    set_rate(0);
    bench_start();
    ask("ask\n");
    bench_hear(bench_accept(0), "ask\n");
    bench_hear_reset(ask("too\n"));
    ck_assert_uint_eq(bench_refused(REFUSAL_FULL), 1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    find_no_blame(0);
}
END_TEST

START_TEST(too_fast_waits_in_the_queue)
{
    keep(_i);
    set_rate(0);
    set_queue(60000);
    bench_start();
    ask("1\n");
    bench_hear(bench_accept(0), "1\n");
    ask("2\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_pass(1); /* or the two would have come at the same time */
    ask("3\n");
    UNTIL(sb.pools[0].queued == 2);
    bench_settle();
    ck_assert(!proxy_busy(proxies[0])); /* and is not tried over and over */
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    static const char *const texts[] = {"2\n", "3\n"};
    for (int i = 0; i < 2; i++) {
        bench_pass(400);
        bench_settle();
        ck_assert(!bench_is_called(0));
        bench_pass(100);
        bench_hear(bench_accept(0), texts[i]);
    }
    ck_assert_uint_eq(sb.pools[0].queued, 0);
    find_no_blame(0);
}
END_TEST

START_TEST(too_fast_for_too_long)
{
    keep(_i);
    set_rate(0);
    set_queue(400);
    bench_start();
    ask("ask\n");
    bench_accept(0);
    int other = ask("too\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_pass(399);
    ck_assert_uint_eq(sb.pools[0].queued, 1);
    bench_pass(1);
    bench_hear_reset(other);
    ck_assert_uint_eq(bench_refused(REFUSAL_QUEUE_TIMEOUT), 1);
    find_no_blame(0);
}
END_TEST

START_TEST(another_backend_is_sought)
{
    keep(_i);
    image.pools[0].n_backends = 2;
    image.pools[0].retries = 0; /* it is none */
    set_rate(0);
    bench_start();
    ask("1\n");
    ask("2\n");
    ask("3\n"); /* the first one's turn */
    bench_accept(0);
    bench_accept(1);
    bench_accept(1);
    find_no_blame(0);
}
END_TEST

/* One that has failed is passed over for a while, but one that was only too fast is not. */
START_TEST(it_is_its_turn_again_in_time)
{
    keep(_i);
    image.pools[0].n_backends = 2;
    bench_stop_listening(1);
    set_rate(0);
    set_queue(60000);
    bench_start();
    ask("1\n");
    bench_accept(0);
    ask("2\n");
    UNTIL(sb.pools[0].queued == 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(1)].connect_failures, 1);
    bench_pass(500);
    bench_hear(bench_accept(0), "2\n");
}
END_TEST

/* Full is not down. */
START_TEST(the_fallback_pool_is_not)
{
    keep(_i);
    image.service.fallback_pool = 1;
    set_rate(0);
    bench_start();
    ask("1\n");
    bench_accept(0);
    bench_hear_reset(ask("2\n"));
    ck_assert_uint_eq(bench_refused(REFUSAL_FULL), 1);
    ck_assert(!bench_is_called(2));
}
END_TEST

START_TEST(one_that_comes_back_serves_who_waits)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_rate(0);
    set_queue(60000);
    bench_start();
    int client = ask("ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    int other = ask("too\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    bench_hear(up, "too\n");
    bench_say(up, "yes\n");
    bench_hear(other, "yes\n");
    ck_assert_uint_eq(sb.pools[0].queued, 0);
    ck_assert_uint_eq(bench_cell(0)->opened, 1);
}
END_TEST

/* Under policy safe its first request needs one that is proven. Others need not wait for that. */
START_TEST(who_needs_a_fresh_one_lets_others_pass)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_rate(0);
    set_queue(60000);
    image.pools[0].reuse.policy = REUSE_SAFE;
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    ask("fresh\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_say(client, "ask\n"); /* its second */
    bench_hear(up, "ask\n");
    bench_pass(500);
    bench_hear(bench_accept(0), "fresh\n");
}
END_TEST

/* What another worker opens ahead takes nothing of the rate from those who wait. */
START_TEST(who_waits_goes_before_what_is_opened_ahead)
{
    bench_reuse(REUSE_WARM, FRAMING_NONE)->warm_min = 2;
    set_rate(0);
    set_queue(60000);
    bench_start();
    bench_accept(0);
    UNTIL(bench_cell_of(0, 0)->idle == 1);
    int client = bench_client_of(1);
    bench_say(client, "ask\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_pass(500);
    bench_hear(bench_accept(0), "ask\n");
}
END_TEST

/* --- room under max_connections --- */

/* A worker that hangs lets nothing go. */
static int want_room(void)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    limit(1);
    bench_start();
    ck_assert(scoreboard_reserve(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0), 1));
    int client = ask("ask\n");
    UNTIL(sb.slots[BENCH_SLOT(0)].wanted != 0);
    bench_pass(2999);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    return client;
}

START_TEST(room_that_does_not_come_is_full)
{
    int client = want_room();
    bench_pass(1);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_refused(REFUSAL_FULL), 1);
    find_no_blame(0);
    scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0));
}
END_TEST

START_TEST(room_that_does_not_come_is_queued_for)
{
    set_queue(10000);
    int client = want_room();
    bench_pass(1);
    UNTIL(sb.pools[0].queued == 1);
    bench_settle();
    ck_assert(!proxy_busy(proxies[0]));
    if (_i == 0) {
        bench_pass(10000);
        bench_hear_reset(client);
        ck_assert_uint_eq(bench_refused(REFUSAL_QUEUE_TIMEOUT), 1);
        scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0));
    } else {
        scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0)); /* without telling anyone */
        bench_pass(1000);
        bench_hear(bench_accept(0), "ask\n");
    }
    find_no_blame(0);
}
END_TEST

/* Its turn came, but no room with it. */
START_TEST(queue_timeout_goes_on_meanwhile)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    limit(1);
    set_queue(400);
    bench_start();
    ck_assert(scoreboard_reserve(&sb, 1, SB_SLOT, BENCH_SLOT(0), 1));
    ck_assert(scoreboard_reserve(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0), 1));
    int client = ask("ask\n");
    UNTIL(sb.pools[0].queued == 1);
    scoreboard_release(&sb, 1, SB_SLOT, BENCH_SLOT(0));
    proxy_woken(proxies[0]);
    UNTIL(sb.slots[BENCH_SLOT(0)].wanted != 0);
    bench_pass(399);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(1);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_refused(REFUSAL_QUEUE_TIMEOUT), 1);
    ck_assert_uint_eq(sb.pools[0].queued, 0);
    scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0));
}
END_TEST

START_TEST(waiting_for_room_uses_no_rate_up)
{
    image.backends[0].connect_rate =
        (struct snapshot_rate){.interval_ns = 60 * SECOND_NS, .burst = 1};
    want_room();
    scoreboard_release(&sb, 1, SB_UPSTREAM, BENCH_SLOT(0));
    bench_pass(1);
    bench_hear(bench_accept(0), "ask\n");
}
END_TEST

/* --- ports --- */

static void set_ports(uint32_t n)
{
    atomic_store(&sb.header->ports, n);
    atomic_store(&sb.header->port_first, 32768);
    atomic_store(&sb.header->port_last, 60999);
}

START_TEST(another_workers_idle_one_gives_its_port)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_ports(1);
    bench_start();
    int up = bench_serve(bench_client(), -1);
    bench_say(bench_client_of(1), "ask\n");
    bench_hear_discard(0, DISCARD_EVICTED);
    bench_hear_reset(up); /* it is free at once */
    bench_pass(1);
    bench_hear(bench_accept(0), "ask\n");
    ck_assert_uint_eq(ports_used(&sb, BENCH_PAIR(0)), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 0);
}
END_TEST

START_TEST(an_idle_one_of_no_use_gives_its_port)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->policy = REUSE_SAFE;
    set_ports(1);
    bench_start();
    int up = bench_serve(bench_client(), -1);
    bench_serve(bench_client(), -1); /* the first one is not proven yet */
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_EVICTED], 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 0);
}
END_TEST

/* A second pool's sessions towards the same address, of this worker or another. */
START_TEST(another_pools_idle_one_gives_its_port)
{
    uint32_t worker = _i == 0 ? 0 : 1;
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_ports(1);
    image.sources[BENCH_SOURCES * 2].pair = BENCH_PAIR(0);
    image.backends[2].address = image.backends[0].address;
    bench_start();
    int up = bench_serve(bench_client(), -1);
    image.service.pool = 1;
    bench_apply();
    bench_client_of(worker);
    bench_hear_reset(up);
    bench_pass(1);
    bench_accept(0);
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_EVICTED], 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(2)].ports_out, 0);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(2)].connections_total, 1);
}
END_TEST

START_TEST(where_none_is_idle_nobody_waits_for_a_port)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_ports(1);
    bench_start();
    ask("ask\n");
    bench_accept(0);
    int other = bench_client_of(1);
    bench_say(other, "too\n");
    bench_hear_reset(other);
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 1);
}
END_TEST

START_TEST(waiting_for_a_port_uses_no_rate_up)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    image.backends[0].connect_rate =
        (struct snapshot_rate){.interval_ns = 60 * SECOND_NS, .burst = 1};
    set_ports(1);
    bench_start();
    ck_assert(ports_take(&sb, 1, BENCH_PAIR(0), 1));
    atomic_store(&bench_cell_of(1, 0)->idle, 1);
    ask("ask\n");
    UNTIL(sb.slots[BENCH_SLOT(0)].wanted != 0);
    bench_pass(10);
    atomic_store(&bench_cell_of(1, 0)->idle, 0);
    ports_give(&sb, 1, BENCH_PAIR(0));
    bench_pass(1);
    bench_hear(bench_accept(0), "ask\n");
}
END_TEST

/* The kernel has said that it has none, which the end of one of ours would not change at once. */
START_TEST(where_an_address_is_shut_none_is_closed)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->policy = REUSE_SAFE;
    set_ports(10);
    bench_start();
    int up = bench_serve(bench_client(), -1);
    ports_fail(&sb, BENCH_PAIR(0), SB_PAIR_NO_PORT, EADDRNOTAVAIL, bench_now_ms());
    atomic_store(&bench_cell_of(1, 0)->idle, 1); /* nor is the other worker asked */
    bench_hear_reset(ask("ask\n"));
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    bench_hear_silence(up);
    atomic_store(&bench_cell_of(1, 0)->idle, 0);
}
END_TEST

/* A worker that hangs gives none. */
START_TEST(a_port_that_does_not_come)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    set_ports(1);
    bench_start();
    ck_assert(ports_take(&sb, 1, BENCH_PAIR(0), 1));
    atomic_store(&bench_cell_of(1, 0)->idle, 1);
    int client = ask("ask\n");
    UNTIL(sb.slots[BENCH_SLOT(0)].wanted != 0);
    bench_pass(2999);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 0);
    bench_pass(1);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 1);
    find_no_blame(0);
    atomic_store(&bench_cell_of(1, 0)->idle, 0);
    ports_give(&sb, 1, BENCH_PAIR(0));
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(void)
{
    Suite *suite = suite_create("proxy/room");
    TCase *tc = bench_case(suite, "rate", bench_setup_one);
    tcase_add_loop_test(tc, too_fast_is_full, 0, COUNT(kinds));
    tcase_add_loop_test(tc, too_fast_waits_in_the_queue, 0, COUNT(kinds));
    tcase_add_loop_test(tc, too_fast_for_too_long, 0, COUNT(kinds));
    tcase_add_loop_test(tc, another_backend_is_sought, 0, COUNT(kinds));
    tcase_add_loop_test(tc, it_is_its_turn_again_in_time, 0, COUNT(kinds));
    tcase_add_loop_test(tc, the_fallback_pool_is_not, 0, COUNT(kinds));
    tcase_add_test(tc, one_that_comes_back_serves_who_waits);
    tcase_add_test(tc, who_needs_a_fresh_one_lets_others_pass);
    tcase_add_test(tc, an_idle_one_of_no_use_gives_its_port);
    tc = bench_case(suite, "two workers", bench_setup_two);
    tcase_add_test(tc, who_waits_goes_before_what_is_opened_ahead);
    tcase_add_test(tc, room_that_does_not_come_is_full);
    tcase_add_loop_test(tc, room_that_does_not_come_is_queued_for, 0, 2);
    tcase_add_test(tc, queue_timeout_goes_on_meanwhile);
    tcase_add_test(tc, waiting_for_a_port_uses_no_rate_up);
    tcase_add_test(tc, where_an_address_is_shut_none_is_closed);
    tcase_add_test(tc, waiting_for_room_uses_no_rate_up);
    tcase_add_test(tc, another_workers_idle_one_gives_its_port);
    tcase_add_loop_test(tc, another_pools_idle_one_gives_its_port, 0, 2);
    tcase_add_test(tc, where_none_is_idle_nobody_waits_for_a_port);
    tcase_add_test(tc, a_port_that_does_not_come);
    return bench_run(suite);
}
