/*
 * Backends that were removed and still have sessions, for whoever names one in a command: it is out
 * of the model, so there is nothing to change, but it is not gone. In master.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/request.h"
#include "model/names.h"

/* What is left of a backend, or of all addresses of a name. */
struct removed {
    const char *pool, *by; /* of the one that was removed last */
    uint64_t at_ms;
    uint64_t close_ms; /* when the last session will have been closed; 0: that is not certain */
    uint64_t sessions;
};

static bool is_called(const struct ctl_drain *drain, const char *pool, const char *name)
{
    return drain->removed && (!pool || strcmp(drain->pool, pool) == 0) &&
           (strcmp(drain->backend, name) == 0 || names_is_of(drain->backend, name));
}

static void add(struct removed *removed, const struct ctl_drain *drain, uint32_t sessions)
{
    bool is_certain = removed->sessions == 0 || removed->close_ms != 0;

    removed->sessions += sessions;
    if (!is_certain || drain->deadline_ms == 0)
        removed->close_ms = 0;
    else if (drain->deadline_ms > removed->close_ms)
        removed->close_ms = drain->deadline_ms;
    if (!removed->pool || drain->removed_ms > removed->at_ms) {
        removed->pool = drain->pool;
        removed->by = drain->by;
        removed->at_ms = drain->removed_ms;
    }
}

static void find(const struct ctl_host *host, const char *pool, const char *name,
                 struct removed *out)
{
    *out = (struct removed){0};
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        uint32_t n = atomic_load_explicit(&host->sb->slot_active[slot], memory_order_relaxed);
        struct ctl_drain drain;

        if (n > 0 && host->ops->drain(host->self, slot, &drain) && is_called(&drain, pool, name))
            add(out, &drain, n);
    }
}

static uint64_t to_wall(const struct request *request, uint64_t at_ms)
{
    return request->wall_ms + at_ms - request->now_ms;
}

bool request_refuse_removed(struct request *request, const char *pool, const char *name)
{
    char at[CLOCK_TEXT_MAX], until[CLOCK_TEXT_MAX];
    struct removed removed;
    STR_AUTO closed = {0};

    find(&request->host, pool, name, &removed);
    if (!removed.pool)
        return false;
    if (removed.close_ms != 0)
        str_printf(&closed, ", which are closed by %s",
                   clock_format_wall(to_wall(request, removed.close_ms), until));
    reply_error(&request->reply,
                "backend %s of pool %s was removed at %s, by %s, and still has %" PRIu64
                " %s%s; close sessions backend=%s/%s [over=TIME] closes them",
                name, removed.pool, clock_format_wall(to_wall(request, removed.at_ms), at),
                removed.by, removed.sessions, removed.sessions == 1 ? "session" : "sessions",
                str_text(&closed), removed.pool, name);
    return true;
}
