/*
 * One client of the control socket: lines in, replies out, in order, one request at a time. Its
 * next line is not even read while its last reply is not taken. In master.
 */
#include "ctl/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define IN_FIRST          1024
#define IN_MAX            (CTL_LINE_MAX + 2) /* and "\r\n" */
#define REQUESTS_PER_TURN 8
#define SENDS_PER_TURN    8

_Static_assert(CTL_LINE_MAX == CODEC_LINE_MAX, "the same line");

#define TO(state) (1U << (state))

static const unsigned transitions[CLIENT_STATE_COUNT] = {
    [CLIENT_IDLE] = TO(CLIENT_PARTIAL) | TO(CLIENT_BUSY) | TO(CLIENT_WRITING) | TO(CLIENT_DEAD),
    [CLIENT_PARTIAL] = TO(CLIENT_IDLE) | TO(CLIENT_BUSY) | TO(CLIENT_WRITING) | TO(CLIENT_DEAD),
    [CLIENT_BUSY] = TO(CLIENT_WRITING) | TO(CLIENT_DEAD),
    [CLIENT_WRITING] = TO(CLIENT_IDLE) | TO(CLIENT_DEAD),
    [CLIENT_DEAD] = 0,
};

static void set_state(struct client *client, enum client_state state)
{
    assert(transitions[client->state] & TO(state));
    client->state = state;
    client->entered_ms = clock_now_ms();
    client->since_ms = client->entered_ms;
}

static uint64_t allowed_ms(const struct client *client)
{
    const struct ctl_limits *limits = &client->server->limits;

    switch (client->state) {
    case CLIENT_IDLE:
        return limits->idle_ms;
    case CLIENT_PARTIAL:
        return limits->partial_ms;
    case CLIENT_WRITING:
        return limits->write_ms;
    default:
        return 0; /* no deadline: the host answers in bounded time */
    }
}

uint64_t client_spare_ms(const struct client *client, uint64_t now_ms)
{
    uint64_t free_ms = client->entered_ms;

    if (client->state == CLIENT_BUSY || client->state == CLIENT_DEAD)
        return 0;
    /* From its beginning: a byte now and then does not keep the place. */
    if (client->state == CLIENT_WRITING)
        free_ms += client->server->limits.write_ms;
    return now_ms > free_ms ? now_ms - free_ms : 0;
}

static bool may_take_line(const struct client *client)
{
    return client->state == CLIENT_IDLE || client->state == CLIENT_PARTIAL;
}

/* --- watching: which events the state wants; at the end of every entry --- */

static void watch_timer(struct client *client)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t allowed = allowed_ms(client), due = client->since_ms + allowed;
    uint64_t left = due > now_ms ? due - now_ms : 0;
    struct timeval tv = {0};

    if (!client->kicked) {
        if (allowed == 0) {
            event_del(client->timer);
            return;
        }
        tv.tv_sec = (time_t)(left / 1000);
        tv.tv_usec = (suseconds_t)(left % 1000 * 1000);
    }
    event_add(client->timer, &tv);
}

static void watch(struct client *client)
{
    if (client->state == CLIENT_DEAD)
        return;
    /* One that has ended is closed, busy, writing or kicked. */
    if (may_take_line(client) && !client->kicked)
        event_add(client->read_event, NULL);
    else
        event_del(client->read_event);
    if (client->state == CLIENT_WRITING)
        event_add(client->write_event, NULL);
    else
        event_del(client->write_event);
    watch_timer(client);
}

/* --- ending --- */

void client_close(struct client *client)
{
    if (client->state == CLIENT_DEAD)
        return;
    set_state(client, CLIENT_DEAD);
    event_del(client->read_event);
    event_del(client->write_event);
    event_del(client->timer);
    fd_close(&client->fd);
    if (client->request)
        client->request->client = NULL;
    client->request = NULL;
    client->server->pending_bytes -= client->out.len;
    str_free(&client->out);
    server_note_closed(client->server, client);
}

void client_free(struct client *client)
{
    if (!client)
        return;
    if (client->read_event)
        event_free(client->read_event);
    if (client->write_event)
        event_free(client->write_event);
    if (client->timer)
        event_free(client->timer);
    fd_close(&client->fd);
    auth_peer_free(&client->peer);
    str_free(&client->out);
    free(client->in);
    free(client);
}

