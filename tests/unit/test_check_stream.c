/* Connections of checks: what is reported and when, bounds, how they end, TLS. */
#include <check.h>
#include <event2/event.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "check/stream.h"
#include "test_base.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define UNUSED       __attribute__((unused))
#define WAIT_MS      20000

static struct event_base *base;
static struct event *tick;

static void ignore_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void turn_loop(void)
{
    const struct timeval pause = {.tv_usec = 2000};

    evtimer_add(tick, &pause);
    event_base_loop(base, EVLOOP_ONCE);
    evtimer_del(tick);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t wait_end_ms = clock_now_ms() + WAIT_MS;                                           \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now_ms() < wait_end_ms, "waited in vain for %s", #condition);      \
            turn_loop();                                                                           \
        }                                                                                          \
    } while (0)

#include "test_check_peer.h"
#include "test_check_tls.h"

/* --- what the stream under test reports --- */

static struct check_stream *stream;
static int n_events[STREAM_ERROR + 1];
static char reason[256];
static int close_on = -1; /* the event in whose callback it is closed */

static void on_stream(void *arg, enum stream_event event, const char *why)
{
    ck_assert_ptr_eq(arg, &stream);
    ck_assert_ptr_nonnull(stream);
    ck_assert_int_eq(event == STREAM_ERROR, why != NULL);
    n_events[event]++;
    if (why != NULL) {
        (void)snprintf(reason, sizeof(reason), "%s", why);
    }
    if ((int)event == close_on) {
        stream_close(stream, false);
        stream = NULL;
    }
}

static int open_with(struct stream_options options)
{
    int error;

    options.address = &peer.address;
    options.input_max = options.input_max != 0 ? options.input_max : 65536;
    error = stream_open(base, &options, on_stream, &stream, &stream);
    ck_assert_int_eq(n_events[STREAM_OPEN] + n_events[STREAM_ERROR], 0);
    return error;
}

static void open_plain(void)
{
    ck_assert_int_eq(open_with((struct stream_options){0}), 0);
}

static size_t n_input(void)
{
    return evbuffer_get_length(stream_input(stream));
}

/* The input in full is that text. */
static bool input_is(const char *text)
{
    size_t n = n_input();

    return n == strlen(text) && memcmp(evbuffer_pullup(stream_input(stream), -1), text, n) == 0;
}

static void expect_error(const char *text)
{
    WAIT_FOR(n_events[STREAM_ERROR] > 0);
    ck_assert_str_eq(reason, text);
    ck_assert_int_eq(n_events[STREAM_ERROR], 1);
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in the monitor */
    base = precise_base();
    tick = evtimer_new(base, ignore_tick, NULL);
}

static void teardown(void)
{
    stream_close(stream, false);
    tls_stop();
    peer_stop();
    event_free(tick);
    event_base_free(base);
}

/* --- a conversation --- */

START_TEST(both_sides_are_heard)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(SAY("hi"), HEAR("PING"), SAY("PONG"), CLOSE));
    open_plain();
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    ck_assert_int_eq(n_events[STREAM_OPEN], 1);
    ck_assert(input_is("hi"));
    ck_assert_int_eq(stream_send(stream, "PI", 2) + stream_send(stream, "NG", 2), 0);
    WAIT_FOR(n_events[STREAM_END] > 0);
    ck_assert(input_is("hiPONG")); /* stays until it is taken */
    ck_assert_int_eq(n_events[STREAM_END], 1);
    ck_assert_int_eq(n_events[STREAM_ERROR], 0);
}
END_TEST

START_TEST(unix_sockets_work)
{
    char address[64];

    (void)snprintf(address, sizeof(address), "unix:@check-stream-%d", (int)getpid());
    (void)peer_start(address, SCRIPT(HEAR("x"), SAY("y")));
    open_plain();
    WAIT_FOR(n_events[STREAM_OPEN] > 0);
    ck_assert_int_eq(stream_send(stream, "x", 1), 0);
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    stream_close(stream, false);
    stream = NULL;
    WAIT_FOR(peer.saw_end || peer.saw_reset);
}
END_TEST

