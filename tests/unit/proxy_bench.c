/* The bench of the data path, but for the test's ends: see the header. */
#include "proxy_bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/session.h" /* whether an event has woken a proxy */
#include "sched/sched.h"

#define START_US        UINT64_C(1000000000)
#define DESCRIPTORS_MAX 512

struct bench_image image;
struct scoreboard sb;
struct proxy *proxies[BENCH_WORKERS_MAX];

static struct event_base *base;
static uint32_t n_workers;
static uint64_t now_us;
static uint64_t due_ms[BENCH_WORKERS_MAX]; /* when a worker would wake up without an event */
static int listening[BENCH_BACKENDS];
static struct sockaddr_in service_at[BENCH_WORKERS_MAX];
static int service_fd[BENCH_WORKERS_MAX]; /* the proxies' own from the start on */
static int wakes[BENCH_WORKERS_MAX + 1];
static struct event wake_events[BENCH_WORKERS_MAX];
static uint64_t discards_seen[BENCH_BACKENDS][DISCARD_COUNT];
static int descriptors_before;

/* --- time: the linker puts these in the place of base/clock.c's --- */

uint64_t __wrap_clock_now_us(void);
uint64_t __wrap_clock_now_ms(void);

uint64_t __wrap_clock_now_us(void)
{
    return now_us;
}

uint64_t __wrap_clock_now_ms(void)
{
    return now_us / 1000;
}

uint64_t bench_now_ms(void)
{
    return now_us / 1000;
}

static void work(uint32_t w)
{
    struct proxy *proxy = proxies[w];
    if (proxy->woken_us != 0 || proxy_busy(proxy) || bench_now_ms() >= due_ms[w]) {
        uint64_t in_ms = proxy_next_ms(proxy, proxy_turn(proxy));
        due_ms[w] = in_ms == UINT64_MAX ? UINT64_MAX : bench_now_ms() + in_ms;
    }
}

void bench_turn(void)
{
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    for (uint32_t w = 0; w < n_workers; w++) {
        work(w);
    }
}

void bench_settle(void)
{
    for (int i = 0; i < BENCH_QUIET_TURNS; i++) {
        bench_turn();
        poll(NULL, 0, 1);
    }
}

void bench_pass(uint32_t ms)
{
    now_us += ms * UINT64_C(1000);
    bench_turn();
}

/* --- set-up --- */

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

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

static void fill_header(void)
{
    image.header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .size_bytes = sizeof(image),
        .n_services = 1,
        .n_listeners = BENCH_WORKERS_MAX,
        .n_pools = 2,
        .n_backends = BENCH_BACKENDS,
        .n_text_bytes = sizeof(image.texts),
        .services_offset = offsetof(struct bench_image, service),
        .listeners_offset = offsetof(struct bench_image, listeners),
        .pools_offset = offsetof(struct bench_image, pools),
        .backends_offset = offsetof(struct bench_image, backends),
        .checks_offset = offsetof(struct bench_image, check),
        .entries_offset = sizeof(image),
        .args_offset = sizeof(image),
        .n_sources = BENCH_BACKENDS * BENCH_SOURCES,
        .sources_offset = offsetof(struct bench_image, sources),
        .texts_offset = offsetof(struct bench_image, texts),
    };
}

static void fill_pool(uint32_t p, const char *name)
{
    image.pools[p] = (struct snapshot_pool){.scheduler = sched_find("rr"),
                                            .first_backend = p * 2,
                                            .n_backends = 1,
                                            .row = p,
                                            .connect_timeout_ms = 3000,
                                            .retries = 3};
    strcpy(image.pools[p].name, name);
}

static void fill_backend(uint32_t b, const char *name)
{
    struct sockaddr_in at;
    listening[b] = listen_on_loopback(&at);
    image.backends[b] = (struct snapshot_backend){.slot = BENCH_SLOT(b),
                                                  .row = BENCH_ROW(b),
                                                  .weight = 1,
                                                  .admin = ADMIN_READY,
                                                  .first_source = BENCH_SOURCES * b,
                                                  .n_sources = 1};
    for (uint32_t i = 0; i < BENCH_SOURCES; i++) {
        image.sources[BENCH_SOURCES * b + i].pair = BENCH_PAIR(b) + i;
    }
    strcpy(image.backends[b].name, name);
    addr_from_sockaddr((struct sockaddr *)&at, sizeof(at), &image.backends[b].address);
    bench_set_health(b, SB_HEALTH_UP);
    /* Else nothing would be kept of framings such as line before a second is over. */
    atomic_store(&sb.slots[BENCH_SLOT(b)].heard, 1);
}

