/*
 * The report of sluice-load: text for people, or one line of JSON. Prints, owns nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "load.h"
#include "monotonic.h"

struct percentile {
    const char *name;
    unsigned per_100000;
};

static const struct percentile percentiles[] = {
    {"p50", 50000}, {"p90", 90000}, {"p99", 99000}, {"p99_9", 99900}, {"max", 100000},
};

#define PERCENTILE_COUNT (sizeof(percentiles) / sizeof(percentiles[0]))

static uint64_t per_second(uint64_t count, uint64_t span_ns)
{
    return span_ns > 0 ? (uint64_t)((unsigned __int128)count * NS_PER_SECOND / span_ns) : 0;
}

static uint64_t elapsed_ns(const struct load_stats *stats)
{
    return stats->end_ns > stats->begin_ns ? stats->end_ns - stats->begin_ns : 0;
}

static void print_json_errors(const struct load_stats *stats)
{
    printf("\"errors\": %" PRIu64 ", \"errors_by_kind\": {", load_stats_errors(stats));
    for (unsigned i = 0; i < LOAD_ERROR_COUNT; i++)
        printf("%s\"%s\": %" PRIu64, i ? ", " : "", load_error_names[i], stats->errors[i]);
    printf("}");
}

static void print_json_histogram(const char *name, const struct histogram *histogram)
{
    printf("\"%s\": {", name);
    for (size_t i = 0; i < PERCENTILE_COUNT; i++) {
        uint64_t value_ns = histogram_percentile(histogram, percentiles[i].per_100000);
        printf("%s\"%s\": %" PRIu64, i ? ", " : "", percentiles[i].name, value_ns / NS_PER_US);
    }
    printf("}");
}

/* Names were made printable and free of quotes when they were read. */
static void print_json_origins(const struct load_stats *stats)
{
    bool first = true;

    printf("\"origins\": {");
    for (unsigned i = 0; i < LOAD_ORIGINS_MAX; i++) {
        const struct load_origin *origin = &stats->origins[i];
        if (origin->name[0] == '\0')
            continue;
        printf("%s\"%s\": %" PRIu64, first ? "" : ", ", origin->name, origin->answers);
        first = false;
    }
    printf("}, \"origins_other\": %" PRIu64, stats->other_origins);
}

static void report_json(const struct load_options *options, const struct load_stats *stats)
{
    uint64_t span_ns = elapsed_ns(stats);

    printf("{\"mode\": \"%s\", \"connections\": %" PRIu64 ", \"requests\": %" PRIu64 ", ",
           load_modes[options->mode].name, stats->connections, stats->requests);
    print_json_errors(stats);
    printf(", \"interrupted\": %" PRIu64 ", \"reopened\": %" PRIu64 ", \"held\": %" PRIu64
           ", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", \"elapsed_us\": %" PRIu64
           ", \"connections_per_second\": %" PRIu64 ", \"requests_per_second\": %" PRIu64
           ", \"bytes_in_per_second\": %" PRIu64 ", \"bytes_out_per_second\": %" PRIu64 ", ",
           stats->interrupted, stats->reopened, stats->held, stats->bytes_in, stats->bytes_out,
           span_ns / NS_PER_US, per_second(stats->connections, span_ns),
           per_second(stats->requests, span_ns), per_second(stats->bytes_in, span_ns),
           per_second(stats->bytes_out, span_ns));
    print_json_histogram("latency_us", &stats->latency_ns);
    printf(", ");
    print_json_histogram("connect_us", &stats->connect_ns);
    printf(", ");
    print_json_origins(stats);
    printf("}\n");
}

static void print_text_histogram(const char *name, const struct histogram *histogram)
{
    if (histogram->count == 0)
        return;
    printf("%-12s", name);
    for (size_t i = 0; i < PERCENTILE_COUNT; i++) {
        uint64_t value_ns = histogram_percentile(histogram, percentiles[i].per_100000);
        printf("  %s %.1f", percentiles[i].name, (double)value_ns / 1e3);
    }
    printf(" us\n");
}

static void print_text_errors(const struct load_stats *stats)
{
    printf("%-12s  %" PRIu64, "errors", load_stats_errors(stats));
    for (unsigned i = 0; i < LOAD_ERROR_COUNT; i++)
        if (stats->errors[i] > 0)
            printf("  %s %" PRIu64, load_error_names[i], stats->errors[i]);
    printf("\n");
}

static void print_text_origins(const struct load_stats *stats)
{
    uint64_t sum = stats->other_origins;

    for (unsigned i = 0; i < LOAD_ORIGINS_MAX; i++)
        sum += stats->origins[i].answers;
    for (unsigned i = 0; i < LOAD_ORIGINS_MAX; i++) {
        const struct load_origin *origin = &stats->origins[i];
        if (origin->name[0] != '\0')
            printf("%-12s  %s %" PRIu64 " (%.1f %%)\n", "origin", origin->name, origin->answers,
                   100.0 * (double)origin->answers / (double)sum);
    }
    if (stats->other_origins > 0)
        printf("%-12s  %" PRIu64 " answers of further names\n", "origin", stats->other_origins);
}

static void report_text(const struct load_options *options, const struct load_stats *stats)
{
    uint64_t span_ns = elapsed_ns(stats);

    printf("%-12s  %s, %" PRIu64 " connections, %u process%s, ", "mode",
           load_modes[options->mode].name, options->connections, options->processes,
           options->processes > 1 ? "es" : "");
    if (options->rate > 0)
        printf("at %" PRIu64 "/s, latency from when each was due\n", options->rate);
    else
        printf("each after the last\n");
    printf("%-12s  %.3f s\n", "elapsed", (double)span_ns / 1e9);
    printf("%-12s  %" PRIu64 " opened (%" PRIu64 "/s)\n", "connections", stats->connections,
           per_second(stats->connections, span_ns));
    if (options->mode == LOAD_HOLD)
        printf("%-12s  %" PRIu64 " stood to the end\n", "held", stats->held);
    printf("%-12s  %" PRIu64 " answered (%" PRIu64 "/s)\n", "requests", stats->requests,
           per_second(stats->requests, span_ns));
    print_text_errors(stats);
    if (stats->interrupted > 0)
        printf("%-12s  %" PRIu64 " under way at the end\n", "interrupted", stats->interrupted);
    if (stats->reopened > 0)
        printf("%-12s  %" PRIu64 " connections that the origin closed as announced\n", "reopened",
               stats->reopened);
    printf("%-12s  in %" PRIu64 " (%.1f MB/s), out %" PRIu64 " (%.1f MB/s)\n", "bytes",
           stats->bytes_in, (double)per_second(stats->bytes_in, span_ns) / 1e6, stats->bytes_out,
           (double)per_second(stats->bytes_out, span_ns) / 1e6);
    print_text_histogram("latency", &stats->latency_ns);
    print_text_histogram("connect", &stats->connect_ns);
    print_text_origins(stats);
}

void load_report(const struct load_options *options, const struct load_stats *stats)
{
    if (options->json)
        report_json(options, stats);
    else
        report_text(options, stats);
    fflush(stdout);
}
