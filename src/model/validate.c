/*
 * What no single option can tell: names that refer to each other, bounds on how many, the form of
 * texts, and configurations that are legal but serve nobody. Here of global and services, and what
 * all share; pools are in validate_pool.c. Runs after typing, also when that found errors, so it
 * takes nothing for granted that build.c reported. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "build.h"
#include "sluice/limits.h"
#include "transparent.h"

#define PRINCIPAL_MAX 32 /* bytes in a user's or group's name, as useradd has it */

void validate_count(struct build *build, const struct conf_section *section, size_t n, size_t max,
                    const char *what)
{
    if (n > max) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0, "%zu %s; at most %zu are possible", n,
                    what, max);
    }
}

void validate_name(struct build *build, const struct conf_section *section)
{
    char shown[SHOW_MAX];

    if (section->title == NULL || !conf_name_valid(section->title)) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: no usable name; write at most %d letters, digits and _ . @ : -",
                    option_show(section->title != NULL ? section->title : "", shown),
                    NAME_BYTES_MAX - 1);
    }
}

bool validate_is_written(const struct conf_section *section, const char *option, const char *value)
{
    return value != NULL && *value != '\0' && section != NULL &&
           conf_find(section, option) != NULL && conf_find(section, option)->n_values > 0;
}

void validate_network(struct build *build, const struct conf_section *section, const char *option,
                      size_t item, const char *text)
{
    const char *slash = strchr(text, '/'), *problem;
    char host[ADDR_TEXT_MAX], network[ADDR_TEXT_MAX], shown[SHOW_MAX];
    struct addr_cidr cidr;
    struct addr_ip ip;

    if (slash == NULL || addr_cidr_parse(text, &cidr, &problem) != 0) {
        return;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)(slash - text), text);
    if (addr_parse_ip(host, &ip) == 0 && memcmp(ip.bytes, cidr.ip.bytes, sizeof(ip.bytes)) != 0) {
        build_fault(build, ERRLIST_WARNING, section, option, item,
                    "%s: stands for all of %s/%u; write that, or %s alone",
                    build_show(section, option, item, shown),
                    addr_ip_format(&cidr.ip, false, network), cidr.prefix, host);
    }
}

void validate_keepalive(struct build *build, const struct conf_section *section,
                        uint32_t keepalive_ms)
{
    char shown[SHOW_MAX];

    /* TCP counts it in whole seconds. */
    if (keepalive_ms > 0 && keepalive_ms < 1000) {
        build_fault(build, ERRLIST_ERROR, section, "keepalive", 0,
                    "%s: out of range; write at least 1s, or 0s for none",
                    build_show(section, "keepalive", 0, shown));
    }
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

    if (validate_is_written(section, option, name) && !is_principal(name)) {
        build_fault(build, ERRLIST_ERROR, section, option, 0,
                    "%s: not the name of a %s; write it without @ or spaces",
                    build_show(section, option, 0, shown), option);
    }
}

static void check_control_socket(struct build *build, const struct conf_section *section,
                                 const char *path)
{
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "control_socket", path)) {
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

    bool is_word =
        strcmp(log, "stderr") == 0 || strcmp(log, "syslog") == 0 || strcmp(log, "journal") == 0;

    if (validate_is_written(section, "log", log) && !is_word && log[0] != '/') {
        build_fault(build, ERRLIST_ERROR, section, "log", 0,
                    "%s: no place for a log; write \"stderr\", \"syslog\", \"journal\" or the "
                    "absolute path of a file",
                    build_show(section, "log", 0, shown));
    }
}

static void check_state_file(struct build *build, const struct conf_section *section,
                             const char *path)
{
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "state_file", path) || strcmp(path, "none") == 0) {
        return;
    }
    if (path[0] != '/' || path[strlen(path) - 1] == '/') {
        build_fault(build, ERRLIST_ERROR, section, "state_file", 0,
                    "%s: no place for a file; write \"none\" or the absolute path of a file",
                    build_show(section, "state_file", 0, shown));
    }
}

