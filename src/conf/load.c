/*
 * A load: the reading child as its parent sees it. Owns the pipe and the child until it is reaped;
 * runs in whoever wants a configuration, and in the master it must never wait.
 *
 * A child that hangs in the kernel (a dead network mount) does not even die of SIGKILL. Such a one
 * is left behind in a small list, and reaped by whichever load comes when it has died at last.
 */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#include "child.h"
#include "wire.h"

#define READ_BYTES_MAX  (1024 * 1024) /* of one conf_load_continue */
#define REAP_WAIT_MS    200
#define LEFT_BEHIND_MAX 16

struct conf_load {
    char *path;
    const struct conf_section_schema *schema;
    pid_t pid;
    int fd;
    struct str answer;
    bool complete;
};

/* Children that did not die in time. The process that started them is the only one that may reap
 * them, so this is the process's and no load's. */
static struct {
    pid_t pids[LEFT_BEHIND_MAX];
    size_t n;
} left_behind;

static void reap_left_behind(void)
{
    for (size_t i = 0; i < left_behind.n;) {
        if (waitpid(left_behind.pids[i], NULL, WNOHANG) != 0)
            left_behind.pids[i] = left_behind.pids[--left_behind.n];
        else
            i++;
    }
}

/* Whether it was reaped; *out_status is -1 when its end is not known. */
static bool reap(pid_t pid, int wait_ms, int *out_status)
{
    uint64_t deadline_ms = clock_now_ms() + (uint64_t)wait_ms;
    for (;;) {
        pid_t result = waitpid(pid, out_status, WNOHANG);
        if (result == pid)
            return true;
        if (result < 0 && errno != EINTR) {
            *out_status = -1; /* somebody else did it, or SIGCHLD is ignored */
            return true;
        }
        if (clock_now_ms() >= deadline_ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    }
}

static pid_t start_child(int answer_fd, const char *path, const char *text,
                         const struct conf_tree *again, const struct conf_section_schema *schema,
                         uid_t as_user)
{
    /* No handler of the parent's may run in the child. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        conf_child_run(answer_fd, path, text, again, schema, as_user);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static void free_load(struct conf_load *load)
{
    int error = errno;
    fd_close(&load->fd);
    if (load->answer.data)
        explicit_bzero(load->answer.data, load->answer.len);
    str_free(&load->answer);
    free(load->path);
    free(load);
    errno = error;
}

/* text and again NULL: the file at path and what it includes are read. */
static struct conf_load *start(const char *path, const char *text, const struct conf_tree *again,
                               const struct conf_section_schema *schema, uid_t as_user)
{
    reap_left_behind();
    struct conf_load *load = calloc(1, sizeof *load);
    if (!load)
        return NULL;
    load->fd = -1;
    load->schema = schema;
    load->answer.limit = CONF_WIRE_BYTES_MAX;
    load->path = strdup(path);
    int ends[2];
    if (!load->path || pipe2(ends, O_CLOEXEC) < 0) {
        free_load(load);
        return NULL;
    }
    load->fd = ends[0];
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0)
        load->pid = start_child(ends[1], path, text, again, schema, as_user);
    else
        load->pid = -1;
    fd_close(&ends[1]);
    if (load->pid < 0) {
        free_load(load);
        return NULL;
    }
    return load;
}

struct conf_load *conf_load_start(const char *path, const struct conf_section_schema *schema,
                                  uid_t as_user)
{
    return start(path, NULL, NULL, schema, as_user);
}

struct conf_load *conf_load_start_text(const char *name, const char *text,
                                       const struct conf_section_schema *schema)
{
    return start(name, text, NULL, schema, CONF_UID_SELF);
}

struct conf_load *conf_load_again(const struct conf_tree *tree, uid_t as_user)
{
    return start(tree->root.file, NULL, tree, tree->root.schema, as_user);
}

int conf_load_fd(const struct conf_load *load)
{
    return load->fd;
}

int conf_load_continue(struct conf_load *load)
{
    static char chunk[64 * 1024];
    for (size_t total = 0; !load->complete && total < READ_BYTES_MAX;) {
        ssize_t n = read(load->fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n > 0) {
            str_append_n(&load->answer, chunk, (size_t)n);
            total += (size_t)n;
        }
        load->complete = n <= 0 || load->answer.failed;
    }
    explicit_bzero(chunk, sizeof chunk);
    return load->complete;
}

/* An error that says how the child ended without a good answer. */
static void report_end(const struct conf_load *load, int status, struct errlist *errors)
{
    STR_AUTO how = {0};
    if (status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        str_printf(&how, "after %d seconds", CONF_CHILD_SECONDS_MAX);
    else if (status != -1 && WIFSIGNALED(status))
        str_printf(&how, "signal %d", WTERMSIG(status));
    else if (status != -1 && WIFEXITED(status))
        str_printf(&how, "exit %d", WEXITSTATUS(status));
    else
        str_append(&how, "for an unknown reason");
    errlist_add(errors, ERRLIST_ERROR, load->path, 0, NULL,
                "the configuration reader ended unexpectedly (%s) while reading %s", str_text(&how),
                load->path);
}

static void decode_answer(const struct conf_load *load, int status, struct errlist *errors,
                          struct conf_tree **out_tree)
{
    int result = -EBADMSG;
    if (!load->answer.failed)
        result = conf_wire_decode(str_text(&load->answer), load->answer.len, load->schema, errors,
                                  out_tree);
    if (result == -ENOMEM)
        errlist_add(errors, ERRLIST_ERROR, load->path, 0, NULL, "out of memory");
    else if (result < 0 && (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
                            load->answer.len == 0))
        report_end(load, status, errors);
    else if (result < 0)
        errlist_add(errors, ERRLIST_ERROR, load->path, 0, NULL,
                    "the configuration reader gave an answer that makes no sense");
}

void conf_load_finish(struct conf_load *load, bool timed_out, struct errlist *errors,
                      struct conf_tree **out_tree)
{
    int status = -1;
    bool reaped = load->complete && !load->answer.failed && reap(load->pid, REAP_WAIT_MS, &status);
    if (!reaped) {
        kill(load->pid, SIGKILL);
        reaped = reap(load->pid, REAP_WAIT_MS, &status);
    }
    if (!reaped && left_behind.n < LEFT_BEHIND_MAX)
        left_behind.pids[left_behind.n++] = load->pid;

    *out_tree = NULL;
    if (load->complete)
        decode_answer(load, status, errors, out_tree);
    else if (timed_out)
        errlist_add(errors, ERRLIST_ERROR, load->path, 0, NULL,
                    "reading it took too long and was given up; is it, or a file that it includes, "
                    "on a file system that does not answer?");
    else
        errlist_add(errors, ERRLIST_ERROR, load->path, 0, NULL, "reading it was given up");
    free_load(load);
}

static void wait_for(const char *path, const char *text, const struct conf_section_schema *schema,
                     int timeout_ms, struct errlist *errors, struct conf_tree **out_tree)
{
    uint64_t deadline_ms = clock_now_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    *out_tree = NULL;
    struct conf_load *load = start(path, text, NULL, schema, CONF_UID_SELF);
    if (!load) {
        errlist_add(errors, ERRLIST_ERROR, path, 0, NULL,
                    "cannot start the configuration reader: %s", strerror(errno));
        return;
    }
    bool complete = false;
    while (!complete) {
        uint64_t now_ms = clock_now_ms();
        if (now_ms >= deadline_ms)
            break;
        struct pollfd poller = {.fd = load->fd, .events = POLLIN};
        if (poll(&poller, 1, (int)(deadline_ms - now_ms)) > 0)
            complete = conf_load_continue(load) == 1;
    }
    conf_load_finish(load, !complete, errors, out_tree);
}

void conf_load_wait(const char *path, const struct conf_section_schema *schema, int timeout_ms,
                    struct errlist *errors, struct conf_tree **out_tree)
{
    wait_for(path, NULL, schema, timeout_ms, errors, out_tree);
}

void conf_load_wait_text(const char *name, const char *text,
                         const struct conf_section_schema *schema, int timeout_ms,
                         struct errlist *errors, struct conf_tree **out_tree)
{
    wait_for(name, text, schema, timeout_ms, errors, out_tree);
}
