/*
 * The request parser of mode http. Lines end with CRLF; no folding, no space before a colon, one
 * Content-Length at most and never beside Transfer-Encoding.
 */
#include "origin_request.h"

#include <string.h>
#include <strings.h>

#define CONTENT_LENGTH_DIGITS 18

/* A stretch of the head; never owned. */
struct span {
    const char *at;
    size_t length;
};

struct head_state {
    struct request *request;
    bool seen_length;
    bool seen_coding;
    bool wants_close;
    bool wants_keep;
};

static const char *const method_names[REQUEST_OTHER] = {
    [REQUEST_GET] = "GET",
    [REQUEST_HEAD] = "HEAD",
    [REQUEST_POST] = "POST",
    [REQUEST_PUT] = "PUT",
};

size_t request_head_length(const char *data, size_t length)
{
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && strncasecmp(span.at, text, span.length) == 0;
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct span span)
{
    for (size_t i = 0; i < span.length; i++)
        if (!is_token_char(span.at[i]))
            return false;
    return span.length > 0;
}

/* Printable ASCII, bytes above it, and what extra names. */
static bool is_text(struct span span, const char *extra)
{
    for (size_t i = 0; i < span.length; i++) {
        unsigned char c = (unsigned char)span.at[i];
        if ((c <= ' ' || c == 127) && (c == '\0' || !strchr(extra, c)))
            return false;
    }
    return true;
}

static struct span trim(struct span span)
{
    while (span.length > 0 && (span.at[0] == ' ' || span.at[0] == '\t')) {
        span.at++;
        span.length--;
    }
    while (span.length > 0 && (span.at[span.length - 1] == ' ' || span.at[span.length - 1] == '\t'))
        span.length--;
    return span;
}

/* Cuts off what stands before the separator; the whole span when there is none. */
static struct span cut(struct span *rest, char separator)
{
    const char *end = memchr(rest->at, separator, rest->length);
    struct span part = {rest->at, end ? (size_t)(end - rest->at) : rest->length};
    size_t skip = part.length + (end ? 1 : 0);

    rest->at += skip;
    rest->length -= skip;
    return part;
}

/* Takes "http://host" off an absolute form, the query off any. Returns 0 or an HTTP status. */
static unsigned parse_target(struct span target, struct request *request)
{
    if (target.length > 7 && strncasecmp(target.at, "http://", 7) == 0) {
        const char *slash = memchr(target.at + 7, '/', target.length - 7);
        struct span root = {"/", 1};
        target = slash ? (struct span){slash, target.length - (size_t)(slash - target.at)} : root;
    }
    struct span path = cut(&target, '?');
    if (path.length == 0 || (path.at[0] != '/' && !span_is(path, "*")) || !is_text(path, ""))
        return 400;
    if (path.length >= REQUEST_PATH_MAX)
        return 414;
    memcpy(request->path, path.at, path.length);
    request->path[path.length] = '\0';
    return 0;
}

static unsigned parse_first_line(struct span line, struct request *request)
{
    struct span method = cut(&line, ' ');
    struct span target = cut(&line, ' ');

    if (!is_token(method) || !is_text(target, ""))
        return 400;
    request->method = REQUEST_OTHER;
    for (unsigned i = 0; i < REQUEST_OTHER; i++)
        if (method.length == strlen(method_names[i]) &&
            memcmp(method.at, method_names[i], method.length) == 0)
            request->method = (enum request_method)i;
    if (line.length != 8 || memcmp(line.at, "HTTP/", 5) != 0)
        return 400;
    if (memcmp(line.at + 5, "1.1", 3) != 0 && memcmp(line.at + 5, "1.0", 3) != 0)
        return 505;
    request->http10 = line.at[7] == '0';
    return parse_target(target, request);
}

static unsigned parse_content_length(struct head_state *state, struct span value)
{
    uint64_t length = 0;

    if (state->seen_length || value.length == 0 || value.length > CONTENT_LENGTH_DIGITS)
        return 400;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return 400;
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    state->seen_length = true;
    state->request->content_length = length;
    return 0;
}

static unsigned parse_header(struct head_state *state, struct span line)
{
    const char *colon = memchr(line.at, ':', line.length);
    struct span name = cut(&line, ':');
    struct span value = trim(line);

    if (!colon || !is_token(name) || !is_text(value, " \t"))
        return 400;
    if (span_is(name, "content-length"))
        return parse_content_length(state, value);
    if (span_is(name, "transfer-encoding")) {
        if (state->seen_coding)
            return 400;
        state->seen_coding = true;
        return span_is(value, "chunked") ? 0 : 501;
    }
    if (span_is(name, "expect"))
        state->request->expects_continue |= span_is(value, "100-continue");
    while (span_is(name, "connection") && value.length > 0) {
        struct span word = trim(cut(&value, ','));
        state->wants_close |= span_is(word, "close");
        state->wants_keep |= span_is(word, "keep-alive");
    }
    return 0;
}

/* What only the whole head can tell. */
static unsigned conclude(struct head_state *state)
{
    struct request *request = state->request;

    if (state->seen_coding && (state->seen_length || request->http10))
        return 400;
    request->chunked = state->seen_coding;
    request->keep_alive = !state->wants_close && (!request->http10 || state->wants_keep);
    request->expects_continue &= !request->http10;
    return 0;
}

static const char *problem_of(unsigned status)
{
    switch (status) {
    case 0:
        return NULL;
    case 414:
        return "path too long";
    case 501:
        return "only the transfer coding chunked is known";
    case 505:
        return "only HTTP/1.0 and HTTP/1.1 are spoken";
    default:
        return "malformed request head";
    }
}

unsigned request_parse(const char *head, size_t length, struct request *out,
                       const char **out_problem)
{
    struct head_state state = {.request = out};
    struct span rest = {head, length - 2}; /* without the empty line */
    unsigned status = 0;

    memset(out, 0, sizeof(*out));
    for (bool first = true; rest.length > 0 && status == 0; first = false) {
        struct span line = cut(&rest, '\n');
        if (line.length == 0 || line.at[line.length - 1] != '\r') {
            status = 400;
            break;
        }
        line.length--;
        status = first ? parse_first_line(line, out) : parse_header(&state, line);
    }
    if (status == 0)
        status = conclude(&state);
    *out_problem = problem_of(status);
    return status;
}
