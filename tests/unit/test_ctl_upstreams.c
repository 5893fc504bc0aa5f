/*
 * What operators read of connections to backends that are kept: figures, and why there is no reuse
 * where there is none, by every reason there is.
 */
#include "test_ctl_run.h"

#include "ctl/reuse_advice.h"

#define ROW_B 4 /* of the second backend */

static struct snapshot_reuse *reuse(void)
{
    return &fake.snapshot.pools[0].reuse;
}

static struct sb_upstream_cell *cell(uint32_t worker, uint32_t row)
{
    return scoreboard_upstream_cell(&fake.sb, worker, row);
}

/* Pool web keeps connections, for requests. */
static void keep(void)
{
    *reuse() = (struct snapshot_reuse){
        .mode = REUSE_REQUEST, .framing = FRAMING_HTTP1, .max_idle = 64, .idle_max_ms = 5000};
    atomic_store(&fake.sb.header->upstreams_used, 1);
}

/* Every counter of backend a another number, over both workers. */
static void count(void)
{
    struct sb_upstream_row *shared = &fake.sb.upstream_rows[FAKE_ROW];

    for (uint32_t w = 0; w < FAKE_WORKERS; w++) {
        struct sb_upstream_cell *of = cell(w, FAKE_ROW);

        atomic_store(&of->requests, 100 + w);
        atomic_store(&of->opened, 10);
        atomic_store(&of->reused, 85 + w);
        atomic_store(&of->idle, 7);
        atomic_store(&of->lent, 3);
        atomic_store(&of->pinned, 2);
    }
    atomic_store(&shared->warm, 10);
    atomic_store(&shared->discarded[DISCARD_MAX_IDLE], 6);
    atomic_store(&shared->discarded[DISCARD_IDLE_MAX], 2);
    atomic_store(&shared->discarded[DISCARD_NOT_UP], 1);
    atomic_store(&shared->discarded[DISCARD_OWNED], 12);
    atomic_store(&shared->stray_bytes, 34);
    atomic_store(&shared->stale, 8);
    atomic_store(&shared->ambiguous, 1);
    atomic_store(&shared->unsent_retries, 16);
    atomic_store(&shared->resent_retries, 18);
    atomic_store(&shared->open_failures, 22);
    atomic_store(&shared->pins, 24);
}

static void check_figures(json_t *row)
{
    json_t *by = json_object_get(row, "upstreams_discarded_by");

    is_number(row, "requests_total", 201);
    is_number(row, "upstreams_opened", 20);
    is_number(row, "upstreams_warm", 10);
    is_number(row, "upstreams_reused", 171);
    is_number(row, "upstreams_reused_percent", 85);
    is_number(row, "upstreams_idle", 14);
    is_number(row, "upstreams_lent", 6);
    is_number(row, "upstreams_pinned", 4);
    is_number(row, "stray_bytes", 34);
    is_number(row, "stale", 8);
    is_number(row, "ambiguous", 1);
    is_number(row, "retries_unsent", 16);
    is_number(row, "retries_resent", 18);
    is_number(row, "open_failures", 22);
    is_number(row, "pins", 24);
    is_text(row, "reuse_trouble", "none");
    ck_assert_uint_eq(json_object_size(by), DISCARD_COUNT);
    is_number(by, "owned", 12);
    is_number(by, "max_idle", 6);
    is_number(by, "idle_max", 2);
    is_number(by, "max_age", 0);
}

START_TEST(figures_are_summed_over_workers)
{
    json_t *json, *row;

    keep();
    count();
    json = run_json("show stats json");
    check_figures(named(named(json, "pools", "web"), "backends", "a"));
    json_decref(json);
    json = run_json("show upstreams json");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "upstreams")), 3);
    row = named(json, "upstreams", "a");
    check_figures(row);
    is_text(row, "pool", "web");
    is_text(row, "mode", "request");
    is_text(row, "framing", "http1");
    is_number(row, "upstreams_discarded", 21);
    is_text(row, "upstreams_discarded_mostly", "owned 12, max_idle 6, idle_max 2");
    ck_assert(json_is_null(json_object_get(row, "why_not")));
    row = named(json, "upstreams", "b");
    ck_assert(json_is_null(json_object_get(row, "upstreams_reused_percent")));
    json_decref(json);
}
END_TEST

START_TEST(a_table_of_those_that_keep)
{
    const char *text;

    keep();
    count();
    text = run("show upstreams");
    says(text, "POOL  NAME  MODE     FRAMING  IDLE  LENT  PINNED");
    says(text, "FRESH  WARM  REUSED  REUSED_PERCENT  DISCARDED  MOSTLY");
    says(text, "WHY_NOT\n");
    says(text, "owned 12, max_idle 6, idle_max 2");
    ck_assert_ptr_null(strstr(text, "db "));
    ck_assert_ptr_null(strstr(text, "keeps no connections"));
    run("show upstreams web");
    says(str_text(&result.text), "web   a     request  http1 ");
    says(run("show upstreams db"), "\npool db keeps no connections: its reuse mode is off\n");
}
END_TEST

