/*
 * Places for everything that a model names. Planning only takes numbers and marks places as wanted;
 * all writing into the scoreboard waits for the commit, which cannot fail. Owns the places; the
 * scoreboard is the caller's. In master.
 */
#include "registry.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "slot.h"

/* In this order when places are freed: a slot needs its row and its pool to say good-bye. */
enum space_kind {
    SPACE_SLOTS,
    SPACE_ROWS,
    SPACE_POOLS,
    SPACE_SERVICES,
    SPACE_LISTENERS,
    SPACE_COUNT
};

struct space_info {
    uint32_t limit;
    bool reuse;
    const char *word;
};

static const struct space_info space_infos[SPACE_COUNT] = {
    [SPACE_SLOTS] = {SB_SLOTS_MAX, true, "backend addresses"},
    [SPACE_ROWS] = {BACKENDS_MAX, true, "backends"},
    [SPACE_POOLS] = {POOLS_MAX, true, "pools"},
    [SPACE_SERVICES] = {SERVICES_MAX, true, "services"},
    [SPACE_LISTENERS] = {UINT32_MAX, false, "listening addresses"},
};

/* Live slots by what their checks look at. */
RB_HEAD(health_tree, place);

struct registry {
    struct scoreboard *sb;
    struct place_space spaces[SPACE_COUNT];
    struct place *slot_places[SB_SLOTS_MAX]; /* by number */
    struct health_tree known_health;         /* only during a plan */
    bool is_planned;
    uint64_t now_ms; /* of the plan */
};

static int compare_health(const struct place *a, const struct place *b)
{
    if (a->checks != b->checks) {
        return a->checks < b->checks ? -1 : 1;
    }
    return memcmp(&a->address, &b->address, sizeof(a->address));
}

/* libbsd's RB_GENERATE_STATIC wants a word that this C library does not know. */
RB_GENERATE_INTERNAL(health_tree, place, health_link, compare_health,
                     static __attribute__((unused)))

/* --- planning --- */

/* Sorts what the monitor has found out, by address and checks. */
static void gather_health(struct registry *registry)
{
    struct scoreboard *sb = registry->sb;
    struct place *place;

    RB_INIT(&registry->known_health);
    for (place = space_first(&registry->spaces[SPACE_SLOTS]); place != NULL;
         place = space_next(place)) {
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
                        struct place *pool_place, struct model_backend *backend)
{
    struct place_key key = {0};
    struct place *row;
    struct place *slot;
    int rc;

    place_key_add_name(&key, pool->name);
    place_key_add_name(&key, backend->name);
    rc = space_want(&registry->spaces[SPACE_ROWS], &key, &row);
    if (rc != 0) {
        return rc;
    }
    place_key_add_address(&key, &backend->address);
    rc = space_want(&registry->spaces[SPACE_SLOTS], &key, &slot);
    if (rc != 0) {
        return rc;
    }
    if (slot->row == NULL) {
        slot->row = row;
        slot->pool = pool_place;
        slot->address = backend->address;
        row->n_slots++;
        pool_place->n_slots++;
        registry->slot_places[slot->index] = slot;
    }
    if (slot->state != PLACE_LIVE) {
        struct place wish = {.address = backend->address, .checks = slot_sum_checks(pool, backend)};
        struct place *ancestor = RB_FIND(health_tree, &registry->known_health, &wish);

        slot->heir_of = ancestor != NULL ? ancestor->index : HEIR_NONE;
    }
    backend->row = row->index;
    backend->slot = slot->index;
    return 0;
}

static int plan_pool(struct registry *registry, struct model_pool *pool)
{
    struct place_key key = {0};
    struct place *place;
    int rc;

    place_key_add_name(&key, pool->name);
    rc = space_want(&registry->spaces[SPACE_POOLS], &key, &place);
    if (rc == 0) {
        pool->row = place->index;
    }
    for (size_t i = 0; i < pool->n_backends && rc == 0; i++) {
        rc = plan_backend(registry, pool, place, &pool->backends[i]);
    }
    return rc;
}

static int plan_listener(struct registry *registry, const struct model_service *service, size_t i)
{
    struct model_listener *listener = &service->listeners[i];
    struct addr address = listener->address;
    const char *problem;
    struct place_key key = {0};
    struct place *place;
    int rc;

    /* As written: of a running service, listener->address has the port that the kernel chose. */
    (void)addr_parse(service->listen[i], true, &address, &problem);
    if (address.ip.family != ADDR_UNIX && address.ip.port == 0) {
        place_key_add_name(&key, service->name);
    }
    place_key_add_address(&key, &address);
    rc = space_want(&registry->spaces[SPACE_LISTENERS], &key, &place);
    if (rc == 0) {
        listener->id = place->index;
    }
    return rc;
}

static int plan_service(struct registry *registry, struct model_service *service)
{
    struct place_key key = {0};
    struct place *place;
    int rc;

    place_key_add_name(&key, service->name);
    rc = space_want(&registry->spaces[SPACE_SERVICES], &key, &place);
    if (rc == 0) {
        service->row = place->index;
    }
    for (size_t i = 0; i < service->n_listeners && rc == 0; i++) {
        rc = plan_listener(registry, service, i);
    }
    return rc;
}

static int plan_model(struct registry *registry, struct model *model)
{
    int rc = 0;

    for (size_t i = 0; i < model->n_services && rc == 0; i++) {
        rc = plan_service(registry, &model->services[i]);
    }
    for (size_t i = 0; i < model->n_pools && rc == 0; i++) {
        rc = plan_pool(registry, &model->pools[i]);
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
        if (space_is_full(&registry->spaces[kind])) {
            errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                        "no place left for more %s: at most %u at a time, removed ones count until "
                        "their last session has ended; wait for that, or remove fewer at once",
                        space_infos[kind].word, space_infos[kind].limit);
        }
    }
}

