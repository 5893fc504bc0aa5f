/*
 * Upstreams opened ahead: how many, how fast, in what order of events; what they are worth in mode
 * warm, where each serves one session, and in the others.
 */
#include "proxy_bench.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Mode warm, with n kept ready. */
static struct snapshot_reuse *warm(uint32_t n)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_WARM, FRAMING_NONE);
    reuse->warm_min = n;
    return reuse;
}

static void find_none_called(void)
{
    bench_settle();
    ck_assert(!bench_is_called(0));
}

START_TEST(some_are_ready_before_the_first_client)
{
    warm(2)->max_idle = 2;
    bench_start();
    int ups[] = {bench_accept(0), bench_accept(0)};
    UNTIL(bench_cell(0)->idle == 2);
    find_none_called();
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    int client = bench_client();
    bench_say(client, "hello");
    bench_hear(ups[1], "hello"); /* the newest */
    bench_say(ups[1], "hi");
    bench_hear(client, "hi");
    bench_accept(0); /* in its place */
    UNTIL(bench_cell(0)->idle == 2);
    ck_assert_uint_eq(bench_row(0)->warm, 1);
    ck_assert_uint_eq(bench_cell(0)->opened, 0);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connections_total, 1);
}
END_TEST

START_TEST(each_serves_one_session)
{
    warm(1);
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    int client = bench_client();
    bench_say(client, "hello");
    bench_hear(up, "hello");
    bench_say(up, "hi");
    bench_hear(client, "hi");
    bench_end(client);
    bench_hear_end(up); /* passed on: each direction closes by itself */
    bench_say(up, "bye");
    bench_end(up);
    bench_hear(client, "bye");
    bench_hear_end(client);
    UNTIL(bench_ended(ENDING_CLIENT_FIN) == 1);
    bench_accept(0);
    find_none_called();
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
    ck_assert_uint_eq(bench_discards(0), 0); /* it was never to be kept */
}
END_TEST

START_TEST(when_none_is_ready_one_is_opened)
{
    warm(1);
    bench_start();
    bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_client();
    bench_client();
    UNTIL(bench_row(0)->warm + bench_cell(0)->opened == 2); /* both come in one turn */
    ck_assert_uint_eq(bench_row(0)->warm, 1);
    ck_assert_uint_eq(bench_cell(0)->lent, 2);
}
END_TEST

START_TEST(a_greeting_waits_for_its_client)
{
    warm(1);
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_say(up, "220 ready\r\n");
    bench_settle();
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
    int client = bench_client();
    bench_hear(client, "220 ready\r\n");
    ck_assert_uint_eq(bench_row(0)->warm, 1);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, 0);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_FINE);
    bench_say(client, "QUIT\r\n");
    bench_hear(up, "QUIT\r\n");
}
END_TEST

/* One that has greeted and then gone is gone. */
START_TEST(one_that_ends_is_replaced)
{
    warm(1);
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(300);
    if (_i == 1) {
        bench_say(up, "220 ready\r\n");
        bench_settle();
    }
    if (_i == 2) {
        bench_reset(up);
    } else {
        bench_close(up);
    }
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
}
END_TEST

/* Who closes at once would do so again. */
START_TEST(one_that_ends_at_once_is_replaced_a_second_later)
{
    warm(1);
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(100);
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_pass(900);
    find_none_called();
    bench_pass(200);
    bench_accept(0);
}
END_TEST

START_TEST(a_refused_opening_is_tried_again_a_second_later)
{
    warm(3);
    bench_stop_listening(0);
    bench_start();
    UNTIL(bench_row(0)->open_failures > 0);
    bench_settle();
    uint64_t n = bench_row(0)->open_failures;
    ck_assert_uint_le(n, 3);
    bench_pass(900);
    bench_settle();
    ck_assert_uint_eq(bench_row(0)->open_failures, n);
    bench_pass(200);
    UNTIL(bench_row(0)->open_failures > n);
    ck_assert_uint_eq(bench_discards(0), 0);
    image.backends[0].address = image.backends[1].address;
    bench_apply();
    bench_pass(1100);
    bench_accept(1);
}
END_TEST

