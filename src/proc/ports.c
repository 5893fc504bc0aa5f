/*
 * Ports to connect to backends from: what workers are told of the kernel's range, and what the
 * operator is told when they run out. Owns master's record of what was told. In master.
 */
#include "pool/ports.h"

#include <inttypes.h>

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

static void tell(struct master *master, const struct snapshot_pool *pool,
                 const struct snapshot_backend *backend, uint64_t times)
{
    uint32_t ports = LOAD(master->sb.header->ports);
    STR_AUTO text = {0};
    str_printf(&text,
               "pool %s: no port was left to connect to backend %s from, %" PRIu64
               " times since this was last told; it is connected to from %u address%s with %u "
               "ports each, see show source-ports: add source_addresses to the pool, or backends",
               pool->name, backend->name, times, backend->n_sources,
               backend->n_sources == 1 ? "" : "es", ports_limit(ports));
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
    limits_look(master, false); /* the range may be another one than workers believe */
    ports_tell(master);
    tell(master, pool, worst, most);
    for (uint32_t i = 0; i < pool->n_backends; i++) {
        watch->seen[backends[i].row] = LOAD(master->sb.rows[backends[i].row].ports_out);
    }
}

void ports_watch(struct master *master, uint64_t now_ms)
{
    for (uint32_t i = 0; i < master->running->n_pools; i++) {
        watch_pool(master, &snapshot_pools(master->running)[i], now_ms);
    }
}
