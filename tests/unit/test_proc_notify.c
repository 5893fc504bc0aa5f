/*
 * Notices: what master makes of what happens to pools, that none is lost while the monitor is away,
 * and what the monitor runs for them, how many at once, and for how long. Runs real programs.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "check/engine.h"
#include "proc/master.h"
#include "proc/notify.h"

#define WAIT_MS 20000 /* a test that is not done by then has failed */

/* --- in master --- */

static struct model_backend backends[] = {
    {.name = (char *)"a", .address_text = (char *)"10.0.0.11:8080"}};
static struct model_pool pools[] = {{.name = (char *)"web", .backends = backends, .n_backends = 1},
                                    {.name = (char *)"quiet"}};
static struct model model = {.pools = pools, .n_pools = 2};
static struct master *master;
static struct child children[2]; /* a worker, and the monitor */
static int monitor;              /* its end of the channel */
static struct message got;
static char program[256];

static void connect_monitor(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    children[1] = (struct child){.master = master, .id = 1, .pid = 1, .channel = pair[0]};
    children[1].writable = event_new(master->base, pair[0], EV_WRITE, NULL, NULL);
    monitor = pair[1];
}

static void disconnect_monitor(void)
{
    event_free(children[1].writable);
    close(children[1].channel);
    close(monitor);
    children[1] = (struct child){.channel = -1};
    monitor = -1;
}

static void setup_master(void)
{
    strcpy(program, "/usr/local/bin/told");
    pools[0].notify = program;
    master = calloc(1, sizeof(*master));
    ck_assert_ptr_nonnull(master);
    master->base = event_base_new();
    master->events = events_create();
    master->model = &model;
    master->n_workers = 1;
    master->children = children;
    STAILQ_INIT(&master->notices);
    connect_monitor();
}

static void teardown_master(void)
{
    notices_drop_all(master);
    disconnect_monitor();
    events_destroy(master->events);
    event_base_free(master->base);
    free(master);
}

static void hear(enum check_news news, enum sb_health from, enum sb_health to, const char *reason)
{
    struct message_health *health = &master->message.health; /* where it stands when it comes */

    *health = (struct message_health){.news = news, .from = from, .to = to};
    strcpy(health->pool, "web");
    strcpy(health->backend, "a");
    strcpy(health->reason, reason);
    pools_notify_health(master, health);
}

/* The notice that the monitor has got. */
static const struct message_notify *take(void)
{
    int fd;

    memset(&got, 0xee, sizeof(got));
    ck_assert_int_eq(message_receive(monitor, &got, &fd), 1);
    ck_assert_uint_eq(got.type, MESSAGE_NOTIFY);
    return &got.notify;
}

static void none(void)
{
    int fd;

    ck_assert_int_eq(message_receive(monitor, &got, &fd), -EAGAIN);
}

START_TEST(a_backends_health_is_told)
{
    const struct message_notify *notify;
    uint64_t from_ms = clock_wall_ms();

    hear(CHECK_NEWS_HEALTH, SB_HEALTH_UP, SB_HEALTH_DOWN, "connect refused");
    notify = take();
    ck_assert_str_eq(notify->program, "/usr/local/bin/told");
    ck_assert_str_eq(notify->event, "down");
    ck_assert_str_eq(notify->pool, "web");
    ck_assert_str_eq(notify->backend, "a");
    ck_assert_str_eq(notify->address, "10.0.0.11:8080");
    ck_assert_str_eq(notify->from, "up");
    ck_assert_str_eq(notify->to, "down");
    ck_assert_str_eq(notify->reason, "connect refused");
    ck_assert_uint_ge(notify->wall_ms, from_ms);
    ck_assert_uint_le(notify->wall_ms, clock_wall_ms());
    hear(CHECK_NEWS_HEALTH, SB_HEALTH_DOWN, SB_HEALTH_UP, "connected");
    ck_assert_str_eq(take()->event, "up");
    hear(CHECK_NEWS_HEALTH, SB_HEALTH_UNKNOWN, SB_HEALTH_DOWN, "connect refused");
    notify = take();
    ck_assert_str_eq(notify->event, "down");
    ck_assert_str_eq(notify->from, "unknown");
    none();
}
END_TEST

