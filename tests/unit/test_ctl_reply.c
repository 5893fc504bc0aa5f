/* Tables, records, documents and errors, in text and in JSON from the same calls. */
#include "ctl/reply.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/format.h"
#include <jansson.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define LIMIT        100000

struct row {
    const char *name;
    uint64_t count, bytes, seconds, us, flag, when_ms;
    const char *const *list;
    struct reply_uints uints;
    const uint64_t *counters;
};

#define COLUMN(key, title, kind)                                                                   \
    {                                                                                              \
#key, title, kind, offsetof(struct row, key), NULL, 0                                      \
    }

static const char *const counter_names[] = {"good", "bad"};

static const struct column columns[] = {
    COLUMN(name, "NAME", COLUMN_TEXT),
    COLUMN(count, "COUNT", COLUMN_UINT),
    COLUMN(bytes, "BYTES", COLUMN_BYTES),
    COLUMN(seconds, "AGE", COLUMN_SECONDS),
    COLUMN(us, NULL, COLUMN_US),
    COLUMN(flag, "FLAG", COLUMN_BOOL),
    COLUMN(when_ms, NULL, COLUMN_WALL_MS),
    COLUMN(list, "LIST", COLUMN_LIST),
    COLUMN(uints, "PIDS", COLUMN_UINTS),
    {"counters", "COUNTERS", COLUMN_COUNTERS, offsetof(struct row, counters), counter_names, 2},
    {0},
};

static const uint64_t two_counters[] = {0, 5};
static const uint64_t two_uints[] = {11, 22};
static const char *const two_words[] = {"x", "y", NULL};

static const struct row rows[] = {
    {"caf\xc3\xa9\n", 7, 1536, 3723, 1500, 1, 0, two_words, {two_uints, 2}, two_counters},
    {NULL, REPLY_NONE, 0, 59, 0, 0, 0, NULL, {NULL, 0}, (const uint64_t[2]){0, 0}},
};

static void put_table(struct reply *reply)
{
    reply_table_begin(reply, "things", columns);
    for (int i = 0; i < COUNT(rows); i++)
        reply_row(reply, &rows[i]);
    reply_table_end(reply);
    reply_line(reply, "the end");
    reply_finish(reply);
}

START_TEST(a_table_as_text)
{
    struct reply reply;

    reply_init(&reply, false, LIMIT);
    put_table(&reply);
    ck_assert_str_eq(str_text(&reply.body),
                     "NAME   COUNT   BYTES   AGE  FLAG  LIST  PIDS    COUNTERS\n"
                     "caf\xc3\xa9       7  1.5KiB  1h2m  yes   x, y  11, 22  bad=5\n"
                     "-          -      0B   59s  no    -     -       -\n"
                     "the end\n");
    reply_free(&reply);
}
END_TEST

START_TEST(a_table_as_json)
{
    struct reply reply;
    json_t *json, *row;

    reply_init(&reply, true, LIMIT);
    put_table(&reply);
    json = json_loads(str_text(&reply.body), 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_uint_eq(json_object_size(json), 1);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "things")), 2);
    row = json_array_get(json_object_get(json, "things"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(row, "name")), "caf\xc3\xa9\n");
    ck_assert_int_eq(json_integer_value(json_object_get(row, "bytes")), 1536);
    ck_assert_int_eq(json_integer_value(json_object_get(row, "us")), 1500);
    ck_assert(json_is_true(json_object_get(row, "flag")));
    ck_assert_uint_eq(json_array_size(json_object_get(row, "list")), 2);
    ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(row, "uints"), 1)), 22);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(row, "counters"), "bad")),
                     5);
    row = json_array_get(json_object_get(json, "things"), 1);
    ck_assert(json_is_null(json_object_get(row, "name")));
    ck_assert(json_is_null(json_object_get(row, "count")));
    ck_assert_uint_eq(json_array_size(json_object_get(row, "list")), 0);
    json_decref(json);
    reply_free(&reply);
}
END_TEST

