/*
 * Probes: when they run, at most so many at once, and how a run ends. In the monitor.
 *
 * A probe that is due joins the queue, and only the pump takes it out: a timer callback that starts
 * a bounded batch and comes back a millisecond later for more. So a thousand probes due in one
 * moment neither hold up the loop nor send their packets in one burst, and a check that is over
 * before start() returns (a Unix socket) cannot recurse. A run's time begins when it is taken out.
 */
#include "check/probe.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "check/pace.h"

#define RUNNING_MAX  2048 /* so that a rack that goes silent does not hold up the others' checks */
#define PROGRAMS_MAX 64   /* the same for programs, which cost a process each */
#define START_BATCH  64
#define BATCH_GAP_US 1000
#define GRAIN_US     4000   /* timers end on multiples of this, so that one turn serves several */
#define RETRY_US     100000 /* after something of our own ran out */
#define LOG_GAP_US   10000000

/* A backend that is down again before this many intervals are over has flapped. */
#define FLAP_INTERVALS 10

static int key_compare(const struct probe *a, const struct probe *b)
{
    return memcmp(&a->key, &b->key, sizeof(a->key));
}

RB_PROTOTYPE(probe_tree, probe, of_tree, key_compare)
RB_GENERATE(probe_tree, probe, of_tree, key_compare)

/* --- states --- */

static const bool state_allowed[PROBE_STATE_COUNT][PROBE_STATE_COUNT] = {
    [PROBE_WAITING] = {[PROBE_QUEUED] = true},
    [PROBE_QUEUED] = {[PROBE_RUNNING] = true, [PROBE_WAITING] = true},
    [PROBE_RUNNING] = {[PROBE_WAITING] = true},
};

static struct lane *lane_of(const struct probe *probe)
{
    return &probe->engine->lanes[probe->kind->runs_programs ? LANE_PROGRAMS : LANE_CONNECTIONS];
}

static void probe_set_state(struct probe *probe, enum probe_state to)
{
    struct check_engine_stats *stats = &probe->engine->stats;
    struct lane *lane = lane_of(probe);

    assert(state_allowed[probe->state][to]);
    if (probe->state == PROBE_QUEUED) {
        TAILQ_REMOVE(&lane->queue, probe, of_queue);
        stats->queued--;
    } else if (probe->state == PROBE_RUNNING) {
        stats->running--;
        lane->running--;
    }
    probe->state = to;
    if (to == PROBE_QUEUED) {
        TAILQ_INSERT_TAIL(&lane->queue, probe, of_queue);
        stats->queued++;
    } else if (to == PROBE_RUNNING) {
        stats->running++;
        lane->running++;
        if (stats->running > stats->peak) {
            stats->peak = stats->running;
        }
    }
}

/* --- timers --- */

int timer_set(struct event *timer, uint64_t delay_us)
{
    const struct timeval tv = {.tv_sec = (time_t)(delay_us / 1000000),
                               .tv_usec = (suseconds_t)(delay_us % 1000000)};

    return evtimer_add(timer, &tv);
}

static void probe_set_timer(struct probe *probe, uint64_t now_us, uint64_t due_us)
{
    probe->due_us = (due_us + GRAIN_US - 1) / GRAIN_US * GRAIN_US;
    (void)timer_set(&probe->timer, probe->due_us > now_us ? probe->due_us - now_us : 0);
}

static void pump_arm(struct lane *lane, uint64_t delay_us)
{
    if (!TAILQ_EMPTY(&lane->queue) && lane->running < lane->limit &&
        !evtimer_pending(&lane->pump, NULL)) {
        (void)timer_set(&lane->pump, delay_us);
    }
}

/* --- runs --- */

static enum pace probe_pace(const struct probe *probe)
{
    const struct link *link;
    enum pace pace = PACE_STEADY;

    LIST_FOREACH (link, &probe->links, of_probe) {
        if (health_is_changing(&link->health)) {
            return PACE_CHANGING;
        }
        if (link->health.state == SB_HEALTH_DOWN) {
            pace = PACE_DOWN;
        }
    }
    return pace;
}

