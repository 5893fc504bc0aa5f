/*
 * Splicing of bulk flows: when a direction comes to it and when it goes back to copying, what
 * becomes of bytes in a pipe, and that without pipes all goes on as before.
 */
#include "proxy_bench.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "proxy/buffer.h"
#include "proxy/session.h"
#include "proxy/splice.h"

#define MUCH  (24 << 20)
#define SOME  (4 << 20)
#define SMALL 4096
#define FULL  RELAY_SCRATCH_BYTES
/* Bytes that have come before the proxy looks: more than one read and the largest buffer. */
#define WAITING (192 << 10)

static struct sb_worker *row;
static int client, peer;

static void start(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in a worker */
    bench_start();
    row = &sb.workers[0];
    client = bench_client();
    peer = bench_accept(0);
}

/* One whose client is slow to read. */
static void start_slow(void)
{
    signal(SIGPIPE, SIG_IGN);
    bench_shrink();
    bench_start();
    row = &sb.workers[0];
    client = bench_client_with(0, SMALL);
    peer = bench_accept(0);
}

static struct session *session(void)
{
    return TAILQ_FIRST(&proxies[0]->sessions);
}

/* Sends as much as goes at once, behind sent bytes of at most n. Returns how many. */
static size_t push(int fd, size_t sent, size_t n)
{
    static char zeroes[1 << 20];
    size_t left = n - sent < sizeof(zeroes) ? n - sent : sizeof(zeroes);
    ssize_t got = send(fd, zeroes, left, MSG_NOSIGNAL);
    return got > 0 ? (size_t)got : 0;
}

/* Takes whatever is there. */
static void pull(int fd)
{
    static char sink[1 << 20];
    while (recv(fd, sink, sizeof(sink), 0) > 0) {
    }
}

/* The direction is as if it had just been read full often enough. */
static void promote(bool to_client)
{
    struct leg *from = to_client ? session()->backend : &session()->client;
    from->full_reads = SPLICE_AFTER;
}

static bool is_spliced(bool to_client)
{
    return session() != NULL && splice_is_used(session(), to_client);
}

/* Much goes that way, until its last bytes are spliced too: on a busy machine the kernel may hand
 * them out in pieces too small for that. */
static void carry_spliced(int from, int to, bool to_client)
{
    int tries = 0;
    do {
        ck_assert_int_lt(tries++, 20);
        bench_carry(from, 0, to, 0, MUCH);
    } while (!is_spliced(to_client));
}

/* Bytes are in the pipe that the client does not take: more of them than the kernel has room for,
 * which goes on taking some at its own times. */
static size_t fill_pipe(void)
{
    size_t sent = bench_flood(peer, session()->backend->fd, WAITING);
    promote(true);
    UNTIL(session()->client.pending != NULL);
    bench_settle();
    ck_assert(is_spliced(true));
    ck_assert_ptr_nonnull(session()->client.pending);
    const struct buffer *held = session()->client.pending;
    ck_assert_uint_eq(held->slab, BUFFER_PIPE);
    ck_assert_uint_eq(row->buffered_bytes, held->end - held->at);
    return sent;
}

/* --- when --- */

START_TEST(a_bulk_flow_comes_to_be_spliced_both_ways)
{
    start();
    bench_carry(client, 0, peer, 0, MUCH);
    ck_assert(!is_spliced(true));
    uint64_t to_backend = row->spliced_bytes;
    ck_assert_uint_gt(to_backend, 0);
    ck_assert_uint_le(to_backend, MUCH);
    bench_carry(peer, 0, client, 0, MUCH);
    ck_assert_uint_gt(row->spliced_bytes, to_backend);
    ck_assert_uint_ge(row->pipes, 1); /* how a flow ends is the kernel's choice: short reads give
                                         its pipe back, for the other one to take */
    ck_assert_uint_eq(session()->bytes_in, MUCH);
    ck_assert_uint_eq(session()->bytes_out, MUCH);
}
END_TEST

START_TEST(small_messages_are_copied)
{
    start();
    for (int i = 0; i < 100; i++) {
        bench_serve(client, peer);
    }
    ck_assert_uint_eq(row->spliced_bytes, 0);
    ck_assert_uint_eq(row->pipes, 0);
}
END_TEST

START_TEST(fewer_full_reads_are_copied)
{
    start();
    struct leg *from = &session()->client;
    from->full_reads = SPLICE_AFTER - 1;
    bench_say(client, "a");
    bench_hear(peer, "a");
    ck_assert_uint_eq(from->full_reads, 0);
    ck_assert_uint_eq(row->spliced_bytes, 0);
}
END_TEST

