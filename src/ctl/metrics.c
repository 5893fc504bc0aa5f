/*
 * The page of metrics. All samples of a metric stand together, while rows are gathered one by one:
 * so each metric collects its lines in a text of its own. In master.
 */
#include "ctl/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/memory.h"
#include "ctl/view.h"

#define LOAD(field)   atomic_load_explicit(&(field), memory_order_relaxed)
#define METRICS_MAX   192
#define SOURCES_SHOWN 1024 /* of a pool with more, those of a backend are told together */

struct family {
    const struct metric *metric;
    const struct column *column; /* NULL: a histogram */
    struct str lines;
};

struct page {
    const struct ctl_host *host;
    struct ctl_host_info info;
    struct view view;
    struct family families[METRICS_MAX];
    size_t n_families, first[METRIC_OF_COUNT], n_of[METRIC_OF_COUNT];
    struct str labels; /* of the row: pool="web",backend="a" */
};

/* --- rows that only metrics have --- */

struct daemon_row {
    const char *version;
    uint64_t start_time, healthy, stopping, overrides, file_runs, file_refused, reloads,
        reload_failures, reload_success, reload_time, log_dropped, notices_dropped, events_dropped,
        leases_refused, monitor_restarts, descriptors_limit, status_requests, status_refused;
};

#define DAEMON(key, kind)                                                                          \
    {                                                                                              \
#key, NULL, kind, offsetof(struct daemon_row, key), NULL, 0                                \
    }

static const struct column daemon_columns[] = {
    DAEMON(version, COLUMN_TEXT),
    DAEMON(start_time, COLUMN_WALL_MS),
    DAEMON(healthy, COLUMN_BOOL),
    DAEMON(stopping, COLUMN_BOOL),
    DAEMON(overrides, COLUMN_UINT),
    DAEMON(file_runs, COLUMN_BOOL),
    DAEMON(file_refused, COLUMN_BOOL),
    DAEMON(reloads, COLUMN_UINT),
    DAEMON(reload_failures, COLUMN_UINT),
    DAEMON(reload_success, COLUMN_BOOL),
    DAEMON(reload_time, COLUMN_WALL_MS),
    DAEMON(log_dropped, COLUMN_UINT),
    DAEMON(notices_dropped, COLUMN_UINT),
    DAEMON(events_dropped, COLUMN_UINT),
    DAEMON(leases_refused, COLUMN_UINT),
    DAEMON(monitor_restarts, COLUMN_UINT),
    DAEMON(descriptors_limit, COLUMN_UINT),
    DAEMON(status_requests, COLUMN_UINT),
    DAEMON(status_refused, COLUMN_UINT),
    {0},
};

struct one_figure {
    uint64_t value;
};

static const struct column process_columns[] = {
    {"memory", NULL, COLUMN_BYTES, offsetof(struct one_figure, value), NULL, 0},
    {0},
};

static const struct column answer_columns[] = {
    {"healthy", NULL, COLUMN_BOOL, offsetof(struct one_figure, value), NULL, 0},
    {0},
};

const struct column *metric_columns(enum metric_of of)
{
    const struct column *const columns[METRIC_OF_COUNT] = {
        [METRIC_OF_TOTAL] = view_total_columns,         [METRIC_OF_DAEMON] = daemon_columns,
        [METRIC_OF_PROCESS] = process_columns,          [METRIC_OF_WORKER] = view_worker_columns,
        [METRIC_OF_SERVICE] = view_service_columns,     [METRIC_OF_ANSWER] = answer_columns,
        [METRIC_OF_POOL] = view_pool_columns,           [METRIC_OF_BACKEND] = view_backend_columns,
        [METRIC_OF_UPSTREAMS] = view_upstreams_columns, [METRIC_OF_PORTS] = view_ports_columns,
        [METRIC_OF_WATCH] = view_check_columns,         [METRIC_OF_CHECK] = view_one_check_columns,
    };

    return columns[of];
}

/* --- one sample --- */

