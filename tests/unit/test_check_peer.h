/*
 * A backend for the tests of checks that talk: goes through a script with each connection, on the
 * test's own loop, and notes what it heard and how the connection ended. To be included behind a
 * header that has base, UNUSED and WAIT_FOR.
 */
#ifndef TEST_CHECK_PEER_H
#define TEST_CHECK_PEER_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"

#define HEARD_MAX (256 * 1024)

enum act_kind {
    ACT_NOTHING, /* the end of every script: only listens from here on */
    ACT_SAY,
    ACT_SAY_SLOWLY, /* a byte a millisecond */
    ACT_HEAR,       /* waits until that was heard */
    ACT_HEAR_END,   /* waits until the other side has ended or reset */
    ACT_FLOOD,      /* says n bytes x */
    ACT_PAUSE,      /* n milliseconds */
    ACT_SHUT,       /* ends its direction only */
    ACT_CLOSE,
    ACT_RESET,
    ACT_COUNT
};

struct act {
    enum act_kind kind;
    const char *bytes;
    size_t n;
};

#define SAY(text)                                                                                  \
    {                                                                                              \
        ACT_SAY, text, sizeof(text) - 1                                                            \
    }
#define SAY_SLOWLY(text)                                                                           \
    {                                                                                              \
        ACT_SAY_SLOWLY, text, sizeof(text) - 1                                                     \
    }
#define HEAR(text)                                                                                 \
    {                                                                                              \
        ACT_HEAR, text, sizeof(text) - 1                                                           \
    }
#define HEAR_END                                                                                   \
    {                                                                                              \
        ACT_HEAR_END, "", 0                                                                        \
    }
#define FLOOD(n)                                                                                   \
    {                                                                                              \
        ACT_FLOOD, "", n                                                                           \
    }
#define PAUSE(ms)                                                                                  \
    {                                                                                              \
        ACT_PAUSE, "", ms                                                                          \
    }
#define SHUT                                                                                       \
    {                                                                                              \
        ACT_SHUT, "", 0                                                                            \
    }
#define CLOSE                                                                                      \
    {                                                                                              \
        ACT_CLOSE, "", 0                                                                           \
    }
#define RESET                                                                                      \
    {                                                                                              \
        ACT_RESET, "", 0                                                                           \
    }
#define SCRIPT(...)                                                                                \
    (const struct act[])                                                                           \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            ACT_NOTHING, "", 0                                                                     \
        }                                                                                          \
    }

static struct peer {
    struct addr address;
    int listener, fd; /* fd -1: no connection */
    struct event *accepting, *reading, *writing, *timer;
    struct act script[32];
    const struct act *act;
    size_t said; /* of the act */
    char heard[HEARD_MAX];
    size_t n_heard, understood;
    uint64_t n_said; /* bytes the kernel took, in all */
    unsigned n_connections;
    bool saw_end, saw_reset; /* of the last connection */
} peer;

static void peer_go_on(void);

static void peer_hang_up(bool reset)
{
    const struct linger linger = {.l_onoff = reset};

    if (peer.fd < 0) {
        return;
    }
    ck_assert_int_eq(setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    event_free(peer.reading);
    event_free(peer.writing);
    close(peer.fd);
    peer.fd = -1;
}

static void peer_set_timer(size_t ms)
{
    const struct timeval delay = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

    event_base_update_cache_time(
        event_get_base(peer.timer)); /* from now, not from the turn's begin */
    evtimer_add(peer.timer, &delay);
}

static void peer_on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    peer_go_on();
}

static void peer_on_read(evutil_socket_t fd, short what, void *arg)
{
    ssize_t got = recv(fd, peer.heard + peer.n_heard, sizeof(peer.heard) - peer.n_heard, 0);

    (void)what;
    (void)arg;
    if (got > 0) {
        peer.n_heard += (size_t)got;
    } else if (got == 0 || errno != EAGAIN) {
        peer.saw_reset |= got < 0; /* send() may have been told already */
        peer.saw_end = got == 0 && !peer.saw_reset;
        event_del(peer.reading);
    }
    peer_go_on();
}

static void peer_on_write(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    peer_go_on();
}

