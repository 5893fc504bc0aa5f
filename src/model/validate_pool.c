/*
 * What no single option of a pool can tell, nor of its checks and backends: names, bounds,
 * addresses, options that need each other. The rest of validate.c. In master.
 */
#include <string.h>

#include "backend.h"
#include "base/units.h"
#include "build.h"
#include "sched/sched.h"
#include "sluice/limits.h"

/* --- checks --- */

static void check_kind(struct build *build, const struct conf_section *section,
                       const struct model_check *check)
{
    const char *const *kinds = build->registries->check_kinds;
    const char *nearest;
    char shown[SHOW_MAX];
    STR_AUTO known = {0};

    for (const char *const *kind = kinds; *kind != NULL; kind++) {
        if (strcmp(*kind, check->kind) == 0) {
            return;
        }
        str_printf(&known, "%s\"%s\"", kind == kinds ? "" : ", ", *kind);
    }
    nearest = units_nearest(check->kind, kinds);
    if (nearest != NULL) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: unknown kind of check; did you mean \"%s\"?",
                    option_show(check->kind, shown), nearest);
    } else {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: unknown kind of check; write one of %s, and :LABEL after it if you like",
                    option_show(check->kind, shown), str_text(&known));
    }
}

static void validate_checks(struct build *build, const struct conf_section *parent,
                            const struct model_check *checks, size_t n)
{
    const struct conf_section *section;
    size_t cursor = 0;
    char shown[SHOW_MAX];

    for (size_t i = 0; i < n; i++) {
        section = build_next(parent, "check", &cursor);
        check_kind(build, section, &checks[i]);
        if (!conf_name_valid(checks[i].title) ||
            strcmp(checks[i].title + strlen(checks[i].kind), ":") == 0) {
            build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                        "%s: no usable label; write KIND:LABEL with at most %d letters, digits "
                        "and _ . @ : -",
                        option_show(checks[i].title, shown), NAME_BYTES_MAX - 1);
        }
        if (i == CHECKS_MAX) {
            validate_count(build, section, n, CHECKS_MAX, "checks in one section");
        }
    }
}

/* --- backends --- */

static const char *parse_address(struct model_backend *backend)
{
    const char *text = backend->address_text;
    const char *problem = NULL;
    int rc;

    if (strncmp(text, "srv:", strlen("srv:")) == 0) {
        return "srv: names are not known here; write HOST:PORT, [V6]:PORT or unix:PATH";
    }
    rc = addr_parse(text, false, &backend->address, &problem);
    backend->named = rc > 0;
    if (rc < 0) {
        return problem;
    }
    if (backend->address.ip.family == ADDR_UNIX && backend->address.path[0] != '/' &&
        backend->address.path[0] != '@') {
        return "a relative path; write unix:/PATH or unix:@NAME";
    }
    return NULL;
}

/* seen: addresses of the pool so far, as written where they are names. */
static void check_address(struct build *build, const struct conf_section *section,
                          struct model_pool *pool, uint32_t index, struct lookup *seen)
{
    struct model_backend *backend = &pool->backends[index];
    const char *problem;
    uint32_t other;
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "address", backend->address_text)) {
        return;
    }
    problem = parse_address(backend);
    if (problem != NULL) {
        build_fault(build, ERRLIST_ERROR, section, "address", 0, "%s: %s",
                    build_show(section, "address", 0, shown), problem);
        return;
    }
    other = backend->named
                ? lookup_add(seen, backend->address_text, strlen(backend->address_text), index)
                : lookup_add(seen, &backend->address, sizeof(backend->address), index);
    if (other != LOOKUP_NONE) {
        build_fault(build, ERRLIST_WARNING, section, "address", 0,
                    "%s: backend \"%s\" has the same one; it gets both shares of the sessions",
                    build_show(section, "address", 0, shown), pool->backends[other].name);
    }
}

static void check_own_checks(struct build *build, const struct conf_section *section,
                             const struct model_pool *pool, const struct model_backend *backend)
{
    const struct model_check *checks;
    size_t n;
    char shown[SHOW_MAX];

    if (validate_is_written(section, "checks", backend->checks)) {
        if (strcmp(backend->checks, "none") != 0) {
            build_fault(build, ERRLIST_ERROR, section, "checks", 0,
                        "%s: unknown; write \"none\", or leave it out",
                        build_show(section, "checks", 0, shown));
        } else if (backend->n_own_checks > 0) {
            build_fault(build, ERRLIST_ERROR, section, "checks", 0,
                        "\"none\", but there are check sections below; remove one or the other");
        }
        return;
    }
    checks = model_backend_checks(pool, backend, &n);
    for (size_t i = 0; i < n && backend->address.ip.family == ADDR_UNIX; i++) {
        if (checks[i].port != 0) {
            build_fault(build, ERRLIST_ERROR, section, "address", 0,
                        "a Unix socket has no ports, but check \"%s\" wants port %u; write the "
                        "backend a check without port, or checks = \"none\"",
                        checks[i].title, checks[i].port);
        }
    }
}

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

    if (conf_find(section, "hash_key") == NULL || index == SCHED_NONE) {
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

static void check_limits(struct build *build, const struct conf_section *section,
                         const struct model_backend *backend)
{
    STR_AUTO problem = {0};
    char shown[SHOW_MAX];

    if (backend_judge_limits(backend, "resume_connections", &problem) != 0) {
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
        check_address(build, section, pool, i, &seen);
        validate_checks(build, section, pool->backends[i].own_checks,
                        pool->backends[i].n_own_checks);
        check_own_checks(build, section, pool, &pool->backends[i]);
        check_limits(build, section, &pool->backends[i]);
    }
}

static void validate_pool(struct build *build, const struct conf_section *section,
                          struct model_pool *pool, enum pool_use use)
{
    validate_name(build, section);
    check_scheduler(build, section, pool);
    check_hash_key(build, section, pool);
    validate_keepalive(build, section, pool->keepalive_ms);
    validate_checks(build, section, pool->checks, pool->n_checks);
    validate_backends(build, section, pool);
    check_backups(build, section, pool);
    if (use == POOL_UNUSED) {
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
