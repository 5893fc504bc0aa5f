/*
 * What people see in tables programs find in /metrics, and the other way round: every figure that a
 * show command has is a metric, but for those that are listed here with the reason.
 */
#include "ctl/metrics.h"
#include "ctl/view.h"
#include "test_ctl_run.h"

/* The tables whose rows metrics are of; each under the words it is shown by. */
static const struct table {
    const char *words;
    const struct column *columns;
} tables[] = {
    {"show stats", view_total_columns},
    {"show workers", view_worker_columns},
    {"show services", view_service_columns},
    {"show pools", view_pool_columns},
    {"show backends", view_backend_columns},
    {"show upstreams", view_upstreams_columns},
    {"show source-ports", view_ports_columns},
    {"show health", view_check_columns},
    {"show health, checks", view_one_check_columns},
};

/* Figures without a metric of the same words and key. */
static struct exception {
    const char *words, *key;
    const char *metric; /* that tells the same, or what it is made of; NULL: none */
    const char *reason;
    bool is_used;
} exceptions[] = {
    {"show workers", "id", NULL, "is the label of its metrics", false},
    {"show workers", "pid", NULL, "names a process, measures nothing", false},
    {"show services", "connections_refused", "sluice_service_refused_total", "the sum", false},
    {"show pools", "bytes_in", "sluice_backend_in_bytes_total", "the sum", false},
    {"show pools", "bytes_out", "sluice_backend_out_bytes_total", "the sum", false},
    {"show pools", "paused_seconds", "sluice_pool_paused", "how long that is 1", false},
    {"show backends", "requests_total", "sluice_requests_total", "the same", false},
    {"show backends", "source_ports_used", "sluice_source_ports_used", "by source", false},
    {"show backends", "source_ports_limit", "sluice_source_ports_limit", "by source", false},
    {"show backends", "upstreams_opened", "sluice_upstreams_opened_total", "the same", false},
    {"show backends", "upstreams_warm", "sluice_upstreams_warm_total", "the same", false},
    {"show backends", "upstreams_reused", "sluice_upstreams_reused_total", "the same", false},
    {"show backends", "upstreams_idle", "sluice_upstreams_idle", "the same", false},
    {"show backends", "upstreams_lent", "sluice_upstreams_lent", "the same", false},
    {"show backends", "upstreams_pinned", "sluice_upstreams_pinned", "the same", false},
    {"show backends", "upstreams_discarded_by", "sluice_upstreams_discarded_total", "the same",
     false},
    {"show backends", "upstreams_reused_percent", "sluice_upstreams_reused_total", "its share",
     false},
    {"show backends", "stray_bytes", "sluice_upstream_stray_bytes_total", "the same", false},
    {"show backends", "stale", "sluice_upstream_stale_total", "the same", false},
    {"show backends", "ambiguous", "sluice_upstream_ambiguous_total", "the same", false},
    {"show backends", "retries_unsent", "sluice_upstream_unsent_retries_total", "the same", false},
    {"show backends", "retries_resent", "sluice_upstream_resent_retries_total", "the same", false},
    {"show backends", "open_failures", "sluice_upstream_open_failures_total", "the same", false},
    {"show backends", "pins", "sluice_upstream_pins_total", "the same", false},
    {"show backends", "closed_in_seconds", NULL, "a plan: events tell when it is due", false},
    {"show backends", "closed_by_wall_ms", NULL, "a plan: events tell when it is due", false},
    {"show upstreams", "upstreams_reused_percent", "sluice_upstreams_reused_total", "its share",
     false},
    {"show upstreams", "upstreams_discarded", "sluice_upstreams_discarded_total", "the sum", false},
    {"show source-ports", "addresses", NULL, "is as the configuration says", false},
    {"show source-ports", "fullest_percent", "sluice_source_ports_used", "its share", false},
    {"show health", "last_age_ms", "sluice_check_age_seconds", "by check", false},
    {"show health", "latency_us", "sluice_check_latency_seconds", "by check", false},
    {"show health", "streak", "sluice_check_streak", "by check", false},
    {"show health", "passed", "sluice_check_passed_total", "by check", false},
    {"show health", "failed", "sluice_check_failed_total", "by check", false},
    {"show health", "next_in_ms", NULL, "a plan, over before it is scraped", false},
    {"show health", "asked_weight_permille", "sluice_backend_effective_weight", "what it does",
     false},
    {"show health", "asked_max_connections", "sluice_backend_state", "what it does", false},
    {"show health, checks", "next_in_ms", NULL, "a plan, over before it is scraped", false},
    {"show info", "pid", NULL, "names a process, measures nothing", false},
    {"show info", "monitor_pid", NULL, "names a process, measures nothing", false},
    {"show info", "draining_pid", NULL, "names a process, measures nothing", false},
    {"show info", "draining_sessions", NULL, "of another daemon, which has no page", false},
    {"show info", "workers", "sluice_worker_state", "one sample each", false},
    {"show info", "memory_master_bytes", "sluice_process_memory_bytes", "by process", false},
    {"show info", "memory_monitor_bytes", "sluice_process_memory_bytes", "by process", false},
    {"show info", "memory_workers_bytes", "sluice_process_memory_bytes", "by process", false},
    {"show info", "monitor_log_dropped", "sluice_log_dropped_total", "a part of it", false},
    {"show info", "connections_by", "sluice_connections_limit", "the least of them", false},
    {"show info", "connections_limited_by", NULL, "words", false},
    {"show info", "status", NULL, "words", false},
    {"show info", "file_refused_wall_ms", NULL, "the metric has a history of it", false},
    {"show info", "file_refused_error", NULL, "words", false},
    {"show info", "confirm_until_ms", NULL, "a plan: events tell when it is due", false},
};

