/*
 * The two files that say how names are looked up on this machine: hosts(5) and resolv.conf(5). Both
 * are read again whenever they have changed. What NSS modules beyond these two know is not asked.
 */
#ifndef SLUICE_DNS_FILES_H
#define SLUICE_DNS_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

#define DNS_HOSTS_PATH  "/etc/hosts"
#define DNS_RESOLV_PATH "/etc/resolv.conf"

#define DNS_SERVERS_MAX 3 /* as many as the C library takes */
#define DNS_SEARCH_MAX  6

struct dns_resolv {
    struct addr_ip servers[DNS_SERVERS_MAX]; /* with their port */
    size_t n_servers;                        /* at least 1: without any, 127.0.0.1 */
    char search[DNS_SEARCH_MAX][DNS_NAME_MAX];
    size_t n_search;
    uint32_t ndots, timeout_ms, attempts;
};

/* Takes what it understands of text; out of range is moved into it. */
void dns_resolv_parse(const char *text, struct dns_resolv *out);

struct dns_hosts; /* the parsed hosts file; immutable */

/* NULL without memory. Lines that make no sense are skipped. */
struct dns_hosts *dns_hosts_parse(const char *text);
void dns_hosts_free(struct dns_hosts *hosts); /* NULL is allowed */
/* The addresses of a name, with or without its last dot, each once, in the order of the file.
 * Returns how many there are (0: none), of which at most DNS_ANSWERS_MAX are in out. hosts NULL:
 * empty. */
size_t dns_hosts_find(const struct dns_hosts *hosts, const char *name,
                      struct addr_ip out[static DNS_ANSWERS_MAX]);

struct dns_files; /* both, as they were at the last look */

/* The paths outlive it. NULL without memory. */
struct dns_files *dns_files_create(const char *hosts_path, const char *resolv_path);
void dns_files_destroy(struct dns_files *files); /* NULL is allowed */
/* Reads what has changed since the last call. Returns whether anything has. A file that is not
 * there counts as empty; one that cannot be taken stays as it was, and is tried again. */
bool dns_files_look(struct dns_files *files);
const struct dns_resolv *dns_files_resolv(const struct dns_files *files);
const struct dns_hosts *dns_files_hosts(const struct dns_files *files);

#endif
