/* bench_million_peer: the clients. Each opens a connection, may send one request, and ends first.
 */
#include "million_peer.h"

#define SALT_CLIENT 1

static uint32_t first_seq(const struct peer *peer, uint32_t number)
{
    return peer_hash(peer, SALT_CLIENT, number);
}

/* The sequence number after all that it has sent. */
static uint32_t next_seq(const struct peer *peer, uint32_t number)
{
    const struct client *client = &peer->clients[number];
    uint32_t seq = first_seq(peer, number) + 1;
    if (client->has_asked)
        seq += REQUEST_BYTES;
    return client->state == CLIENT_FIN_SENT || client->state == CLIENT_CLOSED ? seq + 1 : seq;
}

static struct segment towards_sluice(const struct peer *peer, uint32_t number, uint8_t flags)
{
    const struct options *options = &peer->options;
    return (struct segment){
        .source = options->first_client + number / CLIENT_PORTS_EACH,
        .source_port = (uint16_t)(CLIENT_PORT_FIRST + number % CLIENT_PORTS_EACH),
        .destination = options->service,
        .destination_port = options->service_port,
        .flags = flags,
        .seq = next_seq(peer, number),
        .ack = peer->clients[number].expected,
    };
}

bool client_waits(const struct client *client)
{
    return client->state == CLIENT_SYN_SENT || client->state == CLIENT_ASKING ||
           client->state == CLIENT_FIN_SENT;
}

static void become(struct peer *peer, struct client *client, enum client_state state)
{
    peer->under_way -= client_waits(client);
    client->state = (uint8_t)state;
    peer->under_way += client_waits(client);
}

static uint16_t ticks(const struct peer *peer)
{
    return (uint16_t)(peer->now_ms / TICK_MS);
}

/* What the client waits to have answered, for the first time or again. */
static void send_pending(struct peer *peer, uint32_t number)
{
    struct client *client = &peer->clients[number];
    struct segment segment = towards_sluice(peer, number, FLAG_ACK);
    uint8_t message[REQUEST_BYTES];

    if (client->state == CLIENT_SYN_SENT) {
        segment.flags = FLAG_SYN;
        segment.ack = 0;
        segment.seq -= 1;
    } else if (client->state == CLIENT_ASKING) {
        message_make(peer, number, sizeof(message), message);
        segment.flags |= FLAG_PSH;
        segment.seq -= REQUEST_BYTES;
        segment.data = message;
        segment.data_bytes = REQUEST_BYTES;
    } else {
        segment.flags |= FLAG_FIN;
        segment.seq -= 1;
    }
    client->sent_at = ticks(peer);
    peer_send(peer, &segment);
}

void client_open(struct peer *peer, uint32_t number)
{
    become(peer, &peer->clients[number], CLIENT_SYN_SENT);
    send_pending(peer, number);
}

/* One that has failed stays so. */
void client_ask(struct peer *peer, uint32_t number)
{
    struct client *client = &peer->clients[number];
    if (client->state != CLIENT_OPEN || client->has_asked)
        return;
    become(peer, client, CLIENT_ASKING);
    client->has_asked = true;
    send_pending(peer, number);
}

void client_close(struct peer *peer, uint32_t number)
{
    struct client *client = &peer->clients[number];
    if (client->state != CLIENT_OPEN)
        return;
    become(peer, client, CLIENT_FIN_SENT);
    send_pending(peer, number);
}

void client_resend(struct peer *peer, uint32_t number)
{
    const struct client *client = &peer->clients[number];
    if (!client_waits(client) || (uint16_t)(ticks(peer) - client->sent_at) < RESEND_MS / TICK_MS)
        return;
    peer->counters.clients_resent++;
    send_pending(peer, number);
}

static void acknowledge(struct peer *peer, uint32_t number)
{
    struct segment segment = towards_sluice(peer, number, FLAG_ACK);
    peer_send(peer, &segment);
}

