/* What the http check's options may say, the request that is made of them, and how answers are
 * read. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/http_answer.h"
#include "check/http_request.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* --- options --- */

START_TEST(right_options_pass_the_judge)
{
    static const char *const cases[][2] = {
        {"method", "GET"},
        {"method", "M-SEARCH"},
        {"path", "/"},
        {"path", "*"},
        {"path", "/a%20b?c=d&e"},
        {"host", "www.example.net"},
        {"host", "[::1]:8080"},
        {"headers", "Accept: */*"},
        {"headers", "X-Empty:"},
        {"headers", "X-Name:\tvälue"},
        {"status", "200"},
        {"status", "100-599"},
        {"status", "200,204, 301-303"},
        {"body", "\"status\":\\s*\"ok\""},
        {"tls", "true"},
        {"verify", "off"},
        {"sni", "www.example.net"},
        {"sni", "_x.example"},
        {"what the model does not know", "is the model's business"},
    };
    STR_AUTO problem = {0};

    for (int i = 0; i < COUNT(cases); i++) {
        ck_assert_msg(check_judge("http", cases[i][0], cases[i][1], &problem), "%s: %s",
                      cases[i][1], str_text(&problem));
    }
}
END_TEST

START_TEST(wrong_options_do_not)
{
    static const char *const cases[][3] = {
        {"method", "", "\"\" is no method; write one word, as in \"GET\" or \"HEAD\""},
        {"method", "GET /", "\"GET /\" is no method; write one word, as in \"GET\" or \"HEAD\""},
        {"path", "healthz", "\"healthz\" is no path; write one that begins with \"/\""},
        {"path", "", "\"\" is no path; write one that begins with \"/\""},
        {"path", "/a b",
         "\"/a b\" has bytes that no path may have; write %20 for a blank, and so on"},
        {"path", "/a\r\nX: y",
         "\"/a…\" has bytes that no path may have; write %20 for a blank, and "
         "so on"},
        {"path", "/ä",
         "\"/\\xc3\\xa4\" has bytes that no path may have; write %20 for a blank, and "
         "so on"},
        {"host", "", "\"\" is no host; write it as in \"www.example.net\" or \"[::1]:8080\""},
        {"host", "a\nb", "\"a…\" is no host; write it as in \"www.example.net\" or \"[::1]:8080\""},
        {"host", "http://a/",
         "\"http://a/\" is no host; write it as in \"www.example.net\" or "
         "\"[::1]:8080\""},
        {"headers", "Accept", "\"Accept\" is no header; write it as in \"Accept: text/plain\""},
        {"headers", ": x", "\": x\" is no header; write it as in \"Accept: text/plain\""},
        {"headers", "A b: x", "\"A b: x\" is no header; write it as in \"Accept: text/plain\""},
        {"headers", "A: x\ry", "\"A: x\\ry\" has control characters; write a header without"},
        {"headers", "host: a",
         "\"host: a\": the check sends a header Host itself; write host = \"…\""},
        {"headers", "Connection: keep-alive",
         "\"Connection: keep-alive\": the check sends a header Connection itself; it is always "
         "\"close\""},
        {"headers", "CONTENT-LENGTH: 3",
         "\"CONTENT-LENGTH: 3\": the check sends a header Content-Length itself; no body is sent"},
        {"status", "",
         "bad list of statuses \"\"; write statuses from 100 to 599 and ranges of "
         "them, as in \"200,204,301-303\""},
        {"status", "2xx",
         "bad list of statuses \"2xx\"; write statuses from 100 to 599 and ranges "
         "of them, as in \"200,204,301-303\""},
        {"status", "200-",
         "bad list of statuses \"200-\"; write statuses from 100 to 599 and "
         "ranges of them, as in \"200,204,301-303\""},
        {"status", "300-200",
         "bad list of statuses \"300-200\"; write statuses from 100 to 599 "
         "and ranges of them, as in \"200,204,301-303\""},
        {"status", "200,",
         "bad list of statuses \"200,\"; write statuses from 100 to 599 and "
         "ranges of them, as in \"200,204,301-303\""},
        {"status", "99",
         "bad list of statuses \"99\"; write statuses from 100 to 599 and ranges "
         "of them, as in \"200,204,301-303\""},
        {"status", "600",
         "bad list of statuses \"600\"; write statuses from 100 to 599 and ranges "
         "of them, as in \"200,204,301-303\""},
        {"status", "2000",
         "bad list of statuses \"2000\"; write statuses from 100 to 599 and "
         "ranges of them, as in \"200,204,301-303\""},
        {"body", "", "bad expression \"\": it is empty; write what the body must contain"},
        {"body", "(ok", "bad expression \"(ok\": missing closing parenthesis at offset 3"},
        {"sni", "10.0.0.1", "\"10.0.0.1\" is no server name; write it as in \"www.example.net\""},
        {"sni", "", "\"\" is no server name; write it as in \"www.example.net\""},
        {"sni", "a b", "\"a b\" is no server name; write it as in \"www.example.net\""},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO problem = {0};

        ck_assert_msg(!check_judge("http", cases[i][0], cases[i][1], &problem), "%s", cases[i][1]);
        ck_assert_str_eq(str_text(&problem), cases[i][2]);
    }
}
END_TEST

