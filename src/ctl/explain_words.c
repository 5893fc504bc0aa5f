/* The words in which explain is answered, see explain_words.h. Owns nothing. In master. */
#include "ctl/explain_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sched/choose.h"
#include "sched/sched.h"

void explain_first_listener(const struct snapshot_header *snapshot,
                            const struct snapshot_service *service, struct addr_ip *out)
{
    if (service->n_listeners > 0)
        *out = snapshot_listeners(snapshot)[service->first_listener].address.ip;
}

/* --- the rule --- */

/* In 1/1000, as people write it: "2", "0.34". */
static void put_weight(struct str *out, uint32_t weight)
{
    char digits[4];
    size_t len = 3;

    str_printf(out, "%" PRIu32, weight / 1000);
    if (weight % 1000 == 0)
        return;
    snprintf(digits, sizeof(digits), "%03u", (unsigned)(weight % 1000));
    while (len > 1 && digits[len - 1] == '0')
        len--;
    str_printf(out, ".%.*s", (int)len, digits);
}

/* What rules by load compare: "(3+1)/2" with weights, else "3 sessions". */
static void put_load(const struct told *told, const struct explanation_other *of, struct str *out)
{
    if (!told->ops->weighted) {
        str_printf(out, "%" PRIu32 " %s", of->active, of->active == 1 ? "session" : "sessions");
        return;
    }
    str_printf(out, "(%" PRIu32 "+1)/", of->active);
    put_weight(out, of->weight);
}

uint32_t explain_count_of_pool(const struct explanation *explanation)
{
    return explanation->n_others - explanation->n_own;
}

static const struct explanation_other *chosen_of(const struct explanation *explanation)
{
    return explanation->backend < explain_count_of_pool(explanation)
               ? &explanation->others[explanation->backend]
               : NULL;
}

/* nq goes by idleness first, and that decided. */
static bool is_by_idleness(const struct told *told)
{
    const struct explanation_other *chosen = chosen_of(told->explanation);

    return told->ops == &sched_nq && chosen && chosen->active == 0;
}

static void put_least(const struct told *told, struct str *out)
{
    const struct explanation *explanation = told->explanation;
    const struct explanation_other *chosen = chosen_of(explanation);

    if (is_by_idleness(told))
        str_append(out, "an idle one goes first");
    else
        str_append(out, told->ops->weighted ? "least sessions for its weight" : "least sessions");
    if (chosen) {
        str_append(out, ": ");
        put_load(told, chosen, out);
    }
    if (explanation->ties > 0)
        str_printf(out, " (%" PRIu32 " %s as little loaded: by turn)", explanation->ties,
                   explanation->ties == 1 ? "other is" : "others are");
}

static void put_more_loaded(const struct told *told, const struct explanation_other *other,
                            const struct explanation_other *chosen, struct str *out)
{
    if (is_by_idleness(told) && other->active > 0) {
        str_printf(out, "not idle: %" PRIu32 " %s", other->active,
                   other->active == 1 ? "session" : "sessions");
        return;
    }
    str_append(out, "more loaded: ");
    put_load(told, other, out);
    str_append(out, " against ");
    put_load(told, chosen, out);
}

static bool hashes_port(const struct told *told)
{
    return told->ops->kind == SCHED_BY_HASH && !told->ops->by_destination &&
           told->standing.pool->hash_key == HASH_KEY_SOURCE_PORT && told->ops != &sched_sh;
}

/* A rule by destination, though where the client connects to was neither said nor is it known. */
static bool presumes_destination(const struct told *told)
{
    return told->ops->by_destination && told->question.destination.family == ADDR_NONE;
}

bool explain_presumes(const struct told *told)
{
    return presumes_destination(told) || (hashes_port(told) && told->question.client.port == 0);
}

static void put_hash(const struct told *told, struct str *out)
{
    struct addr_ip first = {0};
    char text[ADDR_TEXT_MAX];

    if (!told->ops->by_destination) {
        str_append(out, hashes_port(told) ? "hash of the client's address and port"
                                          : "hash of the client's address");
        if (hashes_port(told) && told->question.client.port == 0)
            str_append(out, " (the port was not said)");
        return;
    }
    str_append(out, "by the address that the client connects to");
    if (presumes_destination(told)) {
        explain_first_listener(told->view.snapshot, told->service, &first);
        str_printf(out, " (not said: %s, where the service listens; to=ADDRESS says it)",
                   addr_ip_format(&first, false, text));
    }
}

