/*
 * Check kind "http": one request over HTTP/1.1, plain or by TLS; passes when the answer's status is
 * among those wanted and its body matches. In the monitor.
 *
 * Without a body to look at, the verdict is there with the headers. What else may come is awaited
 * for a moment only, so that a server that answers and closes is not reset in the middle of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check/check.h"
#include "check/http_answer.h"
#include "check/http_request.h"
#include "check/match.h"
#include "check/talk.h"

/* Of an answer's body, with all that frames it: chunks may be small. */
#define RECEIVED_MAX ((size_t)4 * HTTP_BODY_MAX)

#define STATUSES_SHOWN 60 /* so that a reason has room for it … */
#define BODY_SHOWN     24 /* … and for this beside an expression */

struct http_check {
    struct talk talk;
    struct str request;
    struct http_statuses statuses;
    const char *wanted;    /* the same as text; the probe's */
    struct match *pattern; /* of the body; NULL: the body does not matter */
    char pattern_shown[MATCH_SHOWN_MAX];
    bool tls, verify, is_head;
    char *server_name; /* NULL: none */
    /* Of the run under way: */
    struct http_answer answer;
    struct str body;
    size_t received_bytes;
};

/* --- verdicts --- */

/* Whether all of the answer may be here soon. */
static bool is_nearly_over(const struct http_answer *answer)
{
    return answer->state != HTTP_BODY_COUNTED || answer->left_bytes <= TALK_INPUT_MAX;
}

static enum talk_ending ending(const struct http_check *state)
{
    return is_nearly_over(&state->answer) ? TALK_AWAIT : TALK_RESET;
}

static void succeed(struct http_check *state)
{
    char elapsed[TALK_ELAPSED_MAX];

    str_free(&state->body);
    talk_end(&state->talk, true, ending(state), "HTTP %u in %s", state->answer.status,
             talk_elapsed(&state->talk, elapsed));
}

static void fail_by_fault(struct http_check *state)
{
    const struct http_answer *answer = &state->answer;
    size_t n = answer->line_len;
    char shown[MATCH_SHOWN_MAX];

    n -= n > 0 && answer->line[n - 1] == '\r';
    str_free(&state->body);
    if (answer->fault != NULL) {
        talk_fail(&state->talk, "%s", answer->fault);
    } else {
        talk_fail(&state->talk, "no HTTP answer: got %s", match_show(answer->line, n, shown));
    }
}

static void judge_body(struct http_check *state)
{
    uint64_t budget_ns = MATCH_BUDGET_NS;
    char shown[MATCH_SHOWN_MAX];
    size_t end;
    enum match_result result =
        match_find(state->pattern, state->body.data, state->body.len, 0, &budget_ns, &end);

    if (result == MATCH_FOUND) {
        succeed(state);
        return;
    }
    if (result == MATCH_NONE) {
        talk_end(&state->talk, false, ending(state), "body does not match %s: got %s",
                 state->pattern_shown,
                 match_show_within(BODY_SHOWN, str_text(&state->body), state->body.len, shown));
    } else {
        talk_end(&state->talk, false, ending(state), "body takes too long to match with %s",
                 state->pattern_shown);
    }
    str_free(&state->body);
}

/* The headers are there. */
static void judge(struct http_check *state)
{
    const struct http_answer *answer = &state->answer;
    bool is_body_there = answer->state == HTTP_COMPLETE || answer->is_body_full ||
                         state->received_bytes >= RECEIVED_MAX;

    if (!http_statuses_include(&state->statuses, answer->status)) {
        str_free(&state->body);
        talk_end(&state->talk, false, ending(state), "HTTP %u, expected %.*s%s", answer->status,
                 STATUSES_SHOWN, state->wanted, strlen(state->wanted) > STATUSES_SHOWN ? "…" : "");
    } else if (state->pattern == NULL) {
        succeed(state);
    } else if (state->body.failed) {
        str_free(&state->body);
        talk_fail(&state->talk, "%s", stream_error_text(ENOMEM));
    } else if (is_body_there) {
        judge_body(state);
    }
}

/* --- events --- */

static void on_input(struct http_check *state)
{
    size_t n;
    const char *bytes = talk_input(&state->talk, &n);

    if (n > 0) {
        http_answer_feed(&state->answer, bytes, n);
        talk_take(&state->talk, n);
        state->received_bytes += n;
    }
    if (state->talk.peer_ended) {
        http_answer_end(&state->answer);
    }
    if (state->answer.state == HTTP_FAULT) {
        fail_by_fault(state);
    } else if (http_answer_has_head(&state->answer)) {
        judge(state);
    }
}

