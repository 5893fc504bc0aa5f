/*
 * The framer http1: requests and replies of HTTP/1.0 and HTTP/1.1, one exchange at a time. In
 * workers; pure.
 *
 *   request:  head ──► body ──► ended ──(the reply has ended)──► head
 *   reply:    none ──(the request's head)──► head ──► body ──► none
 *                                             ▲  │
 *                                             └──┘ 1xx
 *
 * Connection is hop-by-hop (RFC 9110 7.6.1), and the upstream is to stay open whatever the client
 * wants of its own connection. So each head is told what its side is to do, and a head that says
 * so already, as nearly all do, goes on as it came.
 */
#include <assert.h>
#include <string.h>

#include "http1_body.h"

/* Empty lines before a request are to be skipped (RFC 9112 2.2): old clients send one behind a
 * body. */
#define BLANK_LINES_MAX 2
/* The first byte of every TLS record that a client may begin with (RFC 8446 5.1). */
#define TLS_HANDSHAKE 0x16

enum request_stage { REQUEST_HEAD, REQUEST_BODY, REQUEST_ENDED };
enum reply_stage { REPLY_NONE, REPLY_HEAD, REPLY_BODY };

struct http1 {
    enum request_stage request;
    enum reply_stage reply;
    struct http1_scan request_scan, reply_scan;
    struct http1_body request_body, reply_body;
    bool is_bound; /* from some exchange on, to the end: the upstream knows who the client is */
    /* Of this exchange's request: */
    bool is_head, is_1_0, wants_close, upgrades, expects;
    /* Of its reply: */
    bool is_early;       /* some of what is no interim one came before the request had ended */
    bool was_told_to_go; /* the backend wants the body: 100 has come */
    bool closes;         /* the client has been told so */
    const char *unclean; /* why the upstream ends with it, NULL: it does not */
};

static_assert(sizeof(struct http1) <= FRAMER_STATE_MAX, "a state has to fit");
static_assert(FRAMER_ROOM_BYTES - FRAMER_HOLD_MAX >= 64, "a line more in a head has to fit");

static const struct framing hold = {.verb = FRAMING_HOLD};

static void http1_init(void *state, const struct framer_options *options)
{
    (void)options;
    *(struct http1 *)state = (struct http1){0};
}

/* --- refusals --- */

/* Without content, so that the same text answers a HEAD as well. */
#define ANSWER(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static struct framing refuse(const char *why, const char *answer)
{
    return (struct framing){
        .verb = FRAMING_REFUSE,
        .send = {(const unsigned char *)answer, answer != NULL ? strlen(answer) : 0},
        .why = why};
}

static struct framing refuse_request(enum http1_fault fault)
{
    const char *answer = ANSWER("400 Bad Request");

    if (fault == HTTP1_VERSION) {
        answer = ANSWER("505 HTTP Version Not Supported");
    } else if (fault == HTTP1_TOO_LARGE) {
        answer = ANSWER("431 Request Header Fields Too Large");
    }
    return refuse(http1_fault_text(fault), answer);
}

static struct framing refuse_reply(const char *why)
{
    return refuse(why, ANSWER("502 Bad Gateway"));
}

/* --- both sides --- */

/* As http1_scan_head(), within what may be held. */
static enum http1_fault find_head(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                  unsigned blank_lines, size_t *out_n)
{
    size_t limit = n < FRAMER_HOLD_MAX ? n : FRAMER_HOLD_MAX;
    enum http1_fault fault = http1_scan_head(scan, bytes, limit, blank_lines, out_n);

    if (fault == HTTP1_FINE && *out_n == 0 && n >= FRAMER_HOLD_MAX) {
        return HTTP1_TOO_LARGE;
    }
    return fault;
}

/* The head, as it came or rewritten, then what is right of the body behind it, in one go: copied
 * behind a rewritten head, because a message sent at once costs less than one sent in two. */
