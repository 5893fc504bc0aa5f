/*
 * Clients that have got their last answer, and are still sending, or have not taken all of it: they
 * are not closed in a way that takes it back from them.
 */
#include "proxy_bench.h"

#include <stdio.h>
#include <string.h>

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

#define POST    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A client that has an answer of LARGE bytes on its way, all of it in the kernel's hands. Returns
 * the upstream. */
static int answer_largely(int *out_client, char (*out_head)[80])
{
    *out_client = bench_client_with(0, SMALL_BUFFER);
    bench_say(*out_client, GET("/"));
    int up = bench_accept(0);
    bench_hear(up, GET("/"));
    snprintf(*out_head, sizeof(*out_head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
    bench_say(up, *out_head);
    ck_assert_uint_eq(bench_stuff(up, LARGE), LARGE);
    UNTIL(bench_cell(0)->requests == 1 && sb.workers[0].buffered_bytes == 0);
    return up;
}

static const struct failure {
    const char *request, *heard; /* by the backend; NULL: nothing */
    bool is_refused, half_closes;
} failures[] = {
    {POST, POST, false, false},
    {POST, POST, false, true},
    {"\x16\x03\x01xxxx", NULL, false, false},
    {CHUNKED "zz\r\n", CHUNKED, false, false},
    {GET("/2"), NULL, true, false},
    {GET("/2"), NULL, true, true},
};

static uint64_t failed(const struct failure *failure)
{
    if (failure->is_refused) {
        return bench_refused(REFUSAL_NO_BACKEND);
    }
    return bench_ended(failure->heard == failure->request ? ENDING_BACKEND_RESET
                                                          : ENDING_BAD_MESSAGE);
}

/* A request that fails takes nothing back of the answer to the one before, in both modes. */
START_TEST(a_failure_does_no_harm_to_earlier_answers)
{
    const struct failure *failure = &failures[_i / 2];
    char head[80];
    int client;
    bench_check(0);
    bench_set_health(0, SB_HEALTH_UP);
    bench_reuse(_i % 2 == 0 ? REUSE_REQUEST : REUSE_SESSION, FRAMING_HTTP1);
    bench_start();
    int up = answer_largely(&client, &head);
    if (failure->is_refused) {
        bench_set_health(0, SB_HEALTH_DOWN);
        bench_close(up);
        UNTIL(bench_cell(0)->idle == 0 && bench_cell(0)->lent == 0);
    }
    bench_say(client, failure->request);
    if (failure->half_closes) {
        bench_end(client);
    }
    if (failure->request == failure->heard) {
        bench_hear(up, failure->heard);
        bench_close(up);
    }
    bench_settle();
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    ck_assert_uint_eq(failed(failure), failure->half_closes ? 1 : 0);
    bench_hear(client, head);
    bench_hear_pattern(client, 0, LARGE);
    bench_hear_end(client);
    bench_close(client);
    UNTIL(failed(failure) == 1);
}
END_TEST

/* However slow it is, and whatever it says meanwhile. */
START_TEST(who_takes_what_it_is_to_get_is_waited_for)
{
    char head[80];
    int client;
    request_mode(FRAMING_HTTP1);
    int up = answer_largely(&client, &head);
    bench_say(client, POST);
    bench_hear(up, POST);
    bench_close(up);
    bench_hear(client, head);
    for (size_t heard = 0; heard < LARGE; heard += LARGE / 10) {
        bench_hear_pattern(client, heard, heard + LARGE / 10);
        if (_i == 0) {
            bench_say(client, "more"); /* heard when the time has passed */
        } else {
            bench_settle();
        }
        bench_pass(4200);
        ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 0);
    }
    bench_hear_end(client);
    bench_close(client);
    UNTIL(bench_ended(ENDING_BACKEND_RESET) == 1);
}
END_TEST

#define PART "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc"

/* A second answer is cut amid its body. Returns the client, who has heard the first one's head. */
static int cut_second(void)
{
    char head[80];
    int client;
    request_mode(FRAMING_HTTP1);
    int up = answer_largely(&client, &head);
    bench_say(client, POST);
    bench_hear(up, POST);
    bench_say(up, PART);
    uint64_t bytes_out = strlen(head) + LARGE + strlen(PART);
    UNTIL(sb.service_cells[0].bytes_out == bytes_out);
    bench_hear(client, head);
    bench_reset(up);
    bench_settle();
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    return client;
}

/* It must not pass for a whole one, but nothing is lost of it, nor of the first. */
START_TEST(a_cut_answer_ends_with_a_reset)
{
    int client = cut_second();
    bench_pass(100);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_hear_pattern(client, 0, LARGE);
    bench_hear(client, PART);
    bench_hear_silence(client);
    UNTIL(bench_unsent(client) == 0);
    bench_pass(100);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 1);
}
END_TEST

START_TEST(who_does_not_take_it_is_reset_before)
{
    cut_second();
    bench_pass(5100);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(5100);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 1);
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
    tcase_add_loop_test(tc, a_failure_does_no_harm_to_earlier_answers, 0,
                        2 * sizeof(failures) / sizeof(failures[0]));
    tcase_add_loop_test(tc, who_takes_what_it_is_to_get_is_waited_for, 0, 2);
    tcase_add_test(tc, a_cut_answer_ends_with_a_reset);
    tcase_add_test(tc, who_does_not_take_it_is_reset_before);
    return bench_run(suite);
}
