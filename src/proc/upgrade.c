/*
 * Handing over to another program. Until that serves, this daemon does, and takes everything back
 * if anything fails. Owns the attempt, and afterwards the channel to the successor. In master.
 *
 *     IDLE ── start ──► ASKED ── HELLO ──► PREPARING ── READY ──► HANDING ── SERVING ──► OVER
 *      ▲                  │                    │                     │
 *      └───── failed ─────┴────────────────────┴─────────────────────┘
 */
#include "upgrade.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "child.h"
#include "handover.h"
#include "master.h"
#include "restore.h"
#include "succession.h"
#include "successor.h"
#include "systemd.h"

#define HELLO_MS      5000  /* a program that says nothing for so long is none of ours */
#define READY_MS      30000 /* from then on */
#define HANDING_MS    10000
#define SAID_MAX      4096
#define PACE_MAX_MS   10000 /* so long before upgrade_timeout sessions begin to be closed */
#define PACE_FRACTION 10    /* or so much of it */

enum upgrade_state { IDLE, ASKED, PREPARING, HANDING, OVER };

struct upgrade {
    struct master *master;
    enum upgrade_state state;
    struct successor successor;
    pid_t pid; /* of the new master */
    struct event *readable, *said, *deadline, *pace;
    struct handover handover;
    int handover_fd;
    char *program, *by, *why;
    struct str text; /* what it said to standard error */
    ctl_change_fn *done;
    void *arg;
    struct ctl_closing closing; /* of what is left when upgrade_timeout nears */
};

static void free_event(struct event **event)
{
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

static void set_deadline(struct upgrade *upgrade, uint32_t ms)
{
    struct timeval in = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(upgrade->deadline, &in);
}

bool upgrade_is_over(const struct master *master)
{
    return master->upgrade != NULL && master->upgrade->state == OVER;
}

static void answer(struct upgrade *upgrade, const struct errlist *errors,
                   const struct change_list *changes)
{
    ctl_change_fn *done = upgrade->done;
    upgrade->done = NULL;
    if (done != NULL) {
        done(upgrade->arg, errors, changes, upgrade->master->model->generation);
    }
}

/* --- the end of an attempt --- */

static void end_successor(struct upgrade *upgrade)
{
    struct successor *successor = &upgrade->successor;
    free_event(&upgrade->readable);
    free_event(&upgrade->said);
    free_event(&upgrade->deadline);
    successor_end(successor);
    fd_close(&successor->channel);
    fd_close(&successor->errors);
    fd_close(&upgrade->handover_fd);
    handover_close(&upgrade->handover);
    str_free(&upgrade->text);
    free(upgrade->program);
    free(upgrade->by);
    free(upgrade->why);
    upgrade->program = upgrade->by = upgrade->why = NULL;
    upgrade->pid = 0;
}

static void take_back(struct upgrade *upgrade)
{
    if (upgrade->state == HANDING) {
        ctl_server_pause(upgrade->master->control, false);
        restore_save(upgrade->master, NULL); /* locks it again */
    }
}

static void fail(struct upgrade *upgrade, const char *reason)
{
    struct errlist errors = {0};
    static const struct change_list none;
    errlist_add(&errors, ERRLIST_ERROR, NULL, 0, NULL,
                "upgrade to %s: %s; this daemon goes on (pid %d)", upgrade->program, reason,
                (int)getpid());
    log_error("upgrade failed", LOG_STR("program", upgrade->program), LOG_STR("reason", reason));
    take_back(upgrade);
    end_successor(upgrade);
    upgrade->state = IDLE;
    answer(upgrade, &errors, &none);
    errlist_free(&errors);
}

static void append_line(struct str *out, const char *line, size_t len)
{
    str_append(out, out->len > 0 ? "; " : "");
    str_append_n(out, line, len);
}

/* Its first line that is no warning, and its last one. */
static void word_said(const struct upgrade *upgrade, struct str *out)
{
    const char *at = str_text(&upgrade->text), *first = NULL, *last = NULL;
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        bool is_warning = memmem(at, len, "warning: ", strlen("warning: ")) != NULL;
        first = first == NULL && !is_warning && len > 0 ? at : first;
        last = len > 0 ? at : last;
        at += len + (at[len] == '\n');
    }
    if (first != NULL) {
        append_line(out, first, strcspn(first, "\n"));
    }
    if (last != NULL && last != first) {
        append_line(out, last, strcspn(last, "\n"));
    }
}

