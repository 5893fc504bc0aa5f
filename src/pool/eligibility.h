/*
 * The one place that judges whether a backend may get a new session, and what its state is called.
 * Three separate facts go in: health (what the monitor sees), admin state (what the operator said)
 * and load (over its limit or not). Pure.
 *
 * The truth table, first line that applies; a dash means any value:
 *
 *   admin        health    weight  full   state        new sessions
 *   maintenance  -         -       -      maintenance  no
 *   -            down      -       -      down         no
 *   drain        -         -       -      draining     no
 *   -            -         0       -      draining     no
 *   ready        unknown   >0      -      starting     no (they may wait)
 *   ready        up        >0      yes    full         no
 *   ready        up        >0      no     up           yes
 */
#ifndef SLUICE_POOL_ELIGIBILITY_H
#define SLUICE_POOL_ELIGIBILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

enum backend_state {
    BACKEND_MAINTENANCE,
    BACKEND_DOWN,
    BACKEND_DRAINING,
    BACKEND_STARTING,
    BACKEND_FULL,
    BACKEND_UP,
    BACKEND_STATE_COUNT
};

extern const char *const backend_state_names[BACKEND_STATE_COUNT];
/* "ready", "drain", "maintenance", NULL */
extern const char *const admin_state_names[ADMIN_COUNT + 1];

struct backend_facts {
    enum admin_state admin;
    enum sb_health health;
    uint32_t weight;          /* configured */
    uint32_t active;          /* sessions now */
    uint32_t max_connections; /* 0: none */
};

/* Any health but up and down counts as unknown. */
enum backend_state eligibility_judge(const struct backend_facts *facts);
static inline bool eligibility_takes_new(enum backend_state state)
{
    return state == BACKEND_UP;
}

/*
 * Gathers the facts of one backend of a snapshot. Where health is decided without the monitor:
 * without an address (ADDR_NONE) it is down; with one and without checks it is up, whatever the
 * slot says.
 */
struct backend_facts eligibility_facts(const struct snapshot_backend *backend,
                                       const struct scoreboard *sb);

#endif
