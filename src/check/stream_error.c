/*
 * What went wrong with a check's connection: in words, and whether it was our side's doing. In the
 * monitor.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "check/stream.h"

static const struct error_text {
    int error;
    const char *text;
} error_texts[] = {
    {ECONNREFUSED, "connect refused"},
    {ECONNRESET, "connection reset"},
    {EPIPE, "connection closed by the backend"},
    {EHOSTUNREACH, "no route to host"},
    {ENETUNREACH, "network unreachable"},
    {ENETDOWN, "network down"},
    {ETIMEDOUT, "no answer"},
    {EAGAIN, "backlog full"}, /* Unix sockets only */
    {ENOENT, "no such socket"},
    {EACCES, "permission denied"},
    {EPERM, "connect not permitted"},
    {EADDRNOTAVAIL, "no local address to connect from"},
    {EAFNOSUPPORT, "address family not supported here"},
};

const char *stream_error_text(int error)
{
    for (size_t i = 0; i < sizeof(error_texts) / sizeof(error_texts[0]); i++) {
        if (error_texts[i].error == error) {
            return error_texts[i].text;
        }
    }
    return strerrordesc_np(error) ? strerrordesc_np(error) : "connection failed";
}

/* Whether any route to the address has a local address to use: UDP asks without using a port of
 * TCP's. */
static bool has_local_address(const struct sockaddr *sa, socklen_t len)
{
    FD_AUTO fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 || connect(fd, sa, len) == 0 || errno != EADDRNOTAVAIL;
}

bool stream_error_is_ours(int error, const struct addr *address)
{
    struct sockaddr_storage storage;
    socklen_t len;

    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return true;
    case EAGAIN:
        return address->ip.family != ADDR_UNIX;
    case EADDRNOTAVAIL: /* all ports towards this backend are in use, or there is no address */
        len = addr_to_sockaddr(address, &storage);
        return has_local_address((const struct sockaddr *)&storage, len);
    default:
        return false;
    }
}
