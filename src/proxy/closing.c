/*
 * Sessions that are closed by command, some at a time. Owns what each command is still to close: a
 * table of its sessions, of which each knows its place, and a heap of those places, longest idle
 * first. There are as many as have sessions left, so that no drain misses its end for others. In a
 * worker.
 *
 * The heap goes by when a session was active last as far as the heap knows; it learns the truth
 * about the one on top, since idle times only ever begin anew, and so everyone below has been idle
 * for at most as long as it believes.
 */
#include "closing.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy.h"

/* Closing one costs some microseconds, and the others' bytes wait meanwhile. */
#define CLOSINGS_A_TURN 256
/* Where everybody is busy all the time, nobody is worth a longer search. */
#define LOOKS_MAX 16

struct closing_member {
    struct session *session; /* NULL: ended, or to be closed by another command now */
    struct closing *closing;
    uint64_t active_ms; /* as far as the heap knows */
    uint32_t row;       /* of the backend that it is to leave; SNAPSHOT_NONE: wherever it is */
};

struct closing {
    TAILQ_ENTRY(closing) link;
    struct closing_member *members;
    struct closing_member **heap;
    size_t n_heap;
    size_t n_left;    /* members that are there; 0: this closing is over */
    uint64_t last_us; /* when the last one was due; at first when the command came */
    uint64_t deadline_us;
    uint64_t close_by_ms; /* of the filter: only as long as the backend's slot says so; 0: always */
};

void closing_init(struct proxy *proxy)
{
    TAILQ_INIT(&proxy->closings);
    proxy->closings_due_ms = UINT64_MAX;
}

static void closing_free(struct closing *closing)
{
    free(closing->members);
    free(closing->heap);
    free(closing);
}

void closing_fini(struct proxy *proxy)
{
    struct closing *closing;
    while ((closing = TAILQ_FIRST(&proxy->closings)) != NULL) {
        TAILQ_REMOVE(&proxy->closings, closing, link);
        closing_free(closing);
    }
}

/* Whether a member still is to be closed: with a framing it may have gone on to another backend,
 * whose request is none of the command's, and the operator may have thought better of it. For a
 * drain one that is just being connected is not there yet. */
static bool is_meant(const struct session *s)
{
    const struct closing *closing = s->closing->closing;
    if (closing->close_by_ms != 0) {
        return s->attempt == NULL && proxy_closes_by(s) == closing->close_by_ms;
    }
    return s->closing->row == SNAPSHOT_NONE || s->closing->row == s->row;
}

void closing_forget(struct session *s)
{
    if (s->closing == NULL) {
        return;
    }
    s->closing->session = NULL;
    s->closing->closing->n_left--;
    s->closing = NULL;
}

/* --- the heap --- */

/* Of two that are idle for as long the older session goes first: members are in that order. */
static bool goes_before(const struct closing_member *a, const struct closing_member *b)
{
    return a->active_ms != b->active_ms ? a->active_ms < b->active_ms : a < b;
}

static void sift_down(struct closing *closing, size_t at)
{
    struct closing_member **heap = closing->heap;
    struct closing_member *moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < closing->n_heap; at = child) {
        if (child + 1 < closing->n_heap && goes_before(heap[child + 1], heap[child])) {
            child++;
        }
        if (goes_before(moved, heap[child])) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* Takes out whoever is idle for longest; there is somebody. */
static struct session *take(struct closing *closing)
{
    for (int looks = 0;;) {
        struct closing_member *top = closing->heap[0];
        struct session *s = top->session;
        if (s != NULL && s->active_ms > top->active_ms && looks++ < LOOKS_MAX) {
            top->active_ms = s->active_ms;
            sift_down(closing, 0);
            continue;
        }
        closing->heap[0] = closing->heap[--closing->n_heap];
        sift_down(closing, 0);
        if (s != NULL) {
            return s;
        }
    }
}

/* --- time --- */

/* Those that are left share the time that is left. */
static uint64_t due_us(const struct closing *closing)
{
    return closing->last_us + (closing->deadline_us - closing->last_us) / closing->n_left;
}

static void end(struct session *s, bool by_deadline)
{
    if (s->attempt != NULL) {
        session_refuse(s, REFUSAL_OPERATOR);
    } else {
        session_finish(s, by_deadline ? ENDING_BACKEND_DRAINED : ENDING_OPERATOR);
    }
}

/* Returns how many more may be looked at in this turn. */
static uint32_t work(struct proxy *proxy, struct closing *closing, uint32_t budget)
{
    while (budget > 0 && closing->n_left > 0 && due_us(closing) <= proxy->now_ms * 1000) {
        closing->last_us = due_us(closing);
        struct session *s = take(closing);
        bool meant = is_meant(s);
        closing_forget(s); /* it may live on until its client has what it is owed */
        if (meant) {
            end(s, closing->close_by_ms != 0);
        }
        budget--;
    }
    return budget;
}

/* Frees those that are over. Returns when the next of the others is due; UINT64_MAX: there is none.
 */
static uint64_t sweep(struct proxy *proxy)
{
    uint64_t due = UINT64_MAX;
    struct closing *closing, *next;
    TAILQ_FOREACH_SAFE (closing, &proxy->closings, link, next) {
        if (closing->n_left == 0) {
            TAILQ_REMOVE(&proxy->closings, closing, link);
            closing_free(closing);
        } else if (due_us(closing) < due) {
            due = due_us(closing);
        }
    }
    return due == UINT64_MAX ? due : (due + 999) / 1000;
}

void closing_work(struct proxy *proxy)
{
    if (proxy->now_ms < proxy->closings_due_ms) {
        return;
    }
    uint32_t budget = CLOSINGS_A_TURN;
    struct closing *closing;
    TAILQ_FOREACH (closing, &proxy->closings, link) {
        budget = work(proxy, closing, budget);
    }
    proxy->closings_due_ms = sweep(proxy);
}

/* --- beginning --- */

/* By when an earlier command closes it; UINT64_MAX: none does. */
static uint64_t promised_us(const struct session *s)
{
    return s->closing != NULL && is_meant(s) ? s->closing->closing->deadline_us : UINT64_MAX;
}

/* Those that no earlier command closes in time are to be enlisted: returns how many. */
static size_t count(const struct proxy *proxy, const struct session_close *wanted,
                    uint64_t deadline_us, struct session_closing *out)
{
    const struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (proxy_matches(s, &wanted->filter)) {
            uint64_t promised = promised_us(s);
            out->sessions++;
            out->sooner += promised <= deadline_us;
            out->hastened += promised > deadline_us && promised != UINT64_MAX;
        }
    }
    return out->sessions - out->sooner;
}

