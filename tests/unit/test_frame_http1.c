/* The framer http1: requests, their bodies and their limits. */
#include "test_frame_http1_talk.h"

/* --- requests --- */

START_TEST(plain_requests_go_on_as_they_are)
{
    EXPECT(
        {GET, OK, GOT "to client '" OK "'\nreply ends clean\n"},
        {GET GET, OK OK,
         GOT "to client '" OK "'\nreply ends clean\n" GOT "to client '" OK "'\nreply ends clean\n"},
        {"|" GET "||" GET, OK OK,
         GOT "to client '" OK "'\nreply ends clean\n" GOT "to client '" OK "'\nreply ends clean\n"},
        {POST "Content-Length: 5||hello" GET, OK OK,
         STARTS(POST "Content-Length: 5||hello") "to client '" OK "'\nreply ends clean\n" GOT
                                                 "to client '" OK "'\nreply ends clean\n"},
        {POST "Content-Length: 0||", OK,
         STARTS(POST "Content-Length: 0||") "to client '" OK "'\nreply ends clean\n"},
        {POST "Transfer-Encoding: chunked||5|hello|00a;x=1;y|0123456789|0|A: b||", OK,
         STARTS(POST
                "Transfer-Encoding: chunked||5|hello|00a;x=1;y|0123456789|0|A: b||") "to client "
                                                                                     "'" OK
                                                                                     "'\nreply "
                                                                                     "ends "
                                                                                     "clean\n"},
        {POST "Transfer-Encoding: chunked||0||" GET, OK OK,
         STARTS(POST "Transfer-Encoding: chunked||0||") "to client '" OK "'\nreply ends clean\n" GOT
                                                        "to client '" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|Connection: Keep-Alive|Keep-Alive: 300||", OK,
         "request starts retriable\nto backend 'GET / HTTP/1.1|Host: a|Connection: Keep-Alive|"
         "Keep-Alive: 300||'\nrequest ends\nto client '" OK "'\nreply ends clean\n"});
}
END_TEST

START_TEST(only_safe_requests_without_a_body_are_retriable)
{
    static const struct {
        const char *head;
        bool is_retriable;
    } cases[] = {
        {"GET / HTTP/1.1|Host: a||", true},
        {"GET / HTTP/1.0||", true},
        {"HEAD / HTTP/1.1|Host: a||", true},
        {"OPTIONS / HTTP/1.1|Host: a|Content-Length: 0||", true},
        {"GET / HTTP/1.1|Host: a|Connection: close||", true},
        {"GET / HTTP/1.1|Host: a|Content-Length: 1||x", false},
        {"GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||", false},
        {"GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: x||", false},
        {"GET / HTTP/1.1|Host: a|Authorization: NTLM x||", false},
        {"POST / HTTP/1.1|Host: a|Content-Length: 0||", false},
        {"PUT / HTTP/1.1|Host: a|Content-Length: 0||", false},
        {"DELETE / HTTP/1.1|Host: a||", false},
        {"TRACE / HTTP/1.1|Host: a||", false},
    };
    int n_wrong = 0;

    for (int i = 0; i < COUNT(cases); i++) {
        STR_AUTO client = {0};
        struct frame_input input = {0};

        replace(&client, cases[i].head, "\r\n", "'");
        input.client = client.data;
        input.n_client = client.len;
        n_wrong += cases[i].is_retriable !=
                   (strstr(frame_run(&framer_http1, NULL, &input), "retriable") != NULL);
        n_wrong += !frame_run_alike(&framer_http1, NULL, &input, N_SPLITS);
    }
    ck_assert_int_eq(n_wrong, 0);
}
END_TEST

START_TEST(a_retried_request_is_answered_once)
{
    STR_AUTO client = {0}, backend = {0}, wanted = {0}, got = {0};
    struct frame_input input = {.again = true};

    replace(&client, GET GET, "\r\n", "'");
    replace(&backend, OK OK, "\r\n", "'");
    replace(&wanted,
            GOT "to client '" OK "'\nreply ends clean\n" GOT "to client '" OK
                "'\nreply ends clean\n",
            "\\r\\n", "\"");
    input.client = client.data;
    input.n_client = client.len;
    input.backend = backend.data;
    input.n_backend = backend.len;
    for (input.seed = 0; input.seed < 40; input.seed++) {
        shorten(&got, frame_run(&framer_http1, NULL, &input));
        ck_assert_str_eq(str_text(&got), str_text(&wanted));
    }
}
END_TEST

