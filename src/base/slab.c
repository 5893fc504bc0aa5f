/*
 * The slab allocator: fixed-size objects cut from aligned arenas. A slab owns its arenas; each
 * process that uses one owns its own.
 *
 * An arena starts with its header; the items follow. Free items are warm or cold. Warm ones were
 * used: they form a list through their own first bytes, last freed first. Cold ones are not to be
 * touched, for they have pages that take no memory: those never handed out, and those that
 * slab_trim took pages from. They are bits in the header, and go out when no warm one is left.
 *
 * A partial arena moves to the front of its list whenever one of its items is freed, which keeps
 * the slab as a whole last-freed-first. One that gave pages back is thin: it goes to the end and
 * stays there, so that what is new goes elsewhere while there is room, and it can run empty.
 */
#include "slab.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
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

#define ALIGNMENT ((size_t)16)
#define WORD_BITS ((size_t)64)

struct free_item {
    struct free_item *next;
};

struct slab_arena {
    TAILQ_ENTRY(slab_arena) link;
    struct slab *slab; /* to catch items given to the wrong slab */
    struct free_item *warm;
    struct free_item *looked_at; /* of warm, from here on: slab_trim knows them */
    size_t used;
    uint32_t cold_word; /* words of cold before this one are 0 */
    bool thin;
    /* An item each: which are cold, then as many words for slab_trim to work with. The last bits of
     * a word without an item are never looked at: a full arena is not asked for a cold item. */
    uint64_t bits[];
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

static size_t words_for(size_t n_items)
{
    return (n_items + WORD_BITS - 1) / WORD_BITS;
}

static bool has_bit(const uint64_t *bits, size_t i)
{
    return (bits[i / WORD_BITS] >> i % WORD_BITS & 1) != 0;
}

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / WORD_BITS] |= (uint64_t)1 << i % WORD_BITS;
}

static void *item_at(const struct slab *slab, struct slab_arena *arena, size_t i)
{
    return (char *)arena + slab->header_bytes + i * slab->item_bytes;
}

/* Beyond all items for what lies before them. */
static size_t index_of(const struct slab *slab, const struct slab_arena *arena, const void *item)
{
    return ((uintptr_t)item - (uintptr_t)arena - slab->header_bytes) / slab->item_bytes;
}

