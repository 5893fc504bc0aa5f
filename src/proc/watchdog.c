/*
 * Finding workers, or a monitor, that hang: their heartbeat in the scoreboard stands still although
 * master itself is on time, and they neither wait for a processor nor get much of one. One is
 * judged at a time: aborted (which leaves a core, where the system keeps them), then killed;
 * reaping replaces it. A machine that was paused stops master's turns too, and then nobody is
 * judged. In master.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"

#define TURN_MS    500
#define STALE_MS   2000
#define LATE_MS    1000 /* a turn of our own that comes so much too late … */
#define GRACE_MS   3000 /* … lets everyone alone for so long */
#define LOOP_MS    1000 /* of CPU without a heartbeat: not starved, but in a loop without end */
#define ABORT_MS   1000 /* how long an abort may take before it is a kill */
#define OVERDUE_MS 5000 /* how long a child may take to end after the last deadline of a stop */

static uint64_t heartbeat_of(const struct child *child)
{
    const struct master *master = child->master;
    return child->id < master->n_workers
               ? atomic_load_explicit(&master->sb.workers[child->id].heartbeat_ms,
                                      memory_order_relaxed)
               : atomic_load_explicit(&master->sb.header->monitor_heartbeat_ms,
                                      memory_order_relaxed);
}

/* How long a child has been silent; 0 when it is not to be judged (it has not begun yet). */
static uint64_t silent_ms(const struct child *child, uint64_t now_ms)
{
    if (child->pid <= 0 || child->ready_generation == 0) {
        return 0;
    }
    uint64_t beat_ms = heartbeat_of(child); /* perhaps still its predecessor's */
    beat_ms = beat_ms > child->started_ms ? beat_ms : child->started_ms;
    return now_ms > beat_ms ? now_ms - beat_ms : 0;
}

/* State and CPU time of a process: fields 3, 14 and 15 of /proc/PID/stat (proc(5)). Running
 * without end, when it cannot be read. */
static char look_at(pid_t pid, uint64_t *out_cpu_ms)
{
    char path[40], state;
    unsigned long user, system;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL &&
                   fscanf(file, "%*d (%*15[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                          &state, &user, &system) == 3;
    if (file != NULL) {
        fclose(file);
    }
    *out_cpu_ms =
        is_read ? (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK) : UINT64_MAX;
    return is_read ? state : 'R';
}

/* Silent for too long, and not because it wants a processor and gets none, as among many others or
 * beside more important ones. */
static bool hangs(struct child *child, uint64_t now_ms)
{
    uint64_t silent = silent_ms(child, now_ms), cpu_ms;
    if (silent <= TURN_MS) {
        child->is_doubted = false;
        return false;
    }
    char state = look_at(child->pid, &cpu_ms);
    if (!child->is_doubted) {
        child->is_doubted = true;
        child->doubted_cpu_ms = cpu_ms == UINT64_MAX ? 0 : cpu_ms;
    }
    return silent > STALE_MS && (state != 'R' || cpu_ms - child->doubted_cpu_ms >= LOOP_MS);
}

static void judge(struct watchdog *watchdog, struct child *child, uint64_t now_ms)
{
    struct master *master = child->master;
    char text[128];
    snprintf(text, sizeof(text), "%s %u (pid %d) hangs: no heartbeat for %llu ms; aborting it",
             child->id < master->n_workers ? "worker" : "monitor", child->id, (int)child->pid,
             (unsigned long long)silent_ms(child, now_ms));
    log_error(text);
    master_event(master, "worker", NULL, NULL, "master", NULL, text);
    watchdog->judged = child->pid;
    watchdog->judged_ms = now_ms;
    kill(child->pid, SIGABRT);
    kill(child->pid, SIGCONT); /* one that is stopped could not abort */
}

/* The one that was aborted: gone by now, or to be killed. True while it is still there. */
static bool judged_is_there(struct master *master, uint64_t now_ms)
{
    struct watchdog *watchdog = &master->watchdog;
    for (uint32_t i = 0; watchdog->judged > 0 && i <= master->n_workers; i++) {
        if (master->children[i].pid == watchdog->judged) {
            if (now_ms - watchdog->judged_ms >= ABORT_MS) {
                kill(watchdog->judged, SIGKILL);
            }
            return true;
        }
    }
    watchdog->judged = 0;
    return false;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    struct watchdog *watchdog = &master->watchdog;
    uint64_t now_ms = clock_now_ms();
    if (now_ms - watchdog->turn_ms > TURN_MS + LATE_MS) {
        watchdog->grace_until_ms = now_ms + GRACE_MS;
    }
    watchdog->turn_ms = now_ms;
    if (master->stopping && now_ms > OVERDUE_MS &&
        now_ms - OVERDUE_MS > master->drain_deadline_ms) {
        master_end_now(master); /* somebody did not end when its time was over */
        return;
    }
    if (master->stopping || judged_is_there(master, now_ms) || now_ms < watchdog->grace_until_ms) {
        return;
    }
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        if (hangs(&master->children[i], now_ms)) {
            judge(watchdog, &master->children[i], now_ms);
            return;
        }
    }
}

int watchdog_start(struct master *master)
{
    struct watchdog *watchdog = &master->watchdog;
    watchdog->turn_ms = clock_now_ms();
    watchdog->timer = event_new(master->base, -1, EV_PERSIST, on_turn, master);
    struct timeval every = {.tv_usec = TURN_MS * 1000};
    return watchdog->timer != NULL && event_add(watchdog->timer, &every) == 0 ? 0 : -1;
}
