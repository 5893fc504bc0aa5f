/*
 * The slab allocator: fixed-size objects cut from aligned arenas. A slab owns its arenas; each
 * process that uses one owns its own.
 *
 * An arena starts with its header; the items follow. Fresh items are handed out by moving a mark
 * upward and not from a list, so that pages no item has reached stay untouched. Freed items form a
 * list through their own first bytes and go out again before the mark moves. A partial arena moves
 * to the front of its list whenever one of its items is freed, which keeps the slab as a whole
 * last-freed-first. An arena with one item in use stays; what its free items hold in whole pages
 * can be given back before (slab_trim).
 */
#include "slab.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_POISONS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SLAB_POISONS 1
#endif

#ifdef SLAB_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes)   ASAN_POISON_MEMORY_REGION((at), (bytes))
#define UNPOISON(at, bytes) ASAN_UNPOISON_MEMORY_REGION((at), (bytes))
#define IS_POISONED(at)     (__asan_address_is_poisoned(at) != 0)
#else
#define POISON(at, bytes)   ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#define IS_POISONED(at)     ((void)(at), false)
#endif

#define ALIGNMENT 16U

struct free_item {
    struct free_item *next;
};

struct slab_arena {
    struct slab_arena *next;
    struct slab_arena *prev;
    struct slab *slab; /* to catch items given to the wrong slab */
    struct free_item *freed;
    struct free_item *trimmed; /* of freed, from here on: without their inner pages */
    char *fresh;               /* the mark: items from here on were never handed out */
    const char *end;           /* of the last item */
    size_t used;
};

