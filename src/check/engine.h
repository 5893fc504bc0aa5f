/*
 * The check engine: probes every backend that wants it, decides health from the results (rise,
 * fall), and writes it to the scoreboard. In the monitor only, on its event loop; nothing here can
 * block it. One probe per (address, check parameters), however many pools share it.
 */
#ifndef SLUICE_CHECK_ENGINE_H
#define SLUICE_CHECK_ENGINE_H

#include <event2/event.h>

#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

struct check_engine;

/*
 * A slot's health changed: once per slot, after the scoreboard says so. Called from the engine's
 * callbacks and from check_engine_apply(); must not call the engine. pool and backend are names,
 * valid during the call. The engine itself does not log changes.
 */
typedef void check_change_fn(void *arg, const char *pool, const char *backend, enum sb_health from,
                             enum sb_health to, const char *reason);

/* base and sb outlive it. seed: for jitter. changed may be NULL. NULL without memory. */
struct check_engine *check_engine_create(struct event_base *base, struct scoreboard *sb,
                                         uint64_t seed, check_change_fn *changed, void *arg);
/*
 * Works from now on for this snapshot: probes that stay keep their results and timers, new ones
 * start at once, those nobody wants end. Copies what it needs. Returns 0, or with the old set
 * unchanged -ENOMEM, or -EINVAL for a check kind or slot that does not exist (the caller's bug).
 *
 * What a check starts from: its own earlier results; else the health that the slot already has
 * (rise and fall count from there); else, for an unknown slot, what the shared probe already knows;
 * else the first result decides. A backend without checks becomes up, one without address down.
 */
int check_engine_apply(struct check_engine *engine, const struct snapshot_header *snapshot);
void check_engine_destroy(struct check_engine *engine); /* NULL is allowed */

struct check_engine_stats {
    uint32_t probes;         /* different ones */
    uint32_t running;        /* checks under way */
    uint32_t peak;           /* most that ever ran at once */
    uint32_t limit;          /* most that may */
    uint32_t queued;         /* due, waiting for a place */
    uint64_t passed, failed; /* results, each counted once however many slots share it */
    uint64_t postponed; /* checks that could not start for lack of descriptors, memory or ports */
};
struct check_engine_stats check_engine_stats(const struct check_engine *engine);

/* Names of all check kinds, ending with NULL: the registry that model gets. */
extern const char *const check_kind_names[];

#endif
