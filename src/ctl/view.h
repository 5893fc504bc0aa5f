/*
 * Live figures of workers, services, pools and backends, gathered from the model, the operator's
 * overrides and the scoreboard: the one source of tables, of `show stats` and of metrics, so that
 * they never differ. Column lists beside them give names and order. In master.
 */
#ifndef SLUICE_CTL_VIEW_H
#define SLUICE_CTL_VIEW_H

#include <stdint.h>

#include "ctl/host.h"
#include "ctl/reply.h"
#include "ctl/standing.h"

/* `show stats json`, appended: cmd_stats.c. */
void stats_render(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms, struct str *out);

#define VIEW_PERCENTILES 3
#define VIEW_REASON_MAX  512

/* What figures are made from, and the moment they are of. Nothing is owned. */
struct view {
    const struct model *model;
    const struct snapshot_header *snapshot; /* of that model */
    const struct overrides *overrides;
    const struct scoreboard *sb;
    const struct ctl_host *host;
    uint64_t now_ms, wall_ms;
};

struct view view_of(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms);

/* Numbers are uint64_t and texts pointers because columns (reply.h) read them. */
struct view_total {
    const char *version;
    uint64_t generation, uptime_seconds;
    uint64_t connections_active, connections_peak, connections_total, connections_limit;
    uint64_t buffer_memory_bytes, buffered_bytes, buffered_peak_bytes, throttled;
};
void view_total(const struct view *view, const struct ctl_host_info *info, struct view_total *out);
extern const struct column view_total_columns[];

struct view_worker {
    uint64_t id, pid;
    const char *state;
    uint64_t generation, connections_active, connections_total, restarts, busy_permille,
        loop_lag_us, waiting, heartbeat_age_ms, accept_errors, buffered_bytes, throttled,
        spliced_bytes, pipes, log_dropped;
};
void view_worker(const struct view *view, uint32_t id, struct view_worker *out);
extern const struct column view_worker_columns[];

struct view_service {
    const char *name, *pool, *fallback_pool; /* fallback_pool "": none */
    const char *admin;
    const char *uses; /* the pool that new sessions go to now */
    const char *const *listen;
    uint64_t connections_active, connections_peak, connections_total, connections_refused;
    uint64_t bytes_in, bytes_out;
    const uint64_t *refused_by, *ended_by; /* point into sum */
    struct sb_service_sum sum;
    const char **bound; /* behind listen; view_service_release() */
};
/* out must not be moved afterwards, and is to be released. */
void view_service(const struct view *view, const struct model_service *service,
                  struct view_service *out);
void view_service_release(struct view_service *service);
extern const struct column view_service_columns[];

/* How a pool of the model stands, for all that is asked about its backends. */
void view_standing(const struct view *view, const struct model_pool *pool, struct standing *out);

/* Ports to connect to one backend from: of one source, or of several together. */
struct view_ports {
    const char *pool, *backend;
    const char *source; /* an address, "any" for the kernel's choice, "3 addresses" */
    uint64_t addresses;
    uint64_t in_use, limit; /* limit: that may be in use, REPLY_NONE: not known */
    uint64_t headroom;      /* REPLY_NONE: not known */
    uint64_t fullest_percent;
    uint64_t failures; /* times that the kernel had none, or not the address */
    /* "ok", "full", "held by others": the kernel has none though we count some, "unusable: …", "3
     * unusable: …" */
    const char *state;
    char source_text[ADDR_TEXT_MAX];
    char state_text[96];
};
/* n sources of a backend from first on, n at least 1. out must not be moved afterwards. */
void view_ports(const struct view *view, const struct snapshot_backend *backend, uint32_t first,
                uint32_t n, struct view_ports *out);
extern const struct column view_ports_columns[];

