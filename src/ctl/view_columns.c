/*
 * Names, titles and kinds of the live figures, in the order of the tables. The names are those that
 * users and tools rely on. In master.
 */
#include <string.h>

#include "ctl/view.h"

#define COLUMN(of, key, title, kind)                                                               \
    {                                                                                              \
#key, title, kind, offsetof(struct of, key)                                                \
    }
#define COUNTERS(of, key, title, names, n)                                                         \
    {                                                                                              \
#key, title, COLUMN_COUNTERS, offsetof(struct of, key), names, n                           \
    }

/* A field of a struct's inner struct, by another name. */
#define INNER(of, key, field, title)                                                               \
    {                                                                                              \
#key, title, COLUMN_UINT, offsetof(struct of, field)                                       \
    }

static const char *const percentile_names[VIEW_PERCENTILES] = {"p50", "p90", "p99"};

const struct column view_total_columns[] = {
    COLUMN(view_total, version, "version", COLUMN_TEXT),
    COLUMN(view_total, generation, "generation", COLUMN_UINT),
    COLUMN(view_total, uptime_seconds, "uptime", COLUMN_SECONDS),
    COLUMN(view_total, connections_active, "connections active", COLUMN_UINT),
    COLUMN(view_total, connections_peak, "connections peak", COLUMN_UINT),
    COLUMN(view_total, connections_total, "connections total", COLUMN_UINT),
    COLUMN(view_total, connections_limit, "connections limit", COLUMN_UINT),
    COLUMN(view_total, buffer_memory_bytes, "buffer memory", COLUMN_BYTES),
    COLUMN(view_total, buffered_bytes, "buffered", COLUMN_BYTES),
    COLUMN(view_total, buffered_peak_bytes, "buffered peak", COLUMN_BYTES),
    COLUMN(view_total, throttled, "throttled", COLUMN_UINT),
    {0},
};

const struct column view_worker_columns[] = {
    COLUMN(view_worker, id, "ID", COLUMN_UINT),
    COLUMN(view_worker, pid, "PID", COLUMN_UINT),
    COLUMN(view_worker, state, "STATE", COLUMN_TEXT),
    COLUMN(view_worker, generation, "GENERATION", COLUMN_UINT),
    COLUMN(view_worker, connections_active, "ACTIVE", COLUMN_UINT),
    COLUMN(view_worker, connections_total, "TOTAL", COLUMN_UINT),
    COLUMN(view_worker, waiting, "WAITING", COLUMN_UINT),
    COLUMN(view_worker, restarts, "RESTARTS", COLUMN_UINT),
    COLUMN(view_worker, busy_permille, "BUSY_PERMILLE", COLUMN_UINT),
    COLUMN(view_worker, loop_lag_us, "LOOP_LAG", COLUMN_US),
    COLUMN(view_worker, heartbeat_age_ms, "HEARTBEAT", COLUMN_MS),
    COLUMN(view_worker, accept_errors, "ACCEPT_ERRORS", COLUMN_UINT),
    COLUMN(view_worker, buffered_bytes, "BUFFERED", COLUMN_BYTES),
    COLUMN(view_worker, throttled, "THROTTLED", COLUMN_UINT),
    COLUMN(view_worker, spliced_bytes, "SPLICED", COLUMN_BYTES),
    COLUMN(view_worker, pipes, "PIPES", COLUMN_UINT),
    COLUMN(view_worker, log_dropped, "LOG_DROPPED", COLUMN_UINT),
    {0},
};

