/*
 * The data path in one process: a proxy on a real event base between real sockets on the loopback
 * device, one listener and one backend that the test itself plays. Each test drives the loop until
 * a condition holds; none waits for a time.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/proxy.h"

#define LOOPS_MAX 200000
#define CHUNK     8192

static struct scoreboard sb;
static struct event_base *base;
static struct proxy *proxy;
static int service_fd = -1; /* the proxy's own from the start; only for its address */
static int backend_fd = -1; /* where the test accepts as the backend */
static struct sockaddr_in service_at, backend_at;
static int client = -1, peer = -1; /* the test's ends of one session */

static int listen_on_loopback(struct sockaddr_in *out_at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*out_at);
    *out_at =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(bind(fd, (struct sockaddr *)out_at, len), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)out_at, &len), 0);
    return fd;
}

struct image {
    struct snapshot_header header;
    struct snapshot_service service;
    struct snapshot_listener listener;
    struct snapshot_pool pool;
    struct snapshot_backend backend;
    struct snapshot_check check; /* not part of it until checked() */
};

static struct image *new_image(uint32_t generation)
{
    struct image *image =
        mmap(NULL, sizeof(*image), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(image, MAP_FAILED);
    image->header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = generation,
        .size_bytes = sizeof(*image),
        .n_services = 1,
        .n_listeners = 1,
        .n_pools = 1,
        .n_backends = 1,
        .services_offset = offsetof(struct image, service),
        .listeners_offset = offsetof(struct image, listener),
        .pools_offset = offsetof(struct image, pool),
        .backends_offset = offsetof(struct image, backend),
        .checks_offset = sizeof(*image),
        .entries_offset = sizeof(*image),
        .args_offset = sizeof(*image),
        .texts_offset = sizeof(*image),
    };
    image->service =
        (struct snapshot_service){.name = "web", .n_listeners = 1, .fallback_pool = SNAPSHOT_NONE};
    image->listener.id = 3;
    addr_from_sockaddr((struct sockaddr *)&service_at, sizeof(service_at),
                       &image->listener.address);
    image->pool = (struct snapshot_pool){
        .name = "web", .n_backends = 1, .connect_timeout_ms = 3000, .retries = 3};
    image->backend = (struct snapshot_backend){.name = "a", .slot = 5, .row = 6, .weight = 1};
    addr_from_sockaddr((struct sockaddr *)&backend_at, sizeof(backend_at), &image->backend.address);
    return image;
}

static void apply(struct image *image)
{
    ck_assert_int_eq(snapshot_check(&image->header, sizeof(*image)), 0);
    ck_assert_int_eq(proxy_apply(proxy, &image->header), 0);
}

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, clock_now_ms(), clock_wall_ms()), 0);
    base = event_base_new();
    proxy = proxy_create(base, &sb, 0, NULL);
    ck_assert_ptr_nonnull(proxy);
    service_fd = listen_on_loopback(&service_at);
    backend_fd = listen_on_loopback(&backend_at);
    scoreboard_set_health(&sb, 5, SB_HEALTH_UP, "test", clock_now_ms());
}

static void start(struct image *image)
{
    apply(image);
    ck_assert_int_eq(proxy_add_listener(proxy, 3, service_fd), 0);
}

