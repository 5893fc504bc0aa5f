/*
 * What becomes of new clients with another model, judged by the same eligibility as the workers',
 * with health as it is at this moment. Owns nothing. In master.
 */
#include "guard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "registries.h"

/* The running pool's record of that backend, or NULL: it is new, perhaps as it is elsewhere now,
 * and nothing is known of it. */
static const struct snapshot_backend *find_running(const struct standing *running, uint32_t near,
                                                   const struct model_backend *wanted)
{
    uint32_t n = running->pool->n_backends;
    for (uint32_t i = 0; i < n; i++) {
        const struct snapshot_backend *backend = &running->backends[(near + i) % n];
        if (strcmp(backend->name, wanted->name) == 0) {
            return addr_equal(&backend->address, &wanted->address) ? backend : NULL;
        }
    }
    return NULL;
}

/* The scoreboard's part that a judgement reads, with places of our own: those of running backends
 * as they are, those of new ones as they will begin. */
struct foresight {
    struct scoreboard sb;
    struct snapshot_backend *backends;
    enum sb_health new_health; /* of those that are new */
};

static bool foresight_make(struct foresight *foresight, size_t n)
{
    *foresight = (struct foresight){
        .sb = {.slots = calloc(n + 1, sizeof(struct sb_slot)),
               .slot_health = calloc(n + 1, sizeof(_Atomic uint8_t)),
               .slot_active = calloc(n + 1, sizeof(_Atomic uint32_t)),
               .slot_full = calloc(n + 1, sizeof(_Atomic uint8_t))},
        .backends = calloc(n + 1, sizeof(struct snapshot_backend)),
    };
    return foresight->sb.slots != NULL && foresight->sb.slot_health != NULL &&
           foresight->sb.slot_active != NULL && foresight->sb.slot_full != NULL &&
           foresight->backends != NULL;
}

static void foresight_free(struct foresight *foresight)
{
    free(foresight->sb.slots);
    free(foresight->sb.slot_health);
    free(foresight->sb.slot_active);
    free(foresight->sb.slot_full);
    free(foresight->backends);
}

/* What is known of a backend that goes on running. */
static void copy_place(const struct scoreboard *from, uint32_t slot, struct scoreboard *to,
                       uint32_t i)
{
    atomic_store(&to->slot_health[i], atomic_load(&from->slot_health[slot]));
    atomic_store(&to->slots[i].asked_admin, atomic_load(&from->slots[slot].asked_admin));
    atomic_store(&to->slots[i].asked_permille, atomic_load(&from->slots[slot].asked_permille));
    atomic_store(&to->slots[i].ejected_until_ms, atomic_load(&from->slots[slot].ejected_until_ms));
}

static void foresee_backend(const struct scoreboard *sb, const struct snapshot_backend *now,
                            const struct model_pool *wanted, uint32_t i,
                            struct foresight *foresight)
{
    const struct model_backend *backend = &wanted->backends[i];
    size_t n_checks;
    (void)model_backend_checks(wanted, backend, &n_checks);
    foresight->backends[i] = (struct snapshot_backend){.address = backend->address,
                                                       .slot = i,
                                                       .weight = backend->weight,
                                                       .n_checks = (uint32_t)n_checks,
                                                       .admin = backend->admin,
                                                       .said_health = backend->said_health,
                                                       .backup = backend->backup};
    if (now != NULL) {
        copy_place(sb, now->slot, &foresight->sb, i);
    } else {
        atomic_store(&foresight->sb.slot_health[i], (uint8_t)foresight->new_health);
    }
}

/* As health of a new backend is before its first check. */
static enum sb_health first_health(const struct model_pool *pool)
{
    static const enum sb_health begins[START_COUNT] = {[START_UNKNOWN] = SB_HEALTH_UNKNOWN,
                                                       [START_UP] = SB_HEALTH_UP,
                                                       [START_DOWN] = SB_HEALTH_DOWN};
    return begins[pool->start];
}

/* How many backends would take new clients with what the new model says, if those that are new have
 * that health. False without memory. */
static bool foresee_takers(const struct master *master, const struct standing *running,
                           const struct model_pool *wanted, enum sb_health new_health,
                           uint32_t *out_takers)
{
    struct foresight foresight;
    struct snapshot_pool pool = *running->pool;
    struct standing standing;
    bool made = foresight_make(&foresight, wanted->n_backends);
    foresight.new_health = new_health;
    pool.n_backends = (uint32_t)wanted->n_backends;
    pool.min_healthy = wanted->min_healthy;
    pool.panic_threshold = wanted->panic_threshold;
    pool.backup_use = wanted->backup_use;
    for (uint32_t i = 0; made && i < wanted->n_backends; i++) {
        const struct snapshot_backend *now = find_running(running, i, &wanted->backends[i]);
        foresee_backend(&master->sb, now, wanted, i, &foresight);
    }
    if (made) {
        standing_judge(&pool, foresight.backends, &foresight.sb, &standing);
        *out_takers = standing.takers;
    }
    foresight_free(&foresight);
    return made;
}

