/*
 * HTTP answers, by RFC 9112. Lines are gathered in a small buffer: what goes beyond is counted, not
 * kept, since no line that matters is that long. Pure.
 */
#include "check/http_answer.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define CHUNK_DIGITS_MAX  15
#define LENGTH_DIGITS_MAX 18

static const char version[] = "HTTP/1.";
#define VERSION_LEN (sizeof(version) - 1)

static void set_fault(struct http_answer *answer, const char *what)
{
    answer->state = HTTP_FAULT;
    answer->fault = what;
}

void http_answer_init(struct http_answer *answer, bool is_head_request, struct str *body)
{
    *answer = (struct http_answer){
        .state = HTTP_STATUS_LINE, .has_no_body = is_head_request, .body = body};
}

bool http_answer_has_head(const struct http_answer *answer)
{
    return answer->state > HTTP_HEADERS && answer->state != HTTP_FAULT;
}

/* --- status line --- */

/* "HTTP/1.1 200 OK", "HTTP/1.0 200". Then headers follow. */
static void end_status_line(struct http_answer *answer)
{
    const char *line = answer->line;
    const char *code = line + VERSION_LEN + 2;

    if (strncmp(line, version, VERSION_LEN) != 0 || !isdigit((unsigned char)line[VERSION_LEN]) ||
        line[VERSION_LEN + 1] != ' ' || strspn(code, "0123456789") != 3 || code[0] == '0' ||
        (code[3] != ' ' && code[3] != '\0')) {
        set_fault(answer, NULL);
        return;
    }
    answer->status = (uint32_t)((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
    answer->has_length = answer->has_coding = answer->is_chunked = false;
    answer->state = HTTP_HEADERS;
}

/* --- headers --- */

static void note_length(struct http_answer *answer, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    uint64_t length = 0;

    for (size_t i = 0; i < digits && digits <= LENGTH_DIGITS_MAX; i++) {
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    if (digits == 0 || digits > LENGTH_DIGITS_MAX || value[digits] != '\0' ||
        (answer->has_length && answer->left_bytes != length)) {
        set_fault(answer, "malformed Content-Length");
        return;
    }
    answer->has_length = true;
    answer->left_bytes = length;
}

/* Only what the last coding is decides how the body ends. */
static void note_coding(struct http_answer *answer, const char *value)
{
    const char *comma = strrchr(value, ',');
    const char *last = comma != NULL ? comma + 1 + strspn(comma + 1, " \t") : value;

    answer->has_coding = true;
    answer->is_chunked = strcasecmp(last, "chunked") == 0;
}

static bool is_name(const char *text, size_t n)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)text[i]) && (text[i] == '\0' || !strchr(marks, text[i]))) {
            return false;
        }
    }
    return n > 0;
}

static void end_header(struct http_answer *answer)
{
    char *line = answer->line;
    char *colon = strchr(line, ':');
    char *value, *end;

    if (line[0] == ' ' || line[0] == '\t') { /* goes on with the header before: none that matters */
        return;
    }
    if (colon == NULL || !is_name(line, (size_t)(colon - line))) {
        set_fault(answer, "malformed header line");
        return;
    }
    *colon = '\0';
    value = colon + 1 + strspn(colon + 1, " \t");
    for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--) {
    }
    *end = '\0';
    if (strcasecmp(line, "Content-Length") == 0) {
        note_length(answer, answer->is_cut ? "" : value);
    } else if (strcasecmp(line, "Transfer-Encoding") == 0) {
        note_coding(answer, answer->is_cut ? "" : value);
    }
}

/* The empty line after the headers. */
static void end_head(struct http_answer *answer)
{
    uint32_t status = answer->status;

    if (status < 200 && status != 101) {
        answer->state = HTTP_STATUS_LINE;
        if (++answer->n_interim > HTTP_INTERIM_MAX) {
            set_fault(answer, "more than 5 interim answers");
        }
    } else if (answer->has_no_body || status == 204 || status == 304) {
        answer->state = HTTP_COMPLETE;
    } else if (answer->is_chunked) {
        answer->state = HTTP_CHUNK_SIZE;
    } else if (answer->has_coding || !answer->has_length) {
        answer->state = HTTP_BODY_OPEN;
    } else {
        answer->state = answer->left_bytes > 0 ? HTTP_BODY_COUNTED : HTTP_COMPLETE;
    }
}

/* --- chunks --- */

