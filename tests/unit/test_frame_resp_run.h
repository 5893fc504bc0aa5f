/*
 * Conversations with the framer resp, for its tests: what either side says is put together, run
 * with every kind of splitting, and held against what is expected. To be included once a program.
 */
#ifndef TEST_FRAME_RESP_RUN_H
#define TEST_FRAME_RESP_RUN_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "frame_run.h"

#define UNUSED __attribute__((unused))

static struct str client, backend;
static struct framer_options options;
static struct frame_input input;

UNUSED static void setup(void)
{
    options = (struct framer_options){0};
    input = (struct frame_input){0};
}

UNUSED static void teardown(void)
{
    str_free(&client);
    str_free(&backend);
}

/* A command as client libraries send it. */
UNUSED static void append_words(struct str *out, const char *const *words)
{
    size_t count = 0;

    while (words[count] != NULL) {
        count++;
    }
    str_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        str_printf(out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    }
}

#define SEND(...) append_words(&client, (const char *const[]){__VA_ARGS__, NULL})

UNUSED static void append_many(struct str *out, char byte, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        str_append_char(out, byte);
    }
}

/* The transcript of what was put together, which is then forgotten. */
UNUSED static const char *run_split(unsigned splittings)
{
    const char *transcript;
    bool alike;

    input.client = client.data;
    input.n_client = client.len;
    input.backend = backend.data;
    input.n_backend = backend.len;
    input.seed = 7;
    alike = frame_run_alike(&framer_resp, &options, &input, splittings);
    input.seed = 0;
    transcript = frame_run(&framer_resp, &options, &input);
    ck_assert_msg(alike, "split otherwise than\n%s", transcript);
    str_reset(&client);
    str_reset(&backend);
    return transcript;
}

UNUSED static const char *run(void)
{
    return run_split(8);
}

/* The transcript without what was sent: the verdicts. Static storage. */
UNUSED static const char *run_verdicts(void)
{
    static struct str verdicts;
    const char *line = run();

    str_reset(&verdicts);
    while (*line != '\0') {
        size_t n = strcspn(line, "\n") + 1;
        if (strncmp(line, "to ", 3) != 0 && strncmp(line, "request ends", 12) != 0) {
            str_append_n(&verdicts, line, n);
        }
        line += n;
    }
    return str_text(&verdicts);
}

/* The last line of the verdicts. */
UNUSED static const char *run_outcome(void)
{
    const char *verdicts = run_verdicts(), *last = verdicts;

    for (const char *at = verdicts; *at != '\0'; at++) {
        if (*at == '\n' && at[1] != '\0') {
            last = at + 1;
        }
    }
    return last;
}

/* What lines of commands lead to, and their answers: the verdicts. */
UNUSED static void expect(const char *lines, const char *answers, const char *verdicts)
{
    str_append(&client, lines);
    str_append(&backend, answers);
    const char *got = run_verdicts();
    ck_assert_msg(strcmp(got, verdicts) == 0, "after %s and %s\n%sinstead of\n%s", lines, answers,
                  got, verdicts);
}

/* The same, the last of them only. */
UNUSED static void expect_outcome(const char *lines, const char *answers, const char *outcome)
{
    str_append(&client, lines);
    str_append(&backend, answers);
    const char *got = run_outcome();
    ck_assert_msg(strcmp(got, outcome) == 0, "after %s and %s\n%sinstead of\n%s", lines, answers,
                  got, outcome);
}

UNUSED static int run_cases(const char *name, void (*begin)(void), const TTest *const *cases,
                            size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, begin, teardown);
    for (size_t i = 0; i < count; i++) {
        tcase_add_test(tcase, cases[i]);
    }
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