static void put_uint(struct str *out, uint64_t number)
{
    char digits[20];
    size_t n = sizeof(digits);

    do {
        digits[--n] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    str_append_n(out, digits + n, sizeof(digits) - n);
}

/* per is a power of ten. Exact: "0.000016". */
static void put_quotient(struct str *out, uint64_t number, uint32_t per)
{
    uint64_t rest = number % per;

    put_uint(out, number / per);
    if (rest == 0)
        return;
    str_append_char(out, '.');
    while (rest > 0) {
        per /= 10;
        str_append_char(out, (char)('0' + rest / per));
        rest %= per;
    }
}

/* What a label's value may not hold as it is: backslash, quote, end of line. */
static void put_escaped(struct str *out, const char *text)
{
    for (;;) {
        size_t n = strcspn(text, "\\\"\n");

        str_append_n(out, text, n);
        text += n;
        if (*text == '\0')
            return;
        str_append(out, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
        text++;
    }
}

/* Everything before the value. suffix: of the name; label NULL: none of its own. */
static void put_series(struct family *family, const struct str *labels, const char *suffix,
                       const char *label, const char *value)
{
    struct str *out = &family->lines;

    str_append(out, family->metric->name);
    str_append(out, suffix);
    if (labels->len > 0 || label) {
        str_append_char(out, '{');
        str_append_n(out, str_text(labels), labels->len);
    }
    if (label) {
        if (labels->len > 0)
            str_append_char(out, ',');
        str_append(out, label);
        str_append_n(out, "=\"", 2);
        put_escaped(out, value);
        str_append_char(out, '"');
    }
    if (labels->len > 0 || label)
        str_append_char(out, '}');
    str_append_char(out, ' ');
}

static void put_number(struct family *family, const struct str *labels, const char *value,
                       uint64_t number, uint32_t per)
{
    if (number == REPLY_NONE)
        return;
    put_series(family, labels, "", value ? family->metric->label : NULL, value);
    put_quotient(&family->lines, number, per);
    str_append_char(&family->lines, '\n');
}

/* --- one row --- */

/* Units of a second, or whatever the metric is divided by. */
static uint32_t divisor(const struct family *family)
{
    if (family->metric->per != 0)
        return family->metric->per;
    switch (family->column->kind) {
    case COLUMN_US:
        return 1000000;
    case COLUMN_MS:
    case COLUMN_WALL_MS:
        return 1000;
    default:
        return 1;
    }
}

static void put_column(struct family *family, const struct str *labels, const void *row)
{
    const struct column *column = family->column;
    const char *field = (const char *)row + column->offset;
    const uint64_t *counters;
    const char *text;
    uint64_t number;

    if (column->kind == COLUMN_TEXT) {
        memcpy(&text, field, sizeof(text));
        if (text && *text)
            put_number(family, labels, text, 1, 1);
    } else if (column->kind == COLUMN_COUNTERS) {
        memcpy(&counters, field, sizeof(counters));
        for (size_t i = 0; i < column->n_names; i++)
            put_number(family, labels, column->names[i], counters[i], divisor(family));
    } else {
        memcpy(&number, field, sizeof(number));
        put_number(family, labels, NULL, number, divisor(family));
    }
}

/* first as of struct sb_times; per: units of a second. */
static void put_times(struct family *family, const struct str *labels,
                      const struct sb_times_sum *times, unsigned first, uint32_t per)
{
    struct str *out = &family->lines;
    uint64_t so_far = 0;

    for (unsigned i = 0; i <= SB_TIMES_BOUNDS; i++) {
        STR_AUTO bound = {0};

        so_far += times->count[i];
        if (i < SB_TIMES_BOUNDS)
            put_quotient(&bound, UINT64_C(1) << 2 * (i + first), per);
        else
            str_append(&bound, "+Inf");
        put_series(family, labels, "_bucket", "le", str_text(&bound));
        put_uint(out, so_far);
        str_append_char(out, '\n');
    }
    put_series(family, labels, "_sum", NULL, NULL);
    put_quotient(out, times->sum, per);
    str_append_char(out, '\n');
    put_series(family, labels, "_count", NULL, NULL);
    put_uint(out, so_far);
    str_append_char(out, '\n');
}

/* One sample, or one set of them, for each metric of that kind. row is as its columns say. */
static void put_row(struct page *page, enum metric_of of, const void *row)
{
    for (size_t i = 0; i < page->n_of[of]; i++)
        put_column(&page->families[page->first[of] + i], &page->labels, row);
}

static void add_label(struct page *page, const char *name, const char *value)
{
    struct str *out = &page->labels;

    if (out->len > 0)
        str_append_char(out, ',');
    str_append(out, name);
    str_append_n(out, "=\"", 2);
    put_escaped(out, value);
    str_append_char(out, '"');
}

/* --- what there is --- */

static void put_daemon(struct page *page)
{
    const struct ctl_configs *configs = page->host->ops->configs(page->host->self);
    const struct ctl_host_info *info = &page->info;
    const struct sb_header *header = page->view.sb->header;
    struct view_total total;
    bool veto = LOAD(header->health_fail) != 0 || LOAD(header->health_stops) != 0;
    struct daemon_row row = {
        .version = info->version,
        .start_time = header->started_wall_ms,
        .healthy = !veto && LOAD(header->answer) == SB_ANSWER_YES,
        .stopping = info->stopping,
        .overrides = page->view.overrides ? page->view.overrides->count : 0,
        .file_runs = configs->file_runs,
        .file_refused = configs->refused_wall_ms != 0,
        .reloads = info->reloads,
        .reload_failures = info->reload_failures,
        .reload_success = !info->reload_failed,
        .reload_time = info->reload_wall_ms ? info->reload_wall_ms : header->started_wall_ms,
        .log_dropped = info->log_dropped,
        .notices_dropped = info->notices_dropped,
        .events_dropped = info->events_dropped,
        .leases_refused = LOAD(header->leases_refused),
        .monitor_restarts = LOAD(header->monitor_restarts),
        .descriptors_limit = info->descriptors_limit,
        .status_requests = LOAD(header->status_requests),
        .status_refused = LOAD(header->status_refused),
    };

    view_total(&page->view, info, &total);
    put_row(page, METRIC_OF_TOTAL, &total);
    put_row(page, METRIC_OF_DAEMON, &row);
}

static void put_process(struct page *page, const char *name, uint64_t memory)
{
    struct one_figure row = {memory};

    str_reset(&page->labels);
    add_label(page, "process", name);
    put_row(page, METRIC_OF_PROCESS, &row);
}

static uint64_t memory_of_child(const struct page *page, int32_t pid)
{
    return pid > 0 ? page->host->ops->memory(page->host->self, pid) : REPLY_NONE;
}

static void put_processes(struct page *page)
{
    const struct scoreboard *sb = page->view.sb;
    char name[32];

    put_process(page, "master", memory_of_process(page->info.pid));
    put_process(page, "monitor", memory_of_child(page, LOAD(sb->header->monitor_pid)));
    for (uint32_t i = 0; i < sb->header->n_workers; i++) {
        snprintf(name, sizeof(name), "worker %u", (unsigned)i);
        put_process(page, name, memory_of_child(page, LOAD(sb->workers[i].pid)));
    }
}

static void put_workers(struct page *page)
{
    char id[16];

    for (uint32_t i = 0; i < page->view.sb->header->n_workers; i++) {
        struct view_worker row;

        snprintf(id, sizeof(id), "%u", (unsigned)i);
        str_reset(&page->labels);
        add_label(page, "worker", id);
        view_worker(&page->view, i, &row);
        put_row(page, METRIC_OF_WORKER, &row);
    }
}

static void put_service(struct page *page, const struct model_service *service)
{
    const struct scoreboard *sb = page->view.sb;
    struct one_figure answer = {LOAD(sb->services[service->row].answer) == SB_ANSWER_YES};
    struct view_service row;
    struct sb_times_sum times;

    str_reset(&page->labels);
    add_label(page, "service", service->name);
    view_service(&page->view, service, &row);
    put_row(page, METRIC_OF_SERVICE, &row);
    view_service_release(&row);
    put_row(page, METRIC_OF_ANSWER, &answer);
    scoreboard_sum_sessions(sb, service->row, &times);
    put_times(&page->families[page->first[METRIC_OF_SESSIONS]], &page->labels, &times,
              SB_SESSION_MS_FIRST, 1000);
}

/* --- of a backend --- */

static void label_backend(struct page *page, const struct model_pool *pool, size_t index)
{
    str_reset(&page->labels);
    add_label(page, "pool", pool->name);
    add_label(page, "backend", pool->backends[index].name);
}

static void put_checks(struct page *page, const struct model_pool *pool,
                       const struct standing *standing, size_t index)
{
    struct view_check check;

    view_check(&page->view, pool, standing, index, &check);
    if (standing->pool->outlier.consecutive_failures > 0)
        put_row(page, METRIC_OF_WATCH, &check);
    for (size_t i = 0; i < check.by_check.count; i++) {
        label_backend(page, pool, index);
        add_label(page, "check", check.each[i].check);
        put_row(page, METRIC_OF_CHECK, &check.each[i]);
    }
}

static void put_ports(struct page *page, const struct model_pool *pool,
                      const struct snapshot_backend *backend, size_t index, bool each)
{
    uint32_t step = each ? 1 : backend->n_sources;

    for (uint32_t i = 0; i < backend->n_sources; i += step) {
        struct view_ports row;

        view_ports(&page->view, backend, i, step, &row);
        label_backend(page, pool, index);
        add_label(page, "source", row.source);
        put_row(page, METRIC_OF_PORTS, &row);
    }
}

static void put_backend(struct page *page, const struct model_pool *pool,
                        const struct standing *standing, size_t index)
{
    struct view_backend row;
    struct view_upstreams upstreams;
    struct sb_times_sum times;

    label_backend(page, pool, index);
    view_backend(&page->view, pool, standing, index, &row);
    put_row(page, METRIC_OF_BACKEND, &row);
    scoreboard_sum_connects(page->view.sb, pool->backends[index].row, &times);
    put_times(&page->families[page->first[METRIC_OF_CONNECTS]], &page->labels, &times,
              SB_CONNECT_US_FIRST, 1000000);
    if (view_has_reuse(&page->view, pool)) {
        view_upstreams(&page->view, pool, standing, index, &upstreams);
        put_row(page, METRIC_OF_UPSTREAMS, &upstreams);
    }
    if (view_is_watched(&page->view, pool, index))
        put_checks(page, pool, standing, index);
}

static void put_pool(struct page *page, const struct model_pool *pool)
{
    uint64_t n_sources = 0;
    struct standing standing;
    struct view_pool row;

    str_reset(&page->labels);
    add_label(page, "pool", pool->name);
    view_pool(&page->view, pool, &row);
    put_row(page, METRIC_OF_POOL, &row);
    view_standing(&page->view, pool, &standing);
    for (size_t i = 0; i < pool->n_backends; i++)
        n_sources += standing.backends[i].n_sources;
    for (size_t i = 0; i < pool->n_backends; i++) {
        put_backend(page, pool, &standing, i);
        put_ports(page, pool, &standing.backends[i], i, n_sources <= SOURCES_SHOWN);
    }
}

/* --- the page --- */

static const struct column *find_column(const struct metric *metric)
{
    const struct column *column = metric_columns(metric->of);

    while (column && column->key && strcmp(column->key, metric->key) != 0)
        column++;
    return column;
}

static void prepare(struct page *page)
{
    for (const struct metric *metric = metric_table; metric->name; metric++) {
        size_t at = page->n_families++;

        page->families[at] = (struct family){.metric = metric, .column = find_column(metric)};
        if (page->n_of[metric->of]++ == 0)
            page->first[metric->of] = at;
    }
}

static void gather(struct page *page)
{
    const struct model *model = page->view.model;

    put_daemon(page);
    put_processes(page);
    put_workers(page);
    for (size_t i = 0; i < model->n_services; i++)
        put_service(page, &model->services[i]);
    for (size_t i = 0; i < model->n_pools; i++)
        put_pool(page, &model->pools[i]);
}

/* A metric without a sample is left out altogether. */
static void append_family(struct family *family, struct str *out)
{
    const struct metric *metric = family->metric;

    if (family->lines.len > 0) {
        str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                   metric_type_names[metric->type]);
        str_append_n(out, family->lines.data, family->lines.len);
    }
    out->failed = out->failed || family->lines.failed;
    str_free(&family->lines);
}

void metrics_render(const struct ctl_host *host, uint64_t now_ms, uint64_t wall_ms, struct str *out)
{
    struct page *page = calloc(1, sizeof(*page));

    if (!page) {
        out->failed = true;
        return;
    }
    page->host = host;
    page->view = view_of(host, now_ms, wall_ms);
    host->ops->info(host->self, &page->info);
    prepare(page);
    gather(page);
    for (size_t i = 0; i < page->n_families; i++)
        append_family(&page->families[i], out);
    str_free(&page->labels);
    free(page);
}
