/*
 * The status address: metrics, figures, health answers and the dashboard over HTTP. In the monitor,
 * on its event loop: what a turn does here is bounded, so that checks are not late. Pages of
 * figures are made by master, which is asked for a new one at most once a second however many
 * clients want it; health answers come from the scoreboard and need nobody.
 */
#ifndef SLUICE_CTL_STATUS_H
#define SLUICE_CTL_STATUS_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

#define STATUS_CLIENTS_MAX 64
#define STATUS_DENIED_MAX  8 /* of those, clients that status_allow leaves out */
#define STATUS_PAGES_MAX   6 /* kept for who reads slowly; who reads the oldest is closed */
#define STATUS_PAGE_BYTES  (128 * 1024 * 1024)
#define STATUS_FRESH_MS    1000  /* so old a page may be */
#define STATUS_HEAD_MS     5000  /* the head of a request must be complete by then */
#define STATUS_IDLE_MS     15000 /* a connection without a request is closed after that */
#define STATUS_ASK_MS      3000  /* master must have made a page by then */
#define STATUS_WRITE_MS    15000 /* an answer must be taken by then */
#define STATUS_GOODBYE_MS  1000  /* for the client to end its side, too */
#define STATUS_SPARE_MS    500   /* after so long without an answer to it a client gives way */

enum status_page { STATUS_METRICS, STATUS_FIGURES, STATUS_PAGE_COUNT };

struct status_host {
    struct scoreboard *sb;
    /* Asks for a page, which comes by status_take_page(), later. */
    void (*ask)(void *arg, enum status_page page);
    void *arg;
};

struct status;

/* listen_fd is owned from now on, also on failure. NULL without memory. */
struct status *status_create(struct event_base *base, int listen_fd,
                             const struct status_host *host);
void status_destroy(struct status *status); /* NULL is allowed */
/* The configuration that it answers by; owned from now on. Until the first nobody is answered. */
void status_take_snapshot(struct status *status, const struct snapshot_header *snapshot);
/* A sealed file with the page, owned from now on; -1: it cannot be made. */
void status_take_page(struct status *status, enum status_page page, int fd);

/*
 * What is answered of a service, or (NULL) of the daemon, with the reason in a line appended to
 * out. Returns 0: yes; 1: no; -ENOENT: there is no such service. A no that shows in the scoreboard
 * counts before master has looked.
 */
int status_health(const struct scoreboard *sb, const struct snapshot_header *snapshot,
                  const char *service, struct str *out);

#endif
