/*
 * Live figures from model, overrides and scoreboard. Reads shared memory that others write: each
 * figure is right by itself, those that belong together may be a moment apart. In master.
 */
#include "ctl/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

struct view view_of(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms)
{
    return (struct view){
        .model = host->ops->model(host->self),
        .snapshot = host->ops->snapshot(host->self),
        .overrides = host->ops->overrides(host->self),
        .sb = host->sb,
        .host = host,
        .now_ms = now_ms,
        .wall_ms = wall_ms,
    };
}

static uint64_t since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

void view_total(const struct view *view, const struct ctl_host_info *info, struct view_total *out)
{
    const struct sb_header *header = view->sb->header;

    *out = (struct view_total){
        .version = info->version,
        .generation = view->model->generation,
        .uptime_seconds = since(view->now_ms, header->started_ms) / 1000,
        .connections_active = LOAD(header->active),
        .connections_peak = LOAD(header->peak),
        .connections_limit = info->connections_limit,
        .buffer_memory_bytes = view->snapshot->buffer_bytes,
        .buffered_peak_bytes = (uint64_t)LOAD(header->buffer_parts_peak) * SB_BUFFER_PART_BYTES,
    };
    for (uint32_t i = 0; i < header->n_workers; i++) {
        const struct sb_worker *worker = &view->sb->workers[i];

        out->connections_total += LOAD(worker->connections_total);
        out->buffered_bytes += LOAD(worker->buffered_bytes);
        out->throttled += LOAD(worker->throttled);
    }
}

/* --- workers --- */

void view_worker(const struct view *view, uint32_t id, struct view_worker *out)
{
    const struct sb_worker *worker = &view->sb->workers[id];
    uint32_t state = LOAD(worker->state);
    int32_t pid = LOAD(worker->pid);

    *out = (struct view_worker){
        .id = id,
        .pid = pid > 0 ? (uint64_t)pid : 0,
        .state = state < SB_WORKER_STATE_COUNT ? sb_worker_state_names[state] : "unknown",
        .generation = LOAD(worker->generation),
        .connections_active = LOAD(worker->active),
        .connections_total = LOAD(worker->connections_total),
        .restarts = LOAD(worker->restarts),
        .busy_permille = LOAD(worker->busy_permille),
        .loop_lag_us = LOAD(worker->loop_lag_us),
        .waiting = LOAD(worker->waiting),
        .heartbeat_age_ms = since(view->now_ms, LOAD(worker->heartbeat_ms)),
        .accept_errors = LOAD(worker->accept_errors),
        .buffered_bytes = LOAD(worker->buffered_bytes),
        .throttled = LOAD(worker->throttled),
        .spliced_bytes = LOAD(worker->spliced_bytes),
        .pipes = LOAD(worker->pipes),
        .log_dropped = LOAD(worker->log_dropped),
    };
}

/* --- services --- */

/* The addresses as bound (port 0 has become the kernel's choice), in one block. NULL without
 * memory. */
static const char **bound_addresses(const struct model_service *service)
{
    size_t n = service->n_listeners;
    const char **list = malloc((n + 1) * sizeof(*list) + n * ADDR_TEXT_MAX);

    if (list == NULL)
        return NULL;
    char *text = (char *)(list + n + 1);
    for (size_t i = 0; i < n; i++) {
        list[i] = addr_format(&service->listeners[i].address, text + i * ADDR_TEXT_MAX);
    }
    list[n] = NULL;
    return list;
}

void view_service_release(struct view_service *service)
{
    free(service->bound);
    service->bound = NULL;
}

/* Names of the service's pools, as the snapshot has them. */
static void fill_pools(const struct view *view, const struct model_service *service,
                       struct view_service *out)
{
    size_t index = (size_t)(service - view->model->services);
    const struct snapshot_service *record = &snapshot_services(view->snapshot)[index];
    const struct snapshot_pool *pools = snapshot_pools(view->snapshot);

    out->pool = pools[record->pool].name;
    out->fallback_pool =
        record->fallback_pool == SNAPSHOT_NONE ? "" : pools[record->fallback_pool].name;
    out->admin = record->admin < ADMIN_COUNT ? admin_state_names[record->admin] : "unknown";
    out->uses = pools[standing_pool_in_use(view->snapshot, record, view->sb)].name;
}

