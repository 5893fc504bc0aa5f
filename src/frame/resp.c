/*
 * The framer resp: requests and replies of Redis and its kin, and what they leave on a connection.
 * In workers, one state per session; pure.
 *
 * Every command that shares its upstream has exactly one reply. What is pinned, is by what the
 * backend has said: its answer to MULTI, WATCH, EXEC, DISCARD or UNWATCH opens and closes
 * transactions, each once it is answered
 *
 *     nothing     ──WATCH───────────▶ watching
 *     nothing     ──MULTI───────────▶ transaction
 *     watching    ──MULTI───────────▶ transaction
 *     watching    ──UNWATCH─────────▶ nothing
 *     transaction ──EXEC, DISCARD───▶ nothing
 *
 * and an answer that does not fit what the framer believes spoils the upstream for others.
 * Commands and their states: https://redis.io/docs/latest/develop/using-commands/transactions/.
 */
#include "framer.h"

#include <string.h>

#include "resp_command.h"
#include "resp_handshake.h"
#include "resp_reply.h"
#include "resp_request.h"

struct resp {
    const struct framer_options *options;
    struct resp_handshake *handshake;   /* NULL until one occurs */
    const struct resp_command *command; /* of the request under way, or the one to be answered */
    struct resp_request request;
    struct resp_reply reply;
    unsigned prepared_left; /* answers to what prepare() sent */
    bool has_started;       /* part of the request has been passed on, not all */
    bool in_multi;
    bool is_watching;
    const char *spoiled; /* why the upstream is not clean whatever comes, else NULL */
};

_Static_assert(sizeof(struct resp) <= FRAMER_STATE_MAX, "a framer's state is too large");

static bool is_pinned(const struct resp *resp)
{
    return resp->in_multi || resp->is_watching;
}

static void resp_init(void *state, const struct framer_options *options)
{
    struct resp *resp = state;

    resp->options = options;
    resp->command = resp_command_find(NULL, 0);
    resp_reply_begin(&resp->reply);
}

static void resp_fini(void *state)
{
    struct resp *resp = state;

    resp_handshake_free(resp->handshake);
    resp->handshake = NULL;
}

/* --- requests --- */

/* Takes what is understood of a request and passes it on. */
static struct framing pass(struct resp *resp, enum framing_verb verb, const unsigned char *bytes)
{
    struct framing framing = {.verb = verb, .used = resp->request.at};

    framing.send = (struct framing_bytes){.at = bytes, .n = resp->request.at};
    if (!resp->has_started) {
        framing.starts = true;
        framing.waits = resp->command->class == RESP_WAIT;
        framing.key = framing.next_key = resp_handshake_key(resp->handshake);
    }
    resp->has_started = true;
    resp->request.at = 0;
    return framing;
}

static struct framing own(struct resp *resp, const unsigned char *bytes, const char *why)
{
    struct framing framing = pass(resp, FRAMING_OWN, bytes);

    framing.why = why;
    return framing;
}

/* Why the request owns its upstream, as far as its name tells; NULL: it does not. */
static const char *judge_name(const struct resp *resp)
{
    const struct resp_command *command = resp->command;
    bool owns = false;

    switch ((enum resp_class)command->class) {
    case RESP_OWN:
        owns = true;
        break;
    case RESP_SCRIPT:
    case RESP_SCRIPT_READ:
        owns = !resp->options->scripts;
        break;
    case RESP_HANDSHAKE:
        owns = !resp->options->handshake_key || resp->request.is_inline || is_pinned(resp);
        break;
    default:
        break;
    }
    if (!owns && resp->request.is_quoted) {
        return "a quoted inline command"; /* whose words only Redis knows how to take apart */
    }
    return owns ? command->name : NULL;
}

static const char *read_name(struct resp *resp, const unsigned char *bytes)
{
    const struct resp_request *request = &resp->request;

    resp->command = resp_command_find(bytes + request->name_at, request->name_n);
    return judge_name(resp);
}

static bool may_be_big(const struct resp *resp)
{
    return resp->command->class != RESP_HANDSHAKE && resp->command->class != RESP_QUIT;
}

/* Of a handshake nothing is left but on the connection that has failed. */
static bool is_retriable(const struct resp *resp)
{
    unsigned char class = resp->command->class;

    return (class == RESP_READ || class == RESP_SCRIPT_READ || class == RESP_HANDSHAKE) &&
           !is_pinned(resp) && !resp->request.is_big;
}

/* The request is complete. */
static struct framing finish(struct resp *resp, const unsigned char *bytes)
{
    size_t n = resp->request.at;
    struct framing framing;

