/*
 * The last results of a check, or of all checks of a slot together in the order in which they
 * ended: a ring in the scoreboard, a word each. The monitor writes, anyone reads at any time. A
 * word is, from the highest bit down:
 *
 *    1  whether it passed
 *   15  latency in steps of 10 us as a small floating-point number: 5 bits of exponent, 10 of
 *       mantissa (exact up to 10 ms, then to a thousandth)
 *   16  when it ended: seconds of the monotonic clock, so that ages are right up to 18 hours
 *
 * Pure.
 */
#ifndef SLUICE_POOL_HISTORY_H
#define SLUICE_POOL_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/scoreboard.h"

struct history_result {
    bool passed;
    uint32_t latency_us;
    uint32_t age_s;
};

/* Monitor only. A latency above an hour counts as an hour. */
void history_add(struct sb_history *history, bool passed, uint64_t latency_us, uint64_t now_ms);
/* Newest first. Returns how many there are, at most SB_HISTORY_MAX. */
uint32_t history_read(const struct sb_history *history, uint64_t now_ms,
                      struct history_result out[static SB_HISTORY_MAX]);

#endif
