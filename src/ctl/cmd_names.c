/* show names: what the names that backends ask for stand for, and what is wrong with them. In
 * master. */
#include "ctl/command.h"
#include "ctl/request.h"
#include "model/names.h"

#define SHOWN_MAX 64 /* addresses of a name; more are not taken either */

struct row {
    const char *name;
    const char *state;      /* "ok", "held": by the last good addresses, "unresolved" */
    const char *reason;     /* NULL: nothing is wrong */
    uint64_t since_seconds; /* it does not resolve; REPLY_NONE: it does */
    const char *const *addresses;
};

#define COLUMN(key, title, kind)                                                                   \
    {                                                                                              \
#key, title, kind, offsetof(struct row, key)                                               \
    }

static const struct column columns[] = {
    COLUMN(name, "NAME", COLUMN_TEXT),           COLUMN(state, "STATE", COLUMN_TEXT),
    COLUMN(reason, "REASON", COLUMN_TEXT),       COLUMN(since_seconds, "SINCE", COLUMN_SECONDS),
    COLUMN(addresses, "ADDRESSES", COLUMN_LIST), {0},
};

static void put_name(struct request *request, const struct names_entry *entry)
{
    char texts[SHOWN_MAX][ADDR_TEXT_MAX];
    const char *addresses[SHOWN_MAX + 1] = {NULL};
    uint64_t since_ms = request->now_ms;
    const char *reason =
        request->host.ops->name_trouble(request->host.self, entry->name, &since_ms);
    for (size_t i = 0; i < entry->n && i < SHOWN_MAX; i++) {
        struct addr_ip ip = entry->answers[i].ip;
        ip.port = entry->answers[i].port;
        addresses[i] = addr_ip_format(&ip, ip.port != 0, texts[i]);
    }
    const struct row row = {
        .name = entry->name,
        .state = entry->n == 0    ? "unresolved"
                 : reason != NULL ? "held"
                                  : "ok",
        .reason = reason,
        .since_seconds = reason != NULL ? (request->now_ms - since_ms) / 1000 : REPLY_NONE,
        .addresses = addresses,
    };
    reply_row(&request->reply, &row);
}

static enum command_outcome run_names(struct request *request)
{
    const struct names *names = request->host.ops->names(request->host.self);
    reply_table_begin(&request->reply, "names", columns);
    for (size_t i = 0; i < names->count; i++) {
        put_name(request, &names->items[i]);
    }
    reply_table_end(&request->reply);
    return COMMAND_DONE;
}

const struct command cmd_show_names = {
    .words = "show names",
    .level = CTL_LEVEL_READ,
    .arguments = "",
    .help = "names that backends are addressed by: their addresses, and what is wrong with them",
    .run = run_names,
};
