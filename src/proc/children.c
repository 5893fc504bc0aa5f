/*
 * Workers and monitor as master sees them: spawning, telling, reaping, replacing. Owns their pids
 * and channels. What a child should have is worked out afresh from master's state each time
 * (children_sync), so a message that did not fit a full channel is simply sent later.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "check/engine.h"
#include "child.h"
#include "ctl/format.h"
#include "ctl/memory.h"
#include "master.h"
#include "monitor.h"
#include "succession.h"
#include "upgrade.h"
#include "worker.h"

/* A process that lives shorter than this counts as having failed at once … */
#define QUICK_DEATH_MS 1000
/* … and its successors wait 50 ms, 100 ms, … up to this. The first one does not wait. */
#define BACK_OFF_MAX_MS 5000

static bool is_monitor(const struct child *child)
{
    return child->id == child->master->n_workers;
}

static void name_of(const struct child *child, char name[static 16])
{
    if (is_monitor(child)) {
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
    if (is_monitor(child)) {
        (void)setsid(); /* so that what it runs is known by that, and ends with it: child.c */
    }
    child_ignore_group_signals();
    keep_own_descriptors(child, channel);
    log_set_role(name);
    setproctitle("%s", name);
    struct privileges privileges = master->privileges;
    privileges.any_source &= !is_monitor(child); /* nor any program that it runs */
    int error = privileges_drop(&privileges);
    if (error != 0) {
        log_error("cannot drop privileges", LOG_STR("error", strerror(-error)));
        exit(EXIT_FAILURE);
    }
    if (is_monitor(child)) {
        exit(monitor_run(channel, master->wakes, master->n_workers,
                         master->wakes[master->n_workers], &master->sb));
    }
    exit(worker_run(child->id, channel, master->wakes, &master->sb));
}

/* --- telling --- */

/* 0: told, or nothing to tell; -EAGAIN: later; other: the channel is broken, reaping will follow.
 */
static int tell(struct child *child, uint32_t type, uint32_t number, int fd)
{
    struct message *message = &child->master->message;
    message->type = type;
    message->number = number;
    return message_send(child->channel, message, fd);
}

static int sync_snapshot(struct child *child)
{
    const struct master *master = child->master;
    uint32_t generation = master->model->generation;
    if (child->sent_generation == generation) {
        return 0;
    }
    int error = tell(child, MESSAGE_SNAPSHOT, generation, master->snapshot);
    if (error == 0) {
        child->sent_generation = generation;
    }
    return error;
}

static int sync_listeners(struct child *child)
{
    const struct listeners *listeners = child->master->listeners;
    uint32_t id;
    int fd;
    for (size_t i = 0; listeners_get(listeners, i, child->id, 0, &id, &fd); i++) {
        if (id < child->next_listener) {
            continue;
        }
        for (size_t nth = 0; listeners_get(listeners, i, child->id, nth, &id, &fd) && fd >= 0;
             nth++) {
            int error = tell(child, MESSAGE_LISTENER, id, fd);
            if (error != 0) {
                return error;
            }
        }
        child->next_listener = id + 1;
    }
    return 0;
}

static int sync_log(struct child *child)
{
    struct master *master = child->master;
    if (child->log_sent) {
        return 0;
    }
    master->message.log = (struct message_log){.format = master->model->global.log_format,
                                               .level = master->model->global.log_level,
                                               .target = log_target()};
    int error = tell(child, MESSAGE_LOG, 0, log_fd());
    child->log_sent = error == 0;
    return error;
}

/* One daemon at a time answers there, also during an upgrade. */
static int sync_status(struct child *child)
{
    const struct master *master = child->master;
    bool serves =
        master->status_fd >= 0 && !succession_is_waiting(master) && !upgrade_is_over(master);
    if (child->has_status == serves) {
        return 0;
    }
    int error = tell(child, MESSAGE_STATUS, 0, serves ? master->status_fd : -1);
    if (error == 0) {
        child->has_status = serves;
    }
    return error;
}

static int sync_names(struct child *child)
{
    const struct master *master = child->master;
    if (child->sent_names == master->name_news.turn) {
        return 0;
    }
    int error = tell(child, MESSAGE_NAMES, 0, master->name_news.list_fd);
    if (error == 0) {
        child->sent_names = master->name_news.turn;
    }
    return error;
}

static int sync_drain(struct child *child)
{
    struct master *master = child->master;
    /* The monitor goes on until the last worker has ended. */
    if (!master->stopping || child->drain_sent ||
        (is_monitor(child) && children_any_worker(master))) {
        return 0;
    }
    master->message.deadline_ms = master->drain_deadline_ms;
    int error = tell(child, MESSAGE_DRAIN, 0, -1);
    child->drain_sent = error == 0;
    return error;
}

static void child_sync(struct child *child)
{
    if (child->pid == 0 || child->channel < 0) {
        return;
    }
    int error = sync_snapshot(child);
    if (error == 0 && !is_monitor(child) && !child->master->stopping &&
        !succession_is_waiting(child->master)) {
        error = sync_listeners(child);
    }
    if (error == 0) {
        error = sync_log(child);
    }
    if (error == 0 && is_monitor(child)) {
        error = sync_names(child);
    }
    if (error == 0 && is_monitor(child)) {
        error = sync_status(child);
    }
    if (error == 0 && is_monitor(child)) {
        error = notices_send(child->master);
    }
    if (error == 0) {
        error = sync_drain(child);
    }
    if (error == -EAGAIN) {
        event_add(child->writable, NULL);
    }
}

void children_sync(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        child_sync(&master->children[i]);
    }
}