const struct column view_service_columns[] = {
    COLUMN(view_service, name, "NAME", COLUMN_TEXT),
    COLUMN(view_service, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_service, fallback_pool, "FALLBACK", COLUMN_TEXT),
    COLUMN(view_service, uses, "USES", COLUMN_TEXT),
    COLUMN(view_service, admin, "ADMIN", COLUMN_TEXT),
    COLUMN(view_service, connections_active, "ACTIVE", COLUMN_UINT),
    COLUMN(view_service, connections_peak, "PEAK", COLUMN_UINT),
    COLUMN(view_service, connections_total, "TOTAL", COLUMN_UINT),
    COLUMN(view_service, connections_refused, "REFUSED", COLUMN_UINT),
    COLUMN(view_service, bytes_in, "BYTES_IN", COLUMN_BYTES),
    COLUMN(view_service, bytes_out, "BYTES_OUT", COLUMN_BYTES),
    COLUMN(view_service, listen, "LISTEN", COLUMN_LIST),
    COUNTERS(view_service, refused_by, NULL, refusal_names, REFUSAL_COUNT),
    COUNTERS(view_service, ended_by, NULL, ending_names, ENDING_COUNT),
    {0},
};

const struct column view_backend_columns[] = {
    COLUMN(view_backend, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_backend, name, "NAME", COLUMN_TEXT),
    COLUMN(view_backend, address, "ADDRESS", COLUMN_TEXT),
    COLUMN(view_backend, weight, "WEIGHT", COLUMN_UINT),
    COLUMN(view_backend, effective_weight_permille, NULL, COLUMN_UINT),
    COLUMN(view_backend, backup, "BACKUP", COLUMN_BOOL),
    COLUMN(view_backend, state, "STATE", COLUMN_TEXT),
    COLUMN(view_backend, admin, "ADMIN", COLUMN_TEXT),
    COLUMN(view_backend, health, "HEALTH", COLUMN_TEXT),
    COLUMN(view_backend, checked_health, NULL, COLUMN_TEXT),
    COLUMN(view_backend, since_seconds, "SINCE", COLUMN_SECONDS),
    COLUMN(view_backend, connections_active, "ACTIVE", COLUMN_UINT),
    COLUMN(view_backend, connections_peak, NULL, COLUMN_UINT),
    COLUMN(view_backend, connections_total, "TOTAL", COLUMN_UINT),
    INNER(view_backend, requests_total, upstreams.requests, NULL),
    COLUMN(view_backend, connect_failures, "FAILED", COLUMN_UINT),
    COLUMN(view_backend, retries, "RETRIES", COLUMN_UINT),
    COLUMN(view_backend, bytes_in, "BYTES_IN", COLUMN_BYTES),
    COLUMN(view_backend, bytes_out, "BYTES_OUT", COLUMN_BYTES),
    INNER(view_backend, source_ports_used, source_ports.in_use, NULL),
    INNER(view_backend, source_ports_limit, source_ports.limit, NULL),
    COLUMN(view_backend, source_ports_out, NULL, COLUMN_UINT),
    INNER(view_backend, upstreams_opened, upstreams.opened, NULL),
    INNER(view_backend, upstreams_warm, upstreams.warm, NULL),
    INNER(view_backend, upstreams_reused, upstreams.reused, NULL),
    INNER(view_backend, upstreams_idle, upstreams.idle, NULL),
    COLUMN(view_backend, upstreams_reused_percent, NULL, COLUMN_UINT),
    INNER(view_backend, upstreams_lent, upstreams.lent, NULL),
    INNER(view_backend, upstreams_pinned, upstreams.pinned, NULL),
    COUNTERS(view_backend, upstreams_discarded_by, NULL, discard_names, DISCARD_COUNT),
    INNER(view_backend, stray_bytes, upstreams.stray_bytes, NULL),
    INNER(view_backend, stale, upstreams.stale, NULL),
    INNER(view_backend, ambiguous, upstreams.ambiguous, NULL),
    INNER(view_backend, retries_unsent, upstreams.unsent_retries, NULL),
    INNER(view_backend, retries_resent, upstreams.resent_retries, NULL),
    INNER(view_backend, open_failures, upstreams.open_failures, NULL),
    INNER(view_backend, pins, upstreams.pins, NULL),
    COLUMN(view_backend, reuse_trouble, NULL, COLUMN_TEXT),
    COLUMN(view_backend, checks_passed, NULL, COLUMN_UINT),
    COLUMN(view_backend, checks_failed, NULL, COLUMN_UINT),
    COUNTERS(view_backend, connect_time_us, NULL, percentile_names, VIEW_PERCENTILES),
    COLUMN(view_backend, reason, "REASON", COLUMN_TEXT),
    {0},
};

