/*
 * The framer length: each message, on both sides, begins with a number that says how long it is.
 * One message is a request, one is its answer; that nothing of one request outlives its answer, the
 * operator vouches for. In workers; pure.
 *
 * A request is held until it is whole, so that a slow client holds no upstream; those longer than
 * may be held are passed on as they come. Answers always are.
 */
#include "framer.h"

/* No message is as long; a number beyond it comes from a peer that speaks something else. */
#define NUMBER_MAX (UINT64_C(1) << 62)

struct length_state {
    const struct framer_options *options;
    uint64_t request_left; /* of the request under way, 0: none is */
    uint64_t reply_left;
    bool is_early; /* the answer has begun before its request had ended */
};

static void length_init(void *state, const struct framer_options *options)
{
    struct length_state *length = state;

    length->options = options;
}

static uint64_t read_number(const struct framer_options *options, const unsigned char *bytes)
{
    uint32_t n = options->length_bytes;
    uint64_t number = 0;

    for (uint32_t i = 0; i < n; i++) {
        number = number << 8 | bytes[options->length_little_endian ? n - 1 - i : i];
    }
    return number;
}

/* How long the message is, header and all; 0: that cannot be, out_why says why. bytes hold the
 * header. */
static uint64_t read_length(const struct framer_options *options, const unsigned char *bytes,
                            const char **out_why)
{
    uint64_t number = read_number(options, bytes);

    if (number > NUMBER_MAX) {
        *out_why = "absurd length";
        return 0;
    }
    if (!options->length_includes_header) {
        return number + options->length_bytes;
    }
    if (number < options->length_bytes) {
        *out_why = "length smaller than its header";
        return 0;
    }
    return number;
}

/* Passes on what there is of a message. */
static struct framing pass(uint64_t *left, const unsigned char *bytes, size_t n)
{
    size_t used = n < *left ? n : (size_t)*left;

    *left -= used;
    return (struct framing){
        .verb = FRAMING_FORWARD,
        .used = used,
        .send = {bytes, used},
        .ends = *left == 0,
    };
}

static struct framing length_request(void *state, const unsigned char *bytes, size_t n,
                                     unsigned char *room)
{
    struct length_state *length = state;
    bool starts = length->request_left == 0;

    (void)room;
    if (starts) {
        if (n < length->options->length_bytes) {
            return (struct framing){.verb = FRAMING_HOLD};
        }
        const char *why = NULL;
        uint64_t whole = read_length(length->options, bytes, &why);
        if (whole == 0) {
            return (struct framing){.verb = FRAMING_REFUSE, .why = why};
        }
        if (n < whole && whole <= FRAMER_HOLD_MAX) {
            return (struct framing){.verb = FRAMING_HOLD};
        }
        length->request_left = whole;
        length->is_early = false;
    }
    struct framing f = pass(&length->request_left, bytes, n);
    f.starts = starts;
    return f;
}

static struct framing length_reply(void *state, const unsigned char *bytes, size_t n,
                                   unsigned char *room)
{
    struct length_state *length = state;

    (void)room;
    length->is_early |= length->request_left > 0;
    if (length->reply_left == 0) {
        if (n < length->options->length_bytes) {
            return (struct framing){.verb = FRAMING_HOLD};
        }
        const char *why = NULL;
        length->reply_left = read_length(length->options, bytes, &why);
        if (length->reply_left == 0) {
            return (struct framing){.verb = FRAMING_REFUSE, .why = why};
        }
    }
    struct framing f = pass(&length->reply_left, bytes, n);
    if (f.ends) {
        f.clean = !length->is_early;
        f.closes = length->request_left > 0;
        f.why = f.clean ? NULL : "answer before the request ended";
    }
    return f;
}

static struct framing length_reply_ended(void *state)
{
    (void)state;
    return (struct framing){.verb = FRAMING_REFUSE, .why = "answer cut short"};
}

static void length_again(void *state)
{
    struct length_state *length = state;

    length->reply_left = 0;
    length->is_early = false;
}

const struct framer_ops framer_length = {
    .name = "length",
    .state_bytes = sizeof(struct length_state),
    .init = length_init,
    .request = length_request,
    .reply = length_reply,
    .reply_ended = length_reply_ended,
    .again = length_again,
};
