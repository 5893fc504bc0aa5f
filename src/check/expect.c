/*
 * Check kind "expect", and the machine behind it: goes through steps that send, or wait until the
 * answer contains something. What a step has found is taken from the answer, so that the next one
 * looks at what follows. In the monitor.
 *
 *   open ──► step ──sent, found──► next step ──► … ──► all done: passed
 *             ▲ │
 *             └─┴─ more has come; fails at 64 KiB, at the peer's end, when the step's time is over
 */
#include "check/expect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check/match.h"
#include "check/step.h"

struct expect_step {
    struct step step;
    struct match *refuse; /* NULL: none */
};

/* --- reasons --- */

/* What a reason holds beside what was wanted and what came. */
#define AROUND sizeof("expect step 123: expected , got \"…\", then closed")
_Static_assert(SB_REASON_MAX >= AROUND + STEP_WANTED_MAX + 20, "something of what came");

/* "expect step 2: expected "+PONG", " and then what. Steps of presets are nobody's own: they are
 * neither counted nor told. */
static void explain(const struct expect_state *state, const char *what, char *out_reason,
                    size_t size)
{
    const struct step *step = &state->steps[state->at].step;

    if (state->preset != NULL) {
        (void)snprintf(out_reason, size, "%s", what);
    } else if (step->kind == STEP_SEND) {
        (void)snprintf(out_reason, size, "expect step %u: %s", state->at + 1, what);
    } else {
        (void)snprintf(out_reason, size, "expect step %u: expected %s, %s", state->at + 1,
                       step->wanted, what);
    }
}

/* "got "-LOADING…"" and then what follows; where nothing came, nothing. */
static bool describe_input(const struct expect_state *state, const char *then,
                           char text[static SB_REASON_MAX])
{
    const char *wanted = state->preset != NULL ? "" : state->steps[state->at].step.wanted;
    size_t n, width = SB_REASON_MAX - AROUND - strlen(wanted);
    const char *bytes = talk_input(&state->talk, &n);
    char shown[MATCH_SHOWN_MAX];

    if (n > 0) {
        width = width < MATCH_SHOWN_WIDTH ? width : MATCH_SHOWN_WIDTH;
        (void)snprintf(text, SB_REASON_MAX, "got %s%s", match_show_within(width, bytes, n, shown),
                       then);
    }
    return n > 0;
}

static void describe_late(const struct expect_state *state, uint32_t within_ms,
                          char text[static SB_REASON_MAX])
{
    bool awaits_close = state->steps[state->at].step.kind == STEP_EXPECT_CLOSE;

    if (!describe_input(state, "", text)) {
        (void)snprintf(text, SB_REASON_MAX, "%s within %u ms", awaits_close ? "none" : "no answer",
                       within_ms);
    }
}

bool expect_explain_late(const struct check_probe *probe, char *out_reason, size_t size)
{
    const struct expect_state *state = probe->state;
    char text[SB_REASON_MAX];

    if (talk_explain_late(&state->talk, out_reason, size)) {
        return true;
    }
    if (state->talk.is_ending) {
        return false;
    }
    describe_late(state, probe->params->timeout_ms, text);
    explain(state, text, out_reason, size);
    return true;
}

/* --- a step's own time --- */

static void deadline_clear(struct expect_state *state)
{
    if (state->due_us != 0) {
        (void)event_del(&state->deadline);
        state->due_us = 0;
    }
}

enum progress { PROGRESS_DONE, PROGRESS_WAITS, PROGRESS_FAILED };

static enum progress give_up(struct expect_state *state, const char *what)
{
    char reason[SB_REASON_MAX];

    deadline_clear(state);
    explain(state, what, reason, sizeof(reason));
    talk_fail(&state->talk, "%s", reason);
    return PROGRESS_FAILED;
}

static int deadline_add(struct expect_state *state, uint64_t now_us)
{
    uint64_t left_us = state->due_us > now_us ? state->due_us - now_us : 0;
    const struct timeval left = {.tv_sec = (time_t)(left_us / 1000000),
                                 .tv_usec = (suseconds_t)(left_us % 1000000)};

    return evtimer_add(&state->deadline, &left);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct expect_state *state = arg;
    uint64_t now_us = clock_now_us();
    char text[SB_REASON_MAX];

    (void)fd;
    (void)what;
    /* libevent counts from the start of the turn that set it, so it may come too early. */
    if (now_us < state->due_us && deadline_add(state, now_us) == 0) {
        return;
    }
    describe_late(state, state->steps[state->at].step.deadline_ms, text);
    (void)give_up(state, text);
}

