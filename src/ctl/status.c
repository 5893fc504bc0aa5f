/*
 * The listening side of the status address, and what its clients share: places, pages of figures.
 * In the monitor.
 */
#include "ctl/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "ctl/status_client.h"

#define ACCEPTS_PER_TURN 16
#define PAUSE_MS         100

/* --- pages --- */

void status_release_file(struct status *status, struct page_file *file)
{
    if (!file || --file->users > 0)
        return;
    TAILQ_REMOVE(&status->files, file, link);
    status->n_files--;
    fd_close(&file->fd);
    free(file);
}

struct page_file *status_get_page(struct status *status, enum status_page page)
{
    uint64_t now_ms = clock_now_ms();

    if (status->newest[page] && now_ms - status->taken_ms[page] < STATUS_FRESH_MS)
        return status->newest[page];
    /* One that master did not make in time may have got lost. One that it cannot make is not asked
     * for more often than others. */
    if (now_ms - status->taken_ms[page] >= STATUS_FRESH_MS &&
        (status->asked_ms[page] == 0 || now_ms - status->asked_ms[page] >= STATUS_ASK_MS)) {
        status->asked_ms[page] = now_ms;
        status->host.ask(status->host.arg, page);
    }
    return NULL;
}

/* What slow clients keep of the memory is bounded: those who read the oldest are closed. */
static void bound_files(struct status *status)
{
    struct page_file *oldest;
    struct status_client *client, *next;

    if (status->n_files < STATUS_PAGES_MAX)
        return;
    TAILQ_FOREACH (oldest, &status->files, link)
        if (oldest != status->newest[STATUS_METRICS] && oldest != status->newest[STATUS_FIGURES])
            break;
    TAILQ_FOREACH_SAFE (client, &status->clients, link, next)
        if (oldest && client->file == oldest)
            status_client_close(client);
}

/* fd is owned from now on. NULL: it is no page, or there is no memory. */
static struct page_file *add_file(struct status *status, int fd)
{
    struct page_file *file = NULL;
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size <= STATUS_PAGE_BYTES)
        file = calloc(1, sizeof(*file));
    if (!file) {
        fd_close(&fd);
        return NULL;
    }
    bound_files(status);
    *file = (struct page_file){.fd = fd, .bytes = st.st_size, .users = 1};
    TAILQ_INSERT_TAIL(&status->files, file, link);
    status->n_files++;
    return file;
}

void status_take_page(struct status *status, enum status_page page, int fd)
{
    struct page_file *file = add_file(status, fd);
    struct status_client *client, *next;

    status->asked_ms[page] = 0;
    status->taken_ms[page] = clock_now_ms();
    status_release_file(status, status->newest[page]);
    status->newest[page] = file;
    TAILQ_FOREACH_SAFE (client, &status->clients, link, next)
        if (client->state == STATUS_ASKING && client->page == page)
            status_client_take_page(client, file);
}

/* --- places --- */

static void pause_accepting(struct status *status)
{
    const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};

    event_del(status->accept_event);
    event_add(status->resume_timer, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct status *status = arg;

    (void)fd;
    (void)what;
    event_add(status->accept_event, NULL);
}

/* Who has kept a place longest without being answered, or NULL. */
static struct status_client *find_spare(const struct status *status)
{
    struct status_client *client, *found = NULL;

    TAILQ_FOREACH (client, &status->clients, link)
        if ((client->state == STATUS_HEAD || client->state == STATUS_GOODBYE) &&
            (!found || client->entered_ms < found->entered_ms))
            found = client;
    return found && clock_now_ms() - found->entered_ms >= STATUS_SPARE_MS ? found : NULL;
}

static bool has_place(struct status *status, bool denied)
{
    struct status_client *spare;

    if (denied)
        return status->n_denied < STATUS_DENIED_MAX && status->n_clients < STATUS_CLIENTS_MAX;
    if (status->n_clients < STATUS_CLIENTS_MAX)
        return true;
    spare = find_spare(status);
    if (spare)
        status_client_close(spare);
    return spare != NULL;
}

/* Whoever may reach a Unix socket is let in: that is a matter of its folder. */
static bool is_allowed(const struct status *status, const struct sockaddr_storage *sa)
{
    struct addr_ip peer;

    addr_ip_from_sockaddr((const struct sockaddr *)sa, &peer);
    if (peer.family == ADDR_UNIX)
        return true;
    for (uint32_t i = 0; i < status->snapshot->n_status_allow; i++)
        if (addr_cidr_contains(&status->snapshot->status_allow[i], &peer))
            return true;
    return false;
}

static void take_in(struct status *status, int fd, const struct sockaddr_storage *sa)
{
    bool denied = !is_allowed(status, sa);

    if (!has_place(status, denied)) {
        fd_close(&fd);
        scoreboard_bump(&status->host.sb->header->status_refused, 1);
        return;
    }
    (void)status_client_create(status, fd, denied);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct status *status = arg;

    (void)what;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof(sa);
        int fd = accept4(listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            take_in(status, fd, &sa);
            continue;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("status address cannot accept", LOG_STR("error", strerror(errno)));
            pause_accepting(status);
        }
        return;
    }
}

/* --- the whole --- */

struct status *status_create(struct event_base *base, int listen_fd, const struct status_host *host)
{
    struct status *status = calloc(1, sizeof(*status));

    if (!status) {
        fd_close(&listen_fd);
        return NULL;
    }
    status->base = base;
    status->host = *host;
    status->listen_fd = listen_fd;
    TAILQ_INIT(&status->clients);
    TAILQ_INIT(&status->files);
    status->accept_event = event_new(base, listen_fd, EV_READ | EV_PERSIST, on_accept, status);
    status->resume_timer = evtimer_new(base, on_resume, status);
    if (!status->accept_event || !status->resume_timer) {
        status_destroy(status);
        return NULL;
    }
    return status;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

void status_destroy(struct status *status)
{
    struct status_client *client;

    if (!status)
        return;
    while ((client = TAILQ_FIRST(&status->clients)))
        status_client_close(client);
    for (size_t page = 0; page < STATUS_PAGE_COUNT; page++)
        status_release_file(status, status->newest[page]);
    free_event(status->accept_event);
    free_event(status->resume_timer);
    fd_close(&status->listen_fd);
    snapshot_unmap(status->snapshot);
    free(status);
}

void status_take_snapshot(struct status *status, const struct snapshot_header *snapshot)
{
    bool is_first = !status->snapshot;

    snapshot_unmap(status->snapshot);
    status->snapshot = snapshot;
    if (is_first)
        event_add(status->accept_event, NULL);
}