/* Connections to backend 0 are never answered: its backlog is full. Each holds a place. */
static void hang(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = bench_remember(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int first = bench_remember(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(fd, 0), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    ck_assert_int_eq(connect(first, (struct sockaddr *)&at, len), 0);
    addr_from_sockaddr((struct sockaddr *)&at, len, &image.backends[0].address);
    image.backends[0].max_connections = image.backends[0].resume_connections = 9;
}

START_TEST(an_opening_that_hangs_is_given_up)
{
    warm(1);
    hang();
    bench_start();
    UNTIL(sb.slot_upstreams[BENCH_SLOT(0)] == 1);
    bench_settle();
    bench_pass(2900);
    ck_assert_uint_eq(bench_row(0)->open_failures, 0);
    bench_pass(200);
    ck_assert_uint_eq(bench_row(0)->open_failures, 1);
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 0);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
}
END_TEST

START_TEST(what_is_being_opened_ends_with_its_backend)
{
    warm(1);
    hang();
    bench_check(0);
    bench_start();
    UNTIL(sb.slot_upstreams[BENCH_SLOT(0)] == 1);
    bench_set_health(0, SB_HEALTH_DOWN);
    UNTIL(sb.slot_upstreams[BENCH_SLOT(0)] == 0);
    bench_pass(4000);
    ck_assert_uint_eq(bench_row(0)->open_failures, 0);
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

START_TEST(none_is_opened_while_the_backend_is_down)
{
    warm(1);
    bench_check(0);
    bench_set_health(0, SB_HEALTH_DOWN);
    bench_start();
    bench_pass(1000);
    find_none_called();
    bench_set_health(0, SB_HEALTH_UP);
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_set_health(0, SB_HEALTH_DOWN);
    bench_hear_discard(0, DISCARD_NOT_UP);
    bench_hear_end(up);
    bench_pass(1000);
    find_none_called();
}
END_TEST

START_TEST(a_worker_that_stops_opens_no_more)
{
    warm(1);
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    proxy_drain(proxies[0], UINT64_MAX);
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_pass(1000);
    find_none_called();
}
END_TEST

START_TEST(the_connect_rate_holds_for_them_too)
{
    warm(3);
    image.backends[0].connect_rate = (struct snapshot_rate){.interval_ns = 1000000000, .burst = 1};
    bench_start();
    bench_accept(0);
    find_none_called();
    for (int i = 0; i < 2; i++) {
        bench_pass(1000);
        bench_accept(0);
        find_none_called();
    }
    ck_assert_uint_eq(bench_cell(0)->idle, 3);
}
END_TEST

START_TEST(they_stay_within_max_connections)
{
    warm(3);
    image.backends[0].max_connections = image.backends[0].resume_connections = 2;
    bench_start();
    int ups[] = {bench_accept(0), bench_accept(0)};
    UNTIL(bench_cell(0)->idle == 2);
    bench_pass(1100);
    find_none_called();
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 2);
    ck_assert_uint_eq(bench_row(0)->open_failures, 0); /* full is no failure */
    int client = bench_client();
    bench_say(client, "hello");
    bench_hear(ups[1], "hello");
    bench_pass(1100);
    find_none_called(); /* what is lent holds its place */
    ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(0)], 2);
    bench_close(client);
    bench_close(ups[1]);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    bench_pass(1100);
    bench_accept(0);
}
END_TEST

START_TEST(the_proxy_header_comes_with_the_client)
{
    warm(1);
    image.pools[0].send_proxy = SEND_PROXY_V1;
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_hear_silence(up);
    int client = bench_client();
    bench_say(client, "hello");
    struct sockaddr_in own, other;
    socklen_t len = sizeof(own);
    ck_assert_int_eq(getsockname(client, (struct sockaddr *)&own, &len), 0);
    ck_assert_int_eq(getpeername(client, (struct sockaddr *)&other, &len), 0);
    char expected[128];
    snprintf(expected, sizeof(expected), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\nhello",
             ntohs(own.sin_port), ntohs(other.sin_port));
    bench_hear(up, expected);
}
END_TEST

START_TEST(idle_time_and_age_renew_them)
{
    struct snapshot_reuse *reuse = warm(1);
    reuse->idle_max_ms = _i == 0 ? 5000 : 0;
    reuse->max_age_ms = _i == 0 ? 0 : 5000;
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(3900);
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_pass(1200);
    bench_hear_discard(0, _i == 0 ? DISCARD_IDLE_MAX : DISCARD_MAX_AGE);
    bench_hear_end(up);
    bench_accept(0);
    find_none_called();
}
END_TEST

/* --- in the other modes --- */

