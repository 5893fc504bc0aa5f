/*
 * Places are kept in one tree per kind, ordered by a hash of what they are for. A place goes
 *
 *   free -> planned -> live -> retired -> free
 *              |         ^        |
 *              v abort   +--------+ named again
 *             free
 *
 * Planning only takes numbers and marks places as wanted; all writing into the scoreboard waits for
 * the commit, which cannot fail. Owns the places; the scoreboard is the caller's. In master.
 */
#include "registry.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/tree.h>
#include <xxhash.h>

#include "sluice/limits.h"

enum space_kind { SPACE_SLOTS, SPACE_ROWS, SPACE_SERVICES, SPACE_LISTENERS, SPACE_COUNT };

enum place_state { PLACE_PLANNED, PLACE_LIVE, PLACE_RETIRED };

struct place {
    RB_ENTRY(place) link;
    RB_ENTRY(place) health_link; /* only while a plan looks for health to inherit */
    uint64_t hash;
    uint32_t index;
    enum place_state state;
    bool wanted;  /* by the model that is being planned */
    bool touched; /* its place in the scoreboard was used before */
    uint32_t retired_generation;
    /* Slots only. */
    struct place *row; /* which outlives it */
    uint64_t checks;   /* kinds and ports of its checks as one number; 0: none */
    uint32_t heir_of;  /* planned: the slot to take health from, or HEIR_NONE */
    struct addr address;
    /* Rows only. */
    uint32_t n_slots;
    size_t key_len;
    char key[];
};

#define HEIR_NONE UINT32_MAX

RB_HEAD(place_tree, place);
RB_HEAD(health_tree, place);

struct space {
    struct place_tree tree;
    uint32_t limit;
    uint32_t next; /* numbers from here on were never used */
    uint32_t *free;
    uint32_t n_free; /* free[n_free - 1] is handed out first */
    /* As they were when the plan began. */
    uint32_t next_before, n_free_before;
};

struct registry {
    struct scoreboard *sb;
    struct space spaces[SPACE_COUNT];
    struct place *slot_places[SB_SLOTS_MAX]; /* by number */
    struct health_tree known_health;         /* only during a plan */
    bool is_planned;
    uint64_t now_ms; /* of the plan */
};

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_places(const struct place *a, const struct place *b)
{
    int by_hash = compare_numbers(a->hash, b->hash);

    if (by_hash != 0 || a->key_len != b->key_len) {
        return by_hash != 0 ? by_hash : compare_numbers(a->key_len, b->key_len);
    }
    return memcmp(a->key, b->key, a->key_len);
}

static int compare_health(const struct place *a, const struct place *b)
{
    int by_checks = compare_numbers(a->checks, b->checks);

    return by_checks != 0 ? by_checks : memcmp(&a->address, &b->address, sizeof(a->address));
}

/* libbsd's RB_GENERATE_STATIC wants a word that this C library does not know. */
#define STATIC_UNUSED static __attribute__((unused))
RB_GENERATE_INTERNAL(place_tree, place, link, compare_places, STATIC_UNUSED)
RB_GENERATE_INTERNAL(health_tree, place, health_link, compare_health, STATIC_UNUSED)

/* --- one kind of places --- */

static const uint32_t space_limits[SPACE_COUNT] = {
    [SPACE_SLOTS] = SB_SLOTS_MAX,
    [SPACE_ROWS] = BACKENDS_MAX,
    [SPACE_SERVICES] = SERVICES_MAX,
    [SPACE_LISTENERS] = UINT32_MAX, /* numbers that are never used again */
};

static const char *const space_words[SPACE_COUNT] = {
    [SPACE_SLOTS] = "backend addresses",
    [SPACE_ROWS] = "backends",
    [SPACE_SERVICES] = "services",
    [SPACE_LISTENERS] = "listening addresses",
};

static int take_number(struct space *space, uint32_t *out_index, bool *out_touched)
{
    if (space->n_free > 0) {
        *out_index = space->free[--space->n_free];
        *out_touched = true;
        return 0;
    }
    if (space->next == space->limit) {
        return -ENOSPC;
    }
    *out_index = space->next++;
    *out_touched = false;
    return 0;
}

/* A place of that key, known or newly planned, and wanted from now on. */
static int want_place(struct space *space, const char *key, size_t key_len,
                      struct place **out_place)
{
    struct place *place = calloc(1, sizeof(*place) + key_len);
    struct place *known;
    int rc;

