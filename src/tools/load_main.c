/*
 * sluice-load: a load generator that checks what comes back. This file owns the processes: with
 * --processes N the parent forks, waits, passes on SIGINT and SIGTERM, and adds the figures up.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"
#include "load_engine.h"
#include "pattern.h"

/* Written before the handler can run, so that it needs nothing else. */
static pid_t children[LOAD_PROCESSES_MAX];

static void pass_on(int number)
{
    int saved_errno = errno;

    for (unsigned i = 0; i < LOAD_PROCESSES_MAX; i++)
        if (children[i] > 0)
            kill(children[i], number);
    errno = saved_errno;
}

static void print_standing(uint64_t held, void *arg)
{
    (void)arg;
    printf("holding %" PRIu64 "\n", held);
    fflush(stdout);
}

static void send_standing(uint64_t held, void *arg)
{
    const int *pipe_end = arg;

    /* Smaller than PIPE_BUF: whole or not at all; the parent gone is no reason to fail. */
    if (write(*pipe_end, &held, sizeof(held)) < 0)
        return;
}

/* As many descriptors as may be had without asking anybody. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run_alone(const struct load_options *options, struct load_stats *stats)
{
    int rc = load_engine_run(options, stats, print_standing, NULL);

    if (rc != 0)
        fprintf(stderr, "%s: cannot start: %s\n", program_invocation_short_name, strerror(-rc));
    return rc;
}

_Noreturn static void run_child(struct load_options *options, unsigned process,
                                struct load_stats *stats, int pipe_end)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(children, 0, sizeof(children));
    options->process = process;
    int rc = load_engine_run(options, stats, send_standing, &pipe_end);
    if (rc != 0)
        fprintf(stderr, "%s: cannot start: %s\n", program_invocation_short_name, strerror(-rc));
    exit(rc == 0 ? 0 : 1);
}

/* Forks with the signals held back: a child lets them in when its engine is ready for them. */
static int start_children(struct load_options *options, struct load_stats *shares, int pipe_end)
{
    struct sigaction action = {.sa_handler = pass_on};
    sigset_t held_back;
    sigset_t old_mask;
    int rc = 0;

    sigemptyset(&held_back);
    sigaddset(&held_back, SIGINT);
    sigaddset(&held_back, SIGTERM);
    sigprocmask(SIG_BLOCK, &held_back, &old_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (unsigned i = 0; i < options->processes && rc == 0; i++) {
        children[i] = fork();
        if (children[i] == 0)
            run_child(options, i, &shares[i], pipe_end);
        if (children[i] < 0)
            rc = -errno;
    }
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    return rc;
}

/* Prints the sum once every child has told its own; a child that died closes its end instead. */
static void await_standing(unsigned processes, int pipe_end)
{
    uint64_t sum = 0;

    for (unsigned told = 0; told < processes;) {
        uint64_t held;
        ssize_t n = read(pipe_end, &held, sizeof(held));
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (ssize_t)sizeof(held))
            return;
        sum += held;
        told++;
    }
    print_standing(sum, NULL);
}

static void await_children(void)
{
    for (unsigned i = 0; i < LOAD_PROCESSES_MAX; i++) {
        while (children[i] > 0 && waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
            continue;
        children[i] = 0;
    }
}

static int run_many(struct load_options *options, struct load_stats *stats)
{
    size_t size = options->processes * sizeof(struct load_stats);
    int ends[2];
    struct load_stats *shares =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shares == MAP_FAILED || pipe2(ends, 0) != 0) {
        fprintf(stderr, "%s: cannot start: %s\n", program_invocation_short_name, strerror(errno));
        return -errno;
    }
    int rc = start_children(options, shares, ends[1]);
    close(ends[1]);
    if (rc != 0) {
        fprintf(stderr, "%s: cannot fork: %s\n", program_invocation_short_name, strerror(-rc));
        pass_on(SIGTERM);
    }
    if (options->mode == LOAD_HOLD && rc == 0)
        await_standing(options->processes, ends[0]);
    await_children();
    close(ends[0]);
    for (unsigned i = 0; i < options->processes; i++) {
        load_stats_merge(stats, &shares[i]);
        if (!shares[i].complete && rc == 0)
            rc = -ECHILD;
    }
    munmap(shares, size);
    if (rc == -ECHILD)
        fprintf(stderr, "%s: a process died; its figures are missing\n",
                program_invocation_short_name);
    return rc;
}

int main(int argc, char **argv)
{
    static struct load_options options;
    static struct load_stats stats;

    load_options_parse(argc, argv, &options);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    pattern_init();
    int rc = options.processes > 1 ? run_many(&options, &stats) : run_alone(&options, &stats);
    if (rc != 0 && rc != -ECHILD)
        return 1;
    load_report(&options, &stats);
    return rc == 0 && load_stats_errors(&stats) == 0 ? 0 : 1;
}
