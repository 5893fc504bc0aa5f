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
static struct message got, sent;
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
    notices_init(master);
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

/* Of the only backend; number is in its reason. */
static void add_of_backend(uint32_t number)
{
    struct message_notify facts = {.event = "down", .backend = "a"};

    snprintf(facts.reason, sizeof(facts.reason), "%u", number);
    notices_add(master, "web", &facts);
}

static void add_of_pool(void)
{
    const struct message_notify facts = {.event = "pool_lost"};

    notices_add(master, "web", &facts);
}

/* The monitor gets one of a backend, with that number. */
static void take_of_backend(uint32_t number)
{
    char expected[16];

    snprintf(expected, sizeof(expected), "%u", number);
    ck_assert_str_eq(take()->reason, expected);
    ck_assert_str_eq(got.notify.event, "down");
}

/* The monitor has places for so many; what a pool is told of has one of its own. */
START_TEST(pools_go_first_and_have_a_place)
{
    uint32_t first;

    for (uint32_t i = 0; i < 20; i++)
        add_of_backend(i);
    for (uint32_t i = 0; i < NOTIFY_RUNNING_MAX - 1; i++)
        take_of_backend(i);
    first = got.number;
    none();
    add_of_pool();
    ck_assert_str_eq(take()->event, "pool_lost");
    add_of_pool();
    none();
    notices_done(master, first);
    ck_assert_str_eq(take()->event, "pool_lost");
    notices_done(master, first); /* the same again is nothing */
    none();
    notices_done(master, got.number);
    none(); /* the place for pools stays free */
    notices_done(master, got.number - 1);
    take_of_backend(NOTIFY_RUNNING_MAX - 1);
    none();
}
END_TEST

START_TEST(of_too_many_the_newest_of_backends_are_dropped)
{
    uint32_t n_taken = 0, n_pools = 0;

    disconnect_monitor();
    for (uint32_t i = 0; i < 600; i++)
        add_of_backend(i);
    ck_assert_uint_eq(master->notices.count, 512);
    ck_assert_uint_eq(master->notices.dropped, 600 - 512);
    ck_assert_uint_eq(master->notices.untold, 600 - 512 - 1); /* the first was told at once */
    for (int i = 0; i < 3; i++)
        add_of_pool();
    ck_assert_uint_eq(master->notices.count, 512);
    ck_assert_uint_eq(master->notices.dropped, 600 - 512 + 3);
    notices_sweep(master);
    ck_assert_uint_ne(master->notices.untold, 0);
    master->notices.told_at_ms -= 1000;
    notices_sweep(master);
    ck_assert_uint_eq(master->notices.untold, 0);
    connect_monitor();
    ck_assert_int_eq(notices_send(master), 0);
    while (master->notices.count > 0) {
        (void)take();
        if (strcmp(got.notify.event, "pool_lost") == 0)
            n_pools++;
        else
            ck_assert_uint_eq((uint32_t)atoi(got.notify.reason), n_taken++);
        notices_done(master, got.number);
    }
    ck_assert_uint_eq(n_pools, 3);
    ck_assert_uint_eq(n_taken, 512 - 3);
    none();
}
END_TEST

/* Pools too, in the end: a limit is a limit. */
START_TEST(of_too_many_pools_the_newest_is_dropped)
{
    disconnect_monitor();
    for (uint32_t i = 0; i < 512 + 2; i++)
        add_of_pool();
    add_of_backend(0);
    ck_assert_uint_eq(master->notices.count, 512);
    ck_assert_uint_eq(master->notices.dropped, 3);
    connect_monitor();
}
END_TEST

START_TEST(what_a_monitor_dies_with_goes_to_the_next)
{
    disconnect_monitor();
    for (uint32_t i = 0; i < 10; i++)
        add_of_backend(i);
    for (int died = 0; died < 2; died++) {
        connect_monitor();
        ck_assert_int_eq(notices_send(master), 0);
        for (uint32_t i = 0; i < NOTIFY_RUNNING_MAX - 1; i++)
            take_of_backend(i);
        none();
        disconnect_monitor();
        notices_recall(master);
        ck_assert_uint_eq(master->notices.n_sent, 0);
    }
    /* Two of them died of it, perhaps: it is not tried a third time. */
    ck_assert_uint_eq(master->notices.dropped, NOTIFY_RUNNING_MAX - 1);
    connect_monitor();
    ck_assert_int_eq(notices_send(master), 0);
    for (uint32_t i = NOTIFY_RUNNING_MAX - 1; i < 10; i++)
        take_of_backend(i);
    none();
}
END_TEST

