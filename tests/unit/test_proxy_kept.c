/*
 * Sessions with a framing and what is around them: those that keep their upstream from request to
 * request, queues, leases and the fate of sessions, fallback pools of another kind, new
 * configurations.
 */
#include "proxy_bench.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct sb_upstream_cell *cell;

static void start(enum reuse_mode mode)
{
    bench_reuse(mode, FRAMING_LINE);
    bench_start();
    cell = bench_cell(0);
}

/* --- mode session --- */

START_TEST(a_session_keeps_its_upstream_between_requests)
{
    start(REUSE_SESSION);
    int client = bench_client(), other = bench_client();
    int up = bench_serve(client, -1);
    ck_assert_uint_eq(cell->lent, 1);
    ck_assert_uint_eq(cell->idle, 0);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    int second = bench_serve(other, -1);
    for (int i = 0; i < 3; i++) {
        bench_serve(client, up);
        bench_serve(other, second);
    }
    bench_end(client);
    bench_hear_end(client);
    ck_assert_uint_eq(cell->idle, 1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    bench_serve(bench_client(), up);
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(cell->reused, 1);
    ck_assert_uint_eq(cell->requests, 9);
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

START_TEST(an_end_amid_a_request_gives_it_back_after_the_answer)
{
    start(REUSE_SESSION);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_say(client, "ask\n");
    bench_end(client);
    bench_hear(up, "ask\n");
    bench_hear_silence(up);
    ck_assert_uint_eq(cell->idle, 0);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    bench_hear_end(client);
    bench_serve(bench_client(), up);
}
END_TEST

START_TEST(a_reset_gives_nothing_back)
{
    start(REUSE_SESSION);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_settle();
    bench_reset(client);
    bench_hear_reset(up);
    bench_hear_discard(0, DISCARD_SESSION_END);
    ck_assert_uint_eq(cell->idle, 0);
}
END_TEST

START_TEST(its_upstream_may_end_between_requests)
{
    start(REUSE_SESSION);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    bench_serve(client, -1);
}
END_TEST

/* The client's next request comes first, and finds what has come on it meanwhile. */
START_TEST(a_kept_one_is_looked_at_before_the_next_request)
{
    static const enum discard reasons[] = {DISCARD_BACKEND_CLOSED, DISCARD_BACKEND_CLOSED,
                                           DISCARD_STRAY_BYTES};
    start(REUSE_SESSION);
    int first = bench_client();
    int up = bench_serve(first, -1);
    bench_close(first);
    UNTIL(cell->idle == 1);
    int client = bench_client();
    bench_serve(client, up);
    bench_settle();
    bench_say(client, "ask\n");
    if (_i == 0) {
        bench_close(up);
    } else if (_i == 1) {
        bench_reset(up);
    } else {
        bench_say(up, "stray\n");
    }
    bench_hear_discard(0, reasons[_i]);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, _i == 2 ? strlen("stray\n") : 0);
    int next = bench_accept(0);
    bench_hear(next, "ask\n");
    bench_say(next, "answer\n");
    bench_hear(client, "answer\n");
}
END_TEST

/* They can only be for the client that has it. */
START_TEST(what_comes_unasked_is_the_sessions_own)
{
    start(REUSE_SESSION);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_say(up, "by the way\n");
    bench_hear(client, "by the way\n");
    bench_serve(client, up);
    ck_assert_str_eq(sb.pools[0].pin_command, "unasked");
    bench_close(client);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_discard(0, DISCARD_OWNED);
}
END_TEST

START_TEST(only_request_mode_sends_again)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    bench_reuse(REUSE_SESSION, FRAMING_HTTP1);
    bench_start();
    int client = bench_client();
    bench_say(client, get);
    int up = bench_accept(0);
    bench_hear(up, get);
    bench_close(up);
    bench_hear_reset(client);
    bench_settle();
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_row(0)->ambiguous, 1);
}
END_TEST

/* --- whom a request goes to --- */

START_TEST(a_lease_holds_for_each_request)
{
    image.pools[0].n_backends = 2;
    image.service.persistence_ms = 60000;
    image.service.persistence_mask = 32;
    image.service.persistence_mask6 = 128;
    start(REUSE_REQUEST);
    int client = bench_client();
    bench_say(client, "ask\n");
    UNTIL(bench_is_called(0) || bench_is_called(1));
    uint32_t b = bench_is_called(0) ? 0 : 1;
    int up = bench_accept(b);
    bench_hear(up, "ask\n");
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    for (int i = 0; i < 3; i++) {
        bench_serve(i == 2 ? bench_client() : client, up);
    }
    ck_assert_uint_eq(bench_cell(1 - b)->requests, 0);
}
END_TEST

