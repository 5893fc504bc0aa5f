/*
 * A slot at commit: health, what checks ask for, slow start and fullness follow from what the model
 * now says of the backend and what the slot's place remembers of the model before. In master.
 */
#include "slot.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "args.h"

uint64_t slot_sum_checks(const struct model_pool *pool, const struct model_backend *backend)
{
    uint64_t sum = 0;
    size_t n;
    const struct model_check *checks = model_backend_checks(pool, backend, &n);

    for (size_t i = 0; i < n; i++) {
        const uint64_t parts[] = {XXH3_64bits(checks[i].kind, strlen(checks[i].kind)),
                                  checks[i].port, args_hash(&checks[i])};

        sum += XXH3_64bits(parts, sizeof(parts));
    }
    if (n > 1) {
        sum += pool->require;
    }
    if (n > 0 && pool->send_proxy != SEND_PROXY_OFF) {
        sum = XXH3_64bits_withSeed(&pool->send_proxy, sizeof(pool->send_proxy), sum);
    }
    if (n > 0 && backend->check_address.ip.family != ADDR_NONE) {
        sum = XXH3_64bits_withSeed(&backend->check_address, sizeof(backend->check_address), sum);
    }
    return n > 0 && sum == 0 ? 1 : sum;
}

/* --- health --- */

static void set_unresolved(const struct slot_commit *commit, const struct model_backend *backend)
{
    char reason[SB_REASON_MAX];
    const char *shown = model_backend_shown(backend);
    int host_len = shown == backend->address_text ? (int)strcspn(shown, ":") : (int)strlen(shown);

    (void)snprintf(reason, sizeof(reason), "the name %.*s does not resolve", host_len, shown);
    scoreboard_set_health(commit->sb, backend->slot, SB_HEALTH_DOWN, reason, commit->now_ms);
}

static void set_first_health(const struct slot_commit *commit, const struct model_pool *pool,
                             const struct place *slot)
{
    static const enum sb_health health[START_COUNT] = {[START_UNKNOWN] = SB_HEALTH_UNKNOWN,
                                                       [START_UP] = SB_HEALTH_UP,
                                                       [START_DOWN] = SB_HEALTH_DOWN};
    static const char *const reasons[START_COUNT] = {
        [START_UNKNOWN] = "no check result yet",
        [START_UP] = "assumed up until the first check",
        [START_DOWN] = "assumed down until the first check"};
    char reason[SB_REASON_MAX];
    uint64_t since_ms;
    enum sb_health inherited;

    if (slot->heir_of == HEIR_NONE) {
        scoreboard_set_health(commit->sb, slot->index, health[pool->start], reasons[pool->start],
                              commit->now_ms);
        return;
    }
    inherited = scoreboard_get_health(commit->sb, slot->heir_of, &since_ms, reason);
    scoreboard_set_health(commit->sb, slot->index, inherited, reason, commit->now_ms);
}

static void commit_health(const struct slot_commit *commit, struct place *slot,
                          const struct model_pool *pool, const struct model_backend *backend)
{
    bool is_new = slot->state != PLACE_LIVE;
    uint64_t checks = slot_sum_checks(pool, backend);

    if (backend->address.ip.family == ADDR_NONE) {
        set_unresolved(commit, backend); /* also when it stays so: the name may be another */
    } else if (checks == 0) {
        if (is_new || slot->checks != 0) {
            scoreboard_set_health(commit->sb, slot->index, SB_HEALTH_UP, "no check configured",
                                  commit->now_ms);
        }
    } else if (is_new) {
        set_first_health(commit, pool, slot);
    }
    slot->checks = checks;
}

/* --- what its checks ask for --- */

static void copy_word(_Atomic uint32_t *to, const _Atomic uint32_t *from)
{
    atomic_store_explicit(to, atomic_load_explicit(from, memory_order_relaxed),
                          memory_order_relaxed);
}

/* Of who inherits health the same checks look at the same server: it is asked for as it was. */
static void set_first_asked(const struct slot_commit *commit, const struct place *slot)
{
    static const struct sb_slot nobody;
    const struct sb_slot *from =
        slot->heir_of == HEIR_NONE ? &nobody : &commit->sb->slots[slot->heir_of];
    struct sb_slot *to = &commit->sb->slots[slot->index];
    uint64_t since_ms = atomic_load_explicit(&from->asked_since_ms, memory_order_relaxed);

    copy_word(&to->asked_permille, &from->asked_permille);
    copy_word(&to->asked_admin, &from->asked_admin);
    copy_word(&to->asked_limit, &from->asked_limit);
    atomic_store_explicit(&to->asked_since_ms, since_ms, memory_order_relaxed);
}

/* --- what else follows --- */

/* The scoreboard begins a slow start when a slot becomes up; here it begins when the operator lets
 * it take sessions again, or at all. */
static void commit_ready(const struct slot_commit *commit, struct place *slot,
                         const struct model_backend *backend)
{
    struct sb_slot *record = &commit->sb->slots[slot->index];
    bool was_ready = slot->state == PLACE_LIVE && slot->ready;

    slot->ready = backend->admin == ADMIN_READY && backend->weight > 0;
    if (slot->ready && !was_ready && !commit->first) {
        atomic_store_explicit(&record->fresh, 0, memory_order_relaxed);
        atomic_store_explicit(&record->slow_from_ms, commit->now_ms, memory_order_relaxed);
    }
}

static void commit_limits(const struct slot_commit *commit, struct place *slot,
                          const struct model_backend *backend)
{
    struct scoreboard *sb = commit->sb;
    uint32_t limit = backend->max_connections;
    uint32_t resume = model_backend_resume(backend);

    if (limit != slot->limit || resume != slot->resume) {
        uint32_t active = atomic_load_explicit(&sb->slot_active[slot->index], memory_order_relaxed);

        atomic_store_explicit(&sb->slot_full[slot->index], limit != 0 && active >= limit,
                              memory_order_relaxed);
    }
    slot->limit = limit;
    slot->resume = resume;
}

void slot_commit(const struct slot_commit *commit, struct place *slot,
                 const struct model_pool *pool, const struct model_backend *backend)
{
    struct sb_slot *record = &commit->sb->slots[slot->index];

    if (slot->state == PLACE_PLANNED) {
        if (slot->touched) {
            scoreboard_clear_slot(commit->sb, slot->index);
        }
        atomic_store_explicit(&record->fresh, commit->first, memory_order_relaxed);
    }
    atomic_store_explicit(&record->pool, pool->row, memory_order_relaxed);
    if (slot->state != PLACE_LIVE) {
        set_first_asked(commit, slot);
    }
    commit_health(commit, slot, pool, backend);
    commit_ready(commit, slot, backend);
    commit_limits(commit, slot, backend);
}
