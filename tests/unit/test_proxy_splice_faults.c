/*
 * Splicing on a kernel that refuses some of it: larger pipes, once a user has as many pages in
 * pipes as fs.pipe-user-pages-soft allows, and splice() itself, for one socket or altogether. What
 * is spliced else is copied, no byte is lost, and what is held counts as ever. The linker puts the
 * test's splice() and fcntl() in the place of libc's.
 */
#include "proxy_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/buffer.h"
#include "proxy/session.h"
#include "proxy/splice.h"

#define MUCH    (4 << 20)
#define SMALL   4096
#define HELD    (192 << 10)
#define LARGE   (1 << 20)
#define FEWER   (1 << 18)
#define DEFAULT (1 << 16) /* pipe(7) */

/* --- the kernel --- */

static struct {
    int largest;   /* pipe that may be had */
    int smallest;  /* what a pipe has that was not made larger */
    int fill_says; /* the error of splice() into a pipe; 0: none */
    int drain_says;
    int fd;      /* only of this one; -1: of all */
    int skip;    /* so many drains go on before */
    size_t most; /* bytes asked for at once */
    int n_fills, n_drains;
} kernel;

ssize_t __real_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags);
ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags);
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

static int fault_of(int in, int out)
{
    struct stat of_in;
    bool is_drain = fstat(in, &of_in) == 0 && S_ISFIFO(of_in.st_mode);
    *(is_drain ? &kernel.n_drains : &kernel.n_fills) += 1;
    if (kernel.fd >= 0 && kernel.fd != (is_drain ? out : in)) {
        return 0;
    }
    if (is_drain && kernel.skip > 0) {
        kernel.skip--;
        return 0;
    }
    return is_drain ? kernel.drain_says : kernel.fill_says;
}

ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
    kernel.most = n > kernel.most ? n : kernel.most;
    int error = fault_of(in, out);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return __real_splice(in, in_at, out, out_at, n, flags);
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (command == F_SETPIPE_SZ && (int)(intptr_t)arg > kernel.largest) {
        errno = EPERM;
        return -1;
    }
    if (command == F_GETPIPE_SZ && kernel.smallest > 0) {
        return kernel.smallest;
    }
    return __real_fcntl64(fd, command, arg);
}

/* --- the flow --- */

static struct sb_worker *row;
static int client, peer;

static void setup(void)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.largest = LARGE;
    kernel.fd = -1;
    signal(SIGPIPE, SIG_IGN); /* as in a worker */
    bench_setup_one();
}

static void start(void)
{
    bench_start();
    row = &sb.workers[0];
    client = bench_client();
    peer = bench_accept(0);
}

