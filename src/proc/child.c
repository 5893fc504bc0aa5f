/*
 * Forking and ending children. Owns nothing. In master.
 *
 * What the monitor runs (checks, notices) it also ends; but who has run what dies with a monitor
 * that is killed. So the monitor leads a session, and whoever is in it when it has ended is ended
 * too. Until the leader is reaped nobody else can have its id, nor that of its session.
 */
#include "child.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* A look at all processes may miss those that are forked meanwhile; the next one sees them. Not
 * without bound, since one that was killed may take its time to go. */
#define LOOKS_MAX 8

pid_t child_fork(void)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 1; i < NSIG; i++) {
            signal(i, SIG_DFL); /* fails for KILL and STOP, as it must */
        }
        signal(SIGPIPE, SIG_IGN);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
    } else {
        int error = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        errno = error;
    }
    return pid;
}

void child_ignore_group_signals(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        signal(signals[i], SIG_IGN);
    }
}

/* --- ending --- */

/* Returns how many were killed, the leader not counted. */
static int kill_session_once(pid_t leader)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int n = 0;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0: not a process */
        if (pid > 0 && pid != leader && getsid(pid) == leader) {
            n += kill(pid, SIGKILL) == 0;
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
    return n;
}

/* The leader has ended, or has been killed, and is not reaped yet. */
static void kill_session(pid_t leader)
{
    if (getsid(leader) != leader) {
        return;
    }
    for (int i = 0; i < LOOKS_MAX && kill_session_once(leader) > 0; i++) {
    }
}

static int wait_for_end(pid_t pid, int flags, siginfo_t *out)
{
    int result;
    do {
        *out = (siginfo_t){0};
        result = waitid(P_PID, (id_t)pid, out, WEXITED | WNOWAIT | flags);
    } while (result != 0 && errno == EINTR);
    return result;
}

bool child_reap(pid_t pid, int *out_status)
{
    siginfo_t info;
    if (wait_for_end(pid, WNOHANG, &info) != 0 || info.si_pid == 0) {
        return false;
    }
    kill_session(pid);
    return waitpid(pid, out_status, 0) == pid;
}

void child_end(pid_t *pid)
{
    siginfo_t info;
    int status;
    if (*pid <= 0) {
        return;
    }
    kill(*pid, SIGKILL);
    if (wait_for_end(*pid, 0, &info) == 0) {
        (void)child_reap(*pid, &status);
    }
    *pid = 0;
}