START_TEST(the_source_can_be_chosen)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);

    (void)peer_start("127.0.0.1:0", SCRIPT(SAY("hi")));
    ck_assert_int_eq(open_with((struct stream_options){.source = "127.0.0.9"}), 0);
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    ck_assert_int_eq(getpeername(peer.fd, (struct sockaddr *)&from, &len), 0);
    ck_assert_uint_eq(ntohl(from.sin_addr.s_addr), 0x7f000009);
}
END_TEST

/* Input beyond the bound stays with the kernel, and comes when there is room again. */
START_TEST(input_is_bounded)
{
    size_t taken = 0;
    int n_before;

    (void)peer_start("127.0.0.1:0", SCRIPT(FLOOD(300000), CLOSE));
    ck_assert_int_eq(open_with((struct stream_options){.input_max = 5000}), 0);
    WAIT_FOR(n_events[STREAM_OPEN] > 0 && n_input() == 5000);
    n_before = n_events[STREAM_DATA];
    for (int i = 0; i < 20; i++) {
        turn_loop();
        ck_assert_uint_eq(n_input(), 5000);
    }
    ck_assert_int_le(n_events[STREAM_DATA], n_before + 1);
    while (n_events[STREAM_END] == 0) {
        taken += n_input();
        evbuffer_drain(stream_input(stream), n_input());
        turn_loop();
        ck_assert_uint_le(n_input(), 5000);
    }
    ck_assert_uint_eq(taken + n_input(), 300000);
}
END_TEST

/* --- what goes wrong --- */

static void start_and_stop_listening(void)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    event_del(peer.accepting);
    close(peer.listener);
    peer.listener = -1;
}

START_TEST(refusals_are_reported)
{
    start_and_stop_listening();
    open_plain();
    expect_error("connect refused");
    ck_assert_int_eq(n_events[STREAM_OPEN], 0);
}
END_TEST

/* connect() says so at once, yet it comes from the loop. */
START_TEST(failures_at_once_are_reported_later)
{
    const char *problem;

    ck_assert_int_eq(addr_parse("unix:/tmp/no/such/socket", false, &peer.address, &problem), 0);
    open_plain();
    expect_error("no such socket");
}
END_TEST

START_TEST(a_failure_that_nobody_waits_for_is_forgotten)
{
    const char *problem;

    ck_assert_int_eq(addr_parse("unix:/tmp/no/such/socket", false, &peer.address, &problem), 0);
    open_plain();
    stream_close(stream, false);
    stream = NULL;
    turn_loop();
    turn_loop();
    ck_assert_int_eq(n_events[STREAM_ERROR], 0);
}
END_TEST

START_TEST(resets_are_reported)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(SAY("x"), HEAR("x"), RESET));
    open_plain();
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    ck_assert_int_eq(stream_send(stream, "x", 1), 0);
    expect_error("connection reset");
    ck_assert_int_eq(n_events[STREAM_END], 0);
}
END_TEST

START_TEST(lack_of_descriptors_is_ours)
{
    struct rlimit before, none;
    int error;

    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    error = open_with((struct stream_options){0});
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(error, -EMFILE);
    ck_assert_ptr_null(stream);
}
END_TEST

