/*
 * Names looked up for whoever cannot go on without: before the monitor runs, and for names that
 * come. A child of its own does it and sends a record for each name; whatever has not come by the
 * deadline counts as unresolved. Owns the child and its socket. In master (and in sluiced -t).
 */
#include "resolve.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "child.h"
#include "dns/look.h"
#include "privileges.h"

/* The child ends so much before its parent gives up, and what it knows by then counts. */
#define MARGIN_MS 250

struct answer {
    uint32_t index;
    struct dns_result result; /* cut after its answers */
};

struct resolve {
    struct names *names;
    const char **asked; /* they are the entries' */
    size_t n_asked;
    pid_t child;
    int socket;
    uint32_t timeout_ms;
    uint64_t deadline_ms;
    struct event *readable;
    resolve_done_fn *done;
    void *arg;
};

/* --- in the child --- */

struct question {
    uint32_t index;
    int socket;
};

static void on_looked(void *arg, const struct dns_result *result)
{
    const struct question *question = arg;
    struct answer answer = {.index = question->index};
    memcpy(&answer.result, result, DNS_RESULT_BYTES(result->n));
    (void)!send(question->socket, &answer,
                offsetof(struct answer, result) + DNS_RESULT_BYTES(result->n), MSG_NOSIGNAL);
}

/* What name servers say is read as somebody who may do nothing. */
static int give_up_root(void)
{
    struct privileges privileges;
    STR_AUTO problem = {0};
    int error = privileges_find(NULL, NULL, &privileges, &problem);
    return error == 0 ? privileges_drop(&privileges) : error;
}

/* The loop ends by itself once nothing is left to wait for. */
static _Noreturn void look_up_all(const struct resolve *resolve, int socket)
{
    uint32_t limit_ms = resolve->timeout_ms > 2 * MARGIN_MS ? resolve->timeout_ms - MARGIN_MS
                                                            : resolve->timeout_ms / 2;
    struct event_base *base = event_base_new();
    struct dns_files *files = dns_files_create(DNS_HOSTS_PATH, DNS_RESOLV_PATH);
    struct dns_asker *asker = base != NULL && files != NULL ? dns_asker_create(base, files) : NULL;
    struct question *questions = calloc(resolve->n_asked, sizeof(*questions));
    if (asker == NULL || questions == NULL || give_up_root() != 0) {
        _exit(1); /* the monitor will know */
    }
    for (size_t i = 0; i < resolve->n_asked; i++) {
        questions[i] = (struct question){.index = (uint32_t)i, .socket = socket};
        (void)dns_look_start(base, asker, files, resolve->asked[i], limit_ms, on_looked,
                             &questions[i]);
    }
    event_base_dispatch(base);
    _exit(0);
}

/* --- in the parent --- */

static void resolve_free(struct resolve *resolve)
{
    child_end(&resolve->child);
    fd_close(&resolve->socket);
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
static void take_answer(struct resolve *resolve, const struct answer *answer, size_t bytes)
{
    const struct dns_result *result = &answer->result;
    struct names_answer answers[DNS_ANSWERS_MAX];
    if (bytes < offsetof(struct answer, result) + DNS_RESULT_BYTES(0) ||
        answer->index >= resolve->n_asked || result->n > DNS_ANSWERS_MAX ||
        bytes != offsetof(struct answer, result) + DNS_RESULT_BYTES(result->n)) {
        return;
    }
    for (uint32_t i = 0; i < result->n; i++) {
        answers[i] = (struct names_answer){.ip = result->answers[i].ip,
                                           .port = result->answers[i].ip.port,
                                           .weight = result->answers[i].weight};
        answers[i].ip.port = 0;
    }
    const char *name = resolve->asked[answer->index];
    if (result->n > 0) {
        (void)names_set(resolve->names, name, answers, result->n);
    } else if (result->outcome < DNS_OUTCOME_COUNT) {
        names_note(resolve->names, name, dns_outcome_texts[result->outcome]);
    }
}

/* Takes what is there. True at its end. */
static bool take_answers(struct resolve *resolve)
{
    struct answer answer;
    for (;;) {
        ssize_t n = recv(resolve->socket, &answer, sizeof(answer), MSG_DONTWAIT);
        if (n <= 0) {
            return !(n < 0 && (errno == EAGAIN || errno == EINTR));
        }
        take_answer(resolve, &answer, (size_t)n);
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
        struct pollfd waiting = {.fd = resolve->socket, .events = POLLIN};
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
        if (names->items[i].n == 0) {
            if (asked != NULL) {
                asked[n] = names->items[i].name;
            }
            n++;
        }
    }
    return n;
}

static int fork_child(struct resolve *resolve)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    resolve->socket = pair[0];
    resolve->child = child_fork();
    if (resolve->child == 0) {
        dup2(pair[1], 3);
        close_range(4, ~0U, 0);
        look_up_all(resolve, 3);
    }
    int error = errno;
    close(pair[1]);
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
                                .asked = calloc(n, sizeof(*resolve->asked)),
                                .n_asked = n,
                                .socket = -1,
                                .timeout_ms = (uint32_t)timeout_ms,
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
    resolve->readable =
        event_new(base, resolve->socket, EV_READ | EV_PERSIST, on_readable, resolve);
    struct timeval in = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (resolve->readable == NULL || event_add(resolve->readable, &in) != 0) {
        finish(resolve);
        return NULL;
    }
    return resolve;
}
