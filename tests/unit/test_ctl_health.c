/*
 * What operators see of health: the verb health, how a pool counts for it, and the table of checks.
 */
#include "test_ctl_run.h"

#include "ctl/view.h"
#include "pool/check_record.h"

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
    atomic_store(&slot(A)->asked_limit, 1);
    ck_assert_str_eq(look(A)->asks, "weight 50 %, drain, no limit");
    atomic_store(&slot(A)->asked_limit, 21);
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
        history_add(&slot(A)->history, i > 4, 100 * i, NOW_MS);
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

/* A backend with both checks of the fake snapshot, of which the first passes and the other fails.
 */
static void two_checks(void)
{
    uint64_t keys[2];
    struct sb_check *records[2];

    set_all(SB_HEALTH_DOWN);
    backend(A)->n_checks = 2;
    for (uint32_t i = 0; i < 2; i++)
        keys[i] = check_record_key(fake.snapshot.checks, i);
    check_record_assign(&fake.sb, backend(A)->slot, keys, 2, records);
    for (uint32_t i = 0; i < 3; i++) {
        check_record_note(records[0],
                          &(struct check_record_run){SB_RESULT_PASSED, "connected in 1 ms",
                                                     1000 + i * 10, NOW_MS - 2000});
        check_record_note(
            records[1], &(struct check_record_run){i == 0 ? SB_RESULT_PASSED : SB_RESULT_FAILED,
                                                   i == 0 ? "fine" : "HTTP 503", 50, NOW_MS - 500});
    }
    check_record_stand(records[0], SB_CHECK_UP, 3, NOW_MS + 400);
    check_record_stand(records[1], SB_CHECK_DOWN, 2, NOW_MS + 100);
}

START_TEST(each_check_is_told_by_itself)
{
    const struct view_one_check *each = look(A)->each;

    two_checks();
    (void)look(A);
    ck_assert_str_eq(each[0].check, "tcp");
    ck_assert_str_eq(each[0].state, "up");
    ck_assert_str_eq(each[0].result, "passed");
    ck_assert_str_eq(each[0].reason, "connected in 1 ms");
    ck_assert_str_eq(each[0].history, "+++");
    ck_assert(each[0].passed == 3 && each[0].failed == 0 && each[0].streak == 3);
    ck_assert(each[0].last_age_ms == 2000 && each[0].latency_us == 1020);
    ck_assert_uint_eq(each[0].next_in_ms, 400);
    ck_assert_str_eq(each[1].check, "agent:load");
    ck_assert_str_eq(each[1].state, "down");
    ck_assert_str_eq(each[1].result, "failed");
    ck_assert_str_eq(each[1].reason, "HTTP 503");
    ck_assert_str_eq(each[1].history, "+--");
    ck_assert(each[1].passed == 1 && each[1].failed == 2 && each[1].streak == 2);
    ck_assert(each[1].last_age_ms == 500 && each[1].latency_us == 50 && each[1].next_in_ms == 100);
    ck_assert_str_eq(look(B)->each[0].state, "unknown");
    ck_assert_ptr_null(look(B)->each[0].result);
    ck_assert_uint_eq(look(B)->each[0].latency_us, REPLY_NONE);
}
END_TEST

/* The line of a backend's check in the table; its end is cut off. */
static const char *line_of(const char *start)
{
    static char line[512];
    const char *text = run("show checks web");
    const char *at = strstr(text, start);

    ck_assert_msg(at != NULL, "no %s in: %s", start, text);
    (void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

START_TEST(the_table_has_a_line_for_each_check)
{
    two_checks();
    says(line_of("POOL"), "CHECK       STATE    RESULT");
    says(line_of("web   a        tcp         up       passed"), "+++");
    says(line_of("web   a        tcp "), "connected in 1 ms");
    says(line_of("web   a        agent:load  down     failed"), "+--");
    says(line_of("web   a        agent:load"), "HTTP 503");
    says(line_of("web   b        tcp         unknown  - "), "-");
    fake.snapshot.pools[1].outlier.consecutive_failures = 5; /* ejects, has no checks */
    says(run("show checks db"), "main     -      -      - ");
}
END_TEST

START_TEST(json_has_the_checks_of_each_backend)
{
    json_t *json, *row, *list, *one;

    two_checks();
    json = run_json("show checks web json");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "checks")), 3);
    row = json_array_get(json_object_get(json, "checks"), 0);
    is_text(row, "checks", "tcp,agent:load");
    is_text(row, "health", "down");
    list = json_object_get(row, "by_check");
    ck_assert_uint_eq(json_array_size(list), 2);
    one = json_array_get(list, 1);
    is_text(one, "check", "agent:load");
    is_text(one, "state", "down");
    is_text(one, "result", "failed");
    is_text(one, "reason", "HTTP 503");
    is_text(one, "history", "+--");
    ck_assert_uint_eq(json_array_size(json_object_get(one, "history_latency_us")), 3);
    is_number(one, "failed", 2);
    row = json_array_get(json_object_get(json, "checks"), 1);
    one = json_array_get(json_object_get(row, "by_check"), 0);
    ck_assert(json_is_null(json_object_get(one, "result")));
    ck_assert(json_is_null(json_object_get(one, "next_in_ms")));
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
    tcase_add_test(tc, each_check_is_told_by_itself);
    tcase_add_test(tc, the_table_has_a_line_for_each_check);
    tcase_add_test(tc, json_has_the_checks_of_each_backend);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
