/*
 * THE table of metrics: their names, which are a promise to users, types and meanings. The page,
 * `help metrics` and the manual are made from it. In master.
 */
#include "ctl/metrics.h"

const char *const metric_type_names[METRIC_TYPE_COUNT] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

const char *const metric_labels[METRIC_OF_COUNT] = {
    [METRIC_OF_TOTAL] = "",
    [METRIC_OF_DAEMON] = "",
    [METRIC_OF_PROCESS] = "process",
    [METRIC_OF_WORKER] = "worker",
    [METRIC_OF_SERVICE] = "service",
    [METRIC_OF_ANSWER] = "service",
    [METRIC_OF_SESSIONS] = "service",
    [METRIC_OF_POOL] = "pool",
    [METRIC_OF_BACKEND] = "pool, backend",
    [METRIC_OF_CONNECTS] = "pool, backend",
    [METRIC_OF_UPSTREAMS] = "pool, backend",
    [METRIC_OF_PORTS] = "pool, backend, source",
    [METRIC_OF_WATCH] = "pool, backend",
    [METRIC_OF_CHECK] = "pool, backend, check",
};

#define TOTAL(name, type, key, help)                                                               \
    {                                                                                              \
        "sluice_" name, type, METRIC_OF_TOTAL, key, help                                           \
    }
#define DAEMON(name, type, key, help)                                                              \
    {                                                                                              \
        "sluice_" name, type, METRIC_OF_DAEMON, key, help                                          \
    }
#define WORKER(name, type, key, help)                                                              \
    {                                                                                              \
        "sluice_worker_" name, type, METRIC_OF_WORKER, key, help                                   \
    }
#define SERVICE(name, type, key, help)                                                             \
    {                                                                                              \
        "sluice_service_" name, type, METRIC_OF_SERVICE, key, help                                 \
    }
#define POOL(name, type, key, help)                                                                \
    {                                                                                              \
        "sluice_pool_" name, type, METRIC_OF_POOL, key, help                                       \
    }
#define BACKEND(name, type, key, help)                                                             \
    {                                                                                              \
        "sluice_backend_" name, type, METRIC_OF_BACKEND, key, help                                 \
    }
#define UPSTREAMS(name, type, key, help)                                                           \
    {                                                                                              \
        "sluice_" name, type, METRIC_OF_UPSTREAMS, key, help                                       \
    }
#define PORTS(name, type, key, help)                                                               \
    {                                                                                              \
        "sluice_source_ports_" name, type, METRIC_OF_PORTS, key, help                              \
    }
#define WATCH(name, type, key, help)                                                               \
    {                                                                                              \
        "sluice_backend_" name, type, METRIC_OF_WATCH, key, help                                   \
    }
#define CHECK(name, type, key, help)                                                               \
    {                                                                                              \
        "sluice_check_" name, type, METRIC_OF_CHECK, key, help                                     \
    }
/* With a label of its own, or divided. */
#define LABEL(prefix, name, type, of, key, help, label)                                            \
    {                                                                                              \
        "sluice_" prefix name, type, METRIC_OF_##of, key, help, label                              \
    }
#define SHARE(prefix, name, of, key, help, per)                                                    \
    {                                                                                              \
        "sluice_" prefix name, METRIC_GAUGE, METRIC_OF_##of, key, help, NULL, per                  \
    }
#define TIMES(name, of, help)                                                                      \
    {                                                                                              \
        "sluice_" name, METRIC_HISTOGRAM, METRIC_OF_##of, NULL, help                               \
    }

#define COUNTER METRIC_COUNTER
#define GAUGE   METRIC_GAUGE

