/*
 * Workers and monitor as master sees them: spawning, reaping, replacing. Owns their pids and
 * channels. What goes through those: children_tell.c, children_hear.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "child.h"
#include "children.h"
#include "ctl/memory.h"
#include "master.h"
#include "monitor.h"
#include "worker.h"

/* A process that lives shorter than this counts as having failed at once … */
#define QUICK_DEATH_MS 1000
/* … and its successors wait 50 ms, 100 ms, … up to this. The first one does not wait. One that
 * cannot be started counts alike, but is always waited for. */
#define BACK_OFF_MS     50U
#define BACK_OFF_MAX_MS 5000

static void name_of(const struct child *child, char name[static 16])
{
    if (child_is_monitor(child)) {
        snprintf(name, 16, "monitor");
    } else {
        snprintf(name, 16, "worker %u", child->id);
    }
}

/* --- in the child --- */

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes every descriptor but the standard ones and those of keep, which it sorts. */
static void close_all_but(int *keep, size_t n)
{
    qsort(keep, n, sizeof(*keep), compare_ints);
    unsigned from = STDERR_FILENO + 1;
    for (size_t i = 0; i < n; i++) {
        if (keep[i] > (int)from) {
            close_range(from, (unsigned)keep[i] - 1, 0);
        }
        if (keep[i] >= (int)from) {
            from = (unsigned)keep[i] + 1;
        }
    }
    close_range(from, ~0U, 0);
}

/* Listeners, clients, pipes and the event loop are master's: a child keeps its own few things, and
 * what it wakes workers with. */
static void keep_own_descriptors(const struct child *child, int channel)
{
    const struct master *master = child->master;
    int keep[WORKERS_MAX + 3] = {channel, log_fd()};
    size_t n = 2;
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        keep[n++] = master->wakes[i];
    }
    close_all_but(keep, n);
}

static _Noreturn void child_main(struct child *child, int channel)
{
    struct master *master = child->master;
    char name[16];
    name_of(child, name);
    if (child_is_monitor(child)) {
        (void)setsid(); /* so that what it runs is known by that, and ends with it: child.c */
    }
    child_ignore_group_signals();
    keep_own_descriptors(child, channel);
    log_set_role(name);
    setproctitle("%s", name);
    struct privileges privileges = master->privileges;
    privileges.any_source &= !child_is_monitor(child); /* nor any program that it runs */
    int error = privileges_drop(&privileges);
    if (error != 0) {
        log_error("cannot drop privileges", LOG_STR("error", strerror(-error)));
        exit(EXIT_FAILURE);
    }
    if (child_is_monitor(child)) {
        exit(monitor_run(channel, master->wakes, master->n_workers,
                         master->wakes[master->n_workers], &master->sb));
    }
    exit(worker_run(child->id, channel, master->wakes, &master->sb));
}

/* --- channels --- */

static void on_readable(evutil_socket_t channel, short what, void *arg)
{
    (void)what;
    struct child *child = arg;
    int fd;
    int got = message_receive((int)channel, &child->master->message, &fd);
    if (got == 1) {
        child_heard(child, fd);
    } else if (got == 0 || (got != -EAGAIN && got != -EPROTO && got != -EMSGSIZE)) {
        event_del(child->readable); /* it is ending: SIGCHLD follows */
    }
}

static void on_writable(evutil_socket_t channel, short what, void *arg)
{
    (void)channel;
    (void)what;
    child_sync(arg);
}

/* --- spawning and reaping --- */

static void forget(struct child *child)
{
    if (child->readable != NULL) {
        event_free(child->readable);
        child->readable = NULL;
    }
    if (child->writable != NULL) {
        event_free(child->writable);
        child->writable = NULL;
    }
    fd_close(&child->channel);
    fd_close(&child->account);
    child->pid = 0;
}

