/* The framer http1: replies, what they say of the connections, and what comes of them. */
#include "test_frame_http1_talk.h"

/* --- what each side is told of its connection --- */

START_TEST(the_backend_is_asked_to_stay)
{
    EXPECT(
        {"GET / HTTP/1.1|Connection: close|Host: a||", OK,
         KEPT "request ends\nto client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: close||"
              "ok'\nreply ends clean closes\n"},
        {"GET / HTTP/1.1|Host: a|Connection: keep-alive, close|Keep-Alive: 5||", OK,
         KEPT "request ends\nto client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: close||"
              "ok'\nreply ends clean closes\n"},
        {"GET / HTTP/1.1|Host: a|Proxy-Connection: close||", OK,
         KEPT "request ends\nto client '" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|Connection: TE||", OK,
         "request starts retriable\nto backend 'GET / HTTP/1.1|Host: a|Connection: TE||'\n"
         "request ends\nto client '" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.0||", OK,
         KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: close||"
                 "ok'\nreply ends clean closes\n"},
        {"GET / HTTP/1.0|Connection: keep-alive||", OK,
         KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Content-Length: 2|"
                 "Connection: keep-alive||ok'\nreply ends clean\n"},
        {"GET / HTTP/1.0|Connection: keep-alive||",
         "HTTP/1.1 200 OK|Connection: Keep-Alive|Keep-Alive: timeout=5|Content-Length: 2||ok",
         KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Connection: Keep-Alive|Keep-Alive: "
                 "timeout=5|Content-Length: 2||ok'\nreply ends clean\n"},
        {"GET / HTTP/1.0|Connection: upgrade|Upgrade: h2c||", OK,
         KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: close||"
                 "ok'\nreply ends clean closes\n"},
        {"POST / HTTP/1.1|Connection: close|Host: a|Content-Length: 5||hello", OK,
         STARTS(
             "POST / HTTP/1.1|Host: a|Content-Length: 5|Connection: keep-alive||hello") "to client "
                                                                                        "'HTTP/1.1 "
                                                                                        "200 "
                                                                                        "OK|"
                                                                                        "Content-"
                                                                                        "Length: "
                                                                                        "2|"
                                                                                        "Connection"
                                                                                        ": "
                                                                                        "close||ok'"
                                                                                        "\n"
                                                                                        "reply "
                                                                                        "ends "
                                                                                        "clean "
                                                                                        "closes"
                                                                                        "\n"});
}
END_TEST

START_TEST(the_client_is_told_its_own_wish)
{
    EXPECT(
        {GET, "HTTP/1.1 200 OK|Connection: close|Keep-Alive: max=1|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: keep-alive||ok'\n"
             "reply ends not clean why 'backend closes'\n"},
        {GET, "HTTP/1.0 200 OK|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.0 200 OK|Content-Length: 2|Connection: keep-alive||ok'\n"
             "reply ends not clean why 'backend closes'\n"},
        {GET, "HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 2||ok'\n"
             "reply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|Connection: close||",
         "HTTP/1.1 200 OK|connection: CLOSE|Content-Length: 2||ok",
         KEPT "request ends\nto client 'HTTP/1.1 200 OK|connection: CLOSE|Content-Length: 2||ok'\n"
              "reply ends not clean closes why 'backend closes'\n"},
        {"GET / HTTP/1.1|Host: a|Connection: close||",
         "HTTP/1.1 200 OK|Upgrade: h2c|Connection: Upgrade, Keep-Alive|Content-Length: 2||ok",
         KEPT "request ends\nto client 'HTTP/1.1 200 OK|Upgrade: h2c|Content-Length: 2|"
              "Connection: close, upgrade||ok'\nreply ends clean closes\n"},
        {GET, "HTTP/1.1 426 Up|Upgrade: h2c|Connection: Upgrade|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.1 426 Up|Upgrade: h2c|Connection: Upgrade|Content-Length: 2||ok'\n"
             "reply ends clean\n"});
}
END_TEST

/* A client could else take away what somebody in front has added. Options that the backend has to
 * know stay, so that the fields that need them mean what they did. */
