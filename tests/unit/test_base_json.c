/* The JSON writer: structure, escaping, and that a real parser reads back what went in. */
#include "base/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

START_TEST(nesting_and_commas)
{
    STR_AUTO out = {0};
    struct json j;

    json_init(&j, &out);
    json_begin_object(&j, NULL);
    json_put_string(&j, "name", "web");
    json_begin_array(&j, "list");
    json_put_uint(&j, NULL, 1);
    json_begin_object(&j, NULL);
    json_end_object(&j);
    json_begin_array(&j, NULL);
    json_end_array(&j);
    json_put_bool(&j, NULL, true);
    json_end_array(&j);
    json_put_bool(&j, "no", false);
    json_put_null(&j, "none");
    json_put_string(&j, "null", NULL);
    json_end_object(&j);
    ck_assert_str_eq(str_text(&out), "{\"name\":\"web\",\"list\":[1,{},[],true],\"no\":false,"
                                     "\"none\":null,\"null\":null}");
}
END_TEST

START_TEST(numbers_at_their_ends)
{
    STR_AUTO out = {0};
    struct json j;

    json_init(&j, &out);
    json_begin_array(&j, NULL);
    json_put_int(&j, NULL, INT64_MIN);
    json_put_int(&j, NULL, INT64_MAX);
    json_put_uint(&j, NULL, UINT64_MAX);
    json_end_array(&j);
    ck_assert_str_eq(str_text(&out),
                     "[-9223372036854775808,9223372036854775807,18446744073709551615]");
}
END_TEST

START_TEST(values_at_the_top_stand_alone)
{
    STR_AUTO out = {0};
    struct json j;

    json_init(&j, &out);
    json_put_int(&j, NULL, 1);
    str_append_char(&out, '\n');
    json_put_int(&j, NULL, 2);
    ck_assert_str_eq(str_text(&out), "1\n2");
}
END_TEST

START_TEST(keys_are_escaped)
{
    STR_AUTO out = {0};
    struct json j;

    json_init(&j, &out);
    json_begin_object(&j, NULL);
    json_put_int(&j, "a\"b", 1);
    json_end_object(&j);
    ck_assert_str_eq(str_text(&out), "{\"a\\\"b\":1}");
}
END_TEST

START_TEST(nests_to_its_depth)
{
    STR_AUTO out = {0};
    struct json j;

    json_init(&j, &out);
    for (int i = 0; i < JSON_DEPTH_MAX - 1; i++) {
        json_begin_array(&j, NULL);
    }
    for (int i = 0; i < JSON_DEPTH_MAX - 1; i++) {
        json_end_array(&j);
    }
    ck_assert_str_eq(str_text(&out), "[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]");
}
END_TEST

#define FFFD "\xEF\xBF\xBD"

static const struct {
    const char *in;
    const char *out; /* without quotes */
} escapes[] = {
    {"", ""},
    {"plain", "plain"},
    {"a\"b\\c", "a\\\"b\\\\c"},
    {"\n\r\t\b\f", "\\n\\r\\t\\b\\f"},
    {"\x01\x1f\x7f", "\\u0001\\u001f\\u007f"},
    {"a/b", "a/b"},
    /* whole characters, first and last of each length */
    {"\xC2\xA0\xDF\xBF", "\xC2\xA0\xDF\xBF"},
    {"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF",
     "\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"},
    {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
    /* C1 controls and the two line separators */
    {"\xC2\x80\xC2\x9B", "\\u0080\\u009b"},
    {"\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA", "\\u2028\\u2029\xE2\x80\xAA"},
    /* stray continuation, impossible bytes */
    {"\x80", FFFD},
    {"\xBF\xBF", FFFD FFFD},
    {"\xFE\xFF", FFFD FFFD},
    /* overlong: "/" in two, three and four bytes */
    {"\xC0\xAF", FFFD FFFD},
    {"\xC1\xBF", FFFD FFFD},
    {"\xE0\x80\xAF", FFFD FFFD FFFD},
    {"\xE0\x9F\xBF", FFFD FFFD FFFD},
    {"\xF0\x80\x80\xAF", FFFD FFFD FFFD FFFD},
    {"\xF0\x8F\xBF\xBF", FFFD FFFD FFFD FFFD},
    /* surrogates */
    {"\xED\xA0\x80", FFFD FFFD FFFD},
    {"\xED\xBF\xBF", FFFD FFFD FFFD},
    /* above U+10FFFF */
    {"\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xF5\x80\x80\x80", FFFD FFFD FFFD FFFD},
    /* cut short, at the end and before something else */
    {"\xC3", FFFD},
    {"\xE2\x82", FFFD},
    {"\xF0\x9F\x98", FFFD},
    {"\xE2\x82x", FFFD "x"},
    {"\xF0\x9F\xC3\xA9", FFFD "\xC3\xA9"},
    {"\xC3\"", FFFD "\\\""},
};

START_TEST(strings_are_escaped)
{
    STR_AUTO out = {0};
    STR_AUTO expected = {0};

    str_printf(&expected, "\"%s\"", escapes[_i].out);
    json_escape(&out, escapes[_i].in);
    ck_assert_str_eq(str_text(&out), str_text(&expected));
}
END_TEST

START_TEST(every_pair_of_bytes_parses)
{
    for (unsigned pair = 0; pair < 65536; pair++) {
        char text[] = {(char)(pair >> 8), (char)(pair & 0xFF), 'x', '\0'};
        STR_AUTO out = {0};
        json_t *parsed;

        json_escape(&out, text);
        parsed = json_loads(str_text(&out), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(parsed != NULL, "%02x %02x gives %s", pair >> 8, pair & 0xFF, str_text(&out));
        if (pair >> 8 != 0 && pair >> 8 < 0x80 && (pair & 0xFF) != 0 && (pair & 0xFF) < 0x80) {
            ck_assert_str_eq(json_string_value(parsed), text);
        }
        json_decref(parsed);
    }
}
END_TEST

START_TEST(random_bytes_parse)
{
    srandom(1);
    for (int round = 0; round < 20000; round++) {
        char text[17];
        size_t len = (size_t)random() % sizeof(text);
        STR_AUTO out = {0};
        json_t *parsed;

        for (size_t i = 0; i < len; i++) { /* mostly from the region of multibyte characters */
            text[i] = (char)(random() % 4 == 0 ? 1 + random() % 255 : 0x80 + random() % 0x80);
        }
        text[len] = '\0';
        json_escape(&out, text);
        parsed = json_loads(str_text(&out), JSON_DECODE_ANY, NULL);
        ck_assert_ptr_nonnull(parsed);
        json_decref(parsed);
    }
}
END_TEST

START_TEST(limit_marks_failure)
{
    STR_AUTO out = {.limit = 10};
    struct json j;

    json_init(&j, &out);
    json_begin_object(&j, NULL);
    json_put_string(&j, "key", "far too long");
    json_end_object(&j);
    ck_assert(out.failed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/json");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, nesting_and_commas);
    tcase_add_test(tc, numbers_at_their_ends);
    tcase_add_test(tc, values_at_the_top_stand_alone);
    tcase_add_test(tc, keys_are_escaped);
    tcase_add_test(tc, nests_to_its_depth);
    tcase_add_loop_test(tc, strings_are_escaped, 0, (int)(sizeof(escapes) / sizeof(escapes[0])));
    tcase_add_test(tc, every_pair_of_bytes_parses);
    tcase_add_test(tc, random_bytes_parse);
    tcase_add_test(tc, limit_marks_failure);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
