/*
 * What every framer says of an answer that begins before its request has ended: it is the client's,
 * but the upstream is not clean, however late the answer ends. A backend that answers early may not
 * have read the rest of the request, and take it for the next one's.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
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

/* A request that is passed on before it has ended: head, then so many x, then end. */
struct dialogue {
    enum framing_kind framing;
    struct bytes head;
    size_t filling;
    struct bytes end;
    struct bytes answer;
    size_t interim;    /* so many bytes of the answer come before what counts as one */
    struct bytes next; /* a request in one piece, and its answer */
    struct bytes next_answer;
};

#define LONG 70000 /* over what may be held */
#define GET  BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
#define OK   BYTES("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define GO   "HTTP/1.1 100 Continue\r\n\r\n"

static const struct dialogue dialogues[] = {
    {FRAMING_HTTP1, BYTES(POST "Content-Length: 5\r\n\r\n"), 5, BYTES(""), OK, 0, GET, OK},
    {FRAMING_HTTP1, BYTES(POST "Transfer-Encoding: chunked\r\n\r\n5\r\n"), 5,
     BYTES("\r\n0\r\n\r\n"),
     BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 0, GET, OK},
    {FRAMING_HTTP1, BYTES(POST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"), 5, BYTES(""),
     BYTES(GO "HTTP/1.1 204 Nothing\r\n\r\n"), sizeof(GO) - 1, GET, OK},
    {FRAMING_RESP, BYTES("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$70000\r\n"), LONG, BYTES("\r\n"),
     BYTES("+OK\r\n"), 0, BYTES("PING\r\n"), BYTES("+PONG\r\n")},
    {FRAMING_MEMCACHED, BYTES("set a 0 0 5\r\n"), 5, BYTES("\r\n"), BYTES("STORED\r\n"), 0,
     BYTES("get a\r\n"), BYTES("END\r\n")},
    {FRAMING_MEMCACHED, BYTES("set a 0 0 5 noreply\r\n"), 5, BYTES("\r\n"), BYTES("VERSION 1\r\n"),
     0, BYTES("get a\r\n"), BYTES("END\r\n")},
    {FRAMING_LINE, BYTES(""), LONG, BYTES("\n"), BYTES("yes\n"), 0, BYTES("ask\n"), BYTES("no\n")},
    {FRAMING_LENGTH, BYTES("\0\1\x11\x70"), LONG, BYTES(""), BYTES("\0\0\0\3yes"), 0,
     BYTES("\0\0\0\0"), BYTES("\0\0\0\1a")},
};

#define DIALOGUES (int)(sizeof(dialogues) / sizeof(dialogues[0]))

static const struct framer_options options = {.length_bytes = 4};
static const struct framer_ops *framer;
static void *state;
static unsigned char room[FRAMER_ROOM_BYTES];

static void setup(void)
{
    state = calloc(1, FRAMER_STATE_MAX);
}

static void teardown(void)
{
    if (framer != NULL && framer->fini != NULL) {
        framer->fini(state);
    }
    free(state);
}

static void begin(const struct dialogue *d)
{
    if (framer != NULL && framer->fini != NULL) {
        framer->fini(state);
    }
    memset(state, 0, FRAMER_STATE_MAX);
    framer = framer_table[d->framing];
    framer->init(state, &options);
}

/* What one side says from byte *at on, up to byte to: as far as it is taken, or its end. Returns
 * the last verdict. */
static struct framing say(bool is_client, const void *bytes, size_t *at, size_t to)
{
    struct framing f;

    do {
        f = (is_client ? framer->request : framer->reply)(state, (const unsigned char *)bytes + *at,
                                                          to - *at, room);
        ck_assert(f.verb == FRAMING_FORWARD || f.verb == FRAMING_HOLD);
        *at += f.used;
    } while (f.verb != FRAMING_HOLD && !f.ends && (*at < to || f.more));
    return f;
}

static void make_request(const struct dialogue *d, struct str *out)
{
    str_append_n(out, d->head.at, d->head.n);
    for (size_t i = 0; i < d->filling; i++) {
        str_append_char(out, 'x');
    }
    str_append_n(out, d->end.at, d->end.n);
}

static bool is_told(const struct framing *f, bool is_early)
{
    return !is_early
               ? f->clean && f->why == NULL
               : !f->clean && !f->pinned && strstr(f->why, "before the request ended") != NULL;
}

/* The exchange behind it, on another upstream, has nothing of it. */
static bool next_is_clean(const struct dialogue *d)
{
    size_t at = 0;

    if (!say(true, d->next.at, &at, d->next.n).ends) {
        return false;
    }
    at = 0;
    struct framing f = say(false, d->next_answer.at, &at, d->next_answer.n);
    return f.ends && f.clean;
}

/* All of the request but its last byte, so many bytes of the answer, the last byte, the rest. */
static bool spoils(const struct dialogue *d, const struct str *request, size_t n_early)
{
    size_t sent = 0, heard = 0;
    bool is_early = n_early > d->interim;

    begin(d);
    struct framing f = say(true, request->data, &sent, request->len - 1);
    if (f.ends) {
        return false;
    }
    if (n_early > 0) {
        f = say(false, d->answer.at, &heard, n_early);
    }
    if (n_early > 0 && f.ends) {
        return f.closes && is_told(&f, is_early);
    }
    f = say(true, request->data, &sent, request->len);
    if (!f.ends) {
        return false;
    }
    f = say(false, d->answer.at, &heard, d->answer.n);
    return f.ends && is_told(&f, is_early) && (f.closes || next_is_clean(d));
}

START_TEST(an_answer_begun_early_is_not_clean)
{
    const struct dialogue *d = &dialogues[_i];
    STR_AUTO request = {0};

    make_request(d, &request);
    for (size_t n = 0; n <= d->answer.n; n++) {
        ck_assert_msg(spoils(d, &request, n), "%d: %zu bytes of the answer come early", _i, n);
    }
}
END_TEST

/* The answer that began early is given up with its upstream; the whole one of the next is clean. */
START_TEST(taken_back_it_is_forgotten)
{
    const struct dialogue *d = &dialogues[_i];
    STR_AUTO request = {0};

    make_request(d, &request);
    for (size_t n = 1; n < d->answer.n; n++) {
        size_t sent = 0, heard = 0;
        begin(d);
        (void)say(true, request.data, &sent, request.len - 1);
        (void)say(false, d->answer.at, &heard, n);
        framer->again(state);
        struct framing f = say(true, request.data, &sent, request.len);
        heard = 0;
        f = say(false, d->answer.at, &heard, d->answer.n);
        ck_assert_msg(f.ends && f.clean, "%d: %zu", _i, n);
    }
}
END_TEST

/* Behind an interim answer the true one has begun, but is not looked at before the request has
 * ended: the client, who takes nothing, is waited for. */
START_TEST(what_is_behind_an_interim_answer_has_come_too)
{
    const struct dialogue *d = &dialogues[2];
    STR_AUTO request = {0};

    make_request(d, &request);
    for (size_t n = d->interim; n <= d->answer.n; n++) {
        size_t sent = 0, heard = d->interim;
        begin(d);
        (void)say(true, request.data, &sent, request.len - 1);
        struct framing f = framer->reply(state, (const unsigned char *)d->answer.at, n, room);
        ck_assert(f.verb == FRAMING_FORWARD && f.used == d->interim && !f.ends);
        f = say(true, request.data, &sent, request.len);
        ck_assert(f.ends);
        f = say(false, d->answer.at, &heard, d->answer.n);
        ck_assert_msg(f.ends && is_told(&f, n > d->interim), "%zu", n);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame/early");
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, an_answer_begun_early_is_not_clean, 0, DIALOGUES);
    tcase_add_loop_test(tc, taken_back_it_is_forgotten, 0, DIALOGUES);
    tcase_add_test(tc, what_is_behind_an_interim_answer_has_come_too);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
