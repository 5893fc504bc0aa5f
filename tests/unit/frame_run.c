/* Runs framers for tests and fuzzers. Takes the caller's part of framer.h at its word: whatever a
 * framer does that a caller may not rely on ends the program. */
#include "frame_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* Offers of up to so many bytes are copies of just that size, for the sanitizer to see steps beyond
 * them and uses after the call. */
#define COPY_MAX 2048
/* Verdicts in a row that take no byte, before the framer counts as stuck. */
#define IDLE_MAX 8

/* What one side sends. Bytes before taken are gone; those up to offered the framer may see. */
struct side {
    const unsigned char *at;
    size_t n, taken, offered;
};

struct run {
    const struct framer_ops *framer;
    const struct frame_input *input;
    void *state;
    unsigned char *room;
    unsigned char *copy; /* of the bytes of the last call */
    uint64_t random;
    struct side client, backend;
    const char *quoting; /* whom the transcript's last line speaks to, NULL: it is ended */
    struct str *out;
    unsigned idle;    /* verdicts in a row that took nothing */
    bool open;        /* a request has started, not ended */
    bool outstanding; /* a reply is awaited, of a request that has started */
    bool pinned;      /* the next request goes to the same upstream */
    bool retriable;   /* the request */
    bool prepares;    /* the request, before it goes out */
    bool preparing;   /* now */
    bool refused;
    bool stopped;
};

#define MUST(run, holds, what)                                                                     \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            breach(run, what, #holds);                                                             \
        }                                                                                          \
    } while (0)

__attribute__((noreturn)) static void breach(struct run *run, const char *what, const char *check)
{
    const char *text = str_text(run->out);
    size_t from = run->out->len > 2000 ? run->out->len - 2000 : 0;

    fprintf(stderr, "framer %s, seed %llu: %s (%s), behind:\n…%s\n", run->framer->name,
            (unsigned long long)run->input->seed, what, check, text + from);
    abort();
}

/* SplitMix64, of Vigna, https://prng.di.unimi.it/splitmix64.c */
static uint64_t draw(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void quote(struct str *out, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        static const char escaped[] = "\r\n\t\"\\", letters[] = "rnt\"\\";
        const char *found = bytes[i] != 0 ? strchr(escaped, bytes[i]) : NULL;

        if (found != NULL) {
            str_append_char(out, '\\');
            str_append_char(out, letters[found - escaped]);
        } else if (bytes[i] < ' ' || bytes[i] > '~') {
            str_printf(out, "\\x%02x", bytes[i]);
        } else {
            str_append_char(out, (char)bytes[i]);
        }
    }
}

static void end_line(struct run *run)
{
    if (run->quoting != NULL) {
        str_append(run->out, "\"\n");
    }
    run->quoting = NULL;
}

__attribute__((format(printf, 2, 3))) static void note(struct run *run, const char *format, ...)
{
    va_list args;

    end_line(run);
    va_start(args, format);
    str_vprintf(run->out, format, args);
    va_end(args);
    str_append_char(run->out, '\n');
}

static void note_bytes(struct run *run, const char *whom, const unsigned char *bytes, size_t n)
{
    if (n == 0) {
        return;
    }
    if (run->quoting == NULL || strcmp(run->quoting, whom) != 0) {
        end_line(run);
        str_printf(run->out, "%s \"", whom);
        run->quoting = whom;
    }
    quote(run->out, bytes, n);
}

static void note_key(struct run *run, const char *name, struct framing_bytes key)
{
    MUST(run, key.n <= FRAMER_KEY_MAX && (key.n == 0 || key.at != NULL), "key without bounds");
    str_printf(run->out, " %s \"", name);
    quote(run->out, key.at, key.n);
    str_append(run->out, "\"");
}

/* Makes more of a side's bytes visible; false: there are none. */
static bool offer_more(struct run *run, struct side *side)
{
    size_t rest = side->n - side->offered, step = rest;

    if (rest == 0) {
        return false;
    }
    if (run->input->seed == 1) {
        step = 1;
    } else if (run->input->seed != 0) {
        static const size_t most[] = {1, 4, 40, 1500, 16384, SIZE_MAX};
        uint64_t drawn = draw(&run->random);
        step = 1 + (size_t)(drawn >> 8) % most[drawn % (sizeof(most) / sizeof(*most))];
    }
    side->offered += step < rest ? step : rest;
    return true;
}

