/*
 * Fixed-size objects in arenas taken straight from the kernel (mmap), last freed first reused. An
 * arena whose objects are all free is given back, except for one kept against flutter, and of the
 * others the pages without an object in use when asked (slab_trim), so that a peak does not stay
 * for ever. Not thread-safe: one owner.
 */
#ifndef SLUICE_BASE_SLAB_H
#define SLUICE_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct slab_arena;
TAILQ_HEAD(slab_arenas, slab_arena);

struct slab {
    size_t item_bytes;   /* rounded up to 16 */
    size_t arena_bytes;  /* a power of two; arenas are aligned to it, so an item finds its arena */
    size_t header_bytes; /* of an arena, before its items */
    size_t n_items;      /* of an arena */
    struct slab_arenas partial;   /* with a free item: most recently freed first, thin ones last */
    struct slab_arenas full;      /* without one */
    struct slab_arena *spare;     /* one empty arena kept */
    struct slab_arena *trim_next; /* of partial: where the last slab_trim stopped; NULL: its end */
    size_t used;                  /* items handed out */
    size_t arenas;                /* arenas mapped */
};

/* arena_bytes: power of two, at least 4096 and room for one item. */
void slab_init(struct slab *slab, size_t item_bytes, size_t arena_bytes);
/* Contents undefined. NULL when the kernel has no memory. 16-byte aligned. */
void *slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, void *item); /* NULL is allowed */
/*
 * Gives back the pages in which every item is free, none of them twice before an item in it was
 * used again. The items stay. Stops when the free items and arenas that it has looked at and the
 * pages that it has given back are n_max together (and the arena is done that it is at), and goes
 * on from there the next time. Returns how many items have lost a page; they are handed out after
 * the others, the lowest first.
 */
size_t slab_trim(struct slab *slab, size_t n_max);
/* Unmaps everything, used items too. */
void slab_fini(struct slab *slab);

#endif
