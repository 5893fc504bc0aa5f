/*
 * Backends that speak before they are asked: how they are found out, and that reuse is over for
 * them then, while their clients are served as they would be without it.
 */
#include "proxy_bench.h"

#include <string.h>

static void find_none_called(void)
{
    bench_settle();
    ck_assert(!bench_is_called(0));
}

static bool is_switched_off(void)
{
    return sb.slots[BENCH_SLOT(0)].reuse_trouble == REUSE_SPEAKS_FIRST;
}

/* Bytes flow unread. */
static void find_plain_session(void)
{
    int client = bench_client();
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    bench_say(up, "one\ntwo\n");
    bench_hear(client, "one\ntwo\n");
    bench_say(up, "three\n");
    bench_hear(client, "three\n");
    bench_end(client);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_end(client);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
}

/* --- on a fresh connection --- */

/* It has greeted before the proxy knows that it is connected. */
START_TEST(a_greeting_is_no_answer)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    bench_say(client, "ask\n");
    UNTIL(sb.slot_active[BENCH_SLOT(0)] == 1);
    bench_acknowledge(0);
    int up = bench_accept(0);
    bench_say(up, "220 ready\n");
    bench_hear(client, "220 ready\n");
    bench_hear(up, "ask\n");
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_SPEAKS_FIRST);
    /* and goes on as it would without reuse */
    bench_say(up, "250 one\n");
    bench_hear(client, "250 one\n");
    bench_say(up, "and two\n");
    bench_hear(client, "and two\n");
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    bench_say(client, "QUIT\n");
    bench_hear(up, "QUIT\n");
    bench_close(up);
    bench_hear_end(client);
    bench_close(client);
    bench_hear_discard(0, DISCARD_OWNED);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
    ck_assert_uint_eq(sb.pools[0].pinned_sessions, 0);
}
END_TEST

/* Nor is what a server says that has no room for one more, and closes. */
START_TEST(what_a_full_backend_says_is_no_greeting)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    bench_say(client, "ask\n");
    UNTIL(sb.slot_active[BENCH_SLOT(0)] == 1);
    bench_acknowledge(0);
    int up = bench_accept(0);
    bench_say(up, "full\n");
    bench_end(up);
    bench_hear(client, "full\n");
    ck_assert(!is_switched_off());
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_serve(bench_client(), -1);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
}
END_TEST

/* Whoever has been asked has not spoken first, however soon the answer is there. */
START_TEST(a_quick_answer_is_no_greeting)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    for (int i = 0; i < 20; i++) {
        int up = bench_serve(bench_client(), -1);
        bench_reset(up);
        bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    }
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_FINE);
}
END_TEST

/* --- on one opened ahead --- */

/* Whoever speaks first cannot be reused: that is over for this backend, and clients are served as
 * without it. */
START_TEST(a_greeting_ends_reuse)
{
    if (_i == 0) {
        bench_reuse(REUSE_REQUEST, FRAMING_LINE)->warm_min = 2;
    } else {
        bench_reset_exchange("RESET\n", "OK\n");
        image.pools[0].reuse.warm_min = 2;
    }
    bench_start();
    int ups[] = {bench_accept(0), bench_accept(0)};
    UNTIL(bench_cell(0)->idle == 2);
    bench_say(ups[0], "220 ready\n");
    UNTIL(bench_cell(0)->idle == 1); /* it is not lent any more */
    bench_pass(900);
    ck_assert(!is_switched_off()); /* it may be a farewell */
    bench_pass(200);
    bench_hear_end(ups[1]);
    ck_assert(is_switched_off());
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_STRAY_BYTES], 1);
    ck_assert_uint_eq(bench_row(0)->discarded[DISCARD_SWITCHED_OFF], 1);
    bench_pass(2000);
    find_none_called();
    find_plain_session();
    ck_assert_uint_eq(bench_row(0)->pins, 0);
    ck_assert_uint_eq(sb.pools[0].pinned_sessions, 0); /* no news of its clients */
}
END_TEST

/* Some servers say so when they have no room, and close. */
START_TEST(a_backend_that_is_full_does_not_greet)
{
    bench_reuse(REUSE_REQUEST, FRAMING_RESP)->warm_min = 2;
    bench_start();
    for (int i = 0; i < 3; i++) {
        int ups[] = {bench_accept(0), bench_accept(0)};
        UNTIL(bench_cell(0)->idle == 2);
        for (int k = 0; k < 2; k++) {
            bench_say(ups[k], "-ERR max number of clients reached\r\n");
            if (_i == 0) {
                bench_settle();
                bench_pass(400);
            }
            bench_close(ups[k]);
            bench_hear_discard(0, DISCARD_TURNED_AWAY);
        }
        bench_pass(4500); /* it is left alone for a while */
        find_none_called();
        bench_pass(600);
    }
    ck_assert(!is_switched_off());
    bench_accept(0);
}
END_TEST

