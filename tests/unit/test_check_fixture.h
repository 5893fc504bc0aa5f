/*
 * What the check engine's tests share: a real event loop, scoreboard and sockets; snapshots written
 * by hand; waiting for conditions. Included by test_check_*.c, each of which forks per test.
 */
#ifndef TEST_CHECK_FIXTURE_H
#define TEST_CHECK_FIXTURE_H

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "check/engine.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"
#include "test_base.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define UNUSED       __attribute__((unused))
#define WAIT_MS      20000 /* a test that is not done by then has failed */
#define HOUR_MS      3600000
#define CHANGES_MAX  64

struct change {
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX], reason[SB_REASON_MAX];
    enum sb_health from, to;
    uint32_t admin_from, admin_to;
    uint64_t lasted_ms, next_check_ms;
};

static struct event_base *base;
static struct event *tick; /* so that no turn lasts for ever */
static struct scoreboard sb;
static struct check_engine *engine;
static struct change changes[CHANGES_MAX];             /* of health */
static int n_changes;                                  /* all; the first CHANGES_MAX are kept */
static void (*on_change)(const struct change *change); /* NULL: nothing more */
static struct change last_news[CHECK_NEWS_COUNT];      /* the last of each kind */
static int n_news[CHECK_NEWS_COUNT];

static void copy_change(struct change *to, const struct check_change *from)
{
    *to = (struct change){.from = from->from,
                          .to = from->to,
                          .admin_from = from->admin_from,
                          .admin_to = from->admin_to,
                          .lasted_ms = from->lasted_ms,
                          .next_check_ms = from->next_check_ms};
    (void)snprintf(to->pool, sizeof(to->pool), "%s", from->pool);
    (void)snprintf(to->backend, sizeof(to->backend), "%s", from->backend);
    (void)snprintf(to->reason, sizeof(to->reason), "%s", from->reason);
}

static void note_change(void *arg, const struct check_change *news)
{
    struct change *change = &changes[n_changes < CHANGES_MAX ? n_changes : CHANGES_MAX - 1];

    ck_assert_ptr_eq(arg, &sb);
    ck_assert_int_eq(news->from != news->to, news->news == CHECK_NEWS_HEALTH);
    copy_change(&last_news[news->news], news);
    n_news[news->news]++;
    if (news->news != CHECK_NEWS_HEALTH) {
        return;
    }
    copy_change(change, news);
    n_changes++;
    if (on_change) {
        on_change(change);
    }
}

static void ignore_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void setup(void)
{
    base = precise_base();
    tick = evtimer_new(base, ignore_tick, NULL);
    ck_assert_int_eq(scoreboard_create(&sb, 1, clock_now_ms(), clock_wall_ms()), 0);
    engine = check_engine_create(base, &sb, 12345, note_change, &sb);
    ck_assert_ptr_nonnull(engine);
}

static void teardown(void)
{
    check_engine_destroy(engine);
    scoreboard_destroy(&sb);
    event_free(tick);
    event_base_free(base);
}

/* --- waiting --- */

/* Turns the loop until condition holds. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t wait_end_ms = clock_now_ms() + WAIT_MS;                                           \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now_ms() < wait_end_ms, "waited in vain for %s", #condition);      \
            turn_loop();                                                                           \
        }                                                                                          \
    } while (0)

/* One turn; at most 5 ms when nothing happens. */
UNUSED static void turn_loop(void)
{
    const struct timeval pause = {.tv_usec = 5000};

    evtimer_add(tick, &pause);
    event_base_loop(base, EVLOOP_ONCE);
    evtimer_del(tick);
}

/* --- snapshots --- */

static struct draft {
    struct snapshot_pool pools[8];
    struct snapshot_backend backends[BACKENDS_MAX];
    struct snapshot_check checks[64];
    struct snapshot_arg args[64];
    char texts[4096];
    uint32_t n_pools, n_backends, n_checks, n_args, n_text_bytes, generation;
} draft;

UNUSED static void draft_begin(void)
{
    draft.n_pools = draft.n_backends = draft.n_checks = draft.n_args = draft.n_text_bytes = 0;
}

UNUSED static void draft_pool(const char *name)
{
    struct snapshot_pool *pool = &draft.pools[draft.n_pools++];

    *pool = (struct snapshot_pool){.first_backend = draft.n_backends};
    (void)snprintf(pool->name, sizeof(pool->name), "%s", name);
}

