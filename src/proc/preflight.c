/* Checks a configuration against this machine. Owns nothing. In master and in sluiced -t. */
#include "preflight.h"

#include <ifaddrs.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "folder.h"
#include "machine.h"
#include "model/sources.h"

/* " (NXDOMAIN)", or "" where it is not known. Answers that are there were of no use. */
static void print_trouble(const struct names *names, const char *address, struct str *out)
{
    STR_AUTO name = {0};
    const struct names_entry *entry =
        names_take(address, &name) ? names_find(names, str_text(&name)) : NULL;
    if (entry != NULL && entry->n == 0 && entry->trouble != NULL) {
        str_printf(out, " (%s)", entry->trouble);
    } else if (entry != NULL && entry->n > 0 && addr_ip_judge_peer(&entry->answers[0].ip) != NULL) {
        char text[ADDR_TEXT_MAX];
        str_printf(out, " (%s, where nobody can be reached)",
                   addr_ip_format(&entry->answers[0].ip, false, text));
    }
}

void preflight_names(const struct model *model, const struct names *names, bool strict,
                     struct errlist *errors)
{
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];
        for (size_t j = 0; j < pool->n_backends; j++) {
            const struct model_backend *backend = &pool->backends[j];
            if (!backend->named || backend->address.ip.family != ADDR_NONE) {
                continue;
            }
            char section[2 * NAME_BYTES_MAX + 32];
            snprintf(section, sizeof(section), "pool \"%s\" / backend \"%s\"", pool->name,
                     backend->name);
            STR_AUTO why = {0};
            print_trouble(names, backend->address_text, &why);
            errlist_add(errors, preflight_grade(strict), backend->file, backend->line, section,
                        "the name in address \"%s\" does not resolve%s, so the backend is down; "
                        "mend the name or the resolver, or write an IP address",
                        model_backend_shown(backend), str_text(&why));
        }
    }
}

static bool address_is_here(const struct ifaddrs *interfaces, const struct addr *address)
{
    static const uint8_t any[16];
    if (memcmp(address->ip.bytes, any, sizeof(any)) == 0) {
        return true;
    }
    /* All of 127/8 belongs to the loopback interface. */
    if (address->ip.family == ADDR_IPV4 && address->ip.bytes[0] == 127) {
        return true;
    }
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
        struct addr_ip ip;
        if (i->ifa_addr == NULL) {
            continue;
        }
        addr_ip_from_sockaddr(i->ifa_addr, &ip);
        if (ip.family == address->ip.family &&
            memcmp(ip.bytes, address->ip.bytes, sizeof(ip.bytes)) == 0) {
            return true;
        }
    }
    return false;
}

static void check_addresses(const struct model *model, bool strict, struct errlist *errors)
{
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) != 0) {
        return;
    }
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            const struct addr *address = &service->listeners[j].address;
            if (address->ip.family == ADDR_UNIX || address_is_here(interfaces, address)) {
                continue;
            }
            char text[ADDR_TEXT_MAX], section[NAME_BYTES_MAX + 16];
            snprintf(section, sizeof(section), "service \"%s\"", service->name);
            errlist_add(errors, preflight_grade(strict), service->file, service->line, section,
                        "listen %s: this machine does not have that address now; %s",
                        addr_format(address, text),
                        service->freebind ? "clients reach it once it has (freebind)"
                                          : "set freebind = true to listen anyway");
        }
    }
    freeifaddrs(interfaces);
}

/* --- loops --- */

static bool listens_at(const struct addr *listener, const struct addr *address,
                       const struct ifaddrs *interfaces)
{
    static const uint8_t any[16];

    if (listener->ip.family != address->ip.family || listener->ip.port != address->ip.port) {
        return false;
    }
    return addr_equal(listener, address) ||
           (address->ip.family != ADDR_UNIX && memcmp(listener->ip.bytes, any, sizeof(any)) == 0 &&
            address_is_here(interfaces, address));
}

static const struct model_service *find_listening(const struct model *model,
                                                  const struct addr *address,
                                                  const struct ifaddrs *interfaces)
{
    for (size_t i = 0; address->ip.family != ADDR_NONE && i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            if (listens_at(&service->listeners[j].address, address, interfaces)) {
                return service;
            }
        }
    }
    return NULL;
}

