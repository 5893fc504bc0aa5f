/*
 * What the chooser's tests share: a small snapshot in memory, built by hand, and a scoreboard.
 * Pools are called "p0", "p1" …, their backends "a", "b" …; slots and rows count through all of
 * them from BED_SLOT and BED_ROW on. Hash tables are shorter than master makes them: choosers take
 * any size.
 */
#ifndef TEST_SCHED_FIXTURE_H
#define TEST_SCHED_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/choose.h"
#include "sched/maglev.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define BED_SERVICES 3
#define BED_POOLS    4
#define BED_BACKENDS 1024 /* of all pools */
#define BED_SOURCES  32   /* of the first backends, one each, once they are given ports */
#define BED_ENTRIES  1021 /* a prime */
#define BED_WORKERS  4
#define BED_SLOT     10
#define BED_ROW      20
#define BED_START_MS 1000000

struct bed {
    struct snapshot_header header;
    struct snapshot_service services[BED_SERVICES];
    struct snapshot_pool pools[BED_POOLS];
    struct snapshot_backend backends[BED_BACKENDS];
    struct snapshot_check check;
    uint16_t entries[BED_POOLS * BED_ENTRIES];
    struct snapshot_source sources[BED_SOURCES];
};

static struct bed bed; /* what is edited and what new choosers are made from */
static struct scoreboard sb;
static uint64_t now_us;

static inline uint64_t bed_now_ms(void)
{
    return now_us / 1000;
}

static inline void bed_wait(uint64_t ms)
{
    now_us += ms * 1000;
}

/* --- the snapshot --- */

static inline struct snapshot_pool *bed_add_pool(const char *scheduler, uint32_t n_backends)
{
    uint32_t p = bed.header.n_pools++;
    struct snapshot_pool *pool = &bed.pools[p];

    *pool = (struct snapshot_pool){.scheduler = sched_find(scheduler),
                                   .first_backend = bed.header.n_backends,
                                   .n_backends = n_backends,
                                   .row = p,
                                   .min_healthy = 1};
    (void)snprintf(pool->name, sizeof(pool->name), "p%u", p);
    for (uint32_t i = 0; i < n_backends; i++) {
        uint32_t at = bed.header.n_backends++;
        bed.backends[at] = (struct snapshot_backend){
            .address.ip = {.port = 1, .family = ADDR_IPV4},
            .slot = BED_SLOT + at,
            .row = BED_ROW + at,
            .weight = 1,
            .n_checks = 1,
        };
        (void)snprintf(bed.backends[at].name, NAME_BYTES_MAX, i < 26 ? "%c" : "b%u",
                       i < 26 ? 'a' + i : i);
    }
    return pool;
}

static inline struct snapshot_service *bed_add_service(uint32_t pool)
{
    uint32_t s = bed.header.n_services++;
    struct snapshot_service *service = &bed.services[s];

    *service = (struct snapshot_service){.row = s,
                                         .pool = pool,
                                         .fallback_pool = SNAPSHOT_NONE,
                                         .persistence_mask = 32,
                                         .persistence_mask6 = 128};
    (void)snprintf(service->name, sizeof(service->name), "s%u", s);
    return service;
}

static inline struct snapshot_backend *bed_backend(uint32_t pool, uint32_t i)
{
    return &bed.backends[bed.pools[pool].first_backend + i];
}

static inline uint32_t bed_slot(uint32_t pool, uint32_t i)
{
    return bed_backend(pool, i)->slot;
}

static inline void bed_build_table(struct snapshot_pool *pool, uint32_t p)
{
    struct maglev_backend backends[BED_BACKENDS];

    for (uint32_t i = 0; i < pool->n_backends; i++) {
        const struct snapshot_backend *from = &bed.backends[pool->first_backend + i];
        backends[i] = maglev_backend(from->name, from->weight, bed.header.hash_seed, BED_ENTRIES);
    }
    pool->first_entry = p * BED_ENTRIES;
    int err =
        maglev_build(backends, pool->n_backends, BED_ENTRIES, &bed.entries[pool->first_entry]);
    pool->n_entries = err == 0 ? BED_ENTRIES : 0;
}

/* After every edit, before it is used. */
static inline void bed_seal(void)
{
    for (uint32_t p = 0; p < bed.header.n_pools; p++) {
        struct snapshot_pool *pool = &bed.pools[p];
        pool->n_entries = 0;
        if (pool->scheduler != SCHED_NONE && pool->scheduler < 1000 &&
            sched_table[pool->scheduler]->has_table)
            bed_build_table(pool, p);
    }
    ck_assert_int_eq(snapshot_check(&bed, sizeof(bed)), 0);
}

static inline void bed_set_health(uint32_t pool, uint32_t i, enum sb_health health)
{
    (void)scoreboard_set_health(&sb, bed_slot(pool, i), health, "", bed_now_ms());
}

