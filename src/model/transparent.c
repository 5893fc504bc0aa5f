/* Judging what does not go with transparent pools. Owns nothing. In master. */
#include "transparent.h"

#include <string.h>

#include "sluice/snapshot.h"

static void check_reuse(struct build *build, const struct conf_section *section,
                        const struct model_pool *pool)
{
    size_t cursor = 0;

    if (pool->reuse.mode == REUSE_OFF) {
        return;
    }
    build_fault(build, ERRLIST_ERROR, build_next(section, "reuse", &cursor), "mode", 0,
                "the pool is transparent: a connection from one client's address is no other "
                "client's; write mode = \"off\", or transparent = false in the pool");
}

static void check_sources(struct build *build, const struct conf_section *section,
                          const struct model_pool *pool)
{
    if (pool->source_addresses != NULL && pool->source_addresses[0] != NULL) {
        build_fault(build, ERRLIST_ERROR, section, "source_addresses", 0,
                    "the pool is transparent, so it connects from clients' addresses; leave "
                    "source_addresses out, or write transparent = false");
    }
}

static void check_backends(struct build *build, const struct conf_section *section,
                           const struct model_pool *pool)
{
    const struct conf_section *backend;
    size_t cursor = 0;
    char shown[SHOW_MAX];

    for (size_t i = 0; i < pool->n_backends; i++) {
        backend = build_next(section, "backend", &cursor);
        if (pool->backends[i].address.ip.family == ADDR_UNIX) {
            build_fault(build, ERRLIST_ERROR, backend, "address", 0,
                        "%s: the pool is transparent, and nothing is connected to a Unix socket "
                        "from an address; write HOST:PORT, or transparent = false in the pool",
                        build_show(backend, "address", 0, shown));
        }
    }
}

void transparent_validate_pool(struct build *build, const struct conf_section *section,
                               const struct model_pool *pool)
{
    if (pool->transparent) {
        check_reuse(build, section, pool);
        check_sources(build, section, pool);
        check_backends(build, section, pool);
    }
}

static bool is_transparent(const struct model *model, uint32_t index)
{
    return index < model->n_pools && model->pools[index].transparent;
}

void transparent_validate_service(struct build *build, const struct conf_section *section,
                                  const struct model_service *service)
{
    bool is_primary = is_transparent(build->model, service->pool_index);
    char shown[SHOW_MAX];

    if (!is_primary && !is_transparent(build->model, service->fallback_index)) {
        return;
    }
    for (size_t i = 0; service->listen[i] != NULL; i++) {
        if (strncmp(service->listen[i], "unix:", strlen("unix:")) == 0) {
            build_fault(build, ERRLIST_ERROR, section, "listen", i,
                        "%s: clients of a Unix socket have no address that pool \"%s\", which is "
                        "transparent, could connect from; let a service with another pool listen "
                        "there, or write transparent = false in the pool",
                        build_show(section, "listen", i, shown),
                        is_primary ? service->pool : service->fallback_pool);
        }
    }
}
