/*
 * What the kinds share that talk over a connection: one stream a run, one verdict, and an end that
 * suits both sides. In the monitor.
 *
 *   idle ──start──► talking ──verdict──► ending ──the peer's end, or soon enough──► idle
 *     ▲                │                    │
 *     └────cancel, or verdict with a reset──┘
 */
#ifndef SLUICE_CHECK_TALK_H
#define SLUICE_CHECK_TALK_H

#include "check/check.h"
#include "check/stream.h"
#include "sluice/scoreboard.h"

#define TALK_INPUT_MAX ((size_t)64 * 1024) /* that wait to be understood */

/* The kind's own part. Either waits for more, or ends by talk_end() or talk_fail() as the last
 * thing it does. STREAM_ERROR comes with a reason. */
typedef void talk_fn(struct check_probe *probe, enum stream_event event, const char *reason);

/* Zeroed before its first run. */
struct talk {
    struct check_probe *probe;
    struct check_stream *stream; /* NULL while idle */
    talk_fn *fn;
    bool is_open, peer_ended; /* for the kind's use too */
    bool is_ending;           /* the verdict is there: */
    bool passed, is_farewell;
    char reason[SB_REASON_MAX];
};

/* What becomes of the connection. All but a reset hold the verdict back, TALK_LINGER_MS at most. */
enum talk_ending {
    TALK_RESET,   /* at once: the peer may be in the middle of something */
    TALK_AWAIT,   /* the peer is about to end: no TIME_WAIT here, no reset for it to log */
    TALK_FAREWELL /* the peer waits for us: we end first */
};
#define TALK_LINGER_MS 20

/* Opens the stream; options say nothing but whether and how TLS is used. As check_kind.start. */
int talk_start(struct talk *talk, struct check_probe *probe, const struct stream_options *options,
               talk_fn *fn);
/* As check_kind.cancel. */
void talk_cancel(struct talk *talk);

/* As check_kind.explain_late, about a connection that is not open yet. */
bool talk_explain_late(const struct talk *talk, char *out_reason, size_t size);

/* The verdict, and its reason as a format. */
__attribute__((format(printf, 4, 5))) void talk_end(struct talk *talk, bool passed,
                                                    enum talk_ending ending, const char *format,
                                                    ...);
/* A failure, with a reset. */
#define talk_fail(talk, ...) talk_end(talk, false, TALK_RESET, __VA_ARGS__)
/* Queues bytes; without memory the run fails, and false is returned. */
bool talk_send(struct talk *talk, const void *bytes, size_t n);
/* All of the input in one piece, until the next of these calls; NULL when there is none,
 * or no connection yet. */
const char *talk_input(const struct talk *talk, size_t *out_n);
void talk_take(struct talk *talk, size_t n); /* drops the first n bytes of the input */

#define TALK_ELAPSED_MAX 32
/* Since the run started: "812 us", "3.1 ms". Returns buf. */
const char *talk_elapsed(const struct talk *talk, char buf[static TALK_ELAPSED_MAX]);

#endif
