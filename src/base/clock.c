/*
 * Reading the two clocks and printing wall-clock time. Owns nothing; runs in every process.
 */
#include "clock.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_S 1000000000U

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts = {0};

    /* Cannot fail: both clocks exist on every Linux, and ts is a valid address. */
    (void)clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_now_us(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_now_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000;
}

char *clock_format_wall(uint64_t wall_ms, char buf[static CLOCK_TEXT_MAX])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    size_t len = 0;

    if (gmtime_r(&seconds, &tm) != NULL) {
        len = strftime(buf, CLOCK_TEXT_MAX - sizeof(".123Z"), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    if (len == 0) { /* a year that does not fit */
        (void)snprintf(buf, CLOCK_TEXT_MAX, "-");
        return buf;
    }
    (void)snprintf(buf + len, CLOCK_TEXT_MAX - len, ".%03uZ", (unsigned)(wall_ms % 1000));
    return buf;
}
