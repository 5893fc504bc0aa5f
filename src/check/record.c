/*
 * What `show checks` tells of each check of a backend: keeps the links' records in the scoreboard
 * (pool/check_record.h) in step with them. In the monitor.
 */
#include "pool/check_record.h"

#include "check/probe.h"

static enum sb_check_state state_of(const struct link *link)
{
    static const enum sb_check_state states[SB_HEALTH_COUNT] = {
        [SB_HEALTH_UNKNOWN] = SB_CHECK_UNKNOWN,
        [SB_HEALTH_UP] = SB_CHECK_UP,
        [SB_HEALTH_DOWN] = SB_CHECK_DOWN,
    };

    return link->is_mute ? SB_CHECK_ADVISORY : states[link->health.state];
}

static void record_stand(const struct link *link)
{
    check_record_stand(link->record, state_of(link), link->health.streak,
                       link->probe->due_us / 1000);
}

void record_adopt(struct check_engine *engine, struct watched *watched)
{
    uint64_t keys[SB_CHECKS_MAX];
    struct sb_check *records[SB_CHECKS_MAX];
    uint32_t n = watched->n_links < SB_CHECKS_MAX ? watched->n_links : SB_CHECKS_MAX;

    for (uint32_t i = 0; i < n; i++) {
        keys[i] = watched->links[i].record_key;
    }
    check_record_assign(engine->sb, watched->slot, keys, n, records);
    for (uint32_t i = 0; i < watched->n_links; i++) {
        watched->links[i].record = records[i < n ? i : n - 1];
        record_stand(&watched->links[i]);
    }
}

void record_note(const struct link *link, const struct check_outcome *outcome, uint64_t latency_us,
                 uint64_t now_us)
{
    const struct check_record_run run = {
        .result = outcome->nothing  ? SB_RESULT_NOTHING
                  : outcome->passed ? SB_RESULT_PASSED
                                    : SB_RESULT_FAILED,
        .reason = link->probe->reason,
        .latency_us = latency_us,
        .now_ms = now_us / 1000,
    };

    check_record_note(link->record, &run);
    record_stand(link);
}