START_TEST(booleans_are_judged)
{
    STR_AUTO problem = {0};

    ck_assert(!check_judge("http", "tls", "maybe", &problem));
    ck_assert_msg(strncmp(str_text(&problem), "bad value \"maybe\": ", 19) == 0, "%s",
                  str_text(&problem));
    ck_assert(!check_judge("http", "verify", "", &problem));
}
END_TEST

#define JUDGE_ALL(problem, ...)                                                                    \
    check_judge_all("http", (const struct check_arg[]){__VA_ARGS__},                               \
                    sizeof((const struct check_arg[]){__VA_ARGS__}) / sizeof(struct check_arg),    \
                    &problem)

START_TEST(options_have_to_go_together)
{
    STR_AUTO problem = {0}, other = {0};

    ck_assert(JUDGE_ALL(problem, {"method", "GET"}, {"body", "x"}));
    ck_assert(JUDGE_ALL(problem, {"tls", "true"}, {"sni", "x"}, {"verify", "true"}));
    ck_assert(JUDGE_ALL(problem, {"verify", "false"}));
    ck_assert(!JUDGE_ALL(problem, {"verify", "true"}));
    ck_assert_str_eq(str_text(&problem), "sni and verify are about TLS; write tls = true as well");
    ck_assert(!JUDGE_ALL(problem, {"tls", "false"}, {"sni", "x"}));
    ck_assert(!JUDGE_ALL(other, {"method", "HEAD"}, {"body", "x"}));
    ck_assert_str_eq(str_text(&other), "the answer to HEAD has no body; write method = \"GET\"");
}
END_TEST

START_TEST(statuses_are_what_they_say)
{
    struct http_statuses statuses;
    STR_AUTO problem = {0};
    int n = 0;

    ck_assert_int_eq(http_statuses_parse("100,200-204,599", &statuses, &problem), 0);
    for (uint32_t status = 0; status < 1100; status++) {
        bool wanted = status == 100 || (status >= 200 && status <= 204) || status == 599;

        n += http_statuses_include(&statuses, status) != wanted;
    }
    ck_assert_int_eq(n, 0);
}
END_TEST

/* --- requests --- */

static void expect_request(const char *at, const struct check_arg *args, uint32_t n_args, bool tls,
                           const char *request)
{
    struct addr own;
    const char *problem;
    const struct check_probe asked = {.address = &own, .args = args, .n_args = n_args};
    STR_AUTO text = {0};

    ck_assert_int_eq(addr_parse(at, false, &own, &problem), 0);
    http_request_build(&asked, tls, &text);
    ck_assert_str_eq(str_text(&text), request);
}

START_TEST(requests_are_built)
{
    static const struct check_arg args[] = {
        {"method", "POST"},
        {"path", "/x?y"},
        {"host", "example.net"},
        {"headers", "Accept: */*"},
        {"headers", "user-agent: me"},
    };

    expect_request("10.0.0.1:8080", NULL, 0, false,
                   "GET / HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nConnection: close\r\n"
                   "User-Agent: Sluice\r\n\r\n");
    expect_request("10.0.0.1:80", args, 5, false,
                   "POST /x?y HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n"
                   "Content-Length: 0\r\nAccept: */*\r\nuser-agent: me\r\n\r\n");
}
END_TEST