static void leave_partial(struct slab *slab, struct slab_arena *arena)
{
    if (slab->trim_next == arena) {
        slab->trim_next = TAILQ_NEXT(arena, link);
    }
    TAILQ_REMOVE(&slab->partial, arena, link);
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
    memset(arena->bits, 0xff, words_for(slab->n_items) * sizeof(arena->bits[0]));
    POISON(item_at(slab, arena, 0), slab->n_items * slab->item_bytes);
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

static void unmap_all(struct slab *slab, struct slab_arenas *arenas)
{
    struct slab_arena *arena;

    while ((arena = TAILQ_FIRST(arenas)) != NULL) {
        TAILQ_REMOVE(arenas, arena, link);
        unmap_arena(slab, arena);
    }
}

void slab_init(struct slab *slab, size_t item_bytes, size_t arena_bytes)
{
    size_t n_most;

    *slab =
        (struct slab){.item_bytes = item_bytes > 0 ? round_up(item_bytes, ALIGNMENT) : ALIGNMENT,
                      .arena_bytes = arena_bytes};
    TAILQ_INIT(&slab->partial);
    TAILQ_INIT(&slab->full);
    assert(arena_bytes >= 4096 && (arena_bytes & (arena_bytes - 1)) == 0);
    n_most = (arena_bytes - sizeof(struct slab_arena)) / slab->item_bytes;
    slab->header_bytes =
        round_up(sizeof(struct slab_arena) + 2 * words_for(n_most) * sizeof(uint64_t), ALIGNMENT);
    assert(slab->header_bytes + slab->item_bytes <= arena_bytes);
    slab->n_items = (arena_bytes - slab->header_bytes) / slab->item_bytes;
}

/* The arena to take an item from, in the partial list. NULL without memory. */
static struct slab_arena *find_room(struct slab *slab)
{
    struct slab_arena *arena = TAILQ_FIRST(&slab->partial);

    if (arena != NULL) {
        return arena;
    }
    arena = slab->spare;
    slab->spare = NULL;
    if (arena == NULL) {
        arena = map_arena(slab);
    }
    if (arena != NULL) {
        TAILQ_INSERT_HEAD(&slab->partial, arena, link);
    }
    return arena;
}

/* There is one. */
static void *take_cold(const struct slab *slab, struct slab_arena *arena)
{
    uint64_t *word = &arena->bits[arena->cold_word];
    size_t i;

    while (*word == 0) {
        word++;
        arena->cold_word++;
    }
    i = arena->cold_word * WORD_BITS + (size_t)__builtin_ctzll(*word);
    *word &= *word - 1;
    return item_at(slab, arena, i);
}

void *slab_alloc(struct slab *slab)
{
    struct slab_arena *arena = find_room(slab);
    void *item;

    if (arena == NULL) {
        return NULL;
    }
    if (arena->warm != NULL) {
        item = arena->warm;
        UNPOISON(item, slab->item_bytes);
        if (arena->looked_at == arena->warm) {
            arena->looked_at = arena->warm->next;
        }
        arena->warm = arena->warm->next;
    } else {
        item = take_cold(slab, arena);
        UNPOISON(item, slab->item_bytes);
    }
    arena->used++;
    slab->used++;
    if (arena->used == slab->n_items) {
        leave_partial(slab, arena);
        arena->thin = false;
        TAILQ_INSERT_HEAD(&slab->full, arena, link);
    }
    return item;
}

/* Of an item just handed in: asserts that it is one, ours, and not free already. */
static struct slab_arena *find_arena(const struct slab *slab, void *item)
{
    uintptr_t offset = (uintptr_t)item & (slab->arena_bytes - 1);
    struct slab_arena *arena = (struct slab_arena *)(void *)((char *)item - offset);

    assert(arena->slab == slab);
    assert(index_of(slab, arena, item) < slab->n_items);
    assert(item_at(slab, arena, index_of(slab, arena, item)) == item);
    assert(!has_bit(arena->bits, index_of(slab, arena, item)));
    assert(!IS_POISONED(item));
    return arena;
}

/* To where an arena belongs that has one item fewer now. */
static void file_arena(struct slab *slab, struct slab_arena *arena)
{
    bool was_full = arena->used + 1 == slab->n_items;

    if (arena->used > 0 && !was_full && (arena->thin || arena == TAILQ_FIRST(&slab->partial))) {
        return;
    }
    if (was_full) {
        TAILQ_REMOVE(&slab->full, arena, link);
    } else {
        leave_partial(slab, arena);
    }
    if (arena->used > 0) {
        TAILQ_INSERT_HEAD(&slab->partial, arena, link);
    } else if (slab->spare == NULL) {
        arena->thin = false;
        slab->spare = arena;
    } else {
        unmap_arena(slab, arena);
    }
}

void slab_free(struct slab *slab, void *item)
{
    struct slab_arena *arena;
    struct free_item *freed = item;

    if (item == NULL) {
        return;
    }
    arena = find_arena(slab, item);
    freed->next = arena->warm;
    arena->warm = freed;
    POISON(item, slab->item_bytes);
    arena->used--;
    slab->used--;
    file_arena(slab, arena);
}

/* Sets the bits of the warm items. Returns how many they are. */
static size_t mark_warm(const struct slab *slab, struct slab_arena *arena, uint64_t *warm)
{
    size_t n = 0;

    memset(warm, 0, words_for(slab->n_items) * sizeof(*warm));
    for (struct free_item *item = arena->warm, *next; item != NULL; item = next, n++) {
        UNPOISON(item, sizeof(*item));
        next = item->next;
        POISON(item, sizeof(*item));
        set_bit(warm, index_of(slab, arena, item));
    }
    return n;
}

/* Whether all of these items are free, and one has been used since their pages last went. */
static bool can_go(const uint64_t *cold, const uint64_t *warm, size_t first, size_t last)
{
    bool was_used = false;

    for (size_t i = first; i <= last; i++) {
        if (has_bit(warm, i)) {
            was_used = true;
        } else if (!has_bit(cold, i)) {
            return false;
        }
    }
    return was_used;
}

/* Returns how many were not yet. */
static size_t make_cold(uint64_t *cold, size_t first, size_t last)
{
    size_t n = 0;

    for (size_t i = first; i <= last; i++) {
        n += !has_bit(cold, i);
        set_bit(cold, i);
    }
    return n;
}

static void give_back(char *from, size_t bytes)
{
    if (bytes > 0) {
        (void)madvise(from, bytes, MADV_DONTNEED);
    }
}

/*
 * Makes the items cold that lie, be it in part, in pages that go back. An item can lie in several
 * pages of which some stay; they go once their other items are free, for one of those is warm then.
 * Adds the pages to out_pages.
 */
static size_t give_pages_back(const struct slab *slab, struct slab_arena *arena,
                              const uint64_t *warm, size_t *out_pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = slab->header_bytes + slab->n_items * slab->item_bytes;
    size_t at = round_up(slab->header_bytes, page);
    size_t run = 0; /* bytes before at, to go in one call */
    size_t n = 0;

    for (; at < end; at += page) {
        size_t first = (at - slab->header_bytes) / slab->item_bytes;
        size_t last = (at + page - 1 - slab->header_bytes) / slab->item_bytes;

        last = last < slab->n_items ? last : slab->n_items - 1;
        if (can_go(arena->bits, warm, first, last)) {
            n += make_cold(arena->bits, first, last);
            run += page;
            *out_pages += 1;
        } else {
            give_back((char *)arena + at - run, run);
            run = 0;
        }
    }
    give_back((char *)arena + at - run, run);
    return n;
}

/* Of those that are not cold, the lowest first. */
static void list_warm(const struct slab *slab, struct slab_arena *arena, const uint64_t *warm)
{
    arena->warm = NULL;
    for (size_t i = slab->n_items; i-- > 0;) {
        struct free_item *item = item_at(slab, arena, i);

        if (has_bit(warm, i) && !has_bit(arena->bits, i)) {
            UNPOISON(item, sizeof(*item));
            item->next = arena->warm;
            POISON(item, sizeof(*item));
            arena->warm = item;
        }
    }
}

/* Adds to out_cost what it looked at, and the pages that it gave back. */
static size_t trim_arena(const struct slab *slab, struct slab_arena *arena, size_t *out_cost)
{
    uint64_t *warm = arena->bits + words_for(slab->n_items);
    size_t n;

    *out_cost += 1;
    if (arena->warm == arena->looked_at) {
        return 0;
    }
    *out_cost += mark_warm(slab, arena, warm);
    n = give_pages_back(slab, arena, warm, out_cost);
    if (n > 0) {
        list_warm(slab, arena, warm);
        arena->cold_word = 0;
    }
    arena->looked_at = arena->warm;
    return n;
}

size_t slab_trim(struct slab *slab, size_t n_max)
{
    struct slab_arena *arena = slab->trim_next;
    struct slab_arena *next;
    size_t cost = 0;
    size_t n = 0;

    if (slab->spare != NULL) {
        n += trim_arena(slab, slab->spare, &cost);
    }
    if (arena == NULL) {
        arena = TAILQ_FIRST(&slab->partial);
    }
    for (; arena != NULL && cost < n_max; arena = next) {
        size_t gone = trim_arena(slab, arena, &cost);

        next = TAILQ_NEXT(arena, link);
        if (gone > 0 && !arena->thin) {
            arena->thin = true;
            TAILQ_REMOVE(&slab->partial, arena, link);
            TAILQ_INSERT_TAIL(&slab->partial, arena, link);
        }
        n += gone;
    }
    slab->trim_next = arena;
    return n;
}

void slab_fini(struct slab *slab)
{
    unmap_all(slab, &slab->partial);
    unmap_all(slab, &slab->full);
    slab->trim_next = NULL;
    if (slab->spare != NULL) {
        unmap_arena(slab, slab->spare);
        slab->spare = NULL;
    }
    slab->used = 0;
}
