/* The PROXY header, in both versions. Pure; owns nothing. In a worker. */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* The protocol's version and a command; an address family and "stream". */
#define V2_LOCAL  0x20
#define V2_PROXY  0x21
#define V2_UNSPEC 0x00
#define V2_TCP4   0x11
#define V2_TCP6   0x21

static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                         0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* Both ends, in one family. */
struct ends {
    enum addr_family family; /* ADDR_NONE: not to be told */
    uint8_t client[16], destination[16];
    uint16_t client_port, destination_port;
};

static bool is_mapped(const struct addr_ip *ip)
{
    return ip->family == ADDR_IPV6 && memcmp(ip->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool is_ip(const struct addr_ip *ip)
{
    return ip->family == ADDR_IPV4 || ip->family == ADDR_IPV6;
}

/* The address's bytes in a family; in IPv4 only what is IPv4, mapped or not. */
static void bytes_as(enum addr_family family, const struct addr_ip *ip, uint8_t out[static 16])
{
    memset(out, 0, 16);
    if (family == ADDR_IPV4) {
        memcpy(out, ip->bytes + (is_mapped(ip) ? sizeof(mapped_prefix) : 0), 4);
    } else if (ip->family == ADDR_IPV6) {
        memcpy(out, ip->bytes, 16);
    } else {
        memcpy(out, mapped_prefix, sizeof(mapped_prefix));
        memcpy(out + sizeof(mapped_prefix), ip->bytes, 4);
    }
}

static struct ends ends_of(const struct addr_ip *client, const struct addr_ip *destination)
{
    struct ends ends = {.family = ADDR_NONE};

    if (!is_ip(client) || !is_ip(destination)) {
        return ends;
    }
    ends.family = (client->family == ADDR_IPV4 || is_mapped(client)) &&
                          (destination->family == ADDR_IPV4 || is_mapped(destination))
                      ? ADDR_IPV4
                      : ADDR_IPV6;
    bytes_as(ends.family, client, ends.client);
    bytes_as(ends.family, destination, ends.destination);
    ends.client_port = client->port;
    ends.destination_port = destination->port;
    return ends;
}

/* Version 1 allows of an IPv6 address no part in IPv4's form, which inet_ntop() writes where it is
 * mapped from there. */
static void format_ip(enum addr_family family, const uint8_t bytes[static 16],
                      char out[static INET6_ADDRSTRLEN])
{
    char *last;

    (void)inet_ntop(family == ADDR_IPV4 ? AF_INET : AF_INET6, bytes, out, INET6_ADDRSTRLEN);
    if (family == ADDR_IPV6 && strchr(out, '.') != NULL) {
        last = strrchr(out, ':') + 1;
        (void)snprintf(last, (size_t)(out + INET6_ADDRSTRLEN - last), "%x:%x",
                       bytes[12] << 8 | bytes[13], bytes[14] << 8 | bytes[15]);
    }
}

static size_t format_v1(const struct ends *ends, char out[static PROXY_HEADER_MAX + 1])
{
    char client[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];

    if (ends->family == ADDR_NONE) {
        return (size_t)snprintf(out, PROXY_HEADER_MAX + 1, "PROXY UNKNOWN\r\n");
    }
    format_ip(ends->family, ends->client, client);
    format_ip(ends->family, ends->destination, destination);
    return (size_t)snprintf(out, PROXY_HEADER_MAX + 1, "PROXY TCP%c %s %s %u %u\r\n",
                            ends->family == ADDR_IPV4 ? '4' : '6', client, destination,
                            ends->client_port, ends->destination_port);
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

static uint8_t *put_number(uint8_t *at, size_t number)
{
    uint16_t big = htons((uint16_t)number);

    return put(at, &big, sizeof(big));
}

static size_t format_v2(const struct ends *ends, uint8_t out[static PROXY_HEADER_MAX])
{
    size_t address_bytes = ends->family == ADDR_IPV4 ? 4 : 16;
    uint8_t *at = put(out, v2_signature, sizeof(v2_signature));

    if (ends->family == ADDR_NONE) {
        *at++ = V2_LOCAL;
        *at++ = V2_UNSPEC;
        at = put_number(at, 0);
        return (size_t)(at - out);
    }
    *at++ = V2_PROXY;
    *at++ = ends->family == ADDR_IPV4 ? V2_TCP4 : V2_TCP6;
    at = put_number(at, 2 * (address_bytes + sizeof(uint16_t)));
    at = put(at, ends->client, address_bytes);
    at = put(at, ends->destination, address_bytes);
    at = put_number(at, ends->client_port);
    at = put_number(at, ends->destination_port);
    return (size_t)(at - out);
}

size_t proxy_header_write(enum send_proxy version, const struct addr_ip *client,
                          const struct addr_ip *destination, void *out, size_t room)
{
    const struct ends ends = ends_of(client, destination);
    union {
        char text[PROXY_HEADER_MAX + 1];
        uint8_t bytes[PROXY_HEADER_MAX];
    } header;
    size_t n = 0;

    if (version == SEND_PROXY_V1) {
        n = format_v1(&ends, header.text);
    } else if (version == SEND_PROXY_V2) {
        n = format_v2(&ends, header.bytes);
    }
    if (n == 0 || n > room) {
        return 0;
    }
    memcpy(out, &header, n);
    return n;
}