static void teardown(void)
{
    close(client);
    close(peer);
    close(backend_fd);
    proxy_destroy(proxy);
    event_base_free(base);
    scoreboard_destroy(&sb);
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    proxy_turn(proxy);
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        int loops_ = 0;                                                                            \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            ck_assert_msg(++loops_ < LOOPS_MAX, "never: " #condition);                             \
            if (loops_ > 100) {                                                                    \
                poll(NULL, 0, 1);                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void connect_client(void)
{
    client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = connect(client, (struct sockaddr *)&service_at, sizeof(service_at));
    ck_assert(rc == 0 || errno == EINPROGRESS);
}

static void open_session(void)
{
    connect_client();
    UNTIL((peer = accept4(backend_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
}

static ssize_t receive(int fd)
{
    static char bytes[CHUNK];
    return recv(fd, bytes, sizeof(bytes), 0);
}

/* 1: orderly end, errno otherwise; 0: nothing yet */
static int end_of(int fd)
{
    ssize_t n;
    while ((n = receive(fd)) > 0) {
    }
    return n == 0 ? 1 : errno == EAGAIN ? 0 : errno;
}

static void reset_fd(int *fd)
{
    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(*fd);
    *fd = -1;
}

static uint64_t ended(enum ending reason)
{
    return sb.service_cells[0].ended_by[reason];
}

static uint64_t refused(enum refusal reason)
{
    return sb.service_cells[0].refused_by[reason];
}

static void assert_at_rest(void)
{
    ck_assert_uint_eq(proxy_sessions(proxy), 0);
    ck_assert_uint_eq(sb.slot_active[5], 0);
    ck_assert_uint_eq(sb.services[0].active, 0);
    ck_assert_uint_eq(sb.header->active, 0);
    ck_assert_uint_eq(sb.workers[0].buffered_bytes, 0);
    struct sb_service_sum sum;
    scoreboard_sum_service(&sb, 0, &sum);
    ck_assert_uint_eq(sum.connections_total, sum.refused + sum.ended);
}

START_TEST(bytes_go_both_ways_and_are_counted)
{
    start(new_image(1));
    open_session();
    ck_assert_int_eq(send(client, "hello", 5, 0), 5);
    ssize_t n;
    UNTIL((n = receive(peer)) > 0);
    ck_assert_int_eq(n, 5);
    ck_assert_int_eq(send(peer, "hi", 2, 0), 2);
    UNTIL((n = receive(client)) > 0);
    ck_assert_int_eq(n, 2);
    ck_assert_uint_eq(sb.slot_active[5], 1);
    ck_assert_uint_eq(sb.row_cells[6].bytes_in, 5);
    ck_assert_uint_eq(sb.row_cells[6].bytes_out, 2);
    ck_assert_uint_eq(sb.service_cells[0].bytes_in, 5);
    ck_assert_uint_eq(sb.service_cells[0].bytes_out, 2);
    shutdown(client, SHUT_WR);
    UNTIL(end_of(peer) == 1);
    shutdown(peer, SHUT_WR);
    UNTIL(end_of(client) == 1);
    UNTIL(proxy_sessions(proxy) == 0);
    ck_assert_uint_eq(ended(ENDING_CLIENT_FIN), 1);
    assert_at_rest();
}
END_TEST

START_TEST(each_direction_closes_by_itself)
{
    start(new_image(1));
    open_session();
    shutdown(peer, SHUT_WR);
    UNTIL(end_of(client) == 1);
    /* the other direction goes on */
    ck_assert_int_eq(send(client, "still", 5, 0), 5);
    ssize_t n;
    UNTIL((n = receive(peer)) > 0);
    ck_assert_int_eq(n, 5);
    shutdown(client, SHUT_WR);
    UNTIL(end_of(peer) == 1);
    UNTIL(proxy_sessions(proxy) == 0);
    ck_assert_uint_eq(ended(ENDING_BACKEND_FIN), 1);
    assert_at_rest();
}
END_TEST

START_TEST(a_reset_stays_a_reset)
{
    bool from_client = _i == 0;
    start(new_image(1));
    open_session();
    ck_assert_int_eq(send(client, "x", 1, 0), 1);
    UNTIL(receive(peer) == 1);
    reset_fd(from_client ? &client : &peer);
    UNTIL(end_of(from_client ? peer : client) == ECONNRESET);
    UNTIL(proxy_sessions(proxy) == 0);
    ck_assert_uint_eq(ended(from_client ? ENDING_CLIENT_RESET : ENDING_BACKEND_RESET), 1);
    assert_at_rest();
}
END_TEST

/* Fills one direction until neither the proxy nor the kernel takes more. */
static size_t stuff(int fd)
{
    static char bytes[CHUNK];
    size_t total = 0;
    for (int quiet = 0; quiet < 50;) {
        ssize_t n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        quiet = n > 0 ? 0 : quiet + 1;
        total += n > 0 ? (size_t)n : 0;
        turn();
        if (n <= 0) {
            poll(NULL, 0, 1);
        }
        ck_assert_uint_lt(total, 1u << 30);
    }
    return total;
}

START_TEST(a_slow_peer_is_waited_for_within_one_buffer)
{
    start(new_image(1));
    open_session();
    size_t total = stuff(client);
    ck_assert_uint_gt(sb.workers[0].buffered_bytes, 0);
    ck_assert_uint_le(sb.workers[0].buffered_bytes, 64 * 1024);
    size_t got = 0;
    shutdown(client, SHUT_WR);
    UNTIL(({
        ssize_t n;
        while ((n = receive(peer)) > 0) {
            got += (size_t)n;
        }
        n == 0;
    }));
    ck_assert_uint_eq(got, total);
    ck_assert_uint_eq(sb.row_cells[6].bytes_in, total);
}
END_TEST

START_TEST(a_reset_is_seen_while_reading_is_paused)
{
    start(new_image(1));
    open_session();
    stuff(client);
    reset_fd(&client);
    UNTIL(proxy_sessions(proxy) == 0);
    ck_assert_uint_eq(ended(ENDING_CLIENT_RESET), 1);
    UNTIL(end_of(peer) == ECONNRESET);
    assert_at_rest();
}
END_TEST

/* The backend must see the connection at once even when the client says nothing: a handshake left
 * half-done for 200 ms would be ended by the idle time-out before the backend could accept. */
START_TEST(silence_ends_a_session)
{
    struct image *image = new_image(1);
    image->service.idle_timeout_ms = 30;
    start(image);
    open_session();
    UNTIL(ended(ENDING_IDLE_TIMEOUT) == 1);
    ck_assert_int_eq(end_of(client), ECONNRESET);
    assert_at_rest();
}
END_TEST

START_TEST(half_closed_silence_has_its_own_limit)
{
    struct image *image = new_image(1);
    image->service.half_close_timeout_ms = 30;
    start(image);
    open_session();
    ck_assert_int_eq(send(client, "x", 1, 0), 1);
    UNTIL(receive(peer) == 1);
    shutdown(client, SHUT_WR);
    UNTIL(ended(ENDING_HALF_CLOSE_TIMEOUT) == 1);
    assert_at_rest();
}
END_TEST

START_TEST(without_a_backend_the_client_is_reset)
{
    struct image *image = new_image(1);
    image->backend.weight = 0;
    start(image);
    connect_client();
    UNTIL(refused(REFUSAL_NO_BACKEND) == 1);
    UNTIL(end_of(client) == ECONNRESET);
    assert_at_rest();
}
END_TEST

START_TEST(a_refused_connect_is_counted_and_given_back)
{
    close(backend_fd);
    backend_fd = -1;
    start(new_image(1));
    connect_client();
    UNTIL(refused(REFUSAL_CONNECT_FAILED) == 1);
    ck_assert_uint_eq(sb.rows[6].connect_failures, 1);
    assert_at_rest();
}
END_TEST

START_TEST(a_full_backend_refuses)
{
    struct image *image = new_image(1);
    image->backend.max_connections = image->backend.resume_connections = 1;
    start(image);
    open_session();
    int first = client;
    connect_client();
    UNTIL(refused(REFUSAL_FULL) == 1);
    ck_assert_uint_eq(sb.slot_active[5], 1);
    close(first);
}
END_TEST

START_TEST(limits_of_service_and_daemon_refuse)
{
    struct image *image = new_image(1);
    if (_i == 0) {
        image->service.max_connections = 1;
    } else {
        image->header.max_connections = 1;
    }
    start(image);
    open_session();
    int first = client;
    connect_client();
    UNTIL(refused(_i == 0 ? REFUSAL_SERVICE_LIMIT : REFUSAL_DAEMON_LIMIT) == 1);
    ck_assert_uint_eq(proxy_sessions(proxy), 1);
    close(first);
}
END_TEST

/* Gives the backend a check, so that its health in the scoreboard counts. */
static void checked(struct image *image)
{
    image->check = (struct snapshot_check){.kind = "tcp",
                                           .title = "tcp",
                                           .interval_ms = 1000,
                                           .timeout_ms = 1000,
                                           .rise = 1,
                                           .fall = 1};
    image->header.checks_offset = offsetof(struct image, check);
    image->header.n_checks = 1;
    image->backend.n_checks = 1;
}

static bool backend_has_client(void)
{
    struct pollfd waiting = {.fd = backend_fd, .events = POLLIN};
    return poll(&waiting, 1, 0) == 1;
}

START_TEST(a_client_waits_for_the_first_check)
{
    struct image *image = new_image(1);
    scoreboard_set_health(&sb, 5, SB_HEALTH_UNKNOWN, "test", clock_now_ms());
    checked(image);
    start(image);
    connect_client();
    UNTIL(sb.workers[0].waiting == 1);
    ck_assert(!backend_has_client());
    scoreboard_set_health(&sb, 5, _i == 0 ? SB_HEALTH_UP : SB_HEALTH_DOWN, "test", clock_now_ms());
    if (_i == 0) {
        UNTIL((peer = accept4(backend_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    } else {
        UNTIL(refused(REFUSAL_NO_BACKEND) == 1);
        ck_assert(!backend_has_client());
        assert_at_rest();
    }
    ck_assert_uint_eq(sb.workers[0].waiting, 0);
}
END_TEST

START_TEST(without_checks_health_does_not_count)
{
    scoreboard_set_health(&sb, 5, SB_HEALTH_UNKNOWN, "test", clock_now_ms());
    start(new_image(1));
    open_session();
    ck_assert_uint_eq(sb.workers[0].waiting, 0);
}
END_TEST

START_TEST(sessions_outlive_a_new_snapshot_and_a_dropped_listener)
{
    start(new_image(1));
    open_session();
    struct image *next = new_image(2);
    next->listener.id = 4; /* another listener: ours is dropped */
    apply(next);
    ck_assert_int_eq(send(client, "on", 2, 0), 2);
    UNTIL(receive(peer) == 2);
    ck_assert_uint_eq(proxy_sessions(proxy), 1);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(connect(late, (struct sockaddr *)&service_at, sizeof(service_at)), 0);
    close(late);
}
END_TEST

START_TEST(what_waits_in_a_dropped_queue_is_served)
{
    start(new_image(1));
    connect_client(); /* in the queue: the loop has not run */
    struct image *next = new_image(2);
    next->listener.id = 4;
    apply(next);
    UNTIL((peer = accept4(backend_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    ck_assert_int_eq(send(peer, "served", 6, 0), 6);
    UNTIL(receive(client) == 6);
}
END_TEST

START_TEST(a_drain_ends_at_its_deadline)
{
    start(new_image(1));
    open_session();
    proxy_drain(proxy, clock_now_ms() + 20);
    ck_assert_uint_eq(proxy_sessions(proxy), 1);
    UNTIL(proxy_sessions(proxy) == 0);
    ck_assert_uint_eq(ended(ENDING_DRAIN_DEADLINE), 1);
    assert_at_rest();
}
END_TEST

START_TEST(sessions_are_listed_by_filter)
{
    struct session_info items[4];
    struct session_filter all = {
        .service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY, .limit = 10};
    start(new_image(1));
    open_session();
    UNTIL(proxy_list(proxy, &all, 0, items, 4) == 1 && items[0].state == SESSION_OPEN);
    ck_assert_uint_eq(items[0].row, 6);
    ck_assert_uint_eq(items[0].client.family, ADDR_IPV4);
    ck_assert_uint_eq(proxy_list(proxy, &all, items[0].id, items, 4), 0);
    struct session_filter other = all;
    other.row = 9;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
    other = all;
    other.idle_ms = 3600000;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
    other = all;
    other.limit = 0;
    ck_assert_uint_eq(proxy_list(proxy, &other, 0, items, 4), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/session");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bytes_go_both_ways_and_are_counted);
    tcase_add_test(tc, each_direction_closes_by_itself);
    tcase_add_loop_test(tc, a_reset_stays_a_reset, 0, 2);
    tcase_add_test(tc, a_slow_peer_is_waited_for_within_one_buffer);
    tcase_add_test(tc, a_reset_is_seen_while_reading_is_paused);
    tcase_add_test(tc, silence_ends_a_session);
    tcase_add_test(tc, half_closed_silence_has_its_own_limit);
    tcase_add_test(tc, without_a_backend_the_client_is_reset);
    tcase_add_test(tc, a_refused_connect_is_counted_and_given_back);
    tcase_add_test(tc, a_full_backend_refuses);
    tcase_add_loop_test(tc, limits_of_service_and_daemon_refuse, 0, 2);
    tcase_add_loop_test(tc, a_client_waits_for_the_first_check, 0, 2);
    tcase_add_test(tc, without_checks_health_does_not_count);
    tcase_add_test(tc, sessions_outlive_a_new_snapshot_and_a_dropped_listener);
    tcase_add_test(tc, what_waits_in_a_dropped_queue_is_served);
    tcase_add_test(tc, a_drain_ends_at_its_deadline);
    tcase_add_test(tc, sessions_are_listed_by_filter);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