/* Runs are timed from start to start, so that how long answers take does not shift them. */
static void probe_schedule(struct probe *probe, uint64_t now_us)
{
    enum pace pace = probe_pace(probe);
    uint64_t random = pace_random(&probe->engine->random);
    uint64_t delay_us = probe->settled ? pace_delay_us(&probe->key.check, pace, random)
                                       : pace_first_delay_us(&probe->key.check, pace, random);

    probe->settled |= pace != PACE_CHANGING;
    probe_set_timer(probe, now_us, probe->check.started_us + delay_us);
}

/* A run that ends without saying more than this. */
static void probe_done(struct probe *probe, bool passed, bool nothing, const char *reason)
{
    const struct check_outcome outcome = {.passed = passed,
                                          .nothing = nothing,
                                          .weight_permille = CHECK_NOT_SAID,
                                          .admin = CHECK_NOT_SAID,
                                          .max_connections = CHECK_NOT_SAID,
                                          .reason = reason};

    check_done_outcome(&probe->check, &outcome);
}

static struct probe *probe_of(struct check_probe *check)
{
    return (struct probe *)(void *)((char *)check - offsetof(struct probe, check));
}

void check_done(struct check_probe *check, bool passed, const char *reason)
{
    probe_done(probe_of(check), passed, false, reason);
}

/* Who is told how a backend is, rather than finding out, has nothing to count and to damp. */
static struct health_rules probe_rules(const struct probe *probe)
{
    const struct snapshot_check *check = &probe->key.check;

    if (probe->kind->is_advisory) {
        return (struct health_rules){.rise = 1, .fall = 1};
    }
    return (struct health_rules){.rise = check->rise,
                                 .fall = check->fall,
                                 .flap_ms = FLAP_INTERVALS * (uint64_t)check->interval_ms};
}

static void probe_note_result(struct probe *probe, bool passed, uint64_t now_us)
{
    const struct health_rules rules = probe_rules(probe);
    struct link *link;

    if (!passed) {
        memcpy(probe->fail_reason, probe->reason, sizeof(probe->fail_reason));
    }
    probe->engine->stats.passed += passed;
    probe->engine->stats.failed += !passed;
    LIST_FOREACH (link, &probe->links, of_probe) {
        (void)health_note(&link->health, passed, &rules, now_us / 1000);
        link->has_failed |= !passed;
        link->is_mute = false;
    }
}

static void probe_note_nothing(struct probe *probe)
{
    struct link *link;

    LIST_FOREACH (link, &probe->links, of_probe) {
        link->is_mute = probe->kind->is_advisory && link->health.state == SB_HEALTH_UNKNOWN;
    }
}

static void note_word(uint32_t *word, uint32_t said)
{
    *word = said == CHECK_NOT_SAID ? *word : said;
}

static void probe_note_asked(struct probe *probe, const struct check_outcome *outcome)
{
    note_word(&probe->asked.weight_permille, outcome->weight_permille);
    note_word(&probe->asked.admin, outcome->admin);
    note_word(&probe->asked.max_connections, outcome->max_connections);
}

void check_done_outcome(struct check_probe *check, const struct check_outcome *outcome)
{
    struct probe *probe = probe_of(check);
    uint64_t now_us = clock_now_us();

    probe_set_state(probe, PROBE_WAITING);
    (void)snprintf(probe->reason, sizeof(probe->reason), "%s", outcome->reason);
    probe_note_asked(probe, outcome);
    if (outcome->nothing) {
        probe_note_nothing(probe);
    } else {
        probe_note_result(probe, outcome->passed, now_us);
    }
    probe_schedule(probe, now_us);
    engine_fan_out(probe, outcome, now_us);
    pump_arm(lane_of(probe), 0);
}

static void probe_time_out(struct probe *probe)
{
    const struct check_kind *kind = probe->kind;
    char reason[SB_REASON_MAX];

    if (kind->explain_late == NULL || !kind->explain_late(&probe->check, reason, sizeof(reason))) {
        (void)snprintf(reason, sizeof(reason), "no answer within %u ms",
                       probe->key.check.timeout_ms);
    }
    kind->cancel(&probe->check);
    probe_done(probe, false, kind->is_advisory, reason);
}

