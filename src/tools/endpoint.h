/*
 * Addresses as the tools take and print them: "127.0.0.1:80", "[::1]:80", "unix:/path",
 * "unix:@abstract". Names are never resolved. Apart from the daemon's own parser on purpose: the
 * tools share no code with what they test.
 */
#ifndef SLUICE_TOOLS_ENDPOINT_H
#define SLUICE_TOOLS_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ENDPOINT_TEXT_MAX 128 /* room for any printed address with its NUL */

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
        struct sockaddr_un local;
        struct sockaddr_storage storage;
    } addr;
    socklen_t length; /* what bind() and connect() take */
};

/*
 * Parses an address with its port (0 only where allow_port_zero). Returns 0, or -EINVAL with
 * *out_problem a constant text that says what is wrong and what would be right; *out is then
 * untouched.
 */
int endpoint_parse(const char *text, bool allow_port_zero, struct endpoint *out,
                   const char **out_problem);

/* The same for a bare IP address ("127.0.0.2", "::1"): the port is 0. */
int endpoint_parse_ip(const char *text, struct endpoint *out, const char **out_problem);

/* Reads the address that the socket is bound to. Returns 0 or a negative errno. */
int endpoint_of_socket(int fd, struct endpoint *out);

/* Prints in the form that endpoint_parse() takes. Returns buf. */
char *endpoint_format(const struct endpoint *endpoint, char buf[static ENDPOINT_TEXT_MAX]);

static inline int endpoint_family(const struct endpoint *endpoint)
{
    return endpoint->addr.any.sa_family;
}

/* True for a Unix address that stands as a file, which its listener has to remove. */
bool endpoint_is_file(const struct endpoint *endpoint);

#endif
