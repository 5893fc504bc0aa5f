/*
 * The control socket: accepts clients, reads request lines, checks each command's level against the
 * peer's credentials in one place, runs the command and sends its reply. In master, on its event
 * loop. No client can block or grow it: lines, output, time and number of clients are bounded.
 * While every place is taken, newcomers wait in the listen queue, and the client that has kept its
 * place longest without use gives it up for them.
 */
#ifndef SLUICE_CTL_SERVER_H
#define SLUICE_CTL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "ctl/host.h"

#define CTL_LINE_MAX    (64 * 1024)
#define CTL_CLIENTS_MAX 64
#define CTL_OUTPUT_MAX  (64 * 1024 * 1024) /* one reply */
#define CTL_PENDING_MAX (96 * 1024 * 1024) /* replies not yet taken; the longest there goes */
#define CTL_IDLE_MS     300000             /* a client that says nothing for so long is closed */
#define CTL_SPARE_MS    1000  /* after so long without use its place is taken when none is left */
#define CTL_PARTIAL_MS  10000 /* a request line, once begun, must be complete by then */
#define CTL_WRITE_MS    10000 /* a client that takes no byte of its reply for so long is closed */

struct ctl_server;

/*
 * Opens (and binds) the control socket at path with mode: a stale socket file is replaced, a live
 * one is refused (-EADDRINUSE), and so is a file that is no socket (-ENOTSOCK). The folder must
 * exist. The file belongs to the caller's user and group. Returns a listening descriptor or -errno.
 */
int ctl_listen(const char *path, uint32_t mode);

/* listen_fd is owned from now on, also on failure. host is copied; what it points to outlives the
 * server. NULL without memory. */
struct ctl_server *ctl_server_create(struct event_base *base, int listen_fd,
                                     const struct ctl_host *host);
/* Closes all clients; requests under way finish into nothing. Does not unlink the socket. NULL is
 * allowed. */
void ctl_server_destroy(struct ctl_server *server);

/* While paused nobody is accepted; clients that are there go on. */
void ctl_server_pause(struct ctl_server *server, bool paused);
int ctl_server_listener(const struct ctl_server *server); /* stays the server's */

/* The bounds above, for tests that cannot wait for them. */
struct ctl_limits {
    size_t clients, output_bytes, pending_bytes;
    uint64_t idle_ms, spare_ms, partial_ms, write_ms;
};
extern const struct ctl_limits ctl_limits_default;
void ctl_server_set_limits(struct ctl_server *server, const struct ctl_limits *limits);

#endif
