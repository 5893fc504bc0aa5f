/* Requests to the status address, health answers, and the page of metrics. */
#include <errno.h>

#include "ctl/metrics.h"
#include "ctl/status.h"
#include "ctl/status_request.h"
#include "ctl/view.h"
#include "test_ctl_fixture.h"

#define HOST "Host: x\r\n"

static const struct {
    const char *text;
    unsigned error; /* 0: none */
    const char *path;
    bool is_head, keep_alive;
} requests[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", 0, "/", false, true},
    {"GET / HTTP/1.1\n" HOST "\n", 0, "/", false, true},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0, "/", false, true},
    {"HEAD /metrics?x=1 HTTP/1.1\r\n" HOST "\r\n", 0, "/metrics", true, true},
    {"GET /healthz/a%40b HTTP/1.1\r\n" HOST "\r\n", 0, "/healthz/a@b", false, true},
    {"GET http://a:1/x HTTP/1.1\r\n" HOST "\r\n", 0, "/x", false, true},
    {"GET http://a HTTP/1.1\r\n" HOST "\r\n", 0, "/", false, true},
    {"GET / HTTP/1.0\r\n\r\n", 0, "/", false, false},
    {"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", 0, "/", false, true},
    {"GET / HTTP/1.1\r\n" HOST "connection:close\r\n\r\n", 0, "/", false, false},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0, "/", false, true},
    {"GET / HTTP/1.1\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/1.1\r\n" HOST " folded\r\n\r\n", 400, NULL, false, false},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET /\r\n\r\n", 400, NULL, false, false},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET metrics HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET /%0 HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET /%00 HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"G@T / HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false, false},
    {"POST / HTTP/1.1\r\n" HOST "\r\n", 405, NULL, false, false},
    {"get / HTTP/1.1\r\n" HOST "\r\n", 405, NULL, false, false},
};

START_TEST(a_request_is_read)
{
    const char *text = requests[_i].text;
    size_t len = strlen(text);
    struct status_request got = {.error = 999};

    for (size_t n = 0; n < len; n++)
        ck_assert_uint_eq(status_request_parse(text, n, &got), 0);
    ck_assert_uint_eq(got.error, 999); /* untouched so far */
    ck_assert_uint_eq(status_request_parse(text, len, &got), len);
    ck_assert_uint_eq(got.error, requests[_i].error);
    ck_assert_int_eq(got.keep_alive, requests[_i].keep_alive);
    if (got.error == 0) {
        ck_assert_str_eq(got.path, requests[_i].path);
        ck_assert_int_eq(got.is_head, requests[_i].is_head);
    } else {
        ck_assert_ptr_nonnull(got.problem);
    }
}
END_TEST

START_TEST(what_follows_is_the_next_request)
{
    const char text[] = "GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n";
    struct status_request got;
    size_t n = status_request_parse(text, strlen(text), &got);

    ck_assert_uint_eq(n, strlen(text) / 2);
    ck_assert_str_eq(got.path, "/a");
    ck_assert_uint_eq(status_request_parse(text + n, strlen(text) - n, &got), n);
    ck_assert_str_eq(got.path, "/b");
}
END_TEST

START_TEST(too_much_is_refused)
{
    static char text[STATUS_HEAD_MAX];
    struct status_request got;

    memset(text, 'a', sizeof(text));
    ck_assert_uint_eq(status_request_parse(text, sizeof(text) - 1, &got), 0);
    ck_assert_uint_eq(status_request_parse(text, sizeof(text), &got), sizeof(text));
    ck_assert_uint_eq(got.error, 414);
    memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
    ck_assert_uint_eq(status_request_parse(text, sizeof(text), &got), sizeof(text));
    ck_assert_uint_eq(got.error, 431);
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    memcpy(text + 2000, " HTTP/1.0\r\n\r\n", 13);
    ck_assert_uint_eq(status_request_parse(text, 2013, &got), 2013);
    ck_assert_uint_eq(got.error, 414);
}
END_TEST

