/* The text of the hosts file, see files.h. Owns the names that it holds, sorted. In the monitor and
 * in the short-lived child that looks names up for master. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "files.h"

#define BLANKS " \t\r"

struct host {
    const char *name; /* in text */
    size_t order;
    struct addr_ip ip;
};

struct dns_hosts {
    char *text;
    struct host *items;
    size_t n, cap;
};

static int add(struct dns_hosts *hosts, const char *name, const struct addr_ip *ip)
{
    if (hosts->n == hosts->cap) {
        size_t cap = hosts->cap == 0 ? 16 : 2 * hosts->cap;
        struct host *items = reallocarray(hosts->items, cap, sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        hosts->items = items;
        hosts->cap = cap;
    }
    hosts->items[hosts->n] = (struct host){.name = name, .order = hosts->n, .ip = *ip};
    hosts->n++;
    return 0;
}

static int take_line(struct dns_hosts *hosts, char *line)
{
    char *at = NULL;
    struct addr_ip ip;
    line[strcspn(line, "#")] = '\0';
    const char *address = strtok_r(line, BLANKS, &at);
    if (address == NULL || addr_parse_ip(address, &ip) != 0) {
        return 0;
    }
    int error = 0;
    for (const char *name; error == 0 && (name = strtok_r(NULL, BLANKS, &at)) != NULL;) {
        error = add(hosts, name, &ip);
    }
    return error;
}

static int compare(const void *a, const void *b)
{
    const struct host *x = a, *y = b;
    int order = strcasecmp(x->name, y->name);
    return order != 0 ? order : x->order < y->order ? -1 : 1;
}

struct dns_hosts *dns_hosts_parse(const char *text)
{
    struct dns_hosts *hosts = calloc(1, sizeof(*hosts));
    if (hosts == NULL || (hosts->text = strdup(text)) == NULL) {
        free(hosts);
        return NULL;
    }
    char *at = hosts->text, *line;
    while ((line = strsep(&at, "\n")) != NULL) {
        if (take_line(hosts, line) != 0) {
            dns_hosts_free(hosts);
            return NULL;
        }
    }
    if (hosts->n > 0) {
        qsort(hosts->items, hosts->n, sizeof(*hosts->items), compare);
    }
    return hosts;
}

void dns_hosts_free(struct dns_hosts *hosts)
{
    if (hosts != NULL) {
        free(hosts->items);
        free(hosts->text);
        free(hosts);
    }
}

/* The first one that is not before name. */
static size_t find_first(const struct dns_hosts *hosts, const char *name)
{
    size_t low = 0, high = hosts->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcasecmp(hosts->items[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t dns_hosts_find(const struct dns_hosts *hosts, const char *name,
                      struct addr_ip out[static DNS_ANSWERS_MAX])
{
    char plain[DNS_NAME_MAX];
    size_t len = strlcpy(plain, name, sizeof(plain));
    size_t n = 0;
    if (hosts == NULL || len == 0 || len >= sizeof(plain)) {
        return 0;
    }
    if (plain[len - 1] == '.') {
        plain[len - 1] = '\0';
    }
    for (size_t i = find_first(hosts, plain);
         i < hosts->n && strcasecmp(hosts->items[i].name, plain) == 0; i++) {
        const struct addr_ip *ip = &hosts->items[i].ip;
        bool is_known = false;
        for (size_t j = 0; j < n && j < DNS_ANSWERS_MAX; j++) {
            is_known |= memcmp(&out[j], ip, sizeof(*ip)) == 0;
        }
        if (!is_known && n < DNS_ANSWERS_MAX) {
            out[n] = *ip;
        }
        n += !is_known;
    }
    return n;
}