START_TEST(short_reads_end_it)
{
    start();
    bench_carry(client, 0, peer, 0, MUCH);
    uint64_t spliced = row->spliced_bytes;
    for (int i = 0; i < 20; i++) {
        bench_say(client, "ask\n");
        bench_hear(peer, "ask\n");
    }
    ck_assert(!is_spliced(false));
    ck_assert_uint_gt(row->spliced_bytes, spliced);
    ck_assert_uint_le(row->spliced_bytes, spliced + 4 * strlen("ask\n"));
    carry_spliced(client, peer, false); /* and it comes again */
}
END_TEST

START_TEST(a_pause_ends_it_and_the_pipe_is_closed_later)
{
    start();
    carry_spliced(client, peer, false);
    bench_pass(400);
    ck_assert(is_spliced(false));
    bench_pass(200);
    ck_assert(!is_spliced(false));
    ck_assert_uint_eq(row->pipes, 1);
    bench_pass(1000);
    ck_assert_uint_eq(row->pipes, 1);
    bench_pass(2000);
    ck_assert_uint_eq(row->pipes, 0);
    bench_serve(client, peer);
    carry_spliced(client, peer, false);
}
END_TEST

START_TEST(a_spare_pipe_is_used_again)
{
    start();
    bench_carry(client, 0, peer, 0, MUCH);
    bench_end(client);
    bench_hear_end(peer);
    bench_end(peer);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(row->pipes, 1);
    int other = bench_client(), far = bench_accept(0);
    carry_spliced(far, other, true);
    ck_assert_uint_eq(row->pipes, 1);
}
END_TEST

/* --- a fast flow's low-water mark --- */

static int low_water(const struct leg *leg)
{
    int bytes = 0;
    socklen_t len = sizeof(bytes);
    ck_assert_int_eq(getsockopt(leg->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &len), 0);
    return bytes;
}

/* Much has come in little time. */
static void be_fast(void)
{
    int tries = 0;
    do {
        ck_assert_int_lt(tries++, 20);
        bench_carry(client, 0, peer, 0, MUCH);
        bench_pass(20);
        bench_say(client, "and");
        bench_hear(peer, "and");
    } while (low_water(&session()->client) == 1);
}

START_TEST(what_is_under_the_mark_is_told_at_a_pause)
{
    start();
    bench_carry(client, 0, peer, 0, MUCH);
    ck_assert_int_eq(low_water(&session()->client), 1);
    be_fast();
    bench_say(client, "tail");
    bench_hear_silence(peer);
    bench_pass(2);
    bench_hear(peer, "tail");
    ck_assert_int_eq(low_water(&session()->client), 1);
}
END_TEST

START_TEST(an_end_under_the_mark_is_told_at_once)
{
    start();
    be_fast();
    bench_say(client, "tail");
    bench_end(client);
    bench_hear(peer, "tail");
    bench_hear_end(peer);
}
END_TEST

START_TEST(a_slower_flow_keeps_its_mark)
{
    start();
    bench_carry(client, 0, peer, 0, SOME);
    bench_pass(400);
    bench_carry(client, 0, peer, 0, SOME);
    ck_assert_uint_gt(row->spliced_bytes, 0);
    ck_assert_int_eq(low_water(&session()->client), 1);
}
END_TEST

/* --- bytes in a pipe --- */

START_TEST(what_is_in_the_pipe_comes_first)
{
    start_slow();
    size_t sent = fill_pipe();
    bench_carry(peer, sent, client, 0, sent + SOME);
}
END_TEST

START_TEST(an_end_waits_for_the_bytes_in_the_pipe)
{
    start_slow();
    size_t sent = fill_pipe();
    bench_end(peer);
    bench_settle();
    ck_assert(!session()->client.shut);
    bench_hear_pattern(client, 0, sent);
    bench_hear_end(client);
    bench_say(client, "still there"); /* the other direction flows on */
    bench_hear(peer, "still there");
}
END_TEST

START_TEST(a_pause_with_bytes_in_the_pipe_keeps_them)
{
    start_slow();
    size_t sent = fill_pipe();
    bench_pass(5000);
    ck_assert(is_spliced(true));
    bench_hear_pattern(client, 0, sent);
    bench_pass(600);
    ck_assert(!is_spliced(true));
}
END_TEST

START_TEST(a_reset_throws_them_away)
{
    start_slow();
    fill_pipe();
    bench_reset(peer);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(ENDING_BACKEND_RESET), 1);
    ck_assert_uint_eq(row->pipes, 0); /* it is not given to others */
}
END_TEST

START_TEST(a_reset_by_the_receiver_throws_them_away)
{
    start_slow();
    fill_pipe();
    bench_reset(client);
    bench_hear_reset(peer);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_RESET), 1);
    ck_assert_uint_eq(row->pipes, 0);
}
END_TEST

