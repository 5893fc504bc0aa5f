/*
 * What is logged of sessions that have ended, and of which ones. Owns a worker's copy of the names
 * that this takes: a session may outlive its service's and its backend's place in the snapshot. In
 * a worker.
 *
 * Lines are kept until the turn's end and handed over together: a busy worker logs at the price of
 * putting text together. A sampled service counts its sessions in each worker by itself; the
 * workers begin at different places of the round, so that together they come close to one of N from
 * the start.
 */
#include "session_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "exchange.h"

#define FIELDS_MAX 24

struct log_service {
    char name[NAME_BYTES_MAX];
    uint32_t mode; /* as in the snapshot */
    uint32_t left; /* sampled: sessions until the next one that is logged */
};

struct log_backend {
    char pool[NAME_BYTES_MAX], name[NAME_BYTES_MAX];
    char address[ADDR_TEXT_MAX];
};

struct session_logger {
    struct log_service services[SERVICES_MAX];  /* by row; of one that is gone: as it was last */
    struct log_backend *backends[SB_SLOTS_MAX]; /* NULL: not known */
};

struct fields {
    struct log_field items[FIELDS_MAX + 1];
    size_t n;
};

struct session_logger *session_log_create(void)
{
    return calloc(1, sizeof(struct session_logger));
}

void session_log_destroy(struct session_logger *log)
{
    for (size_t i = 0; log != NULL && i < SB_SLOTS_MAX; i++) {
        free(log->backends[i]);
    }
    free(log);
}

/* --- what the snapshot says --- */

static uint32_t every_of(uint32_t mode)
{
    return mode < SESSION_LOG_ALL ? 0 : mode - SESSION_LOG_ALL + 1;
}

static void take_service(struct proxy *proxy, const struct snapshot_service *from)
{
    struct log_service *service = &proxy->log->services[from->row];
    if (service->mode != from->session_log || strcmp(service->name, from->name) != 0) {
        service->left = (uint32_t)((uint64_t)every_of(from->session_log) * proxy->worker /
                                   proxy->sb->header->n_workers);
    }
    service->mode = from->session_log;
    memcpy(service->name, from->name, sizeof(service->name));
}

/* Without memory its sessions are logged without its name. */
static void take_backend(struct session_logger *log, const char *pool,
                         const struct snapshot_backend *from)
{
    struct log_backend *backend = log->backends[from->slot];
    if (backend == NULL) {
        backend = malloc(sizeof(*backend));
        log->backends[from->slot] = backend;
    }
    if (backend != NULL) {
        memcpy(backend->pool, pool, sizeof(backend->pool));
        memcpy(backend->name, from->name, sizeof(backend->name));
        addr_format(&from->address, backend->address);
    }
}

void session_log_apply(struct proxy *proxy)
{
    const struct snapshot_service *services = snapshot_services(proxy->snapshot);
    const struct snapshot_pool *pools = snapshot_pools(proxy->snapshot);
    const struct snapshot_backend *backends = snapshot_backends(proxy->snapshot);
    bool is_used = false;
    for (uint32_t i = 0; i < proxy->snapshot->n_services; i++) {
        take_service(proxy, &services[i]);
        is_used = is_used || services[i].session_log != SESSION_LOG_OFF;
    }
    for (uint32_t i = 0; is_used && i < proxy->snapshot->n_pools; i++) {
        for (uint32_t j = 0; j < pools[i].n_backends; j++) {
            take_backend(proxy->log, pools[i].name, &backends[pools[i].first_backend + j]);
        }
    }
}

/* --- on the way --- */

void session_log_connected(struct session *s)
{
    const struct attempt *attempt = s->attempt;
    uint64_t tried_ms = attempt->started_us / 1000;
    uint32_t retries = s->retries + attempt->tries;
    s->queue_ms += tried_ms > attempt->begun_ms ? (uint32_t)(tried_ms - attempt->begun_ms) : 0;
    s->retries = (uint8_t)(retries < UINT8_MAX ? retries : UINT8_MAX);
    if (s->bytes_out == 0) {
        s->first_byte_us = (uint32_t)s->proxy->woken_us;
    }
}

/* --- one line --- */

static bool is_wanted(struct log_service *service, bool is_error)
{
    if (service->mode < SESSION_LOG_ALL) {
        return service->mode == SESSION_LOG_ERRORS && is_error;
    }
    if (service->left > 0) {
        service->left--;
        return false;
    }
    service->left = every_of(service->mode) - 1;
    return true;
}

static void add(struct fields *fields, struct log_field field)
{
    if (fields->n < FIELDS_MAX) {
        fields->items[fields->n++] = field;
        fields->items[fields->n] = LOG_END;
    }
}

/* Whose doing an end was. */
static const char *side_of(enum ending ending)
{
    switch (ending) {
    case ENDING_CLIENT_FIN:
    case ENDING_CLIENT_RESET:
    case ENDING_CLIENT_TIMEOUT:
        return "client";
    case ENDING_BACKEND_FIN:
    case ENDING_BACKEND_RESET:
    case ENDING_BACKEND_TIMEOUT:
        return "backend";
    default:
        return "sluice";
    }
}

static void add_refusal(struct fields *fields, enum refusal reason)
{
    add(fields, LOG_STR("refused_by", refusal_names[reason]));
    add(fields, LOG_STR("side", reason == REFUSAL_CLIENT_GONE ? "client" : "sluice"));
}

static void add_ending(struct fields *fields, enum ending reason)
{
    add(fields, LOG_STR("ended_by", ending_names[reason]));
    add(fields, LOG_STR("side", side_of(reason)));
}