/* Not in statistics, whose numbers are always there. */
static const struct column drain_columns[] = {
    COLUMN(view_backend, closed_in_seconds, "CLOSED_IN", COLUMN_SECONDS),
    COLUMN(view_backend, closed_by_wall_ms, NULL, COLUMN_WALL_MS),
};

const struct column *view_backend_columns_for_show(bool with_reuse,
                                                   struct column out[static REPLY_COLUMNS_MAX])
{
    static const struct {
        const char *key, *title;
    } shown[] = {{"upstreams_idle", "UPSTREAMS_IDLE"},
                 {"upstreams_reused_percent", "REUSED_PERCENT"}};
    size_t n = 0;

    _Static_assert(sizeof(view_backend_columns) + sizeof(drain_columns) <=
                       REPLY_COLUMNS_MAX * sizeof(*out),
                   "out's room");
    for (const struct column *column = view_backend_columns; column->key; column++) {
        out[n++] = *column;
        for (size_t i = 0; with_reuse && i < sizeof(shown) / sizeof(shown[0]); i++)
            if (strcmp(column->key, shown[i].key) == 0)
                out[n - 1].title = shown[i].title;
        if (strcmp(column->key, "connections_active") == 0) {
            memcpy(&out[n], drain_columns, sizeof(drain_columns));
            n += sizeof(drain_columns) / sizeof(drain_columns[0]);
        }
    }
    out[n] = (struct column){0};
    return out;
}

const struct column view_upstreams_columns[] = {
    COLUMN(view_upstreams, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_upstreams, name, "NAME", COLUMN_TEXT),
    COLUMN(view_upstreams, mode, "MODE", COLUMN_TEXT),
    COLUMN(view_upstreams, framing, "FRAMING", COLUMN_TEXT),
    INNER(view_upstreams, upstreams_idle, sum.idle, "IDLE"),
    INNER(view_upstreams, upstreams_lent, sum.lent, "LENT"),
    INNER(view_upstreams, upstreams_pinned, sum.pinned, "PINNED"),
    INNER(view_upstreams, requests_total, sum.requests, "REQUESTS"),
    INNER(view_upstreams, upstreams_opened, sum.opened, "FRESH"),
    INNER(view_upstreams, upstreams_warm, sum.warm, "WARM"),
    INNER(view_upstreams, upstreams_reused, sum.reused, "REUSED"),
    {"upstreams_reused_percent", "REUSED_PERCENT", COLUMN_UINT,
     offsetof(struct view_upstreams, reused_percent)},
    INNER(view_upstreams, upstreams_discarded, sum.discarded, "DISCARDED"),
    {"upstreams_discarded_mostly", "MOSTLY", COLUMN_TEXT,
     offsetof(struct view_upstreams, discarded_mostly)},
    {"upstreams_discarded_by", NULL, COLUMN_COUNTERS, offsetof(struct view_upstreams, discarded_by),
     discard_names, DISCARD_COUNT},
    INNER(view_upstreams, stray_bytes, sum.stray_bytes, "STRAY_BYTES"),
    INNER(view_upstreams, stale, sum.stale, "STALE"),
    INNER(view_upstreams, ambiguous, sum.ambiguous, "AMBIGUOUS"),
    INNER(view_upstreams, retries_unsent, sum.unsent_retries, "RETRIED_UNSENT"),
    INNER(view_upstreams, retries_resent, sum.resent_retries, "RETRIED_SENT"),
    INNER(view_upstreams, open_failures, sum.open_failures, "OPEN_FAILED"),
    INNER(view_upstreams, pins, sum.pins, NULL),
    {"reuse_trouble", NULL, COLUMN_TEXT, offsetof(struct view_upstreams, trouble)},
    COLUMN(view_upstreams, why_not, "WHY_NOT", COLUMN_TEXT),
    {0},
};

