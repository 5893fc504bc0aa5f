/*
 * Events over restarts: what was added comes back, damage costs the damaged lines only, the file
 * stays bounded, and what cannot be written is counted.
 */
#include "proc/journal.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static struct events *events;
static struct journal journal;

static void setup(void)
{
    strcpy(folder, "/tmp/sluice-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static const char *path_of(const char *suffix)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/s%s", folder, suffix);
    return path;
}

static void begin(void)
{
    events = events_create();
    journal_start(&journal, folder, "s", events);
}

static void end(void)
{
    journal_end(&journal);
    events_destroy(events);
}

static void teardown(void)
{
    (void)unlink(path_of(".events"));
    (void)rmdir(path_of(".events"));
    (void)unlink(path_of(".events.1"));
    (void)rmdir(folder);
}

static void add(const char *text)
{
    events_add(events, &(struct event_record){.kind = "admin", .text = text, .by = "me"});
}

static void append(const void *bytes, size_t n)
{
    int fd = open(path_of(".events"), O_WRONLY | O_APPEND);
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

START_TEST(what_was_added_comes_back)
{
    begin();
    add("one \"quoted\"\n");
    add("zwölf");
    end();
    begin();
    ck_assert_uint_eq(events_count(events), 2);
    ck_assert_str_eq(events_get(events, 0)->text, "one \"quoted\"\n");
    ck_assert_str_eq(events_get(events, 1)->text, "zwölf");
    ck_assert_uint_eq(events_get(events, 1)->mono_ms, 0);
    add("three");
    ck_assert_uint_eq(events_get(events, 2)->id, 3);
    end();
    journal_end(&journal); /* twice is safe */
}
END_TEST

START_TEST(damage_costs_the_damaged_lines_only)
{
    static const char tail[] = "{\"id\":9\n\0\0\0\nnull\n[]\n{\"id\":-1}\n{\"id";

    begin();
    add("one");
    end();
    append(tail, sizeof(tail) - 1);
    begin();
    add("two");
    end();
    begin();
    ck_assert_uint_eq(events_count(events), 2);
    ck_assert_str_eq(events_get(events, 1)->text, "two");
    end();
}
END_TEST

START_TEST(ids_only_rise)
{
    begin();
    add("one");
    end();
    static const char again[] =
        "{\"id\":1,\"wall_ms\":1,\"kind\":\"\",\"pool\":\"\",\"backend\":\"\",\"text\":\"again\","
        "\"by\":\"\",\"why\":\"\"}\n";
    append(again, strlen(again));
    begin();
    ck_assert_uint_eq(events_count(events), 1);
    end();
}
END_TEST

START_TEST(it_stays_bounded)
{
    char text[400];
    struct stat status;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    begin();
    for (int i = 0; i < 9000; i++) {
        add(text);
    }
    ck_assert_uint_eq(journal.dropped, 0);
    end();
    ck_assert_int_eq(stat(path_of(".events"), &status), 0);
    ck_assert_uint_le((uint64_t)status.st_size, JOURNAL_BYTES_MAX + 1000);
    ck_assert_int_eq(stat(path_of(".events.1"), &status), 0);
    ck_assert_uint_le((uint64_t)status.st_size, JOURNAL_BYTES_MAX + 1000);
    begin();
    ck_assert_uint_ge(events_count(events), EVENTS_MAX);
    ck_assert_uint_eq(events_get(events, events_count(events) - 1)->id, 9000);
    end();
}
END_TEST

START_TEST(what_cannot_be_written_is_counted)
{
    ck_assert_int_eq(mkdir(path_of(".events"), 0700), 0);
    begin();
    add("one");
    add("two");
    ck_assert_uint_eq(events_count(events), 2);
    ck_assert_uint_eq(journal.dropped, 2);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc_journal");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_was_added_comes_back);
    tcase_add_test(tcase, damage_costs_the_damaged_lines_only);
    tcase_add_test(tcase, ids_only_rise);
    tcase_add_test(tcase, it_stays_bounded);
    tcase_add_test(tcase, what_cannot_be_written_is_counted);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
