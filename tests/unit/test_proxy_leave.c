/*
 * Clients that have got their last answer, and are still sending, or have not taken all of it: they
 * are not closed in a way that takes it back from them.
 */
#include "proxy_bench.h"

#include <stdio.h>

#define GET(path)    "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
#define MUCH         (24 << 20)
#define SMALL_BUFFER 4096

static void request_mode(enum framing_kind framing)
{
    bench_reuse(REUSE_REQUEST, framing);
    bench_start();
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

#define EARLY  "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
#define CLOSED "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

/* A client that is answered amid a request of 100 MB, and goes on sending. */
static int answer_early(void)
{
    int client;
    int up = ask(&client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    bench_say(up, EARLY);
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    return client;
}

/* Many clients only look for an answer when all of their request is sent. */
START_TEST(who_is_answered_early_may_say_all_it_has)
{
    request_mode(FRAMING_HTTP1);
    int client = answer_early();
    ck_assert_uint_eq(bench_stuff(client, MUCH), MUCH);
    bench_hear(client, CLOSED);
    bench_hear_end(client);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    if (_i == 0) {
        bench_close(client);
        UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
    } else {
        bench_reset(client);
        UNTIL(bench_ended(ENDING_CLIENT_RESET) == 1);
    }
}
END_TEST

START_TEST(who_was_answered_is_waited_for_as_long_as_it_speaks)
{
    request_mode(FRAMING_HTTP1);
    int client = answer_early();
    bench_pass(4900);
    bench_say(client, "more");
    bench_settle();
    bench_pass(4900);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(200);
    UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
    bench_hear(client, CLOSED);
    bench_hear_end(client);
}
END_TEST

START_TEST(but_not_for_ever)
{
    request_mode(FRAMING_HTTP1);
    int client = answer_early();
    for (int i = 0; i < 7; i++) {
        ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
        bench_say(client, "more");
        bench_settle();
        bench_pass(4200);
    }
    bench_pass(700);
    UNTIL(bench_ended(ENDING_HALF_CLOSE_TIMEOUT) == 1);
}
END_TEST

#define LAST      "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define LAST_KEPT "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
#define LARGE     100000

/* Closing while something of the client's is unread would take back what it has not got yet. */
START_TEST(what_comes_behind_the_last_request_harms_nothing)
{
    char head[80];
    request_mode(FRAMING_HTTP1);
    int client = bench_client_with(0, SMALL_BUFFER);
    bench_say(client, _i == 0 ? LAST "\r\n" : LAST);
    int up = bench_accept(0);
    bench_hear(up, LAST_KEPT);
    if (_i == 1) {
        bench_say(client, GET("/2"));
        bench_settle();
    }
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
    bench_say(up, head);
    ck_assert_uint_eq(bench_stuff(up, LARGE), LARGE);
    UNTIL(bench_cell(0)->idle == 1 && sb.workers[0].buffered_bytes == 0);
    if (_i == 2) {
        bench_say(client, "\r\n");
        bench_settle();
    }
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", LARGE);
    bench_hear(client, head);
    bench_hear_pattern(client, 0, LARGE);
    bench_hear_end(client);
    bench_close(client);
    UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
}
END_TEST

START_TEST(a_small_answer_is_not_watched_over)
{
    request_mode(FRAMING_HTTP1);
    int client = bench_client();
    bench_say(client, LAST);
    int up = bench_accept(0);
    bench_hear(up, LAST_KEPT);
    bench_say(up, OK);
    UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/leave");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_loop_test(tc, who_is_answered_early_may_say_all_it_has, 0, 2);
    tcase_add_test(tc, who_was_answered_is_waited_for_as_long_as_it_speaks);
    tcase_add_test(tc, but_not_for_ever);
    tcase_add_loop_test(tc, what_comes_behind_the_last_request_harms_nothing, 0, 3);
    tcase_add_test(tc, a_small_answer_is_not_watched_over);
    return bench_run(suite);
}
