/* Opening one listening socket. Owns nothing. In master. */
#include "listening.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "machine.h"

/* Options that accepted sockets inherit, and that a reload may change. */
void listening_set_options(int fd, const struct addr *address, const struct model_service *service)
{
    if (address->ip.family == ADDR_UNIX) {
        return;
    }
    int keepalive = service->keepalive_ms > 0;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    if (keepalive) {
        int seconds = (int)((service->keepalive_ms + 999) / 1000);
        int between = seconds / 4 > 0 ? seconds / 4 : 1;
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &service->user_timeout_ms,
               sizeof(service->user_timeout_ms));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    /* Urgent bytes are passed on in their place; else they would be lost. */
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    /* TCP_QUICKACK stays as it is: without it an acknowledgement could ride on the answer, but a
     * client that writes its request in small pieces would wait for it each time. */
}

static void set_freebind(int fd, const struct addr *address)
{
    if (address->ip.family == ADDR_IPV4) {
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int));
    } else {
        setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &(int){1}, sizeof(int));
    }
}

int listening_open_tcp(const struct addr *address, bool first, bool listens,
                       const struct model_service *service)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    FD_AUTO fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (address->ip.family == ADDR_IPV6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    }
    if (service->freebind) {
        set_freebind(fd, address);
    }
    if (!first) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    }
    listening_set_options(fd, address, service);
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 ||
        (listens && listen(fd, (int)service->backlog) != 0)) {
        return -errno;
    }
    if (first) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Whether somebody listens on a Unix socket path. */
static bool unix_is_live(const struct sockaddr *sa, socklen_t len)
{
    FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 && (connect(fd, sa, len) == 0 || errno == EAGAIN);
}

int listening_open_unix(const struct addr *address, const struct model_service *service)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (unix_is_live((struct sockaddr *)&sa, len)) {
        return -EADDRINUSE;
    }
    struct stat st;
    if (address->path[0] != '@' && lstat(address->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            return -EEXIST;
        }
        unlink(address->path); /* left over by a process that is gone */
    }
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, (int)service->backlog) != 0) {
        return -errno;
    }
    if (address->path[0] != '@') {
        /* Like a TCP port, it is open to everyone who can reach it: the directory decides. */
        chmod(address->path, 0666);
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Nobody need listen there: a connection that the kernel gave the port to is enough. */
static void advise_in_use(const struct addr *address, struct str *out)
{
    struct machine machine;
    uint32_t port = address->ip.port;
    str_append(out, "another process listens there");
    machine_read("", 0, &machine);
    if (address->ip.family == ADDR_UNIX || !machine_may_choose(&machine, port)) {
        str_append(out, "; end it or choose another address");
        return;
    }
    machine.reserved_ports[port / 8] |= (uint8_t)(1U << port % 8);
    str_printf(out,
               ", or a connection has the port, which is one of those that the kernel gives to "
               "connections (net.ipv4.ip_local_port_range, %" PRIu64 " to %" PRIu64
               "); end it, choose another address, or keep the port from connections: sysctl -w "
               "net.ipv4.ip_local_reserved_ports=",
               machine.port_first, machine.port_last);
    machine_append_ports(machine.reserved_ports, out);
}

void listening_advise(const struct addr *address, int error, struct str *out)
{
    switch (error) {
    case EADDRINUSE:
        advise_in_use(address, out);
        break;
    case EACCES:
        str_append(out, "ports under 1024 need root or CAP_NET_BIND_SERVICE; a path needs a "
                        "writable folder");
        break;
    case EADDRNOTAVAIL:
        str_append(out, "this machine does not have that address; set freebind = true to listen "
                        "anyway");
        break;
    case EMFILE:
    case ENFILE:
        str_append(out, "too few descriptors for addresses x workers; raise the limit (ulimit -n, "
                        "LimitNOFILE)");
        break;
    case EEXIST:
        str_append(out, "there is a file of that name that is no socket; remove it");
        break;
    case ENOENT:
        str_append(out, "its folder does not exist; create it");
        break;
    default:
        str_append(out, "choose an address that this machine can listen on");
        break;
    }
}

void listening_read_address(int fd, struct addr *out)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    addr_from_sockaddr((struct sockaddr *)&sa, len, out);
}

int listening_open_single(const struct addr *address, uint32_t backlog, struct addr *out_bound)
{
    const struct model_service plain = {.freebind = true, .backlog = backlog};
    bool is_unix = address->ip.family == ADDR_UNIX;
    int fd = is_unix ? listening_open_unix(address, &plain)
                     : listening_open_tcp(address, true, true, &plain);
    *out_bound = *address;
    if (fd >= 0 && !is_unix) {
        listening_read_address(fd, out_bound);
    }
    return fd;
}