/* Says some of the act's bytes. True when all are said. */
static bool peer_say(void)
{
    static char flood[16384];
    const struct act *act = peer.act;

    memset(flood, 'x', sizeof(flood));
    while (peer.said < act->n) {
        size_t left = act->n - peer.said;
        size_t n = act->kind == ACT_SAY_SLOWLY ? 1 : left < sizeof(flood) ? left : sizeof(flood);
        ssize_t sent =
            send(peer.fd, act->kind == ACT_FLOOD ? flood : act->bytes + peer.said, n, MSG_NOSIGNAL);

        if (sent < 0) {
            if (errno == EAGAIN) {
                event_add(peer.writing, NULL);
                return false;
            }
            peer.saw_reset = true;
            peer.said = act->n;
            return true;
        }
        peer.said += (size_t)sent;
        peer.n_said += (uint64_t)sent;
        if (act->kind == ACT_SAY_SLOWLY && peer.said < act->n) {
            peer_set_timer(1);
            return false;
        }
    }
    return true;
}

static bool peer_hears(void)
{
    const char *from = peer.heard + peer.understood;
    const char *found = memmem(from, peer.n_heard - peer.understood, peer.act->bytes, peer.act->n);

    if (found == NULL) {
        return false;
    }
    peer.understood = (size_t)(found - peer.heard) + peer.act->n;
    return true;
}

static bool peer_act(void)
{
    switch (peer.act->kind) {
    case ACT_SAY:
    case ACT_SAY_SLOWLY:
    case ACT_FLOOD:
        return peer_say();
    case ACT_HEAR:
        return peer_hears();
    case ACT_HEAR_END:
        return peer.saw_end || peer.saw_reset;
    case ACT_PAUSE:
        peer.said++;
        if (peer.said == 1) {
            peer_set_timer(peer.act->n);
        }
        return peer.said > 1 && !evtimer_pending(peer.timer, NULL);
    case ACT_SHUT:
        (void)shutdown(peer.fd, SHUT_WR);
        return true;
    case ACT_CLOSE:
    case ACT_RESET:
        peer_hang_up(peer.act->kind == ACT_RESET);
        return true;
    default:
        return false;
    }
}

static void peer_go_on(void)
{
    while (peer.fd >= 0 && peer_act()) {
        peer.act++;
        peer.said = 0;
    }
}

static void peer_on_connection(evutil_socket_t listener, short what, void *arg)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    (void)arg;
    ck_assert_int_ge(fd, 0);
    peer_hang_up(false);
    peer.fd = fd;
    peer.n_connections++;
    peer.n_heard = peer.understood = peer.said = 0;
    peer.saw_end = peer.saw_reset = false;
    peer.act = peer.script;
    peer.reading = event_new(base, fd, EV_READ | EV_PERSIST, peer_on_read, NULL);
    peer.writing = event_new(base, fd, EV_WRITE, peer_on_write, NULL);
    event_add(peer.reading, NULL);
    peer_go_on();
}

/* Starts it there; port 0 is a free one. */
UNUSED static const struct addr *peer_start(const char *where, const struct act *script)
{
    const char *problem;
    struct sockaddr_storage sa;
    socklen_t len;
    size_t n = 0;

    ck_assert_int_eq(addr_parse(where, true, &peer.address, &problem), 0);
    len = addr_to_sockaddr(&peer.address, &sa);
    peer.listener = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(peer.listener, (struct sockaddr *)&sa, len), 0);
    ck_assert_int_eq(listen(peer.listener, 16), 0);
    len = sizeof(sa);
    ck_assert_int_eq(getsockname(peer.listener, (struct sockaddr *)&sa, &len), 0);
    addr_from_sockaddr((struct sockaddr *)&sa, len, &peer.address);
    peer.fd = -1;
    do {
        ck_assert_uint_lt(n, sizeof(peer.script) / sizeof(peer.script[0]));
        peer.script[n] = script[n];
    } while (script[n++].kind != ACT_NOTHING);
    peer.timer = evtimer_new(base, peer_on_timer, NULL);
    peer.accepting = event_new(base, peer.listener, EV_READ | EV_PERSIST, peer_on_connection, NULL);
    event_add(peer.accepting, NULL);
    return &peer.address;
}

UNUSED static void peer_stop(void)
{
    if (peer.accepting == NULL) {
        return;
    }
    peer_hang_up(false);
    event_free(peer.accepting);
    event_free(peer.timer);
    peer.accepting = NULL;
    close(peer.listener);
}

/* Waits for the end of the last connection, whoever makes it. Whether it was no reset. */
UNUSED static bool peer_parts_well(void)
{
    WAIT_FOR(peer.fd < 0 || peer.saw_end || peer.saw_reset);
    return !peer.saw_reset;
}

/* What was heard, as a string. */
UNUSED static const char *peer_heard(void)
{
    peer.heard[peer.n_heard < HEARD_MAX ? peer.n_heard : HEARD_MAX - 1] = '\0';
    return peer.heard;
}

#endif
