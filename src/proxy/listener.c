/*
 * Accepting: plain level-triggered events and accept4, a bounded number a turn. (libevent's own
 * listener accepts without bound and spins when descriptors run out.) Owns the worker's listening
 * descriptors and one spare descriptor. In a worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pool/rate.h"
#include "session.h"

#define PAUSE_MS 50
/* More than a queue can hold: emptying ends even when clients keep coming. */
#define EMPTYING_MAX 200000

struct listener {
    LIST_ENTRY(listener) link;
    struct proxy *proxy;
    struct event event;
    int fd;
    uint32_t id;
    uint32_t service;   /* index in the present snapshot */
    uint64_t paused_ms; /* until then; 0: not paused */
    bool is_paced;      /* paused by accept_rate alone */
    bool emptying;      /* to be closed: whoever cannot be served is turned away, not left */
};

/* The service of the listener with that id; SNAPSHOT_NONE: there is no such one. */
static uint32_t service_of(const struct snapshot_header *snapshot, uint32_t id)
{
    if (snapshot == NULL) {
        return SNAPSHOT_NONE;
    }
    const struct snapshot_listener *listeners = snapshot_listeners(snapshot);
    for (uint32_t i = 0; i < snapshot->n_listeners; i++) {
        if (listeners[i].id == id) {
            return listeners[i].service;
        }
    }
    return SNAPSHOT_NONE;
}

static void pause_listener(struct listener *listener, int error)
{
    struct proxy *proxy = listener->proxy;
    event_del(&listener->event);
    listener->paused_ms = proxy->now_ms + PAUSE_MS;
    scoreboard_bump(&proxy->row->accept_errors, 1);
    if (proxy->now_ms - proxy->warned_accept_ms >= 1000) {
        proxy->warned_accept_ms = proxy->now_ms;
        log_warning("cannot accept", LOG_STR("error", strerror(error)));
    }
}

/* Whether accept_rate lets a client in now; else accepting pauses until it does. */
static bool take_turn(struct listener *listener, const struct snapshot_service *service)
{
    struct proxy *proxy = listener->proxy;
    _Atomic uint64_t *word = &proxy->sb->services[service->row].accept_rate;
    if (listener->emptying || rate_take(word, &service->accept_rate, proxy->woken_us * 1000)) {
        return true;
    }
    uint64_t due_ms =
        rate_due_ns(word, &service->accept_rate, proxy->woken_us * 1000) / 1000000 + 1;
    event_del(&listener->event);
    listener->is_paced = true;
    listener->paused_ms = due_ms > proxy->now_ms ? due_ms : proxy->now_ms + 1;
    return false;
}

/* No descriptor left: gives the spare one up to accept and reset a client, who would otherwise wait
 * in vain. False: there was none. */
static bool shed_one(struct listener *listener)
{
    struct proxy *proxy = listener->proxy;
    fd_close(&proxy->spare_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        uint32_t row = snapshot_services(proxy->snapshot)[listener->service].row;
        session_turn_away(proxy, row, fd, NULL, REFUSAL_DESCRIPTORS);
    }
    proxy->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

/* What accept() said instead of a client. True: go on accepting. */
static bool accept_failed(struct listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        if (shed_one(listener) && listener->emptying) {
            return true;
        }
        pause_listener(listener, error);
        return false;
    case ENOBUFS:
    case ENOMEM:
        pause_listener(listener, error);
        return false;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
        /* Cannot happen to a listening socket; a pause keeps it from spinning. */
        pause_listener(listener, error);
        return false;
    default:
        /* The new connection's own network trouble. */
        scoreboard_bump(&listener->proxy->row->accept_errors, 1);
        return true;
    }
}

