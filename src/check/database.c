/*
 * Check kinds "postgresql" and "mysql": pass when the server lets the user in, asks for a password,
 * or knows that it will not have this user; fail when it says that it is starting, full, or has
 * locked us out. No password is ever sent. Both end the way a client ends, so that the server does
 * not count us among those who fail to connect (MySQL blocks a host for that), and logs nothing if
 * it lets the user in. In the monitor.
 */
#include <errno.h>
#include <string.h>

#include "check/check.h"
#include "check/database_answer.h"
#include "check/match.h"
#include "check/talk.h"

#define USER_MAX          63 /* bytes, of a name in either */
#define MYSQL_ANSWERS_MAX 8  /* of one run; a user may have several ways to log in */

struct database_state {
    struct talk talk;
    const char *product;
    void (*on_open)(struct database_state *state);
    void (*on_input)(struct database_state *state);
    /* MySQL, of the run under way: */
    bool is_greeted;
    uint8_t n_answers; /* to what it asked for: with one it is alive */
};

/* --- verdicts --- */

static void succeed(struct database_state *state, const struct database_answer *answer,
                    enum talk_ending ending)
{
    static const char *const details[DATABASE_VERDICT_COUNT] = {
        [DATABASE_ASKS] = "asks for a password",
        [DATABASE_WELCOMES] = "logged in",
        [DATABASE_REFUSES] = "refuses the user, ",
    };
    char elapsed[TALK_ELAPSED_MAX];

    talk_end(&state->talk, true, ending, "answered in %s: %s%s",
             talk_elapsed(&state->talk, elapsed), details[answer->verdict], answer->text);
}

/* The answer is not whole. */
static void await_more(struct database_state *state)
{
    size_t n;

    (void)talk_input(&state->talk, &n);
    if (state->talk.peer_ended) {
        talk_fail(&state->talk, n > 0 ? "closed within the answer" : "closed by the backend");
    } else if (n >= TALK_INPUT_MAX) {
        talk_fail(&state->talk, "64 KiB without an answer");
    }
}

/* Any answer but those that ask for another word. */
static void conclude(struct database_state *state, const struct database_answer *answer)
{
    switch (answer->verdict) {
    case DATABASE_REFUSES: /* after an error it ends by itself */
        succeed(state, answer, TALK_AWAIT);
        break;
    case DATABASE_DOWN:
        talk_end(&state->talk, false, TALK_AWAIT, "%s", answer->text);
        break;
    case DATABASE_STRANGE:
        talk_fail(&state->talk, "no %s answer: %s", state->product, answer->text);
        break;
    default:
        await_more(state);
        break;
    }
}

/* Sends what was put together, if memory allowed it. False: the run has failed. */
static bool send_all(struct database_state *state, const struct str *bytes)
{
    if (bytes->failed) {
        talk_fail(&state->talk, "%s", stream_error_text(ENOMEM));
        return false;
    }
    return talk_send(&state->talk, bytes->data, bytes->len);
}

static bool database_judge(const char *option, const char *value, struct str *out_problem)
{
    size_t n = strlen(value);
    char shown[MATCH_SHOWN_MAX];

    if (strcmp(option, "user") != 0) {
        return true;
    }
    for (const char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            n = 0;
            break;
        }
    }
    if (n > 0 && n <= USER_MAX) {
        return true;
    }
    str_printf(out_problem, "%s is no user's name; write 1 to %d printable characters",
               match_show(value, strlen(value), shown), USER_MAX);
    return false;
}

static const char *user_of(const struct check_probe *probe)
{
    return check_arg(probe, "user", "sluice");
}

/* --- life --- */

static void on_event(struct check_probe *probe, enum stream_event event, const char *reason)
{
    struct database_state *state = probe->state;

    switch (event) {
    case STREAM_OPEN:
        state->on_open(state);
        break;
    case STREAM_DATA:
    case STREAM_END:
        state->on_input(state);
        break;
    case STREAM_ERROR:
        talk_fail(&state->talk, "%s", reason);
        break;
    }
}

static int database_start(struct check_probe *probe)
{
    struct database_state *state = probe->state;
    const struct stream_options plain = {0};

    state->is_greeted = false;
    state->n_answers = 0;
    return talk_start(&state->talk, probe, &plain, on_event);
}

static bool database_explain_late(const struct check_probe *probe, char *out_reason, size_t size)
{
    const struct database_state *state = probe->state;

    return talk_explain_late(&state->talk, out_reason, size);
}

