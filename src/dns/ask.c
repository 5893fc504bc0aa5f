/* Asking name servers, see ask.h. Owns the questions that are on their way, and their sockets. In
 * the monitor and in the short-lived child that looks names up for master. */
#include "ask.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* Datagrams that are taken in one turn: somebody may send many that fit no question. */
#define DATAGRAMS_A_TURN 16
#define DATAGRAM_MAX     4096 /* without EDNS servers send 512 */
#define LENGTH_BYTES     2    /* before a message over TCP */
#define TRY_MIN_MS       100

TAILQ_HEAD(ask_list, dns_ask);

struct dns_asker {
    struct event_base *base;
    const struct dns_files *files;
    struct ask_list waiting;
    size_t n_running;
};

struct dns_ask {
    TAILQ_ENTRY(dns_ask) link; /* while it waits */
    struct dns_asker *asker;
    struct dns_question question;
    uint8_t query[LENGTH_BYTES + DNS_QUERY_MAX];
    uint16_t query_len; /* without the length in front */
    uint32_t limit_ms;
    struct addr_ip servers[DNS_SERVERS_MAX];
    size_t n_servers;
    size_t tries, n_tries; /* begun, in all */
    uint32_t try_ms;
    bool is_running;
    bool has_mismatch; /* this try has met answers to other questions */
    int socket;        /* UDP; -1: none */
    struct event *readable, *timer;
    struct bufferevent *stream; /* TCP; or NULL */
    enum dns_outcome outcome;   /* of the last try */
    dns_ask_fn *done;
    void *arg;
};

static void start_next(struct dns_asker *asker);

static void close_sockets(struct dns_ask *ask)
{
    if (ask->readable != NULL) {
        event_free(ask->readable);
        ask->readable = NULL;
    }
    fd_close(&ask->socket);
    if (ask->stream != NULL) {
        bufferevent_free(ask->stream);
        ask->stream = NULL;
    }
}

void dns_ask_cancel(struct dns_ask *ask)
{
    if (ask == NULL) {
        return;
    }
    struct dns_asker *asker = ask->asker;
    close_sockets(ask);
    if (ask->timer != NULL) {
        event_free(ask->timer);
    }
    if (ask->is_running) {
        asker->n_running--;
    } else {
        TAILQ_REMOVE(&asker->waiting, ask, link);
    }
    free(ask);
    start_next(asker);
}

static void finish(struct dns_ask *ask, enum dns_outcome outcome, const struct dns_reply *reply)
{
    dns_ask_fn *done = ask->done;
    void *arg = ask->arg;
    dns_ask_cancel(ask);
    done(arg, outcome, outcome == DNS_OK ? reply : NULL);
}

static void set_timer(struct dns_ask *ask, uint32_t ms)
{
    struct timeval in = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)evtimer_add(ask->timer, &in);
}

static const struct addr_ip *server_of(const struct dns_ask *ask)
{
    return &ask->servers[(ask->tries - 1) % ask->n_servers];
}

/* --- one try --- */

static void try_next(struct dns_ask *ask);

/* Whether another server, or the same again, may know better. */
static bool is_worth_another(enum dns_outcome outcome)
{
    return outcome != DNS_OK && outcome != DNS_NXDOMAIN && outcome != DNS_EMPTY &&
           outcome != DNS_LOOP;
}

static void end_try(struct dns_ask *ask, enum dns_outcome outcome, const struct dns_reply *reply)
{
    ask->outcome = outcome;
    if (is_worth_another(outcome)) {
        try_next(ask);
    } else {
        finish(ask, outcome, reply);
    }
}

/* A stream socket, or a datagram one that hears nobody but the server. -errno when there is none.
 */
static int open_socket(const struct dns_ask *ask, int type)
{
    struct sockaddr_storage to;
    socklen_t len = addr_ip_to_sockaddr(server_of(ask), &to);
    FD_AUTO fd = socket(to.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&to, len) != 0 && errno != EINPROGRESS)) {
        return -errno;
    }
    int kept = fd;
    fd = -1;
    return kept;
}

static void on_stream_readable(struct bufferevent *stream, void *arg)
{
    struct dns_ask *ask = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    struct dns_reply reply;
    const uint8_t *head = evbuffer_pullup(input, LENGTH_BYTES);
    if (head == NULL) {
        return;
    }
    size_t len = ns_get16(head);
    if (evbuffer_get_length(input) < LENGTH_BYTES + len) {
        return;
    }
    const uint8_t *all = evbuffer_pullup(input, (ssize_t)(LENGTH_BYTES + len));
    enum dns_outcome outcome = DNS_RESOURCES;
    if (all != NULL) {
        outcome = dns_parse(&ask->question, all + LENGTH_BYTES, len, &reply);
    }
    end_try(ask, outcome, &reply);
}

static void on_stream_end(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0) {
        end_try(arg, DNS_UNREACHABLE, NULL);
    }
}

