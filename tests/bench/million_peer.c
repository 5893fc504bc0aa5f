/*
 * bench_million_peer: the program. Reads commands from a pipe, a line each (open, ask
 * COUNT, close: phases; reset: from now on every segment is answered with a reset), prints events
 * as lines of JSON, and ends with the pipe. This file owns the device, the loop and the messages.
 */
#include "million_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define READ_BURST  256
#define IDLE_MS     10 /* what a turn without work waits */
#define COMMAND_MS  50 /* between two looks for a command while there is work */
#define COMMAND_MAX 64

static _Noreturn void give_up(const char *what, int error)
{
    fprintf(stderr, "bench_million_peer: %s%s%s\n", what, error ? ": " : "",
            error ? strerror(error) : "");
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* --- what both sides use --- */

uint32_t peer_hash(const struct peer *peer, uint32_t salt, uint64_t what)
{
    return (uint32_t)XXH3_64bits_withSeed(&what, sizeof(what), peer->key + salt);
}

void message_make(const struct peer *peer, uint32_t client, size_t bytes, uint8_t *out)
{
    uint64_t word = client;
    for (size_t at = 0; at + sizeof(word) <= bytes; at += sizeof(word)) {
        memcpy(out + at, &word, sizeof(word));
        word = XXH3_64bits_withSeed(&word, sizeof(word), peer->key + bytes);
    }
}

bool message_read(const struct peer *peer, const uint8_t *data, size_t bytes, uint32_t *out_client)
{
    uint8_t right[MESSAGE_BYTES_MAX];
    uint32_t client;

    memcpy(&client, data, sizeof(client));
    message_make(peer, client, bytes, right);
    if (memcmp(data, right, bytes) != 0)
        return false;
    *out_client = client;
    return true;
}

/* What the device does not take is sent again like what is lost on the way. */
void peer_send(struct peer *peer, const struct segment *segment)
{
    uint8_t packet[PACKET_BYTES_MAX];
    size_t bytes = wire_write(segment, packet);

    if (write(peer->options.tun, packet, bytes) == (ssize_t)bytes)
        peer->counters.packets_out++;
    else
        peer->counters.packets_unsent++;
}

/* --- what comes --- */

static void answer_with_reset(struct peer *peer, const struct segment *segment)
{
    bool takes_number = segment->flags & (FLAG_SYN | FLAG_FIN);
    struct segment reset = {
        .source = segment->destination,
        .source_port = segment->destination_port,
        .destination = segment->source,
        .destination_port = segment->source_port,
        .flags = FLAG_RST | FLAG_ACK,
        .seq = segment->flags & FLAG_ACK ? segment->ack : 0,
        .ack = segment->seq + segment->data_bytes + takes_number,
    };
    if (!(segment->flags & FLAG_RST))
        peer_send(peer, &reset);
}

static void take_packet(struct peer *peer, const uint8_t *packet, size_t bytes)
{
    struct segment segment;
    enum wire_kind kind = wire_read(packet, bytes, &segment);

    peer->counters.packets_in++;
    if (kind == WIRE_OTHER)
        peer->counters.packets_other++;
    else if (kind == WIRE_BAD)
        peer->counters.packets_bad++;
    else if (peer->is_resetting)
        answer_with_reset(peer, &segment);
    else if (segment.destination >= peer->options.first_backend)
        backend_take(peer, &segment);
    else
        client_take(peer, &segment);
}

static bool read_packets(struct peer *peer)
{
    uint8_t packet[PACKET_BYTES_MAX];

    for (int n = 0; n < READ_BURST; n++) {
        ssize_t bytes = read(peer->options.tun, packet, sizeof(packet));
        if (bytes < 0 && errno == EAGAIN)
            return n > 0;
        if (bytes < 0 && errno != EINTR)
            give_up("the device cannot be read", errno);
        if (bytes > 0)
            take_packet(peer, packet, (size_t)bytes);
    }
    return true;
}

/* --- commands --- */

static void obey(struct peer *peer, const char *line)
{
    uint32_t all = peer->options.connections, count;

    if (strcmp(line, "open") == 0)
        phase_begin(peer, PHASE_OPEN, all);
    else if (sscanf(line, "ask %u", &count) == 1 && count > 0 && count <= all)
        phase_begin(peer, PHASE_ASK, count);
    else if (strcmp(line, "close") == 0)
        phase_begin(peer, PHASE_CLOSE, all);
    else if (strcmp(line, "reset") == 0)
        peer->is_resetting = true;
    else
        give_up("a command is not known", 0);
    if (peer->is_resetting)
        peer->phase.kind = PHASE_NONE;
}

/* Commands come one at a time, each whole; false at the end of the input. */
static bool read_command(struct peer *peer)
{
    char line[COMMAND_MAX];
    ssize_t bytes = read(peer->options.commands, line, sizeof(line) - 1);

    if (bytes <= 0)
        return bytes < 0 && (errno == EAGAIN || errno == EINTR);
    line[bytes] = '\0';
    line[strcspn(line, "\n")] = '\0';
    obey(peer, line);
    return true;
}

static void run(struct peer *peer)
{
    struct pollfd waits[] = {{.fd = peer->options.commands, .events = POLLIN},
                             {.fd = peer->options.tun, .events = POLLIN}};
    uint64_t looked_ms = 0;
    bool goes_on = true, is_busy = false;

    while (goes_on) {
        if (!is_busy)
            poll(waits, 2, IDLE_MS);
        peer->now_ms = now_ms();
        if (!is_busy || peer->now_ms - looked_ms >= COMMAND_MS) {
            looked_ms = peer->now_ms;
            goes_on = read_command(peer);
        }
        is_busy = read_packets(peer);
        is_busy |= phase_step(peer);
    }
}

/* --- the command line --- */

static const struct option rows[] = {
    {"tun", required_argument, NULL, 't'},
    {"commands", required_argument, NULL, 'p'},
    {"connections", required_argument, NULL, 'n'},
    {"window", required_argument, NULL, 'w'},
    {"service", required_argument, NULL, 's'},
    {"clients", required_argument, NULL, 'c'},
    {"backends", required_argument, NULL, 'b'},
    {"backend-count", required_argument, NULL, 'm'},
    {0},
};

static _Noreturn void refuse_usage(void)
{
    give_up("usage: --tun DESCRIPTOR --commands DESCRIPTOR --connections N --window N --service "
            "IP:PORT --clients "
            "FIRST_IP --backends FIRST_IP:PORT --backend-count N",
            0);
}

static uint32_t read_number(const char *text, uint32_t max)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || number > max)
        refuse_usage();
    return (uint32_t)number;
}

