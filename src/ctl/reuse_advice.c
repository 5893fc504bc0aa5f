/*
 * Judges by the counters of one backend, which go back to when its name came into the pool: what
 * has been remedied since still weighs for a while. In master.
 */
#include "ctl/reuse_advice.h"

#include <inttypes.h>
#include <string.h>

#include "ctl/format.h"

#define LENT_ENOUGH 10 /* to judge by */

static uint64_t lent_in_all(const struct sb_upstream_sum *sum)
{
    return sum->opened + sum->warm + sum->reused;
}

/* --- sessions that own --- */

static bool is_one_of(const char *command, const char *const *names)
{
    while (*names != NULL && strcmp(command, *names) != 0)
        names++;
    return *names != NULL;
}

const char *reuse_advise_pins(const struct snapshot_reuse *reuse, const char *command)
{
    static const char *const openings[] = {"AUTH", "CLIENT", "HELLO", "SELECT", NULL};
    static const char *const scripts[] = {"EVAL",  "EVALSHA",  "EVALSHA_RO", "EVAL_RO",
                                          "FCALL", "FCALL_RO", NULL};

    if (reuse->framing == FRAMING_RESP && is_one_of(command, openings))
        return reuse->handshake_key
                   ? "it is shared only where sessions begin with it, in a form that can be "
                     "repeated"
                   : "handshake = \"key\" lets sessions that begin alike share";
    if (reuse->framing == FRAMING_RESP && is_one_of(command, scripts) && !reuse->scripts)
        return "scripts = true lets them share, if the scripts leave nothing behind in their "
               "connection";
    return "clients that need it are better off with a service and a pool of their own, without "
           "reuse";
}

char *reuse_pin_command(const struct sb_pool *pool, char buf[static SB_PIN_COMMAND_MAX])
{
    size_t i = 0;

    for (; i < SB_PIN_COMMAND_MAX - 1; i++) {
        buf[i] = __atomic_load_n(&pool->pin_command[i], __ATOMIC_RELAXED);
        if (buf[i] == '\0')
            return buf;
    }
    buf[i] = '\0';
    return buf;
}

static void tell_pins(const struct reuse_case *about, struct str *out)
{
    str_append(out, "many come to belong to a single session");
    if (*about->pin_command != '\0')
        str_printf(out, ", the last by %s: %s", about->pin_command,
                   reuse_advise_pins(about->reuse, about->pin_command));
}

/* --- a backend that is not fit --- */

const char *reuse_advise_trouble(enum reuse_trouble trouble)
{
    return trouble == REUSE_SPEAKS_FIRST
               ? "write mode = \"warm\", in which a greeting waits for its client, or \"off\""
               : "write mode = \"off\"";
}

static void tell_trouble(const struct reuse_case *about, struct str *out)
{
    if (about->trouble == REUSE_SPEAKS_FIRST)
        str_append(out, "switched off, as it speaks first");
    else
        str_append(out, "switched off");
    str_printf(out, ": %s", reuse_advise_trouble(about->trouble));
}

/* Load, and standing by, are no reasons to close idle ones. */
static bool may_keep(enum backend_state state)
{
    return state == BACKEND_UP || state == BACKEND_FULL || state == BACKEND_STANDBY;
}

/* --- warm --- */

static void tell_warm(const struct reuse_case *about, struct str *out)
{
    const struct sb_upstream_sum *sum = about->sum;

    if (sum->warm >= sum->opened)
        return;
    if (sum->open_failures > sum->warm)
        str_printf(out, "opening ahead fails: %" PRIu64 " times so far", sum->open_failures);
    else
        str_printf(out,
                   "most sessions find none ready: they come faster than warm_min (%" PRIu32
                   " per worker), connect_rate or max_connections let more be opened",
                   about->reuse->warm_min);
}

/* --- session and request --- */

static enum discard commonest(const struct sb_upstream_sum *sum)
{
    enum discard top = 0;

    for (enum discard reason = 1; reason < DISCARD_COUNT; reason++)
        if (sum->discarded_by[reason] > sum->discarded_by[top])
            top = reason;
    return top;
}

/* What is given to a session's first request is chosen by what it may do. */
static bool is_choosy(const struct reuse_case *about)
{
    return about->reuse->mode == REUSE_REQUEST && about->reuse->policy == REUSE_SAFE;
}

/*
 * Idle ones were there, and most sessions opened another: what is closed for lying about had not
 * served, while hardly any has served twice.
 */
static bool is_passed_over(const struct reuse_case *about)
{
    const struct sb_upstream_sum *sum = about->sum;
    uint64_t unused = sum->discarded_by[DISCARD_MAX_IDLE] + sum->discarded_by[DISCARD_IDLE_MAX] +
                      sum->discarded_by[DISCARD_UNPROVEN];
    bool were_there = sum->idle > 0 || commonest(sum) != DISCARD_IDLE_MAX;

    return sum->reused * 10 < sum->opened && unused * 2 >= sum->opened &&
           (is_choosy(about) || (about->reuse->handshake_key && were_there));
}

