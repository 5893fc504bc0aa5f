/*
 * Check kind "exec": runs a program and goes by its exit status. In the monitor, as the daemon's
 * user and without capabilities.
 *
 *   0           passed; the weight stays as it was
 *   1           failed
 *   2 to 255    passed, with (status - 2) percent of the configured weight, at most 100
 *
 * That is keepalived's MISC_CHECK with misc_dynamic (keepalived.conf(5): "exit status 2-255: svc
 * check success, weight changed to 2 less than exit status"), read as a share of the weight in the
 * file instead of replacing it: a program can say how much of its usual load a server can take
 * without knowing the others' weights, and with a configured weight of 100 both are the same.
 * Above 100 percent there is nothing to give. A program that could not be run, or was ended by a
 * signal, has no status here and has failed; but a script's own shell says so of what the script
 * runs by 126, 127 and from 128 on.
 * With dynamic = false every status but 0 is a failure; right for programs that were not written
 * for this, whose statuses from 2 on say what went wrong, and for such scripts.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check/check.h"
#include "check/program.h"
#include "check/quote.h"
#include "sluice/scoreboard.h"

#define WEIGHT_FIRST 2 /* exit status that stands for 0 percent */
#define WEIGHT_MAX   100
#define PATH_SHOWN   "%.60s" /* so that a reason has room for what follows */

#define LOOK_MS 10 /* between looks whether a killed program has ended */

struct exec_state {
    char **argv;
    bool is_dynamic;
    struct program *program; /* of the run under way; or killed, and not known to have ended */
    struct event look;       /* awaiting: the next look whether that one has ended */
    bool is_awaiting;        /* a run is under way, but its program waits for that end */
};

/* --- options --- */

static bool exec_judge_all(const struct check_arg *args, uint32_t n_args, struct str *out_problem)
{
    const char *path = NULL;

    for (uint32_t i = 0; i < n_args && path == NULL; i++) {
        path = strcmp(args[i].name, "command") == 0 ? args[i].value : NULL;
    }
    if (path == NULL) {
        str_append(out_problem,
                   "no command; write command = { \"/path/to/program\", \"argument\" }");
        return false;
    }
    if (path[0] != '/') {
        str_printf(out_problem,
                   "command begins with \"%s\"; write the program's absolute path (there is no "
                   "shell and no search)",
                   path);
        return false;
    }
    return true;
}

static int exec_prepare(struct check_probe *probe)
{
    struct exec_state *state = probe->state;
    const char *problem;
    uint32_t n = 0;

    state->argv = calloc(probe->n_args + 1, sizeof(*state->argv));
    if (state->argv == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < probe->n_args; i++) {
        if (strcmp(probe->args[i].name, "command") == 0) {
            state->argv[n++] = (char *)(uintptr_t)probe->args[i].value; /* execve() leaves it be */
        }
    }
    (void)units_parse_bool(check_arg(probe, "dynamic", "true"), &state->is_dynamic, &problem);
    return 0;
}

static void exec_release(struct check_probe *probe)
{
    struct exec_state *state = probe->state;

    program_release(state->program);
    state->program = NULL;
    free(state->argv);
    state->argv = NULL;
}

/* --- the end of a run --- */

/* Whether a program could not be run for want of something of our own. */
static bool error_is_ours(int error)
{
    return error == ENOMEM || error == EAGAIN || error == EMFILE || error == ENFILE;
}

/* Fills all but the reason, whose beginning goes to text. */
static void judge_end(const struct exec_state *state, const struct program_end *end,
                      struct check_outcome *out, char text[static SB_REASON_MAX])
{
    bool has_weight = state->is_dynamic && end->status >= WEIGHT_FIRST;
    int weight = end->status - WEIGHT_FIRST < WEIGHT_MAX ? end->status - WEIGHT_FIRST : WEIGHT_MAX;

    *out = (struct check_outcome){.weight_permille = CHECK_NOT_SAID,
                                  .admin = CHECK_NOT_SAID,
                                  .max_connections = CHECK_NOT_SAID};
    if (end->error != 0) {
        out->nothing = error_is_ours(end->error);
        (void)snprintf(text, SB_REASON_MAX, "cannot run " PATH_SHOWN ": %s", state->argv[0],
                       strerrordesc_np(end->error));
    } else if (end->signal != 0) {
        (void)snprintf(text, SB_REASON_MAX, "ended by signal %d", end->signal);
    } else if (has_weight) {
        out->passed = true;
        out->weight_permille = (uint32_t)weight * 10;
        (void)snprintf(text, SB_REASON_MAX, "exit status %d, weight %d%%", end->status, weight);
    } else {
        out->passed = end->status == 0;
        (void)snprintf(text, SB_REASON_MAX, "exit status %d%s", end->status,
                       out->passed         ? ""
                       : state->is_dynamic ? ", expected 0 or from 2 on"
                                           : ", expected 0");
    }
}