START_TEST(what_begins_as_it_should_is_not)
{
    hear(CHECK_NEWS_HEALTH, SB_HEALTH_UNKNOWN, SB_HEALTH_UP, "connected");
    hear(CHECK_NEWS_HEALTH, SB_HEALTH_DOWN, SB_HEALTH_UNKNOWN, "");
    none();
}
END_TEST

START_TEST(an_ejection_is_told)
{
    const struct message_notify *notify;

    hear(CHECK_NEWS_EJECTED, SB_HEALTH_UP, SB_HEALTH_UP, "5 consecutive connect failures");
    notify = take();
    ck_assert_str_eq(notify->event, "ejected");
    ck_assert_str_eq(notify->from, "up");
    ck_assert_str_eq(notify->to, "ejected");
    hear(CHECK_NEWS_RETURNED, SB_HEALTH_UP, SB_HEALTH_UP, "its time is over");
    notify = take();
    ck_assert_str_eq(notify->event, "back");
    ck_assert_str_eq(notify->from, "ejected");
    ck_assert_str_eq(notify->to, "up");
}
END_TEST

START_TEST(pools_without_a_program_are_silent)
{
    const struct message_notify facts = {.event = "pool_lost"};

    notices_add(master, "quiet", &facts);
    notices_add(master, "gone", &facts);
    pools[0].notify = NULL;
    notices_add(master, "web", &facts);
    none();
}
END_TEST

/* A pool's loss, from the look at its backends. */
START_TEST(a_pools_loss_is_told)
{
    static struct {
        struct snapshot_header header;
        struct snapshot_pool pools[1];
        struct snapshot_backend backends[1];
    } made;
    const struct message_notify *notify;

    made.header = (struct snapshot_header){
        .generation = 1,
        .n_pools = 1,
        .n_backends = 1,
        .pools_offset = offsetof(__typeof__(made), pools),
        .backends_offset = offsetof(__typeof__(made), backends),
    };
    made.pools[0] = (struct snapshot_pool){.name = "web", .n_backends = 1, .min_healthy = 1};
    made.backends[0] =
        (struct snapshot_backend){.name = "a", .address = {.ip = {.family = ADDR_IPV4}}};
    made.backends[0].n_checks = 1;
    made.backends[0].weight = 1;
    ck_assert_int_eq(scoreboard_create(&master->sb, 1, 1, 1), 0);
    master->running = &made.header;
    scoreboard_set_health(&master->sb, 0, SB_HEALTH_UP, "", 1);
    pools_watch(master);
    none();
    scoreboard_set_health(&master->sb, 0, SB_HEALTH_DOWN, "", 2);
    pools_watch(master);
    notify = take();
    ck_assert_str_eq(notify->event, "pool_lost");
    ck_assert_str_eq(notify->pool, "web");
    ck_assert_str_eq(notify->backend, "");
    ck_assert_str_eq(notify->address, "");
    ck_assert_str_eq(notify->from, "available");
    ck_assert_str_eq(notify->to, "lost");
    ck_assert_str_eq(notify->reason, "pool lost: no backend takes new sessions: 1 down");
    scoreboard_set_health(&master->sb, 0, SB_HEALTH_UP, "", 3);
    pools_watch(master);
    ck_assert_str_eq(take()->event, "pool_restored");
    none();
    scoreboard_destroy(&master->sb);
}
END_TEST

START_TEST(the_longest_path_comes_whole)
{
    static char path[NOTIFY_PROGRAM_MAX];
    const struct message_notify facts = {.event = "pool_lost"};

    memset(path, 'x', NOTIFY_PROGRAM_MAX - 1);
    path[0] = '/';
    pools[0].notify = path;
    notices_add(master, "web", &facts);
    ck_assert_str_eq(take()->program, path);
}
END_TEST

START_TEST(notices_wait_for_the_next_monitor)
{
    const struct message_notify lost = {.event = "pool_lost"},
                                restored = {.event = "pool_restored"};

    disconnect_monitor();
    notices_add(master, "web", &lost);
    notices_add(master, "web", &restored);
    connect_monitor();
    ck_assert_int_eq(notices_send(master), 0);
    ck_assert_str_eq(take()->event, "pool_lost");
    ck_assert_str_eq(take()->event, "pool_restored");
    none();
}
END_TEST

