/* Backends that speak without having been asked: found out, and reuse switched off. In a worker. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "shelf.h"

#define FIRST_STRAYS_MAX 2
#define ESTABLISHED      1 /* the kernel's TCP_ESTABLISHED; netinet/tcp.h has it, but lacks more */
/* Later words may be a farewell: some servers say that they close an idle connection. */
#define PROMPT_MS 1000
#define LISTEN_MS 1000 /* for a greeting, and for an end behind it */
/* Without opening any ahead to a backend that turned one away, or that closed one that was hardly
 * open. */
#define TURNED_AWAY_MS 5000
#define CLOSED_MS      1000
#define HARDLY_MS      200
#define LOOK_BYTES     4096
#define LOOKS_MAX      16

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
    /* The SYN counts as one byte. Whoever answers has acknowledged what he answers. Who has closed
     * behind his words has turned us away. */
    return getsockopt(u->leg.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state == ESTABLISHED &&
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
    scoreboard_add(&upstream_row(u->proxy, shelf->row)->stray_bytes, n);
    bool is_prompt = u->state == UPSTREAM_LENT || u->proxy->now_ms - u->idle_ms < PROMPT_MS;
    shelf->n_first_strays += u->uses <= 1 && is_prompt;
    if (!shelf->has_proven && shelf->n_first_strays >= FIRST_STRAYS_MAX) {
        upstream_switch_off(u, REUSE_SPEAKS_FIRST);
    }
}

void upstream_note_stray(struct upstream *u)
{
    unsigned char bytes[LOOK_BYTES];
    ssize_t n = recv(u->leg.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0) {
        upstream_strayed(u, (size_t)n);
    }
}

uint32_t shelf_listen_ms(const struct proxy *proxy, const struct shelf *shelf)
{
    uint32_t half_ms = shelf_pool(proxy, shelf)->reuse.idle_max_ms / 2; /* before it is closed */
    return half_ms != 0 && half_ms < LISTEN_MS ? half_ms : LISTEN_MS;
}

void upstream_ahead_ended(struct upstream *u)
{
    uint64_t now_ms = u->proxy->now_ms, until_ms = u->shelf->open_again_ms;
    bool was_turned_away = u->has_spoken;
    if (was_turned_away) {
        until_ms = now_ms + TURNED_AWAY_MS;
    } else if (now_ms - u->idle_ms < HARDLY_MS && until_ms < now_ms + CLOSED_MS) {
        until_ms = now_ms + CLOSED_MS;
    }
    u->shelf->open_again_ms = until_ms;
    upstream_drop(u, was_turned_away ? DISCARD_TURNED_AWAY : DISCARD_BACKEND_CLOSED, true);
}

/*
 * One that was opened ahead has greeted, or is turned away: servers that are full say so and close.
 * What tells the two apart is the end, which may come a moment later. Until then it is as good as
 * still being opened.
 */
void upstream_ahead_spoke(struct upstream *u)
{
    unsigned char bytes[LOOK_BYTES];
    ssize_t n = 1;
    for (int i = 0; n > 0 && i < LOOKS_MAX; i++) {
        n = recv(u->leg.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n > 0) {
            scoreboard_add(&upstream_row(u->proxy, u->shelf->row)->stray_bytes, (uint64_t)n);
            u->has_spoken = true;
        }
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        upstream_ahead_ended(u);
        return;
    }
    if (u->state == UPSTREAM_IDLE) {
        upstream_unlist(u);
        u->state = UPSTREAM_OPENING;
        u->idle_ms = u->proxy->now_ms;
        TAILQ_INSERT_TAIL(&u->shelf->opening, u, link);
        u->shelf->n_opening++;
    }
}

void upstream_listen_on(struct upstream *u)
{
    if (u->proxy->now_ms - u->idle_ms >= shelf_listen_ms(u->proxy, u->shelf)) {
        upstream_switch_off(u, REUSE_SPEAKS_FIRST);
        upstream_drop(u, DISCARD_STRAY_BYTES, false);
    }
}
