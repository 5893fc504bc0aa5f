/*
 * Tells of reuse that a pool asks for and that does not happen: of a backend that has switched it
 * off, and of sessions most of which come to own their upstream. Each is an event and a line in the
 * log. Also lets backends that have switched it off try again once the pool's settings are others.
 * Owns master's record of what was told. In master.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "ctl/reuse_advice.h"
#include "master.h"

#define EVENT_KIND "reuse"

#define SAMPLE_MS       900 /* at least; the sweep comes every second */
#define WINDOW_MS       10000
#define SESSIONS_ENOUGH 20 /* within that time, to judge by */

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static const struct snapshot_backend *backends_of(const struct master *master,
                                                  const struct snapshot_pool *pool)
{
    return snapshot_backends(master->running) + pool->first_backend;
}

/* --- a backend that has switched it off --- */

static void tell_trouble(struct master *master, const struct snapshot_pool *pool,
                         const struct snapshot_backend *backend, enum reuse_trouble trouble)
{
    STR_AUTO text = {0};
    str_printf(&text, "pool %s: backend %s ", pool->name, backend->name);
    if (trouble == REUSE_SPEAKS_FIRST) {
        str_append(&text, "speaks first, so its connections are not reused");
    } else {
        str_append(&text, "has reuse switched off");
    }
    str_printf(&text,
               ": %s; it is tried again when its address or the pool's reuse settings change, not "
               "by a reload alone",
               reuse_advise_trouble(trouble));
    log_warning(str_text(&text), LOG_STR("pool", pool->name), LOG_STR("backend", backend->name));
    master_event(master, EVENT_KIND, pool->name, backend->name, "master", NULL, str_text(&text));
}

static void watch_backend(struct master *master, const struct snapshot_pool *pool,
                          const struct snapshot_backend *backend)
{
    struct reuse_backend *was = &master->reuse.backends[backend->row];
    uint32_t generation = master->running->generation;
    uint32_t trouble = LOAD(master->sb.slots[backend->slot].reuse_trouble);
    if (was->generation + 1 < generation) {
        was->told_slot = 0; /* it was not there, or not kept, for a while */
    }
    was->generation = generation;
    if (trouble == REUSE_FINE || trouble >= REUSE_TROUBLE_COUNT) {
        was->told_slot = 0;
    } else if (was->told_slot != backend->slot + 1) {
        was->told_slot = backend->slot + 1;
        tell_trouble(master, pool, backend, (enum reuse_trouble)trouble);
    }
}

/* A worker that still had the settings of before could set it again: only when all have the new
 * ones. */
static void try_anew(struct master *master, const struct snapshot_pool *pool,
                     struct reuse_pool *was)
{
    if (was->anew == 0 || children_oldest_generation(master) < was->anew) {
        return;
    }
    was->anew = 0;
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        uint32_t slot = backends_of(master, pool)[i].slot;
        atomic_store_explicit(&master->sb.slots[slot].reuse_trouble, REUSE_FINE,
                              memory_order_relaxed);
    }
}

/* --- sessions that own --- */

static void tell_pins(struct master *master, const struct snapshot_pool *pool, uint64_t framed,
                      uint64_t pinned)
{
    STR_AUTO text = {0};
    char command[SB_PIN_COMMAND_MAX];
    (void)reuse_pin_command(&master->sb.pools[pool->row], command);
    str_printf(&text,
               "pool %s: most sessions come to own their connection to the backend, so it is not "
               "reused: %" PRIu64 " of %" PRIu64 " within 10 s, the last by %s; %s",
               pool->name, pinned < framed ? pinned : framed, framed, command,
               reuse_advise_pins(&pool->reuse, command));
    log_warning(str_text(&text), LOG_STR("pool", pool->name));
    master_event(master, EVENT_KIND, pool->name, NULL, "master", NULL, str_text(&text));
}

/* The oldest sample that is not too old; NULL: there is none. */
static const struct reuse_sample *window_begin(const struct reuse_pool *was, uint64_t now_ms)
{
    uint32_t n = was->n_samples < REUSE_SAMPLES ? was->n_samples : REUSE_SAMPLES;
    for (uint32_t age = n; age > 0; age--) {
        const struct reuse_sample *sample = &was->samples[(was->n_samples - age) % REUSE_SAMPLES];
        if (now_ms - sample->at_ms <= WINDOW_MS) {
            return sample;
        }
    }
    return NULL;
}

/* Told once, and again only after it had become rare. */
static void watch_pins(struct master *master, const struct snapshot_pool *pool,
                       struct reuse_pool *was, uint64_t now_ms)
{
    const struct sb_pool *live = &master->sb.pools[pool->row];
    const struct reuse_sample *begin = window_begin(was, now_ms);
    const struct reuse_sample now = {.at_ms = now_ms,
                                     .framed = LOAD(live->framed_sessions),
                                     .pinned = LOAD(live->pinned_sessions)};
    uint64_t framed = begin != NULL ? now.framed - begin->framed : 0;
    uint64_t pinned = begin != NULL ? now.pinned - begin->pinned : 0;
    was->samples[was->n_samples++ % REUSE_SAMPLES] = now;
    if (framed < SESSIONS_ENOUGH) {
        return;
    }
    if (!was->is_told && pinned * 2 > framed) {
        was->is_told = true;
        tell_pins(master, pool, framed, pinned);
    } else if (pinned * 4 < framed) {
        was->is_told = false;
    }
}

/* --- pools --- */

/* What was known of it; for one that is new, or has other settings, nothing. */
static void recall(struct reuse_pool *was, const struct snapshot_pool *pool, uint32_t generation)
{
    bool is_new = was->generation == 0 || was->generation + 1 < generation ||
                  strcmp(was->name, pool->name) != 0;
    if (is_new || was->settings != pool->reuse.settings) {
        /* At the start there is nobody who could have switched anything off. */
        *was = (struct reuse_pool){.settings = pool->reuse.settings,
                                   .anew = was->generation == 0 ? 0 : generation};
        (void)strlcpy(was->name, pool->name, sizeof(was->name));
    }
    was->generation = generation;
}

void reuse_watch(struct master *master, uint64_t now_ms)
{
    const struct snapshot_header *running = master->running;
    bool is_sample = now_ms - master->reuse.sampled_ms >= SAMPLE_MS;
    if (is_sample) {
        master->reuse.sampled_ms = now_ms;
    }
    for (uint32_t p = 0; p < running->n_pools; p++) {
        const struct snapshot_pool *pool = &snapshot_pools(running)[p];
        struct reuse_pool *was = &master->reuse.pools[pool->row];
        recall(was, pool, running->generation);
        try_anew(master, pool, was);
        if (pool->reuse.mode == REUSE_OFF) {
            continue;
        }
        /* What is known under settings of before is not told. */
        for (uint32_t i = 0; was->anew == 0 && i < pool->n_backends; i++) {
            watch_backend(master, pool, &backends_of(master, pool)[i]);
        }
        if (is_sample) {
            watch_pins(master, pool, was, now_ms);
        }
    }
}
