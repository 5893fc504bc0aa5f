/*
 * What master, workers and monitor say to each other over their socketpairs (SOCK_SEQPACKET, so a
 * message is whole), and how. A message is a struct message, cut after what its type uses;
 * descriptors ride along. Both ends are of the same build.
 */
#ifndef SLUICE_PROC_MESSAGE_H
#define SLUICE_PROC_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "dns/look.h"
#include "sluice/explanation.h"
#include "sluice/limits.h"
#include "sluice/scoreboard.h"
#include "sluice/session_info.h"

enum message_type {
    /* master → worker, monitor */
    MESSAGE_SNAPSHOT = 1, /* number: generation; one descriptor, the memfd */
    MESSAGE_LISTENER,     /* number: listener id; one descriptor */
    MESSAGE_DRAIN,        /* deadline_ms; workers stop accepting, monitor ends */
    MESSAGE_LIST,         /* list: what to list */
    MESSAGE_CLOSE,        /* number: of the command; close: which sessions to close */
    MESSAGE_LOG,          /* log: settings; perhaps one descriptor, the new sink */
    MESSAGE_EXPLAIN,      /* number: of the question; question */
    MESSAGE_NOTIFY,       /* number: of the notice; notify: a program to run; to the monitor */
    MESSAGE_PAGE_MADE, /* number: enum status_page; the page in a file, or none; to the monitor */
    MESSAGE_NAMES,     /* one descriptor: the names to watch, each with its NUL; to the monitor */
    MESSAGE_STATUS, /* one descriptor: what the status address is served on, or none; to the monitor
                     */
    /* worker, monitor → master */
    MESSAGE_RESYNC,      /* something could not be taken: send all of it again */
    MESSAGE_READY,       /* number: the generation it works with now */
    MESSAGE_SESSIONS,    /* sessions: one page */
    MESSAGE_CLOSING,     /* number: of the command; closing: what is going to be closed */
    MESSAGE_HEALTH,      /* health: one transition, one ejection, or what checks ask for */
    MESSAGE_NOTIFIED,    /* number: of the notice, whose program has ended or cannot be run */
    MESSAGE_LOST,        /* number: how many MESSAGE_HEALTH could not be sent */
    MESSAGE_EXPLANATION, /* number: of the question; explanation */
    MESSAGE_PAGE_WANTED, /* number: enum status_page; from the monitor */
    MESSAGE_NAME,        /* name: what a look-up has come to, where that is news */
};

#define MESSAGE_PAGE 500 /* sessions in one message */

struct message_list {
    struct session_filter filter;
    uint64_t after_id; /* only younger ones; 0: from the oldest */
};

struct message_sessions {
    uint32_t count;
    uint32_t pad;
    struct session_info items[MESSAGE_PAGE];
};

struct message_health {
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX];
    uint32_t news;     /* enum check_news */
    uint32_t from, to; /* enum sb_health; of CHECK_NEWS_ASKED enum admin_state */
    uint32_t pad;
    uint64_t lasted_ms;     /* how long it was from; 0: not known */
    uint64_t next_check_ms; /* until the next check; 0: not known */
    char reason[SB_REASON_MAX];
};

#define NOTIFY_ADDRESS_MAX 320

/* What the notify program of a pool is told. Texts that do not apply are "". */
struct message_notify {
    uint64_t wall_ms; /* when it happened */
    char program[NOTIFY_PROGRAM_MAX];
    char event[16]; /* "up", "pool_lost", …: see notify.h */
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX];
    char address[NOTIFY_ADDRESS_MAX]; /* the backend's, as written */
    char from[16], to[16];
    char reason[SB_REASON_MAX];
};

#define MESSAGE_NAME_MAX 272 /* "srv:" and a name, with NUL */

struct message_name {
    char name[MESSAGE_NAME_MAX];
    struct dns_result result; /* cut after its answers */
};

struct message_log {
    uint32_t format, level; /* enums of base/log.h */
    uint32_t target;        /* of the descriptor that goes with it */
};

struct message {
    uint32_t type;
    uint32_t number;
    union {
        uint64_t deadline_ms;
        struct message_list list;
        struct message_sessions sessions;
        struct session_close close;
        struct session_closing closing;
        struct message_health health;
        struct message_notify notify;
        struct message_name name;
        struct message_log log;
        struct explanation_question question;
        struct explanation explanation;
    };
};

#define MESSAGE_HEAD_BYTES offsetof(struct message, deadline_ms)

_Static_assert(sizeof(struct message) <= 64 * 1024, "a message must pass in one piece");

/* How much of message its type uses; 0: it is not well-formed. */
size_t message_bytes(const struct message *message);
/* Sends what message->type uses of message, never waiting. fd -1: none. Returns 0, -EAGAIN or
 * -errno. */
int message_send(int socket, const struct message *message, int fd);
/*
 * Receives one into *out. Returns 1; 0 when the other end is gone; -EAGAIN when there is none;
 * other -errno, also -EPROTO for one that is not well-formed. *out_fd is the caller's, -1: none.
 */
int message_receive(int socket, struct message *out, int *out_fd);
/* Does what a MESSAGE_LOG says to this process's log. fd (-1: none) is owned from now on. */
void message_take_log(const struct message *message, int fd);

#endif
