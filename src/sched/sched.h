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

#define SCHED_NONE UINT32_MAX

/* What a scheduler sees of a pool: packed arrays of n backends in file order. */
struct sched_view {
    uint32_t n;
    const uint32_t *weight; /* effective, in 1/1000; 0: not eligible by health and admin state */
    const uint32_t *slot;
    const uint32_t *limit;               /* max_connections, 0: none */
    const _Atomic uint32_t *slot_active; /* by slot */
};

/* One choice: what must be passed over, and what hashing schedulers hash. */
struct sched_request {
    const uint32_t *tried; /* indices this session has already tried */
    uint32_t n_tried;
    uint64_t key;
};

static inline uint32_t sched_active(const struct sched_view *view, uint32_t i)
{
    return atomic_load_explicit(&view->slot_active[view->slot[i]], memory_order_relaxed);
}

bool sched_was_tried(const struct sched_request *request, uint32_t i);

/* Whether backend i may be chosen for this request: weight above 0, under its limit, not tried.
 * Inline, because scans ask it of every backend. */
static inline bool sched_usable(const struct sched_view *view, const struct sched_request *request,
                                uint32_t i)
{
    if (view->weight[i] == 0)
        return false;
    if (view->limit[i] != 0 && sched_active(view, i) >= view->limit[i])
        return false;
    return request->n_tried == 0 || !sched_was_tried(request, i);
}

struct sched_ops {
    const char *name;
    const char *const *aliases; /* ends with NULL; NULL: none */
    const char *help;           /* one line for the manual */
    bool weighted; /* promises that while sessions last, backends' shares of them follow weights */
    /* Bytes of per-worker state for n backends; NULL: none is needed. */
    size_t (*state_bytes)(uint32_t n);
    /* state is zeroed and aligned for any type. seed differs per worker, so that workers do not
     * walk in step; 0 gives the plain order. NULL: nothing to do. */
    void (*init)(void *state, const struct sched_view *view, uint32_t seed);
    /* Index of the chosen backend, or SCHED_NONE. */
    uint32_t (*pick)(void *state, const struct sched_view *view,
                     const struct sched_request *request);
    /* Takes over what is worth keeping from the state of the previous generation: old_index[i] is
     * where backend i was, or SCHED_NONE for a new one. Called after init. NULL: start anew. */
    void (*carry)(void *state, const struct sched_view *view, const void *old_state, uint32_t old_n,
                  const uint32_t *old_index);
};

/* One line per scheduler: X(NAME) stands for the object sched_NAME in its family's file. */
#define SCHED_LIST(X)                                                                              \
    X(rr)                                                                                          \
    X(wrr)                                                                                         \
    X(lc)                                                                                          \
    X(wlc)

#define SCHED_AS_DECLARATION(name) extern const struct sched_ops sched_##name;
SCHED_LIST(SCHED_AS_DECLARATION)
#undef SCHED_AS_DECLARATION

extern const struct sched_ops *const sched_table[]; /* ends with NULL; in the list's order */

/* Index into sched_table by name or alias, or SCHED_NONE. */
uint32_t sched_find(const char *name);
/* All names and aliases, ending with NULL, for messages and nearest-name search. */
const char *const *sched_names(void);

#endif