/* Of what the first upstream said nothing is known any more. */
START_TEST(a_retry_begins_the_reply_anew)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    _Alignas(max_align_t) unsigned char state[FRAMER_STATE_MAX] = {0};
    static const unsigned char request[] = "GET / HTTP/1.0\r\n\r\n", begun[] = "HTTP/1.1 200 OK\r",
                               other[] = "HTTP/1.1 200 \x01K\r\n\r\n";

    framer_http1.init(state, NULL);
    ck_assert(framer_http1.request(state, request, sizeof(request) - 1, room).retriable);
    ck_assert_int_eq(framer_http1.reply(state, begun, sizeof(begun) - 1, room).verb, FRAMING_HOLD);
    framer_http1.again(state);
    ck_assert_int_eq(framer_http1.reply(state, other, sizeof(other) - 1, room).verb,
                     FRAMING_REFUSE);
}
END_TEST

START_TEST(bad_requests_are_answered_and_closed)
{
    EXPECT(
        {"GET / HTTP/1.1||", "", "refuse 'not one good host'\nto client " BAD_REQUEST},
        {"GET / HTTP/1.1\nHost: a\n\n", "", "refuse 'line without CRLF'\nto client " BAD_REQUEST},
        {"\x01", "", "refuse 'control byte in a head'\nto client " BAD_REQUEST},
        {POST "Content-Length: 5|Transfer-Encoding: chunked||0||", "",
         "refuse 'content-length and transfer-encoding'\nto client " BAD_REQUEST},
        {"|||" GET, "", "refuse 'empty lines before a head'\nto client " BAD_REQUEST},
        {"PRI * HTTP/2.0||SM||", "",
         "refuse 'unknown HTTP version'\nto client 'HTTP/1.1 505 HTTP Version Not Supported|"
         "Content-Length: 0|Connection: close||'\n"},
        {"\x16\x03\x01\x02", "", "refuse 'TLS'\n"},
        {GET "GET / HTTP/1.1||", OK,
         GOT "to client '" OK "'\nreply ends clean\n"
             "refuse 'not one good host'\nto client " BAD_REQUEST},
        {GET "\x16", OK, GOT "to client '" OK "'\nreply ends clean\nrefuse 'TLS'\n"},
        {"|\x16", "", "refuse 'control byte in a head'\nto client " BAD_REQUEST});
}
END_TEST

START_TEST(a_request_that_is_not_whole_waits)
{
    EXPECT({"", "", ""}, {"G", "", "untaken of client 1\n"},
           {"GET / HTTP/1.1|Host: a|", "", "untaken of client 25\n"},
           {"|", "", "untaken of client 2\n"});
}
END_TEST

/* --- chunks --- */

