/* The data path where nothing is reused: sessions, their ends, and who is refused. */
#include "proxy_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/session.h"

static int client = -1, peer = -1; /* the test's ends of one session */

static void open_session(void)
{
    client = bench_client();
    peer = bench_accept(0);
}

static void find_rest(void)
{
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 0);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 0);
    ck_assert_uint_eq(sb.services[0].active, 0);
    ck_assert_uint_eq(sb.header->active, 0);
}

static const struct sb_row_cell *row_cell(void)
{
    return scoreboard_row_cell(&sb, 0, BENCH_ROW(0));
}

START_TEST(bytes_go_both_ways_and_are_counted)
{
    bench_start();
    open_session();
    bench_say(client, "hello");
    bench_hear(peer, "hello");
    bench_say(peer, "hi");
    bench_hear(client, "hi");
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
    ck_assert_uint_eq(row_cell()->bytes_in, 5);
    ck_assert_uint_eq(row_cell()->bytes_out, 2);
    ck_assert_uint_eq(sb.service_cells[0].bytes_in, 5);
    ck_assert_uint_eq(sb.service_cells[0].bytes_out, 2);
    bench_end(client);
    bench_hear_end(peer);
    bench_end(peer);
    bench_hear_end(client);
    UNTIL(bench_ended(ENDING_CLIENT_FIN) == 1);
    find_rest();
}
END_TEST

/* Two small messages of a client (0), or one that fills more than a segment (1): its last part
 * would wait for the acknowledgement of what goes before. */
START_TEST(no_bytes_wait_for_acknowledgements)
{
    int is_on = 0;
    socklen_t len = sizeof(is_on);
    char bytes[537 + 1] = {0};
    memset(bytes, 'x', sizeof(bytes) - 1);
    bench_start();
    open_session();
    for (int i = 0; i < 2 - _i; i++) {
        bench_say(client, _i == 0 ? "hello" : bytes);
        bench_hear(peer, _i == 0 ? "hello" : bytes);
    }
    ck_assert_int_eq(getsockopt(bench_other_side(peer), IPPROTO_TCP, TCP_NODELAY, &is_on, &len), 0);
    ck_assert_int_eq(is_on, 1);
}
END_TEST

static void converse(bool client_begins)
{
    open_session();
    for (int i = 0; i < 2; i++) {
        bool is_client = client_begins == (i == 0);
        bench_say(is_client ? client : peer, "x");
        bench_hear(is_client ? peer : client, "x");
    }
    bench_close(client);
    bench_hear_end(peer);
    bench_close(peer);
}

/* Where clients speak first, a handshake is completed by the request, or a tick later. */
START_TEST(a_handshake_waits_for_a_request)
{
    bench_start();
    converse(true);
    client = bench_client();
    bench_settle();
    ck_assert(!bench_is_called(0));
    if (_i == 0) {
        bench_say(client, "hello");
    } else {
        bench_pass(WHEEL_TICK_MS);
    }
    peer = bench_accept(0);
    if (_i == 0) {
        bench_hear(peer, "hello");
    }
    bench_say(peer, "hi");
    bench_hear(client, "hi");
}
END_TEST

/* Where it is not known, and where backends do, they are not kept waiting. */
START_TEST(who_speaks_first_is_not_kept_waiting)
{
    bench_start();
    if (_i == 1) {
        converse(true);
        client = bench_client();
        bench_pass(WHEEL_TICK_MS);
        peer = bench_accept(0);
        bench_say(peer, "hi");
        bench_hear(client, "hi");
    }
    client = bench_client();
    bench_settle();
    ck_assert(bench_is_called(0));
    peer = bench_accept(0);
}
END_TEST

START_TEST(each_direction_closes_by_itself)
{
    bench_start();
    open_session();
    bench_end(peer);
    bench_hear_end(client);
    /* the other direction goes on */
    bench_say(client, "still");
    bench_hear(peer, "still");
    bench_end(client);
    bench_hear_end(peer);
    UNTIL(bench_ended(ENDING_BACKEND_FIN) == 1);
    find_rest();
}
END_TEST

START_TEST(a_reset_stays_a_reset)
{
    bool from_client = _i == 0;
    bench_start();
    open_session();
    bench_say(client, "x");
    bench_hear(peer, "x");
    bench_reset(from_client ? client : peer);
    bench_hear_reset(from_client ? peer : client);
    UNTIL(bench_ended(from_client ? ENDING_CLIENT_RESET : ENDING_BACKEND_RESET) == 1);
    find_rest();
}
END_TEST

