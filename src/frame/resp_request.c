/*
 * The parser of requests: arrays of bulk strings, and lines. In workers; pure.
 *
 * Stricter than Redis, which does not look at the line ends it expects and takes numbers below
 * zero for nothing: what Redis and this parser might understand differently is malformed. Formats:
 * https://redis.io/docs/latest/develop/reference/protocol-spec/, and networking.c of Redis for its
 * limits and its wording of errors.
 */
#include "resp_request.h"

#include "framer.h"
#include "resp_command.h"

/* An argument's header at its longest. */
#define HEADER_MAX (sizeof("$536870912\r\n") - 1)

#define PROBLEM(text) "-ERR Protocol error: " text "\r\n"

/* Nothing to be told yet, look at the next phase. */
#define ONWARD RESP_STEP_COUNT

enum phase { PHASE_START, PHASE_LINE, PHASE_HEADER, PHASE_BODY, PHASE_BODY_END, PHASE_DONE };

static enum resp_step fail(struct resp_request *request, const char *problem)
{
    request->problem = problem;
    return RESP_BAD;
}

/* A number as Redis' string2ll() takes it, and the end of its line: their bytes, 0 if more are
 * needed, −1 if they are wrong. */
static int read_number(const unsigned char *bytes, size_t n, uint32_t most, uint32_t *out)
{
    uint64_t value = 0;
    size_t i = 0;

    for (; i < n && bytes[i] >= '0' && bytes[i] <= '9'; i++) {
        value = value * 10 + (uint64_t)(bytes[i] - '0');
        if (value > most || (i > 0 && bytes[0] == '0')) {
            return -1;
        }
    }
    if ((i < n && (i == 0 || bytes[i] != '\r')) || (i + 1 < n && bytes[i + 1] != '\n')) {
        return -1;
    }
    if (i + 2 > n) {
        return 0;
    }
    *out = (uint32_t)value;
    return (int)i + 2;
}

static enum resp_step step_start(struct resp_request *request, const unsigned char *bytes, size_t n)
{
    if (n == 0) {
        return RESP_MORE;
    }
    if (bytes[0] != '*') {
        request->phase = PHASE_LINE;
        request->is_inline = true;
        return ONWARD;
    }
    int length = read_number(bytes + 1, n - 1, RESP_ARGS_MAX, &request->args_left);
    if (length <= 0) {
        return length == 0 ? RESP_MORE : fail(request, PROBLEM("invalid multibulk length"));
    }
    request->at = 1 + (size_t)length;
    request->phase = PHASE_HEADER;
    return request->args_left == 0 ? RESP_EMPTY : ONWARD;
}

