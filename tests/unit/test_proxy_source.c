/*
 * Where connections to backends come from: each source its share, none beyond its ports, another
 * backend before anyone is refused, and no blame for a backend.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/ports.h"
#include "proxy_bench.h"

/* Backend b is connected to from 127.0.0.first and the n - 1 addresses after it. */
static void set_sources(uint32_t b, uint8_t first, uint32_t n)
{
    image.backends[b].n_sources = n;
    for (uint32_t i = 0; i < n; i++) {
        image.sources[BENCH_SOURCES * b + i].ip =
            (struct addr_ip){.bytes = {127, 0, 0, (uint8_t)(first + i)}, .family = ADDR_IPV4};
    }
}

/* Kernel ports that it seems to have: the limit is the same of so few. */
static void set_ports(uint32_t n)
{
    atomic_store(&sb.header->ports, n);
    atomic_store(&sb.header->port_first, 32768);
    atomic_store(&sb.header->port_last, 60999);
}

static uint32_t used(uint32_t b, uint32_t i)
{
    return ports_used(&sb, BENCH_PAIR(b) + i);
}

static uint8_t last_byte(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    return (uint8_t)ntohl(peer.sin_addr.s_addr);
}

START_TEST(each_its_share)
{
    uint32_t seen[BENCH_SOURCES] = {0};
    set_sources(0, 2, 3);
    set_ports(100);
    bench_start();
    for (int i = 0; i < 9; i++) {
        bench_client();
        seen[last_byte(bench_accept(0)) - 2]++;
    }
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(seen[i], 3);
        ck_assert_uint_eq(used(0, i), 3);
    }
}
END_TEST

START_TEST(the_kernels_choice_is_counted)
{
    bench_start();
    int client = bench_client(), backend = bench_accept(0);
    ck_assert_uint_eq(used(0, 0), 1);
    bench_close(client);
    bench_hear_end(backend);
    bench_close(backend);
    UNTIL(used(0, 0) == 0);
}
END_TEST

START_TEST(refused_when_none_is_left)
{
    set_sources(0, 2, 2);
    set_ports(2);
    bench_start();
    int first = bench_client();
    int backend = bench_accept(0);
    for (int i = 0; i < 3; i++) {
        bench_client();
        bench_accept(0);
    }
    ck_assert_uint_eq(sb.header->ports_missed, 0);
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 1);
    ck_assert_uint_eq(sb.header->ports_missed, 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 0);
    ck_assert_uint_eq(used(0, 0) + used(0, 1), 4);

    bench_close(first);
    bench_hear_end(backend);
    bench_close(backend);
    UNTIL(used(0, 0) + used(0, 1) == 3);
    bench_client();
    bench_accept(0);
}
END_TEST

START_TEST(another_backend_is_tried)
{
    image.pools[0].n_backends = 2;
    image.pools[0].retries = 0; /* it is no retry */
    set_ports(1);
    bench_start();
    for (int i = 0; i < 2; i++) {
        bench_client();
    }
    bench_accept(0);
    bench_accept(1);
    atomic_store(&sb.pairs[BENCH_PAIR(0)].used, 0);
    bench_client();
    bench_accept(0);
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    atomic_store(&sb.pairs[BENCH_PAIR(0)].used, 2);
}
END_TEST

/* 203.0.113.0/24 is nobody's (RFC 5737). */
static void make_absent(struct snapshot_source *source)
{
    source->ip = (struct addr_ip){.bytes = {203, 0, 113, 9}, .family = ADDR_IPV4};
}

START_TEST(an_absent_address_is_passed_over)
{
    set_sources(0, 2, 2);
    make_absent(&image.sources[1]);
    bench_start();
    for (int i = 0; i < 6; i++) {
        bench_client();
        ck_assert_uint_eq(last_byte(bench_accept(0)), 2);
    }
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0) + 1].failures, 1);
    ck_assert_uint_eq(used(0, 1), 0);
    bench_pass(1000); /* then it is tried again */
    for (int i = 0; i < 2; i++) {
        bench_client();
        bench_accept(0);
    }
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0) + 1].failures, 2);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 0);
}
END_TEST

START_TEST(none_of_them_is_here)
{
    set_sources(0, 2, 1);
    make_absent(&image.sources[0]);
    bench_start();
    bench_hear_reset(bench_client());
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 2);
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0)].failures, 1); /* the second did not ask */
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 0);
}
END_TEST

