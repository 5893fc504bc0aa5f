/*
 * explain: which backend a client would get now, and why not the others. A worker answers, by the
 * code that chooses; here its figures become words. In master.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/request.h"
#include "ctl/view.h"
#include "sched/choose.h"
#include "sched/sched.h"

/* What the answer is told from. */
struct told {
    struct view view;
    struct standing standing; /* of the pool that was chosen from */
    const struct snapshot_service *service;
    const struct sched_ops *ops; /* of that pool */
    const struct explanation *explanation;
    struct explanation_question question;
    bool certain;
    char client[ADDR_TEXT_MAX];
};

/* --- the question --- */

/* "[2001:db8::1]", without a port. */
static int parse_bracketed(const char *text, struct addr_ip *out)
{
    char inside[ADDR_TEXT_MAX];
    size_t len = strlen(text);

    if (len < 2 || len >= sizeof(inside) || text[0] != '[' || text[len - 1] != ']')
        return -EINVAL;
    memcpy(inside, text + 1, len - 2);
    inside[len - 2] = '\0';
    return strchr(inside, ':') ? addr_parse_ip(inside, out) : -EINVAL;
}

/* An address with or without port. Returns 0, or -EINVAL with the reply an error. */
static int parse_address(struct request *request, const char *what, const char *text,
                         struct addr_ip *out)
{
    const char *problem = "write an address, with its port or without: 10.1.2.3, 10.1.2.3:40000, "
                          "2001:db8::1, [2001:db8::1]:40000";
    struct addr addr = {0};
    STR_AUTO quoted = {0};

    if (addr_parse_ip(text, out) == 0 || parse_bracketed(text, out) == 0)
        return 0;
    /* A word without colons is not half an address, but none. */
    if (strchr(text, ':') && addr_parse(text, false, &addr, &problem) == 0 &&
        addr.ip.family != ADDR_UNIX) {
        *out = addr.ip;
        return 0;
    }
    codec_quote(&quoted, text);
    reply_error(&request->reply, "%s %s is no address: %s", what, str_text(&quoted), problem);
    return -EINVAL;
}

/* Where it connects to when it was not said: what the service listens on first. */
static void take_first_listener(const struct snapshot_header *snapshot,
                                const struct snapshot_service *service, struct addr_ip *out)
{
    if (service->n_listeners > 0)
        *out = snapshot_listeners(snapshot)[service->first_listener].address.ip;
}

