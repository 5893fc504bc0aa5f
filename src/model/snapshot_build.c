/*
 * Writes a planned model as one block: header, services, listeners, pools, backends, checks,
 * arguments of checks, texts of these and of reset exchanges; and, one at a time, the hash tables
 * that stand behind it. A pool's checks stand once, shared by its backends; a backend's own stand
 * for themselves. In master.
 */
#include "snapshot_build.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "args.h"
#include "outlier.h"
#include "reuse.h"
#include "sched/maglev.h"
#include "sched/sched.h"
#include "sluice/limits.h"
#include "sources.h"
#include "tables.h"

#define ALIGNMENT 8

/* What all hash tables can come to, so that no number of entries or offset overflows. */
#define ENTRIES_MAX                                                                                \
    ((uint64_t)POOLS_MAX * MAGLEV_SIZE +                                                           \
     (uint64_t)(BACKENDS_MAX / MAGLEV_LARGE_FROM) * MAGLEV_SIZE_LARGE)
_Static_assert(ENTRIES_MAX * sizeof(uint16_t) < UINT32_C(512) << 20, "hash tables fit into 512 MB");

/* Where everything goes, and how far the filling has come. */
struct layout {
    struct snapshot_header header;
    struct snapshot_service *services;
    struct snapshot_listener *listeners;
    struct snapshot_pool *pools;
    struct snapshot_backend *backends;
    struct snapshot_source *sources;
    struct snapshot_check *checks;
    struct snapshot_arg *args;
    char *texts;
    /* Filled so far: */
    uint32_t service, listener, pool, backend, source, check, entry, arg, text;
};

static void count_checks(const struct model_check *checks, size_t n, size_t *n_checks,
                         size_t *n_args, size_t *n_bytes)
{
    *n_checks += n;
    for (size_t i = 0; i < n; i++) {
        args_count(&checks[i], n_args, n_bytes);
    }
}

/* Returns false beyond a bound. */
static bool count_pools(const struct model *model, struct snapshot_header *header)
{
    size_t n_backends = 0, n_checks = 0, n_args = 0, n_bytes = 0;
    size_t n_sources = 0;
    size_t n_reset_bytes = 0; /* a few KiB for each pool at most */

    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        n_backends += pool->n_backends;
        n_sources += sources_needed(pool);
        n_reset_bytes += reuse_text_bytes(&pool->reuse);
        count_checks(pool->checks, pool->n_checks, &n_checks, &n_args, &n_bytes);
        for (size_t j = 0; j < pool->n_backends; j++) {
            const struct model_backend *backend = &pool->backends[j];

            count_checks(backend->own_checks, backend->n_own_checks, &n_checks, &n_args, &n_bytes);
        }
    }
    if (model->n_pools > POOLS_MAX || n_backends > BACKENDS_MAX || n_bytes > ARGS_BYTES_MAX ||
        n_sources > SOURCES_ALL_MAX + BACKENDS_MAX) {
        return false;
    }
    header->n_pools = (uint32_t)model->n_pools;
    header->n_backends = (uint32_t)n_backends;
    header->n_sources = (uint32_t)n_sources;
    header->n_checks = (uint32_t)n_checks;
    header->n_args = (uint32_t)n_args;
    header->n_text_bytes = (uint32_t)(n_bytes + n_reset_bytes);
    return true;
}

static bool count(const struct model *model, struct snapshot_header *header)
{
    size_t n_listeners = 0;

    for (size_t i = 0; i < model->n_services; i++) {
        n_listeners += model->services[i].n_listeners;
    }
    if (model->n_services > SERVICES_MAX || n_listeners > LISTENERS_MAX) {
        return false;
    }
    header->n_services = (uint32_t)model->n_services;
    header->n_listeners = (uint32_t)n_listeners;
    return count_pools(model, header);
}