static void check_status(struct build *build, const struct conf_section *section,
                         const struct model_global *global)
{
    const char *problem = NULL;
    struct addr address;
    struct addr_cidr cidr;
    char shown[SHOW_MAX];
    size_t n = 0;

    if (validate_is_written(section, "status", global->status)) {
        problem = validate_listen(global->status, &address);
    }
    if (problem != NULL) {
        build_fault(build, ERRLIST_ERROR, section, "status", 0, "%s: %s",
                    build_show(section, "status", 0, shown), problem);
    }
    for (; global->status_allow[n] != NULL; n++) {
        validate_network(build, section, "status_allow", n, global->status_allow[n]);
        if (global->status_allow[n][0] != '\0' &&
            addr_cidr_parse(global->status_allow[n], &cidr, &problem) != 0) {
            build_fault(build, ERRLIST_ERROR, section, "status_allow", n, "%s: %s",
                        build_show(section, "status_allow", n, shown), problem);
        }
    }
    if (n > STATUS_ALLOW_MAX) {
        build_fault(build, ERRLIST_ERROR, section, "status_allow", 0,
                    "%zu networks; at most %d are possible", n, STATUS_ALLOW_MAX);
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
    check_status(build, section, global);
    check_log(build, section, global->log);
    check_state_file(build, section, global->state_file);
    check_principals(build, section, "control_read", global->control_read);
    check_principals(build, section, "control_operate", global->control_operate);
    check_principals(build, section, "control_administer", global->control_administer);
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

/* What a pool is used for is never less than it was. index may be LOOKUP_NONE. */
static void note_use(struct pool_names *pools, uint32_t index, enum pool_use use)
{
    if (index != LOOKUP_NONE && pools->use[index] < use) {
        pools->use[index] = use;
    }
}

/* The pool's index with a pool known by it, else LOOKUP_NONE. */
static uint32_t find_pool(struct build *build, const struct conf_section *section,
                          const char *option, const char *name, struct pool_names *pools)
{
    const char *nearest;
    uint32_t index;
    char shown[SHOW_MAX];

    if (!validate_is_written(section, option, name)) {
        return LOOKUP_NONE;
    }
    index = lookup_find(&pools->by_name, name, strlen(name));
    if (index != LOOKUP_NONE) {
        return index;
    }
    nearest = units_nearest(name, pools->names);
    build_fault(build, ERRLIST_ERROR, section, option, 0,
                nearest != NULL ? "%s: no such pool; did you mean \"%s\"?"
                                : "%s: no such pool; write pool %s { … } as well",
                build_show(section, option, 0, shown), nearest != NULL ? nearest : shown);
    if (nearest != NULL) { /* most likely meant, so not unused on top of it */
        note_use(pools, lookup_find(&pools->by_name, nearest, strlen(nearest)), POOL_USED);
    }
    return LOOKUP_NONE;
}

/* Whether anybody takes the service's clients; an empty pool is its own fault. */
static void check_reach(struct build *build, const struct conf_section *section,
                        const struct model_service *service, struct pool_names *pools)
{
    const struct model *model = build->model;
    const struct model_pool *pool = &model->pools[service->pool_index];
    bool has_fallback = service->fallback_index != SNAPSHOT_NONE;
    char shown[SHOW_MAX];

    if (has_fallback && takes_sessions(&model->pools[service->fallback_index])) {
        return;
    }
    note_use(pools, service->pool_index, POOL_NEEDED);
    if (pool->n_backends > 0 && !takes_sessions(pool)) {
        build_fault(build, ERRLIST_WARNING, section, "pool", 0,
                    "%s: a service nobody can reach, every client will be reset: no backend of the "
                    "pool%s has a weight and is ready; give one a weight and admin = \"ready\"",
                    build_show(section, "pool", 0, shown),
                    has_fallback ? ", nor of the fallback pool," : "");
    }
}

static void check_pools_of(struct build *build, const struct conf_section *section,
                           struct model_service *service, struct pool_names *pools)
{
    char shown[SHOW_MAX];

    service->pool_index = find_pool(build, section, "pool", service->pool, pools);
    service->fallback_index =
        find_pool(build, section, "fallback_pool", service->fallback_pool, pools);
    note_use(pools, service->pool_index, POOL_USED);
    note_use(pools, service->fallback_index, POOL_USED);
    if (service->pool_index == LOOKUP_NONE ||
        (service->fallback_pool != NULL && service->fallback_index == LOOKUP_NONE)) {
        return;
    }
    if (service->fallback_index == service->pool_index) {
        build_fault(build, ERRLIST_ERROR, section, "fallback_pool", 0,
                    "%s: the same as pool; name another one, or leave it out",
                    build_show(section, "fallback_pool", 0, shown));
        return;
    }
    check_reach(build, section, service, pools);
}

static bool pool_hashes_clients(const struct model *model, uint32_t index)
{
    return index != LOOKUP_NONE && validate_hashes_clients(&model->pools[index]);
}

/* What tells clients apart by their address cannot where they have none. */
static void check_unix_clients(struct build *build, const struct conf_section *section,
                               const struct model_service *service)
{
    bool persists = service->persistence_ms != 0;
    bool hashes = pool_hashes_clients(build->model, service->pool_index) ||
                  pool_hashes_clients(build->model, service->fallback_index);
    size_t item = 0;
    char shown[SHOW_MAX];

    while (service->listen[item] != NULL && strncmp(service->listen[item], "unix:", 5) != 0) {
        item++;
    }
    if (service->listen[item] != NULL && (persists || hashes)) {
        build_fault(build, ERRLIST_WARNING, section, "listen", item,
                    "%s: clients of a Unix socket have no address, so for %s all of them count as "
                    "one; let another service listen there, or write %s",
                    build_show(section, "listen", item, shown),
                    persists ? "persistence" : "the scheduler",
                    persists ? "persistence = \"0s\"" : "another scheduler");
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
        validate_name(build, section);
        validate_keepalive(build, section, model->services[i].keepalive_ms);
        check_pools_of(build, section, &model->services[i], pools);
        check_unix_clients(build, section, &model->services[i]);
        transparent_validate_service(build, section, &model->services[i]);
        if (i == SERVICES_MAX) {
            validate_count(build, section, model->n_services, SERVICES_MAX, "services");
        }
    }
}

static int gather_pools(const struct model *model, struct pool_names *out)
{
    out->names = calloc(model->n_pools + 1, sizeof(*out->names));
    out->use = calloc(model->n_pools + 1, sizeof(*out->use));
    if (out->names == NULL || out->use == NULL || lookup_init(&out->by_name, model->n_pools) != 0) {
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
    free(pools.use);
}
