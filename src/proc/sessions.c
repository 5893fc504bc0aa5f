/*
 * Collecting the session lists of all workers, page by page, without waiting for any: who does not
 * answer in time is left out and counted. Owns the collections under way. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "master.h"

#define ANSWER_MS 2000

struct listing {
    TAILQ_ENTRY(listing) link;
    struct master *master;
    uint32_t number;
    struct session_filter filter;
    struct session_info *items;
    size_t count, cap;
    bool asked[WORKERS_MAX]; /* still owes an answer */
    struct event *deadline;
    ctl_sessions_fn *done;
    void *arg;
};

static int by_age(const void *a, const void *b)
{
    const struct session_info *x = a, *y = b;
    return x->age_ms > y->age_ms ? -1 : x->age_ms < y->age_ms;
}

static void listing_free(struct listing *listing)
{
    TAILQ_REMOVE(&listing->master->listings, listing, link);
    if (listing->deadline != NULL) {
        event_free(listing->deadline);
    }
    free(listing->items);
    free(listing);
}

static uint32_t count_owing(const struct listing *listing)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < listing->master->n_workers; i++) {
        n += listing->asked[i];
    }
    return n;
}

static void finish(struct listing *listing)
{
    if (listing->count > 0) {
        qsort(listing->items, listing->count, sizeof(*listing->items), by_age);
    }
    size_t n = listing->count < listing->filter.limit ? listing->count : listing->filter.limit;
    listing->done(listing->arg, listing->items, n, count_owing(listing));
    listing_free(listing);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg);
}

static void ask(struct listing *listing, uint32_t worker, uint64_t after_id)
{
    struct master *master = listing->master;
    struct message *message = &master->message;
    message->type = MESSAGE_LIST;
    message->number = listing->number;
    message->list = (struct message_list){.filter = listing->filter, .after_id = after_id};
    struct child *child = &master->children[worker];
    /* One that cannot even be asked counts as silent, at the deadline. */
    listing->asked[worker] = child->pid > 0;
    if (child->pid > 0) {
        (void)message_send(child->channel, message, -1);
    }
}

static bool append(struct listing *listing, const struct message_sessions *page)
{
    if (listing->count + page->count > listing->cap) {
        size_t cap = listing->cap * 2 + page->count;
        struct session_info *items = realloc(listing->items, cap * sizeof(*items));
        if (items == NULL) {
            return false;
        }
        listing->items = items;
        listing->cap = cap;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        listing->items[listing->count++] = page->items[i];
    }
    return true;
}

void sessions_start(struct master *master, const struct session_filter *filter,
                    ctl_sessions_fn *done, void *arg)
{
    struct listing *listing = calloc(1, sizeof(*listing));
    if (listing == NULL) {
        done(arg, NULL, 0, master->n_workers);
        return;
    }
    listing->master = master;
    listing->number = ++master->next_listing;
    listing->filter = *filter;
    listing->done = done;
    listing->arg = arg;
    TAILQ_INSERT_TAIL(&master->listings, listing, link);
    listing->deadline = evtimer_new(master->base, on_deadline, listing);
    struct timeval in = {.tv_sec = ANSWER_MS / 1000};
    if (listing->deadline == NULL || evtimer_add(listing->deadline, &in) != 0) {
        finish(listing);
        return;
    }
    for (uint32_t i = 0; i < master->n_workers; i++) {
        ask(listing, i, 0);
    }
    if (count_owing(listing) == 0) {
        finish(listing);
    }
}

static struct listing *find(struct master *master, uint32_t number)
{
    struct listing *listing;
    TAILQ_FOREACH (listing, &master->listings, link) {
        if (listing->number == number) {
            return listing;
        }
    }
    return NULL;
}

void sessions_page(struct master *master, uint32_t worker, uint32_t number,
                   const struct message_sessions *page)
{
    struct listing *listing = find(master, number);
    if (listing == NULL || worker >= master->n_workers || !listing->asked[worker]) {
        return;
    }
    listing->asked[worker] = false;
    bool kept = append(listing, page);
    if (kept && page->count == MESSAGE_PAGE && listing->count < listing->filter.limit) {
        uint64_t last = page->items[page->count - 1].id;
        ask(listing, worker, last);
    }
    if (count_owing(listing) == 0) {
        finish(listing);
    }
}

void sessions_worker_gone(struct master *master, uint32_t worker)
{
    struct listing *listing, *next;
    TAILQ_FOREACH_SAFE (listing, &master->listings, link, next) {
        listing->asked[worker] = false;
        if (count_owing(listing) == 0) {
            finish(listing);
        }
    }
}

void sessions_cancel_all(struct master *master)
{
    struct listing *listing;
    while ((listing = TAILQ_FIRST(&master->listings)) != NULL) {
        finish(listing);
    }
}
