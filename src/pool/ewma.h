/*
 * A backend's response time as a peak-sensitive moving average (Finagle's peak EWMA): a sample
 * above the average becomes the average at once, one below pulls it down by how long ago the last
 * one was: average = sample + (average - sample) * e^(-dt/EWMA_TAU_MS). One word of shared memory:
 * the average in microseconds above, as the bits of a float, because samples a millisecond apart
 * are worth ten thousandths; the time of the last sample in milliseconds (of 32 bits, wrapping)
 * below; 0: no sample yet. Many writers, who lose nothing: changed by compare-and-swap. Pure.
 */
#ifndef SLUICE_POOL_EWMA_H
#define SLUICE_POOL_EWMA_H

#include <stdatomic.h>
#include <stdint.h>

#define EWMA_TAU_MS  10000
#define EWMA_HALF_MS 6931 /* ln 2 of it: in that time half of a difference is gone */
#define EWMA_MAX_US  UINT32_C(4294967040) /* the last float below 2^32 */

/* sample_us above EWMA_MAX_US counts as that, 0 as 1. */
void ewma_add(_Atomic uint64_t *word, uint64_t sample_us, uint64_t now_ms);
/* Microseconds; 0: no sample yet. */
uint32_t ewma_get(const _Atomic uint64_t *word);
/*
 * What the average counts as at now_ms: half of it for each whole EWMA_HALF_MS since the last
 * sample, but at least 1; 0: no sample yet. Who is chosen by that is chosen again some time after a
 * bad sample, instead of never getting another one (Finagle, too, lets the average fall while it is
 * read).
 */
uint32_t ewma_fade(const _Atomic uint64_t *word, uint64_t now_ms);

#endif