static bool is_within(const unsigned char *at, const unsigned char *start, size_t n)
{
    return (uintptr_t)at >= (uintptr_t)start && (uintptr_t)at < (uintptr_t)start + n;
}

/* What holds of every verdict on n bytes. */
static void check_verdict(struct run *run, const struct framing *f, const unsigned char *bytes,
                          size_t n)
{
    const struct framing_bytes *send = &f->send;

    MUST(run, f->verb <= FRAMING_OWN, "no such verb");
    MUST(run, f->used <= n, "takes more than it was given");
    MUST(run, send->n == 0 || send->at != NULL, "sends from nowhere");
    if (send->n > 0 && is_within(send->at, bytes, n)) {
        MUST(run, send->at + send->n <= bytes + f->used, "sends what it does not take");
    } else if (send->n > 0 && is_within(send->at, run->room, FRAMER_ROOM_BYTES)) {
        MUST(run, send->at + send->n <= run->room + FRAMER_ROOM_BYTES, "sends beyond its room");
    }
    MUST(run, !(f->ends && f->more), "wants more behind the end");
    MUST(run, f->starts || (!f->waits && !f->must_read), "speaks of a request's nature too late");
    switch (f->verb) {
    case FRAMING_HOLD:
        MUST(run, n < FRAMER_HOLD_MAX, "holds too much");
        MUST(run, f->used == 0 && send->n == 0, "takes or sends what it holds");
        MUST(run, !f->more && !f->ends && !f->starts, "says more than that it holds");
        break;
    case FRAMING_FORWARD:
    case FRAMING_ANSWER:
        run->idle = f->used > 0 ? 0 : run->idle + 1;
        MUST(run, f->used > 0 || f->more || f->ends, "stands still");
        MUST(run, run->idle < IDLE_MAX, "gets nowhere");
        break;
    case FRAMING_REFUSE:
    case FRAMING_OWN:
        MUST(run, f->why != NULL && !f->more, "refuses or owns without saying why, or goes on");
        break;
    }
}

typedef struct framing (*framer_call)(void *state, const unsigned char *bytes, size_t n,
                                      unsigned char *room);

/* Has the framer look at what is offered of a side. Its bytes stay valid until the next call. */
static struct framing look(struct run *run, framer_call call, const struct side *side)
{
    size_t n = side->offered - side->taken;
    const unsigned char *bytes = side->at + side->taken;

    free(run->copy);
    run->copy = NULL;
    if (n <= COPY_MAX) {
        run->copy = malloc(n);
        MUST(run, run->copy != NULL || n == 0, "out of memory");
        if (n > 0) {
            memcpy(run->copy, bytes, n);
        }
        bytes = run->copy;
    }
    memset(run->room, '#', 256); /* what it held is gone */
    struct framing f = call(run->state, bytes, n, run->room);
    check_verdict(run, &f, bytes, n);
    return f;
}

static void refuse(struct run *run, const struct framing *f)
{
    note(run, "refuse \"%s\"", f->why);
    note_bytes(run, "to client", f->send.at, f->send.n);
    run->stopped = run->refused = true;
}

/* From here on bytes flow unread. */
static void own(struct run *run, const char *why)
{
    note(run, "own \"%s\"", why);
    note_bytes(run, "to backend", run->client.at + run->client.taken,
               run->client.n - run->client.taken);
    note_bytes(run, "to client", run->backend.at + run->backend.taken,
               run->backend.n - run->backend.taken);
    run->client.taken = run->client.n;
    run->backend.taken = run->backend.n;
    run->stopped = true;
}

static void take_reply(struct run *run);

/* Brings the fresh upstream to the request's key. */
static void prepare(struct run *run)
{
    struct framing_bytes send = run->framer->prepare(run->state);

    MUST(run, send.n > 0, "prepares with nothing");
    note_bytes(run, "prepare", send.at, send.n);
    run->preparing = true;
    run->outstanding = true;
    take_reply(run);
    run->stopped |= run->outstanding;
    run->preparing = false;
    run->outstanding = true;
}