    if (place == NULL) {
        return -ENOMEM;
    }
    place->hash = XXH3_64bits(key, key_len);
    place->key_len = key_len;
    memcpy(place->key, key, key_len);
    known = RB_FIND(place_tree, &space->tree, place);
    if (known != NULL) {
        free(place);
        place = known;
    } else {
        rc = take_number(space, &place->index, &place->touched);
        if (rc != 0) {
            free(place);
            return rc;
        }
        place->state = PLACE_PLANNED;
        place->heir_of = HEIR_NONE;
        (void)RB_INSERT(place_tree, &space->tree, place);
    }
    place->wanted = true;
    *out_place = place;
    return 0;
}

static void free_place(struct registry *registry, enum space_kind kind, struct place *place)
{
    struct space *space = &registry->spaces[kind];

    RB_REMOVE(place_tree, &space->tree, place);
    if (kind == SPACE_SLOTS) {
        registry->slot_places[place->index] = NULL;
        place->row->n_slots--;
    }
    free(place);
}

/* --- keys --- */

/* pool NUL name NUL, or name NUL alone; then address where it belongs to the key. */
#define KEY_MAX (2 * NAME_BYTES_MAX + sizeof(struct addr))

struct key {
    char bytes[KEY_MAX];
    size_t len;
};

static void key_add_name(struct key *key, const char *name)
{
    size_t len = strnlen(name, NAME_BYTES_MAX - 1);

    memcpy(key->bytes + key->len, name, len);
    key->bytes[key->len + len] = '\0';
    key->len += len + 1;
}

static void key_add_address(struct key *key, const struct addr *address)
{
    memcpy(key->bytes + key->len, address, sizeof(*address));
    key->len += sizeof(*address);
}

/* --- planning --- */

/* The same for the same kinds and ports in any order; never 0 where there are some. */
static uint64_t sum_checks(const struct model_pool *pool, const struct model_backend *backend)
{
    uint64_t sum = 0;
    size_t n;
    const struct model_check *checks = model_backend_checks(pool, backend, &n);

    for (size_t i = 0; i < n; i++) {
        sum += XXH3_64bits_withSeed(checks[i].kind, strlen(checks[i].kind), checks[i].port);
    }
    return n > 0 && sum == 0 ? 1 : sum;
}

/* Sorts what the monitor has found out, by address and checks. */
static void gather_health(struct registry *registry)
{
    struct scoreboard *sb = registry->sb;
    struct place *place;

    RB_INIT(&registry->known_health);
    RB_FOREACH (place, place_tree, &registry->spaces[SPACE_SLOTS].tree) {
        if (place->state == PLACE_LIVE && place->checks != 0 &&
            place->address.ip.family != ADDR_NONE &&
            atomic_load_explicit(&sb->slots[place->index].last_check_ms, memory_order_relaxed) !=
                0 &&
            atomic_load_explicit(&sb->slot_health[place->index], memory_order_relaxed) !=
                SB_HEALTH_UNKNOWN) {
            (void)RB_INSERT(health_tree, &registry->known_health, place);
        }
    }
}

static int plan_backend(struct registry *registry, const struct model_pool *pool,
                        struct model_backend *backend)
{
    struct key key = {0};
    struct place *row;
    struct place *slot;
    int rc;

    key_add_name(&key, pool->name);
    key_add_name(&key, backend->name);
    rc = want_place(&registry->spaces[SPACE_ROWS], key.bytes, key.len, &row);
    if (rc != 0) {
        return rc;
    }
    key_add_address(&key, &backend->address);
    rc = want_place(&registry->spaces[SPACE_SLOTS], key.bytes, key.len, &slot);
    if (rc != 0) {
        return rc;
    }
    if (slot->row == NULL) {
        slot->row = row;
        slot->address = backend->address;
        row->n_slots++;
        registry->slot_places[slot->index] = slot;
    }
    if (slot->state != PLACE_LIVE) {
        struct place wish = {.address = backend->address, .checks = sum_checks(pool, backend)};
        struct place *ancestor = RB_FIND(health_tree, &registry->known_health, &wish);

        slot->heir_of = ancestor != NULL ? ancestor->index : HEIR_NONE;
    }
    backend->row = row->index;
    backend->slot = slot->index;
    return 0;
}

static int plan_listener(struct registry *registry, const struct model_service *service,
                         struct model_listener *listener)
{
    const struct addr *address = &listener->address;
    struct key key = {0};
    struct place *place;
    int rc;

