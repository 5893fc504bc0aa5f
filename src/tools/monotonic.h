/*
 * The clock of the tools: monotonic, 64 bits, nanoseconds. Never compare it across machines.
 */
#ifndef SLUICE_TOOLS_MONOTONIC_H
#define SLUICE_TOOLS_MONOTONIC_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_US     UINT64_C(1000)

static inline uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* The same span in the form that libevent's timers take, rounded up to a microsecond. */
static inline struct timeval monotonic_timeval(uint64_t span_ns)
{
    uint64_t span_us = span_ns / NS_PER_US + (span_ns % NS_PER_US != 0);
    return (struct timeval){.tv_sec = (time_t)(span_us / 1000000),
                            .tv_usec = (suseconds_t)(span_us % 1000000)};
}

#endif
