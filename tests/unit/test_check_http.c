/* The http check's runs: how they go, what is said of answers, and what is left behind. */
#include "test_check_run.h"

#include <signal.h>
#include <time.h>

#include "test_check_peer.h"
#include "test_check_tls.h"

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in the monitor */
    setup();
}

static void end(void)
{
    tls_stop();
    peer_stop();
    teardown();
}

/* --- runs --- */

static void run_within(uint32_t timeout_ms, const struct check_arg *args, int n_args)
{
    address = peer.address;
    params.timeout_ms = timeout_ms;
    probe_once(check_kind_find("http"), args, n_args);
}

static void run(const struct act *script, const struct check_arg *args, int n_args)
{
    (void)peer_start("127.0.0.1:0", script);
    run_within(WAIT_MS, args, n_args);
}

static void expect_pass(const char *start)
{
    ck_assert_msg(result.passed, "%s", result.reason);
    ck_assert_msg(strncmp(result.reason, start, strlen(start)) == 0, "%s", result.reason);
}

static void expect_fail(const char *reason)
{
    ck_assert(!result.passed && !result.timed_out);
    ck_assert_str_eq(result.reason, reason);
}

START_TEST(an_answer_passes)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), PAUSE(1),
               CLOSE),
        NULL, 0);
    expect_pass("HTTP 200 in ");
    ck_assert(peer_parts_well());
    ck_assert_str_eq(strstr(peer_heard(), "\r\nConnection"),
                     "\r\nConnection: close\r\nUser-Agent: Sluice\r\n\r\n");
}
END_TEST

START_TEST(another_status_fails)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 503 Service Unavailable\r\n\r\n"), CLOSE), NULL, 0);
    expect_fail("HTTP 503, expected 200-399");
}
END_TEST

START_TEST(statuses_may_be_chosen)
{
    const struct check_arg args[] = {{"status", "404,503"}};

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.0 503\n\n"), CLOSE), args, 1);
    expect_pass("HTTP 503 in ");
}
END_TEST

START_TEST(interim_answers_are_passed_over)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 100 Continue\r\n\r\n"), PAUSE(1),
               SAY("HTTP/1.1 204 No Content\r\n\r\n"), CLOSE),
        NULL, 0);
    expect_pass("HTTP 204 in ");
}
END_TEST

START_TEST(bytes_may_come_one_by_one)
{
    const struct check_arg args[] = {{"body", "^ok$"}};

    run(SCRIPT(HEAR("\r\n\r\n"),
               SAY_SLOWLY("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
               CLOSE),
        args, 1);
    expect_pass("HTTP 200 in ");
}
END_TEST

START_TEST(bodies_have_to_match)
{
    const struct check_arg args[] = {{"body", "\"status\":\\s*\"ok\""}};

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\n\r\n{\"status\": \"bad\"}"), CLOSE), args,
        1);
    expect_fail("body does not match /\\\"status\\\":\\\\s*\\\"ok\\\"/: got \"{\\\"status\\\": "
                "\\\"bad\\\"}\"");
}
END_TEST

/* A part of the body decides nothing: what it says may still change. */
START_TEST(bodies_are_judged_as_a_whole)
{
    const struct check_arg args[] = {{"body", "^ok$"}};

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nok"), PAUSE(5),
               SAY(" is not")),
        args, 1);
    ck_assert(!result.passed);
}
END_TEST

START_TEST(cut_bodies_fail)
{
    const struct check_arg args[] = {{"body", "ok"}};

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), CLOSE),
        args, 1);
    expect_fail("closed within the body");
}
END_TEST

START_TEST(bodies_that_never_end_are_not_read_on)
{
    const struct check_arg args[] = {{"body", "xxx"}};

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\n\r\n"), FLOOD((size_t)1 << 30)), args, 1);
    expect_pass("HTTP 200 in ");
    ck_assert_uint_lt(peer.n_said, 16 << 20); /* what two sockets hold, and no more */
}
END_TEST

START_TEST(no_body_makes_an_expression_spin)
{
    const struct check_arg args[] = {{"body", "(x+)+[yz]"}};
    clock_t start = clock();

    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\n\r\n"), FLOOD(60000), CLOSE), args, 1);
    expect_fail("body takes too long to match with /(x+)+[yz]/");
    ck_assert_int_lt((clock() - start) * 1000 / CLOCKS_PER_SEC, 300);
}
END_TEST

