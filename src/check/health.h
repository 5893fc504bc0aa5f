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
 */
#ifndef SLUICE_CHECK_HEALTH_H
#define SLUICE_CHECK_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/scoreboard.h"

struct health { /* zeroed: unknown, no result yet */
    enum sb_health state;
    uint32_t streak; /* results alike in a row; 0: none yet */
    bool passed;     /* what those results were */
};

/* Starts from a state known otherwise; unknown is allowed. */
void health_init(struct health *health, enum sb_health state);
/* Takes one result. rise, fall: 0 counts as 1. Returns whether the state changed. */
bool health_note(struct health *health, bool passed, uint32_t rise, uint32_t fall);
/* The last result speaks against the present state, but not often enough yet. */
bool health_is_changing(const struct health *health);

/*
 * Two checks of one backend, both of which must pass; for more of them fold it, from
 * SB_HEALTH_UP on:
 *              unknown   up        down
 *   unknown    unknown   unknown   down
 *   up         unknown   up        down
 *   down       down      down      down
 */
enum sb_health health_combine(enum sb_health a, enum sb_health b);

#endif