/* --- metrics --- */

static bool has_column(const struct metric *metric)
{
    const struct column *column = metric_columns(metric->of);

    if (metric->type == METRIC_HISTOGRAM)
        return column == NULL && metric->key == NULL;
    while (column->key && strcmp(column->key, metric->key) != 0)
        column++;
    bool needs_label = column->kind == COLUMN_TEXT || column->kind == COLUMN_COUNTERS;
    return column->key && needs_label == (metric->label != NULL);
}

START_TEST(the_table_is_sound)
{
    enum metric_of of = 0;

    for (const struct metric *m = metric_table; m->name; m++) {
        bool is_counter =
            strlen(m->name) > 6 && strcmp(m->name + strlen(m->name) - 6, "_total") == 0;

        ck_assert_msg(has_column(m), "%s: no column %s that fits", m->name, m->key);
        ck_assert_msg(m->of >= of, "%s: not beside its like", m->name);
        ck_assert_msg(is_counter == (m->type == METRIC_COUNTER), "%s: _total is of counters",
                      m->name);
        ck_assert_msg(strncmp(m->name, "sluice_", 7) == 0 && m->help[strlen(m->help) - 1] == '.',
                      "%s: name or help", m->name);
        ck_assert_msg(!strpbrk(m->help, "\\\n"), "%s: help", m->name);
        for (const struct metric *other = metric_table; other < m; other++)
            ck_assert_str_ne(other->name, m->name);
        of = m->of;
    }
}
END_TEST

static void assert_has(const struct str *page, const char *line)
{
    ck_assert_msg(strstr(str_text(page), line) != NULL, "no %s in %s", line, str_text(page));
}

START_TEST(a_page_of_metrics)
{
    STR_AUTO page = {0};
    struct sb_service_cell *cell;

    cell = scoreboard_service_cell(&fake.sb, 1, 6);
    scoreboard_bump(&cell->ended_by[ENDING_CLIENT_FIN], 2);
    sb_times_bump(&cell->session_ms, SB_SESSION_MS_FIRST, 4);
    sb_times_bump(&cell->session_ms, SB_SESSION_MS_FIRST, 5);
    sb_times_add(&fake.sb.rows[FAKE_ROW].connects_us, SB_CONNECT_US_FIRST, 0);
    atomic_store(&fake.sb.workers[0].loop_lag_us, 1050);
    fake_web[0].name = (char *)"a\"\\\n"; /* no name may be so; it is what is escaped */
    metrics_render(&fake.host, clock_now_ms(), 1700000001000, &page);
    ck_assert(!page.failed);
    assert_has(&page, "# TYPE sluice_connections_total counter\nsluice_connections_total 0\n");
    assert_has(&page, "sluice_build_info{version=\"9.8.7\"} 1\n");
    assert_has(&page, "sluice_service_ended_total{service=\"web\",reason=\"client_fin\"} 2\n");
    assert_has(&page, "sluice_service_session_seconds_bucket{service=\"web\",le=\"0.004\"} 1\n");
    assert_has(&page, "sluice_service_session_seconds_bucket{service=\"web\",le=\"0.016\"} 2\n");
    assert_has(&page, "sluice_service_session_seconds_bucket{service=\"web\",le=\"+Inf\"} 2\n"
                      "sluice_service_session_seconds_sum{service=\"web\"} 0.009\n"
                      "sluice_service_session_seconds_count{service=\"web\"} 2\n");
    assert_has(&page, "sluice_backend_connect_seconds_bucket{pool=\"web\","
                      "backend=\"a\\\"\\\\\\n\",le=\"0.000016\"} 1\n");
    assert_has(&page, "sluice_worker_loop_lag_seconds{worker=\"0\"} 0.00105\n");
    assert_has(&page, "sluice_backend_state{pool=\"web\",backend=\"c\",state=\"maintenance\"} 1\n");
}
END_TEST

