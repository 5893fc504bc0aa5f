/*
 * Sessions with a framing whose clients send ahead of what they read: nobody is to wait for
 * somebody who waits for him, and what is held meanwhile has its bounds.
 */
#include "proxy_bench.h"

#include <stdio.h>
#include <string.h>

#define GET(path)    "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define LAST         "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define LAST_PASSED  "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
#define SELECT       "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
#define BULK         "$60000\r\n"
#define SMALL_BUFFER 4096
#define HELD_MAX     (256 * 1024) /* in buffers, of one session */
#define MUCH         (4 << 20)
#define USED         100 /* parts of buffer_memory that others have: more than there are */
#define TENTH        6000
#define PATIENCE     280 /* longer than the proxies have */

/* The kernel may still have passed something on to the client meanwhile. */
#define AFTER_A_WHILE(condition) UNTIL((bench_pass(PATIENCE), condition))

static struct sb_upstream_cell *cell;
static char tenth[TENTH + 1], whole[10 * TENTH + 1];

static void start(enum reuse_mode mode, enum framing_kind framing)
{
    memset(tenth, 'x', TENTH);
    memset(whole, 'x', sizeof(whole) - 1);
    bench_shrink();
    bench_reuse(mode, framing)->handshake_key = framing == FRAMING_RESP;
    bench_start();
    cell = bench_cell(0);
}

/* A client that will not read just now asks this; returns the upstream that hears the first of it.
 */
static int ask(int *out_client, const char *all, const char *first)
{
    *out_client = bench_client_with(0, SMALL_BUFFER);
    bench_say(*out_client, all);
    int up = bench_accept(0);
    bench_hear(up, first);
    return up;
}

/* An answer of which the client's kernel does not take all, between these two. */
static void answer_much(int up, const char *before, const char *behind)
{
    bench_say(up, before);
    bench_say(up, whole);
    bench_say(up, behind);
    UNTIL(sb.workers[0].buffered_bytes > 0);
    bench_settle();
    ck_assert_uint_le(sb.workers[0].buffered_bytes, HELD_MAX);
}

static void hear_much(int client, const char *before, const char *behind)
{
    if (before[0] != '\0') {
        bench_hear(client, before);
    }
    for (int i = 0; i < 10; i++) {
        bench_hear(client, tenth);
    }
    if (behind[0] != '\0') {
        bench_hear(client, behind);
    }
}

static void find_one_owner(void)
{
    ck_assert_uint_eq(cell->pinned, 1);
    ck_assert_uint_eq(bench_row(0)->pins, 1);
    ck_assert_str_eq(sb.pools[0].pin_command, "sending without reading");
}

/* --- whose next requests wait --- */

START_TEST(who_asks_on_without_reading_gets_its_own)
{
    int client;
    start((enum reuse_mode)(_i == 0 ? REUSE_REQUEST : REUSE_SESSION), FRAMING_LINE);
    int up = ask(&client, "one\ntwo\nthree\n", "one\n");
    answer_much(up, "", "\n");
    bench_pass(PATIENCE / 2);
    bench_hear_silence(up); /* it may be about to read */
    ck_assert(!bench_is_called(0));
    AFTER_A_WHILE(cell->pinned == 1 || bench_is_called(0));
    int own = _i == 0 ? bench_accept(0) : up;
    bench_hear(own, "two\nthree\n");
    bench_say(client, "whatever\nhas no end");
    bench_hear(own, "whatever\nhas no end");
    find_one_owner();
    bench_say(own, "2\n3\n");
    hear_much(client, "", "\n2\n3\n");
    bench_end(client);
    bench_hear_end(own);
    bench_close(own);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_OWNED);
    if (_i == 0) {
        bench_serve(bench_client(), up);
    }
}
END_TEST

/* The answer goes on for longer than the client sends ahead. */
START_TEST(who_asks_on_amid_an_answer_keeps_its_upstream)
{
    static const enum framing_kind framings[] = {FRAMING_LINE, FRAMING_RESP, FRAMING_MEMCACHED};
    static const char *const heads[] = {"", BULK, "VALUE k 0 60000\r\n"};
    int client;
    start(REUSE_REQUEST, framings[_i]);
    int up = ask(&client, "get k\r\nget l\r\n", "get k\r\n");
    answer_much(up, heads[_i], "");
    AFTER_A_WHILE(cell->pinned == 1);
    bench_hear(up, "get l\r\n");
    find_one_owner();
    bench_stuff(client, MUCH); /* as much as is taken */
    bench_say(up, "\r\nwhat else");
    hear_much(client, heads[_i], "\r\nwhat else");
}
END_TEST

/* Of two messages that come in one read, the second one waits in hand for the client to take the
 * first. */