START_TEST(opened_ahead_and_then_kept)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE)->warm_min = 1;
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    int client = bench_client();
    bench_say(client, "ask\n");
    bench_hear(up, "ask\n");
    int second = bench_accept(0); /* while it is lent there is none ready */
    UNTIL(bench_cell(0)->idle == 1);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    ck_assert_uint_eq(bench_cell(0)->idle, 2);
    bench_serve(bench_client(), up);
    bench_hear_silence(second);
    ck_assert_uint_eq(bench_row(0)->warm, 1);
    ck_assert_uint_eq(bench_cell(0)->reused, 1);
    ck_assert_uint_eq(bench_cell(0)->opened, 0);
}
END_TEST

/* Or it would have to be closed for the one that comes back, over and over. */
START_TEST(what_is_expected_back_is_not_replaced)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    reuse->warm_min = reuse->max_idle = 2;
    bench_start();
    int ups[] = {bench_accept(0), bench_accept(0)};
    UNTIL(bench_cell(0)->idle == 2);
    int client = bench_client();
    for (int i = 0; i < 3; i++) {
        bench_say(client, "ask\n");
        bench_hear(ups[1], "ask\n");
        bench_pass(200);
        find_none_called();
        bench_say(ups[1], "answer\n");
        bench_hear(client, "answer\n");
    }
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_say(client, "ask\n");
    bench_hear(ups[1], "ask\n");
    bench_close(ups[1]); /* it does not come back */
    bench_accept(0);
    UNTIL(bench_cell(0)->idle == 2);
}
END_TEST

START_TEST(what_a_client_keeps_is_replaced)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_REQUEST, FRAMING_RESP);
    reuse->warm_min = reuse->max_idle = 1;
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    int client = bench_client();
    bench_say(client, "SUBSCRIBE a\r\n");
    bench_hear(up, "SUBSCRIBE a\r\n");
    bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
}
END_TEST

/* However they come to be there. */
START_TEST(no_more_are_idle_than_may_be)
{
    struct snapshot_reuse *reuse = warm(3);
    reuse->max_idle = 3;
    image.backends[0].max_connections = image.backends[0].resume_connections = 9;
    bench_start();
    UNTIL(sb.slot_upstreams[BENCH_SLOT(0)] == 3);
    if (_i == 0) {
        UNTIL(bench_cell(0)->idle == 3);
    } else {
        ck_assert_uint_eq(bench_cell(0)->idle, 0); /* they are being opened */
    }
    reuse->warm_min = reuse->max_idle = 1;
    bench_apply();
    UNTIL(sb.slot_upstreams[BENCH_SLOT(0)] == 1);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_MAX_IDLE], 2);
    bench_pass(2000);
    ck_assert_uint_eq(bench_discards(0), 2);
}
END_TEST

/* A fresh one is as good as proven: it has not had the time to grow stale. */
START_TEST(opened_ahead_is_good_for_any_request)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    reuse->policy = REUSE_SAFE;
    reuse->warm_min = 1;
    bench_start();
    int up = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_serve(bench_client(), up);
    ck_assert_uint_eq(bench_row(0)->warm, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/warm");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, some_are_ready_before_the_first_client);
    tcase_add_test(tc, each_serves_one_session);
    tcase_add_test(tc, when_none_is_ready_one_is_opened);
    tcase_add_test(tc, a_greeting_waits_for_its_client);
    tcase_add_loop_test(tc, one_that_ends_is_replaced, 0, 3);
    tcase_add_test(tc, one_that_ends_at_once_is_replaced_a_second_later);
    tcase_add_test(tc, a_refused_opening_is_tried_again_a_second_later);
    tcase_add_test(tc, an_opening_that_hangs_is_given_up);
    tcase_add_test(tc, none_is_opened_while_the_backend_is_down);
    tcase_add_test(tc, what_is_being_opened_ends_with_its_backend);
    tcase_add_test(tc, a_worker_that_stops_opens_no_more);
    tcase_add_test(tc, the_connect_rate_holds_for_them_too);
    tcase_add_test(tc, they_stay_within_max_connections);
    tcase_add_test(tc, the_proxy_header_comes_with_the_client);
    tcase_add_loop_test(tc, idle_time_and_age_renew_them, 0, 2);
    tcase_add_test(tc, opened_ahead_and_then_kept);
    tcase_add_test(tc, what_is_expected_back_is_not_replaced);
    tcase_add_test(tc, what_a_client_keeps_is_replaced);
    tcase_add_loop_test(tc, no_more_are_idle_than_may_be, 0, 2);
    tcase_add_test(tc, opened_ahead_is_good_for_any_request);
    return bench_run(suite);
}
