/*
 * Conversations that the framer http1 is to understand, however their bytes come, and what is to be
 * made of them. In their texts "|" stands for CRLF, ' for the quotes of a transcript, and the keys,
 * which are always empty, are left out.
 */
#ifndef TEST_FRAME_HTTP1_TALK_H
#define TEST_FRAME_HTTP1_TALK_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "frame_run.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

#define N_SPLITS 12

static void replace(struct str *out, const char *text, const char *crlf, const char *quote)
{
    str_reset(out);
    str_append(out, "");
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            str_append(out, crlf);
        } else if (*text == '\'') {
            str_append(out, quote);
        } else {
            str_append_char(out, *text);
        }
    }
}

/* The transcript without its keys. */
static void shorten(struct str *out, const char *text)
{
    static const char keys[] = " key \"\" next \"\"";

    str_reset(out);
    for (const char *at; (at = strstr(text, keys)) != NULL; text = at + sizeof(keys) - 1) {
        str_append_n(out, text, (size_t)(at - text));
    }
    str_append(out, text);
}

struct talk {
    const char *client, *backend;
    const char *transcript;
    bool ends; /* the backend closes behind its bytes */
};

/* Whether a talk goes as it should; says so if not. */
static bool is_right(const struct talk *talk)
{
    STR_AUTO client = {0}, backend = {0}, wanted = {0}, got = {0};
    struct frame_input input = {.backend_ends = talk->ends};
    bool is_same;

    replace(&client, talk->client, "\r\n", "'");
    replace(&backend, talk->backend, "\r\n", "'");
    replace(&wanted, talk->transcript, "\\r\\n", "\"");
    input.client = client.data;
    input.n_client = client.len;
    input.backend = backend.data;
    input.n_backend = backend.len;
    shorten(&got, frame_run(&framer_http1, NULL, &input));
    is_same = strcmp(str_text(&got), str_text(&wanted)) == 0;
    if (!is_same) {
        fprintf(stderr, "--- wanted:\n%s--- got:\n%s", str_text(&wanted), str_text(&got));
    }
    return is_same && frame_run_alike(&framer_http1, NULL, &input, N_SPLITS);
}

static void expect_all(const struct talk *talks, int n)
{
    int n_wrong = 0;

    for (int i = 0; i < n; i++) {
        n_wrong += !is_right(&talks[i]);
    }
    ck_assert_int_eq(n_wrong, 0);
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        static const struct talk talks[] = {__VA_ARGS__};                                          \
        expect_all(talks, COUNT(talks));                                                           \
    } while (0)

#define GET          "GET / HTTP/1.1|Host: a||"
#define GOT          "request starts retriable\nto backend '" GET "'\nrequest ends\n"
#define OK           "HTTP/1.1 200 OK|Content-Length: 2||ok"
#define BAD_REQUEST  "'HTTP/1.1 400 Bad Request|Content-Length: 0|Connection: close||'\n"
#define BAD_GATEWAY  "'HTTP/1.1 502 Bad Gateway|Content-Length: 0|Connection: close||'\n"
#define POST         "POST / HTTP/1.1|Host: a|"
#define STARTS(text) "request starts\nto backend '" text "'\nrequest ends\n"

#define CHUNKED POST "Transfer-Encoding: chunked||"
#define BEGUN   "request starts\nto backend '" CHUNKED

#define KEPT                                                                                       \
    "request starts retriable\nto backend 'GET / HTTP/1.1|Host: a|Connection: keep-alive||'\n"
#define KEPT_10 "request starts retriable\nto backend 'GET / HTTP/1.0|Connection: keep-alive||'\n"

static int run_tests(const char *name, const TTest *const *tests, int n)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    for (int i = 0; i < n; i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
