/*
 * Who is ejected, when, and for how long: see the header. In the monitor. Owns the list of slots
 * whose pools eject. Writes ejections to the scoreboard and bumps health_epoch; workers may count
 * failures meanwhile.
 */
#include "check/eject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

#define SWEEP_MS   1000 /* finds whom no alarm told of, or whom its pool could not spare before */
#define ASKED_ZERO 1    /* asked_permille of somebody who is to get nothing */

/* --- one backend --- */

enum eject_state eject_state(const struct eject *eject)
{
    return eject->until_ms != 0 ? EJECT_OUT : EJECT_IN;
}

static uint64_t time_out_ms(const struct snapshot_outlier *rules, uint32_t ejections)
{
    return (uint64_t)rules->eject_time_ms * ejections;
}

static void take_back(struct eject *eject, uint64_t every_ms, uint64_t now_ms)
{
    if (eject->calm_from_ms == 0) {
        eject->calm_from_ms = now_ms;
    }
    while (eject->ejections > 0 && now_ms - eject->calm_from_ms >= every_ms) {
        eject->calm_from_ms += every_ms;
        eject->ejections--;
    }
}

bool eject_step(struct eject *eject, const struct snapshot_outlier *rules, enum eject_cause cause,
                uint64_t now_ms)
{
    if (eject_state(eject) == EJECT_OUT) {
        if (now_ms < eject->until_ms && rules->consecutive_failures != 0 && cause != EJECT_NEEDED) {
            return false;
        }
        eject->until_ms = 0;
        eject->calm_from_ms = now_ms;
        return true;
    }
    take_back(eject, rules->eject_time_ms, now_ms);
    if (cause != EJECT_FAILING) {
        return false;
    }
    eject->ejections += eject->ejections < EJECT_TIMES_MAX;
    eject->until_ms = now_ms + time_out_ms(rules, eject->ejections);
    return true;
}

bool eject_is_spared(const struct eject_census *census, uint32_t max_percent, bool is_serving)
{
    uint64_t may_be_out = (uint64_t)census->ready * max_percent / 100;

    return census->ejected < (may_be_out > 0 ? may_be_out : 1) &&
           census->serving > (is_serving ? 1 : 0);
}

/* --- who is looked at --- */

struct eject_member {
    uint32_t slot;
    bool is_ready; /* by the configuration: admin state and weight */
    char name[NAME_BYTES_MAX];
};

struct eject_pool {
    char name[NAME_BYTES_MAX];
    struct snapshot_outlier rules;
    struct eject_member *members;
    uint32_t n_members;
};

struct eject_roster {
    uint32_t n_pools;
    struct eject_pool *pools; /* behind it in the same piece of memory, then all members */
};

struct ejector {
    struct scoreboard *sb;
    check_change_fn *changed;
    void *arg;
    struct eject_roster *roster; /* NULL before the first */
    uint64_t calm_from_ms[SB_SLOTS_MAX];
};

static bool pool_ejects(const struct snapshot_pool *pool)
{
    return pool->outlier.consecutive_failures != 0;
}

static void fill_pool(struct eject_pool *to, const struct snapshot_pool *from,
                      const struct snapshot_backend *backends, struct eject_member *members)
{
    memcpy(to->name, from->name, sizeof(to->name));
    to->rules = from->outlier;
    to->members = members;
    to->n_members = from->n_backends;
    for (uint32_t i = 0; i < from->n_backends; i++) {
        const struct snapshot_backend *backend = &backends[from->first_backend + i];

        members[i].slot = backend->slot;
        members[i].is_ready = backend->admin == ADMIN_READY && backend->weight > 0;
        memcpy(members[i].name, backend->name, sizeof(members[i].name));
    }
}

