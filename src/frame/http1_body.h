/*
 * Follows the body of an HTTP/1 message to its end, by RFC 9112 6 and 7.1, for the framer http1.
 * In workers; pure.
 *
 *   chunk size ─► (extension) ─► CRLF ─┬─► data ─► CRLF ─► chunk size
 *                                      └─► (size 0) trailer, empty line ─► done
 */
#ifndef SLUICE_FRAME_HTTP1_BODY_H
#define SLUICE_FRAME_HTTP1_BODY_H

#include "http1_head.h"

/* The most that a chunk's extension, and that all trailer fields together, may be. */
#define HTTP1_EXTENSION_MAX 256
#define HTTP1_TRAILER_MAX   (16 * 1024)

enum http1_body_state {
    HTTP1_DONE,
    HTTP1_COUNTED, /* left bytes are to come */
    HTTP1_OPEN,    /* until the sender closes */
    HTTP1_CHUNK_DIGIT,
    HTTP1_CHUNK_DIGITS,
    HTTP1_CHUNK_EXTENSION,
    HTTP1_CHUNK_EXTENSIONS,
    HTTP1_CHUNK_LF,
    HTTP1_CHUNK_DATA, /* left bytes of it are to come */
    HTTP1_CHUNK_END_CR,
    HTTP1_CHUNK_END_LF,
    HTTP1_TRAILERS,
    HTTP1_BODY_STATE_COUNT
};

struct http1_body {
    enum http1_body_state state;
    uint32_t count; /* digits, then bytes of extension of this chunk */
    uint64_t left;
    struct http1_scan scan; /* of the trailer */
};

/* A body as the head says; none: the message has none whatever its head says. */
void http1_body_begin(struct http1_body *body, const struct http1_head *head, bool none,
                      bool is_request);

/*
 * Goes on over bytes as far as they are right; returns how many are. Fewer than n: the body ends
 * there (HTTP1_DONE); or *out_fault says what is wrong with what is behind, and says so again when
 * that comes first; or a trailer that is not whole begins there, whose bytes are to come again with
 * more behind them. So the same bytes are taken however they are split.
 */
size_t http1_body_follow(struct http1_body *body, const unsigned char *bytes, size_t n,
                         enum http1_fault *out_fault);

#endif
