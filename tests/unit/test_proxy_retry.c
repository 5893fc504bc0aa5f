/*
 * What is sent a second time when an upstream fails, and what never is; on which upstreams a first
 * request is risked.
 */
#include "proxy_bench.h"

#include <string.h>

#define GET  "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
/* More than a whole answer is. */
#define HALF_HEAD "HTTP/1.1 200 OK\r\nX-Much: " FILLER FILLER FILLER
#define FILLER    "abcdefghijklmnopqrstuvwxyz"
#define HALF_BODY "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"

static struct sb_upstream_cell *cell;

static void start(enum reuse_policy policy)
{
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1)->policy = policy;
    bench_start();
    cell = bench_cell(0);
}

/* Asks, and waits until it has arrived: on this upstream, or on a new one (-1). Returns which. */
static int ask(int client, const char *request, int upstream)
{
    bench_say(client, request);
    int up = upstream >= 0 ? upstream : bench_accept(0);
    bench_hear(up, request);
    return up;
}

static void answer(int client, int up)
{
    bench_say(up, OK);
    bench_hear(client, OK);
}

/* A client that has been served, and the upstream that has. */
static int serve(int *out_client)
{
    *out_client = bench_client();
    int up = ask(*out_client, GET, -1);
    answer(*out_client, up);
    return up;
}

/* The ways in which a backend goes. */
static void go(int up, int how)
{
    if (how == 0) {
        bench_reset(up);
    } else {
        bench_close(up);
    }
}

START_TEST(unanswered_it_is_sent_once_more)
{
    int client, other = bench_client();
    start(REUSE_ALWAYS);
    int up = ask(other, GET, -1);
    int second = serve(&client);
    answer(other, up);
    /* Two are idle; the newest fails, and the other is not trusted either. */
    ask(client, GET, up);
    go(up, _i);
    int third = bench_accept(0);
    bench_hear(third, GET);
    answer(client, third);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 1);
    ck_assert_uint_eq(bench_row(0)->unsent_retries, 0);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 0);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_hear_silence(second);
    ask(client, GET, third);
}
END_TEST

START_TEST(never_a_third_time)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    ask(client, GET, up);
    go(up, _i);
    up = bench_accept(0);
    bench_hear(up, GET);
    go(up, _i);
    bench_hear_reset(client);
    bench_settle();
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(cell->requests, 2); /* each once, however often it was sent */
    ck_assert_uint_eq(bench_row(0)->resent_retries, 1);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 1);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 1);
}
END_TEST

/* The one that fails may be fresh as well. */
START_TEST(a_first_request_is_sent_once_more_too)
{
    start(REUSE_SAFE);
    int client = bench_client();
    int up = ask(client, GET, -1);
    go(up, _i);
    up = bench_accept(0);
    bench_hear(up, GET);
    answer(client, up);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 1);
}
END_TEST

START_TEST(what_may_do_something_is_not_sent_again)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    ask(client, POST, up);
    go(up, _i);
    bench_hear_reset(client);
    bench_settle();
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_row(0)->ambiguous, 1);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 0);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 1);
}
END_TEST

/* Not a byte of it can have arrived, so anything may be sent anew. */
START_TEST(unsent_it_is_sent_elsewhere)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    bench_break(up);
    bench_say(client, POST);
    up = bench_accept(0);
    bench_hear(up, POST);
    answer(client, up);
    ck_assert_uint_eq(bench_row(0)->unsent_retries, 1);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 0);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 0);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
}
END_TEST

START_TEST(unsent_it_may_still_be_sent_once_more)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    bench_break(up);
    bench_say(client, GET);
    up = bench_accept(0);
    bench_hear(up, GET);
    go(up, _i);
    up = bench_accept(0);
    bench_hear(up, GET);
    answer(client, up);
    ck_assert_uint_eq(bench_row(0)->unsent_retries, 1);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 1);
}
END_TEST

START_TEST(an_answer_that_has_begun_is_not_asked_for_again)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    ask(client, GET, up);
    bench_say(up, HALF_BODY);
    bench_hear(client, HALF_BODY);
    UNTIL(bench_unsent(client) == 0);
    go(up, _i);
    bench_hear_reset(client);
    bench_settle();
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_row(0)->resent_retries, 0);
    ck_assert_uint_eq(bench_row(0)->ambiguous,
                      0); /* the backend has done it, and the client knows */
}
END_TEST

/* What the client has not got does not count, and is not mixed with what it gets then. */
START_TEST(half_a_head_is_no_answer)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    ask(client, GET, up);
    bench_say(up, HALF_HEAD);
    bench_settle();
    go(up, _i);
    up = bench_accept(0);
    bench_hear(up, GET);
    answer(client, up);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 1);
    ask(client, GET, up);
}
END_TEST

START_TEST(a_backend_may_answer_and_go_before_it_has_all)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n";
    static const char full[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    start(REUSE_ALWAYS);
    int client = bench_client();
    int up = ask(client, head, -1);
    bench_stuff(client, SIZE_MAX / 2);
    bench_say(up, full);
    bench_close(up); /* with bytes unread: a reset */
    bench_hear(client, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    bench_hear_end(client);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 0);
}
END_TEST

/* A retry goes by the scheduler as any request does. */
START_TEST(it_may_go_to_another_backend)
{
    image.pools[0].n_backends = 2;
    start(REUSE_ALWAYS);
    int client = bench_client();
    bench_say(client, GET);
    UNTIL(bench_is_called(0) || bench_is_called(1));
    uint32_t b = bench_is_called(0) ? 0 : 1;
    int up = bench_accept(b);
    bench_hear(up, GET);
    bench_stop_listening(b);
    bench_reset(up);
    up = bench_accept(1 - b);
    bench_hear(up, GET);
    answer(client, up);
    ck_assert_uint_eq(bench_row(b)->resent_retries, 1);
    ck_assert_uint_eq(bench_cell(b)->requests, 0);
    ck_assert_uint_eq(bench_cell(1 - b)->requests, 1); /* where it was answered */
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(b)], 0);
}
END_TEST