void children_renew_log(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        master->children[i].log_sent = false;
    }
    children_sync(master);
}

/* --- hearing --- */

/* Whole seconds from one second on: that is what people plan by. */
static char *format_about(uint64_t ms, char buf[static FORMAT_TEXT_MAX])
{
    return format_duration(ms >= 1000 ? (ms + 500) / 1000 * 1000 : ms, buf);
}

/* "up -> down: connect refused (after 3m12s up; next check in 2s)" */
static void word_health(const struct message_health *health, struct str *out)
{
    char lasted[FORMAT_TEXT_MAX], next[FORMAT_TEXT_MAX];
    const char *separator = " (";
    str_printf(out, "%s -> %s: %s", sb_health_names[health->from], sb_health_names[health->to],
               health->reason);
    if (health->lasted_ms != 0) {
        str_printf(out, "%safter %s %s", separator, format_about(health->lasted_ms, lasted),
                   sb_health_names[health->from]);
        separator = "; ";
    }
    if (health->next_check_ms != 0) {
        str_printf(out, "%snext check in %s", separator, format_about(health->next_check_ms, next));
        separator = "; ";
    }
    str_append(out, separator[0] == ';' ? ")" : "");
}

/* What follows from a change of health by the pool's options. */
static void word_consequence(const struct master *master, const struct message_health *health,
                             struct str *out)
{
    const struct model_pool *pool = model_find_pool(master->model, health->pool);
    const struct model_backend *backend =
        pool == NULL ? NULL : model_find_backend(pool, health->backend);
    char period[FORMAT_TEXT_MAX];
    if (backend == NULL) {
        return;
    }
    if (health->to == SB_HEALTH_DOWN && pool->on_down == SESSIONS_CLOSE) {
        str_append(out, "; its sessions are being closed (on_down)");
    } else if (health->to == SB_HEALTH_UP && pool->slow_start_ms != 0 &&
               atomic_load(&master->sb.slots[backend->slot].slow_from_ms) != 0) {
        str_printf(out, "; slow start over %s", format_duration(pool->slow_start_ms, period));
    }
}

static void heard_health(struct master *master)
{
    struct message_health *health = &master->message.health;
    health->pool[NAME_BYTES_MAX - 1] = '\0';
    health->backend[NAME_BYTES_MAX - 1] = '\0';
    health->reason[SB_REASON_MAX - 1] = '\0';
    bool is_asked = health->news == CHECK_NEWS_ASKED;
    uint32_t n_states = is_asked ? ADMIN_COUNT : SB_HEALTH_COUNT;
    if (health->from >= n_states || health->to >= n_states) {
        return;
    }
    STR_AUTO text = {0};
    const char *kind = is_asked ? "asked" : "ejection";
    if (is_asked) {
        str_printf(&text, "%s -> %s: its checks ask for %s", admin_state_names[health->from],
                   admin_state_names[health->to], health->reason);
    } else if (health->news == CHECK_NEWS_HEALTH) {
        kind = "health";
        word_health(health, &text);
        word_consequence(master, health, &text);
    } else {
        str_printf(&text, "%s: %s", health->news == CHECK_NEWS_EJECTED ? "ejected" : "back",
                   health->reason);
    }
    master_event(master, kind, health->pool, health->backend, "monitor", NULL, str_text(&text));
    pools_notify_health(master, health); /* last: it takes master's message */
}

