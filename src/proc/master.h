/*
 * Master's record, shared by the files of src/proc that act on it. In master only.
 */
#ifndef SLUICE_PROC_MASTER_H
#define SLUICE_PROC_MASTER_H

#include <event2/event.h>
#include <sys/queue.h>

#include "capacity.h"
#include "configs.h"
#include "ctl/host.h"
#include "ctl/server.h"
#include "ctl/standing.h"
#include "inherited.h"
#include "journal.h"
#include "listeners.h"
#include "machine.h"
#include "message.h"
#include "model/override.h"
#include "model/pairs.h"
#include "model/registry.h"
#include "privileges.h"
#include "state_file.h"

/* How long names may take to resolve, and a whole configuration to be read. */
#define RESOLVE_MS 3000
/* A start may look up twice: what the file names, then what was added by command before. */
#define RESOLVE_FILE_MS  2000
#define RESOLVE_ADDED_MS (RESOLVE_MS - RESOLVE_FILE_MS)
#define LOAD_MS          20000

struct master;

/* A worker or the monitor, over all the processes that take its part one after the other. */
struct child {
    struct master *master;
    uint32_t id; /* of the worker; n_workers for the monitor */
    pid_t pid;   /* 0: none just now */
    int channel; /* -1: none */
    int account; /* of its memory: memory_open() */
    struct event *readable, *writable, *respawn;
    uint32_t sent_generation;  /* what this process was given so far … */
    uint32_t next_listener;    /* … every listener with a smaller id */
    uint32_t sent_names;       /* to the monitor: turn of that list; 0: none */
    uint32_t ready_generation; /* what this process said it works with; 0: nothing yet */
    bool drain_sent;
    bool has_status; /* the monitor: serves the status address */
    bool log_sent;
    uint64_t started_ms;
    bool is_doubted; /* watchdog.c: no heartbeat for a while; it had used so much CPU then */
    uint64_t doubted_cpu_ms;
    uint32_t quick_deaths; /* in a row: for the back-off */
};

struct succession;     /* succession.c: what came from whoever was before */
struct upgrade;        /* upgrade.c: handing over */
struct systemd;        /* systemd.c */
struct load_job;       /* load.c: a file being read */
struct backends_files; /* backends_file.c */
struct edit;           /* edit.c: a change by command under way */
struct ack;            /* acks.c: someone waits for a generation to be in force */
struct closing;        /* closings.c: a command that workers are being told */
struct listing;        /* sessions.c: a collection of session lists under way */
struct inquiry;        /* explain.c: a question to a worker under way */
struct drain;          /* drains.c: a backend that loses its sessions */
struct notice;         /* notices.c */
TAILQ_HEAD(load_jobs, load_job);
TAILQ_HEAD(edits, edit);
TAILQ_HEAD(listings, listing);
TAILQ_HEAD(closings, closing);
TAILQ_HEAD(acks, ack);
TAILQ_HEAD(drain_list, drain);
LIST_HEAD(inquiries, inquiry); /* zeroed is empty */
TAILQ_HEAD(notice_list, notice);

/* notices.c: for the monitor, which runs programs for them */
struct notices {
    struct notice_list pools, backends; /* wait: of pools as such, and of their backends */
    struct notice_list sent;            /* their programs have not ended, as far as is known */
    uint32_t count, n_sent;             /* count: all of them */
    uint32_t last_number;
    uint64_t dropped;    /* so far */
    uint32_t untold;     /* of those, not in the log yet */
    uint64_t told_at_ms; /* 0: never */
};

/* drains.c */
struct drains {
    struct drain_list list;
    struct drain *by_slot[SB_SLOTS_MAX];
    struct event *timer;
    /* What the publish that follows is about: drains_expect(). */
    const struct overrides *overrides;
    const char *by;
    bool has_within;
    uint64_t within_ms;
};

struct name_trouble;
LIST_HEAD(name_troubles, name_trouble);

/* names.c: what the monitor says of names */
struct name_news {
    struct names pending;          /* heard, and not in force yet */
    struct name_troubles troubles; /* zeroed is empty */
    struct event *timer;           /* until what is pending comes into force */
    uint64_t rebuilt_ms;           /* 0: never */
    uint64_t logged_ms;
    uint32_t unlogged;
    uint32_t turn;   /* of the list; 0: there is none yet */
    struct str list; /* names that the monitor watches, each with its NUL … */
    int list_fd;     /* … and in a memfd */
};