/* For n sessions; NULL without memory. */
static struct closing *closing_create(size_t n)
{
    struct closing *closing = calloc(1, sizeof(*closing));
    if (closing == NULL) {
        return NULL;
    }
    closing->members = calloc(n, sizeof(struct closing_member));
    closing->heap = calloc(n, sizeof(struct closing_member *));
    if (closing->members == NULL || closing->heap == NULL) {
        closing_free(closing);
        return NULL;
    }
    return closing;
}

static void enlist(struct closing *closing, bool is_of_backend, struct session *s)
{
    struct closing_member *member = &closing->members[closing->n_heap];
    closing_forget(s);
    *member = (struct closing_member){.session = s,
                                      .closing = closing,
                                      .active_ms = s->active_ms,
                                      .row = is_of_backend ? s->row : SNAPSHOT_NONE};
    s->closing = member;
    closing->heap[closing->n_heap++] = member;
    closing->n_left++;
}

void proxy_close(struct proxy *proxy, const struct session_close *wanted,
                 struct session_closing *out)
{
    proxy_touch(proxy);
    uint64_t now_us = proxy->now_ms * 1000;
    uint64_t deadline_us =
        wanted->deadline_ms > proxy->now_ms ? wanted->deadline_ms * 1000 : now_us;
    *out = (struct session_closing){0};
    size_t n = count(proxy, wanted, deadline_us, out);
    if (n == 0) {
        return;
    }
    struct closing *closing = closing_create(n);
    if (closing == NULL) {
        *out = (struct session_closing){.error = -ENOMEM};
        return;
    }
    closing->last_us = now_us;
    closing->deadline_us = deadline_us;
    closing->close_by_ms = wanted->filter.close_by_ms;
    bool is_of_backend = wanted->filter.row != SESSION_FILTER_ANY;
    struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (proxy_matches(s, &wanted->filter) && promised_us(s) > deadline_us) {
            enlist(closing, is_of_backend, s);
        }
    }
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(closing, i);
    }
    TAILQ_INSERT_TAIL(&proxy->closings, closing, link);
    proxy->closings_due_ms = proxy->now_ms;
}

/* --- the operator thinks better of it --- */

/* Backends that are ready now and were not before, by row. */
static void find_returned(const struct snapshot_header *old, const struct snapshot_header *now,
                          bool returned[static BACKENDS_MAX])
{
    const struct snapshot_backend *backends = snapshot_backends(now);
    for (uint32_t i = 0; i < now->n_backends; i++) {
        returned[backends[i].row] = backends[i].admin == ADMIN_READY;
    }
    backends = snapshot_backends(old);
    for (uint32_t i = 0; i < old->n_backends; i++) {
        if (backends[i].admin == ADMIN_READY) {
            returned[backends[i].row] = false;
        }
    }
}

void closing_apply(struct proxy *proxy, const struct snapshot_header *old)
{
    bool returned[BACKENDS_MAX] = {false};
    if (old == NULL || TAILQ_EMPTY(&proxy->closings)) {
        return;
    }
    find_returned(old, proxy->snapshot, returned);
    struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (s->closing != NULL && s->closing->row < BACKENDS_MAX && returned[s->closing->row]) {
            closing_forget(s);
        }
    }
}
