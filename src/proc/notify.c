/*
 * Running notify programs, see notify.h. Owns the programs under way. In the monitor.
 *
 *   place free ──► running ──ends──────────────────────────► place free, master is told
 *                     │                                        ▲
 *                     └──limit_ms──► killed ──has ended, seen──┘
 *
 * A killed program keeps its place until it has really gone: one that the kernel cannot end, on a
 * file system that does not answer, is not followed by ever more of its kind.
 */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "check/program.h"
#include "check/quote.h"

#define LOG_EVERY_MS  60000
#define DROP_EVERY_MS 1000 /* likewise, of what master does not know */
#define GONE_AGAIN_MS 200  /* between looks whether a killed one has ended */
#define SAID_MAX      200  /* of a failed program's output */

struct place {
    struct notify *notify;
    struct program *program;      /* NULL: free */
    struct event *timer;          /* its limit; once it is killed, the next look */
    uint32_t number;              /* of the notice … */
    struct message_notify notice; /* … that it runs for */
    bool is_killed;
};

/* One kind of line in the log, written once in every_ms. */
struct ration {
    uint64_t every_ms;
    uint64_t last_ms; /* 0: never */
    uint64_t untold;
};

struct notify {
    struct event_base *base;
    uint32_t limit_ms;
    struct place places[NOTIFY_RUNNING_MAX];
    notify_done_fn *done;
    void *arg;
    struct notify_stats stats;
    struct ration failures, drops;
};

/* --- the log --- */

/* True when a line may be written now; *out_untold is how many were not since the last. */
static bool ration_take(struct ration *ration, uint64_t *out_untold)
{
    uint64_t now_ms = clock_now_ms();
    if (ration->last_ms != 0 && now_ms - ration->last_ms < ration->every_ms) {
        ration->untold++;
        return false;
    }
    *out_untold = ration->untold;
    ration->last_ms = now_ms;
    ration->untold = 0;
    return true;
}

static void note_failure(struct notify *notify, const struct message_notify *notice,
                         const char *how, const char *said)
{
    uint64_t untold;
    notify->stats.failed++;
    if (ration_take(&notify->failures, &untold)) {
        log_warning("a notify program failed", LOG_STR("program", notice->program),
                    LOG_STR("pool", notice->pool), LOG_STR("event", notice->event),
                    LOG_STR("how", how), LOG_STR("said", said), LOG_INT("untold", untold));
    }
}

static void note_drop(struct notify *notify, const struct message_notify *notice, const char *why)
{
    uint64_t untold;
    notify->stats.dropped++;
    if (ration_take(&notify->drops, &untold)) {
        log_warning("a notice is dropped, its notify program is not run",
                    LOG_STR("program", notice->program), LOG_STR("pool", notice->pool),
                    LOG_STR("event", notice->event), LOG_STR("why", why),
                    LOG_INT("untold", untold));
    }
}

/* --- one program --- */

struct environment {
    char event[32], pool[NAME_BYTES_MAX + 16], backend[NAME_BYTES_MAX + 16];
    char address[NOTIFY_ADDRESS_MAX + 16], from[32], to[32], reason[SB_REASON_MAX + 16];
    char time[CLOCK_TEXT_MAX + 16];
    char *list[10];
};

static void fill_environment(const struct message_notify *notice, struct environment *out)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char when[CLOCK_TEXT_MAX];

    clock_format_wall(notice->wall_ms, when);
    snprintf(out->event, sizeof(out->event), "SLUICE_EVENT=%s", notice->event);
    snprintf(out->pool, sizeof(out->pool), "SLUICE_POOL=%s", notice->pool);
    snprintf(out->backend, sizeof(out->backend), "SLUICE_BACKEND=%s", notice->backend);
    snprintf(out->address, sizeof(out->address), "SLUICE_ADDRESS=%s", notice->address);
    snprintf(out->from, sizeof(out->from), "SLUICE_FROM=%s", notice->from);
    snprintf(out->to, sizeof(out->to), "SLUICE_TO=%s", notice->to);
    snprintf(out->reason, sizeof(out->reason), "SLUICE_REASON=%s", notice->reason);
    snprintf(out->time, sizeof(out->time), "SLUICE_TIME=%s", when);
    memcpy(out->list,
           (char *[]){path, out->event, out->pool, out->backend, out->address, out->from, out->to,
                      out->reason, out->time, NULL},
           sizeof(out->list));
}

