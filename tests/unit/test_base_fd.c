/* Closing, and passing descriptors over a socketpair. */
#include "base/fd.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static int pair[2];
static char big[FD_MESSAGE_MAX + 1];

static void setup(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void teardown(void)
{
    fd_close(&pair[0]);
    fd_close(&pair[1]);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int count_open(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        count += is_open(fd) ? 1 : 0;
    }
    return count;
}

/* Past fd_send, which refuses so many. */
static void send_raw(size_t n_fds, size_t len)
{
    char control[CMSG_SPACE(200 * sizeof(int))] = {0};
    struct iovec iov = {.iov_base = big, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    struct cmsghdr *header;

    msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    header = CMSG_FIRSTHDR(&msg);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    for (size_t i = 0; i < n_fds; i++) {
        memcpy(CMSG_DATA(header) + i * sizeof(int), &pair[0], sizeof(int));
    }
    ck_assert_int_eq(sendmsg(pair[0], &msg, 0), (ssize_t)len);
}

START_TEST(close_is_repeatable_and_keeps_errno)
{
    int fd = dup(pair[0]);
    int copy = fd;
    int bad = 1000;

    errno = ENOENT;
    fd_close(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert(!is_open(copy));
    errno = ENOENT;
    fd_close(&fd);
    fd_close(&bad);
    ck_assert_int_eq(bad, -1);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(close_spares_standard_input_only_at_minus_one)
{
    int fd = dup2(pair[0], 0);

    ck_assert_int_eq(fd, 0);
    fd_close(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert(!is_open(0));
}
END_TEST

START_TEST(auto_closes)
{
    int copy;

    {
        FD_AUTO fd = dup(pair[0]);

        copy = fd;
        ck_assert(is_open(copy));
    }
    ck_assert(!is_open(copy));
}
END_TEST

START_TEST(a_message_without_descriptors)
{
    char buf[16] = {0};
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;

    ck_assert_int_eq(fd_send(pair[0], "hello", 5, NULL, 0), 0);
    ck_assert_int_eq(fd_send(pair[0], "you", 3, NULL, 0), 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), 5);
    ck_assert_mem_eq(buf, "hello", 5);
    ck_assert_uint_eq(n_fds, 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), 3);
    ck_assert_mem_eq(buf, "you", 3);
}
END_TEST

START_TEST(descriptors_arrive_in_order_and_cloexec)
{
    static const size_t counts[] = {1, 2, 63, 64};
    size_t n = counts[_i];
    int ours[FD_PASS_MAX];
    int theirs[FD_PASS_MAX];
    size_t n_theirs = 0;
    char buf[4];

    for (size_t i = 0; i < n; i++) {
        int ends[2];

        ck_assert_int_eq(pipe(ends), 0);
        ours[i] = ends[1];
        (void)close(ends[0]);
    }
    ck_assert_int_eq(fd_send(pair[0], "x", 1, ours, n), 0);
    ck_assert(is_open(ours[n - 1]));
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), theirs, &n_theirs), 1);
    ck_assert_uint_eq(n_theirs, n);
    for (size_t i = 0; i < n; i++) {
        struct stat a;
        struct stat b;

        ck_assert_int_eq(fstat(ours[i], &a), 0);
        ck_assert_int_eq(fstat(theirs[i], &b), 0);
        ck_assert_uint_eq(a.st_ino, b.st_ino);
        ck_assert_int_ne(fcntl(theirs[i], F_GETFD) & FD_CLOEXEC, 0);
    }
}
END_TEST

START_TEST(bounds_of_sending)
{
    int fds[FD_PASS_MAX + 1];

    for (int i = 0; i < COUNT(fds); i++) {
        fds[i] = pair[0];
    }
    ck_assert_int_eq(fd_send(pair[0], "x", 1, fds, FD_PASS_MAX + 1), -EINVAL);
    ck_assert_int_eq(fd_send(pair[0], "", 0, NULL, 0), -EINVAL);
    ck_assert_int_eq(fd_send(pair[0], big, FD_MESSAGE_MAX + 1, NULL, 0), -EMSGSIZE);
    ck_assert_int_eq(fd_send(-1, "x", 1, NULL, 0), -EBADF);
}
END_TEST

