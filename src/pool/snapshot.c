/*
 * Reading snapshots: the check that makes one safe to use, the mapping, the arrays in it. In
 * workers and monitor, and in master, which checks what it has made. The check treats the content
 * as hostile: it comes from another process, and a reader that believed a wrong index would read,
 * or reserve, where it must not.
 */
#include "sluice/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/nonce.h"
#include "sluice/scoreboard.h"

#define CHECKS_ALL ((POOLS_MAX + BACKENDS_MAX) * CHECKS_MAX) /* of pools, of backends */
#define WEIGHT_MAX 65535
#define PORT_MAX   65535

static const void *array_at(const struct snapshot_header *snapshot, uint32_t offset)
{
    return (const char *)snapshot + offset;
}

const struct snapshot_service *snapshot_services(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->services_offset);
}

const struct snapshot_listener *snapshot_listeners(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->listeners_offset);
}

const struct snapshot_pool *snapshot_pools(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->pools_offset);
}

const struct snapshot_backend *snapshot_backends(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->backends_offset);
}

const struct snapshot_check *snapshot_checks(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->checks_offset);
}

const struct snapshot_source *snapshot_sources(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->sources_offset);
}

const uint16_t *snapshot_entries(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->entries_offset);
}

const struct snapshot_arg *snapshot_args(const struct snapshot_header *snapshot)
{
    return array_at(snapshot, snapshot->args_offset);
}

const char *snapshot_text(const struct snapshot_header *snapshot, uint32_t offset)
{
    return (const char *)snapshot + snapshot->texts_offset + offset;
}

/* An array of the snapshot as its header describes it. */
struct array {
    uint64_t start, end; /* bytes */
    size_t align;
    uint32_t n, n_max;
};

#define ARRAY_OF(offset, count, type, max)                                                         \
    {                                                                                              \
        .start = (offset), .end = (offset) + (uint64_t)(count) * sizeof(type),                     \
        .align = _Alignof(type), .n = (count), .n_max = (max)                                      \
    }

static bool array_fits(const struct array *array, uint64_t size_bytes)
{
    return array->n <= array->n_max && array->start % array->align == 0 &&
           array->start >= sizeof(struct snapshot_header) && array->end <= size_bytes;
}

static bool arrays_overlap(const struct array *a, const struct array *b)
{
    return a->start < b->end && b->start < a->end;
}

static bool arrays_are_good(const struct snapshot_header *s)
{
    const struct array arrays[] = {
        ARRAY_OF(s->services_offset, s->n_services, struct snapshot_service, SERVICES_MAX),
        ARRAY_OF(s->listeners_offset, s->n_listeners, struct snapshot_listener, LISTENERS_MAX),
        ARRAY_OF(s->pools_offset, s->n_pools, struct snapshot_pool, POOLS_MAX),
        ARRAY_OF(s->backends_offset, s->n_backends, struct snapshot_backend, BACKENDS_MAX),
        ARRAY_OF(s->checks_offset, s->n_checks, struct snapshot_check, CHECKS_ALL),
        ARRAY_OF(s->entries_offset, s->n_entries, uint16_t, UINT32_MAX),
        ARRAY_OF(s->args_offset, s->n_args, struct snapshot_arg, UINT32_MAX),
        ARRAY_OF(s->sources_offset, s->n_sources, struct snapshot_source, UINT32_MAX),
        ARRAY_OF(s->texts_offset, s->n_text_bytes, char, UINT32_MAX),
    };
    const size_t n = sizeof(arrays) / sizeof(arrays[0]);

    for (size_t i = 0; i < n; i++) {
        if (!array_fits(&arrays[i], s->size_bytes))
            return false;
        for (size_t j = 0; j < i; j++) {
            if (arrays_overlap(&arrays[i], &arrays[j]))
                return false;
        }
    }
    return true;
}

static bool range_is_good(uint32_t first, uint32_t n, uint32_t n_all)
{
    return first <= n_all && n <= n_all - first;
}

static bool name_is_good(const char name[static NAME_BYTES_MAX])
{
    return name[0] != '\0' && memchr(name, '\0', NAME_BYTES_MAX) != NULL;
}

static bool address_is_good(const struct addr *address)
{
    return address->ip.family < ADDR_FAMILY_COUNT &&
           memchr(address->path, '\0', sizeof(address->path)) != NULL &&
           (address->ip.family != ADDR_UNIX || address->path[0] != '\0');
}

static bool rate_is_good(const struct snapshot_rate *rate)
{
    return rate->interval_ns == 0 ||
           (rate->burst > 0 && rate->burst <= UINT64_MAX / 4 / rate->interval_ns);
}

