/*
 * An HTTP/1 answer, read byte by byte as it comes: status line, headers, and the body as far as
 * somebody wants it. Strict about what decides (version, status, framing), patient with the rest,
 * bounded in everything. Pure; the bytes are a stranger's.
 *
 *   status line ──► header lines ──► body (by length, in chunks, until the end) ──► complete
 *     ▲                  │
 *     └── 1xx: the next ─┘
 */
#ifndef SLUICE_CHECK_HTTP_ANSWER_H
#define SLUICE_CHECK_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define HTTP_HEAD_MAX    (16 * 1024) /* bytes of all status and header lines, trailers too */
#define HTTP_LINES_MAX   100         /* header lines, likewise */
#define HTTP_INTERIM_MAX 5           /* 1xx answers before the real one */
#define HTTP_BODY_MAX    (64 * 1024) /* bytes that are kept */
#define HTTP_LINE_KEPT   256         /* bytes of a line that are looked at */

enum http_state {
    HTTP_STATUS_LINE,
    HTTP_HEADERS,
    HTTP_BODY_COUNTED, /* left_bytes are to come */
    HTTP_BODY_OPEN,    /* until the peer ends */
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK, /* left_bytes of it are to come */
    HTTP_CHUNK_END,
    HTTP_TRAILERS,
    HTTP_COMPLETE,
    HTTP_FAULT,
    HTTP_STATE_COUNT
};

struct http_answer {
    enum http_state state;
    uint32_t status;   /* 100 to 999; of the last status line */
    const char *fault; /* in HTTP_FAULT: what is wrong, constant; NULL: this is no HTTP, and line
                        * is what came instead */
    uint64_t left_bytes;
    struct str *body;  /* NULL: not wanted */
    bool is_body_full; /* HTTP_BODY_MAX bytes are there; what follows is not kept */
    bool has_no_body;  /* the answer to HEAD */
    bool has_length, has_coding, is_chunked;
    bool is_cut; /* line lacks what the line has more */
    uint32_t head_bytes, head_lines, n_interim;
    uint32_t line_len; /* of line, which holds the start of the line that is coming in */
    char line[HTTP_LINE_KEPT];
};

/* body, empty, gets up to HTTP_BODY_MAX bytes; NULL: the body is passed over. */
void http_answer_init(struct http_answer *answer, bool is_head_request, struct str *body);
/* Takes what came next. Nothing after HTTP_COMPLETE and HTTP_FAULT makes a difference. */
void http_answer_feed(struct http_answer *answer, const char *bytes, size_t n);
/* The peer has ended. */
void http_answer_end(struct http_answer *answer);
/* Whether status and headers of the real answer are there. */
bool http_answer_has_head(const struct http_answer *answer);

#endif