static void fill_image(void)
{
    image = (struct bench_image){0};
    fill_header();
    image.service = (struct snapshot_service){
        .name = "web", .n_listeners = BENCH_WORKERS_MAX, .fallback_pool = SNAPSHOT_NONE};
    for (uint32_t w = 0; w < BENCH_WORKERS_MAX; w++) {
        service_fd[w] = listen_on_loopback(&service_at[w]);
        image.listeners[w].id = BENCH_LISTENER + w;
        addr_from_sockaddr((struct sockaddr *)&service_at[w], sizeof(service_at[w]),
                           &image.listeners[w].address);
    }
    fill_pool(0, "web");
    fill_pool(1, "other");
    fill_backend(0, "a");
    fill_backend(1, "b");
    fill_backend(2, "c");
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t n;
    (void)what;
    if (read(fd, &n, sizeof(n)) > 0) {
        proxy_woken(arg);
    }
}

static void setup(uint32_t workers)
{
    descriptors_before = count_descriptors();
    n_workers = workers;
    now_us = START_US;
    ck_assert_int_eq(scoreboard_create(&sb, n_workers, bench_now_ms(), clock_wall_ms()), 0);
    base = event_base_new();
    for (uint32_t i = 0; i <= n_workers; i++) {
        wakes[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    for (uint32_t w = 0; w < n_workers; w++) {
        proxies[w] = proxy_create(base, &sb, w, wakes);
        ck_assert_ptr_nonnull(proxies[w]);
        event_assign(&wake_events[w], base, wakes[w], EV_READ | EV_PERSIST, on_wake, proxies[w]);
        event_add(&wake_events[w], NULL);
    }
    fill_image();
}

void bench_setup_one(void)
{
    setup(1);
}

void bench_setup_two(void)
{
    setup(2);
}

/* --- the end --- */

static void find_no_upstreams(void)
{
    for (uint32_t b = 0; b < BENCH_BACKENDS; b++) {
        ck_assert_uint_eq(sb.slot_active[BENCH_SLOT(b)], 0);
        ck_assert_uint_eq(sb.slot_upstreams[BENCH_SLOT(b)], 0);
        for (uint32_t i = 0; i < BENCH_SOURCES; i++) {
            ck_assert_uint_eq(sb.pairs[BENCH_PAIR(b) + i].used, 0);
        }
        for (uint32_t w = 0; w < n_workers; w++) {
            const struct sb_upstream_cell *cell = bench_cell_of(w, b);
            ck_assert_uint_eq(cell->idle, 0);
            ck_assert_uint_eq(cell->lent, 0);
            ck_assert_uint_eq(cell->pinned, 0);
        }
    }
}

static void find_nothing_left(void)
{
    struct sb_service_sum sum;
    find_no_upstreams();
    ck_assert_uint_eq(sb.services[0].active, 0);
    ck_assert_uint_eq(sb.header->active, 0);
    ck_assert_uint_eq(sb.header->buffer_parts, 0);
    for (uint32_t w = 0; w < n_workers; w++) {
        ck_assert_uint_eq(sb.workers[w].buffered_bytes, 0);
        ck_assert_uint_eq(sb.workers[w].buffer_parts, 0);
        ck_assert_uint_eq(sb.workers[w].waiting, 0);
    }
    scoreboard_sum_service(&sb, 0, &sum);
    ck_assert_uint_eq(sum.connections_total, sum.refused + sum.ended);
}

void bench_teardown(void)
{
    bench_close_all();
    for (uint32_t w = 0; w < BENCH_WORKERS_MAX; w++) {
        if (w < n_workers) {
            event_del(&wake_events[w]);
            proxy_destroy(proxies[w]);
        }
        if (service_fd[w] >= 0) {
            close(service_fd[w]);
        }
    }
    find_nothing_left();
    for (uint32_t b = 0; b < BENCH_BACKENDS; b++) {
        bench_stop_listening(b);
    }
    for (uint32_t i = 0; i <= n_workers; i++) {
        close(wakes[i]);
    }
    event_base_free(base);
    scoreboard_destroy(&sb);
    ck_assert_int_eq(count_descriptors(), descriptors_before);
}

TCase *bench_case(Suite *suite, const char *name, void (*setup_bench)(void))
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup_bench, bench_teardown);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return tc;
}

int bench_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the image --- */

struct snapshot_reuse *bench_reuse(enum reuse_mode mode, enum framing_kind framing)
{
    struct snapshot_reuse *reuse = &image.pools[0].reuse;
    *reuse = (struct snapshot_reuse){
        .mode = mode, .framing = framing, .policy = REUSE_ALWAYS, .max_idle = 64, .settings = 1};
    return reuse;
}

void bench_reset_exchange(const char *send, const char *expect)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_SESSION, FRAMING_NONE);
    reuse->reset_send_bytes = (uint32_t)strlen(send);
    reuse->reset_expect = reuse->reset_send_bytes;
    reuse->reset_expect_bytes = (uint32_t)strlen(expect);
    ck_assert_uint_lt(strlen(send) + strlen(expect), sizeof(image.texts));
    strcpy(image.texts, send);
    strcat(image.texts, expect);
}

