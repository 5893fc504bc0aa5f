/*
 * Sessions that are closed by command: tells all workers, and collects what each is going to close,
 * without waiting for any. From then on it is the workers' business. Owns the commands under way.
 * In master.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "master.h"

#define ANSWER_MS 2000

struct closing {
    TAILQ_ENTRY(closing) link;
    struct master *master;
    uint32_t number;
    const struct ctl_closing *asked;
    const struct ctl_who *who;
    uint64_t until_wall_ms;
    struct session_closing sum;
    bool owes[WORKERS_MAX]; /* an answer */
    struct event *deadline;
    struct errlist errors;
    struct change_list changes;
    ctl_close_fn *done;
    void *arg;
};

static uint32_t count_owing(const struct closing *closing)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < closing->master->n_workers; i++) {
        n += closing->owes[i];
    }
    return n;
}

/* One command may be about many backends: what has failed says about which. */
static void warn(struct closing *closing, enum errlist_severity severity)
{
    const char *what = closing->asked->what;
    uint32_t silent = count_owing(closing);
    if (silent > 0) {
        errlist_add(&closing->errors, severity, NULL, 0, NULL,
                    "%s: %" PRIu32
                    " %s not answer in time; whatever of it %s there is closed too if "
                    "the command arrives, and is not counted here",
                    what, silent, silent == 1 ? "worker did" : "workers did",
                    silent == 1 ? "it has" : "they have");
    }
    if (closing->sum.error != 0) {
        errlist_add(&closing->errors, severity, NULL, 0, NULL,
                    "%s: a worker has no memory for it; say it again", what);
    }
}

static void tell(struct closing *closing, const char *text)
{
    const struct ctl_closing *asked = closing->asked;
    log_info(text, LOG_STR("by", closing->who->text));
    master_event(closing->master, "admin", asked->pool, asked->backend, closing->who->text,
                 closing->who->why, text);
}

static void list_changes(struct closing *closing)
{
    const struct ctl_closing *asked = closing->asked;
    const struct session_closing *sum = &closing->sum;
    char over[UNITS_TEXT_MAX], until[CLOCK_TEXT_MAX];
    change_add(&closing->changes, "%s: closing %" PRIu64 " %s %s%s, until %s", asked->what,
               sum->sessions, sum->sessions == 1 ? "session" : "sessions",
               asked->over_ms == 0 ? "at once" : "over ",
               asked->over_ms == 0 ? "" : units_format_time(asked->over_ms, over),
               clock_format_wall(closing->until_wall_ms, until));
    if (sum->sooner > 0) {
        change_add(&closing->changes,
                   "%s: %" PRIu64 " of them sooner, as an earlier command has said", asked->what,
                   sum->sooner);
    }
    if (sum->hastened > 0) {
        change_add(&closing->changes,
                   "%s: %" PRIu64 " of them sooner than an earlier command has said", asked->what,
                   sum->hastened);
    }
    if (closing->changes.count > 0) {
        tell(closing, closing->changes.lines[0]);
    }
}

static void finish(struct closing *closing)
{
    struct master *master = closing->master;
    bool none = closing->sum.sessions == 0;
    bool unclear = count_owing(closing) > 0 || closing->sum.error != 0;
    TAILQ_REMOVE(&master->closings, closing, link);
    warn(closing, none ? ERRLIST_ERROR : ERRLIST_WARNING);
    if (none && !unclear && closing->asked->filter.id != 0) {
        errlist_add(&closing->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "there is no session %" PRIu64 "; show sessions lists them",
                    closing->asked->filter.id);
    } else if (!none) {
        list_changes(closing);
    }
    closing->done(closing->arg, &closing->errors, &closing->changes, master->model->generation,
                  closing->sum.sessions, closing->until_wall_ms);
    if (closing->deadline != NULL) {
        event_free(closing->deadline);
    }
    errlist_free(&closing->errors);
    change_list_free(&closing->changes);
    free(closing);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg);
}

static void ask(struct closing *closing, uint32_t worker, uint64_t deadline_ms)
{
    struct master *master = closing->master;
    struct message *message = &master->message;
    struct child *child = &master->children[worker];
    message->type = MESSAGE_CLOSE;
    message->number = closing->number;
    message->close =
        (struct session_close){.filter = closing->asked->filter, .deadline_ms = deadline_ms};
    /* One that cannot even be asked counts as silent, at the deadline. */
    closing->owes[worker] = child->pid > 0;
    if (child->pid > 0) {
        (void)message_send(child->channel, message, -1);
    }
}

void closings_start(struct master *master, const struct ctl_closing *asked,
                    const struct ctl_who *who, ctl_close_fn *done, void *arg)
{
    struct closing *closing = calloc(1, sizeof(*closing));
    if (closing == NULL) {
        const struct errlist errors = {.errors = 1};
        static const struct change_list none;
        done(arg, &errors, &none, master->model->generation, 0, 0);
        return;
    }
    *closing = (struct closing){.master = master,
                                .number = ++master->next_closing,
                                .asked = asked,
                                .who = who,
                                .until_wall_ms = clock_wall_ms() + asked->over_ms,
                                .done = done,
                                .arg = arg};
    TAILQ_INSERT_TAIL(&master->closings, closing, link);
    closing->deadline = evtimer_new(master->base, on_deadline, closing);
    struct timeval in = {.tv_sec = ANSWER_MS / 1000};
    if (closing->deadline == NULL || evtimer_add(closing->deadline, &in) != 0) {
        closing->sum.error = -ENOMEM;
        finish(closing);
        return;
    }
    uint64_t deadline_ms = clock_now_ms() + asked->over_ms;
    for (uint32_t i = 0; i < master->n_workers; i++) {
        ask(closing, i, deadline_ms);
    }
    if (count_owing(closing) == 0) {
        finish(closing);
    }
}

static struct closing *find(struct master *master, uint32_t number)
{
    struct closing *closing;
    TAILQ_FOREACH (closing, &master->closings, link) {
        if (closing->number == number) {
            return closing;
        }
    }
    return NULL;
}

void closings_answered(struct master *master, uint32_t worker, uint32_t number,
                       const struct session_closing *answer)
{
    struct closing *closing = find(master, number);
    if (closing == NULL || worker >= master->n_workers || !closing->owes[worker]) {
        return;
    }
    closing->owes[worker] = false;
    closing->sum.sessions += answer->sessions;
    closing->sum.sooner += answer->sooner;
    closing->sum.hastened += answer->hastened;
    closing->sum.error = answer->error != 0 ? answer->error : closing->sum.error;
    if (count_owing(closing) == 0) {
        finish(closing);
    }
}

/* Its sessions have gone with it. */
void closings_worker_gone(struct master *master, uint32_t worker)
{
    struct closing *closing, *next;
    TAILQ_FOREACH_SAFE (closing, &master->closings, link, next) {
        closing->owes[worker] = false;
        if (count_owing(closing) == 0) {
            finish(closing);
        }
    }
}

void closings_cancel_all(struct master *master)
{
    struct closing *closing;
    while ((closing = TAILQ_FIRST(&master->closings)) != NULL) {
        finish(closing);
    }
}