static struct framing pass_head(const struct http1_head *head, size_t skipped,
                                const char *connection, bool keeps_upgrade, struct http1_body *body,
                                size_t n, unsigned char *room)
{
    struct framing framing = {.verb = FRAMING_FORWARD, .send = {head->at, head->n}};
    const unsigned char *behind = head->at + head->n;
    size_t left = n - skipped - head->n;
    enum http1_fault fault; /* is found again when its byte comes first */

    if (connection != NULL) {
        framing.send.n = http1_rewrite(head, connection, keeps_upgrade, room);
        framing.send.at = room;
        left =
            left < FRAMER_ROOM_BYTES - framing.send.n ? left : FRAMER_ROOM_BYTES - framing.send.n;
    }
    size_t taken = http1_body_follow(body, behind, left, &fault);
    if (connection != NULL) {
        memcpy(room + framing.send.n, behind, taken);
    }
    framing.used = skipped + head->n + taken;
    framing.send.n += taken;
    return framing;
}

/* More of a body. used is 0 with HOLD and REFUSE only. */
static struct framing pass_body(struct http1_body *body, const unsigned char *bytes, size_t n)
{
    enum http1_fault fault;
    size_t taken = http1_body_follow(body, bytes, n, &fault);

    if (taken > 0) {
        return (struct framing){FRAMING_FORWARD, .used = taken, .send = {bytes, taken}};
    }
    return fault == HTTP1_FINE ? hold : refuse(http1_fault_text(fault), NULL);
}

/* --- requests --- */

/* A reply is to come, of which nothing is known. */
static void forget_reply(struct http1 *http1)
{
    http1->reply = REPLY_HEAD;
    http1->reply_scan = (struct http1_scan){0};
    http1->is_early = http1->was_told_to_go = false;
    http1->closes = false;
    http1->unclean = NULL;
}

/* What the client wants of its connection (RFC 9112 9.3), and what the reply will depend on. */
static void begin_exchange(struct http1 *http1, const struct http1_head *head)
{
    bool keeps = (head->options & HTTP1_KEEP_ALIVE) != 0 || !head->is_1_0;

    http1->is_head = head->is_head;
    http1->is_1_0 = head->is_1_0;
    http1->wants_close = !keeps || (head->options & HTTP1_CLOSE) != 0;
    /* RFC 9110 7.8: nothing without the option, nothing in HTTP/1.0. */
    http1->upgrades = head->has_upgrade && (head->options & HTTP1_UPGRADE) != 0 && !head->is_1_0;
    http1->expects = head->has_expect;
    http1->is_bound |= head->is_bound;
    forget_reply(http1);
    http1->request = REQUEST_BODY;
    http1->request_scan = (struct http1_scan){0};
    http1_body_begin(&http1->request_body, head, false, true);
}

/*
 * What Connection has to say towards the backend, NULL: what it says. Options that nobody needs are
 * left out, though their fields stay: a backend that heeds them would remove those, and they may be
 * somebody else's, added in front of us.
 */
static const char *request_connection(const struct http1 *http1, const struct http1_head *head)
{
    static const char *const texts[2][4] = {
        {"keep-alive", "keep-alive, TE", "keep-alive", "keep-alive, TE"},
        {"upgrade", "upgrade, TE", "upgrade, HTTP2-Settings", "upgrade, HTTP2-Settings, TE"},
    };
    bool keeps = (head->options & HTTP1_KEEP_ALIVE) != 0 || !head->is_1_0;
    unsigned wanted = HTTP1_KEEP_ALIVE | HTTP1_TE;

    if (http1->upgrades) {
        wanted |= HTTP1_UPGRADE | HTTP1_SETTINGS;
    }
    if (keeps && (head->options & ~wanted) == 0 && !head->has_proxy_connection) {
        return NULL;
    }
    return texts[http1->upgrades]
                [((head->options & HTTP1_TE) != 0) + 2 * ((head->options & HTTP1_SETTINGS) != 0)];
}

/* Behind CONNECT is no HTTP, should the backend agree; should it not, what the client has sent
 * ahead could be read as requests. So nobody reads it here. */
static struct framing pass_connect(const struct http1_head *head, size_t skipped)
{
    return (struct framing){.verb = FRAMING_OWN,
                            .used = skipped + head->n,
                            .send = {head->at, head->n},
                            .starts = true,
                            .why = "CONNECT"};
}

static struct framing end_request(struct http1 *http1, struct framing framing)
{
    if (http1->request_body.state == HTTP1_DONE) {
        http1->request = REQUEST_ENDED;
        framing.ends = true;
    }
    return framing;
}

