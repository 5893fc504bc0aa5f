/*
 * What was set for a time reverts by itself: one timer for the next end, and then an edit like any
 * command's, of master's own. Owns the timer. In master.
 */
#include "expiry.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "edit.h"

#define AGAIN_MS 1000 /* when it could not be carried out */

struct expiry {
    struct master *master;
    struct ctl_edit edit;
    struct ctl_who who;
    char why[192];
};

static void on_done(void *arg, const struct errlist *errors, const struct change_list *changes,
                    uint32_t generation)
{
    struct expiry *expiry = arg;
    (void)changes;
    (void)generation;
    for (size_t i = 0; i < errors->count; i++) {
        STR_AUTO text = {0};
        errlist_print_item(&errors->items[i], &text);
        log_warning(str_text(&text), LOG_STR("why", expiry->why));
        bool is_refused = errors->items[i].severity == ERRLIST_ERROR;
        master_event(expiry->master, is_refused ? "refused" : "admin", NULL, NULL, expiry->who.text,
                     expiry->why, str_text(&text));
    }
    free(expiry);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    if (master->stopping) {
        return;
    }
    const struct override *next = overrides_next_end(&master->overrides);
    struct expiry *expiry = calloc(1, sizeof(*expiry));
    if (next == NULL || expiry == NULL || next->until_ms > clock_now_ms()) {
        free(expiry);
        expiry_renew(master);
        return;
    }
    *expiry = (struct expiry){.master = master,
                              .edit = {.verb = CTL_EDIT_EXPIRE, .pool = NULL},
                              .who = {.text = "master"}};
    snprintf(expiry->why, sizeof(expiry->why), "the end of for=, set by %s", next->by);
    expiry->who.why = expiry->why;
    edit_start(master, &expiry->edit, &expiry->who, true, on_done, expiry);
    expiry_renew(master);
}

void expiry_renew(struct master *master)
{
    const struct override *next = overrides_next_end(&master->overrides);
    uint64_t now_ms = clock_now_ms();
    if (master->expiry == NULL) {
        master->expiry = evtimer_new(master->base, on_time, master);
    }
    if (master->expiry == NULL) {
        return;
    }
    if (next == NULL) {
        evtimer_del(master->expiry);
        return;
    }
    uint64_t in_ms = next->until_ms > now_ms ? next->until_ms - now_ms : AGAIN_MS;
    struct timeval in = {.tv_sec = (time_t)(in_ms / 1000),
                         .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(master->expiry, &in);
}

void expiry_end(struct master *master)
{
    if (master->expiry != NULL) {
        event_free(master->expiry);
        master->expiry = NULL;
    }
}