static size_t round_up(size_t n)
{
    return (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static char *first_item(struct slab_arena *arena)
{
    return (char *)arena + round_up(sizeof(*arena));
}

static size_t items_per_arena(const struct slab *slab)
{
    return (slab->arena_bytes - round_up(sizeof(struct slab_arena))) / slab->item_bytes;
}

static void list_push(struct slab_arena **head, struct slab_arena *arena)
{
    arena->prev = NULL;
    arena->next = *head;
    if (*head != NULL) {
        (*head)->prev = arena;
    }
    *head = arena;
}

static void list_remove(struct slab_arena **head, struct slab_arena *arena)
{
    if (arena->prev != NULL) {
        arena->prev->next = arena->next;
    } else {
        *head = arena->next;
    }
    if (arena->next != NULL) {
        arena->next->prev = arena->prev;
    }
}

/* Maps twice what is needed and trims it, for nothing else gives alignment. NULL without memory. */
static void *map_aligned(size_t bytes)
{
    char *raw = mmap(NULL, bytes * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t head;

    if (raw == MAP_FAILED) {
        return NULL;
    }
    head = (bytes - ((uintptr_t)raw & (bytes - 1))) & (bytes - 1);
    /* A trim that fails (too many mappings) leaves addresses taken, but no memory. */
    if (head > 0) {
        (void)munmap(raw, head);
    }
    (void)munmap(raw + head + bytes, bytes - head);
    return raw + head;
}

static struct slab_arena *map_arena(struct slab *slab)
{
    struct slab_arena *arena = map_aligned(slab->arena_bytes);

    if (arena == NULL) {
        return NULL;
    }
    *arena = (struct slab_arena){.slab = slab};
    arena->fresh = first_item(arena);
    arena->end = arena->fresh + items_per_arena(slab) * slab->item_bytes;
    POISON(arena->fresh, (size_t)(arena->end - arena->fresh));
    slab->arenas++;
    return arena;
}

static void unmap_arena(struct slab *slab, struct slab_arena *arena)
{
    slab->arenas--;
    UNPOISON(arena, slab->arena_bytes);
    if (munmap(arena, slab->arena_bytes) != 0) {
        /* Splitting a mapping can need one more than allowed. Give the memory back at least. */
        (void)madvise(arena, slab->arena_bytes, MADV_DONTNEED);
    }
}

static void unmap_list(struct slab *slab, struct slab_arena **head)
{
    while (*head != NULL) {
        struct slab_arena *arena = *head;

        list_remove(head, arena);
        unmap_arena(slab, arena);
    }
}

void slab_init(struct slab *slab, size_t item_bytes, size_t arena_bytes)
{
    *slab = (struct slab){.item_bytes = item_bytes > 0 ? round_up(item_bytes) : ALIGNMENT,
                          .arena_bytes = arena_bytes};
    assert(arena_bytes >= 4096 && (arena_bytes & (arena_bytes - 1)) == 0);
    assert(items_per_arena(slab) > 0);
}

/* The arena to take an item from, in the partial list. NULL without memory. */
static struct slab_arena *find_room(struct slab *slab)
{
    struct slab_arena *arena = slab->partial;

    if (arena != NULL) {
        return arena;
    }
    arena = slab->spare;
    slab->spare = NULL;
    if (arena == NULL) {
        arena = map_arena(slab);
    }
    if (arena != NULL) {
        list_push(&slab->partial, arena);
    }
    return arena;
}

void *slab_alloc(struct slab *slab)
{
    struct slab_arena *arena = find_room(slab);
    void *item;

    if (arena == NULL) {
        return NULL;
    }
    if (arena->freed != NULL) {
        item = arena->freed;
        UNPOISON(item, slab->item_bytes);
        if (arena->trimmed == arena->freed) {
            arena->trimmed = arena->freed->next;
        }
        arena->freed = arena->freed->next;
    } else {
        item = arena->fresh;
        UNPOISON(item, slab->item_bytes);
        arena->fresh += slab->item_bytes;
    }
    arena->used++;
    slab->used++;
    if (arena->freed == NULL && arena->fresh == arena->end) {
        list_remove(&slab->partial, arena);
        list_push(&slab->full, arena);
    }
    return item;
}

/* Of an item just handed in: asserts that it is one, ours, and not free already. */
static struct slab_arena *find_arena(const struct slab *slab, void *item)
{
    uintptr_t offset = (uintptr_t)item & (slab->arena_bytes - 1);
    struct slab_arena *arena = (struct slab_arena *)(void *)((char *)item - offset);

    assert(arena->slab == slab);
    assert((char *)item >= first_item(arena) && (char *)item < arena->fresh);
    assert((size_t)((char *)item - first_item(arena)) % slab->item_bytes == 0);
    assert(!IS_POISONED(item));
    return arena;
}

void slab_free(struct slab *slab, void *item)
{
    struct slab_arena *arena;
    struct free_item *freed = item;
    bool was_full;

    if (item == NULL) {
        return;
    }
    arena = find_arena(slab, item);
    was_full = arena->freed == NULL && arena->fresh == arena->end;
    list_remove(was_full ? &slab->full : &slab->partial, arena);
    freed->next = arena->freed;
    arena->freed = freed;
    POISON(item, slab->item_bytes);
    arena->used--;
    slab->used--;
    if (arena->used > 0) {
        list_push(&slab->partial, arena);
    } else if (slab->spare == NULL) {
        slab->spare = arena;
    } else {
        unmap_arena(slab, arena);
    }
}

/* Gives the whole pages between the link and the end of the item back. */
static void give_inner_pages_back(const struct slab *slab, struct free_item *item, size_t page)
{
    uintptr_t from = ((uintptr_t)(item + 1) + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t to = ((uintptr_t)item + slab->item_bytes) & ~(uintptr_t)(page - 1);

    if (from < to) {
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

static size_t trim_arena(const struct slab *slab, struct slab_arena *arena, size_t page)
{
    size_t n = 0;

    for (struct free_item *item = arena->freed; item != arena->trimmed; n++) {
        struct free_item *next;

        UNPOISON(item, sizeof(*item));
        next = item->next;
        POISON(item, sizeof(*item));
        give_inner_pages_back(slab, item, page);
        item = next;
    }
    arena->trimmed = arena->freed;
    return n;
}

size_t slab_trim(struct slab *slab, size_t n_max)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = 0;

    if (slab->spare != NULL) {
        n += trim_arena(slab, slab->spare, page);
    }
    for (struct slab_arena *arena = slab->partial; arena != NULL && n < n_max;
         arena = arena->next) {
        n += trim_arena(slab, arena, page);
    }
    return n;
}

void slab_fini(struct slab *slab)
{
    unmap_list(slab, &slab->partial);
    unmap_list(slab, &slab->full);
    if (slab->spare != NULL) {
        unmap_arena(slab, slab->spare);
        slab->spare = NULL;
    }
    slab->used = 0;
}