/* All of backend 0's but one; no other backend has any then. */
#define MANY 24
#define HERE 20

static void set_absent_but_one(void)
{
    image.backends[0].n_sources = MANY;
    for (uint32_t i = 0; i < MANY; i++) {
        make_absent(&image.sources[i]);
    }
    image.sources[HERE].ip = (struct addr_ip){.bytes = {127, 0, 0, 2}, .family = ADDR_IPV4};
}

static uint32_t count_failures(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        sum += sb.pairs[BENCH_PAIR(0) + i].failures;
    }
    return sum;
}

static void come_and_go(void)
{
    int client = bench_client(), backend = bench_accept(0);
    bench_close(client);
    bench_hear_end(backend);
    bench_close(backend);
    UNTIL(used(0, HERE) == 0);
}

START_TEST(nobody_is_refused_while_one_is_here)
{
    set_absent_but_one();
    bench_start();
    for (int second = 0; second < 33; second++) {
        come_and_go();
        come_and_go();
        come_and_go();
        bench_pass(1000);
    }
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 0);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 0);
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0) + HERE].failures, 0);
    /* At seconds 0, 1, 3, 7, 15 and 31, or somewhat later, as it may be another's turn. */
    ck_assert_uint_le(count_failures(), (MANY - 1) * 6);
    ck_assert_uint_ge(count_failures(), (MANY - 1) * 3);
}
END_TEST

/* What is looked after beside what works is little. */
START_TEST(absent_ones_are_asked_a_few_at_a_time)
{
    set_absent_but_one();
    bench_start();
    while (count_failures() < MANY - 1) {
        come_and_go();
    }
    bench_pass(1000);
    come_and_go();
    ck_assert_uint_le(count_failures(), MANY - 1 + 4);
    ck_assert_uint_gt(count_failures(), MANY - 1);
}
END_TEST

/* The only one that always was here is full; wherever a client begins, it comes to the one that
 * came back, behind more than are looked after in passing. */
START_TEST(who_failed_before_is_the_last_resort)
{
    set_absent_but_one();
    set_ports(1);
    bench_start();
    atomic_store(&sb.pairs[BENCH_PAIR(0) + HERE].used, 1);
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(count_failures(), MANY - 1);
    for (uint32_t i = 0; i < HERE; i++) {
        bench_pass(61000);
        image.sources[i].ip = (struct addr_ip){.bytes = {127, 0, 0, 9}, .family = ADDR_IPV4};
        bench_apply();
        int client = bench_client(), backend = bench_accept(0);
        ck_assert_uint_eq(last_byte(backend), 9);
        bench_close(client);
        bench_hear_end(backend);
        bench_close(backend);
        UNTIL(used(0, i) == 0);
        make_absent(&image.sources[i]);
        bench_apply();
    }
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    atomic_store(&sb.pairs[BENCH_PAIR(0) + HERE].used, 0);
}
END_TEST

START_TEST(one_that_came_back_is_used_again)
{
    set_sources(0, 2, 2);
    make_absent(&image.sources[1]);
    bench_start();
    for (int i = 0; i < 4; i++) {
        bench_client();
        bench_accept(0);
    }
    ck_assert_uint_eq(ports_trouble(&sb, BENCH_PAIR(0) + 1), SB_PAIR_ABSENT);
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0) + 1].error, EADDRNOTAVAIL);
    ck_assert_uint_eq(sb.header->sources_turned, 1);
    set_sources(0, 2, 2);
    bench_apply();
    bench_pass(1000);
    bench_client();
    ck_assert_uint_eq(last_byte(bench_accept(0)), 3);
    ck_assert_uint_eq(ports_trouble(&sb, BENCH_PAIR(0) + 1), SB_PAIR_FINE);
    ck_assert_uint_eq(sb.header->sources_turned, 2);
}
END_TEST

/* Beyond the numbers that there are: not counted, so nobody remembers what failed. */
START_TEST(uncounted_ones_are_passed_over)
{
    set_absent_but_one();
    for (uint32_t i = 0; i < MANY; i++) {
        image.sources[i].pair = 0;
    }
    bench_start();
    for (int i = 0; i < 3; i++) {
        bench_client();
        ck_assert_uint_eq(last_byte(bench_accept(0)), 2);
    }
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 0);
}
END_TEST

