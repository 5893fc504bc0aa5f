/* Where connections to backends come from: reading source_addresses, and judging it. In master. */
#include "sources.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "build.h"

/* --- reading --- */

static size_t bytes_of(const struct addr_ip *ip)
{
    return ip->family == ADDR_IPV4 ? 4 : 16;
}

static void step(struct addr_ip *ip)
{
    for (size_t i = bytes_of(ip); i-- > 0 && ++ip->bytes[i] == 0;) {
    }
}

/* How many there are from first to last, counted no further than limit + 1; 0: none. */
static size_t measure(const struct addr_ip *first, const struct addr_ip *last, size_t limit)
{
    struct addr_ip at = *first;
    size_t n = 1;

    if (memcmp(first->bytes, last->bytes, sizeof(first->bytes)) > 0) {
        return 0;
    }
    while (n <= limit && memcmp(at.bytes, last->bytes, sizeof(at.bytes)) != 0) {
        step(&at);
        n++;
    }
    return n;
}

/* What cannot be an address of this machine's; NULL: it can. */
static const char *judge(const struct addr_ip *ip)
{
    static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (memcmp(ip->bytes, zero, sizeof(zero)) == 0) {
        return "stands for any address; leave it out to let the kernel choose";
    }
    if (ip->family == ADDR_IPV4 ? ip->bytes[0] >= 224 || ip->bytes[0] == 0 : ip->bytes[0] == 0xff) {
        return "no address of one machine; write one that this machine has";
    }
    if (ip->family == ADDR_IPV6 && memcmp(ip->bytes, mapped, sizeof(mapped)) == 0) {
        return "an IPv4 address in an IPv6 one; write it as IPv4, such as 10.0.0.1";
    }
    return NULL;
}

#define FORMS                                                                                      \
    "write an address such as 10.0.0.1, a range such as 10.0.0.16-10.0.0.31, or 10.1.0.0/28"

static int refuse(struct str *out_problem, const char *problem)
{
    str_append(out_problem, problem);
    return -EINVAL;
}

static int parse_range(char *text, char *dash, struct addr_ip *first, struct addr_ip *last,
                       struct str *out_problem)
{
    *dash = '\0';
    if (addr_parse_ip(text, first) != 0 || addr_parse_ip(dash + 1, last) != 0) {
        return refuse(out_problem, "not a range of addresses; " FORMS);
    }
    if (first->family != last->family) {
        return refuse(out_problem, "from an IPv4 to an IPv6 address or the other way round; write "
                                   "a range for each");
    }
    if (first->scope != 0 || last->scope != 0) {
        return refuse(out_problem, "a range on one interface; write its addresses one by one");
    }
    if (measure(first, last, 0) == 0) {
        str_printf(out_problem, "the range ends before it begins; write %s-%s", dash + 1, text);
        return -EINVAL;
    }
    return 0;
}

static int parse_network(const char *text, struct addr_ip *first, struct addr_ip *last,
                         struct str *out_problem)
{
    struct addr_cidr cidr;
    const char *problem;

    if (addr_cidr_parse(text, &cidr, &problem) != 0) {
        return refuse(out_problem, problem);
    }
    *first = cidr.ip;
    *last = cidr.ip;
    for (size_t bit = cidr.prefix; bit < 8 * bytes_of(last); bit++) {
        last->bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
    return 0;
}

static int parse(const char *item, struct addr_ip *first, struct addr_ip *last,
                 struct str *out_problem)
{
    char text[2 * ADDR_TEXT_MAX];

    if (strlcpy(text, item, sizeof(text)) >= sizeof(text)) {
        return refuse(out_problem, "not an address; " FORMS);
    }
    /* The name of an interface, after a %, may contain either. */
    char *dash = strchr(text, '%') == NULL ? strchr(text, '-') : NULL;
    if (dash != NULL) {
        return parse_range(text, dash, first, last, out_problem);
    }
    if (strchr(text, '%') == NULL && strchr(text, '/') != NULL) {
        return parse_network(text, first, last, out_problem);
    }
    if (addr_parse_ip(text, first) != 0) {
        return refuse(out_problem, "not an address; " FORMS);
    }
    *last = *first;
    return 0;
}

int sources_add(struct source_list *list, const char *text, struct str *out_problem)
{
    struct addr_ip at, last;
    const char *problem;

    if (parse(text, &at, &last, out_problem) != 0) {
        return -EINVAL;
    }
    problem = judge(&at) != NULL ? judge(&at) : judge(&last);
    if (problem != NULL) {
        return refuse(out_problem, problem);
    }
    size_t n = measure(&at, &last, SOURCES_MAX);
    if (n > SOURCES_MAX - list->n) {
        str_printf(out_problem,
                   "more addresses than the %d that a pool may have together; write fewer, each "
                   "has all ports for every backend",
                   SOURCES_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        list->items[list->n++] = at;
        step(&at);
    }
    return 0;
}

void sources_of(const struct model_pool *pool, struct source_list *out)
{
    out->n = 0;
    for (char *const *item = pool->source_addresses; item != NULL && *item != NULL; item++) {
        STR_AUTO problem = {0};

        (void)sources_add(out, *item, &problem);
    }
}

size_t sources_count(const struct source_list *list, enum addr_family family)
{
    size_t n = 0;

    for (size_t i = 0; i < list->n; i++) {
        n += list->items[i].family == family;
    }
    return n;
}

size_t sources_needed(const struct model_pool *pool)
{
    struct source_list list;
    size_t most;

    sources_of(pool, &list);
    most = list.n > 0 ? list.n : 1;
    return pool->n_backends * most;
}

uint64_t sources_hash(const struct model_pool *pool)
{
    struct source_list list;

    sources_of(pool, &list);
    return list.n > 0 ? XXH3_64bits(list.items, list.n * sizeof(*list.items)) : 0;
}

/* --- judging --- */

static bool is_known(const struct source_list *list, size_t n, const struct addr_ip *ip)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&list->items[i], ip, sizeof(*ip)) == 0) {
            return true;
        }
    }
    return false;
}

