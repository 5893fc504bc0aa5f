/*
 * The interface that each kind of check implements: one file with one const table of functions, and
 * one line in CHECK_KIND_LIST. The engine decides when a check runs, for how long, and what its
 * result means; a kind only makes the attempt and says how it ended.
 *
 * A probe's life: prepare() → any number of runs → release(). A run is: start() → (the kind's own
 * events) → check_done(). In its place the engine may call cancel(), when the time is over or
 * nobody wants the answer any more. Whichever comes, the kind has let go of everything that belongs
 * to the run by then: check_done() is the last thing a run does.
 */
#ifndef SLUICE_CHECK_CHECK_H
#define SLUICE_CHECK_CHECK_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/str.h"
#include "sluice/snapshot.h"

/* Every kind, by the name that the configuration uses. A kind "x" is the variable check_kind_x. */
#define CHECK_KIND_LIST(X)                                                                         \
    X(tcp)                                                                                         \
    X(expect) X(http) X(exec) X(agent) X(redis) X(postgresql) X(mysql) X(smtp) X(ssh) X(memcached)

/* An option of the kind's own, as configured; a list's items follow each other under one name. */
struct check_arg {
    const char *name, *value;
};

/* What a kind sees of its probe. All pointers live as long as the probe does. */
struct check_probe {
    struct event_base *base;
    const struct addr *address; /* the check's own port is in it already */
    const struct snapshot_check *params;
    enum send_proxy send_proxy; /* what its connections begin with; off unless begins_as_sessions */
    const struct check_arg *args; /* in the order of the configuration; each was judged */
    uint32_t n_args;
    const char *pool, *backend; /* names of who wants it; "" unless runs_programs */
    uint64_t started_us;        /* of the run under way, monotonic */
    void *state; /* the kind's own: state_bytes, zeroed before prepare(), well aligned */
};

#define CHECK_NOT_SAID UINT32_MAX

/* How a run ended. What is not said stays as it was. */
struct check_outcome {
    bool passed;
    bool nothing; /* neither passed nor failed: health and what counts towards rise and fall stay,
                     and passed says nothing; what else is said holds all the same */
    uint32_t weight_permille; /* of the configured weight, 0 to 1000; or CHECK_NOT_SAID */
    uint32_t admin;           /* enum admin_state that the backend asks for; or CHECK_NOT_SAID */
    uint32_t max_connections; /* that it asks for, 0: no limit; or CHECK_NOT_SAID */
    const char *reason;       /* for people ("connect refused"), copied; cut after SB_REASON_MAX */
};

struct check_kind {
    const char *name;
    const char *help; /* one line for the manual */
    size_t state_bytes;
    /* Whether it is told how the backend is and may have nothing to say: a run without an answer in
     * time is then no result, a backend that it has said nothing about so far is not held up by it,
     * and what it says holds at once, without rise and fall. */
    bool is_advisory;
    /* Whether its connections are of the kind that sessions of the pool make, and so begin with the
     * PROXY header that these begin with. */
    bool begins_as_sessions;
    /* Whether its runs are programs. Those cost more than a connection does, so few run at once, in
     * a queue of their own; and they are told the backend's names, so no other shares the probe. */
    bool runs_programs;
    /* Judges a value of one of the kind's own options: false with what is wrong and what would be
     * right appended to *out_problem. Pure; runs in master. NULL: anything goes. */
    bool (*judge)(const char *option, const char *value, struct str *out_problem);
    /* The same for all options together, each of which has been judged: what is missing, what
     * depends on its place in a list. NULL: nothing. */
    bool (*judge_all)(const struct check_arg *args, uint32_t n_args, struct str *out_problem);
    /* Makes the state ready for all runs. 0 or -ENOMEM, with nothing held. NULL: nothing to do. */
    int (*prepare)(struct check_probe *probe);
    void (*release)(struct check_probe *probe); /* the opposite; no run is under way */
    /*
     * Makes one attempt, never blocking. 0: it is under way, or was over so fast that check_done()
     * has been called already. -errno: it could not even be tried for want of something of our own
     * (descriptors, memory, ports, processes); nothing is held, it is no result, and it will be
     * tried again.
     */
    int (*start)(struct check_probe *probe);
    /* The time of the run under way is over, cancel() comes next: what the reason should say rather
     * than "no answer within 500 ms". False: nothing. NULL: it never knows better. */
    bool (*explain_late)(const struct check_probe *probe, char *out_reason, size_t size);
    /* Ends the run under way; check_done() must not be called for it any more. */
    void (*cancel)(struct check_probe *probe);
};

#define CHECK_KIND_DECLARE(kind) extern const struct check_kind check_kind_##kind;
CHECK_KIND_LIST(CHECK_KIND_DECLARE)

/* The kind of that name, or NULL. */
const struct check_kind *check_kind_find(const char *name);
/* The kind's judge by name, for model; an unknown kind finds no fault. */
bool check_judge(const char *kind, const char *option, const char *value, struct str *out_problem);
bool check_judge_all(const char *kind, const struct check_arg *args, uint32_t n_args,
                     struct str *out_problem);
/* The value of an option that is no list, or otherwise. */
const char *check_arg(const struct check_probe *probe, const char *name, const char *otherwise);

/*
 * The one way in which a run ends by itself, for every kind. Call it last. check_done() is for
 * kinds that know no more than passed or failed.
 */
void check_done(struct check_probe *probe, bool passed, const char *reason);
void check_done_outcome(struct check_probe *probe, const struct check_outcome *outcome);

#endif