/* A check of backends that follow, through every interval alike. Returns it for finer strokes. */
UNUSED static struct snapshot_check *draft_check(uint32_t interval_ms, uint32_t rise, uint32_t fall)
{
    struct snapshot_check *check = &draft.checks[draft.n_checks++];

    *check = (struct snapshot_check){.kind = "tcp",
                                     .title = "tcp",
                                     .first_arg = draft.n_args,
                                     .interval_ms = interval_ms,
                                     .fast_interval_ms = interval_ms,
                                     .down_interval_ms = interval_ms,
                                     .timeout_ms = 5000,
                                     .rise = rise,
                                     .fall = fall};
    return check;
}

static uint32_t draft_text(const char *text)
{
    uint32_t at = draft.n_text_bytes;

    draft.n_text_bytes += (uint32_t)strlen(text) + 1;
    ck_assert_uint_le(draft.n_text_bytes, sizeof(draft.texts));
    memcpy(&draft.texts[at], text, strlen(text) + 1);
    return at;
}

/* An option of the last check. */
UNUSED static void draft_arg(const char *name, const char *value)
{
    struct snapshot_check *check = &draft.checks[draft.n_checks - 1];
    const char *texts[] = {name, "=", value, ","};

    draft.args[draft.n_args++] = (struct snapshot_arg){draft_text(name), draft_text(value)};
    check->n_args++;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (const char *c = texts[i]; *c; c++) {
            check->args_hash = check->args_hash * 31 + (unsigned char)*c;
        }
    }
}

/* A backend of the last pool with the last n_checks checks. */
UNUSED static void draft_backend(const char *name, uint32_t slot, const struct addr *address,
                                 uint32_t n_checks)
{
    struct snapshot_backend *backend = &draft.backends[draft.n_backends++];

    *backend = (struct snapshot_backend){.address = *address,
                                         .slot = slot,
                                         .row = slot % BACKENDS_MAX,
                                         .weight = 1,
                                         .first_check = draft.n_checks - n_checks,
                                         .n_checks = n_checks};
    (void)snprintf(backend->name, sizeof(backend->name), "%s", name);
    draft.pools[draft.n_pools - 1].n_backends++;
}

/* The last one, for finer strokes. */
UNUSED static struct snapshot_backend *drafted_backend(void)
{
    return &draft.backends[draft.n_backends - 1];
}

UNUSED static struct snapshot_pool *drafted_pool(void)
{
    return &draft.pools[draft.n_pools - 1];
}

static uint32_t place(size_t *at, size_t bytes)
{
    uint32_t offset = (uint32_t)*at;

    *at += (bytes + 7) / 8 * 8;
    return offset;
}

/* The draft as a snapshot; the caller's. */
UNUSED static unsigned char *draft_make(size_t *out_size)
{
    size_t pools_bytes = draft.n_pools * sizeof(draft.pools[0]);
    size_t backends_bytes = draft.n_backends * sizeof(draft.backends[0]);
    size_t checks_bytes = draft.n_checks * sizeof(draft.checks[0]);
    size_t args_bytes = draft.n_args * sizeof(draft.args[0]);
    size_t at = sizeof(struct snapshot_header);
    struct snapshot_header header = {.magic = SNAPSHOT_MAGIC,
                                     .layout = SNAPSHOT_LAYOUT,
                                     .generation = ++draft.generation,
                                     .n_pools = draft.n_pools,
                                     .n_backends = draft.n_backends,
                                     .n_checks = draft.n_checks,
                                     .n_args = draft.n_args,
                                     .n_text_bytes = draft.n_text_bytes};
    unsigned char *bytes;

    header.services_offset = header.listeners_offset = (uint32_t)at;
    header.pools_offset = place(&at, pools_bytes);
    header.backends_offset = place(&at, backends_bytes);
    header.checks_offset = place(&at, checks_bytes);
    header.entries_offset = (uint32_t)at;
    header.args_offset = place(&at, args_bytes);
    header.sources_offset = place(&at, 0);
    header.texts_offset = place(&at, draft.n_text_bytes);
    header.size_bytes = at;
    bytes = calloc(1, at);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + header.pools_offset, draft.pools, pools_bytes);
    memcpy(bytes + header.backends_offset, draft.backends, backends_bytes);
    memcpy(bytes + header.checks_offset, draft.checks, checks_bytes);
    memcpy(bytes + header.args_offset, draft.args, args_bytes);
    memcpy(bytes + header.texts_offset, draft.texts, draft.n_text_bytes);
    ck_assert_int_eq(snapshot_check(bytes, at), 0);
    *out_size = at;
    return bytes;
}

