/*
 * Sessions that are closed by command, some at a time. Owns what each command is still to close: a
 * table of its sessions, of which each knows its place, and a heap of those places, longest idle
 * first. In a worker.
 *
 * The heap goes by when a session was active last as far as the heap knows; it learns the truth
 * about the one on top, since idle times only ever begin anew, and so everyone below has been idle
 * for at most as long as it believes.
 */
#include "closing.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy.h"

/* At the same time. The number is the upper four bits of session.closing. */
#define CLOSINGS_MAX 16
#define MEMBER_BITS  28
#define MEMBER_MASK  ((UINT32_C(1) << MEMBER_BITS) - 1)

/* Closing one costs some microseconds, and the others' bytes wait meanwhile. */
#define CLOSINGS_A_TURN 256
/* Where everybody is busy all the time, nobody is worth a longer search. */
#define LOOKS_MAX 16

struct place {
    uint64_t active_ms;
    uint32_t member;
};

struct closing {
    struct session **members; /* NULL in it: ended, or to be closed by another command now */
    struct place *heap;
    size_t n_heap;
    size_t n_left;    /* members that are there; 0: this closing is free */
    uint64_t last_us; /* when the last one was due; at first when the command came */
    uint64_t deadline_us;
    uint64_t close_by_ms; /* of the filter: only as long as the backend's slot says so; 0: always */
    bool of_backend;      /* by command, and about one: only until that is ready again */
};

int closing_init(struct proxy *proxy)
{
    proxy->closings = calloc(CLOSINGS_MAX, sizeof(*proxy->closings));
    return proxy->closings == NULL ? -ENOMEM : 0;
}

static void closing_free(struct closing *closing)
{
    free(closing->members);
    free(closing->heap);
    *closing = (struct closing){0};
}

void closing_fini(struct proxy *proxy)
{
    free(proxy->closings); /* each was freed with its last session */
    proxy->closings = NULL;
}

static struct closing *closing_of(const struct session *s)
{
    return &s->proxy->closings[s->closing >> MEMBER_BITS];
}

/* Whether it still is to be closed: with a framing it may have gone on to another backend, and the
 * operator may have thought better of it. One that is just being connected is not there yet. */
static bool is_meant(const struct closing *closing, const struct session *s)
{
    return closing->close_by_ms == 0 ||
           (s->attempt == NULL && proxy_closes_by(s) == closing->close_by_ms);
}

void closing_forget(struct session *s)
{
    if (s->closing == 0) {
        return;
    }
    struct closing *closing = closing_of(s);
    closing->members[(s->closing & MEMBER_MASK) - 1] = NULL;
    s->closing = 0;
    if (--closing->n_left == 0) {
        closing_free(closing);
    }
}

/* --- the heap --- */

/* Of two that are idle for as long the older session goes first: members are in that order. */
static bool goes_before(const struct place *a, const struct place *b)
{
    return a->active_ms != b->active_ms ? a->active_ms < b->active_ms : a->member < b->member;
}