/* Neither words, of which each metric says for itself whether it has them, nor lists. */
static bool is_figure(const struct column *column)
{
    switch (column->kind) {
    case COLUMN_UINT:
    case COLUMN_BYTES:
    case COLUMN_SECONDS:
    case COLUMN_MS:
    case COLUMN_US:
    case COLUMN_WALL_MS:
    case COLUMN_BOOL:
    case COLUMN_COUNTERS:
        return true;
    default:
        return false;
    }
}

static bool has_metric(const struct column *columns, const char *key)
{
    for (const struct metric *metric = metric_table; metric->name; metric++) {
        if (metric->key && strcmp(metric->key, key) == 0 &&
            (columns == NULL || metric_columns(metric->of) == columns))
            return true;
    }
    return false;
}

static bool is_excepted(const char *words, const char *key)
{
    for (int i = 0; i < COUNT(exceptions); i++) {
        if (strcmp(exceptions[i].words, words) == 0 && strcmp(exceptions[i].key, key) == 0) {
            exceptions[i].is_used = true;
            return true;
        }
    }
    return false;
}

/* Appends what is amiss with a figure: without a metric it is an exception, with one it is none. */
static void judge(const char *words, const struct column *columns, const char *key,
                  struct str *problems)
{
    bool shown = has_metric(columns, key), excepted = is_excepted(words, key);

    if (shown == excepted)
        str_printf(problems, "\n%s, %s: %s", words, key,
                   shown ? "has a metric; strike it from the exceptions"
                         : "no metric; write one, or an exception with its reason");
}

static void judge_table(const struct table *table, struct str *problems)
{
    struct column shown[REPLY_COLUMNS_MAX];
    const struct column *columns = table->columns;

    if (columns == view_backend_columns)
        columns = view_backend_columns_for_show(false, shown); /* has more than statistics */
    for (; columns->key; columns++) {
        if (is_figure(columns))
            judge(table->words, table->columns, columns->key, problems);
    }
}

/* Its columns are its own; its members with numbers are figures. */
static void judge_info(struct str *problems)
{
    json_t *info = run_json("show info json"), *value;
    const char *key;

    json_object_foreach(info, key, value)
    {
        if (json_is_number(value) || json_is_boolean(value) || json_is_object(value) ||
            json_is_null(value))
            judge("show info", NULL, key, problems);
    }
    json_decref(info);
}

START_TEST(every_figure_is_a_metric)
{
    STR_AUTO problems = {0};

    for (int i = 0; i < COUNT(tables); i++)
        judge_table(&tables[i], &problems);
    judge_info(&problems);
    for (int i = 0; i < COUNT(exceptions); i++) {
        if (!exceptions[i].is_used)
            str_printf(&problems, "\n%s, %s: an exception from nothing; strike it",
                       exceptions[i].words, exceptions[i].key);
    }
    ck_assert_str_eq(str_text(&problems), "");
}
END_TEST

static bool is_metric(const char *name)
{
    const struct metric *metric = metric_table;

    while (metric->name && strcmp(metric->name, name) != 0)
        metric++;
    return metric->name != NULL;
}

START_TEST(exceptions_name_metrics_that_are_there)
{
    STR_AUTO problems = {0};

    for (int i = 0; i < COUNT(exceptions); i++) {
        if (exceptions[i].metric && !is_metric(exceptions[i].metric))
            str_printf(&problems, "\n%s, %s: there is no %s", exceptions[i].words,
                       exceptions[i].key, exceptions[i].metric);
    }
    ck_assert_str_eq(str_text(&problems), "");
}
END_TEST

/* The other way round: whose rows nobody can see by a command. */
START_TEST(every_metric_is_a_figure)
{
    static const char *const own[] = {
        /* Of the daemon, its processes and its answers: what `show info`, `show events` and
         * /healthz say in words, or only a history of it means something. */
        "start_time",      "healthy",        "reloads",         "reload_failures",
        "reload_success",  "reload_time",    "notices_dropped", "leases_refused",
        "status_requests", "status_refused", "memory",
    };
    STR_AUTO problems = {0};

    for (const struct metric *metric = metric_table; metric->name; metric++) {
        bool is_shown = metric->type == METRIC_HISTOGRAM;

        for (int i = 0; i < COUNT(tables); i++)
            is_shown |= metric_columns(metric->of) == tables[i].columns;
        for (int i = 0; i < COUNT(own) && !is_shown; i++)
            is_shown = strcmp(metric->key, own[i]) == 0;
        if (!is_shown && !is_excepted("show info", metric->key)) {
            json_t *info = run_json("show info json");

            is_shown = json_object_get(info, metric->key) != NULL;
            json_decref(info);
            if (!is_shown)
                str_printf(&problems, "\n%s: no command shows %s", metric->name, metric->key);
        }
    }
    ck_assert_str_eq(str_text(&problems), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl_figures");
    TCase *tests = tcase_create("figures");

    tcase_add_checked_fixture(tests, fake_start, fake_end);
    tcase_add_test(tests, every_figure_is_a_metric);
    tcase_add_test(tests, exceptions_name_metrics_that_are_there);
    tcase_add_test(tests, every_metric_is_a_figure);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
