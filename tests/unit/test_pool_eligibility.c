/* The truth table of eligibility, whole; what a pool needs; the gathering of facts; slow start. */
#include "pool/eligibility.h"

#include <check.h>
#include <stdlib.h>

#define ANY (-1)

enum answer { NO, YES, IN_PANIC, UNLESS_IT_LEAVES };

/* The table of the header, line by line; weighted and what follows it are 0 or 1. */
static const struct {
    int admin, health, weighted, ejected, full, standby;
    enum backend_state state;
    enum answer takes_new, takes_returning;
} truth[] = {
    {ADMIN_MAINTENANCE, ANY, ANY, ANY, ANY, ANY, BACKEND_MAINTENANCE, NO, NO},
    {ANY, SB_HEALTH_DOWN, ANY, ANY, ANY, ANY, BACKEND_DOWN, IN_PANIC, IN_PANIC},
    {ADMIN_DRAIN, SB_HEALTH_UP, ANY, 0, 0, ANY, BACKEND_DRAINING, NO, YES},
    {ADMIN_DRAIN, ANY, ANY, ANY, ANY, ANY, BACKEND_DRAINING, NO, NO},
    {ADMIN_READY, SB_HEALTH_UP, 0, 0, 0, ANY, BACKEND_DRAINING, NO, YES},
    {ADMIN_READY, ANY, 0, ANY, ANY, ANY, BACKEND_DRAINING, NO, NO},
    {ADMIN_READY, SB_HEALTH_UNKNOWN, 1, ANY, ANY, ANY, BACKEND_STARTING, NO, NO},
    {ADMIN_READY, SB_HEALTH_UP, 1, 1, ANY, ANY, BACKEND_EJECTED, IN_PANIC, IN_PANIC},
    {ADMIN_READY, SB_HEALTH_UP, 1, 0, 1, ANY, BACKEND_FULL, NO, NO},
    {ADMIN_READY, SB_HEALTH_UP, 1, 0, 0, 1, BACKEND_STANDBY, NO, UNLESS_IT_LEAVES},
    {ADMIN_READY, SB_HEALTH_UP, 1, 0, 0, 0, BACKEND_UP, YES, YES},
};

#define N_TRUTH (sizeof(truth) / sizeof(truth[0]))

static bool fits(int cell, int value)
{
    return cell == ANY || cell == value;
}

/* The first line that applies; N_TRUTH: the table has a hole. */
static size_t look_up(const struct backend_facts *facts)
{
    bool is_known = facts->health == SB_HEALTH_UP || facts->health == SB_HEALTH_DOWN;
    int health = is_known ? (int)facts->health : SB_HEALTH_UNKNOWN;
    size_t i = 0;

    while (i < N_TRUTH &&
           !(fits(truth[i].admin, (int)facts->admin) && fits(truth[i].health, health) &&
             fits(truth[i].weighted, facts->weight != 0) &&
             fits(truth[i].ejected, facts->ejected) && fits(truth[i].full, facts->full) &&
             fits(truth[i].standby, facts->standby)))
        i++;
    return i;
}

static bool is_yes(enum answer answer, const struct backend_facts *facts)
{
    switch (answer) {
    case NO:
        return false;
    case YES:
        return true;
    case IN_PANIC:
        return facts->panic && facts->admin == ADMIN_READY && facts->weight > 0 &&
               facts->has_address && !facts->full;
    case UNLESS_IT_LEAVES:
        return !facts->leaves;
    }
    return false;
}

static const enum sb_health healths[] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_DOWN,
                                         (enum sb_health)200};
static const uint32_t weights[] = {0, 1, 65535};

#define N_COMBINATIONS (ADMIN_COUNT * 4 * 3 * 64)

static struct backend_facts nth_combination(int n)
{
    int bits = n % 64, rest = n / 64;
    return (struct backend_facts){
        .admin = (enum admin_state)(rest / 12),
        .health = healths[rest % 4],
        .weight = weights[rest / 4 % 3],
        .has_address = bits & 1,
        .ejected = bits & 2,
        .full = bits & 4,
        .standby = bits & 8,
        .leaves = bits & 16,
        .panic = bits & 32,
    };
}

