/*
 * What no single option of a pool or a backend can tell: names, bounds, options that need each
 * other. The rest of validate.c. In master.
 */
#include <string.h>

#include "backend.h"
#include "base/units.h"
#include "build.h"
#include "outlier.h"
#include "reuse.h"
#include "sched/sched.h"
#include "sluice/limits.h"
#include "sources.h"
#include "transparent.h"

/* --- pools --- */

static void check_scheduler(struct build *build, const struct conf_section *section,
                            const struct model_pool *pool)
{
    const char *nearest;
    char shown[SHOW_MAX];
    STR_AUTO known = {0};

    if (!validate_is_written(section, "scheduler", pool->scheduler) ||
        sched_find(pool->scheduler) != SCHED_NONE) {
        return;
    }
    nearest = units_nearest(pool->scheduler, sched_names());
    if (nearest != NULL) {
        build_fault(build, ERRLIST_ERROR, section, "scheduler", 0,
                    "%s: unknown; did you mean \"%s\"?", build_show(section, "scheduler", 0, shown),
                    nearest);
        return;
    }
    for (const char *const *name = sched_names(); *name != NULL; name++) {
        str_printf(&known, "%s\"%s\"", name == sched_names() ? "" : ", ", *name);
    }
    build_fault(build, ERRLIST_ERROR, section, "scheduler", 0, "%s: unknown; write one of %s",
                build_show(section, "scheduler", 0, shown), str_text(&known));
}

bool validate_hashes_clients(const struct model_pool *pool)
{
    uint32_t index = sched_find(pool->scheduler);

    return index != SCHED_NONE && sched_table[index]->has_table &&
           !sched_table[index]->by_destination;
}

static void check_hash_key(struct build *build, const struct conf_section *section,
                           const struct model_pool *pool)
{
    uint32_t index = sched_find(pool->scheduler);
    char shown[SHOW_MAX];

    /* What is the default anyway says nothing, and sluiced -T writes it. */
    if (index == SCHED_NONE || option_is_default(options_find(SECTION_POOL, "hash_key"), pool)) {
        return;
    }
    /* sh is the one that always takes the address alone. */
    if (!validate_hashes_clients(pool) || sched_table[index] == &sched_sh) {
        build_fault(build, ERRLIST_WARNING, section, "hash_key", 0,
                    "%s: means nothing to scheduler \"%s\"; write scheduler = \"maglev\", or leave "
                    "it out",
                    build_show(section, "hash_key", 0, shown), pool->scheduler);
    }
}

static void check_backups(struct build *build, const struct conf_section *section,
                          const struct model_pool *pool)
{
    size_t n_primaries = 0;

    for (size_t i = 0; i < pool->n_backends; i++) {
        n_primaries += pool->backends[i].backup ? 0 : 1;
    }
    if (n_primaries == pool->n_backends || pool->min_healthy <= n_primaries) {
        return;
    }
    if (n_primaries == 0) {
        build_fault(build, ERRLIST_WARNING, section, NULL, 0,
                    "every backend is a backup, so backups are in use all the time; let one of "
                    "them be none");
    } else {
        build_fault(build, ERRLIST_WARNING, section, "min_healthy", 0,
                    "%u, but only %zu of the backends are no backups, so backups are in use all "
                    "the time; write at most %zu",
                    pool->min_healthy, n_primaries, n_primaries);
    }
}

static void check_notify(struct build *build, const struct conf_section *section,
                         const struct model_pool *pool)
{
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "notify", pool->notify)) {
        return;
    }
    if (pool->notify[0] != '/') {
        build_fault(build, ERRLIST_ERROR, section, "notify", 0,
                    "%s: not an absolute path; begin it with / (there is no shell, and no search)",
                    build_show(section, "notify", 0, shown));
    } else if (strlen(pool->notify) >= NOTIFY_PROGRAM_MAX) {
        build_fault(build, ERRLIST_ERROR, section, "notify", 0,
                    "%s: %zu bytes long; at most %d are possible, so give the program a shorter "
                    "path, with a link for instance",
                    build_show(section, "notify", 0, shown), strlen(pool->notify),
                    NOTIFY_PROGRAM_MAX - 1);
    }
}

