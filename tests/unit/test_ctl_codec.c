/* Request lines to words and back; replies to their frame and back. */
#include "ctl/codec.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct {
    const char *line;
    size_t count;
    const char *words[5];
} good_lines[] = {
    {"show pools", 2, {"show", "pools"}},
    {"  show \t pools \r", 2, {"show", "pools"}},
    {"", 0, {0}},
    {"   \t", 0, {0}},
    {"\r", 0, {0}},
    {"why=\"two words\"", 1, {"why=two words"}},
    {"\"why=two words\"", 1, {"why=two words"}},
    {"a \"\" b", 3, {"a", "", "b"}},
    {"a\"b\"c\"d e\"f", 1, {"abcd ef"}},
    {"\"say \\\"hi\\\" \\\\ there\"", 1, {"say \"hi\" \\ there"}},
    {"C:\\new\\\"x y\"", 1, {"C:\\new\\x y"}},
    {"caf\xc3\xa9 \xf0\x9f\x98\x80", 2, {"caf\xc3\xa9", "\xf0\x9f\x98\x80"}},
    {"\"tab\there\"", 1, {"tab\there"}},
};

START_TEST(lines_split)
{
    struct codec_words words = {0};
    const char *problem = NULL;
    const char *line = good_lines[_i].line;

    ck_assert_int_eq(codec_split(line, strlen(line), &words, &problem), 0);
    ck_assert_uint_eq(words.count, good_lines[_i].count);
    for (size_t i = 0; i < words.count; i++)
        ck_assert_str_eq(words.words[i], good_lines[_i].words[i]);
    codec_words_free(&words);
    ck_assert_ptr_null(words.text);
    codec_words_free(&words);
}
END_TEST

static const struct {
    const char *line, *says;
} bad_lines[] = {
    {"a \"b", "not closed"},
    {"\"", "not closed"},
    {"a \"b\\", "not closed"},
    {"a \"b\\\"", "not closed"},
    {"\"a\\nb\"", "backslash"},
    {"a\x01", "control"},
    {"a\x1b[31m", "control"},
    {"a\x7f", "control"},
    {"a\xc2\x9b", "control"},
    {"a\nb", "control"},
    {"a\rb\r", "control"},
    {"a\r\r", "control"},
    {"a\x80", "UTF-8"},
    {"a\xc3", "UTF-8"},
    {"\xc0\xaf", "UTF-8"},
    {"\xe0\x80\xaf", "UTF-8"},
    {"\xed\xa0\x80", "UTF-8"},
    {"\xf4\x90\x80\x80", "UTF-8"},
    {"\xf0\x80\x80\x80", "UTF-8"},
    {"\xff", "UTF-8"},
};

START_TEST(bad_lines_are_refused)
{
    struct codec_words words = {.count = 77};
    const char *problem = NULL, *line = bad_lines[_i].line;

    ck_assert_int_eq(codec_split(line, strlen(line), &words, &problem), -EINVAL);
    ck_assert_msg(strstr(problem, bad_lines[_i].says) != NULL, "%s", problem);
    ck_assert_uint_eq(words.count, 77);
}
END_TEST

START_TEST(a_nul_is_refused)
{
    struct codec_words words;
    const char *problem;

    ck_assert_int_eq(codec_split("a\0b", 3, &words, &problem), -EINVAL);
}
END_TEST

START_TEST(bounds_of_a_line)
{
    struct codec_words words = {0};
    const char *problem;
    char *line = malloc(CODEC_LINE_MAX + 2);

    memset(line, 'x', CODEC_LINE_MAX + 2);
    ck_assert_int_eq(codec_split(line, CODEC_LINE_MAX + 1, &words, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem, "65536"));
    ck_assert_int_eq(codec_split(line, CODEC_LINE_MAX, &words, &problem), 0);
    ck_assert_uint_eq(strlen(words.words[0]), CODEC_LINE_MAX);
    codec_words_free(&words);
    line[CODEC_LINE_MAX] = '\r';
    ck_assert_int_eq(codec_split(line, CODEC_LINE_MAX + 1, &words, &problem), 0);
    codec_words_free(&words);
    for (size_t i = 0; i < 2 * CODEC_WORDS_MAX + 1; i++)
        line[i] = i % 2 ? ' ' : 'w';
    ck_assert_int_eq(codec_split(line, 2 * CODEC_WORDS_MAX, &words, &problem), 0);
    ck_assert_uint_eq(words.count, CODEC_WORDS_MAX);
    codec_words_free(&words);
    ck_assert_int_eq(codec_split(line, 2 * CODEC_WORDS_MAX + 1, &words, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem, "256"));
    free(line);
}
END_TEST