static struct framing request_head(struct http1 *http1, const unsigned char *bytes, size_t n,
                                   unsigned char *room)
{
    struct http1_head head;
    struct framing framing;
    enum http1_fault fault;
    size_t whole, skipped;

    if (bytes[0] == TLS_HANDSHAKE && http1->request_scan.at == 0) {
        return refuse("TLS", NULL);
    }
    fault = find_head(&http1->request_scan, bytes, n, BLANK_LINES_MAX, &whole);
    skipped = http1->request_scan.start;
    if (fault == HTTP1_FINE && whole > 0) {
        fault = http1_read_request(&head, bytes + skipped, whole - skipped);
    }
    if (fault != HTTP1_FINE) {
        return refuse_request(fault);
    }
    if (whole == 0) {
        return hold;
    }
    if (head.is_connect) {
        return pass_connect(&head, skipped);
    }
    begin_exchange(http1, &head);
    framing = pass_head(&head, skipped, request_connection(http1, &head), http1->upgrades,
                        &http1->request_body, n, room);
    framing.starts = true;
    framing.must_read = http1->wants_close; /* which the backend has not been told */
    /* PUT, DELETE and TRACE are idempotent as well (RFC 9110 9.2.2), but what they do is seen by
     * others, between the first time and the second. Of a body none is retriable, even if all of it
     * is here: else it would depend on how the bytes came. */
    framing.retriable = head.is_safe && http1->request_body.state == HTTP1_DONE &&
                        !head.is_chunked && head.length == 0 && !http1->upgrades &&
                        !http1->is_bound;
    return end_request(http1, framing);
}

static struct framing http1_request(void *state, const unsigned char *bytes, size_t n,
                                    unsigned char *room)
{
    struct http1 *http1 = state;

    if (n == 0) {
        return hold;
    }
    if (http1->request == REQUEST_BODY) {
        return end_request(http1, pass_body(&http1->request_body, bytes, n));
    }
    return request_head(http1, bytes, n, room);
}

/* --- replies --- */

/* What Connection has to say towards the client, NULL: what it says. A client of HTTP/1.0, and any
 * that sees HTTP/1.0, keeps its connection only if told to. */
static const char *reply_connection(const struct http1 *http1, const struct http1_head *head)
{
    bool says_close = (head->options & HTTP1_CLOSE) != 0;
    bool says_keep = (head->options & HTTP1_KEEP_ALIVE) != 0;
    bool is_right = http1->closes ? says_close && !says_keep
                                  : !says_close && (says_keep || !(head->is_1_0 || http1->is_1_0));

    if (is_right && (head->options & HTTP1_OTHER) == 0) {
        return NULL;
    }
    if (head->has_upgrade && (head->options & HTTP1_UPGRADE) != 0) { /* an offer (7.8) */
        return http1->closes ? "close, upgrade" : "keep-alive, upgrade";
    }
    return http1->closes ? "close" : "keep-alive";
}

/* What becomes of both connections, as far as the head tells. */
static void judge_reply(struct http1 *http1, const struct http1_head *head)
{
    bool is_open = http1->reply_body.state == HTTP1_OPEN;
    bool is_odd = http1->is_1_0 && head->is_chunked; /* to a client that cannot know chunks */
    bool keeps = (head->options & HTTP1_KEEP_ALIVE) != 0 || !head->is_1_0;

    http1->closes = http1->wants_close || is_open || is_odd || http1->request != REQUEST_ENDED;
    if (is_open) {
        http1->unclean = "body ended by close";
    } else if (is_odd) {
        http1->unclean = "chunked reply to HTTP/1.0";
    } else if (!keeps || (head->options & HTTP1_CLOSE) != 0) {
        http1->unclean = "backend closes";
    } else if (http1->expects && !http1->was_told_to_go) {
        http1->unclean = "no 100 before the answer";
    }
}

/*
 * A bound upstream is nobody else's, and the client's next request belongs on it; unless there is
 * no next one, or the upstream is closing: what it knew of the client ends with it, and the client
 * has to authenticate itself again wherever it comes.
 */
