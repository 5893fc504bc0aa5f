/*
 * Answers which backend a client would get now and why not the others, by the code that chooses:
 * the scheduler really picks, and is then put back to what it was. In a worker.
 */
#include <stdlib.h>
#include <string.h>

#include "chooser.h"
#include "pool/ports.h"

/* What asking changes in a pool. */
struct kept {
    void *state;
    uint32_t *credit;
};

static bool keep(const struct chooser_pool *pool, struct kept *kept)
{
    *kept = (struct kept){.state = malloc(pool->state_bytes + 1),
                          .credit = calloc(pool->view.n + 1, sizeof(*kept->credit))};
    if (kept->state == NULL || kept->credit == NULL) {
        free(kept->state);
        free(kept->credit);
        return false;
    }
    if (pool->state_bytes > 0)
        memcpy(kept->state, pool->state, pool->state_bytes);
    memcpy(kept->credit, pool->credit, pool->view.n * sizeof(*kept->credit));
    return true;
}

static void put_back(struct chooser_pool *pool, struct kept *kept)
{
    if (pool->state_bytes > 0)
        memcpy(pool->state, kept->state, pool->state_bytes);
    memcpy(pool->credit, kept->credit, pool->view.n * sizeof(*kept->credit));
    free(kept->state);
    free(kept->credit);
}

/* *out_steady: whether a second answer, after the turn has passed on, would be the same. */
static enum choice ask(struct chooser_pool *pool, const struct sched_request *question,
                       uint32_t *out_index, bool *out_steady)
{
    struct kept kept;

    if (!keep(pool, &kept))
        return CHOICE_NONE;
    *out_index = chooser_ask(pool, question);
    *out_steady = chooser_ask(pool, question) == *out_index;
    put_back(pool, &kept);
    return *out_index == SCHED_NONE ? chooser_why_none(pool, question) : CHOICE_MADE;
}

/* --- ports --- */

/* Where connections are kept a client may be lent one of them: ports are no reason there. */
static bool lacks_port(const struct chooser *chooser, const struct chooser_pool *pool, uint32_t i,
                       uint64_t now_us)
{
    const struct snapshot_backend *backend = &pool->backends[i];

    return pool->record->reuse.mode == REUSE_OFF &&
           ports_are_out(chooser->sb, &snapshot_sources(chooser->snapshot)[backend->first_source],
                         backend->n_sources, now_us / 1000);
}

/* --- why not the others --- */

/* (sessions + 1) / weight of i against that of best, an idle one first under nq: below 0 when a
 * rule by load would rather have i. */
static int compare_load(const struct chooser_pool *pool, uint32_t i, uint32_t best)
{
    bool idle_i = sched_active(&pool->view, i) == 0;
    if (pool->ops == &sched_nq && idle_i != (sched_active(&pool->view, best) == 0))
        return idle_i ? -1 : 1;

    uint64_t weight_i = pool->ops->weighted ? pool->weight[i] : 1;
    uint64_t weight_best = pool->ops->weighted ? pool->weight[best] : 1;
    uint64_t load_i = ((uint64_t)sched_active(&pool->view, i) + 1) * weight_best;
    uint64_t load_best = ((uint64_t)sched_active(&pool->view, best) + 1) * weight_i;
    return load_i < load_best ? -1 : load_i > load_best;
}

static enum why_not by_state(enum backend_state state)
{
    static const enum why_not whys[BACKEND_STATE_COUNT] = {
        [BACKEND_MAINTENANCE] = WHY_NOT_MAINTENANCE, [BACKEND_DOWN] = WHY_NOT_DOWN,
        [BACKEND_DRAINING] = WHY_NOT_DRAINING,       [BACKEND_STARTING] = WHY_NOT_STARTING,
        [BACKEND_EJECTED] = WHY_NOT_EJECTED,         [BACKEND_FULL] = WHY_NOT_FULL,
        [BACKEND_STANDBY] = WHY_NOT_STANDBY,         [BACKEND_UP] = WHY_NOT_PREFERRED,
    };
    return whys[state];
}

