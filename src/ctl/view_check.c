/*
 * Live figures of health checks: of each check, of what those of a backend ask for together, and of
 * what workers saw of it. In master.
 */
#include <stdio.h>

#include "ctl/view.h"
#include "pool/check_record.h"
#include "pool/history.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static uint64_t since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static uint64_t age_ms(const struct view *view, uint64_t then_ms)
{
    return then_ms != 0 ? since(view->now_ms, then_ms) : REPLY_NONE;
}

static uint64_t left_ms(const struct view *view, uint64_t then_ms)
{
    return then_ms != 0 ? since(then_ms, view->now_ms) : REPLY_NONE;
}

bool view_is_watched(const struct view *view, const struct model_pool *pool, size_t index)
{
    size_t count = 0;

    model_backend_checks(pool, &pool->backends[index], &count);
    return count > 0 ||
           snapshot_pools(view->snapshot)[pool - view->model->pools].outlier.consecutive_failures >
               0;
}

/* The oldest first, for those who read from the left. */
static void put_history(const struct history_result *results, uint32_t n, struct view_history *out)
{
    for (uint32_t i = 0; i < n; i++) {
        out->text[n - 1 - i] = results[i].passed ? '+' : '-';
        out->latencies_us[n - 1 - i] = results[i].latency_us;
    }
    out->text[n] = '\0';
    out->latencies = (struct reply_uints){out->latencies_us, n};
}

/* --- one check --- */

static void fill_one(const struct view *view, const struct snapshot_backend *backend, uint32_t i,
                     struct view_one_check *out)
{
    const struct snapshot_check *checks = &snapshot_checks(view->snapshot)[backend->first_check];
    struct check_record record;

    check_record_read(view->sb, backend->slot, check_record_key(checks, i), view->now_ms, &record);
    *out = (struct view_one_check){
        .check = checks[i].title,
        .state =
            record.state < SB_CHECK_STATE_COUNT ? sb_check_state_names[record.state] : "unknown",
        .result = record.result == SB_RESULT_NONE || record.result >= SB_RESULT_COUNT
                      ? NULL
                      : sb_check_result_names[record.result],
        .reason = out->reason_text,
        .history = out->history_of.text,
        .last_age_ms = age_ms(view, record.last_ms),
        .latency_us = record.last_ms != 0 ? record.last_latency_us : REPLY_NONE,
        .next_in_ms = left_ms(view, record.next_ms),
        .streak = record.streak,
        .passed = record.passed,
        .failed = record.failed,
    };
    put_history(record.history, record.n_history, &out->history_of);
    out->history_latency_us = out->history_of.latencies;
    (void)snprintf(out->reason_text, sizeof(out->reason_text), "%s", record.reason);
}

static void fill_each(const struct view *view, const struct snapshot_backend *backend,
                      struct view_check *out)
{
    uint32_t n = backend->n_checks < CHECKS_MAX ? backend->n_checks : CHECKS_MAX;
    size_t used = 0;

    for (uint32_t i = 0; i < n; i++) {
        fill_one(view, backend, i, &out->each[i]);
        used += (size_t)snprintf(out->checks_text + used, sizeof(out->checks_text) - used, "%s%s",
                                 i > 0 ? "," : "", out->each[i].check);
    }
    out->by_check = (struct reply_rows){out->each, n, sizeof(out->each[0]), view_one_check_columns};
}

/* --- of a backend --- */

static void fill_asked(const struct view *view, const struct snapshot_backend *record,
                       struct view_check *out)
{
    const struct sb_slot *slot = &view->sb->slots[record->slot];
    uint32_t admin = LOAD(slot->asked_admin), limit = LOAD(slot->asked_limit);
    uint32_t permille = LOAD(slot->asked_permille);

    out->asks = view_asked(view, record, out->asks_text);
    out->asked_admin =
        admin == ADMIN_READY || admin >= ADMIN_COUNT ? NULL : admin_state_names[admin];
    out->asked_weight_permille = permille == 0 ? REPLY_NONE : permille - 1;
    out->asked_max_connections = limit == 0 ? REPLY_NONE : limit - 1;
}

static void fill_ejection(const struct view *view, const struct sb_slot *slot,
                          struct view_check *out)
{
    out->failures = LOAD(slot->failures);
    out->ejections = LOAD(slot->ejections);
    out->ejected_for_ms = left_ms(view, LOAD(slot->ejected_until_ms));
}

/* All its checks together, in the order in which they ended. */
static void fill_together(const struct view *view, const struct sb_slot *slot,
                          struct view_check *out)
{
    uint64_t last_ms = LOAD(slot->last_check_ms);
    struct history_result results[SB_HISTORY_MAX];

    out->last_age_ms = age_ms(view, last_ms);
    out->latency_us = last_ms != 0 ? LOAD(slot->last_latency_us) : REPLY_NONE;
    out->next_in_ms = left_ms(view, LOAD(slot->next_check_ms));
    out->streak = LOAD(slot->streak);
    out->passed = LOAD(slot->checks_passed);
    out->failed = LOAD(slot->checks_failed);
    put_history(results, history_read(&slot->history, view->now_ms, results), &out->history_of);
    out->history = out->history_of.text;
    out->history_latency_us = out->history_of.latencies;
}

void view_check(const struct view *view, const struct model_pool *pool,
                const struct standing *standing, size_t index, struct view_check *out)
{
    const struct snapshot_backend *backend = &standing->backends[index];
    const struct sb_slot *slot = &view->sb->slots[backend->slot];
    struct backend_facts facts = eligibility_facts(standing->pool, standing->backends,
                                                   (uint32_t)index, &standing->survey, view->sb);
    uint64_t since_ms;

    *out = (struct view_check){.pool = pool->name, .backend = pool->backends[index].name};
    (void)scoreboard_get_health(view->sb, backend->slot, &since_ms, out->reason_text);
    out->health = facts.health < SB_HEALTH_COUNT ? sb_health_names[facts.health] : "unknown";
    fill_each(view, backend, out);
    fill_together(view, slot, out);
    fill_asked(view, backend, out);
    fill_ejection(view, slot, out);
    out->reason = out->reason_text;
    out->checks = out->checks_text;
}

size_t view_check_lines(const struct view_check *of)
{
    return of->by_check.count > 0 ? of->by_check.count : 1;
}

void view_check_line(const struct view_check *of, size_t i, struct view_check_line *out)
{
    *out = (struct view_check_line){
        .pool = of->pool,
        .backend = of->backend,
        .health = of->health,
        .asks = of->asks,
        .failures = of->failures,
        .ejections = of->ejections,
        .ejected_for_ms = of->ejected_for_ms,
        .one = {.latency_us = REPLY_NONE,
                .last_age_ms = REPLY_NONE,
                .next_in_ms = REPLY_NONE,
                .reason = of->reason},
    };
    if (i < of->by_check.count)
        out->one = of->each[i];
}
