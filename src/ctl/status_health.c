/*
 * Health answers from the scoreboard alone: they are right at once, and while master is busy. In
 * the monitor.
 */
#include <errno.h>
#include <string.h>

#include "ctl/standing.h"
#include "ctl/status.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static const char *veto(const struct scoreboard *sb)
{
    if (LOAD(sb->header->health_stops) != 0)
        return "the daemon is stopping";
    return LOAD(sb->header->health_fail) != 0 ? "set global health=fail" : NULL;
}

/* The answer, and how the service's pool stands now. */
static bool is_healthy(const struct scoreboard *sb, const struct snapshot_header *snapshot,
                       const struct snapshot_service *service, struct standing *out)
{
    standing_of(snapshot, service->pool, sb, out);
    return LOAD(sb->services[service->row].answer) == SB_ANSWER_YES &&
           standing_health(out) != STANDING_UNHEALTHY;
}

static int answer_of_one(const struct scoreboard *sb, const struct snapshot_header *snapshot,
                         const struct snapshot_service *service, struct str *out)
{
    struct standing standing;
    bool yes = is_healthy(sb, snapshot, service, &standing);

    str_append(out, yes ? "healthy: " : "unhealthy: ");
    if (!yes && standing_health(&standing) == STANDING_HEALTHY)
        str_append(out, "healthy again, but not for long enough yet: ");
    standing_describe_health(&standing, out);
    str_append_char(out, '\n');
    return yes ? 0 : 1;
}

/* Services that count and are unhealthy, listed behind "unhealthy". */
static int answer_of_all(const struct scoreboard *sb, const struct snapshot_header *snapshot,
                         struct str *out)
{
    bool yes = LOAD(sb->header->answer) == SB_ANSWER_YES;
    STR_AUTO names = {0};
    struct standing standing;

    for (uint32_t i = 0; i < snapshot->n_services; i++) {
        const struct snapshot_service *service = &snapshot_services(snapshot)[i];

        if (LOAD(sb->services[service->row].counted) != 0 &&
            !is_healthy(sb, snapshot, service, &standing))
            str_printf(&names, "%s%s", names.len > 0 ? ", " : ": ", service->name);
    }
    yes = yes && names.len == 0;
    str_printf(out, "%s%s\n", yes ? "healthy" : "unhealthy", str_text(&names));
    return yes ? 0 : 1;
}

int status_health(const struct scoreboard *sb, const struct snapshot_header *snapshot,
                  const char *service, struct str *out)
{
    const struct snapshot_service *found = NULL;
    const char *reason = veto(sb);

    for (uint32_t i = 0; service && i < snapshot->n_services; i++)
        if (strcmp(snapshot_services(snapshot)[i].name, service) == 0)
            found = &snapshot_services(snapshot)[i];
    if (service && !found)
        return -ENOENT;
    if (reason) {
        str_printf(out, "unhealthy: %s\n", reason);
        return 1;
    }
    return found ? answer_of_one(sb, snapshot, found, out) : answer_of_all(sb, snapshot, out);
}
