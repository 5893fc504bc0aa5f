/*
 * Forms in which doctor's report is told. Pure: text is appended.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_PRINT_H
#define SLUICE_SLUICECTL_DOCTOR_PRINT_H

#include "sluicectl/doctor_judge.h"

typedef void doctor_print_fn(const char *file, const struct doctor_plan *plan,
                             const struct doctor_report *report, struct str *out);

/* A table, what to do, and the verdict. */
doctor_print_fn doctor_print_text;
/* One line. */
doctor_print_fn doctor_print_json;
/* A file for sysctl.d: what is not as it should be. */
doctor_print_fn doctor_print_sysctl;
/* A drop-in for the unit: the limits that it should have. */
doctor_print_fn doctor_print_systemd;

/* Whether the scale can be reached. */
bool doctor_is_ready(const struct doctor_report *report);

#endif
