/* When a probe runs next. Pure. */
#include "check/pace.h"

#define JITTER_PERMILLE 100 /* ± 5 % */

static uint64_t interval_us(const struct snapshot_check *check, enum pace pace)
{
    const uint32_t interval_ms[PACE_COUNT] = {
        [PACE_STEADY] = check->interval_ms,
        [PACE_CHANGING] = check->fast_interval_ms,
        [PACE_DOWN] = check->down_interval_ms,
    };
    uint32_t ms = interval_ms[pace];

    return (ms ? ms : 1) * UINT64_C(1000);
}

/* An even share of range: 20 random bits, so that no interval of 32 bits can overflow. */
static uint64_t scale(uint64_t range, uint64_t random)
{
    return range * (random >> 44) >> 20;
}

uint64_t pace_delay_us(const struct snapshot_check *check, enum pace pace, uint64_t random)
{
    uint64_t interval = interval_us(check, pace);
    uint64_t jitter = interval * JITTER_PERMILLE / 1000;

    return interval - jitter / 2 + scale(jitter, random);
}

uint64_t pace_first_delay_us(const struct snapshot_check *check, enum pace pace, uint64_t random)
{
    if (pace == PACE_CHANGING) {
        return pace_delay_us(check, pace, random);
    }
    return scale(interval_us(check, pace), random);
}

uint64_t pace_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