static struct framing end_reply(struct http1 *http1, struct framing framing)
{
    if (http1->is_early) {
        http1->unclean = "answer before the request ended";
    }
    framing.ends = true;
    framing.closes = http1->closes;
    framing.clean = http1->unclean == NULL && !http1->is_bound;
    framing.pinned = http1->unclean == NULL && http1->is_bound && !http1->closes;
    framing.why = http1->unclean;
    if (http1->unclean == NULL && http1->is_bound) {
        framing.why = "connection-bound authentication";
    }
    http1->reply = REPLY_NONE;
    if (http1->request == REQUEST_ENDED) {
        http1->request = REQUEST_HEAD;
    }
    return framing;
}

/* An interim reply is not for clients that cannot know any (RFC 9110 15.2). */
static struct framing pass_interim(struct http1 *http1, const struct http1_head *head, size_t n)
{
    struct framing framing = {.verb = FRAMING_FORWARD, .used = head->n};

    if (!http1->is_1_0) {
        framing.send = (struct framing_bytes){head->at, head->n};
    }
    http1->is_bound |= head->is_bound;
    http1->was_told_to_go |= head->status == 100;
    http1->is_early = http1->request != REQUEST_ENDED && n > head->n;
    http1->reply_scan = (struct http1_scan){0};
    return framing;
}

static struct framing pass_switch(struct http1 *http1, const struct http1_head *head)
{
    if (!http1->upgrades) {
        return refuse_reply("unasked upgrade");
    }
    return (struct framing){
        .verb = FRAMING_OWN, .used = head->n, .send = {head->at, head->n}, .why = "upgrade"};
}

static struct framing pass_reply(struct http1 *http1, const struct http1_head *head, size_t n,
                                 unsigned char *room)
{
    bool has_none = http1->is_head || head->status == 204 || head->status == 304;
    struct framing framing;

    http1->is_bound |= head->is_bound;
    http1_body_begin(&http1->reply_body, head, has_none, false);
    judge_reply(http1, head);
    http1->reply = REPLY_BODY;
    framing = pass_head(head, 0, reply_connection(http1, head),
                        (head->options & HTTP1_UPGRADE) != 0, &http1->reply_body, n, room);
    return http1->reply_body.state == HTTP1_DONE ? end_reply(http1, framing) : framing;
}

static struct framing reply_head(struct http1 *http1, const unsigned char *bytes, size_t n,
                                 unsigned char *room)
{
    struct http1_head head;
    enum http1_fault fault;
    size_t whole = 0;

    fault = http1_judge_status(bytes, n); /* who speaks another protocol may wait for more words */
    if (fault == HTTP1_FINE) {
        fault = find_head(&http1->reply_scan, bytes, n, 0, &whole);
    }
    if (fault == HTTP1_FINE && whole > 0) {
        fault = http1_read_reply(&head, bytes, whole);
    }
    if (fault != HTTP1_FINE) {
        return refuse_reply(http1_fault_text(fault));
    }
    if (whole == 0) {
        return hold;
    }
    if (head.status == 101) {
        return pass_switch(http1, &head);
    }
    if (head.status < 200) {
        return pass_interim(http1, &head, n);
    }
    return pass_reply(http1, &head, n, room);
}

static struct framing http1_reply(void *state, const unsigned char *bytes, size_t n,
                                  unsigned char *room)
{
    struct http1 *http1 = state;
    struct framing framing;

    if (n == 0) {
        return hold;
    }
    http1->is_early |= http1->request != REQUEST_ENDED;
    if (http1->reply != REPLY_BODY) {
        return http1->reply == REPLY_HEAD ? reply_head(http1, bytes, n, room)
                                          : refuse("stray bytes", NULL);
    }
    framing = pass_body(&http1->reply_body, bytes, n);
    return http1->reply_body.state == HTTP1_DONE ? end_reply(http1, framing) : framing;
}

static struct framing http1_reply_ended(void *state)
{
    struct http1 *http1 = state;

    if (http1->reply == REPLY_BODY) {
        return http1->reply_body.state == HTTP1_OPEN
                   ? end_reply(http1, (struct framing){.verb = FRAMING_FORWARD})
                   : refuse("reply cut short", NULL);
    }
    return refuse_reply("backend closed without a reply");
}

static void http1_again(void *state)
{
    forget_reply(state);
}

const struct framer_ops framer_http1 = {
    .name = "http1",
    .state_bytes = sizeof(struct http1),
    .init = http1_init,
    .request = http1_request,
    .reply = http1_reply,
    .reply_ended = http1_reply_ended,
    .again = http1_again,
};