static void on_event(struct check_probe *probe, enum stream_event event, const char *reason)
{
    struct http_check *state = probe->state;

    switch (event) {
    case STREAM_OPEN:
        (void)talk_send(&state->talk, state->request.data, state->request.len);
        break;
    case STREAM_DATA:
    case STREAM_END:
        on_input(state);
        break;
    case STREAM_ERROR:
        str_free(&state->body);
        talk_fail(&state->talk, "%s", reason);
        break;
    }
}

static bool http_explain_late(const struct check_probe *probe, char *out_reason, size_t size)
{
    const struct http_check *state = probe->state;
    bool has_head = http_answer_has_head(&state->answer);

    if (talk_explain_late(&state->talk, out_reason, size)) {
        return true;
    }
    if (state->talk.is_ending || state->received_bytes == 0) {
        return false;
    }
    (void)snprintf(out_reason, size, "no whole answer within %u ms: %s", probe->params->timeout_ms,
                   has_head ? "its body goes on" : "its headers go on");
    return true;
}

/* --- life --- */

static int http_start(struct check_probe *probe)
{
    struct http_check *state = probe->state;
    const struct stream_options options = {
        .tls = state->tls, .verify = state->verify, .server_name = state->server_name};

    http_answer_init(&state->answer, state->is_head, state->pattern != NULL ? &state->body : NULL);
    state->received_bytes = 0;
    return talk_start(&state->talk, probe, &options, on_event);
}

static void http_cancel(struct check_probe *probe)
{
    struct http_check *state = probe->state;

    talk_cancel(&state->talk);
    str_free(&state->body);
}

static void http_release(struct check_probe *probe)
{
    struct http_check *state = probe->state;

    str_free(&state->request);
    match_free(state->pattern);
    free(state->server_name);
    state->pattern = NULL;
    state->server_name = NULL;
}

static bool arg_is_true(const struct check_probe *probe, const char *name)
{
    const char *problem;
    bool value = false;

    (void)units_parse_bool(check_arg(probe, name, "false"), &value, &problem);
    return value;
}

/* The name to ask for by TLS: sni, else host without its port, else the address where its
 * certificate matters. *out is to be freed; NULL: none. Returns 0 or -ENOMEM. */
static int find_server_name(const struct check_probe *probe, char **out)
{
    const char *sni = check_arg(probe, "sni", NULL);
    const char *host = check_arg(probe, "host", NULL);
    struct addr_ip ip = probe->address->ip, literal;
    char address[ADDR_TEXT_MAX];

    if (sni == NULL && host == NULL && ip.family == ADDR_UNIX) {
        *out = NULL;
        return 0;
    }
    if (sni != NULL || (host != NULL && addr_parse_ip(host, &literal) == 0)) {
        *out = strdup(sni != NULL ? sni : host);
    } else if (host != NULL) {
        bool is_bracketed = host[0] == '[';

        *out = strndup(host + is_bracketed, strcspn(host + is_bracketed, is_bracketed ? "]" : ":"));
    } else {
        ip.scope = 0;
        *out = strdup(addr_ip_format(&ip, false, address));
    }
    return *out != NULL ? 0 : -ENOMEM;
}

static int prepare_pattern(struct http_check *state, const char *text)
{
    STR_AUTO problem = {0};
    size_t len;

    if (text == NULL) {
        return 0;
    }
    state->pattern = match_create_regex(text, &problem);
    if (state->pattern == NULL) {
        return problem.len > 0 ? -EINVAL : -ENOMEM;
    }
    len = strlen(match_show(text, strlen(text), state->pattern_shown));
    state->pattern_shown[0] = state->pattern_shown[len - 1] = '/';
    return 0;
}

static int http_prepare(struct check_probe *probe)
{
    struct http_check *state = probe->state;
    STR_AUTO problem = {0};
    int error;

    state->tls = arg_is_true(probe, "tls");
    state->verify = arg_is_true(probe, "verify");
    state->is_head = strcmp(check_arg(probe, "method", "GET"), "HEAD") == 0;
    http_request_build(probe, state->tls, &state->request);
    error = state->request.failed ? -ENOMEM : 0;
    state->wanted = check_arg(probe, "status", "200-399");
    if (error == 0) {
        error = http_statuses_parse(state->wanted, &state->statuses, &problem);
    }
    if (error == 0) {
        error = prepare_pattern(state, check_arg(probe, "body", NULL));
    }
    if (error == 0 && state->tls) {
        error = find_server_name(probe, &state->server_name);
    }
    if (error != 0) {
        http_release(probe);
    }
    return error;
}

const struct check_kind check_kind_http = {
    .name = "http",
    .help = "passes when an HTTP request is answered with a status, and a body, that are wanted",
    .state_bytes = sizeof(struct http_check),
    .begins_as_sessions = true,
    .judge = http_judge,
    .judge_all = http_judge_all,
    .prepare = http_prepare,
    .release = http_release,
    .start = http_start,
    .explain_late = http_explain_late,
    .cancel = http_cancel,
};