/* Of one that might have been chosen. */
static enum why_not by_rule(const struct chooser_pool *pool, const struct explanation *out,
                            uint32_t i)
{
    if (out->backend == SNAPSHOT_NONE)
        return WHY_NOT_PREFERRED;
    if (out->rule == EXPLAINED_BY_LEASE)
        return WHY_NOT_LEASE;
    if (pool->ops->kind != SCHED_BY_LOAD || pool->weight[out->backend] == 0)
        return WHY_NOT_PREFERRED;
    int order = compare_load(pool, i, out->backend);
    if (order < 0 && pool->factor[i] < 1000)
        return WHY_NOT_SLOW_START;
    return order > 0 ? WHY_NOT_LOADED : WHY_NOT_PREFERRED;
}

static enum why_not judge(const struct chooser *chooser, const struct chooser_pool *pool,
                          const struct sched_request *question, const struct explanation *out,
                          uint32_t i)
{
    if (i == out->backend)
        return WHY_NOT_IT_IS;
    struct backend_facts facts =
        eligibility_facts(pool->record, pool->backends, i, &pool->survey, chooser->sb);
    /* In panic its state is called otherwise. */
    struct backend_facts unloaded = facts;
    unloaded.full = false;
    if (facts.full && eligibility_takes_new(&unloaded))
        return WHY_NOT_FULL;
    if (!eligibility_takes_new(&facts))
        return by_state(eligibility_judge(&facts));
    if (pool->has_bounds && !sched_has_room(&pool->view, question, i))
        return WHY_NOT_RATE;
    if (lacks_port(chooser, pool, i, question->now_us))
        return WHY_NOT_PORTS;
    return by_rule(pool, out, i);
}

static void judge_others(const struct chooser *chooser, const struct chooser_pool *pool,
                         const struct sched_request *question, struct explanation *out)
{
    out->n_others = pool->view.n < EXPLANATION_OTHERS_MAX ? pool->view.n : EXPLANATION_OTHERS_MAX;
    for (uint32_t i = 0; i < out->n_others; i++) {
        out->others[i] = (struct explanation_other){
            .why = (uint8_t)judge(chooser, pool, question, out, i),
            .active = sched_active(&pool->view, i),
            .weight = pool->weight[i],
        };
    }
}

/* Whether a rule by load leaves nothing open. Slow start holds a backend in one worker and not in
 * the next: then neither the choice of it nor one over its head is certain. */
static bool is_clear(const struct chooser_pool *pool, const struct explanation *out,
                     uint32_t usable, uint32_t less_loaded)
{
    bool by_share = pool->factor[out->backend] < 1000 && pool->n_slow < pool->view.n_eligible;
    return usable <= 1 || (!by_share && out->ties == 0 && less_loaded == 0);
}

/* How many others would do as well, and whether the same would come out again. A hash leaves
 * nothing to turns; but lblc goes by load where it remembers nothing. */
static void judge_certainty(const struct chooser_pool *pool, const struct sched_request *question,
                            bool steady, struct explanation *out)
{
    enum sched_kind kind = pool->ops->kind;
    uint32_t usable = 0, less_loaded = 0;

    for (uint32_t e = 0; e < pool->view.n_eligible; e++) {
        uint32_t i = pool->eligible[e];
        if (!sched_usable(&pool->view, question, i))
            continue;
        usable++;
        if (kind != SCHED_BY_LOAD || i == out->backend)
            continue;
        int order = compare_load(pool, i, out->backend);
        out->ties += order == 0;
        less_loaded += order < 0;
    }
    if (kind == SCHED_BY_LOAD)
        out->certain = is_clear(pool, out, usable, less_loaded);
    else if (kind == SCHED_BY_TURN || kind == SCHED_BY_CHANCE)
        out->certain = usable <= 1;
    else
        out->certain = steady;
}

/* --- the question --- */

/* The backend that the client has a lease on, with what is told of it, or SCHED_NONE. */
static uint32_t find_lease(const struct chooser *chooser, uint32_t p,
                           const struct choose_request *request,
                           const struct sched_request *question, struct explanation *out)
{
    struct lease_info info;

    if (snapshot_services(chooser->snapshot)[request->service].persistence_ms == 0)
        return SCHED_NONE;
    uint64_t key = chooser_lease_key(chooser, request->service, request->client);
    uint32_t index = chooser_leased(chooser, p, key, question, &info);
    if (index != SCHED_NONE) {
        uint64_t now_ms = request->now_us / 1000;
        out->lease_sessions = info.sessions;
        out->lease_ends_in_ms = info.ends_ms > now_ms ? info.ends_ms - now_ms : 0;
    }
    return index;
}