static bool is_blank(unsigned char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Finds the name in a line of which at is the end. */
static enum resp_step read_line(struct resp_request *request, const unsigned char *bytes)
{
    size_t from = 0, to;

    while (is_blank(bytes[from])) {
        from++;
    }
    for (to = from; !is_blank(bytes[to]) && bytes[to] != '\r' && bytes[to] != '\n';) {
        to++;
    }
    if (from == to) {
        return RESP_EMPTY;
    }
    request->phase = PHASE_DONE;
    request->is_named = true;
    request->name_at = from;
    request->name_n = to - from <= RESP_NAME_MAX ? to - from : 0;
    return RESP_NAME;
}

static enum resp_step step_line(struct resp_request *request, const unsigned char *bytes, size_t n)
{
    for (;; request->at++) {
        size_t at = request->at;
        if (at >= FRAMER_HOLD_MAX) {
            return fail(request, PROBLEM("too big inline request"));
        }
        if (at == n) {
            return RESP_MORE;
        }
        if (bytes[at] == '\n') {
            request->at++;
            return read_line(request, bytes);
        }
        if (bytes[at] == '\0' || (at > 0 && bytes[at - 1] == '\r')) {
            return fail(request, PROBLEM("a control byte in an inline request"));
        }
        request->is_quoted |= bytes[at] == '"' || bytes[at] == '\'';
    }
}

/* Whether, with so many bytes more, there is too much to be held. */
static bool grows_big(struct resp_request *request, size_t bytes)
{
    if (!request->is_named || request->is_big || request->at + bytes <= FRAMER_HOLD_MAX) {
        return false;
    }
    request->is_big = true;
    return true;
}

static enum resp_step step_header(struct resp_request *request, const unsigned char *bytes,
                                  size_t n)
{
    const unsigned char *at = bytes + request->at;
    size_t left = n - request->at;

    /* Before it is looked at: so that a header cut by the limit is no other than a whole one. */
    if (grows_big(request, HEADER_MAX)) {
        return RESP_BIG;
    }
    if (left == 0) {
        return RESP_MORE;
    }
    if (at[0] != '$') {
        return fail(request, PROBLEM("expected '$'"));
    }
    int length = read_number(at + 1, left - 1, RESP_BYTES_MAX, &request->body_left);
    if (length <= 0) {
        return length == 0 ? RESP_MORE : fail(request, PROBLEM("invalid bulk length"));
    }
    request->at += 1 + (size_t)length;
    request->args_left--;
    request->phase = PHASE_BODY;
    if (grows_big(request, (size_t)request->body_left + 2)) {
        return RESP_BIG;
    }
    if (!request->is_named && request->body_left > RESP_NAME_MAX) {
        request->is_named = true;
        return RESP_NAME;
    }
    if (!request->is_named) {
        request->name_at = request->at;
        request->name_n = request->body_left;
    }
    return ONWARD;
}

static enum resp_step step_body(struct resp_request *request, size_t n)
{
    size_t left = n - request->at;

    if (left < request->body_left) {
        request->at = n;
        request->body_left -= (uint32_t)left;
        return RESP_MORE;
    }
    request->at += request->body_left;
    request->body_left = 0;
    request->phase = PHASE_BODY_END;
    return ONWARD;
}

static enum resp_step step_body_end(struct resp_request *request, const unsigned char *bytes,
                                    size_t n)
{
    const unsigned char *at = bytes + request->at;
    size_t left = n - request->at;

    if ((left > 0 && at[0] != '\r') || (left > 1 && at[1] != '\n')) {
        return fail(request, PROBLEM("a bulk string goes beyond its length"));
    }
    if (left < 2) {
        return RESP_MORE;
    }
    request->at += 2;
    request->phase = request->args_left > 0 ? PHASE_HEADER : PHASE_DONE;
    if (!request->is_named) {
        request->is_named = true;
        return RESP_NAME;
    }
    return ONWARD;
}

static enum resp_step step_phase(struct resp_request *request, const unsigned char *bytes, size_t n)
{
    switch ((enum phase)request->phase) {
    case PHASE_START:
        return step_start(request, bytes, n);
    case PHASE_LINE:
        return step_line(request, bytes, n);
    case PHASE_HEADER:
        return step_header(request, bytes, n);
    case PHASE_BODY:
        return step_body(request, n);
    case PHASE_BODY_END:
        return step_body_end(request, bytes, n);
    case PHASE_DONE:
        break;
    }
    return RESP_END;
}

enum resp_step resp_request_step(struct resp_request *request, const unsigned char *bytes, size_t n)
{
    enum resp_step step;

    do {
        step = step_phase(request, bytes, n);
    } while (step == ONWARD);
    return step;
}

size_t resp_request_arguments(const unsigned char *bytes, size_t n, struct resp_argument *out,
                              size_t max)
{
    uint32_t count = 0, length = 0;
    size_t at = 1 + (size_t)read_number(bytes + 1, n - 1, RESP_ARGS_MAX, &count);

    for (size_t i = 0; i < count && i < max; i++) {
        at += 1 + (size_t)read_number(bytes + at + 1, n - at - 1, RESP_BYTES_MAX, &length);
        out[i] = (struct resp_argument){.at = bytes + at, .n = length};
        at += length + 2;
    }
    return count;
}
