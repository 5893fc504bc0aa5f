/*
 * Choosing the address that a connection to a backend comes from: by how many ports of each pair
 * (that address, the backend's) are in use, as all workers count them. In a worker.
 */
#include "source.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/ports.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* since Linux 6.3: linux/in.h */
#endif

#define SOURCES_LOOKED_AT 16 /* of many; further ones only when these have no port */
#define SOURCE_TRIES      4 /* addresses that the kernel may have no port of, one after the other */
#define SHUT_MS           1000 /* finding none costs milliseconds: once a second for all workers */

/* Warm connections leave the last quarter to sessions. */
#define SCARCE_OF(limit) ((limit) - (limit) / 4)

static const struct snapshot_source *sources_at(const struct proxy *proxy,
                                                const struct snapshot_backend *backend)
{
    return &snapshot_sources(proxy->snapshot)[backend->first_source];
}

/* 0: not known, so there is none. */
static uint32_t limit_of(const struct proxy *proxy)
{
    return ports_limit(atomic_load_explicit(&proxy->sb->header->ports, memory_order_relaxed));
}

/* Ports of it in use; UINT32_MAX: none can be had. */
static uint32_t fill_of(const struct proxy *proxy, const struct snapshot_source *source,
                        uint32_t limit)
{
    uint32_t used = ports_used(proxy->sb, source->pair);
    if (source->pair == 0) {
        return 0;
    }
    bool is_full = limit != 0 && used >= limit;
    return is_full || ports_is_shut(proxy->sb, source->pair, proxy->now_ms) ? UINT32_MAX : used;
}

/* The emptiest of the next few, or else the first that has a port; NULL: none has. Who begins
 * elsewhere each time spreads evenly also over those that are equally full. */
static const struct snapshot_source *choose(struct proxy *proxy,
                                            const struct snapshot_backend *backend, uint32_t limit)
{
    const struct snapshot_source *sources = sources_at(proxy, backend);
    const struct snapshot_source *best = NULL;
    uint32_t n = backend->n_sources, least = UINT32_MAX;
    uint32_t at = n > 1 ? proxy->source_turn++ % n : 0;
    for (uint32_t i = 0; i < n && (i < SOURCES_LOOKED_AT || best == NULL); i++) {
        uint32_t fill = fill_of(proxy, &sources[at], limit);
        if (fill < least) {
            least = fill;
            best = &sources[at];
        }
        at = at + 1 == n ? 0 : at + 1;
    }
    return best;
}

/* Lets the kernel look at every port in turn, where it would look in vain at every other one. Of no
 * consequence where it cannot: it is slower then. */
static void spare_search(const struct proxy *proxy, int fd)
{
    const struct sb_header *header = proxy->sb->header;
    uint32_t range = atomic_load_explicit(&header->port_last, memory_order_relaxed) << 16 |
                     (atomic_load_explicit(&header->port_first, memory_order_relaxed) & UINT16_MAX);
    (void)setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
}

/* The port is chosen by connect(), for this destination alone. */
static int bind_address(int fd, const struct addr_ip *source)
{
    struct sockaddr_storage address;
    socklen_t len = addr_ip_to_sockaddr(source, &address);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    return bind(fd, (struct sockaddr *)&address, len) == 0 ? 0 : errno;
}

static int connect_from(const struct proxy *proxy, int fd, const struct snapshot_source *source,
                        const struct snapshot_backend *backend)
{
    struct sockaddr_storage address;
    socklen_t len = addr_to_sockaddr(&backend->address, &address);
    if (source != NULL) {
        uint32_t ports = atomic_load_explicit(&proxy->sb->header->ports, memory_order_relaxed);
        int error = source->ip.family == ADDR_NONE ? 0 : bind_address(fd, &source->ip);
        if (error != 0) {
            return error;
        }
        if (ports_used(proxy->sb, source->pair) > PORTS_EASY(ports)) {
            spare_search(proxy, fd);
        }
    }
    return connect(fd, (struct sockaddr *)&address, len) == 0 ? 0 : errno;
}

static int open_from(struct proxy *proxy, struct leg *leg, const struct snapshot_source *source,
                     const struct snapshot_backend *backend, bool *out_opened)
{
    int fd = socket_open_backend(&backend->address);
    if (fd < 0) {
        return -fd;
    }
    leg->fd = fd;
    *out_opened = true;
    return connect_from(proxy, fd, source, backend);
}

static int count_no_port(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    atomic_fetch_add_explicit(&proxy->sb->rows[backend->row].ports_out, 1, memory_order_relaxed);
    return SOURCE_NO_PORT;
}

int source_connect(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                   bool *out_opened)
{
    uint32_t limit = limit_of(proxy);
    *out_opened = false;
    if (backend->n_sources == 0) {
        return open_from(proxy, leg, NULL, backend, out_opened);
    }
    for (int tries = 0; tries < SOURCE_TRIES;) {
        const struct snapshot_source *source = choose(proxy, backend, limit);
        if (source == NULL) {
            break;
        }
        if (!ports_take(proxy->sb, proxy->worker, source->pair, limit)) {
            continue; /* another worker was faster: choose() sees it full now */
        }
        leg->pair = source->pair & (SB_PAIRS_MAX - 1);
        int rc = open_from(proxy, leg, source, backend, out_opened);
        if (rc != EADDRNOTAVAIL && *out_opened) {
            return rc;
        }
        source_release(proxy, leg);
        if (!*out_opened) {
            return rc;
        }
        close(leg->fd);
        leg->fd = -1;
        *out_opened = false;
        if (source->pair == 0) {
            break; /* it would be chosen again */
        }
        ports_shut(proxy->sb, source->pair, proxy->now_ms + SHUT_MS);
        tries++;
    }
    return count_no_port(proxy, backend);
}

void source_release(struct proxy *proxy, struct leg *leg)
{
    if (leg->pair != 0) {
        ports_give(proxy->sb, proxy->worker, leg->pair);
        leg->pair = 0;
    }
}

bool source_is_scarce(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    const struct snapshot_source *sources = sources_at(proxy, backend);
    uint32_t limit = limit_of(proxy);
    for (uint32_t i = 0; i < backend->n_sources; i++) {
        uint32_t fill = fill_of(proxy, &sources[i], limit);
        if (fill != UINT32_MAX && (limit == 0 || fill < SCARCE_OF(limit))) {
            return false;
        }
    }
    return backend->n_sources > 0;
}
