/* The truth table of eligibility, whole, and the gathering of facts. */
#include "pool/eligibility.h"

#include <check.h>
#include <stdlib.h>

#define ANY (-1)

/* The table of the header, line by line; full and weighted are 0 or 1. */
static const struct {
    int admin, health, weighted, full;
    enum backend_state state;
} truth[] = {
    {ADMIN_MAINTENANCE, ANY, ANY, ANY, BACKEND_MAINTENANCE},
    {ANY, SB_HEALTH_DOWN, ANY, ANY, BACKEND_DOWN},
    {ADMIN_DRAIN, ANY, ANY, ANY, BACKEND_DRAINING},
    {ANY, ANY, 0, ANY, BACKEND_DRAINING},
    {ADMIN_READY, SB_HEALTH_UNKNOWN, 1, ANY, BACKEND_STARTING},
    {ADMIN_READY, SB_HEALTH_UP, 1, 1, BACKEND_FULL},
    {ADMIN_READY, SB_HEALTH_UP, 1, 0, BACKEND_UP},
};

static bool fits(int cell, int value)
{
    return cell == ANY || cell == value;
}

static enum backend_state look_up(int admin, int health, int weighted, int full)
{
    for (size_t i = 0; i < sizeof(truth) / sizeof(truth[0]); i++) {
        if (fits(truth[i].admin, admin) && fits(truth[i].health, health) &&
            fits(truth[i].weighted, weighted) && fits(truth[i].full, full))
            return truth[i].state;
    }
    ck_abort_msg("the table has a hole: %d %d %d %d", admin, health, weighted, full);
    return BACKEND_STATE_COUNT;
}

/* Loads of each kind: active, limit, whether that is full. */
static const struct {
    uint32_t active, max_connections;
    int full;
} loads[] = {
    {0, 0, 0},  {1, 0, 0},   {UINT32_MAX, 0, 0}, {0, 1, 0},          {1, 1, 1},
    {9, 10, 0}, {10, 10, 1}, {11, 10, 1},        {UINT32_MAX, 1, 1}, {0, UINT32_MAX, 0},
};

static void judge_all_loads(int admin, int health, uint32_t weight)
{
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct backend_facts facts = {
            .admin = (enum admin_state)admin,
            .health = (enum sb_health)health,
            .weight = weight,
            .active = loads[i].active,
            .max_connections = loads[i].max_connections,
        };
        enum backend_state state = eligibility_judge(&facts);
        ck_assert_int_eq(state, look_up(admin, health, weight != 0, loads[i].full));
        ck_assert(eligibility_takes_new(state) == (state == BACKEND_UP));
    }
}

START_TEST(whole_table)
{
    static const uint32_t weights[] = {0, 1, 65535};

    for (int admin = 0; admin < ADMIN_COUNT; admin++) {
        for (int health = 0; health < SB_HEALTH_COUNT; health++) {
            for (size_t w = 0; w < 3; w++)
                judge_all_loads(admin, health, weights[w]);
        }
    }
}
END_TEST

START_TEST(strange_health_is_unknown)
{
    struct backend_facts facts = {.health = (enum sb_health)200, .weight = 1};
    ck_assert_int_eq(eligibility_judge(&facts), BACKEND_STARTING);
}
END_TEST

START_TEST(names)
{
    static const char *const states[] = {"maintenance", "down", "draining",
                                         "starting",    "full", "up"};
    for (int i = 0; i < BACKEND_STATE_COUNT; i++)
        ck_assert_str_eq(backend_state_names[i], states[i]);
    ck_assert_str_eq(admin_state_names[ADMIN_READY], "ready");
    ck_assert_str_eq(admin_state_names[ADMIN_DRAIN], "drain");
    ck_assert_str_eq(admin_state_names[ADMIN_MAINTENANCE], "maintenance");
    ck_assert_ptr_null(admin_state_names[ADMIN_COUNT]);
}
END_TEST

static struct scoreboard sb;
static struct snapshot_backend backend;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 1, 1), 0);
    backend = (struct snapshot_backend){
        .address.ip.family = ADDR_IPV4,
        .slot = 7,
        .weight = 30,
        .max_connections = 4,
        .n_checks = 1,
        .admin = ADMIN_DRAIN,
    };
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

START_TEST(facts_are_gathered)
{
    scoreboard_set_health(&sb, 7, SB_HEALTH_UP, "", 1);
    scoreboard_reserve(&sb, 0, SB_SLOT, 7, 0);
    struct backend_facts facts = eligibility_facts(&backend, &sb);

    ck_assert_int_eq(facts.admin, ADMIN_DRAIN);
    ck_assert_int_eq(facts.health, SB_HEALTH_UP);
    ck_assert_uint_eq(facts.weight, 30);
    ck_assert_uint_eq(facts.active, 1);
    ck_assert_uint_eq(facts.max_connections, 4);
}
END_TEST

START_TEST(health_without_the_monitor)
{
    for (int health = 0; health < SB_HEALTH_COUNT; health++) {
        scoreboard_set_health(&sb, 7, (enum sb_health)health, "", 1);
        backend.n_checks = 1;
        ck_assert_int_eq(eligibility_facts(&backend, &sb).health, health);
        backend.n_checks = 0;
        ck_assert_int_eq(eligibility_facts(&backend, &sb).health, SB_HEALTH_UP);
        backend.address.ip.family = ADDR_NONE;
        ck_assert_int_eq(eligibility_facts(&backend, &sb).health, SB_HEALTH_DOWN);
        backend.n_checks = 1;
        ck_assert_int_eq(eligibility_facts(&backend, &sb).health, SB_HEALTH_DOWN);
        backend.address.ip.family = ADDR_IPV6;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool eligibility");
    TCase *table = tcase_create("table");
    TCase *facts = tcase_create("facts");

    tcase_add_test(table, whole_table);
    tcase_add_test(table, strange_health_is_unknown);
    tcase_add_test(table, names);
    suite_add_tcase(suite, table);

    tcase_add_checked_fixture(facts, setup, teardown);
    tcase_add_test(facts, facts_are_gathered);
    tcase_add_test(facts, health_without_the_monitor);
    suite_add_tcase(suite, facts);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