    if (resp->command->class == RESP_QUIT) {
        static const unsigned char ok[] = "+OK\r\n";
        resp->request = (struct resp_request){0};
        return (struct framing){
            .verb = FRAMING_ANSWER, .used = n, .send = {ok, sizeof(ok) - 1}, .closes = true};
    }
    if (resp->command->class == RESP_HANDSHAKE &&
        !resp_handshake_propose(&resp->handshake, bytes, n)) {
        return own(resp, bytes, resp->command->name);
    }
    framing = pass(resp, FRAMING_FORWARD, bytes);
    framing.ends = true;
    framing.retriable = is_retriable(resp);
    if (resp->command->class == RESP_HANDSHAKE) {
        framing.next_key = resp_handshake_next_key(resp->handshake);
    }
    resp->has_started = false;
    resp->request = (struct resp_request){0};
    return framing;
}

/* All bytes are looked at, and the request goes on. */
static struct framing wait_for_more(struct resp *resp, const unsigned char *bytes)
{
    if (!resp->request.is_big || resp->request.at == 0) {
        return (struct framing){.verb = FRAMING_HOLD};
    }
    return pass(resp, FRAMING_FORWARD, bytes);
}

static struct framing refuse(struct resp *resp, const unsigned char *bytes)
{
    const char *problem = resp->request.problem;
    struct framing framing = {.verb = FRAMING_REFUSE, .why = "a malformed request"};

    /* What has come byte by byte has been passed on already. */
    if (resp->request.is_big && resp->request.at > 0) {
        framing = pass(resp, FRAMING_FORWARD, bytes);
        framing.more = true;
        return framing;
    }
    framing.send.at = (const unsigned char *)problem;
    framing.send.n = strlen(problem);
    return framing;
}

static struct framing skip(struct resp *resp)
{
    struct framing framing = {.verb = FRAMING_FORWARD, .used = resp->request.at};

    resp->request = (struct resp_request){0};
    return framing;
}

static struct framing resp_request(void *state, const unsigned char *bytes, size_t n,
                                   unsigned char *room)
{
    struct resp *resp = state;
    const char *why;

    (void)room;
    for (;;) {
        switch (resp_request_step(&resp->request, bytes, n)) {
        case RESP_NAME:
            why = read_name(resp, bytes);
            if (why != NULL) {
                return own(resp, bytes, why);
            }
            break;
        case RESP_BIG:
            if (!may_be_big(resp)) {
                return own(resp, bytes, resp->command->name);
            }
            break;
        case RESP_END:
            return finish(resp, bytes);
        case RESP_EMPTY:
            return skip(resp);
        case RESP_BAD:
            return refuse(resp, bytes);
        case RESP_MORE:
        case RESP_STEP_COUNT:
            return wait_for_more(resp, bytes);
        }
    }
}

/* --- replies --- */

static void end_transaction(struct resp *resp)
{
    resp->in_multi = resp->is_watching = false;
}

/* What an answer to EXEC says. Only EXECABORT among the errors is sure to have ended the
 * transaction. False: it does not fit. */
static bool settle_exec(struct resp *resp)
{
    char type = resp_reply_type(&resp->reply);
    bool aborted = resp_reply_starts(&resp->reply, "-EXECABORT");

    if (resp_reply_is_error(&resp->reply) && !aborted) {
        return true;
    }
    if (!resp->in_multi || (!aborted && type != '*' && type != '_')) {
        return false;
    }
    end_transaction(resp);
    return true;
}

/* What an answer that is no error says to a command that is queued in a transaction. */
static bool settle_plain(const struct resp *resp)
{
    return resp_reply_is(&resp->reply, "+QUEUED") == resp->in_multi;
}

static bool settle_handshake(struct resp *resp)
{
    char type = resp_reply_type(&resp->reply);

    if (!resp_reply_is(&resp->reply, "+OK") && type != '*' && type != '%') {
        return false;
    }
    resp_handshake_accept(resp->handshake);
    return true;
}

/* What an answer that is no error says about transactions. False: it does not fit. */
static bool settle(struct resp *resp)
{
    bool is_ok = resp_reply_is(&resp->reply, "+OK");

    switch ((enum resp_class)resp->command->class) {
    case RESP_MULTI:
        if (!is_ok || resp->in_multi) {
            return false;
        }
        resp->in_multi = true;
        return true;
    case RESP_DISCARD:
        if (!is_ok || !resp->in_multi) {
            return false;
        }
        end_transaction(resp);
        return true;
    case RESP_WATCH:
        if (!is_ok || resp->in_multi) {
            return false;
        }
        resp->is_watching = true;
        return true;
    case RESP_UNWATCH:
        if (is_ok && !resp->in_multi) {
            resp->is_watching = false;
            return true;
        }
        return settle_plain(resp);
    case RESP_HANDSHAKE:
        return settle_handshake(resp);
    default:
        return settle_plain(resp);
    }
}

/* Whether an error leaves no doubt that the upstream is still at the key it was borrowed at: one
 * that had done the command before would know it. Servers older than 7.2 do not know CLIENT
 * SETINFO, which most client libraries send, and must not lose a connection over each. */
