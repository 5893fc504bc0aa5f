/*
 * Host names of backends, looked up in a child process, because getaddrinfo blocks. The child asks
 * for all at once and writes one answer record each; whatever has not come by the deadline counts
 * as unresolved. Owns the child and its pipe. In master (and in sluiced -t).
 */
#include "resolve.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "child.h"

#define HOST_MAX 256

struct answer {
    uint32_t index;
    struct addr_ip ip;
};

struct resolve {
    struct model *model;
    const struct model *running;
    struct model_backend **asked;
    size_t n_asked;
    pid_t child;
    int pipe;
    uint64_t deadline_ms;
    struct event *readable;
    struct answer partial;
    size_t partial_bytes;
    resolve_done_fn *done;
    void *arg;
};

static int set_host(const struct model_backend *backend, char host[static HOST_MAX], char port[8])
{
    uint16_t number;
    bool is_unix;
    const char *problem;
    int error = addr_split(backend->address_text, host, HOST_MAX, &number, &is_unix, &problem);
    snprintf(port, 8, "%u", number);
    return error;
}

/* --- in the child --- */

static void write_answer(int pipe, uint32_t index, const struct addrinfo *found)
{
    for (const struct addrinfo *ai = found; ai != NULL; ai = ai->ai_next) {
        struct answer answer = {.index = index};
        addr_ip_from_sockaddr(ai->ai_addr, &answer.ip);
        if (answer.ip.family != ADDR_NONE) {
            (void)!write(pipe, &answer, sizeof(answer)); /* under PIPE_BUF: whole or not at all */
            return;
        }
    }
}

struct question {
    struct gaicb cb;
    char host[HOST_MAX];
    char port[8];
    bool answered;
};

static _Noreturn void look_up_all(const struct resolve *resolve, int pipe)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct question *questions = calloc(resolve->n_asked, sizeof(*questions));
    struct gaicb **list = calloc(resolve->n_asked, sizeof(struct gaicb *));
    if (questions == NULL || list == NULL) {
        _exit(1);
    }
    for (size_t i = 0; i < resolve->n_asked; i++) {
        struct question *q = &questions[i];
        set_host(resolve->asked[i], q->host, q->port);
        q->cb = (struct gaicb){.ar_name = q->host, .ar_service = q->port, .ar_request = &hints};
        list[i] = &q->cb;
    }
    getaddrinfo_a(GAI_NOWAIT, list, (int)resolve->n_asked, NULL);
    for (size_t left = resolve->n_asked; left > 0;) {
        gai_suspend((const struct gaicb *const *)list, (int)resolve->n_asked, NULL);
        for (size_t i = 0; i < resolve->n_asked; i++) {
            if (list[i] == NULL || gai_error(list[i]) == EAI_INPROGRESS) {
                continue;
            }
            if (gai_error(list[i]) == 0) {
                write_answer(pipe, (uint32_t)i, list[i]->ar_result);
            }
            list[i] = NULL;
            left--;
        }
    }
    _exit(0);
}

/* --- in the parent --- */

static const struct model_backend *same_name(const struct model *running, const char *text)
{
    for (size_t i = 0; running != NULL && i < running->n_pools; i++) {
        for (size_t j = 0; j < running->pools[i].n_backends; j++) {
            const struct model_backend *backend = &running->pools[i].backends[j];
            if (backend->named && backend->address.ip.family != ADDR_NONE &&
                strcmp(backend->address_text, text) == 0) {
                return backend;
            }
        }
    }
    return NULL;
}

static void end_child(struct resolve *resolve)
{
    child_end(&resolve->child);
    fd_close(&resolve->pipe);
}

static void resolve_free(struct resolve *resolve)
{
    end_child(resolve);
    if (resolve->readable != NULL) {
        event_free(resolve->readable);
    }
    free(resolve->asked);
    free(resolve);
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve != NULL) {
        resolve_free(resolve);
    }
}