/* Rows within a row are for programs only. */
START_TEST(rows_within_a_row)
{
    static const struct column inner[] = {
        COLUMN(name, "NAME", COLUMN_TEXT), COLUMN(count, "COUNT", COLUMN_UINT), {0}};
    static const struct column outer[] = {
        {"parts", NULL, COLUMN_ROWS, 0, NULL, 0},
        {"n", "N", COLUMN_UINT, offsetof(struct reply_rows, count), NULL, 0},
        {0}};
    const struct reply_rows both = {rows, 2, sizeof(rows[0]), inner}, none = {rows, 0, 1, inner};
    struct reply reply;

    reply_init(&reply, true, LIMIT);
    reply_table_begin(&reply, "things", outer);
    reply_row(&reply, &both);
    reply_row(&reply, &none);
    reply_table_end(&reply);
    reply_finish(&reply);
    ck_assert_str_eq(str_text(&reply.body),
                     "{\"things\":[{\"parts\":[{\"name\":\"caf\xc3\xa9\\n\",\"count\":7},"
                     "{\"name\":null,\"count\":null}],\"n\":2},{\"parts\":[],\"n\":0}]}");
    reply_free(&reply);
    reply_init(&reply, false, LIMIT);
    reply_table_begin(&reply, "things", outer);
    reply_row(&reply, &both);
    reply_table_end(&reply);
    ck_assert_str_eq(str_text(&reply.body), "N\n2\n");
    reply_free(&reply);
}
END_TEST

START_TEST(an_empty_table_has_its_titles)
{
    struct reply reply;

    reply_init(&reply, false, LIMIT);
    reply_table_begin(&reply, "things", columns);
    reply_table_end(&reply);
    reply_finish(&reply);
    ck_assert_str_eq(str_text(&reply.body),
                     "NAME  COUNT  BYTES  AGE  FLAG  LIST  PIDS  COUNTERS\n");
    reply_free(&reply);
}
END_TEST

START_TEST(a_record_in_both_forms)
{
    struct reply reply;
    json_t *json;

    reply_init(&reply, false, LIMIT);
    reply_record(&reply, columns, &rows[1]);
    ck_assert_ptr_nonnull(strstr(str_text(&reply.body), "AGE                        59s\n"
                                                        "FLAG                       no\n"));
    reply_free(&reply);
    reply_init(&reply, true, LIMIT);
    reply_record(&reply, columns, &rows[1]);
    reply_finish(&reply);
    json = json_loads(str_text(&reply.body), 0, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "seconds")), 59);
    json_decref(json);
    reply_free(&reply);
}
END_TEST

START_TEST(an_error_drops_what_was_built)
{
    struct reply reply;

    for (int as_json = 0; as_json <= 1; as_json++) {
        reply_init(&reply, as_json, LIMIT);
        reply_table_begin(&reply, "things", columns);
        reply_row(&reply, &rows[0]);
        reply_error(&reply, "no \"%s\" here", "sugar");
        reply_finish(&reply);
        ck_assert(reply.is_error);
        ck_assert_str_eq(str_text(&reply.error), "no \"sugar\" here");
        ck_assert_str_eq(str_text(&reply.body), as_json ? "{\"error\":\"no \\\"sugar\\\" here\"}"
                                                        : "error: no \"sugar\" here\n");
        reply_free(&reply);
    }
}
END_TEST

START_TEST(a_reply_over_its_limit_is_an_error)
{
    struct reply reply;

    for (int as_json = 0; as_json <= 1; as_json++) {
        reply_init(&reply, as_json, 2000);
        reply_table_begin(&reply, "things", columns);
        for (int i = 0; i < 1000; i++)
            reply_row(&reply, &rows[0]);
        reply_table_end(&reply);
        reply_finish(&reply);
        ck_assert(reply.is_error);
        ck_assert_ptr_nonnull(strstr(str_text(&reply.body), "2000 bytes"));
        ck_assert_ptr_eq(strstr(str_text(&reply.body), "error") - (as_json ? 2 : 0),
                         str_text(&reply.body));
        reply_free(&reply);
    }
}
END_TEST

