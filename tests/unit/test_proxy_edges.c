/*
 * Sessions with a framing, at the edges: answers that come late, clients that say half and go, what
 * must not be counted twice, backends of which little is known, and workers that are to end.
 */
#include "proxy_bench.h"

#include <string.h>

#define SELECT     "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
#define SETNAME    "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n"
#define HALF_CLOSE 500
#define FIRST_LOOK 2100 /* at a client whose first request is under way */

static struct sb_upstream_cell *cell;

static void start(enum reuse_mode mode, enum framing_kind framing)
{
    bench_reuse(mode, framing);
    bench_start();
    cell = bench_cell(0);
}

/* One request and its answer, through this upstream, or (-1) a new one. Returns that. */
static int exchange(int client, int up, const char *request, const char *answer)
{
    bench_say(client, request);
    up = up >= 0 ? up : bench_accept(0);
    bench_hear(up, request);
    bench_say(up, answer);
    bench_hear(client, answer);
    return up;
}

/* --- late answers --- */

/* It may be for whoever had the upstream before. */
START_TEST(a_late_answer_is_not_given_to_the_next_session)
{
    start(REUSE_SESSION, FRAMING_LINE);
    int first = bench_client();
    int up = bench_serve(first, -1);
    bench_end(first);
    bench_hear_end(first);
    UNTIL(cell->idle == 1);
    int client = bench_client();
    bench_serve(client, up);
    bench_say(up, "late\n");
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    bench_hear_reset(up);
    bench_hear_silence(client);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, 5);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    up = bench_serve(client, -1);
    bench_serve(client, up);
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
}
END_TEST

START_TEST(a_late_answer_is_the_sessions_own_if_there_was_no_other)
{
    start(REUSE_SESSION, FRAMING_LINE);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_serve(client, up);
    bench_say(up, "late\n");
    bench_hear(client, "late\n");
    ck_assert_uint_eq(cell->pinned, 1);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, 0);
    bench_close(client);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_discard(0, DISCARD_OWNED);
}
END_TEST

/* --- clients that are silent, or leave --- */

/* No answer would tell that it has been done, so another question is put behind it. */
START_TEST(a_question_is_put_behind_what_has_no_answer)
{
    start(REUSE_REQUEST, FRAMING_MEMCACHED);
    int client = bench_client();
    bench_say(client, "set k 0 0 1 noreply\r\nx\r\n");
    int up = bench_accept(0);
    bench_hear(up, "set k 0 0 1 noreply\r\nx\r\nversion\r\n");
    bench_say(up, "VERSION 1.6.18\r\n");
    UNTIL(cell->idle == 1);
    bench_hear_silence(client);
    exchange(client, up, "get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

/* A new client that asks (0), or one that has been answered before (1). */
static int ask(int *out_client, int round, const char *request, const char *answer)
{
    *out_client = bench_client();
    int up = -1;
    if (round == 1) {
        up = exchange(*out_client, -1, request, answer);
        bench_settle();
    }
    bench_say(*out_client, request);
    up = up >= 0 ? up : bench_accept(0);
    bench_hear(up, request);
    return up;
}

START_TEST(who_has_ended_waits_for_an_answer_but_not_for_ever)
{
    int client;
    image.service.half_close_timeout_ms = HALF_CLOSE;
    start(REUSE_REQUEST, FRAMING_LINE);
    int up = ask(&client, _i, "ask\n", "answer\n");
    bench_end(client);
    bench_settle();
    bench_pass(_i == 0 ? FIRST_LOOK : 0);
    bench_settle();
    bench_pass(HALF_CLOSE - 100);
    bench_hear_silence(client);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(200);
    bench_hear_reset(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_HALF_CLOSE_TIMEOUT), 1);
}
END_TEST

/* All of them, each in its time. */
START_TEST(who_has_ended_gets_all_its_answers)
{
    int client;
    bool in_time = _i < 2;
    image.service.half_close_timeout_ms = HALF_CLOSE;
    start(REUSE_REQUEST, FRAMING_RESP);
    int up = ask(&client, _i & 1, "KEYS *\r\n", "*0\r\n");
    bench_say(client, "PING\r\n");
    bench_end(client);
    bench_settle();
    bench_pass((_i & 1) == 0 ? FIRST_LOOK : 0);
    bench_settle();
    bench_pass(HALF_CLOSE - 100);
    bench_hear_silence(client);
    bench_say(up, "*0\r\n");
    bench_hear(client, "*0\r\n");
    bench_hear(up, "PING\r\n");
    UNTIL(bench_unsent(client) == 0 && bench_unsent(up) == 0);
    bench_pass(HALF_CLOSE - 100);
    bench_hear_silence(client);
    bench_pass(in_time ? 0 : 200);
    if (in_time) {
        bench_say(up, "+PONG\r\n");
        bench_hear(client, "+PONG\r\n");
        bench_hear_end(client);
        UNTIL(bench_ended(ENDING_CLIENT_FIN) == 1);
        ck_assert_uint_eq(cell->idle, 1);
    } else {
        bench_hear_reset(client);
        UNTIL(bench_ended(ENDING_HALF_CLOSE_TIMEOUT) == 1);
    }
}
END_TEST

#define POP    "BLPOP k 0\r\n"
#define POPPED "*2\r\n$1\r\nk\r\n$1\r\nv\r\n"

/* Who waits for what others do, and ends, no longer wants it: that is for the backend to know, and
 * at once, or it would give it to nobody. */
START_TEST(who_ends_while_it_waits_has_its_end_passed_on)
{
    int client;
    start(REUSE_REQUEST, FRAMING_RESP);
    int up = ask(&client, _i & 1, POP, POPPED);
    if (_i >= 2) {
        bench_say(client, "PING\r\n");
    }
    bench_end(client);
    bench_hear_end(up);
    bench_hear_silence(client);
    (_i == 2 ? bench_reset : bench_close)(up);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
    UNTIL(bench_ended(ENDING_CLIENT_FIN) + bench_ended(ENDING_BACKEND_FIN) == 1);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 0);
}
END_TEST

