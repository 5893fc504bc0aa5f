/* The tcp check: what it says about each way for a connect to end, and what it leaves behind. */
#include "test_check_fixture.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

/* Checks address until it is down, with that reason. */
static void expect_down(const struct addr *address, const char *reason)
{
    draft_single(address, HOUR_MS, 1, 1)->timeout_ms = 30;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), reason);
}

static void expect_up(const struct addr *address)
{
    (void)draft_single(address, HOUR_MS, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes > 0);
    ck_assert_msg(health_of(1) == SB_HEALTH_UP, "%s", reason_of(1));
}

START_TEST(ipv6_works)
{
    struct addr address;

    (void)listen_tcp("::1", &address);
    expect_up(&address);
}
END_TEST

START_TEST(ipv6_refuses)
{
    struct addr address;

    (void)bind_tcp("::1", &address);
    expect_down(&address, "connect refused");
}
END_TEST

START_TEST(silence_is_a_failure_in_time)
{
    struct addr address;
    uint64_t start_us = clock_now_us();

    (void)listen_silent(&address);
    expect_down(&address, "no answer within 30 ms");
    ck_assert_uint_ge(clock_now_us() - start_us, 30000);
    ck_assert_uint_ge(atomic_load(&sb.slots[1].last_latency_us), 30000);
}
END_TEST

/* Makes the turn slow in which the check starts. */
static void hold_up(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    if (check_engine_stats(engine).running == 0) {
        usleep(20000);
    }
}

/* libevent counts time-outs from the start of the turn: its slow turns must not shorten them. */
START_TEST(slow_turns_do_not_cut_the_time_short)
{
    struct addr address;
    struct event *slow;
    int pipe_fds[2];

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1); /* readable for ever: first in every turn */
    slow = event_new(base, pipe_fds[0], EV_READ | EV_PERSIST, hold_up, NULL);
    event_add(slow, NULL);
    (void)listen_silent(&address);
    expect_down(&address, "no answer within 30 ms");
    ck_assert_uint_ge(atomic_load(&sb.slots[1].last_latency_us), 30000);
    event_free(slow);
}
END_TEST

START_TEST(unix_sockets_work)
{
    struct addr address;
    int fd = listen_unix("up", 4, &address);

    expect_up(&address);
    ck_assert_int_eq(accept_all(fd), 1);
}
END_TEST

START_TEST(a_full_unix_backlog_is_a_failure)
{
    struct addr address;
    int error = 0;

    (void)listen_unix("full", 0, &address);
    while (error == 0) {
        (void)connect_to(&address, &error);
    }
    ck_assert_int_eq(error, EAGAIN);
    expect_down(&address, "backlog full");
}
END_TEST

/* A path in a folder of its own; the path is the caller's to remove, then the folder. */
static struct addr new_path(char dir[static 32])
{
    char text[ADDR_TEXT_MAX];

    (void)snprintf(dir, 32, "/tmp/check-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(text, sizeof(text), "unix:%s/s", dir);
    return address_of(text);
}

START_TEST(a_missing_unix_path)
{
    char dir[32];
    struct addr address = new_path(dir);

    expect_down(&address, "no such socket");
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(a_unix_path_whose_listener_is_gone)
{
    char dir[32];
    struct addr address = new_path(dir);

    close(bind_address(&address));
    expect_down(&address, "connect refused");
    ck_assert_int_eq(unlink(address.path) + rmdir(dir), 0);
}
END_TEST

/* An odd failure has a text too. */
START_TEST(a_datagram_socket_is_no_backend)
{
    char dir[32];
    struct addr address = new_path(dir);
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&address, &sa);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&sa, len), 0);
    expect_down(&address, "Protocol wrong type for socket");
    ck_assert_int_eq(unlink(address.path) + rmdir(dir), 0);
}
END_TEST

