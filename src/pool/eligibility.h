/*
 * The one place that judges whether a backend may get a session, and what its state is called.
 * Separate facts go in: admin state (what the operator said), health (what the monitor sees), load
 * (at its limit or not), and what the pool as a whole needs (backups, panic). Pure.
 *
 * The truth table, first line that applies; a dash means any value. "new" is whether new clients
 * may come, "returning" whether clients that have a lease on it (persistence) may:
 *
 *   admin        health   weight  ejected  full  standby  state        new    returning
 *   maintenance  -        -       -        -     -        maintenance  no     no
 *   -            down     -       -        -     -        down         panic  panic
 *   drain        up       -       no       no    -        draining     no     yes
 *   drain        -        -       -        -     -        draining     no     no
 *   ready        up       0       no       no    -        draining     no     yes
 *   ready        -        0       -        -     -        draining     no     no
 *   ready        unknown  >0      -        -     -        starting     no     no   (they may wait)
 *   ready        up       >0      yes      -     -        ejected      panic  panic
 *   ready        up       >0      no       yes   -        full         no     no
 *   ready        up       >0      no       no    yes      standby      no     keep
 *   ready        up       >0      no       no    no       up           yes    yes
 *
 * "health" is what the monitor sees, or what the operator says over it (said_health). "yes" for
 * returning to one that drains: until its sessions are being closed (sb_slot.close_by_ms).
 *
 * "panic": yes while the pool is in panic, the backend is ready, has a weight and an address, is
 * not full; else no. A backend in panic does not stand by. "keep": yes unless the pool's on_return
 * is close.
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
    BACKEND_EJECTED,
    BACKEND_FULL,
    BACKEND_STANDBY,
    BACKEND_UP,
    BACKEND_STATE_COUNT
};

extern const char *const backend_state_names[BACKEND_STATE_COUNT];
/* "ready", "drain", "maintenance", NULL */
extern const char *const admin_state_names[ADMIN_COUNT + 1];

struct backend_facts {
    enum admin_state admin; /* the severer of what the operator and what its checks ask for */
    enum sb_health health;  /* any but up and down counts as unknown */
    uint32_t weight;        /* configured; 0 too when its checks ask for none */
    bool has_address;       /* false: its name does not resolve */
    bool ejected;           /* by what workers have seen of it */
    bool full;              /* at its limit, or was and is not under resume_connections yet */
    bool standby;           /* a backup that is not needed */
    bool closing;           /* its sessions are being closed: the time to drain is over */
    bool leaves;            /* on_return is close: nobody stays on a backup that stands by */
    bool panic;             /* of its pool */
};

/* What a pool needs, from health and admin states of all its backends; load never counts. */
struct pool_survey {
    uint32_t ready;    /* backends that are ready and have a weight, backups too */
    uint32_t up;       /* of those, the ones that are up and not ejected */
    uint32_t starting; /* of those, the ones whose health is not known yet */
    uint32_t primaries_up;
    bool needs_backups; /* fewer primaries are up than min_healthy */
    bool panic; /* less than panic_threshold percent of the ready ones are up or may turn out to be
                 */
    uint32_t first_backup; /* the first that is up, in file order; SNAPSHOT_NONE */
};

/* backends: the pool's own, pool->n_backends of them. Linear. */
void eligibility_survey(const struct snapshot_pool *pool, const struct snapshot_backend *backends,
                        const struct scoreboard *sb, struct pool_survey *out);
/*
 * The facts of backend i of the surveyed pool. Where health is decided without the monitor: without
 * an address (ADDR_NONE) it is down; with one and without checks it is up, whatever the slot says.
 */
struct backend_facts eligibility_facts(const struct snapshot_pool *pool,
                                       const struct snapshot_backend *backends, uint32_t i,
                                       const struct pool_survey *survey,
                                       const struct scoreboard *sb);

/* Its limit and mark, where its checks may ask for a lower limit than is configured. */
void eligibility_limits(const struct snapshot_backend *backend, const struct scoreboard *sb,
                        uint32_t *out_limit, uint32_t *out_resume);
/* What its checks ask for of its weight, 0 to 1000 permille; 1000 when they say nothing. */
uint32_t eligibility_asked_permille(const struct snapshot_backend *backend,
                                    const struct scoreboard *sb);

enum backend_state eligibility_judge(const struct backend_facts *facts);
bool eligibility_takes_new(const struct backend_facts *facts);
bool eligibility_takes_returning(const struct backend_facts *facts);

/*
 * Whether a slot counts as full: at its limit, or between resume_connections and the limit while
 * full (sb.slot_full) says that it has been there. limit 0: never.
 */
static inline bool eligibility_is_full(uint32_t active, uint32_t limit, uint32_t resume, bool full)
{
    return limit != 0 && active >= resume && (active >= limit || full);
}

/* Slow start: 100 permille of the weight at from_ms, 1000 when period_ms are over, in between by
 * the time. 1000 when period_ms or from_ms is 0. */
uint32_t eligibility_slow_permille(uint64_t from_ms, uint32_t period_ms, uint64_t now_ms);

#endif
