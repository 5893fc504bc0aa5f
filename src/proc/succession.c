/*
 * Taking over: waits until this daemon could serve, asks the predecessor for what has a name, lets
 * the workers accept, and counts the predecessor's sessions until it has ended. Owns what was
 * inherited and the channel to the predecessor. In master.
 */
#include "succession.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "handover.h"
#include "master.h"
#include "restore.h"
#include "systemd.h"

#define POLL_MS   20
#define HEALTH_MS 5000 /* so long checks may take to tell how backends are */

struct succession {
    struct master *master;
    struct inherited *inherited;
    int channel; /* -1: there is no predecessor, or it has ended */
    bool waiting;
    pid_t pid; /* of the predecessor */
    struct event *readable, *poll;
    uint64_t health_until_ms;
    struct handover handover;
    struct handover_load load;
};

struct inherited *succession_receive(void)
{
    struct inherited *inherited = inherited_read();
    if (inherited != NULL) {
        handover_tell(inherited_channel(inherited), HANDOVER_HELLO, (uint64_t)getpid(), NULL);
    }
    return inherited;
}

bool succession_is_waiting(const struct master *master)
{
    return master->succession != NULL && master->succession->waiting;
}

bool succession_is_shared(const struct master *master, pid_t *out_pid, uint32_t *out_sessions)
{
    const struct succession *succession = master->succession;
    if (succession == NULL || succession->channel < 0 || succession->waiting) {
        return false;
    }
    *out_pid = succession->pid;
    *out_sessions = handover_sessions(&succession->handover);
    return true;
}

/* --- the supervisor as keeper of sockets --- */

static bool keeper_store(void *arg, const char *name, const int *fds, size_t n)
{
    return systemd_store(arg, name, fds, n);
}

static void keeper_forget(void *arg, const char *name)
{
    systemd_forget(arg, name);
}

static const struct listeners_keeper keeper = {.store = keeper_store, .forget = keeper_forget};

/* --- beginning --- */

/* What is not understood is not a reason to fail: then backends are as unknown as at any start. */
static void open_handover(struct succession *succession)
{
    FD_AUTO fd = inherited_take_handover(succession->inherited);
    int error = fd < 0 ? 0 : handover_open(fd, &succession->handover);
    if (error != 0) {
        log_warning("what the daemon before this one handed over is of another kind: health begins "
                    "unknown, and changes by command come from the state file alone",
                    LOG_STR("error", strerror(-error)));
    }
}

int succession_create(struct master *master, struct inherited *inherited)
{
    struct succession *succession = master == NULL ? NULL : calloc(1, sizeof(*succession));
    if (succession == NULL) {
        inherited_free(inherited);
        return -ENOMEM;
    }
    master->succession = succession;
    succession->master = master;
    succession->inherited = inherited;
    succession->channel = inherited_take_channel(inherited);
    succession->waiting = succession->channel >= 0;
    succession->pid = getppid(); /* until it tells its own */
    open_handover(succession);
    return 0;
}

void succession_prepare(struct master *master)
{
    const struct succession *succession = master->succession;
    listeners_inherit(master->listeners, succession->inherited);
    listeners_hold(master->listeners, succession->waiting);
    listeners_keep(master->listeners, &keeper, master->systemd);
}

const char *succession_state(const struct master *master, size_t *out_len)
{
    const struct succession *succession = master->succession;
    return succession->handover.header == NULL ? NULL
                                               : handover_state(&succession->handover, out_len);
}

void succession_published(struct master *master)
{
    struct succession *succession = master->succession;
    if (succession->handover.header != NULL) {
        handover_apply_health(&succession->handover, master->model, &master->sb, clock_now_ms());
        handover_carry(&succession->handover, &succession->load, master->model, &master->sb);
    }
}

int succession_take(struct master *master, const struct addr *address, const char *name)
{
    bool is_ours;
    int fd;
    return inherited_take(master->succession->inherited, address, name, &fd, 1, &is_ours) == 1 ? fd
                                                                                               : -1;
}

/* A removed listener is emptied by the predecessor's workers, who hold it as well. */
static void close_left(struct succession *succession, bool had_predecessor)
{
    struct addr address;
    char text[ADDR_TEXT_MAX];
    for (size_t i = 0; inherited_left(succession->inherited, i, &address); i++) {
        log_warning("a socket that came with the process is closed: no service listens there",
                    LOG_STR("address", addr_format(&address, text)));
        if (had_predecessor && address.ip.family == ADDR_UNIX && address.path[0] != '@') {
            unlink(address.path);
        }
    }
    listeners_inherit(succession->master->listeners, NULL);
    inherited_free(succession->inherited);
    succession->inherited = NULL;
}

/* --- being ready --- */