/* How many TCP sockets of this machine have that remote port and state (hex, as in /proc). */
static int count_tcp(uint16_t remote_port, const char *state)
{
    FILE *file = fopen("/proc/self/net/tcp", "re");
    char line[512], remote[64], found[8];
    unsigned port;
    int n = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%*s %*s %63s %7s", remote, found) == 2 &&
            sscanf(remote, "%*8c:%x", &port) == 1 && port == remote_port &&
            strcmp(found, state) == 0) {
            n++;
        }
    }
    fclose(file);
    return n;
}

/* The last ACK can go out after all when this process is held up, so only nearly always. */
START_TEST(servers_hear_nothing_and_nothing_is_left)
{
    struct addr address;
    int fd = listen_tcp("127.0.0.1", &address);

    (void)draft_single(&address, 2, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) >= 50);
    ck_assert_int_lt(accept_all(fd), 10);
    ck_assert_int_eq(count_tcp(address.ip.port, "06"), 0); /* TIME_WAIT */
    ck_assert_int_eq(count_tcp(address.ip.port, "04"), 0); /* FIN_WAIT1 */
    ck_assert_int_eq(count_tcp(address.ip.port, "05"), 0); /* FIN_WAIT2 */
}
END_TEST

START_TEST(descriptors_are_not_inherited_and_never_block)
{
    struct addr address;
    int loose_before, loose;

    (void)listen_silent(&address);
    (void)count_descriptors(&loose_before);
    (void)draft_single(&address, 5, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).running == 1);
    (void)count_descriptors(&loose);
    ck_assert_int_eq(loose, loose_before);
}
END_TEST

/* --- in a network namespace of one's own; passes without a word where there can be none --- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    close(fd);
    return done;
}

/* A namespace with loopback only, where connects have just these ports to start from. */
static bool enter_namespace(const char *port_range)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd, error;

    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return false;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    error = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return error == 0 && write_file("/proc/sys/net/ipv4/ip_local_port_range", port_range);
}

/* Closes by a reset, so that nothing stays behind. */
static void reset_connection(int fd)
{
    const struct linger reset = {.l_onoff = 1};

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(fd);
}

START_TEST(a_connection_to_itself_is_none)
{
    struct addr address = address_of("127.0.0.1:40000");
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd, error;

    if (!enter_namespace("40000 40000")) {
        return;
    }
    fd = connect_to(&address, &error);
    ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&sa, &len), 0); /* it does happen here */
    reset_connection(fd);
    expect_down(&address, "connect refused");
}
END_TEST

START_TEST(no_route_is_a_failure)
{
    struct addr address = address_of("192.0.2.1:80");

    if (enter_namespace("40000 50000")) {
        expect_down(&address, "network unreachable");
    }
}
END_TEST

/* All ports towards the backend are in use by others: says nothing about the backend. */
START_TEST(lack_of_ports_is_not_the_backends_failure)
{
    struct addr address;
    int fds[2], error;

    if (!enter_namespace("40000 40001")) {
        return;
    }
    address = address_of("127.0.0.1:50000");
    ck_assert_int_eq(listen(bind_address(&address), 16), 0);
    for (int i = 0; i < 2; i++) {
        fds[i] = connect_to(&address, &error);
        ck_assert_int_eq(error, EINPROGRESS);
    }
    close(connect_to(&address, &error));
    ck_assert_int_eq(error, EADDRNOTAVAIL);
    (void)draft_single(&address, HOUR_MS, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).postponed >= 2);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UNKNOWN);
    ck_assert_uint_eq(failed_of(1), 0);
    for (int i = 0; i < 2; i++) {
        reset_connection(fds[i]);
    }
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        ipv6_works,
        ipv6_refuses,
        silence_is_a_failure_in_time,
        slow_turns_do_not_cut_the_time_short,
        unix_sockets_work,
        a_full_unix_backlog_is_a_failure,
        a_missing_unix_path,
        a_unix_path_whose_listener_is_gone,
        a_datagram_socket_is_no_backend,
        servers_hear_nothing_and_nothing_is_left,
        descriptors_are_not_inherited_and_never_block,
        a_connection_to_itself_is_none,
        no_route_is_a_failure,
        lack_of_ports_is_not_the_backends_failure,
    };

    return run_suite("check/tcp", tests, COUNT(tests));
}