START_TEST(the_largest_message_passes)
{
    static char buf[FD_MESSAGE_MAX];
    int fds[FD_PASS_MAX];
    size_t n_fds;

    memset(big, 'z', sizeof(big));
    ck_assert_int_eq(fd_send(pair[0], big, FD_MESSAGE_MAX, pair, 2), 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), FD_MESSAGE_MAX);
    ck_assert_mem_eq(buf, big, FD_MESSAGE_MAX);
    ck_assert_uint_eq(n_fds, 2);
}
END_TEST

START_TEST(a_truncated_message_is_refused_whole)
{
    char buf[4];
    int fds[FD_PASS_MAX] = {-7};
    size_t n_fds = 99;
    int before = count_open();

    ck_assert_int_eq(fd_send(pair[0], "hello", 5, pair, 2), 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EMSGSIZE);
    ck_assert_uint_eq(n_fds, 99);
    ck_assert_int_eq(fds[0], -7);
    ck_assert_int_eq(count_open(), before);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EAGAIN);
}
END_TEST

START_TEST(surplus_descriptors_are_refused_and_closed)
{
    char buf[4];
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;
    int before = count_open();

    send_raw(FD_PASS_MAX + 1, 1);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EMSGSIZE);
    ck_assert_int_eq(count_open(), before);
    send_raw(200, 1);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EMSGSIZE);
    ck_assert_int_eq(count_open(), before);
    ck_assert_uint_eq(n_fds, 99);
}
END_TEST

START_TEST(a_full_table_refuses_the_message)
{
    struct rlimit limit = {.rlim_max = 1024};
    char buf[4];
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;
    int before = count_open();

    send_raw(10, 1);
    limit.rlim_cur = (rlim_t)dup(0) + 4;
    fd_close(&(int){(int)limit.rlim_cur - 4});
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EMSGSIZE);
    ck_assert_int_eq(count_open(), before);
}
END_TEST

START_TEST(descriptors_on_an_empty_message_do_not_leak)
{
    char buf[4];
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;
    int before = count_open();

    send_raw(3, 0);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), 0);
    ck_assert_uint_eq(n_fds, 0);
    ck_assert_int_eq(count_open(), before);
}
END_TEST

START_TEST(never_blocks)
{
    char buf[4];
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;
    int sent = 0;
    int rc;

    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), -EAGAIN);
    while ((rc = fd_send(pair[0], big, 4096, NULL, 0)) == 0) {
        sent++;
    }
    ck_assert_int_eq(rc, -EAGAIN);
    ck_assert_int_gt(sent, 0);
}
END_TEST

START_TEST(the_peers_end)
{
    char buf[4];
    int fds[FD_PASS_MAX];
    size_t n_fds = 99;

    fd_close(&pair[0]);
    ck_assert_int_eq(fd_receive(pair[1], buf, sizeof(buf), fds, &n_fds), 0);
    ck_assert_uint_eq(n_fds, 0);
    ck_assert_int_eq(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE); /* and no SIGPIPE */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/fd");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, close_is_repeatable_and_keeps_errno);
    tcase_add_test(tc, close_spares_standard_input_only_at_minus_one);
    tcase_add_test(tc, auto_closes);
    tcase_add_test(tc, a_message_without_descriptors);
    tcase_add_loop_test(tc, descriptors_arrive_in_order_and_cloexec, 0, 4);
    tcase_add_test(tc, bounds_of_sending);
    tcase_add_test(tc, the_largest_message_passes);
    tcase_add_test(tc, a_truncated_message_is_refused_whole);
    tcase_add_test(tc, surplus_descriptors_are_refused_and_closed);
    tcase_add_test(tc, a_full_table_refuses_the_message);
    tcase_add_test(tc, descriptors_on_an_empty_message_do_not_leak);
    tcase_add_test(tc, never_blocks);
    tcase_add_test(tc, the_peers_end);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
