/*
 * PROXY headers without addresses, by "The PROXY protocol, versions 1 & 2" (doc/proxy-protocol.txt
 * of HAProxy): section 2.1's UNKNOWN, and section 2.2's LOCAL, which is meant for checks. In the
 * monitor.
 */
#include "check/preamble.h"

#include <errno.h>
#include <sys/socket.h>

static const struct {
    const char *bytes;
    size_t n;
} preambles[SEND_PROXY_COUNT] = {
    [SEND_PROXY_V1] = {"PROXY UNKNOWN\r\n", 15},
    [SEND_PROXY_V2] = {"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16}, /* signature, LOCAL, no address */
};

int preamble_send(int fd, enum send_proxy version)
{
    size_t n = preambles[version].n;
    ssize_t sent = n > 0 ? send(fd, preambles[version].bytes, n, MSG_NOSIGNAL) : 0;

    if (sent < 0) {
        return errno;
    }
    /* An empty send buffer has room for so little. */
    return (size_t)sent == n ? 0 : ENOBUFS;
}
