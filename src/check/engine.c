/*
 * The check engine: takes snapshots, and writes to slots what probes find. In the monitor. When
 * probes run is probe.c's business, what a result means health.c's, what the results of several
 * checks mean verdict.c's, and what the failures that workers count mean eject.c's.
 */
#include "check/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check/probe.h"
#include "pool/history.h"

/* So many alarms as may come are answered together. */
#define ALARM_GAP_US 10000
/* Likewise changes that may leave a pool without anybody: clients wait for what follows. */
#define HURRY_GAP_US 2000

/* --- one slot --- */

static enum sb_health slot_health(const struct check_engine *engine, uint32_t slot)
{
    return (enum sb_health)atomic_load_explicit(&engine->sb->slot_health[slot],
                                                memory_order_relaxed);
}

static void engine_tell(const struct check_engine *engine, const struct check_change *change)
{
    if (engine->changed) {
        engine->changed(engine->arg, change);
    }
}

static void sweep_after(struct check_engine *engine, uint64_t gap_us)
{
    uint64_t now_us = clock_now_us();
    uint64_t free_us = engine->swept_us + gap_us;

    (void)timer_set(&engine->sweep, free_us > now_us ? free_us - now_us : 0);
}

/* Who serves may be another now: whether an ejection still may last is looked at soon, where
 * anybody is looked at. */
static void hurry_sweep(struct check_engine *engine)
{
    if (evtimer_pending(&engine->sweep, NULL)) {
        sweep_after(engine, HURRY_GAP_US);
    }
}

/* The one place that writes health, to change->to; the engine's part of change is filled in. */
static void slot_set_health(struct check_engine *engine, uint32_t slot, struct check_change *change,
                            uint64_t now_us)
{
    uint64_t now_ms = now_us / 1000, since_ms = now_ms;
    char before[SB_REASON_MAX];

    change->news = CHECK_NEWS_HEALTH;
    change->from = slot_health(engine, slot);
    if (change->from != change->to) {
        (void)scoreboard_get_health(engine->sb, slot, &since_ms, before);
    }
    change->lasted_ms = since_ms != 0 && since_ms < now_ms ? now_ms - since_ms : 0;
    if (!scoreboard_set_health(engine->sb, slot, change->to, change->reason, now_ms)) {
        return;
    }
    if (change->to == SB_HEALTH_UP) { /* what workers saw of it before is no longer true */
        atomic_store_explicit(&engine->sb->slots[slot].failures, 0, memory_order_relaxed);
    }
    engine_tell(engine, change);
    hurry_sweep(engine);
}

/* The scoreboard has 0 for nothing said, and everything else one higher; but admin states. */
static uint32_t asked_word(uint32_t said)
{
    return said == CHECK_NOT_SAID ? 0 : said + 1;
}

/* Only this process writes it. Returns whether it was another. */
static bool replace_word(_Atomic uint32_t *word, uint32_t value)
{
    if (atomic_load_explicit(word, memory_order_relaxed) == value) {
        return false;
    }
    atomic_store_explicit(word, value, memory_order_relaxed);
    return true;
}

static struct asked slot_asked(const struct check_engine *engine, uint32_t slot)
{
    const struct sb_slot *record = &engine->sb->slots[slot];
    uint32_t admin = atomic_load_explicit(&record->asked_admin, memory_order_relaxed);

    /* Of 0, nothing said, one lower is CHECK_NOT_SAID. */
    return (struct asked){
        .weight_permille = atomic_load_explicit(&record->asked_permille, memory_order_relaxed) - 1,
        .admin = admin != ADMIN_READY && admin < ADMIN_COUNT ? admin : CHECK_NOT_SAID,
        .max_connections = atomic_load_explicit(&record->asked_limit, memory_order_relaxed) - 1,
    };
}

/* How they would have the backend stand. */
static uint32_t asked_standing(const struct asked *asked)
{
    if (asked->admin == CHECK_NOT_SAID || asked->admin == ADMIN_READY) {
        return asked->weight_permille == 0 ? ADMIN_DRAIN : ADMIN_READY;
    }
    return asked->admin;
}

