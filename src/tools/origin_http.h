/*
 * Between the HTTP connection (origin_http.c) and its routes (origin_routes.c): the state of one
 * connection and the ways to answer one request.
 */
#ifndef SLUICE_TOOLS_ORIGIN_HTTP_H
#define SLUICE_TOOLS_ORIGIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunked.h"
#include "origin.h"
#include "origin_request.h"

#define HTTP_HEAD_MAX   8192 /* of a request head; also the input buffer */
#define HTTP_OUT_SIZE   4096
#define HTTP_TEXT_MAX   512  /* of a short answer's body */
#define HTTP_ANSWER_MAX 1024 /* of a short answer with its head, or of a stream's head */

/*
 *   READING_HEAD ──► READING_BODY ──► the route answers ──► READING_HEAD (keep-alive) or ENDING
 *        │                                │      └─► STREAMING ──► the same
 *        │                                └─► SLEEPING ──► answers then
 *        └─► ENDING (end of input, or refused)
 */
enum http_phase {
    HTTP_READING_HEAD,
    HTTP_READING_BODY,
    HTTP_SLEEPING,
    HTTP_STREAMING,
    HTTP_ENDING,
    HTTP_PHASE_COUNT
};

enum http_framing {
    HTTP_COUNTED, /* Content-Length */
    HTTP_CHUNKED, /* ended by close for an HTTP/1.0 client */
    HTTP_UNTIL_CLOSE,
    HTTP_BODILESS, /* 204, 304 */
    HTTP_FRAMING_COUNT
};

struct http_buffers {
    char in[HTTP_HEAD_MAX];
    char out[HTTP_OUT_SIZE];
};

struct http_conn {
    struct http_buffers *buffers; /* NULL while both are empty */
    size_t in_used;
    size_t in_length; /* behind in_used */
    size_t scanned;   /* of in_length, where no end of a head is */
    size_t out_sent;
    size_t out_length; /* behind out_sent */
    enum http_phase phase;
    bool eof;
    bool refused;
    bool awake;
    bool streaming;
    bool chunking;
    struct request request;
    struct chunked chunked;
    uint64_t body_left;
    uint64_t body_bytes;
    uint64_t stream_offset;
    uint64_t stream_end;
    uint64_t chunk_end;
    uint64_t wake_ns;
};

/* Answers the request that has been read in full, by exactly one of the functions below. */
void http_route(struct origin_conn *conn);
/* Answers it after http_sleep(). */
void http_route_awake(struct origin_conn *conn);

/* Queues a short text as the whole answer. */
void http_answer(struct origin_conn *conn, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers with so many bytes of the pattern. */
void http_stream(struct origin_conn *conn, enum http_framing framing, uint64_t length);
/* Calls http_route_awake() later. */
void http_sleep(struct origin_conn *conn, uint64_t span_ns);

#endif