static bool is_unknown_setting(const struct resp *resp)
{
    return strcmp(resp->command->name, "CLIENT") == 0 &&
           resp_reply_starts(&resp->reply, "-ERR unknown ");
}

/* Why an error leaves the upstream of no use for others; NULL: it changes nothing. */
static const char *judge_error(const struct resp *resp)
{
    static const char *const last_words[] = {"-ERR Protocol error", "-ERR max number of clients",
                                             "-DENIED "};

    for (size_t i = 0; i < sizeof(last_words) / sizeof(last_words[0]); i++) {
        if (resp_reply_starts(&resp->reply, last_words[i])) {
            return "an error that ends the connection";
        }
    }
    if (resp->command->class == RESP_HANDSHAKE && !is_unknown_setting(resp)) {
        return "a refused handshake";
    }
    return NULL;
}

/* The reply is complete: what it means. */
static void judge_reply(struct resp *resp)
{
    if (resp->command->class == RESP_EXEC) {
        if (!settle_exec(resp)) {
            resp->spoiled = "an answer that does not fit";
        }
        return;
    }
    if (resp_reply_is_error(&resp->reply)) {
        const char *problem = judge_error(resp);
        resp->spoiled = problem != NULL ? problem : resp->spoiled;
        return;
    }
    if (!settle(resp)) {
        resp->spoiled = "an answer that does not fit";
    }
}

static void end_reply(struct resp *resp, struct framing *out)
{
    if (resp->has_started) {
        resp->spoiled = "an answer before the request ended";
    } else {
        judge_reply(resp);
    }
    out->ends = true;
    out->closes = resp->has_started;
    out->pinned = is_pinned(resp);
    out->clean = !out->pinned && resp->spoiled == NULL;
    if (!out->clean) {
        out->why = resp->spoiled != NULL ? resp->spoiled : resp->in_multi ? "MULTI" : "WATCH";
    }
    out->key = resp_handshake_key(resp->handshake);
    resp_reply_begin(&resp->reply);
    if (!out->pinned) {
        resp->spoiled = NULL; /* the next request goes to another upstream */
    }
}

/* Answers to the handshake that prepares an upstream. */
static struct framing swallow(struct resp *resp, const unsigned char *bytes, size_t n)
{
    struct framing framing = {.verb = FRAMING_FORWARD};
    enum resp_reply_step step;

    while (resp->prepared_left > 0) {
        framing.used +=
            resp_reply_parse(&resp->reply, bytes + framing.used, n - framing.used, &step);
        if (step == RESP_REPLY_MORE) {
            return framing;
        }
        if (step == RESP_REPLY_LOST || resp_reply_is_error(&resp->reply)) {
            framing.why = "a refused handshake";
            break;
        }
        resp_reply_begin(&resp->reply);
        resp->prepared_left--;
    }
    framing.ends = true;
    framing.clean = framing.why == NULL;
    framing.key = resp_handshake_key(resp->handshake);
    resp_reply_begin(&resp->reply);
    resp->prepared_left = 0;
    return framing;
}

static struct framing resp_reply(void *state, const unsigned char *bytes, size_t n,
                                 unsigned char *room)
{
    struct resp *resp = state;
    struct framing framing = {.verb = FRAMING_FORWARD, .send = {.at = bytes}};
    enum resp_reply_step step;

    (void)room;
    if (n == 0) {
        return (struct framing){.verb = FRAMING_HOLD};
    }
    if (resp->prepared_left > 0) {
        return swallow(resp, bytes, n);
    }
    framing.used = framing.send.n = resp_reply_parse(&resp->reply, bytes, n, &step);
    if (step == RESP_REPLY_LOST) {
        framing.verb = FRAMING_OWN;
        framing.why = resp->reply.problem;
        return framing;
    }
    if (step == RESP_REPLY_END) {
        end_reply(resp, &framing);
    } else if (resp->has_started) {
        resp->spoiled = "an answer before the request ended";
    }
    return framing;
}

static struct framing resp_reply_ended(void *state)
{
    (void)state;
    return (struct framing){.verb = FRAMING_REFUSE, .why = "an answer cut short"};
}

static struct framing_bytes resp_prepare(void *state)
{
    struct resp *resp = state;

    if (resp->handshake == NULL) {
        return (struct framing_bytes){NULL, 0};
    }
    resp_reply_begin(&resp->reply);
    resp->prepared_left = resp_handshake_commands(resp->handshake);
    return resp_handshake_key(resp->handshake);
}

static void resp_again(void *state)
{
    struct resp *resp = state;

    resp_reply_begin(&resp->reply);
    resp->prepared_left = 0;
    resp->spoiled = NULL;
}

const struct framer_ops framer_resp = {
    .name = "resp",
    .state_bytes = sizeof(struct resp),
    .init = resp_init,
    .fini = resp_fini,
    .request = resp_request,
    .reply = resp_reply,
    .reply_ended = resp_reply_ended,
    .prepare = resp_prepare,
    .again = resp_again,
};
