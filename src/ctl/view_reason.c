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

/* --- overrides --- */

static const struct override *find_override(const struct view *view, const char *pool,
                                            const char *backend, const char *option)
{
    struct override key = {.kind = OVERRIDE_SET,
                           .pool = (char *)(uintptr_t)pool,
                           .backend = (char *)(uintptr_t)backend,
                           .option = (char *)(uintptr_t)option};
    const struct override *found = view->overrides ? overrides_find(view->overrides, &key) : NULL;

    if (found || !view->overrides)
        return found;
    key.kind = OVERRIDE_ADDED;
    key.option = NULL;
    return overrides_find(view->overrides, &key);
}

/* What is about an address of a name comes after what is about the name. */
const struct override *view_override(const struct view *view, const char *pool, const char *backend,
                                     const char *option)
{
    const struct override *found = find_override(view, pool, backend, option);
    size_t len = backend ? names_template_length(backend) : 0;
    STR_AUTO name = {0};

    if (found || len == 0)
        return found;
    str_append_n(&name, backend, len);
    return find_override(view, pool, str_text(&name), option);
}

const char *view_deciding_option(const struct snapshot_backend *backend, enum backend_state state)
{
    if (state == BACKEND_MAINTENANCE)
        return backend->admin == ADMIN_MAINTENANCE ? "admin" : NULL;
    if (state == BACKEND_DOWN)
        return backend->said_health == SAID_DOWN ? "health" : NULL;
    if (state != BACKEND_DRAINING && backend->said_health == SAID_UP)
        return "health";
    if (state != BACKEND_DRAINING)
        return NULL;
    if (backend->admin == ADMIN_DRAIN)
        return "admin";
    return backend->weight == 0 ? "weight" : NULL;
}

const struct override *view_deciding_override(const struct view *view,
                                              const struct standing *standing, size_t index,
                                              enum backend_state state)
{
    const struct snapshot_backend *backend = &standing->backends[index];
    const char *option = view_deciding_option(backend, state);

    return option ? view_override(view, standing->pool->name, backend->name, option) : NULL;
}

/* --- what its checks ask for --- */

/* The kinds that can ask for anything. */
static bool may_ask(const struct snapshot_check *check)
{
    return strcmp(check->kind, "agent") == 0 || strcmp(check->kind, "exec") == 0;
}

/* "check agent", "checks agent, exec:disk": those of the backend's that may have been it. */
static void name_askers(const struct view *view, const struct snapshot_backend *backend,
                        char buf[static VIEW_REASON_MAX])
{
    const struct snapshot_check *checks = snapshot_checks(view->snapshot) + backend->first_check;
    uint32_t n = 0;

    for (uint32_t i = 0; i < backend->n_checks; i++)
        n += may_ask(&checks[i]);
    append(buf, n == 0 ? "its checks" : n == 1 ? "check" : "checks");
    for (uint32_t i = 0, shown = 0; i < backend->n_checks; i++)
        if (may_ask(&checks[i]))
            append(buf, "%s %s", shown++ > 0 ? "," : "", checks[i].title);
}

static void tell_asked_admin(const struct view *view, const struct snapshot_backend *backend,
                             enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    if (state == BACKEND_MAINTENANCE)
        append(buf, "maintenance");
    else if (LOAD(view->sb->slots[backend->slot].asked_admin) == ADMIN_DRAIN)
        append(buf, "drain");
    else
        append(buf, "weight 0 %%");
    append(buf, " asked for by ");
    name_askers(view, backend, buf);
}

static void tell_asked_weight(const struct view *view, const struct snapshot_backend *backend,
                              char buf[static VIEW_REASON_MAX])
{
    uint32_t permille = eligibility_asked_permille(backend, view->sb);

    if (permille >= 1000)
        return;
    append(buf, "%s", buf[0] == '\0' ? "" : "; ");
    name_askers(view, backend, buf);
    if (permille % 10 == 0)
        append(buf, " asks for %" PRIu32 " %%", permille / 10);
    else
        append(buf, " asks for %" PRIu32 ".%" PRIu32 " %%", permille / 10, permille % 10);
}

