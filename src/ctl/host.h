/*
 * What the control commands may ask of the process that hosts them (master). Everything they need
 * from processes, reload and workers comes through this table of functions, so that ctl depends
 * on none of them. Answers that take time come by a callback, exactly once, possibly before the
 * call returns.
 */
#ifndef SLUICE_CTL_HOST_H
#define SLUICE_CTL_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/errlist.h"
#include "ctl/events.h"
#include "model/kept.h"
#include "model/override.h"
#include "sluice/explanation.h"
#include "sluice/scoreboard.h"
#include "sluice/session_info.h"
#include "sluice/snapshot.h"

/* Who asks, from the socket's peer credentials. */
struct ctl_who {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    uint32_t login_uid; /* /proc/PID/loginuid; UINT32_MAX: none */
    const char *text;   /* "uid 0 (login 1000) pid 42": for events and overrides */
    const char *why;    /* why="…" of the request, or NULL */
};

/* A change is done (errors empty of errors) or refused (errors say why; nothing was changed). */
typedef void ctl_change_fn(void *arg, const struct errlist *errors,
                           const struct change_list *changes, uint32_t generation);
/* silent_workers: how many did not answer in time. */
typedef void ctl_sessions_fn(void *arg, const struct session_info *sessions, size_t count,
                             uint32_t silent_workers);

/* Sessions to be closed by command. */
struct ctl_closing {
    struct session_filter filter;
    const char *pool, *backend; /* that filter.row is; NULL: any */
    const char *what; /* "session 42", "pool web, backend a, clients in 10.0.0.0/8": for events */
    uint64_t over_ms; /* evenly over this time; 0: at once */
};

/* Done, as far as the workers could be told (errors has a warning where not), or refused (errors
 * say why). sessions: how many are going to be closed, the last one at until_wall_ms. */
typedef void ctl_close_fn(void *arg, const struct errlist *errors,
                          const struct change_list *changes, uint32_t generation, uint64_t sessions,
                          uint64_t until_wall_ms);

/* explanation NULL: no worker answered in time. Otherwise of the running snapshot, and gone after
 * the call. */
typedef void ctl_explain_fn(void *arg, const struct explanation *explanation);

#define CTL_SETTINGS_MAX 32

struct ctl_setting { /* option=value */
    const char *option, *value;
};

enum ctl_edit_verb {
    CTL_EDIT_SET,    /* settings of what is named */
    CTL_EDIT_ADD,    /* a backend with these settings, address first */
    CTL_EDIT_REMOVE, /* a backend */
    CTL_EDIT_RESET,  /* back to the file: a backend, a pool with its backends, or (no names) all */
    CTL_EDIT_EXPIRE, /* what was set for a time that is over; the host asks itself */
    CTL_EDIT_COUNT
};

/* A change by command. */
struct ctl_edit {
    enum ctl_edit_verb verb;
    /* As in struct override. Pool "*", to set: every pool that has a backend of that name. */
    const char *service, *pool, *backend;
    const struct ctl_setting *settings; /* at most CTL_SETTINGS_MAX + 1 */
    size_t n_settings;
    uint64_t for_ms; /* to set: the time after which it reverts; 0: none */
    /* To drain, remove, pause: whether it is said how long sessions may go on, and that; 0: as long
     * as they like. */
    bool has_within;
    uint64_t within_ms;
};

/* A backend that is losing its sessions. */
struct ctl_drain {
    const char *pool, *backend, *address; /* of the model, or of what was removed from it */
    uint32_t row;
    uint64_t since_ms;    /* monotonic */
    uint64_t deadline_ms; /* likewise, when those that remain have been closed; 0: they are not */
    bool removed;         /* it is in the model no more, and what follows says who removed it … */
    const char *by;
    uint64_t removed_ms; /* … and when: monotonic */
};

struct ctl_host_info {
    const char *version;
    const char *config_file;
    const char *status; /* the status address as bound; NULL or "": there is none */
    pid_t pid;
    uint64_t descriptors_limit; /* of one worker */
    uint32_t connections_limit; /* the daemon's max_connections in force */
    /* What this machine can carry; UINT64_MAX: that bounds nothing. */
    uint64_t connections_by_descriptors, connections_by_ports, connections_by_memory;
    /* What max_connections of services, and of backends with the queues of pools, come to;
     * likewise. */
    uint64_t connections_by_services, connections_by_backends;
    const char *connections_limited_by; /* one of those, "max_connections" or "nothing" */
    uint64_t log_dropped, notices_dropped;
    uint64_t events_dropped;           /* that are not in their file */
    uint64_t reloads, reload_failures; /* so far */
    uint64_t reload_wall_ms;           /* end of the last one; 0: there was none */
    bool reload_failed;                /* the last one */
    bool stopping;                     /* or waiting to: stop_delay */
    pid_t draining_pid; /* of the daemon before an upgrade, whose sessions go on; 0: none does */
    uint32_t draining_sessions;
};

