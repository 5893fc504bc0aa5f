/*
 * Descriptors: closing, and passing them with a message over a SOCK_SEQPACKET socketpair. A message
 * is bounded and whole; at most FD_PASS_MAX descriptors come with one, all CLOEXEC, surplus or
 * truncated ones are closed and the message is refused.
 */
#ifndef SLUICE_BASE_FD_H
#define SLUICE_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>

#define FD_PASS_MAX    64
#define FD_MESSAGE_MAX (64 * 1024)

/* Closes *fd and sets it to -1; harmless at -1. For cleanup attributes too. */
void fd_close(int *fd);
#define FD_AUTO __attribute__((cleanup(fd_close))) int

/* Sends one message, never blocking. Returns 0, -EAGAIN when the socket is full, or -errno. The
 * descriptors stay the caller's. */
int fd_send(int socket, const void *data, size_t len, const int *fds, size_t n_fds);
/*
 * Receives one message, never blocking. Returns its length (0: peer closed), -EAGAIN, -EMSGSIZE for
 * a truncated one, or -errno. fds must have FD_PASS_MAX places; *out_n_fds of them are the
 * caller's.
 */
ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t *out_n_fds);

#endif
