/*
 * The states of backends, pools and services as operators read them: which state, why, with which
 * figures, and what it does to the effective weight.
 */
#include "test_ctl_run.h"

#include "ctl/view.h"

#define NOW_MS 1000000 /* of the tests that bring their own clock */

enum { A, B, C }; /* of pool web */

static struct snapshot_pool *web(void)
{
    return &fake.snapshot.pools[0];
}

static struct snapshot_backend *backend(int index)
{
    return &fake.snapshot.backends[index];
}

static void set_health(int index, enum sb_health health, const char *reason)
{
    scoreboard_set_health(&fake.sb, backend(index)->slot, health, reason, NOW_MS - 4000);
    atomic_store(&fake.sb.slots[backend(index)->slot].slow_from_ms, 0);
}

/* All three are ready and up. */
static void set_all_up(void)
{
    for (int i = A; i <= C; i++) {
        backend(i)->admin = ADMIN_READY;
        set_health(i, SB_HEALTH_UP, "connected");
    }
}

/* Backend index of pool web now. */
static const struct view_backend *look(int index)
{
    static struct view_backend row;
    struct view view = view_of(&fake.host, NOW_MS, 0);
    struct standing standing;

    view_standing(&view, &fake_pools[0], &standing);
    view_backend(&view, &fake_pools[0], &standing, (size_t)index, &row);
    return &row;
}

static struct view_pool look_at_pool(void)
{
    struct view view = view_of(&fake.host, NOW_MS, 0);
    struct view_pool row;

    view_pool(&view, &fake_pools[0], &row);
    return row;
}

/* --- backends --- */

START_TEST(backends_tell_state_and_why)
{
    json_t *json = run_json("show backends json"), *row;

    row = named(json, "backends", "a");
    is_text(row, "state", "up");
    is_text(row, "reason", "connected");
    is_about(row, "since_seconds", 4);
    is_number(row, "effective_weight_permille", 3000);
    row = named(json, "backends", "b");
    is_text(row, "state", "starting");
    is_text(row, "health", "unknown");
    is_number(row, "effective_weight_permille", 0);
    row = named(json, "backends", "c");
    is_text(row, "state", "maintenance");
    is_text(row, "admin", "maintenance");
    is_text(row, "reason", "admin=maintenance by uid 0 pid 42: new disks");
    /* since the operator said so */
    is_at_least(row, "since_seconds", 90 * 86400);
    is_text(named(json, "backends", "main"), "state", "up"); /* it has no checks */
    json_decref(json);
}
END_TEST

START_TEST(a_full_and_a_down_backend)
{
    json_t *json, *row;

    scoreboard_set_health(&fake.sb, 9, SB_HEALTH_UP, "connected", clock_now_ms());
    atomic_store(&fake.sb.slot_active[9], 2);
    scoreboard_set_health(&fake.sb, FAKE_SLOT, SB_HEALTH_DOWN, "connect: refused", clock_now_ms());
    json = run_json("show backends web json");
    row = named(json, "backends", "b");
    is_text(row, "state", "full");
    is_text(row, "reason", "2 of 2 connections, again under 1");
    is_number(row, "effective_weight_permille", 1000);
    is_number(row, "connections_active", 2);
    row = named(json, "backends", "a");
    is_text(row, "state", "down");
    is_text(row, "reason", "connect: refused");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "backends")), 3);
    json_decref(json);
}
END_TEST

START_TEST(full_until_it_is_under_its_mark)
{
    set_all_up();
    backend(B)->max_connections = 50;
    backend(B)->resume_connections = 38;
    atomic_store(&fake.sb.slot_active[backend(B)->slot], 40);
    ck_assert_str_eq(look(B)->state, "up");
    atomic_store(&fake.sb.slot_full[backend(B)->slot], 1);
    ck_assert_str_eq(look(B)->state, "full");
    ck_assert_str_eq(look(B)->reason, "40 of 50 connections, again under 38");
    ck_assert_uint_eq(look(B)->effective_weight_permille, 1000);
    atomic_store(&fake.sb.slot_active[backend(B)->slot], 37);
    ck_assert_str_eq(look(B)->state, "up");
    ck_assert_uint_eq(look(B)->effective_weight_permille, 1000);
}
END_TEST