struct eject_roster *ejector_prepare(const struct snapshot_header *snapshot)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);
    size_t n_pools = 0, n_members = 0;
    struct eject_roster *roster;
    struct eject_member *members;

    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        n_pools += pool_ejects(&pools[p]);
        n_members += pool_ejects(&pools[p]) ? pools[p].n_backends : 0;
    }
    roster = calloc(1, sizeof(*roster) + n_pools * sizeof(struct eject_pool) +
                           n_members * sizeof(struct eject_member));
    if (!roster) {
        return NULL;
    }
    roster->pools = (struct eject_pool *)(void *)(roster + 1);
    members = (struct eject_member *)(void *)(roster->pools + n_pools);
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        if (pool_ejects(&pools[p])) {
            fill_pool(&roster->pools[roster->n_pools++], &pools[p], snapshot_backends(snapshot),
                      members);
            members += pools[p].n_backends;
        }
    }
    return roster;
}

/* --- the scoreboard --- */

static struct eject load_eject(const struct ejector *ejector, uint32_t slot)
{
    const struct sb_slot *record = &ejector->sb->slots[slot];

    return (struct eject){
        .ejections = atomic_load_explicit(&record->ejections, memory_order_relaxed),
        .until_ms = atomic_load_explicit(&record->ejected_until_ms, memory_order_relaxed),
        .calm_from_ms = ejector->calm_from_ms[slot],
    };
}

/* Takes one step with what the scoreboard says. Returns whether the state changed. */
static bool step_slot(struct ejector *ejector, const struct snapshot_outlier *rules, uint32_t slot,
                      enum eject_cause cause, uint64_t now_ms)
{
    struct sb_slot *record = &ejector->sb->slots[slot];
    struct eject eject = load_eject(ejector, slot);
    uint32_t ejections = eject.ejections;
    bool changed = eject_step(&eject, rules, cause, now_ms);

    ejector->calm_from_ms[slot] = eject.calm_from_ms;
    if (eject.ejections != ejections) {
        atomic_store_explicit(&record->ejections, eject.ejections, memory_order_relaxed);
    }
    if (changed) {
        atomic_store_explicit(&record->ejected_until_ms, eject.until_ms, memory_order_relaxed);
        atomic_store_explicit(&record->failures, 0, memory_order_relaxed);
    }
    return changed;
}

static uint32_t failures_of(const struct ejector *ejector, uint32_t slot)
{
    return atomic_load_explicit(&ejector->sb->slots[slot].failures, memory_order_acquire);
}

static enum sb_health health_of(const struct ejector *ejector, uint32_t slot)
{
    return (enum sb_health)atomic_load_explicit(&ejector->sb->slot_health[slot],
                                                memory_order_relaxed);
}

/* A changed state becomes known: to workers by the epoch, to people by the reason. */
static void publish(struct ejector *ejector, enum check_news news, uint32_t slot, const char *pool,
                    const char *backend, const char *reason)
{
    enum sb_health health = health_of(ejector, slot);
    const struct check_change change = {.news = news,
                                        .pool = pool,
                                        .backend = backend,
                                        .reason = reason,
                                        .from = health,
                                        .to = health};

    /* Release: who sees the new epoch sees the ejection. */
    atomic_fetch_add_explicit(&ejector->sb->header->health_epoch, 1, memory_order_release);
    if (ejector->changed) {
        ejector->changed(ejector->arg, &change);
    }
}

/* "connect", "connect or reset" */
static void name_signals(uint32_t signals, char *out, size_t size)
{
    static const struct {
        enum outlier_signal signal;
        const char *name;
    } names[] = {
        {OUTLIER_CONNECT, "connect"},
        {OUTLIER_RESET, "reset"},
        {OUTLIER_FIRST_BYTE, "first-byte"},
    };
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && used < size; i++) {
        if (signals & names[i].signal) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " or " : "",
                                     names[i].name);
        }
    }
}

static void eject_member(struct ejector *ejector, const struct eject_pool *pool,
                         const struct eject_member *member, uint64_t now_ms)
{
    uint32_t failures = failures_of(ejector, member->slot);
    char signals[32], time[UNITS_TEXT_MAX], reason[SB_REASON_MAX];

    (void)step_slot(ejector, &pool->rules, member->slot, EJECT_FAILING, now_ms);
    name_signals(pool->rules.signals, signals, sizeof(signals));
    units_format_time(time_out_ms(&pool->rules, load_eject(ejector, member->slot).ejections), time);
    (void)snprintf(reason, sizeof(reason),
                   "%" PRIu32 " consecutive %s failures from workers; back in %s", failures,
                   signals, time);
    publish(ejector, CHECK_NEWS_EJECTED, member->slot, pool->name, member->name, reason);
}

