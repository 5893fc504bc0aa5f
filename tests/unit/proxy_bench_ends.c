/* The test's ends of connections: see the bench's header. */
#include "proxy_bench.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK    8192
#define ENDS_MAX 1024
#define SAY_MAX  (128 * 1024)
#define PATTERN  251 /* a prime: no power of two hides a shift */

static int ends[ENDS_MAX];
static uint32_t n_ends;

int bench_remember(int fd)
{
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_lt(n_ends, ENDS_MAX);
    /* What is said is on its way at once, and there is room for all of it. */
    ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SAY_MAX}, sizeof(int)), 0);
    ends[n_ends++] = fd;
    return fd;
}

static void forget(int fd)
{
    for (uint32_t i = 0; i < n_ends; i++) {
        if (ends[i] == fd) {
            ends[i] = ends[--n_ends];
            return;
        }
    }
    ck_abort_msg("closed twice");
}

void bench_close_all(void)
{
    while (n_ends > 0) {
        bench_close(ends[0]);
    }
}

void bench_say_bytes(int fd, const void *bytes, size_t n)
{
    ck_assert_int_eq(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

void bench_say(int fd, const char *text)
{
    bench_say_bytes(fd, text, strlen(text));
}

void bench_hear(int fd, const char *text)
{
    char heard[CHUNK] = "";
    size_t n = 0, n_all = strlen(text);
    ck_assert_uint_lt(n_all, sizeof(heard));
    UNTIL(({
        ssize_t got = recv(fd, heard + n, n_all - n, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            ck_abort_msg("ended (%zd %s) after \"%s\"", got, strerror(errno), heard);
        }
        n += got > 0 ? (size_t)got : 0;
        if (memcmp(heard, text, n) != 0) {
            ck_abort_msg("heard \"%s\", not \"%s\"", heard, text);
        }
        n == n_all;
    }));
}

/* 1: orderly end; errno otherwise; 0: nothing yet */
static int end_of(int fd)
{
    char heard[CHUNK] = "";
    ssize_t n = recv(fd, heard, sizeof(heard) - 1, 0);
    if (n > 0) {
        ck_abort_msg("heard \"%s\" instead of an end", heard);
    }
    return n == 0 ? 1 : errno == EAGAIN ? 0 : errno;
}

void bench_hear_end(int fd)
{
    int end = 0;
    UNTIL((end = end_of(fd)) != 0);
    ck_assert_int_eq(end, 1);
}

void bench_hear_reset(int fd)
{
    int end = 0;
    UNTIL((end = end_of(fd)) != 0);
    ck_assert_int_eq(end, ECONNRESET);
}

void bench_hear_silence(int fd)
{
    bench_settle();
    ck_assert_int_eq(end_of(fd), 0);
}

void bench_end(int fd)
{
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
}

void bench_close(int fd)
{
    forget(fd);
    close(fd);
}

void bench_reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    bench_close(fd);
}

int bench_other_side(int fd)
{
    struct sockaddr_in other = {0}, peer;
    socklen_t len = sizeof(other);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&other, &len), 0);
    for (int candidate = 3; candidate < 2 * ENDS_MAX; candidate++) {
        len = sizeof(peer);
        if (getpeername(candidate, (struct sockaddr *)&peer, &len) == 0 &&
            peer.sin_family == AF_INET && peer.sin_port == other.sin_port) {
            return candidate;
        }
    }
    ck_abort_msg("the other side is not of this process");
}

int bench_unsent(int fd)
{
    int n = 0;
    ck_assert_int_eq(ioctl(bench_other_side(fd), SIOCOUTQ, &n), 0);
    return n;
}

void bench_break(int fd)
{
    ck_assert_int_eq(shutdown(bench_other_side(fd), SHUT_WR), 0);
}

int bench_serve(int client, int upstream)
{
    bench_say(client, "ask\n");
    int fd = upstream >= 0 ? upstream : bench_accept(0);
    bench_hear(fd, "ask\n");
    bench_say(fd, "answer\n");
    bench_hear(client, "answer\n");
    return fd;
}

/* --- much of it --- */

static const char *pattern_from(size_t at)
{
    static char bytes[CHUNK + PATTERN];
    bool is_made = bytes[1] != '\0';
    for (size_t i = 0; !is_made && i < sizeof(bytes); i++) {
        bytes[i] = (char)(i % PATTERN);
    }
    return bytes + at % PATTERN;
}

static size_t at_most(size_t n)
{
    return n < CHUNK ? n : CHUNK;
}

size_t bench_stuff(int fd, size_t n_max)
{
    size_t total = 0;
    for (int quiet = 0; quiet < BENCH_QUIET_TURNS && total < n_max;) {
        ssize_t n = send(fd, pattern_from(total), at_most(n_max - total), MSG_NOSIGNAL);
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        bench_turn();
        if (n <= 0) {
            poll(NULL, 0, 1);
        }
    }
    return total;
}

size_t bench_flood(int fd, int to, size_t n)
{
    size_t total = 0;
    int there = 0, bytes = (int)n;
    setsockopt(to, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    for (int waits = 0; there < (int)n && waits < BENCH_LOOPS_MAX;) {
        ssize_t sent = send(fd, pattern_from(total), CHUNK, MSG_NOSIGNAL);
        total += sent > 0 ? (size_t)sent : 0;
        ck_assert_int_eq(ioctl(to, FIONREAD, &there), 0);
        if (sent <= 0) {
            waits++;
            poll(NULL, 0, 1);
        }
    }
    ck_assert_int_ge(there, (int)n);
    return total;
}

/* What there is of the pattern from at on, up to n. */
static size_t take_pattern(int fd, size_t at, size_t n)
{
    char heard[CHUNK];
    ssize_t got = recv(fd, heard, at_most(n), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        ck_abort_msg("ended before byte %zu", at + n);
    }
    if (got > 0 && memcmp(heard, pattern_from(at), (size_t)got) != 0) {
        ck_abort_msg("something is wrong from byte %zu on", at);
    }
    return got > 0 ? (size_t)got : 0;
}

void bench_carry(int from, size_t sent, int to, size_t heard, size_t n)
{
    while (heard < n) {
        size_t before = heard;
        UNTIL(({
            ssize_t now = send(from, pattern_from(sent), at_most(n - sent), MSG_NOSIGNAL);
            sent += now > 0 ? (size_t)now : 0;
            heard += take_pattern(to, heard, n - heard);
            heard > before;
        }));
    }
}

void bench_hear_pattern(int fd, size_t heard, size_t n)
{
    bench_carry(-1, n, fd, heard, n);
}
