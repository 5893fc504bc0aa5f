/*
 * Reuse mode session: from a client's end to the next client's beginning, proved quiet by a reset
 * exchange, or by a framing.
 */
#include "proxy_bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int client;
static struct sb_upstream_cell *cell;

static void start(void)
{
    bench_reset_exchange("RESET\n", "GONE\n");
    bench_start();
    cell = bench_cell(0);
}

/* A question and its answer; the upstream is there or comes (-1). */
static int talk(int upstream)
{
    client = bench_client();
    return bench_serve(client, upstream);
}

/* The same, then the client's end; the backend has been asked to forget it. */
static int talk_and_end(int upstream)
{
    int up = talk(upstream);
    bench_end(client);
    bench_hear(up, "RESET\n");
    return up;
}

START_TEST(what_has_forgotten_one_client_serves_the_next)
{
    start();
    int up = -1;
    for (int i = 0; i < 3; i++) {
        up = talk_and_end(up);
        ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
        ck_assert_uint_eq(cell->idle, 0);
        bench_say(up, "GONE\n");
        bench_hear_end(client); /* and none of what was not for it */
        ck_assert_uint_eq(cell->idle, 1);
        ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    }
    ck_assert_uint_eq(cell->opened, 1);
    ck_assert_uint_eq(cell->reused, 2);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connections_total, 3);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_FIN), 3);
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

START_TEST(a_session_keeps_its_upstream)
{
    start();
    int up = talk(-1);
    bench_say(client, "part of");
    bench_hear(up, "part of");
    bench_serve(bench_client(), -1);
    bench_say(client, " a line\n");
    bench_hear(up, " a line\n");
    bench_say(up, "as it comes");
    bench_hear(client, "as it comes");
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 2);
}
END_TEST

START_TEST(who_says_nothing_leaves_nothing)
{
    start();
    client = bench_client();
    int up = bench_accept(0);
    bench_end(client);
    bench_hear(up, "RESET\n");
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    talk(up);
}
END_TEST

/* Each in time, but not all of them together. */
START_TEST(it_may_come_in_pieces)
{
    start();
    int up = talk_and_end(-1);
    static const char answer[] = "GONE\n";
    for (size_t i = 0; i < strlen(answer); i++) {
        bench_say_bytes(up, answer + i, 1);
        bench_settle();
        ck_assert_uint_eq(cell->idle, i == strlen(answer) - 1);
        bench_pass(2000);
    }
    bench_hear_end(client);
}
END_TEST

/* The client ends before it has all of its answer: it gets the rest, and only that. */
START_TEST(the_rest_of_an_answer_is_told_apart)
{
    static const char *const pieces[][4] = {
        {"the restGONE\n"},     {"the rest", "GONE\n"},         {"the restGO", "NE\n"},
        {"the re", "stGONE\n"}, {"the ", "rest", "GO", "NE\n"},
    };
    start();
    int up = talk_and_end(-1);
    for (int i = 0; i < 4 && pieces[_i][i] != NULL; i++) {
        bench_say(up, pieces[_i][i]);
        bench_settle();
    }
    bench_hear(client, "the rest");
    bench_hear_end(client);
    ck_assert_uint_eq(cell->idle, 1);
    struct sb_row_sum sum;
    scoreboard_sum_row(&sb, BENCH_ROW(0), &sum);
    ck_assert_uint_eq(sum.bytes_out, strlen("answer\nthe rest"));
    talk(up);
}
END_TEST

START_TEST(much_of_an_answer_may_be_left)
{
    size_t n = 24 << 20;
    start();
    int up = talk_and_end(-1);
    size_t sent = bench_stuff(up, n);
    ck_assert_uint_lt(sent, n);
    /* A client that takes its time is no fault of the backend's. */
    bench_pass(10000);
    bench_hear_pattern(client, 0, sent / 2);
    bench_settle();
    bench_say(up, "GONE\n");
    bench_hear_pattern(client, sent / 2, sent);
    bench_hear_end(client);
    ck_assert_uint_eq(cell->idle, 1);
}
END_TEST