START_TEST(no_field_goes_because_it_is_named)
{
#define NAMED(connection, fields)                                                                  \
    "request starts retriable\nto backend 'GET / HTTP/1.1|Host: a|" fields                         \
    "Connection: " connection "||'\nrequest ends\n"
#define CLOSED                                                                                     \
    "to client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: close||ok'\n"                        \
    "reply ends clean closes\n"
    EXPECT(
        {"GET / HTTP/1.1|Host: a|X-User: me|Connection: x-user||", OK,
         NAMED("keep-alive", "X-User: me|") "to client '" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|X-User: me|Connection: close, X-User, cookie|Cookie: c||", OK,
         NAMED("keep-alive", "X-User: me|Cookie: c|") CLOSED},
        {"GET / HTTP/1.1|Host: a|Connection: a,b,c,d,e,f,g,h,i|I: 1||", OK,
         NAMED("keep-alive", "I: 1|") "to client '" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|Connection: close, TE|TE: trailers|Trailer: x||", OK,
         NAMED("keep-alive, TE", "TE: trailers|Trailer: x|") CLOSED},
        {"GET / HTTP/1.1|Connection: close|Host: a|TE: trailers||", OK,
         NAMED("keep-alive", "TE: trailers|") CLOSED},
        {"POST / HTTP/1.1|Host: a|Connection: content-length, host|Content-Length: 2||ab" GET,
         OK OK,
         STARTS(
             "POST / HTTP/1.1|Host: a|Content-Length: 2|Connection: keep-alive||ab") "to client "
                                                                                     "'" OK
                                                                                     "'\nreply "
                                                                                     "ends "
                                                                                     "clean\n" GOT
                                                                                     "to client "
                                                                                     "'" OK
                                                                                     "'\nreply "
                                                                                     "ends "
                                                                                     "clean\n"},
        {GET, "HTTP/1.1 200 OK|Connection: X-A|X-A: 1|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.1 200 OK|X-A: 1|Content-Length: 2|Connection: keep-alive||ok'\n"
             "reply ends clean\n"},
        {GET, "HTTP/1.1 200 OK|Connection: content-length|Content-Length: 2||ok",
         GOT "to client 'HTTP/1.1 200 OK|Content-Length: 2|Connection: keep-alive||ok'\n"
             "reply ends clean\n"});
}
END_TEST

/* --- where replies end --- */

#define HEAD   "HEAD / HTTP/1.1|Host: a||"
#define HEADED "request starts retriable\nto backend '" HEAD "'\nrequest ends\n"

START_TEST(replies_end_where_they_say)
{
    EXPECT({GET, "HTTP/1.1 204 No|Content-Length: 2||",
            GOT "to client 'HTTP/1.1 204 No|Content-Length: 2||'\nreply ends clean\n"},
           {GET, "HTTP/1.1 304 No|Transfer-Encoding: chunked||",
            GOT "to client 'HTTP/1.1 304 No|Transfer-Encoding: chunked||'\nreply ends clean\n"},
           {HEAD, "HTTP/1.1 200 OK|Content-Length: 2||",
            HEADED "to client 'HTTP/1.1 200 OK|Content-Length: 2||'\nreply ends clean\n"},
           {HEAD, "HTTP/1.1 200 OK||", HEADED "to client 'HTTP/1.1 200 OK||'\nreply ends clean\n"},
           {GET, "HTTP/1.1 200 OK|Content-Length: 0||",
            GOT "to client 'HTTP/1.1 200 OK|Content-Length: 0||'\nreply ends clean\n"},
           {GET, OK "stray", GOT "to client '" OK "'\nreply ends clean\nuntaken of backend 5\n"},
           {GET, "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;x|ok|0|A: b||",
            GOT "to client 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;x|ok|0|A: b||'\n"
                "reply ends clean\n"},
           {GET, "HTTP/1.1 200 OK||until the end",
            GOT "to client 'HTTP/1.1 200 OK|Connection: close||until the end'\nbackend ends\n"
                "reply ends not clean closes why 'body ended by close'\n",
            true},
           {"GET / HTTP/1.0||", "HTTP/1.0 200 OK|Connection: close||end",
            KEPT_10 "request ends\nto client 'HTTP/1.0 200 OK|Connection: close||end'\n"
                    "backend ends\nreply ends not clean closes why 'body ended by close'\n",
            true},
           {"GET / HTTP/1.0|Connection: keep-alive||",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0||",
            KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Transfer-Encoding: chunked|"
                    "Connection: close||0||'\n"
                    "reply ends not clean closes why 'chunked reply to HTTP/1.0'\n"});
}
END_TEST

