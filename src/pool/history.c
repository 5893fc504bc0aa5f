/* Packs and unpacks the last results of checks: see the header. In the monitor and in master. */
#include "history.h"

#define PASSED         (UINT32_C(1) << 31)
#define LATENCY_SHIFT  16
#define LATENCY_MASK   UINT32_C(0x7fff)
#define MANTISSA_BITS  10
#define MANTISSA_MASK  ((UINT32_C(1) << MANTISSA_BITS) - 1)
#define STEP_US        10
#define LATENCY_MAX_US (3600 * UINT64_C(1000000))

/* Exponent 0: the mantissa itself; else (1 + mantissa / 1024) * 1024 * 2^(exponent - 1). */
static uint32_t pack_steps(uint32_t steps)
{
    if (steps <= MANTISSA_MASK)
        return steps;
    uint32_t exponent = 32 - (uint32_t)__builtin_clz(steps) - MANTISSA_BITS;
    return exponent << MANTISSA_BITS | (steps >> (exponent - 1) & MANTISSA_MASK);
}

static uint32_t unpack_steps(uint32_t packed)
{
    uint32_t exponent = packed >> MANTISSA_BITS, mantissa = packed & MANTISSA_MASK;

    return exponent == 0 ? mantissa : (mantissa + MANTISSA_MASK + 1) << (exponent - 1);
}

void history_add(struct sb_history *history, bool passed, uint64_t latency_us, uint64_t now_ms)
{
    uint32_t n = atomic_load_explicit(&history->n, memory_order_relaxed);
    uint64_t us = latency_us < LATENCY_MAX_US ? latency_us : LATENCY_MAX_US;
    uint32_t word = (passed ? PASSED : 0) | pack_steps((uint32_t)(us / STEP_US)) << LATENCY_SHIFT |
                    (uint16_t)(now_ms / 1000);

    atomic_store_explicit(&history->results[n % SB_HISTORY_MAX], word, memory_order_relaxed);
    /* Release: who sees the count sees the word. */
    atomic_store_explicit(&history->n, n + 1, memory_order_release);
}

uint32_t history_read(const struct sb_history *history, uint64_t now_ms,
                      struct history_result out[static SB_HISTORY_MAX])
{
    uint32_t n = atomic_load_explicit(&history->n, memory_order_acquire);
    uint32_t count = n < SB_HISTORY_MAX ? n : SB_HISTORY_MAX;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t word = atomic_load_explicit(&history->results[(n - 1 - i) % SB_HISTORY_MAX],
                                             memory_order_relaxed);

        out[i] = (struct history_result){
            .passed = (word & PASSED) != 0,
            .latency_us = unpack_steps(word >> LATENCY_SHIFT & LATENCY_MASK) * STEP_US,
            .age_s = (uint16_t)(now_ms / 1000 - (uint16_t)word),
        };
    }
    return count;
}