    if (address->ip.family != ADDR_UNIX && address->ip.port == 0) {
        key_add_name(&key, service->name);
    }
    key_add_address(&key, address);
    rc = want_place(&registry->spaces[SPACE_LISTENERS], key.bytes, key.len, &place);
    if (rc == 0) {
        listener->id = place->index;
    }
    return rc;
}

static int plan_service(struct registry *registry, struct model_service *service)
{
    struct key key = {0};
    struct place *place;
    int rc;

    key_add_name(&key, service->name);
    rc = want_place(&registry->spaces[SPACE_SERVICES], key.bytes, key.len, &place);
    if (rc == 0) {
        service->row = place->index;
    }
    for (size_t i = 0; i < service->n_listeners && rc == 0; i++) {
        rc = plan_listener(registry, service, &service->listeners[i]);
    }
    return rc;
}

static int plan_model(struct registry *registry, struct model *model)
{
    int rc = 0;

    for (size_t i = 0; i < model->n_services && rc == 0; i++) {
        rc = plan_service(registry, &model->services[i]);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        struct model_pool *pool = &model->pools[i];

        for (size_t j = 0; j < pool->n_backends && rc == 0; j++) {
            rc = plan_backend(registry, pool, &pool->backends[j]);
        }
    }
    return rc;
}

static void report(const struct registry *registry, int rc, struct errlist *errors)
{
    if (rc == -ENOMEM) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL, "out of memory; nothing was changed");
        return;
    }
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        const struct space *space = &registry->spaces[kind];

        if (space->next == space->limit && space->n_free == 0) {
            errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                        "no place left for more %s: at most %u at a time, removed ones count until "
                        "their last session has ended; wait for that, or remove fewer at once",
                        space_words[kind], space->limit);
        }
    }
}

int registry_plan(struct registry *registry, struct model *model, uint64_t now_ms,
                  struct errlist *errors)
{
    int rc;

    assert(!registry->is_planned);
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        struct space *space = &registry->spaces[kind];

        space->next_before = space->next;
        space->n_free_before = space->n_free;
    }
    registry->is_planned = true;
    registry->now_ms = now_ms;
    gather_health(registry);
    rc = plan_model(registry, model);
    RB_INIT(&registry->known_health);
    if (rc != 0) {
        report(registry, rc, errors);
        registry_abort(registry);
    }
    return rc;
}

void registry_abort(struct registry *registry)
{
    /* Slots before rows: a slot needs its row to say good-bye. */
    for (size_t kind = 0; kind < SPACE_COUNT && registry->is_planned; kind++) {
        struct space *space = &registry->spaces[kind];
        struct place *place;
        struct place *next;

        RB_FOREACH_SAFE(place, place_tree, &space->tree, next)
        {
            place->wanted = false;
            if (place->state == PLACE_PLANNED) {
                free_place(registry, (enum space_kind)kind, place);
            }
        }
        /* What a plan takes from the stack of free numbers stays above its top. */
        space->next = space->next_before;
        space->n_free = space->n_free_before;
    }
    registry->is_planned = false;
}

/* --- committing --- */

static void set_unresolved(struct registry *registry, const struct model_backend *backend)
{
    char reason[SB_REASON_MAX];
    int host_len = (int)strcspn(backend->address_text, ":");

    (void)snprintf(reason, sizeof(reason), "the name %.*s does not resolve", host_len,
                   backend->address_text);
    scoreboard_set_health(registry->sb, backend->slot, SB_HEALTH_DOWN, reason, registry->now_ms);
}

static void set_first_health(struct registry *registry, const struct model_pool *pool,
                             const struct place *slot)
{
    static const enum sb_health health[START_COUNT] = {[START_UNKNOWN] = SB_HEALTH_UNKNOWN,
                                                       [START_UP] = SB_HEALTH_UP,
                                                       [START_DOWN] = SB_HEALTH_DOWN};
    static const char *const reasons[START_COUNT] = {
        [START_UNKNOWN] = "no check result yet",
        [START_UP] = "assumed up until the first check",
        [START_DOWN] = "assumed down until the first check"};
    char reason[SB_REASON_MAX];
    uint64_t since_ms;
    enum sb_health inherited;

    if (slot->heir_of == HEIR_NONE) {
        scoreboard_set_health(registry->sb, slot->index, health[pool->start], reasons[pool->start],
                              registry->now_ms);
        return;
    }
    inherited = scoreboard_get_health(registry->sb, slot->heir_of, &since_ms, reason);
    scoreboard_set_health(registry->sb, slot->index, inherited, reason, registry->now_ms);
}