/* As at the daemon's start: no slow start. */
static inline void bed_set_all_health(enum sb_health health)
{
    for (uint32_t i = 0; i < bed.header.n_backends; i++) {
        atomic_store(&sb.slots[bed.backends[i].slot].fresh, 1);
        (void)scoreboard_set_health(&sb, bed.backends[i].slot, health, "", bed_now_ms());
    }
}

/* As master does it. */
static inline void bed_set_limit(uint32_t pool, uint32_t i, uint32_t limit, uint32_t resume)
{
    struct snapshot_backend *backend = bed_backend(pool, i);

    backend->max_connections = limit;
    backend->resume_connections = limit != 0 && resume == 0 ? (limit * 3 + 3) / 4 : resume;
    atomic_store(&sb.slot_full[backend->slot],
                 limit != 0 && atomic_load(&sb.slot_active[backend->slot]) >= limit);
}

/* Gives backend i of the first pool so many ports to be connected to from, of which so many are in
 * use. */
static inline void bed_set_ports(uint32_t i, uint32_t ports, uint32_t used)
{
    uint32_t pair = i + 1;

    bed.header.n_sources = BED_SOURCES;
    bed.sources[i].pair = pair;
    bed.backends[i].first_source = i;
    bed.backends[i].n_sources = 1;
    atomic_store(&sb.header->ports, ports);
    atomic_store(&sb.pairs[pair].used, used);
}

/* An empty snapshot and a new scoreboard. */
static inline void bed_setup(void)
{
    memset(&bed, 0, sizeof(bed));
    bed.header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = 1,
        .size_bytes = sizeof(bed),
        .n_checks = 1,
        .n_entries = BED_POOLS * BED_ENTRIES,
        .services_offset = offsetof(struct bed, services),
        .listeners_offset = offsetof(struct bed, pools),
        .pools_offset = offsetof(struct bed, pools),
        .backends_offset = offsetof(struct bed, backends),
        .checks_offset = offsetof(struct bed, check),
        .entries_offset = offsetof(struct bed, entries),
        .args_offset = sizeof(struct bed),
        .sources_offset = offsetof(struct bed, sources),
        .texts_offset = sizeof(struct bed),
        .hash_seed = 4711,
    };
    strcpy(bed.check.kind, "tcp");
    strcpy(bed.check.title, "tcp");
    now_us = UINT64_C(1000) * BED_START_MS;
    ck_assert_int_eq(scoreboard_create(&sb, BED_WORKERS, BED_START_MS, 1), 0);
}

/* --- choosers --- */

/* The snapshots of choosers that may still be used, while bed is edited for the next ones. */
struct bed_copy {
    struct bed_copy *next;
    struct bed bed;
};

static struct bed_copy *bed_copies;

static inline void bed_teardown(void)
{
    while (bed_copies != NULL) {
        struct bed_copy *copy = bed_copies;
        bed_copies = copy->next;
        free(copy);
    }
    scoreboard_destroy(&sb);
}

/* The next generation's snapshot, until teardown. */
static inline const struct snapshot_header *bed_publish(void)
{
    struct bed_copy *copy = malloc(sizeof(*copy));

    ck_assert_ptr_nonnull(copy);
    bed_seal();
    copy->bed = bed;
    copy->next = bed_copies;
    bed_copies = copy;
    bed.header.generation++;
    return &copy->bed.header;
}

static inline struct chooser *bed_open(uint32_t worker, const struct chooser *previous)
{
    struct chooser *chooser = chooser_create(bed_publish(), &sb, worker, bed_now_ms(), previous);
    ck_assert_ptr_nonnull(chooser);
    return chooser;
}

static inline struct addr_ip bed_client(uint32_t number)
{
    return (struct addr_ip){
        .bytes = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
        .port = 999,
        .family = ADDR_IPV4};
}

static inline enum choice bed_choose(struct chooser *chooser, uint32_t service, uint32_t client,
                                     struct chosen *out)
{
    struct addr_ip address = bed_client(client);
    struct choose_request request = {
        .service = service, .client = &address, .destination = &address, .now_us = now_us};
    return chooser_choose(chooser, &request, out);
}

/* For service 0, by one that has tried some. */
static inline enum choice bed_retry(struct chooser *chooser, uint32_t client,
                                    const struct choose_tried *tried, uint32_t n_tried, bool again,
                                    struct chosen *out)
{
    struct addr_ip address = bed_client(client);
    struct choose_request request = {.client = &address,
                                     .destination = &address,
                                     .tried = tried,
                                     .n_tried = n_tried,
                                     .now_us = now_us,
                                     .again = again};
    return chooser_choose(chooser, &request, out);
}

#endif
