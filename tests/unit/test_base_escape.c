/* Escapes: the bytes they stand for, and those that are none. */
#include "base/escape.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

START_TEST(bytes_and_lengths)
{
    static const struct {
        const char *text;
        int byte;
        size_t len;
    } cases[] = {
        {"ab", 'a', 1},     {"\xff", 0xFF, 1}, {"\r", '\r', 1},     {"\"", '"', 1},
        {"\\rx", '\r', 2},  {"\\n", '\n', 2},  {"\\t", '\t', 2},    {"\\0", 0, 2},
        {"\\\\n", '\\', 2}, {"\\x00", 0, 4},   {"\\xfFa", 0xFF, 4}, {"\\x0A", '\n', 4},
        {"\\x80", 0x80, 4}, {"\\07", 0, 2},    {"\\x9a1", 0x9A, 4},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len;

        ck_assert_int_eq(escape_read(cases[i].text, &len), cases[i].byte);
        ck_assert_uint_eq(len, cases[i].len);
    }
}
END_TEST

START_TEST(what_is_no_escape)
{
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"\\", ""},       {"\\q", "q"},     {"\\R", "R"},        {"\\x", "x"},
        {"\\x1", "x"},    {"\\xg0", "x"},   {"\\x0g", "x"},      {"\\X00", "X"},
        {"\\\"", "\\\""}, {"\\ä", "\\xc3"}, {"\\\x01", "\\x01"}, {"\\1", "1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        STR_AUTO problem = {0};
        STR_AUTO expected = {0};
        size_t len;

        ck_assert_int_eq(escape_read(cases[i].text, &len), -1);
        escape_explain(cases[i].text, &problem);
        str_printf(&expected,
                   "unknown escape \"%s\"; the known ones are \\r \\n \\t \\0 \\xHH, and \\\\ for "
                   "a backslash",
                   cases[i].named);
        ck_assert_str_eq(str_text(&problem), str_text(&expected));
    }
}
END_TEST

/* Every byte there is can be written, and is read back. */
START_TEST(every_byte_can_be_written)
{
    bool same = true;

    for (unsigned byte = 0; byte < 256; byte++) {
        STR_AUTO text = {0};
        size_t len;

        str_printf(&text, "\\x%02x", byte);
        same = same && escape_read(str_text(&text), &len) == (int)byte && len == 4;
    }
    ck_assert(same);
}
END_TEST

START_TEST(hex_digits)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    int n = 0;

    for (int c = 0; c < 256; c++) {
        n += escape_hex_digit((char)c) >= 0;
    }
    ck_assert_int_eq(n, sizeof(digits) - 1);
    for (int i = 0; digits[i] != '\0'; i++) {
        ck_assert_int_eq(escape_hex_digit(digits[i]), i < 16 ? i : i - 6);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/escape");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, bytes_and_lengths);
    tcase_add_test(tcase, what_is_no_escape);
    tcase_add_test(tcase, every_byte_can_be_written);
    tcase_add_test(tcase, hex_digits);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
