/*
 * Parsing and printing of the addresses that the tools take. Owns nothing.
 */
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORM_HINT "write 127.0.0.1:PORT, [::1]:PORT or unix:/PATH"

static int parse_unix(const char *path, struct endpoint *out, const char **out_problem)
{
    struct endpoint found = {0};
    struct sockaddr_un *local = &found.addr.local;
    size_t length = strlen(path);

    if (length == 0 || (path[0] == '@' && length == 1)) {
        *out_problem = "no path after unix:; write unix:/PATH";
        return -EINVAL;
    }
    if (length >= sizeof(local->sun_path)) {
        *out_problem = "path too long; a Unix socket's path has at most 107 bytes";
        return -EINVAL;
    }
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length);
    if (path[0] == '@') {
        local->sun_path[0] = '\0';
        found.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    } else {
        found.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    }
    *out = found;
    return 0;
}

/* getaddrinfo with numeric flags only: it also knows scopes such as fe80::1%eth0. */
static int parse_numeric(const char *host, struct endpoint *out)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return -EINVAL;
    memset(out, 0, sizeof(*out));
    memcpy(&out->addr, found->ai_addr, found->ai_addrlen);
    out->length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int parse_port(const char *text, bool allow_zero, in_port_t *out)
{
    unsigned port = 0;
    size_t length = strlen(text);

    if (length == 0 || length > 5 || strspn(text, "0123456789") != length)
        return -EINVAL;
    for (const char *digit = text; *digit != '\0'; digit++)
        port = port * 10 + (unsigned)(*digit - '0');
    if (port > 65535 || (port == 0 && !allow_zero))
        return -EINVAL;
    *out = (in_port_t)port;
    return 0;
}

/* Copies the part before the last colon, without brackets; returns the port's text or NULL. */
static const char *split_host(const char *text, char *host, size_t host_size)
{
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[';
    const char *begin = text + (bracketed ? 1 : 0);
    const char *end = colon;

    if (!colon || colon == text)
        return NULL;
    if (bracketed && *--end != ']')
        return NULL;
    if (!bracketed && memchr(text, ':', (size_t)(colon - text)) != NULL)
        return NULL;
    if (end < begin || (size_t)(end - begin) >= host_size)
        return NULL;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    return colon + 1;
}

int endpoint_parse(const char *text, bool allow_port_zero, struct endpoint *out,
                   const char **out_problem)
{
    struct endpoint found;
    char host[ENDPOINT_TEXT_MAX];
    in_port_t port;

    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, out, out_problem);
    const char *port_text = split_host(text, host, sizeof(host));
    if (!port_text) {
        *out_problem = "not an address; " FORM_HINT;
        return -EINVAL;
    }
    if (parse_numeric(host, &found) != 0 ||
        (text[0] == '[') != (endpoint_family(&found) == AF_INET6)) {
        *out_problem = "not a numeric IP address; " FORM_HINT;
        return -EINVAL;
    }
    if (parse_port(port_text, allow_port_zero, &port) != 0) {
        *out_problem = allow_port_zero ? "not a port; write 0 (the kernel's choice) to 65535"
                                       : "not a port; write 1 to 65535";
        return -EINVAL;
    }
    if (endpoint_family(&found) == AF_INET6)
        found.addr.ip6.sin6_port = htons(port);
    else
        found.addr.ip4.sin_port = htons(port);
    *out = found;
    return 0;
}

int endpoint_parse_ip(const char *text, struct endpoint *out, const char **out_problem)
{
    struct endpoint found;

    if (parse_numeric(text, &found) != 0) {
        *out_problem = "not an IP address; write one without a port, as 127.0.0.2 or ::1";
        return -EINVAL;
    }
    *out = found;
    return 0;
}

int endpoint_of_socket(int fd, struct endpoint *out)
{
    struct endpoint found = {.length = sizeof(found.addr)};

    if (getsockname(fd, &found.addr.any, &found.length) != 0)
        return -errno;
    *out = found;
    return 0;
}

static char *format_unix(const struct endpoint *endpoint, char *buf)
{
    const struct sockaddr_un *local = &endpoint->addr.local;
    size_t room = endpoint->length - offsetof(struct sockaddr_un, sun_path);

    if (endpoint->length <= offsetof(struct sockaddr_un, sun_path))
        snprintf(buf, ENDPOINT_TEXT_MAX, "unix:");
    else if (local->sun_path[0] == '\0')
        snprintf(buf, ENDPOINT_TEXT_MAX, "unix:@%.*s", (int)room - 1, local->sun_path + 1);
    else
        snprintf(buf, ENDPOINT_TEXT_MAX, "unix:%.*s", (int)room, local->sun_path);
    return buf;
}

char *endpoint_format(const struct endpoint *endpoint, char buf[static ENDPOINT_TEXT_MAX])
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];

    if (endpoint_family(endpoint) == AF_UNIX)
        return format_unix(endpoint, buf);
    if (getnameinfo(&endpoint->addr.any, endpoint->length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(buf, ENDPOINT_TEXT_MAX, "-");
    else if (endpoint_family(endpoint) == AF_INET6)
        snprintf(buf, ENDPOINT_TEXT_MAX, "[%.100s]:%.8s", host, port);
    else
        snprintf(buf, ENDPOINT_TEXT_MAX, "%.100s:%.8s", host, port);
    return buf;
}

bool endpoint_is_file(const struct endpoint *endpoint)
{
    return endpoint_family(endpoint) == AF_UNIX &&
           endpoint->length > offsetof(struct sockaddr_un, sun_path) &&
           endpoint->addr.local.sun_path[0] != '\0';
}
