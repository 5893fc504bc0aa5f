/*
 * The framer memcached, of its text protocol: which commands may share an upstream, where their
 * data and their answers end. In workers; pure.
 *
 * Commands that memcached_command.c does not understand own their upstream, quit is answered here,
 * the binary protocol is refused. A command sent with noreply has no answer whose coming would show
 * that it has arrived, and that nothing is still to come: a version command goes behind it, whose
 * answer is kept from the client and is that proof.
 *
 * What cannot be seen from here: where memcached authenticates clients (its -Y), the first set of a
 * connection is a password, and looks like any other.
 */
#include "framer.h"
#include "memcached_command.h"

#include <string.h>

#define CRLF_BYTES 2

enum memcached_phase {
    AT_LINE,
    IN_DATA,  /* of a storage command */
    AT_PROOF, /* the request is whole, the version command is to go behind it */
};

struct memcached_state {
    struct memcached_request request; /* under way, or waiting for its answer */
    uint64_t data_left;               /* of the request's data and their CRLF */
    uint64_t item_left;               /* of the answer's data and their CRLF */
    size_t seen;                      /* bytes of a held line that have no newline in them */
    enum memcached_phase phase;
    bool is_early; /* the answer has begun before its request had ended */
};

static void memcached_init(void *state, const struct framer_options *options)
{
    (void)state;
    (void)options;
}

static struct framing refuse(const char *why, const char *text)
{
    return (struct framing){
        .verb = FRAMING_REFUSE,
        .send = {(const unsigned char *)text, strlen(text)},
        .why = why,
    };
}

/* How many of n bytes go on of a block of data of which *left are to come, its CRLF among them. The
 * CRLF goes on as a whole or not at all; 0 for n bytes that are no beginning of it, out_bad says
 * so.
 */
static size_t take_data(uint64_t *left, const unsigned char *bytes, size_t n, bool *out_bad)
{
    uint64_t data = *left - CRLF_BYTES;
    size_t taken = n < data ? n : (size_t)data;
    size_t rest = n - taken < CRLF_BYTES ? n - taken : CRLF_BYTES;

    *left -= taken;
    bool is_bad = memcmp(bytes + taken, "\r\n", rest) != 0;
    if (rest == CRLF_BYTES && !is_bad) {
        *left = 0;
        return taken + CRLF_BYTES;
    }
    *out_bad = taken == 0 && is_bad;
    return taken;
}

/* The request's data, of which there is at least a byte left to take behind the f->used bytes that
 * are taken already. */
static void continue_data(struct memcached_state *m, struct framing *f, const unsigned char *bytes,
                          size_t n, bool *out_bad)
{
    f->used += take_data(&m->data_left, bytes + f->used, n - f->used, out_bad);
    f->send = (struct framing_bytes){bytes, f->used};
    if (m->data_left > 0) {
        m->phase = IN_DATA;
        return;
    }
    m->phase = m->request.noreply ? AT_PROOF : AT_LINE;
    f->more = m->request.noreply;
    f->ends = !m->request.noreply;
}

static struct framing request_data(struct memcached_state *m, const unsigned char *bytes, size_t n)
{
    struct framing f = {.verb = FRAMING_FORWARD};
    bool is_bad = false;

    continue_data(m, &f, bytes, n, &is_bad);
    if (is_bad) {
        return refuse("bad end of data", "CLIENT_ERROR bad data chunk\r\n");
    }
    if (f.used == 0) {
        f.verb = FRAMING_HOLD;
    }
    return f;
}

static struct framing request_proof(struct memcached_state *m)
{
    static const unsigned char version[] = "version\r\n";

    m->phase = AT_LINE;
    return (struct framing){
        .verb = FRAMING_FORWARD,
        .send = {version, sizeof(version) - 1},
        .ends = true,
    };
}

/* A command that is for sharing, whose line is the first line_bytes. */
static struct framing start_request(struct memcached_state *m, const unsigned char *bytes, size_t n,
                                    size_t line_bytes)
{
    struct framing f = {
        .verb = FRAMING_FORWARD,
        .used = line_bytes,
        .send = {bytes, line_bytes},
        .starts = true,
    };

    f.must_read = m->request.noreply;
    m->data_left = m->request.data_bytes;
    m->item_left = 0;
    m->is_early = false;
    if (m->data_left > 0) {
        bool is_bad; /* is seen again when these bytes come first */
        continue_data(m, &f, bytes, n, &is_bad);
        return f;
    }
    m->phase = m->request.noreply ? AT_PROOF : AT_LINE;
    f.more = m->request.noreply;
    f.ends = !m->request.noreply;
    f.retriable = m->request.is_read;
    return f;
}