static void fail(struct peer *peer, uint32_t number, uint64_t *reason)
{
    struct client *client = &peer->clients[number];
    if (client->state == CLIENT_FAILED)
        return;
    become(peer, client, CLIENT_FAILED);
    peer->counters.clients_failed++;
    (*reason)++;
}

/* --- what comes --- */

static void take_syn_ack(struct peer *peer, uint32_t number, const struct segment *segment)
{
    struct client *client = &peer->clients[number];
    if (segment->ack != first_seq(peer, number) + 1) {
        peer->counters.packets_stray++;
        return;
    }
    if (client->state == CLIENT_SYN_SENT) {
        client->expected = segment->seq + 1;
        become(peer, client, CLIENT_OPEN);
        peer->counters.clients_opened++;
    } else {
        peer->counters.clients_repeated++;
    }
    acknowledge(peer, number);
}

static void take_answer(struct peer *peer, uint32_t number, const struct segment *segment)
{
    struct client *client = &peer->clients[number];
    uint32_t named;
    bool is_right = client->state == CLIENT_ASKING && segment->data_bytes == ANSWER_BYTES &&
                    message_read(peer, segment->data, ANSWER_BYTES, &named) && named == number;

    client->expected += segment->data_bytes;
    if (!is_right) {
        fail(peer, number, &peer->counters.messages_wrong);
        return;
    }
    become(peer, client, CLIENT_OPEN);
    peer->counters.clients_answered++;
}

static void take_end(struct peer *peer, uint32_t number, const struct segment *segment)
{
    struct client *client = &peer->clients[number];
    client->expected++;
    if (client->state != CLIENT_FIN_SENT || segment->ack != next_seq(peer, number)) {
        fail(peer, number, &peer->counters.clients_ended_early);
        return;
    }
    become(peer, client, CLIENT_CLOSED);
    peer->counters.clients_closed++;
}

/* Data, an end, a probe, or a mere acknowledgement. */
static void take_more(struct peer *peer, uint32_t number, const struct segment *segment)
{
    const struct client *client = &peer->clients[number];
    bool ends = segment->flags & FLAG_FIN;

    if (segment->seq != client->expected) {
        peer->counters.clients_repeated++; /* or a probe; the same is owed to both */
        acknowledge(peer, number);
        return;
    }
    if (segment->data_bytes > 0)
        take_answer(peer, number, segment);
    if (ends)
        take_end(peer, number, segment);
    if (segment->data_bytes > 0 || ends)
        acknowledge(peer, number);
}

/* Who acknowledges an end that was sent twice meets nobody any more: that reset is no failure. */
static void take_reset(struct peer *peer, uint32_t number)
{
    if (peer->clients[number].state == CLIENT_CLOSED)
        peer->counters.clients_repeated++;
    else
        fail(peer, number, &peer->counters.clients_reset);
}

static bool find(const struct peer *peer, const struct segment *segment, uint32_t *out_number)
{
    const struct options *options = &peer->options;
    uint64_t number = (uint64_t)(segment->destination - options->first_client) * CLIENT_PORTS_EACH +
                      (uint64_t)segment->destination_port - CLIENT_PORT_FIRST;
    if (segment->source != options->service || segment->source_port != options->service_port ||
        segment->destination_port < CLIENT_PORT_FIRST ||
        segment->destination_port >= CLIENT_PORT_FIRST + CLIENT_PORTS_EACH ||
        number >= options->connections)
        return false;
    *out_number = (uint32_t)number;
    return peer->clients[number].state != CLIENT_NEW;
}

void client_take(struct peer *peer, const struct segment *segment)
{
    uint32_t number;
    if (!find(peer, segment, &number)) {
        peer->counters.packets_stray++;
        return;
    }
    uint8_t state = peer->clients[number].state;
    if (segment->flags & FLAG_RST)
        take_reset(peer, number);
    else if (segment->flags & FLAG_SYN)
        take_syn_ack(peer, number, segment);
    else if (state == CLIENT_SYN_SENT)
        peer->counters.packets_stray++;
    else if (state != CLIENT_FAILED)
        take_more(peer, number, segment);
}