START_TEST(whole_table)
{
    int holes = 0, wrong_states = 0, wrong_new = 0, wrong_returning = 0;
    bool used[N_TRUTH] = {0};

    for (int n = 0; n < N_COMBINATIONS; n++) {
        struct backend_facts facts = nth_combination(n);
        size_t line = look_up(&facts);
        if (line == N_TRUTH) {
            holes++;
            continue;
        }
        used[line] = true;
        wrong_states += eligibility_judge(&facts) != truth[line].state;
        wrong_new += eligibility_takes_new(&facts) != is_yes(truth[line].takes_new, &facts);
        wrong_returning +=
            eligibility_takes_returning(&facts) != is_yes(truth[line].takes_returning, &facts);
    }
    ck_assert_int_eq(holes, 0);
    ck_assert_int_eq(wrong_states, 0);
    ck_assert_int_eq(wrong_new, 0);
    ck_assert_int_eq(wrong_returning, 0);
    for (size_t line = 0; line < N_TRUTH; line++)
        ck_assert_msg(used[line], "line %zu never applies", line);
}
END_TEST

/* Whoever may come new may return, whatever the facts. */
START_TEST(new_means_returning)
{
    int odd = 0;
    for (int n = 0; n < N_COMBINATIONS; n++) {
        struct backend_facts facts = nth_combination(n);
        odd += eligibility_takes_new(&facts) && !eligibility_takes_returning(&facts);
    }
    ck_assert_int_eq(odd, 0);
}
END_TEST

/* Once sessions of who drains are being closed, nobody comes back to it. */
START_TEST(closing_ends_returning)
{
    struct backend_facts facts = {
        .admin = ADMIN_DRAIN, .health = SB_HEALTH_UP, .weight = 1, .has_address = true};

    ck_assert(eligibility_takes_returning(&facts));
    facts.closing = true;
    ck_assert(!eligibility_takes_returning(&facts));
    ck_assert_int_eq(eligibility_judge(&facts), BACKEND_DRAINING);
}
END_TEST

START_TEST(names)
{
    static const char *const states[] = {"maintenance", "down", "draining", "starting",
                                         "ejected",     "full", "standby",  "up"};
    ck_assert_uint_eq(sizeof(states) / sizeof(states[0]), BACKEND_STATE_COUNT);
    for (int i = 0; i < BACKEND_STATE_COUNT; i++)
        ck_assert_str_eq(backend_state_names[i], states[i]);
    ck_assert_str_eq(admin_state_names[ADMIN_READY], "ready");
    ck_assert_str_eq(admin_state_names[ADMIN_DRAIN], "drain");
    ck_assert_str_eq(admin_state_names[ADMIN_MAINTENANCE], "maintenance");
    ck_assert_ptr_null(admin_state_names[ADMIN_COUNT]);
}
END_TEST

/* A pool of up to 100 backends with a check each; slots in reverse order. */

#define BACKENDS 100

static struct scoreboard sb;
static struct snapshot_pool pool;
static struct snapshot_backend backends[BACKENDS];

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 1, 1), 0);
    pool = (struct snapshot_pool){.n_backends = 4};
    for (uint32_t i = 0; i < BACKENDS; i++)
        backends[i] = (struct snapshot_backend){
            .address.ip.family = ADDR_IPV4,
            .slot = BACKENDS - i,
            .weight = 30,
            .n_checks = 1,
        };
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

/* One letter a backend: u, d, ? (not known). */
static void set_healths(const char *letters)
{
    for (uint32_t i = 0; letters[i] != '\0'; i++) {
        enum sb_health health = letters[i] == 'u'   ? SB_HEALTH_UP
                                : letters[i] == 'd' ? SB_HEALTH_DOWN
                                                    : SB_HEALTH_UNKNOWN;
        scoreboard_set_health(&sb, backends[i].slot, health, "", 1);
    }
}

static struct pool_survey survey_of(const char *letters)
{
    struct pool_survey survey;
    set_healths(letters);
    eligibility_survey(&pool, backends, &sb, &survey);
    return survey;
}