int registry_plan(struct registry *registry, struct model *model, uint64_t now_ms,
                  struct errlist *errors)
{
    int rc;

    assert(!registry->is_planned);
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        space_mark(&registry->spaces[kind]);
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

/* Before the place itself is freed. */
static void detach_slot(struct registry *registry, const struct place *slot)
{
    registry->slot_places[slot->index] = NULL;
    if (slot->row != NULL) {
        slot->row->n_slots--;
        slot->pool->n_slots--;
    }
}

void registry_abort(struct registry *registry)
{
    for (size_t kind = 0; kind < SPACE_COUNT && registry->is_planned; kind++) {
        struct place_space *space = &registry->spaces[kind];
        struct place *next;

        for (struct place *place = space_first(space); place != NULL; place = next) {
            next = space_next(place);
            place->wanted = false;
            place->heir_of = HEIR_NONE;
            if (place->state != PLACE_PLANNED) {
                continue;
            }
            if (kind == SPACE_SLOTS) {
                detach_slot(registry, place);
            }
            space_forget(space, place);
        }
        space_undo(space);
    }
    registry->is_planned = false;
}

/* --- committing --- */

/* New slots first: they inherit from others while those are still as the plan saw them. */
static void commit_backends(struct registry *registry, const struct model *model, bool new_ones)
{
    struct slot_commit commit = {
        .sb = registry->sb, .now_ms = registry->now_ms, .first = model->generation == 1};

    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        for (size_t j = 0; j < pool->n_backends; j++) {
            struct place *slot = registry->slot_places[pool->backends[j].slot];

            if ((slot->state != PLACE_LIVE) == new_ones) {
                slot_commit(&commit, slot, pool, &pool->backends[j]);
            }
        }
    }
}

static void clear_row(struct registry *registry, enum space_kind kind, uint32_t index)
{
    if (kind == SPACE_ROWS) {
        scoreboard_clear_row(registry->sb, index);
    } else if (kind == SPACE_POOLS) {
        scoreboard_clear_pool(registry->sb, index);
    } else if (kind == SPACE_SERVICES) {
        scoreboard_clear_service(registry->sb, index);
    }
}

/* After everything that needs to know what was new. */
static void settle_space(struct registry *registry, enum space_kind kind, uint32_t generation)
{
    struct place_space *space = &registry->spaces[kind];
    struct place *next;

    for (struct place *place = space_first(space); place != NULL; place = next) {
        next = space_next(place);
        if (place->state == PLACE_PLANNED && place->touched) {
            clear_row(registry, kind, place->index);
        }
        if (place->wanted) {
            place->state = PLACE_LIVE;
        } else if (kind == SPACE_LISTENERS) {
            space_free(space, place); /* its number never comes back, so nobody need wait */
            continue;
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
    commit_backends(registry, model, true);
    commit_backends(registry, model, false);
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
    case SPACE_POOLS:
        return place->n_slots != 0 ||
               atomic_load_explicit(&sb->pools[place->index].queued, memory_order_acquire) != 0;
    case SPACE_SERVICES:
        return atomic_load_explicit(&sb->services[place->index].active, memory_order_acquire) != 0;
    default:
        return false;
    }
}

void registry_sweep(struct registry *registry, uint32_t oldest_generation_in_use)
{
    for (size_t kind = 0; kind < SPACE_COUNT && !registry->is_planned; kind++) {
        struct place_space *space = &registry->spaces[kind];
        struct place *next;

        for (struct place *place = space_first(space); place != NULL; place = next) {
            next = space_next(place);
            if (place->state != PLACE_RETIRED ||
                place->retired_generation > oldest_generation_in_use ||
                is_busy(registry, (enum space_kind)kind, place)) {
                continue;
            }
            if (kind == SPACE_SLOTS) {
                detach_slot(registry, place);
            }
            space_free(space, place);
        }
    }
}

/* --- birth and death --- */

struct registry *registry_create(struct scoreboard *sb)
{
    struct registry *registry = calloc(1, sizeof(*registry));
    int rc = 0;

    if (registry == NULL) {
        return NULL;
    }
    registry->sb = sb;
    for (size_t kind = 0; kind < SPACE_COUNT; kind++) {
        rc |= space_init(&registry->spaces[kind], space_infos[kind].limit, space_infos[kind].reuse);
    }
    if (rc != 0) {
        registry_destroy(registry);
        return NULL;
    }
    return registry;
}

void registry_destroy(struct registry *registry)
{
    for (size_t kind = 0; kind < SPACE_COUNT && registry != NULL; kind++) {
        space_fini(&registry->spaces[kind]);
    }
    free(registry);
}
