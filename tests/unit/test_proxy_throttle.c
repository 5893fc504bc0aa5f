/*
 * buffer_memory: what is held for slow peers counts, and once it is used up their bytes stay with
 * their senders, whatever else happens to the session meanwhile, and nobody else notices.
 */
#include "proxy_bench.h"

#include <stdio.h>
#include <string.h>

#define PART  SB_BUFFER_PART_BYTES
#define PARTS 16  /* of buffer_memory */
#define USED  100 /* parts that others have: more than there are */
#define SMALL 4096
#define MUCH  (24 << 20)
#define GET   "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

static struct sb_worker *row;

static void start(void)
{
    image.header.buffer_bytes = PARTS * PART;
    bench_shrink();
    bench_start();
    row = &sb.workers[0];
}

/* Other workers take all there is, or give it back. */
static void use_up(void)
{
    atomic_fetch_add(&sb.header->buffer_parts, USED);
}

static void give_back(void)
{
    atomic_fetch_sub(&sb.header->buffer_parts, USED);
}

/* A session whose client is slow to read. */
static int open_slow(int *out_client)
{
    *out_client = bench_client_with(0, SMALL);
    return bench_accept(0);
}

/* --- counting --- */

START_TEST(what_is_held_is_counted_in_whole_parts)
{
    start();
    int client, peer = open_slow(&client);
    size_t sent = bench_stuff(peer, MUCH);
    ck_assert_uint_gt(row->buffered_bytes, 0);
    ck_assert_uint_eq(row->buffer_parts, (row->buffered_bytes + PART - 1) / PART);
    ck_assert_uint_eq(sb.header->buffer_parts, row->buffer_parts);
    ck_assert_uint_eq(row->throttled, 0);
    bench_carry(peer, sent, client, 0, sent);
    ck_assert_uint_eq(row->buffer_parts, 0);
    ck_assert_uint_eq(sb.header->buffer_parts, 0);
    ck_assert_uint_ge(sb.header->buffer_parts_peak, 1);
}
END_TEST

/* As many slow peers as would need more: it is never gone beyond. */
START_TEST(many_slow_peers_stay_within_it)
{
    enum { N = 40 };
    int clients[N], peers[N];
    size_t sent[N];
    start();
    for (int i = 0; i < N; i++) {
        peers[i] = open_slow(&clients[i]);
        sent[i] = bench_stuff(peers[i], MUCH);
    }
    ck_assert_uint_gt(row->throttled, 0);
    ck_assert_uint_le(row->buffered_bytes, PARTS * PART);
    ck_assert_uint_le(sb.header->buffer_parts_peak, PARTS);
    ck_assert_uint_gt(row->buffered_bytes, PARTS * PART / 2);
    for (int i = 0; i < N; i++) {
        bench_hear_pattern(clients[i], 0, sent[i]);
    }
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_le(sb.header->buffer_parts_peak, PARTS);
}
END_TEST

START_TEST(a_new_configuration_changes_the_limit)
{
    start();
    image.header.buffer_bytes = 0;
    bench_apply();
    use_up();
    int client, peer = open_slow(&client);
    size_t sent = bench_stuff(peer, MUCH);
    ck_assert_uint_gt(row->buffered_bytes, 0); /* 0 is none */
    bench_hear_pattern(client, 0, sent);
    image.header.buffer_bytes = PARTS * PART;
    bench_apply();
    size_t more = bench_stuff(peer, sent);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_gt(row->throttled, 0);
    bench_hear_pattern(client, 0, more);
    give_back();
}
END_TEST

/* --- bytes that flow unread --- */

