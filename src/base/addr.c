/*
 * Network addresses: parsing, printing, comparing, converting. Pure but for one thing: the name of
 * an interface in a link-local address is looked up. Owns nothing; runs in every process.
 */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX   254 /* a name's 253 characters, with NUL; any IP is shorter */
#define LABEL_MAX  63
#define PATH_START (offsetof(struct sockaddr_un, sun_path))

static const char unix_prefix[] = "unix:";
static const char bad_ipv6[] = "not an IPv6 address in the brackets; write [ADDRESS]:PORT, such as "
                               "[2001:db8::1]:80";

_Static_assert(sizeof(struct addr_ip) == 24, "kept per session; compared by memcmp");
_Static_assert(sizeof(struct addr) == sizeof(struct addr_ip) + ADDR_UNIX_MAX, "no padding");
_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == ADDR_UNIX_MAX, "as the kernel's");

/* Pieces of an address text, pointing into it. */
struct pieces {
    const char *host; /* without brackets; the path of unix: */
    size_t host_len;
    uint16_t port;
    bool is_unix;
    bool is_bracketed;
};

static int refuse(const char **out_problem, const char *problem)
{
    *out_problem = problem;
    return -EINVAL;
}

/* Digits only, no leading zero, at most max (itself below UINT64_MAX / 10). */
static bool parse_decimal(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max) {
            return false;
        }
    }
    *out = value;
    return true;
}

static int parse_port(const char *text, uint16_t *out, const char **out_problem)
{
    uint64_t port;

    if (*text == '\0') {
        return refuse(out_problem, "no port after the colon; write HOST:PORT");
    }
    if (strchr(text, '/') != NULL) {
        return refuse(out_problem, "a path after the port; write HOST:PORT alone");
    }
    if (text[strspn(text, "0123456789")] != '\0') {
        return refuse(out_problem, "port is not a number; 1 to 65535");
    }
    if (text[0] == '0' && text[1] != '\0') {
        return refuse(out_problem, "port starts with a zero; write it without");
    }
    if (!parse_decimal(text, UINT16_MAX, &port)) {
        return refuse(out_problem, "port out of range; 1 to 65535");
    }
    *out = (uint16_t)port;
    return 0;
}

static int split_unix(const char *path, struct pieces *out, const char **out_problem)
{
    if (*path == '\0' || strcmp(path, "@") == 0) {
        return refuse(out_problem, "no path; write unix:/PATH or unix:@NAME");
    }
    if (strlen(path) >= ADDR_UNIX_MAX) {
        return refuse(out_problem, "path too long for a socket; at most 107 bytes");
    }
    for (const char *p = path; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) {
            return refuse(out_problem, "control character in the path");
        }
    }
    *out = (struct pieces){.host = path, .host_len = strlen(path), .is_unix = true};
    return 0;
}

static int split_bracketed(const char *text, struct pieces *out, const char **out_problem)
{
    const char *end = strchr(text, ']');
    uint16_t port;
    int rc;

    if (end == NULL) {
        return refuse(out_problem, "no closing bracket; write [ADDRESS]:PORT");
    }
    if (end[1] != ':') {
        return refuse(out_problem, end[1] == '\0' ? "no port; write [ADDRESS]:PORT"
                                                  : "no colon after the bracket; write "
                                                    "[ADDRESS]:PORT");
    }
    rc = parse_port(end + 2, &port, out_problem);
    if (rc != 0) {
        return rc;
    }
    if (end == text + 1) {
        return refuse(out_problem, bad_ipv6);
    }
    *out = (struct pieces){
        .host = text + 1, .host_len = (size_t)(end - text - 1), .port = port, .is_bracketed = true};
    return 0;
}

static int split_plain(const char *text, struct pieces *out, const char **out_problem)
{
    const char *colon = strchr(text, ':');
    uint16_t port;
    int rc;

    if (*text == '\0') {
        return refuse(out_problem, "no address; write HOST:PORT");
    }
    if (colon == NULL) {
        return refuse(out_problem, "no port; write HOST:PORT");
    }
    if (strncmp(colon, "://", 3) == 0) {
        return refuse(out_problem, "a URL, with a scheme; write HOST:PORT alone");
    }
    if (strchr(colon + 1, ':') != NULL) {
        return refuse(out_problem, "too many colons; write an IPv6 address in brackets, such as "
                                   "[2001:db8::1]:80");
    }
    if (colon == text) {
        return refuse(out_problem, "no host before the port; write HOST:PORT");
    }
    rc = parse_port(colon + 1, &port, out_problem);
    if (rc != 0) {
        return rc;
    }
    *out = (struct pieces){.host = text, .host_len = (size_t)(colon - text), .port = port};
    return 0;
}

