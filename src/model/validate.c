/*
 * What no single option can tell: names that refer to each other, bounds on how many, the form of
 * texts, and configurations that are legal but serve nobody. Runs after typing, also when that
 * found errors, so it takes nothing for granted that build.c reported. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "build.h"
#include "sched/sched.h"
#include "sluice/limits.h"

#define PRINCIPAL_MAX 32 /* bytes in a user's or group's name, as useradd has it */

/* What the walk over services leaves for the walk over pools. */
struct pool_names {
    struct lookup by_name; /* to the pool's index */
    const char **names;    /* of all pools, ends with NULL */
    bool *used;            /* by pool index */
};

static void check_count(struct build *build, const struct conf_section *section, size_t n,
                        size_t max, const char *what)
{
    if (n > max) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0, "%zu %s; at most %zu are possible", n,
                    what, max);
    }
}

static void check_name(struct build *build, const struct conf_section *section)
{
    char shown[SHOW_MAX];

    if (section->title == NULL || !conf_name_valid(section->title)) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: no usable name; write at most %d letters, digits and _ . @ : -",
                    option_show(section->title != NULL ? section->title : "", shown),
                    NAME_BYTES_MAX - 1);
    }
}

/* Whether the section says something for the option, and it is not empty (reported already). */
static bool is_written(const struct conf_section *section, const char *option, const char *value)
{
    return value != NULL && *value != '\0' && section != NULL &&
           conf_find(section, option) != NULL && conf_find(section, option)->n_values > 0;
}

/* --- global --- */

static bool is_principal(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.-";
    size_t len = strspn(text, allowed);

    if (len == 0 || len > PRINCIPAL_MAX || text[0] == '-') {
        return false;
    }
    return text[len] == '\0' || strcmp(text + len, "$") == 0;
}

static void check_principals(struct build *build, const struct conf_section *section,
                             const char *option, char *const *list)
{
    char shown[SHOW_MAX];

    for (size_t i = 0; list[i] != NULL; i++) {
        if (list[i][0] != '\0' && !is_principal(list[i][0] == '@' ? list[i] + 1 : list[i])) {
            build_fault(build, ERRLIST_ERROR, section, option, i,
                        "%s: not the name of a user; write a user, or a @group",
                        build_show(section, option, i, shown));
        }
    }
}

static void check_account(struct build *build, const struct conf_section *section,
                          const char *option, const char *name)
{
    char shown[SHOW_MAX];

    if (is_written(section, option, name) && !is_principal(name)) {
        build_fault(build, ERRLIST_ERROR, section, option, 0,
                    "%s: not the name of a %s; write it without @ or spaces",
                    build_show(section, option, 0, shown), option);
    }
}

static void check_control_socket(struct build *build, const struct conf_section *section,
                                 const char *path)
{
    char shown[SHOW_MAX];

    if (!is_written(section, "control_socket", path)) {
        return;
    }
    if (path[0] != '/') {
        build_fault(build, ERRLIST_ERROR, section, "control_socket", 0,
                    "%s: not an absolute path; begin it with /",
                    build_show(section, "control_socket", 0, shown));
    } else if (strlen(path) >= ADDR_UNIX_MAX) {
        build_fault(build, ERRLIST_ERROR, section, "control_socket", 0,
                    "%s: path too long for a socket; at most %d bytes",
                    build_show(section, "control_socket", 0, shown), ADDR_UNIX_MAX - 1);
    }
}

static void check_log(struct build *build, const struct conf_section *section, const char *log)
{
    char shown[SHOW_MAX];

    if (is_written(section, "log", log) && strcmp(log, "stderr") != 0 && log[0] != '/') {
        build_fault(build, ERRLIST_ERROR, section, "log", 0,
                    "%s: no place for a log; write \"stderr\" or the absolute path of a file",
                    build_show(section, "log", 0, shown));
    }
}

static void validate_global(struct build *build)
{
    const struct model_global *global = &build->model->global;
    size_t cursor = 0;
    const struct conf_section *section = build_next(&build->tree->root, "global", &cursor);

    check_account(build, section, "user", global->user);
    check_account(build, section, "group", global->group);
    check_control_socket(build, section, global->control_socket);
    check_log(build, section, global->log);
    check_principals(build, section, "control_read", global->control_read);
    check_principals(build, section, "control_operate", global->control_operate);
    check_principals(build, section, "control_administer", global->control_administer);
}

/* --- times that TCP counts in whole seconds --- */

static void check_keepalive(struct build *build, const struct conf_section *section,
                            uint32_t keepalive_ms)
{
    char shown[SHOW_MAX];

    if (keepalive_ms > 0 && keepalive_ms < 1000) {
        build_fault(build, ERRLIST_ERROR, section, "keepalive", 0,
                    "%s: out of range; write at least 1s, or 0s for none",
                    build_show(section, "keepalive", 0, shown));
    }
}

/* --- services --- */

static bool takes_sessions(const struct model_pool *pool)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        if (pool->backends[i].weight > 0 && pool->backends[i].admin == ADMIN_READY) {
            return true;
        }
    }
    return false;
}

static void check_pool_of(struct build *build, const struct conf_section *section,
                          struct model_service *service, struct pool_names *pools)
{
    const struct model_pool *pool;
    const char *nearest;
    char shown[SHOW_MAX];