START_TEST(bad_replies_are_refused)
{
    EXPECT(
        {GET, "HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked||",
         GOT "refuse 'content-length and transfer-encoding'\nto client " BAD_GATEWAY},
        /* Nobody waits for the rest of what cannot be one. */
        {GET, "h", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "hello|", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "SSH-2.0-x||", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "HTTP/2", GOT "refuse 'unknown HTTP version'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.9", GOT "refuse 'unknown HTTP version'\nto client " BAD_GATEWAY},
        {GET, "HTTP/x", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.1 ok", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.1 2000", GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.1 200", GOT "untaken of backend 12\n"},
        {GET, "HTTP/1.1 200 \n", GOT "refuse 'line without CRLF'\nto client " BAD_GATEWAY},
        {GET, "|" OK, GOT "refuse 'malformed start line'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.1 200 OK\n\n", GOT "refuse 'line without CRLF'\nto client " BAD_GATEWAY},
        {GET, "HTTP/1.1 101 Switching||", GOT "refuse 'unasked upgrade'\nto client " BAD_GATEWAY},
        {GET, "",
         GOT "backend ends\nrefuse 'backend closed without a reply'\nto client " BAD_GATEWAY, true},
        {GET, "HTTP/1.1 200 O",
         GOT "backend ends\nrefuse 'backend closed without a reply'\nto client " BAD_GATEWAY, true},
        {GET, "HTTP/1.1 200 OK|Content-Length: 3||ok",
         GOT "to client 'HTTP/1.1 200 OK|Content-Length: 3||ok'\nbackend ends\n"
             "refuse 'reply cut short'\n",
         true},
        {GET, "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|",
         GOT "to client 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|'\nbackend ends\n"
             "refuse 'reply cut short'\n",
         true},
        {GET, "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2 |ok|",
         GOT "to client 'HTTP/1.1 200 OK|Transfer-Encoding: chunked||2'\n"
             "refuse 'malformed chunk'\n"});
}
END_TEST

/* --- interim replies, upgrades, tunnels --- */

#define UPGRADE "GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket||"
#define EXPECTS POST "Expect: 100-continue|Content-Length: 5||"

START_TEST(interim_replies_do_not_end)
{
    EXPECT(
        {GET, "HTTP/1.1 103 Early|Link: x||HTTP/1.1 102 P||" OK,
         GOT "to client 'HTTP/1.1 103 Early|Link: x||HTTP/1.1 102 P||" OK "'\nreply ends clean\n"},
        {"GET / HTTP/1.0|Connection: keep-alive||",
         "HTTP/1.1 103 Early||HTTP/1.1 200 OK|Connection: keep-alive|Content-Length: 2||ok",
         KEPT_10 "request ends\nto client 'HTTP/1.1 200 OK|Connection: keep-alive|"
                 "Content-Length: 2||ok'\nreply ends clean\n"},
        {EXPECTS "hello", "HTTP/1.1 100 Continue||" OK,
         STARTS(EXPECTS "hello") "to client 'HTTP/1.1 100 Continue||" OK "'\nreply ends clean\n"},
        {GET, "HTTP/1.1 100 Continue||",
         GOT "to client 'HTTP/1.1 100 Continue||'\nbackend ends\n"
             "refuse 'backend closed without a reply'\nto client " BAD_GATEWAY,
         true});
}
END_TEST

/* The client is told to close, since the rest of its request has nowhere to go. */
START_TEST(an_answer_before_the_request_has_ended_closes)
{
    EXPECT({EXPECTS, "HTTP/1.1 417 No|Content-Length: 0||",
            "request starts\nto backend '" EXPECTS "'\n"
            "to client 'HTTP/1.1 417 No|Content-Length: 0|Connection: close||'\n"
            "reply ends not clean closes why 'answer before the request ended'\n"},
           {CHUNKED "5|he", "HTTP/1.1 100 Continue||" OK,
            BEGUN "5|he'\nto client 'HTTP/1.1 100 Continue||HTTP/1.1 200 OK|Content-Length: 2|"
                  "Connection: close||ok'\n"
                  "reply ends not clean closes why 'answer before the request ended'\n"});
}
END_TEST

/* The request ends while its answer is already under way, as with an echo: the upstream may have
 * read the body, or not, and the client was told to close. */
START_TEST(an_early_answer_may_end_late)
{
    static const unsigned char request[] =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
                               reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    static unsigned char room[FRAMER_ROOM_BYTES];
    _Alignas(max_align_t) unsigned char state[FRAMER_STATE_MAX] = {0};
    struct framing framing;

    framer_http1.init(state, NULL);
    framing = framer_http1.request(state, request, sizeof(request) - 1, room);
    ck_assert(framing.verb == FRAMING_FORWARD && framing.starts && !framing.ends);
    framing = framer_http1.reply(state, reply, sizeof(reply) - 1, room);
    ck_assert(framing.verb == FRAMING_FORWARD && !framing.ends && framing.send.at == room);
    framing = framer_http1.request(state, (const unsigned char *)"ok", 2, room);
    ck_assert(framing.verb == FRAMING_FORWARD && framing.ends);
    framing = framer_http1.reply(state, (const unsigned char *)"ok", 2, room);
    ck_assert(framing.verb == FRAMING_FORWARD && framing.ends && !framing.clean && framing.closes);
    ck_assert_str_eq(framing.why, "answer before the request ended");
}
END_TEST

#define SENT_ALONG STARTS(EXPECTS "hello") "to client '"
#define UNASKED    "'\nreply ends not clean why 'no 100 before the answer'\n"

/* A backend that answers without having asked for the body may take it for the next request, though
 * it was sent along; what counts is that it was expected to ask, and has not. */
START_TEST(who_expects_100_and_gets_none_leaves_doubt)
{
    EXPECT(
        {EXPECTS "hello", "HTTP/1.1 417 No|Content-Length: 0||",
         SENT_ALONG "HTTP/1.1 417 No|Content-Length: 0||" UNASKED},
        {EXPECTS "hello", OK, SENT_ALONG OK UNASKED},
        {EXPECTS "hello", "HTTP/1.1 103 Early||" OK, SENT_ALONG "HTTP/1.1 103 Early||" OK UNASKED},
        {EXPECTS "hello", "HTTP/1.1 103 Early||HTTP/1.1 100 C||" OK,
         SENT_ALONG "HTTP/1.1 103 Early||HTTP/1.1 100 C||" OK "'\nreply ends clean\n"},
        {EXPECTS "hello" GET, "HTTP/1.1 100 C||" OK OK,
         SENT_ALONG "HTTP/1.1 100 C||" OK "'\nreply ends clean\n" GOT "to client '" OK
                    "'\nreply ends clean\n"},
        {EXPECTS "hello" EXPECTS "hello", "HTTP/1.1 100 C||" OK OK,
         SENT_ALONG "HTTP/1.1 100 C||" OK "'\nreply ends clean\n" SENT_ALONG OK UNASKED},
        {POST "eXPECT: no such thing|Content-Length: 5||hello", OK,
         STARTS(POST "eXPECT: no such thing|Content-Length: 5||hello") "to client '" OK UNASKED});
}
END_TEST

START_TEST(upgrades_own)
{
    EXPECT(
        {UPGRADE "\x81", "HTTP/1.1 101 S|Connection: Upgrade|Upgrade: websocket||\x82",
         STARTS(UPGRADE) "to client 'HTTP/1.1 101 S|Connection: Upgrade|Upgrade: websocket||'\n"
                         "own 'upgrade'\nto backend '\\x81'\nto client '\\x82'\n"},
        {UPGRADE GET, OK OK,
         STARTS(UPGRADE) "to client '" OK "'\nreply ends clean\n" GOT "to client '" OK
                         "'\nreply ends clean\n"},
        {"GET / HTTP/1.1|Host: a|Connection: close, Upgrade, HTTP2-Settings, TE|HTTP2-Settings: x|"
         "Upgrade: h2c||",
         OK,
         STARTS("GET / HTTP/1.1|Host: a|HTTP2-Settings: x|Upgrade: h2c|"
                "Connection: upgrade, HTTP2-Settings, TE||") "to client 'HTTP/1.1 200 "
                                                             "OK|Content-Length: "
                                                             "2|Connection: "
                                                             "close||ok'\n"
                                                             "reply ends clean "
                                                             "closes\n"},
        {"GET / HTTP/1.1|Host: a|Upgrade: h2c||", "HTTP/1.1 101 S||",
         "request starts retriable\nto backend 'GET / HTTP/1.1|Host: a|Upgrade: h2c||'\n"
         "request ends\nrefuse 'unasked upgrade'\nto client " BAD_GATEWAY},
        {"GET / HTTP/1.1|Host: a|Connection: upgrade||", OK,
         KEPT "request ends\nto client '" OK "'\nreply ends clean\n"});
}
END_TEST

START_TEST(tunnels_own)
{
    EXPECT({"CONNECT a:1 HTTP/1.1|Host: a:1|Connection: close||\x16|", "HTTP/1.1 200 OK||x",
            "request starts\nto backend 'CONNECT a:1 HTTP/1.1|Host: a:1|Connection: close||'\n"
            "own 'CONNECT'\nto backend '\\x16|'\nto client 'HTTP/1.1 200 OK||x'\n"},
           {"CONNECT a:1 HTTP/1.1||", "", "refuse 'not one good host'\nto client " BAD_REQUEST});
}
END_TEST

/* --- authentication --- */

#define NTLM     "GET / HTTP/1.1|Host: a|Authorization: NTLM abc||"
#define DENIED   "HTTP/1.1 401 No|WWW-Authenticate: Negotiate|Content-Length: 0||"
#define PINS     "reply ends not clean pinned why 'connection-bound authentication'\n"
#define GOT_LATE "request starts\nto backend '" GET "'\nrequest ends\n"

START_TEST(bound_authentication_makes_an_upstream_private)
{
    EXPECT({NTLM GET, OK OK,
            STARTS(NTLM) "to client '" OK "'\n" PINS GOT_LATE "to client '" OK "'\n" PINS},
           {GET GET, DENIED OK,
            GOT "to client '" DENIED "'\n" PINS GOT_LATE "to client '" OK "'\n" PINS},
           {"GET / HTTP/1.1|Host: a|Connection: close||", DENIED,
            KEPT "request ends\nto client 'HTTP/1.1 401 No|WWW-Authenticate: Negotiate|"
                 "Content-Length: 0|Connection: close||'\n"
                 "reply ends not clean closes why 'connection-bound authentication'\n"},
           /* What the upstream knew is gone with it; the next one is private as well. */
           {NTLM GET, "HTTP/1.1 200 OK|Connection: close|Content-Length: 0||" OK,
            STARTS(NTLM) "to client 'HTTP/1.1 200 OK|Content-Length: 0|Connection: keep-alive||'\n"
                         "reply ends not clean why 'backend closes'\n" GOT_LATE "to client '" OK
                         "'\n" PINS});
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        the_backend_is_asked_to_stay,
        the_client_is_told_its_own_wish,
        no_field_goes_because_it_is_named,
        replies_end_where_they_say,
        bad_replies_are_refused,
        interim_replies_do_not_end,
        an_answer_before_the_request_has_ended_closes,
        an_early_answer_may_end_late,
        who_expects_100_and_gets_none_leaves_doubt,
        upgrades_own,
        tunnels_own,
        bound_authentication_makes_an_upstream_private,
    };

    return run_tests("frame/http1_reply", tests, COUNT(tests));
}