START_TEST(an_idle_time_out_counts_from_the_last_byte)
{
    image.service.idle_timeout_ms = 10000;
    start_slow();
    fill_pipe();
    bench_pass(9000);
    ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
    bench_hear_pattern(client, 0, WAITING / 4);
    ck_assert_uint_eq(session()->active_ms, bench_now_ms());
    uint64_t last_ms = 0;
    do {
        ck_assert_uint_lt(last_ms, session()->active_ms); /* the kernel has taken some more */
        last_ms = session()->active_ms;
        bench_pass((uint32_t)(last_ms + 9000 - bench_now_ms()));
        ck_assert_uint_eq(proxy_sessions(proxies[0]), 1);
        bench_pass(1000);
        bench_turn();
    } while (proxy_sessions(proxies[0]) > 0);
    ck_assert_uint_eq(bench_ended(ENDING_IDLE_TIMEOUT), 1);
    ck_assert_uint_eq(row->pipes, 0);
}
END_TEST

/* --- limits --- */

START_TEST(no_turn_moves_more_than_its_budget)
{
    start();
    promote(false);
    int bytes = 8 << 20;
    setsockopt(client, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    size_t sent = 0, most = 0;
    while (sent < MUCH) {
        uint64_t before = session()->bytes_in;
        for (size_t now = 1; now > 0; sent += now) {
            now = sent < MUCH ? push(client, sent, MUCH) : 0;
        }
        bench_turn();
        size_t moved = session()->bytes_in - before;
        most = moved > most ? moved : most;
        pull(peer);
    }
    /* One turn is an event and one go more from the ready list. */
    ck_assert_uint_gt(most, FULL);
    ck_assert_uint_le(most, 2 * (2 * RELAY_BUDGET_BYTES + FULL));
}
END_TEST

START_TEST(without_a_pipe_left_a_flow_is_copied)
{
    start();
    proxies[0]->pipes.max = 1;
    carry_spliced(client, peer, false);
    bench_carry(peer, 0, client, 0, MUCH);
    ck_assert(!is_spliced(true));
    ck_assert_uint_eq(row->pipes, 1);
}
END_TEST

START_TEST(without_descriptors_a_flow_is_copied)
{
    struct rlimit before, none;
    start();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bench_carry(client, 0, peer, 0, MUCH);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_uint_eq(row->spliced_bytes, 0);
    ck_assert_uint_eq(row->pipes, 0);
    carry_spliced(client, peer, false);
}
END_TEST

START_TEST(few_descriptors_allow_few_pipes)
{
    static const struct {
        rlim_t descriptors;
        uint32_t pipes;
    } cases[] = {{64, 0}, {1024, 4}, {20000, PIPES_MAX}};
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    bench_start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rlimit now = {.rlim_cur = cases[i].descriptors, .rlim_max = before.rlim_max};
        if (now.rlim_cur <= before.rlim_max && setrlimit(RLIMIT_NOFILE, &now) == 0) {
            splice_init(proxies[0]);
            ck_assert_uint_eq(proxies[0]->pipes.max, cases[i].pipes);
        }
    }
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy_splice");
    TCase *when = bench_case(suite, "when", bench_setup_one);
    tcase_add_test(when, a_bulk_flow_comes_to_be_spliced_both_ways);
    tcase_add_test(when, small_messages_are_copied);
    tcase_add_test(when, fewer_full_reads_are_copied);
    tcase_add_test(when, short_reads_end_it);
    tcase_add_test(when, a_pause_ends_it_and_the_pipe_is_closed_later);
    tcase_add_test(when, a_spare_pipe_is_used_again);
    TCase *mark = bench_case(suite, "mark", bench_setup_one);
    tcase_add_test(mark, what_is_under_the_mark_is_told_at_a_pause);
    tcase_add_test(mark, an_end_under_the_mark_is_told_at_once);
    tcase_add_test(mark, a_slower_flow_keeps_its_mark);
    TCase *held = bench_case(suite, "held", bench_setup_one);
    tcase_add_test(held, what_is_in_the_pipe_comes_first);
    tcase_add_test(held, an_end_waits_for_the_bytes_in_the_pipe);
    tcase_add_test(held, a_pause_with_bytes_in_the_pipe_keeps_them);
    tcase_add_test(held, a_reset_throws_them_away);
    tcase_add_test(held, a_reset_by_the_receiver_throws_them_away);
    tcase_add_test(held, an_idle_time_out_counts_from_the_last_byte);
    TCase *limits = bench_case(suite, "limits", bench_setup_one);
    tcase_add_test(limits, no_turn_moves_more_than_its_budget);
    tcase_add_test(limits, without_a_pipe_left_a_flow_is_copied);
    tcase_add_test(limits, without_descriptors_a_flow_is_copied);
    tcase_add_test(limits, few_descriptors_allow_few_pipes);
    return bench_run(suite);
}
