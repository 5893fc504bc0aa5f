/*
 * Running programs, see program.h. In the monitor.
 *
 * A copying clone() and not posix_spawn(), which like vfork() stops the caller until the child has
 * called execve(): on a file system that does not answer that would stop all checks. The copy is
 * cheap, the monitor being small and its largest mapping shared. CLONE_PIDFD gives the descriptor
 * on which the loop hears of the end in the same step, so that there is no child without one.
 *
 * The group is killed before its leader is reaped: so long the leader's id belongs to nobody else.
 */
#include "check/program.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define DESCRIPTORS_MAX 256 /* that a program may open */
#define DROP_BYTES      (64 * 1024)

enum program_state { PROGRAM_RUNNING, PROGRAM_KILLED, PROGRAM_GONE };

struct program {
    LIST_ENTRY(program) of_forgotten;
    enum program_state state;
    bool is_forgotten; /* released, but not gone yet */
    program_fn *fn;
    void *arg;
    struct event ended, readable;
    pid_t pid; /* and its group's; ours until it is reaped */
    int pidfd;
    int output;  /* -1: ended, or nobody wants it any more */
    int failure; /* eventfd that holds the errno of what failed before execve() or in it */
    size_t output_bytes;
    char text[PROGRAM_OUTPUT_MAX];
};

/* They outlive whoever started them, so they hang here. */
static LIST_HEAD(, program) forgotten = LIST_HEAD_INITIALIZER(forgotten);

/* --- in the child: async-signal-safe calls only --- */

struct launch {
    const struct program_options *options;
    int input, output, failure;
    pid_t parent;
};

static noreturn void child_fail(int failure)
{
    uint64_t error = (uint64_t)errno;

    (void)!write(failure, &error, sizeof(error));
    _exit(127);
}

/* Makes the three standard descriptors. Where ours were closed, the given ones may have their
 * numbers; failure cannot, because three were opened before it. */
static int child_plumb(const struct launch *launch)
{
    int input = fcntl(launch->input, F_DUPFD_CLOEXEC, 3);
    int output = fcntl(launch->output, F_DUPFD_CLOEXEC, 3);

    return input >= 0 && output >= 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 &&
                   dup2(output, 2) == 2 && close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0
               ? 0
               : -1;
}

static int child_limit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0) {
        return -1;
    }
    limit.rlim_max = hard < limit.rlim_max ? hard : limit.rlim_max;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit(resource, &limit);
}

static void child_default_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++) {
        (void)signal(i, SIG_DFL); /* fails for KILL and STOP, as it must */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static noreturn void child_run(const struct launch *launch)
{
    rlim_t cpu = launch->options->cpu_seconds;

    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launch->parent) { /* it died before that could be heard */
        _exit(127);
    }
    if (child_plumb(launch) != 0 || child_limit(RLIMIT_CORE, 0, 0) != 0 ||
        child_limit(RLIMIT_NOFILE, DESCRIPTORS_MAX, DESCRIPTORS_MAX) != 0 ||
        child_limit(RLIMIT_CPU, cpu, cpu + 1) != 0 || chdir("/") != 0) {
        child_fail(launch->failure);
    }
    child_default_signals();
    (void)execve(launch->options->argv[0], launch->options->argv, launch->options->environment);
    child_fail(launch->failure);
}

/* --- the end --- */

static void close_output(struct program *program)
{
    if (program->output >= 0) {
        (void)event_del(&program->readable);
        fd_close(&program->output);
    }
}

/* Takes some of the output. False when there is none just now, or ever again. */
static bool take_output(struct program *program)
{
    static char dropped[DROP_BYTES];
    size_t room = sizeof(program->text) - program->output_bytes;
    ssize_t n = room > 0 ? read(program->output, program->text + program->output_bytes, room)
                         : read(program->output, dropped, sizeof(dropped));

    if (n > 0) {
        program->output_bytes += room > 0 ? (size_t)n : 0;
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_output(program);
    }
    return false;
}

/* True when it has ended: reaped, with *out_info about it, and everything closed. */
static bool reap(struct program *program, siginfo_t *out_info)
{
    *out_info = (siginfo_t){0};
    if (program->state == PROGRAM_GONE) {
        return true;
    }
    /* An error means that somebody else has reaped it. */
    if (waitid(P_PIDFD, (id_t)program->pidfd, out_info, WEXITED | WNOHANG) == 0 &&
        out_info->si_pid == 0) {
        return false;
    }
    program->state = PROGRAM_GONE;
    (void)event_del(&program->ended);
    close_output(program);
    fd_close(&program->pidfd);
    fd_close(&program->failure);
    return true;
}

