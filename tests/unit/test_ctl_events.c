/* The ring of events. */
#include "ctl/events.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void add(struct events *events, const char *text)
{
    events_add(events, &(struct event_record){.wall_ms = 1, .mono_ms = 2, .kind = "admin",
                                              .pool = "web", .backend = "a", .text = text,
                                              .by = "uid 0 pid 1", .why = "because"});
}

START_TEST(an_empty_ring_has_none)
{
    struct events *events = events_create();

    ck_assert_uint_eq(events_count(events), 0);
    events_destroy(events);
    events_destroy(NULL);
}
END_TEST

START_TEST(what_is_added_is_copied)
{
    struct events *events = events_create();
    char text[] = "weight 1 -> 2";
    const struct event_record *record;

    add(events, text);
    memset(text, 'x', sizeof(text) - 1);
    record = events_get(events, 0);
    ck_assert_uint_eq(record->id, 1);
    ck_assert_uint_eq(record->wall_ms, 1);
    ck_assert_uint_eq(record->mono_ms, 2);
    ck_assert_str_eq(record->kind, "admin");
    ck_assert_str_eq(record->pool, "web");
    ck_assert_str_eq(record->backend, "a");
    ck_assert_str_eq(record->text, "weight 1 -> 2");
    ck_assert_str_eq(record->by, "uid 0 pid 1");
    ck_assert_str_eq(record->why, "because");
    events_destroy(events);
}
END_TEST

START_TEST(nothing_said_is_empty_and_now)
{
    struct events *events = events_create();
    const struct event_record *record;

    events_add(events, &(struct event_record){.id = 99});
    record = events_get(events, 0);
    ck_assert_uint_eq(record->id, 1);
    ck_assert_str_eq(record->kind, "");
    ck_assert_str_eq(record->why, "");
    ck_assert_uint_le(record->mono_ms, clock_now_ms());
    ck_assert_uint_gt(record->mono_ms, 0);
    ck_assert_uint_gt(record->wall_ms, 1500000000000);
    events_destroy(events);
}
END_TEST

START_TEST(the_oldest_go)
{
    struct events *events = events_create();
    char text[32];

    for (int i = 1; i <= 3 * EVENTS_MAX + 7; i++) {
        snprintf(text, sizeof(text), "event %d", i);
        add(events, text);
    }
    ck_assert_uint_eq(events_count(events), EVENTS_MAX);
    for (size_t i = 0; i < EVENTS_MAX; i++) {
        const struct event_record *record = events_get(events, i);

        ck_assert_uint_eq(record->id, 2 * EVENTS_MAX + 8 + i);
        snprintf(text, sizeof(text), "event %d", (int)record->id);
        ck_assert_str_eq(record->text, text);
    }
    events_destroy(events);
}
END_TEST

START_TEST(long_texts_are_cut_between_characters)
{
    struct events *events = events_create();
    char text[2000] = "";

    memset(text, 'x', 499);
    strcpy(text + 499, "\xc3\xa9 and more");
    add(events, text);
    ck_assert_uint_eq(strlen(events_get(events, 0)->text), 499);
    memset(text, 'x', 500);
    text[500] = '\0';
    add(events, text);
    ck_assert_uint_eq(strlen(events_get(events, 1)->text), 500);
    memset(text, 'x', sizeof(text) - 1);
    add(events, text);
    ck_assert_uint_eq(strlen(events_get(events, 2)->text), 500);
    events_destroy(events);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/events");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, an_empty_ring_has_none);
    tcase_add_test(tc, what_is_added_is_copied);
    tcase_add_test(tc, nothing_said_is_empty_and_now);
    tcase_add_test(tc, the_oldest_go);
    tcase_add_test(tc, long_texts_are_cut_between_characters);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
