/* Sockets from the environment: names, what matches, what is left; and the supervisor's protocol.
 */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc/inherited.h"
#include "proc/systemd.h"

/* Listening sockets of the kernel's choosing, to stand where a supervisor would put them. */
static int listen_anywhere(void)
{
    struct sockaddr_storage sa;
    struct addr address;
    const char *problem;
    ck_assert_int_eq(addr_parse("127.0.0.1:0", true, &address, &problem), 0);
    socklen_t len = addr_to_sockaddr(&address, &sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

static struct addr address_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr address;
    getsockname(fd, (struct sockaddr *)&sa, &len);
    addr_from_sockaddr((struct sockaddr *)&sa, len, &address);
    return address;
}

/* Check itself has descriptors there. */
static int saved[4];

static void save(void)
{
    for (int i = 0; i < 4; i++) {
        saved[i] = fcntl(INHERITED_FIRST + i, F_DUPFD, 100);
    }
}

static void restore(void)
{
    for (int i = 0; i < 4; i++) {
        if (saved[i] >= 0) {
            dup2(saved[i], INHERITED_FIRST + i);
        }
    }
}

static void put(int fd, int where)
{
    dup2(fd, INHERITED_FIRST + where);
}

/* Asserting would write to where they were. */
static int n_wrong;

static void note(bool is_right)
{
    n_wrong += !is_right;
}

static struct inherited *receive(int n, const char *names, pid_t pid)
{
    char text[32];
    snprintf(text, sizeof(text), "%d", n);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof(text), "%d", (int)pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
    return inherited_read();
}

START_TEST(each_is_taken_once_by_its_address_or_with_port_0_by_its_name)
{
    int high = fcntl(listen_anywhere(), F_DUPFD, 50), other = fcntl(listen_anywhere(), F_DUPFD, 50);
    struct addr first = address_of(high), second = address_of(other), left, any = first;
    int fds[8];
    bool is_ours;
    save();
    put(high, 0);
    put(high, 1);
    put(other, 2);
    put(other, 3);
    struct inherited *inherited = receive(4, "web,a:=:db,0:unit.socket", getpid());
    note(getenv("LISTEN_FDS") == NULL);
    note((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
    note(inherited_take(inherited, &first, "web,a", fds, 8, &is_ours) == 1);
    note(is_ours); /* and the second is the very same socket */
    note(inherited_take(inherited, &first, "web,a", fds, 8, &is_ours) == 0);
    any.ip.port = 0;
    note(inherited_take(inherited, &any, "nobody", fds, 8, &is_ours) == 0);
    note(inherited_left(inherited, 1, &left) && addr_equal(&left, &second));
    note(inherited_take(inherited, &any, "db,0", fds, 8, &is_ours) == 1);
    note(is_ours);
    note(inherited_take(inherited, &second, "db,0", fds, 8, &is_ours) == 1);
    note(!is_ours);
    note(!inherited_left(inherited, 0, &left));
    note(inherited_channel(inherited) == -1);
    inherited_free(inherited);
    restore();
    ck_assert_int_eq(n_wrong, 0);
}
END_TEST

START_TEST(what_is_for_another_process_is_let_alone)
{
    struct addr left;
    struct inherited *inherited = receive(2, "", getpid() + 1);
    ck_assert(!inherited_left(inherited, 0, &left));
    inherited_free(inherited);
    setenv(INHERITED_UPGRADE_VARIABLE, "1,2,3", 1); /* no numbers that could be meant */
    inherited = receive(0, "", getpid());
    ck_assert_int_eq(inherited_channel(inherited), -1);
    ck_assert_ptr_null(getenv(INHERITED_UPGRADE_VARIABLE));
    inherited_free(inherited);
}
END_TEST

/* --- the supervisor --- */

static const char name[] = "@sluice-test-notify";

static int supervise(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char own[64];
    snprintf(own, sizeof(own), "%s-%d", name, (int)getpid());
    memcpy(sa.sun_path + 1, own + 1, strlen(own + 1));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(own))),
                     0);
    setenv("NOTIFY_SOCKET", own, 1);
    return fd;
}

/* The next message; *out_n: how many descriptors came with it. */
static const char *hear(int fd, size_t *out_n)
{
    static char text[512];
    char control[2048];
    struct iovec iov = {text, sizeof(text) - 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, 0);
    text[n > 0 ? n : 0] = '\0';
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    *out_n = head == NULL ? 0 : (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    return text;
}

START_TEST(the_supervisor_hears_and_nobody_else_may_speak)
{
    int fd = supervise(), pair[2];
    size_t n;
    setenv("WATCHDOG_USEC", "3000000", 1);
    unsetenv("WATCHDOG_PID");
    struct systemd *systemd = systemd_create();
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    ck_assert_uint_eq(systemd_watchdog_ms(systemd), 1500);
    systemd_reloading(systemd, 1234567);
    ck_assert_str_eq(hear(fd, &n), "RELOADING=1\nMONOTONIC_USEC=1234567");
    systemd_ready(systemd);
    ck_assert_ptr_nonnull(strstr(hear(fd, &n), "READY=1\n"));
    systemd_status(systemd, "3 connections");
    systemd_status(systemd, "3 connections");
    ck_assert_str_eq(hear(fd, &n), "STATUS=3 connections");
    ck_assert_str_eq(hear(fd, &n), "");
    systemd_extend(systemd, 5000);
    ck_assert_str_eq(hear(fd, &n), "EXTEND_TIMEOUT_USEC=5000000");
    ck_assert_int_eq(pipe(pair), 0);
    ck_assert(systemd_store(systemd, "web,127.0.0.1+80", pair, 2));
    ck_assert_str_eq(hear(fd, &n), "FDSTORE=1\nFDPOLL=0\nFDNAME=web,127.0.0.1+80");
    ck_assert_uint_eq(n, 2);
    systemd_forget(systemd, "web");
    ck_assert_str_eq(hear(fd, &n), "FDSTOREREMOVE=1\nFDNAME=web");
    systemd_hand_over(systemd, 77);
    ck_assert_str_eq(hear(fd, &n), "MAINPID=77");
    systemd_feed(systemd);
    ck_assert_str_eq(hear(fd, &n), "");
    systemd_pass_on(systemd);
    ck_assert_ptr_nonnull(getenv("NOTIFY_SOCKET"));
    ck_assert_str_eq(getenv("WATCHDOG_USEC"), "3000000");
    systemd_destroy(systemd);
}
END_TEST

START_TEST(without_a_supervisor_all_is_nothing)
{
    unsetenv("NOTIFY_SOCKET");
    struct systemd *systemd = systemd_create();
    ck_assert_uint_eq(systemd_watchdog_ms(systemd), 0);
    systemd_ready(systemd);
    ck_assert(systemd_store(systemd, "web", NULL, 0));
    systemd_destroy(systemd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/inherited");
    TCase *all = tcase_create("all");
    suite_add_tcase(suite, all);
    tcase_add_test(all, each_is_taken_once_by_its_address_or_with_port_0_by_its_name);
    tcase_add_test(all, what_is_for_another_process_is_let_alone);
    tcase_add_test(all, the_supervisor_hears_and_nobody_else_may_speak);
    tcase_add_test(all, without_a_supervisor_all_is_nothing);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
