/*
 * Closing descriptors and passing them over a SOCK_SEQPACKET socketpair. Owns the descriptors of a
 * message only while it is being received: they go to the caller whole or are closed. Runs in
 * every process.
 */
#include "fd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Exactly what the kernel needs for FD_PASS_MAX descriptors, aligned for the header in it. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

void fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0) {
        /* Not again on EINTR: on Linux the descriptor is gone by then. */
        (void)close(*fd);
        *fd = -1;
    }
    errno = saved;
}

int fd_send(int socket, const void *data, size_t len, const int *fds, size_t n_fds)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (len == 0 || n_fds > FD_PASS_MAX) { /* an empty message would read as the peer's end */
        return -EINVAL;
    }
    if (len > FD_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    if (n_fds > 0) {
        struct cmsghdr *header;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    do {
        n = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0; /* SEQPACKET: whole or not at all */
}

/* Collects the descriptors that came; there are never more than FD_PASS_MAX in the buffer. */
static size_t collect_fds(struct msghdr *msg, int fds[static FD_PASS_MAX])
{
    size_t count = 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (count < FD_PASS_MAX) {
                fds[count++] = fd;
            } else {
                fd_close(&fd);
            }
        }
    }
    return count;
}

ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t *out_n_fds)
{
    union control control = {0};
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    int got[FD_PASS_MAX];
    size_t n_got;
    bool is_cut;
    ssize_t n;

    do {
        n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    n_got = collect_fds(&msg, got);
    /* CTRUNC: surplus descriptors, or no room in our table for them; the kernel closed those. */
    is_cut = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    while ((n == 0 || is_cut) && n_got > 0) {
        fd_close(&got[--n_got]);
    }
    if (is_cut) {
        return -EMSGSIZE;
    }
    if (n_got > 0) {
        memcpy(fds, got, n_got * sizeof(int));
    }
    *out_n_fds = n_got;
    return n;
}
