/*
 * The framer line: a line is a request, a line is its answer; what is said in them, and that
 * nothing of one request outlives its answer, the operator vouches for. A line ends with its
 * newline. In workers; pure.
 *
 * A request is held until its line is whole, so that a client slow in typing holds no upstream;
 * longer ones than may be held are passed on as they come. Answers always are.
 */
#include "framer.h"

#include <string.h>

struct line_state {
    size_t seen;     /* bytes that are held, and have no newline in them */
    bool is_passing; /* a request is under way, passed on as it comes */
    bool is_early;   /* its answer has begun before it had ended */
};

static void line_init(void *state, const struct framer_options *options)
{
    (void)state;
    (void)options;
}

static struct framing line_request(void *state, const unsigned char *bytes, size_t n,
                                   unsigned char *room)
{
    struct line_state *line = state;
    size_t visible = !line->is_passing && n > FRAMER_HOLD_MAX ? FRAMER_HOLD_MAX : n;
    const unsigned char *end = memchr(bytes + line->seen, '\n', visible - line->seen);

    (void)room;
    if (end == NULL && !line->is_passing && visible < FRAMER_HOLD_MAX) {
        line->seen = visible;
        return (struct framing){.verb = FRAMING_HOLD};
    }
    struct framing f = {.verb = FRAMING_FORWARD, .starts = !line->is_passing, .ends = end != NULL};
    f.used = end != NULL ? (size_t)(end - bytes) + 1 : visible;
    f.send = (struct framing_bytes){bytes, f.used};
    line->seen = 0;
    line->is_early &= !f.starts;
    line->is_passing = end == NULL;
    return f;
}

static struct framing line_reply(void *state, const unsigned char *bytes, size_t n,
                                 unsigned char *room)
{
    struct line_state *line = state;
    const unsigned char *end = memchr(bytes, '\n', n);
    struct framing f = {.verb = FRAMING_FORWARD, .ends = end != NULL};

    (void)room;
    f.used = end != NULL ? (size_t)(end - bytes) + 1 : n;
    f.send = (struct framing_bytes){bytes, f.used};
    line->is_early |= line->is_passing;
    if (f.ends) {
        f.clean = !line->is_early;
        f.closes = line->is_passing;
        f.why = line->is_early ? "answer before the request ended" : NULL;
    }
    return f;
}

static struct framing line_reply_ended(void *state)
{
    (void)state;
    return (struct framing){.verb = FRAMING_REFUSE, .why = "answer cut short"};
}

static void line_again(void *state)
{
    struct line_state *line = state;

    line->is_early = false;
}

const struct framer_ops framer_line = {
    .name = "line",
    .state_bytes = sizeof(struct line_state),
    .init = line_init,
    .request = line_request,
    .reply = line_reply,
    .reply_ended = line_reply_ended,
    .again = line_again,
};