/* --- which upstreams a first request is risked on --- */

START_TEST(a_first_request_that_may_do_something_wants_a_proven_one)
{
    int client;
    start(REUSE_SAFE);
    int up = serve(&client);
    int second = ask(bench_client(), POST, -1); /* used once: not proven */
    ck_assert_uint_eq(cell->opened, 2);
    ask(client, POST, up); /* not the client's first */
    bench_say(up, OK);
    bench_hear(client, OK);
    ask(bench_client(), POST, up); /* by now it is proven */
    bench_hear_silence(second);
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(cell->reused, 2);
}
END_TEST

/* Where some have served again, backends do not close at once; but who knows what they do later. */
START_TEST(what_one_has_proved_goes_for_others_for_a_while)
{
    int client, other;
    start(REUSE_SAFE);
    int up = serve(&client);
    ask(client, GET, up);
    int second = serve(&other);
    answer(client, up); /* the second time: it is proven */
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_pass(_i == 0 ? 100 : 5000);
    ask(bench_client(), POST, _i == 0 ? second : -1);
    ck_assert_uint_eq(cell->opened, _i == 0 ? 2 : 3);
}
END_TEST

/* One client after the other, with a single request that could not be sent again. */
static int post_once(int upstream)
{
    int client = bench_client();
    int up = ask(client, POST, upstream);
    answer(client, up);
    bench_close(client);
    return up;
}

/* Nobody but idle ones themselves could ever prove that they stay open. */
START_TEST(one_that_lies_quiet_for_a_while_proves_it_for_all)
{
    start(REUSE_SAFE);
    int up = post_once(-1);
    bench_pass(190);
    bench_settle();
    int other = post_once(-1);
    ck_assert_uint_eq(cell->opened, 2);
    bench_pass(120); /* now the first one has been quiet for long enough */
    bench_settle();
    post_once(other);
    post_once(other);
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(cell->reused, 2);
    bench_hear_silence(up);
}
END_TEST

START_TEST(one_that_is_closed_soon_proves_nothing)
{
    start(REUSE_SAFE);
    for (int i = 0; i < 5; i++) {
        int up = post_once(-1);
        bench_pass(150);
        bench_close(up);
        bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
        bench_pass(300);
    }
    ck_assert_uint_eq(cell->opened, 5);
}
END_TEST

/* What is not to be lent is not hoarded: backends have limits. */
START_TEST(until_then_only_a_few_are_kept)
{
    start(REUSE_SAFE);
    for (int i = 0; i < 4; i++) {
        post_once(-1);
    }
    for (int i = 0; i < 3; i++) {
        bench_hear_end(post_once(-1));
        bench_hear_discard(0, DISCARD_UNPROVEN);
    }
    ck_assert_uint_eq(cell->idle, 4);
}
END_TEST

START_TEST(others_take_what_they_may)
{
    int client[6], ups[6];
    start(REUSE_SAFE);
    for (int i = 0; i < 6; i++) {
        client[i] = bench_client();
        ups[i] = ask(client[i], GET, -1);
    }
    for (int i = 0; i < 6; i++) {
        answer(client[i], ups[i]);
    }
    ck_assert_uint_eq(cell->idle, 6);
}
END_TEST

START_TEST(a_first_request_that_may_be_sent_again_takes_any)
{
    int client;
    start(REUSE_SAFE);
    int up = serve(&client);
    ask(bench_client(), GET, up);
    ck_assert_uint_eq(cell->opened, 1);
}
END_TEST

START_TEST(policy_always_takes_any_for_all)
{
    int client;
    start(REUSE_ALWAYS);
    int up = serve(&client);
    ask(bench_client(), POST, up);
    ck_assert_uint_eq(cell->opened, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/retry");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_loop_test(tc, unanswered_it_is_sent_once_more, 0, 2);
    tcase_add_loop_test(tc, never_a_third_time, 0, 2);
    tcase_add_loop_test(tc, a_first_request_is_sent_once_more_too, 0, 2);
    tcase_add_loop_test(tc, what_may_do_something_is_not_sent_again, 0, 2);
    tcase_add_test(tc, unsent_it_is_sent_elsewhere);
    tcase_add_loop_test(tc, unsent_it_may_still_be_sent_once_more, 0, 2);
    tcase_add_loop_test(tc, an_answer_that_has_begun_is_not_asked_for_again, 0, 2);
    tcase_add_loop_test(tc, half_a_head_is_no_answer, 0, 2);
    tcase_add_test(tc, a_backend_may_answer_and_go_before_it_has_all);
    tcase_add_test(tc, it_may_go_to_another_backend);
    tcase_add_test(tc, a_first_request_that_may_do_something_wants_a_proven_one);
    tcase_add_loop_test(tc, what_one_has_proved_goes_for_others_for_a_while, 0, 2);
    tcase_add_test(tc, one_that_lies_quiet_for_a_while_proves_it_for_all);
    tcase_add_test(tc, one_that_is_closed_soon_proves_nothing);
    tcase_add_test(tc, until_then_only_a_few_are_kept);
    tcase_add_test(tc, others_take_what_they_may);
    tcase_add_test(tc, a_first_request_that_may_be_sent_again_takes_any);
    tcase_add_test(tc, policy_always_takes_any_for_all);
    return bench_run(suite);
}