START_TEST(survey_counts)
{
    struct pool_survey survey = survey_of("ud?u");

    ck_assert_uint_eq(survey.ready, 4);
    ck_assert_uint_eq(survey.up, 2);
    ck_assert_uint_eq(survey.starting, 1);
    ck_assert_uint_eq(survey.primaries_up, 2);
    ck_assert_uint_eq(survey.first_backup, SNAPSHOT_NONE);
    ck_assert(!survey.needs_backups);
    ck_assert(!survey.panic);

    backends[3].backup = 1;
    survey = survey_of("ud?u");
    ck_assert_uint_eq(survey.ready, 4);
    ck_assert_uint_eq(survey.up, 2);
    ck_assert_uint_eq(survey.primaries_up, 1);
    ck_assert_uint_eq(survey.first_backup, 3);
    pool.n_backends = 0;
    survey = survey_of("ud?u");
    ck_assert_uint_eq(survey.ready + survey.up + survey.starting + survey.primaries_up, 0);
    ck_assert_uint_eq(survey.first_backup, SNAPSHOT_NONE);
}
END_TEST

/* The operator's word and weight 0 take a backend out of every count; load does not. */
START_TEST(survey_looks_at_the_ready)
{
    pool.min_healthy = 3;
    backends[1].admin = ADMIN_DRAIN;
    backends[2].admin = ADMIN_MAINTENANCE;
    struct pool_survey survey = survey_of("uuuu");
    ck_assert_uint_eq(survey.ready, 2);
    ck_assert_uint_eq(survey.up, 2);
    ck_assert(survey.needs_backups);
    backends[1].admin = backends[2].admin = ADMIN_READY;
    backends[0].weight = 0;
    survey = survey_of("?u?d");
    ck_assert_uint_eq(survey.ready, 3);
    ck_assert_uint_eq(survey.up, 1);
    ck_assert_uint_eq(survey.starting, 1);
    backends[0].weight = 1;
    for (uint32_t i = 0; i < 4; i++) {
        backends[i].max_connections = backends[i].resume_connections = 1;
        scoreboard_reserve(&sb, 0, SB_SLOT, backends[i].slot, 0);
    }
    survey = survey_of("uuud");
    ck_assert_uint_eq(survey.primaries_up, 3);
    ck_assert(!survey.needs_backups);
}
END_TEST

START_TEST(survey_without_the_monitor)
{
    backends[0].address.ip.family = ADDR_NONE; /* down, though its slot says up */
    backends[1].address.ip.family = ADDR_NONE;
    backends[1].n_checks = 0;
    backends[2].n_checks = 0; /* up, though its slot says down */
    struct pool_survey survey = survey_of("uud?");
    ck_assert_uint_eq(survey.ready, 4);
    ck_assert_uint_eq(survey.up, 1);
    ck_assert_uint_eq(survey.starting, 1);
    pool.panic_threshold = 51;
    ck_assert(survey_of("uud?").panic);
    pool.panic_threshold = 50;
    ck_assert(!survey_of("uud?").panic);
}
END_TEST

static bool stands_by(uint32_t i, const char *letters)
{
    struct pool_survey survey = survey_of(letters);
    return eligibility_facts(&pool, backends, i, &survey, &sb).standby;
}

static void expect_standby(const char *letters, bool first, bool second)
{
    ck_assert_msg(!stands_by(0, letters) && !stands_by(1, letters), "a primary, %s", letters);
    ck_assert_msg(stands_by(2, letters) == first, "the first, %s", letters);
    ck_assert_msg(stands_by(3, letters) == second, "the second, %s", letters);
}

START_TEST(backups_join_when_primaries_are_missing)
{
    backends[2].backup = backends[3].backup = 1;
    pool.min_healthy = (uint32_t)_i;
    pool.backup_use = BACKUP_USE_ALL;
    expect_standby("uuuu", _i < 3, _i < 3);
    expect_standby("uduu", _i < 2, _i < 2);
    expect_standby("?uuu", _i < 2, _i < 2); /* who knows */
    expect_standby("dduu", _i < 1, _i < 1);
    pool.backup_use = BACKUP_USE_FIRST;
    expect_standby("uuuu", _i < 3, true);
    expect_standby("dduu", _i < 1, true);
    expect_standby("dddu", true, _i < 1);
    expect_standby("dd?u", true, _i < 1);
    expect_standby("dddd", true, true);
    backends[2].admin = ADMIN_DRAIN; /* cannot help */
    expect_standby("dduu", true, _i < 1);
}
END_TEST