/* --- with a nonce --- */

#define MARK     "{nonce}"
#define N_DIGITS 16

/* So many characters, whatever they are. */
static void hear_some(int fd, char *out, size_t n)
{
    for (size_t heard = 0; heard < n;) {
        ssize_t got = recv(fd, out + heard, n - heard, 0);
        heard += got > 0 ? (size_t)got : 0;
        bench_turn();
    }
    out[n] = '\0';
}

/* Hears "RESET <digits> <the same>\n" and notes the digits. */
static void hear_nonce(int up, char out[static N_DIGITS + 1])
{
    char other[N_DIGITS + 1];
    bench_hear(up, "RESET ");
    hear_some(up, out, N_DIGITS);
    bench_hear(up, " ");
    hear_some(up, other, N_DIGITS);
    bench_hear(up, "\n");
    ck_assert_str_eq(out, other);
    ck_assert_uint_eq(strspn(out, "0123456789abcdef"), N_DIGITS);
}

static int start_with_nonce(char out_nonce[static N_DIGITS + 1])
{
    bench_reset_exchange("RESET " MARK " " MARK "\n", "GONE " MARK "\n");
    bench_start();
    cell = bench_cell(0);
    int up = talk(-1);
    bench_end(client);
    hear_nonce(up, out_nonce);
    return up;
}

static void say_gone(int up, const char *nonce)
{
    char answer[128];
    snprintf(answer, sizeof(answer), "GONE %s\n", nonce);
    bench_say(up, answer);
}

START_TEST(a_nonce_is_another_each_time)
{
    char nonces[4][N_DIGITS + 1];
    int up = start_with_nonce(nonces[0]);
    for (int i = 0; i < 4; i++) {
        say_gone(up, nonces[i]);
        bench_hear_end(client);
        ck_assert_uint_eq(cell->idle, 1);
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(nonces[i], nonces[j]);
        }
        if (i < 3) {
            talk(up);
            bench_end(client);
            hear_nonce(up, nonces[i + 1]);
        }
    }
    ck_assert_uint_eq(bench_discards(0), 0);
}
END_TEST

/* What a client can have known is its own: the words around, the mark itself, old digits. */
START_TEST(an_answer_without_the_nonce_is_the_clients)
{
    static const char *const said[] = {"GONE \n", "GONE " MARK "\n", "GONE 0123456789abcdef\n"};
    char nonce[N_DIGITS + 1], old[N_DIGITS + 1], own[64];
    int up = start_with_nonce(old);
    say_gone(up, old);
    bench_hear_end(client);
    talk(up);
    bench_end(client);
    hear_nonce(up, nonce);
    snprintf(own, sizeof(own), "GONE %s\n", old);
    const char *data = _i < 3 ? said[_i] : own;
    bench_say(up, data);
    bench_settle();
    ck_assert_uint_eq(cell->idle, 0);
    if (_i % 2 == 0) { /* the right one comes all the same, behind it */
        say_gone(up, nonce);
        bench_hear(client, data);
        bench_hear_end(client);
        ck_assert_uint_eq(cell->idle, 1);
        talk(up);
    } else {
        bench_pass(3100);
        bench_hear(client, data);
        bench_hear_end(client);
        bench_hear_discard(0, DISCARD_RESET_FAILED);
    }
}
END_TEST

START_TEST(it_must_be_the_whole_nonce)
{
    char nonce[N_DIGITS + 1];
    int up = start_with_nonce(nonce);
    nonce[_i] = nonce[_i] == '0' ? '1' : '0';
    say_gone(up, nonce);
    bench_settle();
    bench_pass(3100);
    bench_hear_discard(0, DISCARD_RESET_FAILED);
    ck_assert_uint_eq(cell->reused, 0);
}
END_TEST

