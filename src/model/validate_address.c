/*
 * Where a backend's sessions go and where its checks look, and whether checks can look there. The
 * rest of validate_pool.c. In master.
 */
#include <string.h>

#include "build.h"
#include "names.h"

/* --- what is written --- */

/* What cannot be connected to. */
static const char *judge_peer(const struct addr *address)
{
    if (address->ip.family == ADDR_UNIX) {
        return address->path[0] != '/' && address->path[0] != '@'
                   ? "a relative path; write unix:/PATH or unix:@NAME"
                   : NULL;
    }
    return address->ip.family != ADDR_NONE ? addr_ip_judge_peer(&address->ip) : NULL;
}

static const char *parse_address(struct model_backend *backend)
{
    const char *text = backend->address_text;
    const char *problem = NULL;
    int rc;

    if (strncmp(text, "srv:", strlen("srv:")) == 0) {
        backend->named = true;
        return names_judge_srv(text);
    }
    rc = addr_parse(text, false, &backend->address, &problem);
    backend->named = rc > 0;
    return rc < 0 ? problem : judge_peer(&backend->address);
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

/* As an address, but that its port may be left out: then it is 0. */
static const char *parse_check_address(struct build *build, struct model_backend *backend)
{
    const char *text = backend->check_address_text;
    const char *problem = NULL;
    size_t len = strlen(text);
    bool has_port = text[0] == '[' ? text[len - 1] != ']' : strchr(text, ':') != NULL;
    STR_AUTO whole = {0};
    int rc;

    str_printf(&whole, "%s%s", text, has_port ? "" : ":0");
    build->no_memory = build->no_memory || whole.failed;
    rc = addr_parse(str_text(&whole), !has_port, &backend->check_address, &problem);
    if (rc > 0) {
        return "a name, and names are not looked up here; write a numeric address, such as "
               "192.0.2.1 or 192.0.2.1:80, or unix:/PATH";
    }
    return rc < 0 ? problem : judge_peer(&backend->check_address);
}

static void check_check_address(struct build *build, const struct conf_section *section,
                                struct model_backend *backend)
{
    const char *problem;
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "check_address", backend->check_address_text)) {
        return;
    }
    problem = parse_check_address(build, backend);
    if (problem != NULL) {
        backend->check_address = (struct addr){0};
        build_fault(build, ERRLIST_ERROR, section, "check_address", 0, "%s: %s",
                    build_show(section, "check_address", 0, shown), problem);
    }
}

static void check_checks(struct build *build, const struct conf_section *section,
                         const struct model_backend *backend)
{
    char shown[SHOW_MAX];

    if (!validate_is_written(section, "checks", backend->checks)) {
        return;
    }
    if (strcmp(backend->checks, "none") != 0) {
        build_fault(build, ERRLIST_ERROR, section, "checks", 0,
                    "%s: unknown; write \"none\", or leave it out",
                    build_show(section, "checks", 0, shown));
    } else if (backend->n_own_checks > 0) {
        build_fault(build, ERRLIST_ERROR, section, "checks", 0,
                    "\"none\", but there are check sections below; remove one or the other");
    }
}

/* --- what goes together --- */

/* Where the checks look, and the option that says so. */
struct target {
    const char *option;
    struct addr address;
    bool has_port; /* or will have, once the backend's name is looked up */
};

static bool opens_connections(const struct model_check *check)
{
    return option_is_for(options_find(SECTION_CHECK, "source"), check->kind);
}

static void check_port(struct build *build, const struct conf_section *section,
                       const struct target *target, const struct model_check *check)
{
    if (target->address.ip.family == ADDR_UNIX && check->port != 0) {
        build_fault(build, ERRLIST_ERROR, section, target->option, 0,
                    "a Unix socket has no ports, but check \"%s\" wants port %u; write the "
                    "backend a check without port, or checks = \"none\"",
                    check->title, check->port);
    } else if (target->address.ip.family != ADDR_UNIX && !target->has_port && check->port == 0 &&
               opens_connections(check)) {
        build_fault(build, ERRLIST_ERROR, section, target->option, 0,
                    "no port, and the backend's Unix socket has none either for check \"%s\"; "
                    "write one after the address",
                    check->title);
    }
}

static void check_source(struct build *build, const struct conf_section *section,
                         const struct target *target, const struct model_check *check)
{
    const struct option_def *source = options_find(SECTION_CHECK, "source");
    struct addr_ip ip;
    STR_AUTO shown = {0};

    if (check->source == NULL || addr_parse_ip(check->source, &ip) != 0 ||
        target->address.ip.family == ADDR_UNIX || target->address.ip.family == ip.family) {
        return;
    }
    option_format(source, check, 0, &shown);
    build_fault(build, ERRLIST_ERROR, section, target->option, 0,
                "%s cannot be reached from %s, the source of check \"%s\"; write the backend a "
                "check with another one",
                ip.family == ADDR_IPV4 ? "an IPv6 address" : "an IPv4 address", str_text(&shown),
                check->title);
}

static void check_target(struct build *build, const struct conf_section *section,
                         const struct model_pool *pool, const struct model_backend *backend)
{
    struct target target = {.option = "check_address",
                            .address = backend->check_address,
                            .has_port = backend->check_address.ip.port != 0 ||
                                        backend->address.ip.family != ADDR_UNIX};
    const struct model_check *checks;
    char shown[SHOW_MAX];
    size_t n;

    checks = model_backend_checks(pool, backend, &n);
    if (target.address.ip.family == ADDR_NONE) {
        target =
            (struct target){.option = "address", .address = backend->address, .has_port = true};
    } else if (n == 0) {
        build_fault(build, ERRLIST_WARNING, section, "check_address", 0,
                    "%s: nothing looks there, for the backend has no checks; write a check, or "
                    "leave this out",
                    build_show(section, "check_address", 0, shown));
    }
    for (size_t i = 0; i < n && target.address.ip.family != ADDR_NONE; i++) {
        check_port(build, section, &target, &checks[i]);
        check_source(build, section, &target, &checks[i]);
    }
}

void validate_addresses(struct build *build, const struct conf_section *section,
                        struct model_pool *pool, uint32_t index, struct lookup *seen)
{
    struct model_backend *backend = &pool->backends[index];

    check_address(build, section, pool, index, seen);
    check_check_address(build, section, backend);
    check_checks(build, section, backend);
    check_target(build, section, pool, backend);
}