START_TEST(nobody_stands_by_in_panic)
{
    backends[2].backup = backends[3].backup = 1;
    pool.panic_threshold = 51;
    pool.backup_use = BACKUP_USE_FIRST;
    expect_standby("uuud", true, true);
    expect_standby("uudd", false, false);
    expect_standby("uu?d", true, true);
}
END_TEST

/* In a pool of 100, percents are backends. */
START_TEST(panic_below_the_threshold)
{
    static const uint32_t thresholds[] = {0, 1, 2, 50, 99, 100};
    uint32_t threshold = thresholds[_i];
    char letters[BACKENDS + 1] = {0};
    int wrong = 0;

    pool.n_backends = BACKENDS;
    pool.panic_threshold = threshold;
    for (uint32_t up = 0; up <= BACKENDS; up++) {
        /* half of those that are not down may turn out to be up */
        for (uint32_t i = 0; i < BACKENDS; i++)
            letters[i] = i >= up ? 'd' : i % 2 == 0 ? 'u' : '?';
        wrong += survey_of(letters).panic != (up < threshold);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(panic_in_small_pools)
{
    pool.panic_threshold = 50;
    pool.n_backends = 3;
    ck_assert(survey_of("udd").panic); /* 33 % */
    ck_assert(!survey_of("uud").panic);
    pool.n_backends = 1;
    ck_assert(survey_of("d").panic);
    ck_assert(!survey_of("?").panic);
    backends[0].admin = ADMIN_MAINTENANCE; /* none is ready: there is nothing to panic about */
    ck_assert(!survey_of("d").panic);
    pool.n_backends = 0;
    ck_assert(!survey_of("").panic);
}
END_TEST

static struct backend_facts facts_of(uint32_t i)
{
    struct pool_survey survey;
    eligibility_survey(&pool, backends, &sb, &survey);
    return eligibility_facts(&pool, backends, i, &survey, &sb);
}

START_TEST(facts_are_gathered)
{
    set_healths("dudd");
    struct backend_facts facts = facts_of(1);
    ck_assert_int_eq(facts.admin, ADMIN_READY);
    ck_assert_int_eq(facts.health, SB_HEALTH_UP);
    ck_assert_uint_eq(facts.weight, 30);
    ck_assert(facts.has_address);
    ck_assert(!facts.ejected && !facts.full && !facts.standby && !facts.leaves && !facts.panic);

    pool.on_return = SESSIONS_CLOSE;
    pool.panic_threshold = 26;
    backends[0].admin = ADMIN_DRAIN;
    backends[1].admin = ADMIN_DRAIN;
    backends[1].weight = 0;
    facts = facts_of(1);
    ck_assert_int_eq(facts.admin, ADMIN_DRAIN);
    ck_assert_uint_eq(facts.weight, 0);
    ck_assert(facts.leaves && facts.panic);
}
END_TEST

START_TEST(health_without_the_monitor)
{
    int wrong = 0;
    for (int health = 0; health < SB_HEALTH_COUNT; health++) {
        scoreboard_set_health(&sb, backends[1].slot, (enum sb_health)health, "", 1);
        backends[1].n_checks = 1;
        wrong += facts_of(1).health != (enum sb_health)health;
        backends[1].n_checks = 0;
        wrong += facts_of(1).health != SB_HEALTH_UP || !facts_of(1).has_address;
        backends[1].address.ip.family = ADDR_NONE;
        wrong += facts_of(1).health != SB_HEALTH_DOWN || facts_of(1).has_address;
        backends[1].n_checks = 1;
        wrong += facts_of(1).health != SB_HEALTH_DOWN;
        backends[1].address.ip.family = ADDR_IPV6;
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* Without an address nothing can be reached, panic or not. */
START_TEST(panic_needs_an_address)
{
    pool.panic_threshold = 100;
    backends[1].address.ip.family = ADDR_NONE;
    set_healths("dddd");
    struct backend_facts with = facts_of(0), without = facts_of(1);
    ck_assert(eligibility_takes_new(&with));
    ck_assert(!eligibility_takes_new(&without));
    ck_assert(!eligibility_takes_returning(&without));
}
END_TEST

static bool is_full_after(uint32_t active, bool mark)
{
    while (atomic_load(&sb.slot_active[backends[1].slot]) < active)
        scoreboard_reserve(&sb, 0, SB_SLOT, backends[1].slot, 0);
    atomic_store(&sb.slot_full[backends[1].slot], mark);
    return facts_of(1).full;
}

START_TEST(facts_of_load)
{
    backends[1].max_connections = 4;
    backends[1].resume_connections = 3;
    ck_assert(!is_full_after(2, true));
    ck_assert(!is_full_after(3, false));
    ck_assert(is_full_after(3, true));
    ck_assert(is_full_after(4, false));
    ck_assert(is_full_after(5, true));
    backends[1].max_connections = backends[1].resume_connections = 0;
    ck_assert(!is_full_after(5, true));
}
END_TEST

START_TEST(full_between_the_marks)
{
    static const struct {
        uint32_t active, limit, resume;
        int unmarked, marked; /* whether it is full then */
    } loads[] = {
        {0, 0, 0, 0, 0},
        {UINT32_MAX, 0, 0, 0, 0},
        {0, 1, 1, 0, 0},
        {1, 1, 1, 1, 1},
        {2, 1, 1, 1, 1},
        {6, 10, 7, 0, 0},
        {7, 10, 7, 0, 1},
        {9, 10, 7, 0, 1},
        {10, 10, 7, 1, 1},
        {11, 10, 7, 1, 1},
        {9, 10, 10, 0, 0},
        {0, 10, 1, 0, 0},
        {1, 10, 1, 0, 1},
        {UINT32_MAX, UINT32_MAX, 1, 1, 1},
        {UINT32_MAX - 1, UINT32_MAX, 1, 0, 1},
    };
    int wrong = 0;

    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        wrong += eligibility_is_full(loads[i].active, loads[i].limit, loads[i].resume, false) !=
                 loads[i].unmarked;
        wrong += eligibility_is_full(loads[i].active, loads[i].limit, loads[i].resume, true) !=
                 loads[i].marked;
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(slow_start_rises_with_time)
{
    const uint64_t from = 5000;

    ck_assert_uint_eq(eligibility_slow_permille(0, 10000, 5), 1000); /* long ago */
    ck_assert_uint_eq(eligibility_slow_permille(from, 0, from), 1000);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from - 1), 100); /* another clock */
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from), 100);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from + 1000), 190);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from + 5000), 550);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from + 9999), 999);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, from + 10000), 1000);
    ck_assert_uint_eq(eligibility_slow_permille(from, 10000, UINT64_MAX), 1000);
    ck_assert_uint_eq(eligibility_slow_permille(from, 1, from), 100);
    ck_assert_uint_eq(eligibility_slow_permille(from, UINT32_MAX, from + UINT32_MAX - 1), 999);
    ck_assert_uint_eq(eligibility_slow_permille(from, UINT32_MAX, from + UINT32_MAX / 2), 549);

    uint32_t last = 0;
    bool rises = true;
    for (uint64_t age = 0; age <= 10000; age += 7) {
        uint32_t now = eligibility_slow_permille(from, 10000, from + age);
        rises = rises && now >= last && now <= 1000;
        last = now;
    }
    ck_assert(rises);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool eligibility");
    TCase *table = tcase_create("table");
    TCase *pools = tcase_create("pools");

    tcase_add_test(table, whole_table);
    tcase_add_test(table, new_means_returning);
    tcase_add_test(table, names);
    tcase_add_test(table, closing_ends_returning);
    tcase_add_test(table, full_between_the_marks);
    tcase_add_test(table, slow_start_rises_with_time);
    suite_add_tcase(suite, table);

    tcase_add_checked_fixture(pools, setup, teardown);
    tcase_add_test(pools, survey_counts);
    tcase_add_test(pools, survey_looks_at_the_ready);
    tcase_add_test(pools, survey_without_the_monitor);
    tcase_add_loop_test(pools, backups_join_when_primaries_are_missing, 0, 4);
    tcase_add_test(pools, nobody_stands_by_in_panic);
    tcase_add_loop_test(pools, panic_below_the_threshold, 0, 6);
    tcase_add_test(pools, panic_in_small_pools);
    tcase_add_test(pools, facts_are_gathered);
    tcase_add_test(pools, health_without_the_monitor);
    tcase_add_test(pools, panic_needs_an_address);
    tcase_add_test(pools, facts_of_load);
    suite_add_tcase(suite, pools);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