static void check_loops_of(const struct model *model, const struct model_pool *pool,
                           const struct ifaddrs *interfaces, struct errlist *errors)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];
        const struct model_service *service = find_listening(model, &backend->address, interfaces);
        if (service == NULL) {
            continue;
        }
        char section[2 * NAME_BYTES_MAX + 32];
        snprintf(section, sizeof(section), "pool \"%s\" / backend \"%s\"", pool->name,
                 backend->name);
        errlist_add(errors, ERRLIST_WARNING, backend->file, backend->line, section,
                    "address \"%s\": this daemon listens there itself, for service \"%s\", so its "
                    "sessions come in again; write the address of a server",
                    model_backend_shown(backend), service->name);
    }
}

void preflight_loops(const struct model *model, struct errlist *errors)
{
    struct ifaddrs *interfaces = NULL;
    if (getifaddrs(&interfaces) != 0) {
        interfaces = NULL; /* loopback is known without */
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        check_loops_of(model, &model->pools[i], interfaces, errors);
    }
    freeifaddrs(interfaces);
}

/* --- addresses to connect from --- */

static void check_sources(const struct model_pool *pool, bool strict, struct errlist *errors)
{
    struct source_list list;
    const struct addr_ip *first = NULL;
    size_t missing = 0;
    sources_of(pool, &list);
    for (size_t i = 0; i < list.n; i++) {
        if (!machine_may_come_from(&list.items[i])) {
            first = first == NULL ? &list.items[i] : first;
            missing++;
        }
    }
    if (missing == 0) {
        return;
    }
    char text[ADDR_TEXT_MAX], section[NAME_BYTES_MAX + 16], more[32] = "";
    snprintf(section, sizeof(section), "pool \"%s\"", pool->name);
    if (missing > 1) {
        snprintf(more, sizeof(more), " and %zu more", missing - 1);
    }
    errlist_add(errors, preflight_grade(strict), pool->file, pool->line, section,
                "source_addresses: this machine does not have %s%s now, so nothing can be "
                "connected from there; give it to an interface, or leave it out",
                addr_ip_format(first, false, text), more);
}

/* --- transparent pools --- */

static void add_to_pool(const struct model_pool *pool, enum errlist_severity severity,
                        const char *problem, struct errlist *errors)
{
    char section[NAME_BYTES_MAX + 16];
    snprintf(section, sizeof(section), "pool \"%s\"", pool->name);
    errlist_add(errors, severity, pool->file, pool->line, section, "transparent: %s", problem);
}

bool preflight_wants_any_source(const struct model *model)
{
    for (size_t i = 0; i < model->n_pools; i++) {
        if (model->pools[i].transparent) {
            return true;
        }
    }
    return false;
}

static void add_to_all(const struct model *model, enum errlist_severity severity,
                       const char *problem, struct errlist *errors)
{
    for (size_t i = 0; i < model->n_pools; i++) {
        if (model->pools[i].transparent) {
            add_to_pool(&model->pools[i], severity, problem, errors);
        }
    }
}

#define HOW_TO_START                                                                               \
    "start it as root, or with AmbientCapabilities=CAP_NET_RAW and "                               \
    "CapabilityBoundingSet=CAP_NET_RAW in a drop-in for its unit, with this in the file"

bool preflight_workers(const struct model *model, const struct privileges *workers,
                       struct errlist *errors)
{
    if (workers->any_source || !preflight_wants_any_source(model)) {
        return true;
    }
    add_to_all(model, ERRLIST_ERROR,
               "this daemon's workers may not connect from clients' addresses, and can only be "
               "given that right when it starts; " HOW_TO_START,
               errors);
    return false;
}

/* --- before a start --- */

static void check_unix_listeners(const struct model_service *service, bool strict,
                                 struct errlist *errors)
{
    for (size_t i = 0; i < service->n_listeners; i++) {
        const char *path = service->listeners[i].address.path;
        STR_AUTO problem = {0};
        if (path[0] != '/' || folder_judge(path, false, &problem) == 0) {
            continue;
        }
        char section[NAME_BYTES_MAX + 16];
        snprintf(section, sizeof(section), "service \"%s\"", service->name);
        errlist_add(errors, preflight_grade(strict), service->file, service->line, section,
                    "listen unix:%s: %s, or write another place; without it the daemon does not "
                    "start",
                    path, str_text(&problem));
    }
}

void preflight_start(const struct model *model, bool strict, struct errlist *errors)
{
    preflight_global_sockets(model, strict, errors);
    for (size_t i = 0; i < model->n_services; i++) {
        check_unix_listeners(&model->services[i], strict, errors);
    }
    if (!privileges_has_any_source()) {
        add_to_all(model, preflight_grade(strict),
                   "a daemon started by this user may not connect from clients' "
                   "addresses; " HOW_TO_START,
                   errors);
    }
}