void view_service(const struct view *view, const struct model_service *service,
                  struct view_service *out)
{
    const struct sb_service *live = &view->sb->services[service->row];
    const char **bound = bound_addresses(service);

    *out = (struct view_service){
        .name = service->name,
        .listen = bound != NULL ? bound : (const char *const *)service->listen,
        .bound = bound,
        .connections_active = LOAD(live->active),
        .connections_peak = LOAD(live->peak),
    };
    fill_pools(view, service, out);
    scoreboard_sum_service(view->sb, service->row, &out->sum);
    out->connections_total = out->sum.connections_total;
    out->connections_refused = out->sum.refused;
    out->bytes_in = out->sum.bytes_in;
    out->bytes_out = out->sum.bytes_out;
    out->refused_by = out->sum.refused_by;
    out->ended_by = out->sum.ended_by;
}

/* --- backends --- */

void view_standing(const struct view *view, const struct model_pool *pool, struct standing *out)
{
    standing_of(view->snapshot, (uint32_t)(pool - view->model->pools), view->sb, out);
}

static struct backend_facts facts_of(const struct view *view, const struct standing *standing,
                                     size_t index)
{
    return eligibility_facts(standing->pool, standing->backends, (uint32_t)index, &standing->survey,
                             view->sb);
}

/* When it was ejected. Worked out from the end, for which the time grows with each in a row. */
static uint64_t ejected_from_ms(const struct standing *standing, const struct sb_slot *slot)
{
    uint64_t lasts_ms = (uint64_t)standing->pool->outlier.eject_time_ms * LOAD(slot->ejections);

    return since(LOAD(slot->ejected_until_ms), lasts_ms);
}

/* When load or the pool's need of backups, and not health, last decided the state. */
static uint64_t pool_decided_ms(const struct view *view, const struct standing *standing,
                                const struct snapshot_backend *record, enum backend_state state)
{
    if (state == BACKEND_FULL)
        return LOAD(view->sb->slots[record->slot].full_since_ms);
    if (record->backup && (state == BACKEND_UP || state == BACKEND_STANDBY))
        return LOAD(view->sb->pools[standing->pool->row].backups_since_ms);
    return 0;
}

/* When what its checks ask for last decided the state. Who is down is so whatever they ask. */
static uint64_t asked_decided_ms(const struct view *view, const struct snapshot_backend *record,
                                 enum backend_state state)
{
    if (state == BACKEND_DOWN || view_deciding_option(record, state) != NULL)
        return 0;
    return LOAD(view->sb->slots[record->slot].asked_since_ms);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of the present state: what the operator said counts from then, an ejection from its beginning,
 * maintenance from when checks began to ask for it, all else from the last change of health, or of
 * what besides it decides. */
static uint64_t state_since_ms(const struct view *view, const struct standing *standing,
                               size_t index, enum backend_state state)
{
    const struct override *override = view_deciding_override(view, standing, index, state);
    const struct snapshot_backend *record = &standing->backends[index];
    uint32_t slot = record->slot;
    char reason[SB_REASON_MAX];
    uint64_t since_ms = 0, asked_ms;

    if (override)
        return since(view->wall_ms, override->wall_ms);
    if (state == BACKEND_EJECTED)
        return since(view->now_ms, ejected_from_ms(standing, &view->sb->slots[slot]));
    asked_ms = asked_decided_ms(view, record, state);
    if (state == BACKEND_MAINTENANCE && asked_ms != 0)
        return since(view->now_ms, asked_ms);
    scoreboard_get_health(view->sb, slot, &since_ms, reason);
    since_ms = later(since_ms, later(asked_ms, pool_decided_ms(view, standing, record, state)));
    return since(view->now_ms, since_ms == 0 ? view->sb->header->started_ms : since_ms);
}

/* Load is no matter of weight. */
static uint64_t effective_weight(const struct view *view, const struct standing *standing,
                                 const struct snapshot_backend *record, struct backend_facts facts)
{
    uint64_t from_ms = LOAD(view->sb->slots[record->slot].slow_from_ms);

    facts.full = false;
    if (!eligibility_takes_new(&facts))
        return 0;
    return (uint64_t)record->weight * eligibility_asked_permille(record, view->sb) *
           eligibility_slow_permille(from_ms, standing->pool->slow_start_ms, view->now_ms) / 1000;
}

/* What its checks say, whatever the operator does. */
static const char *checked_health(const struct view *view, const struct snapshot_backend *record)
{
    uint8_t health = LOAD(view->sb->slot_health[record->slot]);

    if (record->n_checks == 0)
        return "none";
    return health < SB_HEALTH_COUNT ? sb_health_names[health] : "unknown";
}

static void fill_deadline(const struct view *view, uint64_t deadline_ms, struct view_backend *out)
{
    uint64_t left_ms = since(deadline_ms, view->now_ms);

    out->closed_in_seconds = deadline_ms != 0 ? (left_ms + 999) / 1000 : REPLY_NONE;
    out->closed_by_wall_ms =
        deadline_ms != 0 ? view->wall_ms + left_ms - since(view->now_ms, deadline_ms) : REPLY_NONE;
}

static void fill_drain(const struct view *view, uint32_t slot, struct view_backend *out)
{
    struct ctl_drain drain = {0};

    (void)view->host->ops->drain(view->host->self, slot, &drain);
    fill_deadline(view, drain.deadline_ms, out);
}

void view_removed(const struct view *view, const struct ctl_drain *drain, uint32_t slot,
                  struct view_backend *out)
{
    static const struct sb_upstream_sum none;
    static const uint64_t no_times[VIEW_PERCENTILES];
    uint8_t health = LOAD(view->sb->slot_health[slot]);