START_TEST(a_full_channel_keeps_them)
{
    sent.type = MESSAGE_HEALTH;
    while (message_send(children[1].channel, &sent, -1) == 0)
        continue;
    add_of_backend(1);
    add_of_pool();
    ck_assert(event_pending(children[1].writable, EV_WRITE, NULL));
    ck_assert_int_eq(notices_send(master), -EAGAIN);
    ck_assert_uint_eq(master->notices.n_sent, 0);
    for (int fd; message_receive(monitor, &got, &fd) == 1;)
        continue;
    ck_assert_int_eq(notices_send(master), 0);
    ck_assert_str_eq(take()->event, "pool_lost");
    take_of_backend(1);
    none();
}
END_TEST

/* --- in the monitor --- */

static struct event_base *base;
static struct notify *notify;
static char folder[64];
static uint32_t n_done, last_done;

static void note_done(void *arg, uint32_t number)
{
    ck_assert_ptr_eq(arg, &n_done);
    n_done++;
    last_done = number;
}

static void start_notify(uint32_t limit_ms)
{
    notify = notify_create(base, limit_ms, note_done, &n_done);
    ck_assert_ptr_nonnull(notify);
}

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

static uint32_t n_run;

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
    notify_run(notify, ++n_run, &notice);
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
    start_notify(NOTIFY_LIMIT_MS);
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
    ck_assert_uint_eq(n_done, 1);
    ck_assert_uint_eq(last_done, n_run);
}
END_TEST

START_TEST(failures_are_counted)
{
    start_notify(NOTIFY_LIMIT_MS);
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
    ck_assert_uint_eq(n_done, 3);
    ck_assert_uint_eq(notify_stats(notify).dropped, 0);
}
END_TEST

/* Each waits until the file is there: then all may end. Master sends no more than there are places;
 * one that came nevertheless is said to be done. */
START_TEST(so_many_run)
{
    start_notify(NOTIFY_LIMIT_MS);
    write_program("while [ ! -e go ]; do /bin/sleep 0.01; done; echo >> out");
    for (int i = 0; i < NOTIFY_RUNNING_MAX; i++)
        run("up");
    ck_assert_uint_eq(notify_stats(notify).running, NOTIFY_RUNNING_MAX);
    ck_assert_uint_eq(n_done, 0);
    run("up");
    ck_assert_uint_eq(notify_stats(notify).dropped, 1);
    ck_assert_uint_eq(n_done, 1);
    ck_assert_uint_eq(last_done, n_run);
    char path[128];
    snprintf(path, sizeof(path), "%s/go", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    wait_until_done(NOTIFY_RUNNING_MAX);
    ck_assert_uint_eq(strlen(output()), NOTIFY_RUNNING_MAX);
    ck_assert_uint_eq(notify_stats(notify).failed, 0);
    ck_assert_uint_eq(n_done, NOTIFY_RUNNING_MAX + 1);
}
END_TEST

START_TEST(one_that_takes_too_long_is_killed)
{
    start_notify(50);
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
    start_notify(NOTIFY_LIMIT_MS);
    write_program("/bin/sleep 60");
    for (int i = 0; i < NOTIFY_RUNNING_MAX; i++)
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
    tcase_add_test(in_master, pools_go_first_and_have_a_place);
    tcase_add_test(in_master, of_too_many_the_newest_of_backends_are_dropped);
    tcase_add_test(in_master, of_too_many_pools_the_newest_is_dropped);
    tcase_add_test(in_master, what_a_monitor_dies_with_goes_to_the_next);
    tcase_add_test(in_master, a_full_channel_keeps_them);
    suite_add_tcase(suite, in_master);
    tcase_add_checked_fixture(in_monitor, setup_monitor, teardown_monitor);
    tcase_add_test(in_monitor, a_program_finds_what_happened);
    tcase_add_test(in_monitor, failures_are_counted);
    tcase_add_test(in_monitor, so_many_run);
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