static void exec_on_end(void *arg, const struct program_end *end)
{
    struct check_probe *probe = arg;
    struct exec_state *state = probe->state;
    struct check_outcome outcome;
    char text[SB_REASON_MAX], said[SB_REASON_MAX], reason[2 * SB_REASON_MAX + 2];

    judge_end(state, end, &outcome, text);
    quote_line(said, sizeof(said), end->output, end->output_bytes);
    (void)snprintf(reason, sizeof(reason), "%s%s%s", text, said[0] != '\0' ? ": " : "", said);
    outcome.reason = reason;
    program_release(state->program);
    state->program = NULL;
    check_done_outcome(probe, &outcome);
}

/* --- the start of a run --- */

struct exec_environment {
    char pool[NAME_BYTES_MAX + 16], backend[NAME_BYTES_MAX + 16], address[ADDR_TEXT_MAX + 16];
    char port[32], timeout[32];
    char *list[7];
};

static void fill_environment(const struct check_probe *probe, struct exec_environment *out)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    const struct addr *address = probe->address;
    bool is_unix = address->ip.family == ADDR_UNIX;
    char text[ADDR_TEXT_MAX];

    (void)(is_unix ? addr_format(address, text) : addr_ip_format(&address->ip, false, text));
    (void)snprintf(out->pool, sizeof(out->pool), "SLUICE_POOL=%s", probe->pool ? probe->pool : "");
    (void)snprintf(out->backend, sizeof(out->backend), "SLUICE_BACKEND=%s",
                   probe->backend ? probe->backend : "");
    (void)snprintf(out->address, sizeof(out->address), "SLUICE_ADDRESS=%s", text);
    (void)snprintf(out->port, sizeof(out->port), "SLUICE_PORT=");
    if (!is_unix) {
        (void)snprintf(out->port, sizeof(out->port), "SLUICE_PORT=%u", address->ip.port);
    }
    (void)snprintf(out->timeout, sizeof(out->timeout), "SLUICE_TIMEOUT_MS=%u",
                   probe->params->timeout_ms);
    memcpy(out->list,
           (char *[]){path, out->pool, out->backend, out->address, out->port, out->timeout, NULL},
           sizeof(out->list));
}

static int run_program(struct check_probe *probe)
{
    struct exec_state *state = probe->state;
    struct exec_environment environment;
    const struct program_options options = {.argv = state->argv,
                                            .environment = environment.list,
                                            .cpu_seconds = probe->params->timeout_ms / 1000 + 2};

    program_release(state->program);
    state->program = NULL;
    fill_environment(probe, &environment);
    return program_start(probe->base, &options, exec_on_end, probe, &state->program);
}

static int look_later(struct exec_state *state)
{
    const struct timeval in = {.tv_usec = LOOK_MS * 1000};

    return evtimer_add(&state->look, &in) == 0 ? 0 : -ENOMEM;
}

static void exec_on_look(evutil_socket_t fd, short what, void *arg)
{
    struct check_probe *probe = arg;
    struct exec_state *state = probe->state;
    bool is_gone = program_is_gone(state->program);
    int error;

    (void)fd;
    (void)what;
    if (!is_gone && look_later(state) == 0) {
        return;
    }
    state->is_awaiting = false;
    error = is_gone ? run_program(probe) : -ENOMEM;
    if (error != 0) {
        const struct program_end end = {.error = -error};

        exec_on_end(probe, &end);
    }
}

/* To be killed takes a moment. If it takes more than this run's time, the run has failed. */
static int await_end(struct check_probe *probe)
{
    struct exec_state *state = probe->state;

    if (evtimer_assign(&state->look, probe->base, exec_on_look, probe) != 0 ||
        look_later(state) != 0) {
        return -ENOMEM;
    }
    state->is_awaiting = true;
    return 0;
}

static int exec_start(struct check_probe *probe)
{
    struct exec_state *state = probe->state;

    if (state->argv[0] == NULL) {
        check_done(probe, false, "no command to run");
        return 0;
    }
    if (state->program != NULL && !program_is_gone(state->program)) {
        return await_end(probe);
    }
    return run_program(probe);
}

static bool exec_explain_late(const struct check_probe *probe, char *out_reason, size_t size)
{
    const struct exec_state *state = probe->state;

    if (state->is_awaiting) {
        (void)snprintf(out_reason, size,
                       "the program of an earlier run was killed and has not ended yet");
    }
    return state->is_awaiting;
}

static void exec_cancel(struct check_probe *probe)
{
    struct exec_state *state = probe->state;

    if (state->is_awaiting) {
        (void)event_del(&state->look);
        state->is_awaiting = false;
    }
    program_kill(state->program);
}

const struct check_kind check_kind_exec = {
    .name = "exec",
    .help = "passes when a program (run as the daemon's user) exits with 0; 1 fails, and 2 to 255 "
            "pass with 0 to 100 percent of the weight (status - 2)",
    .state_bytes = sizeof(struct exec_state),
    .runs_programs = true,
    .judge_all = exec_judge_all,
    .prepare = exec_prepare,
    .release = exec_release,
    .start = exec_start,
    .explain_late = exec_explain_late,
    .cancel = exec_cancel,
};
