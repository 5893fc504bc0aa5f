/*
 * Fixed-size objects in arenas taken straight from the kernel (mmap), last freed first reused. An
 * arena whose objects are all free is given back, except for one kept against flutter, so that a
 * peak does not stay for ever. Not thread-safe: one owner.
 */
#ifndef SLUICE_BASE_SLAB_H
#define SLUICE_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab_arena;

struct slab {
    size_t item_bytes;  /* rounded up to 16 */
    size_t arena_bytes; /* a power of two; arenas are aligned to it, so an item finds its arena */
    struct slab_arena *partial; /* arenas with a free item, most recently freed first */
    struct slab_arena *full;    /* arenas without one */
    struct slab_arena *spare;   /* one empty arena kept */
    size_t used;                /* items handed out */
    size_t arenas;              /* arenas mapped */
};

/* arena_bytes: power of two, at least 4096 and room for one item. */
void slab_init(struct slab *slab, size_t item_bytes, size_t arena_bytes);
/* Contents undefined. NULL when the kernel has no memory. 16-byte aligned. */
void *slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, void *item); /* NULL is allowed */
/* Gives back the whole pages inside free items, where items are larger than pages: those handed in
 * since the last time, of about at most n_max items. The items stay. Returns of how many. */
size_t slab_trim(struct slab *slab, size_t n_max);
/* Unmaps everything, used items too. */
void slab_fini(struct slab *slab);

#endif