static void tell_passed_over(const struct reuse_case *about, struct str *out)
{
    char time[FORMAT_TEXT_MAX];

    str_append(out, "idle ones are passed over: ");
    if (is_choosy(about))
        str_append(out, "policy \"safe\" gives them no first request that could not be sent again; "
                        "\"always\" does");
    if (about->reuse->handshake_key)
        str_printf(out, "%stheir handshakes differ from client to client",
                   is_choosy(about) ? "; or " : "");
    if (about->sum->idle == 0 && commonest(about->sum) == DISCARD_IDLE_MAX)
        str_printf(out, "; or none comes within idle_max (%s)",
                   format_duration(about->reuse->idle_max_ms, time));
}

/*
 * What was opened is neither lying there, nor lent, nor was it closed for a reason: it was never to
 * be kept.
 */
static bool is_private(const struct sb_upstream_sum *sum)
{
    return (sum->idle + sum->lent + sum->discarded) * 2 < sum->opened;
}

static void tell_idle_max(const struct reuse_case *about, struct str *out)
{
    char time[FORMAT_TEXT_MAX];

    str_printf(out,
               "many lie idle for longer than idle_max (%s): a longer one, under the backend's own "
               "limit, keeps them",
               format_duration(about->reuse->idle_max_ms, time));
}

static void tell_closed(const struct reuse_case *about, struct str *out)
{
    char time[FORMAT_TEXT_MAX];

    str_append(out, "the backend closes many of them: it keeps none open");
    if (about->reuse->idle_max_ms != 0)
        str_printf(out, ", or for less than idle_max (%s)",
                   format_duration(about->reuse->idle_max_ms, time));
}

static void tell_age(const struct reuse_case *about, struct str *out)
{
    char time[FORMAT_TEXT_MAX];

    str_printf(out, "max_age (%s) ends many of them",
               format_duration(about->reuse->max_age_ms, time));
}

static void tell_unclean(const struct reuse_case *about, struct str *out)
{
    if (about->reuse->framing == FRAMING_HTTP1)
        str_append(out, "after many answers no other may follow: \"Connection: close\", a body "
                        "that only the connection's end ends, or an answer before its request was "
                        "complete");
    else
        str_append(out, "by many answers something may be left behind in the connection");
}

static const char *const discard_texts[DISCARD_COUNT] = {
    [DISCARD_EVICTED] = "max_connections leaves no room for idle ones: sessions need their places",
    [DISCARD_NOT_UP] = "many were closed because the backend was not up",
    [DISCARD_CHANGED] = "many were closed because the address or the settings have changed",
    [DISCARD_STRAY_BYTES] = "the backend sends what nobody has asked for: if it greets, write mode "
                            "= \"warm\" or \"off\"",
    [DISCARD_RESET_FAILED] = "the reset exchange fails: the backend does not answer reset_send "
                             "with reset_expect, in time and nothing behind it",
    [DISCARD_SESSION_END] = "many sessions end in the midst of something",
    [DISCARD_HANDSHAKE] = "the backend does not take the handshake of clients when it is repeated",
    [DISCARD_TURNED_AWAY] = "the backend turns connections away: it allows fewer than are opened",
    [DISCARD_UNHEARD] = "it was not known yet whether the backend speaks first",
    [DISCARD_UNPROVEN] = "it was not known yet whether the backend keeps idle ones open",
    [DISCARD_SWITCHED_OFF] = "many were closed when reuse was switched off",
};

static void tell_commonest(const struct reuse_case *about, struct str *out)
{
    enum discard top = commonest(about->sum);

    switch (top) {
    case DISCARD_IDLE_MAX:
        tell_idle_max(about, out);
        break;
    case DISCARD_MAX_AGE:
        tell_age(about, out);
        break;
    case DISCARD_MAX_USES:
        str_printf(out, "max_uses (%" PRIu32 ") ends many of them", about->reuse->max_uses);
        break;
    case DISCARD_MAX_IDLE:
        str_printf(out,
                   "max_idle (%" PRIu32 " per worker) is too small: many are given back when as "
                   "many lie idle already",
                   about->reuse->max_idle);
        break;
    case DISCARD_BACKEND_CLOSED:
        tell_closed(about, out);
        break;
    case DISCARD_OWNED:
        tell_pins(about, out);
        break;
    case DISCARD_NOT_CLEAN:
        tell_unclean(about, out);
        break;
    default:
        str_append(out, discard_texts[top]);
        break;
    }
}

static void tell_lending(const struct reuse_case *about, struct str *out)
{
    const struct sb_upstream_sum *sum = about->sum;
    uint64_t lent = lent_in_all(sum);

    if (sum->reused * 2 >= lent)
        return;
    if (sum->pins * 2 > lent)
        tell_pins(about, out);
    else if (is_passed_over(about))
        tell_passed_over(about, out);
    else if (sum->discarded_by[commonest(sum)] * 4 >= lent)
        tell_commonest(about, out);
    else if (is_private(sum))
        str_append(out, "sessions come from a service whose own pool has another reuse section: "
                        "what is opened for them is not kept");
}

void reuse_explain(const struct reuse_case *about, struct str *out)
{
    if (about->trouble != REUSE_FINE)
        tell_trouble(about, out);
    else if (!may_keep(about->state))
        str_printf(out, "none is kept of a backend that is %s", backend_state_names[about->state]);
    else if (lent_in_all(about->sum) < LENT_ENOUGH)
        return;
    else if (about->reuse->mode == REUSE_WARM)
        tell_warm(about, out);
    else
        tell_lending(about, out);
}
