/*
 * Writes a planned model as one block: header, services, listeners, pools, backends, checks. A
 * pool's checks stand once, shared by its backends; a backend's own stand for themselves. In
 * master.
 */
#include "snapshot_build.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sched/sched.h"
#include "sluice/limits.h"

#define ALIGNMENT 8

/* Where everything goes, and how far the filling has come. */
struct layout {
    struct snapshot_header header;
    struct snapshot_service *services;
    struct snapshot_listener *listeners;
    struct snapshot_pool *pools;
    struct snapshot_backend *backends;
    struct snapshot_check *checks;
    uint32_t service, listener, pool, backend, check; /* filled so far */
};

static bool count(const struct model *model, struct snapshot_header *header)
{
    size_t n_listeners = 0;
    size_t n_backends = 0;
    size_t n_checks = 0;

    for (size_t i = 0; i < model->n_services; i++) {
        n_listeners += model->services[i].n_listeners;
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        n_backends += pool->n_backends;
        n_checks += pool->n_checks;
        for (size_t j = 0; j < pool->n_backends; j++) {
            n_checks += pool->backends[j].n_own_checks;
        }
    }
    if (model->n_services > SERVICES_MAX || n_listeners > LISTENERS_MAX ||
        model->n_pools > POOLS_MAX || n_backends > BACKENDS_MAX) {
        return false;
    }
    header->n_services = (uint32_t)model->n_services;
    header->n_listeners = (uint32_t)n_listeners;
    header->n_pools = (uint32_t)model->n_pools;
    header->n_backends = (uint32_t)n_backends;
    header->n_checks = (uint32_t)n_checks;
    return true;
}

static uint32_t reserve(uint64_t *size, uint32_t n, size_t bytes)
{
    uint32_t offset = (uint32_t)*size;

    *size += (uint64_t)n * bytes;
    *size = (*size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

/* Bounds on the counts keep all of it well under 4 GiB. */
static void set_offsets(struct snapshot_header *header)
{
    uint64_t size = 0;

    (void)reserve(&size, 1, sizeof(struct snapshot_header));
    header->services_offset = reserve(&size, header->n_services, sizeof(struct snapshot_service));
    header->listeners_offset =
        reserve(&size, header->n_listeners, sizeof(struct snapshot_listener));
    header->pools_offset = reserve(&size, header->n_pools, sizeof(struct snapshot_pool));
    header->backends_offset = reserve(&size, header->n_backends, sizeof(struct snapshot_backend));
    header->checks_offset = reserve(&size, header->n_checks, sizeof(struct snapshot_check));
    header->size_bytes = size;
}

static void fill_service(struct layout *layout, const struct model_service *from)
{
    struct snapshot_service *to = &layout->services[layout->service];

    *to = (struct snapshot_service){
        .row = from->row,
        .pool = from->pool_index,
        .first_listener = layout->listener,
        .n_listeners = (uint32_t)from->n_listeners,
        .idle_timeout_ms = from->idle_timeout_ms,
        .half_close_timeout_ms = from->half_close_timeout_ms,
        .keepalive_ms = from->keepalive_ms,
        .user_timeout_ms = from->user_timeout_ms,
        .max_connections = from->max_connections,
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
    for (size_t i = 0; i < from->n_listeners; i++) {
        layout->listeners[layout->listener++] = (struct snapshot_listener){
            .address = from->listeners[i].address,
            .id = from->listeners[i].id,
            .service = layout->service,
        };
    }
    layout->service++;
}

/* Returns the index of the first. */
static uint32_t fill_checks(struct layout *layout, const struct model_check *from, size_t n)
{
    uint32_t first = layout->check;

    for (size_t i = 0; i < n; i++) {
        struct snapshot_check *to = &layout->checks[layout->check++];

        *to = (struct snapshot_check){
            .interval_ms = from[i].interval_ms,
            .fast_interval_ms = from[i].fast_interval_ms,
            .down_interval_ms = from[i].down_interval_ms,
            .timeout_ms = from[i].timeout_ms,
            .rise = from[i].rise,
            .fall = from[i].fall,
            .port = from[i].port,
        };
        (void)strlcpy(to->kind, from[i].kind, sizeof(to->kind));
    }
    return first;
}

static void fill_backend(struct layout *layout, const struct model_pool *pool,
                         uint32_t first_pool_check, const struct model_backend *from)
{
    struct snapshot_backend *to = &layout->backends[layout->backend++];
    uint32_t first_own_check = fill_checks(layout, from->own_checks, from->n_own_checks);
    size_t n_checks;

    (void)model_backend_checks(pool, from, &n_checks);
    *to = (struct snapshot_backend){
        .address = from->address,
        .slot = from->slot,
        .row = from->row,
        .weight = from->weight,
        .max_connections = from->max_connections,
        .first_check = from->n_own_checks > 0 ? first_own_check : first_pool_check,
        .n_checks = (uint32_t)n_checks,
        .admin = from->admin,
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
}

static void fill_pool(struct layout *layout, const struct model_pool *from)
{
    struct snapshot_pool *to = &layout->pools[layout->pool++];
    uint32_t first_check = fill_checks(layout, from->checks, from->n_checks);

    *to = (struct snapshot_pool){
        .scheduler = sched_find(from->scheduler),
        .first_backend = layout->backend,
        .n_backends = (uint32_t)from->n_backends,
        .connect_timeout_ms = from->connect_timeout_ms,
        .retries = from->retries,
        .keepalive_ms = from->keepalive_ms,
        .user_timeout_ms = from->user_timeout_ms,
        .start = from->start,
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
    for (size_t i = 0; i < from->n_backends; i++) {
        fill_backend(layout, from, first_check, &from->backends[i]);
    }
}

void *snapshot_build(const struct model *model, uint32_t generation, size_t *out_bytes)
{
    struct layout layout = {.header = {.magic = SNAPSHOT_MAGIC,
                                       .layout = SNAPSHOT_LAYOUT,
                                       .generation = generation,
                                       .max_connections = model->global.max_connections}};
    const struct snapshot_header *header = &layout.header;
    char *bytes;

    if (!count(model, &layout.header)) {
        return NULL;
    }
    set_offsets(&layout.header);
    bytes = calloc(1, header->size_bytes);
    if (bytes == NULL) {
        return NULL;
    }
    memcpy(bytes, header, sizeof(*header));
    layout.services = (void *)(bytes + header->services_offset);
    layout.listeners = (void *)(bytes + header->listeners_offset);
    layout.pools = (void *)(bytes + header->pools_offset);
    layout.backends = (void *)(bytes + header->backends_offset);
    layout.checks = (void *)(bytes + header->checks_offset);
    for (size_t i = 0; i < model->n_services; i++) {
        fill_service(&layout, &model->services[i]);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        fill_pool(&layout, &model->pools[i]);
    }
    *out_bytes = header->size_bytes;
    return bytes;
}
