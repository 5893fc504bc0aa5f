/*
 * Slow peers while buffer_memory is used up. Where bytes flow unread they are peeked at, passed on,
 * and only then taken from their sender's socket, exactly as many as the receiver took: the rest
 * waits there, and TCP slows the sender down. Sessions with a framing cannot give back what their
 * framer has seen; they read little at a time, and only while the receiver says that it takes
 * something. What is held for any session is never dropped. In a worker.
 */
#include "throttle.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "buffer.h"

#define WARN_EVERY_MS 60000
#define SMALL_READ    4096 /* the smallest buffer */

static void warn(struct proxy *proxy)
{
    proxy->n_throttled++;
    if (proxy->warned_throttle_ms != 0 &&
        proxy->now_ms - proxy->warned_throttle_ms < WARN_EVERY_MS) {
        return;
    }
    log_warning("buffer_memory is used up: what slow peers do not take is left with its sender",
                LOG_INT("buffer_memory", proxy->snapshot->buffer_bytes),
                LOG_INT("times", proxy->n_throttled));
    proxy->warned_throttle_ms = proxy->now_ms;
    proxy->n_throttled = 0;
}

static void starve(struct session *s, struct leg *to)
{
    relay_blocked(s, to);
    to->starved = true;
    scoreboard_bump(&s->proxy->row->throttled, 1);
    warn(s->proxy);
}

/* Takes what has been passed on. TCP copies nothing here; other sockets do. */
static bool take(struct session *s, struct leg *from, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(from->fd, s->proxy->scratch, n, MSG_TRUNC);
        if (got <= 0) {
            relay_failed(s, from, got == 0 ? ECONNRESET : errno);
            return false;
        }
        n -= (size_t)got;
    }
    return true;
}

bool throttle_move(struct session *s, struct leg *from, struct leg *to, size_t *budget)
{
    ssize_t n = recv(from->fd, s->proxy->scratch, RELAY_SCRATCH_BYTES, MSG_PEEK);
    if (n <= 0) {
        return relay_read_nothing(s, from, n);
    }
    relay_hurry(to, (size_t)n);
    ssize_t sent = send(to->fd, s->proxy->scratch, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        relay_send_failed(s, to, errno);
        return false;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done > 0) {
        relay_account(s, from, done);
        *budget -= done < *budget ? done : *budget;
    }
    if (done < (size_t)n) {
        starve(s, to);
    }
    return take(s, from, done);
}

size_t throttle_room(const struct proxy *proxy, size_t n)
{
    size_t room = RELAY_SCRATCH_BYTES - n;
    return room > SMALL_READ && buffers_are_used_up(proxy) ? SMALL_READ : room;
}

bool throttle_holds_back(struct session *s, struct leg *to)
{
    struct pollfd look = {.fd = to->fd, .events = POLLOUT};
    if (to->starved || to->fd < 0 || !buffers_are_used_up(s->proxy)) {
        return to->starved;
    }
    if (poll(&look, 1, 0) != 0) {
        return false;
    }
    starve(s, to);
    return true;
}
