/*
 * What a client of Redis has made of its connection: who it is, which protocol and database it
 * speaks of, its names. Upstreams on which the same was done serve all clients that did it.
 * In workers, one per session that has such a handshake; pure.
 *
 * A map with one place for each kind of command, in which the last one to succeed stays, as the
 * client sent it. Its commands one behind the other, in an order fit to be replayed, are the key.
 * Each sets something of its own, so that running one twice is as good as once.
 */
#ifndef SLUICE_FRAME_RESP_HANDSHAKE_H
#define SLUICE_FRAME_RESP_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "framer.h"

struct resp_handshake;

/* Works out what a command, a complete request that is not inline, would make of the map.
 * *handshake may be NULL and is then allocated. False: the command is no part of a handshake, or
 * one that cannot be replayed, or too long, or memory is short; nothing is changed. */
bool resp_handshake_propose(struct resp_handshake **handshake, const unsigned char *command,
                            size_t n);
/* The command that was proposed last has succeeded. */
void resp_handshake_accept(struct resp_handshake *handshake);

/* Valid until the next proposal, resp_handshake_key() also until the one after it is accepted. NULL
 * has an empty key. */
struct framing_bytes resp_handshake_key(const struct resp_handshake *handshake);
/* The key once the command proposed last is accepted. */
struct framing_bytes resp_handshake_next_key(const struct resp_handshake *handshake);
/* How many commands make up the key. */
unsigned resp_handshake_commands(const struct resp_handshake *handshake);

/* NULL is fine. Passwords are wiped. */
void resp_handshake_free(struct resp_handshake *handshake);

#endif
