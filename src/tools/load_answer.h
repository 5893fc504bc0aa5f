/*
 * Reading of one answer from the origin: HTTP/1 with its body, or the single line that a raw upload
 * gets. Pure and incremental: bytes in as they come, a verdict out. Bounded whatever the peer
 * sends.
 */
#ifndef SLUICE_TOOLS_LOAD_ANSWER_H
#define SLUICE_TOOLS_LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunked.h"
#include "load.h"

#define ANSWER_LINE_MAX 256 /* longer header lines are cut; what we need is short */
#define ANSWER_HEAD_MAX (64 * 1024)

/*
 *   STATUS ──► HEADERS ──► COUNTED, CHUNKED or UNTIL_CLOSE ──► OVER
 *     ▲           │ └─► OVER (no body)
 *     └───────────┘ (1xx)
 *   RAW: a line, over at the end of the connection
 */
enum answer_state {
    ANSWER_STATUS,
    ANSWER_HEADERS,
    ANSWER_COUNTED,
    ANSWER_CHUNKED,
    ANSWER_UNTIL_CLOSE,
    ANSWER_RAW,
    ANSWER_OVER,
    ANSWER_STATE_COUNT
};

enum answer_verdict {
    ANSWER_MORE, /* goes on */
    ANSWER_DONE, /* whole; the rest of the bytes is not of this answer */
    ANSWER_BAD,  /* no HTTP, or out of bounds */
};

struct answer {
    enum answer_state state;
    unsigned status;
    unsigned head_bytes;
    unsigned line_length;
    uint64_t body_left;  /* COUNTED */
    uint64_t body_bytes; /* seen so far */
    struct chunked chunked;
    bool verify;       /* the body has to be the pattern */
    bool body_differs; /* … and is not */
    bool has_length;
    bool is_chunked;
    bool closes; /* the origin says it will close, or has no other way to end the body */
    char line[ANSWER_LINE_MAX];
    char origin[LOAD_ORIGIN_TEXT]; /* X-Origin, printable, "" when there is none */
};

/* Gets ready for the next answer. */
void answer_begin(struct answer *answer, bool verify);
void answer_begin_raw(struct answer *answer);

/* Takes bytes; *out_used says how many belong to this answer. */
enum answer_verdict answer_feed(struct answer *answer, const char *data, size_t length,
                                size_t *out_used);

/* What the end of the connection means now: DONE or MORE (it came too early). */
enum answer_verdict answer_end(struct answer *answer);

#endif
