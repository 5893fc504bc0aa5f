/*
 * The fork and the way to exec. In master and its child.
 *
 * The new program must be nobody's child in the end but init's or the supervisor's: else the
 * supervisor would not learn of its death while the old one drains, perhaps for hours. But until it
 * serves, it must not outlive the old one, and its exit status is worth knowing. So it is the child
 * of a nurse, who does nothing but wait for it and end likewise. SIGTERM, or the old one's death,
 * has the nurse kill it; SIGKILL ends the nurse alone, and so sets it free. (PR_SET_PDEATHSIG of
 * its own would not do: exec by root, which regains capabilities that master gave up, clears that.)
 */
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "child.h"
#include "inherited.h"
#include "master.h"
#include "systemd.h"

#define CANNOT_RUN 127 /* exit status, as shells have it */

/* What the new program gets, in the order in which it gets it: sockets, then channel, handover,
 * standard error. */
struct bundle {
    int *fds;
    size_t n_sockets, n;
    struct str names;
};

static void bundle_free(struct bundle *bundle)
{
    free(bundle->fds);
    str_free(&bundle->names);
}

static void add_socket(struct bundle *bundle, int fd, const char *name, const char *before)
{
    str_printf(&bundle->names, "%s", bundle->n_sockets == 0 ? "" : ":");
    if (before != NULL && strcmp(before, name) == 0) {
        str_append_char(&bundle->names, INHERITED_SAME);
    } else {
        str_append(&bundle->names, name);
    }
    bundle->fds[bundle->n_sockets++] = fd;
    bundle->n = bundle->n_sockets;
}

static int gather(const struct master *master, int control_fd, struct bundle *out)
{
    size_t n = 0;
    int fd;
    const char *name, *before = NULL;
    while (listeners_walk(master->listeners, n, &fd, &name)) {
        n++;
    }
    *out = (struct bundle){.fds = malloc((n + 5) * sizeof(*out->fds))};
    if (out->fds == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n && listeners_walk(master->listeners, i, &fd, &name); i++) {
        add_socket(out, fd, name, before);
        before = name;
    }
    if (control_fd >= 0) {
        add_socket(out, control_fd, "control", NULL);
    }
    if (master->status_fd >= 0) {
        add_socket(out, master->status_fd, "status", NULL);
    }
    return out->names.failed ? -ENOMEM : 0;
}

/* --- in the children --- */

/* Moves all to where the new program looks for them; everything else is closed. */
static bool place(const struct bundle *bundle, int errors)
{
    int beyond = INHERITED_FIRST + (int)bundle->n;
    int said = fcntl(errors, F_DUPFD, beyond);
    for (size_t i = 0; i < bundle->n; i++) {
        bundle->fds[i] = fcntl(bundle->fds[i], F_DUPFD, beyond);
        if (bundle->fds[i] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < bundle->n; i++) {
        if (dup2(bundle->fds[i], INHERITED_FIRST + (int)i) < 0) {
            return false;
        }
    }
    if (said < 0 || dup2(said, STDERR_FILENO) < 0) {
        return false;
    }
    close_range((unsigned)beyond, ~0U, 0);
    return true;
}

static void set_environment(const struct master *master, const struct bundle *bundle)
{
    char text[64];
    int next = INHERITED_FIRST + (int)bundle->n_sockets;
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%zu", bundle->n_sockets);
    setenv("LISTEN_FDS", text, 1);
    setenv("LISTEN_FDNAMES", str_text(&bundle->names), 1);
    snprintf(text, sizeof(text), "%d,%d,%d", next, next + 1, next + 2);
    setenv(INHERITED_UPGRADE_VARIABLE, text, 1);
    systemd_pass_on(master->systemd);
}

static volatile pid_t nursed; /* of the nurse; for its handler */

static void on_end(int number)
{
    (void)number;
    kill(nursed, SIGKILL);
}

static void allow_end(bool allowed)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(allowed ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static _Noreturn void become(const struct master *master, const char *program,
                             const struct bundle *bundle, int errors, pid_t nurse)
{
    for (int i = 1; i < NSIG; i++) {
        signal(i, SIG_DFL); /* what is ignored would stay so */
    }
    allow_end(true);
    if (getppid() == nurse && place(bundle, errors)) {
        set_environment(master, bundle);
        execl(program, program, "-c", master->config_file, NULL);
        fprintf(stderr, "cannot run %s: %s\n", program, strerror(errno));
    }
    _exit(CANNOT_RUN);
}

static _Noreturn void nurse_main(const struct master *master, const char *program,
                                 const struct bundle *bundle, int errors, pid_t parent)
{
    pid_t own = getpid();
    int status = 0;
    child_ignore_group_signals();
    allow_end(false);
    signal(SIGTERM, on_end);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    pid_t pid = getppid() == parent ? fork() : -1;
    if (pid == 0) {
        become(master, program, bundle, errors, own);
    }
    if (pid < 0) {
        _exit(CANNOT_RUN);
    }
    nursed = pid;
    allow_end(true);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    setproctitle("upgrade");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* --- in master --- */

void successor_end(struct successor *successor)
{
    int status;
    if (successor->nurse > 0) {
        kill(successor->nurse, SIGTERM);
        while (waitpid(successor->nurse, &status, 0) < 0 && errno == EINTR) {
        }
        successor->nurse = 0;
    }
}

int successor_start(struct master *master, const char *program, int control_fd, int handover,
                    struct successor *out)
{
    struct bundle bundle = {0};
    int pair[2] = {-1, -1}, errors[2] = {-1, -1};
    pid_t own = getpid(), nurse = -1;
    int error = gather(master, control_fd, &bundle);
    if (error == 0 &&
        (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
         pipe2(errors, O_CLOEXEC) != 0 || fcntl(errors[0], F_SETFL, O_NONBLOCK) != 0)) {
        error = -errno;
    }
    if (error == 0) {
        bundle.fds[bundle.n++] = pair[1];
        bundle.fds[bundle.n++] = handover;
        bundle.fds[bundle.n++] = STDERR_FILENO;
        nurse = child_fork();
        if (nurse == 0) {
            nurse_main(master, program, &bundle, errors[1], own);
        }
        error = nurse < 0 ? -errno : 0;
    }
    fd_close(&pair[1]);
    fd_close(&errors[1]);
    bundle_free(&bundle);
    if (error != 0) {
        fd_close(&pair[0]);
        fd_close(&errors[0]);
        return error;
    }
    *out = (struct successor){.nurse = nurse, .channel = pair[0], .errors = errors[0]};
    return 0;
}
