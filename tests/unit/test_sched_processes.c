/*
 * Several workers that are real processes, on few backends with small limits: limits and rates are
 * exact at every moment, who loses a race goes on to the next, and nothing is left behind.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sched/chooser.h"
#include "test_sched_fixture.h"

#define BACKENDS  3
#define OPS       50000
#define HOLDS_MAX 8 /* sessions of one worker: more than there are places */
#define KEEP_MS   1000

#define START_US (UINT64_C(1000) * BED_START_MS)

static uint32_t active(uint32_t i)
{
    return atomic_load(&sb.slot_active[bed_slot(0, i)]);
}

static void make_pool(const char *scheduler, uint32_t n)
{
    bed_add_service(0);
    bed_add_pool(scheduler, n);
    bed_set_all_health(SB_HEALTH_UP);
}

/* --- workers --- */

static bool percent(uint32_t chance)
{
    return random() % 100 < (long)chance;
}

/* Ends as it began. Returns 0 when nothing was wrong. */
static int hammer(struct chooser *chooser, uint32_t worker)
{
    struct chosen held[HOLDS_MAX];
    uint32_t n_held = 0;
    int wrong = 0;

    for (uint32_t op = 0; op < OPS || n_held > 0; op++) {
        if (op < OPS && n_held < HOLDS_MAX && percent(60)) {
            enum choice choice = bed_choose(chooser, 0, op % 6, &held[n_held]);
            wrong += choice != CHOICE_MADE && choice != CHOICE_FULL;
            if (choice == CHOICE_MADE) {
                n_held++;
                scoreboard_bump(&sb.workers[worker].connections_total, 1);
            }
        } else if (n_held > 0) {
            struct chosen *last = &held[--n_held];
            scoreboard_release(&sb, worker, SB_SLOT, bed_slot(0, last->index));
            lease_release(&sb, &last->hold, bed_backend(0, last->index)->row, bed_now_ms(),
                          KEEP_MS);
        }
    }
    return wrong;
}

/*
 * For pools with one place more than workers, of which each holds one at most: so there is always a
 * free one, and who loses a race for one must go on to it. (A free place can move away from before
 * two looks running, but hardly ever.)
 */
static int race(struct chooser *chooser, uint32_t worker)
{
    struct chosen chosen;
    int missed = 0, wrong = 0;

    for (uint32_t op = 0; op < OPS; op++) {
        enum choice choice = bed_choose(chooser, 0, op, &chosen);
        missed += choice == CHOICE_FULL;
        wrong += choice != CHOICE_MADE && choice != CHOICE_FULL;
        if (choice != CHOICE_MADE)
            continue;
        scoreboard_release(&sb, worker, SB_SLOT, bed_slot(0, chosen.index));
    }
    return wrong + (missed > 1);
}

/* Connects as often as it may. All go by one clock, which each of their tries moves on by 1 µs. */
static int use_up(struct chooser *chooser, uint32_t worker)
{
    struct chosen chosen;
    int wrong = 0;

    for (uint32_t op = 0; op < OPS; op++) {
        now_us = START_US + atomic_fetch_add(&sb.header->monitor_heartbeat_ms, 1);
        enum choice choice = bed_choose(chooser, 0, op, &chosen);
        wrong += choice != CHOICE_MADE && choice != CHOICE_FULL;
        if (choice != CHOICE_MADE)
            continue;
        scoreboard_release(&sb, worker, SB_SLOT, bed_slot(0, chosen.index));
        scoreboard_bump(&sb.workers[worker].connections_total, 1);
    }
    return wrong;
}

typedef int work_fn(struct chooser *chooser, uint32_t worker);

/* --- and who watches them --- */

static void start_workers(pid_t pids[static BED_WORKERS], work_fn *work)
{
    const struct snapshot_header *snapshot = bed_publish();
    pid_t parent = getpid();

    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        pids[w] = fork();
        ck_assert_int_ge(pids[w], 0);
        if (pids[w] != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        struct chooser *chooser = chooser_create(snapshot, &sb, w, bed_now_ms(), NULL);
        srandom(w);
        while (atomic_load(&sb.header->monitor_pid) == 0)
            sched_yield();
        _exit(chooser != NULL && work(chooser, w) == 0 ? 0 : 2);
    }
}