START_TEST(what_is_held_of_an_answer_holds_nobody_up)
{
    static const char hint[] = "HTTP/1.1 103 Early Hints\r\nX: ";
    char half[2 * TENTH * 3], hints[2 * sizeof(half)];
    int client;
    start(REUSE_REQUEST, FRAMING_HTTP1);
    snprintf(half, sizeof(half), "%s%.*s\r\n\r\n", hint, 5 * TENTH, whole);
    snprintf(hints, sizeof(hints), "%s%s", half, half);
    int up = ask(&client, GET("/a") GET("/b"), GET("/a"));
    bench_say(up, hints);
    UNTIL(sb.workers[0].buffered_bytes > 0);
    bench_settle();
    AFTER_A_WHILE(cell->pinned == 1);
    bench_hear(up, GET("/b"));
    size_t sent = bench_stuff(client, MUCH / 2);
    bench_carry(client, sent, up, 0, MUCH);
    ck_assert_uint_le(sb.workers[0].buffered_bytes, HELD_MAX);
    for (int i = 0; i < 2; i++) {
        bench_hear(client, hint);
        for (int k = 0; k < 5; k++) {
            bench_hear(client, tenth);
        }
        bench_hear(client, "\r\n\r\n");
    }
    bench_say(up, "the end");
    bench_hear(client, "the end");
    bench_end(client);
    bench_hear_end(up);
}
END_TEST

/* Its last request was changed on the way, and so must be the answer. */
START_TEST(who_wants_to_be_closed_has_nothing_more_to_ask)
{
    int client;
    start(REUSE_REQUEST, FRAMING_HTTP1);
    int up = ask(&client, LAST GET("/b"), LAST_PASSED);
    answer_much(up, "HTTP/1.1 200 OK\r\nContent-Length: 60001\r\n\r\n", "");
    bench_pass(PATIENCE);
    bench_hear_silence(up);
    bench_say(up, "y");
    hear_much(client, "HTTP/1.1 200 OK\r\nContent-Length: 60001\r\nConnection: close\r\n\r\n", "y");
    bench_hear_end(client);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
}
END_TEST

START_TEST(its_own_is_brought_to_the_handshake)
{
    int client;
    start(REUSE_REQUEST, FRAMING_RESP);
    int up = ask(&client, SELECT, SELECT);
    bench_say(up, "+OK\r\n");
    bench_hear(client, "+OK\r\n");
    bench_say(client, "GET k\r\nGET l\r\n");
    bench_hear(up, "GET k\r\n");
    answer_much(up, BULK, "\r\n");
    AFTER_A_WHILE(bench_is_called(0));
    int own = bench_accept(0);
    bench_hear(own, SELECT);
    bench_hear_silence(own);
    bench_say(own, "+OK\r\n");
    bench_hear(own, "GET l\r\n");
    bench_say(own, "$1\r\nl\r\n");
    hear_much(client, BULK, "\r\n$1\r\nl\r\n");
    find_one_owner();
}
END_TEST

START_TEST(a_place_of_its_own_is_waited_for_and_refused_like_any_other)
{
    int client, other;
    image.backends[0].max_connections = image.backends[0].resume_connections = 1;
    image.pools[0].queue = _i == 0 ? 0 : 1;
    image.pools[0].queue_timeout_ms = _i == 0 ? 0 : 10000000;
    start(REUSE_REQUEST, FRAMING_LINE);
    int up = ask(&client, "one\ntwo\n", "one\n");
    answer_much(up, "", "\n");
    other = bench_client();
    bench_say(other, "ask\n");
    bench_hear(up, "ask\n");
    if (_i == 0) {
        AFTER_A_WHILE(bench_refused(REFUSAL_FULL) == 1);
        return;
    }
    AFTER_A_WHILE(sb.pools[0].queued == 1);
    hear_much(client, "", "\n"); /* meanwhile */
    bench_say(up, "answer\n");
    bench_hear(other, "answer\n");
    bench_hear_discard(0, DISCARD_EVICTED);
    int own = bench_accept(0);
    bench_hear(own, "two\n");
    bench_say(own, "2\n");
    bench_hear(client, "2\n");
}
END_TEST

/* --- who only seems to --- */

START_TEST(who_reads_slowly_goes_on_sharing)
{
    int client;
    start(REUSE_REQUEST, FRAMING_LINE);
    int up = ask(&client, "one\ntwo\n", "one\n");
    answer_much(up, "", "\n");
    for (int i = 0; i < 10; i++) {
        bench_pass(PATIENCE / 4);
        bench_hear(client, tenth);
        bench_settle();
    }
    bench_hear(client, "\n");
    bench_hear(up, "two\n");
    bench_say(up, "2\n");
    bench_hear(client, "2\n");
    UNTIL(cell->idle == 1);
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
}
END_TEST

START_TEST(who_asks_nothing_more_may_take_its_time)
{
    int client;
    start(REUSE_REQUEST, FRAMING_LINE);
    int up = ask(&client, "one\n", "one\n");
    answer_much(up, "", _i == 0 ? "\n" : "");
    for (int i = 0; i < 10; i++) {
        bench_pass(PATIENCE);
        bench_settle();
    }
    if (_i == 1) {
        bench_say(up, "\n");
    }
    hear_much(client, "", "\n");
    UNTIL(cell->idle == 1);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
    bench_serve(client, up);
}
END_TEST

