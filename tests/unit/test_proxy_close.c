/*
 * Sessions closed by command: which, in what order, how fast, and how their ends look to either
 * side.
 */
#include "proxy_bench.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MANY   300
#define A_TURN 256

static int clients[MANY], peers[MANY];
static struct session_closing told;

static void open_sessions(int n)
{
    for (int i = 0; i < n; i++) {
        clients[i] = bench_client();
        peers[i] = bench_accept(0);
    }
    UNTIL(proxy_sessions(proxies[0]) == (size_t)n);
}

static struct session_filter everything(void)
{
    return (struct session_filter){.service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY};
}

static void close_matching(struct session_filter filter, uint64_t over_ms)
{
    const struct session_close wanted = {.filter = filter, .deadline_ms = bench_now_ms() + over_ms};
    proxy_close(proxies[0], &wanted, &told);
    bench_turn(); /* a worker's turn comes behind its messages */
}

static void close_all(uint64_t over_ms)
{
    close_matching(everything(), over_ms);
    ck_assert_int_eq(told.error, 0);
}

static _Atomic uint64_t *word(void)
{
    return &sb.slots[BENCH_SLOT(0)].close_by_ms;
}

static uint64_t nth_id(int n)
{
    static struct session_info items[MANY];
    struct session_filter filter = everything();
    filter.limit = MANY;
    ck_assert_int_gt((int)proxy_list(proxies[0], &filter, 0, items, MANY), n);
    return items[n].id;
}

static bool is_over(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK) == 0;
}

/* Time goes on; then exactly this one of n is over, beside those that were before. */
static void expect_next(uint32_t ms, int which)
{
    uint64_t before = bench_ended(ENDING_OPERATOR);
    bench_pass(ms - 1);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), before);
    bench_pass(1);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), before + 1);
    ck_assert(is_over(clients[which]));
}

START_TEST(they_go_evenly)
{
    bench_start();
    open_sessions(10);
    close_all(1000);
    ck_assert_uint_eq(told.sessions, 10);
    ck_assert_uint_eq(told.sooner + told.hastened, 0);
    for (uint64_t n = 0; n < 10; n++) {
        bench_pass(99);
        ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), n);
        bench_pass(1);
        ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), n + 1);
    }
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 0);
    ck_assert_uint_gt(proxy_next_ms(proxies[0], bench_now_ms()), 1000000);
}
END_TEST

START_TEST(more_than_one_in_a_millisecond)
{
    bench_start();
    open_sessions(40);
    close_all(10);
    for (uint64_t n = 4; n <= 40; n += 4) {
        bench_pass(1);
        ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), n);
    }
}
END_TEST

static void speak(int which)
{
    bench_say(clients[which], "x");
    bench_hear(peers[which], "x");
}

/* Also by what they do meanwhile. */
START_TEST(who_is_idle_for_longest_goes_first)
{
    static const int order[] = {4, 2, 0, 3, 1};
    bench_start();
    open_sessions(5);
    for (int i = 0; i < 5; i++) {
        bench_pass(10);
        speak(order[i]);
    }
    close_all(500);
    expect_next(100, 4);
    bench_settle();
    speak(2);
    expect_next(100, 0);
    expect_next(100, 3);
    expect_next(100, 1);
    expect_next(100, 2);
}
END_TEST

START_TEST(who_comes_later_stays)
{
    bench_start();
    open_sessions(2);
    close_all(100);
    int late = bench_client();
    int peer = bench_accept(0);
    bench_pass(1000);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 2);
    bench_say(late, "still here");
    bench_hear(peer, "still here");
}
END_TEST

START_TEST(at_once_is_some_a_turn)
{
    const struct rlimit room = {.rlim_cur = 4096, .rlim_max = 4096};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &room), 0);
    bench_start();
    open_sessions(MANY);
    close_all(0);
    ck_assert_uint_eq(told.sessions, MANY);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), A_TURN);
    ck_assert(proxy_busy(proxies[0]));
    bench_turn();
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), MANY);
    ck_assert(!proxy_busy(proxies[0]));
}
END_TEST