START_TEST(hosts_are_the_backends_own)
{
    static const char *const cases[][3] = {
        {"10.0.0.1:80", "", "10.0.0.1"},
        {"10.0.0.1:443", "", "10.0.0.1:443"},
        {"10.0.0.1:443", "tls", "10.0.0.1"},
        {"10.0.0.1:80", "tls", "10.0.0.1:80"},
        {"[::1]:80", "", "[::1]"},
        {"[::1]:81", "", "[::1]:81"},
        {"[fe80::1%7]:81", "", "[fe80::1]:81"},
        {"unix:/run/x", "", "localhost"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO request = {0};

        str_printf(&request,
                   "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: Sluice\r\n\r\n",
                   cases[i][2]);
        expect_request(cases[i][0], NULL, 0, cases[i][1][0] != '\0', str_text(&request));
    }
}
END_TEST

/* --- answers --- */

static struct http_answer answer;
static struct str body;

/* Whole, then its end. */
static void read_answer(const char *bytes, size_t n)
{
    str_free(&body);
    http_answer_init(&answer, false, &body);
    http_answer_feed(&answer, bytes, n);
    http_answer_end(&answer);
}

#define READ(text) read_answer(text, sizeof(text) - 1)

START_TEST(bodies_are_framed)
{
    static const struct {
        const char *answer, *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", "ok"},
        {"HTTP/1.1 200 OK\r\ncontent-length:2 \t\r\n\r\nokmore", "ok"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nokmore", "ok"},
        {"HTTP/1.0 200\n\nuntil the end", "until the end"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "2\r\nok\r\nA; x=\"y\"\r\n0123456789\r\n00\r\nTrailer: x\r\n\r\nmore",
         "ok0123456789"},
        {"HTTP/1.1 200 OK\nTransfer-Encoding: gzip , Chunked\nContent-Length: 1\n\n2\nok\n0\n\n",
         "ok"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nall", "all"},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nno", ""},
        {"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nokmore", "ok"},
        {"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok", "ok"},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n\x01", "\x01"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        read_answer(cases[i].answer, strlen(cases[i].answer));
        ck_assert_msg(answer.state == HTTP_COMPLETE, "%d: %s", i, answer.fault);
        ck_assert_str_eq(str_text(&body), cases[i].body);
    }
    str_free(&body);
}
END_TEST

START_TEST(the_answer_to_head_has_no_body)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";

    http_answer_init(&answer, true, NULL);
    http_answer_feed(&answer, text, sizeof(text) - 1);
    ck_assert_int_eq(answer.state, HTTP_COMPLETE);
}
END_TEST

START_TEST(faults_are_told)
{
    static const char *const cases[][2] = {
        {"", "closed without an answer"},
        {"HTTP/1.1 100 Continue\r\n\r\n", "closed without an answer"},
        {"HTTP/1.1 200 OK\r\nContent-Le", "closed within the headers"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "closed within the body"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "closed within the body"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "closed within the body"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n", "malformed chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "malformed chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1x\r\n", "malformed chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
         "malformed chunk"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n", "malformed chunk"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
         "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456789\r\n\r\n",
         "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed header line"},
        {"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", "malformed header line"},
        {"HTTP/1.1 200 OK\r\nName : blank\r\n\r\n", "malformed header line"},
        {"HTTP/1.1 100 a\n\nHTTP/1.1 100 a\n\nHTTP/1.1 100 a\n\nHTTP/1.1 100 a\n\n"
         "HTTP/1.1 103 a\n\nHTTP/1.1 103 a\n\nHTTP/1.1 200 a\n\n",
         "more than 5 interim answers"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        read_answer(cases[i][0], strlen(cases[i][0]));
        ck_assert_int_eq(answer.state, HTTP_FAULT);
        ck_assert_msg(answer.fault != NULL && strcmp(answer.fault, cases[i][1]) == 0, "%d: %s", i,
                      answer.fault);
    }
    str_free(&body);
}
END_TEST

/* Of long lines only the start is kept, and that must not count for the whole. */
START_TEST(long_lines_that_matter_are_faults)
{
    static const char *const cases[][2] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1%300s\r\n\r\n", "malformed Content-Length"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;%300s\r\n", "malformed chunk"},
        {"HTTP/1.1 200 OK\r\n%300s: x\r\n\r\n", "malformed header line"},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        char filler[301], text[512];

        memset(filler, 'a' - (i == 0 ? 'a' - '0' : 0), sizeof(filler) - 1);
        filler[sizeof(filler) - 1] = '\0';
        (void)snprintf(text, sizeof(text), cases[i][0], filler);
        read_answer(text, strlen(text));
        ck_assert_int_eq(answer.state, HTTP_FAULT);
        ck_assert_str_eq(answer.fault, cases[i][1]);
    }
    READ("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
         "                                                                                      "
         "                                                                                      "
         "                                                                                      "
         "chunked\r\n\r\nall");
    ck_assert_int_eq(answer.state, HTTP_COMPLETE);
    ck_assert_str_eq(str_text(&body), "all");
    str_free(&body);
}
END_TEST

