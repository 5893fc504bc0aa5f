/*
 * Fields of HTTP/1 heads: which of them matter to the framer http1, and what their values may be.
 * In workers; pure.
 */
#ifndef SLUICE_FRAME_HTTP1_FIELD_H
#define SLUICE_FRAME_HTTP1_FIELD_H

#include "http1_head.h"

enum http1_field {
    HTTP1_FIELD_OTHER,
    HTTP1_FIELD_CONNECTION,
    HTTP1_FIELD_CREDENTIALS,
    HTTP1_FIELD_EXPECT,
    HTTP1_FIELD_HOST,
    HTTP1_FIELD_KEEP_ALIVE,
    HTTP1_FIELD_LENGTH,
    HTTP1_FIELD_PROXY_CONNECTION,
    HTTP1_FIELD_CODING,
    HTTP1_FIELD_UPGRADE,
};

/* What names, methods and options are made of: tchar of RFC 9110 5.6.2. */
extern const bool http1_is_token[256];

/* By name, of at least one byte, in any case. */
enum http1_field http1_classify(const unsigned char *name, size_t n);

/* Notes in head what the value says, which is all from behind the colon to the end of the line. The
 * version is known already. */
enum http1_fault http1_note_field(struct http1_head *head, enum http1_field field,
                                  const unsigned char *at, const unsigned char *end);

#endif
