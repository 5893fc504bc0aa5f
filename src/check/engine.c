/*
 * The check engine: takes snapshots, and turns what probes find into the health of slots. In the
 * monitor. When probes run is probe.c's business, what a result means health.c's.
 */
#include "check/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check/probe.h"

/* --- health of one slot --- */

static enum sb_health watched_health(const struct watched *watched)
{
    enum sb_health health = SB_HEALTH_UP;

    for (uint32_t i = 0; i < watched->n_links; i++) {
        health = health_combine(health, watched->links[i].health.state);
    }
    return health;
}

/* "tcp check 2 of 3 (port 9000): connect refused"; of a single check the last part only. */
static void reason_of_check(const struct watched *watched, uint32_t i, const char *text,
                            char reason[static SB_REASON_MAX])
{
    const struct probe *probe = watched->links[i].probe;
    char port[16] = "";

    if (watched->n_links == 1) {
        (void)snprintf(reason, SB_REASON_MAX, "%s", text);
        return;
    }
    if (probe->key.address.ip.family != ADDR_UNIX) {
        (void)snprintf(port, sizeof(port), " (port %u)", probe->key.address.ip.port);
    }
    (void)snprintf(reason, SB_REASON_MAX, "%.16s check %u of %u%s: %s", probe->kind->name, i + 1,
                   watched->n_links, port, text);
}

/* False when there is nothing to say that is not said already: no result has explained it yet. */
static bool watched_reason(const struct watched *watched, enum sb_health health,
                           char reason[static SB_REASON_MAX])
{
    for (uint32_t i = 0; i < watched->n_links; i++) {
        const struct link *link = &watched->links[i];

        if (link->health.state != health) {
            continue;
        }
        if (health == SB_HEALTH_DOWN && link->has_failed) {
            reason_of_check(watched, i, link->probe->fail_reason, reason);
            return true;
        }
        if (health == SB_HEALTH_UNKNOWN) {
            reason_of_check(watched, i, "no result yet", reason);
            return true;
        }
        if (health == SB_HEALTH_UP && watched->n_links == 1 && link->health.passed) {
            reason_of_check(watched, i, link->probe->reason, reason);
            return true;
        }
    }
    if (health == SB_HEALTH_UP && watched->n_links > 1) {
        (void)snprintf(reason, SB_REASON_MAX, "all %u checks pass", watched->n_links);
        return true;
    }
    return false;
}

static enum sb_health slot_health(const struct check_engine *engine, uint32_t slot)
{
    return (enum sb_health)atomic_load_explicit(&engine->sb->slot_health[slot],
                                                memory_order_relaxed);
}

/* The one place that writes health. */
static void slot_set_health(struct check_engine *engine, uint32_t slot, const char *pool,
                            const char *backend, enum sb_health to, const char *reason,
                            uint64_t now_us)
{
    enum sb_health from = slot_health(engine, slot);

    if (scoreboard_set_health(engine->sb, slot, to, reason, now_us / 1000) && engine->changed) {
        engine->changed(engine->arg, pool, backend, from, to, reason);
    }
}

/* Brings a slot's health up to what its checks say now. */
static void watched_update(struct check_engine *engine, const struct watched *watched,
                           uint64_t now_us)
{
    enum sb_health health = watched_health(watched);
    char reason[SB_REASON_MAX];

    if (!watched_reason(watched, health, reason)) {
        if (health == slot_health(engine, watched->slot)) {
            return;
        }
        (void)snprintf(reason, sizeof(reason), "by earlier results");
    }
    slot_set_health(engine, watched->slot, watched->pool, watched->backend, health, reason, now_us);
}

/* --- results --- */

/* The slot's figures about its checks. Only this process writes them. */
static void watched_note(struct check_engine *engine, const struct link *link, bool passed,
                         uint64_t now_us)
{
    const struct watched *watched = link->watched;
    struct sb_slot *slot = &engine->sb->slots[watched->slot];
    uint64_t latency_us = now_us - link->probe->check.started_us;
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < watched->n_links; i++) {
        uint64_t due_ms = probe_due_ms(watched->links[i].probe);

        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    scoreboard_bump(passed ? &slot->checks_passed : &slot->checks_failed, 1);
    atomic_store_explicit(&slot->last_check_ms, now_us / 1000, memory_order_relaxed);
    atomic_store_explicit(&slot->last_latency_us,
                          latency_us < UINT32_MAX ? (uint32_t)latency_us : UINT32_MAX,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->streak, link->health.streak, memory_order_relaxed);
    atomic_store_explicit(&slot->next_check_ms, next_ms, memory_order_relaxed);
}

void engine_fan_out(struct probe *probe, bool passed, uint64_t now_us)
{
    const struct link *link;

    LIST_FOREACH (link, &probe->links, of_probe) {
        watched_note(probe->engine, link, passed, now_us);
        watched_update(probe->engine, link->watched, now_us);
    }
}