START_TEST(a_slow_peer_is_waited_for_within_one_buffer)
{
    bench_start();
    open_session();
    size_t total = bench_stuff(client, SIZE_MAX);
    ck_assert_uint_gt(sb.workers[0].buffered_bytes, 0);
    ck_assert_uint_le(sb.workers[0].buffered_bytes, 64 * 1024);
    bench_end(client);
    bench_hear_pattern(peer, 0, total);
    bench_hear_end(peer);
    ck_assert_uint_eq(row_cell()->bytes_in, total);
}
END_TEST

START_TEST(a_reset_is_seen_while_reading_is_paused)
{
    bench_start();
    open_session();
    size_t total = bench_stuff(client, SIZE_MAX);
    bench_reset(client);
    UNTIL(bench_ended(ENDING_CLIENT_RESET) == 1);
    ck_assert_uint_gt(total, row_cell()->bytes_in);
    find_rest();
}
END_TEST

/* The backend must see the connection at once even when the client says nothing: a handshake left
 * half-done for 200 ms would be ended by the idle time-out before the backend could accept. */
START_TEST(silence_ends_a_session)
{
    image.service.idle_timeout_ms = 50;
    bench_start();
    open_session();
    bench_pass(48);
    ck_assert_uint_eq(bench_ended(ENDING_IDLE_TIMEOUT), 0);
    bench_pass(10);
    ck_assert_uint_eq(bench_ended(ENDING_IDLE_TIMEOUT), 1);
    bench_hear_reset(client);
    find_rest();
}
END_TEST

START_TEST(half_closed_silence_has_its_own_limit)
{
    image.service.half_close_timeout_ms = 50;
    bench_start();
    open_session();
    bench_say(client, "x");
    bench_hear(peer, "x");
    bench_pass(100);
    bench_end(client);
    bench_hear_end(peer);
    UNTIL(bench_unsent(peer) == 0);
    bench_pass(58);
    ck_assert_uint_eq(bench_ended(ENDING_HALF_CLOSE_TIMEOUT), 1);
    find_rest();
}
END_TEST

#define SMALL_BUFFER 4096
#define MUCH         400000
#define SOME         20000

/* A session of which one end, out_to, has small buffers, and the other has sent much: all of it has
 * been written to out_to. */
static void fill(int to_client, int *out_from, int *out_to)
{
    image.service.idle_timeout_ms = 50;
    image.service.half_close_timeout_ms = 50;
    bench_start();
    client = to_client ? bench_client_with(0, SMALL_BUFFER) : bench_client();
    peer = bench_accept(0);
    if (!to_client) {
        setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &(int){1 << 16}, sizeof(int));
    }
    *out_from = to_client ? peer : client;
    *out_to = to_client ? client : peer;
    ck_assert_uint_eq(bench_stuff(*out_from, MUCH), MUCH);
    UNTIL(sb.workers[0].buffered_bytes == 0);
    ck_assert_int_gt(bench_unsent(*out_to), 0);
}

/* The time-outs are about silence: to (0: the backend; 1: the client) takes what the kernel has for
 * it, and nothing else happens, with the other end open (0) or ended (1). */
START_TEST(what_is_being_taken_is_no_silence)
{
    int from, to;
    bool ends = _i / 2 == 1;
    fill(_i % 2, &from, &to);
    if (ends) {
        bench_end(from);
        bench_settle();
    }
    size_t heard = 0;
    while (heard < MUCH && bench_unsent(to) > 0) {
        int before = bench_unsent(to);
        bench_pass(58);
        ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
        for (; heard < MUCH && bench_unsent(to) == before; heard += SOME) {
            bench_hear_pattern(to, heard, heard + SOME);
        }
    }
    bench_hear_pattern(to, heard, MUCH);
    if (ends) {
        bench_hear_end(to);
    }
    UNTIL(bench_unsent(to) == 0);
    bench_pass(58); /* the last bytes were taken within this time */
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(58);
    ck_assert_uint_eq(bench_ended(ends ? ENDING_HALF_CLOSE_TIMEOUT : ENDING_IDLE_TIMEOUT), 1);
}
END_TEST

/* Bytes that were written anew are not taken for those that were there before. */
START_TEST(as_much_as_before_may_be_less_than_was_written)
{
    int from, to;
    fill(1, &from, &to);
    int before = bench_unsent(to);
    bench_pass(58);
    bench_hear_pattern(to, 0, SOME);
    size_t n = (size_t)(before - bench_unsent(to));
    ck_assert_uint_eq(bench_stuff(from, n), n);
    UNTIL(bench_unsent(to) == before);
    bench_pass(58);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
}
END_TEST

START_TEST(who_takes_nothing_is_not_waited_for)
{
    int from, to;
    fill(1, &from, &to);
    bench_pass(58);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(58);
    ck_assert_uint_eq(bench_ended(ENDING_IDLE_TIMEOUT), 1);
    bench_hear_reset(from);
    find_rest();
}
END_TEST