/* Accepts at most most clients. False: the queue is empty, or accepting is paused. */
static bool accept_some(struct listener *listener, uint32_t most)
{
    struct proxy *proxy = listener->proxy;
    const struct snapshot_service *service = &snapshot_services(proxy->snapshot)[listener->service];
    for (uint32_t i = 0; i < most; i++) {
        if (service->accept_rate.interval_ns != 0 && !take_turn(listener, service)) {
            return false;
        }
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);
        int fd =
            accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct addr_ip peer;
            if (len < sizeof(sa_family_t)) {
                address.ss_family = AF_UNSPEC;
            }
            addr_ip_from_sockaddr((struct sockaddr *)&address, &peer);
            session_start(listener->proxy, listener->service, listener->id, fd, &peer);
            continue;
        }
        int error = errno;
        if (service->accept_rate.interval_ns != 0 && !listener->emptying) {
            rate_give_back(&proxy->sb->services[service->row].accept_rate, &service->accept_rate);
        }
        if (!accept_failed(listener, error)) {
            return false;
        }
    }
    return true;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    proxy_touch(((struct listener *)arg)->proxy);
    accept_some(arg, ACCEPTS_PER_TURN);
}

/* Closing a queue that holds clients would reset them: they are taken first. */
static void empty_and_close(struct listener *listener)
{
    listener->emptying = true;
    accept_some(listener, EMPTYING_MAX);
    LIST_REMOVE(listener, link);
    event_del(&listener->event);
    close(listener->fd);
    free(listener);
}

static bool is_same_socket(int a, int b)
{
    struct stat of_a, of_b;
    return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_ino == of_b.st_ino;
}

int listener_add(struct proxy *proxy, uint32_t id, int fd)
{
    struct listener *other;
    LIST_FOREACH (other, &proxy->listeners, link) {
        if (other->id == id && is_same_socket(other->fd, fd)) {
            close(fd);
            return -EEXIST;
        }
    }
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        close(fd);
        return -ENOMEM;
    }
    listener->proxy = proxy;
    listener->fd = fd;
    listener->id = id;
    listener->service = service_of(proxy->snapshot, id);
    event_assign(&listener->event, proxy->base, fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    if (listener->service == SNAPSHOT_NONE || event_add(&listener->event, NULL) != 0) {
        int error = listener->service == SNAPSHOT_NONE ? -ENOENT : -ENOMEM;
        close(fd);
        free(listener);
        return error;
    }
    LIST_INSERT_HEAD(&proxy->listeners, listener, link);
    return 0;
}

void listener_close_dropped(struct proxy *proxy, const struct snapshot_header *next)
{
    struct listener *listener, *following;
    LIST_FOREACH_SAFE (listener, &proxy->listeners, link, following) {
        if (service_of(next, listener->id) == SNAPSHOT_NONE) {
            empty_and_close(listener);
        }
    }
}

void listener_rebind(struct proxy *proxy)
{
    struct listener *listener;
    LIST_FOREACH (listener, &proxy->listeners, link) {
        listener->service = service_of(proxy->snapshot, listener->id);
        if (listener->is_paced && listener->paused_ms != 0) {
            listener->paused_ms = proxy->now_ms; /* the rate may be another */
        }
    }
}

void listener_close_all(struct proxy *proxy)
{
    struct listener *listener;
    while ((listener = LIST_FIRST(&proxy->listeners)) != NULL) {
        empty_and_close(listener);
    }
}

void listener_resume(struct proxy *proxy)
{
    struct listener *listener;
    LIST_FOREACH (listener, &proxy->listeners, link) {
        if (listener->paused_ms != 0 && proxy->now_ms >= listener->paused_ms) {
            listener->paused_ms = 0;
            listener->is_paced = false;
            if (event_add(&listener->event, NULL) != 0) {
                listener->paused_ms = proxy->now_ms + PAUSE_MS;
            }
        }
    }
}

uint64_t listener_resume_ms(const struct proxy *proxy)
{
    uint64_t soonest = UINT64_MAX;
    const struct listener *listener;
    LIST_FOREACH (listener, &proxy->listeners, link) {
        if (listener->paused_ms != 0 && listener->paused_ms < soonest) {
            soonest = listener->paused_ms;
        }
    }
    return soonest;
}