/* --- framings that take any bytes for an answer --- */

static void unheard(enum reuse_mode mode)
{
    bench_reuse(mode, FRAMING_LINE);
    bench_make_unheard(0);
    bench_start();
}

/* One connection listens for a while; others end with their request. */
START_TEST(nothing_is_kept_before_the_backend_was_listened_to)
{
    unheard(_i == 0 ? REUSE_REQUEST : REUSE_SESSION);
    int listening = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    for (int i = 0; i < 2; i++) {
        int client = bench_client();
        int up = bench_serve(client, -1);
        bench_end(client);
        bench_hear_end(client);
        bench_hear_end(up);
        bench_hear_discard(0, DISCARD_UNHEARD);
    }
    bench_pass(900);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 0);
    bench_pass(200);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 1);
    int client = bench_client();
    bench_serve(client, listening);
    bench_end(client);
    bench_hear_end(client);
    bench_serve(bench_client(), listening);
    find_none_called();
}
END_TEST

START_TEST(who_greets_meanwhile_is_found_out)
{
    unheard(_i == 0 ? REUSE_REQUEST : REUSE_SESSION);
    int listening = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(500);
    bench_say(listening, "220 ready\n");
    bench_settle();
    bench_pass(600);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 0);
    bench_pass(600);
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    ck_assert(is_switched_off());
    bench_pass(3000);
    find_none_called();
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 0);
    find_plain_session();
}
END_TEST

/* Nothing is known of one that has not stayed. */
START_TEST(who_leaves_meanwhile_is_listened_to_anew)
{
    unheard(REUSE_REQUEST);
    int listening = bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(500);
    bench_close(listening);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_pass(600);
    bench_accept(0);
    UNTIL(bench_cell(0)->idle == 1);
    bench_pass(500);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 0);
    bench_pass(600);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].heard, 1);
    ck_assert(!is_switched_off());
}
END_TEST

START_TEST(other_framings_know_a_greeting_from_an_answer)
{
    bench_reuse(REUSE_REQUEST, FRAMING_RESP);
    bench_make_unheard(0);
    bench_start();
    bench_pass(100);
    find_none_called();
    int client = bench_client();
    bench_say(client, "GET k\r\n");
    int up = bench_accept(0);
    bench_hear(up, "GET k\r\n");
    bench_say(up, "+v\r\n");
    bench_hear(client, "+v\r\n");
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
}
END_TEST

/* --- a greeting that meets the question on its way --- */

/* It passes for the answer, which comes behind it and is nobody's any more. */
static void meet(bool at_once)
{
    int client = bench_client();
    bench_say(client, "ask\n");
    int up = bench_accept(0);
    bench_hear(up, "ask\n");
    bench_say(up, "220 ready\n");
    if (!at_once) {
        bench_hear(client, "220 ready\n");
    }
    bench_say(up, "answer\n");
    if (at_once) {
        bench_hear(client, "220 ready\n");
    }
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    bench_close(client);
}

START_TEST(it_is_known_by_what_comes_behind_it)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    meet(_i == 0);
    ck_assert(!is_switched_off()); /* once is a slip */
    meet(_i == 0);
    ck_assert(is_switched_off());
    find_plain_session();
}
END_TEST

START_TEST(who_has_served_again_does_not_greet)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int up = bench_serve(client, -1);
    bench_serve(client, up);
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    for (int i = 0; i < 5; i++) {
        meet(i % 2 == 0);
    }
    ck_assert(!is_switched_off());
}
END_TEST

START_TEST(a_farewell_is_no_greeting)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    for (int i = 0; i < 5; i++) {
        int up = bench_serve(bench_client(), -1);
        bench_pass(2000);
        bench_say(up, "421 idle too long\n");
        bench_hear_discard(0, DISCARD_STRAY_BYTES);
    }
    ck_assert(!is_switched_off());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/greeting");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, a_greeting_is_no_answer);
    tcase_add_test(tc, what_a_full_backend_says_is_no_greeting);
    tcase_add_test(tc, a_quick_answer_is_no_greeting);
    tcase_add_loop_test(tc, a_greeting_ends_reuse, 0, 2);
    tcase_add_loop_test(tc, a_backend_that_is_full_does_not_greet, 0, 2);
    tcase_add_loop_test(tc, nothing_is_kept_before_the_backend_was_listened_to, 0, 2);
    tcase_add_loop_test(tc, who_greets_meanwhile_is_found_out, 0, 2);
    tcase_add_test(tc, who_leaves_meanwhile_is_listened_to_anew);
    tcase_add_test(tc, other_framings_know_a_greeting_from_an_answer);
    tcase_add_loop_test(tc, it_is_known_by_what_comes_behind_it, 0, 2);
    tcase_add_test(tc, who_has_served_again_does_not_greet);
    tcase_add_test(tc, a_farewell_is_no_greeting);
    return bench_run(suite);
}