/* watchdog.c */
struct watchdog {
    struct event *timer;
    uint64_t turn_ms;        /* of the last turn */
    uint64_t grace_until_ms; /* master was late: nobody is judged before */
    pid_t judged;            /* aborted, not reaped yet; 0: none */
    uint64_t judged_ms;
};

/* pools.c: how a pool, and which pool a service used, at the last look. Kept by scoreboard row; a
 * row may be given to another name, so the name and the generation of that look are kept too. */
struct watched {
    char name[NAME_BYTES_MAX];
    uint32_t generation; /* 0: never looked at */
    bool unsettled;      /* of a pool: health was not known yet, and nothing was told so far */
    bool lost, backups_used, panic;
    bool uses_fallback; /* of a service */
};

/* health.c: what is answered of a service. Kept as struct watched is. */
struct service_health {
    char name[NAME_BYTES_MAX];
    uint32_t generation;       /* 0: never looked at */
    enum standing_health seen; /* at the last look … */
    uint64_t since_ms;         /* … and at every look since */
    bool decided;              /* it was not pending at every look so far */
    bool healthy;              /* the answer */
};

struct health_answers {
    struct service_health services[SERVICES_MAX]; /* by scoreboard row */
    uint32_t generation, epoch;                   /* of the last look; 0 before the first */
    bool healthy;                                 /* of the whole: what the last event says */
    char said_by[256];                            /* who set health=fail, and why */
};

/* reuse.c: what was told of reuse that does not happen. Of a pool, kept as struct watched is. */
#define REUSE_SAMPLES 11 /* one a second, over 10 s */

struct reuse_sample {
    uint64_t at_ms;
    uint64_t framed, pinned; /* sessions, as in struct sb_pool */
};

struct reuse_pool {
    char name[NAME_BYTES_MAX];
    uint32_t generation; /* 0: never looked at */
    uint32_t anew;       /* generation with other settings, which not everyone had yet; 0: none */
    uint64_t settings;   /* as in struct snapshot_reuse */
    struct reuse_sample samples[REUSE_SAMPLES];
    uint32_t n_samples; /* that were ever taken */
    bool is_told;       /* that most of its sessions own */
};

struct reuse_backend {
    uint32_t generation;
    uint32_t told_slot; /* + 1, of which trouble was told; 0: of none */
};

struct reuse_watch {
    struct reuse_pool pools[POOLS_MAX];          /* by scoreboard row … */
    struct reuse_backend backends[BACKENDS_MAX]; /* … and likewise */
    uint64_t sampled_ms;
};

/* ports.c: what was told of ports that ran out, by scoreboard row */
struct ports_watch {
    uint64_t seen[BACKENDS_MAX];           /* of a backend's row: ports_out at the last look */
    uint64_t told_at_ms[POOLS_MAX];        /* 0: never */
    uint32_t absent_told[POOLS_MAX];       /* addresses that cannot be used, as told … */
    uint64_t absent_told_at_ms[POOLS_MAX]; /* … and when; 0: never */
    uint32_t sources_turned;               /* in the scoreboard, when all was told */
};

/* load.c: how reloads went */
struct reloads {
    uint64_t count, failures;
    uint64_t wall_ms; /* end of the last one; 0: there was none */
    bool failed;      /* the last one */
};