static int split(const char *text, struct pieces *out, const char **out_problem)
{
    if (strncmp(text, unix_prefix, sizeof(unix_prefix) - 1) == 0) {
        return split_unix(text + sizeof(unix_prefix) - 1, out, out_problem);
    }
    if (text[0] == '[') {
        return split_bracketed(text, out, out_problem);
    }
    return split_plain(text, out, out_problem);
}

int addr_split(const char *text, char *host, size_t host_size, uint16_t *out_port, bool *out_unix,
               const char **out_problem)
{
    struct pieces pieces;
    int rc = split(text, &pieces, out_problem);

    if (rc != 0) {
        return rc;
    }
    if (pieces.host_len >= host_size) {
        return refuse(out_problem, "host too long; a name has at most 253 characters");
    }
    memcpy(host, pieces.host, pieces.host_len);
    host[pieces.host_len] = '\0';
    *out_port = pieces.port;
    *out_unix = pieces.is_unix;
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

/*
 * Names as DNS has them, with underscores, maybe with the root's dot at the end. Names whose last
 * label is a number are refused: they are mistyped IPv4 addresses, and resolvers read the strangest
 * of them ("1.2", "0x7f.1") as addresses.
 */
static const char *judge_name(const char *host)
{
    const char *label = host;
    size_t len;

    for (;;) {
        for (len = 0; is_name_char(label[len]); len++) {
        }
        if (len == 0 || len > LABEL_MAX || (label[len] != '.' && label[len] != '\0')) {
            return "not a host name; letters, digits, hyphens and dots only";
        }
        if (label[len] == '\0' || label[len + 1] == '\0') {
            break;
        }
        label += len + 1;
    }
    if (strspn(label, "0123456789") == len ||
        (label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))) {
        return "not an IPv4 address; four numbers from 0 to 255 without leading zeros, such as "
               "192.0.2.1";
    }
    return NULL;
}

static int parse_host(const struct pieces *pieces, struct addr_ip *out, const char **out_problem)
{
    char host[HOST_MAX + 1]; /* one more for the root's dot */
    const char *problem;

    if (pieces->host_len >= sizeof(host)) {
        return refuse(out_problem, "host too long; a name has at most 253 characters");
    }
    memcpy(host, pieces->host, pieces->host_len);
    host[pieces->host_len] = '\0';
    if (strlen(host) != pieces->host_len) {
        return refuse(out_problem, "not a host name; letters, digits, hyphens and dots only");
    }
    if (pieces->is_bracketed != (strchr(host, ':') != NULL)) {
        return refuse(out_problem, bad_ipv6);
    }
    if (addr_parse_ip(host, out) == 0) {
        return 0;
    }
    if (pieces->is_bracketed) {
        return refuse(out_problem,
                      strchr(host, '%') != NULL
                          ? "not a link-local IPv6 address with %INTERFACE, or no such interface"
                          : bad_ipv6);
    }
    problem = judge_name(host);
    return problem != NULL ? refuse(out_problem, problem) : 1;
}

int addr_parse(const char *text, bool allow_port_zero, struct addr *out, const char **out_problem)
{
    struct pieces pieces;
    struct addr addr = {0};
    int rc = split(text, &pieces, out_problem);

    if (rc != 0) {
        return rc;
    }
    if (pieces.is_unix) {
        addr.ip.family = ADDR_UNIX;
        memcpy(addr.path, pieces.host, pieces.host_len);
        *out = addr;
        return 0;
    }
    if (pieces.port == 0 && !allow_port_zero) {
        return refuse(out_problem, "port out of range; 1 to 65535");
    }
    rc = parse_host(&pieces, &addr.ip, out_problem);
    if (rc == 0) {
        addr.ip.port = pieces.port;
        *out = addr;
    }
    return rc;
}

/* Unicast fe80::/10 and multicast of that scope: where a bare address does not say which link. */
static bool is_link_local(const uint8_t bytes[static 16])
{
    return (bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80) ||
           (bytes[0] == 0xFF && (bytes[1] & 0x0F) <= 2);
}

/* An interface's index by number or name; 0: none. */
static uint32_t parse_scope(const char *text)
{
    uint64_t index;

    if (parse_decimal(text, UINT32_MAX, &index)) {
        return (uint32_t)index;
    }
    return strlen(text) < IF_NAMESIZE ? if_nametoindex(text) : 0;
}