static void starve(int *out_client, int *out_peer, size_t *out_sent)
{
    start();
    use_up();
    *out_peer = open_slow(out_client);
    *out_sent = bench_stuff(*out_peer, MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_gt(row->throttled, 0);
    ck_assert_uint_lt(*out_sent, MUCH);
}

START_TEST(nothing_is_kept_and_nothing_is_lost)
{
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    ck_assert_uint_lt(scoreboard_row_cell(&sb, 0, BENCH_ROW(0))->bytes_out, sent);
    bench_say(client, "hello"); /* the other direction goes on */
    bench_hear(peer, "hello");
    bench_carry(peer, sent, client, 0, MUCH);
    ck_assert_uint_eq(scoreboard_row_cell(&sb, 0, BENCH_ROW(0))->bytes_out, MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    give_back();
}
END_TEST

/* Waiting costs nothing: no turn does anything until the client reads. */
START_TEST(who_waits_does_not_spin)
{
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    bench_settle(); /* the kernel may still be making room */
    uint64_t throttled = row->throttled;
    bench_settle();
    ck_assert(!proxy_busy(proxies[0]));
    ck_assert_uint_le(row->throttled, throttled + 1);
    bench_hear_pattern(client, 0, sent);
    give_back();
}
END_TEST

START_TEST(others_do_not_notice)
{
    int slow, slow_peer;
    size_t sent;
    starve(&slow, &slow_peer, &sent);
    int client = bench_client(), peer = bench_accept(0);
    for (int i = 0; i < 20; i++) {
        bench_say(client, "question");
        bench_hear(peer, "question");
        bench_say(peer, "answer");
        bench_hear(client, "answer");
    }
    bench_end(client);
    bench_hear_end(peer);
    bench_end(peer);
    bench_hear_end(client);
    bench_hear_pattern(slow, 0, sent);
    give_back();
}
END_TEST

START_TEST(once_there_is_memory_again_it_is_used)
{
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    give_back();
    uint64_t throttled = row->throttled;
    size_t heard = sent / 2;
    bench_hear_pattern(client, 0, heard);
    sent += bench_stuff(peer, 0);
    ck_assert_uint_eq(row->throttled, throttled);
    bench_hear_pattern(client, heard, sent);
}
END_TEST

/* The end comes behind what waits, and the other direction outlives it. */
START_TEST(an_end_waits_for_its_turn)
{
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    bench_end(peer);
    bench_settle();
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    if (_i == 0) {
        bench_end(client); /* of a client that has ended too */
        bench_hear_end(peer);
    }
    bench_hear_pattern(client, 0, sent);
    bench_hear_end(client);
    if (_i == 1) {
        bench_say(client, "thanks");
        bench_hear(peer, "thanks");
        bench_end(client);
        bench_hear_end(peer);
    }
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_FIN) + bench_ended(ENDING_BACKEND_FIN), 1);
    give_back();
}
END_TEST

START_TEST(a_reset_is_seen_though_nothing_is_read)
{
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    bench_reset(_i == 0 ? peer : client);
    UNTIL(bench_ended(_i == 0 ? ENDING_BACKEND_RESET : ENDING_CLIENT_RESET) == 1);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 0);
    give_back();
}
END_TEST

START_TEST(idle_time_goes_on)
{
    image.service.idle_timeout_ms = 5000;
    int client, peer;
    size_t sent;
    starve(&client, &peer, &sent);
    bench_pass(4900);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(200); /* a first look at what the kernel has for it */
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(5100);
    UNTIL(bench_ended(ENDING_IDLE_TIMEOUT) == 1);
    give_back();
}
END_TEST

/* A slow backend, and one that ends while it is. */
START_TEST(a_slow_backend_is_throttled_too)
{
    start();
    use_up();
    int client = bench_client(), peer = bench_accept(0);
    size_t sent = bench_stuff(client, SIZE_MAX);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_gt(row->throttled, 0);
    bench_end(client);
    bench_hear_pattern(peer, 0, sent);
    bench_hear_end(peer);
    give_back();
}
END_TEST

/* The exchange between two sessions waits for a client as ever. */
START_TEST(a_reset_exchange_waits_for_its_client)
{
    bench_reset_exchange("RESET\n", "+OK\n");
    image.service.half_close_timeout_ms = 60000;
    start();
    use_up();
    int client, peer = open_slow(&client);
    bench_say(client, "ask");
    bench_hear(peer, "ask");
    size_t sent = bench_stuff(peer, MUCH);
    ck_assert_uint_gt(row->throttled, 0);
    bench_end(client);
    bench_hear(peer, "RESET\n");
    bench_settle();
    size_t some = sent / 4;
    bench_hear_pattern(client, 0, some);
    bench_settle();
    ck_assert_uint_eq(row->buffered_bytes, 0);
    bench_pass(10000); /* longer than a backend would be waited for */
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    size_t held_back = strlen("+OK\n"); /* of the last bytes that have come */
    bench_hear_pattern(client, some, sent - held_back);
    bench_say(peer, "+OK\n");
    bench_hear_pattern(client, sent - held_back, sent);
    bench_hear_end(client);
    UNTIL(bench_cell(0)->idle == 1);
    give_back();
}
END_TEST

/* --- sessions with a framing --- */

static int ask(int *out_client)
{
    *out_client = bench_client_with(0, SMALL);
    bench_say(*out_client, GET);
    int up = bench_accept(0);
    bench_hear(up, GET);
    return up;
}

START_TEST(an_answer_waits_for_its_client)
{
    char head[64];
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    start();
    use_up();
    int client, up = ask(&client);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MUCH);
    bench_say(up, head);
    bench_hear(client, head);
    size_t sent = bench_stuff(up, MUCH);
    ck_assert_uint_lt(sent, MUCH);
    ck_assert_uint_gt(row->throttled, 0);
    ck_assert_uint_le(row->buffered_bytes, SMALL);
    bench_carry(up, sent, client, 0, MUCH);
    UNTIL(bench_cell(0)->idle == 1);
    bench_say(client, GET);
    bench_hear(up, GET);
    bench_say(up, OK);
    bench_hear(client, OK);
    give_back();
}
END_TEST

