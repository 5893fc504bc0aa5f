/* Heads of HTTP/1: where they end, what is refused, what they say, and how they are rewritten. In
 * these tests "|" stands for CRLF. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame/http1_head.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static unsigned char room[FRAMER_ROOM_BYTES];

/* Into static storage; returns how many bytes. */
static size_t expand(const char *text, unsigned char **out_bytes)
{
    static unsigned char bytes[4096];
    size_t n = 0;

    for (; *text != '\0'; text++) {
        if (*text == '|') {
            bytes[n++] = '\r';
            bytes[n++] = '\n';
        } else {
            bytes[n++] = (unsigned char)*text;
        }
    }
    *out_bytes = bytes;
    return n;
}

/* As the framer does. */
static enum http1_fault read_text(const char *text, bool is_request, struct http1_head *head)
{
    struct http1_scan scan = {0};
    unsigned char *bytes;
    size_t n = expand(text, &bytes), whole;
    enum http1_fault fault = http1_scan_head(&scan, bytes, n, 2, &whole);

    if (fault != HTTP1_FINE) {
        return fault;
    }
    ck_assert_msg(whole > 0, "no end: %s", text);
    bytes += scan.start;
    whole -= scan.start;
    return is_request ? http1_read_request(head, bytes, whole)
                      : http1_read_reply(head, bytes, whole);
}

/* --- the scan --- */

/* Every byte at every place of a word of eight. */
START_TEST(only_text_is_text)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nXXXXXXXXXXXXXXXXX: b\r\n\r\n";
    unsigned n_wrong = 0;

    for (size_t at = 26; at < 42; at++) {
        for (unsigned c = 0; c < 256; c++) {
            unsigned char bytes[sizeof(text) - 1];
            struct http1_scan scan = {0};
            size_t whole;
            bool is_text = c == '\t' || (c >= ' ' && c != 0x7f);
            enum http1_fault wanted = is_text                  ? HTTP1_FINE
                                      : c == '\r' || c == '\n' ? HTTP1_LINE_END
                                                               : HTTP1_CONTROL_BYTE;

            memcpy(bytes, text, sizeof(bytes));
            bytes[at] = (unsigned char)c;
            n_wrong += http1_scan_head(&scan, bytes, sizeof(bytes), 0, &whole) != wanted;
            n_wrong += is_text && whole != sizeof(bytes);
        }
    }
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

/* Byte by byte each byte is looked at once, and the end is at the same place. */
START_TEST(a_scan_goes_on_where_it_was)
{
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
    struct http1_scan scan = {0};
    size_t whole = 0, n = 0;
    unsigned n_wrong = 0;

    while (whole == 0 && n < sizeof(text) - 1) {
        n++;
        n_wrong += http1_scan_head(&scan, (const unsigned char *)text, n, 2, &whole) != HTTP1_FINE;
        n_wrong += whole == 0 && scan.at + 1 < n;
    }
    ck_assert_uint_eq(n_wrong, 0);
    ck_assert_uint_eq(whole, sizeof(text) - 1 - 4);
    ck_assert_uint_eq(n, whole);
    ck_assert_uint_eq(scan.start, 2);
}
END_TEST

START_TEST(a_trailer_may_be_empty)
{
    static const struct {
        const char *text;
        size_t whole;
    } cases[] = {{"\r\n", 2}, {"A: b\r\n\r\nx", 8}, {"A: b\r\n", 0}, {"\r", 0}};

    for (int i = 0; i < COUNT(cases); i++) {
        struct http1_scan scan = {0};
        size_t whole;

        ck_assert_int_eq(http1_scan_trailer(&scan, (const unsigned char *)cases[i].text,
                                            strlen(cases[i].text), &whole),
                         HTTP1_FINE);
        ck_assert_uint_eq(whole, cases[i].whole);
    }
}
END_TEST

/* --- requests --- */

#define REQUEST "POST / HTTP/1.1|Host: a|"