void bench_make_unheard(uint32_t b)
{
    sb.slots[BENCH_SLOT(b)].heard = 0;
}

void bench_check(uint32_t b)
{
    image.check = (struct snapshot_check){.kind = "tcp",
                                          .title = "tcp",
                                          .interval_ms = 1000,
                                          .timeout_ms = 1000,
                                          .rise = 1,
                                          .fall = 1};
    image.header.n_checks = 1;
    image.backends[b].n_checks = 1;
}

void bench_set_health(uint32_t b, enum sb_health health)
{
    scoreboard_set_health(&sb, BENCH_SLOT(b), health, "test", bench_now_ms());
    for (uint32_t w = 0; w < n_workers; w++) {
        ck_assert_int_eq(write(wakes[w], &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
    }
}

void bench_apply(void)
{
    image.header.generation++;
    for (uint32_t w = 0; w < n_workers; w++) {
        void *map =
            mmap(NULL, sizeof(image), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(map, MAP_FAILED);
        memcpy(map, &image, sizeof(image));
        ck_assert_int_eq(snapshot_check(map, sizeof(image)), 0);
        ck_assert_int_eq(proxy_apply(proxies[w], map), 0);
    }
}

void bench_start(void)
{
    bench_apply();
    for (uint32_t w = 0; w < n_workers; w++) {
        ck_assert_int_eq(proxy_add_listener(proxies[w], BENCH_LISTENER + w, service_fd[w]), 0);
        service_fd[w] = -1;
    }
}

/* --- the test's ends --- */

int bench_client_with(uint32_t worker, int receive_bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (receive_bytes > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    int rc = connect(fd, (struct sockaddr *)&service_at[worker], sizeof(service_at[worker]));
    ck_assert(rc == 0 || errno == EINPROGRESS);
    return bench_remember(fd);
}

int bench_client_of(uint32_t worker)
{
    return bench_client_with(worker, 0);
}

int bench_client(void)
{
    return bench_client_of(0);
}

void bench_shrink(void)
{
    for (uint32_t w = 0; w < n_workers; w++) {
        ck_assert_int_eq(setsockopt(service_fd[w], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)),
                         0);
    }
}

int bench_accept(uint32_t b)
{
    int fd = -1;
    UNTIL((fd = accept4(listening[b], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return bench_remember(fd);
}

void bench_acknowledge(uint32_t b)
{
    struct sockaddr_in backend, peer;
    socklen_t len = sizeof(backend);
    ck_assert_int_eq(getsockname(listening[b], (struct sockaddr *)&backend, &len), 0);
    for (int fd = 3; fd < DESCRIPTORS_MAX; fd++) {
        len = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == backend.sin_port) {
            setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
        }
    }
}

bool bench_is_called(uint32_t b)
{
    struct pollfd waiting = {.fd = listening[b], .events = POLLIN};
    return poll(&waiting, 1, 0) == 1;
}

void bench_stop_listening(uint32_t b)
{
    if (listening[b] >= 0) {
        close(listening[b]);
    }
    listening[b] = -1;
}

/* --- what is counted --- */

struct sb_upstream_cell *bench_cell_of(uint32_t worker, uint32_t b)
{
    return scoreboard_upstream_cell(&sb, worker, BENCH_ROW(b));
}

struct sb_upstream_row *bench_row(uint32_t b)
{
    return &sb.upstream_rows[BENCH_ROW(b)];
}

uint64_t bench_ended(enum ending reason)
{
    struct sb_service_sum sum;
    scoreboard_sum_service(&sb, 0, &sum);
    return sum.ended_by[reason];
}

uint64_t bench_refused(enum refusal reason)
{
    struct sb_service_sum sum;
    scoreboard_sum_service(&sb, 0, &sum);
    return sum.refused_by[reason];
}

uint64_t bench_discards(uint32_t b)
{
    struct sb_upstream_sum sum;
    scoreboard_sum_upstreams(&sb, BENCH_ROW(b), &sum);
    return sum.discarded;
}

void bench_hear_discard(uint32_t b, enum discard reason)
{
    struct sb_upstream_sum sum;
    uint64_t *seen = discards_seen[b], n_seen = 0;
    for (int i = 0; i < DISCARD_COUNT; i++) {
        n_seen += seen[i];
    }
    UNTIL(bench_discards(b) > n_seen);
    scoreboard_sum_upstreams(&sb, BENCH_ROW(b), &sum);
    for (int i = 0; i < DISCARD_COUNT; i++) {
        ck_assert_msg(sum.discarded_by[i] == seen[i] + (i == (int)reason),
                      "discarded %u for %s before, now %u", (unsigned)seen[i], discard_names[i],
                      (unsigned)sum.discarded_by[i]);
    }
    seen[reason]++;
}
