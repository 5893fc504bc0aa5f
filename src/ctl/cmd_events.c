/*
 * show events: what changed or was refused, the newest last. In master.
 */
#include <string.h>

#include "base/units.h"
#include "ctl/command.h"
#include "ctl/request.h"
#include "model/names.h"

#define LIMIT_DEFAULT 100

static const struct column columns[] = {
    {"id", "ID", COLUMN_UINT, offsetof(struct event_record, id), NULL, 0},
    {"wall_ms", "TIME", COLUMN_WALL_MS, offsetof(struct event_record, wall_ms), NULL, 0},
    {"kind", "KIND", COLUMN_TEXT, offsetof(struct event_record, kind), NULL, 0},
    {"pool", "POOL", COLUMN_TEXT, offsetof(struct event_record, pool), NULL, 0},
    {"backend", "BACKEND", COLUMN_TEXT, offsetof(struct event_record, backend), NULL, 0},
    {"by", "BY", COLUMN_TEXT, offsetof(struct event_record, by), NULL, 0},
    {"why", "WHY", COLUMN_TEXT, offsetof(struct event_record, why), NULL, 0},
    {"text", "WHAT", COLUMN_TEXT, offsetof(struct event_record, text), NULL, 0},
    {0},
};

struct event_filter {
    uint64_t since_ms;      /* monotonic; 0: from the beginning */
    uint64_t since_wall_ms; /* the same for events of earlier daemons */
    const char *pool;       /* or NULL. It need not exist any more */
    const char *pair;       /* "POOL/NAME" or NULL: any. It need not exist any more */
    const char *kind;       /* or NULL */
    const char *by;         /* a part of it, or NULL */
};

/* Also an address of the name. */
static bool is_or_of(const char *backend, const char *name)
{
    return strcmp(backend, name) == 0 || names_is_of(backend, name);
}

static bool is_meant(const struct event_filter *filter, const struct event_record *event)
{
    size_t pool_bytes = strlen(event->pool);

    if (event->mono_ms != 0 ? event->mono_ms < filter->since_ms
                            : event->wall_ms < filter->since_wall_ms)
        return false;
    if ((filter->kind && strcmp(filter->kind, event->kind) != 0) ||
        (filter->pool && strcmp(filter->pool, event->pool) != 0) ||
        (filter->by && !strstr(event->by, filter->by)))
        return false;
    return !filter->pair || (strncmp(filter->pair, event->pool, pool_bytes) == 0 &&
                             filter->pair[pool_bytes] == '/' &&
                             is_or_of(event->backend, filter->pair + pool_bytes + 1));
}

/* Index of the first event to show, so that at most limit of those meant follow. */
static size_t find_first(const struct events *events, const struct event_filter *filter,
                         uint64_t limit)
{
    size_t first = events_count(events);

    while (first > 0 && limit > 0) {
        first--;
        limit -= is_meant(filter, events_get(events, first));
    }
    return first;
}

/* Also one that only an earlier version wrote. */
static bool is_kind(const struct events *events, const char *kind)
{
    for (const char *const *known = event_kinds; *known; known++)
        if (strcmp(*known, kind) == 0)
            return true;
    for (size_t i = 0; i < events_count(events); i++)
        if (strcmp(events_get(events, i)->kind, kind) == 0)
            return true;
    return false;
}

static void refuse_kind(struct request *request, const char *kind)
{
    const char *nearest = units_nearest(kind, event_kinds);
    STR_AUTO list = {0};

    for (const char *const *known = event_kinds; *known; known++)
        str_printf(&list, "%s%s", list.len > 0 ? ", " : "", *known);
    reply_error(&request->reply, "kind=%s: there is no such kind%s%s%s; kinds are %s", kind,
                nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "",
                str_text(&list));
}

static enum command_outcome run_events(struct request *request)
{
    struct event_filter filter = {.pool = request_option(request, "pool"),
                                  .pair = request_option(request, "backend"),
                                  .kind = request_option(request, "kind"),
                                  .by = request_option(request, "by")};
    uint64_t since_ms = UINT64_MAX, limit = LIMIT_DEFAULT;
    struct events *events = request->host.events;

    if (request_option_time(request, "since", &since_ms) != 0 ||
        request_option_uint(request, "limit", 1, EVENTS_MAX, &limit) != 0)
        return COMMAND_DONE;
    if (filter.pair && !strchr(filter.pair, '/')) {
        reply_error(&request->reply, "backend=%s names no pool; write backend=POOL/NAME",
                    filter.pair);
        return COMMAND_DONE;
    }
    if (filter.kind && !is_kind(events, filter.kind)) {
        refuse_kind(request, filter.kind);
        return COMMAND_DONE;
    }
    if (since_ms < request->now_ms)
        filter.since_ms = request->now_ms - since_ms;
    if (since_ms < request->wall_ms)
        filter.since_wall_ms = request->wall_ms - since_ms;
    reply_table_begin(&request->reply, "events", columns);
    for (size_t i = find_first(events, &filter, limit); i < events_count(events); i++)
        if (is_meant(&filter, events_get(events, i)))
            reply_row(&request->reply, events_get(events, i));
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

const struct command cmd_show_events = {
    .words = "show events",
    .level = CTL_LEVEL_READ,
    .arguments = "[since=TIME] [pool=POOL] [backend=POOL/NAME] [kind=KIND] [by=WHO] [limit=N]",
    .help = "what changed or was refused, when, by whom, why; the last 100 unless told",
    .options = (const char *const[]){"since", "pool", "backend", "kind", "by", "limit", NULL},
    .run = run_events,
};