static void check_twice(struct build *build, const struct conf_section *section, size_t item,
                        const struct source_list *list, size_t n_before)
{
    char shown[SHOW_MAX];
    char text[ADDR_TEXT_MAX];

    for (size_t i = n_before; i < list->n; i++) {
        if (is_known(list, n_before, &list->items[i])) {
            build_fault(build, ERRLIST_ERROR, section, "source_addresses", item,
                        "%s: %s is in the list before; write each address once",
                        build_show(section, "source_addresses", item, shown),
                        addr_ip_format(&list->items[i], false, text));
            return;
        }
    }
}

/* One warning for each family that backends have and the list has not. */
static void check_families(struct build *build, const struct conf_section *section,
                           const struct model_pool *pool, const struct source_list *list)
{
    bool is_told[ADDR_FAMILY_COUNT] = {[ADDR_NONE] = true, [ADDR_UNIX] = true};

    for (size_t i = 0; i < pool->n_backends; i++) {
        enum addr_family family = (enum addr_family)pool->backends[i].address.ip.family;

        if (!is_told[family] && sources_count(list, family) == 0) {
            is_told[family] = true;
            build_fault(build, ERRLIST_WARNING, section, "source_addresses", 0,
                        "no %s address, and backend \"%s\" has one: the kernel chooses where "
                        "connections to it come from; add one",
                        family == ADDR_IPV4 ? "IPv4" : "IPv6", pool->backends[i].name);
        }
    }
}

static const struct model_backend *find_elsewhere(const struct model_pool *pool,
                                                  enum addr_family family)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct addr_ip *ip = &pool->backends[i].address.ip;

        if (ip->family == family && !addr_ip_is_loopback(ip)) {
            return &pool->backends[i];
        }
    }
    return NULL;
}

/* One warning: a list has either kind by mistake. */
static void check_loopback(struct build *build, const struct conf_section *section,
                           const struct model_pool *pool, const struct source_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct addr_ip *ip = &list->items[i];
        const struct model_backend *elsewhere =
            addr_ip_is_loopback(ip) ? find_elsewhere(pool, (enum addr_family)ip->family) : NULL;
        char source[ADDR_TEXT_MAX];
        char backend[ADDR_TEXT_MAX];

        if (elsewhere != NULL) {
            build_fault(build, ERRLIST_WARNING, section, "source_addresses", 0,
                        "%s reaches this machine only, and backend \"%s\" is at %s: leave it out, "
                        "unless that is here, too",
                        addr_ip_format(ip, false, source), elsewhere->name,
                        addr_ip_format(&elsewhere->address.ip, false, backend));
            return;
        }
    }
}

static void check_pairs(struct build *build, const struct conf_section *section,
                        const struct model_pool *pool)
{
    size_t n = 0;

    for (const struct model_pool *p = build->model->pools; p <= pool; p++) {
        n += sources_needed(p);
    }
    if (n > SOURCES_ALL_MAX && n - sources_needed(pool) <= SOURCES_ALL_MAX) {
        build_fault(build, ERRLIST_ERROR, section, "source_addresses", 0,
                    "%zu pairs of a source and a backend in the pools so far; at most %d are "
                    "possible, so write fewer addresses",
                    n, SOURCES_ALL_MAX);
    }
}

/* The list is complete, and so are the backends' addresses. */
void sources_validate(struct build *build, const struct conf_section *section,
                      const struct model_pool *pool)
{
    struct source_list list = {.n = 0};
    char shown[SHOW_MAX];

    for (size_t i = 0; pool->source_addresses != NULL && pool->source_addresses[i] != NULL; i++) {
        STR_AUTO problem = {0};
        size_t n_before = list.n;

        if (pool->source_addresses[i][0] == '\0') {
            continue; /* reported already */
        }
        if (sources_add(&list, pool->source_addresses[i], &problem) != 0) {
            build_fault(build, ERRLIST_ERROR, section, "source_addresses", i, "%s: %s",
                        build_show(section, "source_addresses", i, shown), str_text(&problem));
            continue;
        }
        validate_network(build, section, "source_addresses", i, pool->source_addresses[i]);
        check_twice(build, section, i, &list, n_before);
    }
    if (list.n > 0) {
        check_families(build, section, pool, &list);
        check_loopback(build, section, pool, &list);
        check_pairs(build, section, pool);
    }
}
