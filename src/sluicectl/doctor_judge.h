/*
 * Judges what the machine allows against what a plan needs: a row for each setting. Pure.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_JUDGE_H
#define SLUICE_SLUICECTL_DOCTOR_JUDGE_H

#include "base/str.h"
#include "sluicectl/doctor_plan.h"

enum doctor_state {
    DOCTOR_GOOD,
    DOCTOR_ADVICE,  /* the scale can be reached, but something would be better */
    DOCTOR_UNKNOWN, /* cannot be read here; never counts as a fault */
    DOCTOR_SHORT,   /* the scale cannot be reached */
    DOCTOR_STATE_COUNT
};

extern const char *const doctor_state_names[DOCTOR_STATE_COUNT];

#define DOCTOR_DIRECTIVES_MAX 2

struct doctor_row {
    const char *setting; /* a key of sysctl, or words */
    enum doctor_state state;
    struct str now, needed, why;
    struct str remedy; /* beside value: what else can be done; may be empty */
    struct str value;  /* what the key or directive should be; empty: nothing to set */
    struct str before; /* what is to be done before value is set; may be empty */
    bool is_key;       /* value is for the sysctl of the setting's name */
    const char *directives[DOCTOR_DIRECTIVES_MAX]; /* of the unit that value is for; else NULL */
};

#define DOCTOR_ROWS_MAX 40

struct doctor_report {
    struct doctor_row rows[DOCTOR_ROWS_MAX];
    size_t n_rows;
    size_t counts[DOCTOR_STATE_COUNT];
};

/* Fills *out, to be released by doctor_report_free(). */
void doctor_judge(const struct machine *machine, const struct doctor_plan *plan,
                  struct doctor_report *out);
void doctor_report_free(struct doctor_report *report);

/* --- for the judges --- */

/* A judge fills a row whose setting is set and whose state is DOCTOR_GOOD; it returns whether the
 * row applies to the plan at all. */
typedef bool doctor_judge_fn(const struct machine *machine, const struct doctor_plan *plan,
                             struct doctor_row *row);

struct doctor_judge {
    const char *setting;
    bool is_key;
    doctor_judge_fn *judge;
};

/* Of ports; ends with a NULL setting. */
extern const struct doctor_judge doctor_ports_judges[];
/* Of queues and TCP; likewise. */
extern const struct doctor_judge doctor_network_judges[];
/* Of tracked connections; likewise. */
extern const struct doctor_judge doctor_conntrack_judges[];
/* Of transparent pools, where there are any; ends like that. */
extern const struct doctor_judge doctor_transparent_judges[];

/* False where a fact is not known; then the row says so. */
bool doctor_is_known(uint64_t fact, struct doctor_row *row);
/* The same of a setting that came with that Linux: where this one is older the row says that, and
 * nothing is to be set. */
bool doctor_is_there(const struct machine *machine, uint64_t since, uint64_t fact,
                     struct doctor_row *row);

#endif
