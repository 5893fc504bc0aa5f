/*
 * Figures as people read them. Pure; in master.
 */
#include "ctl/format.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit {
    uint64_t size;
    const char *name;
};

char *format_duration(uint64_t ms, char buf[static FORMAT_TEXT_MAX])
{
    static const struct unit units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};
    const size_t n = sizeof(units) / sizeof(*units);
    size_t i = 0;

    if (ms == 0)
        return strcpy(buf, "0s");
    while (i < n && ms < units[i].size)
        i++;
    if (i == n) {
        snprintf(buf, FORMAT_TEXT_MAX, "%" PRIu64 "ms", ms);
        return buf;
    }
    uint64_t rest = i + 1 < n ? ms % units[i].size / units[i + 1].size : 0;
    int used = snprintf(buf, FORMAT_TEXT_MAX, "%" PRIu64 "%s", ms / units[i].size, units[i].name);

    if (rest > 0 && used > 0)
        snprintf(buf + used, FORMAT_TEXT_MAX - (size_t)used, "%" PRIu64 "%s", rest,
                 units[i + 1].name);
    return buf;
}

char *format_latency(uint64_t us, char buf[static FORMAT_TEXT_MAX])
{
    if (us < 1000)
        snprintf(buf, FORMAT_TEXT_MAX, "%" PRIu64 "us", us);
    else if (us < 1000000)
        snprintf(buf, FORMAT_TEXT_MAX, "%.2fms", (double)us / 1e3);
    else
        snprintf(buf, FORMAT_TEXT_MAX, "%.2fs", (double)us / 1e6);
    return buf;
}

char *format_bytes(uint64_t bytes, char buf[static FORMAT_TEXT_MAX])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;

    if (bytes < 1024) {
        snprintf(buf, FORMAT_TEXT_MAX, "%" PRIu64 "B", bytes);
        return buf;
    }
    /* What would be printed as 1024.0 belongs to the next unit. */
    while (value >= 1023.95 && i + 1 < sizeof(names) / sizeof(*names)) {
        value /= 1024;
        i++;
    }
    snprintf(buf, FORMAT_TEXT_MAX, "%.1f%s", value, names[i]);
    return buf;
}