static void note_spawned(struct child *child)
{
    struct master *master = child->master;
    if (child_is_monitor(child)) {
        atomic_store(&master->sb.header->monitor_pid, child->pid);
        return;
    }
    struct sb_worker *row = &master->sb.workers[child->id];
    atomic_store(&row->pid, child->pid);
    atomic_store(&row->heartbeat_ms, clock_now_ms());
    atomic_store(&row->state, SB_WORKER_STARTING);
}

/* The child waits until its account is open: once it is another user, master may not open it. */
static int fork_with_account(struct child *child, int channel)
{
    int gate[2];
    char none;
    if (pipe2(gate, O_CLOEXEC) != 0) {
        return -errno;
    }
    child->pid = child_fork();
    if (child->pid == 0) {
        close(gate[1]);
        (void)!read(gate[0], &none, 1);
        child_main(child, channel);
    }
    int error = child->pid < 0 ? -errno : 0;
    child->account = error == 0 ? memory_open(child->pid) : -1;
    close(gate[0]);
    close(gate[1]);
    return error;
}

uint64_t children_memory(const struct master *master, pid_t pid)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        if (master->children[i].pid == pid) {
            return memory_read(master->children[i].account, pid);
        }
    }
    return UINT64_MAX;
}

static int spawn(struct child *child)
{
    struct master *master = child->master;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return -errno;
    }
    child->started_ms = clock_now_ms();
    int error = fork_with_account(child, pair[1]);
    close(pair[1]);
    child->channel = pair[0];
    if (error == 0) {
        child->readable =
            event_new(master->base, pair[0], EV_READ | EV_PERSIST, on_readable, child);
        child->writable = event_new(master->base, pair[0], EV_WRITE, on_writable, child);
        if (child->readable == NULL || child->writable == NULL ||
            event_add(child->readable, NULL) != 0) {
            child_end(&child->pid);
            error = -ENOMEM;
        }
    }
    if (error != 0) {
        forget(child);
        return error;
    }
    child->sent_generation = 0;
    child->sent_names = 0;
    child->has_status = false;
    child->drain_sent = false;
    child->log_sent = false;
    child->next_listener = 0;
    child->ready_generation = 0;
    note_spawned(child);
    child_sync(child);
    return 0;
}

/* How long who follows so many quick deaths waits. */
static uint32_t back_off_ms(const struct child *child)
{
    uint32_t doublings = child->quick_deaths > 2 ? child->quick_deaths - 2 : 0;
    uint32_t wait_ms = BACK_OFF_MS << (doublings < 7 ? doublings : 7);
    if (child->quick_deaths <= 1) {
        return 0;
    }
    return wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS;
}

static void respawn_later(struct child *child, uint32_t in_ms)
{
    struct timeval in = {.tv_sec = in_ms / 1000, .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(child->respawn, &in);
}

static void on_respawn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct child *child = arg;
    if (child->pid != 0 || child->master->stopping) {
        return;
    }
    int error = spawn(child);
    if (error != 0) {
        char name[16];
        name_of(child, name);
        child->quick_deaths = child->quick_deaths < 1 ? 2 : child->quick_deaths + 1;
        log_error("cannot start a process", LOG_STR("process", name),
                  LOG_STR("error", strerror(-error)), LOG_INT("again_in_ms", back_off_ms(child)));
        respawn_later(child, back_off_ms(child));
    }
}

