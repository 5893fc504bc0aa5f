/*
 * The scheduler interface. A scheduler only chooses among backends that are usable; it never judges
 * eligibility, allocates, logs or blocks, and "none" is a normal answer. One file per family; the
 * table in sched.c names them all.
 */
#ifndef SLUICE_SCHED_SCHED_H
#define SLUICE_SCHED_SCHED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/eligibility.h"
#include "pool/rate.h"

#define SCHED_NONE UINT32_MAX

/*
 * What a scheduler sees of a pool: packed arrays of n backends in file order. Weights and what
 * follows from them change only between picks, and fold() is called then; load changes at any time.
 */
struct sched_view {
    uint32_t n;
    const uint32_t *weight;   /* effective, in 1/1000; 0: gets nothing new */
    const uint32_t *factor;   /* effective weight over configured one, permille, 1 to 1000: what
                                 moves by itself, such as slow start */
    const uint32_t *eligible; /* indices with a weight, in file order */
    uint32_t n_eligible;
    uint64_t weight_sum;
    const uint32_t *slot;
    const _Atomic uint32_t *slot_active; /* by slot */
    bool bounded;                        /* whether any backend has a limit or a rate or is held */
    const uint32_t *limit, *resume;      /* max_connections (0: none), resume_connections */
    const struct snapshot_rate *rate;    /* connect_rate */
    const uint8_t *held;                 /* 1: has had its share of a slow start; NULL: nobody is */
    const struct snapshot_backend *backends;
    struct scoreboard *sb;
    const uint16_t *entries; /* the pool's hash table; NULL: it has none. Nobody has checked that
                                they are below n */
    uint32_t n_entries;      /* a prime */
    uint64_t seed;           /* of this pool's keyed hashes, the same in every worker */
};

/* One choice: what must be passed over, and what hashing schedulers hash. */
struct sched_request {
    const uint32_t *tried; /* indices this session has already tried */
    uint32_t n_tried;
    uint64_t key;         /* keyed hash of the client, as hash_key says */
    uint64_t destination; /* keyed hash of the address it connected to; only for by_destination */
    uint64_t now_us;
    bool dry; /* only a question: nothing outside the state may be changed */
};

static inline uint32_t sched_active(const struct sched_view *view, uint32_t i)
{
    return atomic_load_explicit(&view->slot_active[view->slot[i]], memory_order_relaxed);
}

bool sched_was_tried(const struct sched_request *request, uint32_t i);
/* Under its limits. */
bool sched_has_room(const struct sched_view *view, const struct sched_request *request, uint32_t i);

/* Whether backend i may be chosen for this request: weight above 0, under its limits, not tried.
 * Inline, because scans ask it of every backend. */
static inline bool sched_usable(const struct sched_view *view, const struct sched_request *request,
                                uint32_t i)
{
    if (view->weight[i] == 0)
        return false;
    if (view->bounded && !sched_has_room(view, request, i))
        return false;
    return request->n_tried == 0 || !sched_was_tried(request, i);
}

/* What a scheduler goes by: decides how explain puts it, and whether another worker, or this one a
 * moment later, would choose the same. */
enum sched_kind {
    SCHED_BY_TURN,
    SCHED_BY_LOAD, /* the least loaded: certain unless two are equal */
    SCHED_BY_CHANCE,
    SCHED_BY_ORDER, /* certain */
    SCHED_BY_HASH,  /* certain, but for a cache that is filled by load */
    SCHED_KIND_COUNT
};

struct sched_ops {
    const char *name;
    const char *const *aliases; /* ends with NULL; NULL: none */
    const char *help;           /* one line for the manual */
    enum sched_kind kind;
    bool weighted; /* promises that while sessions last, backends' shares of them follow weights */
    bool by_destination; /* looks at request.destination */
    bool by_time;        /* looks at response times, which are only measured for those */
    bool has_table;      /* needs view.entries: master makes it with the snapshot */
    /* Bytes of per-worker state for n backends; NULL: none is needed. */
    size_t (*state_bytes)(uint32_t n);
    /* state is zeroed and aligned for any type. seed differs per worker, so that workers do not
     * walk in step; 0 gives the plain order. NULL: nothing to do. */
    void (*init)(void *state, const struct sched_view *view, uint32_t seed);
    /* Weights have changed; also called once after init (and carry). NULL: nothing to do. */
    void (*fold)(void *state, const struct sched_view *view);
    /* Index of the chosen backend, or SCHED_NONE. Everything it remembers is in state, so that
     * putting a copy back undoes it. */
    uint32_t (*pick)(void *state, const struct sched_view *view,
                     const struct sched_request *request);
    /* Takes over what is worth keeping from the state of the previous generation: old_index[i] is
     * where backend i was, or SCHED_NONE for a new one. Called after init, before fold. NULL: start
     * anew. */
    void (*carry)(void *state, const struct sched_view *view, const void *old_state, uint32_t old_n,
                  const uint32_t *old_index);
};

/* One line per scheduler: X(NAME) stands for the object sched_NAME in its family's file. */
#define SCHED_LIST(X)                                                                              \
    X(rr)                                                                                          \
    X(wrr)                                                                                         \
    X(lc)                                                                                          \
    X(wlc)                                                                                         \
    X(nq)                                                                                          \
    X(random)                                                                                      \
    X(p2c)                                                                                         \
    X(first)                                                                                       \
    X(ovf)                                                                                         \
    X(sh)                                                                                          \
    X(mh)                                                                                          \
    X(maglev_bounded)                                                                              \
    X(dh)                                                                                          \
    X(lblc)                                                                                        \
    X(lblcr)                                                                                       \
    X(least_time)

#define SCHED_AS_DECLARATION(name) extern const struct sched_ops sched_##name;
SCHED_LIST(SCHED_AS_DECLARATION)
#undef SCHED_AS_DECLARATION

extern const struct sched_ops *const sched_table[]; /* ends with NULL; in the list's order */

/* Index into sched_table by name or alias, or SCHED_NONE. */
uint32_t sched_find(const char *name);
/* All names and aliases, ending with NULL, for messages and nearest-name search. */
const char *const *sched_names(void);

/* Mixes all bits of x into all bits (Steele, Lea and Flood's splitmix64). */
uint64_t sched_mix(uint64_t x);

#endif