const struct column view_pool_columns[] = {
    COLUMN(view_pool, name, "NAME", COLUMN_TEXT),
    COLUMN(view_pool, scheduler, "SCHEDULER", COLUMN_TEXT),
    COLUMN(view_pool, backends_up, "UP", COLUMN_UINT),
    {"backends_total", "BACKENDS", COLUMN_UINT, offsetof(struct view_pool, backends)},
    COLUMN(view_pool, connections_active, "ACTIVE", COLUMN_UINT),
    COLUMN(view_pool, connections_total, "TOTAL", COLUMN_UINT),
    COLUMN(view_pool, bytes_in, "BYTES_IN", COLUMN_BYTES),
    COLUMN(view_pool, bytes_out, "BYTES_OUT", COLUMN_BYTES),
    COLUMN(view_pool, queued, "QUEUED", COLUMN_UINT),
    COLUMN(view_pool, queued_peak, NULL, COLUMN_UINT),
    COLUMN(view_pool, panic, "PANIC", COLUMN_BOOL),
    COLUMN(view_pool, backups_used, "BACKUPS_USED", COLUMN_BOOL),
    COLUMN(view_pool, paused, "PAUSED", COLUMN_BOOL),
    COLUMN(view_pool, paused_seconds, "PAUSED_FOR", COLUMN_SECONDS),
    COLUMN(view_pool, paused_by, "PAUSED_BY", COLUMN_TEXT),
    COLUMN(view_pool, overrides, "OVERRIDES", COLUMN_UINT),
    COLUMN(view_pool, backends_file, NULL, COLUMN_TEXT),
    COLUMN(view_pool, backends_from_file, NULL, COLUMN_UINT),
    COLUMN(view_pool, backends_file_wall_ms, NULL, COLUMN_WALL_MS),
    COLUMN(view_pool, backends_file_refused, NULL, COLUMN_TEXT),
    {0},
};

const struct column view_one_check_columns[] = {
    COLUMN(view_one_check, check, NULL, COLUMN_TEXT),
    COLUMN(view_one_check, state, NULL, COLUMN_TEXT),
    COLUMN(view_one_check, result, NULL, COLUMN_TEXT),
    COLUMN(view_one_check, reason, NULL, COLUMN_TEXT),
    COLUMN(view_one_check, last_age_ms, NULL, COLUMN_MS),
    COLUMN(view_one_check, latency_us, NULL, COLUMN_US),
    COLUMN(view_one_check, history, NULL, COLUMN_TEXT),
    COLUMN(view_one_check, history_latency_us, NULL, COLUMN_UINTS),
    COLUMN(view_one_check, streak, NULL, COLUMN_UINT),
    COLUMN(view_one_check, passed, NULL, COLUMN_UINT),
    COLUMN(view_one_check, failed, NULL, COLUMN_UINT),
    COLUMN(view_one_check, next_in_ms, NULL, COLUMN_MS),
    {0},
};

#define OF_ONE(key, title, kind)                                                                   \
    {                                                                                              \
#key, title, kind, offsetof(struct view_check_line, one.key)                               \
    }

const struct column view_check_line_columns[] = {
    COLUMN(view_check_line, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_check_line, backend, "BACKEND", COLUMN_TEXT),
    OF_ONE(check, "CHECK", COLUMN_TEXT),
    OF_ONE(state, "STATE", COLUMN_TEXT),
    OF_ONE(result, "RESULT", COLUMN_TEXT),
    OF_ONE(latency_us, "LATENCY", COLUMN_US),
    OF_ONE(streak, "STREAK", COLUMN_UINT),
    OF_ONE(history, "HISTORY", COLUMN_TEXT),
    OF_ONE(passed, "PASSED", COLUMN_UINT),
    OF_ONE(failed, "FAILED", COLUMN_UINT),
    OF_ONE(last_age_ms, "LAST", COLUMN_MS),
    OF_ONE(next_in_ms, "NEXT", COLUMN_MS),
    COLUMN(view_check_line, health, "HEALTH", COLUMN_TEXT),
    COLUMN(view_check_line, asks, "ASKS_FOR", COLUMN_TEXT),
    COLUMN(view_check_line, failures, "FAILURES", COLUMN_UINT),
    COLUMN(view_check_line, ejected_for_ms, "EJECTED", COLUMN_MS),
    COLUMN(view_check_line, ejections, "EJECTIONS", COLUMN_UINT),
    OF_ONE(reason, "REASON", COLUMN_TEXT),
    {0},
};