/* How often in a while a backend is seen over its limit. */
static uint32_t look(void)
{
    uint32_t over = 0;

    for (int n = 0; n < 1000; n++) {
        for (uint32_t i = 0; i < bed.pools[0].n_backends; i++)
            over += active(i) > bed_backend(0, i)->max_connections;
    }
    return over;
}

/* Looks on until all have ended, well. */
static void run(work_fn *work)
{
    pid_t pids[BED_WORKERS];
    uint32_t over = 0, running = BED_WORKERS, failed = 0;

    start_workers(pids, work);
    atomic_store(&sb.header->monitor_pid, getpid());
    while (running > 0) {
        over += look();
        for (uint32_t w = 0; w < BED_WORKERS; w++) {
            int status;
            if (pids[w] == 0 || waitpid(pids[w], &status, WNOHANG) != pids[w])
                continue;
            pids[w] = 0;
            running--;
            failed += status != 0;
        }
    }
    ck_assert_uint_eq(over, 0);
    ck_assert_uint_eq(failed, 0);
}

static void expect_emptiness(void)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < bed.pools[0].n_backends; i++) {
        left += active(i);
        for (uint32_t w = 0; w < BED_WORKERS; w++)
            left += atomic_load(&scoreboard_slot_cell(&sb, w, bed_slot(0, i))->active);
    }
    ck_assert_uint_eq(left, 0);
}

/* --- tests --- */

START_TEST(limits_are_kept)
{
    static const struct {
        const char *scheduler;
        bool persistence;
    } cases[] = {{"rr", false}, {"wlc", true}, {"random", false}, {"maglev_bounded", true}};
    struct lease_info info;

    make_pool(cases[_i].scheduler, BACKENDS);
    bed.services[0].persistence_ms = cases[_i].persistence ? KEEP_MS : 0;
    for (uint32_t i = 0; i < BACKENDS; i++)
        bed_set_limit(0, i, 1 + i, 1);
    run(hammer);
    expect_emptiness();
    for (uint32_t i = 0; i < BACKENDS; i++)
        ck_assert_uint_eq(atomic_load(&sb.rows[BED_ROW + i].connections_peak), 1 + i);

    struct chooser *chooser = bed_open(0, NULL);
    for (uint32_t client = 0; client < 6; client++) {
        struct addr_ip address = bed_client(client);
        uint64_t key = chooser_lease_key(chooser, 0, &address);
        ck_assert(lease_find(&sb, key, bed_now_ms(), &info) == cases[_i].persistence);
        ck_assert(!cases[_i].persistence || info.sessions == 0);
    }
    chooser_destroy(chooser);
}
END_TEST

/* One every 4 µs, and two at once. Some go unused when all are held up, but not many. */
START_TEST(rates_are_kept)
{
    const uint64_t due = BED_WORKERS * OPS / 4 + 2;
    uint64_t total = 0;

    make_pool("rr", 1);
    bed_set_limit(0, 0, BED_WORKERS, BED_WORKERS);
    bed_backend(0, 0)->connect_rate = (struct snapshot_rate){.interval_ns = 4000, .burst = 2};
    run(use_up);
    for (uint32_t w = 0; w < BED_WORKERS; w++)
        total += atomic_load(&sb.workers[w].connections_total);
    ck_assert_uint_gt(total, due / 2);
    ck_assert_uint_le(total, due);
    expect_emptiness();
}
END_TEST

START_TEST(a_lost_race_goes_to_the_next)
{
    make_pool("rr", BED_WORKERS + 1);
    for (uint32_t i = 0; i <= BED_WORKERS; i++)
        bed_set_limit(0, i, 1, 1);
    run(race);
    expect_emptiness();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched processes");
    TCase *tcase = tcase_create("processes");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, bed_setup, bed_teardown);
    tcase_add_loop_test(tcase, limits_are_kept, 0, 4);
    tcase_add_test(tcase, rates_are_kept);
    tcase_add_test(tcase, a_lost_race_goes_to_the_next);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
