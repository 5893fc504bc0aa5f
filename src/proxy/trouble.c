/* Backends that speak without having been asked: found out, and reuse switched off. In a worker. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "shelf.h"

#define FIRST_STRAYS_MAX 2
/* Later words may be a farewell: some servers say that they close an idle connection. */
#define PROMPT_MS 1000

void upstream_switch_off(struct upstream *u, enum reuse_trouble trouble)
{
    atomic_store_explicit(&u->proxy->sb->slots[u->shelf->slot].reuse_trouble, trouble,
                          memory_order_relaxed);
    u->proxy->upstreams_due_ms = 0; /* idle ones go at the turn's end */
}

bool upstream_spoke_first(const struct upstream *u)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    /* The SYN counts as one byte. Whoever answers has acknowledged what he answers. */
    return getsockopt(u->leg.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           len >= offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked) &&
           info.tcpi_bytes_acked <= 1;
}

/*
 * A greeting that comes before anything was asked is one; where the question has met it on its way,
 * it has passed for the first answer, and what comes behind is the true one. So strays on first
 * uses are told from a backend's slips by there never being a second use.
 */
void upstream_strayed(struct upstream *u, size_t n)
{
    struct shelf *shelf = u->shelf;
    scoreboard_bump(&upstream_cell(u->proxy, shelf->row)->stray_bytes, n);
    bool is_prompt = u->state == UPSTREAM_LENT || u->proxy->now_ms - u->idle_ms < PROMPT_MS;
    shelf->n_first_strays += u->uses <= 1 && is_prompt;
    if (u->is_ahead || (!shelf->has_proven && shelf->n_first_strays >= FIRST_STRAYS_MAX)) {
        upstream_switch_off(u, REUSE_SPEAKS_FIRST);
    }
}
