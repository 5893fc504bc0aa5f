/*
 * Listening sockets of sluice-origin: opening, accepting, pausing when descriptors run out.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monotonic.h"
#include "origin.h"

#define ACCEPTS_PER_TURN 64
#define PAUSE_NS         (50 * NS_PER_MS)

static int set_options(int fd, const struct origin_listener *listener)
{
    const struct origin_config *config = &listener->origin->config;
    int family = endpoint_family(&listener->endpoint);
    int on = 1;

    if (config->receive_buffer > 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &config->receive_buffer, sizeof(int)) != 0)
        return -errno;
    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return -errno;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
        return -errno;
    return 0;
}

/* Removes the file that a dead process left at our path; one that somebody serves stays. */
static void remove_stale(const struct endpoint *endpoint)
{
    if (!endpoint_is_file(endpoint))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, &endpoint->addr.any, endpoint->length) != 0 && errno == ECONNREFUSED)
        unlink(endpoint->addr.local.sun_path);
    close(fd);
}

int origin_listener_open(struct origin_listener *listener)
{
    struct endpoint *endpoint = &listener->endpoint;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(endpoint_family(endpoint), type, 0);

    if (fd < 0)
        return -errno;
    int rc = set_options(fd, listener);
    if (rc != 0)
        goto out;
    remove_stale(endpoint);
    if (bind(fd, &endpoint->addr.any, endpoint->length) != 0) {
        rc = -errno;
        goto out;
    }
    listener->fd = fd;
    if (listen(fd, listener->origin->config.backlog) != 0) {
        rc = -errno;
        origin_listener_close(listener);
        return rc;
    }
    rc = endpoint_of_socket(fd, endpoint);
    if (rc == 0)
        endpoint_format(endpoint, listener->text);
    else
        origin_listener_close(listener);
    return rc;
out:
    close(fd);
    return rc;
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void pause_listener(struct origin_listener *listener)
{
    struct timeval pause = monotonic_timeval(PAUSE_NS);

    event_del(&listener->accept_event);
    evtimer_add(&listener->resume_event, &pause);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct origin_listener *listener = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            origin_conn_open(listener, accepted);
            continue;
        }
        if (is_shortage(errno))
            pause_listener(listener);
        return; /* network errors of one connection count as try again */
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct origin_listener *listener = arg;

    (void)fd;
    (void)what;
    event_add(&listener->accept_event, NULL);
}

int origin_listener_start(struct origin_listener *listener)
{
    struct event_base *base = listener->origin->base;

    event_assign(&listener->accept_event, base, listener->fd, EV_READ | EV_PERSIST, on_acceptable,
                 listener);
    evtimer_assign(&listener->resume_event, base, on_resume, listener);
    return event_add(&listener->accept_event, NULL) == 0 ? 0 : -ENOMEM;
}

void origin_listener_close(struct origin_listener *listener)
{
    if (listener->fd < 0)
        return;
    if (event_initialized(&listener->accept_event)) {
        event_del(&listener->accept_event);
        event_del(&listener->resume_event);
    }
    if (endpoint_is_file(&listener->endpoint))
        unlink(listener->endpoint.addr.local.sun_path);
    close(listener->fd);
    listener->fd = -1;
}