struct view_backend {
    const char *pool, *name, *address, *state, *admin, *health, *reason;
    const char *checked_health; /* what its checks say, where the operator says otherwise, too */
    uint64_t weight, effective_weight_permille; /* effective 0: gets no new clients */
    uint64_t since_seconds;                     /* of the present state */
    /* Until its last session has been closed, and when that is; REPLY_NONE: there is no deadline */
    uint64_t closed_in_seconds, closed_by_wall_ms;
    uint64_t backup;
    uint64_t connections_active, connections_peak, connections_total;
    uint64_t connect_failures, retries, bytes_in, bytes_out;
    struct sb_upstream_sum upstreams; /* zeros where none are kept */
    struct view_ports source_ports;   /* of all sources together */
    uint64_t source_ports_out;        /* times that none was left */
    uint64_t upstreams_reused_percent;
    const uint64_t *upstreams_discarded_by; /* points into upstreams */
    const char *reuse_trouble;
    uint64_t checks_passed, checks_failed;
    const uint64_t *connect_time_us; /* points to percentiles */
    uint64_t percentiles[VIEW_PERCENTILES];
    enum backend_state judged;
    char reason_text[VIEW_REASON_MAX];
};
/* Backend index of the pool whose standing that is. out must not be moved afterwards. */
void view_backend(const struct view *view, const struct model_pool *pool,
                  const struct standing *standing, size_t index, struct view_backend *out);
/* The first column is the pool's name: what stands inside a pool begins one further. */
extern const struct column view_backend_columns[];
/* The same of one that was removed and still has sessions. Counters are its successor's, if there
 * is one, and not told. */
void view_removed(const struct view *view, const struct ctl_drain *drain, uint32_t slot,
                  struct view_backend *out);
/* The same with when drains end, and, where asked for, with upstreams in the table. Returns out. */
const struct column *view_backend_columns_for_show(bool with_reuse,
                                                   struct column out[static REPLY_COLUMNS_MAX]);

struct view_pool {
    const char *name, *scheduler;
    uint64_t backends_up, backends, connections_active, connections_total, bytes_in, bytes_out;
    uint64_t queued, queued_peak, overrides;
    uint64_t panic, backups_used, paused;
    uint64_t paused_seconds; /* 0: it is not, or by the file */
    const char *paused_by;   /* "": it is not */
    /* Of its backends_file, NULL or REPLY_NONE without one: its backends that came from there, when
     * it was read, and what was wrong with any of these files since (NULL: nothing). */
    const char *backends_file, *backends_file_refused;
    uint64_t backends_from_file, backends_file_wall_ms;
};
void view_pool(const struct view *view, const struct model_pool *pool, struct view_pool *out);
extern const struct column view_pool_columns[];

/* The last results, the oldest first. */
struct view_history {
    char text[SB_HISTORY_MAX + 1]; /* '+' or '-' for each */
    uint64_t latencies_us[SB_HISTORY_MAX];
    struct reply_uints latencies; /* points to them */
};

/* One check of one backend. Where it shares its record with others (pool/check_record.h), figures
 * are theirs, too. */
struct view_one_check {
    const char *check, *state, *result; /* result NULL: no run has ended yet */
    const char *reason, *history;
    uint64_t last_age_ms, latency_us, next_in_ms; /* REPLY_NONE: never yet */
    uint64_t streak, passed, failed;
    struct reply_uints history_latency_us;
    struct view_history history_of;
    char reason_text[SB_REASON_MAX];
};
extern const struct column view_one_check_columns[];

/* The checks of one backend: each by itself, and beside that all of them together. */
struct view_check {
    const char *pool, *backend, *checks, *health, *reason;
    uint64_t last_age_ms, latency_us, next_in_ms; /* REPLY_NONE: never yet */
    uint64_t streak, passed, failed;
    const char *history;
    struct reply_uints history_latency_us;
    struct reply_rows by_check; /* points to each */
    /* What the checks ask for; in words, "" for nothing. */
    const char *asks;
    const char *asked_admin;                               /* NULL: nothing */
    uint64_t asked_weight_permille, asked_max_connections; /* REPLY_NONE: nothing */
    /* What workers saw. */
    uint64_t failures, ejections; /* in a row */
    uint64_t ejected_for_ms;      /* that are left; REPLY_NONE: it is not ejected */
    struct view_one_check each[CHECKS_MAX];
    char checks_text[CHECKS_MAX * NAME_BYTES_MAX];
    struct view_history history_of;
    char asks_text[VIEW_REASON_MAX];
    char reason_text[SB_REASON_MAX];
};
/* Whether backend index of the pool has checks, or may be ejected: else there is nothing to tell.
 */
