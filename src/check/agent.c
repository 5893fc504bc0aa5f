/*
 * Check kind "agent": asks a program beside the server how it is, in the language of HAProxy's
 * agent-check (agent_answer.h). In the monitor.
 *
 * As there, an agent only changes what it speaks of, and nothing while it does not answer: that the
 * server can be reached is for another check to find out, and an agent that is stopped must not
 * take its server with it. So what an agent has said last holds until it says otherwise. Without a
 * word of health (only "75%", say) a run is no result, and so it is with words that are not known:
 * whoever answers there, it is no agent that says down. Where HAProxy asks for a line end, the
 * orderly end of the connection will do.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check/agent_answer.h"
#include "check/check.h"
#include "check/quote.h"
#include "check/step.h"
#include "check/stream.h"
#include "sluice/scoreboard.h"

struct agent_state {
    struct step send;            /* its bytes are empty when nothing is to be sent */
    struct check_stream *stream; /* of the run under way */
};

/* The option's text has the escapes that expect checks have. Returns as step_parse() does. */
static int parse_send(const char *text, struct step *out, struct str *out_problem)
{
    STR_AUTO step = {0};

    *out = (struct step){0};
    if (text[0] == '\0') {
        return 0;
    }
    str_printf(&step, "send %s", text);
    return step.failed ? -ENOMEM : step_parse(str_text(&step), out, out_problem);
}

static bool agent_judge(const char *option, const char *value, struct str *out_problem)
{
    struct step step;

    if (strcmp(option, "send") != 0) {
        return true;
    }
    if (parse_send(value, &step, out_problem) == -EINVAL) {
        return false;
    }
    step_clear(&step);
    return true;
}

static int agent_prepare(struct check_probe *probe)
{
    struct agent_state *state = probe->state;
    STR_AUTO problem = {0};

    return parse_send(check_arg(probe, "send", ""), &state->send, &problem);
}

static void agent_release(struct check_probe *probe)
{
    struct agent_state *state = probe->state;

    step_clear(&state->send);
}

/* --- the end of a run --- */

/* clean: the agent has said all. Fills in the reason. */
static void agent_finish(struct check_probe *probe, bool clean, struct check_outcome *outcome,
                         const char *reason)
{
    struct agent_state *state = probe->state;

    stream_close(state->stream, clean);
    state->stream = NULL;
    outcome->reason = reason;
    check_done_outcome(probe, outcome);
}

static struct check_outcome outcome_of(const struct agent_answer *answer)
{
    return (struct check_outcome){
        .passed = answer->health == AGENT_SAYS_UP,
        .nothing = answer->health == AGENT_SAYS_NOTHING,
        .weight_permille = answer->weight_permille,
        .admin = answer->admin,
        .max_connections = answer->max_connections,
    };
}

/* Ends the run without a result. */
static void agent_fails(struct check_probe *probe, const char *what, const char *why)
{
    struct check_outcome outcome = {.nothing = true,
                                    .weight_permille = CHECK_NOT_SAID,
                                    .admin = CHECK_NOT_SAID,
                                    .max_connections = CHECK_NOT_SAID};
    char reason[SB_REASON_MAX];

    (void)snprintf(reason, sizeof(reason), "%s%s%s", what, why != NULL ? ": " : "",
                   why != NULL ? why : "");
    agent_finish(probe, false, &outcome, reason);
}

/* "agent says DOWN, 0%: disk full" */
static void agent_says(struct check_probe *probe, const char *line, size_t n)
{
    struct agent_answer answer;
    struct check_outcome outcome;
    char words[SB_REASON_MAX / 2], why[SB_REASON_MAX], reason[2 * SB_REASON_MAX];
    const char *intro;

    agent_answer_read(line, n, &answer);
    outcome = outcome_of(&answer);
    intro = answer.n_known > 0     ? "agent says "
            : answer.n_unknown > 0 ? "agent says nothing known: "
                                   : "agent says nothing";
    quote_line(words, sizeof(words), line, answer.words_end);
    quote_line(why, sizeof(why), line + answer.why, n - answer.why);
    (void)snprintf(reason, sizeof(reason), "%s%s%s%s", intro, words, why[0] != '\0' ? ": " : "",
                   why);
    agent_finish(probe, true, &outcome, reason);
}

/* Ends the run when all has been said. */
static void agent_listen(struct check_probe *probe, bool is_end)
{
    struct agent_state *state = probe->state;
    char bytes[AGENT_ANSWER_MAX];
    ev_ssize_t got = evbuffer_copyout(stream_input(state->stream), bytes, sizeof(bytes));
    size_t n = got > 0 ? (size_t)got : 0;
    size_t length = agent_line_length(bytes, n);

    if (length < n || (is_end && n > 0)) {
        agent_says(probe, bytes, length);
    } else if (is_end) {
        agent_fails(probe, "the agent does not answer", NULL);
    } else if (n == sizeof(bytes)) {
        agent_fails(probe, "the agent's line does not end", NULL);
    }
}

static void agent_on_stream(void *arg, enum stream_event event, const char *reason)
{
    struct check_probe *probe = arg;
    struct agent_state *state = probe->state;
    const struct str *send = &state->send.bytes;

    switch (event) {
    case STREAM_OPEN:
        if (send->len > 0 && stream_send(state->stream, send->data, send->len) != 0) {
            agent_fails(probe, "the agent cannot be asked", strerrordesc_np(ENOMEM));
        }
        break;
    case STREAM_DATA:
        agent_listen(probe, false);
        break;
    case STREAM_END:
        agent_listen(probe, true);
        break;
    case STREAM_ERROR:
        agent_fails(probe, "the agent does not answer", reason);
        break;
    }
}

/* --- the start of a run --- */

static int agent_start(struct check_probe *probe)
{
    struct agent_state *state = probe->state;
    const struct stream_options options = {.address = probe->address,
                                           .source = check_arg(probe, "source", NULL),
                                           .input_max = AGENT_ANSWER_MAX};

    return stream_open(probe->base, &options, agent_on_stream, probe, &state->stream);
}

static void agent_cancel(struct check_probe *probe)
{
    struct agent_state *state = probe->state;

    stream_close(state->stream, false);
    state->stream = NULL;
}

const struct check_kind check_kind_agent = {
    .name = "agent",
    .help =
        "asks an agent in the language of HAProxy's agent-check for health, weight, admin state "
        "and limit; changes nothing while it does not answer",
    .state_bytes = sizeof(struct agent_state),
    .is_advisory = true,
    .judge = agent_judge,
    .prepare = agent_prepare,
    .release = agent_release,
    .start = agent_start,
    .cancel = agent_cancel,
};