/* A gigabyte after headers that say all. */
START_TEST(bodies_that_do_not_matter_are_not_read)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
               FLOOD((size_t)1 << 30), HEAR_END),
        NULL, 0);
    expect_pass("HTTP 200 in ");
    ck_assert_uint_lt(peer.n_said, 16 << 20);
    WAIT_FOR(peer.saw_reset);
}
END_TEST

/* It says all it has to say, and then does not end, though it was asked to. */
START_TEST(a_backend_that_does_not_end_is_left)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), HEAR_END),
        NULL, 0);
    expect_pass("HTTP 200 in ");
    WAIT_FOR(peer.saw_reset || peer.saw_end);
    ck_assert(peer.saw_reset);
}
END_TEST

START_TEST(somebody_else_is_recognised_at_once)
{
    run(SCRIPT(SAY("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), HEAR_END), NULL, 0);
    expect_fail("no HTTP answer: got \"SSH-2.0-OpenSSH_9.2p1 Debian\"");
}
END_TEST

START_TEST(heads_without_end_fail)
{
    run(SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\nX: "), FLOOD((size_t)1 << 30)), NULL, 0);
    expect_fail("headers over 16 KiB");
}
END_TEST

START_TEST(ends_without_an_answer_fail)
{
    run(SCRIPT(HEAR("\r\n\r\n"), CLOSE), NULL, 0);
    expect_fail("closed without an answer");
}
END_TEST

START_TEST(resets_fail)
{
    run(SCRIPT(HEAR("\r\n\r\n"), RESET), NULL, 0);
    expect_fail("connection reset");
}
END_TEST

static void expect_late(const struct act *script, const struct check_arg *args, int n_args,
                        const char *reason)
{
    (void)peer_start("127.0.0.1:0", script);
    run_within(500, args, n_args); /* to get so far takes a busy machine a while */
    ck_assert(result.timed_out);
    ck_assert_str_eq(result.reason, reason);
}

START_TEST(silence_has_no_reason_of_its_own)
{
    expect_late(SCRIPT(HEAR_END), NULL, 0, "");
}
END_TEST

START_TEST(slow_headers_are_told)
{
    expect_late(SCRIPT(SAY("HTTP/1.1 200 OK\r\n"), HEAR_END), NULL, 0,
                "no whole answer within 500 ms: its headers go on");
}
END_TEST

START_TEST(slow_bodies_are_told)
{
    const struct check_arg args[] = {{"body", "ok"}};

    expect_late(SCRIPT(SAY("HTTP/1.1 200 OK\r\n\r\n"), HEAR_END), args, 1,
                "no whole answer within 500 ms: its body goes on");
}
END_TEST

/* Its backlog is full, so that its host does not answer at all. */
START_TEST(a_connection_that_is_not_taken_is_told)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    int fds[4], *listener = &fds[0];

    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(listen(*listener, 0), 0); /* on a port of the kernel's choice */
    ck_assert_int_eq(getsockname(*listener, (struct sockaddr *)&storage, &len), 0);
    for (int i = 1; i < COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&storage, len);
    }
    ((struct sockaddr_in *)&storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr_ip_from_sockaddr((struct sockaddr *)&storage, &address.ip);
    params.timeout_ms = 50;
    probe_once(check_kind_find("http"), NULL, 0);
    ck_assert_msg(result.timed_out, "%s", result.reason);
    ck_assert_str_eq(result.reason, "no connection within 50 ms");
    for (int i = 0; i < COUNT(fds); i++) {
        close(fds[i]);
    }
}
END_TEST

/* --- TLS --- */

START_TEST(a_handshake_that_does_not_end_is_told)
{
    const struct check_arg args[] = {{"tls", "true"}};

    expect_late(SCRIPT(HEAR_END), args, 1, "no TLS handshake within 500 ms");
}
END_TEST

static void run_tls(const struct check_arg *args, int n_args)
{
    tls_start("\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_within(WAIT_MS, args, n_args);
}

START_TEST(tls_works)
{
    const struct check_arg args[] = {{"tls", "true"}, {"sni", "backend.test"}};

    run_tls(args, 2);
    expect_pass("HTTP 200 in ");
    ck_assert_str_eq(tls_peer.name, "backend.test");
}
END_TEST

START_TEST(hosts_are_asked_for_by_tls)
{
    const struct check_arg args[] = {{"tls", "true"}, {"host", "backend.test:8443"}};

    run_tls(args, 2);
    expect_pass("HTTP 200 in ");
    ck_assert_str_eq(tls_peer.name, "backend.test");
}
END_TEST

START_TEST(addresses_are_not_asked_for_by_tls)
{
    const struct check_arg args[] = {{"tls", "true"}, {"host", "[::1]:8443"}};

    run_tls(args, 2);
    expect_pass("HTTP 200 in ");
    ck_assert_str_eq(tls_peer.name, "");
}
END_TEST

START_TEST(certificates_are_verified_if_asked)
{
    const struct check_arg args[] = {{"tls", "true"}, {"verify", "true"}};

    run_tls(args, 2);
    expect_fail("TLS: self-signed certificate");
}
END_TEST

START_TEST(certificates_may_be_for_the_address)
{
    const struct check_arg args[] = {{"tls", "true"}, {"verify", "true"}};

    tls_start("\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n");
    setenv("SSL_CERT_FILE", tls_peer.certificate, 1);
    run_within(WAIT_MS, args, 2);
    expect_pass("HTTP 200 in ");
}
END_TEST

START_TEST(plain_answers_to_tls_are_told)
{
    const struct check_arg args[] = {{"tls", "true"}};

    run(SCRIPT(HEAR("\x16"), SAY("HTTP/1.1 400 Bad Request\r\n\r\n"), CLOSE), args, 1);
    expect_fail("TLS: the backend does not speak it");
}
END_TEST

/* --- lives --- */

START_TEST(runs_follow_each_other)
{
    const struct check_arg args[] = {{"body", "ok"}};
    int n_before;

    (void)peer_start("127.0.0.1:0",
                     SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\n\r\nok"), CLOSE));
    address = peer.address;
    probe_begin(check_kind_find("http"), args, 1);
    n_before = count_descriptors();
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(probe_run(), 0);
        ck_assert_msg(result.passed, "%s", result.reason);
    }
    turn_loop();
    ck_assert_int_eq(count_descriptors(), n_before);
    kind->release(&probe);
}
END_TEST

START_TEST(it_can_be_cancelled_at_any_time)
{
    const struct check_arg args[] = {{"body", "ok"}};

    (void)peer_start("127.0.0.1:0",
                     SCRIPT(HEAR("\r\n\r\n"), SAY("HTTP/1.1 200 OK\r\n\r\nok"), HEAR_END));
    address = peer.address;
    probe_begin(check_kind_find("http"), args, 1);
    for (int turns = 0; turns < 6; turns++) {
        n_results = 0;
        ck_assert_int_eq(kind->start(&probe), 0);
        for (int i = 0; i < turns; i++) {
            turn_loop();
        }
        kind->cancel(&probe);
        ck_assert_int_eq(n_results, 0);
    }
    kind->release(&probe);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        an_answer_passes,
        another_status_fails,
        statuses_may_be_chosen,
        interim_answers_are_passed_over,
        bytes_may_come_one_by_one,
        bodies_have_to_match,
        bodies_are_judged_as_a_whole,
        cut_bodies_fail,
        bodies_that_never_end_are_not_read_on,
        no_body_makes_an_expression_spin,
        bodies_that_do_not_matter_are_not_read,
        a_backend_that_does_not_end_is_left,
        somebody_else_is_recognised_at_once,
        heads_without_end_fail,
        ends_without_an_answer_fail,
        resets_fail,
        silence_has_no_reason_of_its_own,
        slow_headers_are_told,
        slow_bodies_are_told,
        a_connection_that_is_not_taken_is_told,
        a_handshake_that_does_not_end_is_told,
        tls_works,
        hosts_are_asked_for_by_tls,
        addresses_are_not_asked_for_by_tls,
        certificates_are_verified_if_asked,
        certificates_may_be_for_the_address,
        plain_answers_to_tls_are_told,
        runs_follow_each_other,
        it_can_be_cancelled_at_any_time,
    };

    return run_suite("check/http", begin, end, tests, COUNT(tests));
}
