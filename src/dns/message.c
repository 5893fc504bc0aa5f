/* Questions and answers of the domain name system, see message.h. Owns nothing. In the monitor and
 * in the short-lived child that looks names up for master. */
#include "message.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <resolv.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define FLAG_ANSWER    0x8000
#define FLAG_TRUNCATED 0x0200
#define FLAG_RECURSE   0x0100
#define SRV_BYTES      6 /* priority, weight, port; the target follows */

const char *const dns_outcome_texts[DNS_OUTCOME_COUNT] = {
#define X(name, text) [DNS_##name] = text,
    DNS_OUTCOME_LIST(X)
#undef X
};

static const ns_type wire_types[DNS_TYPE_COUNT] = {
    [DNS_A] = ns_t_a,
    [DNS_AAAA] = ns_t_aaaa,
    [DNS_SRV] = ns_t_srv,
};

int dns_build(const struct dns_question *question, uint8_t out[static DNS_QUERY_MAX])
{
    const char *name = question->name;
    if (name[0] == '\0' || name[0] == '.') {
        return -EINVAL;
    }
    memset(out, 0, NS_HFIXEDSZ);
    ns_put16(question->id, out);
    ns_put16(FLAG_RECURSE, out + 2);
    ns_put16(1, out + 4); /* one question, nothing else */
    int len = ns_name_compress(name, out + NS_HFIXEDSZ, NS_MAXCDNAME, NULL, NULL);
    if (len < 0) {
        return -EINVAL;
    }
    uint8_t *at = out + NS_HFIXEDSZ + len;
    ns_put16(wire_types[question->type], at);
    ns_put16(ns_c_in, at + NS_INT16SZ);
    return NS_HFIXEDSZ + len + NS_QFIXEDSZ;
}

/* --- reading --- */

struct reading {
    const struct dns_question *question;
    ns_msg message;
    char owner[NS_MAXDNAME]; /* whose records count: of the name, or of what it is an alias of */
    struct dns_reply *out;
};

/* As libresolv writes names, which escapes whatever is not plain; the last dot does not count. */
static bool is_same_name(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    a_len -= a_len > 1 && a[a_len - 1] == '.';
    b_len -= b_len > 1 && b[b_len - 1] == '.';
    return a_len == b_len && strncasecmp(a, b, a_len) == 0;
}

/* A server that fails may leave the question out; its id and address must do then. */
static bool has_question(struct reading *reading, bool has_failed)
{
    ns_rr rr;
    if (ns_msg_count(reading->message, ns_s_qd) == 0) {
        return has_failed;
    }
    return ns_msg_count(reading->message, ns_s_qd) == 1 &&
           ns_parserr(&reading->message, ns_s_qd, 0, &rr) == 0 &&
           ns_rr_type(rr) == wire_types[reading->question->type] && ns_rr_class(rr) == ns_c_in &&
           is_same_name(ns_rr_name(rr), reading->question->name);
}

static enum dns_outcome outcome_of_code(int code)
{
    switch (code) {
    case ns_r_noerror:
        return DNS_OK;
    case ns_r_nxdomain:
        return DNS_NXDOMAIN;
    case ns_r_servfail:
        return DNS_SERVFAIL;
    case ns_r_refused:
        return DNS_REFUSED;
    default:
        return DNS_ERROR;
    }
}

/* A time of more than 31 bits counts as none: RFC 2181, section 8. */
static void note_ttl(struct dns_reply *out, uint32_t ttl_s)
{
    ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s;
    out->ttl_s = ttl_s < out->ttl_s ? ttl_s : out->ttl_s;
}

/* 1: owner was an alias, and is what it stands for now; 0: it is none; -1: it cannot be read. */
static int follow_alias(struct reading *reading)
{
    int n = ns_msg_count(reading->message, ns_s_an);
    ns_rr rr;
    for (int i = 0; i < n; i++) {
        if (ns_parserr(&reading->message, ns_s_an, i, &rr) != 0) {
            return -1;
        }
        if (ns_rr_type(rr) != ns_t_cname || ns_rr_class(rr) != ns_c_in ||
            !is_same_name(ns_rr_name(rr), reading->owner)) {
            continue;
        }
        note_ttl(reading->out, ns_rr_ttl(rr));
        return ns_name_uncompress(ns_msg_base(reading->message), ns_msg_end(reading->message),
                                  ns_rr_rdata(rr), reading->owner, sizeof(reading->owner)) < 0
                   ? -1
                   : 1;
    }
    return 0;
}

static enum dns_outcome follow_aliases(struct reading *reading)
{
    int got;
    (void)strlcpy(reading->owner, reading->question->name, sizeof(reading->owner));
    for (int steps = 0; (got = follow_alias(reading)) == 1;) {
        if (++steps > DNS_CHAIN_MAX) {
            return DNS_LOOP;
        }
    }
    return got < 0 ? DNS_GARBAGE : DNS_OK;
}