/* Once for each step. */
static void deadline_set(struct expect_state *state)
{
    uint32_t ms = state->steps[state->at].step.deadline_ms;
    uint64_t now_us = clock_now_us();

    if (ms == 0 || state->due_us != 0) {
        return;
    }
    state->due_us = now_us + ms * UINT64_C(1000);
    if (evtimer_assign(&state->deadline, state->talk.probe->base, on_deadline, state) != 0 ||
        deadline_add(state, now_us) != 0) {
        (void)give_up(state, stream_error_text(ENOMEM));
    }
}

/* --- steps --- */

/* The step has not found what it looks for; may there still be hope? */
static enum progress look_again(struct expect_state *state, const char *bytes, size_t n)
{
    const struct expect_step *step = &state->steps[state->at];
    char text[SB_REASON_MAX];
    size_t end;

    if (step->refuse != NULL &&
        match_find(step->refuse, bytes, n, 0, &state->budget_ns, &end) == MATCH_FOUND) {
        (void)describe_input(state, "", text);
        return give_up(state, text);
    }
    if (state->talk.peer_ended) {
        return give_up(
            state, describe_input(state, ", then closed", text) ? text : "closed by the backend");
    }
    if (n >= TALK_INPUT_MAX) {
        (void)snprintf(text, sizeof(text), "64 KiB without %s",
                       state->preset != NULL ? step->step.wanted : "it");
        return give_up(state, text);
    }
    state->seen_bytes = n;
    return PROGRESS_WAITS;
}

static enum progress look(struct expect_state *state)
{
    size_t n, end = 0;
    const char *bytes = talk_input(&state->talk, &n);

    switch (match_find(state->steps[state->at].step.match, bytes, n, state->seen_bytes,
                       &state->budget_ns, &end)) {
    case MATCH_FOUND:
        talk_take(&state->talk, end);
        return PROGRESS_DONE;
    case MATCH_GIVEN_UP:
        return give_up(state, "the expression takes too long to match what came");
    default:
        return look_again(state, bytes, n);
    }
}

static enum progress await_close(struct expect_state *state)
{
    size_t n;

    (void)talk_input(&state->talk, &n);
    talk_take(&state->talk, n);
    return state->talk.peer_ended ? PROGRESS_DONE : PROGRESS_WAITS;
}

static enum progress take_step(struct expect_state *state)
{
    const struct step *step = &state->steps[state->at].step;

    switch (step->kind) {
    case STEP_SEND:
        return talk_send(&state->talk, step->bytes.data, step->bytes.len) ? PROGRESS_DONE
                                                                          : PROGRESS_FAILED;
    case STEP_EXPECT:
        return look(state);
    case STEP_EXPECT_CLOSE:
    case STEP_KIND_COUNT:
        break;
    }
    return await_close(state);
}

static void succeed(struct expect_state *state)
{
    bool sent_last = state->steps[state->n_steps - 1].step.kind == STEP_SEND;
    char elapsed[TALK_ELAPSED_MAX];

    (void)talk_elapsed(&state->talk, elapsed);
    if (state->preset != NULL) {
        talk_end(&state->talk, true, state->preset->ending, "answered in %s", elapsed);
        return;
    }
    /* A reset would take away what was sent last before it is read. */
    talk_end(&state->talk, true, sent_last ? TALK_FAREWELL : TALK_RESET, "%u step%s in %s",
             state->n_steps, state->n_steps == 1 ? "" : "s", elapsed);
}

/* Takes steps until one has to wait, or the run is over. */
static void go_on(struct expect_state *state)
{
    enum progress progress = PROGRESS_DONE;

    while (state->at < state->n_steps && (progress = take_step(state)) == PROGRESS_DONE) {
        deadline_clear(state);
        state->seen_bytes = 0;
        state->at++;
    }
    if (progress == PROGRESS_WAITS) {
        deadline_set(state);
    } else if (progress == PROGRESS_DONE) {
        succeed(state);
    }
}

