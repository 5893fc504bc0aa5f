/*
 * The chooser's record, shared by the files that build it (fold.c), choose with it (choose.c) and
 * explain its choices (explain.c). Private to src/sched.
 */
#ifndef SLUICE_SCHED_CHOOSER_H
#define SLUICE_SCHED_CHOOSER_H

#include "choose.h"

/* A slow-starting backend's right to be picked: what it may be behind or ahead by. */
#define CREDIT_ONE (UINT32_C(1) << 20) /* one pick */
#define CREDIT_MAX (2 * CREDIT_ONE)

struct chooser_pool {
    const struct sched_ops *ops;
    void *state; /* owned; NULL: the scheduler needs none */
    size_t state_bytes;
    const struct snapshot_pool *record;
    const struct snapshot_backend *backends;
    struct sched_view view;
    struct pool_survey survey;
    /* What the view points at, and what else is known of each backend. All are parts of the
     * chooser's arrays. */
    uint32_t *weight, *factor, *eligible, *limit, *resume;
    uint8_t *returning; /* 1: takes clients that have a lease on it, room allowing */
    bool has_bounds;    /* some backend has a limit or a rate */
    /* Slow start under rules by load: each pick earns a slow one its share of a pick, and who has
     * not earned a whole one is held. */
    uint32_t n_slow, n_held;
    uint32_t *slow;   /* indices */
    uint32_t *share;  /* of one pick, by place in slow */
    uint32_t *credit; /* by index */
    uint8_t *held;    /* by index */
    bool folded;
    uint32_t epoch;        /* health_epoch at which it was folded */
    uint64_t refolding_ms; /* when it is due again although no health changes; UINT64_MAX: never */
};

/* Where the backend of a scoreboard row is. */
struct row_place {
    uint16_t pool, index; /* pool UINT16_MAX: nowhere */
};

struct chooser {
    const struct snapshot_header *snapshot;
    struct scoreboard *sb;
    uint32_t worker;
    struct chooser_pool *pools; /* as in the snapshot */
    struct row_place *rows;     /* [BACKENDS_MAX]; NULL: no service has persistence */
    uint64_t *service_seeds;    /* of the hashes that leases go by */
    /* Of all backends, as in the snapshot. */
    uint32_t *weights, *factors, *eligibles, *slots, *limits, *resumes, *slows, *shares, *credits;
    struct snapshot_rate *rates;
    uint8_t *returnings, *helds;
};

/* fold.c: folds the pool anew when health has changed since, or slow start has gone on. */
void chooser_refresh(struct chooser *chooser, struct chooser_pool *pool, uint64_t now_ms);

/* choose.c */

/* Which backends of the pool the session has tried: fills indices (as many as tried) and returns
 * how many. */
uint32_t chooser_tried(const struct choose_request *request, uint32_t pool, uint32_t *indices);
/* What the scheduler of a pool is asked. */
struct sched_request chooser_question(const struct chooser *chooser,
                                      const struct choose_request *request, uint32_t pool,
                                      const uint32_t *tried, uint32_t n_tried);
/* The key of the client's lease with the service. */
uint64_t chooser_lease_key(const struct chooser *chooser, uint32_t service,
                           const struct addr_ip *client);
/* The backend of pool p that the client has a lease on and may return to, or SCHED_NONE. */
uint32_t chooser_leased(const struct chooser *chooser, uint32_t p, uint64_t lease_key,
                        const struct sched_request *request, struct lease_info *out_info);
/* How many wait in the pool's queue before one who is new. */
uint32_t chooser_behind(const struct chooser *chooser, const struct chooser_pool *pool);
/* Lets the scheduler pick, slow start minded. */
uint32_t chooser_ask(struct chooser_pool *pool, const struct sched_request *request);
/* Why nothing could be picked. */
enum choice chooser_why_none(const struct chooser_pool *pool, const struct sched_request *request);

#endif
