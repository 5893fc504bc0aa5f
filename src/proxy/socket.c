/* Socket options of the data path. Owns nothing. In a worker. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "session.h"

int socket_open_backend(const struct addr *address)
{
    static const int domains[ADDR_FAMILY_COUNT] = {
        [ADDR_IPV4] = AF_INET, [ADDR_IPV6] = AF_INET6, [ADDR_UNIX] = AF_UNIX};
    int fd = socket(domains[address->ip.family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (address->ip.family != ADDR_UNIX) {
        /* Acknowledgements of our own can ride on data instead of going out alone, that of the
         * handshake on the first request: socket_acknowledge() when there is none yet. */
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){0}, sizeof(int));
        /* As for clients: listening_set_options(). */
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    }
    return fd;
}

void socket_acknowledge(int fd)
{
    /* Even and not zero: acknowledge now, and go on holding back afterwards (tcp_sock_set_quickack
     * in the kernel's net/ipv4/tcp.c). */
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){2}, sizeof(int));
}

/* Whether the kernel may choose this port for us: only then can a connect meet itself. Read once;
 * the whole range when it cannot be read. */
static bool is_ephemeral(uint16_t port)
{
    static unsigned low, high;
    if (high == 0) {
        FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
        if (file == NULL || fscanf(file, "%u %u", &low, &high) != 2) {
            low = 1;
            high = UINT16_MAX;
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    return port >= low && port <= high;
}

bool socket_met_itself(int fd, const struct addr *address)
{
    if (!is_ephemeral(address->ip.port)) {
        return false;
    }
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct addr_ip own;
    if (!addr_ip_is_loopback(&address->ip) || getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
        return false;
    }
    addr_ip_from_sockaddr((struct sockaddr *)&sa, &own);
    return memcmp(&own, &address->ip, sizeof(own)) == 0;
}

void socket_settle(int fd, uint32_t keepalive_ms, uint32_t user_timeout_ms)
{
    if (keepalive_ms > 0) {
        int seconds = (int)((keepalive_ms + 999) / 1000);
        int between = seconds / 4 > 0 ? seconds / 4 : 1;
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    }
    if (user_timeout_ms > 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    }
}

void socket_reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1, .l_linger = 0},
               sizeof(struct linger));
    close(fd);
}

void socket_push(int fd)
{
    /* Setting it again pushes what is pending (__tcp_sock_set_nodelay in the kernel's
     * net/ipv4/tcp.c). */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

int socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return errno;
    }
    return error;
}

uint32_t socket_unsent(int fd)
{
    int unsent = 0;
    return fd >= 0 && ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 ? (uint32_t)unsent : 0;
}
