/*
 * The choice of backends: what is folded from configuration and health, what each outcome means,
 * limits shared by several workers, and what goes over to the next generation.
 */
#include "sched/choose.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS    3
#define N_BACKENDS 8

/* Two pools of four backends each, "a" to "d", in slots 10 and up and rows 20 and up. */
struct sample {
    struct snapshot_header header;
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[N_BACKENDS];
};

static struct sample sample;
static struct scoreboard sb;
static struct chooser *chooser;

static void fill_backend(uint32_t i)
{
    sample.backends[i] = (struct snapshot_backend){
        .name = {(char)('a' + i % 4)},
        .address.ip = {.port = 1, .family = ADDR_IPV4},
        .slot = 10 + i,
        .row = 20 + i,
        .weight = 1,
        .n_checks = 1,
    };
}

static void fill_sample(void)
{
    memset(&sample, 0, sizeof(sample));
    sample.header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = 1,
        .size_bytes = sizeof(sample),
        .n_pools = 2,
        .n_backends = N_BACKENDS,
        .services_offset = offsetof(struct sample, pools),
        .listeners_offset = offsetof(struct sample, pools),
        .pools_offset = offsetof(struct sample, pools),
        .backends_offset = offsetof(struct sample, backends),
        .checks_offset = sizeof(sample),
    };
    for (uint32_t p = 0; p < 2; p++) {
        strcpy(sample.pools[p].name, p == 0 ? "one" : "two");
        sample.pools[p].scheduler = sched_find("rr");
        sample.pools[p].first_backend = 4 * p;
        sample.pools[p].n_backends = 4;
    }
    for (uint32_t i = 0; i < N_BACKENDS; i++)
        fill_backend(i);
}

static void set_all_health(enum sb_health health)
{
    for (uint32_t i = 0; i < N_BACKENDS; i++)
        scoreboard_set_health(&sb, 10 + i, health, "", 1);
}

static struct chooser *open_for(uint32_t worker, const struct chooser *previous)
{
    struct chooser *made = chooser_create(&sample.header, &sb, worker, previous);
    ck_assert_ptr_nonnull(made);
    return made;
}

static void setup(void)
{
    fill_sample();
    ck_assert_int_eq(scoreboard_create(&sb, WORKERS, 1, 1), 0);
    set_all_health(SB_HEALTH_UP);
    chooser = NULL;
}

static void teardown(void)
{
    chooser_destroy(chooser);
    scoreboard_destroy(&sb);
}

static void start(void)
{
    chooser = open_for(0, NULL);
}

/* Picks in pool 0 and expects a backend. */
static uint32_t pick(void)
{
    uint32_t index = SCHED_NONE;
    ck_assert_int_eq(chooser_pick(chooser, 0, 0, NULL, 0, &index), CHOICE_MADE);
    ck_assert_uint_lt(index, 4);
    return index;
}

static void expect_order(const char *letters)
{
    for (; *letters != '\0'; letters++)
        ck_assert_int_eq('a' + (int)pick(), *letters);
}

static enum choice outcome(const uint32_t *tried, uint32_t n_tried)
{
    uint32_t index = 77;
    enum choice choice = chooser_pick(chooser, 0, 0, tried, n_tried, &index);
    ck_assert((choice == CHOICE_MADE) == (index != 77));
    return choice;
}

START_TEST(sample_is_good)
{
    for (uint32_t i = 0; i < N_BACKENDS; i++)
        sample.backends[i].n_checks = 0; /* it has none to point at */
    ck_assert_int_eq(snapshot_check(&sample, sizeof(sample)), 0);
}
END_TEST

START_TEST(a_choice_is_reserved)
{
    uint32_t index;

    start();
    expect_order("abcda");
    ck_assert_uint_eq(atomic_load(&sb.slot_active[10]), 2);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[11]), 1);
    ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, 0, 10)->active), 2);
    ck_assert_uint_eq(atomic_load(&sb.rows[20].connections_peak), 2);
    ck_assert_uint_eq(atomic_load(&sb.rows[21].connections_peak), 1);
    scoreboard_release(&sb, 0, SB_SLOT, 10);
    ck_assert_uint_eq(atomic_load(&sb.rows[20].connections_peak), 2);

    ck_assert_int_eq(chooser_pick(chooser, 1, 0, NULL, 0, &index), CHOICE_MADE);
    ck_assert_uint_eq(index, 0); /* within its pool */
    ck_assert_uint_eq(atomic_load(&sb.slot_active[14]), 1);
}
END_TEST