/* It has returned. To a pool that starts its backends slowly, that is a start. */
static void publish_return(struct ejector *ejector, uint32_t slot, const char *pool,
                           const char *backend, const char *reason, uint64_t now_ms)
{
    atomic_store_explicit(&ejector->sb->slots[slot].slow_from_ms, now_ms, memory_order_relaxed);
    publish(ejector, CHECK_NEWS_RETURNED, slot, pool, backend, reason);
}

/* Takes a step that ejects nobody. */
static void let_return(struct ejector *ejector, const struct snapshot_outlier *rules, uint32_t slot,
                       const char *pool, const char *backend, uint64_t now_ms)
{
    uint32_t ejections = load_eject(ejector, slot).ejections;
    char time[UNITS_TEXT_MAX], reason[SB_REASON_MAX] = "its pool does not eject any more";

    if (!step_slot(ejector, rules, slot, EJECT_CALM, now_ms)) {
        return;
    }
    if (rules->consecutive_failures != 0) {
        (void)snprintf(reason, sizeof(reason), "its %s are over",
                       units_format_time(time_out_ms(rules, ejections), time));
    }
    publish_return(ejector, slot, pool, backend, reason, now_ms);
}

/* Before its time, because nobody else serves. */
static void call_back(struct ejector *ejector, const struct eject_pool *pool,
                      const struct eject_member *member, uint64_t now_ms)
{
    uint64_t left_ms = load_eject(ejector, member->slot).until_ms - now_ms;
    uint64_t about_ms = left_ms >= 1000 ? (left_ms + 500) / 1000 * 1000 : left_ms;
    char time[UNITS_TEXT_MAX], reason[SB_REASON_MAX];

    (void)step_slot(ejector, &pool->rules, member->slot, EJECT_NEEDED, now_ms);
    (void)snprintf(reason, sizeof(reason), "nobody else of its pool serves; %s early",
                   units_format_time(about_ms, time));
    publish_return(ejector, member->slot, pool->name, member->name, reason, now_ms);
}

/* --- sweeps --- */

static bool is_out(const struct ejector *ejector, const struct eject_member *member)
{
    const struct eject eject = load_eject(ejector, member->slot);

    return eject_state(&eject) == EJECT_OUT;
}

static bool is_ready(const struct ejector *ejector, const struct eject_member *member)
{
    const struct sb_slot *slot = &ejector->sb->slots[member->slot];

    return member->is_ready &&
           atomic_load_explicit(&slot->asked_admin, memory_order_relaxed) == ADMIN_READY &&
           atomic_load_explicit(&slot->asked_permille, memory_order_relaxed) != ASKED_ZERO;
}

static bool is_serving(const struct ejector *ejector, const struct eject_member *member)
{
    return !is_out(ejector, member) && health_of(ejector, member->slot) == SB_HEALTH_UP;
}

static struct eject_census count_members(const struct ejector *ejector,
                                         const struct eject_pool *pool)
{
    struct eject_census census = {0};

    for (uint32_t i = 0; i < pool->n_members; i++) {
        const struct eject_member *member = &pool->members[i];

        if (is_ready(ejector, member)) {
            census.ready++;
            census.ejected += is_out(ejector, member);
            census.serving += is_serving(ejector, member);
        }
    }
    return census;
}

/* Whom checks have found down gets no sessions anyway, and its failures count afresh once it is up
 * again; whom nobody sends sessions to cannot be failing any more. */
static bool is_failing(const struct ejector *ejector, const struct eject_pool *pool,
                       const struct eject_member *member)
{
    return failures_of(ejector, member->slot) >= pool->rules.consecutive_failures &&
           health_of(ejector, member->slot) != SB_HEALTH_DOWN && is_ready(ejector, member) &&
           !is_out(ejector, member);
}

