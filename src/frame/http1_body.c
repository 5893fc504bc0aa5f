/*
 * Bodies of HTTP/1 messages. Of what frames chunks nothing is forgiven: no blank, no sign, no bare
 * line end, since each is where some reader elsewhere sees another boundary. In workers; pure.
 */
#include "http1_body.h"

/* 15 digits are under 2^60. */
#define CHUNK_DIGITS_MAX 15

void http1_body_begin(struct http1_body *body, const struct http1_head *head, bool none,
                      bool is_request)
{
    *body = (struct http1_body){.left = head->length};
    if (none) {
        body->state = HTTP1_DONE;
    } else if (head->is_chunked) {
        body->state = HTTP1_CHUNK_DIGIT;
    } else if (head->has_length) {
        body->state = head->length > 0 ? HTTP1_COUNTED : HTTP1_DONE;
    } else { /* RFC 9112 6.3, 7 and 8 */
        body->state = is_request ? HTTP1_DONE : HTTP1_OPEN;
    }
}

static int hex_value(unsigned char c)
{
    unsigned char letter = c | 0x20;

    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static bool take_digit(struct http1_body *body, unsigned char c)
{
    int value = hex_value(c);

    if (body->state == HTTP1_CHUNK_DIGIT) {
        body->count = 0;
        body->left = 0;
    }
    if (value < 0 || body->count == CHUNK_DIGITS_MAX) {
        return false;
    }
    body->count++;
    body->left = body->left * 16 + (uint64_t)value;
    body->state = HTTP1_CHUNK_DIGITS;
    return true;
}

/* Nobody reads extensions; what matters is that all agree where they end. */
static bool take_extension(struct http1_body *body, unsigned char c)
{
    if (c == '\r' && body->state == HTTP1_CHUNK_EXTENSIONS) {
        body->state = HTTP1_CHUNK_LF;
        return true;
    }
    if (c < 0x20 || c == 0x7f || body->count == HTTP1_EXTENSION_MAX) {
        return false;
    }
    body->count++;
    body->state = HTTP1_CHUNK_EXTENSIONS;
    return true;
}

/* One byte of what stands around the data of chunks; false: it is wrong, and nothing has changed
 * that matters. */
static bool take_byte(struct http1_body *body, unsigned char c)
{
    enum http1_body_state next;

    switch (body->state) {
    case HTTP1_CHUNK_DIGITS:
        if (c == ';') {
            body->count = 0;
            body->state = HTTP1_CHUNK_EXTENSION;
            return true;
        }
        if (c != '\r') {
            return take_digit(body, c);
        }
        next = HTTP1_CHUNK_LF;
        break;
    case HTTP1_CHUNK_EXTENSION:
    case HTTP1_CHUNK_EXTENSIONS:
        return take_extension(body, c);
    case HTTP1_CHUNK_END_CR:
        next = HTTP1_CHUNK_END_LF;
        break;
    case HTTP1_CHUNK_LF:
        next = body->left > 0 ? HTTP1_CHUNK_DATA : HTTP1_TRAILERS;
        break;
    case HTTP1_CHUNK_END_LF:
        next = HTTP1_CHUNK_DIGIT;
        break;
    default: /* HTTP1_CHUNK_DIGIT */
        return take_digit(body, c);
    }
    if (c != (body->state == HTTP1_CHUNK_LF || body->state == HTTP1_CHUNK_END_LF ? '\n' : '\r')) {
        return false;
    }
    body->state = next;
    return true;
}

static size_t take_data(struct http1_body *body, size_t n)
{
    size_t taken = n < body->left ? n : (size_t)body->left;

    body->left -= taken;
    if (body->left == 0) {
        body->state = body->state == HTTP1_CHUNK_DATA ? HTTP1_CHUNK_END_CR : HTTP1_DONE;
    }
    return taken;
}

/* Returns how long the trailer is, 0: it is not whole. */
static size_t take_trailer(struct http1_body *body, const unsigned char *bytes, size_t n,
                           enum http1_fault *out_fault)
{
    size_t whole;

    *out_fault = http1_scan_trailer(&body->scan, bytes,
                                    n < HTTP1_TRAILER_MAX ? n : HTTP1_TRAILER_MAX, &whole);
    if (*out_fault == HTTP1_FINE && whole > 0) {
        *out_fault = http1_read_trailer(bytes, whole);
    } else if (*out_fault == HTTP1_FINE && n >= HTTP1_TRAILER_MAX) {
        *out_fault = HTTP1_TRAILER;
    }
    if (*out_fault == HTTP1_FINE && whole > 0) {
        body->state = HTTP1_DONE;
        return whole;
    }
    return 0;
}

size_t http1_body_follow(struct http1_body *body, const unsigned char *bytes, size_t n,
                         enum http1_fault *out_fault)
{
    size_t at = 0;

    *out_fault = HTTP1_FINE;
    while (at < n && body->state != HTTP1_DONE) {
        if (body->state == HTTP1_OPEN) {
            return n;
        }
        if (body->state == HTTP1_COUNTED || body->state == HTTP1_CHUNK_DATA) {
            at += take_data(body, n - at);
        } else if (body->state == HTTP1_TRAILERS) {
            size_t taken = take_trailer(body, bytes + at, n - at, out_fault);

            at += taken;
            if (taken == 0) {
                break;
            }
        } else if (take_byte(body, bytes[at])) {
            at++;
        } else {
            *out_fault = HTTP1_CHUNK;
            break;
        }
    }
    return at;
}