struct master {
    const char *config_file; /* absolute */
    const char *program;     /* likewise: what an upgrade runs */
    struct event_base *base;
    struct scoreboard sb;
    struct conf_tree *tree; /* the file as it was read last, without the operator's overrides … */
    struct names names;     /* … what names stand for … */
    struct overrides overrides;
    struct model *model; /* … and the running model, of all three; never NULL once started */
    struct registry *registry;
    struct pairs *pairs;
    struct listeners *listeners;
    struct privileges privileges;
    uint32_t n_workers;
    struct child *children;                /* n_workers workers, then the monitor */
    int *wakes;                            /* a worker's eventfd each, then the monitor's */
    int snapshot;                          /* the running generation's memfd … */
    const struct snapshot_header *running; /* … and the same mapped; NULL before the first */
    uint64_t hash_seed;                    /* where the file gives none */
    struct state_file state_file;          /* restore.c */
    struct configs configs;                /* configs.c */
    struct journal journal;                /* of events */
    uint32_t last_generation;              /* of the daemon before this one; 0: not known */
    uint32_t connections_limit;            /* in force, also where the file says "auto" */
    struct machine machine;                /* as last looked at */
    struct capacity capacity;              /* of it, for the running model */
    struct events *events;
    struct ctl_server *control;
    struct succession *succession;
    struct upgrade *upgrade; /* NULL before the first */
    struct systemd *systemd;
    struct event *feeding; /* of the supervisor's watchdog */
    int status_fd;         /* status.c; -1: there is none */
    struct addr status_address;
    char status_text[ADDR_TEXT_MAX]; /* "": off */
    struct event *signals[6];
    struct event *sweep;                   /* of retired places */
    struct event *hurry;                   /* the end of waiting for an end at once */
    struct event *delay;                   /* the end of stop_delay */
    struct event *expiry;                  /* expiry.c: the next end of what was set for a time */
    struct backends_files *backends_files; /* NULL: no pool has one */
    struct watchdog watchdog;
    bool leaving; /* a stop was asked for; not stopping yet during stop_delay */
    bool stopping;
    uint64_t delay_until_ms; /* while it is leaving */
    uint64_t drain_ms;       /* how long, once it stops */
    uint64_t drain_deadline_ms;
    struct load_jobs loads;
    struct reloads reloads;
    struct edits edits;
    struct listings listings;
    struct closings closings;
    struct acks acks;
    struct drains drains;
    struct inquiries inquiries;
    struct notices notices;
    struct name_news name_news;
    struct watched watched_pools[POOLS_MAX], watched_services[SERVICES_MAX];
    uint32_t watched_epoch; /* of health, at the last pools_watch() */
    bool watch_is_due;      /* pools_watch() will be called by itself */
    struct health_answers health;
    struct reuse_watch reuse;
    struct ports_watch ports;
    uint32_t next_listing;
    uint32_t next_closing;
    uint32_t next_inquiry;
    struct message message; /* scratch */
};

/* --- children.c --- */

/* Starts all. Returns 0 or -errno. */
int children_start(struct master *master);
/* Gives every child what it does not have yet: snapshot, listeners, log, drain. */
void children_sync(struct master *master);
/* Reaps and replaces. */
void children_reap(struct master *master);
void children_kill(struct master *master);
/* Tells everyone the present drain deadline, also who was told another before. */
void children_drain_anew(struct master *master);
bool children_any_worker(const struct master *master);
/* The oldest generation that a living child still works with. */
uint32_t children_oldest_generation(const struct master *master);
/* Of a child: as memory_read() counts. UINT64_MAX: it is none. */
uint64_t children_memory(const struct master *master, pid_t pid);
/* After SIGUSR1 or changed settings: everyone gets the log's settings and sink anew. */
void children_renew_log(struct master *master);

/* --- publish.c --- */

/*
 * Makes model (owned from now on, whatever comes) the running one: places, listeners, snapshot,
 * then everyone is told. Whole or not at all: on failure returns false with errors, and nothing
 * has changed. changes (may be NULL) gets a line for each pool whose clients go elsewhere by hash.
 */
bool publish(struct master *master, struct model *model, struct errlist *errors,
             struct change_list *changes);
/* The same lines for a model that is not to run. Makes what hash tables it does not share with the
 * running one. */
void publish_weigh(const struct master *master, const struct model *model, struct errlist *errors,
                   struct change_list *changes);

/* --- serving.c --- */

/* The one that came along is taken, else it is made. Returns 0 or -errno, which was logged. */
int master_open_control(struct master *master);
void master_announce(struct master *master);

/* --- limits.c --- */

/* As many descriptors as the system lets us have. */
void limits_raise_descriptors(void);
/* Reads what this machine allows, anew; what sessions use up is kept as it was the first time. */
void limits_look(struct master *master, bool is_first);
/* How many connections are the limit with that model (0: none), and by what. */
uint32_t limits_find(const struct master *master, const struct model *model, struct capacity *out);
/* Bytes of buffers for slow peers with that model. */
uint64_t limits_buffers(const struct master *master, const struct model *model);
/* Warns when the file asks for more than the machine can carry. */
void limits_warn(const struct master *master, const struct model *model, struct errlist *errors);
/* What ends the growth first: "max_connections", "descriptors", "ports", "memory", "nothing". */
const char *limits_reason(const struct master *master);
/* Puts into force, and tells, what other settings of the kernel allow. To be called every second.
 */
void limits_watch(struct master *master);

/* --- acks.c --- */

/* behind: how many processes have not taken it over in time. */
typedef void ack_fn(void *arg, uint32_t behind);
/* Calls done once, when every process works with generation or has had its time to; perhaps before
 * the return. */
