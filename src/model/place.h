/*
 * Numbered places of one kind, each held under a key: what the registry keeps for slots, rows,
 * pools, services and listeners alike. A place goes
 *
 *   free -> planned -> live -> retired -> free
 *              |         ^        |
 *              v undone  +--------+ named again
 *             free
 *
 * Private to model.
 */
#ifndef SLUICE_MODEL_PLACE_H
#define SLUICE_MODEL_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/tree.h>

#include "base/addr.h"
#include "sluice/limits.h"

enum place_state { PLACE_PLANNED, PLACE_LIVE, PLACE_RETIRED };

#define HEIR_NONE UINT32_MAX

struct place {
    RB_ENTRY(place) link;
    RB_ENTRY(place) health_link; /* only while a plan looks for health to inherit */
    uint64_t hash;
    uint32_t index;
    enum place_state state;
    bool wanted;  /* by the model that is being planned */
    bool touched; /* its number was used before */
    uint32_t retired_generation;
    /* Slots only. */
    struct place *row, *pool; /* which outlive it */
    uint64_t checks;          /* what its checks look at (slot_sum_checks); 0: none */
    uint32_t heir_of;         /* planned: the slot to take health from, or HEIR_NONE */
    struct addr address;
    bool ready;             /* as committed last: by the operator's will it takes sessions */
    uint32_t limit, resume; /* as committed last */
    /* Rows and pools only. */
    uint32_t n_slots;
    size_t key_len;
    char key[];
};

RB_HEAD(place_tree, place);

struct place_space {
    struct place_tree tree; /* by hash and key */
    uint32_t limit;
    uint32_t next;                       /* numbers from here on were never used */
    uint32_t *free;                      /* NULL: numbers are never used again */
    uint32_t n_free;                     /* free[n_free - 1] is handed out first */
    uint32_t next_before, n_free_before; /* as they were at space_mark() */
};

/* Keys are put together from names and addresses. */
#define PLACE_KEY_MAX (2 * NAME_BYTES_MAX + sizeof(struct addr))

struct place_key {
    char bytes[PLACE_KEY_MAX];
    size_t len;
};

void place_key_add_name(struct place_key *key, const char *name);
void place_key_add_address(struct place_key *key, const struct addr *address);

/* reuse: whether freed numbers are handed out again. Returns 0 or -ENOMEM. */
int space_init(struct place_space *space, uint32_t limit, bool reuse);
void space_fini(struct place_space *space);
/* The place of that key, known or newly planned, wanted from now on. 0, -ENOSPC or -ENOMEM. */
int space_want(struct place_space *space, const struct place_key *key, struct place **out_place);
/* Frees the place; its number can be handed out again. */
void space_free(struct place_space *space, struct place *place);
bool space_is_full(const struct place_space *space);
/* Remembers which numbers are free; after it, none is freed until the plan is done or undone. */
void space_mark(struct place_space *space);
/* Frees a planned place without giving its number back: space_undo() does for all of them. */
void space_forget(struct place_space *space, struct place *place);
void space_undo(struct place_space *space);

/* All places in no particular order, NULL at the end. The present one may be freed once the next
 * is known. */
struct place *space_first(struct place_space *space);
struct place *space_next(struct place *place);

#endif