static bool service_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_service *service = &snapshot_services(s)[i];

    if (!name_is_good(service->name) || service->row >= SERVICES_MAX ||
        service->pool >= s->n_pools ||
        (service->fallback_pool != SNAPSHOT_NONE && service->fallback_pool >= s->n_pools) ||
        service->session_log > SESSION_LOG_ALL + SESSION_LOG_EVERY_MAX - 1 ||
        service->persistence_mask > 32 || service->persistence_mask6 > 128 ||
        service->admin >= ADMIN_COUNT || !rate_is_good(&service->accept_rate) ||
        !range_is_good(service->first_listener, service->n_listeners, s->n_listeners))
        return false;
    const struct snapshot_listener *listeners = &snapshot_listeners(s)[service->first_listener];
    for (uint32_t l = 0; l < service->n_listeners; l++) {
        if (listeners[l].service != i)
            return false;
    }
    return true;
}

static bool listener_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_listener *listener = &snapshot_listeners(s)[i];

    if (listener->service >= s->n_services || !address_is_good(&listener->address) ||
        listener->address.ip.family == ADDR_NONE)
        return false;
    const struct snapshot_service *service = &snapshot_services(s)[listener->service];
    return i - service->first_listener < service->n_listeners; /* wraps when before the first */
}

/* Without a way out of the loop, compilers look at many entries at once. */
static bool entries_are_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_pool *pool = &snapshot_pools(s)[i];
    const uint16_t *entries = snapshot_entries(s) + pool->first_entry;
    uint16_t largest = 0;

    for (uint32_t e = 0; e < pool->n_entries; e++)
        largest = entries[e] > largest ? entries[e] : largest;
    return pool->n_entries == 0 || largest < pool->n_backends;
}

/* What belongs to a framing is 0 in others. */
static bool framing_is_good(const struct snapshot_reuse *reuse)
{
    bool is_length = reuse->framing == FRAMING_LENGTH;
    bool is_resp = reuse->framing == FRAMING_RESP;
    uint32_t n = reuse->length_bytes;

    return reuse->framing < FRAMING_KIND_COUNT && reuse->length_little_endian <= is_length &&
           reuse->length_includes_header <= is_length && reuse->handshake_key <= is_resp &&
           reuse->scripts <= is_resp && (is_length ? n == 1 || n == 2 || n == 4 || n == 8 : n == 0);
}

static bool reset_text_is_good(const struct snapshot_header *s, uint32_t offset, uint32_t n)
{
    return n <= REUSE_RESET_BYTES_MAX && range_is_good(offset, n, s->n_text_bytes) &&
           (n == 0 || nonce_put(snapshot_text(s, offset), n, NULL, NULL) <= REUSE_RESET_BYTES_MAX);
}

/* Whether the mode has what it needs to know when an upstream is free, and nothing else. */
static bool proof_is_good(const struct snapshot_header *s, const struct snapshot_reuse *reuse)
{
    bool has_framing = reuse->framing != FRAMING_NONE;
    bool has_reset = reuse->reset_send_bytes > 0;

    if (has_reset != (reuse->reset_expect_bytes > 0) ||
        !reset_text_is_good(s, reuse->reset_send, reuse->reset_send_bytes) ||
        !reset_text_is_good(s, reuse->reset_expect, reuse->reset_expect_bytes))
        return false;
    if (reuse->mode == REUSE_SESSION)
        return has_framing != has_reset;
    return !has_reset && has_framing == (reuse->mode == REUSE_REQUEST);
}

static bool reuse_is_good(const struct snapshot_header *s, const struct snapshot_pool *pool)
{
    static const struct snapshot_reuse off;
    const struct snapshot_reuse *reuse = &pool->reuse;

    if (reuse->mode == REUSE_OFF)
        return memcmp(reuse, &off, sizeof(off)) == 0;
    return reuse->mode < REUSE_MODE_COUNT && reuse->policy < REUSE_POLICY_COUNT &&
           reuse->max_idle > 0 && reuse->max_idle <= REUSE_IDLE_MAX &&
           reuse->warm_min <= reuse->max_idle && framing_is_good(reuse) &&
           proof_is_good(s, reuse) &&
           (reuse->mode == REUSE_WARM || pool->send_proxy == SEND_PROXY_OFF);
}

static bool pool_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_pool *pool = &snapshot_pools(s)[i];

    return name_is_good(pool->name) && pool->row < POOLS_MAX && pool->start < START_COUNT &&
           pool->hash_key < HASH_KEY_COUNT && pool->backup_use < BACKUP_USE_COUNT &&
           pool->on_return < SESSIONS_COUNT && pool->on_down < SESSIONS_COUNT &&
           pool->transparent <= (pool->reuse.mode == REUSE_OFF) &&
           pool->send_proxy < SEND_PROXY_COUNT && pool->panic_threshold <= 100 &&
           pool->outlier.max_ejected <= 100 && pool->paused <= 1 &&
           range_is_good(pool->first_backend, pool->n_backends, s->n_backends) &&
           range_is_good(pool->first_entry, pool->n_entries, s->n_entries) &&
           reuse_is_good(s, pool);
}

static bool resume_is_good(const struct snapshot_backend *backend)
{
    if (backend->max_connections == 0)
        return backend->resume_connections == 0;
    return backend->resume_connections > 0 &&
           backend->resume_connections <= backend->max_connections;
}

