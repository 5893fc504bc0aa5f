/* bench_million_peer: segments from packets and back. IPv4 without options. Pure. */
#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#include "million_peer.h"

#define IP_BYTES      20
#define TCP_BYTES_MIN 20
#define MSS_BYTES     4 /* the option */
#define MSS           (PACKET_BYTES_MAX - IP_BYTES - TCP_BYTES_MIN)
#define WINDOW        65535
#define TTL           64

static uint16_t get16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return be16toh(value);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return be32toh(value);
}

static void put16(uint8_t *p, uint16_t value)
{
    value = htobe16(value);
    memcpy(p, &value, sizeof(value));
}

static void put32(uint8_t *p, uint32_t value)
{
    value = htobe32(value);
    memcpy(p, &value, sizeof(value));
}

/* RFC 1071. */
static uint64_t add_words(uint64_t sum, const uint8_t *p, size_t bytes)
{
    for (; bytes >= 4; p += 4, bytes -= 4)
        sum += get32(p);
    if (bytes >= 2) {
        sum += get16(p);
        p += 2;
        bytes -= 2;
    }
    return bytes > 0 ? sum + ((uint64_t)*p << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* 0 over a packet whose checksum is right. */
static uint16_t sum_tcp(const uint8_t *packet, size_t bytes)
{
    size_t tcp_bytes = bytes - IP_BYTES;
    uint64_t pseudo_header = add_words(IPPROTO_TCP + tcp_bytes, packet + 12, 8);
    return fold(add_words(pseudo_header, packet + IP_BYTES, tcp_bytes));
}

enum wire_kind wire_read(const uint8_t *packet, size_t bytes, struct segment *out)
{
    if (bytes < IP_BYTES || packet[0] >> 4 != 4 || packet[9] != IPPROTO_TCP)
        return WIRE_OTHER;
    if (packet[0] != 0x45 || bytes < IP_BYTES + TCP_BYTES_MIN || get16(packet + 2) != bytes)
        return WIRE_BAD;
    const uint8_t *tcp = packet + IP_BYTES;
    size_t head_bytes = (size_t)(tcp[12] >> 4) * 4;
    if (head_bytes < TCP_BYTES_MIN || IP_BYTES + head_bytes > bytes ||
        fold(add_words(0, packet, IP_BYTES)) != 0 || sum_tcp(packet, bytes) != 0)
        return WIRE_BAD;
    *out = (struct segment){
        .source = get32(packet + 12),
        .destination = get32(packet + 16),
        .source_port = get16(tcp),
        .destination_port = get16(tcp + 2),
        .seq = get32(tcp + 4),
        .ack = get32(tcp + 8),
        .flags = tcp[13],
        .data_bytes = (uint16_t)(bytes - IP_BYTES - head_bytes),
        .data = tcp + head_bytes,
    };
    return WIRE_TCP;
}

size_t wire_write(const struct segment *segment, uint8_t *packet)
{
    size_t option_bytes = segment->flags & FLAG_SYN ? MSS_BYTES : 0;
    size_t head_bytes = TCP_BYTES_MIN + option_bytes;
    size_t bytes = IP_BYTES + head_bytes + segment->data_bytes;
    uint8_t *tcp = packet + IP_BYTES;

    memset(packet, 0, IP_BYTES + head_bytes);
    packet[0] = 0x45;
    put16(packet + 2, (uint16_t)bytes);
    put16(packet + 6, 0x4000); /* never in fragments */
    packet[8] = TTL;
    packet[9] = IPPROTO_TCP;
    put32(packet + 12, segment->source);
    put32(packet + 16, segment->destination);
    put16(packet + 10, fold(add_words(0, packet, IP_BYTES)));
    put16(tcp, segment->source_port);
    put16(tcp + 2, segment->destination_port);
    put32(tcp + 4, segment->seq);
    put32(tcp + 8, segment->ack);
    tcp[12] = (uint8_t)(head_bytes / 4 << 4);
    tcp[13] = segment->flags;
    put16(tcp + 14, WINDOW);
    if (option_bytes > 0)
        put32(tcp + TCP_BYTES_MIN, 0x02040000 | MSS); /* kind 2, four bytes */
    if (segment->data_bytes > 0)
        memcpy(tcp + head_bytes, segment->data, segment->data_bytes);
    put16(tcp + 16, sum_tcp(packet, bytes));
    return bytes;
}