START_TEST(nul_bytes_in_headers_are_a_fault)
{
    READ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n");
    ck_assert_str_eq(answer.fault, "a NUL byte in the headers");
}
END_TEST

START_TEST(what_is_no_http_is_kept)
{
    static const char *const cases[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2 200\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.1 2000 x\r\n",
        "HTTP/1.1 099 x\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1.1  200\r\n",
        "HTTP/1.x 200\r\n",
        "HTTP/1.1 200OK\r\n",
        "http/1.1 200\r\n",
        "\r\n",
        "HT",
    };

    for (int i = 0; i < COUNT(cases); i++) {
        size_t n = strcspn(cases[i], "\r");

        read_answer(cases[i], strlen(cases[i]));
        ck_assert_int_eq(answer.state, HTTP_FAULT);
        ck_assert_ptr_null(answer.fault);
        ck_assert_uint_ge(answer.line_len, n);
        ck_assert_mem_eq(answer.line, cases[i], n);
    }
}
END_TEST

/* Just as much as may be, and one more. */
START_TEST(heads_are_bounded)
{
    static const char status[] = "HTTP/1.1 200 OK\r\n";

    for (size_t over = 0; over < 2; over++) {
        size_t n = HTTP_HEAD_MAX - (sizeof(status) - 1) - 3 - 2 - 2 + over;
        STR_AUTO text = {0};

        str_printf(&text, "%sX: ", status);
        for (size_t i = 0; i < n; i++) {
            str_append_char(&text, 'a');
        }
        str_append(&text, "\r\n\r\nbody");
        read_answer(str_text(&text), text.len);
        ck_assert_int_eq(answer.state, over ? HTTP_FAULT : HTTP_COMPLETE);
    }
    ck_assert_str_eq(answer.fault, "headers over 16 KiB");
    str_free(&body);
}
END_TEST

START_TEST(header_lines_are_bounded)
{
    for (int lines = HTTP_LINES_MAX; lines < HTTP_LINES_MAX + 2; lines++) {
        STR_AUTO text = {0};

        str_append(&text, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < lines; i++) {
            str_append(&text, "A: b\r\n");
        }
        str_append(&text, "\r\n");
        read_answer(str_text(&text), text.len);
        ck_assert_int_eq(answer.state, lines > HTTP_LINES_MAX ? HTTP_FAULT : HTTP_COMPLETE);
    }
    ck_assert_str_eq(answer.fault, "more than 100 header lines");
}
END_TEST

START_TEST(bodies_are_kept_in_part)
{
    static char text[3 * HTTP_BODY_MAX];

    memset(text, 'x', sizeof(text));
    http_answer_init(&answer, false, &body);
    http_answer_feed(&answer, "HTTP/1.1 200 OK\r\n\r\n", 19);
    http_answer_feed(&answer, text, HTTP_BODY_MAX - 1);
    ck_assert(!answer.is_body_full);
    http_answer_feed(&answer, text, sizeof(text));
    ck_assert(answer.is_body_full);
    ck_assert_uint_eq(body.len, HTTP_BODY_MAX);
    str_free(&body);
}
END_TEST

/* Any way to cut it in two gives the same. */
START_TEST(it_does_not_matter_how_bytes_come)
{
    static const char text[] =
        "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: x\r\n\r\n";
    int n_different = 0;

    for (size_t cut = 0; cut < sizeof(text); cut++) {
        str_reset(&body);
        http_answer_init(&answer, false, &body);
        http_answer_feed(&answer, text, cut);
        http_answer_feed(&answer, text + cut, sizeof(text) - 1 - cut);
        n_different += answer.state != HTTP_COMPLETE || answer.status != 200 ||
                       strcmp(str_text(&body), "hello") != 0;
    }
    ck_assert_int_eq(n_different, 0);
    str_free(&body);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        right_options_pass_the_judge,
        wrong_options_do_not,
        booleans_are_judged,
        options_have_to_go_together,
        statuses_are_what_they_say,
        requests_are_built,
        hosts_are_the_backends_own,
        bodies_are_framed,
        the_answer_to_head_has_no_body,
        faults_are_told,
        long_lines_that_matter_are_faults,
        nul_bytes_in_headers_are_a_fault,
        what_is_no_http_is_kept,
        heads_are_bounded,
        header_lines_are_bounded,
        bodies_are_kept_in_part,
        it_does_not_matter_how_bytes_come,
    };
    Suite *suite = suite_create("check/http_answer");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    for (int i = 0; i < COUNT(tests); i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