static void check_backends_file(struct build *build, const struct conf_section *section,
                                const struct model_pool *pool)
{
    char shown[SHOW_MAX];

    if (validate_is_written(section, "backends_file", pool->backends_file) &&
        pool->backends_file[0] != '/') {
        build_fault(build, ERRLIST_ERROR, section, "backends_file", 0,
                    "%s: not an absolute path; begin it with /",
                    build_show(section, "backends_file", 0, shown));
    }
}

static void check_limits(struct build *build, const struct conf_section *section,
                         const struct model_backend *backend)
{
    STR_AUTO problem = {0};
    char shown[SHOW_MAX];

    if (backend_judge_limits(backend, &problem) != 0) {
        build_fault(build, ERRLIST_ERROR, section, "resume_connections", 0, "%s: %s",
                    build_show(section, "resume_connections", 0, shown), str_text(&problem));
    }
}

static void validate_backends(struct build *build, const struct conf_section *parent,
                              struct model_pool *pool)
{
    const struct conf_section *section;
    size_t cursor = 0;
    LOOKUP_AUTO seen = {0};

    build->no_memory = build->no_memory || lookup_init(&seen, pool->n_backends) != 0;
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        section = build_next(parent, "backend", &cursor);
        validate_name(build, section);
        validate_checks(build, section, pool->backends[i].own_checks,
                        pool->backends[i].n_own_checks);
        validate_addresses(build, section, pool, i, &seen);
        check_limits(build, section, &pool->backends[i]);
    }
}

static bool names_pool(const struct conf_section *service, const char *option, const char *pool)
{
    const struct conf_option *given = conf_find(service, option);

    return given != NULL && given->n_values == 1 && strcmp(given->values[0].text, pool) == 0;
}

/* Whether the configuration that runs has the pool and no use for it either: it was told of then,
 * and is kept on purpose. */
static bool was_unused(const struct build *build, const char *pool)
{
    const struct conf_tree *running = build->running;
    const struct conf_section *service;
    size_t cursor = 0;

    if (running == NULL || conf_find_section(&running->root, "pool", pool) == NULL) {
        return false;
    }
    while ((service = build_next(&running->root, "service", &cursor)) != NULL) {
        if (names_pool(service, "pool", pool) || names_pool(service, "fallback_pool", pool)) {
            return false;
        }
    }
    return true;
}

static void validate_pool(struct build *build, const struct conf_section *section,
                          struct model_pool *pool, enum pool_use use)
{
    validate_name(build, section);
    check_scheduler(build, section, pool);
    check_hash_key(build, section, pool);
    validate_keepalive(build, section, pool->keepalive_ms);
    check_notify(build, section, pool);
    check_backends_file(build, section, pool);
    outlier_validate(build, section, &pool->outlier);
    reuse_validate(build, section, pool);
    validate_checks(build, section, pool->checks, pool->n_checks);
    validate_backends(build, section, pool);
    sources_validate(build, section, pool);
    transparent_validate_pool(build, section, pool);
    check_backups(build, section, pool);
    if (use == POOL_UNUSED && !was_unused(build, pool->name)) {
        build_fault(build, ERRLIST_WARNING, section, NULL, 0,
                    "no service uses this pool; name it in a service, or remove it");
    }
    if (pool->n_backends == 0) {
        build_fault(build, ERRLIST_WARNING, section, NULL, 0, "no backends; %s",
                    use == POOL_NEEDED ? "a service nobody can reach: every client will be reset"
                                       : "write backend \"NAME\" { address = \"HOST:PORT\" }");
    }
}

void validate_pools(struct build *build, const struct pool_names *pools)
{
    struct model *model = build->model;
    const struct conf_section *section;
    size_t cursor = 0;
    size_t n_backends = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        struct model_pool *pool = &model->pools[i];

        section = build_next(&build->tree->root, "pool", &cursor);
        validate_pool(build, section, pool, pools->use[i]);
        n_backends += pool->n_backends;
        if (n_backends > BACKENDS_MAX && n_backends - pool->n_backends <= BACKENDS_MAX) {
            validate_count(build, section, n_backends, BACKENDS_MAX,
                           "backends in the pools so far");
        }
        if (i == POOLS_MAX) {
            validate_count(build, section, model->n_pools, POOLS_MAX, "pools");
        }
    }
}
