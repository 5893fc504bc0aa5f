/*
 * The verbs of the control socket: one const descriptor each, one table of all. Matching, help,
 * levels, completions and tests are made from the table. Adding a verb is a descriptor in its
 * family's file (or a new file) and a line in the table. In master.
 */
#ifndef SLUICE_CTL_COMMAND_H
#define SLUICE_CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/auth.h"

struct request; /* request.h */

enum command_outcome {
    COMMAND_DONE,    /* the reply is built */
    COMMAND_PENDING, /* request_finish() was or will be called */
    COMMAND_OUTCOME_COUNT
};

enum command_flag {
    COMMAND_CHANGES = 1,  /* takes why="…"; a failure is an event */
    COMMAND_FORCE = 2,    /* takes force as the last word */
    COMMAND_SETTINGS = 4, /* takes at least one of its settings */
};

struct command {
    const char *words; /* "show backends" */
    enum ctl_level level;
    unsigned flags;
    const char *arguments; /* for help: "[POOL]" */
    const char *help;      /* one line */
    unsigned args_min, args_max;
    const char *const *options; /* names of name=value, ends with NULL; NULL: none of its own */
    const char *const *(*settings)(void); /* the same where they come from the option table */
    enum command_outcome (*run)(struct request *request);
};

extern const struct command *const command_table[]; /* in the order of help; ends with NULL */

/* The command that the words begin with, and how many of them it takes; NULL: none. */
const struct command *command_find(const char *const *words, size_t count, size_t *out_taken);
/* Whether this is the first word of a command. */
bool command_begins_with(const char *word);
/* The words of the command that was probably meant, or NULL. */
const char *command_nearest(const char *const *words, size_t count);
/* "set backend POOL NAME option=value … [why="TEXT"] [force]", appended. */
void command_usage(const struct command *command, struct str *out);

/* The descriptors, by file. */
extern const struct command cmd_show_info, cmd_show_services, cmd_show_pools, cmd_show_backends,
    cmd_show_workers, cmd_show_checks, cmd_show_errors;            /* cmd_show.c */
extern const struct command cmd_show_upstreams;                    /* cmd_upstreams.c */
extern const struct command cmd_show_ports;                        /* cmd_ports.c */
extern const struct command cmd_show_names;                        /* cmd_names.c */
extern const struct command cmd_show_stats;                        /* cmd_stats.c */
extern const struct command cmd_show_sessions;                     /* cmd_sessions.c */
extern const struct command cmd_maintain_backend;                  /* cmd_maintain.c */
extern const struct command cmd_close_session, cmd_close_sessions; /* cmd_close.c */
extern const struct command cmd_show_events;                       /* cmd_events.c */
extern const struct command cmd_explain;                           /* cmd_explain.c */
extern const struct command cmd_health, cmd_set_global;            /* cmd_health.c */
extern const struct command cmd_set_backend, cmd_set_pool, cmd_set_service, cmd_drain_backend,
    cmd_ready_backend, cmd_add_backend, cmd_remove_backend, cmd_reset_backend, cmd_reset_pool,
    cmd_reset_service, cmd_reset_all;                        /* cmd_change.c */
extern const struct command cmd_pause_pool, cmd_resume_pool; /* cmd_pause.c */
extern const struct command cmd_show_config, cmd_show_diff, cmd_check_config, cmd_reload,
    cmd_upgrade, cmd_stop;            /* cmd_config.c */
extern const struct command cmd_show_configs, cmd_rollback, cmd_confirm,
    cmd_save;                         /* cmd_configs.c */
extern const struct command cmd_help; /* cmd_help.c */

#endif