struct exposed {
    const struct model_service *service; /* of the first; NULL: there is none */
    const struct addr *address;
    size_t n;
    uint8_t reserved[MACHINE_PORTS / 8]; /* with all of them */
};

static void expose(const struct machine *machine, const struct model_service *service,
                   struct exposed *out)
{
    for (size_t i = 0; i < service->n_listeners; i++) {
        const struct addr *address = &service->listeners[i].address;
        uint32_t port = address->ip.port;
        if (address->ip.family == ADDR_UNIX || !machine_may_choose(machine, port)) {
            continue;
        }
        out->reserved[port / 8] |= (uint8_t)(1U << port % 8);
        if (out->n++ == 0) {
            out->service = service;
            out->address = address;
        }
    }
}

void preflight_ports(const struct model *model, const struct machine *machine,
                     struct errlist *errors)
{
    struct exposed exposed = {.n = 0};
    char section[NAME_BYTES_MAX + 16], text[ADDR_TEXT_MAX], more[32] = "";
    STR_AUTO command = {0};
    memcpy(exposed.reserved, machine->reserved_ports, sizeof(exposed.reserved));
    for (size_t i = 0; i < model->n_services; i++) {
        expose(machine, &model->services[i], &exposed);
    }
    if (exposed.service == NULL) {
        return;
    }
    if (exposed.n > 1) {
        snprintf(more, sizeof(more), ", and %zu more", exposed.n - 1);
    }
    snprintf(section, sizeof(section), "service \"%s\"", exposed.service->name);
    str_append(&command, "sysctl -w net.ipv4.ip_local_reserved_ports=");
    machine_append_ports(exposed.reserved, &command);
    errlist_add(errors, ERRLIST_WARNING, exposed.service->file, exposed.service->line, section,
                "listen %s%s: the port is one of those that the kernel gives to connections "
                "(net.ipv4.ip_local_port_range, %" PRIu64 " to %" PRIu64
                "): one that has it keeps the daemon from starting; %s",
                addr_format(exposed.address, text), more, machine->port_first, machine->port_last,
                str_text(&command));
}

static bool has_family(const struct model_pool *pool, uint8_t family)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        if (pool->backends[i].address.ip.family == family) {
            return true;
        }
    }
    return false;
}

/* Whose clients find no backend of their family. */
static void check_families(const struct model_service *service, const struct model_pool *pool,
                           bool strict, struct errlist *errors)
{
    char section[NAME_BYTES_MAX + 16], text[ADDR_TEXT_MAX];
    snprintf(section, sizeof(section), "service \"%s\"", service->name);
    for (size_t i = 0; pool->transparent && i < service->n_listeners; i++) {
        const struct addr *address = &service->listeners[i].address;
        bool is_four = address->ip.family == ADDR_IPV4;
        if (pool->n_backends == 0 || has_family(pool, address->ip.family) ||
            has_family(pool, ADDR_NONE)) {
            continue;
        }
        errlist_add(errors, preflight_grade(strict), service->file, service->line, section,
                    "listen %s: its clients are refused by pool \"%s\", which is transparent and "
                    "has no %s backend; add one, or leave the address out",
                    addr_format(address, text), pool->name, is_four ? "IPv4" : "IPv6");
    }
}

/* Replies of a server on this machine do not pass where packets of other machines do. */
static void check_loopback(const struct model_pool *pool, bool strict, struct errlist *errors)
{
    for (size_t i = 0; pool->transparent && i < pool->n_backends; i++) {
        if (addr_ip_is_loopback(&pool->backends[i].address.ip)) {
            add_to_pool(pool, preflight_grade(strict),
                        "a backend is at a loopback address, which only clients of this machine "
                        "can be connected to as themselves; let it be on another machine, or in a "
                        "network namespace",
                        errors);
            return;
        }
    }
}

static void check_transparent(const struct model *model, bool strict, struct errlist *errors)
{
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        check_families(service, &model->pools[service->pool_index], strict, errors);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        check_loopback(&model->pools[i], strict, errors);
    }
}

void preflight_machine(const struct model *model, bool strict, struct errlist *errors)
{
    preflight_global(model, strict, errors);
    check_addresses(model, strict, errors);
    preflight_loops(model, errors);
    for (size_t i = 0; i < model->n_pools; i++) {
        check_sources(&model->pools[i], strict, errors);
    }
    check_transparent(model, strict, errors);
    preflight_programs(model, strict, errors);
}