/* The configurations that are kept. */
struct ctl_configs {
    const struct kept_configs *kept;
    uint32_t running;         /* the kept one that runs; 0: it is not among them */
    const char *file_text;    /* the file as it was read last; NULL: not known, or it was refused */
    char *const *files;       /* what it was read from; ends with NULL. NULL: not known */
    bool file_runs;           /* what runs is what the file says, but for overrides */
    uint64_t refused_wall_ms; /* when the file, as it was read last, was refused; 0: it was not … */
    const char *refused;      /* … and the first error; NULL: not known */
    uint32_t returns;  /* the one that returns unless the running one is confirmed; 0: none … */
    uint64_t until_ms; /* … and when, on the wall's clock */
};

#define CTL_HEALTH_REASON_MAX 512

/* What is answered to "are you healthy?". */
struct ctl_health {
    bool healthy;
    char reason[CTL_HEALTH_REASON_MAX];
};

struct ctl_host_ops {
    void (*info)(void *host, struct ctl_host_info *out);
    /* Of a worker or the monitor, as memory_read() counts it. */
    uint64_t (*memory)(void *host, pid_t pid);
    const struct model *(*model)(void *host); /* running; valid until control returns to the loop */
    /* The same as the workers see it: services, pools and backends in the model's order. As valid.
     */
    const struct snapshot_header *(*snapshot)(void *host);
    const struct overrides *(*overrides)(void *host);
    /* Appends the running configuration as a file that loads back to it. And why that does not say
     * what the override does; NULL: it does. */
    void (*print)(void *host, struct str *out);
    const char *(*unsaid)(void *host, const struct override *override);
    /* The one that holds that slot and is losing its sessions; false: there is none. As valid. */
    bool (*drain)(void *host, uint32_t slot, struct ctl_drain *out);
    const struct names *(*names)(void *host); /* that backends ask for */
    /* What is wrong with a name, and since when; NULL: nothing, *out_since_ms stays. */
    const char *(*name_trouble)(void *host, const char *name, uint64_t *out_since_ms);
    /* Of all files of backends: when the running ones were read, on the wall's clock; and what was
     * wrong when one changed since, as valid, or NULL. */
    uint64_t (*backends_files)(void *host, const char **out_refused);
    /* Of a service of the running model, or of the whole daemon (NULL), as of this moment: for the
     * verb and for whatever else answers such questions, so that all say the same. */
    void (*health)(void *host, const struct model_service *service, struct ctl_health *out);
    /*
     * The asynchronous ones: what their pointers refer to stays until done is called. The host
     * records the events of what it changed; what was refused is recorded by ctl (kind "refused").
     *
     * All of a change or nothing. force: also what takes away a pool's last eligible backend.
     */
    void (*edit)(void *host, const struct ctl_edit *edit, const struct ctl_who *who, bool force,
                 ctl_change_fn *done, void *arg);
    /* Health answers say no from now on (fail), or say what is so again. */
    void (*set_health)(void *host, bool fail, const struct ctl_who *who, ctl_change_fn *done,
                       void *arg);
    /* confirm_ms: the configuration before it returns unless confirm() is called in that time;
     * 0: no. */
    void (*reload)(void *host, uint64_t confirm_ms, const struct ctl_who *who, ctl_change_fn *done,
                   void *arg);
    /* To a kept configuration; generation 0: the one before the running one. */
    void (*rollback)(void *host, uint32_t generation, const struct ctl_who *who,
                     ctl_change_fn *done, void *arg);
    /* What waits to be confirmed stands. False: nothing waits. */
    bool (*confirm)(void *host, const struct ctl_who *who, struct errlist *warnings);
    /* Valid until control returns to the loop. */
    const struct ctl_configs *(*configs)(void *host);
    /* path NULL: the daemon's own file. Files are read as who. */
    void (*check_config)(void *host, const char *path, const struct ctl_who *who,
                         ctl_change_fn *done, void *arg);
    void (*sessions)(void *host, const struct session_filter *filter, ctl_sessions_fn *done,
                     void *arg);
    void (*close)(void *host, const struct ctl_closing *asked, const struct ctl_who *who,
                  ctl_close_fn *done, void *arg);
    /* question is copied. */
    void (*explain)(void *host, const struct explanation_question *question, ctl_explain_fn *done,
                    void *arg);
    /* Another program takes over: program, or (NULL) the one that this daemon was started from. */
    void (*upgrade)(void *host, const char *program, const struct ctl_who *who, ctl_change_fn *done,
                    void *arg);
    /* Begins an orderly stop, with stop_delay first; within_ms: instead of drain_timeout,
     * UINT64_MAX: not said. Does not destroy the server before control returns to the loop. */
    void (*stop)(void *host, const struct ctl_who *who, uint64_t within_ms);
};

struct ctl_host {
    const struct ctl_host_ops *ops;
    void *self;
    struct scoreboard *sb;
    struct events *events;
};

#endif
