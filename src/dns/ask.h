/*
 * One question to the name servers of resolv.conf, in turn, until one of them has answered: by UDP
 * from a socket and port of its own with an id by chance, by TCP where the answer is cut short. On
 * an event loop.
 */
#ifndef SLUICE_DNS_ASK_H
#define SLUICE_DNS_ASK_H

#include <event2/event.h>
#include <stdint.h>

#include "files.h"
#include "message.h"

/* So many questions are on their way at once; others wait for their turn. */
#define DNS_ASKS_MAX 128

struct dns_asker;
struct dns_ask;

/* reply is NULL unless outcome is DNS_OK, and is gone afterwards; so is the ask already. */
typedef void dns_ask_fn(void *arg, enum dns_outcome outcome, const struct dns_reply *reply);

/* base and files outlive it. NULL without memory. */
struct dns_asker *dns_asker_create(struct event_base *base, const struct dns_files *files);
/* All asks have ended or been cancelled before. NULL is allowed. */
void dns_asker_destroy(struct dns_asker *asker);
/* Asks, for about limit_ms once it is on its way. done is called once, from the loop, never before
 * the return. NULL: the name cannot be asked for, or there is no memory. */
struct dns_ask *dns_ask_start(struct dns_asker *asker, const char *name, enum dns_type type,
                              uint32_t limit_ms, dns_ask_fn *done, void *arg);
/* Gives up without calling done. NULL is allowed. */
void dns_ask_cancel(struct dns_ask *ask);

#endif
