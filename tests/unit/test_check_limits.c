/* Many checks at once: bounds, fairness, spreading, and what happens when descriptors run out. */
#include "test_check_fixture.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"

#define MANY 5000

static void set_descriptor_limit(rlim_t limit)
{
    struct rlimit rlimit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &rlimit), 0);
    ck_assert_uint_ge(rlimit.rlim_max, limit);
    rlimit.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &rlimit), 0);
}

/* n backends at 127.1.x.y with the port of a listener on every local address; slots 0 to n - 1. */
static struct snapshot_check *draft_many(struct addr address, uint32_t n, uint32_t interval_ms)
{
    struct snapshot_check *check;

    draft_begin();
    draft_pool("web");
    check = draft_check(interval_ms, 2, 3);
    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        address.ip.bytes[0] = 127;
        address.ip.bytes[1] = 1;
        address.ip.bytes[2] = (uint8_t)(i / 250);
        address.ip.bytes[3] = (uint8_t)(i % 250 + 1);
        (void)snprintf(name, sizeof(name), "b%u", i);
        draft_backend(name, i, &address, 1);
    }
    return check;
}

static uint64_t least_failures(uint32_t n)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < n; i++) {
        least = failed_of(i) < least ? failed_of(i) : least;
    }
    return least;
}

static uint64_t most_failures(uint32_t n)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < n; i++) {
        most = failed_of(i) > most ? failed_of(i) : most;
    }
    return most;
}

/* Four times as many silent backends as there may be checks at once, all always due. */
START_TEST(checks_at_once_are_bounded_and_take_turns)
{
    struct addr address;
    struct check_engine_stats stats;

    (void)listen_silent(&address);
    set_descriptor_limit(200);
    draft_many(address, 200, 1)->timeout_ms = 20;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(least_failures(200) >= 3);
    stats = check_engine_stats(engine);
    ck_assert_uint_eq(stats.limit, 50);
    ck_assert_uint_eq(stats.peak, 50);
    ck_assert_uint_eq(stats.postponed, 0);
    ck_assert_uint_le(most_failures(200), 4);
}
END_TEST

/* More than one batch, and nothing ends or becomes due meanwhile. */
START_TEST(all_start_whom_there_is_room_for)
{
    struct addr address;

    (void)listen_silent(&address);
    set_descriptor_limit(2000);
    draft_many(address, 300, HOUR_MS)->timeout_ms = HOUR_MS;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).running == 300);
}
END_TEST

/* More than there is room for, and nothing becomes due but the time-outs. */
START_TEST(every_end_makes_room_for_the_next)
{
    struct addr address;

    (void)listen_silent(&address);
    set_descriptor_limit(200);
    draft_many(address, 200, HOUR_MS)->timeout_ms = 10;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(least_failures(200) == 1);
}
END_TEST

START_TEST(silent_backends_hold_up_nobody_for_long)
{
    struct addr silent, good;

    (void)listen_silent(&silent);
    (void)listen_tcp("127.0.0.1", &good);
    set_descriptor_limit(200);
    draft_many(silent, 150, 1)->timeout_ms = 20;
    draft_backend("good", 1000, &good, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1000) >= 3);
    ck_assert_uint_le(most_failures(150), 4);
}
END_TEST

START_TEST(five_thousand_are_up_at_once_and_then_spread)
{
    struct addr address;
    uint64_t now_ms;
    int tenths[10] = {0};

    (void)listen_tcp("0.0.0.0", &address);
    (void)draft_many(address, MANY, 100000);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, MANY);
    WAIT_FOR(n_changes == MANY);
    ck_assert_uint_eq(check_engine_stats(engine).failed, 0);
    ck_assert_uint_le(check_engine_stats(engine).peak, check_engine_stats(engine).limit);
    now_ms = clock_now_ms();
    for (uint32_t i = 0; i < MANY; i++) {
        uint64_t next_ms = atomic_load(&sb.slots[i].next_check_ms);
        uint64_t tenth = next_ms > now_ms ? (next_ms - now_ms) / 10000 : 0;

        ck_assert_int_eq(health_of(i), SB_HEALTH_UP);
        ck_assert_uint_le(tenth, 10); /* who has had a second check may be 5 % late */
        tenths[tenth < 10 ? tenth : 9]++;
    }
    for (int i = 0; i < 9; i++) { /* the last has lost what the sweep took */
        ck_assert_int_gt(tenths[i], MANY / 10 * 8 / 10);
    }
}
END_TEST

/* n backends that are checked by a program that runs for so long. */
static struct snapshot_check *draft_programs(uint32_t n, uint32_t interval_ms, const char *seconds)
{
    struct snapshot_check *check = draft_many(address_of("127.0.0.1:9"), n, interval_ms);