/* Some other program's connection from 127.0.0.2 to backend 0 that has the only port. */
static int hold_only_port(void)
{
    struct sockaddr_storage to;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    socklen_t len = addr_to_sockaddr(&image.backends[0].address, &to), from_len = sizeof(from);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)),
                     0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&from, &from_len), 0);
    set_ports(1);
    atomic_store(&sb.header->port_first, ntohs(from.sin_port));
    atomic_store(&sb.header->port_last, ntohs(from.sin_port));
    return fd;
}

static bool kernel_takes_ranges(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint32_t none = 0;
    bool takes = setsockopt(fd, IPPROTO_IP, 51, &none, sizeof(none)) == 0;
    close(fd);
    return takes;
}

START_TEST(where_others_hold_the_ports_the_next_is_asked)
{
    if (!kernel_takes_ranges()) {
        return; /* before Linux 6.3 ports cannot be made scarce here */
    }
    set_sources(0, 2, 2);
    int held = hold_only_port();
    bench_accept(0);
    bench_start();
    bench_client();
    ck_assert_uint_eq(last_byte(bench_accept(0)), 3);
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(ports_trouble(&sb, BENCH_PAIR(0)), SB_PAIR_NO_PORT);
    ck_assert_uint_eq(sb.pairs[BENCH_PAIR(0)].failures, 1);
    ck_assert_uint_eq(sb.header->sources_turned, 0);
    ck_assert_uint_eq(bench_refused(REFUSAL_SOURCE_PORTS), 1);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].connect_failures, 0);
    close(held);
}
END_TEST

START_TEST(a_failed_connect_gives_its_port_back)
{
    set_sources(0, 2, 2);
    bench_stop_listening(0);
    bench_start();
    bench_hear_reset(bench_client());
    ck_assert_uint_eq(bench_refused(REFUSAL_CONNECT_FAILED), 1);
    ck_assert_uint_eq(used(0, 0) + used(0, 1), 0);
}
END_TEST

START_TEST(none_is_opened_ahead_when_few_are_left)
{
    bench_reuse(REUSE_WARM, FRAMING_NONE)->warm_min = 10;
    set_sources(0, 2, 1);
    set_ports(8);
    bench_start();
    UNTIL(bench_cell(0)->idle == 6);
    bench_pass(2000);
    ck_assert_uint_eq(bench_cell(0)->idle, 6);
    ck_assert_uint_eq(used(0, 0), 6);
    for (int i = 0; i < 8; i++) {
        bench_client();
        bench_accept(0);
    }
    bench_settle();
    ck_assert_uint_eq(used(0, 0), 8);
    ck_assert_uint_eq(sb.rows[BENCH_ROW(0)].ports_out, 0);
}
END_TEST

START_TEST(what_is_opened_ahead_asks_again)
{
    bench_reuse(REUSE_WARM, FRAMING_NONE)->warm_min = 2;
    set_sources(0, 2, 1);
    make_absent(&image.sources[0]);
    bench_start();
    UNTIL(ports_trouble(&sb, BENCH_PAIR(0)) == SB_PAIR_ABSENT);
    set_sources(0, 2, 1);
    bench_apply();
    for (int second = 0; second < 10; second++) {
        bench_pass(1000);
        bench_settle();
    }
    ck_assert_uint_eq(bench_cell(0)->idle, 2);
    ck_assert_uint_eq(ports_trouble(&sb, BENCH_PAIR(0)), SB_PAIR_FINE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy source");
    TCase *tcase = bench_case(suite, "source", bench_setup_one);
    tcase_add_test(tcase, each_its_share);
    tcase_add_test(tcase, the_kernels_choice_is_counted);
    tcase_add_test(tcase, refused_when_none_is_left);
    tcase_add_test(tcase, another_backend_is_tried);
    tcase_add_test(tcase, an_absent_address_is_passed_over);
    tcase_add_test(tcase, none_of_them_is_here);
    tcase_add_test(tcase, nobody_is_refused_while_one_is_here);
    tcase_add_test(tcase, absent_ones_are_asked_a_few_at_a_time);
    tcase_add_test(tcase, who_failed_before_is_the_last_resort);
    tcase_add_test(tcase, one_that_came_back_is_used_again);
    tcase_add_test(tcase, uncounted_ones_are_passed_over);
    tcase_add_test(tcase, where_others_hold_the_ports_the_next_is_asked);
    tcase_add_test(tcase, a_failed_connect_gives_its_port_back);
    tcase_add_test(tcase, none_is_opened_ahead_when_few_are_left);
    tcase_add_test(tcase, what_is_opened_ahead_asks_again);
    return bench_run(suite);
}
