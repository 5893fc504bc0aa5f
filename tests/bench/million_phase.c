/*
 * bench_million_peer: phases. So many clients are under way at once that Sluice always has work,
 * and so few that no queue of the kernel overflows. Prints a line of JSON twice a second.
 */
#include <inttypes.h>
#include <stdio.h>

#include "million_peer.h"

#define SHOW_MS    500
#define LOOK_MS    100 /* between two looks for what is to be sent again */
#define BURST      64  /* clients that begin before what came is read */
#define PLACE_NONE UINT32_MAX

static const struct {
    const char *name;
    void (*act)(struct peer *peer, uint32_t number);
} kinds[] = {
    [PHASE_NONE] = {"none", NULL},
    [PHASE_OPEN] = {"open", client_open},
    [PHASE_ASK] = {"ask", client_ask},
    [PHASE_CLOSE] = {"close", client_close},
};

void phase_begin(struct peer *peer, enum phase_kind kind, uint32_t count)
{
    peer->phase = (struct phase){
        .kind = kind,
        .total = count,
        .begun_ms = peer->now_ms,
        .shown_ms = peer->now_ms,
        .resent_ms = peer->now_ms,
        .moved_ms = peer->now_ms,
    };
}

/* Those that take part lie evenly among all. */
static uint32_t number_at(const struct peer *peer, uint32_t place)
{
    return (uint32_t)((uint64_t)place * peer->options.connections / peer->phase.total);
}

void phase_print(const struct peer *peer, const char *event)
{
    printf("{\"event\":\"%s\",\"phase\":\"%s\",\"ms\":%" PRIu64 ",\"total\":%" PRIu32
           ",\"begun\":%" PRIu32 ",\"under_way\":%" PRIu64,
           event, kinds[peer->phase.kind].name, peer->now_ms - peer->phase.begun_ms,
           peer->phase.total, peer->phase.next, peer->under_way);
#define X(name) printf(",\"" #name "\":%" PRIu64, peer->counters.name);
    PEER_COUNTERS(X)
#undef X
    puts("}");
    fflush(stdout);
}

/* Clients that Sluice has yet to do something for. An open one counts until its backend was
 * connected to: before that it stands in Sluice's queue. */
static uint64_t count_under_way(const struct peer *peer)
{
    const struct counters *counters = &peer->counters;
    uint64_t begun = peer->phase.next, served = counters->backends_seen + counters->clients_failed;
    if (peer->phase.kind == PHASE_OPEN && begun > served && begun - served > peer->under_way)
        return begun - served;
    return peer->under_way;
}

static bool begin_some(struct peer *peer)
{
    struct phase *phase = &peer->phase;
    uint32_t n = 0;

    for (; n < BURST && phase->next < phase->total; n++) {
        if (count_under_way(peer) >= peer->options.window)
            break;
        kinds[phase->kind].act(peer, number_at(peer, phase->next));
        phase->next++;
    }
    return n > 0;
}

static void resend_due(struct peer *peer)
{
    struct phase *phase = &peer->phase;
    uint32_t oldest = PLACE_NONE;

    for (uint32_t place = phase->oldest; place < phase->next; place++) {
        uint32_t number = number_at(peer, place);
        if (!client_waits(&peer->clients[number]))
            continue;
        if (oldest == PLACE_NONE)
            oldest = place;
        client_resend(peer, number);
    }
    phase->oldest = oldest == PLACE_NONE ? phase->next : oldest;
    phase->resent_ms = peer->now_ms;
    if (peer->under_way == 0 && peer->now_ms - phase->moved_ms >= RESEND_MS &&
        peer->now_ms - phase->probed_ms >= RESEND_MS) {
        phase->probed_ms = peer->now_ms;
        backends_probe(peer);
    }
}

/* Whether both ends of each connection are where the phase takes them. Of clients that failed the
 * backend may never have known. */
static bool is_done(const struct peer *peer)
{
    const struct counters *counters = &peer->counters;
    uint64_t failed = counters->clients_failed, total = peer->phase.total;

    if (peer->phase.next < total || peer->under_way > 0)
        return false;
    if (peer->phase.kind == PHASE_OPEN)
        return counters->backends_opened + failed >= total;
    return peer->phase.kind != PHASE_CLOSE || counters->backends_closed + failed >= total;
}

static uint64_t count_moves(const struct counters *counters)
{
    return counters->clients_opened + counters->clients_answered + counters->clients_closed +
           counters->clients_failed + counters->backends_seen + counters->backends_opened +
           counters->backends_closed;
}

static void finish(struct peer *peer, const char *event)
{
    phase_print(peer, event);
    peer->phase.kind = PHASE_NONE;
}

bool phase_step(struct peer *peer)
{
    struct phase *phase = &peer->phase;
    if (phase->kind == PHASE_NONE)
        return false;
    bool has_begun = begin_some(peer);
    uint64_t moves = count_moves(&peer->counters);

    if (moves != phase->moves) {
        phase->moves = moves;
        phase->moved_ms = peer->now_ms;
    }
    if (peer->now_ms - phase->resent_ms >= LOOK_MS)
        resend_due(peer);
    if (is_done(peer)) {
        finish(peer, "done");
    } else if (peer->now_ms - phase->moved_ms >= STALL_MS) {
        finish(peer, "stalled");
    } else if (peer->now_ms - phase->shown_ms >= SHOW_MS) {
        phase->shown_ms = peer->now_ms;
        phase_print(peer, "progress");
    }
    return has_begun;
}