/* "1f", "1f;extension" */
static void end_chunk_size(struct http_answer *answer)
{
    const char *line = answer->line;
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    const char *after = line + digits + strspn(line + digits, " \t");
    uint64_t size = 0;

    for (size_t i = 0; i < digits && digits <= CHUNK_DIGITS_MAX; i++) {
        int c = tolower((unsigned char)line[i]);

        size = size * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (digits == 0 || digits > CHUNK_DIGITS_MAX || (*after != '\0' && *after != ';') ||
        answer->is_cut) {
        set_fault(answer, "malformed chunk");
        return;
    }
    answer->left_bytes = size;
    answer->state = size > 0 ? HTTP_CHUNK : HTTP_TRAILERS;
}

/* --- lines --- */

/* A line among headers or trailers that is not empty. */
static void end_field(struct http_answer *answer)
{
    if (++answer->head_lines > HTTP_LINES_MAX) {
        set_fault(answer, "more than 100 header lines");
    } else if (answer->state == HTTP_HEADERS) {
        end_header(answer);
    }
}

static void end_line(struct http_answer *answer)
{
    char *line = answer->line;
    bool is_empty;

    if (answer->line_len > 0 && line[answer->line_len - 1] == '\r' && !answer->is_cut) {
        answer->line_len--;
    }
    line[answer->line_len] = '\0';
    is_empty = answer->line_len == 0;
    switch (answer->state) {
    case HTTP_STATUS_LINE:
        end_status_line(answer);
        break;
    case HTTP_CHUNK_SIZE:
        end_chunk_size(answer);
        break;
    case HTTP_CHUNK_END:
        answer->state = HTTP_CHUNK_SIZE;
        if (!is_empty) {
            set_fault(answer, "malformed chunk");
        }
        break;
    default: /* headers, trailers */
        if (!is_empty) {
            end_field(answer);
        } else if (answer->state == HTTP_HEADERS) {
            end_head(answer);
        } else {
            answer->state = HTTP_COMPLETE;
        }
        break;
    }
}

/* What the limits say, and whether this is HTTP at all. */
static void judge_line(struct http_answer *answer, size_t n)
{
    size_t known = answer->line_len < VERSION_LEN ? answer->line_len : VERSION_LEN;

    if (answer->state == HTTP_STATUS_LINE && memcmp(answer->line, version, known) != 0) {
        set_fault(answer, NULL);
    } else if (memchr(answer->line, '\0', answer->line_len) != NULL) {
        set_fault(answer, "a NUL byte in the headers");
    } else if (answer->state == HTTP_CHUNK_SIZE || answer->state == HTTP_CHUNK_END) {
        if (answer->is_cut) {
            set_fault(answer, "malformed chunk");
        }
    } else if (answer->head_bytes + n > HTTP_HEAD_MAX) {
        set_fault(answer, "headers over 16 KiB");
    } else {
        answer->head_bytes += (uint32_t)n;
    }
}

/* Takes up to the end of the line; returns how many bytes. */
static size_t feed_line(struct http_answer *answer, const char *bytes, size_t n)
{
    const char *newline = memchr(bytes, '\n', n);
    size_t len = newline != NULL ? (size_t)(newline - bytes) : n;
    size_t room = sizeof(answer->line) - 1 - answer->line_len;
    size_t kept = len < room ? len : room;

    memcpy(answer->line + answer->line_len, bytes, kept);
    answer->line_len += (uint32_t)kept;
    answer->is_cut |= kept < len;
    judge_line(answer, len + (newline != NULL));
    if (newline == NULL || answer->state == HTTP_FAULT) {
        return len;
    }
    end_line(answer);
    if (answer->state != HTTP_FAULT) {
        answer->line_len = 0;
        answer->is_cut = false;
    }
    return len + 1;
}

/* --- body --- */

static void keep(struct http_answer *answer, const char *bytes, size_t n)
{
    size_t room;

    if (answer->body == NULL) {
        return;
    }
    room = HTTP_BODY_MAX - answer->body->len;
    str_append_n(answer->body, bytes, n < room ? n : room);
    answer->is_body_full = n >= room;
}

static size_t feed_body(struct http_answer *answer, const char *bytes, size_t n)
{
    size_t taken = n < answer->left_bytes ? n : (size_t)answer->left_bytes;

    keep(answer, bytes, taken);
    answer->left_bytes -= taken;
    if (answer->left_bytes == 0) {
        answer->state = answer->state == HTTP_CHUNK ? HTTP_CHUNK_END : HTTP_COMPLETE;
    }
    return taken;
}

void http_answer_feed(struct http_answer *answer, const char *bytes, size_t n)
{
    size_t at = 0;

    while (at < n && answer->state != HTTP_COMPLETE && answer->state != HTTP_FAULT) {
        if (answer->state == HTTP_BODY_OPEN) {
            keep(answer, bytes + at, n - at);
            at = n;
        } else if (answer->state == HTTP_BODY_COUNTED || answer->state == HTTP_CHUNK) {
            at += feed_body(answer, bytes + at, n - at);
        } else {
            at += feed_line(answer, bytes + at, n - at);
        }
    }
}

void http_answer_end(struct http_answer *answer)
{
    switch (answer->state) {
    case HTTP_COMPLETE:
    case HTTP_FAULT:
        break;
    case HTTP_BODY_OPEN:
        answer->state = HTTP_COMPLETE;
        break;
    case HTTP_STATUS_LINE:
        set_fault(answer, answer->line_len > 0 ? NULL : "closed without an answer");
        break;
    case HTTP_HEADERS:
        set_fault(answer, "closed within the headers");
        break;
    default:
        set_fault(answer, "closed within the body");
        break;
    }
}
