/*
 * sluice-origin: a demonstration and test server with many behaviours. One process, one loop; this
 * file owns the command line, the signals and what is printed on stdout.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "options.h"
#include "origin.h"
#include "pattern.h"

#define RATE_DEFAULT    1000
#define BACKLOG_DEFAULT 4096
#define RATE_MAX        1000000000000ULL

enum {
    KEY_LISTEN = OPTIONS_FIRST_KEY,
    KEY_NAME,
    KEY_RATE,
    KEY_SEND,
    KEY_AFTER,
    KEY_BACKLOG,
    KEY_RECEIVE_BUFFER,
    KEY_VERBOSE,
    KEY_HELP,
};

static const struct options_row options[] = {
    {"listen", KEY_LISTEN, "MODE@ADDRESS",
     "serve this; repeat for more. ADDRESS is IP:PORT, [IP6]:PORT\n"
     "(port 0: the kernel's choice) or unix:PATH"},
    {"name", KEY_NAME, "NAME",
     "what http answers tell in X-Origin and body; the first is for the\n"
     "first --listen and so on, the last for all that follow\n"
     "(default: the address)"},
    {"rate", KEY_RATE, "BYTES", "per second, for slow (default 1000)"},
    {"send", KEY_SEND, "BYTES", "of the pattern, for reset, halfclose, chargen (default 0)"},
    {"after", KEY_AFTER, "BYTES", "received before reset acts; 0: at once (default 1)"},
    {"backlog", KEY_BACKLOG, "COUNT", "connections that may wait for accept (default 4096)"},
    {"receive-buffer", KEY_RECEIVE_BUFFER, "BYTES",
     "of each socket: small ones press back soon\n(default: the kernel's choice)"},
    {"verbose", KEY_VERBOSE, NULL, "tell each connection's begin and end on stderr"},
    {"help", KEY_HELP, NULL, "print this and exit"},
};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

_Noreturn static void print_help(void)
{
    printf("sluice-origin: a server for demonstrations and tests of a load balancer\n\n"
           "usage: sluice-origin --listen MODE@ADDRESS [--listen ...] [options]\n\n");
    options_print_help(options, OPTION_COUNT);
    printf("\nmodes:\n");
    for (size_t i = 0; i < origin_mode_count; i++)
        printf("  %-10s %s\n", origin_modes[i]->name, origin_modes[i]->help);
    printf(
        "\nhttp serves GET and HEAD of /, /healthz, /bytes/COUNT, /chunked/COUNT, /close/COUNT\n"
        "(a body ended by close), /slow/MS, /status/CODE; POST and PUT answer the body's size.\n"
        "The pattern: byte i is (j * 2654435761 mod 2^32) >> 24 with j = i mod 65521.\n"
        "Numbers take k, m, g or t (powers of 1024).\n\n"
        "Prints one line \"listening MODE@ADDRESS\" per listener, then \"ready\". SIGUSR1 prints "
        "a\n"
        "line \"stats MODE@ADDRESS active=N peak=N total=N requests=N\" per listener; SIGTERM and\n"
        "SIGINT end it with \"served connections=N requests=N bytes_in=N bytes_out=N\".\n");
    exit(0);
}

static const struct origin_mode *find_mode(const char *name, size_t length)
{
    for (size_t i = 0; i < origin_mode_count; i++)
        if (strlen(origin_modes[i]->name) == length &&
            memcmp(origin_modes[i]->name, name, length) == 0)
            return origin_modes[i];
    return NULL;
}

_Noreturn static void refuse_mode(const char *word)
{
    char known[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < origin_mode_count && used < sizeof(known) - 1; i++) {
        int added = snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
                             origin_modes[i]->name);
        used += added > 0 ? (size_t)added : 0;
    }
    options_refuse("--listen %s: write MODE@ADDRESS, as http@127.0.0.1:8081, with MODE one of %s",
                   word, known);
}

static void add_listener(struct origin *origin, const char *word)
{
    const char *at = strchr(word, '@');
    const struct origin_mode *mode = at ? find_mode(word, (size_t)(at - word)) : NULL;
    const char *problem;

    if (!mode)
        refuse_mode(word);
    if (origin->listener_count == ORIGIN_LISTENERS_MAX)
        options_refuse("--listen: more than %d; start another process", ORIGIN_LISTENERS_MAX);
    struct origin_listener *listener = &origin->listeners[origin->listener_count];
    if (endpoint_parse(at + 1, true, &listener->endpoint, &problem) != 0)
        options_refuse("--listen %s: %s", word, problem);
    listener->origin = origin;
    listener->mode = mode;
    listener->fd = -1;
    origin->listener_count++;
}

static void add_name(struct origin_config *config, const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > ORIGIN_NAME_MAX)
        options_refuse("--name: write 1 to %d characters", ORIGIN_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr("\"\\", name[i]))
            options_refuse("--name: only printable ASCII without spaces, quotes and backslashes");
    if (config->name_count == ORIGIN_LISTENERS_MAX)
        options_refuse("--name: more than %d", ORIGIN_LISTENERS_MAX);
    config->names[config->name_count++] = name;
}

static void take_option(struct origin *origin, int key)
{
    struct origin_config *config = &origin->config;

    switch (key) {
    case KEY_LISTEN:
        add_listener(origin, optarg);
        break;
    case KEY_NAME:
        add_name(config, optarg);
        break;
    case KEY_RATE:
        config->rate = options_count("--rate", optarg, 1, RATE_MAX);
        break;
    case KEY_SEND:
        config->send_bytes = options_count("--send", optarg, 0, UINT64_MAX);
        break;
    case KEY_AFTER:
        config->after_bytes = options_count("--after", optarg, 0, UINT64_MAX);
        break;
    case KEY_BACKLOG:
        config->backlog = (int)options_count("--backlog", optarg, 0, 65535);
        break;
    case KEY_RECEIVE_BUFFER:
        config->receive_buffer = (int)options_count("--receive-buffer", optarg, 256, 1 << 30);
        break;
    case KEY_VERBOSE:
        config->verbose = true;
        break;
    default:
        print_help();
    }
}

static void parse_command_line(struct origin *origin, int argc, char **argv)
{
    int key;

    origin->config.rate = RATE_DEFAULT;
    origin->config.after_bytes = 1;
    origin->config.backlog = BACKLOG_DEFAULT;
    while ((key = options_next(argc, argv, options, OPTION_COUNT)) != -1)
        take_option(origin, key);
    if (optind < argc)
        options_refuse("\"%s\" is no option; write --listen MODE@ADDRESS", argv[optind]);
    if (origin->listener_count == 0)
        options_refuse("nothing to serve; write --listen MODE@ADDRESS, as http@127.0.0.1:8081");
    if (origin->config.name_count > origin->listener_count)
        options_refuse(
            "more --name than --listen; write one name for each listener, or one for all");
}

static void name_listeners(struct origin *origin)
{
    const struct origin_config *config = &origin->config;

    for (unsigned i = 0; i < origin->listener_count; i++) {
        struct origin_listener *listener = &origin->listeners[i];
        unsigned nth = i < config->name_count ? i : config->name_count - 1;
        listener->name = config->name_count > 0 ? config->names[nth] : listener->text;
    }
}

static void print_stats(const struct origin *origin)
{
    for (unsigned i = 0; i < origin->listener_count; i++) {
        const struct origin_listener *listener = &origin->listeners[i];
        const struct origin_counters *counters = &listener->counters;
        printf("stats %s@%s active=%" PRIu64 " peak=%" PRIu64 " total=%" PRIu64 " requests=%" PRIu64
               "\n",
               listener->mode->name, listener->text, counters->active, counters->peak,
               counters->total, counters->requests);
    }
    fflush(stdout);
}

static void print_served(const struct origin *origin)
{
    uint64_t connections = 0;
    uint64_t requests = 0;

    for (unsigned i = 0; i < origin->listener_count; i++) {
        connections += origin->listeners[i].counters.total;
        requests += origin->listeners[i].counters.requests;
    }
    printf("served connections=%" PRIu64 " requests=%" PRIu64 " bytes_in=%" PRIu64
           " bytes_out=%" PRIu64 "\n",
           connections, requests, origin->in_bytes, origin->out_bytes);
    fflush(stdout);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct origin *origin = arg;

    (void)what;
    if (number == SIGUSR1)
        print_stats(origin);
    else
        origin->stopping = true;
}

/* As many descriptors as may be had without asking anybody. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_listeners(struct origin *origin)
{
    for (unsigned i = 0; i < origin->listener_count; i++) {
        struct origin_listener *listener = &origin->listeners[i];
        int rc = origin_listener_open(listener);
        if (rc == 0)
            rc = origin_listener_start(listener);
        if (rc != 0) {
            char text[ENDPOINT_TEXT_MAX];
            fprintf(stderr, "%s: cannot listen on %s: %s\n", program_invocation_short_name,
                    endpoint_format(&listener->endpoint, text), strerror(-rc));
            return rc;
        }
        printf("listening %s@%s\n", listener->mode->name, listener->text);
    }
    name_listeners(origin);
    printf("ready\n");
    fflush(stdout);
    return 0;
}

static void serve(struct origin *origin)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    struct event watches[3];

    for (size_t i = 0; i < 3; i++) {
        evsignal_assign(&watches[i], origin->base, signals[i], on_signal, origin);
        evsignal_add(&watches[i], NULL);
    }
    if (open_listeners(origin) == 0) {
        while (!origin->stopping && event_base_loop(origin->base, EVLOOP_ONCE) == 0)
            origin_conn_reap(origin);
    }
    for (size_t i = 0; i < 3; i++)
        evsignal_del(&watches[i]);
}

static void close_all(struct origin *origin)
{
    struct origin_conn *conn;

    for (unsigned i = 0; i < origin->listener_count; i++)
        origin_listener_close(&origin->listeners[i]);
    while ((conn = LIST_FIRST(&origin->conns)) != NULL)
        origin_conn_close(conn, "we end");
    origin_conn_reap(origin);
}

int main(int argc, char **argv)
{
    static struct origin origin;

    parse_command_line(&origin, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    pattern_init();
    origin.base = event_base_new();
    if (!origin.base) {
        fprintf(stderr, "%s: cannot start the event loop\n", program_invocation_short_name);
        return 1;
    }
    serve(&origin);
    close_all(&origin);
    event_base_free(origin.base);
    if (!origin.stopping)
        return 1;
    print_served(&origin);
    return 0;
}
