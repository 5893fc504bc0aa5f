/*
 * What operators see of health: the verb health, how a pool counts for it, and the table of checks.
 */
#include "test_ctl_run.h"

#include "ctl/view.h"
#include "pool/history.h"

#define NOW_MS 1000000

enum { A, B, C }; /* of pool web */

static struct snapshot_pool *web(void)
{
    return &fake.snapshot.pools[0];
}

static struct snapshot_backend *backend(int index)
{
    return &fake.snapshot.backends[index];
}

static struct sb_slot *slot(int index)
{
    return &fake.sb.slots[backend(index)->slot];
}

static void set_health(int index, enum sb_health health)
{
    scoreboard_set_health(&fake.sb, backend(index)->slot, health, "as set", NOW_MS - 4000);
}

static void set_all(enum sb_health health)
{
    for (int i = A; i <= C; i++) {
        backend(i)->admin = ADMIN_READY;
        set_health(i, health);
    }
}

/* --- how the pool stands --- */

/* Checks what is said of it now, and returns how it counts. */
static enum standing_health stands(const char *words)
{
    struct standing standing;
    STR_AUTO text = {0};

    standing_of(&fake.snapshot.header, 0, &fake.sb, &standing);
    standing_describe_health(&standing, &text);
    ck_assert_str_eq(str_text(&text), words);
    return standing_health(&standing);
}

START_TEST(one_primary_is_enough)
{
    set_all(SB_HEALTH_UP);
    ck_assert_int_eq(stands("3 of 3 backends up"), STANDING_HEALTHY);
    set_health(A, SB_HEALTH_DOWN);
    set_health(B, SB_HEALTH_DOWN);
    ck_assert_int_eq(stands("1 of 3 backends up"), STANDING_HEALTHY);
    set_health(C, SB_HEALTH_DOWN);
    ck_assert_int_eq(stands("no primary is up, 0 of 3: 3 down"), STANDING_UNHEALTHY);
}
END_TEST

START_TEST(whoever_is_out_does_not_count)
{
    set_all(SB_HEALTH_UP);
    backend(A)->admin = ADMIN_DRAIN;
    backend(B)->weight = 0;
    atomic_store(&slot(C)->ejected_until_ms, NOW_MS);
    ck_assert_int_eq(stands("no primary is up, 0 of 3: 2 draining, 1 ejected"), STANDING_UNHEALTHY);
    atomic_store(&slot(C)->ejected_until_ms, 0);
    ck_assert_int_eq(stands("1 of 3 backends up"), STANDING_HEALTHY);
    atomic_store(&slot(C)->asked_admin, ADMIN_MAINTENANCE);
    ck_assert_int_eq(stands("no primary is up, 0 of 3: 1 maintenance, 2 draining"),
                     STANDING_UNHEALTHY);
}
END_TEST

START_TEST(load_does_not_count)
{
    set_all(SB_HEALTH_DOWN);
    set_health(B, SB_HEALTH_UP);
    atomic_store(&fake.sb.slot_active[backend(B)->slot], 2); /* its limit */
    ck_assert_int_eq(stands("1 of 3 backends up"), STANDING_HEALTHY);
}
END_TEST

START_TEST(backups_count_where_the_file_lets_them_in)
{
    set_all(SB_HEALTH_UP);
    backend(B)->backup = 1;
    backend(C)->backup = 1;
    set_health(A, SB_HEALTH_DOWN);
    ck_assert_int_eq(stands("no primary is up, 0 of 1; backup b serves"), STANDING_HEALTHY);
    web()->backup_use = BACKUP_USE_ALL;
    ck_assert_int_eq(stands("no primary is up, 0 of 1; 2 backups serve"), STANDING_HEALTHY);
    web()->min_healthy = 0;
    ck_assert_int_eq(stands("no primary is up, 0 of 1: 1 down, 2 standby"), STANDING_UNHEALTHY);
    web()->min_healthy = 1;
    set_health(B, SB_HEALTH_DOWN);
    set_health(C, SB_HEALTH_DOWN);
    ck_assert_int_eq(stands("no primary is up, 0 of 1: 3 down"), STANDING_UNHEALTHY);
}
END_TEST