/* The attempt could not be made: no result. At most one line in LOG_GAP_US says so. */
static void probe_postpone(struct probe *probe, int error, uint64_t now_us)
{
    struct check_engine *engine = probe->engine;
    char address[ADDR_TEXT_MAX];

    probe_set_state(probe, PROBE_WAITING);
    probe_set_timer(probe, now_us, now_us + RETRY_US + pace_random(&engine->random) % RETRY_US);
    engine->stats.postponed++;
    if (now_us >= engine->log_after_us) {
        log_warning("health checks cannot start and are postponed",
                    LOG_STR("reason", strerrordesc_np(error)),
                    LOG_STR("address", addr_format(&probe->key.address, address)),
                    LOG_INT("postponed", engine->stats.postponed - engine->postponed_logged));
        engine->postponed_logged = engine->stats.postponed;
        engine->log_after_us = now_us + LOG_GAP_US;
    }
}

/* Returns 0 also when the run is over already; -errno when it could not be made. */
static int probe_start(struct probe *probe)
{
    uint64_t now_us = clock_now_us();
    int error;

    probe_set_state(probe, PROBE_RUNNING);
    probe->check.started_us = now_us;
    probe_set_timer(probe, now_us, now_us + probe->key.check.timeout_ms * UINT64_C(1000));
    error = probe->kind->start(&probe->check);
    if (error) {
        probe_postpone(probe, -error, now_us);
    }
    return error;
}

static void probe_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct probe *probe = arg;
    uint64_t now_us = clock_now_us();

    (void)fd;
    (void)what;
    if (now_us < probe->due_us) { /* libevent counts from the start of the turn that set it */
        probe_set_timer(probe, now_us, probe->due_us);
    } else if (probe->state == PROBE_RUNNING) {
        probe_time_out(probe);
    } else {
        probe_set_state(probe, PROBE_QUEUED);
        pump_arm(lane_of(probe), 0);
    }
}

/* --- life --- */

struct probe *probe_find(struct check_engine *engine, const struct probe_key *key)
{
    struct probe same;

    same.key = *key;
    return RB_FIND(probe_tree, &engine->probes, &same);
}

static void probe_free(struct probe *probe)
{
    if (probe->kind->release != NULL) {
        probe->kind->release(&probe->check);
    }
    free(probe->args);
    free(probe);
}

/* The args of a check, in one piece with their strings. NULL without memory. */
static struct check_arg *args_copy(const struct snapshot_header *snapshot,
                                   const struct snapshot_check *check)
{
    const struct snapshot_arg *from = &snapshot_args(snapshot)[check->first_arg];
    size_t n_bytes = 0;
    struct check_arg *args;
    char *at;

    for (uint32_t i = 0; i < check->n_args; i++) {
        n_bytes += strlen(snapshot_text(snapshot, from[i].name)) + 1;
        n_bytes += strlen(snapshot_text(snapshot, from[i].value)) + 1;
    }
    args = malloc(check->n_args * sizeof(*args) + n_bytes + 1);
    if (!args) {
        return NULL;
    }
    at = (char *)(args + check->n_args);
    for (uint32_t i = 0; i < check->n_args; i++) {
        args[i].name = at;
        at = stpcpy(at, snapshot_text(snapshot, from[i].name)) + 1;
        args[i].value = at;
        at = stpcpy(at, snapshot_text(snapshot, from[i].value)) + 1;
    }
    return args;
}

/* Makes the kind's part of it. */
static int probe_prepare(struct probe *probe)
{
    probe->check = (struct check_probe){.base = probe->engine->base,
                                        .address = &probe->key.address,
                                        .params = &probe->key.check,
                                        .send_proxy = (enum send_proxy)probe->key.send_proxy,
                                        .args = probe->args,
                                        .n_args = probe->key.check.n_args,
                                        .pool = probe->key.pool,
                                        .backend = probe->key.backend,
                                        .state = probe->kind_state};
    return probe->kind->prepare != NULL ? probe->kind->prepare(&probe->check) : 0;
}