START_TEST(a_request_waits_for_a_place_and_takes_what_is_there)
{
    image.pools[0].queue = 10;
    image.backends[0].max_connections = image.backends[0].resume_connections = 1;
    start(REUSE_REQUEST);
    int client = bench_client(), other = bench_client();
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    bench_say(other, "me too\n");
    UNTIL(sb.pools[0].queued == 1);
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    bench_hear(up, "me too\n");
    bench_say(up, "yes\n");
    bench_hear(other, "yes\n");
    ck_assert_uint_eq(sb.pools[0].queued, 0);
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(cell->reused, 1);
}
END_TEST

START_TEST(only_who_is_at_a_backend_falls_with_it)
{
    image.pools[0].on_down = SESSIONS_CLOSE;
    bench_check(0);
    start(REUSE_REQUEST);
    int client = bench_client(), other = bench_client();
    int up = bench_serve(other, -1);
    bench_say(client, "ask\n");
    bench_hear(up, "ask\n");
    bench_set_health(0, SB_HEALTH_DOWN);
    bench_hear_reset(client);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DOWN), 1);
    bench_hear_silence(other);
    bench_set_health(0, SB_HEALTH_UP);
    bench_serve(other, -1);
}
END_TEST

START_TEST(a_worker_that_stops_closes_behind_the_answer)
{
    start(_i == 0 ? REUSE_REQUEST : REUSE_SESSION);
    int client = bench_client();
    bench_say(client, "one\ntwo\n");
    int up = bench_accept(0);
    bench_hear(up, "one\n");
    proxy_drain(proxies[0], UINT64_MAX);
    bench_say(up, "1\n");
    bench_hear(client, "1\n");
    bench_hear(up, "two\n"); /* what it has taken it answers */
    bench_say(up, "2\n");
    bench_hear(client, "2\n");
    bench_hear_end(client);
    UNTIL(proxy_sessions(proxies[0]) == 0);
}
END_TEST

/* --- pools of another kind --- */

/* Only backend 2, of the fallback pool, is left. */
static void fall_back(void)
{
    image.service.fallback_pool = 1;
    image.backends[0].weight = 0;
}

/* A request to backend 2, over this upstream or a new one (-1). */
static int serve_elsewhere(int client, int up)
{
    bench_say(client, "ask\n");
    up = up >= 0 ? up : bench_accept(2);
    bench_hear(up, "ask\n");
    bench_say(up, "answer\n");
    bench_hear(client, "answer\n");
    return up;
}

START_TEST(a_fallback_pool_of_the_same_kind_keeps_too)
{
    fall_back();
    image.pools[1].reuse = *bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int up = serve_elsewhere(client, -1);
    serve_elsewhere(bench_client(), up);
    ck_assert_uint_eq(bench_cell(2)->idle, 1);
}
END_TEST

/* Requests go out one by one all the same, each over an upstream of its own. */
START_TEST(a_fallback_pool_of_another_kind_keeps_nothing)
{
    static const struct {
        enum reuse_mode mode;
        enum framing_kind framing;
    } others[] = {{REUSE_OFF, FRAMING_NONE},
                  {REUSE_WARM, FRAMING_NONE},
                  {REUSE_SESSION, FRAMING_LINE},
                  {REUSE_REQUEST, FRAMING_RESP}};
    fall_back();
    if (others[_i].mode != REUSE_OFF) {
        image.pools[1].reuse = *bench_reuse(others[_i].mode, others[_i].framing);
    }
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    for (int i = 0; i < 3; i++) {
        int up = serve_elsewhere(client, -1);
        bench_hear_end(up);
    }
    ck_assert_uint_eq(bench_cell(2)->opened, 3);
    ck_assert_uint_eq(bench_cell(2)->idle, 0);
    ck_assert_uint_eq(bench_discards(2), 0); /* they were never to be kept */
}
END_TEST

START_TEST(a_plain_session_stays_plain_in_its_fallback_pool)
{
    fall_back();
    image.pools[1].reuse = *bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    image.pools[0].reuse = (struct snapshot_reuse){0};
    bench_start();
    int client = bench_client();
    int up = bench_accept(2);
    bench_say(up, "hello");
    bench_hear(client, "hello");
    bench_say(client, "half a li");
    bench_hear(up, "half a li");
    bench_end(client);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_end(client);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_cell(2)->idle, 0);
    ck_assert_uint_eq(bench_discards(2), 0);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(2)].reuse_trouble, REUSE_FINE);
}
END_TEST

