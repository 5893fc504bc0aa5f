/*
 * The listening side of the control socket, and what its clients share: places, the bound on output
 * that waits, the ration of refusals told. In master.
 */
#include "ctl/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "ctl/client.h"

#define ACCEPTS_PER_TURN 16
#define PAUSE_MS         100
#define REFUSALS_BURST   20 /* events; one more each second */
#define LINE_TOLD_BYTES  200

const struct ctl_limits ctl_limits_default = {
    .clients = CTL_CLIENTS_MAX,
    .output_bytes = CTL_OUTPUT_MAX,
    .pending_bytes = CTL_PENDING_MAX,
    .idle_ms = CTL_IDLE_MS,
    .spare_ms = CTL_SPARE_MS,
    .partial_ms = CTL_PARTIAL_MS,
    .write_ms = CTL_WRITE_MS,
};

/* --- places --- */

static void pause_accepting(struct ctl_server *server)
{
    const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};

    event_del(server->accept_event);
    event_add(server->resume_timer, &pause);
}

static void resume_accepting(struct ctl_server *server)
{
    event_del(server->resume_timer);
    event_add(server->accept_event, NULL);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    resume_accepting(arg);
}

/* The client that has kept its place longest without using it, or NULL. */
static struct client *find_spare(const struct ctl_server *server)
{
    uint64_t now_ms = clock_now_ms(), most_ms = 0;
    struct client *client, *found = NULL;

    TAILQ_FOREACH (client, &server->clients, link) {
        uint64_t spare_ms = client_spare_ms(client, now_ms);

        if (spare_ms <= most_ms)
            continue;
        found = client;
        most_ms = spare_ms;
    }
    return most_ms >= server->limits.spare_ms ? found : NULL;
}

/* The client whose reply has waited longest to be taken, or NULL. */
static struct client *find_stalled(const struct ctl_server *server, const struct client *except)
{
    struct client *client, *found = NULL;

    TAILQ_FOREACH (client, &server->clients, link)
        if (client != except && client->state == CLIENT_WRITING &&
            (!found || client->entered_ms < found->entered_ms))
            found = client;
    return found;
}

static bool has_place(struct ctl_server *server)
{
    struct client *spare;

    if (server->n_clients < server->limits.clients)
        return true;
    spare = find_spare(server);
    if (!spare)
        return false;
    client_close(spare);
    return true;
}

void server_bound_pending(struct ctl_server *server, const struct client *except)
{
    while (server->pending_bytes > server->limits.pending_bytes) {
        struct client *stalled = find_stalled(server, except);

        if (!stalled)
            return;
        client_close(stalled);
    }
}

void server_note_closed(struct ctl_server *server, struct client *client)
{
    const struct timeval at_once = {0};

    TAILQ_REMOVE(&server->clients, client, link);
    TAILQ_INSERT_TAIL(&server->dead, client, link);
    server->n_clients--;
    event_add(server->reap_timer, &at_once);
    if (evtimer_pending(server->resume_timer, NULL))
        resume_accepting(server);
}

static void reap(struct ctl_server *server)
{
    struct client *client;

    while ((client = TAILQ_FIRST(&server->dead))) {
        TAILQ_REMOVE(&server->dead, client, link);
        client_free(client);
    }
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    reap(arg);
}

/* --- accepting --- */

static bool is_passing(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED;
}

static void note_accept_failure(struct ctl_server *server, int error)
{
    if (!server->accept_failing)
        log_warning("control socket cannot accept", LOG_STR("error", strerror(error)));
    server->accept_failing = true;
    pause_accepting(server);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct ctl_server *server = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd;

        if (!has_place(server)) {
            pause_accepting(server);
            return;
        }
        fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && is_passing(errno))
            return;
        if (fd < 0) {
            note_accept_failure(server, errno);
            return;
        }
        server->accept_failing = false;
        if (client_create(server, fd) != 0)
            log_warning("control client lost", LOG_STR("error", "out of memory"));
    }
}

/* --- what was refused --- */