/* One whose client is slow to read. */
static void start_slow(void)
{
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

static bool is_spliced(bool to_client)
{
    return splice_is_used(session(), to_client);
}

/* Much goes that way, which is to be spliced from the start, as if it had been for a while. */
static void carry(bool to_client)
{
    struct leg *from = to_client ? session()->backend : &session()->client;
    from->full_reads = SPLICE_AFTER;
    bench_carry(to_client ? peer : client, 0, to_client ? client : peer, 0, MUCH);
}

/* Many bytes are held for the client that it does not take. Returns how many were sent. */
static size_t stuff(void)
{
    size_t sent = bench_flood(peer, session()->backend->fd, HELD);
    session()->backend->full_reads = SPLICE_AFTER;
    UNTIL(session()->client.pending != NULL);
    bench_settle();
    ck_assert_uint_lt(sent, MUCH);
    return sent;
}

/* What is counted as held is what the client has not taken. */
static void find_counted(uint32_t slab)
{
    const struct buffer *held = session()->client.pending;
    ck_assert_uint_eq(held->slab, slab);
    if (slab == BUFFER_PIPE) {
        ck_assert_uint_eq(row->buffered_bytes, held->end - held->at);
    } else {
        ck_assert_uint_eq(row->buffered_bytes, held->end); /* none of it is given back before */
    }
    ck_assert_uint_le(row->buffered_bytes, (uint64_t)row->buffer_parts * SB_BUFFER_PART_BYTES);
}

/* --- pipes that may not be larger --- */

START_TEST(a_smaller_pipe_is_taken)
{
    static const struct {
        int largest;
        size_t size;
    } cases[] = {{LARGE, 2 * RELAY_BUDGET_BYTES}, {LARGE - 1, FEWER}, {FEWER - 1, DEFAULT}};
    kernel.largest = cases[_i].largest;
    start();
    carry(false);
    ck_assert_uint_gt(row->spliced_bytes, 0);
    ck_assert_uint_eq(row->pipes, 1);
    ck_assert_uint_eq(kernel.most, cases[_i].size);
    ck_assert_uint_eq(session()->bytes_in, MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
}
END_TEST

/* Such a one as is had beyond the limit: a page or two. */
START_TEST(a_tiny_pipe_is_not_taken)
{
    kernel.largest = 0;
    kernel.smallest = SMALL;
    start();
    carry(false);
    ck_assert_uint_eq(row->spliced_bytes, 0);
    ck_assert_uint_eq(row->pipes, 0);
    ck_assert_uint_eq(proxies[0]->pipes.n, 0);
    ck_assert_int_eq(kernel.n_fills, 0);
    ck_assert_uint_eq(session()->bytes_in, MUCH);
    kernel.largest = LARGE; /* once there is room again */
    kernel.smallest = 0;
    carry(false);
    ck_assert_uint_gt(row->spliced_bytes, 0);
}
END_TEST

START_TEST(what_a_smaller_pipe_holds_is_counted)
{
    kernel.largest = FEWER;
    start_slow();
    size_t sent = stuff();
    find_counted(BUFFER_PIPE);
    ck_assert_uint_le(kernel.most, FEWER);
    bench_carry(peer, sent, client, 0, MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
}
END_TEST

/* --- no splice() out of a socket --- */

static const int of_a_socket[] = {EINVAL, EOPNOTSUPP};

START_TEST(a_socket_that_cannot_is_copied_for_good)
{
    start();
    kernel.fill_says = of_a_socket[_i];
    kernel.fd = session()->client.fd;
    carry(false);
    ck_assert_uint_eq(row->spliced_bytes, 0);
    ck_assert_int_eq(kernel.n_fills, 1);
    ck_assert(!is_spliced(false));
    carry(false);
    ck_assert_int_eq(kernel.n_fills, 1);
    ck_assert_uint_eq(session()->bytes_in, 2 * MUCH);
    carry(true); /* the other direction can */
    ck_assert_uint_gt(row->spliced_bytes, 0);
    ck_assert_uint_eq(row->pipes, 1);
    ck_assert_uint_eq(session()->bytes_out, MUCH);
    bench_end(client);
    bench_hear_end(peer);
    bench_end(peer);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(ENDING_CLIENT_FIN), 1);
}
END_TEST

static const int of_all[] = {ENOSYS, EPERM};

START_TEST(a_worker_that_may_not_copies_all)
{
    start();
    kernel.fill_says = of_all[_i];
    carry(false);
    carry(true);
    carry(false);
    ck_assert_int_eq(kernel.n_fills, 1);
    ck_assert_uint_eq(row->spliced_bytes, 0);
    ck_assert_uint_eq(session()->bytes_in, 2 * MUCH);
    ck_assert_uint_eq(session()->bytes_out, MUCH);
    bench_pass(3000);
    ck_assert_uint_eq(row->pipes, 0);
}
END_TEST

START_TEST(without_memory_it_is_tried_again)
{
    start();
    kernel.fill_says = ENOMEM;
    carry(false);
    ck_assert_int_gt(kernel.n_fills, 1);
    ck_assert_uint_eq(row->spliced_bytes, 0);
    kernel.fill_says = 0;
    carry(false);
    ck_assert_uint_gt(row->spliced_bytes, 0);
    ck_assert_uint_eq(session()->bytes_in, 2 * MUCH);
}
END_TEST

/* --- no splice() into a socket --- */

/* By then the bytes are in the pipe. */
START_TEST(what_is_in_the_pipe_is_copied_out)
{
    start();
    kernel.drain_says = _i < 2 ? of_a_socket[_i] : of_all[_i - 2];
    kernel.fd = session()->backend->fd;
    kernel.skip = 3;
    carry(false);
    ck_assert_int_eq(kernel.skip, 0);
    ck_assert_uint_gt(row->spliced_bytes, 0);
    ck_assert(!is_spliced(false));
    int drains = kernel.n_drains;
    carry(false);
    ck_assert_int_eq(kernel.n_drains, drains);
    ck_assert_uint_eq(session()->bytes_in, 2 * MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    carry(true);
    ck_assert_int_eq(is_spliced(true) || kernel.n_drains > drains, _i < 2);
}
END_TEST

/* A slow client has taken some of them. */
START_TEST(what_a_slow_client_left_is_copied_out)
{
    start_slow();
    size_t sent = stuff();
    find_counted(BUFFER_PIPE);
    kernel.drain_says = EINVAL;
    size_t heard = 0;
    while (session()->client.pending->slab == BUFFER_PIPE) {
        bench_hear_pattern(client, heard, heard + SMALL);
        heard += SMALL;
        ck_assert_uint_lt(heard, sent);
    }
    find_counted(BUFFER_READ);
    ck_assert(!is_spliced(true));
    bench_carry(peer, sent, client, heard, MUCH);
    ck_assert_uint_eq(row->buffered_bytes, 0);
    ck_assert_uint_eq(session()->bytes_out, MUCH);
}
END_TEST

/* Such a client leaves: the bytes are gone with the session, and count no more (the teardown). */
START_TEST(a_client_leaves_what_was_copied_out)
{
    start_slow();
    kernel.drain_says = EINVAL;
    stuff();
    find_counted(BUFFER_READ);
    bench_reset(_i == 0 ? client : peer);
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(row->buffered_bytes, 0);
}
END_TEST

START_TEST(an_end_waits_for_what_was_copied_out)
{
    start_slow();
    kernel.drain_says = EINVAL;
    size_t sent = stuff();
    bench_end(peer);
    bench_settle();
    ck_assert(!session()->client.shut);
    bench_hear_pattern(client, 0, sent);
    bench_hear_end(client);
}
END_TEST

/* An error of the connection is none of splicing. */
START_TEST(a_reset_is_no_reason_to_copy)
{
    start();
    kernel.fill_says = _i == 0 ? ECONNRESET : 0;
    kernel.drain_says = _i == 1 ? EPIPE : 0;
    session()->client.full_reads = SPLICE_AFTER;
    bench_say(client, "x");
    UNTIL(proxy_sessions(proxies[0]) == 0);
    ck_assert_uint_eq(bench_ended(_i == 0 ? ENDING_CLIENT_RESET : ENDING_BACKEND_RESET), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy_splice_faults");
    TCase *tc = bench_case(suite, "all", setup);
    tcase_add_loop_test(tc, a_smaller_pipe_is_taken, 0, 3);
    tcase_add_test(tc, a_tiny_pipe_is_not_taken);
    tcase_add_test(tc, what_a_smaller_pipe_holds_is_counted);
    tcase_add_loop_test(tc, a_socket_that_cannot_is_copied_for_good, 0, 2);
    tcase_add_loop_test(tc, a_worker_that_may_not_copies_all, 0, 2);
    tcase_add_test(tc, without_memory_it_is_tried_again);
    tcase_add_loop_test(tc, what_is_in_the_pipe_is_copied_out, 0, 4);
    tcase_add_test(tc, what_a_slow_client_left_is_copied_out);
    tcase_add_loop_test(tc, a_client_leaves_what_was_copied_out, 0, 2);
    tcase_add_test(tc, an_end_waits_for_what_was_copied_out);
    tcase_add_loop_test(tc, a_reset_is_no_reason_to_copy, 0, 2);
    return bench_run(suite);
}
