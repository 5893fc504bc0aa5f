/*
 * Ports to connect to backends from: what workers are told of the kernel's range, and what the
 * operator is told when they run out, or when an address cannot be used. Owns master's record of
 * what was told. In master.
 */
#include "pool/ports.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "master.h"

#define EVENT_KIND    "ports"
#define TELL_EVERY_MS 60000

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

void ports_tell(struct master *master)
{
    const struct machine *machine = &master->machine;
    struct sb_header *header = master->sb.header;
    if (machine->port_first == MACHINE_UNKNOWN || machine->port_last == MACHINE_UNKNOWN) {
        return;
    }
    uint64_t ports = machine_count_ports(machine, machine->port_first, machine->port_last);
    atomic_store_explicit(&header->port_first, (uint32_t)machine->port_first, memory_order_relaxed);
    atomic_store_explicit(&header->port_last, (uint32_t)machine->port_last, memory_order_relaxed);
    atomic_store_explicit(&header->ports, (uint32_t)ports, memory_order_relaxed);
}

/* --- addresses that cannot be used --- */

/* What is wrong with the sources of one backend just now. */
struct trouble {
    const struct addr_ip *absent; /* the first; NULL: none is */
    uint32_t n_absent, n_no_port;
    int error; /* of absent */
};

static struct trouble find_trouble(const struct master *master,
                                   const struct snapshot_backend *backend)
{
    const struct snapshot_source *sources =
        &snapshot_sources(master->running)[backend->first_source];
    struct trouble trouble = {0};
    for (uint32_t i = 0; i < backend->n_sources; i++) {
        enum sb_pair_trouble met = ports_trouble(&master->sb, sources[i].pair);
        if (met == SB_PAIR_ABSENT && trouble.n_absent++ == 0) {
            trouble.absent = &sources[i].ip;
            trouble.error = LOAD(master->sb.pairs[sources[i].pair].error);
        }
        trouble.n_no_port += ports_are_others(&master->sb, sources[i].pair);
    }
    return trouble;
}

static void append_absent(const struct trouble *trouble, struct str *out)
{
    char text[ADDR_TEXT_MAX];
    str_printf(out, "source address %s ", addr_ip_format(trouble->absent, false, text));
    if (trouble->n_absent > 1) {
        str_printf(out, "and %" PRIu32 " more ", trouble->n_absent - 1);
    }
    str_printf(out, "cannot be used: %s", strerror(trouble->error));
    if (trouble->error == EADDRNOTAVAIL) {
        str_printf(out, " (%s on this machine?)", trouble->n_absent > 1 ? "are they" : "is it");
    }
}

static void tell_absent(struct master *master, const struct snapshot_pool *pool,
                        const struct trouble *trouble)
{
    STR_AUTO text = {0};
    str_printf(&text, "pool %s: ", pool->name);
    if (trouble->n_absent > 0) {
        append_absent(trouble, &text);
        log_warning(str_text(&text), LOG_STR("pool", pool->name));
    } else {
        str_append(&text, "all of its source addresses can be used again");
        log_info(str_text(&text), LOG_STR("pool", pool->name));
    }
    master_event(master, EVENT_KIND, pool->name, NULL, "master", NULL, str_text(&text));
}

/* The backend with the most speaks for the pool. Returns whether all is told. */
static bool watch_sources(struct master *master, const struct snapshot_pool *pool, uint64_t now_ms)
{
    struct ports_watch *watch = &master->ports;
    const struct snapshot_backend *backends =
        snapshot_backends(master->running) + pool->first_backend;
    uint64_t told_at_ms = watch->absent_told_at_ms[pool->row];
    struct trouble most = {0};
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        struct trouble trouble = find_trouble(master, &backends[i]);
        most = trouble.n_absent > most.n_absent ? trouble : most;
    }
    if (most.n_absent == watch->absent_told[pool->row]) {
        return true;
    }
    if (told_at_ms != 0 && now_ms - told_at_ms < TELL_EVERY_MS) {
        return false;
    }
    watch->absent_told[pool->row] = most.n_absent;
    watch->absent_told_at_ms[pool->row] = now_ms;
    tell_absent(master, pool, &most);
    return true;
}

/* --- ports that ran out --- */

/* Three things that look alike to clients: addresses that cannot be used, ports that others have,
 * and ports that ran out. */