static enum choice pick(struct chooser *chooser, uint32_t p, const struct choose_request *request,
                        const struct sched_request *question, struct explanation *out,
                        bool *out_steady)
{
    uint32_t index = find_lease(chooser, p, request, question, out);
    enum choice choice = CHOICE_MADE;

    out->rule = EXPLAINED_BY_LEASE;
    if (index == SCHED_NONE) {
        choice = ask(&chooser->pools[p], question, &index, out_steady);
        out->rule = choice == CHOICE_MADE ? EXPLAINED_BY_SCHEDULER : EXPLAINED_BY_NOTHING;
    }
    out->backend = index == SCHED_NONE ? SNAPSHOT_NONE : index;
    return choice;
}

/* As a session does it: one that there is no port to connect to from is passed over, so many times.
 * tried has room for TRIED_MAX, and is question's. */
static enum choice pick_with_port(struct chooser *chooser, uint32_t p,
                                  const struct choose_request *request,
                                  struct sched_request *question, uint32_t *tried,
                                  struct explanation *out, bool *out_steady)
{
    enum choice choice;

    while ((choice = pick(chooser, p, request, question, out, out_steady)) == CHOICE_MADE &&
           lacks_port(chooser, &chooser->pools[p], out->backend, request->now_us)) {
        if (question->n_tried == TRIED_MAX) {
            out->rule = EXPLAINED_BY_NOTHING;
            out->backend = SNAPSHOT_NONE;
            return CHOICE_TRIED;
        }
        tried[question->n_tried++] = out->backend;
    }
    return choice;
}

static enum choice explain_in(struct chooser *chooser, uint32_t p,
                              const struct choose_request *request, struct explanation *out)
{
    struct chooser_pool *pool = &chooser->pools[p];
    uint32_t tried[TRIED_MAX] = {0};
    struct sched_request question = chooser_question(chooser, request, p, tried, 0);
    bool steady = false;

    question.dry = true;
    chooser_refresh(chooser, pool, request->now_us / 1000);
    *out = (struct explanation){
        .generation = chooser->snapshot->generation,
        .service = request->service,
        .pool = p,
        .is_fallback = p != snapshot_services(chooser->snapshot)[request->service].pool,
        .panic = pool->survey.panic,
        .certain = 1,
    };
    out->choice = pick_with_port(chooser, p, request, &question, tried, out, &steady);
    if (out->rule == EXPLAINED_BY_SCHEDULER)
        judge_certainty(pool, &question, steady, out);
    /* Only a lease on a backend that nobody else is let to goes before those who wait. */
    if (out->rule != EXPLAINED_BY_LEASE || pool->weight[out->backend] != 0) {
        out->behind = chooser_behind(chooser, pool);
        out->certain &= out->behind == 0;
    }
    judge_others(chooser, pool, &question, out);
    return (enum choice)out->choice;
}

/* The service's own backends, and why each is none, behind those of the fallback pool. */
static void append_own(struct explanation *out, const struct explanation *own)
{
    uint32_t room = EXPLANATION_OTHERS_MAX - out->n_others;

    out->n_own = own->n_others < room ? own->n_others : room;
    memcpy(&out->others[out->n_others], own->others, out->n_own * sizeof(*own->others));
    out->n_others += out->n_own;
}

void chooser_explain(struct chooser *chooser, const struct choose_request *request,
                     struct explanation *out)
{
    const struct snapshot_service *service =
        &snapshot_services(chooser->snapshot)[request->service];
    enum choice choice = explain_in(chooser, service->pool, request, out);

    if ((choice != CHOICE_NONE && choice != CHOICE_TRIED) ||
        service->fallback_pool == SNAPSHOT_NONE)
        return;
    struct explanation *own = malloc(sizeof(*own));
    if (own == NULL)
        return;
    *own = *out;
    if (explain_in(chooser, service->fallback_pool, request, out) == CHOICE_NONE)
        *out = *own;
    else
        append_own(out, own);
    free(own);
}