/* The client was told everything, and the end behind it. */
START_TEST(the_kernel_may_deliver_what_is_whole)
{
    int from, to;
    fill(1, &from, &to);
    bench_end(from);
    bench_settle();
    bench_pass(58);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    if (_i == 0) {
        bench_pass(58);
    } else {
        bench_reset(from);
    }
    UNTIL(bench_ended(_i == 0 ? ENDING_HALF_CLOSE_TIMEOUT : ENDING_BACKEND_RESET) == 1);
    find_rest();
    bench_hear_pattern(to, 0, MUCH);
    bench_hear_end(to);
}
END_TEST

START_TEST(without_a_backend_the_client_is_reset)
{
    image.backends[0].weight = 0;
    bench_start();
    client = bench_client();
    UNTIL(bench_refused(REFUSAL_NO_BACKEND) == 1);
    bench_hear_reset(client);
    find_rest();
}
END_TEST

START_TEST(a_refused_connect_is_counted_and_given_back)
{
    bench_stop_listening(0);
    bench_start();
    client = bench_client();
    UNTIL(bench_refused(REFUSAL_CONNECT_FAILED) == 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 1);
    find_rest();
}
END_TEST

START_TEST(a_full_backend_refuses)
{
    image.backends[0].max_connections = image.backends[0].resume_connections = 1;
    bench_start();
    open_session();
    bench_client();
    UNTIL(bench_refused(REFUSAL_FULL) == 1);
    ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(0)], 1);
}
END_TEST

START_TEST(limits_of_service_and_daemon_refuse)
{
    if (_i == 0) {
        image.service.max_connections = 1;
    } else {
        image.header.max_connections = 1;
    }
    bench_start();
    open_session();
    bench_client();
    UNTIL(bench_refused(_i == 0 ? REFUSAL_SERVICE_LIMIT : REFUSAL_DAEMON_LIMIT) == 1);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
}
END_TEST

START_TEST(a_client_waits_for_the_first_check)
{
    bench_set_health(0, SB_HEALTH_UNKNOWN);
    bench_check(0);
    bench_start();
    client = bench_client();
    UNTIL(sb.workers[0].waiting == 1);
    ck_assert(!bench_is_called(0));
    bench_set_health(0, _i == 0 ? SB_HEALTH_UP : SB_HEALTH_DOWN);
    if (_i == 0) {
        peer = bench_accept(0);
    } else {
        UNTIL(bench_refused(REFUSAL_NO_BACKEND) == 1);
        ck_assert(!bench_is_called(0));
        find_rest();
    }
    ck_assert_uint_eq(sb.workers[0].waiting, 0);
}
END_TEST

START_TEST(without_checks_health_does_not_count)
{
    bench_set_health(0, SB_HEALTH_UNKNOWN);
    bench_start();
    open_session();
    ck_assert_uint_eq(sb.workers[0].waiting, 0);
}
END_TEST

START_TEST(sessions_outlive_a_new_snapshot_and_a_dropped_listener)
{
    bench_start();
    open_session();
    image.listeners[0].id = 9; /* another listener: ours is dropped */
    bench_apply();
    bench_say(client, "on");
    bench_hear(peer, "on");
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    int late = bench_client();
    struct pollfd waiting = {.fd = late, .events = POLLOUT};
    UNTIL(poll(&waiting, 1, 0) == 1);
    ck_assert_int_ne(waiting.revents & POLLERR, 0);
}
END_TEST

START_TEST(what_waits_in_a_dropped_queue_is_served)
{
    bench_start();
    client = bench_client(); /* in the queue: the loop has not run */
    image.listeners[0].id = 9;
    bench_apply();
    peer = bench_accept(0);
    bench_say(peer, "served");
    bench_hear(client, "served");
}
END_TEST

static uint32_t longest_turn_us(void)
{
    proxy_beat(proxies[0]);
    return sb.workers[0].loop_lag_us;
}

/* What the worker does between the loop and the turn, such as mapping a snapshot, holds sessions up
 * just as well. */
START_TEST(nobody_listens_for_what_no_snapshot_names)
{
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* is closed */
        ck_assert_int_eq(proxy_add_listener(proxies[0], 9, fd), -ENOENT);
        ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
        if (i == 0) {
            bench_start(); /* before, there is none */
        }
    }
}
END_TEST

START_TEST(a_turn_is_as_long_as_all_the_work_in_it)
{
    bench_start();
    bench_turn();
    (void)longest_turn_us();
    bench_pass(5);
    ck_assert_uint_eq(longest_turn_us(), 0); /* asleep */
    proxy_begin_work(proxies[0]);
    bench_pass(7);
    ck_assert_uint_eq(longest_turn_us(), 7000);
    bench_turn();
    ck_assert_uint_eq(longest_turn_us(), 0);
}
END_TEST