START_TEST(the_sooner_end_counts)
{
    bench_start();
    open_sessions(4);
    close_all(_i == 0 ? 1000 : 100);
    close_all(_i == 1 ? 1000 : 100);
    ck_assert_uint_eq(told.sessions, 4);
    ck_assert_uint_eq(told.hastened, _i == 0 ? 4 : 0);
    ck_assert_uint_eq(told.sooner, _i == 0 ? 0 : 4);
    bench_pass(99);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 3);
    bench_pass(1);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 4);
}
END_TEST

/* One of those that are to be closed slowly goes now; the others share the time. */
START_TEST(one_is_taken_out_of_many)
{
    struct session_filter one = everything();
    bench_start();
    open_sessions(3);
    close_all(300);
    one.id = nth_id(1);
    close_matching(one, 0);
    ck_assert_uint_eq(told.sessions, 1);
    ck_assert_uint_eq(told.hastened, 1);
    bench_settle();
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 1);
    bench_hear_end(clients[1]);
    expect_next(150, 0);
    expect_next(150, 2);
}
END_TEST

START_TEST(who_leaves_is_no_longer_waited_for)
{
    bench_start();
    open_sessions(3);
    close_all(300);
    bench_close(clients[0]);
    bench_close(peers[0]);
    UNTIL(proxy_sessions(proxies[0]) == 2);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 0);
    expect_next(150, 1);
    expect_next(150, 2);
    open_sessions(1);
    close_all(50);
    bench_close(clients[0]);
    bench_close(peers[0]);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    bench_pass(100);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 2);
}
END_TEST

START_TEST(only_what_matches)
{
    struct session_filter filter = everything();
    bench_start();
    open_sessions(3);
    filter.id = nth_id(2) + 1;
    close_matching(filter, 0);
    ck_assert_uint_eq(told.sessions, 0);
    filter = everything();
    filter.row = BENCH_ROW(1);
    close_matching(filter, 0);
    ck_assert_uint_eq(told.sessions, 0);
    const char *problem;
    filter = everything();
    ck_assert_int_eq(addr_cidr_parse("10.0.0.0/8", &filter.client, &problem), 0);
    close_matching(filter, 0);
    ck_assert_uint_eq(told.sessions, 0);
    bench_settle();
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 3);
    ck_assert_int_eq(addr_cidr_parse("127.0.0.0/8", &filter.client, &problem), 0);
    filter.row = BENCH_ROW(0);
    filter.id = nth_id(1);
    close_matching(filter, 0);
    ck_assert_uint_eq(told.sessions, 1);
    bench_hear_end(clients[1]);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 2);
}
END_TEST

/* However many sessions others are to close one day, each command closes its own in time; a drain
 * too. */
START_TEST(as_many_commands_as_there_are)
{
    struct session_filter one = everything();
    bench_start();
    open_sessions(42);
    for (int i = 0; i < 40; i++) {
        one.id = nth_id(i);
        close_matching(one, 3600000);
        ck_assert_int_eq(told.error, 0);
        ck_assert_uint_eq(told.sessions, 1);
    }
    one.id = nth_id(40);
    one.close_by_ms = bench_now_ms() + 1000;
    *word() = one.close_by_ms;
    close_matching(one, 1000);
    one = everything();
    one.id = nth_id(41);
    close_matching(one, 500);
    bench_close(clients[3]);
    bench_close(peers[3]);
    UNTIL(proxy_sessions(proxies[0]) == 41);
    expect_next(500, 41);
    bench_pass(499);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DRAINED), 0);
    bench_pass(1);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DRAINED), 1);
    ck_assert(is_over(clients[40]));
    bench_pass(3600000 - 1000);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 40);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 0);
    ck_assert_uint_gt(proxy_next_ms(proxies[0], bench_now_ms()), 1000000);
}
END_TEST

/* --- what either side sees --- */

START_TEST(both_sides_see_an_orderly_end)
{
    bench_start();
    open_sessions(1);
    bench_say(clients[0], "the last words");
    bench_settle();
    close_all(0);
    bench_hear(peers[0], "the last words");
    bench_hear_end(peers[0]);
    bench_hear_end(clients[0]);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 1);
}
END_TEST

