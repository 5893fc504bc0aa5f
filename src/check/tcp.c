/*
 * Check kind "tcp": passes when a connection is established, over IPv4, IPv6 or a Unix socket. In
 * the monitor.
 *
 * How it ends matters to both sides. An orderly close would leave a TIME_WAIT here for a minute per
 * check (150,000 of them with 5,000 backends at 2 s) and an empty session in every server's log; a
 * reset after a whole handshake costs nothing here, but servers log "connection reset" and simple
 * ones stumble over it. So the check keeps back its ACK (TCP_QUICKACK off) and resets (SO_LINGER 0)
 * as soon as the SYN-ACK is in: the server's kernel drops the half-open request, its accept() never
 * returns, and nothing is left over on either side. HAProxy does the same. Where the kernel sends
 * the ACK after all (it waits 200 ms at most), the server sees a connection that is reset. A Unix
 * socket has no handshake: there the server accepts a connection that is already closed, so there,
 * and only there, it is to find the PROXY header if the pool sends one: without, nginx's stream
 * module logs a broken header.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "check/check.h"
#include "check/preamble.h"
#include "check/stream.h"
#include "sluice/scoreboard.h"

struct tcp_state {
    struct event event;
    int fd; /* valid during a run */
};

/* Failures of these only make the end of a check less tidy. */
static void set_quiet_end(int fd, int family)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    const int off = 0;

    if (family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
    }
}

/* error: of the connect, 0 when it is established. */
static void tcp_finish(struct check_probe *probe, int error)
{
    struct tcp_state *state = probe->state;
    char reason[SB_REASON_MAX];

    if (!error && stream_meets_itself(state->fd, probe->address)) {
        error = ECONNREFUSED;
    }
    if (!error && probe->address->ip.family == ADDR_UNIX) {
        (void)preamble_send(state->fd, probe->send_proxy); /* it has passed already */
    }
    fd_close(&state->fd);
    if (error) {
        check_done(probe, false, stream_error_text(error));
        return;
    }
    (void)snprintf(reason, sizeof(reason), "connected in %llu us",
                   (unsigned long long)(clock_now_us() - probe->started_us));
    check_done(probe, true, reason);
}

static void tcp_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct check_probe *probe = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    tcp_finish(probe, error);
}

/* Returns 0 when it is established, EINPROGRESS, or why not. *out_fd is -1 without socket. */
static int tcp_connect(const struct sockaddr *sa, socklen_t len, const char *source, int *out_fd)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    *out_fd = fd;
    if (fd < 0) {
        return errno;
    }
    set_quiet_end(fd, sa->sa_family);
    error = sa->sa_family != AF_UNIX ? stream_bind(fd, source) : 0;
    if (error == 0 && connect(fd, sa, len) != 0) {
        error = errno;
    }
    return error;
}

static int tcp_await(struct check_probe *probe)
{
    struct tcp_state *state = probe->state;

    if (event_assign(&state->event, probe->base, state->fd, EV_WRITE, tcp_on_event, probe) != 0 ||
        event_add(&state->event, NULL) != 0) {
        fd_close(&state->fd);
        return -ENOMEM;
    }
    return 0;
}

static int tcp_start(struct check_probe *probe)
{
    struct tcp_state *state = probe->state;
    struct sockaddr_storage storage;
    const struct sockaddr *sa = (const struct sockaddr *)&storage;
    socklen_t len = addr_to_sockaddr(probe->address, &storage);
    int error = tcp_connect(sa, len, check_arg(probe, "source", NULL), &state->fd);

    if (error == EINPROGRESS) {
        return tcp_await(probe);
    }
    if (error && stream_error_is_ours(error, probe->address)) {
        fd_close(&state->fd);
        return -error;
    }
    tcp_finish(probe, error);
    return 0;
}

static void tcp_cancel(struct check_probe *probe)
{
    struct tcp_state *state = probe->state;

    (void)event_del(&state->event);
    fd_close(&state->fd);
}

const struct check_kind check_kind_tcp = {
    .name = "tcp",
    .help = "passes when a connection to the backend is established",
    .state_bytes = sizeof(struct tcp_state),
    .begins_as_sessions = true,
    .start = tcp_start,
    .cancel = tcp_cancel,
};