static void describe_end(const struct program_end *end, char *text, size_t size)
{
    if (end->error != 0) {
        snprintf(text, size, "cannot be run: %s", strerror(end->error));
    } else if (end->signal != 0) {
        snprintf(text, size, "ended by signal %d", end->signal);
    } else {
        snprintf(text, size, "exit status %d", end->status);
    }
}

static void free_place(struct place *place)
{
    struct notify *notify = place->notify;
    evtimer_del(place->timer);
    program_release(place->program);
    place->program = NULL;
    place->is_killed = false;
    notify->stats.running--;
    notify->done(notify->arg, place->number);
}

static void on_end(void *arg, const struct program_end *end)
{
    struct place *place = arg;
    if (end->error != 0 || end->signal != 0 || end->status != 0) {
        char how[128], said[SAID_MAX];
        describe_end(end, how, sizeof(how));
        quote_line(said, sizeof(said), end->output, end->output_bytes);
        note_failure(place->notify, &place->notice, how, said);
    }
    free_place(place);
}

static void set_timer(struct place *place, uint32_t in_ms)
{
    struct timeval in = {.tv_sec = in_ms / 1000, .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(place->timer, &in);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct place *place = arg;
    if (!place->is_killed) {
        char how[64];
        snprintf(how, sizeof(how), "killed, not done after %" PRIu32 " ms",
                 place->notify->limit_ms);
        note_failure(place->notify, &place->notice, how, "");
        place->is_killed = true;
        program_kill(place->program);
    }
    if (program_is_gone(place->program)) {
        free_place(place);
    } else {
        set_timer(place, GONE_AGAIN_MS);
    }
}

static int start(struct place *place, uint32_t number, const struct message_notify *notice)
{
    struct notify *notify = place->notify;
    struct environment environment;
    place->number = number;
    place->notice = *notice;
    fill_environment(&place->notice, &environment);
    const struct program_options options = {
        .argv = (char *[]){place->notice.program, NULL},
        .environment = environment.list,
        .cpu_seconds = notify->limit_ms / 1000 + 1,
    };
    int error = program_start(notify->base, &options, on_end, place, &place->program);
    if (error != 0) {
        return error;
    }
    notify->stats.running++;
    notify->stats.ran++;
    set_timer(place, notify->limit_ms);
    return 0;
}

/* --- all of them --- */

static struct place *find_free_place(struct notify *notify)
{
    for (size_t i = 0; i < NOTIFY_RUNNING_MAX; i++) {
        if (notify->places[i].program == NULL) {
            return &notify->places[i];
        }
    }
    return NULL;
}

void notify_run(struct notify *notify, uint32_t number, const struct message_notify *notice)
{
    struct place *place = find_free_place(notify);
    int error = place == NULL ? -EBUSY : start(place, number, notice);
    if (error != 0) {
        note_drop(notify, notice, place == NULL ? "too many run" : strerror(-error));
        notify->done(notify->arg, number);
    }
}

struct notify_stats notify_stats(const struct notify *notify)
{
    return notify->stats;
}

struct notify *notify_create(struct event_base *base, uint32_t limit_ms, notify_done_fn *done,
                             void *arg)
{
    struct notify *notify = calloc(1, sizeof(*notify));
    if (notify == NULL) {
        return NULL;
    }
    notify->base = base;
    notify->limit_ms = limit_ms;
    notify->done = done;
    notify->arg = arg;
    notify->failures.every_ms = LOG_EVERY_MS;
    notify->drops.every_ms = DROP_EVERY_MS;
    for (size_t i = 0; i < NOTIFY_RUNNING_MAX; i++) {
        struct place *place = &notify->places[i];
        place->notify = notify;
        place->timer = evtimer_new(base, on_timer, place);
        if (place->timer == NULL) {
            notify_destroy(notify);
            return NULL;
        }
    }
    return notify;
}

void notify_destroy(struct notify *notify)
{
    if (notify == NULL) {
        return;
    }
    for (size_t i = 0; i < NOTIFY_RUNNING_MAX; i++) {
        program_release(notify->places[i].program);
        if (notify->places[i].timer != NULL) {
            event_free(notify->places[i].timer);
        }
    }
    free(notify);
}
