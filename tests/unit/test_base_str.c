/* The growing string and its limit. */
#include "base/str.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(zeroed_is_empty)
{
    struct str s = {0};

    ck_assert_str_eq(str_text(&s), "");
    ck_assert_uint_eq(s.len, 0);
    str_free(&s);
    str_free(&s);
}
END_TEST

START_TEST(appends_of_every_kind)
{
    STR_AUTO s = {0};

    str_append(&s, "one ");
    str_append_n(&s, "two and more", 3);
    str_append_char(&s, ' ');
    str_printf(&s, "%s %d", "three", 4);
    ck_assert_str_eq(str_text(&s), "one two three 4");
    ck_assert_uint_eq(s.len, strlen("one two three 4"));
    ck_assert(!s.failed);
}
END_TEST

START_TEST(holds_nul_bytes)
{
    STR_AUTO s = {0};

    str_append_n(&s, "a\0b", 3);
    str_append(&s, "c");
    ck_assert_uint_eq(s.len, 4);
    ck_assert_mem_eq(s.data, "a\0bc", 5);
}
END_TEST

START_TEST(grows_over_many_sizes)
{
    STR_AUTO s = {0};
    char *expected = malloc(20001);

    for (size_t i = 0; i < 20000; i++) {
        expected[i] = (char)('a' + i % 26);
        if (i % 7 == 0) {
            str_printf(&s, "%c", expected[i]);
        } else {
            str_append_char(&s, expected[i]);
        }
        ck_assert_uint_eq(s.len, i + 1);
        ck_assert(s.data[s.len] == '\0');
    }
    ck_assert_mem_eq(s.data, expected, 20000);
    free(expected);
}
END_TEST

START_TEST(printf_of_any_length_fits)
{
    char long_text[301];

    memset(long_text, 'x', sizeof(long_text));
    for (int len = 0; len <= 300; len++) {
        STR_AUTO s = {0};

        str_append(&s, "ab");
        str_printf(&s, "%.*s|", len, long_text);
        ck_assert_uint_eq(s.len, (size_t)len + 3);
        ck_assert_uint_eq(strlen(s.data), s.len);
        ck_assert(s.data[s.len - 1] == '|');
    }
}
END_TEST

START_TEST(limit_is_kept_and_failure_is_final)
{
    STR_AUTO s = {.limit = 8};

    str_append(&s, "12345678");
    ck_assert(!s.failed);
    str_append_char(&s, '9');
    ck_assert(s.failed);
    ck_assert_str_eq(str_text(&s), "12345678");
    str_append(&s, "");
    str_printf(&s, "%d", 1);
    ck_assert_str_eq(str_text(&s), "12345678");
}
END_TEST

START_TEST(limit_holds_for_printf)
{
    STR_AUTO s = {.limit = 4};

    str_append(&s, "ab");
    str_printf(&s, "%d", 123);
    ck_assert(s.failed);
    ck_assert_str_eq(str_text(&s), "ab");
    str_append(&s, "c"); /* would fit, but a piece is missing */
    ck_assert_str_eq(str_text(&s), "ab");
}
END_TEST

START_TEST(reset_keeps_memory_and_limit)
{
    STR_AUTO s = {.limit = 4};
    const char *data;

    str_append(&s, "abcd");
    data = s.data;
    str_append(&s, "e");
    str_reset(&s);
    ck_assert(!s.failed);
    ck_assert_str_eq(str_text(&s), "");
    str_append(&s, "wxyz");
    ck_assert_ptr_eq(s.data, data);
    str_append(&s, "!");
    ck_assert(s.failed);
}
END_TEST

START_TEST(take_hands_over)
{
    struct str s = {0};
    char *text;

    str_append(&s, "mine");
    text = str_take(&s);
    ck_assert_str_eq(text, "mine");
    free(text);
    ck_assert_str_eq(str_text(&s), "");
    str_append(&s, "again");
    ck_assert_str_eq(str_text(&s), "again");
    str_free(&s);
}
END_TEST

START_TEST(take_of_nothing_is_empty_of_failure_null)
{
    struct str s = {.limit = 1};
    char *text = str_take(&s);

    ck_assert_str_eq(text, "");
    free(text);
    str_append(&s, "12");
    ck_assert_ptr_null(str_take(&s));
    ck_assert(!s.failed);
}
END_TEST

START_TEST(absurd_length_fails)
{
    STR_AUTO s = {0};

    str_append(&s, "a");
    str_append_n(&s, "", (size_t)-2);
    ck_assert(s.failed);
    ck_assert_str_eq(str_text(&s), "a");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/str");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, zeroed_is_empty);
    tcase_add_test(tc, appends_of_every_kind);
    tcase_add_test(tc, holds_nul_bytes);
    tcase_add_test(tc, grows_over_many_sizes);
    tcase_add_test(tc, printf_of_any_length_fits);
    tcase_add_test(tc, limit_is_kept_and_failure_is_final);
    tcase_add_test(tc, limit_holds_for_printf);
    tcase_add_test(tc, reset_keeps_memory_and_limit);
    tcase_add_test(tc, take_hands_over);
    tcase_add_test(tc, take_of_nothing_is_empty_of_failure_null);
    tcase_add_test(tc, absurd_length_fails);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
