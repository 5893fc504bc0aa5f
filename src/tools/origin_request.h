/*
 * Parsing of one HTTP/1 request head, strictly and bounded. Pure: bytes in, a struct out.
 */
#ifndef SLUICE_TOOLS_ORIGIN_REQUEST_H
#define SLUICE_TOOLS_ORIGIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_PATH_MAX 512

enum request_method {
    REQUEST_GET,
    REQUEST_HEAD,
    REQUEST_POST,
    REQUEST_PUT,
    REQUEST_OTHER,
    REQUEST_METHOD_COUNT
};

struct request {
    enum request_method method;
    bool http10;
    bool keep_alive; /* what the client wishes, by version and Connection header */
    bool expects_continue;
    bool chunked; /* the body's coding; content_length is then 0 */
    uint64_t content_length;
    char path[REQUEST_PATH_MAX]; /* without query, scheme and host */
};

/* Length of the head at the start of data with its empty line, 0 when its end is not there yet. */
size_t request_head_length(const char *data, size_t length);

/*
 * Parses a head of exactly that length. Returns 0, or the HTTP status to refuse it with and in
 * *out_problem a constant text; *out is then undefined.
 */
unsigned request_parse(const char *head, size_t length, struct request *out,
                       const char **out_problem);

#endif
