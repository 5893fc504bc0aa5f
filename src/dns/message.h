/*
 * Messages of the domain name system, as bytes: a question is built, an answer is read. Pure. What
 * a name server says is hostile input: names and records are taken apart by libresolv, chains and
 * numbers of records are bounded here. Formats: RFC 1035, RFC 3596 (AAAA), RFC 2782 (SRV).
 */
#ifndef SLUICE_DNS_MESSAGE_H
#define SLUICE_DNS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "outcome.h"

#define DNS_NAME_MAX    256 /* as text, with NUL; what is longer once escaped is no host's */
#define DNS_ANSWERS_MAX 64  /* of one name */
#define DNS_CHAIN_MAX   8   /* aliases (CNAME), one after the other */
#define DNS_QUERY_MAX   512

enum dns_type { DNS_A, DNS_AAAA, DNS_SRV, DNS_TYPE_COUNT };

struct dns_question {
    char name[DNS_NAME_MAX];
    enum dns_type type;
    uint16_t id;
};

struct dns_target { /* of an SRV record */
    char name[DNS_NAME_MAX];
    uint16_t priority, weight, port;
};

/* Of more records than there is room for the least ones are taken, whatever their order: otherwise
 * a server that turns them round would give others each time. */
struct dns_reply {
    uint32_t ttl_s; /* the shortest of all records that the answer rests on */
    size_t n, n_left_out;
    union {
        struct addr_ip ips[DNS_ANSWERS_MAX]; /* ports 0 */
        struct dns_target targets[DNS_ANSWERS_MAX];
    };
};

/* Returns how many bytes the question has, or -EINVAL: the name cannot be asked for. */
int dns_build(const struct dns_question *question, uint8_t out[static DNS_QUERY_MAX]);
/*
 * Reads an answer. DNS_MISMATCH: it is not one to this question, so the right one may still come.
 * DNS_OK: *out has at least one record. DNS_TRUNCATED: ask again by TCP. Addresses that no host can
 * have (unspecified, multicast, broadcast, IPv4 in IPv6) are not records.
 */
enum dns_outcome dns_parse(const struct dns_question *question, const uint8_t *message, size_t len,
                           struct dns_reply *out);

#endif
