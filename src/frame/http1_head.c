/*
 * Heads of HTTP/1 messages. Two passes, so that a head that comes byte by byte is still gone over
 * in linear time: the scan looks only for bytes that are not text, eight at once, and remembers how
 * far it came; the fields are read once, when the whole head is there. In workers; pure.
 */
#include "http1_field.h"

#include <endian.h>
#include <string.h>
#include <strings.h>

/* --- the end of a head --- */

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Where the next control byte is, from at on; n: nowhere. (Bytes under 0x20 and those that are 0x7f
 * by the subtractions of "Bit Twiddling Hacks", S. E. Anderson; the lowest mark is always right.)
 */
static size_t find_control(const unsigned char *bytes, size_t at, size_t n)
{
    for (; at + 8 <= n; at += 8) {
        uint64_t word, del, marks;

        memcpy(&word, bytes + at, sizeof(word));
        word = le64toh(word);
        del = word ^ EACH_BYTE(0x7f);
        marks =
            (((word - EACH_BYTE(0x20)) & ~word) | ((del - EACH_BYTE(1)) & ~del)) & EACH_BYTE(0x80);
        if (marks != 0) {
            return at + (size_t)__builtin_ctzll(marks) / 8;
        }
    }
    while (at < n && bytes[at] >= 0x20 && bytes[at] != 0x7f) {
        at++;
    }
    return at;
}

/* blank_lines: UINT32_MAX for an empty line at the front that is the end. */
static enum http1_fault scan_lines(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                   uint32_t blank_lines, size_t *out_n)
{
    size_t at = scan->at;

    *out_n = 0;
    while ((at = find_control(bytes, at, n)) < n) {
        if (bytes[at] == '\t') {
            at++;
            continue;
        }
        if (bytes[at] != '\r') {
            return bytes[at] == '\n' ? HTTP1_LINE_END : HTTP1_CONTROL_BYTE;
        }
        if (at + 1 == n) {
            break;
        }
        if (bytes[at + 1] != '\n') {
            return HTTP1_LINE_END;
        }
        at += 2;
        if (at - 2 == scan->line) {
            if (scan->line > scan->start || blank_lines == UINT32_MAX) {
                *out_n = at;
                return HTTP1_FINE;
            }
            if (at > 2 * (size_t)blank_lines) {
                return HTTP1_BLANK_LINES;
            }
            scan->start = (uint32_t)at;
        }
        scan->line = (uint32_t)at;
    }
    scan->at = (uint32_t)at;
    return HTTP1_FINE;
}

enum http1_fault http1_scan_head(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                 unsigned blank_lines, size_t *out_n)
{
    return scan_lines(scan, bytes, n, blank_lines, out_n);
}

enum http1_fault http1_scan_trailer(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                    size_t *out_n)
{
    return scan_lines(scan, bytes, n, UINT32_MAX, out_n);
}

/* --- fields --- */

/* The line that begins at a byte that the scan went over; of every such line the end is there. */
static const unsigned char *line_end(const unsigned char *at)
{
    return rawmemchr(at, '\r');
}

/* From at to end, the empty line. */
static enum http1_fault read_fields(struct http1_head *head, const unsigned char *at,
                                    const unsigned char *end)
{
    while (at < end) {
        const unsigned char *colon = at, *stop;
        enum http1_fault fault;
        enum http1_field field;

        while (http1_is_token[*colon]) {
            colon++;
        }
        if (colon == at || *colon != ':') {
            bool is_blank = *colon == ' ' || *colon == '\t';

            return !is_blank ? HTTP1_FIELD : colon == at ? HTTP1_FOLDED : HTTP1_BLANK_BEFORE_COLON;
        }
        stop = line_end(colon);
        field = http1_classify(at, (size_t)(colon - at));
        if (field != HTTP1_FIELD_OTHER) {
            fault = http1_note_field(head, field, colon + 1, stop);
            if (fault != HTTP1_FINE) {
                return fault;
            }
        }
        at = stop + 2;
    }
    return head->has_length && head->is_chunked ? HTTP1_LENGTH_AND_CODING : HTTP1_FINE;
}

/* --- start lines --- */

static void begin(struct http1_head *head, const unsigned char *bytes, size_t n)
{
    memset(head, 0, sizeof(*head));
    head->at = bytes;
    head->n = n;
    head->fields = (size_t)(line_end(bytes) - bytes) + 2;
}

/* "HTTP/1.1" and "HTTP/1.0"; the caller knows that there are eight bytes. */
static enum http1_fault read_version(struct http1_head *head, const unsigned char *at)
{
    if (memcmp(at, "HTTP/", 5) != 0 || at[5] < '0' || at[5] > '9' || at[6] != '.' || at[7] < '0' ||
        at[7] > '9') {
        return HTTP1_START_LINE;
    }
    head->is_1_0 = at[7] == '0';
    return at[5] == '1' && at[7] <= '1' ? HTTP1_FINE : HTTP1_VERSION;
}

static void note_method(struct http1_head *head, const unsigned char *at, size_t n)
{
    head->is_head = n == 4 && memcmp(at, "HEAD", 4) == 0;
    head->is_connect = n == 7 && memcmp(at, "CONNECT", 7) == 0;
    head->is_safe = head->is_head || (n == 3 && memcmp(at, "GET", 3) == 0) ||
                    (n == 7 && memcmp(at, "OPTIONS", 7) == 0);
}

