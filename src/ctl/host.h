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
};

struct ctl_host_info {
    const char *version;
    const char *config_file;
    pid_t pid;
    uint64_t descriptors_limit; /* of one worker */
    uint32_t connections_limit; /* the daemon's max_connections in force */
    /* What this machine can carry; UINT64_MAX: that bounds nothing. */
    uint64_t connections_by_descriptors, connections_by_ports, connections_by_memory;
    const char *connections_limited_by; /* one of those, "max_connections" or "nothing" */
    uint64_t log_dropped;
    bool stopping;      /* or waiting to: stop_delay */
    pid_t draining_pid; /* of the daemon before an upgrade, whose sessions go on; 0: none does */
    uint32_t draining_sessions;
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
    void (*reload)(void *host, const struct ctl_who *who, ctl_change_fn *done, void *arg);
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