static void commit_backend(struct registry *registry, const struct model_pool *pool,
                           const struct model_backend *backend)
{
    struct place *slot = registry->slot_places[backend->slot];
    bool is_new = slot->state != PLACE_LIVE;
    uint64_t checks = sum_checks(pool, backend);

    if (slot->state == PLACE_PLANNED && slot->touched) {
        scoreboard_clear_slot(registry->sb, slot->index);
    }
    if (slot->row->state == PLACE_PLANNED && slot->row->touched) {
        scoreboard_clear_row(registry->sb, slot->row->index);
    }
    slot->row->state = PLACE_LIVE;
    if (backend->address.ip.family == ADDR_NONE) {
        set_unresolved(registry, backend); /* also when it stays so: the name may be another */
    } else if (checks == 0) {
        if (is_new || slot->checks != 0) {
            scoreboard_set_health(registry->sb, slot->index, SB_HEALTH_UP, "no check configured",
                                  registry->now_ms);
        }
    } else if (is_new) {
        set_first_health(registry, pool, slot);
    }
    slot->checks = checks;
}

/* After everything that needs to know what was new. */
static void settle_space(struct registry *registry, enum space_kind kind, uint32_t generation)
{
    struct place *place;

    RB_FOREACH (place, place_tree, &registry->spaces[kind].tree) {
        if (kind == SPACE_SERVICES && place->state == PLACE_PLANNED && place->touched) {
            scoreboard_clear_service(registry->sb, place->index);
        }
        if (place->wanted) {
            place->state = PLACE_LIVE;
        } else if (place->state == PLACE_LIVE) {
            place->state = PLACE_RETIRED;
            place->retired_generation = generation;
        }
        place->wanted = false;
        place->heir_of = HEIR_NONE;
    }
}

void registry_commit(struct registry *registry, const struct model *model)
{
    assert(registry->is_planned && model->generation > 0);
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        for (size_t j = 0; j < pool->n_backends; j++) {
            commit_backend(registry, pool, &pool->backends[j]);
        }
    }
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        settle_space(registry, (enum space_kind)kind, model->generation);
    }
    registry->is_planned = false;
}

/* --- giving places back --- */

static bool is_busy(const struct registry *registry, enum space_kind kind,
                    const struct place *place)
{
    const struct scoreboard *sb = registry->sb;

    switch (kind) {
    case SPACE_SLOTS:
        return atomic_load_explicit(&sb->slot_active[place->index], memory_order_acquire) != 0;
    case SPACE_ROWS:
        return place->n_slots != 0;
    case SPACE_SERVICES:
        return atomic_load_explicit(&sb->services[place->index].active, memory_order_acquire) != 0;
    default:
        return false;
    }
}

void registry_sweep(struct registry *registry, uint32_t oldest_generation_in_use)
{
    /* Slots before rows, which wait for their slots. */
    for (size_t kind = 0; kind < SPACE_COUNT && !registry->is_planned; kind++) {
        struct space *space = &registry->spaces[kind];
        struct place *place;
        struct place *next;

        RB_FOREACH_SAFE(place, place_tree, &space->tree, next)
        {
            if (place->state != PLACE_RETIRED ||
                place->retired_generation > oldest_generation_in_use ||
                is_busy(registry, (enum space_kind)kind, place)) {
                continue;
            }
            if (kind != SPACE_LISTENERS) {
                space->free[space->n_free++] = place->index;
            }
            free_place(registry, (enum space_kind)kind, place);
        }
    }
}

/* --- birth and death --- */

struct registry *registry_create(struct scoreboard *sb)
{
    struct registry *registry = calloc(1, sizeof(*registry));

    if (registry == NULL) {
        return NULL;
    }
    registry->sb = sb;
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        struct space *space = &registry->spaces[kind];

        RB_INIT(&space->tree);
        space->limit = space_limits[kind];
        if (kind != SPACE_LISTENERS) {
            space->free = calloc(space->limit, sizeof(*space->free));
            if (space->free == NULL) {
                registry_destroy(registry);
                return NULL;
            }
        }
    }
    return registry;
}

void registry_destroy(struct registry *registry)
{
    if (registry == NULL) {
        return;
    }
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        struct space *space = &registry->spaces[kind];
        struct place *place;
        struct place *next;

        RB_FOREACH_SAFE(place, place_tree, &space->tree, next)
        {
            RB_REMOVE(place_tree, &space->tree, place);
            free(place);
        }
        free(space->free);
    }
    free(registry);
}