START_TEST(panic_makes_nobody_healthy)
{
    web()->panic_threshold = 50;
    set_all(SB_HEALTH_DOWN);
    ck_assert_int_eq(stands("no primary is up, 0 of 3: 3 down; panic, which makes nobody healthy"),
                     STANDING_UNHEALTHY);
    /* Nor does it let backups in that the file keeps out. */
    web()->min_healthy = 0;
    backend(C)->backup = 1;
    set_health(C, SB_HEALTH_UP);
    ck_assert_int_eq(standing_health(&(struct standing){0}), STANDING_UNHEALTHY);
    ck_assert_int_eq(
        stands("no primary is up, 0 of 2: 2 down, 1 up; panic, which makes nobody healthy"),
        STANDING_UNHEALTHY);
}
END_TEST

START_TEST(what_is_not_known_yet_is_pending)
{
    set_all(SB_HEALTH_DOWN);
    set_health(B, SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(stands("no primary is up, 0 of 3: 2 down, 1 starting"), STANDING_PENDING);
    set_health(C, SB_HEALTH_UP);
    ck_assert_int_eq(stands("1 of 3 backends up"), STANDING_HEALTHY);
}
END_TEST

/* --- the verb --- */

START_TEST(health_in_words)
{
    ck_assert_str_eq(run("health"), "healthy: 1 service is healthy\n"
                                    "web healthy: 2 of 3 backends up\n");
    ck_assert_str_eq(run("health web"), "healthy: service web is healthy\n"
                                        "web healthy: 2 of 3 backends up\n");
    fake.unhealthy = "the daemon is stopping";
    ck_assert_str_eq(run("health"), "unhealthy: the daemon is stopping\n"
                                    "web healthy: 2 of 3 backends up\n");
    fake.unhealthy_service = "no primary is up, 0 of 3: 3 down";
    ck_assert_str_eq(run("health web"), "unhealthy: service web is unhealthy\n"
                                        "web unhealthy: no primary is up, 0 of 3: 3 down\n");
    ck_assert(!result.is_error); /* an answer, not a refusal */
    fake_services[0].healthz = false;
    ck_assert_str_eq(run("health web"), "unhealthy: service web is unhealthy\n"
                                        "web unhealthy: no primary is up, 0 of 3: 3 down "
                                        "(does not count)\n");
}
END_TEST

START_TEST(health_in_json)
{
    fake.unhealthy = "1 of 1 service is unhealthy: web";
    fake.unhealthy_service = "no primary is up, 0 of 3: 3 down";
    ck_assert_str_eq(run("health json"),
                     "{\"healthy\":false,\"reason\":\"1 of 1 service is unhealthy: web\","
                     "\"services\":[{\"name\":\"web\",\"healthy\":false,\"counts\":true,"
                     "\"reason\":\"no primary is up, 0 of 3: 3 down\"}]}");
    fake.unhealthy_service = NULL;
    fake_services[0].healthz = false;
    ck_assert_str_eq(run("health web json"),
                     "{\"healthy\":true,\"reason\":\"service web is healthy\","
                     "\"services\":[{\"name\":\"web\",\"healthy\":true,\"counts\":false,"
                     "\"reason\":\"2 of 3 backends up\"}]}");
}
END_TEST

START_TEST(one_service_or_all)
{
    struct model_service two[] = {fake_services[0], fake_services[0]};

    two[1].name = (char *)(uintptr_t) "mail";
    fake.model.services = two;
    fake.model.n_services = 2;
    ck_assert_str_eq(run("health"), "healthy: 1 service is healthy\n"
                                    "web healthy: 2 of 3 backends up\n"
                                    "mail healthy: 2 of 3 backends up\n");
    ck_assert_str_eq(run("health mail"), "healthy: service mail is healthy\n"
                                         "mail healthy: 2 of 3 backends up\n");
}
END_TEST

/* sluicectl goes by it. */
START_TEST(a_yes_is_known_by_how_it_begins)
{
    const char *yes = CODEC_HEALTHY, *yes_in_json = CODEC_HEALTHY_JSON;

    ck_assert_int_eq(strncmp(run("health"), yes, strlen(yes)), 0);
    ck_assert_int_eq(strncmp(run("health web json"), yes_in_json, strlen(yes_in_json)), 0);
    fake.unhealthy = fake.unhealthy_service = "";
    ck_assert_int_ne(strncmp(run("health"), yes, strlen(yes)), 0);
    ck_assert_int_ne(strncmp(run("health web json"), yes_in_json, strlen(yes_in_json)), 0);
}
END_TEST

START_TEST(info_tells_what_answers_are_bound_to)
{
    says(run("show info json"), "\"health_answers\":\"auto\"");
    atomic_store(&fake.sb.header->health_fail, 1);
    says(run("show info json"), "\"health_answers\":\"fail\"");
}
END_TEST

/* --- checks --- */

static const struct view_check *look(int index)
{
    static struct view_check row;
    struct view view = view_of(&fake.host, NOW_MS, 0);
    struct standing standing;

    view_standing(&view, &fake_pools[0], &standing);
    view_check(&view, &fake_pools[0], &standing, (size_t)index, &row);
    return &row;
}

START_TEST(checks_tell_what_they_ask_for)
{
    set_all(SB_HEALTH_UP);
    ck_assert_str_eq(look(A)->checks, "tcp");
    ck_assert_str_eq(look(A)->asks, "");
    ck_assert_uint_eq(look(A)->asked_weight_permille, REPLY_NONE);
    ck_assert_uint_eq(look(A)->asked_max_connections, REPLY_NONE);
    ck_assert_ptr_null(look(A)->asked_admin);
    atomic_store(&slot(A)->asked_permille, 1);
    ck_assert_str_eq(look(A)->asks, "weight 0 %");
    ck_assert_uint_eq(look(A)->asked_weight_permille, 0);
    atomic_store(&slot(A)->asked_permille, 501);
    atomic_store(&slot(A)->asked_admin, ADMIN_DRAIN);
    atomic_store(&slot(A)->asked_limit, 21);
    ck_assert_str_eq(look(A)->asks, "weight 50 %, drain, at most 20 connections");
    ck_assert_uint_eq(look(A)->asked_weight_permille, 500);
    ck_assert_str_eq(look(A)->asked_admin, "drain");
    ck_assert_uint_eq(look(A)->asked_max_connections, 20);
    says(run("show checks web"), "weight 50 %, drain, at most 20 connections");
}
END_TEST

START_TEST(checks_tell_what_workers_saw)
{
    set_all(SB_HEALTH_UP);
    atomic_store(&slot(A)->failures, 4);
    ck_assert_uint_eq(look(A)->failures, 4);
    ck_assert_uint_eq(look(A)->ejected_for_ms, REPLY_NONE);
    atomic_store(&slot(A)->ejections, 2);
    atomic_store(&slot(A)->ejected_until_ms, NOW_MS + 12000);
    ck_assert_uint_eq(look(A)->ejections, 2);
    ck_assert_uint_eq(look(A)->ejected_for_ms, 12000);
    atomic_store(&slot(A)->ejected_until_ms, NOW_MS - 1); /* not swept yet */
    ck_assert_uint_eq(look(A)->ejected_for_ms, 0);
}
END_TEST

START_TEST(who_may_be_ejected_is_listed_without_checks)
{
    ck_assert_ptr_null(strstr(run("show checks"), "main"));
    fake.snapshot.pools[1].outlier.consecutive_failures = 5;
    says(run("show checks"), "main");
}
END_TEST

START_TEST(the_last_results_are_shown_in_order)
{
    json_t *json, *row, *latencies;

    ck_assert_str_eq(look(A)->history, "");
    for (uint32_t i = 1; i <= SB_HISTORY_MAX + 2; i++)
        history_add(slot(A), i > 4, 100 * i, NOW_MS);
    ck_assert_str_eq(look(A)->history, "--++++++");
    json = run_json("show checks web json");
    row = json_array_get(json_object_get(json, "checks"), 0);
    is_text(row, "history", "--++++++");
    latencies = json_object_get(row, "history_latency_us");
    ck_assert_uint_eq(json_array_size(latencies), SB_HISTORY_MAX);
    ck_assert_int_eq(json_integer_value(json_array_get(latencies, 0)), 300);
    ck_assert_int_eq(json_integer_value(json_array_get(latencies, SB_HISTORY_MAX - 1)), 1000);
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/health");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, fake_start, fake_end);
    tcase_add_test(tc, one_primary_is_enough);
    tcase_add_test(tc, whoever_is_out_does_not_count);
    tcase_add_test(tc, load_does_not_count);
    tcase_add_test(tc, backups_count_where_the_file_lets_them_in);
    tcase_add_test(tc, panic_makes_nobody_healthy);
    tcase_add_test(tc, what_is_not_known_yet_is_pending);
    tcase_add_test(tc, health_in_words);
    tcase_add_test(tc, health_in_json);
    tcase_add_test(tc, one_service_or_all);
    tcase_add_test(tc, a_yes_is_known_by_how_it_begins);
    tcase_add_test(tc, info_tells_what_answers_are_bound_to);
    tcase_add_test(tc, checks_tell_what_they_ask_for);
    tcase_add_test(tc, checks_tell_what_workers_saw);
    tcase_add_test(tc, who_may_be_ejected_is_listed_without_checks);
    tcase_add_test(tc, the_last_results_are_shown_in_order);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