void acks_await(struct master *master, uint32_t generation, ack_fn *done, void *arg);
/* A process has caught up, or has ended. */
void acks_check(struct master *master);
void acks_end_all(struct master *master);
/* Adds the warning that some are behind, if any are. */
void acks_warn(struct errlist *errors, uint32_t generation, uint32_t behind);

/* --- watchdog.c --- */

/* Returns 0, or -1 without memory. */
int watchdog_start(struct master *master);

/* --- load.c --- */

enum load_kind {
    LOAD_RELOAD,   /* the file comes into force */
    LOAD_CHECK,    /* nothing does */
    LOAD_BACKENDS, /* files of backends do, and nothing else is read */
    LOAD_ROLLBACK, /* a kept configuration does */
    LOAD_RETURN,   /* the same, unless what waits was confirmed meanwhile */
};

struct load_ask { /* copied */
    enum load_kind kind;
    const char *path;     /* of a file … */
    uid_t uid;            /* … as whom it is read */
    uint32_t generation;  /* of a kept one; 0: the one before */
    uint64_t confirm_ms;  /* of a reload: how long it waits to be confirmed; 0: it stands */
    const char *by, *why; /* for events; why may be NULL */
};

/* Reads, builds and resolves; then publishes, or only says what would change. done is called once,
 * from the loop or before the return. */
void load_start(struct master *master, const struct load_ask *ask, ctl_change_fn *done, void *arg);
/* Reads files of backends anew, and nothing else; publishes unless nothing has changed. None may
 * take away the last eligible backend of its pool. */
void load_backends_files(struct master *master, ctl_change_fn *done, void *arg);
void load_cancel_all(struct master *master);

/* --- names.c --- */

/* To be called after each publish: has the monitor watch the names that are asked for now. */
void names_follow(struct master *master);
/* The monitor says what a name has come to. heard may be in master's own message. */
void names_heard(struct master *master, struct message_name *heard);
/* What is wrong with a name, while it does not resolve, and since when; NULL: nothing. */
const char *names_trouble(const struct master *master, const char *name, uint64_t *out_since_ms);
/* Makes the running model anew, with what was heard, and puts it into force. */
void names_rebuild(struct master *master);
void names_end(struct master *master);

/* --- sessions.c --- */

void sessions_start(struct master *master, const struct session_filter *filter,
                    ctl_sessions_fn *done, void *arg);
/* A page came from a worker; or the worker is gone (page NULL). */
void sessions_page(struct master *master, uint32_t worker, uint32_t number,
                   const struct message_sessions *page);
void sessions_worker_gone(struct master *master, uint32_t worker);
void sessions_cancel_all(struct master *master);

/* --- closings.c --- */

/* Has the workers close what is asked. done is called once, perhaps before the return; asked and
 * who stay until then. */
void closings_start(struct master *master, const struct ctl_closing *asked,
                    const struct ctl_who *who, ctl_close_fn *done, void *arg);
/* A worker has begun. */
void closings_answered(struct master *master, uint32_t worker, uint32_t number,
                       const struct session_closing *closing);
void closings_worker_gone(struct master *master, uint32_t worker);
void closings_cancel_all(struct master *master);

/* --- drains.c --- */

/* Before publish(): the overrides that the new model has, who removes what it has no more, and, if
 * that is said, how long its sessions may go on (0: for ever). Not said at all: the present
 * overrides, and "the configuration". All of it stays until publish() returns. */
void drains_expect(struct master *master, const struct overrides *overrides, const char *by,
                   bool has_within, uint64_t within_ms);
/* In publish(), once the new model has its places and the old one is still there. */
void drains_publish(struct master *master, const struct model *old_model,
                    const struct model *new_model);
/* What is due; now and then. */
void drains_work(struct master *master);
/* Has it done from the loop as soon as something is due. */
void drains_renew(struct master *master);
/* Adds how many sessions remain, and until when, of a backend or (NULL) all of a pool's. */
void drains_describe(struct master *master, const char *pool, const char *backend,
                     struct change_list *changes);
bool drains_get(const struct master *master, uint32_t slot, struct ctl_drain *out);
void drains_end(struct master *master);

/* --- explain.c --- */

/* Asks a running worker. done is called once, perhaps before the return. */
void explain_start(struct master *master, const struct explanation_question *question,
                   ctl_explain_fn *done, void *arg);
