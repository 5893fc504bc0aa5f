/*
 * Choosing the address that a connection to a backend comes from: each in turn, and once many ports
 * of a pair (that address, the backend's) are in use, as all workers count them, the emptiest. So
 * one that packets do not come back to has no more than its share of the clients. In a worker.
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

/*
 * What one client costs at most. A bind() in vain is cheap and shuts the address for all workers,
 * for longer each time: each address once. A connect() in vain takes a millisecond: so many. Where
 * an address works, those that last did not are looked after by so many binds, or one connect.
 */
#define SOURCE_CONNECTS 16
#define SOURCE_PROBES   4

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

/* How many of its ports are in use, once these are many; or: */
#define RANK_LAST     (UINT32_MAX - 1) /* it last failed, and may by now be well */
#define RANK_UNUSABLE UINT32_MAX       /* it has no port, or has failed just now */

/* A client's way round the sources of a backend. */
struct search {
    const struct snapshot_backend *backend;
    const struct snapshot_source *sources; /* its own */
    uint32_t limit;                        /* of ports of each */
    uint32_t easy;                         /* as few in use are as good as none */
    uint32_t at, left;                     /* those before at are unusable */
    uint32_t settle_for;  /* a rank: a worse one is taken only if there is no other at all */
    int probes, connects; /* that may still be in vain */
    /* Those from which there is no way to the backend, and what connect() last said of it. */
    const struct snapshot_source *wayless[SOURCE_CONNECTS];
    int n_wayless, error;
};

static bool is_wayless(const struct search *search, const struct snapshot_source *source)
{
    for (int i = 0; i < search->n_wayless; i++) {
        if (search->wayless[i] == source) {
            return true;
        }
    }
    return false;
}

static uint32_t rank_of(const struct proxy *proxy, const struct snapshot_source *source,
                        const struct search *search)
{
    uint32_t used = ports_used(proxy->sb, source->pair);
    if (is_wayless(search, source) ||
        !ports_may_be_asked(proxy->sb, source->pair, search->limit, proxy->now_ms)) {
        return RANK_UNUSABLE;
    }
    if (source->pair == 0) {
        return 0;
    }
    bool is_fine = ports_trouble(proxy->sb, source->pair) == SB_PAIR_FINE;
    if (!is_fine && search->probes == 0) {
        return RANK_LAST;
    }
    return used < search->easy ? 0 : used;
}

/* Who begins elsewhere each time spreads evenly also over those that are equally full. */
static struct search begin_search(struct proxy *proxy, const struct snapshot_backend *backend)
{
    uint32_t n = backend->n_sources;
    uint32_t ports = atomic_load_explicit(&proxy->sb->header->ports, memory_order_relaxed);
    return (struct search){
        .backend = backend,
        .sources = sources_at(proxy, backend),
        .limit = ports_limit(ports),
        .easy = PORTS_EASY(ports),
        .at = n > 1 ? proxy->source_turn++ % n : 0,
        .left = n,
        .settle_for = RANK_LAST - 1,
        .probes = SOURCE_PROBES,
        .connects = SOURCE_CONNECTS,
    };
}

static uint32_t after(const struct search *search, uint32_t at)
{
    return at + 1 == search->backend->n_sources ? 0 : at + 1;
}

static void pass_one(struct search *search)
{
    search->at = after(search, search->at);
    search->left--;
}

static void pass_up_to(struct search *search, const struct snapshot_source *source)
{
    while (search->sources + search->at != source) {
        pass_one(search);
    }
    pass_one(search);
}

