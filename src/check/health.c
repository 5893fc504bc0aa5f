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

static const enum sb_health combined[SB_HEALTH_COUNT][SB_HEALTH_COUNT] = {
    [SB_HEALTH_UNKNOWN] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UNKNOWN, SB_HEALTH_DOWN},
    [SB_HEALTH_UP] = {SB_HEALTH_UNKNOWN, SB_HEALTH_UP, SB_HEALTH_DOWN},
    [SB_HEALTH_DOWN] = {SB_HEALTH_DOWN, SB_HEALTH_DOWN, SB_HEALTH_DOWN},
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

bool health_note(struct health *health, bool passed, uint32_t rise, uint32_t fall)
{
    const struct transition *transition = &transitions[health->state][passed];

    if (health->passed != passed) {
        health->passed = passed;
        health->streak = 0;
    }
    if (health->streak < UINT32_MAX) {
        health->streak++;
    }
    if (!streak_reaches(health->streak, transition->after, rise, fall)) {
        return false;
    }
    health->state = transition->to;
    return true;
}

bool health_is_changing(const struct health *health)
{
    return health->streak > 0 && health->state != SB_HEALTH_UNKNOWN &&
           health->passed != (health->state == SB_HEALTH_UP);
}

enum sb_health health_combine(enum sb_health a, enum sb_health b)
{
    return combined[a][b];
}
