/* From a snapshot to what has to be checked: which slots, by which probes. In the monitor. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check/probe.h"

static bool is_checked(const struct snapshot_backend *backend)
{
    return backend->n_checks > 0 && backend->address.ip.family != ADDR_NONE;
}

static void key_fill(struct probe_key *key, const struct addr *address,
                     const struct snapshot_check *check)
{
    memset(key, 0, sizeof(*key));
    key->address = *address;
    key->check = *check;
    key->check.port = 0;
    if (check->port && address->ip.family != ADDR_UNIX) {
        key->address.ip.port = (uint16_t)check->port;
    }
}

/* The probe for one check of one address, made if need be. */
static int probe_for(struct check_engine *engine, const struct addr *address,
                     const struct snapshot_check *check, struct probe_list *fresh,
                     struct probe **out_probe)
{
    const struct check_kind *kind = check_kind_find(check->kind);
    struct probe_key key;

    if (!kind) {
        return -EINVAL;
    }
    key_fill(&key, address, check);
    *out_probe = probe_find(engine, &key);
    if (*out_probe) {
        return 0;
    }
    *out_probe = probe_create(engine, kind, &key);
    if (!*out_probe) {
        return -ENOMEM;
    }
    SLIST_INSERT_HEAD(fresh, *out_probe, of_fresh);
    return 0;
}

/* Adds one backend with all its checks. */
static int roster_add(struct roster *roster, struct check_engine *engine,
                      const struct snapshot_pool *pool, const struct snapshot_backend *backend,
                      const struct snapshot_check *checks, struct probe_list *fresh)
{
    struct watched *watched = &roster->watched[roster->n_watched++];

    watched->slot = backend->slot;
    watched->n_links = backend->n_checks;
    watched->links = &roster->links[roster->n_links];
    memcpy(watched->pool, pool->name, sizeof(watched->pool));
    memcpy(watched->backend, backend->name, sizeof(watched->backend));
    roster->n_links += backend->n_checks;
    roster->by_slot[backend->slot] = roster->n_watched;
    for (uint32_t i = 0; i < backend->n_checks; i++) {
        struct link *link = &watched->links[i];
        int error = probe_for(engine, &backend->address, &checks[backend->first_check + i], fresh,
                              &link->probe);

        if (error) {
            return error;
        }
        link->watched = watched;
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

static int roster_fill(struct roster *roster, struct check_engine *engine,
                       const struct snapshot_header *snapshot, struct probe_list *fresh)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);
    const struct snapshot_backend *backends = snapshot_backends(snapshot);

    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        for (uint32_t i = 0; i < pools[p].n_backends; i++) {
            const struct snapshot_backend *backend = &backends[pools[p].first_backend + i];
            int error = 0;

            if (backend->slot >= SB_SLOTS_MAX) {
                return -EINVAL;
            }
            if (is_checked(backend)) {
                error = roster_add(roster, engine, &pools[p], backend, snapshot_checks(snapshot),
                                   fresh);
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
    struct probe_list fresh = SLIST_HEAD_INITIALIZER(fresh);
    struct roster *roster = roster_create(snapshot);
    int error = roster ? roster_fill(roster, engine, snapshot, &fresh) : -ENOMEM;

    if (!error) {
        *out_roster = roster;
        return 0;
    }
    while (!SLIST_EMPTY(&fresh)) {
        struct probe *probe = SLIST_FIRST(&fresh);

        SLIST_REMOVE_HEAD(&fresh, of_fresh);
        probe_destroy(probe);
    }
    roster_free(roster);
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
