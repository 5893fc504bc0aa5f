/*
 * Where a request of Redis' protocol ends, and where its command's name is. In workers; pure.
 */
#ifndef SLUICE_FRAME_RESP_REQUEST_H
#define SLUICE_FRAME_RESP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of Redis, as it comes: arguments of a command (newer ones would take more), bytes of one of them
 * (proto-max-bulk-len). */
#define RESP_ARGS_MAX  (1024 * 1024)
#define RESP_BYTES_MAX (512 * 1024 * 1024)

/* In the order in which they come; NAME once, BIG at most once. */
enum resp_step {
    RESP_MORE,  /* all bytes are looked at; this much is understood */
    RESP_NAME,  /* the name is in, by itself */
    RESP_BIG,   /* the request will not fit in what may be held */
    RESP_END,   /* it is complete */
    RESP_EMPTY, /* it is complete and says nothing; Redis does not answer it */
    RESP_BAD,   /* it is malformed behind what is understood */
    RESP_STEP_COUNT
};

/* Zeroed: a new request begins. */
struct resp_request {
    size_t at;              /* bytes understood; the caller takes away what it has passed on */
    size_t name_at, name_n; /* valid at RESP_NAME; n is 0 for what is longer than any name */
    uint32_t args_left;     /* to begin */
    uint32_t body_left;     /* of the argument that has begun */
    uint8_t phase;
    bool is_named;
    bool is_big;
    bool is_inline;
    bool is_quoted;      /* inline, and quotes are in it */
    const char *problem; /* at RESP_BAD: what the client is to be told; static storage */
};

/* Goes on to the next step. The bytes are those given before, less what was taken away, with more
 * behind them; only those of a header that is cut are looked at again. Steps and their places do
 * not depend on how many bytes are given at once. */
enum resp_step resp_request_step(struct resp_request *request, const unsigned char *bytes,
                                 size_t n);

/* An argument of a request. */
struct resp_argument {
    const unsigned char *at;
    size_t n;
};

/* How many arguments a complete request that is not inline has, its name among them; out takes the
 * first of them, max at most. They point into bytes. */
size_t resp_request_arguments(const unsigned char *bytes, size_t n, struct resp_argument *out,
                              size_t max);

#endif