/* The one place that writes what is asked. */
static void slot_set_asked(struct check_engine *engine, uint32_t slot, const char *pool,
                           const char *backend, const struct asked *asked, uint64_t now_us)
{
    struct sb_slot *record = &engine->sb->slots[slot];
    const struct asked before = slot_asked(engine, slot);
    uint32_t admin = asked->admin == CHECK_NOT_SAID ? ADMIN_READY : asked->admin;
    bool weight_changed = replace_word(&record->asked_permille, asked_word(asked->weight_permille));
    bool admin_changed = replace_word(&record->asked_admin, admin);
    bool limit_changed = replace_word(&record->asked_limit, asked_word(asked->max_connections));
    enum sb_health health = slot_health(engine, slot);
    char text[SB_REASON_MAX];

    if (!weight_changed && !admin_changed && !limit_changed) {
        return;
    }
    if (asked_standing(&before) != asked_standing(asked)) {
        atomic_store_explicit(&record->asked_since_ms, now_us / 1000, memory_order_relaxed);
    }
    /* Release: who sees the new epoch sees what is asked. */
    atomic_fetch_add_explicit(&engine->sb->header->health_epoch, 1, memory_order_release);
    verdict_asked_text(asked, text);
    engine_tell(engine, &(struct check_change){.news = CHECK_NEWS_ASKED,
                                               .pool = pool,
                                               .backend = backend,
                                               .reason = text,
                                               .from = health,
                                               .to = health,
                                               .admin_from = asked_standing(&before),
                                               .admin_to = asked_standing(asked)});
    hurry_sweep(engine);
}

/* When the first of its checks runs next. */
static uint64_t watched_next_us(const struct watched *watched)
{
    uint64_t next_us = UINT64_MAX;

    for (uint32_t i = 0; i < watched->n_links; i++) {
        uint64_t due_us = watched->links[i].probe->due_us;

        next_us = due_us < next_us ? due_us : next_us;
    }
    return next_us;
}

/* Brings a slot's health up to what its checks say now. What is known does not become unknown
 * because a check is new: clients would wait for it. */
static void watched_update_health(struct check_engine *engine, const struct watched *watched,
                                  uint64_t now_us)
{
    enum sb_health health = verdict_health(watched);
    uint64_t next_us = watched_next_us(watched);
    char reason[SB_REASON_MAX];
    struct check_change change = {.pool = watched->pool,
                                  .backend = watched->backend,
                                  .reason = reason,
                                  .to = health,
                                  .next_check_ms =
                                      next_us > now_us ? (next_us - now_us) / 1000 : 0};

    if (health == SB_HEALTH_UNKNOWN && slot_health(engine, watched->slot) != SB_HEALTH_UNKNOWN) {
        return;
    }
    if (!verdict_reason(watched, health, reason)) {
        if (health == slot_health(engine, watched->slot)) {
            return;
        }
        (void)snprintf(reason, sizeof(reason), "by earlier results");
    }
    slot_set_health(engine, watched->slot, &change, now_us);
}

static void watched_update_asked(struct check_engine *engine, struct watched *watched,
                                 uint64_t now_us)
{
    const struct asked asked = verdict_asked(watched);

    slot_set_asked(engine, watched->slot, watched->pool, watched->backend, &asked, now_us);
}

/* --- results --- */

/* The slot's figures about its checks. Only this process writes them. */
static void watched_note(struct check_engine *engine, const struct link *link,
                         const struct check_outcome *outcome, uint64_t now_us)
{
    const struct watched *watched = link->watched;
    struct sb_slot *slot = &engine->sb->slots[watched->slot];
    uint64_t latency_us = now_us - link->probe->check.started_us;

    if (!outcome->nothing) {
        scoreboard_bump(outcome->passed ? &slot->checks_passed : &slot->checks_failed, 1);
        history_add(&slot->history, outcome->passed, latency_us, now_us / 1000);
    }
    record_note(link, outcome, latency_us, now_us);
    atomic_store_explicit(&slot->last_check_ms, now_us / 1000, memory_order_relaxed);
    atomic_store_explicit(&slot->last_latency_us,
                          latency_us < UINT32_MAX ? (uint32_t)latency_us : UINT32_MAX,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->streak, link->health.streak, memory_order_relaxed);
    atomic_store_explicit(&slot->next_check_ms, watched_next_us(watched) / 1000,
                          memory_order_relaxed);
}

void engine_fan_out(struct probe *probe, const struct check_outcome *outcome, uint64_t now_us)
{
    const struct link *link;

    LIST_FOREACH (link, &probe->links, of_probe) {
        watched_note(probe->engine, link, outcome, now_us);
        watched_update_health(probe->engine, link->watched, now_us);
        watched_update_asked(probe->engine, link->watched, now_us);
    }
}

/* --- what workers have seen --- */

static void engine_sweep(struct check_engine *engine, uint64_t now_us)
{
    uint64_t due_us = ejector_sweep(engine->ejector, now_us / 1000) * 1000;

    engine->swept_us = now_us;
    if (due_us != 0) {
        (void)timer_set(&engine->sweep, due_us > now_us ? due_us - now_us : 0);
    } else {
        (void)event_del(&engine->sweep);
    }
}

static void sweep_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    engine_sweep(arg, clock_now_us());
}