START_TEST(a_full_channel_keeps_them_and_drops_the_newest)
{
    struct message_notify facts = {.event = "up"};
    uint32_t n_sent = 0, n_taken = 0;
    int fd;

    while (master->notices_dropped == 0) {
        snprintf(facts.reason, sizeof(facts.reason), "%u", n_sent++);
        notices_add(master, "web", &facts);
        ck_assert_uint_lt(n_sent, 100000);
    }
    ck_assert(event_pending(children[1].writable, EV_WRITE, NULL));
    ck_assert_uint_eq(master->n_notices, 256);
    ck_assert_int_eq(notices_send(master), -EAGAIN);
    for (;;) {
        char expected[32];

        if (message_receive(monitor, &got, &fd) != 1) {
            if (STAILQ_EMPTY(&master->notices))
                break;
            (void)notices_send(master);
            continue;
        }
        snprintf(expected, sizeof(expected), "%u", n_taken++);
        ck_assert_str_eq(got.notify.reason, expected);
    }
    ck_assert_uint_eq(n_taken, n_sent - 1);
    ck_assert_uint_eq(master->notices_dropped, 0); /* told, and counted anew */
}
END_TEST

/* --- in the monitor --- */

static struct event_base *base;
static struct notify *notify;
static char folder[64];

static void setup_monitor(void)
{
    strcpy(folder, "/tmp/test_notify_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    base = event_base_new();
}

static void remove_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static void teardown_monitor(void)
{
    notify_destroy(notify);
    event_base_free(base);
    remove_file("program");
    remove_file("out");
    remove_file("go");
    rmdir(folder);
}

/* A program with that text; %s in it is the folder. */
static void write_program(const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/program", folder);
    (void)unlink(path); /* the one before may just be starting, and may not be written to then */
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0700);

    ck_assert_int_ge(fd, 0);
    dprintf(fd, "#!/bin/sh\ncd %s || exit 99\n%s\n", folder, text);
    close(fd);
}

static void run(const char *event)
{
    struct message_notify notice = {.wall_ms = UINT64_C(1700000000123)};

    snprintf(notice.program, sizeof(notice.program), "%s/program", folder);
    snprintf(notice.event, sizeof(notice.event), "%s", event);
    strcpy(notice.pool, "web");
    strcpy(notice.backend, "a");
    strcpy(notice.address, "10.0.0.11:8080");
    strcpy(notice.from, "up");
    strcpy(notice.to, "down");
    strcpy(notice.reason, "two words; $(and more)");
    notify_run(notify, &notice);
}

/* Turns the loop until so many have begun and none runs. */
static void wait_until_done(uint64_t n_ran)
{
    uint64_t from_ms = clock_now_ms();

    while (notify_stats(notify).ran < n_ran || notify_stats(notify).running > 0) {
        ck_assert_uint_lt(clock_now_ms() - from_ms, WAIT_MS);
        event_base_loop(base, EVLOOP_ONCE);
    }
}