/* What becomes of new clients of those who use the pool. */
static void list_services(const struct model *model, const char *pool, struct str *out)
{
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        if (strcmp(service->pool, pool) != 0) {
            continue;
        }
        str_printf(out, "; new clients of service \"%s\" would be ", service->name);
        if (service->fallback_pool != NULL) {
            str_printf(out, "sent to its fallback pool \"%s\"", service->fallback_pool);
        } else {
            str_append(out, "refused");
        }
    }
}

/* What becomes of those who are there. */
static void list_sessions(const struct master *master, uint32_t index, struct str *out)
{
    const struct snapshot_pool *pool = &snapshot_pools(master->running)[index];
    const struct snapshot_backend *backends =
        snapshot_backends(master->running) + pool->first_backend;
    uint64_t n = 0;
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        n += atomic_load_explicit(&master->sb.slot_active[backends[i].slot], memory_order_relaxed);
    }
    if (n > 0) {
        str_printf(out, "; its %" PRIu64 " %s on", n, n == 1 ? "session goes" : "sessions go");
    }
}

/* How many of the pool's backends take new clients now, and how many would. False without memory,
 * with out_problem filled. */
static bool count_takers(const struct master *master, const struct model *model, uint32_t index,
                         uint32_t *out_before, uint32_t *out_after, struct str *out_problem)
{
    struct standing before;
    standing_of(master->running, index, &master->sb, &before);
    *out_before = before.takers;
    *out_after = 0;
    const struct model_pool *pool = &model->pools[index];
    if (!foresee_takers(master, &before, pool, first_health(pool), out_after)) {
        str_append(out_problem, "out of memory; nothing was changed");
        return false;
    }
    return true;
}

static bool permits_pool(const struct master *master, const struct model *model, uint32_t index,
                         struct str *out_problem)
{
    uint32_t before;
    uint32_t after;
    if (!count_takers(master, model, index, &before, &after, out_problem)) {
        return false;
    }
    if (before == 0 || after > 0) {
        return true;
    }
    str_printf(out_problem, "this would take away the last eligible backend of pool \"%s\"",
               model->pools[index].name);
    list_sessions(master, index, out_problem);
    list_services(model, model->pools[index].name, out_problem);
    str_append(out_problem, "; make another backend ready first, or end the command with force");
    return false;
}

/* Whether the service's clients are taken by anybody: now (out_before), and then. */
static bool count_service(const struct master *master, const struct model *model, uint32_t index,
                          uint32_t *out_before, uint32_t *out_after, struct str *out_problem)
{
    const struct model_service *both[] = {&master->model->services[index], &model->services[index]};
    *out_before = 0;
    *out_after = 0;
    for (size_t i = 0; i < 2; i++) {
        const uint32_t pools[] = {both[i]->pool_index, both[i]->fallback_index};
        for (size_t j = 0; j < 2; j++) {
            uint32_t before = 0;
            uint32_t after = 0;
            if (pools[j] != SNAPSHOT_NONE &&
                !count_takers(master, model, pools[j], &before, &after, out_problem)) {
                return false;
            }
            *out_before += i == 0 ? before : 0;
            *out_after += i == 1 ? after : 0;
        }
    }
    return true;
}

/* A service that is itself taken away. */
static bool permits_admin(const struct master *master, const struct model *model, uint32_t index,
                          struct str *out_problem)
{
    const struct model_service *was = &master->model->services[index];
    const struct model_service *now = &model->services[index];
    uint32_t active =
        atomic_load_explicit(&master->sb.services[was->row].active, memory_order_relaxed);
    if (now->admin == ADMIN_READY || now->admin <= was->admin) {
        return true;
    }
    str_printf(out_problem,
               "this would take service \"%s\" away: %s; its %" PRIu32 " %s on; end the command "
               "with force if that is meant",
               now->name,
               now->admin == ADMIN_MAINTENANCE
                   ? "new clients would be reset, and its health answer would say no"
                   : "its health answer would say no, so that whoever asks sends clients elsewhere",
               active, active == 1 ? "session goes" : "sessions go");
    return false;
}

/* A service that is sent to other pools: what becomes of its own is judged by the pool. */
static bool permits_pools(const struct master *master, const struct model *model, uint32_t index,
                          struct str *out_problem)
{
    const struct model_service *was = &master->model->services[index];
    const struct model_service *now = &model->services[index];
    uint32_t before;
    uint32_t after;
    if (was->pool_index == now->pool_index && was->fallback_index == now->fallback_index) {
        return true;
    }
    if (!count_service(master, model, index, &before, &after, out_problem)) {
        return false;
    }
    if (before == 0 || after > 0) {
        return true;
    }
    str_printf(out_problem,
               "pool \"%s\" has no eligible backend: new clients of service \"%s\" would be "
               "refused; make a backend of it ready first, or end the command with force",
               now->pool, now->name);
    return false;
}