    *out = (struct view_backend){
        .pool = drain->pool,
        .name = drain->backend,
        .address = drain->address,
        .state = backend_state_names[BACKEND_DRAINING],
        .judged = BACKEND_DRAINING,
        .admin = "removed",
        .health = health < SB_HEALTH_COUNT ? sb_health_names[health] : "unknown",
        .checked_health = "none",
        .since_seconds = since(view->now_ms, drain->since_ms) / 1000,
        .connections_active = LOAD(view->sb->slot_active[slot]),
        .connections_total = REPLY_NONE,
        .connect_failures = REPLY_NONE,
        .retries = REPLY_NONE,
        .bytes_in = REPLY_NONE,
        .bytes_out = REPLY_NONE,
        .upstreams_discarded_by = none.discarded_by,
        .reuse_trouble = reuse_trouble_names[REUSE_FINE],
        .connect_time_us = no_times,
        .reason = out->reason_text,
    };
    fill_deadline(view, drain->deadline_ms, out);
    snprintf(out->reason_text, sizeof(out->reason_text), "removed by %s", drain->by);
    view_append_remaining(view, slot, out->reason_text);
}

/* admin and weight are as the operator or the file says; what checks ask for beside that shows in
 * state, reason and effective weight. */
static void fill_state(const struct view *view, const struct standing *standing, size_t index,
                       struct view_backend *out)
{
    const struct snapshot_backend *record = &standing->backends[index];
    struct backend_facts facts = facts_of(view, standing, index);

    out->judged = eligibility_judge(&facts);
    out->state = backend_state_names[out->judged];
    out->admin = record->admin < ADMIN_COUNT ? admin_state_names[record->admin] : "unknown";
    out->health = facts.health < SB_HEALTH_COUNT ? sb_health_names[facts.health] : "unknown";
    out->checked_health = checked_health(view, record);
    out->backup = record->backup;
    out->weight = record->weight;
    out->effective_weight_permille = effective_weight(view, standing, record, facts);
    out->since_seconds = state_since_ms(view, standing, index, out->judged) / 1000;
    out->reason = view_reason(view, standing, index, out->judged, out->reason_text);
}

static void fill_counters(const struct view *view, const struct model_backend *backend,
                          struct view_backend *out)
{
    static const uint32_t permilles[VIEW_PERCENTILES] = {500, 900, 990};
    const struct sb_row *row = &view->sb->rows[backend->row];
    const struct sb_slot *slot = &view->sb->slots[backend->slot];
    struct sb_row_sum sum;