static void database_cancel(struct check_probe *probe)
{
    struct database_state *state = probe->state;

    talk_cancel(&state->talk);
}

/* --- PostgreSQL --- */

static void postgresql_on_open(struct database_state *state)
{
    STR_AUTO ask = {0};

    postgresql_ask(user_of(state->talk.probe), &ask);
    (void)send_all(state, &ask);
}

static void postgresql_on_input(struct database_state *state)
{
    static const char terminate[] = {'X', 0, 0, 0, 4};
    size_t n;
    const char *bytes = talk_input(&state->talk, &n);
    struct database_answer answer = postgresql_read(bytes, n);

    if (answer.verdict == DATABASE_ASKS) { /* to end without a word is what psql does here, too */
        succeed(state, &answer, TALK_FAREWELL);
    } else if (answer.verdict != DATABASE_WELCOMES) {
        conclude(state, &answer);
    } else if (talk_send(&state->talk, terminate, sizeof(terminate))) {
        succeed(state, &answer, TALK_AWAIT);
    }
}

static int postgresql_prepare(struct check_probe *probe)
{
    struct database_state *state = probe->state;

    state->product = "PostgreSQL";
    state->on_open = postgresql_on_open;
    state->on_input = postgresql_on_input;
    return 0;
}

const struct check_kind check_kind_postgresql = {
    .name = "postgresql",
    .help = "passes when a PostgreSQL server lets a user in, or asks for a password",
    .state_bytes = sizeof(struct database_state),
    .begins_as_sessions = true,
    .judge = database_judge,
    .prepare = postgresql_prepare,
    .start = database_start,
    .explain_late = database_explain_late,
    .cancel = database_cancel,
};

/* --- MySQL --- */

static void mysql_on_open(struct database_state *state)
{
    (void)state; /* it speaks first */
}

static void mysql_on_greeting(struct database_state *state, const struct database_answer *greeting)
{
    STR_AUTO ask = {0};

    state->is_greeted = true;
    talk_take(&state->talk, greeting->used);
    mysql_ask(user_of(state->talk.probe), greeting, &ask);
    (void)send_all(state, &ask);
}

/* It wants a password, or wants it in another way, or in yet another: there is none, in any way. To
 * leave when it has named a way would count as a failure to connect. */
static void mysql_on_asked(struct database_state *state, const struct database_answer *answer)
{
    bool names_way = answer->plugin[0] != '\0';
    STR_AUTO none = {0};

    if (state->n_answers == MYSQL_ANSWERS_MAX || (state->n_answers > 0 && !names_way)) {
        succeed(state, answer, TALK_FAREWELL);
        return;
    }
    state->n_answers++;
    talk_take(&state->talk, answer->used);
    mysql_answer(answer, &none);
    (void)send_all(state, &none);
}

static void mysql_on_input(struct database_state *state)
{
    static const char quit[] = {1, 0, 0, 0, 1};
    size_t n;
    const char *bytes = talk_input(&state->talk, &n);
    struct database_answer answer =
        state->is_greeted ? mysql_read_reply(bytes, n) : mysql_read_greeting(bytes, n);

    if (answer.verdict == DATABASE_GREETS) {
        mysql_on_greeting(state, &answer);
    } else if (answer.verdict == DATABASE_ASKS) {
        mysql_on_asked(state, &answer);
    } else if (answer.verdict == DATABASE_MORE && state->n_answers > 0 && state->talk.peer_ended) {
        answer.verdict = DATABASE_ASKS;
        succeed(state, &answer, TALK_RESET);
    } else if (answer.verdict != DATABASE_WELCOMES) {
        conclude(state, &answer);
    } else if (talk_send(&state->talk, quit, sizeof(quit))) {
        succeed(state, &answer, TALK_AWAIT);
    }
}

static int mysql_prepare(struct check_probe *probe)
{
    struct database_state *state = probe->state;

    state->product = "MySQL";
    state->on_open = mysql_on_open;
    state->on_input = mysql_on_input;
    return 0;
}

const struct check_kind check_kind_mysql = {
    .name = "mysql",
    .help = "passes when a MySQL or MariaDB server lets a user in, or turns only the user away",
    .state_bytes = sizeof(struct database_state),
    .begins_as_sessions = true,
    .judge = database_judge,
    .prepare = mysql_prepare,
    .start = database_start,
    .explain_late = database_explain_late,
    .cancel = database_cancel,
};