/* An answer came from a worker. */
void explain_answered(struct master *master, uint32_t worker, uint32_t number,
                      const struct explanation *explanation);
void explain_worker_gone(struct master *master, uint32_t worker);
void explain_cancel_all(struct master *master);

/* --- pools.c --- */

/* Tells of every pool that was lost or restored, of backups and fallback pools that came into use
 * or are no longer, of panic. To be called after each publish … */
void pools_watch(struct master *master);
/* … and this after each change of health: the same in a moment, so that many changes at once cost
 * one look. */
void pools_watch_soon(struct master *master);

/* To be called now and then: looks again if anything has changed that nobody reported, and lets
 * time pass for health answers and reuse. */
void pools_sweep(struct master *master);
/* The monitor says that a backend's health has changed, or an ejection: for notify programs. health
 * is well-formed, and may be in master's own message. */
void pools_notify_health(struct master *master, const struct message_health *health);

/* --- health.c --- */

/* Looks at all services, and tells of every answer that has changed. */
void health_watch(struct master *master, uint64_t now_ms);
/* The answer of that moment, of a service or (NULL) of the whole daemon. */
void health_answer(struct master *master, const struct model_service *service, uint64_t now_ms,
                   struct ctl_health *out);
/* The operator's word. Returns whether it changed anything. */
bool health_set_fail(struct master *master, bool fail, const struct ctl_who *who, uint64_t now_ms);

/* --- reuse.c --- */

/* Tells of every backend whose reuse has switched itself off, and of pools most of whose sessions
 * come to own their upstream. To be called after each publish, and every second. */
void reuse_watch(struct master *master, uint64_t now_ms);

/* --- ports.c --- */

/* Lets workers know what ports the kernel chooses from, as last looked at. */
void ports_tell(struct master *master);
/* Tells of pools to whose backends sessions could not be connected for want of a port, and of
 * source addresses that cannot be used. To be called every second. */
void ports_watch(struct master *master, uint64_t now_ms);

/* --- status.c --- */

/* Opens the status address, if the file has one. 0 or -errno, which is in the log. */
int status_open(struct master *master);
void status_close(struct master *master);
/* A sealed file with that page (enum status_page) as of this moment; -1: it cannot be made. */
int status_make_page(struct master *master, uint32_t page);

/* --- notices.c --- */

void notices_init(struct master *master);
/* Has pool's notify program run with these facts, if it has one; the rest is filled in. Copied. */
void notices_add(struct master *master, const char *pool, const struct message_notify *facts);
/* Sends what waits while the monitor has places and its channel takes it. Returns 0, -EAGAIN or
 * -errno. */
int notices_send(struct master *master);
/* The monitor says: the program for that notice has ended, or cannot be run. */
void notices_done(struct master *master, uint32_t number);
/* The monitor is gone, and so are the programs that it ran: the next one runs them again. */
void notices_recall(struct master *master);
/* To be called every second: lets the log know of what was dropped. */
void notices_sweep(struct master *master);
/* At the end. */
void notices_drop_all(struct master *master);

/* --- host.c --- */

extern const struct ctl_host_ops master_host_ops;

/* --- master.c --- */

/* Begins the orderly stop: health answers say no for stop_delay, then the drain begins. A second
 * call ends at once. */
void master_stop(struct master *master, uint64_t drain_ms, const char *by, const char *why);
/* The second of two orders to stop, or one that leaves no time. */
void master_stop_now(struct master *master, const char *by);
/* Everyone resets its sessions and ends; who does not at once is killed. */
void master_end_now(struct master *master);
/* No new clients; sessions may go on for drain_ms, UINT64_MAX: without limit. */
void master_drain(struct master *master, uint64_t drain_ms, const char *by);
/* A drain is to be over within ms. */
void master_hasten(struct master *master, uint64_t ms);
/* Ends the loop of a daemon that stops, once nobody is left to be waited for. */
void master_leave_when_empty(struct master *master);
void master_event(struct master *master, const char *kind, const char *pool, const char *backend,
                  const char *by, const char *why, const char *text);
/* The running model's global section may differ from the last one: log, control socket. */
void master_settings_changed(struct master *master);
/* Runs the daemon with a model that is built, the tree and the names that it was built from, and
 * what came with the process (all owned from now on). program: what an upgrade runs. Returns the
 * exit status. */
int master_run(const char *config_file, const char *program, struct model *model,
               struct conf_tree *tree, const struct names *names, struct inherited *inherited);

#endif