static void start_request(struct run *run, const struct framing *f)
{
    MUST(run, !run->open, "starts a request in a request");
    MUST(run, !f->retriable || (f->ends && f->verb == FRAMING_FORWARD), "retriable, but not whole");
    MUST(run, run->framer->prepare != NULL || (f->key.n == 0 && f->next_key.n == 0),
         "a key, and nothing to prepare it with");
    end_line(run);
    str_printf(run->out, "request starts%s%s", f->retriable ? " retriable" : "",
               f->waits ? " waits" : "");
    note_key(run, "key", f->key);
    note_key(run, "next", f->next_key);
    str_append(run->out, "\n");
    run->open = run->outstanding = true;
    run->retriable = f->retriable;
    run->prepares = run->input->fresh && !run->pinned && f->key.n > 0;
    if (run->prepares) {
        prepare(run);
    }
}

/* What a verdict on the client's bytes leads to. */
static void do_request(struct run *run, const struct framing *f)
{
    /* prepare() and the calls behind it invalidate the verdict's bytes. */
    STR_AUTO send = {0};
    str_append_n(&send, (const char *)f->send.at, f->send.n);
    const unsigned char *bytes = (const unsigned char *)send.data;

    run->client.taken += f->used;
    if (f->verb == FRAMING_ANSWER) {
        MUST(run, !run->open && f->used > 0, "answers within a request, or none");
        note_bytes(run, "to client", bytes, f->send.n);
        note(run, "answered%s", f->closes ? " closes" : "");
        run->stopped = f->closes;
        return;
    }
    if (f->starts) {
        start_request(run, f);
        if (run->stopped) {
            return;
        }
    }
    MUST(run, run->open || (f->send.n == 0 && !f->ends && f->verb == FRAMING_FORWARD),
         "sends, ends or owns without a request");
    note_bytes(run, "to backend", bytes, f->send.n);
    if (f->verb == FRAMING_OWN) {
        own(run, f->why);
    } else if (f->ends) {
        note(run, "request ends");
        run->open = false;
    }
}

/* Up to the end of a request, or as far as the client's bytes go. */
static void take_request(struct run *run)
{
    bool more = false, held = false;

    while (!run->stopped && (run->open || !run->outstanding)) {
        bool has_bytes = run->client.offered > run->client.taken;
        if ((held || (!has_bytes && !more)) && !offer_more(run, &run->client)) {
            return;
        }
        struct framing f = look(run, run->framer->request, &run->client);
        held = f.verb == FRAMING_HOLD;
        more = f.more;
        if (f.verb == FRAMING_REFUSE) {
            refuse(run, &f);
        } else if (!held) {
            do_request(run, &f);
        }
    }
}

static void end_reply(struct run *run, const struct framing *f)
{
    MUST(run, (f->clean && !f->pinned) || f->why != NULL, "not clean or pinned, and no why");
    end_line(run);
    if (run->preparing) {
        str_printf(run->out, "prepared");
        run->stopped = !f->clean;
    } else {
        MUST(run, !f->clean || !run->open, "clean, with half a request");
        str_printf(run->out, "reply ends");
        run->stopped = f->closes || run->open;
    }
    str_printf(run->out, "%s%s%s", f->clean ? " clean" : " not clean", f->pinned ? " pinned" : "",
               f->closes ? " closes" : "");
    if (f->key.n > 0) {
        note_key(run, "key", f->key);
    }
    if (!f->clean || f->pinned) {
        str_printf(run->out, " why \"%s\"", f->why);
    }
    str_append(run->out, "\n");
    run->pinned = f->pinned;
    run->outstanding = false;
}

/* What a verdict on the backend's bytes leads to. */
static void do_reply(struct run *run, const struct framing *f)
{
    MUST(run, f->verb != FRAMING_ANSWER, "answers a reply");
    if (f->verb == FRAMING_REFUSE) {
        refuse(run, f);
        return;
    }
    run->backend.taken += f->used;
    MUST(run, !run->preparing || (f->send.n == 0 && f->verb == FRAMING_FORWARD),
         "passes on what prepare() asked for");
    note_bytes(run, "to client", f->send.at, f->send.n);
    if (f->verb == FRAMING_OWN) {
        own(run, f->why);
    } else if (f->ends) {
        end_reply(run, f);
    }
}

