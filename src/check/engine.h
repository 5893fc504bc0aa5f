/*
 * The check engine: probes every backend that wants it, decides health from the results (rise,
 * fall), and writes it to the scoreboard, together with what checks ask for on behalf of their
 * backends, and with the ejection of backends that workers find failing. In the monitor only, on
 * its event loop; nothing here can block it. One probe per (address, check parameters), however
 * many pools share it; only programs are told names, and so run for each backend.
 */
#ifndef SLUICE_CHECK_ENGINE_H
#define SLUICE_CHECK_ENGINE_H

#include <event2/event.h>

#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

struct check_engine;

enum check_news {
    CHECK_NEWS_HEALTH,   /* its health is another */
    CHECK_NEWS_ASKED,    /* its checks ask for something else: weight, admin state, limit */
    CHECK_NEWS_EJECTED,  /* workers found it failing: it gets no sessions for a while … */
    CHECK_NEWS_RETURNED, /* … which is over; its health has stayed all the time */
    CHECK_NEWS_COUNT
};

struct check_change {
    enum check_news news;
    const char *pool, *backend;
    const char *reason;            /* of ASKED: what they ask for now */
    enum sb_health from, to;       /* health; alike but for HEALTH */
    uint32_t admin_from, admin_to; /* of ASKED: enum admin_state as they would have it; at weight 0
                                    * it is drain */
    uint64_t lasted_ms;            /* of HEALTH: how long it was from; else and where not known 0 */
    uint64_t next_check_ms; /* of HEALTH: until the next check; 0: at once, or there is none */
};

/*
 * Something about a slot changed: once per slot, after the scoreboard says so. Called from the
 * engine's callbacks and from check_engine_apply(); must not call the engine. change and its texts
 * are valid during the call. The engine itself does not log changes.
 */
typedef void check_change_fn(void *arg, const struct check_change *change);

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
 * else the first result decides. A check that may have nothing to say (an agent) never starts from
 * a slot's health, which need not be of its saying: it counts from its first word of health on. A
 * slot whose health is known keeps it until results say up or down. A backend without checks
 * becomes up, one without address down.
 *
 * What a slot's checks asked for before this engine was there stands until they say otherwise, or
 * have all had a result without a word of it. Ejections stand where the pool still ejects.
 */
int check_engine_apply(struct check_engine *engine, const struct snapshot_header *snapshot);
/* A worker has raised the alarm: failures of some slot have reached their pool's limit. */
void check_engine_alarm(struct check_engine *engine);
void check_engine_destroy(struct check_engine *engine); /* NULL is allowed */

struct check_engine_stats {
    uint32_t probes;         /* different ones */
    uint32_t running;        /* checks under way */
    uint32_t peak;           /* most that ever ran at once */
    uint32_t limit;          /* most that may, beside programs, which have one of their own */
    uint32_t queued;         /* due, waiting for a place */
    uint64_t passed, failed; /* results, each counted once however many slots share it */
    uint64_t postponed; /* checks that could not start for lack of descriptors, memory or ports */
};
struct check_engine_stats check_engine_stats(const struct check_engine *engine);

/* Names of all check kinds, ending with NULL: the registry that model gets. */
extern const char *const check_kind_names[];

#endif
