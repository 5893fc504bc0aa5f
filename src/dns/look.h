/*
 * The look-up of a name: hosts file first, then the name servers, under the search list; A and AAAA
 * together; "srv:NAME" by way of its targets. On an event loop.
 */
#ifndef SLUICE_DNS_LOOK_H
#define SLUICE_DNS_LOOK_H

#include "ask.h"

#define DNS_SRV_PREFIX "srv:"
/* A name of the hosts file has no time to live: it holds until the file changes. */
#define DNS_TTL_MAX_S 86400

struct dns_answer {
    struct addr_ip ip; /* port: of SRV; else 0 */
    uint32_t weight;   /* of SRV, at least 1; else 0 */
};

struct dns_result {
    enum dns_outcome outcome; /* DNS_OK: there is at least one answer */
    uint32_t ttl_s;
    /* Of this family something was not to be had: other addresses of it may still hold. */
    bool lacks_ipv4, lacks_ipv6;
    uint32_t n_left_out; /* beyond DNS_ANSWERS_MAX */
    uint32_t n;
    struct dns_answer answers[DNS_ANSWERS_MAX]; /* sorted, each once */
};

/* How much of it n answers take. */
#define DNS_RESULT_BYTES(n) (offsetof(struct dns_result, answers) + (n) * sizeof(struct dns_answer))

struct dns_look;

/* result is gone afterwards; so is the look already. */
typedef void dns_look_fn(void *arg, const struct dns_result *result);

/* Looks a host or srv:NAME up for limit_ms at most; what is there by then counts. done is called
 * once, from the loop, never before the return. NULL without memory. */
struct dns_look *dns_look_start(struct event_base *base, struct dns_asker *asker,
                                const struct dns_files *files, const char *name, uint32_t limit_ms,
                                dns_look_fn *done, void *arg);
/* Gives up without calling done. NULL is allowed. */
void dns_look_cancel(struct dns_look *look);

#endif
