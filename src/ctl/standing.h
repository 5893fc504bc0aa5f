/*
 * How a pool as a whole stands towards new clients: what is told of it, what events of it go by,
 * and whether it can spare a backend. Judged by pool/eligibility.h with load left out: a full
 * backend takes sessions again by itself. Pure; in master.
 */
#ifndef SLUICE_CTL_STANDING_H
#define SLUICE_CTL_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "pool/eligibility.h"

struct standing {
    const struct snapshot_pool *pool;
    const struct snapshot_backend *backends; /* the pool's own */
    struct pool_survey survey;
    uint32_t states[BACKEND_STATE_COUNT]; /* how many are in each; none is full */
    uint32_t takers;                      /* that new clients may come to */
    bool backups_used;                    /* backups are among them */
};

/* backends: the pool's own, pool->n_backends of them. They and pool must outlive *out. Linear. */
void standing_judge(const struct snapshot_pool *pool, const struct snapshot_backend *backends,
                    const struct scoreboard *sb, struct standing *out);
/* The same of the pool with that index. */
void standing_of(const struct snapshot_header *snapshot, uint32_t pool, const struct scoreboard *sb,
                 struct standing *out);

/* "2 down, 1 maintenance", appended. */
void standing_list_states(const struct standing *standing, struct str *out);

/* How a pool counts for the health of a service. */
enum standing_health {
    STANDING_UNHEALTHY,
    STANDING_PENDING, /* neither, but checks that have no result yet may make it healthy */
    STANDING_HEALTHY
};
/*
 * Healthy: a primary is up, or a backup that the pool lets in; up as the survey counts it: ready,
 * with a weight, healthy, not ejected. Load never counts, and neither does panic: it makes do with
 * what checks found down.
 */
enum standing_health standing_health(const struct standing *standing);
/* The same in words, appended: "2 of 3 backends up", "no primary is up, 0 of 3: 3 down". */
void standing_describe_health(const struct standing *standing, struct str *out);

/* Whether nobody in the pool takes new clients, nor may turn out to once checked: what sends
 * clients to the fallback pool, and what has none away. */
bool standing_is_lost(const struct standing *standing);
/* Index of the pool that new clients of the service are sent to now: its fallback pool only while
 * its own is lost and the fallback is not. */
uint32_t standing_pool_in_use(const struct snapshot_header *snapshot,
                              const struct snapshot_service *service, const struct scoreboard *sb);

#endif