static void put_scheduler(const struct told *told, struct str *out)
{
    str_printf(out, "%s: ", told->ops->name);
    if (told->ops->by_destination || told->ops->kind == SCHED_BY_HASH)
        put_hash(told, out);
    else if (told->ops->kind == SCHED_BY_LOAD)
        put_least(told, out);
    else if (told->ops->kind == SCHED_BY_TURN)
        str_append(out, told->ops->weighted ? "by turn and weight" : "by turn");
    else if (told->ops->kind == SCHED_BY_CHANCE)
        str_printf(out, "by chance, %s", told->ops->help);
    else
        str_append(out, told->ops->help);
}

static void put_lease(const struct told *told, struct str *out)
{
    const struct explanation *explanation = told->explanation;
    struct addr_ip masked = told->question.client;
    char text[ADDR_TEXT_MAX];
    uint32_t bits = masked.family == ADDR_IPV4 ? told->service->persistence_mask
                                               : told->service->persistence_mask6;
    STR_AUTO of = {0};

    if (masked.family == ADDR_UNIX) {
        str_append(&of, "unix");
    } else {
        addr_ip_mask(&masked, bits);
        str_printf(&of, "%s/%" PRIu32, addr_ip_format(&masked, false, text), bits);
    }
    if (explanation->lease_sessions > 0)
        str_printf(out, "persistence: lease of %s, %" PRIu32 " %s live", str_text(&of),
                   explanation->lease_sessions,
                   explanation->lease_sessions == 1 ? "session" : "sessions");
    else
        str_printf(out, "persistence: lease ends in %" PRIu64 " s (%s)",
                   (explanation->lease_ends_in_ms + 999) / 1000, str_text(&of));
}

static bool is_any(const struct explanation_other *others, uint32_t n, enum why_not why)
{
    for (uint32_t i = 0; i < n; i++) {
        if (others[i].why == why)
            return true;
    }
    return false;
}

bool explain_own_lack_ports(const struct explanation *explanation)
{
    return is_any(explanation->others + explain_count_of_pool(explanation), explanation->n_own,
                  WHY_NOT_PORTS);
}

static void put_nothing(const struct told *told, struct str *out)
{
    const struct snapshot_pool *pool = told->standing.pool;
    const struct explanation_other *others = told->explanation->others;
    uint32_t n = explain_count_of_pool(told->explanation);

    switch (told->explanation->choice) {
    case CHOICE_FULL:
        str_append(out, "every eligible backend is full");
        if (is_any(others, n, WHY_NOT_RATE))
            str_append(out, " or has used up its connect_rate");
        if (is_any(others, n, WHY_NOT_PORTS))
            str_append(out, " or has no source port left");
        if (pool->queue > 0)
            str_printf(out, "; of %" PRIu32 " places in the queue %" PRIu32 " are taken",
                       pool->queue,
                       atomic_load_explicit(&told->view.sb->pools[pool->row].queued,
                                            memory_order_relaxed));
        break;
    case CHOICE_TRIED:
        str_append(out, "no source port is left towards any eligible backend: new clients are "
                        "refused until one is free; see show source-ports");
        break;
    case CHOICE_STARTING:
        str_append(out, "health of some is not known yet");
        break;
    default:
        str_append(out, "no backend is eligible");
        break;
    }
}

/* Which limit keeps every new client out, whatever the pool says; NULL: none. */
static const char *limit_reached(const struct told *told, uint32_t *out_active, uint32_t *out_limit)
{
    const struct scoreboard *sb = told->view.sb;

    *out_active =
        atomic_load_explicit(&sb->services[told->service->row].active, memory_order_relaxed);
    *out_limit = told->service->max_connections;
    if (*out_limit != 0 && *out_active >= *out_limit)
        return "service";
    *out_active = atomic_load_explicit(&sb->header->active, memory_order_relaxed);
    *out_limit = told->view.snapshot->max_connections;
    return *out_limit != 0 && *out_active >= *out_limit ? "daemon" : NULL;
}

