/*
 * What becomes of new clients with another model, judged by the same eligibility as the workers',
 * with health as it is at this moment. Owns nothing. In master.
 */
#include "guard.h"

#include <stdlib.h>
#include <string.h>

/* The running pool's record of that backend, or NULL: it is new, and nothing is known of it. */
static const struct snapshot_backend *find_running(const struct standing *running, uint32_t near,
                                                   const char *name)
{
    uint32_t n = running->pool->n_backends;
    for (uint32_t i = 0; i < n; i++) {
        const struct snapshot_backend *backend = &running->backends[(near + i) % n];
        if (strcmp(backend->name, name) == 0) {
            return backend;
        }
    }
    return NULL;
}

/* How many of the running pool's backends would take new clients with what the new model says.
 * False without memory. */
static bool foresee_takers(const struct master *master, const struct standing *running,
                           const struct model_pool *wanted, uint32_t *out_takers)
{
    struct snapshot_backend *backends = calloc(wanted->n_backends + 1, sizeof(*backends));
    struct snapshot_pool pool = *running->pool;
    struct standing standing;
    if (backends == NULL) {
        return false;
    }
    pool.n_backends = 0;
    pool.min_healthy = wanted->min_healthy;
    pool.panic_threshold = wanted->panic_threshold;
    pool.backup_use = wanted->backup_use;
    for (uint32_t i = 0; i < wanted->n_backends; i++) {
        const struct model_backend *backend = &wanted->backends[i];
        const struct snapshot_backend *now = find_running(running, i, backend->name);
        if (now != NULL) {
            struct snapshot_backend *then = &backends[pool.n_backends++];
            *then = *now;
            then->weight = backend->weight;
            then->admin = backend->admin;
            then->backup = backend->backup;
        }
    }
    standing_judge(&pool, backends, &master->sb, &standing);
    *out_takers = standing.takers;
    free(backends);
    return true;
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

/* How many of the pool's backends take new clients now, and how many would. False without memory,
 * with out_problem filled. */
static bool count_takers(const struct master *master, const struct model *model, uint32_t index,
                         uint32_t *out_before, uint32_t *out_after, struct str *out_problem)
{
    struct standing before;
    standing_of(master->running, index, &master->sb, &before);
    *out_before = before.takers;
    *out_after = 0;
    if (!foresee_takers(master, &before, &model->pools[index], out_after)) {
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

/* A service that is sent to other pools: what becomes of its own is judged by the pool. */
static bool permits_service(const struct master *master, const struct model *model, uint32_t index,
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
    STR_AUTO problem = {0};
    return !permits_pool(master, model, index, &problem);
}

bool guard_permits(const struct master *master, const struct model *model, struct str *out_problem)
{
    for (uint32_t i = 0; i < model->n_pools; i++) {
        if (!permits_pool(master, model, i, out_problem)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < model->n_services; i++) {
        if (!permits_service(master, model, i, out_problem)) {
            return false;
        }
    }
    return true;
}
