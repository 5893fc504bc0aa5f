/*
 * Why a backend is in the state that it is in, as operators read it: short, with the figures that
 * decided. In master.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/view.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

__attribute__((format(printf, 2, 3))) static void append(char buf[static VIEW_REASON_MAX],
                                                         const char *format, ...)
{
    size_t used = strlen(buf);
    va_list args;

    va_start(args, format);
    vsnprintf(buf + used, VIEW_REASON_MAX - used, format, args);
    va_end(args);
}

/* --- what the operator said --- */

const struct override *view_override(const struct view *view, const char *pool, const char *backend,
                                     const char *option)
{
    const struct overrides *list = view->overrides;

    for (size_t i = 0; list && i < list->count; i++) {
        const struct override *item = &list->items[i];

        if (strcmp(item->backend, backend) == 0 && strcmp(item->option, option) == 0 &&
            strcmp(item->pool, pool) == 0)
            return item;
    }
    return NULL;
}

/* The option that decided the state; NULL: none did. */
static const char *deciding_option(const struct snapshot_backend *backend, enum backend_state state)
{
    if (state == BACKEND_MAINTENANCE)
        return "admin";
    if (state != BACKEND_DRAINING)
        return NULL;
    return backend->admin == ADMIN_DRAIN ? "admin" : "weight";
}

const struct override *view_deciding_override(const struct view *view,
                                              const struct standing *standing, size_t index,
                                              enum backend_state state)
{
    const struct snapshot_backend *backend = &standing->backends[index];
    const char *option = deciding_option(backend, state);

    return option ? view_override(view, standing->pool->name, backend->name, option) : NULL;
}

static void tell_admin(const struct view *view, const struct standing *standing, size_t index,
                       enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    const struct override *item = view_deciding_override(view, standing, index, state);
    const char *option = deciding_option(&standing->backends[index], state);

    if (item)
        append(buf, "%s=%s by %s%s%s", option, item->value, item->by, item->why ? ": " : "",
               item->why ? item->why : "");
    else
        append(buf, "%s in the file", strcmp(option, "weight") == 0 ? "weight 0" : option);
}

/* --- load, and what the pool needs --- */

static void tell_full(const struct view *view, const struct snapshot_backend *backend,
                      char buf[static VIEW_REASON_MAX])
{
    append(buf, "%" PRIu32 " of %" PRIu32 " connections, again under %" PRIu32,
           LOAD(view->sb->slot_active[backend->slot]), backend->max_connections,
           backend->resume_connections);
}

static void tell_standby(const struct standing *standing, char buf[static VIEW_REASON_MAX])
{
    const struct pool_survey *survey = &standing->survey;

    if (survey->needs_backups && survey->first_backup != SNAPSHOT_NONE)
        append(buf, "backup: %s is used first", standing->backends[survey->first_backup].name);
    else
        append(buf, "backup: %" PRIu32 " %s up, %" PRIu32 " needed", survey->primaries_up,
               survey->primaries_up == 1 ? "primary is" : "primaries are",
               standing->pool->min_healthy);
}

/* --- health --- */

static void tell_slow_start(const struct view *view, const struct standing *standing,
                            const struct snapshot_backend *backend,
                            char buf[static VIEW_REASON_MAX])
{
    uint64_t from_ms = LOAD(view->sb->slots[backend->slot].slow_from_ms);
    uint32_t period_ms = standing->pool->slow_start_ms;
    uint32_t permille = eligibility_slow_permille(from_ms, period_ms, view->now_ms);

    if (permille >= 1000)
        return;
    uint64_t age_ms = view->now_ms > from_ms ? view->now_ms - from_ms : 0;
    bool in_seconds = period_ms % 1000 == 0;
    uint32_t unit_ms = in_seconds ? 1000 : 1;
    append(buf, "%sslow start: %" PRIu32 " %% after %" PRIu64 " %s of %" PRIu32 " %s",
           buf[0] == '\0' ? "" : "; ", permille / 10, age_ms / unit_ms, in_seconds ? "s" : "ms",
           period_ms / unit_ms, in_seconds ? "s" : "ms");
}

static void tell_panic(const struct view *view, const struct standing *standing, size_t index,
                       char buf[static VIEW_REASON_MAX])
{
    struct backend_facts facts = eligibility_facts(standing->pool, standing->backends,
                                                   (uint32_t)index, &standing->survey, view->sb);

    if (eligibility_takes_new(&facts))
        append(buf, "%sused all the same: panic, %" PRIu32 " of %" PRIu32 " up",
               buf[0] == '\0' ? "" : "; ", standing->survey.up, standing->survey.ready);
}

static void tell_health(const struct view *view, const struct standing *standing, size_t index,
                        enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    const struct snapshot_backend *backend = &standing->backends[index];
    char reason[SB_REASON_MAX] = "";
    uint64_t since_ms;

    scoreboard_get_health(view->sb, backend->slot, &since_ms, reason);
    append(buf, "%s", reason);
    if (state == BACKEND_UP)
        tell_slow_start(view, standing, backend, buf);
    else if (state == BACKEND_DOWN || state == BACKEND_EJECTED)
        tell_panic(view, standing, index, buf);
}

char *view_reason(const struct view *view, const struct standing *standing, size_t index,
                  enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    buf[0] = '\0';
    switch (state) {
    case BACKEND_MAINTENANCE:
    case BACKEND_DRAINING:
        tell_admin(view, standing, index, state, buf);
        break;
    case BACKEND_FULL:
        tell_full(view, &standing->backends[index], buf);
        break;
    case BACKEND_STANDBY:
        tell_standby(standing, buf);
        break;
    default:
        tell_health(view, standing, index, state, buf);
        break;
    }
    return buf;
}