static bool sources_are_good(const struct snapshot_header *s,
                             const struct snapshot_backend *backend)
{
    if (!range_is_good(backend->first_source, backend->n_sources, s->n_sources))
        return false;
    const struct snapshot_source *sources = &snapshot_sources(s)[backend->first_source];
    uint8_t family = backend->address.ip.family;
    for (uint32_t i = 0; i < backend->n_sources; i++) {
        bool is_any = sources[i].ip.family == ADDR_NONE && backend->n_sources == 1;
        if ((!is_any && sources[i].ip.family != family) || sources[i].pair >= SB_PAIRS_MAX)
            return false;
    }
    return backend->n_sources == 0 || family == ADDR_IPV4 || family == ADDR_IPV6;
}

static bool backend_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_backend *backend = &snapshot_backends(s)[i];

    return name_is_good(backend->name) && address_is_good(&backend->address) &&
           backend->slot < SB_SLOTS_MAX && backend->row < BACKENDS_MAX &&
           address_is_good(&backend->check_address) && backend->weight <= WEIGHT_MAX &&
           backend->admin < ADMIN_COUNT && backend->said_health < SAID_COUNT &&
           backend->backup <= 1 && resume_is_good(backend) &&
           rate_is_good(&backend->connect_rate) && backend->n_checks <= CHECKS_MAX &&
           range_is_good(backend->first_check, backend->n_checks, s->n_checks) &&
           sources_are_good(s, backend);
}

static bool check_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_check *check = &snapshot_checks(s)[i];

    return name_is_good(check->kind) && name_is_good(check->title) && check->port <= PORT_MAX &&
           range_is_good(check->first_arg, check->n_args, s->n_args);
}

static bool texts_are_good(const struct snapshot_header *s)
{
    return s->n_text_bytes == 0 || snapshot_text(s, s->n_text_bytes - 1)[0] == '\0';
}

static bool arg_is_good(const struct snapshot_header *s, uint32_t i)
{
    const struct snapshot_arg *arg = &snapshot_args(s)[i];

    return arg->name < s->n_text_bytes && arg->value < s->n_text_bytes;
}

static bool all_good(const struct snapshot_header *s, uint32_t n,
                     bool (*is_good)(const struct snapshot_header *s, uint32_t i))
{
    for (uint32_t i = 0; i < n; i++) {
        if (!is_good(s, i))
            return false;
    }
    return true;
}

static bool networks_are_good(const struct snapshot_header *s)
{
    for (uint32_t i = 0; i < s->n_status_allow; i++) {
        const struct addr_cidr *network = &s->status_allow[i];
        bool is_ipv4 = network->ip.family == ADDR_IPV4;
        if ((!is_ipv4 && network->ip.family != ADDR_IPV6) || network->prefix > (is_ipv4 ? 32 : 128))
            return false;
    }
    return true;
}

/* All but the entries of hash tables. */
static bool is_good(const void *map, uint64_t size_bytes)
{
    const struct snapshot_header *s = map;

    if (map == NULL || (uintptr_t)map % _Alignof(struct snapshot_header) != 0 ||
        size_bytes < sizeof(*s))
        return false;
    if (s->magic != SNAPSHOT_MAGIC || s->layout != SNAPSHOT_LAYOUT || s->generation == 0 ||
        s->size_bytes != size_bytes || s->n_status_allow > STATUS_ALLOW_MAX ||
        !networks_are_good(s))
        return false;
    /* In this order: services look at listeners and the other way round, so bounds come first. */
    return arrays_are_good(s) && all_good(s, s->n_services, service_is_good) &&
           all_good(s, s->n_listeners, listener_is_good) && all_good(s, s->n_pools, pool_is_good) &&
           all_good(s, s->n_backends, backend_is_good) && all_good(s, s->n_checks, check_is_good) &&
           texts_are_good(s) && all_good(s, s->n_args, arg_is_good);
}

int snapshot_check(const void *map, uint64_t size_bytes)
{
    const struct snapshot_header *s = map;

    return is_good(map, size_bytes) && all_good(s, s->n_pools, entries_are_good) ? 0 : -EINVAL;
}

/* Whether nobody can change or cut the file any more: a cut one would kill its readers. */
static bool is_sealed(int fd)
{
    const int needed = F_SEAL_WRITE | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & needed) == needed;
}

const struct snapshot_header *snapshot_map(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return NULL;
    if (!is_sealed(fd) || st.st_size < (off_t)sizeof(struct snapshot_header)) {
        errno = EINVAL;
        return NULL;
    }
    size_t size = (size_t)st.st_size;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (!is_good(map, size)) {
        munmap(map, size);
        errno = EINVAL;
        return NULL;
    }
    return map;
}

void snapshot_unmap(const struct snapshot_header *snapshot)
{
    if (snapshot != NULL)
        munmap((void *)(uintptr_t)snapshot, snapshot->size_bytes);
}
