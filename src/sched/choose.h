/*
 * A worker's runtime form of the pools of one snapshot, and the choice of a backend in it: packed
 * arrays folded from configuration and health, the schedulers' states, leases, and the reservation
 * of the chosen backend's place. In workers; one owner, no locks.
 */
#ifndef SLUICE_SCHED_CHOOSE_H
#define SLUICE_SCHED_CHOOSE_H

#include "pool/lease.h"
#include "sched/sched.h"
#include "sluice/explanation.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

struct chooser; /* all pools of one generation */

/* What a choice came to; 0 is chosen. */
enum choice {
    CHOICE_MADE,
    CHOICE_NONE,     /* no backend is eligible */
    CHOICE_FULL,     /* eligible ones exist that were not tried, all at their limits */
    CHOICE_STARTING, /* none eligible, but some have no check result yet */
    CHOICE_PAUSED,   /* the pool is paused: nobody is asked */
    CHOICE_TRIED,    /* only backends that this session has already tried are left */
    CHOICE_COUNT
};

#define TRIED_MAX 11 /* first try and at most 10 retries */

/* A backend that was tried in vain. */
struct choose_tried {
    uint16_t pool, index; /* in the snapshot, within the pool */
};

struct choose_request {
    uint32_t service; /* index in the snapshot */
    const struct addr_ip *client;
    const struct addr_ip *destination; /* that the client connected to; may be NULL unless
                                          chooser_wants_destination() */
    const struct choose_tried *tried;  /* to be passed over, each once */
    uint32_t n_tried;                  /* at most TRIED_MAX */
    uint64_t now_us;                   /* monotonic */
    bool is_new; /* has not waited yet: those who wait in the pool's queue come first */
    bool again;  /* a tried one may do a moment later: that is no reason for the fallback pool */
};

struct chosen {
    uint32_t pool;          /* index in the snapshot: made from, or, if not, whose queue it is */
    uint32_t index;         /* of the backend within the pool */
    struct lease_hold hold; /* to be renewed and released with the session; all-zero: none */
};

/*
 * Builds the runtime form. snapshot (checked) and sb stay the caller's and must outlive it.
 * previous (may be NULL; its snapshot still mapped) lends the schedulers' states of the last
 * generation, by scoreboard row, and is untouched. NULL with errno: ENOMEM, or EINVAL when a pool's
 * scheduler is not in the table or lacks its hash table.
 */
struct chooser *chooser_create(const struct snapshot_header *snapshot, struct scoreboard *sb,
                               uint32_t worker, uint64_t now_ms, const struct chooser *previous);
void chooser_destroy(struct chooser *chooser); /* NULL is allowed */

/*
 * Chooses a backend for a client of the service and reserves its place for this worker; the caller
 * gives it back with scoreboard_release(SB_SLOT, slot). First the one that the client has a lease
 * on, then, behind those who wait in the pool's queue (CHOICE_FULL), by the pool's scheduler, then,
 * where nothing in the pool is left (CHOICE_NONE or CHOICE_TRIED), the same in the fallback pool.
 * Never allocates. On CHOICE_MADE snapshot_backends()[pool.first_backend + index] is the backend's
 * record. Keeps connections_peak of its row.
 */
enum choice chooser_choose(struct chooser *chooser, const struct choose_request *request,
                           struct chosen *out);

/* Whether backend index of the pool is ready, healthy and not ejected, has a weight; load and
 * standing by do not count. */
bool chooser_is_up(struct chooser *chooser, uint32_t pool, uint32_t index, uint64_t now_ms);
/* Whether choosing for the service looks at request.destination. */
bool chooser_wants_destination(const struct chooser *chooser, uint32_t service);
/* Whether response times of the pool's backends are to be measured (sb.slot_time). */
bool chooser_wants_times(const struct chooser *chooser, uint32_t pool);
/* Whether it makes sense for those who wait for a place in the pool to ask again: somebody has
 * room, nobody is eligible any more, or there is no queue any more. */
bool chooser_may_serve(struct chooser *chooser, uint32_t pool, uint64_t now_us);
/* After CHOICE_FULL: when a backend of the pool may be free by its connect_rate alone (µs,
 * monotonic); UINT64_MAX: only when somebody gives a place back. */
uint64_t chooser_due_us(const struct chooser *chooser, uint32_t pool, uint64_t now_us);

/*
 * Sets endings[slot] (SB_SLOTS_MAX of them, zeroed by the caller) to the reason, as enum ending
 * (none of them is 0), why its sessions are to be ended now: on_down, on_return. Returns whether
 * there is any.
 */
bool chooser_find_endings(struct chooser *chooser, uint64_t now_ms, uint8_t *endings);

/*
 * What chooser_choose() would do for the client now, and why: the same code with nothing reserved,
 * moved or remembered. request.tried is ignored.
 */
void chooser_explain(struct chooser *chooser, const struct choose_request *request,
                     struct explanation *out);

#endif