START_TEST(a_page_has_its_limit)
{
    STR_AUTO page = {.limit = 1000};

    metrics_render(&fake.host, clock_now_ms(), 1700000001000, &page);
    ck_assert(page.failed);
}
END_TEST

/* value → its bucket, by the description of struct sb_times */
START_TEST(times_go_up_to_their_bound)
{
    for (uint64_t value = 0; value < 70000; value++) {
        struct sb_times times = {0};
        unsigned bound = 0;

        while (value > UINT64_C(1) << 2 * (bound + SB_CONNECT_US_FIRST))
            bound++;
        sb_times_add(&times, SB_CONNECT_US_FIRST, value);
        if (atomic_load(&times.count[bound]) != 1)
            ck_abort_msg("%llu is not in bucket %u", (unsigned long long)value, bound);
    }
    struct sb_times times = {0};
    sb_times_add(&times, SB_CONNECT_US_FIRST, UINT64_MAX);
    ck_assert_uint_eq(atomic_load(&times.count[SB_TIMES_BOUNDS]), 1);
}
END_TEST

/* --- health --- */

static int health_of(const char *service, const char *text)
{
    STR_AUTO out = {0};
    int outcome = status_health(&fake.sb, &fake.snapshot.header, service, &out);

    ck_assert_msg(strstr(str_text(&out), text) != NULL, "no \"%s\" in: %s", text, str_text(&out));
    return outcome;
}

START_TEST(health_is_as_master_says_and_no_at_once)
{
    struct sb_service *shared = &fake.sb.services[6];
    atomic_store(&shared->counted, 1);
    scoreboard_set_health(&fake.sb, FAKE_SLOT, SB_HEALTH_UP, "up", 1);
    ck_assert_int_eq(health_of(NULL, "unhealthy: web"), 1); /* master has said nothing yet */
    ck_assert_int_eq(health_of("web", "not for long enough"), 1);
    atomic_store(&shared->answer, SB_ANSWER_YES);
    atomic_store(&fake.sb.header->answer, SB_ANSWER_YES);
    ck_assert_int_eq(health_of(NULL, "healthy\n"), 0);
    ck_assert_int_eq(health_of("web", "healthy: "), 0);
    ck_assert_int_eq(health_of("nobody", ""), -ENOENT);

    atomic_store(&fake.sb.header->health_fail, 1);
    ck_assert_int_eq(health_of(NULL, "health=fail"), 1);
    atomic_store(&fake.sb.header->health_stops, 1);
    ck_assert_int_eq(health_of("web", "stopping"), 1);
    atomic_store(&fake.sb.header->health_fail, 0);
    atomic_store(&fake.sb.header->health_stops, 0);

    for (uint32_t i = 0; i < fake.snapshot.pools[0].n_backends; i++)
        scoreboard_set_health(&fake.sb, fake.snapshot.backends[i].slot, SB_HEALTH_DOWN, "down", 2);
    ck_assert_int_eq(health_of("web", "unhealthy: no primary is up"), 1); /* before master looks */
    ck_assert_int_eq(health_of(NULL, "unhealthy: web"), 1);
    atomic_store(&shared->counted, 0);
    ck_assert_int_eq(health_of(NULL, "healthy\n"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl_status");
    TCase *tests = tcase_create("status");

    tcase_add_checked_fixture(tests, fake_start, fake_end);

    tcase_add_loop_test(tests, a_request_is_read, 0, COUNT(requests));
    tcase_add_test(tests, what_follows_is_the_next_request);
    tcase_add_test(tests, too_much_is_refused);
    tcase_add_test(tests, the_table_is_sound);
    tcase_add_test(tests, a_page_of_metrics);
    tcase_add_test(tests, a_page_has_its_limit);
    tcase_add_test(tests, times_go_up_to_their_bound);
    tcase_add_test(tests, health_is_as_master_says_and_no_at_once);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