/* The emptiest of the next few, or else the first that has a port; NULL: none has. */
static const struct snapshot_source *choose(const struct proxy *proxy, struct search *search)
{
    const struct snapshot_source *sources = search->sources, *best = NULL;
    uint32_t least = RANK_UNUSABLE;
    while (search->left > 0 && rank_of(proxy, &sources[search->at], search) == RANK_UNUSABLE) {
        pass_one(search);
    }
    uint32_t at = search->at;
    for (uint32_t i = 0;
         i < search->left && least > 0 && (i < SOURCES_LOOKED_AT || least > search->settle_for);
         i++) {
        uint32_t rank = rank_of(proxy, &sources[at], search);
        if (rank < least) {
            least = rank;
            best = &sources[at];
        }
        at = after(search, at);
    }
    if (least == RANK_LAST) {
        search->settle_for = RANK_LAST; /* there is none better: not to be looked for again */
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

static int connect_to(const struct proxy *proxy, int fd, uint32_t pair,
                      const struct snapshot_backend *backend)
{
    struct sockaddr_storage address;
    socklen_t len = addr_to_sockaddr(&backend->address, &address);
    uint32_t ports = atomic_load_explicit(&proxy->sb->header->ports, memory_order_relaxed);
    if (pair != 0 && ports_used(proxy->sb, pair) > PORTS_EASY(ports)) {
        spare_search(proxy, fd);
    }
    return connect(fd, (struct sockaddr *)&address, len) == 0 ? 0 : errno;
}

/* 0, or what socket() failed with. */
static int open_leg(struct leg *leg, const struct snapshot_backend *backend)
{
    int fd = leg->fd < 0 ? socket_open_backend(&backend->address) : leg->fd;
    if (fd < 0) {
        return -fd;
    }
    leg->fd = fd;
    return 0;
}

static void close_leg(struct leg *leg)
{
    if (leg->fd >= 0) {
        close(leg->fd);
        leg->fd = -1;
    }
}

/* The trouble is the source's, not the backend's. */
static void blame(struct proxy *proxy, struct search *search, struct leg *leg,
                  const struct snapshot_source *source, enum sb_pair_trouble trouble, int error)
{
    source_release(proxy, leg);
    ports_fail(proxy->sb, source->pair, trouble, error, proxy->now_ms);
    if (trouble == SB_PAIR_NO_PORT) {
        close_leg(leg); /* whether one that was bound can be bound anew is up to the kernel */
        search->probes = 0;
        search->connects--;
    } else {
        search->probes--;
    }
    if (source->pair == 0) {
        pass_up_to(search, source); /* no worker can know that it is shut */
    }
}

/* What the kernel says at once when its rules and routes have no way for these two addresses. */
static bool is_no_way(int error)
{
    return error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EPERM ||
           error == EINVAL;
}

/* It is the source's fault only if there is a way from another one. */
static void note_no_way(struct proxy *proxy, struct search *search, struct leg *leg,
                        const struct snapshot_source *source, int error)
{
    source_release(proxy, leg);
    close_leg(leg); /* a socket is bound once */
    search->connects--;
    search->error = error;
    search->wayless[search->n_wayless++] = source;
}

static void blame_wayless(const struct proxy *proxy, const struct search *search)
{
    for (int i = 0; i < search->n_wayless; i++) {
        ports_fail(proxy->sb, search->wayless[i]->pair, SB_PAIR_ABSENT, search->error,
                   proxy->now_ms);
    }
}

/* Whether the source was of use; then *out_error is what connect() said. */
static bool connect_from(struct proxy *proxy, struct search *search, struct leg *leg,
                         const struct snapshot_source *source, int *out_error)
{
    int error = source->ip.family == ADDR_NONE ? 0 : bind_address(leg->fd, &source->ip);
    if (error != 0) {
        blame(proxy, search, leg, source, SB_PAIR_ABSENT, error);
        return false;
    }
    error = connect_to(proxy, leg->fd, source->pair, search->backend);
    if (error == EADDRNOTAVAIL) {
        blame(proxy, search, leg, source, SB_PAIR_NO_PORT, error);
        return false;
    }
    if (is_no_way(error) && search->backend->n_sources > 1) {
        note_no_way(proxy, search, leg, source, error);
        return false;
    }
    blame_wayless(proxy, search);
    ports_succeed(proxy->sb, source->pair);
    *out_error = error;
    return true;
}

/* Whether there is a way from some address, of which all ports are in use. */
static bool is_any_full(const struct proxy *proxy, const struct search *search)
{
    for (uint32_t i = 0; i < search->backend->n_sources; i++) {
        uint32_t pair = search->sources[i].pair;
        if (ports_trouble(proxy->sb, pair) == SB_PAIR_NO_PORT ||
            (search->limit != 0 && ports_used(proxy->sb, pair) >= search->limit)) {
            return true;
        }
    }
    return false;
}

static int count_no_port(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    atomic_fetch_add_explicit(&proxy->sb->rows[backend->row].ports_out, 1, memory_order_relaxed);
    atomic_store_explicit(&proxy->sb->header->ports_missed, 1, memory_order_release);
    return SOURCE_NO_PORT;
}

static int connect_from_any(struct proxy *proxy, struct leg *leg,
                            const struct snapshot_backend *backend)
{
    struct search search = begin_search(proxy, backend);
    int error;
    while (search.connects > 0) {
        const struct snapshot_source *source = choose(proxy, &search);
        if (source == NULL) {
            break;
        }
        if (!ports_take(proxy->sb, proxy->worker, source->pair, search.limit)) {
            continue; /* another worker was faster: choose() sees it full now */
        }
        leg->pair = source->pair & (SB_PAIRS_MAX - 1);
        error = open_leg(leg, backend);
        if (error != 0) {
            source_release(proxy, leg);
            return error;
        }
        if (connect_from(proxy, &search, leg, source, &error)) {
            return error;
        }
    }
    if (search.n_wayless > 0 && !is_any_full(proxy, &search)) {
        error = open_leg(leg, backend); /* as where connect() is called just once */
        return error != 0 ? error : search.error;
    }
    close_leg(leg);
    return count_no_port(proxy, backend);
}

int source_connect(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                   bool *out_opened)
{
    int error;
    if (backend->n_sources > 0) {
        error = connect_from_any(proxy, leg, backend);
    } else {
        error = open_leg(leg, backend);
        error = error != 0 ? error : connect_to(proxy, leg->fd, 0, backend);
    }
    *out_opened = leg->fd >= 0;
    return error;
}

static bool can_come_from(const struct addr_ip *client, const struct addr_ip *backend)
{
    return client->family == backend->family && client->scope == 0 &&
           addr_ip_is_loopback(client) <= addr_ip_is_loopback(backend);
}

/* ip(7), ipv6(7): for an address that is not this machine's. */
static int allow_any_address(int fd, enum addr_family family)
{
    int result = family == ADDR_IPV4
                     ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &(int){1}, sizeof(int))
                     : setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &(int){1}, sizeof(int));
    return result == 0 ? 0 : errno;
}

