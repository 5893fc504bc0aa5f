/*
 * Why a client would get the backend that it would get now: what `explain` asks a worker, and what
 * the worker's chooser answers. Fixed-size records in messages over the socketpair. Indices are
 * into the snapshot of the named generation.
 */
#ifndef SLUICE_EXPLANATION_H
#define SLUICE_EXPLANATION_H

#include <stdint.h>

#include "base/addr.h"
#include "sluice/limits.h"
#include "sluice/snapshot.h"

#define EXPLANATION_OTHERS_MAX 4096 /* backends that are answered for */

struct explanation_question {
    char service[NAME_BYTES_MAX];
    struct addr_ip client;      /* port 0: not said */
    struct addr_ip destination; /* family ADDR_NONE: not said */
};

/* Why a backend of the pool is not the one. */
enum why_not {
    WHY_NOT_IT_IS,       /* it is the one */
    WHY_NOT_MAINTENANCE, /* … as its state says … */
    WHY_NOT_DOWN,
    WHY_NOT_DRAINING,
    WHY_NOT_STARTING,
    WHY_NOT_EJECTED,
    WHY_NOT_FULL,
    WHY_NOT_STANDBY,
    WHY_NOT_RATE,       /* its connect_rate is used up for the moment */
    WHY_NOT_PORTS,      /* there is no port, or no address, to connect to it from */
    WHY_NOT_SLOW_START, /* has had its share for the moment */
    WHY_NOT_LOADED,     /* more loaded than the one: figures compared */
    WHY_NOT_LEASE,      /* the client has a lease on the one */
    WHY_NOT_PREFERRED,  /* the scheduler prefers the one */
    WHY_NOT_COUNT
};

struct explanation_other {
    uint8_t why; /* enum why_not */
    uint8_t pad[3];
    uint32_t active; /* sessions at that moment */
    uint32_t weight; /* effective, in 1/1000 */
};

enum explanation_rule {
    EXPLAINED_BY_LEASE,
    EXPLAINED_BY_SCHEDULER, /* whose kind says the rest */
    EXPLAINED_BY_NOTHING,   /* there is no backend: choice says why; CHOICE_TRIED: for ports */
    EXPLAINED_RULE_COUNT
};

struct explanation {
    uint32_t generation;
    uint32_t service;          /* index, or SNAPSHOT_NONE: there is no such service */
    uint32_t pool;             /* index of the pool that was chosen from, or was the last asked */
    uint32_t is_fallback;      /* 1: pool is the service's fallback_pool */
    uint32_t backend;          /* index in the pool; SNAPSHOT_NONE: none */
    uint32_t choice;           /* enum choice (sched/choose.h) */
    uint32_t rule;             /* enum explanation_rule */
    uint32_t certain;          /* 0: depends on the worker's turn, or on chance */
    uint32_t ties;             /* others that are just as little loaded */
    uint32_t panic;            /* 1: health is being ignored */
    uint32_t behind;           /* others who wait in the pool's queue, and whose turn is first */
    uint64_t lease_ends_in_ms; /* after its sessions; EXPLAINED_BY_LEASE */
    uint32_t lease_sessions;
    uint32_t n_others; /* the pool's backends, in file order, the chosen one too; and then … */
    uint32_t n_own;    /* … under a fallback, so many of the service's own pool, in file order */
    struct explanation_other others[EXPLANATION_OTHERS_MAX];
};

#endif