static void free_forgotten(struct program *program)
{
    LIST_REMOVE(program, of_forgotten);
    free(program);
}

static void tell_end(struct program *program, const siginfo_t *info, int error)
{
    bool has_exited = info->si_code == CLD_EXITED;
    const struct program_end end = {
        .error = error == 0 && info->si_pid == 0 ? ECHILD : error,
        .signal = has_exited ? 0 : info->si_status,
        .status = has_exited ? info->si_status : 0,
        .output = program->text,
        .output_bytes = program->output_bytes,
    };

    program->fn(program->arg, &end);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
    struct program *program = arg;
    bool is_wanted = program->state == PROGRAM_RUNNING;
    uint64_t error = 0;
    siginfo_t info;

    (void)fd;
    (void)what;
    if (is_wanted) {
        (void)kill(-program->pid, SIGKILL); /* its descendants, which may hold the pipe open */
        (void)!read(program->failure, &error, sizeof(error));
        while (program->output >= 0 && program->output_bytes < sizeof(program->text) &&
               take_output(program)) {
        }
    }
    if (!reap(program, &info)) {
        return;
    }
    if (program->is_forgotten) {
        free_forgotten(program);
    } else if (is_wanted) {
        tell_end(program, &info, (int)error);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)take_output(arg);
}

void program_kill(struct program *program)
{
    if (program->state != PROGRAM_RUNNING) {
        return;
    }
    program->state = PROGRAM_KILLED;
    (void)kill(-program->pid, SIGKILL);
    (void)kill(program->pid, SIGKILL); /* it may not have made its group yet */
    close_output(program);
}

bool program_is_gone(struct program *program)
{
    siginfo_t info;

    return program->state != PROGRAM_RUNNING && reap(program, &info);
}

void program_release(struct program *program)
{
    if (program == NULL) {
        return;
    }
    program_kill(program);
    if (program_is_gone(program)) {
        free(program);
        return;
    }
    program->is_forgotten = true;
    LIST_INSERT_HEAD(&forgotten, program, of_forgotten);
}

/* --- the start --- */

/* For those whose end could not be awaited for want of memory. */
static void sweep_forgotten(void)
{
    struct program *program, *next;

    LIST_FOREACH_SAFE (program, &forgotten, of_forgotten, next) {
        if (program_is_gone(program)) {
            free_forgotten(program);
        }
    }
}

/* Returns 0, or -errno without a child. */
static int clone_child(const struct launch *launch, pid_t *out_pid, int *out_pidfd)
{
    sigset_t all, before;
    long pid;
    int error;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
    pid = syscall(SYS_clone, (long)(CLONE_PIDFD | SIGCHLD), NULL, out_pidfd, NULL, 0L);
    if (pid == 0) {
        child_run(launch);
    }
    error = pid < 0 ? errno : 0;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    *out_pid = (pid_t)pid;
    return -error;
}

static int open_and_clone(struct program *program, const struct program_options *options)
{
    FD_AUTO input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    FD_AUTO output = -1;
    int pipe_fds[2];
    struct launch launch;

    if (input < 0 || pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return -errno;
    }
    program->output = pipe_fds[0];
    output = pipe_fds[1];
    if (fcntl(program->output, F_SETFL, O_NONBLOCK) != 0) {
        return -errno;
    }
    program->failure = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (program->failure < 0) {
        return -errno;
    }
    launch = (struct launch){.options = options,
                             .input = input,
                             .output = output,
                             .failure = program->failure,
                             .parent = getpid()};
    return clone_child(&launch, &program->pid, &program->pidfd);
}

int program_start(struct event_base *base, const struct program_options *options, program_fn *fn,
                  void *arg, struct program **out)
{
    struct program *program = calloc(1, sizeof(*program));
    int error;

    sweep_forgotten();
    if (program == NULL) {
        return -ENOMEM;
    }
    *program = (struct program){.fn = fn, .arg = arg, .pidfd = -1, .output = -1, .failure = -1};
    error = open_and_clone(program, options);
    if (error != 0) {
        fd_close(&program->output);
        fd_close(&program->failure);
        free(program);
        return error;
    }
    (void)event_assign(&program->ended, base, program->pidfd, EV_READ, on_ended, program);
    (void)event_assign(&program->readable, base, program->output, EV_READ | EV_PERSIST, on_readable,
                       program);
    if (event_add(&program->ended, NULL) != 0 || event_add(&program->readable, NULL) != 0) {
        program_release(program);
        return -ENOMEM;
    }
    *out = program;
    return 0;
}