static const char *output(void)
{
    static char text[4096];
    char path[128];
    snprintf(path, sizeof(path), "%s/out", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

START_TEST(a_program_finds_what_happened)
{
    notify = notify_create(base, NOTIFY_LIMIT_MS);
    write_program("/usr/bin/env | /usr/bin/grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | "
                  "LC_ALL=C /usr/bin/sort > out; echo $# >> out");
    run("down");
    wait_until_done(1);
    ck_assert_str_eq(output(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
                               "SLUICE_ADDRESS=10.0.0.11:8080\n"
                               "SLUICE_BACKEND=a\n"
                               "SLUICE_EVENT=down\n"
                               "SLUICE_FROM=up\n"
                               "SLUICE_POOL=web\n"
                               "SLUICE_REASON=two words; $(and more)\n"
                               "SLUICE_TIME=2023-11-14T22:13:20.123Z\n"
                               "SLUICE_TO=down\n"
                               "0\n");
    ck_assert_uint_eq(notify_stats(notify).failed, 0);
}
END_TEST

START_TEST(failures_are_counted)
{
    notify = notify_create(base, NOTIFY_LIMIT_MS);
    write_program("echo something is wrong; exit 3");
    run("up");
    wait_until_done(1);
    ck_assert_uint_eq(notify_stats(notify).failed, 1);
    write_program("kill -9 $$");
    run("up");
    wait_until_done(2);
    ck_assert_uint_eq(notify_stats(notify).failed, 2);
    remove_file("program");
    run("up"); /* there is none */
    wait_until_done(3);
    ck_assert_uint_eq(notify_stats(notify).failed, 3);
    ck_assert_uint_eq(notify_stats(notify).dropped, 0);
}
END_TEST

/* Each waits until the file is there: then all may end. */
START_TEST(so_many_run_and_so_many_wait)
{
    notify = notify_create(base, NOTIFY_LIMIT_MS);
    write_program("while [ ! -e go ]; do /bin/sleep 0.01; done; echo >> out");
    for (int i = 0; i < NOTIFY_RUNNING_MAX + NOTIFY_WAITING_MAX + 3; i++)
        run("up");
    ck_assert_uint_eq(notify_stats(notify).running, NOTIFY_RUNNING_MAX);
    ck_assert_uint_eq(notify_stats(notify).waiting, NOTIFY_WAITING_MAX);
    ck_assert_uint_eq(notify_stats(notify).dropped, 3);
    /* What waits is run by a program that ends at once. */
    write_program("echo >> out");
    char path[128];
    snprintf(path, sizeof(path), "%s/go", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    wait_until_done(NOTIFY_RUNNING_MAX + NOTIFY_WAITING_MAX);
    ck_assert_uint_eq(strlen(output()), NOTIFY_RUNNING_MAX + NOTIFY_WAITING_MAX);
    ck_assert_uint_eq(notify_stats(notify).waiting, 0);
    ck_assert_uint_eq(notify_stats(notify).failed, 0);
}
END_TEST

START_TEST(one_that_takes_too_long_is_killed)
{
    notify = notify_create(base, 50);
    write_program("echo begun > out; /bin/sleep 60; echo ended > out");
    run("up");
    wait_until_done(1);
    ck_assert_uint_eq(notify_stats(notify).failed, 1);
    ck_assert_str_ne(output(), "ended\n");
    write_program("true"); /* its place is free again */
    for (int i = 0; i < NOTIFY_RUNNING_MAX; i++)
        run("up");
    ck_assert_uint_eq(notify_stats(notify).running, NOTIFY_RUNNING_MAX);
}
END_TEST

START_TEST(what_runs_ends_with_us)
{
    notify = notify_create(base, NOTIFY_LIMIT_MS);
    write_program("/bin/sleep 60");
    for (int i = 0; i < NOTIFY_RUNNING_MAX + 2; i++)
        run("up");
    notify_destroy(notify);
    notify = NULL;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/notify");
    TCase *in_master = tcase_create("master"), *in_monitor = tcase_create("monitor");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(in_master, setup_master, teardown_master);
    tcase_add_test(in_master, a_backends_health_is_told);
    tcase_add_test(in_master, what_begins_as_it_should_is_not);
    tcase_add_test(in_master, an_ejection_is_told);
    tcase_add_test(in_master, pools_without_a_program_are_silent);
    tcase_add_test(in_master, a_pools_loss_is_told);
    tcase_add_test(in_master, the_longest_path_comes_whole);
    tcase_add_test(in_master, notices_wait_for_the_next_monitor);
    tcase_add_test(in_master, a_full_channel_keeps_them_and_drops_the_newest);
    suite_add_tcase(suite, in_master);
    tcase_add_checked_fixture(in_monitor, setup_monitor, teardown_monitor);
    tcase_add_test(in_monitor, a_program_finds_what_happened);
    tcase_add_test(in_monitor, failures_are_counted);
    tcase_add_test(in_monitor, so_many_run_and_so_many_wait);
    tcase_add_test(in_monitor, one_that_takes_too_long_is_killed);
    tcase_add_test(in_monitor, what_runs_ends_with_us);
    tcase_set_timeout(in_monitor, 60);
    suite_add_tcase(suite, in_monitor);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
