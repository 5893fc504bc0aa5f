/*
 * bench_picks: one round of measuring the choice of a backend. This file owns the command line and
 * what the parts share. One process, but for contended choices (picks_contended.c).
 */
#include "picks.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS_DEFAULT 30

static const struct part {
    const char *name;
    void (*measure)(const struct options *options);
} parts[] = {
    {"direct", measure_direct},
    {"whole", measure_whole},
    {"contended", measure_contended},
    {"maglev", measure_maglev},
};

#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

void give_up(const char *format, ...)
{
    va_list args;

    fputs("bench_picks: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void *take_memory(uint64_t n, uint64_t item_bytes)
{
    void *memory = calloc(n, item_bytes);
    if (memory == NULL)
        give_up("no memory for %" PRIu64 " times %" PRIu64 " bytes", n, item_bytes);
    return memory;
}

int64_t cpu_now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000 * NS_PER_MS + time.tv_nsec;
}

void sample_print(const struct sample *sample)
{
    printf("{\"row\":\"%s\",\"contender\":\"%s\",\"metric\":\"%s\",\"value\":%.17g,"
           "\"operations\":%" PRIu64 ",\"seconds\":%.9g,\"failures\":%" PRIu64 "}\n",
           sample->row, sample->contender, sample->metric, sample->value, sample->operations,
           sample->seconds, sample->failures);
    fflush(stdout);
}

static _Noreturn void print_usage(FILE *file, int status)
{
    fputs("usage: bench_picks [--round N] [--ms N] PART…\nparts:", file);
    for (size_t i = 0; i < PART_COUNT; i++)
        fprintf(file, " %s", parts[i].name);
    fputc('\n', file);
    exit(status);
}

static uint32_t read_number(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || number == 0 || number > 1000000)
        print_usage(stderr, 2);
    return (uint32_t)number;
}

static const struct part *find_part(const char *name)
{
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
    }
    print_usage(stderr, 2);
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"round", required_argument, NULL, 'r'},
        {"ms", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options options = {.round = 1, .ms = MS_DEFAULT};

    for (int key; (key = getopt_long(argc, argv, "h", rows, NULL)) != -1;) {
        if (key == 'r')
            options.round = read_number(optarg);
        else if (key == 'm')
            options.ms = read_number(optarg);
        else
            print_usage(key == 'h' ? stdout : stderr, key == 'h' ? 0 : 2);
    }
    if (optind == argc)
        print_usage(stderr, 2);
    for (int i = optind; i < argc; i++)
        (void)find_part(argv[i]); /* a wrong one is to be known before the first takes its time */
    for (int i = optind; i < argc; i++)
        find_part(argv[i])->measure(&options);
    return 0;
}