START_TEST(workers_start_apart)
{
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct chooser *of_worker = open_for(w, NULL);
        uint32_t index;
        ck_assert_int_eq(chooser_pick(of_worker, 0, 0, NULL, 0, &index), CHOICE_MADE);
        ck_assert_uint_eq(index, w);
        ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, w, 10 + w)->active), 1);
        chooser_destroy(of_worker);
    }
}
END_TEST

START_TEST(only_eligible_ones_are_chosen)
{
    sample.backends[0].admin = ADMIN_DRAIN;
    sample.backends[1].weight = 0;
    start();
    expect_order("cdcd");
    scoreboard_set_health(&sb, 12, SB_HEALTH_DOWN, "", 2);
    expect_order("ddd");
    scoreboard_set_health(&sb, 12, SB_HEALTH_UNKNOWN, "", 3);
    expect_order("dd");
    scoreboard_set_health(&sb, 12, SB_HEALTH_UP, "", 4);
    expect_order("cdcd");
}
END_TEST

START_TEST(weights_count)
{
    sample.pools[0].scheduler = sched_find("wrr");
    sample.backends[0].weight = 5;
    sample.backends[3].admin = ADMIN_MAINTENANCE;
    start();
    expect_order("aabacaa");
}
END_TEST

START_TEST(health_without_the_monitor)
{
    set_all_health(SB_HEALTH_UNKNOWN);
    sample.backends[1].n_checks = 0;
    sample.backends[2].n_checks = 0;
    sample.backends[2].address = (struct addr){0}; /* does not resolve */
    start();
    expect_order("bbb");
}
END_TEST

START_TEST(none_is_eligible)
{
    for (uint32_t i = 0; i < 4; i++)
        scoreboard_set_health(&sb, 10 + i, SB_HEALTH_DOWN, "", 1);
    start();
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_NONE);

    scoreboard_set_health(&sb, 12, SB_HEALTH_UNKNOWN, "", 1);
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_STARTING);
    ck_assert_int_eq(outcome((const uint32_t[]){2}, 1), CHOICE_STARTING);
    scoreboard_set_health(&sb, 12, SB_HEALTH_UP, "", 1);
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_MADE);
}
END_TEST

START_TEST(draining_is_not_starting)
{
    set_all_health(SB_HEALTH_UNKNOWN);
    for (uint32_t i = 0; i < 4; i++)
        sample.backends[i].admin = i % 2 == 0 ? ADMIN_DRAIN : ADMIN_MAINTENANCE;
    start();
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_NONE);
}
END_TEST

START_TEST(an_empty_pool_has_none)
{
    sample.pools[0].n_backends = 0;
    start();
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_NONE);
}
END_TEST

START_TEST(all_are_full)
{
    for (uint32_t i = 0; i < 4; i++)
        sample.backends[i].max_connections = 1;
    start();
    expect_order("abcd");
    ck_assert_int_eq(outcome(NULL, 0), CHOICE_FULL);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[10]), 1);
    scoreboard_release(&sb, 0, SB_SLOT, 12);
    expect_order("c");
    ck_assert_uint_eq(atomic_load(&sb.rows[22].connections_peak), 1);
}
END_TEST

START_TEST(all_were_tried)
{
    static const uint32_t all[] = {3, 1, 0, 2}, three[] = {3, 1, 0};

    start();
    ck_assert_int_eq(outcome(all, 4), CHOICE_TRIED);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(outcome(three, 3), CHOICE_MADE);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[12]), 5);
    scoreboard_set_health(&sb, 12, SB_HEALTH_DOWN, "", 1);
    ck_assert_int_eq(outcome(three, 3), CHOICE_TRIED);
}
END_TEST

START_TEST(tried_and_full)
{
    static const uint32_t tried[] = {0, 1, 2};

    sample.backends[3].max_connections = 1;
    start();
    ck_assert_int_eq(outcome(tried, 3), CHOICE_MADE);
    ck_assert_int_eq(outcome(tried, 3), CHOICE_FULL); /* d was not tried */
}
END_TEST