static bool is_host(const struct addr_ip *ip)
{
    static const uint8_t zeroes[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (ip->family == ADDR_IPV4) {
        return ip->bytes[0] != 0 && ip->bytes[0] < 224; /* multicast and what is behind it */
    }
    return memcmp(ip->bytes, zeroes, sizeof(zeroes)) != 0 && ip->bytes[0] != 0xff &&
           memcmp(ip->bytes, mapped, sizeof(mapped)) != 0;
}

/* 1: it is in; 0: not one that counts; -1: it cannot be read. */
static int read_address(const ns_rr *rr, struct addr_ip *out)
{
    bool is_ipv4 = ns_rr_type(*rr) == ns_t_a;
    size_t len = is_ipv4 ? NS_INADDRSZ : NS_IN6ADDRSZ;
    if (ns_rr_rdlen(*rr) != len) {
        return -1;
    }
    *out = (struct addr_ip){.family = is_ipv4 ? ADDR_IPV4 : ADDR_IPV6};
    memcpy(out->bytes, ns_rr_rdata(*rr), len);
    return is_host(out);
}

static int read_target(const ns_msg *message, const ns_rr *rr, struct dns_target *out)
{
    char name[NS_MAXDNAME];
    const uint8_t *data = ns_rr_rdata(*rr);
    if (ns_rr_rdlen(*rr) <= SRV_BYTES ||
        ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), data + SRV_BYTES, name,
                           sizeof(name)) < 0) {
        return -1;
    }
    *out = (struct dns_target){.priority = (uint16_t)ns_get16(data),
                               .weight = (uint16_t)ns_get16(data + 2),
                               .port = (uint16_t)ns_get16(data + 4)};
    /* A target "." says that there is no such service: RFC 2782. */
    return strcmp(name, ".") != 0 && name[0] != '\0' && out->port != 0 &&
           strlcpy(out->name, name, sizeof(out->name)) < sizeof(out->name);
}

static bool is_less_target(const struct dns_target *a, const struct dns_target *b)
{
    int order = (int)a->priority - (int)b->priority;
    order = order != 0 ? order : strcasecmp(a->name, b->name);
    return order < 0 || (order == 0 && a->port < b->port);
}

static void take_target(struct dns_reply *out, const struct dns_target *target)
{
    size_t at = out->n;
    if (out->n < DNS_ANSWERS_MAX) {
        out->n++;
    } else {
        out->n_left_out++;
        at = 0;
        for (size_t i = 1; i < out->n; i++) {
            at = is_less_target(&out->targets[at], &out->targets[i]) ? i : at;
        }
        if (!is_less_target(target, &out->targets[at])) {
            return;
        }
    }
    out->targets[at] = *target;
}

static bool is_less_ip(const struct addr_ip *a, const struct addr_ip *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) < 0;
}

static void take_ip(struct dns_reply *out, const struct addr_ip *ip)
{
    size_t at = out->n;
    if (out->n < DNS_ANSWERS_MAX) {
        out->n++;
    } else {
        out->n_left_out++;
        at = 0;
        for (size_t i = 1; i < out->n; i++) {
            at = is_less_ip(&out->ips[at], &out->ips[i]) ? i : at;
        }
        if (!is_less_ip(ip, &out->ips[at])) {
            return;
        }
    }
    out->ips[at] = *ip;
}

static int take_record(struct reading *reading, const ns_rr *rr)
{
    struct dns_reply *out = reading->out;
    bool is_srv = reading->question->type == DNS_SRV;
    struct addr_ip ip;
    struct dns_target target;
    int got = is_srv ? read_target(&reading->message, rr, &target) : read_address(rr, &ip);
    if (got != 1) {
        return got;
    }
    note_ttl(out, ns_rr_ttl(*rr));
    if (is_srv) {
        take_target(out, &target);
    } else {
        take_ip(out, &ip);
    }
    return 1;
}

static enum dns_outcome take_records(struct reading *reading)
{
    int n = ns_msg_count(reading->message, ns_s_an);
    ns_rr rr;
    for (int i = 0; i < n; i++) {
        if (ns_parserr(&reading->message, ns_s_an, i, &rr) != 0) {
            return DNS_GARBAGE;
        }
        if (ns_rr_type(rr) == wire_types[reading->question->type] && ns_rr_class(rr) == ns_c_in &&
            is_same_name(ns_rr_name(rr), reading->owner) && take_record(reading, &rr) < 0) {
            return DNS_GARBAGE;
        }
    }
    return reading->out->n > 0 ? DNS_OK : DNS_EMPTY;
}

enum dns_outcome dns_parse(const struct dns_question *question, const uint8_t *message, size_t len,
                           struct dns_reply *out)
{
    struct reading reading = {.question = question, .out = out};
    if (len < NS_HFIXEDSZ || len > NS_MAXMSG || ns_get16(message) != question->id ||
        (ns_get16(message + 2) & FLAG_ANSWER) == 0) {
        return DNS_MISMATCH;
    }
    bool is_truncated = (ns_get16(message + 2) & FLAG_TRUNCATED) != 0;
    out->ttl_s = INT32_MAX;
    out->n = 0;
    out->n_left_out = 0;
    if (ns_initparse(message, (int)len, &reading.message) != 0) {
        return is_truncated ? DNS_TRUNCATED : DNS_GARBAGE; /* it may be cut anywhere */
    }
    enum dns_outcome outcome = outcome_of_code(ns_msg_getflag(reading.message, ns_f_rcode));
    if (!has_question(&reading, outcome != DNS_OK)) {
        return DNS_MISMATCH;
    }
    if (outcome != DNS_OK) {
        return outcome;
    }
    if (is_truncated) {
        return DNS_TRUNCATED;
    }
    outcome = follow_aliases(&reading);
    return outcome == DNS_OK ? take_records(&reading) : outcome;
}