/* The address that was listened on, while it is; text is room for it. */
static void add_listener(struct fields *fields, const struct session *s,
                         char text[static ADDR_TEXT_MAX])
{
    const struct snapshot_header *snapshot = s->proxy->snapshot;
    uint32_t index = s->proxy->service_of_row[s->service_row];
    if (index == SNAPSHOT_NONE) {
        return;
    }
    const struct snapshot_service *service = &snapshot_services(snapshot)[index];
    const struct snapshot_listener *listeners =
        &snapshot_listeners(snapshot)[service->first_listener];
    for (uint32_t i = 0; i < service->n_listeners; i++) {
        if ((uint16_t)listeners[i].id == s->listener) {
            add(fields, LOG_STR("listener", addr_format(&listeners[i].address, text)));
            return;
        }
    }
}

/* What backend it has, or had last; else the pool that it looked in. */
static void add_backend(struct fields *fields, const struct session *s)
{
    uint32_t slot = s->slot;
    if (slot == SNAPSHOT_NONE && s->exchange != NULL && s->exchange->requests > 0) {
        slot = s->exchange->last_slot;
    }
    const struct log_backend *backend = slot < SB_SLOTS_MAX ? s->proxy->log->backends[slot] : NULL;
    uint32_t service = s->proxy->service_of_row[s->service_row];
    if (backend != NULL) {
        add(fields, LOG_STR("pool", backend->pool));
        add(fields, LOG_STR("backend", backend->name));
        add(fields, LOG_STR("address", backend->address));
    } else if (service != SNAPSHOT_NONE) {
        uint32_t pool = snapshot_services(s->proxy->snapshot)[service].pool;
        add(fields, LOG_STR("pool", snapshot_pools(s->proxy->snapshot)[pool].name));
    }
}

/* Tries that followed one in vain: the last one in vain has no successor. */
static uint32_t count_retries(const struct session *s, bool has_failed)
{
    uint32_t tries = s->attempt != NULL ? s->attempt->tries : 0;
    return s->retries + tries - (has_failed && tries > 0 ? 1 : 0);
}

/* How it went with backends: nothing of this is known of who never got one. */
static void add_times(struct fields *fields, const struct session *s)
{
    static const char *const sources[SESSION_REUSE_COUNT] = {
        [SESSION_NEW] = "new", [SESSION_WARM] = "warm", [SESSION_KEPT] = "kept"};
    if (s->is_bound) {
        add(fields, LOG_INT("connect_us", s->connect_us));
        if (s->bytes_out > 0) {
            add(fields, LOG_INT("first_byte_us", s->first_byte_us));
        }
        add(fields, LOG_STR("reuse", sources[s->reuse]));
        if (s->exchange != NULL) {
            add(fields, LOG_INT("requests", s->exchange->requests + s->exchange->uncounted));
        }
    }
}

/* Until it was connected, or, while that has not come to be, until now. */
static uint64_t queue_ms(const struct session *s)
{
    return s->attempt == NULL ? s->queue_ms : s->queue_ms + s->proxy->now_ms - s->attempt->begun_ms;
}

void session_log_ended(const struct session *s, const _Atomic uint64_t *counter)
{
    const struct proxy *proxy = s->proxy;
    const struct sb_service_cell *cell =
        scoreboard_service_cell(proxy->sb, proxy->worker, s->service_row);
    struct log_service *service = &proxy->log->services[s->service_row];
    bool is_refused = counter >= cell->refused_by && counter < cell->refused_by + REFUSAL_COUNT;
    bool is_orderly = counter == &cell->ended_by[ENDING_CLIENT_FIN] ||
                      counter == &cell->ended_by[ENDING_BACKEND_FIN];
    if (!is_wanted(service, !is_orderly)) {
        return;
    }
    char client[ADDR_TEXT_MAX], listener[ADDR_TEXT_MAX];
    struct fields fields = {.n = 0};
    add(&fields, LOG_INT("session", s->id));
    add(&fields, LOG_STR("service", service->name));
    add(&fields, LOG_STR("client", addr_ip_format(&s->peer, true, client)));
    add_listener(&fields, s, listener);
    add_backend(&fields, s);
    add(&fields, LOG_INT("bytes_in", s->bytes_in));
    add(&fields, LOG_INT("bytes_out", s->bytes_out));
    add(&fields, LOG_INT("queue_ms", queue_ms(s)));
    add_times(&fields, s);
    add(&fields, LOG_INT("total_ms", proxy->now_ms - s->started_ms));
    bool has_failed = counter == &cell->refused_by[REFUSAL_CONNECT_FAILED];
    add(&fields, LOG_INT("retries", count_retries(s, has_failed)));
    if (is_refused) {
        add_refusal(&fields, (enum refusal)(counter - cell->refused_by));
    } else {
        add_ending(&fields, (enum ending)(counter - cell->ended_by));
    }
    log_keep(LOG_LEVEL_INFO, is_refused ? "client refused" : "session ended", fields.items);
}

void session_log_turned_away(struct proxy *proxy, uint32_t service_row, const struct addr_ip *peer,
                             enum refusal reason)
{
    struct log_service *service = &proxy->log->services[service_row];
    if (!is_wanted(service, true)) {
        return;
    }
    char client[ADDR_TEXT_MAX];
    struct fields fields = {.n = 0};
    add(&fields, LOG_STR("service", service->name));
    if (peer != NULL) {
        add(&fields, LOG_STR("client", addr_ip_format(peer, true, client)));
    }
    add_refusal(&fields, reason);
    log_keep(LOG_LEVEL_INFO, "client refused", fields.items);
}