int addr_parse_ip(const char *text, struct addr_ip *out)
{
    struct addr_ip ip = {0};
    char host[INET6_ADDRSTRLEN];
    const char *percent = strchr(text, '%');
    size_t len = percent != NULL ? (size_t)(percent - text) : strlen(text);

    if (len >= sizeof(host)) {
        return -EINVAL;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    if (percent == NULL && inet_pton(AF_INET, host, ip.bytes) == 1) {
        ip.family = ADDR_IPV4;
        *out = ip;
        return 0;
    }
    if (inet_pton(AF_INET6, host, ip.bytes) != 1) {
        return -EINVAL;
    }
    ip.family = ADDR_IPV6;
    if (percent != NULL) {
        ip.scope = is_link_local(ip.bytes) ? parse_scope(percent + 1) : 0;
        if (ip.scope == 0) {
            return -EINVAL;
        }
    }
    *out = ip;
    return 0;
}

static void put_number(char buf[static ADDR_TEXT_MAX], const char *before, uint32_t number)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%s%u", before, number);
    (void)strlcat(buf, text, ADDR_TEXT_MAX);
}

char *addr_ip_format(const struct addr_ip *ip, bool with_port, char buf[static ADDR_TEXT_MAX])
{
    bool is_v6 = ip->family == ADDR_IPV6;
    bool in_brackets = is_v6 && with_port;

    if (ip->family != ADDR_IPV4 && !is_v6) {
        (void)strlcpy(buf, ip->family == ADDR_UNIX ? "unix" : "-", ADDR_TEXT_MAX);
        return buf;
    }
    buf[0] = '[';
    (void)inet_ntop(is_v6 ? AF_INET6 : AF_INET, ip->bytes, buf + (in_brackets ? 1 : 0),
                    INET6_ADDRSTRLEN);
    if (is_v6 && ip->scope != 0) {
        put_number(buf, "%", ip->scope);
    }
    if (with_port) {
        put_number(buf, in_brackets ? "]:" : ":", ip->port);
    }
    return buf;
}

char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX])
{
    if (addr->ip.family == ADDR_UNIX) {
        (void)strlcpy(buf, unix_prefix, ADDR_TEXT_MAX);
        (void)strlcat(buf, addr->path, ADDR_TEXT_MAX);
        return buf;
    }
    return addr_ip_format(&addr->ip, true, buf);
}

socklen_t addr_ip_to_sockaddr(const struct addr_ip *ip, struct sockaddr_storage *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(ip->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(ip->port)};

    memset(out, 0, sizeof(*out));
    if (ip->family == ADDR_IPV4) {
        memcpy(&v4.sin_addr, ip->bytes, sizeof(v4.sin_addr));
        memcpy(out, &v4, sizeof(v4));
        return sizeof(v4);
    }
    if (ip->family == ADDR_IPV6) {
        memcpy(&v6.sin6_addr, ip->bytes, sizeof(v6.sin6_addr));
        v6.sin6_scope_id = ip->scope;
        memcpy(out, &v6, sizeof(v6));
        return sizeof(v6);
    }
    return 0;
}

socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strnlen(addr->path, ADDR_UNIX_MAX - 1);
    bool is_abstract = addr->path[0] == '@';

    if (addr->ip.family != ADDR_UNIX) {
        return addr_ip_to_sockaddr(&addr->ip, out);
    }
    memset(out, 0, sizeof(*out));
    if (len == 0) {
        return 0;
    }
    memcpy(un.sun_path, addr->path, len);
    if (is_abstract) {
        un.sun_path[0] = '\0';
    }
    memcpy(out, &un, sizeof(un));
    /* The closing NUL is part of a path, but would be part of an abstract name itself. */
    return (socklen_t)(PATH_START + len + (is_abstract ? 0 : 1));
}

void addr_ip_from_sockaddr(const struct sockaddr *sa, struct addr_ip *out)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    memset(out, 0, sizeof(*out));
    if (sa->sa_family == AF_INET) {
        memcpy(&v4, sa, sizeof(v4));
        out->family = ADDR_IPV4;
        out->port = ntohs(v4.sin_port);
        memcpy(out->bytes, &v4.sin_addr, sizeof(v4.sin_addr));
    } else if (sa->sa_family == AF_INET6) {
        memcpy(&v6, sa, sizeof(v6));
        out->family = ADDR_IPV6;
        out->port = ntohs(v6.sin6_port);
        memcpy(out->bytes, &v6.sin6_addr, sizeof(v6.sin6_addr));
        out->scope = is_link_local(out->bytes) ? v6.sin6_scope_id : 0;
    } else if (sa->sa_family == AF_UNIX) {
        out->family = ADDR_UNIX;
    }
}

void addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *out)
{
    struct addr addr = {0};
    struct sockaddr_un un = {0};
    size_t path_len;

    if (len < sizeof(sa->sa_family)) { /* some kernels' answer for a peer without an address */
        *out = addr;
        return;
    }
    addr_ip_from_sockaddr(sa, &addr.ip);
    if (addr.ip.family == ADDR_UNIX && len > PATH_START) {
        memcpy(&un, sa, len < sizeof(un) ? len : sizeof(un));
        if (un.sun_path[0] == '\0' && len > PATH_START + 1) {
            un.sun_path[0] = '@';
        }
        path_len = strnlen(un.sun_path, ADDR_UNIX_MAX - 1);
        memcpy(addr.path, un.sun_path, path_len);
    }
    *out = addr;
}

const char *addr_ip_judge_peer(const struct addr_ip *ip)
{
    static const uint8_t zero[16], mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    static const uint8_t broadcast[4] = {0xFF, 0xFF, 0xFF, 0xFF};
    bool is_mapped = ip->family == ADDR_IPV6 && memcmp(ip->bytes, mapped, sizeof(mapped)) == 0;
    bool is_four = ip->family == ADDR_IPV4 || is_mapped;
    const uint8_t *bytes = ip->bytes + (is_mapped ? sizeof(mapped) : 0);

    if (memcmp(bytes, zero, is_four ? sizeof(broadcast) : sizeof(zero)) == 0) {
        return is_four ? "stands for any address, which nobody can be reached at; write the "
                         "server's own, or 127.0.0.1 for this machine"
                       : "stands for any address, which nobody can be reached at; write the "
                         "server's own, or [::1] for this machine";
    }
    if (is_four && memcmp(bytes, broadcast, sizeof(broadcast)) == 0) {
        return "the broadcast address, which no connection goes to; write the server's own";
    }
    if (is_four ? (bytes[0] & 0xF0) == 0xE0 : bytes[0] == 0xFF) {
        return "a multicast address, which no connection goes to; write the server's own";
    }
    return NULL;
}

bool addr_ip_is_loopback(const struct addr_ip *ip)
{
    static const uint8_t loopback6[16] = {[15] = 1};

    return (ip->family == ADDR_IPV4 && ip->bytes[0] == 127) ||
           (ip->family == ADDR_IPV6 && memcmp(ip->bytes, loopback6, sizeof(loopback6)) == 0);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whether the first bits of both are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned mask = 0xFF00U >> (bits % 8) & 0xFFU;

    return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

void addr_ip_mask(struct addr_ip *ip, unsigned bits)
{
    for (unsigned i = 0; i < sizeof(ip->bytes); i++) {
        if (i * 8 >= bits) {
            ip->bytes[i] = 0;
        } else if (bits - i * 8 < 8) {
            ip->bytes[i] &= (uint8_t)(0xFF00U >> (bits % 8));
        }
    }
}

int addr_cidr_parse(const char *text, struct addr_cidr *out, const char **out_problem)
{
    struct addr_cidr cidr = {0};
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char host[INET6_ADDRSTRLEN];
    uint64_t bits;

    if (len >= sizeof(host)) {
        return refuse(out_problem, "not a network; write ADDRESS/BITS, such as 10.0.0.0/8");
    }
    memcpy(host, text, len);
    host[len] = '\0';
    if (strchr(host, '%') != NULL || addr_parse_ip(host, &cidr.ip) != 0) {
        return refuse(out_problem, "not a network; write ADDRESS/BITS, such as 10.0.0.0/8");
    }
    bits = cidr.ip.family == ADDR_IPV4 ? 32 : 128;
    if (slash != NULL && !parse_decimal(slash + 1, bits, &bits)) {
        return refuse(out_problem, cidr.ip.family == ADDR_IPV4
                                       ? "not a prefix length after the slash; 0 to 32 for IPv4"
                                       : "not a prefix length after the slash; 0 to 128 for IPv6");
    }
    cidr.prefix = (uint8_t)bits;
    addr_ip_mask(&cidr.ip, (unsigned)bits);
    *out = cidr;
    return 0;
}

bool addr_cidr_contains(const struct addr_cidr *cidr, const struct addr_ip *ip)
{
    return cidr->ip.family == ip->family && ip->family != ADDR_NONE && ip->family != ADDR_UNIX &&
           same_prefix(cidr->ip.bytes, ip->bytes, cidr->prefix);
}