/* Not even looked at, as that would take memory for all of them. */
START_TEST(without_reuse_all_are_zero)
{
    json_t *json, *row;

    count();
    json = run_json("show stats json");
    row = named(named(json, "pools", "web"), "backends", "a");
    is_number(row, "requests_total", 0);
    is_number(row, "upstreams_opened", 0);
    is_number(row, "upstreams_reused_percent", 0);
    is_number(row, "stray_bytes", 0);
    is_number(json_object_get(row, "upstreams_discarded_by"), "owned", 0);
    is_text(row, "reuse_trouble", "none");
    json_decref(json);
    says(run("show upstreams"), "\nno pool keeps connections: the reuse mode of all is off\n");
    ck_assert_str_eq(run("show upstreams json"), "{\"upstreams\":[]}");
}
END_TEST

START_TEST(backends_tell_of_reuse_where_there_is_any)
{
    const char *text = run("show backends");

    ck_assert_ptr_null(strstr(text, "UPSTREAMS_IDLE"));
    ck_assert_ptr_null(strstr(text, "REUSED_PERCENT"));
    keep();
    count();
    says(run("show backends"), "BYTES_OUT  UPSTREAMS_IDLE  REUSED_PERCENT  REASON\n");
    says(str_text(&result.text), "            14              85  ");
    says(run("show backends web json"), "\"upstreams_idle\":14");
}
END_TEST

START_TEST(sessions_between_requests_have_no_backend)
{
    json_t *json, *session;

    fake.n_sessions = 6;
    json = run_json("show sessions json");
    session = json_array_get(json_object_get(json, "sessions"), SESSION_BETWEEN);
    is_text(session, "state", "between_requests");
    ck_assert(json_is_null(json_object_get(session, "pool")));
    ck_assert(json_is_null(json_object_get(session, "backend")));
    json_decref(json);
    says(run("show sessions"), "-     -        between_requests  1h2m");
}
END_TEST

/* --- why not --- */

/* Of backend a, that is up; nobody pins but by command. */
static struct {
    struct snapshot_reuse reuse;
    struct sb_upstream_sum sum;
    struct reuse_case about;
    struct str text;
} judged;

static void judge_begin(void)
{
    memset(&judged, 0, sizeof(judged));
    judged.reuse = (struct snapshot_reuse){.mode = REUSE_REQUEST,
                                           .framing = FRAMING_HTTP1,
                                           .policy = REUSE_ALWAYS,
                                           .warm_min = 2,
                                           .max_idle = 8,
                                           .max_uses = 1,
                                           .idle_max_ms = 5000,
                                           .max_age_ms = 600000};
    judged.about = (struct reuse_case){
        .reuse = &judged.reuse, .sum = &judged.sum, .state = BACKEND_UP, .pin_command = ""};
}

static void judge_end(void)
{
    str_free(&judged.text);
}

static const char *why_not(void)
{
    str_reset(&judged.text);
    reuse_explain(&judged.about, &judged.text);
    return str_text(&judged.text);
}

static void discard(enum discard reason, uint64_t count)
{
    judged.sum.discarded += count - judged.sum.discarded_by[reason];
    judged.sum.discarded_by[reason] = count;
}

START_TEST(nothing_is_said_of_what_is_well)
{
    ck_assert_str_eq(why_not(), "");
    judged.sum.opened = 9; /* too few */
    discard(DISCARD_MAX_IDLE, 9);
    ck_assert_str_eq(why_not(), "");
    judged.sum.opened = 50;
    judged.sum.reused = 50;
    discard(DISCARD_MAX_IDLE, 50);
    ck_assert_str_eq(why_not(), "");
    judged.sum.reused = 0; /* a first crowd: all that was opened is still there */
    discard(DISCARD_MAX_IDLE, 0);
    judged.sum.idle = 50;
    ck_assert_str_eq(why_not(), "");
    judged.reuse.policy = REUSE_SAFE;
    ck_assert_str_eq(why_not(), "");
}
END_TEST

/* With discards of each reason alone there is something to be said, and it has the figure in force.
 */