START_TEST(a_question_waits_for_its_backend)
{
    char head[80];
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    start();
    use_up();
    int client = bench_client();
    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nContent-Length: %d\r\nHost: h\r\n\r\n", MUCH);
    bench_say(client, head);
    int up = bench_accept(0);
    bench_hear(up, head);
    size_t sent = bench_stuff(client, MUCH);
    ck_assert_uint_lt(sent, MUCH);
    ck_assert_uint_gt(row->throttled, 0);
    ck_assert_uint_le(row->buffered_bytes, SMALL);
    bench_carry(client, sent, up, 0, MUCH);
    bench_say(up, OK);
    bench_hear(client, OK);
    UNTIL(bench_cell(0)->idle == 1);
    give_back();
}
END_TEST

/* Of what nobody can take yet little is read. */
START_TEST(what_is_pipelined_stays_with_its_sender)
{
    enum { N = 200 };
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    start();
    use_up();
    char all[N * sizeof(GET)] = "";
    for (int i = 0; i < N; i++) {
        strcat(all, GET);
    }
    int client = bench_client();
    bench_say(client, all);
    int up = bench_accept(0);
    bench_hear(up, GET);
    bench_settle();
    ck_assert_uint_gt(row->buffered_bytes, 0);
    ck_assert_uint_le(row->buffered_bytes, 2 * SMALL); /* one is kept for a second try */
    for (int i = 0; i < N; i++) {
        if (i > 0) {
            bench_hear(up, GET);
        }
        bench_say(up, OK);
        bench_hear(client, OK);
    }
    give_back();
}
END_TEST

/* What must be whole before it can go anywhere is kept, however little memory there is. */
START_TEST(a_long_head_is_read_to_its_end)
{
    static char head[8000];
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    start();
    use_up();
    int n = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    memset(head + n, 'x', 7000);
    int client = bench_client();
    bench_say(client, head);
    bench_settle();
    ck_assert_uint_gt(row->buffered_bytes, 7000);
    bench_say(client, "\r\n\r\n");
    int up = bench_accept(0);
    strcat(head, "\r\n\r\n");
    bench_hear(up, head);
    bench_say(up, OK);
    bench_hear(client, OK);
    give_back();
}
END_TEST

START_TEST(a_starved_client_may_leave)
{
    char head[64];
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    start();
    use_up();
    int client, up = ask(&client);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MUCH);
    bench_say(up, head);
    bench_stuff(up, MUCH);
    bench_reset(_i == 0 ? client : up);
    if (_i == 1) {
        UNTIL(sb.slot_active[BENCH_SLOT(0)] == 0);
        ck_assert_uint_eq(proxy_sessions(proxies[0]), 1); /* it may still take its part … */
    }
    /* … which its kernel still does now and then, a little each time. */
    for (int i = 0; i < 10 * _i && bench_ended(ENDING_BACKEND_RESET) == 0; i++) {
        bench_settle();
        bench_pass(5100);
    }
    UNTIL(bench_ended(_i == 0 ? ENDING_CLIENT_RESET : ENDING_BACKEND_RESET) == 1);
    give_back();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/throttle");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, what_is_held_is_counted_in_whole_parts);
    tcase_add_test(tc, many_slow_peers_stay_within_it);
    tcase_add_test(tc, a_new_configuration_changes_the_limit);
    tcase_add_test(tc, nothing_is_kept_and_nothing_is_lost);
    tcase_add_test(tc, who_waits_does_not_spin);
    tcase_add_test(tc, others_do_not_notice);
    tcase_add_test(tc, once_there_is_memory_again_it_is_used);
    tcase_add_loop_test(tc, an_end_waits_for_its_turn, 0, 2);
    tcase_add_loop_test(tc, a_reset_is_seen_though_nothing_is_read, 0, 2);
    tcase_add_test(tc, idle_time_goes_on);
    tcase_add_test(tc, a_slow_backend_is_throttled_too);
    tcase_add_test(tc, a_reset_exchange_waits_for_its_client);
    tcase_add_test(tc, an_answer_waits_for_its_client);
    tcase_add_test(tc, a_question_waits_for_its_backend);
    tcase_add_test(tc, what_is_pipelined_stays_with_its_sender);
    tcase_add_test(tc, a_long_head_is_read_to_its_end);
    tcase_add_loop_test(tc, a_starved_client_may_leave, 0, 2);
    return bench_run(suite);
}