/* Bytes are held for a client that does not read: it is not to think that it has got all. */
START_TEST(a_part_does_not_look_like_the_whole)
{
    char bytes[4096];
    ssize_t n;
    bench_shrink();
    bench_start();
    int client = bench_client_with(0, 4096);
    int peer = bench_accept(0);
    bench_stuff(peer, 24 << 20);
    bench_settle();
    close_all(0);
    UNTIL(bench_ended(ENDING_OPERATOR) == 1);
    do {
        n = recv(client, bytes, sizeof(bytes), 0);
    } while (n > 0);
    ck_assert_int_eq((int)n, -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(between_two_requests)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    bench_serve(client, -1);
    UNTIL(bench_cell(0)->idle == 1);
    close_all(0);
    ck_assert_uint_eq(told.sessions, 1);
    bench_hear_end(client);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 1);
    ck_assert_uint_eq(bench_cell(0)->idle, 1);
}
END_TEST

START_TEST(amid_an_exchange)
{
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    int upstream = bench_serve(client, -1);
    bench_say(client, "ask\n");
    bench_hear(upstream, "ask\n");
    close_all(0);
    bench_hear_reset(client);
    bench_hear_discard(0, DISCARD_SESSION_END);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 1);
}
END_TEST

START_TEST(who_has_no_backend_yet_is_refused)
{
    bench_set_health(0, SB_HEALTH_UNKNOWN);
    bench_check(0);
    bench_start();
    int client = bench_client();
    UNTIL(sb.workers[0].waiting == 1);
    close_all(0);
    bench_hear_reset(client);
    ck_assert_uint_eq(bench_refused(REFUSAL_OPERATOR), 1);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 0);
}
END_TEST

static void close_by(uint64_t deadline_ms)
{
    struct session_filter filter = everything();
    filter.close_by_ms = deadline_ms;
    *word() = deadline_ms;
    close_matching(filter, deadline_ms - bench_now_ms());
    ck_assert_int_eq(told.error, 0);
}

/* As long as the backend's slot says so. */
START_TEST(what_drains_can_be_taken_back)
{
    bench_start();
    open_sessions(10);
    close_by(bench_now_ms() + 1000);
    ck_assert_uint_eq(told.sessions, 10);
    bench_pass(300);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DRAINED), 3);
    *word() = 0;
    bench_pass(200);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DRAINED), 3);
    close_by(bench_now_ms() + 10000); /* those that are still in the first one's list, too */
    ck_assert_uint_eq(told.sessions, 7);
    ck_assert_uint_eq(told.sooner, 0);
    bench_pass(10000);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_DRAINED), 10);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 0);
}
END_TEST

START_TEST(another_deadline_is_another_drain)
{
    struct session_filter filter = everything();
    bench_start();
    open_sessions(2);
    *word() = bench_now_ms() + 500;
    filter.close_by_ms = bench_now_ms() + 400;
    close_matching(filter, 0);
    ck_assert_uint_eq(told.sessions, 0);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 2);
}
END_TEST

static void say(enum admin_state admin)
{
    image.backends[0].admin = admin;
    bench_apply();
    bench_turn(); /* as behind each message */
}

/* But not what was said of clients, wherever they are, and nothing where it was ready all along. */
START_TEST(what_is_ready_again_keeps_its_sessions)
{
    struct session_filter filter = everything();
    bench_start();
    open_sessions(4);
    say(ADMIN_MAINTENANCE);
    filter.row = _i == 0 ? BENCH_ROW(0) : SESSION_FILTER_ANY;
    close_matching(filter, 400);
    expect_next(100, 0);
    say(ADMIN_MAINTENANCE); /* as something else has changed */
    expect_next(100, 1);
    say(ADMIN_READY);
    bench_pass(1000);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), _i == 0 ? 2 : 4);
    close_matching(filter, 400);
    say(ADMIN_READY);
    bench_pass(1000);
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 4);
}
END_TEST

/* --- of whom its client's next request may have another backend --- */

static int upstream;

/* A request of a client is under way at backend 0, which is then taken out and to lose its
 * sessions. */
static int begin_leaving(uint64_t over_ms)
{
    struct session_filter filter = everything();
    bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    bench_start();
    int client = bench_client();
    bench_say(client, "first\n");
    upstream = bench_accept(0);
    bench_hear(upstream, "first\n");
    image.pools[0].n_backends = 2;
    say(ADMIN_MAINTENANCE);
    filter.row = BENCH_ROW(0);
    close_matching(filter, over_ms);
    ck_assert_uint_eq(told.sessions, 1);
    return client;
}

static void answer_first(int client)
{
    bench_say(upstream, "1\n");
    bench_hear(client, "1\n");
}