struct probe *probe_create(struct check_engine *engine, const struct check_kind *kind,
                           const struct probe_key *key, const struct snapshot_header *snapshot,
                           const struct snapshot_check *check)
{
    struct probe *probe = calloc(1, sizeof(*probe) + kind->state_bytes);

    if (!probe) {
        return NULL;
    }
    probe->engine = engine;
    probe->kind = kind;
    probe->key = *key;
    probe->asked = ASKED_NOTHING;
    LIST_INIT(&probe->links);
    probe->args = args_copy(snapshot, check);
    if (!probe->args || probe_prepare(probe) != 0) {
        free(probe->args);
        free(probe);
        return NULL;
    }
    if (evtimer_assign(&probe->timer, engine->base, probe_on_timer, probe) != 0 ||
        timer_set(&probe->timer, 0) != 0) {
        probe_free(probe);
        return NULL;
    }
    RB_INSERT(probe_tree, &engine->probes, probe);
    engine->stats.probes++;
    return probe;
}

void probe_destroy(struct probe *probe)
{
    struct check_engine *engine = probe->engine;

    (void)event_del(&probe->timer);
    if (probe->state == PROBE_RUNNING) {
        probe->kind->cancel(&probe->check);
    }
    if (probe->state != PROBE_WAITING) {
        probe_set_state(probe, PROBE_WAITING);
    }
    RB_REMOVE(probe_tree, &engine->probes, probe);
    engine->stats.probes--;
    pump_arm(lane_of(probe), 0);
    probe_free(probe);
}

void probe_forget_links(struct check_engine *engine)
{
    struct probe *probe;

    RB_FOREACH (probe, probe_tree, &engine->probes) {
        LIST_INIT(&probe->links);
    }
}

void probe_destroy_unlinked(struct check_engine *engine)
{
    struct probe *probe, *next;

    RB_FOREACH_SAFE(probe, probe_tree, &engine->probes, next)
    {
        if (LIST_EMPTY(&probe->links)) {
            probe_destroy(probe);
        }
    }
}

/* --- the pump --- */

/* Lack of a port concerns one backend; lack of anything else concerns all of the lane. */
static bool error_concerns_all(int error)
{
    return error != -EADDRNOTAVAIL;
}

static void pump_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct lane *lane = arg;
    uint64_t now_us = clock_now_us();

    (void)fd;
    (void)what;
    if (now_us < lane->paused_until_us) {
        pump_arm(lane, lane->paused_until_us - now_us);
        return;
    }
    for (int n = 0; n < START_BATCH && lane->running < lane->limit; n++) {
        struct probe *probe = TAILQ_FIRST(&lane->queue);
        int error = probe ? probe_start(probe) : 0;

        if (error && error_concerns_all(error)) {
            lane->paused_until_us = now_us + RETRY_US;
            break;
        }
    }
    pump_arm(lane, BATCH_GAP_US);
}

void pump_read_limit(struct check_engine *engine)
{
    struct rlimit limit;
    rlim_t quarter = RUNNING_MAX;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < quarter) {
        quarter = limit.rlim_cur / 4;
    }
    engine->stats.limit = quarter ? (uint32_t)quarter : 1;
    engine->lanes[LANE_CONNECTIONS].limit = engine->stats.limit;
    engine->lanes[LANE_PROGRAMS].limit = quarter < 4                  ? 1
                                         : quarter / 4 < PROGRAMS_MAX ? (uint32_t)quarter / 4
                                                                      : PROGRAMS_MAX;
}

int pump_init(struct check_engine *engine)
{
    int error = 0;

    RB_INIT(&engine->probes);
    pump_read_limit(engine);
    for (int i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = &engine->lanes[i];

        TAILQ_INIT(&lane->queue);
        (void)evtimer_assign(&lane->pump, engine->base, pump_on_timer, lane);
    }
    for (int i = 0; i < LANE_COUNT && error == 0; i++) {
        error = timer_set(&engine->lanes[i].pump, 0);
    }
    if (error != 0) {
        pump_fini(engine);
        return -ENOMEM;
    }
    return 0;
}

void pump_fini(struct check_engine *engine)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        (void)event_del(&engine->lanes[i].pump);
    }
}
