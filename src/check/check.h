/*
 * The interface that each kind of check implements: one file with one const table of functions, and
 * one line in CHECK_KIND_LIST. The engine decides when a check runs, for how long, and what its
 * result means; a kind only makes the attempt and says how it ended.
 *
 * A run is: start() → (the kind's own events) → check_done(). In its place the engine may call
 * cancel(), when the time is over or nobody wants the answer any more. Whichever comes, the kind
 * has let go of everything by then: check_done() is the last thing a run does.
 */
#ifndef SLUICE_CHECK_CHECK_H
#define SLUICE_CHECK_CHECK_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "sluice/snapshot.h"

/* Every kind, by the name that the configuration uses. A kind "x" is the variable check_kind_x. */
#define CHECK_KIND_LIST(X) X(tcp)

/* What a kind sees of its probe. All pointers live as long as the probe does. */
struct check_probe {
    struct event_base *base;
    const struct addr *address; /* the check's own port is in it already */
    const struct snapshot_check *params;
    uint64_t started_us; /* of the run under way, monotonic */
    void *state; /* the kind's own: state_bytes, zeroed before the first run, well aligned */
};

struct check_kind {
    const char *name;
    const char *help; /* one line for the manual */
    size_t state_bytes;
    /*
     * Makes one attempt, never blocking. 0: it is under way, or was over so fast that check_done()
     * has been called already. -errno: it could not even be tried for want of something of our own
     * (descriptors, memory, ports); nothing is held, it is no result, and it will be tried again.
     */
    int (*start)(struct check_probe *probe);
    /* Ends the run under way; check_done() must not be called for it any more. */
    void (*cancel)(struct check_probe *probe);
};

#define CHECK_KIND_DECLARE(kind) extern const struct check_kind check_kind_##kind;
CHECK_KIND_LIST(CHECK_KIND_DECLARE)

/* The kind of that name, or NULL. */
const struct check_kind *check_kind_find(const char *name);

/*
 * The one way in which a run ends by itself, for every kind. reason: a short text for people
 * ("connect refused"), copied; longer than SB_REASON_MAX is cut. Call it last.
 */
void check_done(struct check_probe *probe, bool passed, const char *reason);

#endif
