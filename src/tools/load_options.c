/*
 * The command line of sluice-load. Runs once at the start; ends the process on a mistake.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "monotonic.h"
#include "options.h"

#define TIMEOUT_DEFAULT_NS (10 * NS_PER_SECOND)
#define CONNECTIONS_MAX    10000000
#define RATE_MAX           10000000
#define PATH_MAX_LENGTH    1024
#define PATH_DIGITS        18

const struct load_mode_row load_modes[LOAD_MODE_COUNT] = {
    [LOAD_CRC] = {"crc", "connect, one request, the whole answer, close; again and again"},
    [LOAD_KEEPALIVE] = {"keepalive", "open the connections, then request after request on each"},
    [LOAD_HOLD] = {"hold",
                   "open the connections and leave them alone (with --path: after one\n"
                   "request each); prints \"holding N\" when all stand or have failed, goes\n"
                   "on for --duration, or until SIGINT; a lost connection is an error"},
    [LOAD_BULK] = {"bulk", "one long transfer for each connection: --download or --upload"},
};

enum {
    KEY_TARGET = OPTIONS_FIRST_KEY,
    KEY_CONNECTIONS,
    KEY_REQUESTS,
    KEY_DURATION,
    KEY_RATE,
    KEY_PATH,
    KEY_DOWNLOAD,
    KEY_UPLOAD,
    KEY_NO_VERIFY,
    KEY_CLIENT_CLOSES,
    KEY_SOURCE,
    KEY_TIMEOUT,
    KEY_PROCESSES,
    KEY_JSON,
    KEY_HELP,
};

static const struct options_row options_rows[] = {
    {"target", KEY_TARGET, "ADDRESS",
     "IP:PORT, [IP6]:PORT or unix:PATH; repeat it to take several in turn"},
    {"connections", KEY_CONNECTIONS, "COUNT", "at a time (default 1)"},
    {"requests", KEY_REQUESTS, "COUNT",
     "end after so many, over all connections (default without\n"
     "--duration: one for each connection)"},
    {"duration", KEY_DURATION, "TIME", "end after this: seconds, or 250ms, 5s, 2m"},
    {"rate", KEY_RATE, "COUNT[/s]",
     "begin so many a second whatever the answers do (hold: open so\n"
     "many); latency then counts from when each was due"},
    {"path", KEY_PATH, "PATH", "to ask for (default /; hold: ask for nothing)"},
    {"download", KEY_DOWNLOAD, "BYTES", "bulk: the same as --path /bytes/BYTES"},
    {"upload", KEY_UPLOAD, "BYTES",
     "bulk: send the pattern, no HTTP, to a sluice-origin in mode\n"
     "discard and compare the count and hash that it answers"},
    {"no-verify", KEY_NO_VERIFY, NULL,
     "do not compare what /bytes/COUNT, /chunked/COUNT, /close/COUNT\n"
     "answer with sluice-origin's pattern"},
    {"client-closes", KEY_CLIENT_CLOSES, NULL,
     "crc, bulk: close after the answer, instead of asking the origin\n"
     "to close and waiting for it"},
    {"source", KEY_SOURCE, "IP", "connect from here; repeat it to take several in turn"},
    {"timeout", KEY_TIMEOUT, "TIME", "for connecting, and without a byte (default 10s)"},
    {"processes", KEY_PROCESSES, "COUNT",
     "share the work among so many: each has its own limit of\n"
     "descriptors (default 1)"},
    {"json", KEY_JSON, NULL, "report as one JSON object on the last line"},
    {"help", KEY_HELP, NULL, "print this and exit"},
};

#define ROW_COUNT (sizeof(options_rows) / sizeof(options_rows[0]))

_Noreturn static void print_help(void)
{
    printf("sluice-load: load for a TCP load balancer, and a report of what came back\n\n"
           "usage: sluice-load MODE --target ADDRESS [options]\n\nmodes:\n");
    for (unsigned i = 0; i < LOAD_MODE_COUNT; i++) {
        printf("  %-12s", load_modes[i].name);
        for (const char *at = load_modes[i].help; *at != '\0'; at++) {
            putchar(*at);
            if (*at == '\n')
                printf("%*s", 14, "");
        }
        putchar('\n');
    }
    printf("\noptions:\n");
    options_print_help(options_rows, ROW_COUNT);
    printf("\nNumbers take k, m, g or t (powers of 1024). SIGINT ends early and still reports.\n"
           "Percentiles come from a histogram: never too low, at most 0.8 %% too high.\n"
           "Exit status: 0 no error occurred, 1 errors, 2 usage.\n");
    exit(0);
}

static void add_target(struct load_options *options, const char *text)
{
    const char *problem;

    if (options->target_count == LOAD_ADDRESSES_MAX)
        options_refuse("--target: more than %d", LOAD_ADDRESSES_MAX);
    if (endpoint_parse(text, false, &options->targets[options->target_count], &problem) != 0)
        options_refuse("--target %s: %s", text, problem);
    options->target_count++;
}

static void add_source(struct load_options *options, const char *text)
{
    const char *problem;

    if (options->source_count == LOAD_ADDRESSES_MAX)
        options_refuse("--source: more than %d", LOAD_ADDRESSES_MAX);
    if (endpoint_parse_ip(text, &options->sources[options->source_count], &problem) != 0)
        options_refuse("--source %s: %s", text, problem);
    options->source_count++;
}

static uint64_t parse_rate(const char *text)
{
    char number[32];
    size_t length = strcspn(text, "/");

    if (length >= sizeof(number) || (text[length] != '\0' && strcmp(text + length, "/s") != 0))
        options_refuse("--rate: \"%s\" is not a rate; write 100 or 100/s", text);
    memcpy(number, text, length);
    number[length] = '\0';
    return options_count("--rate", number, 1, RATE_MAX);
}

static void check_path(const char *path)
{
    if (path[0] != '/' || strlen(path) > PATH_MAX_LENGTH)
        options_refuse("--path %s: write a path that starts with /, of at most %d bytes", path,
                       PATH_MAX_LENGTH);
    for (const char *at = path; *at != '\0'; at++)
        if (*at <= ' ' || *at == 127)
            options_refuse("--path: write blanks and control characters as %%20 and the like");
}

static const char *path_of_download(const char *text)
{
    static char path[64];

    snprintf(path, sizeof(path), "/bytes/%" PRIu64,
             options_count("--download", text, 0, 999999999999999999ULL));
    return path;
}

static void take_option(struct load_options *options, int key)
{
    switch (key) {
    case KEY_TARGET:
        add_target(options, optarg);
        break;
    case KEY_SOURCE:
        add_source(options, optarg);
        break;
    case KEY_CONNECTIONS:
        options->connections = options_count("--connections", optarg, 1, CONNECTIONS_MAX);
        break;
    case KEY_REQUESTS:
        options->requests = options_count("--requests", optarg, 1, UINT64_MAX);
        break;
    case KEY_DURATION:
        options->duration_ns = options_time_ns("--duration", optarg);
        break;
    case KEY_RATE:
        options->rate = parse_rate(optarg);
        break;
    case KEY_PATH:
        check_path(optarg);
        options->path = optarg;
        break;
    case KEY_DOWNLOAD:
        options->path = path_of_download(optarg);
        break;
    case KEY_UPLOAD:
        options->upload = true;
        options->upload_bytes = options_count("--upload", optarg, 0, UINT64_MAX);
        break;
    case KEY_NO_VERIFY:
        options->verify = false;
        break;
    case KEY_CLIENT_CLOSES:
        options->client_closes = true;
        break;
    case KEY_TIMEOUT:
        options->timeout_ns = options_time_ns("--timeout", optarg);
        break;
    case KEY_PROCESSES:
        options->processes = (unsigned)options_count("--processes", optarg, 1, LOAD_PROCESSES_MAX);
        break;
    case KEY_JSON:
        options->json = true;
        break;
    default:
        print_help();
    }
}

static void parse_mode(int argc, char **argv, struct load_options *options)
{
    const char *hint = "write one of crc, keepalive, hold, bulk as the first word";

    if (optind == argc)
        options_refuse("no mode; %s", hint);
    for (unsigned i = 0; i < LOAD_MODE_COUNT; i++)
        if (strcmp(argv[optind], load_modes[i].name) == 0) {
            options->mode = (enum load_mode)i;
            if (optind + 1 < argc)
                options_refuse("\"%s\" is one word too many; options start with --",
                               argv[optind + 1]);
            return;
        }
    options_refuse("unknown mode \"%s\"; %s", argv[optind], hint);
}

static void check_sources(const struct load_options *options)
{
    char text[ENDPOINT_TEXT_MAX];

    for (unsigned s = 0; s < options->source_count; s++)
        for (unsigned t = 0; t < options->target_count; t++)
            if (endpoint_family(&options->sources[s]) != endpoint_family(&options->targets[t]))
                options_refuse("no --source can reach --target %s; sources and targets have to be "
                               "all IPv4 or all IPv6",
                               endpoint_format(&options->targets[t], text));
}

static void check_mode(const struct load_options *options)
{
    bool bulk = options->mode == LOAD_BULK;

    if (options->target_count == 0)
        options_refuse("no target; write --target ADDRESS, as 127.0.0.1:8080");
    if (bulk && !options->path && !options->upload)
        options_refuse("bulk: write --download BYTES or --upload BYTES");
    if (options->upload && !bulk)
        options_refuse("--upload: only in mode bulk");
    if (options->upload && options->path)
        options_refuse("--upload: write it without --path and --download");
    if (options->client_closes && (options->upload || (!bulk && options->mode != LOAD_CRC)))
        options_refuse("--client-closes: only in mode crc, and in bulk with --download");
    if (options->mode == LOAD_HOLD && options->requests > 0)
        options_refuse("--requests: not in mode hold; write --path for one request each");
    if (options->processes > options->connections)
        options_refuse("--processes %u: more than --connections; write at most %" PRIu64,
                       options->processes, options->connections);
}

/* What has to come back, if the path says it. */
static bool body_of_path(const char *path, uint64_t *out_bytes)
{
    static const char *const prefixes[] = {"/bytes/", "/chunked/", "/close/"};

    for (size_t i = 0; path && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t length = strlen(prefixes[i]);
        size_t digits = strlen(path) > length ? strspn(path + length, "0123456789") : 0;

        if (strncmp(path, prefixes[i], length) != 0 || digits == 0 || digits > PATH_DIGITS ||
            path[length + digits] != '\0')
            continue;
        *out_bytes = strtoull(path + length, NULL, 10);
        return true;
    }
    return false;
}

void load_options_parse(int argc, char **argv, struct load_options *out)
{
    int key;

    out->connections = 1;
    out->timeout_ns = TIMEOUT_DEFAULT_NS;
    out->processes = 1;
    out->verify = true;
    while ((key = options_next(argc, argv, options_rows, ROW_COUNT)) != -1)
        take_option(out, key);
    parse_mode(argc, argv, out);
    check_mode(out);
    check_sources(out);
    if (!out->path && !out->upload && out->mode != LOAD_HOLD)
        out->path = "/";
    if (out->requests == 0 && out->duration_ns == 0)
        out->requests = out->connections;
    out->verify = body_of_path(out->path, &out->body_bytes) && out->verify;
}
