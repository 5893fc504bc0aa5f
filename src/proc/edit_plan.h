/*
 * A change by command under way, shared by the files that carry it out. In master.
 */
#ifndef SLUICE_PROC_EDIT_PLAN_H
#define SLUICE_PROC_EDIT_PLAN_H

#include "master.h"

struct edit {
    TAILQ_ENTRY(edit) link;
    struct master *master;
    const struct ctl_edit *asked; /* this and who: until done is called */
    const struct ctl_who *who;
    bool force;
    struct model *model;        /* the new one; NULL once published */
    struct overrides overrides; /* the new ones */
    struct names names;         /* of backends that come: what was looked up */
    struct resolve *resolving;
    struct errlist errors;
    struct change_list changes;
    ctl_change_fn *done;
    void *arg;
};

/* Adds the fault, for whoever asked. Returns false. */
__attribute__((format(printf, 2, 3))) bool edit_fault(struct edit *edit, const char *format, ...);
bool edit_no_memory(struct edit *edit);
/* Whether it is about all pools that have such a backend. */
bool edit_is_everywhere(const struct edit *edit);

/* The records become what stands now with what is asked, also when called again. False with a
 * fault. */
bool edit_plan(struct edit *edit);
/* Of the records, once the model is built of them: what says no more than the file is none, unless
 * another one comes back after it, or it says by when sessions are to end. */
void edit_forget_agreeing(struct edit *edit);

#endif
