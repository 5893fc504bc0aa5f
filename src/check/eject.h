/*
 * Ejection: what workers see of backends, judged. A backend that failed so often in a row gets no
 * sessions for a while, whatever its checks say, but no pool loses more than it can spare. What is
 * ejected stands in the scoreboard (failures, ejections, ejected_until_ms of a slot), so that it
 * outlives this process; here are the rules, and who must be looked at. In the monitor. Time comes
 * as an argument; no events.
 *
 *             consecutive_failures, and the pool can spare it
 *        ┌────┐ ──────────────────────────────────────────► ┌─────────┐
 *   calm ⟲ in │                                             │ ejected │
 *        └────┘ ◄────────────────────────────────────────── └─────────┘
 *               its time is over, or the pool does not eject any more,
 *               or nobody else of the pool serves
 *
 * The time is eject_time once for each ejection in a row, at most EJECT_TIMES_MAX times. calm: each
 * eject_time in without another ejection takes one of them back.
 */
#ifndef SLUICE_CHECK_EJECT_H
#define SLUICE_CHECK_EJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "check/engine.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

#define EJECT_TIMES_MAX 10

enum eject_state { EJECT_IN, EJECT_OUT, EJECT_STATE_COUNT };

struct eject {
    uint32_t ejections;    /* in a row, at most EJECT_TIMES_MAX */
    uint64_t until_ms;     /* out until then; 0: in */
    uint64_t calm_from_ms; /* in, and no ejection taken back, since; 0: not known */
};

enum eject_cause {
    EJECT_CALM,
    EJECT_FAILING, /* it has failed often enough, and may go */
    EJECT_NEEDED,  /* nobody else of its pool serves */
    EJECT_CAUSE_COUNT
};

enum eject_state eject_state(const struct eject *eject);
/* Takes it to where it belongs at now_ms. Returns whether the state changed. */
bool eject_step(struct eject *eject, const struct snapshot_outlier *rules, enum eject_cause cause,
                uint64_t now_ms);

/* A pool's backends that are ready, have a weight, and are asked by nobody to get less than that.
 */
struct eject_census {
    uint32_t ready;
    uint32_t ejected; /* of those */
    uint32_t serving; /* of those: up and not ejected */
};

/*
 * Whether one more that is ready and not ejected may go: at most max_percent of the ready ones are
 * out, though one always may be, and somebody else must be serving. is_serving: the one itself is.
 * Checks and operators take backends away without asking: where nobody is left that serves, the one
 * that is up and has the shortest time to go returns at the next sweep.
 */
bool eject_is_spared(const struct eject_census *census, uint32_t max_percent, bool is_serving);

/* --- all pools of a snapshot --- */

struct ejector;
struct eject_roster; /* what one snapshot wants looked at */

/* sb outlives it. NULL without memory. */
struct ejector *ejector_create(struct scoreboard *sb, check_change_fn *changed, void *arg);
void ejector_destroy(struct ejector *ejector); /* NULL is allowed */
/* NULL without memory. For ejector_adopt() or free(). */
struct eject_roster *ejector_prepare(const struct snapshot_header *snapshot);
/* Looks at roster's slots from now on; roster, made of snapshot, is owned. Whoever is ejected in a
 * pool that does not eject any more returns at once. */
void ejector_adopt(struct ejector *ejector, struct eject_roster *roster,
                   const struct snapshot_header *snapshot, uint64_t now_ms);
/* Looks at all of them; to be called also after each change of a health, or of what is asked, that
 * leaves a pool with fewer. Returns by when it wants to be called again even without an alarm, at
 * most a second from now_ms; 0: there is nobody to look at. */
uint64_t ejector_sweep(struct ejector *ejector, uint64_t now_ms);

#endif