START_TEST(a_limit_holds_for_all_workers)
{
    struct chooser *others[WORKERS];
    uint32_t made = 0, index;

    for (uint32_t i = 0; i < 4; i++)
        sample.backends[i].max_connections = 2 + i;
    for (uint32_t w = 0; w < WORKERS; w++)
        others[w] = open_for(w, NULL);
    for (int p = 0; p < 30; p++) {
        enum choice choice = chooser_pick(others[p % WORKERS], 0, 0, NULL, 0, &index);
        ck_assert(choice == (made < 14 ? CHOICE_MADE : CHOICE_FULL));
        made += choice == CHOICE_MADE;
    }
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(atomic_load(&sb.slot_active[10 + i]), 2 + i);
    for (uint32_t w = 0; w < WORKERS; w++)
        chooser_destroy(others[w]);
}
END_TEST

/* Returns when all workers are there. */
static void line_up(uint32_t worker)
{
    atomic_store(&sb.workers[worker].heartbeat_ms, 1);
    for (uint32_t w = 0; w < WORKERS; w++) {
        while (atomic_load(&sb.workers[w].heartbeat_ms) == 0)
            sched_yield();
    }
}

/*
 * One place more than workers, of which each holds one at most: so there is always a free one, and
 * who loses a race for one must go on to it. (A free place can move away
 * from before two looks running, but hardly ever.)
 */
static void race(uint32_t worker)
{
    struct chooser *of_worker = chooser_create(&sample.header, &sb, worker, NULL);
    uint32_t index = 0;
    int missed = 0;

    line_up(worker);
    for (int p = 0; p < 500000; p++) {
        enum choice choice = chooser_pick(of_worker, 0, 0, NULL, 0, &index);
        if (choice != CHOICE_MADE) {
            if (choice != CHOICE_FULL || ++missed > 1)
                _exit(1);
            continue;
        }
        if (atomic_load(&sb.slot_active[10 + index]) > 1)
            _exit(2);
        scoreboard_release(&sb, worker, SB_SLOT, 10 + index);
    }
    _exit(0);
}

