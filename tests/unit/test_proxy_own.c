/*
 * What a client leaves on its upstream: handshakes, which others may share; transactions, which pin
 * it until they are over; and what makes it the client's own to the end.
 */
#include "proxy_bench.h"

#include <string.h>

#define SELECT_7 "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
#define SELECT_8 "*2\r\n$6\r\nSELECT\r\n$1\r\n8\r\n"
#define UPGRADE  "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
#define SWITCHED "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"

static struct sb_upstream_cell *cell;

static struct snapshot_reuse *start(enum reuse_mode mode)
{
    struct snapshot_reuse *reuse = bench_reuse(mode, FRAMING_RESP);
    reuse->handshake_key = 1;
    bench_start();
    cell = bench_cell(0);
    return reuse;
}

/* A command and its answer, on this upstream or on a new one (-1). Returns which. */
static int run(int client, int upstream, const char *command, const char *answer)
{
    bench_say(client, command);
    int up = upstream >= 0 ? upstream : bench_accept(0);
    bench_hear(up, command);
    bench_say(up, answer);
    bench_hear(client, answer);
    return up;
}

static int get(int client, int upstream)
{
    return run(client, upstream, "GET k\r\n", "$1\r\nv\r\n");
}

/* --- handshakes --- */

START_TEST(clients_with_the_same_handshake_share)
{
    start(REUSE_REQUEST);
    int first = bench_client(), second = bench_client();
    int up = run(first, -1, SELECT_7, "+OK\r\n");
    run(second, up, SELECT_7, "+OK\r\n");
    get(first, up);
    get(second, up);
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(cell->reused, 3);
}
END_TEST

START_TEST(clients_with_different_ones_never_do)
{
    start(REUSE_REQUEST);
    int seven = bench_client(), eight = bench_client(), none = bench_client();
    int up7 = run(seven, -1, SELECT_7, "+OK\r\n");
    int up0 = get(none, -1); /* the one that is idle has done what it has not asked for */
    run(eight, up0, SELECT_8, "+OK\r\n");
    int up8 = up0; /* is not what it was */
    up0 = get(none, -1);
    for (int i = 0; i < 3; i++) {
        get(eight, up8);
        get(seven, up7);
        get(none, up0);
    }
    ck_assert_uint_eq(cell->opened, 3);
    ck_assert_uint_eq(cell->idle, 3);
}
END_TEST

START_TEST(a_fresh_one_is_brought_to_the_handshake)
{
    start(REUSE_REQUEST);
    int first = bench_client(), second = bench_client();
    int up = run(first, -1, SELECT_7, "+OK\r\n");
    run(second, up, SELECT_7, "+OK\r\n");
    bench_say(first, "GET a\r\n");
    bench_hear(up, "GET a\r\n");
    bench_say(second, "GET b\r\n");
    int fresh = bench_accept(0);
    bench_hear(fresh, SELECT_7);
    bench_hear_silence(fresh);
    bench_say(fresh, "+OK\r\n");
    bench_hear(fresh, "GET b\r\n");
    bench_say(fresh, "$1\r\nb\r\n");
    bench_hear(second, "$1\r\nb\r\n"); /* and nothing of what was not its own */
    bench_say(up, "$1\r\na\r\n");
    bench_hear(first, "$1\r\na\r\n");
    get(bench_client(), -1);
    get(first, up);
    ck_assert_uint_eq(cell->idle, 3);
}
END_TEST

/* Ends up with a client whose handshake is being repeated on an upstream of its own. */
static int prepare(int *out_fresh)
{
    int client = bench_client();
    int up = run(client, -1, SELECT_7, "+OK\r\n");
    bench_close(up);
    bench_hear_discard(0, DISCARD_BACKEND_CLOSED);
    bench_say(client, "SET k v\r\n");
    *out_fresh = bench_accept(0);
    bench_hear(*out_fresh, SELECT_7);
    return client;
}

START_TEST(a_handshake_that_is_refused_then_ends_the_session)
{
    int fresh;
    start(REUSE_REQUEST);
    int client = prepare(&fresh);
    bench_say(fresh, _i == 0 ? "-ERR no\r\n" : "+OK\r\n+OK\r\n");
    bench_hear_reset(client);
    bench_hear_end(fresh);
    bench_hear_discard(0, DISCARD_HANDSHAKE);
    ck_assert_uint_eq(bench_row(0)->ambiguous, 0);
}
END_TEST