/* What is right goes on; nothing of what is wrong, and no text to the client, who is cut off. */
START_TEST(bad_chunks_end_the_session)
{
    EXPECT({CHUNKED "x", "", BEGUN "'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "|", "", BEGUN "'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "-1|", "", BEGUN "'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "+1|", "", BEGUN "'\nrefuse 'malformed chunk'\n"},
           {CHUNKED " 5|hello|", "", BEGUN "'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "0x5|hello|", "", BEGUN "0'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5 |hello|", "", BEGUN "5'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5\t|hello|", "", BEGUN "5'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5;|hello|", "", BEGUN "5;'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5,5|hello|", "", BEGUN "5'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5\nhello|", "", BEGUN "5'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5;a\nhello|", "", BEGUN "5;a'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5;a\x01|hello|", "", BEGUN "5;a'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5\rhello|", "", BEGUN "5\\r'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5|hello!|", "", BEGUN "5|hello'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5|hello\n", "", BEGUN "5|hello'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "5|hello\rx", "", BEGUN "5|hello\\r'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "0000000000000005|", "", BEGUN "000000000000000'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "fffffffffffffffff|", "", BEGUN "fffffffffffffff'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "0|A: b| c||", "", BEGUN "0|'\nrefuse 'malformed trailer'\n"},
           {CHUNKED "0|A : b||", "", BEGUN "0|'\nrefuse 'malformed trailer'\n"},
           {CHUNKED "0|Content-Length: 1||", "", BEGUN "0|'\nrefuse 'malformed trailer'\n"},
           {CHUNKED "0|\n", "", BEGUN "0|'\nrefuse 'line without CRLF'\n"},
           {CHUNKED "0\n\n", "", BEGUN "0'\nrefuse 'malformed chunk'\n"},
           {CHUNKED "0|A: b", "", BEGUN "0|'\nuntaken of client 4\n"});
}
END_TEST

START_TEST(chunk_extensions_and_trailers_are_bounded)
{
    for (size_t over = 0; over < 2; over++) {
        STR_AUTO client = {0};
        struct frame_input input = {0};
        bool is_refused;

        replace(&client, CHUNKED "1;", "\r\n", "'");
        for (size_t i = 0; i < 256 + over; i++) {
            str_append_char(&client, 'x');
        }
        str_append(&client, "\r\ny\r\n0\r\n\r\n");
        input.client = client.data;
        input.n_client = client.len;
        is_refused = strstr(frame_run(&framer_http1, NULL, &input), "refuse") != NULL;
        ck_assert(is_refused == (over > 0));
        ck_assert(frame_run_alike(&framer_http1, NULL, &input, N_SPLITS));
    }
    for (size_t over = 0; over < 2; over++) {
        STR_AUTO client = {0};
        struct frame_input input = {0};
        bool is_refused;

        replace(&client, CHUNKED "0|X: ", "\r\n", "'");
        for (size_t i = 0; i < 16384 - 3 - 4 + over; i++) {
            str_append_char(&client, 'x');
        }
        str_append(&client, "\r\n\r\n");
        input.client = client.data;
        input.n_client = client.len;
        is_refused = strstr(frame_run(&framer_http1, NULL, &input), "refuse") != NULL;
        ck_assert(is_refused == (over > 0));
        ck_assert(frame_run_alike(&framer_http1, NULL, &input, N_SPLITS));
    }
}
END_TEST

/* --- answers that cannot go on as they come --- */

static bool must_be_read(const char *request)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    max_align_t state[FRAMER_STATE_MAX / sizeof(max_align_t)] = {0};

    framer_http1.init(state, NULL);
    struct framing f =
        framer_http1.request(state, (const unsigned char *)request, strlen(request), room);
    ck_assert(f.starts);
    return f.must_read;
}

START_TEST(only_who_is_to_be_closed_must_be_told)
{
    ck_assert(!must_be_read("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert(!must_be_read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    ck_assert(must_be_read("GET / HTTP/1.0\r\n\r\n"));
    ck_assert(must_be_read("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
}
END_TEST

/* --- limits --- */

/* A head of so many bytes. */
static void fill_head(struct str *text, const char *start, size_t n)
{
    str_printf(text, "%s\r\nHost: a\r\nX: ", start);
    while (text->len < n - 4) {
        str_append_char(text, 'x');
    }
    str_append(text, "\r\n\r\n");
}

START_TEST(heads_are_bounded)
{
    for (size_t over = 0; over < 2; over++) {
        STR_AUTO client = {0}, backend = {0};
        struct frame_input input = {0};
        const char *text;

        fill_head(&client, "GET / HTTP/1.1", FRAMER_HOLD_MAX + over);
        input.client = client.data;
        input.n_client = client.len;
        text = frame_run(&framer_http1, NULL, &input);
        ck_assert((strstr(text, "refuse \"head over 64 KiB\"\nto client \"HTTP/1.1 431 ") !=
                   NULL) == (over > 0));
        ck_assert((strstr(text, "request ends") != NULL) == (over == 0));
        ck_assert(frame_run_alike(&framer_http1, NULL, &input, 2));

        fill_head(&backend, "HTTP/1.1 204 No", FRAMER_HOLD_MAX + over);
        input.client = "HEAD / HTTP/1.0\r\n\r\n";
        input.n_client = strlen(input.client);
        input.backend = backend.data;
        input.n_backend = backend.len;
        text = frame_run(&framer_http1, NULL, &input);
        ck_assert((strstr(text, "refuse \"head over 64 KiB\"\nto client \"HTTP/1.1 502 ") !=
                   NULL) == (over > 0));
        ck_assert((strstr(text, "xx\\r\\nConnection: close\\r\\n\\r\\n\"\nreply ends") != NULL) ==
                  (over == 0));
        ck_assert(frame_run_alike(&framer_http1, NULL, &input, 2));
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        plain_requests_go_on_as_they_are,
        only_safe_requests_without_a_body_are_retriable,
        a_retried_request_is_answered_once,
        a_retry_begins_the_reply_anew,
        bad_requests_are_answered_and_closed,
        a_request_that_is_not_whole_waits,
        bad_chunks_end_the_session,
        chunk_extensions_and_trailers_are_bounded,
        only_who_is_to_be_closed_must_be_told,
        heads_are_bounded,
    };

    return run_tests("frame/http1", tests, COUNT(tests));
}