START_TEST(a_backup_stands_by)
{
    set_all_up();
    backend(C)->backup = 1;
    ck_assert_str_eq(look(C)->state, "standby");
    ck_assert_str_eq(look(C)->reason, "backup: 2 primaries are up, 1 needed");
    ck_assert_uint_eq(look(C)->effective_weight_permille, 0);
    ck_assert_uint_eq(look(C)->backup, 1);
    ck_assert_uint_eq(look(A)->backup, 0);
    ck_assert_uint_eq(look_at_pool().backups_used, 0);
    set_health(A, SB_HEALTH_DOWN, "connect: refused");
    ck_assert_str_eq(look(C)->reason, "backup: 1 primary is up, 1 needed");
    set_health(B, SB_HEALTH_DOWN, "connect: refused");
    ck_assert_str_eq(look(C)->state, "up");
    ck_assert_str_eq(look(C)->reason, "connected");
    ck_assert_uint_eq(look(C)->effective_weight_permille, 1000);
    ck_assert_uint_eq(look_at_pool().backups_used, 1);
}
END_TEST

START_TEST(of_backups_the_first_is_used)
{
    set_all_up();
    backend(B)->backup = 1;
    backend(C)->backup = 1;
    set_health(A, SB_HEALTH_DOWN, "connect: refused");
    ck_assert_str_eq(look(B)->state, "up");
    ck_assert_str_eq(look(C)->state, "standby");
    ck_assert_str_eq(look(C)->reason, "backup: b is used first");
    web()->backup_use = BACKUP_USE_ALL;
    ck_assert_str_eq(look(C)->state, "up");
}
END_TEST

START_TEST(slow_start_is_told_beside_the_health)
{
    set_all_up();
    web()->slow_start_ms = 60000;
    atomic_store(&fake.sb.slots[FAKE_SLOT].slow_from_ms, NOW_MS - 16000);
    ck_assert_str_eq(look(A)->state, "up");
    ck_assert_str_eq(look(A)->reason, "connected; slow start: 34 % after 16 s of 60 s");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 3 * 340);
    ck_assert_str_eq(look(B)->reason, "connected");
    web()->slow_start_ms = 20500;
    ck_assert_str_eq(look(A)->reason, "connected; slow start: 80 % after 16000 ms of 20500 ms");
    web()->slow_start_ms = 16000;
    ck_assert_str_eq(look(A)->reason, "connected");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 3000);
}
END_TEST

START_TEST(panic_overlooks_health)
{
    set_all_up();
    web()->panic_threshold = 50;
    set_health(A, SB_HEALTH_DOWN, "connect: refused");
    ck_assert_uint_eq(look_at_pool().panic, 0);
    set_health(B, SB_HEALTH_DOWN, "");
    ck_assert_uint_eq(look_at_pool().panic, 1);
    ck_assert_str_eq(look(A)->state, "down");
    ck_assert_str_eq(look(A)->reason, "connect: refused; used all the same: panic, 1 of 3 up");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 3000);
    ck_assert_str_eq(look(B)->reason, "used all the same: panic, 1 of 3 up");
    ck_assert_str_eq(look(C)->reason, "connected");
    ck_assert_uint_eq(look_at_pool().backends_up, 1);
    /* What the operator said holds in panic too. */
    backend(A)->admin = ADMIN_DRAIN;
    web()->panic_threshold = 90;
    ck_assert_uint_eq(look_at_pool().panic, 1);
    ck_assert_str_eq(look(A)->reason, "connect: refused");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 0);
}
END_TEST

START_TEST(what_the_operator_said_is_the_reason)
{
    set_all_up();
    backend(A)->admin = ADMIN_DRAIN;
    ck_assert_str_eq(look(A)->state, "draining");
    ck_assert_str_eq(look(A)->reason, "admin in the file");
    backend(B)->weight = 0;
    ck_assert_str_eq(look(B)->state, "draining");
    ck_assert_str_eq(look(B)->reason, "weight 0 in the file");
    backend(C)->admin = ADMIN_MAINTENANCE;
    ck_assert_str_eq(look(C)->reason, "admin=maintenance by uid 0 pid 42: new disks");
    fake.overrides.count = 0;
    ck_assert_str_eq(look(C)->reason, "admin in the file");
    ck_assert_uint_eq(look(C)->since_seconds, 4);
}
END_TEST