static struct framing judge_line(struct memcached_state *m, const unsigned char *bytes, size_t n,
                                 size_t line_bytes)
{
    const char *why;

    if (line_bytes == strlen("quit\r\n") && memcmp(bytes, "quit\r\n", line_bytes) == 0) {
        return (struct framing){.verb = FRAMING_ANSWER, .used = line_bytes, .closes = true};
    }
    switch (memcached_parse(bytes, line_bytes, &m->request, &why)) {
    case MEMCACHED_SHARED:
        return start_request(m, bytes, n, line_bytes);
    case MEMCACHED_OWNS:
        return (struct framing){
            .verb = FRAMING_OWN,
            .used = line_bytes,
            .send = {bytes, line_bytes},
            .starts = true,
            .why = why,
        };
    case MEMCACHED_REFUSED:
        break;
    }
    return refuse(why, "CLIENT_ERROR bad command line format\r\n");
}

/* A get of many keys may be as long as it likes, by memcached's own rule. */
static size_t line_limit(const unsigned char *bytes, size_t n)
{
    bool is_get =
        (n >= 4 && memcmp(bytes, "get ", 4) == 0) || (n >= 5 && memcmp(bytes, "gets ", 5) == 0);

    return is_get ? FRAMER_HOLD_MAX : MEMCACHED_LINE_MAX;
}

static struct framing request_line(struct memcached_state *m, const unsigned char *bytes, size_t n)
{
    size_t limit = line_limit(bytes, n), visible = n < limit ? n : limit;
    size_t seen = m->seen < visible ? m->seen : visible;

    m->seen = 0;
    if (bytes[0] == 0x80) {
        return refuse("binary protocol", "");
    }
    const unsigned char *end = memchr(bytes + seen, '\n', visible - seen);
    if (end != NULL) {
        return judge_line(m, bytes, n, (size_t)(end - bytes) + 1);
    }
    if (visible == limit) {
        return refuse("line too long", "CLIENT_ERROR line too long\r\n");
    }
    m->seen = visible;
    return (struct framing){.verb = FRAMING_HOLD};
}

static struct framing memcached_request(void *state, const unsigned char *bytes, size_t n,
                                        unsigned char *room)
{
    struct memcached_state *m = state;

    (void)room;
    switch (m->phase) {
    case IN_DATA:
        return request_data(m, bytes, n);
    case AT_PROOF:
        return request_proof(m);
    case AT_LINE:
        break;
    }
    return request_line(m, bytes, n);
}

/* Begins the data of an item, whose length is that word of those between at and end which has so
 * many before it; false: it is no length. */
static bool start_item(struct memcached_state *m, const unsigned char *at, const unsigned char *end,
                       int before)
{
    while (before-- > 0) {
        memcached_next_word(&at, end);
    }
    int64_t number = memcached_read_number(memcached_next_word(&at, end), MEMCACHED_DATA_MAX);
    if (number < 0) {
        return false;
    }
    m->item_left = (uint64_t)number + CRLF_BYTES;
    return true;
}

enum line_meaning {
    GOES_ON, /* more lines, or data, are to come */
    ENDS,
    ENDS_UNCLEAN,
    IS_WRONG, /* no line of such an answer; it may be somebody else's */
};

static bool is_error(struct memcached_word first)
{
    return memcached_word_in(first, "ERROR CLIENT_ERROR SERVER_ERROR");
}

/* A line that is to end the answer. */
static enum line_meaning judge_last(const struct memcached_state *m, struct memcached_word first,
                                    const char **out_why)
{
    const char *answers = m->request.command->answers;

    if (!is_error(first)) {
        bool is_number = answers[0] == '#' && memcached_is_number(first);
        return is_number || memcached_word_in(first, answers) ? ENDS : IS_WRONG;
    }
    /* What it has made of the data is unknown: all read, thrown away, or taken for commands. */
    if (m->request.data_bytes > 0) {
        *out_why = "error to a storage command";
        return ENDS_UNCLEAN;
    }
    /* It may close behind one of these. */
    if (memcached_word_is(first, "SERVER_ERROR")) {
        *out_why = "server error";
        return ENDS_UNCLEAN;
    }
    return ENDS;
}

/* One line of an answer, n bytes with its end. */
static enum line_meaning judge_answer(struct memcached_state *m, const unsigned char *line,
                                      size_t n, const char **out_why)
{
    if (n < CRLF_BYTES || line[n - CRLF_BYTES] != '\r') {
        return IS_WRONG;
    }
    const unsigned char *at = line, *end = line + n - CRLF_BYTES;
    struct memcached_word first = memcached_next_word(&at, end);
    switch (m->request.command->item) {
    case MEMCACHED_VALUE:
        if (memcached_word_is(first, "VALUE")) {
            return start_item(m, at, end, 2) ? GOES_ON : IS_WRONG;
        }
        break;
    case MEMCACHED_VA:
        if (memcached_word_is(first, "VA")) {
            return start_item(m, at, end, 0) ? GOES_ON : IS_WRONG;
        }
        break;
    case MEMCACHED_STAT:
        if (memcached_word_is(first, "STAT")) {
            return GOES_ON;
        }
        break;
    case MEMCACHED_NO_ITEM:
        break;
    }
    return judge_last(m, first, out_why);
}