START_TEST(every_reason_is_told)
{
    static const char *const texts[DISCARD_COUNT] = {
        [DISCARD_IDLE_MAX] = "idle_max (5s)",
        [DISCARD_MAX_AGE] = "max_age (10m)",
        [DISCARD_MAX_USES] = "max_uses (1)",
        [DISCARD_MAX_IDLE] = "max_idle (8 per worker)",
        [DISCARD_EVICTED] = "max_connections",
        [DISCARD_BACKEND_CLOSED] = "idle_max (5s)",
        [DISCARD_OWNED] = "belong to a single session",
        [DISCARD_NOT_CLEAN] = "\"Connection: close\"",
    };

    judged.sum.opened = 40;
    judged.sum.reused = 10;
    for (enum discard reason = 0; reason < DISCARD_COUNT; reason++) {
        discard(reason, 39);
        ck_assert_msg(*why_not() != '\0', "%s", discard_names[reason]);
        if (texts[reason])
            says(why_not(), texts[reason]);
        discard(reason, 0);
    }
    judged.sum.idle = 40;
    discard(DISCARD_MAX_AGE, 12); /* under a quarter: it explains little */
    ck_assert_str_eq(why_not(), "");
    discard(DISCARD_MAX_AGE, 13);
    ck_assert_str_eq(why_not(), "max_age (10m) ends many of them");
    discard(DISCARD_MAX_USES, 14);
    ck_assert_str_eq(why_not(), "max_uses (1) ends many of them");
}
END_TEST

START_TEST(a_backend_that_is_not_fit)
{
    judged.about.state = BACKEND_DRAINING;
    ck_assert_str_eq(why_not(), "none is kept of a backend that is draining");
    judged.about.state = BACKEND_FULL;
    ck_assert_str_eq(why_not(), "");
    judged.about.state = BACKEND_STANDBY;
    ck_assert_str_eq(why_not(), "");
    judged.about.trouble = REUSE_SPEAKS_FIRST;
    ck_assert_str_eq(why_not(), "switched off, as it speaks first: write mode = \"warm\", in which "
                                "a greeting waits for its client, or \"off\"");
}
END_TEST

START_TEST(sessions_that_own)
{
    judged.sum.opened = 40;
    judged.sum.pins = 20;
    discard(DISCARD_BACKEND_CLOSED, 20);
    says(why_not(), "the backend closes many");
    judged.sum.pins = 21;
    says(why_not(), "many come to belong to a single session");
    judged.about.pin_command = "upgrade";
    ck_assert_str_eq(why_not(), "many come to belong to a single session, the last by upgrade: "
                                "clients that need it are better off with a service and a pool of "
                                "their own, without reuse");
}
END_TEST

START_TEST(what_helps_goes_by_the_command)
{
    struct snapshot_reuse *of = &judged.reuse;

    says(reuse_advise_pins(of, "HELLO"), "a pool of their own"); /* not of this framing */
    of->framing = FRAMING_RESP;
    says(reuse_advise_pins(of, "HELLO"), "handshake = \"key\"");
    says(reuse_advise_pins(of, "CLIENT"), "handshake = \"key\"");
    says(reuse_advise_pins(of, "EVALSHA"), "scripts = true");
    says(reuse_advise_pins(of, "SUBSCRIBE"), "a pool of their own");
    of->handshake_key = 1;
    of->scripts = 1;
    says(reuse_advise_pins(of, "SELECT"), "only where sessions begin with it");
    says(reuse_advise_pins(of, "EVALSHA"), "a pool of their own");
}
END_TEST

START_TEST(idle_ones_are_passed_over)
{
    judged.reuse.policy = REUSE_SAFE;
    judged.sum.opened = 200;
    judged.sum.reused = 5;
    judged.sum.idle = 16;
    discard(DISCARD_IDLE_MAX, 180);
    ck_assert_str_eq(why_not(), "idle ones are passed over: policy \"safe\" gives them no first "
                                "request that could not be sent again; \"always\" does");
    judged.sum.idle = 0; /* perhaps there was none, either */
    ck_assert_str_eq(
        why_not(), "idle ones are passed over: policy \"safe\" gives them no first request that "
                   "could not be sent again; \"always\" does; or none comes within idle_max (5s)");
    discard(DISCARD_MAX_IDLE, 190);
    ck_assert_str_eq(why_not(), "idle ones are passed over: policy \"safe\" gives them no first "
                                "request that could not be sent again; \"always\" does");
    discard(DISCARD_MAX_IDLE, 0);
    discard(DISCARD_IDLE_MAX, 2);
    discard(DISCARD_UNPROVEN, 190);
    judged.sum.reused = 19;
    ck_assert_str_eq(why_not(), "idle ones are passed over: policy \"safe\" gives them no first "
                                "request that could not be sent again; \"always\" does");
    discard(DISCARD_UNPROVEN, 0);
    discard(DISCARD_MAX_IDLE, 190);
    judged.sum.reused = 100; /* they are not */
    says(why_not(), "max_idle (8 per worker) is too small");
    judged.sum.reused = 5;
    judged.reuse.policy = REUSE_ALWAYS;
    says(why_not(), "max_idle (8 per worker) is too small");
    judged.reuse.handshake_key = 1;
    ck_assert_str_eq(why_not(),
                     "idle ones are passed over: their handshakes differ from client to client");
}
END_TEST

