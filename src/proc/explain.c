/*
 * Asking a worker which backend a client would get: one of them, without waiting, the question kept
 * until its answer or its deadline. Owns the questions under way. In master.
 */
#include <stdlib.h>

#include "master.h"

#define ANSWER_MS 2000

struct inquiry {
    LIST_ENTRY(inquiry) link;
    struct master *master;
    uint32_t number; /* of the question as last asked */
    uint32_t worker; /* who owes the answer */
    bool repeated;
    struct explanation_question question;
    struct event *deadline;
    ctl_explain_fn *done;
    void *arg;
};

/* explanation is gone after the call; NULL: there is none. */
static void finish(struct inquiry *inquiry, const struct explanation *explanation)
{
    LIST_REMOVE(inquiry, link);
    if (inquiry->deadline != NULL) {
        event_free(inquiry->deadline);
    }
    inquiry->done(inquiry->arg, explanation);
    free(inquiry);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg, NULL);
}

static bool is_running(const struct master *master, uint32_t worker)
{
    return master->children[worker].pid > 0 &&
           atomic_load(&master->sb.workers[worker].state) == SB_WORKER_RUNNING;
}

/* The first running worker whose channel has room. False: there is none. */
static bool ask(struct inquiry *inquiry)
{
    struct master *master = inquiry->master;
    struct message *message = &master->message;
    inquiry->number = ++master->next_inquiry;
    message->type = MESSAGE_EXPLAIN;
    message->number = inquiry->number;
    message->question = inquiry->question;
    for (uint32_t i = 0; i < master->n_workers; i++) {
        if (is_running(master, i) && message_send(master->children[i].channel, message, -1) == 0) {
            inquiry->worker = i;
            return true;
        }
    }
    return false;
}

void explain_start(struct master *master, const struct explanation_question *question,
                   ctl_explain_fn *done, void *arg)
{
    struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
    if (inquiry == NULL) {
        done(arg, NULL);
        return;
    }
    inquiry->master = master;
    inquiry->question = *question;
    inquiry->done = done;
    inquiry->arg = arg;
    LIST_INSERT_HEAD(&master->inquiries, inquiry, link);
    inquiry->deadline = evtimer_new(master->base, on_deadline, inquiry);
    struct timeval in = {.tv_sec = ANSWER_MS / 1000};
    if (inquiry->deadline == NULL || evtimer_add(inquiry->deadline, &in) != 0 || !ask(inquiry)) {
        finish(inquiry, NULL);
    }
}

static struct inquiry *find(struct master *master, uint32_t worker, uint32_t number)
{
    struct inquiry *inquiry;
    LIST_FOREACH (inquiry, &master->inquiries, link) {
        if (inquiry->number == number && inquiry->worker == worker) {
            return inquiry;
        }
    }
    return NULL;
}

void explain_answered(struct master *master, uint32_t worker, uint32_t number,
                      const struct explanation *explanation)
{
    struct inquiry *inquiry = find(master, worker, number);
    if (inquiry == NULL) {
        return;
    }
    if (explanation->generation == master->model->generation) {
        finish(inquiry, explanation);
        return;
    }
    /* A reload came in between: its indices mean nothing any more. The question goes out again
     * behind the new snapshot. */
    if (inquiry->repeated || !ask(inquiry)) {
        finish(inquiry, NULL);
        return;
    }
    inquiry->repeated = true;
}

void explain_worker_gone(struct master *master, uint32_t worker)
{
    struct inquiry *inquiry, *next;
    LIST_FOREACH_SAFE (inquiry, &master->inquiries, link, next) {
        if (inquiry->worker == worker) {
            finish(inquiry, NULL);
        }
    }
}

void explain_cancel_all(struct master *master)
{
    struct inquiry *inquiry;
    while ((inquiry = LIST_FIRST(&master->inquiries)) != NULL) {
        finish(inquiry, NULL);
    }
}
