/* The list of faults: order, form and bounds. */
#include "base/errlist.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(empty_prints_nothing)
{
    struct errlist list = {0};
    STR_AUTO out = {0};

    errlist_sort(&list);
    errlist_print(&list, &out);
    ck_assert_str_eq(str_text(&out), "");
    errlist_free(&list);
    errlist_free(&list);
}
END_TEST

START_TEST(every_form_of_place)
{
    struct errlist list = {0};
    STR_AUTO out = {0};

    errlist_add(&list, ERRLIST_ERROR, "a.conf", 3, "pool \"web\"", "no %s %d", "way", 7);
    errlist_add(&list, ERRLIST_WARNING, "a.conf", 4, NULL, "odd");
    errlist_add(&list, ERRLIST_ERROR, "a.conf", 0, "pool \"x\"", "whole file");
    errlist_add(&list, ERRLIST_ERROR, NULL, 0, NULL, "bare");
    errlist_add(&list, ERRLIST_ERROR, NULL, 9, NULL, "from standard input");
    errlist_print(&list, &out);
    ck_assert_str_eq(str_text(&out), "a.conf:3: pool \"web\": no way 7\n"
                                     "a.conf:4: warning: odd\n"
                                     "a.conf: pool \"x\": whole file\n"
                                     "bare\n"
                                     "line 9: from standard input\n");
    ck_assert_uint_eq(list.errors, 4);
    ck_assert_str_eq(list.items[3].file, "");
    ck_assert_str_eq(list.items[3].section, "");
    errlist_free(&list);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_uint_eq(list.errors, 0);
}
END_TEST

START_TEST(copies_what_it_gets)
{
    struct errlist list = {0};
    char file[] = "f";
    char section[] = "s";

    errlist_add(&list, ERRLIST_ERROR, file, 1, section, "t");
    file[0] = 'X';
    section[0] = 'X';
    ck_assert_str_eq(list.items[0].file, "f");
    ck_assert_str_eq(list.items[0].section, "s");
    errlist_free(&list);
}
END_TEST

START_TEST(what_ran_out_is_no_fault_of_the_input)
{
    static const int shortages[] = {ENOMEM, EMFILE, ENFILE, EAGAIN};
    struct errlist list = {0};

    errlist_add(&list, ERRLIST_WARNING, "f", 1, NULL, "t");
    errlist_add(&list, ERRLIST_ERROR, "f", 1, NULL, "out of memory; nothing was changed");
    for (size_t i = 0; i < sizeof(shortages) / sizeof(shortages[0]); i++) {
        errlist_add(&list, ERRLIST_ERROR, "f", 1, NULL, "cannot: %s", strerror(shortages[i]));
    }
    ck_assert_ptr_null(errlist_first_fault(&list));
    errlist_add(&list, ERRLIST_ERROR, "f", 2, NULL, "cannot: %s", strerror(ENOENT));
    ck_assert_ptr_eq(errlist_first_fault(&list), &list.items[6]);
    errlist_free(&list);
}
END_TEST

START_TEST(sorts_by_first_file_then_line_and_stays_stable)
{
    static const struct {
        const char *file;
        int line;
        const char *text;
    } in[] = {{"main", 9, "c"}, {"inc", 5, "f"}, {"main", 2, "a"}, {"inc", 1, "e"},
              {"main", 9, "d"}, {"", 0, "g"},    {"main", 3, "b"}};
    struct errlist list = {0};

    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        errlist_add(&list, ERRLIST_ERROR, in[i].file, in[i].line, NULL, "%s", in[i].text);
    }
    errlist_sort(&list);
    for (size_t i = 0; i < list.count; i++) {
        char expected[] = {(char)('a' + i), '\0'};

        ck_assert_str_eq(list.items[i].text, expected);
    }
    errlist_free(&list);
}
END_TEST

START_TEST(more_than_fit_are_counted)
{
    struct errlist list = {0};
    STR_AUTO out = {0};
    size_t len;

    for (int i = 0; i < ERRLIST_MAX + 5; i++) {
        errlist_add(&list, i % 2 == 0 ? ERRLIST_ERROR : ERRLIST_WARNING, "f", i + 1, NULL, "%d", i);
    }
    ck_assert_uint_eq(list.count, ERRLIST_MAX);
    ck_assert_uint_eq(list.dropped, 5);
    ck_assert_uint_eq(list.errors, ERRLIST_MAX / 2 + 3);
    errlist_sort(&list);
    errlist_print(&list, &out);
    len = strlen("… and 5 more\n");
    ck_assert_str_eq(out.data + out.len - len, "… and 5 more\n");
    errlist_free(&list);
}
END_TEST

START_TEST(no_text_breaks_the_line)
{
    struct errlist list = {0};
    STR_AUTO out = {0};

    errlist_add(&list, ERRLIST_ERROR, "f\n", 1, "s\r", "%s", "bad \x1b[2J\nf:2: forged\x7f");
    errlist_print(&list, &out);
    ck_assert_str_eq(str_text(&out), "f\\x0a:1: s\\x0d: bad \\x1b[2J\\x0af:2: forged\\x7f\n");
    errlist_free(&list);
}
END_TEST

START_TEST(long_texts_are_cut_between_characters)
{
    for (int shift = 0; shift < 3; shift++) {
        struct errlist list = {0};
        STR_AUTO text = {0};
        const char *kept;
        size_t len;

        for (int i = 0; i < shift; i++) {
            str_append(&text, "x");
        }
        for (int i = 0; i < 1000; i++) {
            str_append(&text, "€");
        }
        errlist_add(&list, ERRLIST_ERROR, NULL, 0, NULL, "%s", str_text(&text));
        kept = list.items[0].text;
        len = strlen(kept);
        ck_assert_uint_le(len, 1030);
        ck_assert_uint_ge(len, 1020);
        ck_assert_str_eq(kept + len - strlen("€…"), "€…");
        errlist_free(&list);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/errlist");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, empty_prints_nothing);
    tcase_add_test(tc, every_form_of_place);
    tcase_add_test(tc, copies_what_it_gets);
    tcase_add_test(tc, what_ran_out_is_no_fault_of_the_input);
    tcase_add_test(tc, sorts_by_first_file_then_line_and_stays_stable);
    tcase_add_test(tc, more_than_fit_are_counted);
    tcase_add_test(tc, no_text_breaks_the_line);
    tcase_add_test(tc, long_texts_are_cut_between_characters);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