static int connect_as(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                      const struct addr_ip *client)
{
    struct addr_ip own = *client;
    own.port = 0;
    if (allow_any_address(leg->fd, client->family) != 0 || bind_address(leg->fd, &own) != 0) {
        close_leg(leg);
        return SOURCE_NO_ADDRESS;
    }
    int error = connect_to(proxy, leg->fd, 0, backend);
    if (error != EADDRNOTAVAIL) {
        return error;
    }
    close_leg(leg);
    return count_no_port(proxy, backend);
}

int source_connect_as(struct proxy *proxy, struct leg *leg, const struct snapshot_backend *backend,
                      const struct addr_ip *client, bool *out_opened)
{
    int error = SOURCE_NO_ADDRESS;
    if (can_come_from(client, &backend->address.ip)) {
        error = open_leg(leg, backend);
        error = error != 0 ? error : connect_as(proxy, leg, backend, client);
    }
    *out_opened = leg->fd >= 0;
    return error;
}

void source_release(struct proxy *proxy, struct leg *leg)
{
    if (leg->pair != 0) {
        ports_give(proxy->sb, proxy->worker, leg->pair);
        leg->pair = 0;
    }
}

bool source_is_full(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    const struct snapshot_source *sources = sources_at(proxy, backend);
    /* One that failed counts again once it may be asked: nobody else would ask it here. */
    const struct search search = {.limit = limit_of(proxy), .probes = 1};
    bool any = false;
    for (uint32_t i = 0; i < backend->n_sources; i++) {
        if (rank_of(proxy, &sources[i], &search) != RANK_UNUSABLE) {
            return false;
        }
        any |= !ports_is_shut(proxy->sb, sources[i].pair, proxy->now_ms);
    }
    return any;
}

bool source_is_scarce(const struct proxy *proxy, const struct snapshot_backend *backend)
{
    const struct snapshot_source *sources = sources_at(proxy, backend);
    /* One that failed counts again once it may be asked: nobody else would ask it here. */
    const struct search search = {.limit = limit_of(proxy), .probes = 1};
    for (uint32_t i = 0; i < backend->n_sources; i++) {
        uint32_t rank = rank_of(proxy, &sources[i], &search);
        if (rank < RANK_LAST && (search.limit == 0 || rank < SCARCE_OF(search.limit))) {
            return false;
        }
    }
    return backend->n_sources > 0;
}