/* --- what checks ask for, what workers saw --- */

static struct sb_slot *slot(int index)
{
    return &fake.sb.slots[backend(index)->slot];
}

/* Its checks are tcp and agent:load. */
static void give_agent(int index)
{
    backend(index)->first_check = 0;
    backend(index)->n_checks = 2;
}

START_TEST(an_agent_takes_its_backend_out)
{
    set_all_up();
    give_agent(A);
    atomic_store(&slot(A)->asked_admin, ADMIN_DRAIN);
    ck_assert_str_eq(look(A)->state, "draining");
    ck_assert_str_eq(look(A)->reason, "drain asked for by check agent:load");
    ck_assert_str_eq(look(A)->admin, "ready"); /* nobody else said so */
    ck_assert_uint_eq(look(A)->effective_weight_permille, 0);
    atomic_store(&slot(A)->asked_admin, ADMIN_MAINTENANCE);
    ck_assert_str_eq(look(A)->state, "maintenance");
    ck_assert_str_eq(look(A)->reason, "maintenance asked for by check agent:load");
    atomic_store(&slot(A)->asked_admin, ADMIN_READY);
    atomic_store(&slot(A)->asked_permille, 1);
    ck_assert_str_eq(look(A)->state, "draining");
    ck_assert_str_eq(look(A)->reason, "weight 0 % asked for by check agent:load");
    ck_assert_uint_eq(look(A)->weight, 3); /* as configured */
}
END_TEST

START_TEST(since_when_an_agent_asks)
{
    set_all_up(); /* for 4 s */
    give_agent(B);
    atomic_store(&slot(B)->asked_admin, ADMIN_DRAIN);
    atomic_store(&slot(B)->asked_since_ms, NOW_MS - 2000);
    ck_assert_uint_eq(look(B)->since_seconds, 2);
    atomic_store(&slot(B)->asked_since_ms, NOW_MS - 9000);
    ck_assert_uint_eq(look(B)->since_seconds, 4); /* until then it was down */
    atomic_store(&slot(B)->asked_admin, ADMIN_MAINTENANCE);
    ck_assert_uint_eq(look(B)->since_seconds, 9); /* whatever its health */
    atomic_store(&slot(B)->asked_admin, ADMIN_READY);
    atomic_store(&slot(B)->asked_since_ms, NOW_MS - 1000);
    ck_assert_str_eq(look(B)->state, "up");
    ck_assert_uint_eq(look(B)->since_seconds, 1);
    atomic_store(&slot(B)->asked_permille, 1);
    ck_assert_str_eq(look(B)->state, "draining");
    ck_assert_uint_eq(look(B)->since_seconds, 1);
    backend(B)->weight = 0; /* by the file, whatever they ask */
    ck_assert_uint_eq(look(B)->since_seconds, 4);
    set_health(B, SB_HEALTH_DOWN, "refused");
    ck_assert_str_eq(look(B)->state, "down");
    ck_assert_uint_eq(look(B)->since_seconds, 4);
}
END_TEST

/* What the operator said is the reason where it alone would do. */
START_TEST(the_operator_said_so_first)
{
    set_all_up();
    give_agent(A);
    give_agent(C);
    atomic_store(&slot(A)->asked_admin, ADMIN_DRAIN);
    atomic_store(&slot(C)->asked_admin, ADMIN_DRAIN);
    backend(A)->weight = 0;
    ck_assert_str_eq(look(A)->reason, "weight 0 in the file");
    backend(C)->admin = ADMIN_MAINTENANCE;
    ck_assert_str_eq(look(C)->reason, "admin=maintenance by uid 0 pid 42: new disks");
    backend(C)->admin = ADMIN_DRAIN;
    atomic_store(&slot(C)->asked_admin, ADMIN_MAINTENANCE);
    ck_assert_str_eq(look(C)->reason, "maintenance asked for by check agent:load");
    ck_assert_uint_eq(look(C)->since_seconds, 4);
}
END_TEST

