/* What the conformance suite of framers has their clients and backends say. */
#ifndef SLUICE_TESTS_TEST_FRAME_SCRIPTS_H
#define SLUICE_TESTS_TEST_FRAME_SCRIPTS_H

#include "frame/framer.h"

struct bytes {
    const char *at;
    size_t n;
};

/* Of literals, which may hold NUL. */
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

struct exchange {
    struct bytes client, backend; /* a request and its answer */
};

#define EXCHANGES_MAX  14
#define BEGINNINGS_MAX 6

/* Of one framer. Lists end where n is 0. */
struct script {
    /* The first two are stateless, and each is whole. */
    struct exchange exchanges[EXCHANGES_MAX];
    /* Refused at once: no backend hears of them. */
    struct bytes refused[BEGINNINGS_MAX];
    /* Beginnings of what may go on for ever, of requests, and of answers to the first exchange. */
    struct bytes endless[BEGINNINGS_MAX], endless_answers[BEGINNINGS_MAX];
};

static const struct framer_options script_options = {
    .length_bytes = 4,
    .handshake_key = true,
    .scripts = true,
};

static const struct script scripts[FRAMING_KIND_COUNT] = {
    [FRAMING_HTTP1] =
        {
            .exchanges =
                {
                    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")},
                    {BYTES("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")},
                    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n")},
                    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                     BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")},
                    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
                     BYTES("HTTP/1.1 204 No Content\r\n\r\n")},
                    {BYTES("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           "Content-Length: 1\r\n\r\nx"),
                     BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n"
                           "Content-Length: 0\r\n\r\n")},
                    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n0\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
                    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
                    {BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                     BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
                           "Content-Length: 1\r\n\r\nx")},
                    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\n\r\nto the end")},
                    {BYTES(
                         "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
                     BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                           "Connection: upgrade\r\n\r\nraw")},
                    {BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
                     BYTES("HTTP/1.1 200 OK\r\n\r\nraw")},
                },
            .refused =
                {
                    BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n"),
                    BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
                    BYTES("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
                    BYTES("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
                    BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                    BYTES(
                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello there, of TLS\r\n\r\n"),
                },
            .endless =
                {
                    BYTES("GET /"),
                    BYTES("GET / HTTP/1.1\r\nA: "),
                    BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"),
                    BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;"),
                    BYTES(
                        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "),
                },
            .endless_answers =
                {
                    BYTES("HTTP/1.1 200 "),
                    BYTES("HTTP/1.1 200 OK\r\nA: "),
                    BYTES("HTTP/1.1 200 OK\r\n\r\n"),
                    BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"),
                },
        },
    [FRAMING_RESP] =
        {
            .exchanges =
                {
                    {BYTES("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), BYTES("$5\r\nhello\r\n")},
                    {BYTES("PING\r\n"), BYTES("+PONG\r\n")},
                    {BYTES("*3\r\n$3\r\nset\r\n$1\r\na\r\n$2\r\n\r\n\r\n"), BYTES("+OK\r\n")},
                    {BYTES("*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n"),
                     BYTES("*2\r\n$-1\r\n:5\r\n")},
                    {BYTES("*2\r\n$7\r\nHGETALL\r\n$1\r\na\r\n"),
                     BYTES("%2\r\n+a\r\n#t\r\n$1\r\nb\r\n*1\r\n_\r\n")},
                    {BYTES("*2\r\n$4\r\nINCR\r\n$1\r\na\r\n"),
                     BYTES("-WRONGTYPE Operation against a key\r\n")},
                    {BYTES("*1\r\n$5\r\nMULTI\r\n"), BYTES("+OK\r\n")},
                    {BYTES("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), BYTES("+QUEUED\r\n")},
                    {BYTES("*1\r\n$4\r\nEXEC\r\n"), BYTES("*1\r\n$1\r\nx\r\n")},
                    {BYTES("*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n"), BYTES("*-1\r\n")},
                    {BYTES("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"), BYTES("%1\r\n+a\r\n:3\r\n")},
                    {BYTES("*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"), BYTES("+OK\r\n")},
                    {BYTES("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"),
                     BYTES("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")},
                },
            .refused =
                {
                    BYTES("*2\r\n$3\r\nGET\r\n$x\r\n"),
                    BYTES("*-99\r\n"),
                    BYTES("*99999999999999999999\r\n"),
                },
            .endless =
                {
                    BYTES("GET "),
                    BYTES("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99999999\r\n"),
                    BYTES("*2\r\n$99999\r\n"),
                    BYTES("*1"),
                },
            .endless_answers = {BYTES("+"), BYTES("$99999999\r\n"), BYTES("*99999999\r\n"),
                                BYTES(":1"), BYTES("$1")},
        },
    [FRAMING_MEMCACHED] =
        {
            .exchanges =
                {
                    {BYTES("get a b\r\n"), BYTES("VALUE a 1 5\r\nEND\r\n\r\nEND\r\n")},
                    {BYTES("mg a v\r\n"), BYTES("VA 2\r\nhi\r\n")},
                    {BYTES("gets a\r\n"), BYTES("END\r\n")},
                    {BYTES("set a 0 0 5\r\nhello\r\n"), BYTES("STORED\r\n")},
                    {BYTES("set a 0 0 0 noreply\r\n\r\n"), BYTES("VERSION 1.6.18\r\n")},
                    {BYTES("delete a noreply\r\n"), BYTES("VERSION 1.6.18\r\n")},
                    {BYTES("incr n 5\r\n"), BYTES("10\r\n")},
                    {BYTES("ms a 2 T0\r\nhi\r\n"), BYTES("HD\r\n")},
                    {BYTES("stats\r\n"), BYTES("STAT pid 1\r\nSTAT time 2\r\nEND\r\n")},
                    {BYTES("set a 0 0 1\r\nx\r\n"), BYTES("SERVER_ERROR out of memory\r\n")},
                    {BYTES("touch a noreply\r\n"), BYTES("TOUCHED\r\n")},
                    {BYTES("watch\r\n"), BYTES("OK\r\nlines\r\n")},
                },
            .refused = {BYTES("\x80\x00\x00\x01"), BYTES("\x80")},
            .endless = {BYTES("get "), BYTES("stats "), BYTES("set a 0 0 99999999\r\n"),
                        BYTES(" ")},
            .endless_answers = {BYTES("VALUE a 0 "), BYTES("VALUE a 0 99999999\r\n"),
                                BYTES("CLIENT_ERROR ")},
        },
    [FRAMING_LINE] =
        {
            .exchanges =
                {
                    {BYTES("one\n"), BYTES("1\n")},
                    {BYTES("two\r\n"), BYTES("\n")},
                    {BYTES("\n"), BYTES("\0\n")},
                },
            .endless = {BYTES("one")},
            .endless_answers = {BYTES("1")},
        },
    [FRAMING_LENGTH] =
        {
            .exchanges =
                {
                    {BYTES("\0\0\0\3one"), BYTES("\0\0\0\1a")},
                    {BYTES("\0\0\0\0"), BYTES("\0\0\0\0")},
                    {BYTES("\0\0\0\1a"), BYTES("\0\0\1\0"
                                               "half")},
                },
            .endless = {BYTES("\x00\x00\xff\xfc"), BYTES("\x00\x00\xff\xfd"),
                        BYTES("\xff\xff\xff\xff")},
            .endless_answers = {BYTES("\x00\x00\xff\xfc"), BYTES("\xff\xff\xff\xff")},
        },
};

#endif