/* The answer's next line, behind *used bytes. False: nothing more is to be had of these bytes;
 * *out_meaning is then of the last line. */
static bool take_line(struct memcached_state *m, const unsigned char *bytes, size_t n, size_t *used,
                      enum line_meaning *out_meaning, const char **out_why)
{
    const unsigned char *line = bytes + *used;
    size_t rest = n - *used, visible = rest < MEMCACHED_LINE_MAX ? rest : MEMCACHED_LINE_MAX;
    const unsigned char *end = memchr(line, '\n', visible);

    if (end == NULL) {
        *out_meaning = visible < MEMCACHED_LINE_MAX ? GOES_ON : IS_WRONG;
        return false;
    }
    size_t line_bytes = (size_t)(end - line) + 1;
    *out_meaning = judge_answer(m, line, line_bytes, out_why);
    if (*out_meaning == IS_WRONG) {
        return false;
    }
    *used += line_bytes;
    return *out_meaning == GOES_ON;
}

/* As much as there is of an answer, in lines and data; returns what is to be said of it. */
static enum line_meaning take_answer(struct memcached_state *m, const unsigned char *bytes,
                                     size_t n, size_t *used, const char **out_why)
{
    enum line_meaning meaning = GOES_ON;

    do {
        if (m->item_left > 0) {
            bool is_bad = false;
            *used += take_data(&m->item_left, bytes + *used, n - *used, &is_bad);
            if (m->item_left > 0) {
                return is_bad ? IS_WRONG : GOES_ON;
            }
            if (m->request.command->item == MEMCACHED_VA) {
                return ENDS;
            }
        }
    } while (take_line(m, bytes, n, used, &meaning, out_why));
    return meaning;
}

/* The end of an answer. */
static void end_answer(const struct memcached_state *m, struct framing *f,
                       enum line_meaning meaning, const char *why)
{
    f->ends = true;
    f->clean = meaning == ENDS;
    f->why = why;
    f->closes = m->phase != AT_LINE;
    if (m->is_early) {
        f->clean = false;
        f->why = "answer before the request ended";
    }
}

/* The answer to the version command behind a noreply, or what came instead. None of it is the
 * client's, who asked for silence: it would take that for the answer to its next command. */
static struct framing reply_proof(struct memcached_state *m, const unsigned char *bytes, size_t n)
{
    static const char proof[] = "VERSION ";
    size_t visible = n < MEMCACHED_LINE_MAX ? n : MEMCACHED_LINE_MAX;
    const unsigned char *end = memchr(bytes, '\n', visible);
    struct framing f = {.verb = FRAMING_FORWARD};

    if (end == NULL && visible < MEMCACHED_LINE_MAX) {
        f.verb = FRAMING_HOLD;
        return f;
    }
    f.used = end != NULL ? (size_t)(end - bytes) + 1 : visible;
    bool is_proof = f.used > sizeof(proof) && memcmp(bytes, proof, sizeof(proof) - 1) == 0 &&
                    memcmp(bytes + f.used - CRLF_BYTES, "\r\n", CRLF_BYTES) == 0;
    end_answer(m, &f, is_proof ? ENDS : ENDS_UNCLEAN, is_proof ? NULL : "answer to noreply");
    return f;
}

static struct framing memcached_reply(void *state, const unsigned char *bytes, size_t n,
                                      unsigned char *room)
{
    struct memcached_state *m = state;
    struct framing f = {.verb = FRAMING_FORWARD};
    const char *why = NULL;

    (void)room;
    m->is_early |= m->phase != AT_LINE;
    if (m->request.noreply) {
        return reply_proof(m, bytes, n);
    }
    bool is_in_data = m->item_left > 0;
    enum line_meaning meaning = take_answer(m, bytes, n, &f.used, &why);
    f.send = (struct framing_bytes){bytes, f.used};
    if (meaning == ENDS || meaning == ENDS_UNCLEAN) {
        end_answer(m, &f, meaning, why);
    } else if (f.used == 0 && meaning == IS_WRONG) {
        return refuse("unexpected answer", is_in_data ? "" : "SERVER_ERROR bad answer\r\n");
    } else if (f.used == 0) {
        f.verb = FRAMING_HOLD;
    }
    return f;
}

static struct framing memcached_reply_ended(void *state)
{
    (void)state;
    return refuse("answer cut short", "");
}

static void memcached_again(void *state)
{
    struct memcached_state *m = state;

    m->item_left = 0;
    m->is_early = false;
}

const struct framer_ops framer_memcached = {
    .name = "memcached",
    .state_bytes = sizeof(struct memcached_state),
    .init = memcached_init,
    .request = memcached_request,
    .reply = memcached_reply,
    .reply_ended = memcached_reply_ended,
    .again = memcached_again,
};