/* What the words ask. Returns 0, or -EINVAL with the reply an error. */
static int parse_question(struct request *request, struct explanation_question *out)
{
    const char *client = request->args[1], *to = request_option(request, "to");

    *out = (struct explanation_question){0};
    snprintf(out->service, sizeof(out->service), "%s", request->args[0]);
    if (strcmp(client, "unix") == 0)
        out->client.family = ADDR_UNIX;
    else if (parse_address(request, "client", client, &out->client) != 0)
        return -EINVAL;
    return to ? parse_address(request, "to", to, &out->destination) : 0;
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

/* How many of the others are of the pool that was chosen from. */
static uint32_t count_of_pool(const struct explanation *explanation)
{
    return explanation->n_others - explanation->n_own;
}

static const struct explanation_other *chosen_of(const struct explanation *explanation)
{
    return explanation->backend < count_of_pool(explanation)
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
        take_first_listener(told->view.snapshot, told->service, &first);
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

static bool is_any_paced(const struct explanation *explanation)
{
    for (uint32_t i = 0; i < count_of_pool(explanation); i++) {
        if (explanation->others[i].why == WHY_NOT_RATE)
            return true;
    }
    return false;
}

static void put_nothing(const struct told *told, struct str *out)
{
    const struct snapshot_pool *pool = told->standing.pool;

    switch (told->explanation->choice) {
    case CHOICE_FULL:
        str_append(out, "every eligible backend is full");
        if (is_any_paced(told->explanation))
            str_append(out, " or has used up its connect_rate");
        if (pool->queue > 0)
            str_printf(out, "; of %" PRIu32 " places in the queue %" PRIu32 " are taken",
                       pool->queue,
                       atomic_load_explicit(&told->view.sb->pools[pool->row].queued,
                                            memory_order_relaxed));
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

static void put_rule(const struct told *told, struct str *out)
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

static const char *chosen_name(const struct told *told)
{
    uint32_t index = told->explanation->backend;
    uint32_t active, limit;

    if (index == SNAPSHOT_NONE || limit_reached(told, &active, &limit))
        return NULL;
    return told->standing.backends[index].name;
}

static void put_why_not(const struct told *told, uint32_t index, struct str *out)
{
    const struct explanation_other *other = &told->explanation->others[index];
    const struct explanation_other *chosen = chosen_of(told->explanation);

    if (is_by_state(other->why)) {
        put_state(told, index, (enum backend_state)(other->why - WHY_NOT_MAINTENANCE), out);
    } else if (other->why == WHY_NOT_RATE) {
        str_append(out, "its connect_rate is used up for the moment");
    } else if (other->why == WHY_NOT_SLOW_START) {
        str_append(out, "slow start: has had its share for the moment");
    } else if (other->why == WHY_NOT_LOADED && chosen) {
        put_more_loaded(told, other, chosen, out);
    } else if (!chosen_name(told)) {
        str_append(out, "the scheduler has passed it over");
    } else {
        str_printf(out,
                   other->why == WHY_NOT_LEASE ? "the client has a lease on %s"
                                               : "the scheduler prefers %s",
                   chosen_name(told));
    }
}

/* --- the answer --- */

struct other_row {
    const char *name, *pool, *why_not;
};

static const struct column other_columns[] = {
    {"name", "NAME", COLUMN_TEXT, offsetof(struct other_row, name), NULL, 0},
    {"pool", "POOL", COLUMN_TEXT, offsetof(struct other_row, pool), NULL, 0},
    {"why_not", "WHY_NOT", COLUMN_TEXT, offsetof(struct other_row, why_not), NULL, 0},
    {0},
};

static void put_other(const struct told *told, uint32_t index, const char *why_not,
                      struct reply *reply)
{
    reply_row(reply, &(struct other_row){told->standing.backends[index].name,
                                         told->standing.pool->name, why_not});
}

/* Under a fallback: why it was none of the service's own. Their reasons are their states'. */
static void put_own(const struct told *told, struct reply *reply)
{
    const struct explanation *explanation = told->explanation;
    struct told own = *told;

    standing_of(told->view.snapshot, told->service->pool, told->view.sb, &own.standing);
    for (uint32_t i = 0; i < explanation->n_own; i++) {
        const struct explanation_other *other =
            &explanation->others[count_of_pool(explanation) + i];
        STR_AUTO why_not = {0};

        if (is_by_state(other->why))
            put_state(&own, i, (enum backend_state)(other->why - WHY_NOT_MAINTENANCE), &why_not);
        else
            str_append(&why_not, "was not eligible");
        put_other(&own, i, str_text(&why_not), reply);
    }
}

/* More than a message holds. */
static uint32_t count_omitted(const struct told *told)
{
    const struct explanation *explanation = told->explanation;
    uint32_t of_pool = count_of_pool(explanation);
    uint32_t all = told->standing.pool->n_backends;

    if (explanation->n_own > 0)
        all += snapshot_pools(told->view.snapshot)[told->service->pool].n_backends;
    bool counts_chosen = explanation->backend != SNAPSHOT_NONE && explanation->backend >= of_pool;
    return all - explanation->n_others - counts_chosen;
}

static void put_others(const struct told *told, struct reply *reply)
{
    const struct explanation *explanation = told->explanation;

    if (reply->as_json || explanation->n_others > (explanation->backend != SNAPSHOT_NONE)) {
        reply_table_begin(reply, "others", other_columns);
        for (uint32_t i = 0; i < count_of_pool(explanation); i++) {
            STR_AUTO why_not = {0};

            if (i == explanation->backend)
                continue;
            put_why_not(told, i, &why_not);
            put_other(told, i, str_text(&why_not), reply);
        }
        put_own(told, reply);
        reply_table_end(reply);
    }
    if (count_omitted(told) > 0)
        reply_line(reply, "%" PRIu32 " more are not listed", count_omitted(told));
}

static void put_text(const struct told *told, const char *rule, struct reply *reply)
{
    const char *name = chosen_name(told);
    const struct snapshot_pool *pools = snapshot_pools(told->view.snapshot);

    reply_line(reply, "%s of service %s would get %s%s of pool %s", told->client,
               told->service->name, name ? "backend " : "no backend", name ? name : "",
               told->standing.pool->name);
    if (told->explanation->is_fallback)
        reply_line(reply, "the fallback pool, as pool %s has no eligible backend",
                   pools[told->service->pool].name);
    reply_line(reply, "%s", rule);
    if (name && !told->certain)
        reply_line(reply, "not certain: the next one like it may get another");
}

static const char *choice_name(uint32_t choice)
{
    static const char *const names[CHOICE_COUNT] = {
        [CHOICE_MADE] = "made",         [CHOICE_NONE] = "none",   [CHOICE_FULL] = "full",
        [CHOICE_STARTING] = "starting", [CHOICE_TRIED] = "tried", [CHOICE_PAUSED] = "paused",
    };

    return choice < CHOICE_COUNT ? names[choice] : "unknown";
}

static void put_answer(const struct told *told, struct reply *reply)
{
    const struct explanation *explanation = told->explanation;
    STR_AUTO rule = {0};

    put_rule(told, &rule);
    put_text(told, str_text(&rule), reply);
    if (reply->as_json) {
        json_put_string(&reply->json, "service", told->service->name);
        json_put_string(&reply->json, "client", told->client);
        json_put_string(&reply->json, "pool", told->standing.pool->name);
        json_put_string(&reply->json, "backend", chosen_name(told));
        json_put_bool(&reply->json, "certain", told->certain);
        json_put_string(&reply->json, "rule", str_text(&rule));
    }
    put_others(told, reply);
    if (reply->as_json) {
        json_put_bool(&reply->json, "fallback", explanation->is_fallback != 0);
        json_put_string(&reply->json, "choice", choice_name(explanation->choice));
        json_put_uint(&reply->json, "waiting_before", explanation->behind);
        json_put_uint(&reply->json, "others_omitted", count_omitted(told));
    }
}

/* How many of the service's own backends may be told of beside those of another pool. */
static uint32_t count_own(const struct snapshot_header *snapshot,
                          const struct explanation *explanation)
{
    uint32_t own = snapshot_services(snapshot)[explanation->service].pool;
    return own == explanation->pool ? 0 : snapshot_pools(snapshot)[own].n_backends;
}

/* Whether everything that the answer refers to is there: it came from another process. */
static bool fits(const struct snapshot_header *snapshot, const struct explanation *explanation)
{
    if (explanation->generation != snapshot->generation ||
        explanation->service >= snapshot->n_services || explanation->pool >= snapshot->n_pools)
        return false;
    const struct snapshot_pool *pool = &snapshot_pools(snapshot)[explanation->pool];
    bool fitting =
        (explanation->backend == SNAPSHOT_NONE || explanation->backend < pool->n_backends) &&
        explanation->n_others <= EXPLANATION_OTHERS_MAX &&
        explanation->n_own <= explanation->n_others &&
        count_of_pool(explanation) <= pool->n_backends &&
        explanation->n_own <= count_own(snapshot, explanation);
    for (uint32_t i = 0; fitting && i < explanation->n_others; i++)
        fitting = explanation->others[i].why < WHY_NOT_COUNT;
    return fitting;
}

static void tell(struct request *request, const struct explanation *explanation)
{
    struct told told = {
        .view = view_of(&request->host, request->now_ms, request->wall_ms),
        .explanation = explanation,
    };
    const struct snapshot_header *snapshot = told.view.snapshot;

    if (parse_question(request, &told.question) != 0)
        return;
    if (!fits(snapshot, explanation)) {
        reply_error(&request->reply,
                    "the configuration is changing just now; ask again in a moment");
        return;
    }
    told.service = &snapshot_services(snapshot)[explanation->service];
    standing_of(snapshot, explanation->pool, told.view.sb, &told.standing);
    told.ops = sched_table[told.standing.pool->scheduler];
    told.certain = explanation->certain && !presumes_destination(&told) &&
                   !(hashes_port(&told) && told.question.client.port == 0);
    if (told.question.client.family == ADDR_UNIX)
        snprintf(told.client, sizeof(told.client), "unix");
    else
        addr_ip_format(&told.question.client, told.question.client.port != 0, told.client);
    put_answer(&told, &request->reply);
}

static void answer(void *arg, const struct explanation *explanation)
{
    struct request *request = arg;

    if (!explanation)
        reply_error(&request->reply,
                    "no worker answered in time; show workers tells what they are doing");
    else if (request_is_live(request))
        tell(request, explanation);
    request_finish(request);
}

static enum command_outcome run_explain(struct request *request)
{
    const struct ctl_host *host = &request->host;
    const struct model_service *service = request_find_service(request, request->args[0]);
    struct explanation_question question;

    if (!service || parse_question(request, &question) != 0)
        return COMMAND_DONE;
    if (question.destination.family == ADDR_NONE) {
        const struct snapshot_header *snapshot = host->ops->snapshot(host->self);
        size_t index = (size_t)(service - host->ops->model(host->self)->services);
        take_first_listener(snapshot, &snapshot_services(snapshot)[index], &question.destination);
    }
    host->ops->explain(host->self, &question, answer, request);
    return COMMAND_PENDING;
}

const struct command cmd_explain = {
    .words = "explain",
    .level = CTL_LEVEL_READ,
    .arguments = "SERVICE CLIENT[:PORT] [to=ADDRESS]",
    .help = "which backend that client would get now, and why not the others",
    .args_min = 2,
    .args_max = 2,
    .options = (const char *const[]){"to", NULL},
    .run = run_explain,
};