/* --- in any doubt it is closed --- */

START_TEST(a_wrong_answer_is_none)
{
    static const char *const wrong[] = {"", "NOPE\n", "GON", "GONE\n!", "GONE\nGONE"};
    start();
    int up = talk_and_end(-1);
    if (wrong[_i][0] != '\0') {
        bench_say(up, wrong[_i]);
    }
    bench_settle();
    bench_pass(2900);
    ck_assert_uint_eq(cell->idle, 0);
    ck_assert_uint_eq(bench_discards(0), 0);
    bench_pass(200);
    bench_hear_discard(0, DISCARD_RESET_FAILED);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    bench_hear_end(up);
    talk(-1);
}
END_TEST

START_TEST(more_behind_the_answer_is_found)
{
    start();
    int up = talk_and_end(-1);
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    bench_say(up, "!");
    bench_hear_discard(0, DISCARD_STRAY_BYTES);
    ck_assert_uint_eq(bench_row(0)->stray_bytes, 1);
    talk(-1);
}
END_TEST

/* What is held back is the client's as soon as it cannot be the other answer. */
START_TEST(an_end_during_the_exchange_keeps_nothing_back)
{
    static const char *const said[] = {"", "the rest", "the restGO", "G", "GONE\n!"};
    static const char *const heard[] = {"", "the rest", "the rest", "", "GONE\n!"};
    start();
    int up = talk_and_end(-1);
    if (said[_i][0] != '\0') {
        bench_say(up, said[_i]);
    }
    bench_settle();
    bench_close(up);
    bench_hear(client, heard[_i]);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_RESET_FAILED);
}
END_TEST

START_TEST(a_slow_client_still_gets_all_when_it_fails)
{
    size_t n = 24 << 20;
    start();
    int up = talk_and_end(-1);
    size_t sent = bench_stuff(up, n);
    ck_assert_uint_lt(sent, n);
    bench_end(up);
    bench_pass(10000);
    bench_hear_pattern(client, 0, sent);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_RESET_FAILED);
}
END_TEST

