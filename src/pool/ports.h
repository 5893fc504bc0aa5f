/*
 * Ports that connections to backends use, counted by pair: an address that they come from and one
 * that they go to. Each pair has every port of the kernel's range once; other pairs have the same
 * ports again. Exact but for two things: what a worker that died was just then counting (at most
 * one port each time), and ports that others than workers use: other programs, checks, and
 * connections that were closed and wait in TIME_WAIT. For those there is ports_fail().
 *
 * Workers take and give; master takes out what a dead one had.
 */
#ifndef SLUICE_POOL_PORTS_H
#define SLUICE_POOL_PORTS_H

#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

/*
 * How many ports of a pair may be in use, so that connect() finds one soon. Measured on Linux 6.18
 * with a range of 18,000 ports, of which connections are closed and opened at random; median of
 * connect(), in microseconds:
 *
 *   ports in use             10 %   45 %   50 %   60 %   90 %   96 %   98 %   99 %   100 %
 *   without the option        4.1    4.4    254    323    484    485    496    522     780
 *   IP_LOCAL_PORT_RANGE       4.4    4.4    4.5    4.6    5.1    5.5    6.1    7.8     669
 *
 * The kernel looks at every other port first (net/ipv4/inet_hashtables.c, __inet_hash_connect). So
 * from half of them on it walks over all of those in vain each time, at 50 ns a port, unless the
 * socket has a range of its own: then it looks at all in turn, from where it last was. A connect()
 * that finds none takes 1.2 ms at best. So the last 32nd is left alone.
 */
#define PORTS_LEFT_OF 32
/* From here on sockets are given the range, one system call more: well before the half. */
#define PORTS_EASY(ports) ((ports)*3 / 8)

static inline uint32_t ports_limit(uint32_t ports)
{
    return ports - ports / PORTS_LEFT_OF;
}

/* Takes a port of the pair; false: limit of them are in use. limit 0: none. Pair 0: always true. */
bool ports_take(struct scoreboard *sb, uint32_t worker, uint32_t pair, uint32_t limit);
/* Gives it back; of pair 0, or one of which the worker has none, nothing. */
void ports_give(struct scoreboard *sb, uint32_t worker, uint32_t pair);
/*
 * Connecting from the pair's address failed: nobody asks again for a second, which doubles each
 * time in a row, to four where there was no port (they come back any moment, but finding none costs
 * a millisecond), to a minute where the address is absent.
 */
void ports_fail(struct scoreboard *sb, uint32_t pair, enum sb_pair_trouble trouble, int error,
                uint64_t now_ms);
/* It succeeded: the next failure is the first in a row. */
void ports_succeed(struct scoreboard *sb, uint32_t pair);
/* What the last attempt met. */
enum sb_pair_trouble ports_trouble(const struct scoreboard *sb, uint32_t pair);
/* Whether the kernel had no port of it at last although, as we count, there are some: others have
 * them. (When the kernel's range gets narrower, it finds none before we know.) */
bool ports_are_others(const struct scoreboard *sb, uint32_t pair);
bool ports_is_shut(const struct scoreboard *sb, uint32_t pair, uint64_t now_ms);
uint32_t ports_used(const struct scoreboard *sb, uint32_t pair);
/* Whether a port of the pair may be asked for now, of which limit may be in use; 0: not known. Pair
 * 0: always true. */
bool ports_may_be_asked(const struct scoreboard *sb, uint32_t pair, uint32_t limit,
                        uint64_t now_ms);
/* Whether nobody can connect from any of these n sources now; without sources there is no need. */
bool ports_are_out(const struct scoreboard *sb, const struct snapshot_source *sources, uint32_t n,
                   uint64_t now_ms);
/* After worker is known to be dead: what it had is given back. Master only; again is harmless. */
void ports_take_out(struct scoreboard *sb, uint32_t worker);

#endif