/* --- snapshots --- */

/* The link among those of an earlier roster that has the same probe, or NULL. */
static const struct link *find_same_probe(const struct watched *before, const struct probe *probe)
{
    for (uint32_t i = 0; i < before->n_links; i++) {
        if (before->links[i].probe == probe) {
            return &before->links[i];
        }
    }
    return NULL;
}

/* The check in the same place, if only its numbers have changed, or NULL. */
static const struct link *find_same_check(const struct watched *before, uint32_t i,
                                          const struct probe *probe)
{
    const struct probe *earlier = i < before->n_links ? before->links[i].probe : NULL;

    if (earlier && earlier->kind == probe->kind &&
        addr_equal(&earlier->key.address, &probe->key.address)) {
        return &before->links[i];
    }
    return NULL;
}

/* Where a new roster's link starts, in the order that check_engine_apply() promises. Probes still
 * have the old roster's links. */
static void link_init(struct check_engine *engine, struct link *link, uint32_t i)
{
    const struct watched *before = roster_find(engine->roster, link->watched);
    enum sb_health known = slot_health(engine, link->watched->slot);
    const struct link *sibling = LIST_FIRST(&link->probe->links);
    const struct link *same;

    if (before && (same = find_same_probe(before, link->probe))) {
        link->health = same->health;
        link->has_failed = same->has_failed;
    } else if (before && (same = find_same_check(before, i, link->probe))) {
        health_init(&link->health, same->health.state);
    } else if (known != SB_HEALTH_UNKNOWN) {
        health_init(&link->health, known);
    } else if (sibling) {
        link->health = sibling->health;
        link->has_failed = sibling->has_failed;
    }
}

static void roster_adopt(struct check_engine *engine, struct roster *roster)
{
    for (uint32_t w = 0; w < roster->n_watched; w++) {
        for (uint32_t i = 0; i < roster->watched[w].n_links; i++) {
            link_init(engine, &roster->watched[w].links[i], i);
        }
    }
    probe_forget_links(engine);
    for (uint32_t i = 0; i < roster->n_links; i++) {
        LIST_INSERT_HEAD(&roster->links[i].probe->links, &roster->links[i], of_probe);
    }
    probe_destroy_unlinked(engine);
    roster_free(engine->roster);
    engine->roster = roster;
}

/* Health of those backends that no check decides about. */
static void apply_unchecked(struct check_engine *engine, const struct snapshot_header *snapshot,
                            uint64_t now_us)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);
    const struct snapshot_backend *backends = snapshot_backends(snapshot);

    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        for (uint32_t i = 0; i < pools[p].n_backends; i++) {
            const struct snapshot_backend *backend = &backends[pools[p].first_backend + i];
            bool has_address = backend->address.ip.family != ADDR_NONE;
            enum sb_health to = has_address ? SB_HEALTH_UP : SB_HEALTH_DOWN;

            if ((!has_address || backend->n_checks == 0) &&
                slot_health(engine, backend->slot) != to) {
                slot_set_health(engine, backend->slot, pools[p].name, backend->name, to,
                                has_address ? "not checked" : "its name does not resolve", now_us);
            }
        }
    }
}

int check_engine_apply(struct check_engine *engine, const struct snapshot_header *snapshot)
{
    struct roster *roster;
    uint64_t now_us = clock_now_us();
    int error = roster_build(engine, snapshot, &roster);

    if (error) {
        return error;
    }
    pump_read_limit(engine);
    roster_adopt(engine, roster);
    for (uint32_t w = 0; w < roster->n_watched; w++) {
        const struct watched *watched = &roster->watched[w];

        if (watched_health(watched) != slot_health(engine, watched->slot)) {
            watched_update(engine, watched, now_us);
        }
    }
    apply_unchecked(engine, snapshot, now_us);
    return 0;
}

/* --- life --- */

struct check_engine *check_engine_create(struct event_base *base, struct scoreboard *sb,
                                         uint64_t seed, check_change_fn *changed, void *arg)
{
    struct check_engine *engine = calloc(1, sizeof(*engine));

    if (!engine) {
        return NULL;
    }
    engine->base = base;
    engine->sb = sb;
    engine->changed = changed;
    engine->arg = arg;
    engine->random = seed;
    if (pump_init(engine) != 0) {
        free(engine);
        return NULL;
    }
    return engine;
}

void check_engine_destroy(struct check_engine *engine)
{
    if (!engine) {
        return;
    }
    probe_forget_links(engine);
    probe_destroy_unlinked(engine);
    pump_fini(engine);
    roster_free(engine->roster);
    free(engine);
}

struct check_engine_stats check_engine_stats(const struct check_engine *engine)
{
    return engine->stats;
}