static void fail_with(struct upgrade *upgrade, const char *what)
{
    STR_AUTO reason = {0};
    STR_AUTO said = {0};
    word_said(upgrade, &said);
    str_printf(&reason, "%s%s%s", what, said.len > 0 ? ": " : "", str_text(&said));
    fail(upgrade, str_text(&reason));
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct upgrade *upgrade = arg;
    switch (upgrade->state) {
    case ASKED:
        fail_with(upgrade, "it did not say within 5 s that it is a sluiced that can take over");
        break;
    case PREPARING:
        fail_with(upgrade, "it was not ready to serve within 30 s");
        break;
    default:
        fail_with(upgrade, "it was ready, but did not take over within 10 s");
        break;
    }
}

/* --- success --- */

static void closed(void *arg, const struct errlist *errors, const struct change_list *changes,
                   uint32_t generation, uint64_t sessions, uint64_t until_wall_ms)
{
    (void)arg;
    (void)errors;
    (void)changes;
    (void)generation;
    (void)sessions;
    (void)until_wall_ms;
}

static void on_pace(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    static const struct ctl_who who = {.text = "master"};
    struct upgrade *upgrade = arg;
    closings_start(upgrade->master, &upgrade->closing, &who, closed, NULL);
}

/* All that is left at once would be too many that come again at the same moment. */
static void pace_the_end(struct upgrade *upgrade, uint32_t timeout_ms)
{
    uint32_t over_ms = timeout_ms / PACE_FRACTION;
    over_ms = over_ms < PACE_MAX_MS ? over_ms : PACE_MAX_MS;
    uint32_t in_ms = timeout_ms - over_ms;
    struct timeval in = {.tv_sec = in_ms / 1000, .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    upgrade->closing = (struct ctl_closing){
        .filter = {.service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY},
        .what = "sessions of the daemon before the upgrade",
        .over_ms = over_ms};
    upgrade->pace = evtimer_new(upgrade->master->base, on_pace, upgrade);
    if (upgrade->pace != NULL) {
        evtimer_add(upgrade->pace, &in);
    }
}

static void hand_over(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    uint32_t timeout_ms = master->model->global.upgrade_timeout_ms;
    struct errlist errors = {0};
    struct change_list changes = {0};
    upgrade->state = OVER;
    free_event(&upgrade->deadline);
    child_end(&upgrade->successor.nurse); /* it is on its own now, and the supervisor may have it */
    systemd_hand_over(master->systemd, upgrade->pid);
    handover_tell(upgrade->successor.channel, HANDOVER_FREE, 0, NULL);
    change_add(&changes, "global: upgraded: %s (pid %d) serves, pid %d drains", upgrade->program,
               (int)upgrade->pid, (int)getpid());
    log_info(changes.count > 0 ? changes.lines[0] : "upgraded", LOG_STR("by", upgrade->by));
    answer(upgrade, &errors, &changes);
    change_list_free(&changes);
    errlist_free(&errors);
    setproctitle("master, drains after an upgrade");
    listeners_disown(master->listeners);
    if (timeout_ms > 0) {
        pace_the_end(upgrade, timeout_ms);
    }
    master_drain(master, timeout_ms > 0 ? timeout_ms : UINT64_MAX, "upgrade");
}

static void hand_names(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    upgrade->state = HANDING;
    set_deadline(upgrade, HANDING_MS);
    ctl_server_pause(master->control, true);
    state_file_unlock(&master->state_file);
    handover_tell(upgrade->successor.channel, HANDOVER_YOURS, (uint64_t)getpid(), NULL);
}

/* --- hearing --- */

static void heard(struct upgrade *upgrade, const struct handover_message *message)
{
    struct master *master = upgrade->master;
    if (message->type == HANDOVER_HELLO && upgrade->state == ASKED) {
        upgrade->pid = (pid_t)message->number;
        upgrade->state = PREPARING;
        set_deadline(upgrade, READY_MS);
    } else if (message->type == HANDOVER_READY && upgrade->state == PREPARING) {
        hand_names(upgrade);
    } else if (message->type == HANDOVER_SERVING && upgrade->state == HANDING) {
        hand_over(upgrade);
    } else if (message->type == HANDOVER_FAILED && upgrade->state != OVER) {
        fail(upgrade, message->text);
    } else if (message->type == HANDOVER_STOP && upgrade->state == OVER) {
        master_hasten(master, message->number);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct upgrade *upgrade = arg;
    struct handover_message message;
    int got = handover_hear((int)fd, &message);
    if (got == 1) {
        heard(upgrade, &message);
    } else if (got == 0) {
        event_del(upgrade->readable); /* the end of the nurse says more; afterwards, who cares */
    }
}

static void hear_words(struct upgrade *upgrade)
{
    char bytes[1024];
    ssize_t n = -1;
    while (upgrade->successor.errors >= 0 &&
           (n = read(upgrade->successor.errors, bytes, sizeof(bytes))) > 0) {
        (void)!write(STDERR_FILENO, bytes, (size_t)n);
        if (upgrade->text.len < SAID_MAX) {
            str_append_n(&upgrade->text, bytes, (size_t)n);
        }
    }
    if (n == 0 && upgrade->said != NULL) {
        free_event(&upgrade->said);
    }
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    hear_words(arg);
}

void upgrade_reap(struct master *master)
{
    struct upgrade *upgrade = master->upgrade;
    struct handover_message message;
    char text[64];
    int status;
    if (upgrade == NULL || upgrade->successor.nurse <= 0 ||
        !child_reap(upgrade->successor.nurse, &status)) {
        return;
    }
    upgrade->successor.nurse = 0;
    hear_words(upgrade);
    while (upgrade->successor.channel >= 0 &&
           handover_hear(upgrade->successor.channel, &message) == 1) {
        heard(upgrade, &message);
    }
    if (upgrade->state == IDLE || upgrade->state == OVER) {
        return;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    snprintf(text, sizeof(text),
             code > 128 ? "it ended by signal %d before it was ready"
                        : "it ended with status %d before it was ready",
             code > 128 ? code - 128 : code);
    fail_with(upgrade, text);
}

/* --- starting --- */

static bool listen_to(struct upgrade *upgrade)
{
    struct event_base *base = upgrade->master->base;
    upgrade->readable =
        event_new(base, upgrade->successor.channel, EV_READ | EV_PERSIST, on_readable, upgrade);
    upgrade->said =
        event_new(base, upgrade->successor.errors, EV_READ | EV_PERSIST, on_said, upgrade);
    upgrade->deadline = evtimer_new(base, on_deadline, upgrade);
    return upgrade->readable != NULL && upgrade->said != NULL && upgrade->deadline != NULL &&
           event_add(upgrade->readable, NULL) == 0 && event_add(upgrade->said, NULL) == 0;
}

static int begin(struct upgrade *upgrade)
{
    struct master *master = upgrade->master;
    STR_AUTO state = {0};
    restore_encode(master, &state);
    int fd = state.failed ? -ENOMEM
                          : handover_create(master->model, &master->sb, &state, &upgrade->handover);
    if (fd < 0) {
        return fd;
    }
    upgrade->handover_fd = fd;
    int error = successor_start(master, upgrade->program, ctl_server_listener(master->control), fd,
                                &upgrade->successor);
    return error != 0 ? error : listen_to(upgrade) ? 0 : -ENOMEM;
}

/* NULL: it can begin. */
static const char *find_obstacle(const struct master *master)
{
    if (succession_is_waiting(master) || master->leaving || upgrade_is_over(master)) {
        return "this daemon is stopping; ask the one that has taken over, or start it again";
    }
    if (master->upgrade->state != IDLE) {
        return "another upgrade is under way; wait for its end";
    }
    if (!TAILQ_EMPTY(&master->edits) || !TAILQ_EMPTY(&master->loads)) {
        return "a change or a reload is under way; wait for its end";
    }
    return NULL;
}

static void refuse(struct master *master, const char *text, ctl_change_fn *done, void *arg)
{
    struct errlist errors = {0};
    static const struct change_list none;
    errlist_add(&errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", text);
    done(arg, &errors, &none, master->model->generation);
    errlist_free(&errors);
}

bool upgrade_refuses(struct master *master, ctl_change_fn *done, void *arg)
{
    if (master->upgrade == NULL || master->upgrade->state == IDLE) {
        return false;
    }
    refuse(master,
           master->upgrade->state == OVER
               ? "this daemon has handed over; ask the one that serves now"
               : "an upgrade is under way; say it again after its end",
           done, arg);
    return true;
}

static struct upgrade *create(struct master *master)
{
    struct upgrade *upgrade = calloc(1, sizeof(*upgrade));
    if (upgrade != NULL) {
        upgrade->master = master;
        upgrade->handover_fd = -1;
        upgrade->successor = (struct successor){.channel = -1, .errors = -1};
    }
    return upgrade;
}

void upgrade_start(struct master *master, const char *program, const char *by, const char *why,
                   ctl_change_fn *done, void *arg)
{
    if (master->upgrade == NULL) {
        master->upgrade = create(master);
    }
    struct upgrade *upgrade = master->upgrade;
    const char *obstacle = upgrade == NULL ? "out of memory" : find_obstacle(master);
    if (obstacle != NULL) {
        refuse(master, obstacle, done, arg);
        return;
    }
    upgrade->program = strdup(program != NULL ? program : master->program);
    upgrade->by = strdup(by);
    upgrade->why = why != NULL ? strdup(why) : NULL;
    upgrade->done = done;
    upgrade->arg = arg;
    upgrade->state = ASKED;
    int error = upgrade->program == NULL || upgrade->by == NULL ? -ENOMEM : begin(upgrade);
    if (error != 0) {
        fail(upgrade, strerror(-error));
        return;
    }
    set_deadline(upgrade, HELLO_MS);
    log_info("upgrading", LOG_STR("program", upgrade->program), LOG_STR("by", by));
    master_event(master, "upgrade", NULL, NULL, by, why, "upgrading: another program is started");
}

/* Nobody waits for an answer. */
static void told_by_signal(void *arg, const struct errlist *errors,
                           const struct change_list *changes, uint32_t generation)
{
    (void)changes;
    (void)generation;
    const struct errlist_item *first = errlist_first_error(errors);
    if (first != NULL) {
        log_error(first->text);
        master_event(arg, "refused", NULL, NULL, "SIGUSR2", NULL, first->text);
    }
}

void upgrade_by_signal(struct master *master)
{
    upgrade_start(master, NULL, "SIGUSR2", NULL, told_by_signal, master);
}

void upgrade_sweep(struct master *master)
{
    if (master->upgrade != NULL && master->upgrade->handover.header != NULL) {
        handover_renew(&master->upgrade->handover, &master->sb);
    }
}

void upgrade_cancel(struct master *master, const char *reason)
{
    struct upgrade *upgrade = master->upgrade;
    if (upgrade != NULL && upgrade->state != IDLE && upgrade->state != OVER) {
        fail(upgrade, reason);
    }
}

void upgrade_destroy(struct master *master)
{
    struct upgrade *upgrade = master->upgrade;
    if (upgrade == NULL) {
        return;
    }
    free_event(&upgrade->pace);
    end_successor(upgrade);
    free(upgrade);
    master->upgrade = NULL;
}