bool view_is_watched(const struct view *view, const struct model_pool *pool, size_t index);
/* out must not be moved afterwards. */
void view_check(const struct view *view, const struct model_pool *pool,
                const struct standing *standing, size_t index, struct view_check *out);
extern const struct column view_check_columns[]; /* for programs */

/* The same for people: a line for each of its checks, or one line where it has none. */
struct view_check_line {
    const char *pool, *backend, *health, *asks;
    uint64_t failures, ejections, ejected_for_ms;
    struct view_one_check one;
};
size_t view_check_lines(const struct view_check *of);
/* of must outlive *out. */
void view_check_line(const struct view_check *of, size_t i, struct view_check_line *out);
extern const struct column view_check_line_columns[];

/* Connections to one backend, where its pool keeps them (reuse). */
struct view_upstreams {
    const char *pool, *name, *mode, *framing; /* framing NULL: none */
    struct sb_upstream_sum sum;
    uint64_t reused_percent;      /* REPLY_NONE: none was lent yet, or none is to be used again */
    const uint64_t *discarded_by; /* points into sum */
    const char *discarded_mostly; /* the commonest reasons: "max_idle 12, idle_max 3" */
    const char *trouble;
    const char *why_not; /* there is so little reuse; NULL: nothing to be said */
    char mostly_text[VIEW_REASON_MAX];
    char why_not_text[VIEW_REASON_MAX];
};
/* Whether the pool keeps connections. */
bool view_has_reuse(const struct view *view, const struct model_pool *pool);
/* out must not be moved afterwards. */
void view_upstreams(const struct view *view, const struct model_pool *pool,
                    const struct standing *standing, size_t index, struct view_upstreams *out);
extern const struct column view_upstreams_columns[];
/* Of all that were lent, how many had served before; 0 when none was lent. */
uint64_t view_reused_percent(const struct sb_upstream_sum *sum);
/* Of reuse_trouble_names. */
const char *view_reuse_trouble(const struct sb_slot *slot);

/* The override of that option, else the one that added the backend, or NULL. */
const struct override *view_override(const struct view *view, const char *pool, const char *backend,
                                     const char *option);
/* The option that decided the state, by the file or by an override; NULL: none did, but what its
 * checks ask for, or health, or load. */
const char *view_deciding_option(const struct snapshot_backend *backend, enum backend_state state);
/* The override that decided the state, or NULL: it is by the file, by health or by load. */
const struct override *view_deciding_override(const struct view *view,
                                              const struct standing *standing, size_t index,
                                              enum backend_state state);
/* Why backend index of the pool is in that state, with figures. Returns buf. */
char *view_reason(const struct view *view, const struct standing *standing, size_t index,
                  enum backend_state state, char buf[static VIEW_REASON_MAX]);

/* Adds "; 12 sessions remain, closed within 30 s", of a backend that drains. */
void view_append_remaining(const struct view *view, uint32_t slot,
                           char buf[static VIEW_REASON_MAX]);

/* What its checks ask for: "weight 50 %, drain, at most 20 connections", or "". Returns buf. */
char *view_asked(const struct view *view, const struct snapshot_backend *backend,
                 char buf[static VIEW_REASON_MAX]);

extern const struct column view_override_columns[]; /* rows are struct view_override_row */
struct view_override_row {
    const char *kind; /* set, added, removed */
    const char *service, *pool, *backend, *option, *value, *file_value, *by, *why;
    uint64_t wall_ms;
    uint64_t until_wall_ms; /* REPLY_NONE: for good */
    uint64_t close_wall_ms; /* REPLY_NONE: sessions go on, or it is not about such a thing */
};
void view_override_row(const struct override *override, struct view_override_row *out);

#endif
