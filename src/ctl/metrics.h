/*
 * The live figures in Prometheus' text form (version 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/). A metric names a column of the
 * figures that `show stats` and the tables are made from (view.h), so they never differ; what is
 * added here is its name, its type and what it means. In master.
 */
#ifndef SLUICE_CTL_METRICS_H
#define SLUICE_CTL_METRICS_H

#include "ctl/host.h"
#include "ctl/reply.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_TYPE_COUNT };
extern const char *const metric_type_names[METRIC_TYPE_COUNT]; /* "counter", … */

/* What there is a sample of each: rows that share their labels and columns. */
enum metric_of {
    METRIC_OF_TOTAL,
    METRIC_OF_DAEMON,
    METRIC_OF_PROCESS,
    METRIC_OF_WORKER,
    METRIC_OF_SERVICE,
    METRIC_OF_ANSWER,   /* of a service's health */
    METRIC_OF_SESSIONS, /* of a service: struct sb_times_sum */
    METRIC_OF_POOL,
    METRIC_OF_BACKEND,
    METRIC_OF_CONNECTS, /* to a backend: struct sb_times_sum */
    METRIC_OF_UPSTREAMS,
    METRIC_OF_PORTS,
    METRIC_OF_WATCH, /* what is seen of a backend's failures */
    METRIC_OF_CHECK,
    METRIC_OF_COUNT
};
/* Labels that all samples of it have: "pool, backend"; "" for none. */
extern const char *const metric_labels[METRIC_OF_COUNT];

struct metric {
    const char *name;
    enum metric_type type;
    enum metric_of of;
    /* Of the column; NULL for a histogram. Times come out in seconds. */
    const char *key;
    const char *help;
    /* Of a column of counters: what tells them apart. Of one of text: what its text is put into,
     * and the sample is 1. */
    const char *label;
    uint32_t per; /* the figure is divided by that; 0: by nothing else than its unit */
};

/* In the order of the page; all of one metric_of stand together. Ends with a NULL name. */
extern const struct metric metric_table[];

/* The columns that metrics of it are found in; NULL: they are histograms. */
const struct column *metric_columns(enum metric_of of);

/* Appends the page. out's limit holds: callers look at out->failed. */
void metrics_render(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms,
                    struct str *out);

#endif