/* Above all the shapes by which one reader sees another boundary than the next. */
START_TEST(bad_requests_are_refused)
{
    static const struct {
        const char *text;
        enum http1_fault fault;
    } cases[] = {
        /* start lines */
        {"|||GET / HTTP/1.1|Host: a||", HTTP1_BLANK_LINES},
        {" GET / HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET /|Host: a||", HTTP1_START_LINE},
        {"GET|Host: a||", HTTP1_START_LINE},
        {"GET  / HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET /  HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/1.1 |Host: a||", HTTP1_START_LINE},
        {"GET / x HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET\t/ HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET /\tHTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET /a\tb HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET  HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"G(T / HTTP/1.1|Host: a||", HTTP1_START_LINE},
        {"GET / http/1.1|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/1,1|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/11|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/1.10|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/+.1|Host: a||", HTTP1_START_LINE},
        {"GET / HTTP/1.2|Host: a||", HTTP1_VERSION},
        {"GET / HTTP/0.9|Host: a||", HTTP1_VERSION},
        {"GET / HTTP/2.0|Host: a||", HTTP1_VERSION},
        {"PRI * HTTP/2.0||SM||", HTTP1_VERSION},
        /* line ends and bytes */
        {"GET / HTTP/1.1\nHost: a||", HTTP1_LINE_END},
        {"GET / HTTP/1.1|Host: a\n|", HTTP1_LINE_END},
        {"GET / HTTP/1.1|Host: a|X: b\rY: c||", HTTP1_LINE_END},
        {"GET / HTTP/1.1|Host: a|X: b\r||", HTTP1_LINE_END},
        {"GET / HTTP/1.1|Host: a\x01||", HTTP1_CONTROL_BYTE},
        {"GET /\x7f HTTP/1.1|Host: a||", HTTP1_CONTROL_BYTE},
        /* fields */
        {REQUEST " folded||", HTTP1_FOLDED},
        {REQUEST "\tfolded||", HTTP1_FOLDED},
        {"GET / HTTP/1.1| Host: a||", HTTP1_FOLDED},
        {REQUEST " Transfer-Encoding: chunked||", HTTP1_FOLDED},
        {REQUEST "X: y|\tTransfer-Encoding: chunked||", HTTP1_FOLDED},
        {REQUEST "Transfer-Encoding : chunked||", HTTP1_BLANK_BEFORE_COLON},
        {REQUEST "Transfer-Encoding\t: chunked||", HTTP1_BLANK_BEFORE_COLON},
        {REQUEST ": empty||", HTTP1_FIELD},
        {REQUEST "no colon||", HTTP1_BLANK_BEFORE_COLON},
        {REQUEST "nocolon||", HTTP1_FIELD},
        {REQUEST "X\xc3\xa4: b||", HTTP1_FIELD},
        {REQUEST "X(: b||", HTTP1_FIELD},
        /* hosts */
        {"GET / HTTP/1.1||", HTTP1_HOST},
        {"GET / HTTP/1.1|Host: a|Host: a||", HTTP1_HOST},
        {"GET / HTTP/1.0|Host: a|hOST: b||", HTTP1_HOST},
        {"GET / HTTP/1.1|Host: a b||", HTTP1_HOST},
        {"GET / HTTP/1.1|Host: u@a||", HTTP1_HOST},
        {"GET / HTTP/1.1|Host: a/b||", HTTP1_HOST},
        /* lengths */
        {REQUEST "Content-Length: +5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: -5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5, 5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5,||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 0x5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5 5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5.0||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5;||", HTTP1_LENGTH},
        {REQUEST "Content-Length: ||", HTTP1_LENGTH},
        {REQUEST "Content-Length:||", HTTP1_LENGTH},
        {REQUEST "Content-Length: \"5\"||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5|Content-Length: 5||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5|content-length: 6||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 1000000000000000000||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 18446744073709551621||", HTTP1_LENGTH},
        {REQUEST "Content-Length: 5\x0b||", HTTP1_CONTROL_BYTE},
        {REQUEST "Content-Length:\xa0"
                 "5||",
         HTTP1_LENGTH},
        /* codings */
        {REQUEST "Transfer-Encoding: xchunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunkedx||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding:  chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked ||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding:\tchunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: \tchunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked\t||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: \x0b"
                 "chunked||",
         HTTP1_CONTROL_BYTE},
        {REQUEST "Transfer-Encoding: chunked, identity||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: identity, chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: gzip, chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked, chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked,||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: ,chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked;q=1||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: \"chunked\"||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: 'chunked'||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: identity||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: ||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked|Transfer-Encoding: chunked||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: chunked|Transfer-encoding: x||", HTTP1_CODING},
        {REQUEST "Transfer-Encoding: x|Transfer-Encoding: chunked||", HTTP1_CODING},
        {"POST / HTTP/1.0|Transfer-Encoding: chunked||", HTTP1_CODING},
        {REQUEST "Content-Length: 5|Transfer-Encoding: chunked||", HTTP1_LENGTH_AND_CODING},
        {REQUEST "Transfer-Encoding: chunked|Content-Length: 5||", HTTP1_LENGTH_AND_CODING},
        {REQUEST "Transfer-Encoding: chunked|Content-Length: 0||", HTTP1_LENGTH_AND_CODING},
        /* options */
        {REQUEST "Connection: keep alive||", HTTP1_CONNECTION},
        {REQUEST "Connection: \"close\"||", HTTP1_CONNECTION},
        {REQUEST "Connection: close|Connection: a b||", HTTP1_CONNECTION},
    };
    unsigned n_wrong = 0;

    for (int i = 0; i < COUNT(cases); i++) {
        struct http1_head head;
        enum http1_fault fault = read_text(cases[i].text, true, &head);

        if (fault != cases[i].fault) {
            fprintf(stderr, "%s: %s, not %s\n", cases[i].text, http1_fault_text(fault),
                    http1_fault_text(cases[i].fault));
            n_wrong++;
        }
    }
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

START_TEST(nul_bytes_are_refused)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
    struct http1_scan scan = {0};
    size_t whole;

    ck_assert_int_eq(
        http1_scan_head(&scan, (const unsigned char *)text, sizeof(text) - 1, 0, &whole),
        HTTP1_CONTROL_BYTE);
}
END_TEST

/* A head in one line, for comparing. */
static const char *describe(const struct http1_head *head)
{
    static char text[512];
    size_t n = 0;

#define SAY(...) n += (size_t)snprintf(text + n, sizeof(text) - n, __VA_ARGS__)
    SAY("%s", head->is_1_0 ? "1.0" : "1.1");
    if (head->status != 0) {
        SAY(" %u", head->status);
    }
    SAY("%s%s%s", head->is_head ? " head" : "", head->is_connect ? " connect" : "",
        head->is_safe ? " safe" : "");
    if (head->has_length) {
        SAY(" length %llu", (unsigned long long)head->length);
    }
    SAY("%s%s%s%s", head->is_chunked ? " chunked" : "", head->has_upgrade ? " upgrade" : "",
        head->has_proxy_connection ? " proxy" : "", head->is_bound ? " bound" : "");
    if (head->options != 0) {
        SAY(" options%s%s%s%s%s%s", head->options & HTTP1_CLOSE ? " close" : "",
            head->options & HTTP1_KEEP_ALIVE ? " keep" : "",
            head->options & HTTP1_UPGRADE ? " upgrade" : "", head->options & HTTP1_TE ? " te" : "",
            head->options & HTTP1_SETTINGS ? " settings" : "",
            head->options & HTTP1_OTHER ? " other" : "");
    }
#undef SAY
    return text;
}

static unsigned count_wrong(const char *const (*cases)[2], int n_cases, bool is_request)
{
    unsigned n_wrong = 0;

    for (int i = 0; i < n_cases; i++) {
        struct http1_head head;
        enum http1_fault fault = read_text(cases[i][0], is_request, &head);
        const char *got = fault != HTTP1_FINE ? http1_fault_text(fault) : describe(&head);

        if (strcmp(got, cases[i][1]) != 0) {
            fprintf(stderr, "%s: \"%s\", not \"%s\"\n", cases[i][0], got, cases[i][1]);
            n_wrong++;
        }
    }
    return n_wrong;
}

START_TEST(good_requests_are_read)
{
    static const char *const cases[][2] = {
        {"GET / HTTP/1.1|Host: a||", "1.1 safe"},
        {"||GET / HTTP/1.1|Host: a||", "1.1 safe"},
        {"GET / HTTP/1.0||", "1.0 safe"},
        {"HEAD / HTTP/1.1|Host:||", "1.1 head safe"},
        {"OPTIONS * HTTP/1.1|Host: [::1]:80||", "1.1 safe"},
        {"get / HTTP/1.1|Host: a||", "1.1"},
        {"CONNECT a:443 HTTP/1.1|Host: a:443||", "1.1 connect"},
        {"!#$%&'*+-.^_`~9aZ http://x/?y=\"\xc3\xa4#z HTTP/1.1|host: \xc3\xa4||", "1.1"},
        {REQUEST "Content-Length: 5||", "1.1 length 5"},
        {REQUEST "content-length:\t 0005 \t||", "1.1 length 5"},
        {REQUEST "Content-Length: 999999999999999999||", "1.1 length 999999999999999999"},
        {REQUEST "CONTENT-LENGTH: 0||", "1.1 length 0"},
        {REQUEST "Transfer-Encoding: Chunked||", "1.1 chunked"},
        {REQUEST "transfer-encoding:chunked||", "1.1 chunked"},
        {REQUEST "Content-Lengt: x|Content-Length2: y|TransferEncoding: z||", "1.1"},
        {REQUEST "X:|Y: a: b,\t\"c\xff||", "1.1"},
        {REQUEST "Connection: keep-alive||", "1.1 options keep"},
        {REQUEST "connection: Close||", "1.1 options close"},
        {REQUEST "Connection: , ,Keep-Alive ,\tclose,||", "1.1 options close keep"},
        {REQUEST "Connection:||", "1.1"},
        {REQUEST "Connection: closed||", "1.1 options other"},
        {REQUEST "Connection: a,b,c,d|Connection: close,f,g,h,i||", "1.1 options close other"},
        {REQUEST "Connection: te, HTTP2-Settings||", "1.1 options te settings"},
        {REQUEST "Connection: Upgrade|Upgrade: websocket||", "1.1 upgrade options upgrade"},
        {REQUEST "Upgrade: h2c||", "1.1 upgrade"},
        {REQUEST "Proxy-Connection: keep-alive||", "1.1 proxy"},
        {REQUEST "Authorization: Basic abc||", "1.1"},
        {REQUEST "Authorization: Bearer ntlm||", "1.1"},
        {REQUEST "Authorization: NTLMv9 abc||", "1.1"},
        {REQUEST "Authorization: NTLM TlRMTVNTUAABAAAA||", "1.1 bound"},
        {REQUEST "Proxy-Authorization: negotiate\tYII=||", "1.1 bound"},
    };

    ck_assert_uint_eq(count_wrong(cases, COUNT(cases), true), 0);
}
END_TEST

/* --- replies --- */

START_TEST(replies_are_read)
{
    static const char *const cases[][2] = {
        {"HTTP/1.1 200 OK||", "1.1 200"},
        {"HTTP/1.1 200 ||", "1.1 200"},
        {"HTTP/1.0 404||", "1.0 404"},
        {"HTTP/1.1 999 \xc3\xa4||", "1.1 999"},
        {"HTTP/1.1 101 S|Connection: upgrade|Upgrade: x||", "1.1 101 upgrade options upgrade"},
        {"HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 7||",
         "1.0 200 length 7 options keep"},
        {"HTTP/1.1 401 No|WWW-Authenticate: Negotiate||", "1.1 401 bound"},
        {"HTTP/1.1 401 No|WWW-Authenticate: Basic realm=\"x\", NTLM||", "1.1 401 bound"},
        {"HTTP/1.1 407 No|Proxy-Authenticate: Basic|Proxy-Authenticate: ntlm||", "1.1 407 bound"},
        {"HTTP/1.1 401 No|WWW-Authenticate: Digest realm=\"ntlm\"||", "1.1 401"},
        {"HTTP/1.1 20 OK||", "malformed start line"},
        {"HTTP/1.1 2000 OK||", "malformed start line"},
        {"HTTP/1.1 099 OK||", "malformed start line"},
        {"HTTP/1.1 2x0 OK||", "malformed start line"},
        {"HTTP/1.1  200 OK||", "malformed start line"},
        {"HTTP/1.1\t200 OK||", "malformed start line"},
        {"HTTP/1.1||", "malformed start line"},
        {"ICY 200 OK and so on||", "malformed start line"},
        {"HTTP/2.0 200 OK||", "unknown HTTP version"},
        {"HTTP/1.2 200 OK||", "unknown HTTP version"},
        {"HTTP/1.1 200 OK|A: b| c||", "folded field"},
        {"HTTP/1.1 200 OK\nA: b||", "line without CRLF"},
        {"HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 5||", "malformed content-length"},
        {"HTTP/1.1 200 OK|Transfer-Encoding: gzip||", "transfer-encoding other than chunked"},
        {"HTTP/1.0 200 OK|Transfer-Encoding: chunked||", "transfer-encoding other than chunked"},
        {"HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 5||",
         "content-length and transfer-encoding"},
    };

    ck_assert_uint_eq(count_wrong(cases, COUNT(cases), false), 0);
}
END_TEST

START_TEST(trailers_are_judged)
{
    static const struct {
        const char *text;
        enum http1_fault fault;
    } cases[] = {
        {"|", HTTP1_FINE},
        {"A: b|Grpc-Status: 0||", HTTP1_FINE},
        {"A : b||", HTTP1_TRAILER},
        {" A: b||", HTTP1_TRAILER},
        {"Content-Length: 5||", HTTP1_TRAILER},
        {"Transfer-Encoding: chunked||", HTTP1_TRAILER},
        {"Host: b||", HTTP1_TRAILER},
        {"Connection: close||", HTTP1_TRAILER},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        unsigned char *bytes;
        size_t n = expand(cases[i].text, &bytes);

        ck_assert_msg(http1_read_trailer(bytes, n) == cases[i].fault, "%s", cases[i].text);
    }
}
END_TEST

/* --- rewriting --- */

START_TEST(heads_are_rewritten)
{
    static const struct {
        const char *from, *to;
        bool keeps_upgrade;
    } cases[] = {
        {"GET / HTTP/1.1|Host: a||", "GET / HTTP/1.1|Host: a|Connection: new||", false},
        {"GET / HTTP/1.0||", "GET / HTTP/1.0|Connection: new||", false},
        {"GET / HTTP/1.1|Connection: close|Host: a||", "GET / HTTP/1.1|Host: a|Connection: new||",
         false},
        {"GET / HTTP/1.1|Host: a|connection:close|B: c|KEEP-ALIVE: 3|proxy-connection: x|"
         "Connection: y||",
         "GET / HTTP/1.1|Host: a|B: c|Connection: new||", false},
        {"GET / HTTP/1.1|X-A: 1|Host: a|Connection: x-a, X-b|x-B: 2|X-AB: 3|X-A: 4||",
         "GET / HTTP/1.1|X-A: 1|Host: a|x-B: 2|X-AB: 3|X-A: 4|Connection: new||", false},
        {"GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: b||",
         "GET / HTTP/1.1|Host: a|Upgrade: b|Connection: new||", true},
        {"GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: b||",
         "GET / HTTP/1.1|Host: a|Connection: new||", false},
        {"GET / HTTP/1.1|Host: a|Connection: close|Upgrade: b||",
         "GET / HTTP/1.1|Host: a|Upgrade: b|Connection: new||", false},
    };

    for (int i = 0; i < COUNT(cases); i++) {
        struct http1_head head;
        unsigned char *bytes;
        size_t n, n_to;

        ck_assert_int_eq(read_text(cases[i].from, true, &head), HTTP1_FINE);
        n = http1_rewrite(&head, "new", cases[i].keeps_upgrade, room);
        n_to = expand(cases[i].to, &bytes);
        ck_assert_msg(n == n_to && memcmp(room, bytes, n) == 0, "%s: %.*s", cases[i].from, (int)n,
                      (const char *)room);
    }
}
END_TEST

START_TEST(every_fault_has_a_text)
{
    for (enum http1_fault fault = HTTP1_FINE + 1; fault < HTTP1_FAULT_COUNT; fault++) {
        ck_assert_ptr_nonnull(http1_fault_text(fault));
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        only_text_is_text,        a_scan_goes_on_where_it_was, a_trailer_may_be_empty,
        bad_requests_are_refused, nul_bytes_are_refused,       good_requests_are_read,
        replies_are_read,         trailers_are_judged,         heads_are_rewritten,
        every_fault_has_a_text,
    };
    Suite *suite = suite_create("frame/http1_head");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

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