/* The request itself has not been sent. */
START_TEST(an_end_during_a_handshake_leads_elsewhere)
{
    int fresh;
    start(REUSE_REQUEST);
    int client = prepare(&fresh);
    if (_i == 0) {
        bench_reset(fresh);
    } else {
        bench_close(fresh);
    }
    fresh = bench_accept(0);
    bench_hear(fresh, SELECT_7);
    bench_say(fresh, "+OK\r\n");
    bench_hear(fresh, "SET k v\r\n");
    bench_say(fresh, "+OK\r\n");
    bench_hear(client, "+OK\r\n");
    ck_assert_uint_eq(bench_row(0)->unsent_retries, 1);
    ck_assert_uint_eq(bench_row(0)->resent_retries, 0);
}
END_TEST

START_TEST(without_keys_a_handshake_owns)
{
    bench_reuse(REUSE_REQUEST, FRAMING_RESP);
    bench_start();
    int client = bench_client();
    int up = run(client, -1, SELECT_7, "+OK\r\n");
    get(client, up);
    get(bench_client(), -1);
    bench_close(client);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_discard(0, DISCARD_OWNED);
}
END_TEST

/* Its client may go on where all of it is done already. */
START_TEST(amid_a_handshake_nothing_is_kept)
{
    start(REUSE_SESSION);
    int client = bench_client();
    int up = run(client, -1, SELECT_7, "+OK\r\n");
    ck_assert_uint_eq(cell->idle, 1);
    ck_assert_uint_eq(cell->lent, 0);
    get(client, up);
    ck_assert_uint_eq(cell->idle, 0);
    ck_assert_uint_eq(cell->lent, 1);
    get(client, up);
    get(bench_client(), -1);
}
END_TEST

/* --- transactions --- */

START_TEST(a_transaction_pins_until_it_is_over)
{
    start(REUSE_REQUEST);
    int client = bench_client(), other = bench_client();
    int up = run(client, -1, "MULTI\r\n", "+OK\r\n");
    ck_assert_uint_eq(cell->pinned, 1);
    ck_assert_uint_eq(cell->lent, 1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    int second = get(other, -1);
    run(client, up, "SET k v\r\n", "+QUEUED\r\n");
    get(other, second);
    run(client, up, "EXEC\r\n", "*1\r\n+OK\r\n");
    ck_assert_uint_eq(cell->pinned, 0);
    ck_assert_uint_eq(cell->lent, 0);
    ck_assert_uint_eq(cell->idle, 2);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    get(other, up);
    ck_assert_uint_eq(cell->opened, 2);
    ck_assert_uint_eq(bench_discards(0), 0);
    ck_assert_uint_eq(bench_row(0)->pins, 1);
    ck_assert_uint_eq(sb.pools[0].pinned_sessions, 1);
    ck_assert_str_eq(sb.pools[0].pin_command, "MULTI");
}
END_TEST

START_TEST(a_session_counts_once_among_those_that_pin)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = -1;
    for (int i = 0; i < 3; i++) {
        up = run(client, up, "MULTI\r\n", "+OK\r\n");
        run(client, up, "DISCARD\r\n", "+OK\r\n");
    }
    ck_assert_uint_eq(bench_row(0)->pins, 3);
    ck_assert_uint_eq(sb.pools[0].pinned_sessions, 1);
}
END_TEST

START_TEST(who_leaves_amid_a_transaction_leaves_it_to_nobody)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = run(client, -1, "MULTI\r\n", "+OK\r\n");
    if (_i == 0) {
        bench_close(client);
        bench_hear_end(up);
    } else {
        bench_reset(client);
        bench_hear_reset(up);
    }
    bench_hear_discard(0, DISCARD_OWNED);
    ck_assert_uint_eq(cell->pinned, 0);
}
END_TEST

/* What has been begun there is lost, and the client must not go on elsewhere as if it were not. */
START_TEST(a_transaction_ends_with_its_upstream)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = run(client, -1, "MULTI\r\n", "+OK\r\n");
    switch (_i) {
    case 0:
        bench_close(up);
        bench_hear_end(client);
        break;
    case 1:
        bench_reset(up);
        bench_hear_reset(client);
        break;
    case 2:
        bench_break(up);
        bench_say(client, "SET k v\r\n");
        bench_hear_reset(client);
        break;
    default:
        bench_say(client, "SET k v\r\n");
        bench_hear(up, "SET k v\r\n");
        bench_say(up, "+QUEUED\r\nboo");
        bench_hear(client, "+QUEUED\r\n");
        bench_hear_end(client);
        break;
    }
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert(!bench_is_called(0));
    ck_assert_uint_eq(bench_discards(0), 1);
    ck_assert_uint_eq(cell->pinned, 0);
}
END_TEST

/* --- owned --- */