START_TEST(a_lost_race_goes_to_the_next)
{
    pid_t pids[WORKERS], parent = getpid();
    int failed = 0;

    for (uint32_t i = 0; i < 4; i++)
        sample.backends[i].max_connections = 1;
    for (uint32_t w = 0; w < WORKERS; w++) {
        pids[w] = fork();
        if (pids[w] != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            race(w);
        _exit(3);
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        int status;
        ck_assert_int_eq(waitpid(pids[w], &status, 0), pids[w]);
        failed += status != 0;
    }
    ck_assert_int_eq(failed, 0);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(atomic_load(&sb.slot_active[10 + i]), 0);
}
END_TEST

START_TEST(unknown_schedulers_are_refused)
{
    sample.pools[1].scheduler = 1000;
    errno = 0;
    ck_assert_ptr_null(chooser_create(&sample.header, &sb, 0, NULL));
    ck_assert_int_eq(errno, EINVAL);
    chooser_destroy(NULL);
}
END_TEST

/* The first generation has a snapshot of its own, so that the sample can be changed for the next.
 */
static void start_first_generation(void)
{
    static struct sample first;
    first = sample;
    chooser = chooser_create(&first.header, &sb, 0, NULL);
    ck_assert_ptr_nonnull(chooser);
}

static void next_generation(void)
{
    struct chooser *next = open_for(0, chooser);
    chooser_destroy(chooser);
    chooser = next;
}

START_TEST(turns_go_on)
{
    start_first_generation();
    expect_order("ab");
    next_generation();
    expect_order("cdab");
}
END_TEST

START_TEST(turns_go_on_by_row)
{
    start_first_generation();
    expect_order("ab");
    /* c, whose turn it is, gets another address and goes to the front */
    struct snapshot_backend c = sample.backends[2];
    memmove(&sample.backends[1], &sample.backends[0], 2 * sizeof(c));
    sample.backends[0] = c;
    sample.backends[0].slot = 500;
    scoreboard_set_health(&sb, 500, SB_HEALTH_UP, "", 1);
    next_generation();
    expect_order("abcd"); /* which are c, a, b, d now */
    ck_assert_uint_eq(atomic_load(&sb.slot_active[500]), 1);
}
END_TEST

START_TEST(turns_go_on_in_a_moved_pool)
{
    start_first_generation();
    expect_order("ab");
    /* pool "one" is the second in the file now */
    struct snapshot_pool one = sample.pools[0];
    sample.pools[0] = sample.pools[1];
    sample.pools[1] = one;
    next_generation();
    uint32_t index;
    ck_assert_int_eq(chooser_pick(chooser, 1, 0, NULL, 0, &index), CHOICE_MADE);
    ck_assert_uint_eq(index, 2);
    ck_assert_int_eq(chooser_pick(chooser, 0, 0, NULL, 0, &index), CHOICE_MADE);
    ck_assert_uint_eq(index, 0);
}
END_TEST

/* What is not the same begins anew: another pool, another backend in a reused row, another rule. */
START_TEST(what_is_not_the_same_begins_anew)
{
    start_first_generation();
    expect_order("ab");
    if (_i == 0)
        strcpy(sample.pools[0].name, "three");
    for (uint32_t i = 0; _i == 1 && i < 4; i++)
        sample.backends[i].name[0] = 'x';
    for (uint32_t i = 0; _i == 2 && i < 4; i++)
        sample.backends[i].row = 100 + i;
    if (_i == 3)
        sample.pools[0].scheduler = sched_find("wrr");
    next_generation();
    expect_order("abcd");
}
END_TEST

START_TEST(a_new_generation_has_its_own_facts)
{
    start_first_generation();
    expect_order("a");
    sample.backends[1].admin = ADMIN_MAINTENANCE;
    sample.backends[2].max_connections = 1;
    next_generation();
    expect_order("cdada");
}
END_TEST

static struct {
    struct snapshot_header header;
    struct snapshot_pool pool;
    struct snapshot_backend backends[1000];
} large;

/* As large as pools get in practice, all full but one, which is found whatever the rule. */
START_TEST(a_thousand_backends)
{
    uint32_t index;

    large.header = sample.header;
    large.header.n_pools = 1;
    large.header.n_backends = 1000;
    large.header.backends_offset = (uint32_t)((char *)large.backends - (char *)&large);
    large.pool = sample.pools[0];
    large.pool.scheduler = (uint32_t)_i;
    large.pool.n_backends = 1000;
    for (uint32_t i = 0; i < 1000; i++) {
        large.backends[i] = sample.backends[0];
        large.backends[i].slot = large.backends[i].row = i;
        large.backends[i].max_connections = 1;
        large.backends[i].n_checks = 0;
        scoreboard_reserve(&sb, 1, SB_SLOT, i, 0);
    }
    scoreboard_release(&sb, 1, SB_SLOT, 777);
    chooser = chooser_create(&large.header, &sb, 0, NULL);
    ck_assert_int_eq(chooser_pick(chooser, 0, 5, NULL, 0, &index), CHOICE_MADE);
    ck_assert_uint_eq(index, 777);
    ck_assert_int_eq(chooser_pick(chooser, 0, 5, NULL, 0, &index), CHOICE_FULL);
}
END_TEST

static int table_len(void)
{
    int n = 0;
    while (sched_table[n] != NULL)
        n++;
    return n;
}

int main(void)
{
    Suite *suite = suite_create("sched choose");
    TCase *tcase = tcase_create("choose");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, sample_is_good);
    tcase_add_test(tcase, a_choice_is_reserved);
    tcase_add_test(tcase, workers_start_apart);
    tcase_add_test(tcase, only_eligible_ones_are_chosen);
    tcase_add_test(tcase, weights_count);
    tcase_add_test(tcase, health_without_the_monitor);
    tcase_add_test(tcase, none_is_eligible);
    tcase_add_test(tcase, draining_is_not_starting);
    tcase_add_test(tcase, an_empty_pool_has_none);
    tcase_add_test(tcase, all_are_full);
    tcase_add_test(tcase, all_were_tried);
    tcase_add_test(tcase, tried_and_full);
    tcase_add_test(tcase, a_limit_holds_for_all_workers);
    tcase_add_test(tcase, a_lost_race_goes_to_the_next);
    tcase_add_test(tcase, unknown_schedulers_are_refused);
    tcase_add_test(tcase, turns_go_on);
    tcase_add_test(tcase, turns_go_on_by_row);
    tcase_add_test(tcase, turns_go_on_in_a_moved_pool);
    tcase_add_loop_test(tcase, what_is_not_the_same_begins_anew, 0, 4);
    tcase_add_test(tcase, a_new_generation_has_its_own_facts);
    tcase_add_loop_test(tcase, a_thousand_backends, 0, table_len());
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
