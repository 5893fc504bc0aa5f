/*
 * One client of the control socket, and what clients share. Only for server.c and client.c.
 */
#ifndef SLUICE_CTL_CLIENT_H
#define SLUICE_CTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "ctl/auth.h"
#include "ctl/request.h"
#include "ctl/server.h"

/*
 *              bytes           line end             reply
 *   ┌────────► IDLE ──► PARTIAL ──► BUSY (its request runs) ──► WRITING ──┐
 *   │            │         │                                      │       │ all taken
 *   │            └─────────┴── line refused ──────────────────────┘       │
 *   └─────────────────────────────────────────────────────────────────────┘
 *   Any state ──► DEAD. IDLE ──► BUSY when the whole line was there.
 */
enum client_state {
    CLIENT_IDLE,
    CLIENT_PARTIAL,
    CLIENT_BUSY,
    CLIENT_WRITING,
    CLIENT_DEAD, /* descriptor closed; freed at the end of the loop's turn */
    CLIENT_STATE_COUNT
};

struct client;
TAILQ_HEAD(client_list, client);

struct ctl_server {
    struct event_base *base;
    struct ctl_host host;
    struct ctl_limits limits;
    struct auth *auth;
    int listen_fd;
    struct event *accept_event;
    struct event *resume_timer; /* accepting is paused until then */
    struct event *reap_timer;
    bool accept_failing; /* told once */
    struct client_list clients, dead;
    size_t n_clients;
    LIST_HEAD(, request) requests; /* under way, also those whose client is gone */
    size_t pending_bytes;
    /* Refusals that become events are rationed, so that nobody can flush the ring with them. */
    uint64_t refusals_left, refusals_filled_ms, refusals_untold;
};

struct client {
    TAILQ_ENTRY(client) link;
    struct ctl_server *server;
    enum client_state state;
    uint64_t entered_ms; /* the state */
    uint64_t since_ms;   /* the same, or its last progress in WRITING */
    int fd;
    struct event *read_event, *write_event, *timer;
    bool ended;   /* it sends nothing more */
    bool closing; /* once the reply is taken */
    bool pumping;
    bool kicked; /* lines are left for the next turn */
    /* in[in_start .. in_end) is unread, without a newline before in_scanned. Grows up to one line.
     */
    char *in;
    size_t in_cap, in_start, in_scanned, in_end;
    struct str out;
    size_t out_sent;
    struct request *request; /* in BUSY */
    struct auth_peer peer;
    char who_text[96];
};

/* Takes fd over, also on failure. Returns 0 or -errno. */
int client_create(struct ctl_server *server, int fd);
/* Closes at once; the memory is freed by the server at the end of the loop's turn. */
void client_close(struct client *client);
void client_free(struct client *client);
/* How long the client has kept its place without using it: 0 while its request runs, and while it
 * takes its reply in reasonable time. */
uint64_t client_spare_ms(const struct client *client, uint64_t now_ms);

/* server.c: a place is free, memory is to be freed. */
void server_note_closed(struct ctl_server *server, struct client *client);
/* server.c: closes the most stalled clients while too much output waits. */
void server_bound_pending(struct ctl_server *server, const struct client *except);
/* server.c: log and event of a request that was denied or failed. */
void server_note_outcome(struct ctl_server *server, const struct request *request);

#endif