/* True when this refusal may be told; *out_untold says how many before it were not. */
static bool take_ration(struct ctl_server *server, uint64_t now_ms, uint64_t *out_untold)
{
    uint64_t earned = (now_ms - server->refusals_filled_ms) / 1000;

    if (earned > 0) {
        server->refusals_left += earned;
        if (server->refusals_left > REFUSALS_BURST)
            server->refusals_left = REFUSALS_BURST;
        server->refusals_filled_ms = now_ms;
    }
    if (server->refusals_left == 0) {
        server->refusals_untold++;
        return false;
    }
    server->refusals_left--;
    *out_untold = server->refusals_untold;
    server->refusals_untold = 0;
    return true;
}

void server_note_outcome(struct ctl_server *server, const struct request *request)
{
    const struct reply *reply = &request->reply;
    bool is_change = request->command && (request->command->flags & COMMAND_CHANGES);
    uint64_t untold, now_ms = clock_now_ms();
    STR_AUTO text = {0};

    if (!reply->is_error || !(request->denied || is_change) ||
        !take_ration(server, now_ms, &untold))
        return;
    str_printf(&text, "%.*s: %s", LINE_TOLD_BYTES, str_text(&request->line),
               str_text(&reply->error));
    if (untold > 0)
        str_printf(&text, " (and %llu refusals before it that are not listed)",
                   (unsigned long long)untold);
    log_warning("control request refused", LOG_STR("request", str_text(&request->line)),
                LOG_STR("by", request->who.text), LOG_STR("reason", str_text(&reply->error)));
    events_add(server->host.events, &(struct event_record){
                                        .wall_ms = clock_wall_ms(),
                                        .mono_ms = now_ms,
                                        .kind = "refused",
                                        .pool = request->n_args == 2 ? request->args[0] : "",
                                        .backend = request->n_args == 2 ? request->args[1] : "",
                                        .text = str_text(&text),
                                        .by = request->who.text,
                                        .why = request->who.why,
                                    });
}

/* --- the server --- */

struct ctl_server *ctl_server_create(struct event_base *base, int listen_fd,
                                     const struct ctl_host *host)
{
    struct ctl_server *server = calloc(1, sizeof(*server));

    if (!server) {
        fd_close(&listen_fd);
        return NULL;
    }
    server->base = base;
    server->host = *host;
    server->limits = ctl_limits_default;
    server->listen_fd = listen_fd;
    server->refusals_left = REFUSALS_BURST;
    server->refusals_filled_ms = clock_now_ms();
    TAILQ_INIT(&server->clients);
    TAILQ_INIT(&server->dead);
    LIST_INIT(&server->requests);
    server->auth = auth_create();
    server->accept_event = event_new(base, listen_fd, EV_READ | EV_PERSIST, on_accept, server);
    server->resume_timer = evtimer_new(base, on_resume, server);
    server->reap_timer = evtimer_new(base, on_reap, server);
    if (!server->auth || !server->accept_event || !server->resume_timer || !server->reap_timer ||
        event_add(server->accept_event, NULL) != 0) {
        ctl_server_destroy(server);
        return NULL;
    }
    return server;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

void ctl_server_destroy(struct ctl_server *server)
{
    struct client *client;
    struct request *request;

    if (!server)
        return;
    while ((client = TAILQ_FIRST(&server->clients)))
        client_close(client);
    while ((request = LIST_FIRST(&server->requests))) {
        LIST_REMOVE(request, link);
        request->owner = NULL;
    }
    reap(server);
    free_event(server->accept_event);
    free_event(server->resume_timer);
    free_event(server->reap_timer);
    fd_close(&server->listen_fd);
    auth_destroy(server->auth);
    free(server);
}

void ctl_server_pause(struct ctl_server *server, bool paused)
{
    if (paused) {
        event_del(server->accept_event);
        event_del(server->resume_timer);
    } else {
        event_add(server->accept_event, NULL);
    }
}

int ctl_server_listener(const struct ctl_server *server)
{
    return server->listen_fd;
}

void ctl_server_set_limits(struct ctl_server *server, const struct ctl_limits *limits)
{
    server->limits = *limits;
}