static void sift_down(struct closing *closing, size_t at)
{
    struct place *heap = closing->heap;
    struct place moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < closing->n_heap; at = child) {
        if (child + 1 < closing->n_heap && goes_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (goes_before(&moved, &heap[child])) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void replace_top(struct closing *closing, struct place place)
{
    closing->heap[0] = place;
    sift_down(closing, 0);
}

/* Takes out whoever is idle for longest; there is somebody. */
static struct session *take(struct closing *closing)
{
    for (int looks = 0;;) {
        struct place top = closing->heap[0];
        struct session *s = closing->members[top.member];
        if (s != NULL && s->active_ms > top.active_ms && looks++ < LOOKS_MAX) {
            top.active_ms = s->active_ms;
            replace_top(closing, top);
            continue;
        }
        replace_top(closing, closing->heap[--closing->n_heap]);
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

uint64_t closing_due_ms(const struct proxy *proxy)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < CLOSINGS_MAX; i++) {
        const struct closing *closing = &proxy->closings[i];
        if (closing->n_left > 0 && due_us(closing) < due) {
            due = due_us(closing);
        }
    }
    return due == UINT64_MAX ? due : (due + 999) / 1000;
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
        bool meant = is_meant(closing, s);
        bool by_deadline = closing->close_by_ms != 0;
        closing_forget(s); /* it may live on until its client has what it is owed */
        if (meant) {
            end(s, by_deadline);
        }
        budget--;
    }
    return budget;
}

void closing_work(struct proxy *proxy)
{
    uint32_t budget = CLOSINGS_A_TURN;
    for (size_t i = 0; i < CLOSINGS_MAX; i++) {
        budget = work(proxy, &proxy->closings[i], budget);
    }
    proxy->closings_due = budget == 0;
}

/* --- beginning --- */

/* Whether an earlier command closes it no later. */
static bool goes_sooner(const struct session *s, uint64_t deadline_us)
{
    return s->closing != 0 && closing_of(s)->deadline_us <= deadline_us &&
           is_meant(closing_of(s), s);
}

static size_t count(const struct proxy *proxy, const struct session_close *wanted,
                    uint64_t deadline_us, struct session_closing *out)
{
    const struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (proxy_matches(s, &wanted->filter)) {
            out->sessions++;
            out->sooner += goes_sooner(s, deadline_us);
            out->hastened += s->closing != 0 && !goes_sooner(s, deadline_us);
        }
    }
    return out->sessions - out->sooner;
}

static int reserve(struct closing *closing, size_t n)
{
    closing->members = calloc(n, sizeof(struct session *));
    closing->heap = calloc(n, sizeof(*closing->heap));
    if (n >= MEMBER_MASK || closing->members == NULL || closing->heap == NULL) {
        closing_free(closing);
        return -ENOMEM;
    }
    return 0;
}

static void enlist(struct closing *closing, uint32_t number, struct session *s)
{
    uint32_t member = (uint32_t)closing->n_heap++;
    closing_forget(s);
    s->closing = number << MEMBER_BITS | (member + 1);
    closing->members[member] = s;
    closing->heap[member] = (struct place){.active_ms = s->active_ms, .member = member};
    closing->n_left++;
}

static struct closing *find_free(struct proxy *proxy)
{
    for (size_t i = 0; i < CLOSINGS_MAX; i++) {
        if (proxy->closings[i].n_left == 0) {
            return &proxy->closings[i];
        }
    }
    return NULL;
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
    struct closing *closing = find_free(proxy);
    int error = closing == NULL ? -EBUSY : reserve(closing, n);
    if (error != 0) {
        *out = (struct session_closing){.error = error};
        return;
    }
    closing->last_us = now_us;
    closing->deadline_us = deadline_us;
    closing->close_by_ms = wanted->filter.close_by_ms;
    closing->of_backend = wanted->filter.row != SESSION_FILTER_ANY;
    struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (proxy_matches(s, &wanted->filter) && !goes_sooner(s, deadline_us)) {
            enlist(closing, (uint32_t)(closing - proxy->closings), s);
        }
    }
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(closing, i);
    }
    proxy->closings_due = true;
}

/* --- the operator thinks better of it --- */

static bool is_any_of_backend(const struct proxy *proxy)
{
    for (size_t i = 0; i < CLOSINGS_MAX; i++) {
        if (proxy->closings[i].n_left > 0 && proxy->closings[i].of_backend) {
            return true;
        }
    }
    return false;
}

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
    if (old == NULL || !is_any_of_backend(proxy)) {
        return;
    }
    find_returned(old, proxy->snapshot, returned);
    struct session *s;
    TAILQ_FOREACH (s, &proxy->sessions, all_link) {
        if (s->closing != 0 && closing_of(s)->of_backend && s->row < BACKENDS_MAX &&
            returned[s->row]) {
            closing_forget(s);
        }
    }
}