char *view_asked(const struct view *view, const struct snapshot_backend *backend,
                 char buf[static VIEW_REASON_MAX])
{
    const struct sb_slot *slot = &view->sb->slots[backend->slot];
    uint32_t admin = LOAD(slot->asked_admin), limit = LOAD(slot->asked_limit);
    uint32_t permille = LOAD(slot->asked_permille);

    buf[0] = '\0';
    if (permille != 0)
        append(buf, "weight %" PRIu32 " %%", (permille - 1) / 10);
    if (admin == ADMIN_DRAIN || admin == ADMIN_MAINTENANCE)
        append(buf, "%s%s", buf[0] == '\0' ? "" : ", ", admin_state_names[admin]);
    if (limit == 1)
        append(buf, "%sno limit", buf[0] == '\0' ? "" : ", ");
    else if (limit != 0)
        append(buf, "%sat most %" PRIu32 " connections", buf[0] == '\0' ? "" : ", ", limit - 1);
    return buf;
}

/* --- what the operator said --- */

static void tell_admin(const struct view *view, const struct standing *standing, size_t index,
                       enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    const struct override *item = view_deciding_override(view, standing, index, state);
    const char *option = view_deciding_option(&standing->backends[index], state);

    if (!option)
        tell_asked_admin(view, &standing->backends[index], state, buf);
    else if (item && item->kind == OVERRIDE_ADDED)
        append(buf, "%s as it was added by %s%s%s", option, item->by, item->why ? ": " : "",
               item->why ? item->why : "");
    else if (item)
        append(buf, "%s=%s by %s%s%s", option, item->value, item->by, item->why ? ": " : "",
               item->why ? item->why : "");
    else
        append(buf, "%s in the file", strcmp(option, "weight") == 0 ? "weight 0" : option);
}

void view_append_remaining(const struct view *view, uint32_t slot, char buf[static VIEW_REASON_MAX])
{
    struct ctl_drain drain;
    uint32_t active = LOAD(view->sb->slot_active[slot]);
    bool ends = view->host->ops->drain(view->host->self, slot, &drain) && drain.deadline_ms != 0;
    uint64_t left_ms =
        ends && drain.deadline_ms > view->now_ms ? drain.deadline_ms - view->now_ms : 0;

    if (active == 0)
        return;
    append(buf, "; %" PRIu32 " %s", active, active == 1 ? "session remains" : "sessions remain");
    if (ends)
        append(buf, ", closed within %" PRIu64 " s", (left_ms + 999) / 1000);
}

/* The operator's word over checks; what they say beside it. */
static void tell_said(const struct view *view, const struct standing *standing, size_t index,
                      enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    const struct snapshot_backend *backend = &standing->backends[index];
    char reason[SB_REASON_MAX] = "";
    uint64_t since_ms;
    enum sb_health health;

    tell_admin(view, standing, index, state, buf);
    if (backend->n_checks == 0)
        return;
    health = scoreboard_get_health(view->sb, backend->slot, &since_ms, reason);
    append(buf, "; its checks say %s: %s", sb_health_names[health], reason);
}

/* --- load, and what the pool needs --- */