const struct column view_check_columns[] = {
    COLUMN(view_check, pool, NULL, COLUMN_TEXT),
    COLUMN(view_check, backend, NULL, COLUMN_TEXT),
    COLUMN(view_check, checks, NULL, COLUMN_TEXT),
    COLUMN(view_check, health, NULL, COLUMN_TEXT),
    COLUMN(view_check, last_age_ms, NULL, COLUMN_MS),
    COLUMN(view_check, latency_us, NULL, COLUMN_US),
    COLUMN(view_check, history, NULL, COLUMN_TEXT),
    COLUMN(view_check, history_latency_us, NULL, COLUMN_UINTS),
    COLUMN(view_check, by_check, NULL, COLUMN_ROWS),
    COLUMN(view_check, streak, NULL, COLUMN_UINT),
    COLUMN(view_check, passed, NULL, COLUMN_UINT),
    COLUMN(view_check, failed, NULL, COLUMN_UINT),
    COLUMN(view_check, next_in_ms, NULL, COLUMN_MS),
    COLUMN(view_check, asks, NULL, COLUMN_TEXT),
    COLUMN(view_check, asked_weight_permille, NULL, COLUMN_UINT),
    COLUMN(view_check, asked_admin, NULL, COLUMN_TEXT),
    COLUMN(view_check, asked_max_connections, NULL, COLUMN_UINT),
    COLUMN(view_check, failures, NULL, COLUMN_UINT),
    COLUMN(view_check, ejected_for_ms, NULL, COLUMN_MS),
    COLUMN(view_check, ejections, NULL, COLUMN_UINT),
    COLUMN(view_check, reason, NULL, COLUMN_TEXT),
    {0},
};

const struct column view_override_columns[] = {
    COLUMN(view_override_row, kind, "KIND", COLUMN_TEXT),
    COLUMN(view_override_row, service, "SERVICE", COLUMN_TEXT),
    COLUMN(view_override_row, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_override_row, backend, "BACKEND", COLUMN_TEXT),
    COLUMN(view_override_row, option, "OPTION", COLUMN_TEXT),
    COLUMN(view_override_row, value, "VALUE", COLUMN_TEXT),
    COLUMN(view_override_row, file_value, "FILE", COLUMN_TEXT),
    COLUMN(view_override_row, wall_ms, "SINCE", COLUMN_WALL_MS),
    COLUMN(view_override_row, until_wall_ms, "UNTIL", COLUMN_WALL_MS),
    COLUMN(view_override_row, close_wall_ms, "CLOSED_BY", COLUMN_WALL_MS),
    COLUMN(view_override_row, by, "BY", COLUMN_TEXT),
    COLUMN(view_override_row, why, "WHY", COLUMN_TEXT),
    {0},
};

const struct column view_ports_columns[] = {
    COLUMN(view_ports, pool, "POOL", COLUMN_TEXT),
    COLUMN(view_ports, backend, "BACKEND", COLUMN_TEXT),
    COLUMN(view_ports, source, "SOURCE", COLUMN_TEXT),
    COLUMN(view_ports, addresses, NULL, COLUMN_UINT),
    COLUMN(view_ports, in_use, "IN_USE", COLUMN_UINT),
    COLUMN(view_ports, limit, "LIMIT", COLUMN_UINT),
    COLUMN(view_ports, headroom, "HEADROOM", COLUMN_UINT),
    COLUMN(view_ports, fullest_percent, "FULLEST_PERCENT", COLUMN_UINT),
    COLUMN(view_ports, failures, "FAILURES", COLUMN_UINT),
    COLUMN(view_ports, state, "STATE", COLUMN_TEXT),
    {0},
};