START_TEST(sessions_of_other_pools_share_nothing)
{
    judged.sum.opened = 100;
    judged.sum.idle = 10;
    says(why_not(), "a service whose own pool has another reuse section");
}
END_TEST

START_TEST(too_few_are_warm)
{
    judged.reuse.mode = REUSE_WARM;
    judged.reuse.framing = FRAMING_NONE;
    judged.sum.opened = 20;
    judged.sum.warm = 20;
    ck_assert_str_eq(why_not(), "");
    judged.sum.opened = 21;
    says(why_not(), "most sessions find none ready");
    says(why_not(), "warm_min (2 per worker)");
    judged.sum.open_failures = 21;
    ck_assert_str_eq(why_not(), "opening ahead fails: 21 times so far");
}
END_TEST

/* From the scoreboard to the table. */
START_TEST(why_not_stands_in_the_table)
{
    json_t *json, *row;

    keep();
    reuse()->framing = FRAMING_RESP;
    atomic_store(&cell(0, FAKE_ROW)->opened, 20);
    atomic_store(&fake.sb.upstream_rows[FAKE_ROW].pins, 19);
    strcpy(fake.sb.pools[fake.snapshot.pools[0].row].pin_command, "SUBSCRIBE");
    atomic_store(&cell(0, ROW_B)->opened, 1);
    atomic_store(&fake.sb.slots[fake.snapshot.backends[1].slot].reuse_trouble, REUSE_SPEAKS_FIRST);
    json = run_json("show upstreams web json");
    row = named(json, "upstreams", "a");
    says(json_string_value(json_object_get(row, "why_not")), "the last by SUBSCRIBE: clients");
    is_number(row, "upstreams_reused_percent", 0);
    row = named(json, "upstreams", "b");
    says(json_string_value(json_object_get(row, "why_not")), "speaks first");
    is_text(row, "reuse_trouble", "speaks_first");
    row = named(json, "upstreams", "c");
    is_text(row, "why_not", "none is kept of a backend that is maintenance");
    json_decref(json);
    json = run_json("show stats json");
    is_text(named(named(json, "pools", "web"), "backends", "b"), "reuse_trouble", "speaks_first");
    json_decref(json);
    /* What a writer of another release might put there. */
    atomic_store(&fake.sb.slots[fake.snapshot.backends[1].slot].reuse_trouble, 77);
    memset(fake.sb.pools[fake.snapshot.pools[0].row].pin_command, 'X', SB_PIN_COMMAND_MAX);
    says(run("show upstreams web"), "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX: clients");
    ck_assert_ptr_null(strstr(str_text(&result.text), "speaks first"));
}
END_TEST

START_TEST(of_warm_ones_no_share_is_told)
{
    json_t *json;

    keep();
    reuse()->mode = REUSE_WARM;
    reuse()->framing = FRAMING_NONE;
    atomic_store(&fake.sb.upstream_rows[FAKE_ROW].warm, 20);
    json = run_json("show upstreams web json");
    is_text(named(json, "upstreams", "a"), "mode", "warm");
    ck_assert(json_is_null(json_object_get(named(json, "upstreams", "a"), "framing")));
    ck_assert(
        json_is_null(json_object_get(named(json, "upstreams", "a"), "upstreams_reused_percent")));
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/upstreams");
    TCase *shown = tcase_create("shown"), *why = tcase_create("why not");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(shown, fake_start, fake_end);
    tcase_add_test(shown, figures_are_summed_over_workers);
    tcase_add_test(shown, a_table_of_those_that_keep);
    tcase_add_test(shown, without_reuse_all_are_zero);
    tcase_add_test(shown, backends_tell_of_reuse_where_there_is_any);
    tcase_add_test(shown, sessions_between_requests_have_no_backend);
    tcase_add_test(shown, why_not_stands_in_the_table);
    tcase_add_test(shown, of_warm_ones_no_share_is_told);
    tcase_set_timeout(shown, 60);
    suite_add_tcase(suite, shown);
    tcase_add_checked_fixture(why, judge_begin, judge_end);
    tcase_add_test(why, nothing_is_said_of_what_is_well);
    tcase_add_test(why, every_reason_is_told);
    tcase_add_test(why, a_backend_that_is_not_fit);
    tcase_add_test(why, sessions_that_own);
    tcase_add_test(why, what_helps_goes_by_the_command);
    tcase_add_test(why, idle_ones_are_passed_over);
    tcase_add_test(why, sessions_of_other_pools_share_nothing);
    tcase_add_test(why, too_few_are_warm);
    suite_add_tcase(suite, why);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