/* Of those that are out and up, the one that would be back first, or NULL. */
static const struct eject_member *find_substitute(const struct ejector *ejector,
                                                  const struct eject_pool *pool)
{
    const struct eject_member *found = NULL;
    uint64_t until_ms = UINT64_MAX;

    for (uint32_t i = 0; i < pool->n_members; i++) {
        const struct eject_member *member = &pool->members[i];
        const struct eject eject = load_eject(ejector, member->slot);

        if (eject_state(&eject) == EJECT_OUT && eject.until_ms < until_ms &&
            is_ready(ejector, member) && health_of(ejector, member->slot) == SB_HEALTH_UP) {
            until_ms = eject.until_ms;
            found = member;
        }
    }
    return found;
}

static void sweep_pool(struct ejector *ejector, const struct eject_pool *pool, uint64_t now_ms)
{
    const struct eject_member *substitute;
    struct eject_census census;

    for (uint32_t i = 0; i < pool->n_members; i++) {
        const struct eject_member *member = &pool->members[i];

        let_return(ejector, &pool->rules, member->slot, pool->name, member->name, now_ms);
    }
    census = count_members(ejector, pool);
    if (census.serving == 0 && (substitute = find_substitute(ejector, pool))) {
        call_back(ejector, pool, substitute, now_ms);
        return; /* and it stays: nobody may go */
    }
    for (uint32_t i = 0; i < pool->n_members; i++) {
        const struct eject_member *member = &pool->members[i];
        bool serving = is_serving(ejector, member);

        if (is_failing(ejector, pool, member) &&
            eject_is_spared(&census, pool->rules.max_ejected, serving)) {
            eject_member(ejector, pool, member, now_ms);
            census.ejected++;
            census.serving -= serving;
        }
    }
}

/* When the first of its members that are out returns, if that is before latest_ms. */
static uint64_t pool_due_ms(const struct ejector *ejector, const struct eject_pool *pool,
                            uint64_t latest_ms)
{
    for (uint32_t i = 0; i < pool->n_members; i++) {
        const struct eject eject = load_eject(ejector, pool->members[i].slot);

        if (eject_state(&eject) == EJECT_OUT && eject.until_ms < latest_ms) {
            latest_ms = eject.until_ms;
        }
    }
    return latest_ms;
}

uint64_t ejector_sweep(struct ejector *ejector, uint64_t now_ms)
{
    const struct eject_roster *roster = ejector->roster;
    uint64_t due_ms = now_ms + SWEEP_MS;

    if (!roster || roster->n_pools == 0) {
        return 0;
    }
    for (uint32_t p = 0; p < roster->n_pools; p++) {
        sweep_pool(ejector, &roster->pools[p], now_ms);
        due_ms = pool_due_ms(ejector, &roster->pools[p], due_ms);
    }
    return due_ms;
}

/* --- life --- */

void ejector_adopt(struct ejector *ejector, struct eject_roster *roster,
                   const struct snapshot_header *snapshot, uint64_t now_ms)
{
    const struct snapshot_pool *pools = snapshot_pools(snapshot);

    free(ejector->roster);
    ejector->roster = roster;
    for (uint32_t p = 0; p < snapshot->n_pools; p++) {
        for (uint32_t i = 0; !pool_ejects(&pools[p]) && i < pools[p].n_backends; i++) {
            const struct snapshot_backend *backend =
                &snapshot_backends(snapshot)[pools[p].first_backend + i];

            let_return(ejector, &pools[p].outlier, backend->slot, pools[p].name, backend->name,
                       now_ms);
        }
    }
}

struct ejector *ejector_create(struct scoreboard *sb, check_change_fn *changed, void *arg)
{
    struct ejector *ejector = calloc(1, sizeof(*ejector));

    if (ejector) {
        ejector->sb = sb;
        ejector->changed = changed;
        ejector->arg = arg;
    }
    return ejector;
}

void ejector_destroy(struct ejector *ejector)
{
    if (ejector) {
        free(ejector->roster);
        free(ejector);
    }
}
