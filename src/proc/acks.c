/*
 * Waiting until a published generation is in force: a change is reported as done only when every
 * process works with it, so that whoever drained a backend gets no more sessions there after the
 * answer. Bounded: a stuck process delays the answer, it does not prevent it. In master.
 */
#include <stdlib.h>

#include "master.h"

#define ACK_MS 2000

struct ack {
    TAILQ_ENTRY(ack) link;
    struct master *master;
    uint32_t generation;
    struct event *deadline;
    ack_fn *done;
    void *arg;
};

/* A process that has not begun yet will begin with the newest. */
static uint32_t count_behind(const struct master *master, uint32_t generation)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i <= master->n_workers; i++) {
        const struct child *child = &master->children[i];
        behind +=
            child->pid > 0 && child->ready_generation != 0 && child->ready_generation < generation;
    }
    return behind;
}

static void ack_end(struct ack *ack)
{
    uint32_t behind = count_behind(ack->master, ack->generation);
    ack_fn *done = ack->done;
    void *arg = ack->arg;
    TAILQ_REMOVE(&ack->master->acks, ack, link);
    if (ack->deadline != NULL) {
        event_free(ack->deadline);
    }
    free(ack);
    done(arg, behind);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ack_end(arg);
}

void acks_await(struct master *master, uint32_t generation, ack_fn *done, void *arg)
{
    struct ack *ack = count_behind(master, generation) == 0 ? NULL : calloc(1, sizeof(*ack));
    if (ack == NULL) {
        done(arg, count_behind(master, generation));
        return;
    }
    *ack = (struct ack){.master = master, .generation = generation, .done = done, .arg = arg};
    TAILQ_INSERT_TAIL(&master->acks, ack, link);
    ack->deadline = evtimer_new(master->base, on_deadline, ack);
    struct timeval in = {.tv_sec = ACK_MS / 1000};
    if (ack->deadline == NULL || evtimer_add(ack->deadline, &in) != 0) {
        ack_end(ack);
    }
}

void acks_check(struct master *master)
{
    struct ack *ack;
    /* From the start each time: done() may change the list. Generations only rise. */
    while ((ack = TAILQ_FIRST(&master->acks)) != NULL &&
           count_behind(master, ack->generation) == 0) {
        ack_end(ack);
    }
}

void acks_end_all(struct master *master)
{
    struct ack *ack;
    while ((ack = TAILQ_FIRST(&master->acks)) != NULL) {
        ack_end(ack);
    }
}

void acks_warn(struct errlist *errors, uint32_t generation, uint32_t behind)
{
    if (behind > 0) {
        errlist_add(errors, ERRLIST_WARNING, NULL, 0, NULL,
                    "%u processes have not taken generation %u over yet; show workers tells which, "
                    "and the log why",
                    behind, generation);
    }
}
