/*
 * Response times as moving averages: see the header. Workers add and read, anyone may read. Pure.
 */
#include "ewma.h"

#include <math.h>
#include <string.h>

#define SKEW_MAX_MS 60000 /* by which one worker's clock may be behind another's sample */

static float average_of(uint64_t word)
{
    uint32_t bits = (uint32_t)(word >> 32);
    float average_us;
    memcpy(&average_us, &bits, sizeof(average_us));
    return average_us;
}

static uint64_t make_word(float average_us, uint64_t now_ms)
{
    uint32_t bits;
    memcpy(&bits, &average_us, sizeof(bits));
    return (uint64_t)bits << 32 | (uint32_t)now_ms;
}

/* Time since the word's last sample. Of 49.7 days and more only the rest is seen. */
static uint32_t age_of(uint64_t word, uint64_t now_ms)
{
    uint32_t age_ms = (uint32_t)now_ms - (uint32_t)word;
    return age_ms > UINT32_MAX - SKEW_MAX_MS ? 0 : age_ms;
}

static float next_average(uint64_t word, float sample_us, uint64_t now_ms)
{
    float average_us = average_of(word);
    if (sample_us >= average_us)
        return sample_us;
    float left = expf(-(float)age_of(word, now_ms) / EWMA_TAU_MS);
    return sample_us + (average_us - sample_us) * left;
}

void ewma_add(_Atomic uint64_t *word, uint64_t sample_us, uint64_t now_ms)
{
    float sample = (float)(sample_us == 0 ? 1 : sample_us > EWMA_MAX_US ? EWMA_MAX_US : sample_us);
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t new;

    do {
        new = make_word(next_average(old, sample, now_ms), now_ms);
    } while (!atomic_compare_exchange_weak_explicit(word, &old, new, memory_order_relaxed,
                                                    memory_order_relaxed));
}

uint32_t ewma_get(const _Atomic uint64_t *word)
{
    return (uint32_t)average_of(atomic_load_explicit(word, memory_order_relaxed));
}

uint32_t ewma_fade(const _Atomic uint64_t *word, uint64_t now_ms)
{
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    uint32_t average_us = (uint32_t)average_of(value);
    uint32_t halvings = age_of(value, now_ms) / EWMA_HALF_MS;

    if (average_us == 0)
        return 0;
    average_us = halvings < 32 ? average_us >> halvings : 0;
    return average_us != 0 ? average_us : 1;
}
