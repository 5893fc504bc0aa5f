/* Health from results: the state machine that health.h draws. Pure. */
#include "check/health.h"

enum threshold { THRESHOLD_NEVER, THRESHOLD_FIRST, THRESHOLD_RISE, THRESHOLD_FALL };

/* How many such results in a row leave a state, and for which. */
struct transition {
    enum threshold after;
    enum sb_health to;
};

static const struct transition transitions[SB_HEALTH_COUNT][2] = {
    /*                     failed                             passed */
    [SB_HEALTH_UNKNOWN] = {{THRESHOLD_FIRST, SB_HEALTH_DOWN}, {THRESHOLD_FIRST, SB_HEALTH_UP}},
    [SB_HEALTH_UP] = {{THRESHOLD_FALL, SB_HEALTH_DOWN}, {THRESHOLD_NEVER, SB_HEALTH_UP}},
    [SB_HEALTH_DOWN] = {{THRESHOLD_NEVER, SB_HEALTH_DOWN}, {THRESHOLD_RISE, SB_HEALTH_UP}},
};

static const enum sb_health combined_all[SB_HEALTH_COUNT][SB_HEALTH_COUNT] = {
    [SB_HEALTH_UNKNOWN] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UNKNOWN, SB_HEALTH_DOWN},
    [SB_HEALTH_UP] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_DOWN},
    [SB_HEALTH_DOWN] = {SB_HEALTH_DOWN, SB_HEALTH_DOWN, SB_HEALTH_DOWN},
};

static const enum sb_health combined_any[SB_HEALTH_COUNT][SB_HEALTH_COUNT] = {
    [SB_HEALTH_UNKNOWN] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_UNKNOWN},
    [SB_HEALTH_UP] = {SB_HEALTH_UP, SB_HEALTH_UP, SB_HEALTH_UP},
    [SB_HEALTH_DOWN] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_DOWN},
};

void health_init(struct health *health, enum sb_health state)
{
    *health = (struct health){.state = state};
}

static bool streak_reaches(uint32_t streak, enum threshold after, uint32_t rise, uint32_t fall)
{
    switch (after) {
    case THRESHOLD_FIRST:
        return true;
    case THRESHOLD_RISE:
        return streak >= rise;
    case THRESHOLD_FALL:
        return streak >= fall;
    case THRESHOLD_NEVER:
        break;
    }
    return false;
}

uint32_t health_rise(const struct health *health, uint32_t rise)
{
    uint64_t needed = (uint64_t)(rise ? rise : 1) << health->doublings;

    return needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
}

/* It went down after up_ms of being up. */
static void note_fall(struct health *health, uint64_t up_ms, uint64_t flap_ms)
{
    if (up_ms < flap_ms) {
        health->doublings += health->doublings < HEALTH_DOUBLINGS_MAX;
    } else {
        uint64_t forgiven = flap_ms ? up_ms / flap_ms : HEALTH_DOUBLINGS_MAX;

        health->doublings -= forgiven < health->doublings ? (uint32_t)forgiven : health->doublings;
    }
}

static void health_set_state(struct health *health, enum sb_health to, uint64_t flap_ms,
                             uint64_t now_ms)
{
    if (health->state == SB_HEALTH_DOWN) {
        health->risen_ms = now_ms;
    } else if (health->state == SB_HEALTH_UP && health->risen_ms != 0) {
        note_fall(health, now_ms - health->risen_ms, flap_ms);
    }
    health->state = to;
}

bool health_note(struct health *health, bool passed, const struct health_rules *rules,
                 uint64_t now_ms)
{
    const struct transition *transition = &transitions[health->state][passed];

    if (health->passed != passed) {
        health->passed = passed;
        health->streak = 0;
    }
    if (health->streak < UINT32_MAX) {
        health->streak++;
    }
    if (!streak_reaches(health->streak, transition->after, health_rise(health, rules->rise),
                        rules->fall)) {
        return false;
    }
    health_set_state(health, transition->to, rules->flap_ms, now_ms);
    return true;
}

bool health_is_changing(const struct health *health)
{
    return health->streak > 0 && health->state != SB_HEALTH_UNKNOWN &&
           health->passed != (health->state == SB_HEALTH_UP);
}

enum sb_health health_combine(enum sb_health a, enum sb_health b)
{
    return combined_all[a][b];
}

enum sb_health health_combine_any(enum sb_health a, enum sb_health b)
{
    return combined_any[a][b];
}
