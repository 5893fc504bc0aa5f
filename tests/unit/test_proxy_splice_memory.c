/*
 * Splicing and buffer_memory: room for what may stay in a pipe is claimed before the pipe is
 * filled, is never more than there is, and is given up when nothing moves.
 */
#include "proxy_bench.h"

#include <signal.h>

#include "proxy/session.h"
#include "proxy/splice.h"

#define MUCH  (24 << 20)
#define MORE  (1 << 20)
#define SMALL 4096
#define PARTS 16 /* of buffer_memory */
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

/* buffer_memory of 1 MB, of which others have so many parts; and a sender of whom much has come, to
 * be spliced to a client that takes next to nothing. */
static size_t start_short_of_memory(uint32_t taken)
{
    image.header.buffer_bytes = PARTS * SB_BUFFER_PART_BYTES;
    start_slow();
    atomic_store(&sb.header->buffer_parts, taken);
    size_t sent = bench_flood(peer, session()->backend->fd, WAITING);
    promote(true);
    bench_settle();
    return sent;
}

static void have_others_give_back(uint32_t taken)
{
    atomic_fetch_sub(&sb.header->buffer_parts, taken);
}

/* Whatever others have of it, a pipe takes no more than there is. */
START_TEST(a_pipe_takes_no_more_than_there_is)
{
    uint32_t taken = (uint32_t)_i;
    size_t sent = start_short_of_memory(taken);
    ck_assert_uint_gt(row->buffered_bytes, 0);
    ck_assert_uint_le(sb.header->buffer_parts_peak, PARTS);
    ck_assert_uint_le(taken * SB_BUFFER_PART_BYTES + row->buffered_bytes,
                      PARTS * SB_BUFFER_PART_BYTES);
    bench_carry(peer, sent, client, 0, sent + MORE);
    ck_assert_uint_le(sb.header->buffer_parts_peak, PARTS);
    have_others_give_back(taken);
}
END_TEST

/* Up to half of it is for pipes. */
START_TEST(without_room_no_pipe_is_made)
{
    static const uint32_t left[] = {3, 1, 0}; /* of the half */
    uint32_t taken = (PARTS - 2) / 2 - left[_i];
    size_t sent = start_short_of_memory(taken);
    ck_assert_uint_eq(proxies[0]->buffer_parts_max, PARTS - 2);
    ck_assert_uint_eq(row->pipes, left[_i] > 0);
    ck_assert_uint_eq(is_spliced(true), left[_i] > 0);
    ck_assert_uint_le(row->buffered_bytes, (left[_i] > 0 ? left[_i] : 2) * SB_BUFFER_PART_BYTES);
    ck_assert_uint_le(sb.header->buffer_parts_peak, left[_i] > 0 ? (PARTS - 2) / 2 : PARTS);
    bench_carry(peer, sent, client, 0, sent + MORE);
    have_others_give_back(taken);
}
END_TEST

/* Those who come to be slow meanwhile find what is claimed used. */
START_TEST(what_is_claimed_is_given_up_at_a_pause)
{
    image.header.buffer_bytes = PARTS * SB_BUFFER_PART_BYTES;
    start();
    carry_spliced(client, peer, false);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_gt(sb.header->buffer_parts, 0);
    ck_assert_uint_le(sb.header->buffer_parts, (PARTS - 2) / 2);
    ck_assert_uint_eq(row->buffer_parts, sb.header->buffer_parts);
    bench_pass(600);
    ck_assert_uint_eq(sb.header->buffer_parts, 0);
    carry_spliced(client, peer, false);
    ck_assert_uint_gt(sb.header->buffer_parts, 0);
    image.header.buffer_bytes = 0;
    bench_apply();
    ck_assert_uint_eq(sb.header->buffer_parts, 0);
}
END_TEST

/* A client that takes nothing for long holds no claim, only what is in its pipe. */
START_TEST(a_stuck_pipe_holds_no_claim)
{
    size_t sent = start_short_of_memory(0);
    ck_assert(is_spliced(true));
    bench_pass(600);
    ck_assert(is_spliced(true));
    ck_assert_uint_gt(row->buffered_bytes, 0);
    ck_assert_uint_eq(row->buffer_parts,
                      (row->buffered_bytes + SB_BUFFER_PART_BYTES - 1) / SB_BUFFER_PART_BYTES);
    bench_hear_pattern(client, 0, sent);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy_splice_memory");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_loop_test(tc, a_pipe_takes_no_more_than_there_is, 0, PARTS - 1);
    tcase_add_loop_test(tc, without_room_no_pipe_is_made, 0, 3);
    tcase_add_test(tc, what_is_claimed_is_given_up_at_a_pause);
    tcase_add_test(tc, a_stuck_pipe_holds_no_claim);
    return bench_run(suite);
}
