/* Live figures of the ports that backends are connected to from. In master. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/view.h"
#include "pool/ports.h"

static void name_sources(const struct snapshot_source *sources, uint32_t n, struct view_ports *out)
{
    if (n == 1 && sources[0].ip.family != ADDR_NONE)
        (void)addr_ip_format(&sources[0].ip, false, out->source_text);
    else if (n == 1)
        snprintf(out->source_text, sizeof(out->source_text), "any");
    else
        snprintf(out->source_text, sizeof(out->source_text), "%" PRIu32 " addresses", n);
    out->source = out->source_text;
}

/* Of several, the worst that one of them is in. */
static void name_state(const struct view *view, const struct snapshot_source *sources, uint32_t n,
                       struct view_ports *out)
{
    uint32_t n_absent = 0, n_others = 0;
    uint16_t error = 0;

    for (uint32_t i = 0; i < n; i++) {
        n_others += ports_are_others(view->sb, sources[i].pair);
        if (ports_trouble(view->sb, sources[i].pair) != SB_PAIR_ABSENT)
            continue;
        n_absent++;
        error = atomic_load_explicit(&view->sb->pairs[sources[i].pair].error, memory_order_relaxed);
    }
    out->state = out->state_text;
    if (n_absent > 0 && n == 1)
        snprintf(out->state_text, sizeof(out->state_text), "unusable: %s", strerror(error));
    else if (n_absent > 0)
        snprintf(out->state_text, sizeof(out->state_text), "%" PRIu32 " unusable: %s", n_absent,
                 strerror(error));
    else if (n_others > 0)
        out->state = "held by others";
    else
        out->state = out->limit != REPLY_NONE && out->in_use >= out->limit ? "full" : "ok";
}

void view_ports(const struct view *view, const struct snapshot_backend *backend, uint32_t first,
                uint32_t n, struct view_ports *out)
{
    const struct snapshot_source *sources =
        &snapshot_sources(view->snapshot)[backend->first_source + first];
    uint32_t ports = atomic_load_explicit(&view->sb->header->ports, memory_order_relaxed);
    uint64_t each = ports_limit(ports), most = 0;

    *out = (struct view_ports){.backend = backend->name, .addresses = n};
    for (uint32_t i = 0; i < n; i++) {
        const struct sb_pair *pair = &view->sb->pairs[sources[i].pair];
        uint64_t used = ports_used(view->sb, sources[i].pair);

        out->in_use += used;
        out->failures += atomic_load_explicit(&pair->failures, memory_order_relaxed);
        if (ports_trouble(view->sb, sources[i].pair) != SB_PAIR_ABSENT)
            out->headroom += used < each ? each - used : 0;
        most = used > most ? used : most;
    }
    out->limit = ports == 0 && n > 0 ? REPLY_NONE : each * n;
    out->headroom = ports == 0 && n > 0 ? REPLY_NONE : out->headroom;
    /* More are in use than may be once the kernel's range was made narrower. */
    most = most < each ? most : each;
    out->fullest_percent = each > 0 ? most * 100 / each : 0;
    if (n > 0) {
        name_sources(sources, n, out);
        name_state(view, sources, n, out);
    }
}
