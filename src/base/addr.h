/*
 * Network addresses: parsing, printing, comparing, converting. Pure; no name is ever resolved here.
 * Runs in every process.
 */
#ifndef SLUICE_BASE_ADDR_H
#define SLUICE_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_UNIX_MAX 108 /* sizeof(sun_path), with its closing NUL */
#define ADDR_TEXT_MAX 128 /* room for any printed address with its port, with NUL */

enum addr_family {
    ADDR_NONE, /* no address: what a zeroed struct says */
    ADDR_IPV4,
    ADDR_IPV6,
    ADDR_UNIX,
    ADDR_FAMILY_COUNT
};

/*
 * An endpoint small enough to keep per session (24 bytes). A Unix peer has no useful address, so
 * only its family is kept.
 */
struct addr_ip {
    uint8_t bytes[16]; /* network order; IPv4 in the first four */
    uint32_t scope;    /* interface index of a link-local IPv6 address, else 0 */
    uint16_t port;     /* host order */
    uint8_t family;    /* enum addr_family */
    uint8_t pad;
};

/* Any address Sluice listens on or connects to. All-zero is "none". Safe to compare by memcmp. */
struct addr {
    struct addr_ip ip;        /* ip.family says which; ip.port unused for ADDR_UNIX */
    char path[ADDR_UNIX_MAX]; /* ADDR_UNIX only, NUL-terminated and zero-filled; "@x" is abstract */
};

/*
 * Splits "HOST:PORT" or "[V6]:PORT" or "unix:PATH" without resolving.
 * host must have room for host_size bytes; for unix: it takes the path and *out_port is 0.
 * Returns 0, or -EINVAL and sets *out_problem to a constant text that says what is wrong and what
 * would be right ("no port; write HOST:PORT"). Port 0 passes here; whether it is welcome and what
 * the host is, is judged by addr_parse.
 */
int addr_split(const char *text, char *host, size_t host_size, uint16_t *out_port, bool *out_unix,
               const char **out_problem);

/*
 * Parses a numeric address with port, or unix:PATH. Returns 0; 1 when HOST is a name that would
 * have to be resolved (*out untouched); -EINVAL with *out_problem as above.
 * Decimal ports only, 1 to 65535, or also 0 where allow_port_zero.
 */
int addr_parse(const char *text, bool allow_port_zero, struct addr *out, const char **out_problem);

/*
 * Parses a bare IP without port. Returns 0 or -EINVAL. A link-local IPv6 address may end in
 * "%INTERFACE", name or number; the number is what is printed, so printing asks the kernel nothing.
 */
int addr_parse_ip(const char *text, struct addr_ip *out);

/* Prints "1.2.3.4:80", "[::1]:80", "unix:/path"; "-" for none. Returns buf. */
char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX]);
char *addr_ip_format(const struct addr_ip *ip, bool with_port, char buf[static ADDR_TEXT_MAX]);

/*
 * Fills *out; returns the length to hand to bind() or connect(), 0 for ADDR_NONE and for a Unix
 * address without a path (a Unix peer's addr_ip too).
 */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out);
socklen_t addr_ip_to_sockaddr(const struct addr_ip *ip, struct sockaddr_storage *out);

/* From what accept() or getsockname() gave. Unknown families become ADDR_NONE. */
void addr_ip_from_sockaddr(const struct sockaddr *sa, struct addr_ip *out);
void addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *out);

/* What is wrong with it as an address to connect to, and what would be right; NULL: nothing. */
const char *addr_ip_judge_peer(const struct addr_ip *ip);

/* 127/8, ::1. */
bool addr_ip_is_loopback(const struct addr_ip *ip);
bool addr_equal(const struct addr *a, const struct addr *b);

/* A network in CIDR form; a bare address is its own /32 or /128. Bits beyond the prefix are zero.
 */
struct addr_cidr {
    struct addr_ip ip; /* port 0 */
    uint8_t prefix;    /* bits */
};

/* Returns 0, or -EINVAL with *out_problem. */
int addr_cidr_parse(const char *text, struct addr_cidr *out, const char **out_problem);
/* Zeroes all but the leading bits of the address; port and scope stay. */
void addr_ip_mask(struct addr_ip *ip, unsigned bits);
bool addr_cidr_contains(const struct addr_cidr *cidr, const struct addr_ip *ip);

#endif