/* All that it asks is here: it is not kept from reading. */
START_TEST(who_has_ended_may_take_its_time_too)
{
    int client;
    start(REUSE_REQUEST, FRAMING_LINE);
    int up = ask(&client, "one\ntwo\n", "one\n");
    bench_end(client);
    answer_much(up, "", "\n");
    bench_pass(PATIENCE);
    bench_settle();
    ck_assert(!bench_is_called(0));
    hear_much(client, "", "\n");
    bench_hear(up, "two\n");
    bench_say(up, "2\n");
    bench_hear(client, "2\n");
    bench_hear_end(client);
}
END_TEST

/* --- in the midst of a request --- */

/* A server that answers while it reads, and a client that reads when it has sent all. */
START_TEST(a_request_goes_on_while_its_answer_waits)
{
    char head[100], answer[100];
    int client;
    start((enum reuse_mode)(_i == 0 ? REUSE_REQUEST : REUSE_SESSION), FRAMING_HTTP1);
    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", MUCH);
    snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 60001);
    int up = ask(&client, head, head);
    answer_much(up, answer, "");
    bench_carry(client, 0, up, 0, MUCH);
    ck_assert_uint_le(sb.workers[0].buffered_bytes, HELD_MAX);
    bench_say(up, "y");
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", 60001);
    hear_much(client, answer, "y");
    bench_hear_end(client); /* early answers end their session, and their upstream */
    UNTIL(bench_discards(0) == 1);
    ck_assert_uint_eq(cell->idle, 0);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
}
END_TEST

/* A server that answers at once and reads no further. */
START_TEST(a_request_that_is_of_no_use_may_still_be_sent)
{
    char head[100], answer[100];
    int client;
    start(REUSE_REQUEST, FRAMING_HTTP1);
    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", MUCH);
    int up = ask(&client, head, head);
    answer_much(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 60000\r\n\r\n", "");
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    ck_assert_uint_eq(bench_stuff(client, MUCH), MUCH);
    snprintf(answer, sizeof(answer), "HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n%s", 60000,
             "Connection: close\r\n\r\n");
    hear_much(client, answer, "");
    bench_hear_end(client);
    bench_end(client);
    UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
}
END_TEST

START_TEST(a_fault_behind_a_waiting_answer_is_a_reset)
{
    int client;
    start(REUSE_REQUEST, FRAMING_HTTP1);
    const char *head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    int up = ask(&client, head, head);
    answer_much(up, "HTTP/1.1 200 OK\r\nContent-Length: 60001\r\n\r\n", "");
    bench_say(client, "3\r\nabc\r\nxyz\r\n");
    bench_hear_discard(0, DISCARD_SESSION_END);
    bench_settle();
    bench_pass(5100);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1); /* the client may still take its part */
    bench_pass(5100);
    ck_assert_uint_eq(bench_ended(ENDING_BAD_MESSAGE), 1);
}
END_TEST

/* --- where nothing is held --- */

START_TEST(a_starved_client_that_asks_on_gets_its_own_too)
{
    int client;
    image.header.buffer_bytes = 16 * SB_BUFFER_PART_BYTES;
    start(REUSE_REQUEST, FRAMING_LINE);
    atomic_fetch_add(&sb.header->buffer_parts, USED);
    int up = ask(&client, "one\ntwo\n", "one\n");
    bench_say(up, whole);
    UNTIL(sb.workers[0].throttled > 0);
    bench_settle();
    AFTER_A_WHILE(cell->pinned == 1);
    bench_hear(up, "two\n");
    bench_say(client, "three\n");
    bench_hear(up, "three\n");
    bench_say(up, "\n2\n");
    hear_much(client, "", "\n2\n");
    find_one_owner();
    atomic_fetch_sub(&sb.header->buffer_parts, USED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/ahead");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_loop_test(tc, who_asks_on_without_reading_gets_its_own, 0, 2);
    tcase_add_loop_test(tc, who_asks_on_amid_an_answer_keeps_its_upstream, 0, 3);
    tcase_add_test(tc, what_is_held_of_an_answer_holds_nobody_up);
    tcase_add_test(tc, who_wants_to_be_closed_has_nothing_more_to_ask);
    tcase_add_test(tc, its_own_is_brought_to_the_handshake);
    tcase_add_loop_test(tc, a_place_of_its_own_is_waited_for_and_refused_like_any_other, 0, 2);
    tcase_add_test(tc, who_reads_slowly_goes_on_sharing);
    tcase_add_loop_test(tc, who_asks_nothing_more_may_take_its_time, 0, 2);
    tcase_add_test(tc, who_has_ended_may_take_its_time_too);
    tcase_add_loop_test(tc, a_request_goes_on_while_its_answer_waits, 0, 2);
    tcase_add_test(tc, a_request_that_is_of_no_use_may_still_be_sent);
    tcase_add_test(tc, a_fault_behind_a_waiting_answer_is_a_reset);
    tcase_add_test(tc, a_starved_client_that_asks_on_gets_its_own_too);
    return bench_run(suite);
}