enum http1_fault http1_read_request(struct http1_head *out_head, const unsigned char *bytes,
                                    size_t n)
{
    const unsigned char *end, *at = bytes, *blank;
    enum http1_fault fault;

    begin(out_head, bytes, n);
    end = bytes + out_head->fields - 2;
    while (http1_is_token[*at]) {
        at++;
    }
    if (at == bytes || *at != ' ' || memchr(at, '\t', (size_t)(end - at)) != NULL) {
        return HTTP1_START_LINE;
    }
    note_method(out_head, bytes, (size_t)(at - bytes));
    at++;
    blank = memchr(at, ' ', (size_t)(end - at));
    if (blank == NULL || blank == at || end - blank != sizeof("HTTP/1.1")) {
        return HTTP1_START_LINE;
    }
    fault = read_version(out_head, blank + 1);
    if (fault == HTTP1_FINE) {
        fault = read_fields(out_head, bytes + out_head->fields, bytes + n - 2);
    }
    if (fault == HTTP1_FINE && out_head->n_hosts == 0 && !out_head->is_1_0) {
        return HTTP1_HOST;
    }
    return fault;
}

enum http1_fault http1_judge_status(const unsigned char *bytes, size_t n)
{
    static const char shape[] = "HTTP/1.1 200 "; /* 1: a version, 2: 1 to 9, 0: any digit */

    for (size_t i = 0; i < n && i < sizeof(shape) - 1; i++) {
        bool is_digit = bytes[i] >= '0' && bytes[i] <= '9';
        bool fits = bytes[i] == (unsigned char)shape[i];

        if (shape[i] == '1' || shape[i] == '0') {
            fits = is_digit;
        } else if (shape[i] == '2') {
            fits = is_digit && bytes[i] != '0';
        } else if (i == sizeof(shape) - 2) {
            fits |= bytes[i] == '\r';
        }
        if (!fits) {
            return HTTP1_START_LINE;
        }
        if (shape[i] == '1' && (bytes[i] > '1' || (i == 5 && bytes[i] == '0'))) {
            return HTTP1_VERSION;
        }
    }
    return HTTP1_FINE;
}

enum http1_fault http1_read_reply(struct http1_head *out_head, const unsigned char *bytes, size_t n)
{
    const unsigned char *code = bytes + sizeof("HTTP/1.1");
    enum http1_fault fault = http1_judge_status(bytes, n);

    if (fault != HTTP1_FINE) {
        return fault;
    }
    begin(out_head, bytes, n);
    out_head->status = (uint16_t)((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
    out_head->is_1_0 = bytes[sizeof("HTTP/1.1") - 2] == '0';
    return read_fields(out_head, bytes + out_head->fields, bytes + n - 2);
}

/* What decides a message's end or target comes too late here, and some reader might still merge it
 * into the head (RFC 9110 6.5.1). */
enum http1_fault http1_read_trailer(const unsigned char *bytes, size_t n)
{
    struct http1_head head = {0};

    if (read_fields(&head, bytes, bytes + n - 2) != HTTP1_FINE || head.has_length ||
        head.is_chunked || head.n_hosts > 0 || head.options != 0) {
        return HTTP1_TRAILER;
    }
    return HTTP1_FINE;
}

/* --- rewriting --- */

static bool is_dropped(const struct http1_head *head, const unsigned char *name, size_t n,
                       bool keeps_upgrade)
{
    switch (http1_classify(name, n)) {
    case HTTP1_FIELD_CONNECTION:
    case HTTP1_FIELD_KEEP_ALIVE:
    case HTTP1_FIELD_PROXY_CONNECTION:
        return true;
    case HTTP1_FIELD_UPGRADE:
        return (head->options & HTTP1_UPGRADE) != 0 && !keeps_upgrade;
    default:
        return false;
    }
}

size_t http1_rewrite(const struct http1_head *head, const char *connection, bool keeps_upgrade,
                     unsigned char *room)
{
    const unsigned char *end = head->at + head->n - 2, *next;
    const unsigned char *kept = head->at; /* what is to be copied begins here */
    unsigned char *to = room;

    for (const unsigned char *at = head->at + head->fields; at < end; at = next) {
        const unsigned char *colon = at;

        while (*colon != ':') {
            colon++;
        }
        next = line_end(colon) + 2;
        if (is_dropped(head, at, (size_t)(colon - at), keeps_upgrade)) {
            to = mempcpy(to, kept, (size_t)(at - kept));
            kept = next;
        }
    }
    to = mempcpy(to, kept, (size_t)(end - kept));
    to = mempcpy(to, "Connection: ", sizeof("Connection: ") - 1);
    to = mempcpy(to, connection, strlen(connection));
    to = mempcpy(to, "\r\n\r\n", 4);
    return (size_t)(to - room);
}

const char *http1_fault_text(enum http1_fault fault)
{
    static const char *const texts[HTTP1_FAULT_COUNT] = {
        [HTTP1_FINE] = "",
        [HTTP1_START_LINE] = "malformed start line",
        [HTTP1_VERSION] = "unknown HTTP version",
        [HTTP1_CONTROL_BYTE] = "control byte in a head",
        [HTTP1_LINE_END] = "line without CRLF",
        [HTTP1_BLANK_LINES] = "empty lines before a head",
        [HTTP1_FIELD] = "malformed field",
        [HTTP1_FOLDED] = "folded field",
        [HTTP1_BLANK_BEFORE_COLON] = "blank before a colon",
        [HTTP1_HOST] = "not one good host",
        [HTTP1_LENGTH] = "malformed content-length",
        [HTTP1_CODING] = "transfer-encoding other than chunked",
        [HTTP1_LENGTH_AND_CODING] = "content-length and transfer-encoding",
        [HTTP1_CONNECTION] = "malformed connection field",
        [HTTP1_TOO_LARGE] = "head over 64 KiB",
        [HTTP1_CHUNK] = "malformed chunk",
        [HTTP1_TRAILER] = "malformed trailer",
    };

    return texts[fault];
}