START_TEST(an_agent_asks_for_less)
{
    set_all_up();
    give_agent(A);
    atomic_store(&slot(A)->asked_permille, 501);
    ck_assert_str_eq(look(A)->state, "up");
    ck_assert_str_eq(look(A)->reason, "connected; check agent:load asks for 50 %");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 1500);
    atomic_store(&slot(A)->asked_permille, 334);
    ck_assert_str_eq(look(A)->reason, "connected; check agent:load asks for 33.3 %");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 999);
    web()->slow_start_ms = 60000;
    atomic_store(&slot(A)->slow_from_ms, NOW_MS - 16000);
    atomic_store(&slot(A)->asked_permille, 501);
    ck_assert_str_eq(look(A)->reason, "connected; check agent:load asks for 50 %; slow start: 34 % "
                                      "after 16 s of 60 s");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 510);
    atomic_store(&slot(A)->asked_permille, 1001); /* all of it */
    web()->slow_start_ms = 0;
    ck_assert_str_eq(look(A)->reason, "connected");
}
END_TEST

START_TEST(an_agent_sets_a_limit)
{
    set_all_up();
    give_agent(A);
    atomic_store(&slot(A)->asked_limit, 21);
    atomic_store(&fake.sb.slot_active[FAKE_SLOT], 20);
    ck_assert_str_eq(look(A)->state, "full");
    ck_assert_str_eq(look(A)->reason,
                     "20 of 20 connections (asked for by check agent:load), again under 15");
    backend(A)->max_connections = 20;
    backend(A)->resume_connections = 10;
    ck_assert_str_eq(look(A)->reason, "20 of 20 connections, again under 10");
}
END_TEST

/* Several may have been it; a kind that cannot ask was not. */
START_TEST(all_who_may_ask_are_named)
{
    set_all_up();
    give_agent(A);
    strcpy(fake.snapshot.checks[0].kind, "exec");
    strcpy(fake.snapshot.checks[0].title, "exec:disk");
    atomic_store(&slot(A)->asked_admin, ADMIN_DRAIN);
    ck_assert_str_eq(look(A)->reason, "drain asked for by checks exec:disk, agent:load");
    backend(A)->n_checks = 0;
    ck_assert_str_eq(look(A)->reason, "drain asked for by its checks");
}
END_TEST

START_TEST(an_ejection_is_told_with_its_end)
{
    set_all_up();
    web()->outlier = (struct snapshot_outlier){
        .signals = OUTLIER_CONNECT, .consecutive_failures = 5, .eject_time_ms = 30000};
    atomic_store(&slot(A)->ejections, 2);
    atomic_store(&slot(A)->ejected_until_ms, NOW_MS + 11001);
    ck_assert_str_eq(look(A)->state, "ejected");
    ck_assert_str_eq(look(A)->health, "up");
    ck_assert_str_eq(look(A)->reason, "5 consecutive connect failures; back in 12 s");
    ck_assert_uint_eq(look(A)->since_seconds, 48); /* of twice 30 */
    ck_assert_uint_eq(look(A)->effective_weight_permille, 0);
    web()->outlier.signals = OUTLIER_CONNECT | OUTLIER_FIRST_BYTE;
    atomic_store(&slot(A)->ejected_until_ms, NOW_MS - 1);
    web()->panic_threshold = 90;
    ck_assert_str_eq(look(A)->reason, "5 consecutive connect or first-byte failures; back in 0 s; "
                                      "used all the same: panic, 2 of 3 up");
    ck_assert_uint_eq(look(A)->effective_weight_permille, 3000);
}
END_TEST

/* --- pools and services --- */

START_TEST(pools_tell_queue_backups_and_panic)
{
    json_t *json, *pool;

    set_all_up();
    atomic_store(&fake.sb.pools[web()->row].queued, 3);
    atomic_store(&fake.sb.pools[web()->row].queued_peak, 17);
    json = run_json("show pools json");
    pool = named(json, "pools", "web");
    is_number(pool, "queued", 3);
    is_number(pool, "queued_peak", 17);
    is_number(pool, "backends_up", 3);
    is_bool(pool, "panic", 0);
    is_bool(pool, "backups_used", 0);
    is_number(named(json, "pools", "db"), "queued", 0);
    json_decref(json);

    web()->panic_threshold = 90;
    set_health(A, SB_HEALTH_DOWN, "connect: refused");
    json = run_json("show stats json");
    pool = named(json, "pools", "web");
    is_number(pool, "queued", 3);
    is_number(pool, "queued_peak", 17);
    is_bool(pool, "panic", 1);
    json_decref(json);
}
END_TEST

