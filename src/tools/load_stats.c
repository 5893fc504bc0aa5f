/*
 * The figures of sluice-load: counting by origin, adding up processes.
 */
#include <string.h>

#include "load.h"

const char *const load_error_names[LOAD_ERROR_COUNT] = {
    [LOAD_CONNECT_REFUSED] = "connect_refused",
    [LOAD_CONNECT_TIMEOUT] = "connect_timeout",
    [LOAD_UNREACHABLE] = "unreachable",
    [LOAD_NO_PORT] = "no_port",
    [LOAD_RESET] = "reset",
    [LOAD_EOF_EARLY] = "eof_early",
    [LOAD_EOF_IDLE] = "eof_idle",
    [LOAD_BAD_STATUS] = "bad_status",
    [LOAD_BAD_ANSWER] = "bad_answer",
    [LOAD_BAD_BODY] = "bad_body",
    [LOAD_TIMEOUT] = "timeout",
    [LOAD_UNSENT] = "unsent",
    [LOAD_SYSTEM] = "system",
};

static uint32_t hash(const char *name)
{
    uint32_t value = 2166136261U;

    for (; *name != '\0'; name++)
        value = (value ^ (unsigned char)*name) * 16777619U;
    return value;
}

/* The name's place, taken for it if need be; NULL when the table is full. */
static struct load_origin *find_origin(struct load_stats *stats, const char *name)
{
    uint32_t start = hash(name);

    for (uint32_t i = 0; i < LOAD_ORIGINS_MAX; i++) {
        struct load_origin *origin = &stats->origins[(start + i) % LOAD_ORIGINS_MAX];
        if (origin->name[0] == '\0')
            memcpy(origin->name, name, strlen(name) + 1);
        if (strcmp(origin->name, name) == 0)
            return origin;
    }
    return NULL;
}

void load_stats_count_origin(struct load_stats *stats, const char *name)
{
    struct load_origin *origin = find_origin(stats, name);

    if (origin)
        origin->answers++;
    else
        stats->other_origins++;
}

static void merge_origins(struct load_stats *into, const struct load_stats *from)
{
    for (unsigned i = 0; i < LOAD_ORIGINS_MAX; i++) {
        const struct load_origin *origin = &from->origins[i];
        if (origin->name[0] == '\0')
            continue;
        struct load_origin *place = find_origin(into, origin->name);
        if (place)
            place->answers += origin->answers;
        else
            into->other_origins += origin->answers;
    }
    into->other_origins += from->other_origins;
}

void load_stats_merge(struct load_stats *into, const struct load_stats *from)
{
    into->connections += from->connections;
    into->requests += from->requests;
    for (unsigned i = 0; i < LOAD_ERROR_COUNT; i++)
        into->errors[i] += from->errors[i];
    into->interrupted += from->interrupted;
    into->reopened += from->reopened;
    into->held += from->held;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    if (into->begin_ns == 0 || (from->begin_ns != 0 && from->begin_ns < into->begin_ns))
        into->begin_ns = from->begin_ns;
    if (from->end_ns > into->end_ns)
        into->end_ns = from->end_ns;
    histogram_merge(&into->latency_ns, &from->latency_ns);
    histogram_merge(&into->connect_ns, &from->connect_ns);
    merge_origins(into, from);
}

uint64_t load_stats_errors(const struct load_stats *stats)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOAD_ERROR_COUNT; i++)
        sum += stats->errors[i];
    return sum;
}
