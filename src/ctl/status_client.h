/* One connection to the status address; private to status.c and status_client.c. In the monitor. */
#ifndef SLUICE_CTL_STATUS_CLIENT_H
#define SLUICE_CTL_STATUS_CLIENT_H

#include <sys/queue.h>

#include "ctl/status.h"
#include "ctl/status_request.h"

/*
 *             head complete            page there
 *      ┌──────┐ ───────► ┌────────┐ ───────────► ┌─────────┐    ┌─────────┐
 *      │ HEAD │          │ ASKING │              │ WRITING │ ─► │ GOODBYE │ ─► closed
 *      └──────┘ ─────────└────────┘────────────► └─────────┘    └─────────┘
 *          ▲          needs no page                   │
 *          └─────────────── kept alive ───────────────┘
 */
enum status_state {
    STATUS_HEAD,
    STATUS_ASKING,
    STATUS_WRITING,
    STATUS_GOODBYE, /* our side has ended: what still comes is thrown away */
    STATUS_STATE_COUNT
};

/* A page that clients are given. users: those who read it, and the status while it is the newest.
 */
struct page_file {
    TAILQ_ENTRY(page_file) link;
    int fd;
    off_t bytes;
    uint32_t users;
};
TAILQ_HEAD(page_files, page_file);

struct status_client {
    TAILQ_ENTRY(status_client) link;
    struct status *status;
    int fd;
    enum status_state state;
    uint64_t entered_ms; /* the state; in HEAD: when the request began, once it has */
    bool denied;         /* by status_allow */
    bool was_served;     /* a request before */
    struct event *readable, *writable, *deadline;
    char head[STATUS_HEAD_MAX];
    size_t n_head, n_thrown_away;
    struct status_request request;
    enum status_page page; /* that it wants, in ASKING */
    /* The answer: head and short bodies, then what does not change, or a page. */
    struct str out;
    size_t n_sent; /* of out and body together */
    const char *body;
    size_t body_bytes;
    struct page_file *file; /* NULL: none */
    off_t file_at;
};
TAILQ_HEAD(status_clients, status_client);

struct status {
    struct event_base *base;
    struct status_host host;
    const struct snapshot_header *snapshot;
    int listen_fd;
    struct event *accept_event, *resume_timer;
    struct status_clients clients;
    size_t n_clients, n_denied;
    struct page_files files; /* the oldest first */
    size_t n_files;
    struct page_file *newest[STATUS_PAGE_COUNT];
    uint64_t taken_ms[STATUS_PAGE_COUNT]; /* when that came */
    uint64_t asked_ms[STATUS_PAGE_COUNT]; /* when it was asked for; 0: no answer is due */
};

/* --- status.c --- */

/* A page that is new enough, or NULL: one was asked for. */
struct page_file *status_get_page(struct status *status, enum status_page page);
/* One user less; the last one's end is the file's. NULL is allowed. */
void status_release_file(struct status *status, struct page_file *file);

/* --- status_client.c --- */

/* fd is owned from now on, also on failure. 0 or -ENOMEM. */
int status_client_create(struct status *status, int fd, bool denied);
void status_client_close(struct status_client *client);
/* The page that it waits for; NULL: there will be none. */
void status_client_take_page(struct status_client *client, struct page_file *file);

#endif