static void check_use(const char *fallback, const char *uses)
{
    json_t *json = run_json("show services json"), *service = named(json, "services", "web");

    is_text(service, "pool", "web");
    is_text(service, "fallback_pool", fallback);
    is_text(service, "uses", uses);
    json_decref(json);
}

START_TEST(services_tell_which_pool_they_use)
{
    set_all_up();
    check_use("", "web");
    fake.snapshot.services[0].fallback_pool = 1;
    check_use("db", "web");
    for (int i = A; i <= C; i++)
        set_health(i, SB_HEALTH_DOWN, "connect: refused");
    check_use("db", "db");
    says(run("show services"), "FALLBACK");
    /* Those that wait for the first check wait for the pool. */
    set_health(C, SB_HEALTH_UNKNOWN, "no check result yet");
    check_use("db", "web");
    set_health(C, SB_HEALTH_DOWN, "connect: refused");
    backend(3)->admin = ADMIN_MAINTENANCE;
    check_use("db", "web");
    fake.snapshot.services[0].fallback_pool = SNAPSHOT_NONE;
    check_use("", "web");
}
END_TEST

/* Load is no reason to go elsewhere: clients queue. */
START_TEST(full_backends_are_no_reason_for_the_fallback)
{
    set_all_up();
    fake.snapshot.services[0].fallback_pool = 1;
    backend(A)->admin = ADMIN_MAINTENANCE;
    backend(C)->admin = ADMIN_MAINTENANCE;
    atomic_store(&fake.sb.slot_active[backend(B)->slot], 2);
    ck_assert_str_eq(look(B)->state, "full");
    check_use("db", "web");
    ck_assert_uint_eq(look_at_pool().backends_up, 0);
}
END_TEST

/* Every refusal and ending that the daemon knows is shown by its name. */
START_TEST(all_reasons_are_shown)
{
    struct sb_service_cell *cell = scoreboard_service_cell(&fake.sb, 0, 6);
    static const char *const some[] = {"queue_full", "queue_timeout", "backend_down",
                                       "primaries_back"};

    for (int i = 0; i < REFUSAL_COUNT; i++)
        atomic_store(&cell->refused_by[i], 1);
    for (int i = 0; i < ENDING_COUNT; i++)
        atomic_store(&cell->ended_by[i], 1);
    for (int i = 0; i < COUNT(some); i++) {
        says(run("show services json"), some[i]);
        says(run("show errors"), some[i]);
        says(run("show stats json"), some[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/states");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, fake_start, fake_end);
    tcase_add_test(tc, backends_tell_state_and_why);
    tcase_add_test(tc, a_full_and_a_down_backend);
    tcase_add_test(tc, full_until_it_is_under_its_mark);
    tcase_add_test(tc, a_backup_stands_by);
    tcase_add_test(tc, of_backups_the_first_is_used);
    tcase_add_test(tc, slow_start_is_told_beside_the_health);
    tcase_add_test(tc, panic_overlooks_health);
    tcase_add_test(tc, what_the_operator_said_is_the_reason);
    tcase_add_test(tc, an_agent_takes_its_backend_out);
    tcase_add_test(tc, since_when_an_agent_asks);
    tcase_add_test(tc, the_operator_said_so_first);
    tcase_add_test(tc, an_agent_asks_for_less);
    tcase_add_test(tc, an_agent_sets_a_limit);
    tcase_add_test(tc, all_who_may_ask_are_named);
    tcase_add_test(tc, an_ejection_is_told_with_its_end);
    tcase_add_test(tc, pools_tell_queue_backups_and_panic);
    tcase_add_test(tc, services_tell_which_pool_they_use);
    tcase_add_test(tc, full_backends_are_no_reason_for_the_fallback);
    tcase_add_test(tc, all_reasons_are_shown);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