static bool is_health_known(const struct master *master)
{
    for (size_t i = 0; i < master->model->n_pools; i++) {
        const struct model_pool *pool = &master->model->pools[i];
        for (size_t j = 0; j < pool->n_backends; j++) {
            uint32_t slot = pool->backends[j].slot;
            if (pool->n_checks + pool->backends[j].n_own_checks > 0 &&
                atomic_load(&master->sb.slot_health[slot]) == SB_HEALTH_UNKNOWN) {
                return false;
            }
        }
    }
    return true;
}

static bool is_ready(const struct succession *succession)
{
    const struct master *master = succession->master;
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        if (master->children[i].ready_generation < master->model->generation) {
            return false;
        }
    }
    return is_health_known(master) || clock_now_ms() >= succession->health_until_ms;
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct succession *succession = arg;
    if (is_ready(succession)) {
        event_del(succession->poll);
        handover_tell(succession->channel, HANDOVER_READY, 0, NULL);
    }
}

/* --- taking over --- */

static bool serve(struct master *master)
{
    struct succession *succession = master->succession;
    bool had_predecessor = succession->waiting;
    if (master->control == NULL && master_open_control(master) != 0) {
        return false;
    }
    succession->waiting = false;
    listeners_hold(master->listeners, false);
    close_left(succession, had_predecessor);
    restore_save(master, NULL);
    children_sync(master);
    listeners_store(master->listeners);
    master_announce(master);
    return true;
}

static void take_over(struct succession *succession)
{
    struct master *master = succession->master;
    char text[128];
    if (!serve(master)) {
        succession_fail(master);
        event_base_loopbreak(master->base);
        return;
    }
    snprintf(text, sizeof(text), "took over from pid %d, whose sessions go on there",
             (int)succession->pid);
    master_event(master, "upgrade", NULL, NULL, "master", NULL, text);
    handover_tell(succession->channel, HANDOVER_SERVING, 0, NULL);
}

static void predecessor_is_gone(struct succession *succession)
{
    struct master *master = succession->master;
    event_del(succession->readable);
    fd_close(&succession->channel);
    if (succession->waiting) {
        log_error("the daemon before this one ended before its time; this one ends too");
        event_base_loopbreak(master->base);
        return;
    }
    handover_uncarry(&succession->handover, &succession->load, &master->sb);
    handover_close(&succession->handover);
    log_info("the daemon before this one has ended", LOG_INT("pid", succession->pid));
    systemd_ready(master->systemd); /* should it have ended before it could set us free */
    master_leave_when_empty(master);
}

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct succession *succession = arg;
    struct handover_message message;
    int got = handover_hear((int)fd, &message);
    if (got == 0) {
        predecessor_is_gone(succession);
    } else if (got == 1 && message.type == HANDOVER_YOURS && succession->waiting) {
        succession->pid = (pid_t)message.number;
        take_over(succession);
    } else if (got == 1 && message.type == HANDOVER_FREE) {
        systemd_ready(succession->master->systemd);
    }
}

bool succession_begin(struct master *master)
{
    struct succession *succession = master->succession;
    struct timeval every = {.tv_usec = POLL_MS * 1000};
    if (!succession->waiting) {
        bool serves = serve(master);
        systemd_ready(master->systemd);
        return serves;
    }
    succession->health_until_ms = clock_now_ms() + HEALTH_MS;
    succession->readable =
        event_new(master->base, succession->channel, EV_READ | EV_PERSIST, on_channel, succession);
    succession->poll = event_new(master->base, -1, EV_PERSIST, on_poll, succession);
    return succession->readable != NULL && succession->poll != NULL &&
           event_add(succession->readable, NULL) == 0 && event_add(succession->poll, &every) == 0;
}

/* --- afterwards --- */

void succession_sweep(struct master *master)
{
    struct succession *succession = master->succession;
    if (succession->handover.header != NULL) {
        handover_carry(&succession->handover, &succession->load, master->model, &master->sb);
    }
    if (!succession->waiting && !master->leaving) {
        listeners_store(master->listeners);
    }
}

void succession_stop(struct master *master, uint64_t ms)
{
    handover_tell(master->succession->channel, HANDOVER_STOP, ms, NULL);
}

void succession_fail(struct master *master)
{
    if (master->succession != NULL) {
        handover_tell(master->succession->channel, HANDOVER_FAILED, 0, log_last_error());
    }
}

void succession_destroy(struct master *master)
{
    struct succession *succession = master->succession;
    if (succession == NULL) {
        return;
    }
    if (succession->readable != NULL) {
        event_free(succession->readable);
    }
    if (succession->poll != NULL) {
        event_free(succession->poll);
    }
    free(succession->load.items);
    handover_close(&succession->handover);
    fd_close(&succession->channel);
    inherited_free(succession->inherited);
    free(succession);
    master->succession = NULL;
}