void check_engine_alarm(struct check_engine *engine)
{
    sweep_after(engine, ALARM_GAP_US);
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
        link->is_mute = same->is_mute;
    } else if (before && (same = find_same_check(before, i, link->probe))) {
        health_init(&link->health, same->health.state);
        link->is_mute = same->is_mute;
    } else if (known != SB_HEALTH_UNKNOWN && !link->probe->kind->is_advisory) {
        health_init(&link->health, known);
    } else if (sibling) {
        link->health = sibling->health;
        link->has_failed = sibling->has_failed;
        link->is_mute = sibling->is_mute;
    }
}

/*
 * What stands although no check of watched has said it yet: whatever the slot has, where the engine
 * or the probe of one of the checks is new.
 */
static struct asked inherit(const struct check_engine *engine, const struct watched *watched)
{
    const struct watched *before = roster_find(engine->roster, watched);

    for (uint32_t i = 0; before && i < watched->n_links; i++) {
        const struct probe *probe = watched->links[i].probe;

        if (!find_same_probe(before, probe) && find_same_check(before, i, probe)) {
            return slot_asked(engine, watched->slot);
        }
    }
    return before ? before->inherited : slot_asked(engine, watched->slot);
}

static void roster_adopt(struct check_engine *engine, struct roster *roster)
{
    for (uint32_t w = 0; w < roster->n_watched; w++) {
        struct watched *watched = &roster->watched[w];

        watched->inherited = inherit(engine, watched);
        for (uint32_t i = 0; i < watched->n_links; i++) {
            link_init(engine, &watched->links[i], i);
        }
        record_adopt(engine, watched);
    }
    probe_forget_links(engine);
    for (uint32_t i = roster->n_links; i-- > 0;) { /* so that the first is the first */
        LIST_INSERT_HEAD(&roster->links[i].probe->links, &roster->links[i], of_probe);
    }
    probe_destroy_unlinked(engine);
    roster_free(engine->roster);
    engine->roster = roster;
}

/* A backend that no check decides about. */
static void apply_unchecked(struct check_engine *engine, const struct snapshot_pool *pool,
                            const struct snapshot_backend *backend, uint64_t now_us)
{
    const struct asked nothing = ASKED_NOTHING;
    bool has_address = backend->address.ip.family != ADDR_NONE;
    struct check_change change = {.pool = pool->name,
                                  .backend = backend->name,
                                  .reason =
                                      has_address ? "not checked" : "its name does not resolve",
                                  .to = has_address ? SB_HEALTH_UP : SB_HEALTH_DOWN};

    if (has_address && backend->n_checks > 0) {
        return;
    }
    if (slot_health(engine, backend->slot) != change.to) {
        slot_set_health(engine, backend->slot, &change, now_us);
    }
    slot_set_asked(engine, backend->slot, pool->name, backend->name, &nothing, now_us);
}

/* What follows for health from the new set, before any result. */
static void apply_health(struct check_engine *engine, const struct snapshot_header *snapshot,
                         uint64_t now_us)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);
    const struct snapshot_backend *backends = snapshot_backends(snapshot);

    for (uint32_t w = 0; w < engine->roster->n_watched; w++) {
        struct watched *watched = &engine->roster->watched[w];

        if (verdict_health(watched) != slot_health(engine, watched->slot)) {
            watched_update_health(engine, watched, now_us);
        }
        watched_update_asked(engine, watched, now_us);
    }
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        for (uint32_t i = 0; i < pools[p].n_backends; i++) {
            apply_unchecked(engine, &pools[p], &backends[pools[p].first_backend + i], now_us);
        }
    }
}

int check_engine_apply(struct check_engine *engine, const struct snapshot_header *snapshot)
{
    uint64_t now_us = clock_now_us();
    struct eject_roster *ejected = ejector_prepare(snapshot);
    struct roster *roster;
    int error = ejected ? roster_build(engine, snapshot, &roster) : -ENOMEM;

    if (error) {
        free(ejected);
        return error;
    }
    pump_read_limit(engine);
    roster_adopt(engine, roster);
    apply_health(engine, snapshot, now_us);
    ejector_adopt(engine->ejector, ejected, snapshot, now_us / 1000);
    engine_sweep(engine, now_us);
    return 0;
}

/* --- life --- */

/* What may fail of making one. */
static int engine_init(struct check_engine *engine)
{
    engine->ejector = ejector_create(engine->sb, engine->changed, engine->arg);
    if (!engine->ejector || pump_init(engine) != 0) {
        return -ENOMEM;
    }
    if (evtimer_assign(&engine->sweep, engine->base, sweep_on_timer, engine) != 0 ||
        timer_set(&engine->sweep, 0) != 0) {
        pump_fini(engine);
        return -ENOMEM;
    }
    return 0;
}

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
    if (engine_init(engine) != 0) {
        ejector_destroy(engine->ejector);
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
    (void)event_del(&engine->sweep);
    ejector_destroy(engine->ejector);
    roster_free(engine->roster);
    free(engine);
}

struct check_engine_stats check_engine_stats(const struct check_engine *engine)
{
    return engine->stats;
}
