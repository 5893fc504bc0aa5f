/*
 * show sessions: asks the workers by way of the host and names what they answer. In master.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/command.h"
#include "ctl/request.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     100000 /* some 20 MB of text */

struct row {
    const char *id, *service, *client, *pool, *backend, *state;
    uint64_t age_ms, idle_ms, bytes_in, bytes_out;
    const char *relay_in, *relay_out;
};

#define COLUMN(key, title, kind)                                                                   \
    {                                                                                              \
#key, title, kind, offsetof(struct row, key), NULL, 0                                      \
    }

static const struct column columns[] = {
    COLUMN(id, "ID", COLUMN_TEXT), /* a text: it can exceed what JSON readers keep exactly */
    COLUMN(service, "SERVICE", COLUMN_TEXT),
    COLUMN(client, "CLIENT", COLUMN_TEXT),
    COLUMN(pool, "POOL", COLUMN_TEXT),
    COLUMN(backend, "BACKEND", COLUMN_TEXT),
    COLUMN(state, "STATE", COLUMN_TEXT),
    COLUMN(age_ms, "AGE", COLUMN_MS),
    COLUMN(idle_ms, "IDLE", COLUMN_MS),
    COLUMN(bytes_in, "BYTES_IN", COLUMN_BYTES),
    COLUMN(bytes_out, "BYTES_OUT", COLUMN_BYTES),
    COLUMN(relay_in, "RELAY_IN", COLUMN_TEXT),
    COLUMN(relay_out, "RELAY_OUT", COLUMN_TEXT),
    {0},
};

/* Who holds which row of the scoreboard, for naming many sessions. */
struct row_names {
    struct {
        const char *pool, *backend;
    } rows[BACKENDS_MAX];
    const char *services[SERVICES_MAX];
};

/* Those that were removed and still have sessions. */
static void name_removed(const struct ctl_host *host, struct row_names *names)
{
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        struct ctl_drain drain;

        if (!host->ops->drain(host->self, slot, &drain) || !drain.removed ||
            drain.row >= BACKENDS_MAX || names->rows[drain.row].pool)
            continue;
        names->rows[drain.row].pool = drain.pool;
        names->rows[drain.row].backend = drain.backend;
    }
}

static struct row_names *names_create(const struct ctl_host *host)
{
    const struct model *model = host->ops->model(host->self);
    struct row_names *names = calloc(1, sizeof(*names));

    if (!names)
        return NULL;
    for (size_t i = 0; i < model->n_services; i++)
        if (model->services[i].row < SERVICES_MAX)
            names->services[model->services[i].row] = model->services[i].name;
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        for (size_t k = 0; k < pool->n_backends; k++) {
            uint32_t row = pool->backends[k].row;

            if (row >= BACKENDS_MAX)
                continue;
            names->rows[row].pool = pool->name;
            names->rows[row].backend = pool->backends[k].name;
        }
    }
    name_removed(host, names);
    return names;
}

/* Services that are no longer in the model have no name any more. */
static void put_session(struct reply *reply, const struct row_names *names,
                        const struct session_info *session)
{
    char id[24], client[ADDR_TEXT_MAX];
    struct row row = {
        .id = id,
        .client = addr_ip_format(&session->client, true, client),
        .state =
            session->state < SESSION_STATE_COUNT ? session_state_names[session->state] : "unknown",
        .age_ms = session->age_ms,
        .idle_ms = session->idle_ms,
        .bytes_in = session->bytes_in,
        .bytes_out = session->bytes_out,
        .relay_in = session->is_spliced_in ? "splice" : "copy",
        .relay_out = session->is_spliced_out ? "splice" : "copy",
    };

    snprintf(id, sizeof(id), "%" PRIu64, session->id);
    if (session->client.family == ADDR_UNIX)
        row.client = "unix:";
    if (session->service_row < SERVICES_MAX)
        row.service = names->services[session->service_row];
    if (session->row < BACKENDS_MAX) {
        row.pool = names->rows[session->row].pool;
        row.backend = names->rows[session->row].backend;
    }
    reply_row(reply, &row);
}

static void put_sessions(struct request *request, const struct session_info *sessions, size_t count,
                         uint32_t silent_workers)
{
    struct row_names *names = names_create(&request->host);
    struct reply *reply = &request->reply;

    if (!names) {
        reply_error(reply, "out of memory");
        return;
    }
    reply_table_begin(reply, "sessions", columns);
    for (size_t i = 0; i < count; i++)
        put_session(reply, names, &sessions[i]);
    reply_table_end(reply);
    if (silent_workers > 0)
        reply_line(reply, "%" PRIu32 " %s not answer in time; their sessions are missing here",
                   silent_workers, silent_workers == 1 ? "worker did" : "workers did");
    if (reply->as_json)
        json_put_uint(&reply->json, "silent_workers", silent_workers);
    free(names);
}

static void answer(void *arg, const struct session_info *sessions, size_t count,
                   uint32_t silent_workers)
{
    struct request *request = arg;

    if (request_is_live(request))
        put_sessions(request, sessions, count, silent_workers);
    request_finish(request);
}

/* Names to rows. Returns 0, or -EINVAL with the reply an error. */
static int filter_by_names(struct request *request, struct session_filter *filter)
{
    const char *service_name = request_option(request, "service");
    const char *pair = request_option(request, "backend");

    if (service_name) {
        const struct model_service *service = request_find_service(request, service_name);

        if (!service)
            return -EINVAL;
        filter->service_row = service->row;
    }
    return pair && !request_find_pair(request, pair, filter) ? -EINVAL : 0;
}

static int filter_by_values(struct request *request, struct session_filter *filter)
{
    const char *client = request_option(request, "client");
    uint64_t limit = LIMIT_DEFAULT;
    const char *problem;

    if (client && addr_cidr_parse(client, &filter->client, &problem) != 0) {
        reply_error(&request->reply, "client=%s: %s", client, problem);
        return -EINVAL;
    }
    if (request_option_time(request, "idle", &filter->idle_ms) != 0 ||
        request_option_uint(request, "limit", 1, LIMIT_MAX, &limit) != 0)
        return -EINVAL;
    filter->limit = (uint32_t)limit;
    return 0;
}

static enum command_outcome run_sessions(struct request *request)
{
    struct session_filter filter = {
        .service_row = SESSION_FILTER_ANY,
        .row = SESSION_FILTER_ANY,
    };

    if (filter_by_names(request, &filter) != 0 || filter_by_values(request, &filter) != 0)
        return COMMAND_DONE;
    request->host.ops->sessions(request->host.self, &filter, answer, request);
    return COMMAND_PENDING;
}

const struct command cmd_show_sessions = {
    .words = "show sessions",
    .level = CTL_LEVEL_READ,
    .arguments = "[service=S] [backend=POOL/NAME] [client=CIDR] [idle=TIME] [limit=N]",
    .help = "live sessions; 100 unless told",
    .options = (const char *const[]){"service", "backend", "client", "idle", "limit", NULL},
    .run = run_sessions,
};
