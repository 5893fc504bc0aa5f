/*
 * One connection to the status address: reads a request, answers it, perhaps keeps alive. Nothing
 * here waits for a client, and each state has its deadline. In the monitor.
 */
#include "ctl/status_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "ctl/dashboard.h"

#define SEND_PER_TURN  (128 * 1024)
#define THROW_AWAY_MAX (64 * 1024)
#define TYPE_TEXT      "text/plain; charset=utf-8"
#define TYPE_METRICS   "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_JSON      "application/json"

static void enter(struct status_client *client, enum status_state state, uint64_t within_ms)
{
    const struct timeval within = {.tv_sec = (time_t)(within_ms / 1000),
                                   .tv_usec = (suseconds_t)(within_ms % 1000) * 1000};

    client->state = state;
    client->entered_ms = clock_now_ms();
    event_add(client->deadline, &within);
    if (state == STATUS_HEAD || state == STATUS_GOODBYE)
        event_add(client->readable, NULL);
    else
        event_del(client->readable);
    if (state == STATUS_WRITING)
        event_add(client->writable, NULL);
    else
        event_del(client->writable);
}

/* --- answers --- */

struct answer {
    unsigned code;
    const char *type;
    const char *fields; /* further ones, each with its end; NULL: none */
    uint64_t bytes;     /* of the body */
};