static uint32_t reserve(uint64_t *size, uint32_t n, size_t bytes)
{
    uint32_t offset = (uint32_t)*size;

    *size += (uint64_t)n * bytes;
    *size = (*size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

/* Of all but the hash tables, which are placed when their pools are. Bounds on the counts keep all
 * of it well under 4 GiB. */
static void set_offsets(struct snapshot_header *header)
{
    uint64_t size = 0;

    (void)reserve(&size, 1, sizeof(struct snapshot_header));
    header->services_offset = reserve(&size, header->n_services, sizeof(struct snapshot_service));
    header->listeners_offset =
        reserve(&size, header->n_listeners, sizeof(struct snapshot_listener));
    header->pools_offset = reserve(&size, header->n_pools, sizeof(struct snapshot_pool));
    header->backends_offset = reserve(&size, header->n_backends, sizeof(struct snapshot_backend));
    header->sources_offset = reserve(&size, header->n_sources, sizeof(struct snapshot_source));
    header->checks_offset = reserve(&size, header->n_checks, sizeof(struct snapshot_check));
    header->args_offset = reserve(&size, header->n_args, sizeof(struct snapshot_arg));
    header->texts_offset = reserve(&size, header->n_text_bytes, 1);
    header->entries_offset = (uint32_t)size;
}

/* So many, then one per interval: rounded up, so that the rate is not exceeded. */
/* Whoever waits for a rate wakes up by timers of a millisecond: what comes within a few of those
 * has to be let in together, or fast rates would never be reached. */
#define RATE_GRAIN_MS 5

static struct snapshot_rate convert_rate(const struct units_rate *rate)
{
    uint64_t per_ns = UINT64_C(1000000) * rate->per_ms;
    uint64_t burst = rate->burst;
    uint64_t least;

    if (rate->count == 0) {
        return (struct snapshot_rate){0};
    }
    if (burst == 0) {
        burst = UINT64_C(100) * rate->count / rate->per_ms; /* a tenth of a second's worth */
    }
    least = ((uint64_t)RATE_GRAIN_MS * rate->count + rate->per_ms - 1) / rate->per_ms;
    return (struct snapshot_rate){.interval_ns = (per_ns + rate->count - 1) / rate->count,
                                  .burst = (uint32_t)(burst > least ? burst : least)};
}

static void fill_service(struct layout *layout, const struct model_service *from)
{
    struct snapshot_service *to = &layout->services[layout->service];

    *to = (struct snapshot_service){
        .row = from->row,
        .pool = from->pool_index,
        .first_listener = layout->listener,
        .n_listeners = (uint32_t)from->n_listeners,
        .idle_timeout_ms = from->idle_timeout_ms,
        .half_close_timeout_ms = from->half_close_timeout_ms,
        .keepalive_ms = from->keepalive_ms,
        .user_timeout_ms = from->user_timeout_ms,
        .max_connections = from->max_connections,
        .fallback_pool = from->fallback_index,
        .persistence_ms = from->persistence_ms,
        .persistence_mask = from->persistence_mask,
        .persistence_mask6 = from->persistence_mask6,
        .session_log = from->session_log,
        .admin = from->admin,
        .accept_rate = convert_rate(&from->accept_rate),
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
    for (size_t i = 0; i < from->n_listeners; i++) {
        layout->listeners[layout->listener++] = (struct snapshot_listener){
            .address = from->listeners[i].address,
            .id = from->listeners[i].id,
            .service = layout->service,
        };
    }
    layout->service++;
}

static uint32_t fill_text(struct layout *layout, const char *text)
{
    uint32_t offset = layout->text;
    size_t bytes = strlen(text) + 1;

    memcpy(layout->texts + offset, text, bytes);
    layout->text += (uint32_t)bytes;
    return offset;
}

static void fill_arg(void *data, const char *name, const char *value)
{
    struct layout *layout = data;
    struct snapshot_arg *to = &layout->args[layout->arg++];

    to->name = fill_text(layout, name);
    to->value = fill_text(layout, value);
}

/* Returns the index of the first. */
static uint32_t fill_checks(struct layout *layout, const struct model_check *from, size_t n)
{
    uint32_t first = layout->check;

    for (size_t i = 0; i < n; i++) {
        struct snapshot_check *to = &layout->checks[layout->check++];

        *to = (struct snapshot_check){
            .interval_ms = from[i].interval_ms,
            .fast_interval_ms = from[i].fast_interval_ms,
            .down_interval_ms = from[i].down_interval_ms,
            .timeout_ms = from[i].timeout_ms,
            .rise = from[i].rise,
            .fall = from[i].fall,
            .port = from[i].port,
            .first_arg = layout->arg,
            .args_hash = args_hash(&from[i]),
        };
        args_each(&from[i], fill_arg, layout);
        to->n_args = layout->arg - to->first_arg;
        (void)strlcpy(to->kind, from[i].kind, sizeof(to->kind));
        (void)strlcpy(to->title, from[i].title, sizeof(to->title));
    }
    return first;
}

/* The pairs' numbers come later: pairs.h. */
static uint32_t fill_sources(struct layout *layout, const struct source_list *sources,
                             enum addr_family family)
{
    uint32_t first = layout->source;

    if (family != ADDR_IPV4 && family != ADDR_IPV6) {
        return 0;
    }
    for (size_t i = 0; i < sources->n; i++) {
        if (sources->items[i].family == family) {
            layout->sources[layout->source++].ip = sources->items[i];
        }
    }
    if (layout->source == first) {
        layout->source++; /* the kernel's choice */
    }
    return layout->source - first;
}

static void fill_backend(struct layout *layout, const struct model_pool *pool,
                         const struct source_list *sources, uint32_t first_pool_check,
                         const struct model_backend *from)
{
    uint32_t first_source = layout->source;
    uint32_t n_sources =
        pool->transparent ? 0 : fill_sources(layout, sources, from->address.ip.family);
    struct snapshot_backend *to = &layout->backends[layout->backend++];
    uint32_t first_own_check = fill_checks(layout, from->own_checks, from->n_own_checks);
    size_t n_checks;

    (void)model_backend_checks(pool, from, &n_checks);
    *to = (struct snapshot_backend){
        .address = from->address,
        .slot = from->slot,
        .row = from->row,
        .weight = from->weight,
        .max_connections = from->max_connections,
        .first_check = from->n_own_checks > 0 ? first_own_check : first_pool_check,
        .n_checks = (uint32_t)n_checks,
        .admin = from->admin,
        .resume_connections = model_backend_resume(from),
        .backup = from->backup ? 1 : 0,
        .said_health = from->said_health,
        .connect_rate = convert_rate(&from->connect_rate),
        .check_address = model_backend_check_address(from),
        .first_source = first_source,
        .n_sources = n_sources,
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
}

/* Pools of the same servers are common: they share a table. */
static void place_table(struct layout *layout, const struct model_pool *from,
                        struct snapshot_pool *pool)
{
    pool->n_entries = table_size(from);
    if (pool->n_entries == 0) {
        return;
    }
    pool->table_inputs = table_inputs(from, pool->n_entries, layout->header.hash_seed);
    for (const struct snapshot_pool *other = layout->pools; other < pool; other++) {
        if (table_is_same(other, pool)) {
            pool->first_entry = other->first_entry;
            return;
        }
    }
    pool->first_entry = layout->entry;
    layout->entry += pool->n_entries;
}

/* Once all tables have their places. */
static void fill_status_allow(const struct model *model, struct snapshot_header *header)
{
    char *const *list = model->global.status_allow;
    const char *problem;

    for (size_t i = 0; list != NULL && list[i] != NULL && i < STATUS_ALLOW_MAX; i++) {
        if (addr_cidr_parse(list[i], &header->status_allow[header->n_status_allow], &problem) ==
            0) {
            header->n_status_allow++;
        }
    }
}

static void finish_header(const struct layout *layout, struct snapshot_header *header)
{
    uint64_t size = header->entries_offset;

    header->n_entries = layout->entry;
    (void)reserve(&size, header->n_entries, sizeof(uint16_t));
    header->size_bytes = size;
}

static void fill_pool(struct layout *layout, const struct model_pool *from)
{
    struct snapshot_pool *to = &layout->pools[layout->pool++];
    uint32_t first_check = fill_checks(layout, from->checks, from->n_checks);
    struct source_list sources;

    sources_of(from, &sources);
    *to = (struct snapshot_pool){
        .scheduler = sched_find(from->scheduler),
        .first_backend = layout->backend,
        .n_backends = (uint32_t)from->n_backends,
        .connect_timeout_ms = from->connect_timeout_ms,
        .retries = from->retries,
        .keepalive_ms = from->keepalive_ms,
        .user_timeout_ms = from->user_timeout_ms,
        .start = from->start,
        .row = from->row,
        .hash_key = from->hash_key,
        .queue = from->queue,
        .queue_timeout_ms = from->queue_timeout_ms,
        .slow_start_ms = from->slow_start_ms,
        .panic_threshold = from->panic_threshold,
        .min_healthy = from->min_healthy,
        .backup_use = from->backup_use,
        .on_return = from->on_return,
        .on_down = from->on_down,
        .require_any = from->require == REQUIRE_ANY,
        .outlier = outlier_snapshot(&from->outlier),
        .reuse = reuse_snapshot(from, layout->texts, &layout->text),
        .send_proxy = from->send_proxy,
        .transparent = from->transparent ? 1 : 0,
        .paused = from->paused ? 1 : 0,
    };
    (void)strlcpy(to->name, from->name, sizeof(to->name));
    for (size_t i = 0; i < from->n_backends; i++) {
        fill_backend(layout, from, &sources, first_check, &from->backends[i]);
    }
    place_table(layout, from, to);
}

static void set_arrays(struct layout *layout, char *bytes)
{
    const struct snapshot_header *header = &layout->header;

    layout->services = (void *)(bytes + header->services_offset);
    layout->listeners = (void *)(bytes + header->listeners_offset);
    layout->pools = (void *)(bytes + header->pools_offset);
    layout->backends = (void *)(bytes + header->backends_offset);
    layout->sources = (void *)(bytes + header->sources_offset);
    layout->checks = (void *)(bytes + header->checks_offset);
    layout->args = (void *)(bytes + header->args_offset);
    layout->texts = bytes + header->texts_offset;
}

void *snapshot_build(const struct model *model, uint32_t generation, uint64_t hash_seed,
                     size_t *out_bytes)
{
    const char *given_seed = model->global.hash_seed;
    struct layout layout = {
        .header = {.magic = SNAPSHOT_MAGIC,
                   .layout = SNAPSHOT_LAYOUT,
                   .generation = generation,
                   .max_connections = model->global.max_connections,
                   .buffer_bytes = model->global.buffer_bytes,
                   .hash_seed = given_seed != NULL ? XXH3_64bits(given_seed, strlen(given_seed))
                                                   : hash_seed},
    };
    const struct snapshot_header *header = &layout.header;
    char *bytes;

    if (!count(model, &layout.header)) {
        return NULL;
    }
    set_offsets(&layout.header);
    bytes = calloc(1, header->entries_offset);
    if (bytes == NULL) {
        return NULL;
    }
    fill_status_allow(model, &layout.header);
    memcpy(bytes, header, sizeof(*header));
    set_arrays(&layout, bytes);
    for (size_t i = 0; i < model->n_services; i++) {
        fill_service(&layout, &model->services[i]);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        fill_pool(&layout, &model->pools[i]);
    }
    finish_header(&layout, (struct snapshot_header *)bytes);
    *out_bytes = header->entries_offset;
    return bytes;
}

static uint32_t largest_table(const struct snapshot_header *built)
{
    uint32_t largest = 0;

    for (uint32_t i = 0; i < built->n_pools; i++) {
        uint32_t n = snapshot_pools(built)[i].n_entries;

        largest = n > largest ? n : largest;
    }
    return largest;
}

int snapshot_put_tables(const struct model *model, const struct snapshot_header *built,
                        const struct snapshot_header *previous, snapshot_put_fn *put, void *arg)
{
    uint16_t *room = calloc(largest_table(built) + 1, sizeof(*room));
    uint32_t n_put = 0;
    int rc = room == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; rc == 0 && i < built->n_pools; i++) {
        const struct snapshot_pool *pool = &snapshot_pools(built)[i];

        if (pool->n_entries == 0 || pool->first_entry < n_put) { /* has none; shares one */
            continue;
        }
        const uint16_t *entries = table_find(previous, pool);
        if (entries == NULL) {
            rc = table_build(&model->pools[i], pool->n_entries, built->hash_seed, room);
            entries = room;
        }
        if (rc == 0) {
            rc = put(arg, entries, pool->n_entries * sizeof(*entries));
        }
        n_put += pool->n_entries;
    }
    free(room);
    return rc;
}
