/*
 * bench_million_peer: everybody that Sluice talks to in million.py, clients and backends, made of
 * packets on a TUN device. Real sockets would cost the machine more than those that are measured:
 * here a client is eight bytes and a backend's end of a connection one, and all else (sequence
 * numbers, contents) follows from addresses and ports by a keyed hash. One process, one thread.
 *
 * Every segment is answered from these few bytes, so what the kernel sends again is answered again,
 * alike. Windows never fill, and nothing is larger than a segment.
 */
#ifndef BENCH_MILLION_PEER_H
#define BENCH_MILLION_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES_MAX 1500

/* Client number n has the n / PORTS_EACH-th address and the n % PORTS_EACH-th port. */
#define CLIENT_PORTS_EACH 1000
#define CLIENT_PORT_FIRST 20000
#define PORTS_ALL         65536 /* what Sluice may connect from, towards each backend */

#define REQUEST_BYTES     64
#define ANSWER_BYTES      128
#define MESSAGE_BYTES_MAX 128

#define TICK_MS   16 /* of the clock that fits a client's sixteen bits */
#define RESEND_MS 1000
#define STALL_MS  10000 /* without any progress a phase is given up */

/* --- segments (million_wire.c) --- */

/* linux/tcp.h has them as bit fields only. */
#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_PSH 0x08
#define FLAG_ACK 0x10

/* Addresses and ports in host order; data belongs to the packet it was read from. */
struct segment {
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t data_bytes;
    const uint8_t *data;
};

enum wire_kind { WIRE_TCP, WIRE_OTHER, WIRE_BAD };

/* WIRE_OTHER: not TCP over IPv4; WIRE_BAD: lengths or checksums are wrong. */
enum wire_kind wire_read(const uint8_t *packet, size_t bytes, struct segment *out);
/* The whole packet, checksums and (with FLAG_SYN) an MSS option included; returns its length, at
 * most PACKET_BYTES_MAX. data_bytes at most MESSAGE_BYTES_MAX. */
size_t wire_write(const struct segment *segment, uint8_t *packet);

/* --- everybody --- */

enum client_state {
    CLIENT_NEW,
    CLIENT_SYN_SENT,
    CLIENT_OPEN,
    CLIENT_ASKING, /* request sent, not answered */
    CLIENT_FIN_SENT,
    CLIENT_CLOSED, /* both ends seen and acknowledged */
    CLIENT_FAILED, /* already counted as an error */
};

struct client {
    uint32_t expected; /* sequence number of the next byte from Sluice, once open */
    uint16_t sent_at;  /* in ticks: when it last sent what it waits for */
    uint8_t state;     /* enum client_state */
    bool has_asked;
};

/* What a backend remembers of a port of Sluice's; the flag beside it in the same byte. */
enum backend_state { BACKEND_NONE, BACKEND_SYN, BACKEND_OPEN, BACKEND_FIN_SENT, BACKEND_CLOSED };
#define BACKEND_STATES   0x0f
#define BACKEND_ANSWERED 0x80

/* Each is printed under its name. From clients_failed on they count what must not be. */
#define PEER_COUNTERS(X)                                                                           \
    X(packets_in)                                                                                  \
    X(packets_out)                                                                                 \
    X(packets_other) /* not TCP over IPv4 */                                                       \
    X(clients_opened)                                                                              \
    X(clients_answered)                                                                            \
    X(clients_closed)   /* both directions, both ends acknowledged */                              \
    X(clients_resent)   /* not answered in RESEND_MS */                                            \
    X(clients_repeated) /* what came again, or probed */                                           \
    X(backends_seen)    /* connects that came */                                                   \
    X(backends_opened)  /* completed ones */                                                       \
    X(backends_asked)                                                                              \
    X(backends_closed)                                                                             \
    X(backends_repeated)                                                                           \
    X(backends_probed)                                                                             \
    X(clients_failed) /* by any of the next three */                                               \
    X(clients_reset)                                                                               \
    X(clients_ended_early) /* before their own end */                                              \
    X(messages_wrong)      /* seen by clients or backends */                                       \
    X(backends_reset)                                                                              \
    X(packets_bad)    /* lengths or checksums */                                                   \
    X(packets_stray)  /* of no connection, or of another state */                                  \
    X(packets_unsent) /* refused by the device */

struct counters {
#define X(name) uint64_t name;
    PEER_COUNTERS(X)
#undef X
};

/* One thing that all clients, or each of an even choice of them, do; million_phase.c. */
enum phase_kind { PHASE_NONE, PHASE_OPEN, PHASE_ASK, PHASE_CLOSE };

struct phase {
    enum phase_kind kind;
    uint32_t total, next; /* clients that take part, and how many of them have begun */
    uint32_t oldest;      /* those before it are through */
    uint64_t begun_ms, shown_ms, resent_ms, probed_ms;
    uint64_t moved_ms, moves; /* when something was last done, and how much had been by then */
};

struct options {
    int tun, commands; /* descriptors */
    uint32_t connections;
    uint32_t backend_count;
    uint32_t window; /* clients that may be under way at once */
    uint32_t service, first_client, first_backend;
    uint16_t service_port, backend_port;
};

struct peer {
    struct options options;
    uint64_t key;
    uint64_t now_ms;
    bool is_resetting; /* every segment is answered with a reset */
    struct client *clients;
    uint64_t under_way; /* clients that wait for something */
    uint8_t *backends;  /* [backend_count][PORTS_ALL] */
    struct phase phase;
    struct counters counters;
};

/* --- million_peer.c --- */

void peer_send(struct peer *peer, const struct segment *segment);
uint32_t peer_hash(const struct peer *peer, uint32_t salt, uint64_t what);
/* A message of this size that names the client; its bytes follow from both. */
void message_make(const struct peer *peer, uint32_t client, size_t bytes, uint8_t *out);
/* Whether it is that, for the client that it names. */
bool message_read(const struct peer *peer, const uint8_t *data, size_t bytes, uint32_t *out_client);

/* --- million_clients.c --- */

void client_open(struct peer *peer, uint32_t number);
void client_ask(struct peer *peer, uint32_t number);
void client_close(struct peer *peer, uint32_t number);
bool client_waits(const struct client *client);
/* Sends again what this one waits for, if it has waited for RESEND_MS. */
void client_resend(struct peer *peer, uint32_t number);
void client_take(struct peer *peer, const struct segment *segment);

/* --- million_backends.c --- */

void backend_take(struct peer *peer, const struct segment *segment);
/* Asks again for each acknowledgement that is missing. */
void backends_probe(struct peer *peer);

/* --- million_phase.c --- */

/* count: of clients that take part, at most all. */
void phase_begin(struct peer *peer, enum phase_kind kind, uint32_t count);
/* Begins what the window allows, sends again what is due, and prints how far it is, and its end;
 * whether anything was begun. */
bool phase_step(struct peer *peer);
void phase_print(const struct peer *peer, const char *event);

#endif
