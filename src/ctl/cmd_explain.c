/*
 * explain: which backend a client would get now, and why not the others. A worker answers, by the
 * code that chooses; here the question is read and the answer laid out, whose words are
 * explain_words.c's. In master.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/explain_words.h"
#include "ctl/request.h"
#include "sched/choose.h"

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

/* --- where the client comes in --- */

/* Whether a client that connects to that address comes in there. Without a port: on any. */
static bool takes(const struct model_listener *listener, const struct addr_ip *to)
{
    static const uint8_t every[sizeof(to->bytes)];
    const struct addr_ip *at = &listener->address.ip;

    return to->family == ADDR_NONE ||
           (at->family == to->family && (to->port == 0 || at->port == to->port) &&
            (memcmp(at->bytes, every, sizeof(every)) == 0 ||
             memcmp(at->bytes, to->bytes, sizeof(every)) == 0));
}

/* The service's addresses that take it, appended. Returns how many. */
static size_t list_listens(const struct model_service *service, const struct addr_ip *to,
                           struct str *out)
{
    char text[ADDR_TEXT_MAX];
    size_t n = 0;

    for (size_t i = 0; i < service->n_listeners; i++)
        if (takes(&service->listeners[i], to))
            str_printf(out, "%s%s", n++ > 0 ? ", " : "",
                       addr_format(&service->listeners[i].address, text));
    return n;
}

/* Returns 0, or -EINVAL with the reply an error when the service does not listen there. */
static int check_destination(struct request *request, const struct model_service *service,
                             const struct addr_ip *to)
{
    static const struct addr_ip anywhere;
    const struct model *model = request->host.ops->model(request->host.self);
    char text[ADDR_TEXT_MAX];
    STR_AUTO taking = {0};
    STR_AUTO all = {0};

    if (list_listens(service, to, &taking) > 0)
        return 0;
    str_printf(&all, "service %s does not listen on %s; it listens on ", service->name,
               addr_ip_format(to, to->port != 0, text));
    if (list_listens(service, &anywhere, &all) == 0)
        str_append(&all, "nothing");
    for (size_t i = 0; i < model->n_services; i++)
        if (list_listens(&model->services[i], to, &taking) > 0)
            str_printf(&all, "; service %s does there", model->services[i].name);
    reply_error(&request->reply, "%s", str_text(&all));
    return -EINVAL;
}

static void put_listens(const struct told *told, struct reply *reply)
{
    const struct model_service *service = model_find_service(told->view.model, told->service->name);
    char text[ADDR_TEXT_MAX];
    STR_AUTO lines = {0};

    if (list_listens(service, &told->question.destination, &lines) > 0)
        reply_line(reply, "comes in on %s", str_text(&lines));
    if (!reply->as_json)
        return;
    json_begin_array(&reply->json, "listens");
    for (size_t i = 0; i < service->n_listeners; i++)
        if (takes(&service->listeners[i], &told->question.destination))
            json_put_string(&reply->json, NULL, addr_format(&service->listeners[i].address, text));
    json_end_array(&reply->json);
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
            &explanation->others[explain_count_of_pool(explanation) + i];
        STR_AUTO why_not = {0};

        explain_why_not_own(&own, i, (enum why_not)other->why, &why_not);
        put_other(&own, i, str_text(&why_not), reply);
    }
}

/* More than a message holds. */
static uint32_t count_omitted(const struct told *told)
{
    const struct explanation *explanation = told->explanation;
    uint32_t of_pool = explain_count_of_pool(explanation);
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
        for (uint32_t i = 0; i < explain_count_of_pool(explanation); i++) {
            STR_AUTO why_not = {0};

            if (i == explanation->backend)
                continue;
            explain_why_not(told, i, &why_not);
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
    const char *name = explain_chosen_name(told);
    const struct snapshot_pool *pools = snapshot_pools(told->view.snapshot);

    reply_line(reply, "%s of service %s would get %s%s of pool %s", told->client,
               told->service->name, name ? "backend " : "no backend", name ? name : "",
               told->standing.pool->name);
    if (told->explanation->is_fallback)
        reply_line(reply, "the fallback pool, as pool %s has no eligible backend%s",
                   pools[told->service->pool].name,
                   explain_own_lack_ports(told->explanation) ? " with a source port left" : "");
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

    explain_rule(told, &rule);
    put_text(told, str_text(&rule), reply);
    if (reply->as_json) {
        json_put_string(&reply->json, "service", told->service->name);
        json_put_string(&reply->json, "client", told->client);
        json_put_string(&reply->json, "pool", told->standing.pool->name);
        json_put_string(&reply->json, "backend", explain_chosen_name(told));
        json_put_bool(&reply->json, "certain", told->certain);
        json_put_string(&reply->json, "rule", str_text(&rule));
    }
    put_listens(told, reply);
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
        explain_count_of_pool(explanation) <= pool->n_backends &&
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
    if (!fits(snapshot, explanation) ||
        !model_find_service(told.view.model, told.question.service)) {
        reply_error(&request->reply,
                    "the configuration is changing just now; ask again in a moment");
        return;
    }
    told.service = &snapshot_services(snapshot)[explanation->service];
    standing_of(snapshot, explanation->pool, told.view.sb, &told.standing);
    told.ops = sched_table[told.standing.pool->scheduler];
    told.certain = explanation->certain && !explain_presumes(&told);
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
    if (check_destination(request, service, &question.destination) != 0)
        return COMMAND_DONE;
    if (question.destination.family == ADDR_NONE) {
        const struct snapshot_header *snapshot = host->ops->snapshot(host->self);
        size_t index = (size_t)(service - host->ops->model(host->self)->services);
        explain_first_listener(snapshot, &snapshot_services(snapshot)[index],
                               &question.destination);
    }
    host->ops->explain(host->self, &question, answer, request);
    return COMMAND_PENDING;
}

const struct command cmd_explain = {
    .words = "explain",
    .level = CTL_LEVEL_READ,
    .arguments = "SERVICE CLIENT[:PORT] [to=ADDRESS]",
    .help = "which backend that client would get now, and why not the others; ADDRESS: that it "
            "connects to, one that the service listens on",
    .args_min = 2,
    .args_max = 2,
    .options = (const char *const[]){"to", NULL},
    .run = run_explain,
};