static void finish(struct resolve *resolve)
{
    for (size_t i = 0; i < resolve->n_asked; i++) {
        struct model_backend *backend = resolve->asked[i];
        if (backend->address.ip.family == ADDR_NONE) {
            /* A name server that is away takes no backend away: the last good address holds. */
            const struct model_backend *known = same_name(resolve->running, backend->address_text);
            if (known != NULL) {
                backend->address = known->address;
            }
        }
    }
    resolve_done_fn *done = resolve->done;
    void *arg = resolve->arg;
    resolve_free(resolve);
    done(arg);
}

/* Takes what is in the pipe. True at its end. */
static bool take_answers(struct resolve *resolve)
{
    for (;;) {
        ssize_t n = read(resolve->pipe, (char *)&resolve->partial + resolve->partial_bytes,
                         sizeof(resolve->partial) - resolve->partial_bytes);
        if (n <= 0) {
            return !(n < 0 && (errno == EAGAIN || errno == EINTR));
        }
        resolve->partial_bytes += (size_t)n;
        if (resolve->partial_bytes == sizeof(resolve->partial)) {
            resolve->partial_bytes = 0;
            if (resolve->partial.index < resolve->n_asked) {
                struct model_backend *backend = resolve->asked[resolve->partial.index];
                backend->address.ip = resolve->partial.ip;
            }
        }
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct resolve *resolve = arg;
    if (take_answers(resolve) || (what & EV_TIMEOUT) != 0 ||
        clock_now_ms() >= resolve->deadline_ms) {
        finish(resolve);
    }
}

static void wait_here(struct resolve *resolve)
{
    for (;;) {
        uint64_t now = clock_now_ms();
        if (now >= resolve->deadline_ms) {
            break;
        }
        struct pollfd waiting = {.fd = resolve->pipe, .events = POLLIN};
        poll(&waiting, 1, (int)(resolve->deadline_ms - now));
        if (take_answers(resolve)) {
            break;
        }
    }
    finish(resolve);
}

static size_t collect(struct resolve *resolve, struct model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        for (size_t j = 0; j < model->pools[i].n_backends; j++) {
            struct model_backend *backend = &model->pools[i].backends[j];
            if (backend->named && backend->address.ip.family == ADDR_NONE) {
                if (resolve != NULL) {
                    resolve->asked[n] = backend;
                }
                n++;
            }
        }
    }
    return n;
}

static int fork_child(struct resolve *resolve)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -errno;
    }
    resolve->pipe = fds[0];
    resolve->child = child_fork();
    if (resolve->child == 0) {
        fcntl(fds[1], F_SETFL, 0);
        dup2(fds[1], 3);
        close_range(4, ~0U, 0);
        look_up_all(resolve, 3);
    }
    int error = errno;
    close(fds[1]);
    return resolve->child > 0 ? 0 : -error;
}

struct resolve *resolve_start(struct event_base *base, struct model *model,
                              const struct model *running, int timeout_ms, resolve_done_fn *done,
                              void *arg)
{
    size_t n = collect(NULL, model);
    struct resolve *resolve = n > 0 ? calloc(1, sizeof(*resolve)) : NULL;
    if (resolve == NULL) {
        done(arg);
        return NULL;
    }
    *resolve = (struct resolve){.model = model,
                                .running = running,
                                .asked = calloc(n, sizeof(struct model_backend *)),
                                .n_asked = n,
                                .pipe = -1,
                                .deadline_ms = clock_now_ms() + (uint64_t)timeout_ms,
                                .done = done,
                                .arg = arg};
    if (resolve->asked != NULL) {
        collect(resolve, model);
    }
    if (resolve->asked == NULL || fork_child(resolve) != 0) {
        resolve->n_asked = resolve->asked == NULL ? 0 : n;
        finish(resolve);
        return NULL;
    }
    if (base == NULL) {
        wait_here(resolve);
        return NULL;
    }
    resolve->readable = event_new(base, resolve->pipe, EV_READ | EV_PERSIST, on_readable, resolve);
    struct timeval in = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (resolve->readable == NULL || event_add(resolve->readable, &in) != 0) {
        finish(resolve);
        return NULL;
    }
    return resolve;
}
