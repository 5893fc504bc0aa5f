/*
 * Which clients change their backend between two snapshots. One key is tried for each entry of the
 * old table, so that where only backends come and go, the share is exact. In master.
 */
#include "moved.h"

#include <stdlib.h>
#include <string.h>

#include "lookup.h"
#include "sched/sched.h"
#include "tables.h"

#define PROBES_MAX 64 /* as workers do: sched/hash.c */

/* A pool of one of the two. */
struct side {
    const struct snapshot_header *header;
    const struct snapshot_pool *pool;
    const struct snapshot_backend *backends;
    const uint16_t *entries;
    bool *out;       /* by backend: kept out by the file itself */
    uint32_t *there; /* of the old side, by backend: its index on the new one, or LOOKUP_NONE */
};

static bool is_by_hash(const struct snapshot_pool *pool)
{
    return pool->n_entries > 1 && sched_table[pool->scheduler]->kind == SCHED_BY_HASH;
}

static bool is_by_destination(const struct snapshot_pool *pool)
{
    return strcmp(sched_table[pool->scheduler]->name, "dh") == 0;
}

/* What of a client its key is made from, for schedulers that go by clients. */
static uint32_t key_of(const struct snapshot_pool *pool)
{
    return strcmp(sched_table[pool->scheduler]->name, "sh") == 0 ? (uint32_t)HASH_KEY_SOURCE
                                                                 : pool->hash_key;
}

/* Whether a client has the same key on both sides. If not, its two choices are independent. */
static bool has_same_key(const struct side *was, const struct side *now)
{
    return was->header->hash_seed == now->header->hash_seed &&
           is_by_destination(was->pool) == is_by_destination(now->pool) &&
           (is_by_destination(was->pool) || key_of(was->pool) == key_of(now->pool));
}

/* Backups stay out while there is a primary that may be chosen. Without anybody else, all are in.
 */