/* The scoreboard has it all, so decisions are sound; only the record has a gap. */
static void heard_lost(struct master *master)
{
    STR_AUTO text = {0};
    str_printf(&text,
               "%" PRIu32 " changes of backends are missing here, and no program was run for "
               "them: master did not listen to the monitor for too long",
               master->message.number);
    log_warning("changes of backends were lost", LOG_INT("count", master->message.number));
    master_event(master, "lost", NULL, NULL, "monitor", NULL, str_text(&text));
}

/* When it does not fit into the channel the monitor asks again. */
static void heard_page_wanted(struct child *child)
{
    uint32_t page = child->master->message.number;
    FD_AUTO fd = is_monitor(child) ? status_make_page(child->master, page) : -1;
    (void)!tell(child, MESSAGE_PAGE_MADE, page, fd);
}

static void heard(struct child *child, int fd)
{
    struct master *master = child->master;
    fd_close(&fd);
    switch (master->message.type) {
    case MESSAGE_HEALTH:
        heard_health(master);
        pools_watch_soon(master);
        break;
    case MESSAGE_NAME:
        names_heard(master, &master->message.name);
        break;
    case MESSAGE_LOST:
        heard_lost(master);
        break;
    case MESSAGE_PAGE_WANTED:
        heard_page_wanted(child);
        break;
    case MESSAGE_NOTIFIED:
        notices_done(master, master->message.number);
        break;
    case MESSAGE_READY:
        child->ready_generation = master->message.number;
        acks_check(master);
        break;
    case MESSAGE_RESYNC:
        /* The next sweep sends it all again; at once would only fail again. */
        child->sent_generation = 0;
        child->next_listener = 0;
        child->log_sent = false;
        break;
    case MESSAGE_SESSIONS:
        sessions_page(master, child->id, master->message.number, &master->message.sessions);
        break;
    case MESSAGE_CLOSING:
        closings_answered(master, child->id, master->message.number, &master->message.closing);
        break;
    case MESSAGE_EXPLANATION:
        explain_answered(master, child->id, master->message.number, &master->message.explanation);
        break;
    default:
        break;
    }
}

static void on_readable(evutil_socket_t channel, short what, void *arg)
{
    (void)what;
    struct child *child = arg;
    int fd;
    int got = message_receive((int)channel, &child->master->message, &fd);
    if (got == 1) {
        heard(child, fd);
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
    if (is_monitor(child)) {
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
        log_error("cannot start a process", LOG_STR("error", strerror(-error)));
        respawn_later(child, BACK_OFF_MAX_MS / 5);
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
    if (is_monitor(child)) {
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

static void died(struct child *child, int status)
{
    struct master *master = child->master;
    bool expected = master->stopping && status == 0;
    uint64_t lived_ms = clock_now_ms() - child->started_ms;
    pid_t pid = child->pid;
    char name[16], how[64], text[128];
    name_of(child, name);
    describe_death(status, how);
    forget(child);
    uint32_t lost = account_for_death(child);
    acks_check(master);
    if (is_monitor(child)) {
        notices_recall(master);
    }
    if (!expected) {
        snprintf(text, sizeof(text), "%s (pid %d) %s; %u sessions were lost", name, (int)pid, how,
                 lost);
        log_error(text);
        master_event(master, "worker", NULL, NULL, "master", NULL, text);
    }
    if (master->stopping) {
        return;
    }
    child->quick_deaths = lived_ms < QUICK_DEATH_MS ? child->quick_deaths + 1 : 0;
    uint32_t wait_ms = 0;
    if (child->quick_deaths > 1) {
        uint32_t doublings = child->quick_deaths - 2 < 7 ? child->quick_deaths - 2 : 7;
        wait_ms = 50U << doublings;
        wait_ms = wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS;
    }
    if (wait_ms == 0) {
        on_respawn(-1, 0, child);
    } else {
        respawn_later(child, wait_ms);
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

void children_drain_anew(struct master *master)
{
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        master->children[i].drain_sent = false;
    }
    children_sync(master);
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