    if (!is_written(section, "pool", service->pool)) {
        return;
    }
    service->pool_index = lookup_find(&pools->by_name, service->pool, strlen(service->pool));
    if (service->pool_index == LOOKUP_NONE) {
        nearest = units_nearest(service->pool, pools->names);
        build_fault(build, ERRLIST_ERROR, section, "pool", 0,
                    nearest != NULL ? "%s: no such pool; did you mean \"%s\"?"
                                    : "%s: no such pool; write pool %s { … } as well",
                    build_show(section, "pool", 0, shown), nearest != NULL ? nearest : shown);
        if (nearest != NULL) { /* most likely meant, so not unused on top of it */
            pools->used[lookup_find(&pools->by_name, nearest, strlen(nearest))] = true;
        }
        return;
    }
    pools->used[service->pool_index] = true;
    pool = &build->model->pools[service->pool_index];
    if (pool->n_backends > 0 && !takes_sessions(pool)) {
        build_fault(build, ERRLIST_WARNING, section, "pool", 0,
                    "%s: a service nobody can reach, every client will be reset: no backend of the "
                    "pool has a weight and is ready; give one a weight and admin = \"ready\"",
                    build_show(section, "pool", 0, shown));
    }
}

static void validate_services(struct build *build, struct pool_names *pools)
{
    struct model *model = build->model;
    const struct conf_section *root = &build->tree->root;
    const struct conf_section *section;
    size_t cursor = 0;

    if (model->n_services == 0) {
        errlist_add(build->errors, ERRLIST_ERROR, model->files[0], 0, NULL,
                    "no service; write service \"NAME\" { listen = { \"ADDRESS:PORT\" } pool = "
                    "\"POOL\" }");
    }
    for (size_t i = 0; i < model->n_services; i++) {
        section = build_next(root, "service", &cursor);
        check_name(build, section);
        check_keepalive(build, section, model->services[i].keepalive_ms);
        check_pool_of(build, section, &model->services[i], pools);
        if (i == SERVICES_MAX) {
            check_count(build, section, model->n_services, SERVICES_MAX, "services");
        }
    }
}

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
            check_count(build, section, n, CHECKS_MAX, "checks in one section");
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

    if (!is_written(section, "address", backend->address_text)) {
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

    if (is_written(section, "checks", backend->checks)) {
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

    if (!is_written(section, "scheduler", pool->scheduler) ||
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

static void validate_backends(struct build *build, const struct conf_section *parent,
                              struct model_pool *pool)
{
    const struct conf_section *section;
    size_t cursor = 0;
    LOOKUP_AUTO seen = {0};

    build->no_memory = build->no_memory || lookup_init(&seen, pool->n_backends) != 0;
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        section = build_next(parent, "backend", &cursor);
        check_name(build, section);
        check_address(build, section, pool, i, &seen);
        validate_checks(build, section, pool->backends[i].own_checks,
                        pool->backends[i].n_own_checks);
        check_own_checks(build, section, pool, &pool->backends[i]);
    }
}

static void validate_pool(struct build *build, const struct conf_section *section,
                          struct model_pool *pool, bool used)
{
    check_name(build, section);
    check_scheduler(build, section, pool);
    check_keepalive(build, section, pool->keepalive_ms);
    validate_checks(build, section, pool->checks, pool->n_checks);
    validate_backends(build, section, pool);
    if (!used) {
        build_fault(build, ERRLIST_WARNING, section, NULL, 0,
                    "no service uses this pool; name it in a service, or remove it");
    }
    if (pool->n_backends == 0) {
        build_fault(build, ERRLIST_WARNING, section, NULL, 0, "no backends; %s",
                    used ? "a service nobody can reach: every client will be reset"
                         : "write backend \"NAME\" { address = \"HOST:PORT\" }");
    }
}

static void validate_pools(struct build *build, const struct pool_names *pools)
{
    struct model *model = build->model;
    const struct conf_section *section;
    size_t cursor = 0;
    size_t n_backends = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        struct model_pool *pool = &model->pools[i];

        section = build_next(&build->tree->root, "pool", &cursor);
        validate_pool(build, section, pool, pools->used[i]);
        n_backends += pool->n_backends;
        if (n_backends > BACKENDS_MAX && n_backends - pool->n_backends <= BACKENDS_MAX) {
            check_count(build, section, n_backends, BACKENDS_MAX, "backends in the pools so far");
        }
        if (i == POOLS_MAX) {
            check_count(build, section, model->n_pools, POOLS_MAX, "pools");
        }
    }
}

static int gather_pools(const struct model *model, struct pool_names *out)
{
    out->names = calloc(model->n_pools + 1, sizeof(*out->names));
    out->used = calloc(model->n_pools + 1, sizeof(*out->used));
    if (out->names == NULL || out->used == NULL ||
        lookup_init(&out->by_name, model->n_pools) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < model->n_pools; i++) {
        out->names[i] = model->pools[i].name;
        (void)lookup_add(&out->by_name, out->names[i], strlen(out->names[i]), i);
    }
    return 0;
}

void validate_model(struct build *build)
{
    struct pool_names pools = {0};

    if (gather_pools(build->model, &pools) == 0) {
        validate_global(build);
        validate_services(build, &pools);
        validate_pools(build, &pools);
    } else {
        build->no_memory = true;
    }
    lookup_fini(&pools.by_name);
    free(pools.names);
    free(pools.used);
}