static void find_out(struct side *side)
{
    uint32_t n = side->pool->n_backends;
    bool has_primary = false;
    bool has_any = false;

    for (uint32_t i = 0; i < n; i++) {
        const struct snapshot_backend *backend = &side->backends[i];

        side->out[i] = backend->admin != ADMIN_READY || backend->weight == 0;
        has_any = has_any || !side->out[i];
        has_primary = has_primary || (!side->out[i] && backend->backup == 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        side->out[i] = has_any && (side->out[i] || (has_primary && side->backends[i].backup != 0));
    }
}

/* Returns false without memory. */
static bool side_init(struct side *side, const struct snapshot_header *header,
                      const struct snapshot_pool *pool)
{
    *side = (struct side){
        .header = header,
        .pool = pool,
        .backends = snapshot_backends(header) + pool->first_backend,
        .entries = snapshot_entries(header) + pool->first_entry,
        .out = calloc(pool->n_backends, sizeof(*side->out)),
        .there = calloc(pool->n_backends, sizeof(*side->there)),
    };
    if (side->out == NULL || side->there == NULL) {
        return false;
    }
    find_out(side);
    return true;
}

static void side_fini(struct side *side)
{
    free(side->out);
    free(side->there);
}

static bool match_names(struct side *was, const struct side *now)
{
    LOOKUP_AUTO names = {0};

    if (lookup_init(&names, now->pool->n_backends) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < now->pool->n_backends; i++) {
        (void)lookup_add(&names, now->backends[i].name, strlen(now->backends[i].name), i);
    }
    for (uint32_t i = 0; i < was->pool->n_backends; i++) {
        was->there[i] = lookup_find(&names, was->backends[i].name, strlen(was->backends[i].name));
    }
    return true;
}

/* Where a key's way leads that begins at an entry whose backend is out: to the first that is not.
 */
static uint32_t go_on(const struct side *side, uint64_t at, uint64_t key)
{
    uint64_t size = side->pool->n_entries;
    uint64_t step = 1 + (sched_mix(key) >> 32) % (size - 1);

    for (int probe = 1; probe < PROBES_MAX; probe++) {
        at += step;
        at -= at >= size ? size : 0;
        if (!side->out[side->entries[at]]) {
            return side->entries[at];
        }
    }
    return LOOKUP_NONE;
}

static uint32_t choose(const struct side *side, uint64_t at, uint64_t key)
{
    uint32_t first = side->entries[at];

    return side->out[first] ? go_on(side, at, key) : first;
}

/* Whether a client whose entry on the old side is i goes elsewhere. Any key of that entry will do;
 * on the other side, where clients have other keys, any key at all. */
static bool is_moved(const struct side *was, const struct side *now, uint32_t i, bool same_key)
{
    uint64_t key = i + (uint64_t)was->pool->n_entries * (sched_mix(i) >> 24);
    uint64_t new_key = same_key ? key : sched_mix(~key);
    uint32_t before = choose(was, i, key);
    uint32_t after = choose(now, new_key % now->pool->n_entries, new_key);

    return (before == LOOKUP_NONE ? LOOKUP_NONE : was->there[before]) != after;
}

/* Of a million clients. */
static uint32_t share_moved(const struct side *was, const struct side *now)
{
    uint32_t size = was->pool->n_entries;
    bool same_key = has_same_key(was, now);
    bool is_aligned = same_key && now->pool->n_entries == size;
    uint64_t moved = 0;

    for (uint32_t i = 0; i < size; i++) {
        uint32_t before = was->entries[i];
        uint32_t after = is_aligned ? now->entries[i] : 0;

        if (is_aligned && !was->out[before] && !now->out[after]) { /* the usual case, and fast */
            moved += was->there[before] != after;
        } else {
            moved += is_moved(was, now, i, same_key);
        }
    }
    return (uint32_t)(moved * 1000000 / size);
}

static void add_line(const char *name, uint32_t share, bool would, struct change_list *out)
{
    uint32_t permille = (share + 500) / 1000;

    if (share == 0) {
        return;
    }
    if (permille == 0) {
        change_add(out, "pool %s: less than 0.1 %% of clients %s to another backend", name,
                   would ? "would go" : "go");
        return;
    }
    change_add(out, "pool %s: %u.%u %% of clients %s to another backend", name, permille / 10,
               permille % 10, would ? "would go" : "go");
}

static bool is_alike(const struct side *was, const struct side *now)
{
    uint32_t n = was->pool->n_backends;

    if (!table_is_same(was->pool, now->pool) || !has_same_key(was, now)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (was->out[i] != now->out[i] || was->there[i] != i) {
            return false;
        }
    }
    return true;
}

static void add_pool(const struct snapshot_header *was, const struct snapshot_pool *was_pool,
                     const struct snapshot_header *now, const struct snapshot_pool *now_pool,
                     bool would, struct change_list *out)
{
    struct side old_side = {0};
    struct side new_side = {0};

    if (side_init(&old_side, was, was_pool) && side_init(&new_side, now, now_pool) &&
        match_names(&old_side, &new_side) && !is_alike(&old_side, &new_side)) {
        add_line(now_pool->name, share_moved(&old_side, &new_side), would, out);
    }
    side_fini(&old_side);
    side_fini(&new_side);
}

void moved_add(const struct snapshot_header *was, const struct snapshot_header *now, bool would,
               struct change_list *out)
{
    const struct snapshot_pool *old_pools = snapshot_pools(was);
    LOOKUP_AUTO names = {0};

    if (lookup_init(&names, was->n_pools) != 0) {
        return;
    }
    for (uint32_t i = 0; i < was->n_pools; i++) {
        (void)lookup_add(&names, old_pools[i].name, strlen(old_pools[i].name), i);
    }
    for (uint32_t i = 0; i < now->n_pools; i++) {
        const struct snapshot_pool *pool = &snapshot_pools(now)[i];
        uint32_t before = lookup_find(&names, pool->name, strlen(pool->name));

        if (before != LOOKUP_NONE && is_by_hash(pool) && is_by_hash(&old_pools[before])) {
            add_pool(was, &old_pools[before], now, pool, would, out);
        }
    }
}