static void describe_death(int status, char text[static 64])
{
    if (WIFSIGNALED(status)) {
        snprintf(text, 64, "ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, 64, "ended with status %d", WEXITSTATUS(status));
    }
}

/* What the process had of the shared counts is taken out. Returns how many sessions died with it.
 */
static uint32_t account_for_death(struct child *child)
{
    struct master *master = child->master;
    if (child_is_monitor(child)) {
        atomic_store(&master->sb.header->monitor_pid, 0);
        atomic_fetch_add(&master->sb.header->monitor_restarts, master->stopping ? 0 : 1);
        return 0;
    }
    struct sb_worker *row = &master->sb.workers[child->id];
    atomic_store(&row->pid, 0);
    atomic_store(&row->state, SB_WORKER_DEAD);
    atomic_fetch_add(&row->restarts, master->stopping ? 0 : 1);
    sessions_worker_gone(master, child->id);
    closings_worker_gone(master, child->id);
    explain_worker_gone(master, child->id);
    uint32_t lost = scoreboard_repair(&master->sb, child->id);
    /* Its places at backends are free now, perhaps for somebody who waits. */
    for (uint32_t i = 0; i < master->n_workers; i++) {
        (void)!write(master->wakes[i], &(uint64_t){1}, sizeof(uint64_t));
    }
    return lost;
}

/* Says once how it ended, and when there will be another. */
static void tell_death(const struct child *child, pid_t pid, int status, uint32_t lost)
{
    struct master *master = child->master;
    char name[16], how[64], next[64] = "", text[192];
    name_of(child, name);
    describe_death(status, how);
    if (!master->stopping && back_off_ms(child) > 0) {
        snprintf(next, sizeof(next), "; death %u in a row, the next one starts in %u ms",
                 child->quick_deaths, back_off_ms(child));
    }
    snprintf(text, sizeof(text), "%s (pid %d) %s; %u sessions were lost%s", name, (int)pid, how,
             lost, next);
    log_error(text);
    master_event(master, "worker", NULL, NULL, "master", NULL, text);
}

static void died(struct child *child, int status)
{
    struct master *master = child->master;
    bool expected = master->stopping && status == 0;
    uint64_t lived_ms = clock_now_ms() - child->started_ms;
    pid_t pid = child->pid;
    child->quick_deaths = lived_ms < QUICK_DEATH_MS ? child->quick_deaths + 1 : 0;
    forget(child);
    uint32_t lost = account_for_death(child);
    acks_check(master);
    if (child_is_monitor(child)) {
        notices_recall(master);
    }
    if (!expected) {
        tell_death(child, pid, status, lost);
    }
    if (master->stopping) {
        return;
    }
    if (back_off_ms(child) == 0) {
        on_respawn(-1, 0, child);
    } else {
        respawn_later(child, back_off_ms(child));
    }
}

void children_reap(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        struct child *child = &master->children[i];
        int status;
        if (child->pid > 0 && child_reap(child->pid, &status)) {
            died(child, status);
        }
    }
    if (master->stopping) {
        children_sync(master); /* the monitor's turn may have come */
    }
}

int children_start(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        struct child *child = &master->children[i];
        child->master = master;
        child->id = i;
        child->channel = -1;
        child->account = -1;
        child->respawn = evtimer_new(master->base, on_respawn, child);
        if (child->respawn == NULL) {
            return -ENOMEM;
        }
    }
    /* The monitor first: its first sweep should be on its way when clients come. */
    for (uint32_t n = 0; n <= master->n_workers; n++) {
        int error = spawn(&master->children[master->n_workers - n]);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

void children_kill(struct master *master)
{
    for (uint32_t i = 0; master->children != NULL && i <= master->n_workers; i++) {
        struct child *child = &master->children[i];
        if (child->master == NULL) {
            continue;
        }
        child_end(&child->pid);
        forget(child);
        if (child->respawn != NULL) {
            event_free(child->respawn);
            child->respawn = NULL;
        }
    }
}

bool children_any_worker(const struct master *master)
{
    for (uint32_t i = 0; i < master->n_workers; i++) {
        if (master->children[i].pid > 0) {
            return true;
        }
    }
    return false;
}

uint32_t children_oldest_generation(const struct master *master)
{
    uint32_t oldest = master->model->generation;
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        if (master->children[i].pid <= 0) {
            continue;
        }
        uint32_t generation = i < master->n_workers
                                  ? atomic_load(&master->sb.workers[i].generation)
                                  : atomic_load(&master->sb.header->monitor_generation);
        oldest = generation < oldest ? generation : oldest;
    }
    return oldest;
}