static bool try_stream(struct dns_ask *ask)
{
    close_sockets(ask);
    int fd = open_socket(ask, SOCK_STREAM);
    if (fd < 0) {
        return false;
    }
    ask->stream = bufferevent_socket_new(ask->asker->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (ask->stream == NULL) {
        close(fd);
        return false;
    }
    bufferevent_setcb(ask->stream, on_stream_readable, NULL, on_stream_end, ask);
    bufferevent_setwatermark(ask->stream, EV_READ, LENGTH_BYTES, LENGTH_BYTES + NS_MAXMSG);
    set_timer(ask, ask->try_ms);
    return bufferevent_enable(ask->stream, EV_READ | EV_WRITE) == 0 &&
           bufferevent_write(ask->stream, ask->query, LENGTH_BYTES + (size_t)ask->query_len) == 0;
}

/* True when the try has come to something: the ask may be gone. */
static bool take_datagram(struct dns_ask *ask, const uint8_t *bytes, size_t len)
{
    struct dns_reply reply;
    enum dns_outcome outcome = dns_parse(&ask->question, bytes, len, &reply);
    if (outcome == DNS_MISMATCH) {
        ask->has_mismatch = true;
        return false;
    }
    if (outcome == DNS_TRUNCATED && try_stream(ask)) {
        return true;
    }
    end_try(ask, outcome, &reply);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct dns_ask *ask = arg;
    uint8_t bytes[DATAGRAM_MAX];
    for (int i = 0; i < DATAGRAMS_A_TURN; i++) {
        ssize_t n = recv((int)fd, bytes, sizeof(bytes), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                end_try(ask, DNS_UNREACHABLE, NULL);
            }
            return;
        }
        if (take_datagram(ask, bytes, (size_t)n)) {
            return;
        }
    }
}

static bool try_datagram(struct dns_ask *ask)
{
    close_sockets(ask);
    ask->socket = open_socket(ask, SOCK_DGRAM);
    if (ask->socket < 0) {
        return false;
    }
    ask->readable =
        event_new(ask->asker->base, ask->socket, EV_READ | EV_PERSIST, on_readable, ask);
    if (ask->readable == NULL || event_add(ask->readable, NULL) != 0) {
        return false;
    }
    set_timer(ask, ask->try_ms);
    return send(ask->socket, ask->query + LENGTH_BYTES, ask->query_len, 0) == ask->query_len;
}

static void try_next(struct dns_ask *ask)
{
    while (ask->tries < ask->n_tries) {
        ask->tries++;
        ask->has_mismatch = false;
        if (try_datagram(ask)) {
            return;
        }
        ask->outcome = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS
                           ? DNS_RESOURCES
                           : DNS_UNREACHABLE;
    }
    finish(ask, ask->outcome, NULL);
}

/* --- the whole --- */

/* All tries together take what there is; none takes longer than resolv.conf says. */
static void begin(struct dns_ask *ask)
{
    const struct dns_resolv *resolv = dns_files_resolv(ask->asker->files);
    ask->n_servers = resolv->n_servers;
    memcpy(ask->servers, resolv->servers, sizeof(ask->servers));
    ask->n_tries = resolv->n_servers * resolv->attempts;
    uint32_t share = ask->limit_ms / (uint32_t)ask->n_tries;
    ask->try_ms = share < resolv->timeout_ms ? share : resolv->timeout_ms;
    ask->try_ms = ask->try_ms < TRY_MIN_MS ? TRY_MIN_MS : ask->try_ms;
    try_next(ask);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct dns_ask *ask = arg;
    if (ask->tries == 0) {
        begin(ask);
    } else {
        end_try(ask, ask->has_mismatch ? DNS_MISMATCH : DNS_TIMEOUT, NULL);
    }
}

static void start_next(struct dns_asker *asker)
{
    while (asker->n_running < DNS_ASKS_MAX && !TAILQ_EMPTY(&asker->waiting)) {
        struct dns_ask *ask = TAILQ_FIRST(&asker->waiting);
        TAILQ_REMOVE(&asker->waiting, ask, link);
        ask->is_running = true;
        asker->n_running++;
        set_timer(ask, 0);
    }
}

/* An id that nobody can foresee, as nobody shall answer who has not seen the question. */
static uint16_t draw_id(void)
{
    uint16_t id = 0;
    (void)!getrandom(&id, sizeof(id), 0);
    return id;
}

struct dns_ask *dns_ask_start(struct dns_asker *asker, const char *name, enum dns_type type,
                              uint32_t limit_ms, dns_ask_fn *done, void *arg)
{
    struct dns_ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL) {
        return NULL;
    }
    *ask = (struct dns_ask){.asker = asker,
                            .question = {.type = type, .id = draw_id()},
                            .limit_ms = limit_ms,
                            .socket = -1,
                            .done = done,
                            .arg = arg};
    size_t len = strlcpy(ask->question.name, name, sizeof(ask->question.name));
    int built = len < sizeof(ask->question.name)
                    ? dns_build(&ask->question, ask->query + LENGTH_BYTES)
                    : -EINVAL;
    ask->timer = built > 0 ? evtimer_new(asker->base, on_timer, ask) : NULL;
    if (ask->timer == NULL) {
        free(ask);
        return NULL;
    }
    ask->query_len = (uint16_t)built;
    ns_put16(ask->query_len, ask->query);
    TAILQ_INSERT_TAIL(&asker->waiting, ask, link);
    start_next(asker);
    return ask;
}

struct dns_asker *dns_asker_create(struct event_base *base, const struct dns_files *files)
{
    struct dns_asker *asker = calloc(1, sizeof(*asker));
    if (asker != NULL) {
        asker->base = base;
        asker->files = files;
        TAILQ_INIT(&asker->waiting);
    }
    return asker;
}

void dns_asker_destroy(struct dns_asker *asker)
{
    free(asker);
}
