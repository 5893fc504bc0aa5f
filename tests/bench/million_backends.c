/* bench_million_peer: the backends. Each accepts whatever comes, answers a request, and ends when
 * its client has. */
#include "million_peer.h"

#define SALT_BACKEND 2

/* One end of a connection: where its byte is, and where its numbers begin. */
struct end {
    uint8_t *byte;
    uint32_t first_seq;
};

static enum backend_state state_of(const struct end *end)
{
    return *end->byte & BACKEND_STATES;
}

static void set_state(const struct end *end, enum backend_state state)
{
    *end->byte = (uint8_t)((*end->byte & BACKEND_ANSWERED) | state);
}

/* The sequence number after all that it has sent, but for its FIN. */
static uint32_t next_seq(const struct end *end)
{
    return end->first_seq + 1 + (*end->byte & BACKEND_ANSWERED ? ANSWER_BYTES : 0);
}

static struct segment answer_to(const struct segment *segment, uint8_t flags, uint32_t seq)
{
    bool takes_number = segment->flags & (FLAG_SYN | FLAG_FIN);
    return (struct segment){
        .source = segment->destination,
        .source_port = segment->destination_port,
        .destination = segment->source,
        .destination_port = segment->source_port,
        .flags = flags,
        .seq = seq,
        .ack = segment->seq + segment->data_bytes + takes_number,
    };
}

static void take_syn(struct peer *peer, const struct end *end, const struct segment *segment)
{
    struct segment answer = answer_to(segment, FLAG_SYN | FLAG_ACK, end->first_seq);
    enum backend_state state = state_of(end);

    if (state == BACKEND_NONE || state == BACKEND_CLOSED) {
        *end->byte = BACKEND_SYN;
        peer->counters.backends_seen++;
    } else {
        peer->counters.backends_repeated++;
    }
    peer_send(peer, &answer);
}

static void take_request(struct peer *peer, const struct end *end, const struct segment *segment)
{
    struct segment answer = answer_to(segment, FLAG_ACK | FLAG_PSH, end->first_seq + 1);
    uint8_t message[ANSWER_BYTES];
    uint32_t number;

    if (segment->data_bytes != REQUEST_BYTES ||
        !message_read(peer, segment->data, REQUEST_BYTES, &number)) {
        peer->counters.messages_wrong++;
        return;
    }
    if (*end->byte & BACKEND_ANSWERED)
        peer->counters.backends_repeated++;
    else
        peer->counters.backends_asked++;
    *end->byte |= BACKEND_ANSWERED;
    message_make(peer, number, sizeof(message), message);
    answer.data = message;
    answer.data_bytes = ANSWER_BYTES;
    peer_send(peer, &answer);
}

static void take_end(struct peer *peer, const struct end *end, const struct segment *segment)
{
    struct segment answer = answer_to(segment, FLAG_FIN | FLAG_ACK, next_seq(end));

    if (state_of(end) == BACKEND_OPEN)
        set_state(end, BACKEND_FIN_SENT);
    else
        peer->counters.backends_repeated++;
    peer_send(peer, &answer);
}

/* The acknowledgements that complete the handshake, and the end. */
static void take_ack(struct peer *peer, const struct end *end, const struct segment *segment)
{
    if (state_of(end) == BACKEND_SYN && segment->ack == end->first_seq + 1) {
        set_state(end, BACKEND_OPEN);
        peer->counters.backends_opened++;
    } else if (state_of(end) == BACKEND_FIN_SENT && segment->ack == next_seq(end) + 1) {
        set_state(end, BACKEND_CLOSED);
        peer->counters.backends_closed++;
    }
}

/* After the last acknowledgement one may come that answers an end sent twice. */
static void take_reset(struct peer *peer, const struct end *end)
{
    enum backend_state state = state_of(end);
    if (state == BACKEND_CLOSED) {
        peer->counters.backends_repeated++;
        return;
    }
    peer->counters.backends_reset += state != BACKEND_NONE;
    *end->byte = BACKEND_NONE;
}

static struct end end_at(const struct peer *peer, size_t place)
{
    return (struct end){.byte = &peer->backends[place],
                        .first_seq = peer_hash(peer, SALT_BACKEND, place)};
}

/* An old sequence number: whoever gets it says which one he expects (RFC 9293, 3.10.7.4). To send a
 * SYN or FIN again one had to know his. */
static void probe(struct peer *peer, size_t place)
{
    const struct options *options = &peer->options;
    struct end end = end_at(peer, place);
    struct segment segment = {
        .source = options->first_backend + (uint32_t)(place / PORTS_ALL),
        .source_port = options->backend_port,
        .destination = options->service,
        .destination_port = (uint16_t)(place % PORTS_ALL),
        .flags = FLAG_ACK,
        .seq = end.first_seq,
    };
    peer->counters.backends_probed++;
    peer_send(peer, &segment);
}

void backends_probe(struct peer *peer)
{
    size_t places = (size_t)peer->options.backend_count * PORTS_ALL;
    for (size_t place = 0; place < places; place++) {
        uint8_t state = peer->backends[place] & BACKEND_STATES;
        if (state == BACKEND_SYN || state == BACKEND_FIN_SENT)
            probe(peer, place);
    }
}

static bool find(const struct peer *peer, const struct segment *segment, struct end *out)
{
    const struct options *options = &peer->options;
    uint32_t number = segment->destination - options->first_backend;
    if (number >= options->backend_count || segment->destination_port != options->backend_port ||
        segment->source != options->service)
        return false;
    *out = end_at(peer, (size_t)number * PORTS_ALL + segment->source_port);
    return true;
}

void backend_take(struct peer *peer, const struct segment *segment)
{
    struct end end;
    if (!find(peer, segment, &end)) {
        peer->counters.packets_stray++;
        return;
    }
    if (segment->flags & FLAG_RST) {
        take_reset(peer, &end);
        return;
    }
    if (segment->flags & FLAG_SYN) {
        take_syn(peer, &end, segment);
        return;
    }
    if (state_of(&end) == BACKEND_NONE) {
        peer->counters.packets_stray++;
        return;
    }
    take_ack(peer, &end, segment);
    if (segment->data_bytes > 0)
        take_request(peer, &end, segment);
    if (segment->flags & FLAG_FIN)
        take_end(peer, &end, segment);
}