/* The answer was on its way already. What comes behind it is nobody's, as ever. */
START_TEST(who_ends_while_it_waits_may_get_its_answer_all_the_same)
{
    int client;
    start(REUSE_REQUEST, FRAMING_RESP);
    int up = ask(&client, _i & 1, POP, POPPED);
    if (_i >= 2) {
        bench_say(client, "PING\r\n");
    }
    bench_end(client);
    bench_hear_end(up);
    bench_say(up, _i == 1 ? POPPED POPPED : POPPED);
    bench_hear(client, POPPED);
    bench_hear_discard(0, _i == 1 ? DISCARD_STRAY_BYTES : DISCARD_SESSION_END);
    if (_i >= 2) {
        up = bench_accept(0);
        bench_hear(up, "PING\r\n");
        bench_say(up, "+PONG\r\n");
        bench_hear(client, "+PONG\r\n");
        UNTIL(cell->idle == 1);
    }
    bench_hear_end(client);
    UNTIL(bench_ended(ENDING_CLIENT_FIN) == 1);
}
END_TEST

START_TEST(a_transaction_ends_with_what_was_told_of_its_clients_end)
{
    start(REUSE_REQUEST, FRAMING_RESP);
    int client = bench_client();
    int up = exchange(client, -1, "MULTI\r\n", "+OK\r\n");
    bench_say(client, POP);
    bench_hear(up, POP);
    bench_end(client);
    bench_hear_end(up);
    bench_say(up, "+QUEUED\r\n");
    bench_hear(client, "+QUEUED\r\n");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_OWNED);
}
END_TEST

START_TEST(who_leaves_while_it_waits_is_missed_at_once)
{
    int client;
    start(REUSE_REQUEST, FRAMING_RESP);
    int up = ask(&client, _i, "BLPOP k 0\r\n", "*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
    bench_reset(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
    bench_hear_reset(up);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_RESET), 1);
}
END_TEST

/* --- what is there already --- */

START_TEST(only_opening_counts_for_connect_rate)
{
    image.backends[0].connect_rate =
        (struct snapshot_rate){.interval_ns = UINT64_C(3600000000000), .burst = 1};
    start(REUSE_REQUEST, FRAMING_LINE);
    int client = bench_client();
    int up = bench_serve(client, -1);
    for (int i = 0; i < 20; i++) {
        bench_serve(client, up);
    }
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(cell->requests, 21);
    int other = bench_client();
    bench_say(client, "ask\n");
    bench_hear(up, "ask\n");
    bench_say(other, "ask\n"); /* this one would need another */
    bench_settle();
    ck_assert(!bench_is_called(0));
}
END_TEST

/* A client that begins as all do; start: what its first command goes to. */
static int greet(int client, int start, int named)
{
    start = exchange(client, start, SELECT, "+OK\r\n");
    named = named >= 0 ? named : start;
    exchange(client, named, SETNAME, "+OK\r\n");
    exchange(client, named, "GET k\r\n", "+v\r\n");
    return start;
}

