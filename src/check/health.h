/*
 * Health from results: what one check says about a backend, and what several say together. Pure: no
 * clock, no events.
 *
 *                 pass ┌─────────┐ fail
 *              ┌───────┤ unknown ├───────┐         the very first result decides
 *              ▼       └─────────┘       ▼
 *           ┌────┐  fall fails in a row ┌──────┐
 *    pass ⟲ │ up ├─────────────────────►│ down │ ⟲ fail
 *           │    │◄─────────────────────┤      │
 *           └────┘ rise passes in a row └──────┘
 *
 * Damping: whoever has come up again and does not stay up has to pass more often the next time.
 *
 *            down within flap_ms of having risen: doubled
 *           ┌────────────────────────────────────────────┐
 *       rise × 1 ───► × 2 ───► × 4 ───► × 8 ───► × 16 ⟲ ─┘
 *           └────────────────────────────────────────────┘
 *            halved for each flap_ms that it stayed up
 */
#ifndef SLUICE_CHECK_HEALTH_H
#define SLUICE_CHECK_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/scoreboard.h"

#define HEALTH_DOUBLINGS_MAX 4

struct health { /* zeroed: unknown, no result yet */
    enum sb_health state;
    uint32_t streak;    /* results alike in a row; 0: none yet */
    bool passed;        /* what those results were */
    uint32_t doublings; /* of rise, for flapping */
    uint64_t risen_ms;  /* when it last came from down to up; 0: it did not */
};

struct health_rules {
    uint32_t rise, fall; /* 0 counts as 1 */
    uint64_t flap_ms;    /* 0: nothing is damped */
};

/* Starts from a state known otherwise; unknown is allowed. Forgets damping. */
void health_init(struct health *health, enum sb_health state);
/* Takes one result, of now_ms, which is not 0. Returns whether the state changed. */
bool health_note(struct health *health, bool passed, const struct health_rules *rules,
                 uint64_t now_ms);
/* How many passes in a row bring it from down to up as things stand. */
uint32_t health_rise(const struct health *health, uint32_t rise);
/* The last result speaks against the present state, but not often enough yet. */
bool health_is_changing(const struct health *health);

/*
 * Two checks of one backend; for more of them fold it.
 *
 *   all must pass:  unknown   up        down        from SB_HEALTH_UP on
 *      unknown      unknown   unknown   down
 *      up           unknown   up        down
 *      down         down      down      down
 *
 *   any will do:    unknown   up        down        from SB_HEALTH_DOWN on
 *      unknown      unknown   up        unknown
 *      up           up        up        up
 *      down         unknown   up        down
 */
enum sb_health health_combine(enum sb_health a, enum sb_health b);
enum sb_health health_combine_any(enum sb_health a, enum sb_health b);

#endif