/* One that is still there goes. One that is between two requests, or with another backend, has left
 * already; a later command does not take it for one that goes. */
START_TEST(who_has_gone_on_is_spared)
{
    int client = begin_leaving(1000);
    if (_i == 0) {
        bench_pass(1000);
        bench_hear_reset(client);
        ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 1);
        return;
    }
    answer_first(client);
    int other = -1;
    if (_i == 2) {
        bench_say(client, "second\n");
        other = bench_accept(1);
        bench_hear(other, "second\n");
    }
    bench_pass(1000);
    bench_settle();
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 0);
    if (_i == 1) {
        bench_say(client, "second\n");
        other = bench_accept(1);
        bench_hear(other, "second\n");
    }
    bench_say(other, "2\n");
    bench_hear(client, "2\n");
}
END_TEST

START_TEST(who_has_gone_on_is_no_longer_promised)
{
    int client = begin_leaving(1000);
    answer_first(client);
    bench_say(client, "second\n");
    bench_hear(bench_accept(1), "second\n");
    close_all(2000);
    ck_assert_uint_eq(told.sessions, 1);
    ck_assert_uint_eq(told.sooner, 0);
    close_all(500);
    ck_assert_uint_eq(told.hastened, 1);
    bench_pass(500);
    bench_hear_reset(client);
}
END_TEST

/* Wherever they are when it is: they may come back to it then. */
START_TEST(what_is_ready_again_keeps_those_that_come_back)
{
    int client = begin_leaving(1000);
    answer_first(client);
    say(ADMIN_READY);
    image.pools[0].n_backends = 1;
    bench_apply();
    bench_say(client, "second\n");
    upstream = bench_accept(0);
    bench_hear(upstream, "second\n");
    bench_pass(1000);
    bench_settle();
    ck_assert_uint_eq(bench_ended(ENDING_OPERATOR), 0);
    bench_say(upstream, "2\n");
    bench_hear(client, "2\n");
}
END_TEST

/* Whoever comes waits, without a queue; once it is resumed all go on. */
START_TEST(a_paused_pool_holds_everyone)
{
    int waiting[5];
    bench_start();
    image.pools[0].paused = 1;
    image.pools[0].queue = 0;
    image.pools[0].queue_timeout_ms = 100;
    bench_apply();
    for (int i = 0; i < 5; i++) {
        waiting[i] = bench_client();
        bench_say(waiting[i], "x");
    }
    UNTIL(sb.workers[0].waiting == 5);
    bench_pass(10000);
    ck_assert_uint_eq(sb.workers[0].waiting, 5);
    image.pools[0].paused = 0;
    bench_apply();
    for (int i = 0; i < 5; i++) {
        bench_hear(bench_accept(0), "x");
    }
    ck_assert_uint_eq(sb.workers[0].waiting, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/close");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, they_go_evenly);
    tcase_add_test(tc, more_than_one_in_a_millisecond);
    tcase_add_test(tc, who_is_idle_for_longest_goes_first);
    tcase_add_test(tc, who_comes_later_stays);
    tcase_add_test(tc, at_once_is_some_a_turn);
    tcase_add_loop_test(tc, the_sooner_end_counts, 0, 3);
    tcase_add_test(tc, one_is_taken_out_of_many);
    tcase_add_test(tc, who_leaves_is_no_longer_waited_for);
    tcase_add_test(tc, only_what_matches);
    tcase_add_test(tc, as_many_commands_as_there_are);
    tcase_add_test(tc, both_sides_see_an_orderly_end);
    tcase_add_test(tc, a_part_does_not_look_like_the_whole);
    tcase_add_test(tc, between_two_requests);
    tcase_add_test(tc, amid_an_exchange);
    tcase_add_test(tc, who_has_no_backend_yet_is_refused);
    tcase_add_test(tc, what_drains_can_be_taken_back);
    tcase_add_test(tc, another_deadline_is_another_drain);
    tcase_add_loop_test(tc, what_is_ready_again_keeps_its_sessions, 0, 2);
    tcase_add_loop_test(tc, who_has_gone_on_is_spared, 0, 3);
    tcase_add_test(tc, who_has_gone_on_is_no_longer_promised);
    tcase_add_test(tc, what_is_ready_again_keeps_those_that_come_back);
    tcase_add_test(tc, a_paused_pool_holds_everyone);
    return bench_run(suite);
}