/* --- replies --- */

static void all_taken(struct client *client)
{
    client->server->pending_bytes -= client->out.len;
    str_free(&client->out);
    client->out_sent = 0;
    if (client->closing)
        client_close(client);
    else
        set_state(client, CLIENT_IDLE);
}

static void flush(struct client *client)
{
    for (unsigned i = 0; i < SENDS_PER_TURN && client->out_sent < client->out.len; i++) {
        ssize_t n = send(client->fd, client->out.data + client->out_sent,
                         client->out.len - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            client_close(client);
            return;
        }
        client->out_sent += (size_t)n;
        client->since_ms = clock_now_ms();
    }
    if (client->out_sent == client->out.len)
        all_taken(client);
}

static void send_reply(struct client *client, const struct str *body)
{
    set_state(client, CLIENT_WRITING);
    codec_frame(&client->out, str_text(body), body->len);
    if (client->out.failed) {
        str_free(&client->out);
        client_close(client);
        return;
    }
    client->server->pending_bytes += client->out.len;
    flush(client);
    if (client->state == CLIENT_WRITING)
        server_bound_pending(client->server, client);
}

/* A line that does not even become a request. */
static void refuse_line(struct client *client, const char *problem, bool as_json)
{
    struct reply reply;

    reply_init(&reply, as_json, client->server->limits.output_bytes);
    reply_error(&reply, "%s", problem);
    reply_finish(&reply);
    send_reply(client, &reply.body);
    reply_free(&reply);
}

/* --- requests --- */

static void pump(struct client *client);

static void on_request_done(struct request *request)
{
    struct ctl_server *server = request->owner;
    struct client *client = request->client;

    if (server) {
        LIST_REMOVE(request, link);
        server_note_outcome(server, request);
        if (client) {
            client->request = NULL;
            send_reply(client, &request->reply.body);
        }
        if (request->afterwards)
            request->afterwards(request);
    }
    request_free(request);
    if (client && !client->pumping)
        pump(client);
}

static void start_request(struct client *client, struct codec_words *words)
{
    struct ctl_server *server = client->server;
    const struct model *model = server->host.ops->model(server->host.self);
    uint64_t now_ms = clock_now_ms();
    enum ctl_level level = auth_level(server->auth, model, geteuid(), &client->peer, now_ms);
    struct ctl_who who = {
        .uid = client->peer.uid,
        .gid = client->peer.gid,
        .pid = client->peer.pid,
        .login_uid = client->peer.login_uid,
        .text = client->who_text,
    };
    struct request *request = request_create(&server->host, words, &who,
                                             server->limits.output_bytes, now_ms, clock_wall_ms());

    if (!request) {
        client_close(client);
        return;
    }
    set_state(client, CLIENT_BUSY);
    client->request = request;
    request->client = client;
    LIST_INSERT_HEAD(&server->requests, request, link);
    request_start(request, level, on_request_done, server);
}

static void take_line(struct client *client, const char *line, size_t len)
{
    struct codec_words words = {0};
    const char *problem;

    if (codec_split(line, len, &words, &problem) != 0)
        refuse_line(client, problem, codec_wants_json(line, len));
    else if (words.count > 0)
        start_request(client, &words);
    codec_words_free(&words);
}

static void refuse_and_close(struct client *client, const char *problem)
{
    client->closing = true;
    refuse_line(client, problem, false);
}

/* Takes the next line if there is one. False: the rest is for later. */
static bool next_line(struct client *client)
{
    size_t unread = client->in_end - client->in_start;
    const char *line = client->in + client->in_start;
    const char *newline = NULL;
    size_t len;

    if (unread > 0)
        newline =
            memchr(client->in + client->in_scanned, '\n', client->in_end - client->in_scanned);
    client->in_scanned = client->in_end;
    if (!newline && !client->ended && unread < IN_MAX)
        return false;
    if (!newline && !client->ended) {
        refuse_and_close(client, "the request is longer than 65536 bytes");
        return true;
    }
    if (unread == 0) {
        client_close(client);
        return false;
    }
    len = newline ? (size_t)(newline - line) : unread;
    client->in_start += newline ? len + 1 : len;
    client->in_scanned = client->in_start;
    take_line(client, line, len);
    return true;
}

