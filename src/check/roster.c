/* From a snapshot to what has to be checked: which slots, by which probes. In the monitor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/probe.h"
#include "pool/check_record.h"

static bool is_checked(const struct snapshot_backend *backend)
{
    return backend->n_checks > 0 && backend->address.ip.family != ADDR_NONE;
}

/* What is being built, and from what. */
struct builder {
    struct check_engine *engine;
    const struct snapshot_header *snapshot;
    struct roster *roster;
    struct probe_list fresh; /* probes made for it */
};

/* The port to check: the check's own, else that of the address to check, else the backend's. */
static uint16_t port_of(const struct snapshot_backend *backend, const struct snapshot_check *check,
                        const struct addr *address)
{
    if (check->port != 0) {
        return (uint16_t)check->port;
    }
    return address->ip.port != 0 ? address->ip.port : backend->address.ip.port;
}

/* What connections of the check begin with. Whatever answers at another address than the sessions'
 * need not be what expects their header: a status port, a sidecar. */
static enum send_proxy preamble_of(const struct snapshot_pool *pool,
                                   const struct snapshot_backend *backend,
                                   const struct check_kind *kind, const struct addr *address)
{
    return kind->begins_as_sessions && addr_equal(address, &backend->address)
               ? (enum send_proxy)pool->send_proxy
               : SEND_PROXY_OFF;
}

static void key_fill(struct probe_key *key, const struct snapshot_pool *pool,
                     const struct snapshot_backend *backend, const struct snapshot_check *check,
                     const struct check_kind *kind)
{
    memset(key, 0, sizeof(*key));
    key->address =
        backend->check_address.ip.family != ADDR_NONE ? backend->check_address : backend->address;
    if (key->address.ip.family != ADDR_UNIX) {
        key->address.ip.port = port_of(backend, check, &key->address);
    }
    key->send_proxy = preamble_of(pool, backend, kind, &key->address);
    key->check = *check;
    key->check.port = 0;
    key->check.first_arg = 0;
    memset(key->check.title, 0, sizeof(key->check.title));
    if (kind->runs_programs) {
        (void)snprintf(key->pool, sizeof(key->pool), "%s", pool->name);
        (void)snprintf(key->backend, sizeof(key->backend), "%s", backend->name);
    }
}

/* The probe for one check of one backend, made if need be. */
static int probe_for(struct builder *builder, const struct snapshot_pool *pool,
                     const struct snapshot_backend *backend, const struct snapshot_check *check,
                     struct link *link)
{
    const struct check_kind *kind = check_kind_find(check->kind);
    struct probe_key key;

    if (!kind) {
        return -EINVAL;
    }
    key_fill(&key, pool, backend, check, kind);
    link->probe = probe_find(builder->engine, &key);
    if (link->probe) {
        return 0;
    }
    link->probe = probe_create(builder->engine, kind, &key, builder->snapshot, check);
    if (!link->probe) {
        return -ENOMEM;
    }
    SLIST_INSERT_HEAD(&builder->fresh, link->probe, of_fresh);
    return 0;
}

/* Adds one backend with all its checks. */
static int roster_add(struct builder *builder, const struct snapshot_pool *pool,
                      const struct snapshot_backend *backend)
{
    const struct snapshot_check *checks = &snapshot_checks(builder->snapshot)[backend->first_check];
    struct roster *roster = builder->roster;
    struct watched *watched = &roster->watched[roster->n_watched++];

    watched->slot = backend->slot;
    watched->n_links = backend->n_checks;
    watched->links = &roster->links[roster->n_links];
    watched->require_any = pool->require_any != 0;
    watched->inherited = ASKED_NOTHING;
    memcpy(watched->pool, pool->name, sizeof(watched->pool));
    memcpy(watched->backend, backend->name, sizeof(watched->backend));
    roster->n_links += backend->n_checks;
    roster->by_slot[backend->slot] = roster->n_watched;
    for (uint32_t i = 0; i < backend->n_checks; i++) {
        struct link *link = &watched->links[i];
        int error;

        link->watched = watched;
        memcpy(link->title, checks[i].title, sizeof(link->title));
        link->record_key = check_record_key(checks, i);
        error = probe_for(builder, pool, backend, &checks[i], link);
        if (error) {
            return error;
        }
    }
    return 0;
}

/* An empty one with room for all that snapshot may want. */
static struct roster *roster_create(const struct snapshot_header *snapshot)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);
    const struct snapshot_backend *backends = snapshot_backends(snapshot);
    struct roster *roster = calloc(1, sizeof(*roster));
    size_t n_watched = 0, n_links = 0;

    if (!roster) {
        return NULL;
    }
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        n_watched += pools[p].n_backends;
        for (uint32_t i = 0; i < pools[p].n_backends; i++) {
            n_links += backends[pools[p].first_backend + i].n_checks;
        }
    }
    roster->watched = calloc(n_watched + 1, sizeof(*roster->watched));
    roster->links = calloc(n_links + 1, sizeof(*roster->links));
    if (!roster->watched || !roster->links) {
        roster_free(roster);
        return NULL;
    }
    return roster;
}

static int roster_fill(struct builder *builder)
{
    const struct snapshot_pool *pools = snapshot_pools(builder->snapshot);
    const struct snapshot_backend *backends = snapshot_backends(builder->snapshot);

    for (uint32_t p = 0; p < builder->snapshot->n_pools; p++) {
        for (uint32_t i = 0; i < pools[p].n_backends; i++) {
            const struct snapshot_backend *backend = &backends[pools[p].first_backend + i];
            int error = 0;

            if (backend->slot >= SB_SLOTS_MAX) {
                return -EINVAL;
            }
            if (is_checked(backend)) {
                error = roster_add(builder, &pools[p], backend);
            }
            if (error) {
                return error;
            }
        }
    }
    return 0;
}

int roster_build(struct check_engine *engine, const struct snapshot_header *snapshot,
                 struct roster **out_roster)
{
    struct builder builder = {.engine = engine,
                              .snapshot = snapshot,
                              .roster = roster_create(snapshot),
                              .fresh = SLIST_HEAD_INITIALIZER(builder.fresh)};
    int error = builder.roster ? roster_fill(&builder) : -ENOMEM;

    if (!error) {
        *out_roster = builder.roster;
        return 0;
    }
    while (!SLIST_EMPTY(&builder.fresh)) {
        struct probe *probe = SLIST_FIRST(&builder.fresh);

        SLIST_REMOVE_HEAD(&builder.fresh, of_fresh);
        probe_destroy(probe);
    }
    roster_free(builder.roster);
    return error;
}

void roster_free(struct roster *roster)
{
    if (roster) {
        free(roster->watched);
        free(roster->links);
        free(roster);
    }
}

const struct watched *roster_find(const struct roster *roster, const struct watched *same)
{
    uint32_t entry = roster ? roster->by_slot[same->slot] : 0;
    const struct watched *watched;

    if (!entry) {
        return NULL;
    }
    watched = &roster->watched[entry - 1];
    if (strcmp(watched->pool, same->pool) != 0 || strcmp(watched->backend, same->backend) != 0) {
        return NULL;
    }
    return watched;
}