static void tell_full(const struct view *view, const struct snapshot_backend *backend,
                      char buf[static VIEW_REASON_MAX])
{
    uint32_t limit, resume;

    eligibility_limits(backend, view->sb, &limit, &resume);
    append(buf, "%" PRIu32 " of %" PRIu32 " connections",
           LOAD(view->sb->slot_active[backend->slot]), limit);
    if (limit != backend->max_connections) {
        append(buf, " (asked for by ");
        name_askers(view, backend, buf);
        append(buf, ")");
    }
    append(buf, ", again under %" PRIu32, resume);
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

/* --- what workers saw --- */

static void tell_panic(const struct view *view, const struct standing *standing, size_t index,
                       char buf[static VIEW_REASON_MAX])
{
    struct backend_facts facts = eligibility_facts(standing->pool, standing->backends,
                                                   (uint32_t)index, &standing->survey, view->sb);

    if (eligibility_takes_new(&facts))
        append(buf, "%sused all the same: panic, %" PRIu32 " of %" PRIu32 " up",
               buf[0] == '\0' ? "" : "; ", standing->survey.up, standing->survey.ready);
}

/* "connect", "connect or reset" */
static void name_signals(uint32_t signals, char buf[static VIEW_REASON_MAX])
{
    static const struct {
        enum outlier_signal signal;
        const char *name;
    } names[] = {
        {OUTLIER_CONNECT, "connect"},
        {OUTLIER_RESET, "reset"},
        {OUTLIER_FIRST_BYTE, "first-byte"},
    };
    bool is_first = true;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!(signals & names[i].signal))
            continue;
        append(buf, "%s%s", is_first ? "" : " or ", names[i].name);
        is_first = false;
    }
}

/* Says nothing of what is over by now. */
static void tell_ejected(const struct view *view, const struct standing *standing, size_t index,
                         char buf[static VIEW_REASON_MAX])
{
    const struct snapshot_outlier *outlier = &standing->pool->outlier;
    uint64_t until_ms = LOAD(view->sb->slots[standing->backends[index].slot].ejected_until_ms);
    uint64_t left_ms = until_ms > view->now_ms ? until_ms - view->now_ms : 0;

    if (outlier->consecutive_failures > 0 && until_ms != 0) {
        append(buf, "%" PRIu32 " consecutive ", outlier->consecutive_failures);
        name_signals(outlier->signals, buf);
        append(buf, " failures; back in %" PRIu64 " s", (left_ms + 999) / 1000);
    }
    tell_panic(view, standing, index, buf);
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

/* Of a name that does not resolve, why. */
static void tell_unresolved(const struct view *view, const struct standing *standing, size_t index,
                            char buf[static VIEW_REASON_MAX])
{
    const struct ctl_host *host = view->host;
    const struct model_pool *pool = model_find_pool(view->model, standing->pool->name);
    const struct model_backend *backend =
        pool ? model_find_backend(pool, standing->backends[index].name) : NULL;
    STR_AUTO name = {0};
    uint64_t since_ms;
    const char *trouble = NULL;

    if (backend && names_take(backend->address_text, &name))
        trouble = host->ops->name_trouble(host->self, str_text(&name), &since_ms);
    if (trouble)
        append(buf, ": %s", trouble);
}

static void tell_health(const struct view *view, const struct standing *standing, size_t index,
                        enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    const struct snapshot_backend *backend = &standing->backends[index];
    char reason[SB_REASON_MAX] = "";
    uint64_t since_ms;

    if (view_deciding_option(backend, state)) {
        tell_said(view, standing, index, state, buf);
    } else {
        scoreboard_get_health(view->sb, backend->slot, &since_ms, reason);
        append(buf, "%s", reason);
        if (backend->address.ip.family == ADDR_NONE)
            tell_unresolved(view, standing, index, buf);
    }
    if (state == BACKEND_UP) {
        tell_asked_weight(view, backend, buf);
        tell_slow_start(view, standing, backend, buf);
    } else if (state == BACKEND_DOWN) {
        tell_panic(view, standing, index, buf);
    }
}

char *view_reason(const struct view *view, const struct standing *standing, size_t index,
                  enum backend_state state, char buf[static VIEW_REASON_MAX])
{
    buf[0] = '\0';
    switch (state) {
    case BACKEND_MAINTENANCE:
    case BACKEND_DRAINING:
        tell_admin(view, standing, index, state, buf);
        if (state == BACKEND_DRAINING)
            view_append_remaining(view, standing->backends[index].slot, buf);
        break;
    case BACKEND_FULL:
        tell_full(view, &standing->backends[index], buf);
        break;
    case BACKEND_STANDBY:
        tell_standby(standing, buf);
        break;
    case BACKEND_EJECTED:
        tell_ejected(view, standing, index, buf);
        break;
    default:
        tell_health(view, standing, index, state, buf);
        break;
    }
    return buf;
}