START_TEST(errors_of_ours_and_of_theirs)
{
    struct addr tcp, path;
    const char *problem;

    ck_assert_int_eq(addr_parse("127.0.0.1:1", false, &tcp, &problem), 0);
    ck_assert_int_eq(addr_parse("unix:/x", false, &path, &problem), 0);
    ck_assert(stream_error_is_ours(EMFILE, &tcp) && stream_error_is_ours(ENOBUFS, &path));
    ck_assert(stream_error_is_ours(EAGAIN, &tcp) && !stream_error_is_ours(EAGAIN, &path));
    ck_assert(stream_error_is_ours(EADDRNOTAVAIL, &tcp)); /* 127.0.0.1 is there: ports are not */
    ck_assert(!stream_error_is_ours(ECONNREFUSED, &tcp));
    ck_assert_str_eq(stream_error_text(EHOSTUNREACH), "no route to host");
    ck_assert_str_eq(stream_error_text(EPROTOTYPE), "Protocol wrong type for socket");
    ck_assert_str_eq(stream_error_text(99999), "connection failed");
}
END_TEST

/* A namespace with loopback only, where a connect has just that port to start from. */
static bool enter_namespace(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int socket_fd, file;
    bool done;

    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return false;
    }
    socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    file = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    done = ioctl(socket_fd, SIOCSIFFLAGS, &request) == 0 && write(file, "40000 40000", 11) == 11;
    close(socket_fd);
    close(file);
    return done;
}

/* Passes without a word where there can be no namespace. */
START_TEST(a_connection_to_itself_is_none)
{
    const char *problem;

    if (!enter_namespace()) {
        return;
    }
    ck_assert_int_eq(addr_parse("127.0.0.1:40000", false, &peer.address, &problem), 0);
    open_plain();
    expect_error("connect refused");
}
END_TEST

/* --- ends --- */

START_TEST(it_ends_as_it_is_told)
{
    for (int clean = 0; clean < 2; clean++) {
        if (peer.accepting == NULL) {
            (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
        }
        n_events[STREAM_OPEN] = 0;
        peer.saw_end = peer.saw_reset = false;
        peer.n_connections = 0;
        open_plain();
        WAIT_FOR(n_events[STREAM_OPEN] > 0 && peer.n_connections > 0);
        stream_close(stream, clean);
        stream = NULL;
        WAIT_FOR(peer.saw_end || peer.saw_reset);
        ck_assert_int_eq(peer.saw_end, clean);
    }
}
END_TEST

static void close_in_callback(int event, const struct act *script)
{
    (void)peer_start("127.0.0.1:0", script);
    close_on = event;
    open_plain();
    WAIT_FOR(n_events[event] > 0);
    turn_loop();
    turn_loop();
    ck_assert_ptr_null(stream);
}

START_TEST(it_may_be_closed_when_open)
{
    close_in_callback(STREAM_OPEN, SCRIPT(SAY("hi")));
}
END_TEST

START_TEST(it_may_be_closed_with_data)
{
    close_in_callback(STREAM_DATA, SCRIPT(SAY("hi"), SAY("ho"), CLOSE));
}
END_TEST

START_TEST(it_may_be_closed_at_the_end)
{
    close_in_callback(STREAM_END, SCRIPT(SAY("hi"), CLOSE));
}
END_TEST

START_TEST(it_may_be_closed_by_an_error)
{
    close_in_callback(STREAM_ERROR, SCRIPT(PAUSE(1), RESET));
}
END_TEST

/* --- lingering --- */

static void open_and_linger(bool half_close, uint32_t max_ms)
{
    open_plain();
    WAIT_FOR(n_events[STREAM_OPEN] > 0);
    ck_assert_int_eq(stream_send(stream, "bye", 3), 0);
    ck_assert_int_eq(stream_linger(stream, half_close, max_ms), 0);
}

START_TEST(lingering_awaits_the_peer)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("bye"), SAY("see you"), PAUSE(5), CLOSE));
    open_and_linger(false, WAIT_MS);
    WAIT_FOR(n_events[STREAM_END] > 0);
    ck_assert_int_eq(n_events[STREAM_DATA], 0);
    ck_assert_uint_eq(n_input(), 0);
}
END_TEST

START_TEST(lingering_ends_at_some_time)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    open_and_linger(false, 10);
    expect_error("it does not end");
    ck_assert(!peer.saw_end); /* was not told */
}
END_TEST

