/*
 * The parser of replies. In workers; pure. Formats:
 * https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
 *
 * What is not understood is lost, and then so is the upstream: streamed types, whose end is told
 * elsewhere than at their beginning, and pushes, which answer no request.
 */
#include "resp_reply.h"

#include <string.h>
#include <strings.h>

/* No count and no length goes beyond. */
#define NUMBER_MAX UINT64_C(1000000000000000)

enum phase {
    PHASE_TYPE,
    PHASE_LINE,     /* up to the CR of a value that is a line */
    PHASE_LINE_END, /* its LF */
    PHASE_NUMBER,   /* of a header */
    PHASE_NUMBER_END,
    PHASE_BODY,
    PHASE_BODY_CR,
    PHASE_BODY_LF,
};

void resp_reply_begin(struct resp_reply *reply)
{
    reply->values_left = 1;
    reply->phase = PHASE_TYPE;
    reply->has_value = reply->is_heading = false;
    reply->head_n = 0;
}

static enum resp_reply_step lose(struct resp_reply *reply, const char *problem)
{
    reply->problem = problem;
    return RESP_REPLY_LOST;
}

static enum resp_reply_step misunderstand(struct resp_reply *reply)
{
    return lose(reply, "an answer that is not understood");
}

static enum resp_reply_step end_value(struct resp_reply *reply)
{
    reply->phase = PHASE_TYPE;
    reply->values_left--;
    return reply->values_left == 0 ? RESP_REPLY_END : RESP_REPLY_MORE;
}

static enum resp_reply_step take_type(struct resp_reply *reply, unsigned char byte)
{
    reply->type = (char)byte;
    switch (byte) {
    case '+':
    case '-':
    case ':':
    case '_':
    case '#':
    case ',':
    case '(':
        reply->phase = PHASE_LINE;
        break;
    case '$':
    case '!':
    case '=':
    case '*':
    case '~':
    case '%':
    case '|':
        reply->phase = PHASE_NUMBER;
        reply->number = 0;
        reply->is_negative = reply->has_digits = false;
        break;
    case '>':
        return lose(reply, "a push message");
    default:
        return misunderstand(reply);
    }
    if (reply->values_left == 1 && !reply->has_value && byte != '|') {
        reply->has_value = true;
        reply->is_heading = reply->phase == PHASE_LINE;
        reply->head[0] = reply->type;
        reply->head_n = 1;
    }
    return RESP_REPLY_MORE;
}

static enum resp_reply_step take_number(struct resp_reply *reply, unsigned char byte)
{
    if (byte == '\r' && reply->has_digits) {
        reply->phase = PHASE_NUMBER_END;
        return RESP_REPLY_MORE;
    }
    if (byte == '-' && !reply->has_digits && !reply->is_negative) {
        reply->is_negative = true;
        return RESP_REPLY_MORE;
    }
    if (byte == '?' && !reply->has_digits && !reply->is_negative) {
        return lose(reply, "a streamed answer");
    }
    if (byte < '0' || byte > '9' || (reply->has_digits && reply->number == 0)) {
        return misunderstand(reply);
    }
    reply->has_digits = true;
    reply->number = reply->number * 10 + (uint64_t)(byte - '0');
    return reply->number <= NUMBER_MAX ? RESP_REPLY_MORE : misunderstand(reply);
}

/* So many values are to come before the present one is complete. */
static enum resp_reply_step open_values(struct resp_reply *reply, uint64_t count)
{
    if (__builtin_add_overflow(reply->values_left, count, &reply->values_left)) {
        return misunderstand(reply);
    }
    return end_value(reply);
}

static enum resp_reply_step end_number(struct resp_reply *reply)
{
    if (reply->is_negative) {
        bool is_null = reply->number == 1 && (reply->type == '$' || reply->type == '*');
        return is_null ? end_value(reply) : misunderstand(reply);
    }
    switch (reply->type) {
    case '*':
    case '~':
        return open_values(reply, reply->number);
    case '%':
        return open_values(reply, 2 * reply->number);
    case '|': /* is no value itself: one comes behind it */
        return open_values(reply, 2 * reply->number + 1);
    default:
        reply->phase = PHASE_BODY;
        return RESP_REPLY_MORE;
    }
}

/* A byte that has to be there. */
static enum resp_reply_step take_end(struct resp_reply *reply, unsigned char byte)
{
    uint8_t phase = reply->phase;

    if (byte != (phase == PHASE_BODY_CR ? '\r' : '\n')) {
        return misunderstand(reply);
    }
    if (phase == PHASE_BODY_CR) {
        reply->phase = PHASE_BODY_LF;
        return RESP_REPLY_MORE;
    }
    return phase == PHASE_NUMBER_END ? end_number(reply) : end_value(reply);
}

/* Returns how many bytes belong to the line, its CR among them. */
static size_t take_line(struct resp_reply *reply, const unsigned char *bytes, size_t n)
{
    size_t length = 0;

    while (length < n && bytes[length] != '\r' && bytes[length] != '\n') {
        length++;
    }
    if (reply->is_heading) {
        size_t room = sizeof(reply->head) - reply->head_n, kept = length < room ? length : room;
        memcpy(reply->head + reply->head_n, bytes, kept);
        reply->head_n = (uint8_t)(reply->head_n + kept);
    }
    if (length < n && bytes[length] == '\r') {
        reply->phase = PHASE_LINE_END;
        length++;
    }
    return length;
}

static size_t take_body(struct resp_reply *reply, size_t n)
{
    size_t taken = reply->number < n ? (size_t)reply->number : n;

    reply->number -= taken;
    if (reply->number == 0) {
        reply->phase = PHASE_BODY_CR;
    }
    return taken;
}

static enum resp_reply_step take_byte(struct resp_reply *reply, unsigned char byte)
{
    switch ((enum phase)reply->phase) {
    case PHASE_TYPE:
        return take_type(reply, byte);
    case PHASE_NUMBER:
        return take_number(reply, byte);
    case PHASE_LINE: /* which is taken at once, but for an LF without its CR */
        return misunderstand(reply);
    case PHASE_LINE_END:
    case PHASE_NUMBER_END:
    case PHASE_BODY:
    case PHASE_BODY_CR:
    case PHASE_BODY_LF:
        break;
    }
    return take_end(reply, byte);
}

size_t resp_reply_parse(struct resp_reply *reply, const unsigned char *bytes, size_t n,
                        enum resp_reply_step *out_step)
{
    enum resp_reply_step step = RESP_REPLY_MORE;
    size_t at = 0;

    while (at < n && step == RESP_REPLY_MORE) {
        if (reply->phase == PHASE_LINE) {
            at += take_line(reply, bytes + at, n - at);
        } else if (reply->phase == PHASE_BODY) {
            at += take_body(reply, n - at);
        }
        if (at < n) {
            step = take_byte(reply, bytes[at]);
            at++;
        }
    }
    *out_step = step;
    return at;
}

char resp_reply_type(const struct resp_reply *reply)
{
    return reply->head[0];
}

bool resp_reply_is_error(const struct resp_reply *reply)
{
    return reply->head[0] == '-' || reply->head[0] == '!';
}

bool resp_reply_is(const struct resp_reply *reply, const char *line)
{
    size_t n = strlen(line);

    return reply->head_n == n && memcmp(reply->head, line, n) == 0;
}

bool resp_reply_starts(const struct resp_reply *reply, const char *text)
{
    size_t n = strlen(text);

    return reply->head_n >= n && strncasecmp(reply->head, text, n) == 0;
}
