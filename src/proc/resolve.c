/*
 * Names, looked up in a child process, because getaddrinfo blocks. The child asks
 * for all at once and writes a record for each address; whatever has not come by the deadline
 * counts as unresolved. Owns the child and its pipe. In master (and in sluiced -t).
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

#define SRV "srv:"

struct answer {
    uint32_t index;
    struct addr_ip ip;
};

struct resolve {
    struct names *names;
    const char **asked; /* they are the entries' */
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

/* --- in the child --- */

/* Each is under PIPE_BUF: whole or not at all. */
static void write_answers(int pipe, uint32_t index, const struct addrinfo *found)
{
    for (const struct addrinfo *ai = found; ai != NULL; ai = ai->ai_next) {
        struct answer answer = {.index = index};
        addr_ip_from_sockaddr(ai->ai_addr, &answer.ip);
        if (answer.ip.family != ADDR_NONE) {
            (void)!write(pipe, &answer, sizeof(answer));
        }
    }
}

static _Noreturn void look_up_all(const struct resolve *resolve, int pipe)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct gaicb *questions = calloc(resolve->n_asked, sizeof(*questions));
    struct gaicb **list = calloc(resolve->n_asked, sizeof(struct gaicb *));
    if (questions == NULL || list == NULL) {
        _exit(1);
    }
    for (size_t i = 0; i < resolve->n_asked; i++) {
        questions[i] = (struct gaicb){.ar_name = resolve->asked[i], .ar_request = &hints};
        list[i] = &questions[i];
    }
    getaddrinfo_a(GAI_NOWAIT, list, (int)resolve->n_asked, NULL);
    for (size_t left = resolve->n_asked; left > 0;) {
        gai_suspend((const struct gaicb *const *)list, (int)resolve->n_asked, NULL);
        for (size_t i = 0; i < resolve->n_asked; i++) {
            if (list[i] == NULL || gai_error(list[i]) == EAI_INPROGRESS) {
                continue;
            }
            if (gai_error(list[i]) == 0) {
                write_answers(pipe, (uint32_t)i, list[i]->ar_result);
            }
            list[i] = NULL;
            left--;
        }
    }
    _exit(0);
}

/* --- in the parent --- */

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
    resolve_done_fn *done = resolve->done;
    void *arg = resolve->arg;
    resolve_free(resolve);
    done(arg);
}

/* Without memory it is as if the answer had not come. */
static void take_answer(struct resolve *resolve, const struct answer *answer)
{
    const char *name = answer->index < resolve->n_asked ? resolve->asked[answer->index] : NULL;
    const struct names_entry *entry = name != NULL ? names_find(resolve->names, name) : NULL;
    struct names_answer *all = entry != NULL ? calloc(entry->n + 1, sizeof(*all)) : NULL;
    if (all != NULL) {
        for (size_t i = 0; i < entry->n; i++) {
            all[i] = entry->answers[i];
        }
        all[entry->n] = (struct names_answer){.ip = answer->ip};
        (void)names_set(resolve->names, name, all, entry->n + 1);
    }
    free(all);
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
            take_answer(resolve, &resolve->partial);
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

/* asked NULL: only counts. */
static size_t collect(const struct names *names, const char **asked)
{
    size_t n = 0;
    for (size_t i = 0; i < names->count; i++) {
        const struct names_entry *entry = &names->items[i];
        if (entry->n == 0 && strncmp(entry->name, SRV, strlen(SRV)) != 0) {
            if (asked != NULL) {
                asked[n] = entry->name;
            }
            n++;
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

struct resolve *resolve_start(struct event_base *base, struct names *names, int timeout_ms,
                              resolve_done_fn *done, void *arg)
{
    size_t n = collect(names, NULL);
    struct resolve *resolve = n > 0 ? calloc(1, sizeof(*resolve)) : NULL;
    if (resolve == NULL) {
        done(arg);
        return NULL;
    }
    *resolve = (struct resolve){.names = names,
                                .asked = calloc(n, sizeof(char *)),
                                .n_asked = n,
                                .pipe = -1,
                                .deadline_ms = clock_now_ms() + (uint64_t)timeout_ms,
                                .done = done,
                                .arg = arg};
    if (resolve->asked != NULL) {
        collect(names, resolve->asked);
    }
    if (resolve->asked == NULL || fork_child(resolve) != 0) {
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
