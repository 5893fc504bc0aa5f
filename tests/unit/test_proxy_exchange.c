/*
 * Sessions with a framing: whose bytes go where, in which order, and what becomes of the upstream
 * when all goes well, when somebody leaves, and when somebody says what may not be passed on.
 */
#include "proxy_bench.h"

#include <stdio.h>
#include <string.h>

#define GET(path)    "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
#define REFUSED      "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define MUCH         (24 << 20)
#define HELD_MAX     (256 * 1024) /* in buffers, of one session */
#define SMALL_BUFFER 4096

static void request_mode(enum framing_kind framing)
{
    bench_reuse(REUSE_REQUEST, framing);
    bench_start();
}

/* Asks over HTTP; returns the upstream that was asked. */
static int get(int client, int upstream)
{
    bench_say(client, GET("/"));
    int up = upstream >= 0 ? upstream : bench_accept(0);
    bench_hear(up, GET("/"));
    bench_say(up, OK);
    bench_hear(client, OK);
    return up;
}

/* A new client asks this; returns the upstream that was asked. */
static int ask(int *out_client, const char *text)
{
    *out_client = bench_client();
    bench_say(*out_client, text);
    int up = bench_accept(0);
    bench_hear(up, text);
    return up;
}

START_TEST(pipelined_requests_are_answered_in_their_order)
{
    image.pools[0].n_backends = 2;
    request_mode(FRAMING_LINE);
    int client = bench_client();
    bench_say(client, "one\ntwo\nthree\n");
    UNTIL(bench_is_called(0) || bench_is_called(1));
    uint32_t b = bench_is_called(0) ? 0 : 1;
    int first = bench_accept(b);
    bench_hear(first, "one\n");
    bench_hear_silence(first);
    ck_assert(!bench_is_called(1 - b)); /* one at a time */
    bench_say(first, "1\n");
    int second = bench_accept(1 - b);
    bench_hear(second, "two\n");
    bench_hear(client, "1\n");
    bench_say(second, "2\n");
    bench_hear(first, "three\n");
    bench_say(first, "3\n");
    bench_hear(client, "2\n3\n");
    ck_assert_uint_eq(bench_cell(0)->requests + bench_cell(1)->requests, 3);
}
END_TEST

START_TEST(requests_may_come_in_pieces)
{
    static const char request[] = GET("/"), answer[] = OK;
    request_mode(FRAMING_HTTP1);
    int client = bench_client();
    for (size_t i = 0; i < strlen(request) - 1; i++) {
        bench_say_bytes(client, request + i, 1);
        bench_turn();
    }
    bench_settle();
    ck_assert(!bench_is_called(0)); /* nothing is reserved for half a head */
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    bench_say(client, "\n");
    int up = bench_accept(0);
    bench_hear(up, request);
    for (size_t i = 0; i < strlen(answer); i++) {
        bench_say_bytes(up, answer + i, 1);
        bench_turn();
    }
    bench_hear(client, answer);
    get(client, up);
}
END_TEST

START_TEST(a_client_that_has_ended_gets_its_answers)
{
    request_mode(FRAMING_LINE);
    int client = bench_client();
    bench_say(client, "one\ntwo\n");
    bench_end(client);
    int up = bench_accept(0);
    bench_hear(up, "one\n");
    bench_hear_silence(up); /* its end is held back */
    bench_say(up, "1\n");
    bench_hear(client, "1\n");
    bench_hear(up, "two\n");
    bench_say(up, "2\n");
    bench_hear(client, "2\n");
    bench_hear_end(client);
    UNTIL(bench_ended(ENDING_CLIENT_FIN) == 1);
    bench_serve(bench_client(), up);
}
END_TEST

/* Nobody watches a client during its first request, but for a look now and then. */
START_TEST(a_client_that_leaves_amid_a_request_takes_its_upstream_along)
{
    request_mode(FRAMING_LINE);
    int client, up;
    if (_i == 0) {
        up = ask(&client, "ask\n");
    } else {
        client = bench_client();
        up = bench_serve(client, -1);
        bench_settle();
        bench_say(client, "ask\n");
        bench_hear(up, "ask\n");
    }
    bench_reset(client);
    if (_i == 0) {
        bench_pass(2008);
    }
    bench_hear_discard(0, DISCARD_SESSION_END);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_RESET), 1);
    bench_serve(bench_client(), -1);
}
END_TEST

START_TEST(a_client_that_leaves_between_requests_takes_nothing_along)
{
    request_mode(FRAMING_LINE);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_settle();
    bench_reset(client);
    UNTIL(bench_ended(ENDING_CLIENT_RESET) == 1);
    bench_serve(bench_client(), up);
}
END_TEST

START_TEST(an_idle_client_has_its_time_out)
{
    image.service.idle_timeout_ms = 5000;
    request_mode(FRAMING_LINE);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_pass(4900);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(200);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_ended(ENDING_IDLE_TIMEOUT), 1);
    bench_serve(bench_client(), up);
}
END_TEST