/* Works off what was read, as far as replies are taken and requests answered. */
static void pump(struct client *client)
{
    unsigned taken = 0;
    bool more = true;

    client->pumping = true;
    client->kicked = false;
    while (more && may_take_line(client) && taken++ < REQUESTS_PER_TURN)
        more = next_line(client);
    client->pumping = false;
    if (may_take_line(client)) {
        bool partial = client->in_end > client->in_start;

        client->kicked = more;
        if (!more && partial != (client->state == CLIENT_PARTIAL))
            set_state(client, partial ? CLIENT_PARTIAL : CLIENT_IDLE);
    }
    watch(client);
}

/* --- reading --- */

/* Room for more bytes behind those unread. False without memory. */
static bool make_room(struct client *client)
{
    size_t unread = client->in_end - client->in_start;

    if (client->in_start > 0) {
        memmove(client->in, client->in + client->in_start, unread);
        client->in_scanned -= client->in_start;
        client->in_start = 0;
        client->in_end = unread;
    }
    if (client->in_end < client->in_cap)
        return true;
    size_t cap = client->in_cap > 0 ? client->in_cap * 2 : IN_FIRST;
    char *in;

    if (cap > IN_MAX)
        cap = IN_MAX;
    in = realloc(client->in, cap);
    if (!in)
        return false;
    client->in = in;
    client->in_cap = cap;
    return true;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    ssize_t n;

    (void)what;
    if (!make_room(client)) {
        client_close(client);
        return;
    }
    n = read(fd, client->in + client->in_end, client->in_cap - client->in_end);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        client_close(client);
        return;
    }
    client->ended = n == 0;
    client->in_end += (size_t)n;
    pump(client);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    (void)fd;
    (void)what;
    flush(client);
    if (client->state == CLIENT_IDLE)
        pump(client);
    else
        watch(client);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;
    bool overdue = clock_now_ms() >= client->since_ms + allowed_ms(client);

    (void)fd;
    (void)what;
    if (client->kicked) {
        pump(client);
    } else if (overdue && client->state == CLIENT_PARTIAL) {
        refuse_and_close(client, "the request was not complete in time");
        watch(client);
    } else if (overdue) {
        client_close(client);
    } else {
        watch(client);
    }
}

/* --- beginning --- */

static void describe_peer(struct client *client)
{
    const struct auth_peer *peer = &client->peer;

    if (peer->login_uid == UINT32_MAX || peer->login_uid == peer->uid)
        snprintf(client->who_text, sizeof(client->who_text), "uid %u pid %d", (unsigned)peer->uid,
                 (int)peer->pid);
    else
        snprintf(client->who_text, sizeof(client->who_text), "uid %u (login %u) pid %d",
                 (unsigned)peer->uid, (unsigned)peer->login_uid, (int)peer->pid);
}

static int prepare(struct client *client)
{
    struct event_base *base = client->server->base;
    int result = auth_peer_of(client->fd, &client->peer);

    if (result != 0)
        return result;
    client->read_event = event_new(base, client->fd, EV_READ | EV_PERSIST, on_read, client);
    client->write_event = event_new(base, client->fd, EV_WRITE | EV_PERSIST, on_write, client);
    client->timer = evtimer_new(base, on_timer, client);
    if (!client->read_event || !client->write_event || !client->timer)
        return -ENOMEM;
    describe_peer(client);
    return 0;
}

int client_create(struct ctl_server *server, int fd)
{
    struct client *client = calloc(1, sizeof(*client));
    int result;

    if (!client) {
        fd_close(&fd);
        return -ENOMEM;
    }
    client->server = server;
    client->fd = fd;
    client->entered_ms = clock_now_ms();
    client->since_ms = client->entered_ms;
    result = prepare(client);
    if (result != 0) {
        client_free(client);
        return result;
    }
    TAILQ_INSERT_TAIL(&server->clients, client, link);
    server->n_clients++;
    watch(client);
    return 0;
}