/* IP, or with out_port IP:PORT. */
static uint32_t read_address(char *text, uint16_t *out_port)
{
    struct in_addr address;
    char *colon = strchr(text, ':');
    if ((colon != NULL) != (out_port != NULL))
        refuse_usage();
    if (colon != NULL) {
        *colon = '\0';
        *out_port = (uint16_t)read_number(colon + 1, UINT16_MAX);
    }
    if (inet_pton(AF_INET, text, &address) != 1)
        refuse_usage();
    return ntohl(address.s_addr);
}

static void take_option(struct options *options, int key)
{
    switch (key) {
    case 't':
        options->tun = (int)read_number(optarg, INT32_MAX);
        break;
    case 'p':
        options->commands = (int)read_number(optarg, INT32_MAX);
        break;
    case 'n':
        options->connections = read_number(optarg, 1U << 24);
        break;
    case 'w':
        options->window = read_number(optarg, UINT16_MAX);
        break;
    case 'm':
        options->backend_count = read_number(optarg, 1U << 12);
        break;
    case 's':
        options->service = read_address(optarg, &options->service_port);
        break;
    case 'b':
        options->first_backend = read_address(optarg, &options->backend_port);
        break;
    case 'c':
        options->first_client = read_address(optarg, NULL);
        break;
    default:
        refuse_usage();
    }
}

static void read_options(int argc, char **argv, struct options *options)
{
    for (int key; (key = getopt_long(argc, argv, "", rows, NULL)) != -1;)
        take_option(options, key);
    if (optind != argc || options->tun < 0 || options->commands < 0 || options->connections == 0 ||
        options->window == 0 || options->backend_count == 0 ||
        options->first_backend <= options->first_client)
        refuse_usage();
}

int main(int argc, char **argv)
{
    struct peer peer = {.options = {.tun = -1, .commands = -1}, .now_ms = now_ms()};

    read_options(argc, argv, &peer.options);
    peer.clients = calloc(peer.options.connections, sizeof(*peer.clients));
    peer.backends = calloc(peer.options.backend_count, PORTS_ALL);
    if (peer.clients == NULL || peer.backends == NULL)
        give_up("no memory", 0);
    if (getrandom(&peer.key, sizeof(peer.key), 0) != sizeof(peer.key) ||
        fcntl(peer.options.tun, F_SETFL, O_RDWR | O_NONBLOCK) != 0 ||
        fcntl(peer.options.commands, F_SETFL, O_NONBLOCK) != 0)
        give_up("cannot start", errno);
    puts("{\"event\":\"ready\"}");
    fflush(stdout);
    run(&peer);
    free(peer.clients);
    free(peer.backends);
    return 0;
}