void explain_rule(const struct told *told, struct str *out)
{
    uint32_t active, limit;
    const char *limited = limit_reached(told, &active, &limit);

    if (limited) {
        str_printf(out,
                   "the %s is at its max_connections, %" PRIu32 " of %" PRIu32
                   ": new clients are refused",
                   limited, active, limit);
        return;
    }
    if (told->service->admin == ADMIN_MAINTENANCE) {
        str_append(out, "the service is in maintenance: new clients are reset");
        return;
    }
    if (told->standing.pool->paused)
        str_append(out, "the pool is paused: waits until it is resumed, then: ");
    if (told->explanation->behind > 0 && told->explanation->rule != EXPLAINED_BY_NOTHING)
        str_printf(out, "waits behind %" PRIu32 " in the queue, then ", told->explanation->behind);
    switch (told->explanation->rule) {
    case EXPLAINED_BY_LEASE:
        put_lease(told, out);
        break;
    case EXPLAINED_BY_SCHEDULER:
        put_scheduler(told, out);
        break;
    default:
        put_nothing(told, out);
        break;
    }
    if (told->explanation->panic)
        str_printf(out, "; panic, %" PRIu32 " of %" PRIu32 " up: health is ignored",
                   told->standing.survey.up, told->standing.survey.ready);
}

/* --- why not the others --- */

_Static_assert(WHY_NOT_STANDBY - WHY_NOT_MAINTENANCE == (int)BACKEND_STANDBY &&
                   WHY_NOT_DOWN - WHY_NOT_MAINTENANCE == (int)BACKEND_DOWN &&
                   WHY_NOT_FULL - WHY_NOT_MAINTENANCE == (int)BACKEND_FULL,
               "reasons by state stand in the order of states");

static bool is_by_state(enum why_not why)
{
    return why >= WHY_NOT_MAINTENANCE && why <= WHY_NOT_STANDBY;
}

static void put_state(const struct told *told, uint32_t index, enum backend_state state,
                      struct str *out)
{
    char reason[VIEW_REASON_MAX];

    view_reason(&told->view, &told->standing, index, state, reason);
    if (state == BACKEND_STANDBY) /* says itself that it is a backup */
        str_append(out, reason);
    else
        str_printf(out, "%s%s%s", backend_state_names[state], reason[0] != '\0' ? ": " : "",
                   reason);
}

/* With the state of its sources, where it says more than that. */
static void put_ports(const struct told *told, uint32_t index, struct str *out)
{
    const struct snapshot_backend *backend = &told->standing.backends[index];
    struct view_ports ports;

    str_append(out, "no source port towards it is left");
    view_ports(&told->view, backend, 0, backend->n_sources, &ports);
    if (backend->n_sources == 0 || ports.limit == REPLY_NONE)
        return;
    str_printf(out, ": %" PRIu64 " of %" PRIu64 " in use", ports.in_use, ports.limit);
    if (strcmp(ports.state, "full") != 0 && strcmp(ports.state, "ok") != 0)
        str_printf(out, ", %s", ports.state);
}

const char *explain_chosen_name(const struct told *told)
{
    uint32_t index = told->explanation->backend;
    uint32_t active, limit;

    if (index == SNAPSHOT_NONE || limit_reached(told, &active, &limit))
        return NULL;
    return told->standing.backends[index].name;
}

void explain_why_not(const struct told *told, uint32_t index, struct str *out)
{
    const struct explanation_other *other = &told->explanation->others[index];
    const struct explanation_other *chosen = chosen_of(told->explanation);

    if (is_by_state(other->why)) {
        put_state(told, index, (enum backend_state)(other->why - WHY_NOT_MAINTENANCE), out);
    } else if (other->why == WHY_NOT_RATE) {
        str_append(out, "its connect_rate is used up for the moment");
    } else if (other->why == WHY_NOT_PORTS) {
        put_ports(told, index, out);
    } else if (other->why == WHY_NOT_SLOW_START) {
        str_append(out, "slow start: has had its share for the moment");
    } else if (other->why == WHY_NOT_LOADED && chosen) {
        put_more_loaded(told, other, chosen, out);
    } else if (!explain_chosen_name(told)) {
        str_append(out, "the scheduler has passed it over");
    } else {
        str_printf(out,
                   other->why == WHY_NOT_LEASE ? "the client has a lease on %s"
                                               : "the scheduler prefers %s",
                   explain_chosen_name(told));
    }
}

void explain_why_not_own(const struct told *own, uint32_t index, enum why_not why, struct str *out)
{
    if (is_by_state(why))
        put_state(own, index, (enum backend_state)(why - WHY_NOT_MAINTENANCE), out);
    else if (why == WHY_NOT_PORTS)
        put_ports(own, index, out);
    else
        str_append(out, "was not eligible");
}