static const char *phrase(unsigned code)
{
    switch (code) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

static void begin(struct status_client *client, const struct answer *answer)
{
    str_reset(&client->out);
    client->n_sent = 0;
    str_printf(&client->out,
               "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
               "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s"
               "Connection: %s\r\n\r\n",
               answer->code, phrase(answer->code), answer->type, (unsigned long long)answer->bytes,
               answer->fields ? answer->fields : "",
               client->request.keep_alive ? "keep-alive" : "close");
    enter(client, STATUS_WRITING, STATUS_WRITE_MS);
}

static void answer_text(struct status_client *client, unsigned code, const char *text)
{
    struct answer answer = {.code = code, .type = TYPE_TEXT, .bytes = strlen(text)};

    if (code == 405)
        answer.fields = "Allow: GET, HEAD\r\n";
    begin(client, &answer);
    if (!client->request.is_head)
        str_append(&client->out, text);
}

static void answer_error(struct status_client *client, unsigned code, const char *problem)
{
    STR_AUTO text = {0};

    str_printf(&text, "%s\n", problem);
    answer_text(client, code, str_text(&text));
}

static void answer_dashboard(struct status_client *client)
{
    struct answer answer = {.code = 200,
                            .type = "text/html; charset=utf-8",
                            .fields = dashboard_fields,
                            .bytes = dashboard_bytes};

    begin(client, &answer);
    if (client->request.is_head)
        return;
    client->body = dashboard_page;
    client->body_bytes = dashboard_bytes;
}

static void answer_health(struct status_client *client, const char *service)
{
    const struct status *status = client->status;
    STR_AUTO text = {0};
    int outcome = status_health(status->host.sb, status->snapshot, service, &text);

    if (outcome == -ENOENT)
        answer_error(client, 404, "there is no such service");
    else
        answer_text(client, outcome == 0 ? 200 : 503, str_text(&text));
}

void status_client_take_page(struct status_client *client, struct page_file *file)
{
    struct answer answer = {.code = 200,
                            .type = client->page == STATUS_METRICS ? TYPE_METRICS : TYPE_JSON};

    if (!file) {
        answer_error(client, 503, "the master process does not give its figures; try again");
        return;
    }
    answer.bytes = (uint64_t)file->bytes;
    begin(client, &answer);
    if (client->request.is_head)
        return;
    file->users++;
    client->file = file;
    client->file_at = 0;
}

static void answer_page(struct status_client *client, enum status_page page)
{
    struct page_file *file = status_get_page(client->status, page);

    client->page = page;
    if (file)
        status_client_take_page(client, file);
    else
        enter(client, STATUS_ASKING, STATUS_ASK_MS);
}

static void answer(struct status_client *client)
{
    static const char health[] = "/healthz";
    const struct status_request *request = &client->request;
    const char *path = request->path;
    size_t n = sizeof(health) - 1;

    scoreboard_bump(&client->status->host.sb->header->status_requests, 1);
    if (client->denied) {
        client->request.keep_alive = false;
        answer_error(client, 403, "this address is not in status_allow of the section global");
    } else if (request->error != 0) {
        answer_error(client, request->error, request->problem);
    } else if (strcmp(path, "/") == 0) {
        answer_dashboard(client);
    } else if (strcmp(path, "/metrics") == 0) {
        answer_page(client, STATUS_METRICS);
    } else if (strcmp(path, "/api/stats") == 0) {
        answer_page(client, STATUS_FIGURES);
    } else if (strncmp(path, health, n) == 0 && (path[n] == '\0' || path[n] == '/')) {
        answer_health(client, path[n] == '\0' ? NULL : path + n + 1);
    } else {
        answer_error(client, 404,
                     "there is only /, /metrics, /api/stats, /healthz and /healthz/SERVICE");
    }
}

/* --- sending --- */

static void drop_answer(struct status_client *client)
{
    status_release_file(client->status, client->file);
    client->file = NULL;
    client->body = NULL;
    client->body_bytes = 0;
}

/* Bytes that went out; 0: all have; -errno. */
static ssize_t send_some(struct status_client *client)
{
    const struct str *out = &client->out;
    size_t n = client->n_sent;
    bool is_last = client->body_bytes == 0 && !client->file;

    if (n < out->len)
        return send(client->fd, out->data + n, out->len - n,
                    MSG_NOSIGNAL | (is_last ? 0 : MSG_MORE));
    n -= out->len;
    if (n < client->body_bytes)
        return send(client->fd, client->body + n, client->body_bytes - n, MSG_NOSIGNAL);
    if (client->file && client->file_at < client->file->bytes)
        return sendfile(client->fd, client->file->fd, &client->file_at, SEND_PER_TURN);
    return 0;
}

/* The answer is out. */
static void sent(struct status_client *client)
{
    drop_answer(client);
    if (!client->request.keep_alive) {
        (void)shutdown(client->fd, SHUT_WR);
        enter(client, STATUS_GOODBYE, STATUS_GOODBYE_MS);
        return;
    }
    client->was_served = true;
    enter(client, STATUS_HEAD, client->n_head > 0 ? STATUS_HEAD_MS : STATUS_IDLE_MS);
    if (client->n_head > 0) /* of a request that came with the last one; in its own turn */
        event_active(client->readable, EV_READ, 0);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct status_client *client = arg;
    size_t so_far = 0;

    (void)fd;
    (void)what;
    while (so_far < SEND_PER_TURN) {
        ssize_t n = client->out.failed ? -1 : send_some(client);

        if (n == 0) {
            sent(client);
            return;
        }
        if (n < 0 && (client->out.failed || (errno != EAGAIN && errno != EINTR)))
            status_client_close(client);
        if (n < 0)
            return;
        if (client->n_sent < client->out.len + client->body_bytes)
            client->n_sent += (size_t)n;
        so_far += (size_t)n;
    }
}

/* --- reading --- */

/* Answers the request that is there; false: none is complete. */
static bool serve(struct status_client *client)
{
    size_t n = status_request_parse(client->head, client->n_head, &client->request);

    if (n == 0)
        return false;
    client->n_head -= n;
    memmove(client->head, client->head + n, client->n_head);
    answer(client);
    return true;
}

static void throw_away(struct status_client *client)
{
    ssize_t n = recv(client->fd, client->head, sizeof(client->head), 0);

    if (n > 0)
        client->n_thrown_away += (size_t)n;
    if (n == 0 || client->n_thrown_away > THROW_AWAY_MAX ||
        (n < 0 && errno != EAGAIN && errno != EINTR))
        status_client_close(client);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct status_client *client = arg;

    (void)what;
    if (client->state == STATUS_GOODBYE) {
        throw_away(client);
        return;
    }
    bool is_begun = client->n_head > 0;
    if (is_begun && serve(client)) /* it came with the one before, perhaps with the end behind it */
        return;
    ssize_t n = recv(fd, client->head + client->n_head, sizeof(client->head) - client->n_head, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        status_client_close(client);
        return;
    }
    client->n_head += n > 0 ? (size_t)n : 0;
    if (!is_begun && client->n_head > 0)
        enter(client, STATUS_HEAD, STATUS_HEAD_MS);
    (void)serve(client);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct status_client *client = arg;

    (void)fd;
    (void)what;
    if (client->state == STATUS_HEAD && client->n_head > 0) {
        client->request = (struct status_request){0};
        answer_error(client, 408, "the request was not complete in time");
    } else if (client->state == STATUS_ASKING) {
        status_client_take_page(client, NULL);
    } else {
        status_client_close(client);
    }
}

/* --- the client --- */

int status_client_create(struct status *status, int fd, bool denied)
{
    struct status_client *client = calloc(1, sizeof(*client));

    if (!client) {
        fd_close(&fd);
        return -ENOMEM;
    }
    client->status = status;
    client->fd = fd;
    client->denied = denied;
    client->readable = event_new(status->base, fd, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(status->base, fd, EV_WRITE | EV_PERSIST, on_writable, client);
    client->deadline = evtimer_new(status->base, on_deadline, client);
    TAILQ_INSERT_TAIL(&status->clients, client, link);
    status->n_clients++;
    status->n_denied += denied;
    if (!client->readable || !client->writable || !client->deadline) {
        status_client_close(client);
        return -ENOMEM;
    }
    enter(client, STATUS_HEAD, STATUS_HEAD_MS);
    return 0;
}

/* Safe in its own callback when that returns at once: nothing else refers to it. */
void status_client_close(struct status_client *client)
{
    struct status *status = client->status;
    struct event *const events[] = {client->readable, client->writable, client->deadline};

    drop_answer(client);
    TAILQ_REMOVE(&status->clients, client, link);
    status->n_clients--;
    status->n_denied -= client->denied;
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    str_free(&client->out);
    fd_close(&client->fd);
    free(client);
}
