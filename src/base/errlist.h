/*
 * A bounded list of what is wrong with an input, each with its place, so that a user sees every
 * fault at once. Printed as "FILE:LINE: SECTION: text". Base of all configuration messages.
 */
#ifndef SLUICE_BASE_ERRLIST_H
#define SLUICE_BASE_ERRLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

#define ERRLIST_MAX 200 /* more are counted, not kept */

enum errlist_severity { ERRLIST_WARNING, ERRLIST_ERROR, ERRLIST_SEVERITY_COUNT };

struct errlist_item {
    enum errlist_severity severity;
    char *file;    /* never NULL; "" when there is none */
    int line;      /* from 1; 0: none */
    char *section; /* "pool \"web\"", "" at the top */
    char *text;
};

struct errlist { /* zeroed is empty */
    struct errlist_item *items;
    size_t count;
    size_t cap;
    size_t dropped;
    size_t errors; /* how many, dropped ones too, are errors */
};

/* NULL file or section count as "". Copies everything. */
__attribute__((format(printf, 6, 7))) void errlist_add(struct errlist *list,
                                                       enum errlist_severity severity,
                                                       const char *file, int line,
                                                       const char *section, const char *format,
                                                       ...);
/* Stable sort: by file in the order in which files first appear, then by line. */
void errlist_sort(struct errlist *list);
/* One line each, "FILE:LINE: SECTION: text" ("warning: " before the text of a warning), with
 * "… and N more" at the end when some were dropped. */
void errlist_print(const struct errlist *list, struct str *out);
/* The first item that is an error, or NULL. */
const struct errlist_item *errlist_first_error(const struct errlist *list);
/* The first one that is the input's fault: not one of those that say, in our words or the system's,
 * that memory, descriptors or processes have run out. NULL: there is none. */
const struct errlist_item *errlist_first_fault(const struct errlist *list);
/* One of those lines, without its line break. */
void errlist_print_item(const struct errlist_item *item, struct str *out);
void errlist_free(struct errlist *list);

#endif
