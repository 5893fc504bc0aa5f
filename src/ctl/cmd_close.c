/*
 * close session, close sessions: which sessions are meant is found out here, the host has them
 * closed. In master.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "ctl/change.h"
#include "ctl/command.h"
#include "ctl/request.h"

/* The host has asked the workers by now, and what they will do is in changes. */
static void answer(void *arg, const struct errlist *errors, const struct change_list *changes,
                   uint32_t generation, uint64_t sessions, uint64_t until_wall_ms)
{
    struct request *request = arg;
    struct reply *reply = &request->reply;

    if (change_refuse(request, errors, "no session is closed")) {
        request_finish(request);
        return;
    }
    if (reply->as_json) {
        json_put_uint(&reply->json, "generation", generation);
        json_put_uint(&reply->json, "sessions", sessions);
        json_put_uint(&reply->json, "until_wall_ms", until_wall_ms);
    }
    if (sessions == 0)
        reply_line(reply, "no session matches; nothing is closed");
    reply_lines(reply, "changes", changes->lines, changes->count);
    reply_warnings(reply, errors);
    request_finish(request);
}

static enum command_outcome ask(struct request *request)
{
    const struct ctl_host *host = &request->host;

    request->closing.what = str_text(&request->closing_what);
    host->ops->close(host->self, &request->closing, &request->who, answer, request);
    return COMMAND_PENDING;
}

static enum command_outcome run_session(struct request *request)
{
    const char *problem;
    uint64_t id;

    if (units_parse_uint(request->args[0], 1, UINT64_MAX, &id, &problem) != 0) {
        reply_error(&request->reply, "%s: %s; show sessions lists the IDs of sessions",
                    request->args[0], problem);
        return COMMAND_DONE;
    }
    request->closing.filter = (struct session_filter){
        .service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY, .id = id};
    str_printf(&request->closing_what, "session %" PRIu64, id);
    return ask(request);
}

/* Returns 0, or -EINVAL with the reply an error. */
static int take_backend(struct request *request, const char *pair)
{
    if (!request_find_pair(request, pair, &request->closing.filter))
        return -EINVAL;
    /* The words stay as long as the request; the model may be another one by then. */
    request->closing.backend = strchr(pair, '/') + 1;
    str_append_n(&request->closing_pool, pair, (size_t)(request->closing.backend - 1 - pair));
    request->closing.pool = str_text(&request->closing_pool);
    str_printf(&request->closing_what, "pool %s, backend %s", request->closing.pool,
               request->closing.backend);
    return 0;
}

static int take_client(struct request *request, const char *client)
{
    const char *problem;

    if (addr_cidr_parse(client, &request->closing.filter.client, &problem) != 0) {
        reply_error(&request->reply, "client=%s: %s", client, problem);
        return -EINVAL;
    }
    str_printf(&request->closing_what, "%sclients in %s", request->closing_what.len > 0 ? ", " : "",
               client);
    return 0;
}

static enum command_outcome run_sessions(struct request *request)
{
    const char *pair = request_option(request, "backend");
    const char *client = request_option(request, "client");

    if (!pair && !client) {
        (void)request_refuse_usage(request, "which sessions? without backend=POOL/NAME or "
                                            "client=CIDR all would be closed");
        return COMMAND_DONE;
    }
    request->closing.filter =
        (struct session_filter){.service_row = SESSION_FILTER_ANY, .row = SESSION_FILTER_ANY};
    if ((pair && take_backend(request, pair) != 0) ||
        (client && take_client(request, client) != 0) ||
        request_option_time(request, "over", &request->closing.over_ms) != 0)
        return COMMAND_DONE;
    return ask(request);
}

const struct command cmd_close_session = {
    .words = "close session",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES,
    .arguments = "ID",
    .help = "closes one session, by its ID in show sessions",
    .args_min = 1,
    .args_max = 1,
    .run = run_session,
};

const struct command cmd_close_sessions = {
    .words = "close sessions",
    .level = CTL_LEVEL_OPERATE,
    .flags = COMMAND_CHANGES,
    .arguments = "backend=POOL/NAME|client=CIDR [over=TIME]",
    .help = "closes the sessions that there are, longest idle first, evenly over TIME; else at "
            "once, 256 a turn of each worker",
    .options = (const char *const[]){"backend", "client", "over", NULL},
    .run = run_sessions,
};