START_TEST(a_subscriber_owns_its_upstream)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    int up = get(client, -1);
    bench_say(client, "SUBSCRIBE c\r\nPING\r\nUNSUB");
    bench_hear(up, "SUBSCRIBE c\r\nPING\r\nUNSUB"); /* in hand or not, in order */
    bench_say(up, "whatever it is");
    bench_hear(client, "whatever it is");
    bench_say(client, "SCRIBE\r\n");
    bench_hear(up, "SCRIBE\r\n");
    ck_assert_uint_eq(cell->pinned, 1);
    ck_assert_uint_eq(bench_row(0)->pins, 1);
    ck_assert_str_eq(sb.pools[0].pin_command, "SUBSCRIBE");
    get(bench_client(), -1);
    bench_end(client);
    bench_hear_end(up); /* each direction closes by itself again */
    bench_say(up, "the rest");
    bench_hear(client, "the rest");
    bench_close(up);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_OWNED);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_FIN), 1);
    struct sb_row_sum sum;
    scoreboard_sum_row(&sb, BENCH_ROW(0), &sum);
    ck_assert_uint_eq(sum.bytes_in,
                      strlen("GET k\r\nSUBSCRIBE c\r\nPING\r\nUNSUBSCRIBE\r\nGET k\r\n"));
}
END_TEST

START_TEST(an_upgrade_owns_its_upstream)
{
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    bench_start();
    int client = bench_client();
    bench_say(client, UPGRADE "ahead");
    int up = bench_accept(0);
    bench_hear(up, UPGRADE);
    bench_hear_silence(up); /* it may yet be a request */
    bench_say(up, SWITCHED "at once");
    bench_hear(client, SWITCHED "at once");
    bench_hear(up, "ahead");
    bench_carry(client, 0, up, 0, 300000);
    bench_carry(up, 0, client, 0, 300000);
    bench_close(up);
    bench_hear_end(client);
    bench_close(client);
    bench_hear_discard(0, DISCARD_OWNED);
    ck_assert_str_eq(sb.pools[0].pin_command, "upgrade");
}
END_TEST

START_TEST(an_upgrade_that_is_declined_owns_nothing)
{
    static const char declined[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    bench_reuse(REUSE_REQUEST, FRAMING_HTTP1);
    bench_start();
    int client = bench_client();
    int up = run(client, -1, UPGRADE, declined);
    run(bench_client(), up, UPGRADE, declined);
    ck_assert_uint_eq(bench_row(0)->pins, 0);
}
END_TEST

/* --- leaving --- */

START_TEST(a_goodbye_is_answered_here)
{
    start(_i == 0 ? REUSE_REQUEST : REUSE_SESSION);
    int client = bench_client();
    int up = get(client, -1);
    bench_say(client, "QUIT\r\n");
    bench_hear(client, "+OK\r\n");
    bench_hear_end(client);
    bench_hear_silence(up);
    get(bench_client(), up);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_FIN), 1);
}
END_TEST

START_TEST(a_goodbye_alone_needs_no_backend)
{
    start(REUSE_REQUEST);
    int client = bench_client();
    bench_say(client, "QUIT\r\n");
    bench_hear(client, "+OK\r\n");
    bench_hear_end(client);
    ck_assert(!bench_is_called(0));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/own");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, clients_with_the_same_handshake_share);
    tcase_add_test(tc, clients_with_different_ones_never_do);
    tcase_add_test(tc, a_fresh_one_is_brought_to_the_handshake);
    tcase_add_loop_test(tc, a_handshake_that_is_refused_then_ends_the_session, 0, 2);
    tcase_add_loop_test(tc, an_end_during_a_handshake_leads_elsewhere, 0, 2);
    tcase_add_test(tc, without_keys_a_handshake_owns);
    tcase_add_test(tc, amid_a_handshake_nothing_is_kept);
    tcase_add_test(tc, a_transaction_pins_until_it_is_over);
    tcase_add_test(tc, a_session_counts_once_among_those_that_pin);
    tcase_add_loop_test(tc, who_leaves_amid_a_transaction_leaves_it_to_nobody, 0, 2);
    tcase_add_loop_test(tc, a_transaction_ends_with_its_upstream, 0, 4);
    tcase_add_test(tc, a_subscriber_owns_its_upstream);
    tcase_add_test(tc, an_upgrade_owns_its_upstream);
    tcase_add_test(tc, an_upgrade_that_is_declined_owns_nothing);
    tcase_add_loop_test(tc, a_goodbye_is_answered_here, 0, 2);
    tcase_add_test(tc, a_goodbye_alone_needs_no_backend);
    return bench_run(suite);
}