bool guard_loses_pool(const struct master *master, const struct model *model, uint32_t index)
{
    struct standing before;
    uint32_t after = 0;
    standing_of(master->running, index, &master->sb, &before);
    return before.takers > 0 &&
           (!foresee_takers(master, &before, &model->pools[index], SB_HEALTH_UP, &after) ||
            after == 0);
}

bool guard_permits(const struct master *master, const struct model *model, struct str *out_problem)
{
    for (uint32_t i = 0; i < model->n_pools; i++) {
        if (!permits_pool(master, model, i, out_problem)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < model->n_services; i++) {
        if (!permits_admin(master, model, i, out_problem) ||
            !permits_pools(master, model, i, out_problem)) {
            return false;
        }
    }
    return true;
}

/* --- when what was set for a time has ended --- */

/* The model as it will be then. NULL without memory, or where the file's alone is none. */
static struct model *build_ended(const struct master *master, const struct overrides *overrides)
{
    struct errlist ignored = {0};
    struct overrides left = {0};
    struct overrides kept = {0};
    struct model *file_model = model_build(master->tree, &daemon_registries, &ignored);
    struct model *model = NULL;
    if (file_model != NULL && overrides_copy(&left, overrides) == 0 &&
        overrides_expire(&left, UINT64_MAX) == 0) {
        model = overrides_rebuild(&left, master->tree, &master->names, file_model,
                                  &daemon_registries, &kept, &ignored);
    }
    model_free(file_model);
    overrides_free(&left);
    overrides_free(&kept);
    errlist_free(&ignored);
    return model;
}

static bool has_takers(const struct master *master, const struct model *model, uint32_t index)
{
    struct standing running;
    uint32_t takers = 0;
    standing_of(master->running, index, &master->sb, &running);
    const struct model_pool *pool = &model->pools[index];
    return foresee_takers(master, &running, pool, first_health(pool), &takers) && takers > 0;
}

/* Whether a backend with that is eligible, as far as it goes. */
static bool is_good(const char *option, const char *value)
{
    return (strcmp(option, "admin") == 0 && strcmp(value, "ready") == 0) ||
           (strcmp(option, "weight") == 0 && strcmp(value, "0") != 0) ||
           (strcmp(option, "health") == 0 && strcmp(value, "up") == 0);
}

/* Of what makes a backend of the pool eligible and will not any more, what ends last; NULL: it is
 * not so simple. */
static const struct override *find_end(const struct model *after, const struct overrides *overrides,
                                       const char *pool)
{
    const struct override *last = NULL;
    for (size_t i = 0; i < overrides->count; i++) {
        const struct override *item = &overrides->items[i];
        STR_AUTO then = {0};
        if (item->until_ms != 0 && item->backend != NULL && strcmp(item->pool, pool) == 0 &&
            is_good(item->option, item->value) && override_get(after, item, &then) &&
            !is_good(item->option, str_text(&then)) &&
            (last == NULL || item->until_ms > last->until_ms)) {
            last = item;
        }
    }
    return last;
}

static void tell_end(const struct model *after, const struct overrides *overrides, const char *pool,
                     struct str *out)
{
    const struct override *end = find_end(after, overrides, pool);
    uint64_t now_ms = clock_now_ms();
    char in[UNITS_TEXT_MAX];
    str_printf(out, "pool \"%s\" would have no eligible backend once ", pool);
    if (end != NULL) {
        uint64_t in_ms = end->until_ms > now_ms ? end->until_ms - now_ms : 0;
        str_printf(out, "%s=%s of backend \"%s\" ends in %s", end->option, end->value, end->backend,
                   units_format_time((in_ms + 999) / 1000 * 1000, in));
    } else {
        str_append(out, "what was set with for= has ended");
    }
    list_services(after, pool, out);
    str_append(out, "; set it without for=, or end the command with force");
}

bool guard_permits_ends(const struct master *master, const struct overrides *overrides,
                        struct str *out_problem)
{
    if (overrides_next_end(overrides) == NULL) {
        return true;
    }
    struct model *before = build_ended(master, &master->overrides);
    struct model *after = build_ended(master, overrides);
    bool permits = true;
    for (uint32_t i = 0; before != NULL && after != NULL && i < after->n_pools && permits; i++) {
        permits = !has_takers(master, before, i) || has_takers(master, after, i);
        if (!permits) {
            tell_end(after, overrides, after->pools[i].name, out_problem);
        }
    }
    model_free(before);
    model_free(after);
    return permits;
}