static void append_cause(const struct master *master, const struct snapshot_backend *backend,
                         uint64_t times, struct str *out)
{
    struct trouble trouble = find_trouble(master, backend);
    uint32_t n = backend->n_sources - trouble.n_absent;
    if (n == 0 && trouble.n_absent > 0) { /* a reload may have taken all ports away */
        append_absent(&trouble, out);
        str_printf(out,
                   ", and backend %s has no other to be connected to from, %" PRIu64
                   " times since this was last told",
                   backend->name, times);
        return;
    }
    if (backend->n_sources == 0) { /* its pool is transparent */
        str_printf(
            out,
            "some client has no port left to connect to backend %s from its address, %" PRIu64
            " times since this was last told: each client's address has %u ports towards "
            "each backend, so add backends",
            backend->name, times, LOAD(master->sb.header->ports));
        return;
    }
    if (trouble.n_no_port > 0) {
        str_printf(
            out,
            "the kernel found no port to connect to backend %s from, %" PRIu64
            " times since this was last told, though by our count there were some at %" PRIu32
            " of %" PRIu32 " addresses: other programs have them, or connections that were "
            "closed (TIME-WAIT)",
            backend->name, times, trouble.n_no_port, backend->n_sources);
    } else {
        str_printf(out,
                   "no port was left to connect to backend %s from, %" PRIu64
                   " times since this was last told; it is connected to from %" PRIu32
                   " address%s with %u ports each, see show source-ports: add source_addresses to "
                   "the pool, or backends",
                   backend->name, times, n, n == 1 ? "" : "es",
                   ports_limit(LOAD(master->sb.header->ports)));
    }
    if (trouble.n_absent > 0) {
        str_append(out, "; ");
        append_absent(&trouble, out);
    }
}

static void tell(struct master *master, const struct snapshot_pool *pool,
                 const struct snapshot_backend *backend, uint64_t times)
{
    STR_AUTO text = {0};
    str_printf(&text, "pool %s: ", pool->name);
    append_cause(master, backend, times, &text);
    log_warning(str_text(&text), LOG_STR("pool", pool->name), LOG_STR("backend", backend->name));
    master_event(master, EVENT_KIND, pool->name, backend->name, "master", NULL, str_text(&text));
}

/* The backend with the most of them speaks for the pool. */
static void watch_pool(struct master *master, const struct snapshot_pool *pool, uint64_t now_ms)
{
    struct ports_watch *watch = &master->ports;
    const struct snapshot_backend *backends =
        snapshot_backends(master->running) + pool->first_backend;
    const struct snapshot_backend *worst = NULL;
    uint64_t most = 0;
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        uint64_t seen = LOAD(master->sb.rows[backends[i].row].ports_out);
        uint64_t since = seen - watch->seen[backends[i].row];
        if (seen < watch->seen[backends[i].row]) {
            since = seen; /* another backend has the row now */
        }
        if (since > most) {
            most = since;
            worst = &backends[i];
        }
    }
    uint64_t told_at_ms = watch->told_at_ms[pool->row];
    if (worst == NULL || (told_at_ms != 0 && now_ms - told_at_ms < TELL_EVERY_MS)) {
        return;
    }
    watch->told_at_ms[pool->row] = now_ms;
    tell(master, pool, worst, most);
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        watch->seen[backends[i].row] = LOAD(master->sb.rows[backends[i].row].ports_out);
    }
}

static void watch_all_sources(struct master *master, uint64_t now_ms)
{
    uint32_t turned =
        atomic_load_explicit(&master->sb.header->sources_turned, memory_order_acquire);
    bool is_told = true;
    if (turned == master->ports.sources_turned) {
        return;
    }
    for (uint32_t i = 0; i < master->running->n_pools; i++) {
        is_told &= watch_sources(master, &snapshot_pools(master->running)[i], now_ms);
    }
    if (is_told) {
        master->ports.sources_turned = turned;
    }
}

void ports_watch(struct master *master, uint64_t now_ms)
{
    watch_all_sources(master, now_ms);
    if (atomic_load_explicit(&master->sb.header->ports_missed, memory_order_acquire) == 0) {
        return;
    }
    for (uint32_t i = 0; i < master->running->n_pools; i++) {
        watch_pool(master, &snapshot_pools(master->running)[i], now_ms);
    }
}