/* Without a word of it the session is like any other. */
START_TEST(a_reset_that_cannot_be_sent_is_not_begun)
{
    start();
    int up = talk(-1);
    bench_break(up);
    bench_end(client);
    bench_settle();
    bench_hear_end(up);
    bench_say(up, "the rest");
    bench_close(up);
    bench_hear(client, "the rest");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(a_client_that_takes_nothing_is_given_up)
{
    image.service.half_close_timeout_ms = 20000;
    start();
    int up = talk_and_end(-1);
    bench_stuff(up, SIZE_MAX / 2);
    bench_pass(19000);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(4100); /* a first look at what the kernel has for it */
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(20100);
    bench_pass(3100);
    UNTIL(bench_ended(ENDING_HALF_CLOSE_TIMEOUT) == 1);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(who_was_not_answered_is_not_proved_gone)
{
    start();
    int up = talk(-1);
    bench_say(client, "and another thing");
    bench_end(client);
    bench_hear(up, "and another thing");
    bench_hear_end(up); /* its end is passed on */
    bench_say(up, "the answer");
    bench_close(up);
    bench_hear(client, "the answer");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

/* What the backend says before it has been written everything is no answer to that. */
START_TEST(who_was_answered_too_early_is_not_proved_gone)
{
    start();
    int up = talk(-1);
    char blocks[251]; /* what bench_hear_pattern() hears again and again */
    size_t sent = 0;
    for (size_t i = 0; i < sizeof(blocks); i++) {
        blocks[i] = (char)i;
    }
    while (sb.workers[0].buffered_bytes == 0) { /* nothing is left unread: its last bytes wait */
        bench_say_bytes(client, blocks, sizeof(blocks));
        sent += sizeof(blocks);
        bench_turn();
        bench_turn();
    }
    bench_say(up, "too much!");
    bench_hear(client, "too much!");
    bench_end(client);
    bench_hear_pattern(up, 0, sent);
    bench_hear_end(up);
    bench_close(up);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(a_reset_is_no_end)
{
    start();
    int up = talk(-1);
    bench_reset(client);
    bench_hear_reset(up);
    bench_hear_discard(0, DISCARD_SESSION_END);
    talk(-1);
}
END_TEST

START_TEST(a_backend_that_has_ended_is_not_asked)
{
    start();
    int up = talk(-1);
    bench_end(up);
    bench_hear_end(client);
    bench_end(client);
    bench_hear_end(up);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(a_greeting_switches_it_off)
{
    start();
    client = bench_client();
    int up = bench_accept(0);
    bench_say(up, "220 ready\n");
    bench_hear(client, "220 ready\n");
    bench_serve(client, up);
    bench_end(client);
    bench_hear_end(up);
    ck_assert_uint_eq(sb.slots[BENCH_SLOT(0)].reuse_trouble, REUSE_SPEAKS_FIRST);
    bench_close(up);
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
}
END_TEST

START_TEST(another_configuration_meanwhile_counts)
{
    start();
    int up = talk_and_end(-1);
    image.pools[0].reuse.settings++;
    if (_i == 1) {
        image.pools[0].reuse = (struct snapshot_reuse){0};
    }
    bench_apply();
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_CHANGED);
}
END_TEST

START_TEST(a_backend_that_went_down_meanwhile_is_let_go)
{
    bench_check(0);
    start();
    int up = talk_and_end(-1);
    bench_set_health(0, SB_HEALTH_DOWN);
    bench_settle();
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_NOT_UP);
}
END_TEST

START_TEST(uses_are_sessions)
{
    bench_reset_exchange("RESET\n", "GONE\n");
    image.pools[0].reuse.max_uses = 2;
    bench_start();
    int up = talk_and_end(-1);
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    talk_and_end(up);
    bench_say(up, "GONE\n");
    bench_hear_end(client);
    bench_hear_discard(0, DISCARD_MAX_USES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/reset");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, what_has_forgotten_one_client_serves_the_next);
    tcase_add_test(tc, a_session_keeps_its_upstream);
    tcase_add_test(tc, who_says_nothing_leaves_nothing);
    tcase_add_test(tc, it_may_come_in_pieces);
    tcase_add_loop_test(tc, the_rest_of_an_answer_is_told_apart, 0, 5);
    tcase_add_test(tc, much_of_an_answer_may_be_left);
    tcase_add_test(tc, a_nonce_is_another_each_time);
    tcase_add_loop_test(tc, an_answer_without_the_nonce_is_the_clients, 0, 4);
    tcase_add_loop_test(tc, it_must_be_the_whole_nonce, 0, N_DIGITS);
    tcase_add_loop_test(tc, a_wrong_answer_is_none, 0, 5);
    tcase_add_test(tc, more_behind_the_answer_is_found);
    tcase_add_loop_test(tc, an_end_during_the_exchange_keeps_nothing_back, 0, 5);
    tcase_add_test(tc, a_slow_client_still_gets_all_when_it_fails);
    tcase_add_test(tc, a_reset_that_cannot_be_sent_is_not_begun);
    tcase_add_test(tc, a_client_that_takes_nothing_is_given_up);
    tcase_add_test(tc, who_was_not_answered_is_not_proved_gone);
    tcase_add_test(tc, who_was_answered_too_early_is_not_proved_gone);
    tcase_add_test(tc, a_reset_is_no_end);
    tcase_add_test(tc, a_backend_that_has_ended_is_not_asked);
    tcase_add_test(tc, a_greeting_switches_it_off);
    tcase_add_loop_test(tc, another_configuration_meanwhile_counts, 0, 2);
    tcase_add_test(tc, a_backend_that_went_down_meanwhile_is_let_go);
    tcase_add_test(tc, uses_are_sessions);
    return bench_run(suite);
}