/* Hands the draft to the engine, and overwrites it afterwards, for nothing of it may be kept. */
UNUSED static int draft_apply(void)
{
    size_t size;
    unsigned char *bytes = draft_make(&size);
    int error = check_engine_apply(engine, (const struct snapshot_header *)(void *)bytes);

    memset(bytes, 0xff, size);
    free(bytes);
    return error;
}

/* One pool "web" with one backend "a" in slot 1, one check. */
UNUSED static struct snapshot_check *draft_single(const struct addr *address, uint32_t interval_ms,
                                                  uint32_t rise, uint32_t fall)
{
    struct snapshot_check *check;

    draft_begin();
    draft_pool("web");
    check = draft_check(interval_ms, rise, fall);
    draft_backend("a", 1, address, 1);
    return check;
}

/* --- what slots say --- */

static enum sb_health health_of(uint32_t slot)
{
    return (enum sb_health)atomic_load(&sb.slot_health[slot]);
}

UNUSED static const char *reason_of(uint32_t slot)
{
    static char reason[SB_REASON_MAX];
    uint64_t since_ms;

    (void)scoreboard_get_health(&sb, slot, &since_ms, reason);
    return reason;
}

UNUSED static uint64_t passed_of(uint32_t slot)
{
    return atomic_load(&sb.slots[slot].checks_passed);
}

UNUSED static uint64_t failed_of(uint32_t slot)
{
    return atomic_load(&sb.slots[slot].checks_failed);
}

UNUSED static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* --- sockets --- */

UNUSED static struct addr address_of(const char *text)
{
    struct addr address;
    const char *problem;

    ck_assert_msg(addr_parse(text, false, &address, &problem) == 0, "%s", text);
    return address;
}

UNUSED static int bind_address(const struct addr *address)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&sa, len), 0);
    return fd;
}

/* Bound to that IP and a free port, but not listening: it refuses. */
UNUSED static int bind_tcp(const char *ip, struct addr *out_address)
{
    struct addr address = {0};
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd;

    ck_assert_int_eq(addr_parse_ip(ip, &address.ip), 0);
    fd = bind_address(&address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    addr_from_sockaddr((const struct sockaddr *)&sa, len, out_address);
    return fd;
}

UNUSED static int listen_tcp(const char *ip, struct addr *out_address)
{
    int fd = bind_tcp(ip, out_address);

    ck_assert_int_eq(listen(fd, 128), 0);
    return fd;
}

/* Connects without waiting. Returns the socket; *out_error is 0, EINPROGRESS, … */
UNUSED static int connect_to(const struct addr *address, int *out_error)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *out_error = connect(fd, (const struct sockaddr *)&sa, len) == 0 ? 0 : errno;
    return fd;
}

/* Listens on every local address, but its backlog is full: the kernel drops every further SYN. */
UNUSED static int listen_silent(struct addr *out_address)
{
    int fd = bind_tcp("0.0.0.0", out_address);
    int error;

    ck_assert_int_eq(listen(fd, 0), 0);
    out_address->ip.bytes[0] = 127;
    out_address->ip.bytes[3] = 1;
    for (int i = 0; i < 4; i++) {
        (void)connect_to(out_address, &error);
    }
    return fd;
}

/* An abstract Unix socket of that name and this process. */
UNUSED static int listen_unix(const char *name, int backlog, struct addr *out_address)
{
    char text[ADDR_TEXT_MAX];
    int fd;

    (void)snprintf(text, sizeof(text), "unix:@check-test-%d-%s", (int)getpid(), name);
    *out_address = address_of(text);
    fd = bind_address(out_address);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

/* Accepts and closes all there is; returns how many. */
UNUSED static int accept_all(int listener)
{
    int n = 0;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
        n++;
    }
    return n;
}

/* How many descriptors this process has; *out_loose of them sockets without CLOEXEC or NONBLOCK. */
UNUSED static int count_descriptors(int *out_loose)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int n = 0;

    ck_assert_ptr_nonnull(dir);
    *out_loose = 0;
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        int type;
        socklen_t len = sizeof(type);

        if (entry->d_name[0] == '.' || fd == dirfd(dir)) {
            continue;
        }
        n++;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
            (!(fcntl(fd, F_GETFD) & FD_CLOEXEC) || !(fcntl(fd, F_GETFL) & O_NONBLOCK))) {
            ++*out_loose;
        }
    }
    closedir(dir);
    return n;
}

/* --- main --- */

UNUSED static int run_suite(const char *name, const TTest **tests, int n_tests)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    for (int i = 0; i < n_tests; i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
