/*
 * The listening addresses of all services: parsed, and checked against each other as the kernel
 * would at bind(). In master.
 */
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "sluice/limits.h"

/* What must be there once only. Port 0 is another port each time, so it is the service's own. */
struct listen_key {
    struct addr address;
    uint32_t service; /* from 1, for port 0 only */
};

/* What addresses share that a wildcard address overlaps with. */
struct port_key {
    uint16_t port;
    uint16_t family;
};

struct listen_place {
    struct listen_key key;
    struct port_key port_key;
    char shown[SHOW_MAX];
    const char *file;
    int line;
};

struct listen_tables {
    struct listen_place *places;
    size_t n_places;
    struct lookup exact, by_port, wildcards; /* to places */
};

static bool is_wildcard(const struct addr *address)
{
    static const uint8_t zeros[sizeof(address->ip.bytes)];

    return memcmp(address->ip.bytes, zeros, sizeof(zeros)) == 0;
}

static bool is_mapped_ipv4(const struct addr *address)
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};

    return address->ip.family == ADDR_IPV6 &&
           memcmp(address->ip.bytes, prefix, sizeof(prefix)) == 0;
}

const char *validate_listen(const char *text, struct addr *out)
{
    const char *problem = NULL;
    int rc;

    if (strncmp(text, "*:", 2) == 0) {
        return "not an address; write 0.0.0.0:PORT for all of IPv4, [::]:PORT for all of IPv6";
    }
    rc = addr_parse(text, true, out, &problem);
    if (rc > 0) {
        return "a name, and names are not looked up here; write a numeric address, such as "
               "127.0.0.1:80";
    }
    if (rc < 0) {
        return problem;
    }
    if (is_mapped_ipv4(out)) {
        return "an IPv4 address in IPv6 form; write it as ADDRESS:PORT";
    }
    if (out->ip.family == ADDR_UNIX && out->path[0] != '/' && out->path[0] != '@') {
        return "a relative path; write unix:/PATH or unix:@NAME";
    }
    return NULL;
}

static void report_clash(struct build *build, const struct conf_section *section, size_t item,
                         const struct listen_place *place, const struct listen_place *other,
                         const char *how)
{
    build_fault(build, ERRLIST_ERROR, section, "listen", item, "%s: %s %s of %s:%d; remove one",
                place->shown, how, other->shown, other->file, other->line);
}

/* Judges one more address against those before it, and remembers it. */
static void add_place(struct build *build, struct listen_tables *tables,
                      const struct conf_section *section, size_t item,
                      const struct listen_place *new_place)
{
    struct listen_place *place = &tables->places[tables->n_places];
    uint32_t at = (uint32_t)tables->n_places++;
    const struct addr *address = &new_place->key.address;
    bool has_port = address->ip.family != ADDR_UNIX && address->ip.port != 0;
    bool wildcard = has_port && is_wildcard(address);
    uint32_t same;
    uint32_t neighbour = LOOKUP_NONE;
    uint32_t cover = LOOKUP_NONE;

    *place = *new_place;
    same = lookup_add(&tables->exact, &place->key, sizeof(place->key), at);
    if (has_port) {
        cover = lookup_find(&tables->wildcards, &place->port_key, sizeof(place->port_key));
        neighbour = lookup_add(&tables->by_port, &place->port_key, sizeof(place->port_key), at);
    }
    if (wildcard) {
        (void)lookup_add(&tables->wildcards, &place->port_key, sizeof(place->port_key), at);
    }
    if (same != LOOKUP_NONE) {
        report_clash(build, section, item, place, &tables->places[same], "the same address as");
    } else if (cover != LOOKUP_NONE) {
        report_clash(build, section, item, place, &tables->places[cover], "overlaps with");
    } else if (wildcard && neighbour != LOOKUP_NONE) {
        report_clash(build, section, item, place, &tables->places[neighbour], "overlaps with");
    }
}

/* One item of a service's list; wrong ones become no listener. */
static void add_listener(struct build *build, struct listen_tables *tables,
                         const struct conf_section *section, uint32_t index, size_t item)
{
    struct model_service *service = &build->model->services[index];
    const struct conf_option *given = conf_find(section, "listen");
    struct listen_place place = {.file = given->file, .line = given->values[item].line};
    struct addr *address = &place.key.address;
    const char *problem = validate_listen(service->listen[item], address);

    (void)build_show(section, "listen", item, place.shown);
    if (problem != NULL) {
        build_fault(build, ERRLIST_ERROR, section, "listen", item, "%s: %s", place.shown, problem);
        return;
    }
    service->listeners[service->n_listeners++].address = *address;
    place.port_key = (struct port_key){.port = address->ip.port, .family = address->ip.family};
    if (address->ip.family != ADDR_UNIX && address->ip.port == 0) {
        place.key.service = index + 1;
    }
    add_place(build, tables, section, item, &place);
}

static size_t count_listens(const struct model_service *service)
{
    size_t n = 0;

    while (service->listen[n] != NULL) {
        n++;
    }
    return n;
}

static void fill_services(struct build *build, struct listen_tables *tables)
{
    const struct conf_section *section;
    size_t cursor = 0;
    bool over = false;

    for (uint32_t i = 0; i < build->model->n_services; i++) {
        struct model_service *service = &build->model->services[i];
        size_t n = count_listens(service);

        section = build_next(&build->tree->root, "service", &cursor);
        service->listeners = n > 0 ? calloc(n, sizeof(*service->listeners)) : NULL;
        build->no_memory = build->no_memory || (n > 0 && service->listeners == NULL);
        for (size_t item = 0; service->listeners != NULL && item < n; item++) {
            if (service->listen[item][0] != '\0') { /* reported already */
                add_listener(build, tables, section, i, item);
            }
        }
        if (!over && tables->n_places > LISTENERS_MAX) {
            over = true;
            build_fault(build, ERRLIST_ERROR, section, "listen", 0,
                        "more than %d addresses in all services together; remove some",
                        LISTENERS_MAX);
        }
    }
}

void validate_listeners(struct build *build)
{
    struct listen_tables tables = {0};
    size_t n = 0;

    for (size_t i = 0; i < build->model->n_services; i++) {
        n += count_listens(&build->model->services[i]);
    }
    tables.places = calloc(n + 1, sizeof(*tables.places));
    if (tables.places == NULL || lookup_init(&tables.exact, n) != 0 ||
        lookup_init(&tables.by_port, n) != 0 || lookup_init(&tables.wildcards, n) != 0) {
        build->no_memory = true;
    } else {
        fill_services(build, &tables);
    }
    lookup_fini(&tables.exact);
    lookup_fini(&tables.by_port);
    lookup_fini(&tables.wildcards);
    free(tables.places);
}