/* --- answers --- */

START_TEST(bytes_behind_an_answer_are_nobodys)
{
    request_mode(FRAMING_LINE);
    int client, other = bench_client();
    int up = ask(&client, "ask\n");
    bench_say(up, "answer\nboo\n");
    bench_hear(client, "answer\n");
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, 4);
    up = bench_serve(other, -1);
    bench_serve(client, up);
}
END_TEST

START_TEST(an_end_with_the_answer_ends_the_upstream_alone)
{
    request_mode(FRAMING_LINE);
    int client;
    int up = ask(&client, "ask\n");
    bench_say(up, "answer\n");
    bench_close(up);
    bench_hear(client, "answer\n");
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_serve(client, -1);
}
END_TEST

/* What a client wants of its own connection is for it alone. */
START_TEST(a_client_may_close_and_the_upstream_stays)
{
    request_mode(FRAMING_HTTP1);
    int client = bench_client();
    int up = get(client, -1);
    bench_say(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    bench_hear(up, "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    bench_say(up, OK);
    bench_hear(client, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    bench_hear_end(client);
    get(bench_client(), up);
}
END_TEST

START_TEST(a_backend_may_close_and_the_client_stays)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, GET("/"));
    bench_say(up, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    bench_hear(client, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc");
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    bench_hear_end(up);
    get(client, -1);
}
END_TEST

START_TEST(a_body_may_end_with_its_connection)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, GET("/"));
    bench_say(up, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    bench_hear(client, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    bench_carry(up, 0, client, 0, 100000);
    bench_close(up);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
}
END_TEST

/* The client may be in the midst of its sending: closing at once would reset it, and the answer
 * might be lost to it. */
START_TEST(an_answer_before_the_request_has_ended_ends_both)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc");
    bench_say(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    bench_say(client, "more of the body");
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    bench_say(client, "and more");
    bench_hear(client, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    bench_hear_end(client);
    bench_close(client);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_FIN), 1);
}
END_TEST

/* --- what is not passed on --- */

START_TEST(a_bad_request_is_answered_here)
{
    request_mode(FRAMING_HTTP1);
    int client = bench_client();
    UNTIL(proxy_sessions(proxies[0]) == 1);
    bench_pass(2100); /* older than the first look at it */
    bench_say(client, "GET / HTTP/1.1\r\nHost : h\r\n\r\n");
    bench_hear(client, REFUSED);
    bench_hear_end(client);
    bench_say(client, "still talking");
    bench_settle();
    bench_say(client, "and talking"); /* it is not reset for that */
    bench_settle();
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    if (_i == 0) {
        bench_close(client);
        UNTIL(bench_ended(ENDING_BAD_MESSAGE) == 1);
    } else {
        bench_pass(5100); /* nor waited for any longer than that */
        UNTIL(bench_ended(ENDING_HALF_CLOSE_TIMEOUT) == 1);
    }
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_cell(0)->requests, 0);
}
END_TEST

START_TEST(a_bad_request_behind_a_good_one_harms_only_itself)
{
    request_mode(FRAMING_HTTP1);
    int client = bench_client();
    bench_say(client, GET("/") "BAD\r\n\r\n");
    int up = bench_accept(0);
    bench_hear(up, GET("/"));
    bench_say(up, OK);
    bench_hear(client, OK REFUSED);
    bench_hear_end(client);
    get(bench_client(), up);
}
END_TEST

START_TEST(a_fault_in_a_body_resets_both)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    bench_say(client, "3\r\nabc\r\nxyz\r\n");
    bench_hear(up, "3\r\nabc\r\n");
    bench_hear_reset(client);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_BAD_MESSAGE), 1);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(a_bad_answer_is_told)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, GET("/"));
    bench_say(up, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd");
    bench_hear(client, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n"
                       "Connection: close\r\n\r\n");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
}
END_TEST

START_TEST(a_fault_in_an_answers_body_resets_both)
{
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, GET("/"));
    bench_say(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n");
    bench_hear(client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    bench_hear_reset(client);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_BAD_MESSAGE), 1);
}
END_TEST

/* --- much, slowly --- */

static void find_bounds(size_t sent)
{
    ck_assert_uint_lt(sent, MUCH);
    ck_assert_uint_gt(sb.workers[0].buffered_bytes, 0);
    ck_assert_uint_le(sb.workers[0].buffered_bytes, HELD_MAX);
}

START_TEST(a_slow_client_is_waited_for_within_bounds)
{
    char head[64];
    request_mode(FRAMING_HTTP1);
    int client = bench_client_with(0, SMALL_BUFFER);
    bench_say(client, GET("/"));
    int up = bench_accept(0);
    bench_hear(up, GET("/"));
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MUCH);
    bench_say(up, head);
    bench_hear(client, head);
    size_t sent = bench_stuff(up, MUCH);
    find_bounds(sent);
    bench_carry(up, sent, client, 0, MUCH);
    UNTIL(bench_cell(0)->idle == 1);
    get(client, up);
}
END_TEST