START_TEST(a_fallback_pool_may_want_the_client_named)
{
    fall_back();
    image.pools[1].send_proxy = SEND_PROXY_V1;
    start(REUSE_REQUEST);
    int client = bench_client();
    struct sockaddr_in own, other;
    socklen_t len = sizeof(own);
    ck_assert_int_eq(getsockname(client, (struct sockaddr *)&own, &len), 0);
    ck_assert_int_eq(getpeername(client, (struct sockaddr *)&other, &len), 0);
    char expected[128];
    snprintf(expected, sizeof(expected), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\nask\n",
             ntohs(own.sin_port), ntohs(other.sin_port));
    for (int i = 0; i < 2; i++) {
        bench_say(client, "ask\n");
        int up = bench_accept(2);
        bench_hear(up, expected);
        bench_say(up, "answer\n");
        bench_hear(client, "answer\n");
        bench_hear_end(up);
    }
}
END_TEST

/* --- a new configuration --- */

START_TEST(a_session_goes_on_as_it_began)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = bench_serve(client, -1);
    image.pools[0].reuse = (struct snapshot_reuse){0};
    bench_apply();
    bench_hear_end(up);
    for (int i = 0; i < 2; i++) {
        up = bench_serve(client, -1);
        bench_hear_end(up);
    }
    up = -1;
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_apply();
    for (int i = 0; i < 3; i++) {
        up = bench_serve(client, up);
    }
    ck_assert_uint_eq(cell->idle, 1);
}
END_TEST

START_TEST(what_is_kept_for_others_is_not_for_it)
{
    static const char get[] = "GET k\r\n";
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = bench_serve(client, -1);
    image.pools[0].reuse.framing = FRAMING_RESP;
    image.pools[0].reuse.settings++;
    bench_apply();
    bench_hear_end(up);
    int other = bench_client();
    bench_say(other, get);
    up = bench_accept(0);
    bench_hear(up, get);
    bench_say(up, "+v\r\n");
    bench_hear(other, "+v\r\n");
    ck_assert_uint_eq(cell->idle, 1);
    bench_hear_end(bench_serve(client, -1));
    bench_hear_silence(up);
    bench_say(other, get);
    bench_hear(up, get);
}
END_TEST

START_TEST(a_plain_session_is_not_reused_later)
{
    bench_start();
    int client = bench_client();
    int up = bench_accept(0);
    bench_reset_exchange("RESET\n", "GONE\n");
    bench_apply();
    bench_serve(client, up);
    bench_end(client);
    bench_hear_end(up);
    bench_say(up, "the rest");
    bench_close(up);
    bench_hear(client, "the rest");
    bench_hear_end(client);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/kept");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, a_session_keeps_its_upstream_between_requests);
    tcase_add_test(tc, an_end_amid_a_request_gives_it_back_after_the_answer);
    tcase_add_test(tc, a_reset_gives_nothing_back);
    tcase_add_test(tc, its_upstream_may_end_between_requests);
    tcase_add_loop_test(tc, a_kept_one_is_looked_at_before_the_next_request, 0, 3);
    tcase_add_test(tc, what_comes_unasked_is_the_sessions_own);
    tcase_add_test(tc, only_request_mode_sends_again);
    tcase_add_test(tc, a_lease_holds_for_each_request);
    tcase_add_test(tc, a_request_waits_for_a_place_and_takes_what_is_there);
    tcase_add_test(tc, only_who_is_at_a_backend_falls_with_it);
    tcase_add_loop_test(tc, a_worker_that_stops_closes_behind_the_answer, 0, 2);
    tcase_add_test(tc, a_fallback_pool_of_the_same_kind_keeps_too);
    tcase_add_loop_test(tc, a_fallback_pool_of_another_kind_keeps_nothing, 0, 4);
    tcase_add_test(tc, a_plain_session_stays_plain_in_its_fallback_pool);
    tcase_add_test(tc, a_fallback_pool_may_want_the_client_named);
    tcase_add_test(tc, a_session_goes_on_as_it_began);
    tcase_add_test(tc, what_is_kept_for_others_is_not_for_it);
    tcase_add_test(tc, a_plain_session_is_not_reused_later);
    return bench_run(suite);
}