static void on_event(struct check_probe *probe, enum stream_event event, const char *reason)
{
    struct expect_state *state = probe->state;

    if (event != STREAM_ERROR) {
        go_on(state);
    } else if (state->talk.is_open) {
        (void)give_up(state, reason);
    } else {
        talk_fail(&state->talk, "%s", reason);
    }
}

/* --- life --- */

int expect_start(struct check_probe *probe)
{
    struct expect_state *state = probe->state;
    const struct stream_options plain = {0};

    if (state->n_steps == 0) {
        check_done(probe, false, "it has no steps");
        return 0;
    }
    state->at = 0;
    state->seen_bytes = 0;
    state->budget_ns = MATCH_BUDGET_NS;
    return talk_start(&state->talk, probe, &plain, on_event);
}

void expect_cancel(struct check_probe *probe)
{
    struct expect_state *state = probe->state;

    deadline_clear(state);
    talk_cancel(&state->talk);
}

void expect_release(struct check_probe *probe)
{
    struct expect_state *state = probe->state;

    for (uint32_t i = 0; i < state->n_steps; i++) {
        step_clear(&state->steps[i].step);
        match_free(state->steps[i].refuse);
    }
    free(state->steps);
    state->steps = NULL;
    state->n_steps = 0;
}

/* Adds one; there is room. */
static int add_step(struct expect_state *state, const char *text, const char *refuse)
{
    struct expect_step *step = &state->steps[state->n_steps];
    STR_AUTO problem = {0};
    int error = step_parse(text, &step->step, &problem);

    if (error != 0) {
        return error;
    }
    state->n_steps++;
    if (refuse != NULL && (step->refuse = match_create_regex(refuse, &problem)) == NULL) {
        return problem.len > 0 ? -EINVAL : -ENOMEM;
    }
    return 0;
}

int expect_prepare_preset(struct check_probe *probe, const struct expect_preset *preset)
{
    struct expect_state *state = probe->state;
    int error = 0;

    state->preset = preset;
    state->steps = calloc(preset->n_steps, sizeof(*state->steps));
    if (state->steps == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < preset->n_steps && error == 0; i++) {
        error = add_step(state, preset->steps[i].text, preset->steps[i].refuse);
    }
    if (error != 0) {
        expect_release(probe);
    }
    return error;
}

static int expect_prepare(struct check_probe *probe)
{
    struct expect_state *state = probe->state;
    int error = 0;

    state->steps = calloc(probe->n_args + 1, sizeof(*state->steps));
    if (state->steps == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < probe->n_args && error == 0; i++) {
        if (strcmp(probe->args[i].name, "steps") == 0) {
            error = add_step(state, probe->args[i].value, NULL);
        }
    }
    if (error != 0) {
        expect_release(probe);
    }
    return error;
}

static bool expect_judge(const char *option, const char *value, struct str *out_problem)
{
    struct step step;
    STR_AUTO problem = {0};
    char shown[MATCH_SHOWN_MAX];
    int error;

    if (strcmp(option, "steps") != 0) {
        return true;
    }
    error = step_parse(value, &step, &problem);
    if (error == 0) {
        step_clear(&step);
        return true;
    }
    str_printf(out_problem, "step %s: %s", match_show(value, strlen(value), shown),
               error == -ENOMEM ? stream_error_text(ENOMEM) : str_text(&problem));
    return false;
}

static bool expect_judge_all(const struct check_arg *args, uint32_t n_args, struct str *out_problem)
{
    for (uint32_t i = 0; i < n_args; i++) {
        if (strcmp(args[i].name, "steps") == 0) {
            return true;
        }
    }
    str_append(out_problem,
               "no steps; write steps = { \"send PING\\r\\n\", \"expect +PONG\" } or the like");
    return false;
}

const struct check_kind check_kind_expect = {
    .name = "expect",
    .help = "passes when a conversation goes as its steps say",
    .state_bytes = sizeof(struct expect_state),
    .begins_as_sessions = true,
    .judge = expect_judge,
    .judge_all = expect_judge_all,
    .prepare = expect_prepare,
    .release = expect_release,
    .start = expect_start,
    .explain_late = expect_explain_late,
    .cancel = expect_cancel,
};
