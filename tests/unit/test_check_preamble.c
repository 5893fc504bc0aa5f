/* What checks begin with where their pool's sessions begin with a PROXY header, and where not. */
#include "test_check_fixture.h"
#include "test_check_peer.h"

#include "check/check.h"
#include "check/preamble.h"

#define V1 "PROXY UNKNOWN\r\n"
#define V2 "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

/* One backend with one check of that kind, of a pool that sends that; each interval an hour. */
static struct snapshot_check *draft_kind(const char *kind, const struct addr *address,
                                         enum send_proxy version)
{
    struct snapshot_check *check = draft_single(address, HOUR_MS, 1, 1);

    (void)snprintf(check->kind, sizeof(check->kind), "%s", kind);
    drafted_pool()->send_proxy = version;
    if (strcmp(kind, "expect") == 0) {
        draft_arg("steps", "send x");
    }
    return check;
}

static bool begins_with(const char *bytes, size_t n)
{
    return peer.n_heard >= n && memcmp(peer.heard, bytes, n) == 0;
}

/* Applies the draft, and waits until the peer has got through its script and been reset. */
static void run_check(void)
{
    unsigned n = peer.n_connections;

    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(peer.n_connections > n && peer.fd < 0);
}

START_TEST(preambles_are_as_specified)
{
    char got[32];
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(preamble_send(pair[0], SEND_PROXY_OFF), 0);
    ck_assert_int_eq(recv(pair[1], got, sizeof(got), 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(preamble_send(pair[0], SEND_PROXY_V1), 0);
    ck_assert_int_eq(recv(pair[1], got, sizeof(got), 0), 15);
    ck_assert_mem_eq(got, V1, 15);
    ck_assert_int_eq(preamble_send(pair[0], SEND_PROXY_V2), 0);
    ck_assert_int_eq(recv(pair[1], got, sizeof(got), 0), 16);
    ck_assert_mem_eq(got, V2, 16);
    close(pair[1]);
    ck_assert_int_eq(preamble_send(pair[0], SEND_PROXY_V2), EPIPE);
    close(pair[0]);
}
END_TEST

/* All kinds that talk to the backend itself, and from their first byte; tcp has another test. */
START_TEST(every_kind_that_talks_begins_with_it)
{
    const struct addr *address;
    int n = 0;

    address = peer_start("127.0.0.1:0", SCRIPT(HEAR(V1), RESET));
    for (const char *const *name = check_kind_names; *name != NULL; name++) {
        bool is_other = strcmp(*name, "exec") == 0 || strcmp(*name, "agent") == 0;

        ck_assert_int_eq(check_kind_find(*name)->begins_as_sessions, !is_other);
        if (!is_other && strcmp(*name, "tcp") != 0) {
            (void)draft_kind(*name, address, SEND_PROXY_V1);
            run_check();
            ck_assert_msg(begins_with(V1, 15), "%s", *name);
            n++;
        }
    }
    ck_assert_int_gt(n, 5);
    peer_stop();
}
END_TEST

START_TEST(it_comes_before_the_request)
{
    const struct addr *address;

    address = peer_start("127.0.0.1:0", SCRIPT(HEAR("GET / "), RESET));
    (void)draft_kind("http", address, SEND_PROXY_V1);
    run_check();
    ck_assert(begins_with(V1 "GET / ", 21));
    (void)draft_kind("http", address, SEND_PROXY_V2);
    run_check();
    ck_assert(begins_with(V2 "GET / ", 22));
    (void)draft_kind("http", address, SEND_PROXY_OFF);
    run_check();
    ck_assert(begins_with("GET / ", 6));
    peer_stop();
}
END_TEST

/* A record of TLS begins with its kind, 22 for a handshake, and the version 3. */
START_TEST(it_comes_before_tls)
{
    const struct addr *address = peer_start("127.0.0.1:0", SCRIPT(HEAR("\x16\x03"), RESET));

    (void)draft_kind("http", address, SEND_PROXY_V2);
    draft_arg("tls", "true");
    run_check();
    ck_assert(begins_with(V2 "\x16\x03", 18));
    peer_stop();
}
END_TEST

/* Over TCP accept() never sees the check, so there is nobody to be told anything. */
START_TEST(tcp_says_it_to_unix_sockets_only)
{
    struct addr address;
    char text[ADDR_TEXT_MAX], got[32];
    int fd;

    (void)snprintf(text, sizeof(text), "unix:@check-test-%d", (int)getpid());
    address = address_of(text);
    (void)peer_start(text, SCRIPT(HEAR_END, CLOSE));
    (void)draft_kind("tcp", &address, SEND_PROXY_V2);
    run_check();
    ck_assert_uint_eq(peer.n_heard, 16);
    ck_assert(begins_with(V2, 16));
    WAIT_FOR(passed_of(1) == 1);
    peer_stop();

    fd = listen_tcp("127.0.0.1", &address);
    (void)draft_kind("tcp", &address, SEND_PROXY_V2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == 2);
    fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK); /* if the kernel was late with the reset */
    ck_assert(fd < 0 || recv(fd, got, sizeof(got), 0) <= 0);
}
END_TEST

/* The first check by http of a pool that sends it: whether it begins with the header when the check
 * has that port, and the backend that check_address. */
static bool is_said(const struct addr *address, uint16_t port, const struct addr *check_address)
{
    struct snapshot_check *check = draft_kind("http", address, SEND_PROXY_V2);

    check->port = port;
    if (check_address != NULL) {
        drafted_backend()->check_address = *check_address;
    }
    run_check();
    draft_begin();
    ck_assert_int_eq(draft_apply(), 0);
    return begins_with(V2, 16);
}

START_TEST(only_the_backends_own_address_is_told)
{
    const struct addr *address = peer_start("127.0.0.1:0", SCRIPT(HEAR("GET / "), RESET));
    struct addr other = *address, another = *address;

    other.ip.port = other.ip.port == 9 ? 10 : 9;
    another.ip.bytes[3] = 2;
    ck_assert(is_said(address, 0, NULL));
    ck_assert(is_said(address, address->ip.port, NULL));
    ck_assert(is_said(address, 0, address));
    ck_assert(!is_said(&other, address->ip.port, NULL));
    ck_assert(!is_said(&other, 0, address));
    ck_assert(!is_said(&another, 0, address));
    ck_assert(is_said(address, address->ip.port, &other));
    peer_stop();
}
END_TEST

START_TEST(an_agent_is_never_told)
{
    const struct addr *address = peer_start("127.0.0.1:0", SCRIPT(SAY("50%\n"), HEAR_END, CLOSE));

    draft_kind("agent", address, SEND_PROXY_V2)->port = address->ip.port;
    run_check();
    ck_assert_uint_eq(peer.n_heard, 0);
    peer_stop();
}
END_TEST

/* Adds a pool with that check of one address. */
static void add_pool(const char *kind, uint32_t slot, enum send_proxy version, uint32_t port)
{
    static const char *const names[] = {"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"};
    struct addr address = address_of("127.0.0.1:9");
    struct snapshot_check *check;

    draft_pool(names[slot]);
    drafted_pool()->send_proxy = version;
    check = draft_check(HOUR_MS, 1, 1);
    (void)snprintf(check->kind, sizeof(check->kind), "%s", kind);
    check->port = port;
    draft_backend("a", slot, &address, 1);
}

START_TEST(checks_that_begin_otherwise_are_not_shared)
{
    draft_begin();
    add_pool("http", 0, SEND_PROXY_OFF, 0);
    add_pool("http", 1, SEND_PROXY_V1, 0);
    add_pool("http", 2, SEND_PROXY_V2, 0);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 3);
    add_pool("http", 3, SEND_PROXY_V2, 0);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 3);
    /* What is sent to sessions only is no difference. */
    draft_begin();
    add_pool("http", 0, SEND_PROXY_OFF, 10);
    add_pool("http", 1, SEND_PROXY_V1, 10);
    add_pool("agent", 2, SEND_PROXY_OFF, 9);
    add_pool("agent", 3, SEND_PROXY_V2, 9);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 2);
}
END_TEST

/* A reload that changes it is no news of the backend until the new check has a result. */
START_TEST(health_stays_when_it_changes)
{
    const struct addr *address =
        peer_start("127.0.0.1:0", SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.0 200 OK\r\n\r\n"), CLOSE));

    (void)draft_kind("http", address, SEND_PROXY_OFF);
    run_check();
    WAIT_FOR(passed_of(1) == 1);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    (void)draft_kind("http", address, SEND_PROXY_V1);
    run_check();
    ck_assert(begins_with(V1, 15));
    WAIT_FOR(passed_of(1) == 2);
    ck_assert_int_eq(n_changes, 1);
    peer_stop();
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        preambles_are_as_specified,       every_kind_that_talks_begins_with_it,
        it_comes_before_the_request,      it_comes_before_tls,
        tcp_says_it_to_unix_sockets_only, only_the_backends_own_address_is_told,
        an_agent_is_never_told,           checks_that_begin_otherwise_are_not_shared,
        health_stays_when_it_changes,
    };

    return run_suite("check/preamble", tests, COUNT(tests));
}
