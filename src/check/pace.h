/*
 * When a probe runs next. Pure: takes the random number it needs as an argument.
 */
#ifndef SLUICE_CHECK_PACE_H
#define SLUICE_CHECK_PACE_H

#include <stdint.h>

#include "sluice/snapshot.h"

enum pace {
    PACE_STEADY,   /* up, or not known yet */
    PACE_CHANGING, /* results speak against the present state: look closer */
    PACE_DOWN,
    PACE_COUNT
};

/*
 * Microseconds from the start of one run to the start of the next: the pace's interval ± 5 %.
 * random: all 64 bits.
 */
uint64_t pace_delay_us(const struct snapshot_check *check, enum pace pace, uint64_t random);
/*
 * The same for the first interval of a new probe: anywhere in it, so that probes which all began in
 * the same moment are spread evenly from then on.
 */
uint64_t pace_first_delay_us(const struct snapshot_check *check, enum pace pace, uint64_t random);

/* A random number; *state is any seed (splitmix64, Vigna 2015). */
uint64_t pace_random(uint64_t *state);

#endif
