/*
 * Which configurations were good, which one runs, which one the file has, and whether the running
 * one waits to be confirmed. In master.
 */
#ifndef SLUICE_PROC_CONFIGS_H
#define SLUICE_PROC_CONFIGS_H

#include "conf/conf.h"
#include "ctl/host.h"
#include "model/override.h"
#include "model/state.h"

struct event;
struct master;

struct configs { /* zeroed is empty */
    struct kept_configs kept;
    uint32_t running; /* generation of the kept one that runs; 0: it is too large to be kept */
    char *file_text;  /* the file as it was read last; NULL: not known */
    char **files;     /* what it was read from; ends with NULL */
    bool file_runs;   /* as far as it was taken */
    uint64_t refused_wall_ms; /* when the file, as it is now, was refused; 0: it was not */
    char *refused;            /* the first error then; NULL: not known */
    struct state_confirm confirm;
    /* While it waits: what the operator had said and reloads since have dropped. It returns, too.
     */
    struct overrides parked;
    uint64_t return_ms;  /* of confirm, on our own clock */
    struct event *timer; /* of confirm */
    struct ctl_configs view;
};

/* What came into force. */
struct configs_news {
    const char *by, *why;
    uint32_t changes;
    bool is_file;                   /* read from the file, and not one that was kept */
    uint64_t confirm_ms;            /* of a reload that is to be confirmed; 0: of another */
    const struct overrides *before; /* what the operator had said until then; NULL: nothing */
};

/*
 * At the start, when state holds what an earlier daemon kept (taken over, zeroed then) and the tree
 * is the file's: where a configuration waited to be confirmed, the one before it takes its place:
 * *model and master's tree are that then. False without memory.
 */
bool configs_restore(struct master *master, struct state *state, struct model **model);
/* To be called when master's tree and model are the running ones, before the state is written. */
void configs_note(struct master *master, const struct configs_news *news);
/* The file was read, and errors (perhaps none) stand against it: where they are its fault, and not for
 * want of memory or descriptors, it counts as refused until one is taken. */
void configs_note_refused(struct master *master, const struct errlist *errors);
/* Before a reload with confirm: false, with why in errors, when nothing could return. */
bool configs_may_confirm(struct master *master, struct errlist *errors);
/* Which one a rollback goes to: *generation, or with 0 the one before; NULL with why in errors. */
const struct kept_config *configs_find(struct master *master, uint32_t generation,
                                       struct errlist *errors);
/* The running one stands. False: nothing waits. */
bool configs_confirm(struct master *master, const struct ctl_who *who);
/* Into an empty list: what the operator has said as it holds for the one that would return, the
 * parked included; where nothing waits, all of it as it is. 0 or -ENOMEM, to empty then. */
int configs_overrides(const struct master *master, struct overrides *out);
/* The operator said reset, remove or add: nothing that was said of it before returns. Names as for the
 * lists.
 */
void configs_forget_said(struct master *master, const char *service, const char *pool,
                         const char *backend);
/* What is to be written. Texts stay master's. */
void configs_save(const struct master *master, struct state *out);
/* What messages call a kept one. Returns buf. */
#define KEPT_NAME_MAX 48
const char *configs_name(uint32_t generation, char buf[static KEPT_NAME_MAX]);
/* For commands; valid until something changes. */
const struct ctl_configs *configs_view(struct master *master);
/* Sets the timer for what waits to be confirmed. To be called once the start is over, too. */
void configs_renew_timer(struct master *master);
void configs_end(struct master *master);

#endif