const struct metric metric_table[] = {
    TOTAL("generation", GAUGE, "generation", "Number of the configuration in force."),
    TOTAL("uptime_seconds", GAUGE, "uptime_seconds", "Time since the daemon's start."),
    TOTAL("connections", GAUGE, "connections_active", "Client connections now."),
    TOTAL("connections_peak", GAUGE, "connections_peak", "Most client connections at once."),
    TOTAL("connections_total", COUNTER, "connections_total", "Client connections accepted."),
    TOTAL("connections_limit", GAUGE, "connections_limit",
          "Client connections that may be there at once; 0: no limit."),
    TOTAL("buffer_memory_bytes", GAUGE, "buffer_memory_bytes",
          "Memory that bytes for slow peers may take."),
    TOTAL("buffered_bytes", GAUGE, "buffered_bytes", "Bytes held for slow peers."),
    TOTAL("buffered_peak_bytes", GAUGE, "buffered_peak_bytes", "Most bytes held at once."),
    TOTAL("throttled_total", COUNTER, "throttled",
          "Times that bytes were left with their sender for want of memory."),

    LABEL("", "build_info", GAUGE, DAEMON, "version", "The daemon's version.", "version"),
    DAEMON("start_time_seconds", GAUGE, "start_time", "When the daemon was started, since 1970."),
    DAEMON("healthy", GAUGE, "healthy", "What /healthz says: 1 is yes."),
    DAEMON("stopping", GAUGE, "stopping", "1 once a stop was asked for."),
    DAEMON("overrides", GAUGE, "overrides", "Changes by command that stand against the file."),
    DAEMON("file_runs", GAUGE, "file_runs", "1 while what runs is what the file says."),
    DAEMON("file_refused", GAUGE, "file_refused",
           "1 since a reload found the file at fault, until one takes it."),
    DAEMON("reloads_total", COUNTER, "reloads", "Reloads that were asked for."),
    DAEMON("reload_failures_total", COUNTER, "reload_failures",
           "Reloads that were refused; the former configuration stayed."),
    DAEMON("last_reload_success", GAUGE, "reload_success",
           "Whether the last reload went well; 1 before the first."),
    DAEMON("last_reload_time_seconds", GAUGE, "reload_time",
           "When the last reload ended, since 1970; the start before the first."),
    DAEMON("log_dropped_total", COUNTER, "log_dropped", "Log lines that could not be written."),
    DAEMON("notices_dropped_total", COUNTER, "notices_dropped",
           "Notices for which no notify program was run."),
    DAEMON("events_dropped_total", COUNTER, "events_dropped",
           "Events that are not kept in their file."),
    DAEMON("persistence_refused_total", COUNTER, "leases_refused",
           "Clients whose backend could not be kept in mind, as the table was full."),
    DAEMON("monitor_restarts_total", COUNTER, "monitor_restarts",
           "Times that the monitor was started anew after it had died."),
    DAEMON("descriptors_limit", GAUGE, "descriptors_limit", "Descriptors that a worker may have."),
    DAEMON("status_requests_total", COUNTER, "status_requests", "Requests to the status address."),
    DAEMON("status_refused_total", COUNTER, "status_refused",
           "Connections to the status address that found no place."),

    {"sluice_process_memory_bytes", GAUGE, METRIC_OF_PROCESS, "memory",
     "Memory of a process: its share of what it has in common with others included."},

    LABEL("worker_", "state", GAUGE, WORKER, "state", "State of a worker; 1 for the present one.",
          "state"),
    WORKER("generation", GAUGE, "generation", "Configuration that the worker works with."),
    WORKER("connections", GAUGE, "connections_active", "Client connections of the worker now."),
    WORKER("connections_total", COUNTER, "connections_total",
           "Client connections that the worker accepted."),
    WORKER("waiting", GAUGE, "waiting", "Its sessions that wait for a backend."),
    WORKER("restarts_total", COUNTER, "restarts", "Times that it was started anew."),
    SHARE("worker_", "busy_ratio", WORKER, "busy_permille",
          "Share of the last second that the worker did not spend waiting.", 1000),
    WORKER("loop_lag_seconds", GAUGE, "loop_lag_us", "Longest turn of its loop, last second."),
    WORKER("heartbeat_age_seconds", GAUGE, "heartbeat_age_ms", "Time since its last sign of life."),
    WORKER("accept_errors_total", COUNTER, "accept_errors",
           "Connections that the kernel could not hand over."),
    WORKER("buffered_bytes", GAUGE, "buffered_bytes", "Bytes it holds for slow peers."),
    WORKER("throttled_total", COUNTER, "throttled",
           "Times that it left bytes with their sender for want of memory."),
    WORKER("spliced_bytes_total", COUNTER, "spliced_bytes",
           "Bytes that the kernel moved without copying them."),
    WORKER("pipes", GAUGE, "pipes", "Pipes that it has open for that."),
    WORKER("log_dropped_total", COUNTER, "log_dropped", "Its log lines that were not written."),

    SERVICE("connections", GAUGE, "connections_active", "Client connections of the service now."),
    SERVICE("connections_peak", GAUGE, "connections_peak", "Most of them at once."),
    SERVICE("connections_total", COUNTER, "connections_total", "Client connections accepted."),
    LABEL("service_", "refused_total", COUNTER, SERVICE, "refused_by",
          "Client connections that no backend was chosen for, by reason.", "reason"),
    LABEL("service_", "ended_total", COUNTER, SERVICE, "ended_by",
          "Sessions that have ended, by reason.", "reason"),
    SERVICE("in_bytes_total", COUNTER, "bytes_in", "Bytes from clients to backends."),
    SERVICE("out_bytes_total", COUNTER, "bytes_out", "Bytes from backends to clients."),
    LABEL("service_", "uses_pool", GAUGE, SERVICE, "uses",
          "Pool that new sessions go to now; the sample is 1.", "pool"),
    {"sluice_service_healthy", GAUGE, METRIC_OF_ANSWER, "healthy",
     "What /healthz/SERVICE says of the service's pool: 1 is yes."},
    TIMES("service_session_seconds", SESSIONS, "How long sessions that have ended were there."),

    POOL("backends", GAUGE, "backends_total", "Backends of the pool."),
    POOL("backends_up", GAUGE, "backends_up", "Backends in the state up."),
    POOL("connections", GAUGE, "connections_active", "Sessions on its backends now."),
    POOL("connections_total", COUNTER, "connections_total", "Sessions bound to its backends."),
    POOL("queued", GAUGE, "queued", "Sessions that wait for a place."),
    POOL("queued_peak", GAUGE, "queued_peak", "Most of them at once."),
    POOL("panic", GAUGE, "panic", "1 while health is ignored, as too few backends are up."),
    POOL("backups_used", GAUGE, "backups_used", "1 while backups take new sessions."),
    POOL("paused", GAUGE, "paused", "1 while the pool is paused, and new sessions wait."),
    POOL("overrides", GAUGE, "overrides", "Changes by command that stand against the file."),
    POOL("backends_from_file", GAUGE, "backends_from_file",
         "Backends that come from its backends_file."),
    POOL("backends_file_time_seconds", GAUGE, "backends_file_wall_ms",
         "When that was last taken, since 1970."),

    LABEL("backend_", "state", GAUGE, BACKEND, "state",
          "State towards new sessions; 1 for the present one.", "state"),
    LABEL("backend_", "admin", GAUGE, BACKEND, "admin",
          "What file or operator say; 1 for the present one.", "admin"),
    LABEL("backend_", "health", GAUGE, BACKEND, "health",
          "What its checks say; 1 for the present one.", "health"),
    BACKEND("state_age_seconds", GAUGE, "since_seconds", "How long it is in its state."),
    BACKEND("weight", GAUGE, "weight", "Weight by file or operator."),
    SHARE("backend_", "effective_weight", BACKEND, "effective_weight_permille",
          "Weight that new sessions are spread by; 0: it gets none.", 1000),
    BACKEND("backup", GAUGE, "backup", "1 for a backup."),
    BACKEND("connections", GAUGE, "connections_active", "Sessions on the backend now."),
    BACKEND("connections_peak", GAUGE, "connections_peak", "Most of them at once."),
    BACKEND("connections_total", COUNTER, "connections_total", "Sessions bound to the backend."),
    BACKEND("connect_failures_total", COUNTER, "connect_failures",
            "Connections to it that could not be opened."),
    BACKEND("retries_total", COUNTER, "retries", "Sessions that went elsewhere after that."),
    BACKEND("in_bytes_total", COUNTER, "bytes_in", "Bytes from clients to the backend."),
    BACKEND("out_bytes_total", COUNTER, "bytes_out", "Bytes from the backend to clients."),
    BACKEND("source_ports_exhausted_total", COUNTER, "source_ports_out",
            "Times that no port was left to connect to it from."),
    BACKEND("checks_passed_total", COUNTER, "checks_passed", "Its checks that passed."),
    BACKEND("checks_failed_total", COUNTER, "checks_failed", "Its checks that failed."),
    {"sluice_backend_connect_time_recent_seconds", GAUGE, METRIC_OF_BACKEND, "connect_time_us",
     "Time to connect, percentiles of the last minute; 0: nothing was connected.", "percentile",
     1000000},
    TIMES("backend_connect_seconds", CONNECTS, "How long connecting to the backend took."),

    UPSTREAMS("upstreams_idle", GAUGE, "upstreams_idle", "Kept connections that wait for use."),
    UPSTREAMS("upstreams_lent", GAUGE, "upstreams_lent", "Kept connections in use."),
    UPSTREAMS("upstreams_pinned", GAUGE, "upstreams_pinned",
              "Of those, the ones that their session keeps for itself."),
    UPSTREAMS("upstreams_opened_total", COUNTER, "upstreams_opened",
              "Connections lent that were opened for it."),
    UPSTREAMS("upstreams_warm_total", COUNTER, "upstreams_warm",
              "Connections lent that had been opened ahead."),
    UPSTREAMS("upstreams_reused_total", COUNTER, "upstreams_reused",
              "Connections lent that had served before."),
    LABEL("", "upstreams_discarded_total", COUNTER, UPSTREAMS, "upstreams_discarded_by",
          "Connections that were not kept, by reason.", "reason"),
    UPSTREAMS("requests_total", COUNTER, "requests_total", "Requests that came to their end."),
    UPSTREAMS("upstream_stray_bytes_total", COUNTER, "stray_bytes",
              "Bytes that came on a kept connection unasked."),
    UPSTREAMS("upstream_stale_total", COUNTER, "stale",
              "Kept connections found ended or dirty when they were to be lent."),
    UPSTREAMS("upstream_ambiguous_total", COUNTER, "ambiguous",
              "Connections that ended after a request that may not be sent again."),
    UPSTREAMS("upstream_unsent_retries_total", COUNTER, "retries_unsent",
              "Requests sent elsewhere of which nothing had been written."),
    UPSTREAMS("upstream_resent_retries_total", COUNTER, "retries_resent",
              "Requests sent again, by the rules for what may be."),
    UPSTREAMS("upstream_open_failures_total", COUNTER, "open_failures",
              "Connections that could not be opened ahead."),
    UPSTREAMS("upstream_pins_total", COUNTER, "pins",
              "Requests that took their connection for the session's own."),
    LABEL("", "upstream_trouble", GAUGE, UPSTREAMS, "reuse_trouble",
          "Why reuse is off for the backend, or none; 1 for the present word.", "trouble"),

    PORTS("used", GAUGE, "in_use", "Ports in use between an address of ours and the backend."),
    PORTS("limit", GAUGE, "limit", "Ports that may be in use between them."),
    PORTS("headroom", GAUGE, "headroom", "Ports that are left between them."),
    PORTS("failures_total", COUNTER, "failures",
          "Times that the kernel had no port, or not the address."),

    WATCH("failures_in_a_row", GAUGE, "failures", "Failures in a row that outlier counts."),
    WATCH("ejections_in_a_row", GAUGE, "ejections", "Ejections in a row."),
    WATCH("ejected_for_seconds", GAUGE, "ejected_for_ms",
          "Time until an ejected backend returns; only of ejected ones."),

    LABEL("check_", "state", GAUGE, CHECK, "state",
          "What the check says of the backend; 1 for the present word.", "state"),
    CHECK("latency_seconds", GAUGE, "latency_us", "How long its last run took."),
    CHECK("age_seconds", GAUGE, "last_age_ms", "Time since its last run ended."),
    CHECK("passed_total", COUNTER, "passed", "Runs that passed."),
    CHECK("failed_total", COUNTER, "failed", "Runs that failed."),
    CHECK("streak", GAUGE, "streak", "Results alike in a row."),
    {0},
};