START_TEST(half_closed_it_says_all_and_then_ends)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("bye"), HEAR_END, SAY("and you"), CLOSE));
    open_and_linger(true, WAIT_MS);
    WAIT_FOR(n_events[STREAM_END] > 0);
    ck_assert(peer.saw_end && !peer.saw_reset);
    ck_assert_str_eq(peer_heard(), "bye");
}
END_TEST

START_TEST(lingering_does_not_listen_for_ever)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("bye"), FLOOD((size_t)1 << 30)));
    open_and_linger(false, WAIT_MS);
    expect_error("it goes on talking");
}
END_TEST

/* --- TLS --- */

static void open_tls(bool verify, const char *name)
{
    ck_assert_int_eq(
        open_with((struct stream_options){.tls = true, .verify = verify, .server_name = name}), 0);
}

START_TEST(tls_carries_bytes_and_a_name)
{
    tls_start("", "hello");
    open_tls(false, "backend.test");
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    ck_assert(input_is("hello"));
    ck_assert_str_eq(tls_peer.name, "backend.test");
    ck_assert_int_eq(n_events[STREAM_OPEN], 1);
}
END_TEST

#define TLS_RECORD_MAX 16384

START_TEST(tls_input_is_bounded)
{
    static char text[100001];
    size_t taken = 0;
    int n_before;

    memset(text, 'x', sizeof(text) - 1);
    tls_start("", text);
    ck_assert_int_eq(open_with((struct stream_options){.tls = true, .input_max = 5000}), 0);
    WAIT_FOR(n_events[STREAM_OPEN] > 0 && n_input() >= 5000);
    n_before = n_events[STREAM_DATA];
    for (int i = 0; i < 20; i++) {
        turn_loop();
        ck_assert_uint_lt(n_input(), 5000 + TLS_RECORD_MAX);
    }
    ck_assert_int_le(n_events[STREAM_DATA], n_before + 1);
    while (taken < sizeof(text) - 1) {
        taken += n_input();
        evbuffer_drain(stream_input(stream), n_input());
        WAIT_FOR(n_input() > 0 || taken == sizeof(text) - 1);
        ck_assert_uint_lt(n_input(), 5000 + TLS_RECORD_MAX);
    }
}
END_TEST

START_TEST(tls_sends_no_address_as_a_name)
{
    tls_start("", "hello");
    open_tls(false, "127.0.0.1");
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    ck_assert_str_eq(tls_peer.name, "");
}
END_TEST

START_TEST(tls_verifies_the_signer)
{
    tls_start("", "hello");
    open_tls(true, "backend.test");
    expect_error("TLS: self-signed certificate");
    ck_assert_int_eq(n_events[STREAM_OPEN], 0);
}
END_TEST

/* With its signer trusted. */
static void open_trusting(const char *name)
{
    tls_start("", "hello");
    setenv("SSL_CERT_FILE", tls_peer.certificate, 1);
    open_tls(true, name);
}

START_TEST(tls_verifies_the_name)
{
    open_trusting("other.test");
    expect_error("TLS: hostname mismatch");
}
END_TEST

START_TEST(tls_verifies_the_address)
{
    open_trusting("127.0.0.2");
    expect_error("TLS: IP address mismatch");
}
END_TEST

START_TEST(tls_accepts_what_is_right)
{
    open_trusting("backend.test");
    WAIT_FOR(n_events[STREAM_DATA] > 0);
}
END_TEST

START_TEST(tls_accepts_the_right_address)
{
    open_trusting("127.0.0.1");
    WAIT_FOR(n_events[STREAM_DATA] > 0);
}
END_TEST

START_TEST(tls_with_somebody_who_does_not_speak_it)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("\x16"), SAY("HTTP/1.1 400 Bad Request\r\n\r\n")));
    open_tls(false, NULL);
    expect_error("TLS: the backend does not speak it");
}
END_TEST