START_TEST(a_handshake_of_two_commands_finds_who_has_done_both)
{
    bench_reuse(REUSE_SESSION, FRAMING_RESP)->handshake_key = 1;
    bench_start();
    cell = bench_cell(0);
    int clients[4], begun = -1;
    int up = -1;
    for (int i = 0; i < 4; i++) {
        clients[i] = bench_client();
        if (i == 0) {
            up = greet(clients[i], -1, -1);
        } else {
            /* The second one finds nobody who has done the first command alone. */
            begun = greet(clients[i], begun, up);
        }
        bench_end(clients[i]);
        bench_hear_end(clients[i]);
    }
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(cell->idle, 2);
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

/* --- backends that have not been listened to --- */

START_TEST(nothing_is_kept_before_one_has_been_listened_to)
{
    bench_make_unheard(0);
    start(REUSE_REQUEST, FRAMING_LINE);
    int probe = bench_accept(0);
    UNTIL(cell->idle == 1);
    int client = bench_client();
    for (int i = 0; i < 2; i++) {
        int up = bench_serve(client, -1);
        bench_hear_discard(0, DISCARD_UNHEARD);
        bench_hear_end(up);
    }
    bench_pass(900);
    bench_hear_end(bench_serve(client, -1));
    bench_hear_silence(probe);
    bench_hear_discard(0, DISCARD_UNHEARD);
    bench_pass(200);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 1);
    for (int i = 0; i < 3; i++) {
        bench_serve(client, probe);
    }
    ck_assert_uint_eq(cell->idle, 1);
}
END_TEST

START_TEST(a_greeting_to_nobody_switches_reuse_off)
{
    bench_make_unheard(0);
    start(REUSE_REQUEST, FRAMING_LINE);
    int probe = bench_accept(0);
    UNTIL(cell->idle == 1);
    bench_say(probe, "welcome\n");
    bench_settle();
    bench_pass(1100);
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    bench_hear_reset(probe);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_SPEAKS_FIRST);
    bench_pass(1100);
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 0);
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_say(up, "more\n"); /* nobody counts its lines any more */
    bench_hear(client, "more\n");
}
END_TEST

/* --- the end of a worker --- */

/* In the second half an answer takes so long that its client's last event is looked at again. */
START_TEST(a_drain_ends_who_asks_nothing_and_lets_the_others_have_their_answer)
{
    bool is_shared = _i % 2 == 0;
    start(is_shared ? REUSE_REQUEST : REUSE_SESSION, FRAMING_LINE);
    int idle = bench_client(), busy = bench_client();
    int up = bench_serve(idle, -1);
    up = bench_serve(busy, is_shared ? up : -1);
    bench_settle();
    bench_say(busy, "ask\n");
    bench_hear(up, "ask\n");
    if (_i >= 2) {
        bench_pass(150);
        bench_settle();
    }
    proxy_drain(proxies[0], UINT64_MAX);
    bench_hear_end(idle);
    bench_hear_silence(busy);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_say(up, "answer\n");
    bench_hear(busy, "answer\n");
    bench_hear_end(busy);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_FIN), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/edges");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, a_late_answer_is_not_given_to_the_next_session);
    tcase_add_test(tc, a_late_answer_is_the_sessions_own_if_there_was_no_other);
    tcase_add_test(tc, a_question_is_put_behind_what_has_no_answer);
    tcase_add_loop_test(tc, who_has_ended_waits_for_an_answer_but_not_for_ever, 0, 2);
    tcase_add_loop_test(tc, who_has_ended_gets_all_its_answers, 0, 4);
    tcase_add_loop_test(tc, who_ends_while_it_waits_has_its_end_passed_on, 0, 4);
    tcase_add_loop_test(tc, who_ends_while_it_waits_may_get_its_answer_all_the_same, 0, 4);
    tcase_add_test(tc, a_transaction_ends_with_what_was_told_of_its_clients_end);
    tcase_add_loop_test(tc, who_leaves_while_it_waits_is_missed_at_once, 0, 2);
    tcase_add_test(tc, only_opening_counts_for_connect_rate);
    tcase_add_test(tc, a_handshake_of_two_commands_finds_who_has_done_both);
    tcase_add_test(tc, nothing_is_kept_before_one_has_been_listened_to);
    tcase_add_test(tc, a_greeting_to_nobody_switches_reuse_off);
    tcase_add_loop_test(tc, a_drain_ends_who_asks_nothing_and_lets_the_others_have_their_answer, 0,
                        4);
    return bench_run(suite);
}