START_TEST(a_slow_backend_is_waited_for_within_bounds)
{
    char head[80];
    request_mode(FRAMING_HTTP1);
    int client;
    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nContent-Length: %d\r\nHost: h\r\n\r\n", MUCH);
    int up = ask(&client, head);
    size_t sent = bench_stuff(client, MUCH);
    find_bounds(sent);
    bench_carry(client, sent, up, 0, MUCH);
    bench_say(up, OK);
    bench_hear(client, OK);
    get(client, up);
}
END_TEST

START_TEST(a_slow_client_that_is_to_be_closed_gets_all_first)
{
    bench_shrink();
    request_mode(FRAMING_HTTP1);
    int client = bench_client_with(0, SMALL_BUFFER);
    bench_say(client, "GET / HTTP/1.0\r\n\r\n");
    int up = bench_accept(0);
    bench_hear(up, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    char tenth[6001] = "", body[60001] = "";
    memset(tenth, 'x', sizeof(tenth) - 1);
    memset(body, 'x', sizeof(body) - 1);
    bench_say(up, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
    bench_say(up, body);
    UNTIL(bench_cell(0)->idle == 1); /* the backend is done with it */
    ck_assert_uint_gt(sb.workers[0].buffered_bytes, 0);
    bench_hear(client, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        bench_hear(client, tenth);
    }
    bench_hear_end(client);
}
END_TEST

/* Many messages in one read, of which only the first ones can be passed on. */
START_TEST(a_slow_client_gets_one_message_after_the_other)
{
    static const char early[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    char many[200 * sizeof(early)] = "";
    for (int i = 0; i < 200; i++) {
        strcat(many, early);
    }
    bench_shrink();
    request_mode(FRAMING_HTTP1);
    int client = bench_client_with(0, SMALL_BUFFER);
    bench_say(client, GET("/"));
    int up = bench_accept(0);
    bench_hear(up, GET("/"));
    for (int i = 0; i < 20; i++) {
        bench_say(up, many);
    }
    bench_say(up, OK);
    bench_settle();
    ck_assert_uint_gt(sb.workers[0].buffered_bytes, 0);
    for (int i = 0; i < 20; i++) {
        bench_hear(client, many);
    }
    bench_hear(client, OK);
}
END_TEST

START_TEST(a_slow_client_may_leave)
{
    char head[64];
    request_mode(FRAMING_HTTP1);
    int client;
    int up = ask(&client, GET("/"));
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MUCH);
    bench_say(up, head);
    bench_stuff(up, MUCH);
    bench_reset(client);
    UNTIL(bench_ended(ENDING_CLIENT_RESET) == 1);
    bench_hear_discard(0, DISCARD_SESSION_END);
    ck_assert_uint_eq(sb.workers[0].buffered_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/exchange");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, pipelined_requests_are_answered_in_their_order);
    tcase_add_test(tc, requests_may_come_in_pieces);
    tcase_add_test(tc, a_client_that_has_ended_gets_its_answers);
    tcase_add_loop_test(tc, a_client_that_leaves_amid_a_request_takes_its_upstream_along, 0, 2);
    tcase_add_test(tc, a_client_that_leaves_between_requests_takes_nothing_along);
    tcase_add_test(tc, an_idle_client_has_its_time_out);
    tcase_add_test(tc, bytes_behind_an_answer_are_nobodys);
    tcase_add_test(tc, an_end_with_the_answer_ends_the_upstream_alone);
    tcase_add_test(tc, a_client_may_close_and_the_upstream_stays);
    tcase_add_test(tc, a_backend_may_close_and_the_client_stays);
    tcase_add_test(tc, a_body_may_end_with_its_connection);
    tcase_add_test(tc, an_answer_before_the_request_has_ended_ends_both);
    tcase_add_loop_test(tc, a_bad_request_is_answered_here, 0, 2);
    tcase_add_test(tc, a_bad_request_behind_a_good_one_harms_only_itself);
    tcase_add_test(tc, a_fault_in_a_body_resets_both);
    tcase_add_test(tc, a_bad_answer_is_told);
    tcase_add_test(tc, a_fault_in_an_answers_body_resets_both);
    tcase_add_test(tc, a_slow_client_is_waited_for_within_bounds);
    tcase_add_test(tc, a_slow_backend_is_waited_for_within_bounds);
    tcase_add_test(tc, a_slow_client_that_is_to_be_closed_gets_all_first);
    tcase_add_test(tc, a_slow_client_gets_one_message_after_the_other);
    tcase_add_test(tc, a_slow_client_may_leave);
    return bench_run(suite);
}