START_TEST(tls_with_somebody_who_leaves)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("\x16"), CLOSE));
    open_tls(false, NULL);
    WAIT_FOR(n_events[STREAM_ERROR] > 0);
    ck_assert_msg(strcmp(reason, "TLS: closed by the backend in the handshake") == 0 ||
                      strcmp(reason, "connection reset") == 0,
                  "%s", reason);
}
END_TEST

START_TEST(tls_with_somebody_who_is_silent)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    open_tls(false, NULL);
    WAIT_FOR(peer.n_heard > 0);
    stream_close(stream, false);
    stream = NULL;
    WAIT_FOR(peer.saw_end || peer.saw_reset);
    ck_assert_int_eq(n_events[STREAM_OPEN] + n_events[STREAM_ERROR], 0);
}
END_TEST

START_TEST(tls_with_somebody_who_resets)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR("\x16"), RESET));
    open_tls(false, NULL);
    expect_error("connection reset");
}
END_TEST

START_TEST(tls_with_nobody)
{
    start_and_stop_listening();
    open_tls(false, NULL);
    expect_error("connect refused");
}
END_TEST

/* Without the farewell that TLS knows: what was said has to tell whether it was all. */
START_TEST(tls_may_end_without_a_farewell)
{
    tls_start("", "hello");
    open_tls(false, NULL);
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    bufferevent_free(tls_peer.connection);
    tls_peer.connection = NULL;
    WAIT_FOR(n_events[STREAM_END] > 0);
    ck_assert(input_is("hello"));
    ck_assert_int_eq(n_events[STREAM_ERROR], 0);
}
END_TEST

START_TEST(tls_says_farewell)
{
    tls_start("", "hello");
    open_tls(false, NULL);
    WAIT_FOR(n_events[STREAM_DATA] > 0);
    stream_close(stream, true);
    stream = NULL;
    WAIT_FOR(tls_peer.saw_end);
    ck_assert(tls_peer.saw_farewell);
}
END_TEST

START_TEST(tls_may_be_closed_in_the_middle)
{
    tls_start("", "hello");
    close_on = STREAM_OPEN;
    open_tls(false, NULL);
    WAIT_FOR(n_events[STREAM_OPEN] > 0 && tls_peer.saw_end);
    ck_assert_int_eq(n_events[STREAM_DATA], 0);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        both_sides_are_heard,
        unix_sockets_work,
        the_source_can_be_chosen,
        input_is_bounded,
        refusals_are_reported,
        failures_at_once_are_reported_later,
        a_failure_that_nobody_waits_for_is_forgotten,
        resets_are_reported,
        lack_of_descriptors_is_ours,
        errors_of_ours_and_of_theirs,
        a_connection_to_itself_is_none,
        it_ends_as_it_is_told,
        it_may_be_closed_when_open,
        it_may_be_closed_with_data,
        it_may_be_closed_at_the_end,
        it_may_be_closed_by_an_error,
        lingering_awaits_the_peer,
        lingering_ends_at_some_time,
        half_closed_it_says_all_and_then_ends,
        lingering_does_not_listen_for_ever,
        tls_carries_bytes_and_a_name,
        tls_input_is_bounded,
        tls_sends_no_address_as_a_name,
        tls_verifies_the_signer,
        tls_verifies_the_name,
        tls_verifies_the_address,
        tls_accepts_what_is_right,
        tls_accepts_the_right_address,
        tls_with_somebody_who_does_not_speak_it,
        tls_with_somebody_who_leaves,
        tls_with_somebody_who_is_silent,
        tls_with_somebody_who_resets,
        tls_with_nobody,
        tls_may_end_without_a_farewell,
        tls_says_farewell,
        tls_may_be_closed_in_the_middle,
    };
    Suite *suite = suite_create("check/stream");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    for (int i = 0; i < COUNT(tests); i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