    scoreboard_sum_row(view->sb, backend->row, &sum);
    out->bytes_in = sum.bytes_in;
    out->bytes_out = sum.bytes_out;
    out->connections_peak = LOAD(row->connections_peak);
    out->connections_total = LOAD(row->connections_total);
    out->connect_failures = LOAD(row->connect_failures);
    out->retries = LOAD(row->retries);
    out->source_ports_out = LOAD(row->ports_out);
    scoreboard_sum_upstreams(view->sb, backend->row, &out->upstreams);
    out->upstreams_reused_percent = view_reused_percent(&out->upstreams);
    out->upstreams_discarded_by = out->upstreams.discarded_by;
    out->reuse_trouble = view_reuse_trouble(slot);
    out->checks_passed = LOAD(slot->checks_passed);
    out->checks_failed = LOAD(slot->checks_failed);
    for (size_t i = 0; i < VIEW_PERCENTILES; i++)
        out->percentiles[i] = sb_hist_percentile(&row->connect_time_us, permilles[i], view->now_ms);
    out->connect_time_us = out->percentiles;
}

void view_backend(const struct view *view, const struct model_pool *pool,
                  const struct standing *standing, size_t index, struct view_backend *out)
{
    const struct model_backend *backend = &pool->backends[index];

    *out = (struct view_backend){
        .pool = pool->name,
        .name = backend->name,
        .address = model_backend_shown(backend),
        .connections_active = LOAD(view->sb->slot_active[backend->slot]),
    };
    fill_state(view, standing, index, out);
    fill_counters(view, backend, out);
    fill_drain(view, backend->slot, out);
    view_ports(view, &standing->backends[index], 0, standing->backends[index].n_sources,
               &out->source_ports);
}

/* --- pools --- */

static void sum_backends(const struct view *view, const struct model_pool *pool,
                         const struct standing *standing, struct view_pool *out)
{
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];
        struct backend_facts facts = facts_of(view, standing, i);
        struct sb_row_sum sum;

        scoreboard_sum_row(view->sb, backend->row, &sum);
        out->backends_up += eligibility_judge(&facts) == BACKEND_UP;
        out->connections_active += LOAD(view->sb->slot_active[backend->slot]);
        out->connections_total += LOAD(view->sb->rows[backend->row].connections_total);
        out->bytes_in += sum.bytes_in;
        out->bytes_out += sum.bytes_out;
    }
}

static void look_at_file(const struct view *view, const struct model_pool *pool,
                         struct view_pool *out)
{
    const struct ctl_host *host = view->host;

    out->backends_file = pool->backends_file;
    out->backends_file_wall_ms = REPLY_NONE;
    if (!pool->backends_file)
        return;
    out->backends_file_wall_ms = host->ops->backends_files(host->self, &out->backends_file_refused);
    for (size_t i = 0; i < pool->n_backends; i++)
        out->backends_from_file += model_backend_is_from_file(pool, &pool->backends[i]);
}

void view_pool(const struct view *view, const struct model_pool *pool, struct view_pool *out)
{
    struct standing standing;

    view_standing(view, pool, &standing);
    const struct sb_pool *live = &view->sb->pools[standing.pool->row];
    *out = (struct view_pool){
        .name = pool->name,
        .scheduler = pool->scheduler,
        .backends = pool->n_backends,
        .paused_by = "",
        .queued = LOAD(live->queued),
        .queued_peak = LOAD(live->queued_peak),
        .panic = standing.survey.panic,
        .backups_used = standing.backups_used,
    };
    if (pool->paused) {
        const struct override *by = view_override(view, pool->name, NULL, "paused");

        out->paused = 1;
        out->paused_by = by ? by->by : "the file";
        out->paused_seconds = by ? since(view->wall_ms, by->wall_ms) / 1000 : 0;
    }
    sum_backends(view, pool, &standing, out);
    look_at_file(view, pool, out);
    for (size_t i = 0; view->overrides && i < view->overrides->count; i++) {
        const char *of = view->overrides->items[i].pool;

        out->overrides += of && strcmp(of, pool->name) == 0;
    }
}

void view_override_row(const struct override *override, struct view_override_row *out)
{
    static const char *const kinds[OVERRIDE_KIND_COUNT] = {
        [OVERRIDE_SET] = "set", [OVERRIDE_ADDED] = "added", [OVERRIDE_REMOVED] = "removed"};

    *out = (struct view_override_row){
        .kind = kinds[override->kind],
        .service = override->service,
        .pool = override->pool,
        .backend = override->backend,
        .option = override->option,
        .value = override->value,
        .file_value = override->file_value,
        .by = override->by,
        .why = override->why,
        .wall_ms = override->wall_ms,
        .until_wall_ms = override->until_wall_ms != 0 ? override->until_wall_ms : REPLY_NONE,
        .close_wall_ms = override->close_wall_ms != 0 ? override->close_wall_ms : REPLY_NONE,
    };
}