/* Of sessions few of which are left, here only by their records. */
START_TEST(a_beat_gives_back_what_a_peak_took)
{
    enum { RECORDS = 400, KEPT_EACH = 100 };
    static struct session *records[RECORDS];
    struct slab *slab = &proxies[0]->session_slab;
    unsigned char there[64];
    size_t n_there = 0;

    for (int i = 0; i < RECORDS; i++) {
        records[i] = slab_alloc(slab);
        memset(records[i], i, sizeof(*records[i]));
    }
    for (int i = 0; i < RECORDS; i++) {
        if (i % KEPT_EACH != 0) {
            slab_free(slab, records[i]);
        }
    }
    proxy_beat(proxies[0]);
    char *arena = (char *)((uintptr_t)records[0] & ~(slab->arena_bytes - 1));
    ck_assert_int_eq(mincore(arena, slab->arena_bytes, there), 0);
    for (size_t i = 0; i < slab->arena_bytes / (size_t)sysconf(_SC_PAGESIZE); i++) {
        n_there += there[i] & 1;
    }
    ck_assert_uint_le(n_there, 1 + 2 * RECORDS / KEPT_EACH);
    for (int i = 0; i < RECORDS; i += KEPT_EACH) {
        slab_free(slab, records[i]);
    }
}
END_TEST

START_TEST(a_drain_ends_at_its_deadline)
{
    bench_start();
    open_session();
    proxy_drain(proxies[0], bench_now_ms() + 20);
    bench_pass(19);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_pass(1);
    ck_assert_uint_eq(bench_ended(ENDING_DRAIN_DEADLINE), 1);
    find_rest();
}
END_TEST

START_TEST(sessions_are_listed_by_filter)
{
    struct session_info items[4];
    struct session_filter all = {
        .service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY, .limit = 10};
    struct proxy *proxy = proxies[0];
    bench_start();
    open_session();
    UNTIL(proxy_list(proxy, &all, 0, items, 4) == 1 && items[0].state == SESSION_OPEN);
    ck_assert_uint_eq(items[0].row, BENCH_ROW(0));
    ck_assert_uint_eq(items[0].client.family, ADDR_IPV4);
    ck_assert_uint_eq(proxy_list(proxy, &all, items[0].id, items, 4), 0);
    struct session_filter other = all;
    other.row = 9;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
    other = all;
    other.idle_ms = 3600000;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
    other = all;
    other.limit = 0;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/session");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_test(tc, bytes_go_both_ways_and_are_counted);
    tcase_add_loop_test(tc, no_bytes_wait_for_acknowledgements, 0, 2);
    tcase_add_loop_test(tc, a_handshake_waits_for_a_request, 0, 2);
    tcase_add_loop_test(tc, who_speaks_first_is_not_kept_waiting, 0, 2);
    tcase_add_test(tc, each_direction_closes_by_itself);
    tcase_add_loop_test(tc, a_reset_stays_a_reset, 0, 2);
    tcase_add_test(tc, a_slow_peer_is_waited_for_within_one_buffer);
    tcase_add_test(tc, a_reset_is_seen_while_reading_is_paused);
    tcase_add_test(tc, silence_ends_a_session);
    tcase_add_test(tc, half_closed_silence_has_its_own_limit);
    tcase_add_loop_test(tc, what_is_being_taken_is_no_silence, 0, 4);
    tcase_add_test(tc, as_much_as_before_may_be_less_than_was_written);
    tcase_add_test(tc, who_takes_nothing_is_not_waited_for);
    tcase_add_loop_test(tc, the_kernel_may_deliver_what_is_whole, 0, 2);
    tcase_add_test(tc, without_a_backend_the_client_is_reset);
    tcase_add_test(tc, a_refused_connect_is_counted_and_given_back);
    tcase_add_test(tc, a_full_backend_refuses);
    tcase_add_loop_test(tc, limits_of_service_and_daemon_refuse, 0, 2);
    tcase_add_loop_test(tc, a_client_waits_for_the_first_check, 0, 2);
    tcase_add_test(tc, without_checks_health_does_not_count);
    tcase_add_test(tc, sessions_outlive_a_new_snapshot_and_a_dropped_listener);
    tcase_add_test(tc, what_waits_in_a_dropped_queue_is_served);
    tcase_add_test(tc, nobody_listens_for_what_no_snapshot_names);
    tcase_add_test(tc, a_turn_is_as_long_as_all_the_work_in_it);
    tcase_add_test(tc, a_beat_gives_back_what_a_peak_took);
    tcase_add_test(tc, a_drain_ends_at_its_deadline);
    tcase_add_test(tc, sessions_are_listed_by_filter);
    return bench_run(suite);
}
