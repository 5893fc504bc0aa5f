/*
 * Decoder of HTTP's chunked transfer coding, for requests and answers alike. Pure: it never copies
 * the body, it points into the caller's bytes. Strict: sizes of at most 15 hexadecimal digits, CRLF
 * everywhere, extensions and trailers bounded.
 */
#ifndef SLUICE_TOOLS_CHUNKED_H
#define SLUICE_TOOLS_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#define CHUNKED_EXTENSION_MAX 256
#define CHUNKED_TRAILER_MAX   4096

enum chunked_state {
    CHUNKED_SIZE,         /* digits → CHUNKED_EXTENSION or CHUNKED_SIZE_LF */
    CHUNKED_EXTENSION,    /* after ';' → CHUNKED_SIZE_LF */
    CHUNKED_SIZE_LF,      /* → CHUNKED_DATA, or CHUNKED_TRAILER after size 0 */
    CHUNKED_DATA,         /* → CHUNKED_DATA_CR */
    CHUNKED_DATA_CR,      /* → CHUNKED_DATA_LF */
    CHUNKED_DATA_LF,      /* → CHUNKED_SIZE */
    CHUNKED_TRAILER,      /* start of a trailer line → CHUNKED_TRAILER_LINE or CHUNKED_END_LF */
    CHUNKED_TRAILER_LINE, /* → CHUNKED_TRAILER */
    CHUNKED_END_LF,       /* → CHUNKED_OVER */
    CHUNKED_OVER,
    CHUNKED_STATE_COUNT
};

/* All-zero is the start of a body. */
struct chunked {
    enum chunked_state state;
    unsigned digits;
    unsigned overhead; /* bytes of the extension or of the trailers so far */
    uint64_t left;     /* bytes of this chunk still to come */
};

struct chunked_span {
    const char *body; /* NULL: no body bytes in this step */
    size_t length;
};

/*
 * Takes bytes up to the end of one stretch of body, of the whole body, or of the data. Sets
 * *out_used to how many it took, *out_span to the body among them. Returns 0 while the body goes
 * on (call again with the rest), 1 once it is over, -EBADMSG for bytes that are no chunked body.
 */
int chunked_decode(struct chunked *chunked, const char *data, size_t length, size_t *out_used,
                   struct chunked_span *out_span);

#endif
