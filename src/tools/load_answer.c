/*
 * The parser of answers; the chart stands beside the enum.
 */
#include "load_answer.h"

#include <string.h>
#include <strings.h>

#include "pattern.h"

#define LENGTH_DIGITS 18

void answer_begin(struct answer *answer, bool verify)
{
    answer->state = ANSWER_STATUS;
    answer->status = 0;
    answer->head_bytes = 0;
    answer->line_length = 0;
    answer->body_left = 0;
    answer->body_bytes = 0;
    answer->chunked = (struct chunked){0};
    answer->verify = verify;
    answer->body_differs = false;
    answer->has_length = false;
    answer->is_chunked = false;
    answer->closes = false;
    answer->origin[0] = '\0';
}

void answer_begin_raw(struct answer *answer)
{
    answer_begin(answer, false);
    answer->state = ANSWER_RAW;
}

static bool parse_decimal(const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t value = 0;

    if (digits == 0 || digits > LENGTH_DIGITS || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    *out = value;
    return true;
}

static enum answer_verdict parse_status(struct answer *answer)
{
    const char *line = answer->line;

    if (answer->line_length < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' ||
        strspn(line + 9, "0123456789") != 3)
        return ANSWER_BAD;
    answer->closes = line[7] == '0';
    answer->status = (unsigned)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
    answer->state = ANSWER_HEADERS;
    return answer->status >= 100 ? ANSWER_MORE : ANSWER_BAD;
}

static void keep_origin(struct answer *answer, const char *value)
{
    size_t length = strnlen(value, sizeof(answer->origin) - 1);

    for (size_t i = 0; i < length; i++) {
        bool plain = value[i] >= ' ' && value[i] <= '~' && value[i] != '"' && value[i] != '\\';
        answer->origin[i] = plain ? value[i] : '?';
    }
    answer->origin[length] = '\0';
}

static enum answer_verdict parse_header(struct answer *answer)
{
    char *colon = strchr(answer->line, ':');
    uint64_t length;

    if (!colon)
        return ANSWER_BAD;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    for (size_t end = strlen(value); end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t');)
        value[--end] = '\0';
    if (strcasecmp(answer->line, "content-length") == 0) {
        if (!parse_decimal(value, &length) || (answer->has_length && length != answer->body_left))
            return ANSWER_BAD;
        answer->has_length = true;
        answer->body_left = length;
    } else if (strcasecmp(answer->line, "transfer-encoding") == 0) {
        answer->is_chunked = strcasecmp(value, "chunked") == 0;
        return answer->is_chunked ? ANSWER_MORE : ANSWER_BAD;
    } else if (strcasecmp(answer->line, "connection") == 0) {
        if (strcasestr(value, "close"))
            answer->closes = true;
        else if (strcasestr(value, "keep-alive"))
            answer->closes = false;
    } else if (strcasecmp(answer->line, "x-origin") == 0) {
        keep_origin(answer, value);
    }
    return ANSWER_MORE;
}

static enum answer_verdict end_head(struct answer *answer)
{
    if (answer->status < 200) {
        /* What is counted goes on, so that interim answers without end are not taken for ever. */
        unsigned head_bytes = answer->head_bytes;
        answer_begin(answer, answer->verify);
        answer->head_bytes = head_bytes;
        return ANSWER_MORE;
    }
    if (answer->status == 204 || answer->status == 304) {
        answer->state = ANSWER_OVER;
    } else if (answer->is_chunked) {
        if (answer->has_length)
            return ANSWER_BAD;
        answer->state = ANSWER_CHUNKED;
    } else if (answer->has_length) {
        answer->state = answer->body_left > 0 ? ANSWER_COUNTED : ANSWER_OVER;
    } else {
        answer->closes = true;
        answer->state = ANSWER_UNTIL_CLOSE;
    }
    return ANSWER_MORE;
}

static enum answer_verdict take_line(struct answer *answer)
{
    if (answer->line_length > 0 && answer->line[answer->line_length - 1] == '\r')
        answer->line_length--;
    answer->line[answer->line_length] = '\0';
    enum answer_verdict verdict = ANSWER_BAD;
    if (answer->state == ANSWER_STATUS)
        verdict = parse_status(answer);
    else if (answer->line_length == 0)
        verdict = end_head(answer);
    else
        verdict = parse_header(answer);
    answer->line_length = 0;
    return verdict;
}

static void keep_line(struct answer *answer, const char *data, size_t length)
{
    size_t room = sizeof(answer->line) - 1 - answer->line_length;
    size_t kept = length < room ? length : room;

    memcpy(answer->line + answer->line_length, data, kept);
    answer->line_length += (unsigned)kept;
}

/* One line of the head, or the part of it that is there. */
static enum answer_verdict feed_head(struct answer *answer, const char *data, size_t length,
                                     size_t *out_used)
{
    const char *newline = memchr(data, '\n', length);
    size_t used = newline ? (size_t)(newline - data) + 1 : length;

    *out_used = used;
    if (used > ANSWER_HEAD_MAX - answer->head_bytes)
        return ANSWER_BAD;
    answer->head_bytes += (unsigned)used;
    keep_line(answer, data, newline ? used - 1 : used);
    return newline ? take_line(answer) : ANSWER_MORE;
}

static void take_body(struct answer *answer, const char *data, size_t length)
{
    if (answer->verify && !answer->body_differs &&
        !pattern_matches(answer->body_bytes, data, length))
        answer->body_differs = true;
    answer->body_bytes += length;
}

static enum answer_verdict feed_chunked(struct answer *answer, const char *data, size_t length,
                                        size_t *out_used)
{
    struct chunked_span span;
    int rc = chunked_decode(&answer->chunked, data, length, out_used, &span);

    if (rc < 0)
        return ANSWER_BAD;
    if (span.length > 0)
        take_body(answer, span.body, span.length);
    if (rc == 1)
        answer->state = ANSWER_OVER;
    return ANSWER_MORE;
}

static enum answer_verdict feed_counted(struct answer *answer, const char *data, size_t length,
                                        size_t *out_used)
{
    size_t piece = length < answer->body_left ? length : (size_t)answer->body_left;

    take_body(answer, data, piece);
    answer->body_left -= piece;
    if (answer->body_left == 0)
        answer->state = ANSWER_OVER;
    *out_used = piece;
    return ANSWER_MORE;
}

static enum answer_verdict feed_some(struct answer *answer, const char *data, size_t length,
                                     size_t *out_used)
{
    switch (answer->state) {
    case ANSWER_STATUS:
    case ANSWER_HEADERS:
        return feed_head(answer, data, length, out_used);
    case ANSWER_COUNTED:
        return feed_counted(answer, data, length, out_used);
    case ANSWER_CHUNKED:
        return feed_chunked(answer, data, length, out_used);
    case ANSWER_UNTIL_CLOSE:
        take_body(answer, data, length);
        break;
    case ANSWER_RAW:
        keep_line(answer, data, length);
        break;
    case ANSWER_OVER:
    case ANSWER_STATE_COUNT:
        return ANSWER_BAD;
    }
    *out_used = length;
    return ANSWER_MORE;
}

enum answer_verdict answer_feed(struct answer *answer, const char *data, size_t length,
                                size_t *out_used)
{
    size_t used = 0;

    while (used < length && answer->state != ANSWER_OVER) {
        size_t step = 0;
        if (feed_some(answer, data + used, length - used, &step) == ANSWER_BAD) {
            *out_used = used;
            return ANSWER_BAD;
        }
        used += step;
    }
    *out_used = used;
    return answer->state == ANSWER_OVER ? ANSWER_DONE : ANSWER_MORE;
}

enum answer_verdict answer_end(struct answer *answer)
{
    if (answer->state == ANSWER_RAW)
        answer->line[answer->line_length] = '\0';
    else if (answer->state != ANSWER_UNTIL_CLOSE)
        return ANSWER_MORE;
    answer->state = ANSWER_OVER;
    return ANSWER_DONE;
}