    (void)snprintf(check->kind, sizeof(check->kind), "exec");
    draft_arg("command", "/bin/sleep");
    draft_arg("command", seconds);
    return check;
}

/* Fewer than connections, which need not wait for them; nor does the time of who waits run. */
START_TEST(programs_at_once_are_few)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    set_descriptor_limit(2000);
    draft_programs(70, HOUR_MS, "1000")->timeout_ms = HOUR_MS;
    (void)draft_check(5, 1, 1);
    draft_backend("good", 1000, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).queued == 6 && passed_of(1000) >= 3);
    ck_assert_uint_ge(check_engine_stats(engine).running, 64);
    ck_assert_uint_le(check_engine_stats(engine).peak, 65);
}
END_TEST

START_TEST(programs_take_turns)
{
    set_descriptor_limit(200);
    draft_programs(40, HOUR_MS, "1000")->timeout_ms = 10;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(least_failures(40) == 1);
    ck_assert_uint_eq(check_engine_stats(engine).peak, 12);
    ck_assert_str_eq(reason_of(39), "no answer within 10 ms");
}
END_TEST

START_TEST(lack_of_processes_holds_up_programs_only)
{
    struct rlimit before, none;
    struct addr address;
    bool root = geteuid() == 0;

    if (root) { /* whom that limit does not concern */
        ck_assert_int_eq(setresuid(65534, 65534, 0), 0);
        ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* or the sanitizer could not look */
    }
    ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    (void)listen_tcp("127.0.0.1", &address);
    (void)draft_programs(20, 5, "0");
    (void)draft_check(5, 1, 1);
    draft_backend("good", 1000, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1000) >= 100);
    ck_assert_uint_ge(check_engine_stats(engine).postponed, 2);
    ck_assert_uint_lt(check_engine_stats(engine).postponed, 50);
    ck_assert_uint_eq(check_engine_stats(engine).failed, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &before), 0);
    WAIT_FOR(passed_of(0) > 0 && passed_of(19) > 0);
    ck_assert_int_eq(root ? setresuid(0, 0, 0) : 0, 0);
}
END_TEST

/* How many descriptors there may be before the next one fails. */
static rlim_t lowest_free_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return (rlim_t)fd;
}

static int count_lines(const char *path, const char *with)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    int n = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        n += strstr(line, with) != NULL;
    }
    fclose(file);
    return n;
}

START_TEST(no_descriptors_is_not_the_backends_failure)
{
    char log_path[] = "/tmp/check-test-log-XXXXXX";
    struct addr address;
    struct rlimit before;
    struct check_engine_stats stats;
    uint64_t start_ms;

    close(mkstemp(log_path));
    ck_assert_int_eq(log_open(log_path), 0);
    (void)listen_tcp("0.0.0.0", &address);
    (void)draft_many(address, 100, 5);
    for (uint32_t i = 0; i < 50; i++) { /* the others are unknown */
        scoreboard_set_health(&sb, i, SB_HEALTH_UP, "", clock_now_ms());
    }
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    start_ms = clock_now_ms();
    set_descriptor_limit(lowest_free_descriptor());
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(check_engine_stats(engine).postponed >= 3);
    stats = check_engine_stats(engine);
    ck_assert_uint_eq(stats.passed + stats.failed, 0);
    ck_assert_uint_eq(stats.running, 0);
    ck_assert_uint_le(stats.postponed, (clock_now_ms() - start_ms) / 100 + 1);
    ck_assert_int_eq(n_changes, 0);
    set_descriptor_limit(before.rlim_cur);
    ck_assert_int_eq(count_lines(log_path, "postponed"), 1);
    ck_assert_int_eq(count_lines(log_path, "Too many open files"), 1);
    WAIT_FOR(n_changes == 50 && passed_of(0) > 0 && passed_of(99) > 0);
    ck_assert_uint_eq(check_engine_stats(engine).failed, 0);
    ck_assert_int_eq(unlink(log_path), 0);
}
END_TEST

START_TEST(the_limit_follows_that_of_descriptors)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    (void)draft_single(&address, HOUR_MS, 1, 1);
    set_descriptor_limit(400);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).limit, 100);
    set_descriptor_limit(3);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).limit, 1);
    set_descriptor_limit(400); /* whoever looks at this process afterwards needs some */
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        checks_at_once_are_bounded_and_take_turns,
        all_start_whom_there_is_room_for,
        every_end_makes_room_for_the_next,
        silent_backends_hold_up_nobody_for_long,
        five_thousand_are_up_at_once_and_then_spread,
        programs_at_once_are_few,
        programs_take_turns,
        lack_of_processes_holds_up_programs_only,
        no_descriptors_is_not_the_backends_failure,
        the_limit_follows_that_of_descriptors,
    };

    return run_suite("check/limits", tests, COUNT(tests));
}