static void end_backend(struct run *run)
{
    struct framing f = run->framer->reply_ended(run->state);

    note(run, "backend ends");
    MUST(run, f.verb == FRAMING_REFUSE || (f.verb == FRAMING_FORWARD && f.ends),
         "reply_ended() says neither");
    MUST(run, f.used == 0 && !f.more, "takes bytes of an end");
    MUST(run, f.verb == FRAMING_FORWARD || f.why != NULL, "refuses without saying why");
    do_reply(run, &f);
    run->stopped |= run->preparing;
}

/* Up to the end of a reply, or as far as the backend's bytes go. */
static void take_reply(struct run *run)
{
    bool more = false, held = false;

    while (!run->stopped && run->outstanding) {
        bool has_bytes = run->backend.offered > run->backend.taken;
        if ((held || (!has_bytes && !more)) && !offer_more(run, &run->backend)) {
            if (run->input->backend_ends) {
                end_backend(run);
            }
            return;
        }
        struct framing f = look(run, run->framer->reply, &run->backend);
        held = f.verb == FRAMING_HOLD;
        more = f.more;
        if (!held) {
            do_reply(run, &f);
        }
    }
}

/* A retriable request whose upstream fails: having given nothing, or the first bytes of a reply as
 * long as none goes on to the client. Then the same request once more, elsewhere. */
static void fail_upstream(struct run *run)
{
    struct side whole = run->backend;
    size_t rest = whole.n - whole.taken, most = (size_t)(draw(&run->random) % 8);

    for (size_t n = 1; n <= most && n <= rest; n++) {
        run->backend.offered = whole.taken + n;
        struct framing f = look(run, run->framer->reply, &run->backend);
        if (f.verb != FRAMING_HOLD) {
            do_reply(run, &f);
            return;
        }
    }
    run->backend = whole;
    run->framer->again(run->state);
}

static struct side side_of(const void *bytes, size_t n)
{
    static const unsigned char nothing[1];

    return (struct side){.at = n > 0 ? bytes : nothing, .n = n};
}

static void note_untaken(struct run *run, const char *whose, const struct side *side)
{
    if (side->taken < side->n && !run->refused) {
        note(run, "untaken of %s %zu", whose, side->n - side->taken);
    }
}

const char *frame_run(const struct framer_ops *framer, const struct framer_options *options,
                      const struct frame_input *input)
{
    static struct str out;
    static const struct framer_options none;
    struct run run = {.framer = framer, .input = input, .out = &out, .random = input->seed};

    str_reset(&out);
    run.client = side_of(input->client, input->n_client);
    run.backend = side_of(input->backend, input->n_backend);
    run.room = malloc(FRAMER_ROOM_BYTES);
    run.state = calloc(1, framer->state_bytes);
    MUST(&run, framer->state_bytes > 0 && framer->state_bytes <= FRAMER_STATE_MAX, "state");
    MUST(&run, run.room != NULL && run.state != NULL, "out of memory");
    framer->init(run.state, options != NULL ? options : &none);
    while (!run.stopped) {
        take_request(&run);
        if (run.stopped || !run.outstanding) {
            break;
        }
        if (input->again && run.retriable && !run.pinned && !run.prepares) {
            fail_upstream(&run);
        }
        take_reply(&run);
        if (run.outstanding) {
            break;
        }
    }
    end_line(&run);
    note_untaken(&run, "client", &run.client);
    note_untaken(&run, "backend", &run.backend);
    if (framer->fini != NULL) {
        framer->fini(run.state);
    }
    free(run.state);
    free(run.room);
    free(run.copy);
    return str_text(&out);
}

bool frame_run_alike(const struct framer_ops *framer, const struct framer_options *options,
                     const struct frame_input *input, unsigned n)
{
    struct frame_input split = *input;
    STR_AUTO whole = {0};

    split.seed = 0;
    str_append(&whole, frame_run(framer, options, &split));
    for (unsigned i = 1; i <= n + 1; i++) {
        split.seed = i == 1 ? 1 : input->seed * 1000003 + i;
        const char *other = frame_run(framer, options, &split);
        if (strcmp(other, str_text(&whole)) != 0) {
            size_t at = 0;
            while (other[at] == whole.data[at]) {
                at++;
            }
            at = at > 200 ? at - 200 : 0;
            fprintf(stderr, "framer %s, all at once:\n…%.600s\nwith seed %llu:\n…%.600s\n",
                    framer->name, whole.data + at, (unsigned long long)split.seed, other + at);
            return false;
        }
    }
    return true;
}