START_TEST(faults_are_listed)
{
    struct errlist errors = {0};
    struct reply reply;
    json_t *json, *fault;

    errlist_add(&errors, ERRLIST_ERROR, "/etc/x.conf", 12, "pool \"web\"", "no %s", "sugar");
    errlist_add(&errors, ERRLIST_WARNING, "/etc/x.conf", 13, NULL, "careful");
    reply_init(&reply, false, LIMIT);
    reply_refuse(&reply, "1 fault", &errors);
    reply_finish(&reply);
    ck_assert_str_eq(str_text(&reply.body), "error: 1 fault\n"
                                            "/etc/x.conf:12: pool \"web\": no sugar\n"
                                            "/etc/x.conf:13: warning: careful\n");
    reply_free(&reply);
    reply_init(&reply, true, LIMIT);
    reply_refuse(&reply, "1 fault", &errors);
    reply_finish(&reply);
    json = json_loads(str_text(&reply.body), 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json, "error")), "1 fault");
    fault = json_array_get(json_object_get(json, "errors"), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(fault, "line")), 12);
    ck_assert_str_eq(json_string_value(json_object_get(fault, "severity")), "error");
    json_decref(json);
    reply_free(&reply);
    errlist_free(&errors);
}
END_TEST

/* --- figures for people --- */

static const struct {
    uint64_t ms;
    const char *text;
} durations[] = {
    {0, "0s"},
    {999, "999ms"},
    {1000, "1s"},
    {1999, "1s"},
    {60000, "1m"},
    {61000, "1m1s"},
    {3600000, "1h"},
    {11520000, "3h12m"},
    {3601000, "1h"},
    {86400000, "1d"},
    {90000000, "1d1h"},
    {1000000000000, "11574d1h"},
    {UINT64_MAX, "213503982334d14h"},
};

START_TEST(durations_for_people)
{
    char buf[FORMAT_TEXT_MAX];

    ck_assert_str_eq(format_duration(durations[_i].ms, buf), durations[_i].text);
}
END_TEST

static const struct {
    uint64_t bytes;
    const char *text;
} sizes[] = {
    {0, "0B"},           {1023, "1023B"},        {1024, "1.0KiB"},
    {1536, "1.5KiB"},    {1048575, "1.0MiB"},    {1048576, "1.0MiB"},
    {1048527, "1.0MiB"}, {1048500, "1023.9KiB"}, {UINT64_MAX, "16.0EiB"},
};

START_TEST(sizes_for_people)
{
    char buf[FORMAT_TEXT_MAX];

    ck_assert_str_eq(format_bytes(sizes[_i].bytes, buf), sizes[_i].text);
}
END_TEST

START_TEST(latencies_for_people)
{
    char buf[FORMAT_TEXT_MAX];

    ck_assert_str_eq(format_latency(0, buf), "0us");
    ck_assert_str_eq(format_latency(999, buf), "999us");
    ck_assert_str_eq(format_latency(1250, buf), "1.25ms");
    ck_assert_str_eq(format_latency(3500000, buf), "3.50s");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/reply");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, a_table_as_text);
    tcase_add_test(tc, a_table_as_json);
    tcase_add_test(tc, rows_within_a_row);
    tcase_add_test(tc, an_empty_table_has_its_titles);
    tcase_add_test(tc, a_record_in_both_forms);
    tcase_add_test(tc, an_error_drops_what_was_built);
    tcase_add_test(tc, a_reply_over_its_limit_is_an_error);
    tcase_add_test(tc, faults_are_listed);
    tcase_add_loop_test(tc, durations_for_people, 0, COUNT(durations));
    tcase_add_loop_test(tc, sizes_for_people, 0, COUNT(sizes));
    tcase_add_test(tc, latencies_for_people);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