static const struct {
    const char *line;
    bool wants;
} json_lines[] = {
    {"show pools json", true}, {"json", true},           {"show pools json \t\r", true},
    {"why=\"unclosed json", true}, {"show pools", false}, {"show pools xjson", false},
    {"json show", false},      {"", false},              {"son", false},
};

START_TEST(json_is_the_last_word)
{
    ck_assert_int_eq(codec_wants_json(json_lines[_i].line, strlen(json_lines[_i].line)),
                     json_lines[_i].wants);
}
END_TEST

START_TEST(words_are_quoted_only_where_needed)
{
    STR_AUTO out = {0};
    const char *const words[] = {"show", "", "a b", "q\"q", "b\\b", "why=x y\\"};

    codec_join(&out, words, COUNT(words));
    ck_assert_str_eq(str_text(&out), "show \"\" \"a b\" \"q\\\"q\" b\\b \"why=x y\\\\\"");
}
END_TEST

/* --- properties, with a generator that always walks the same way --- */

static uint32_t seed;

static uint32_t roll(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static void random_word(char *word)
{
    static const char *const pieces[] = {"a", "Z", " ", "\t", "\"", "\\", "=", "\xc3\xa9",
                                         "\xf0\x9f\x98\x80", "json", "\"\"", "\\\""};

    word[0] = '\0';
    for (uint32_t n = roll(8); n > 0; n--)
        strcat(word, pieces[roll(COUNT(pieces))]);
}

START_TEST(quoted_words_split_into_themselves)
{
    seed = (uint32_t)_i;
    for (int round = 0; round < 500; round++) {
        char texts[6][64];
        const char *words[6];
        size_t n = roll(6) + 1;
        struct codec_words back = {0};
        const char *problem;
        STR_AUTO line = {0};

        for (size_t i = 0; i < n; i++) {
            random_word(texts[i]);
            words[i] = texts[i];
        }
        codec_join(&line, words, n);
        ck_assert_int_eq(codec_split(str_text(&line), line.len, &back, &problem), 0);
        ck_assert_uint_eq(back.count, n);
        for (size_t i = 0; i < n; i++)
            ck_assert_str_eq(back.words[i], words[i]);
        codec_words_free(&back);
    }
}
END_TEST

static const struct {
    const char *text, *frame;
} frames[] = {
    {"", "\n"},
    {"\n\n", "\n"},
    {"one", "one\n\n"},
    {"one\n", "one\n\n"},
    {"one\n\n\n", "one\n\n"},
    {"one\n\ntwo", "one\n \ntwo\n\n"},
    {"\n\none\n\n\ntwo\n", " \n \none\n \n \ntwo\n\n"},
    {"a\tb \x1b[0m\x7f\r", "a\tb ?[0m??\n\n"},
    {"\xc2\x9b \xc3\xa9 \xff\xc3", "? \xc3\xa9 ??\n\n"},
};

START_TEST(replies_are_framed)
{
    STR_AUTO out = {0};

    codec_frame(&out, frames[_i].text, strlen(frames[_i].text));
    ck_assert_str_eq(str_text(&out), frames[_i].frame);
}
END_TEST

START_TEST(a_reply_is_found_in_any_pieces)
{
    static const char *const pieces[] = {"x", "\n", "\n\n", " ", "error: ", "\t", "\xc3"};

    seed = (uint32_t)_i;
    for (int round = 0; round < 300; round++) {
        STR_AUTO stream = {0};
        struct codec_scan scan = {0};
        char text[128] = "";
        size_t taken = 0, first;

        for (uint32_t n = roll(12); n > 0; n--)
            strcat(text, pieces[roll(COUNT(pieces))]);
        codec_frame(&stream, text, strlen(text));
        first = stream.len - 1; /* without the empty line */
        codec_frame(&stream, "next reply", 10);
        while (!scan.done) {
            size_t n = roll(5) + 1;

            if (n > stream.len - taken)
                n = stream.len - taken;
            ck_assert_uint_gt(n, 0);
            taken += codec_scan_reply(&scan, stream.data + taken, n);
        }
        ck_assert_uint_eq(taken, first);
        ck_assert_uint_eq(codec_scan_reply(&scan, "more", 4), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/codec");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, lines_split, 0, COUNT(good_lines));
    tcase_add_loop_test(tc, bad_lines_are_refused, 0, COUNT(bad_lines));
    tcase_add_test(tc, a_nul_is_refused);
    tcase_add_test(tc, bounds_of_a_line);
    tcase_add_loop_test(tc, json_is_the_last_word, 0, COUNT(json_lines));
    tcase_add_test(tc, words_are_quoted_only_where_needed);
    tcase_add_loop_test(tc, quoted_words_split_into_themselves, 0, 4);
    tcase_add_loop_test(tc, replies_are_framed, 0, COUNT(frames));
    tcase_add_loop_test(tc, a_reply_is_found_in_any_pieces, 0, 4);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
