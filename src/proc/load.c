/*
 * Reading a configuration file while the daemon runs: conf's child reads, model builds, names are
 * looked up, and the result is published or only compared. Owns the jobs under way. In master.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "expiry.h"
#include "master.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"
#include "restore.h"
#include "systemd.h"

struct load_job {
    TAILQ_ENTRY(load_job) link;
    struct master *master;
    struct conf_load *reading;
    struct event *readable;
    struct resolve *resolving;
    struct conf_tree *tree;
    struct model *model;
    struct errlist errors;
    struct change_list changes;
    char *path;
    uid_t uid;
    bool check_only;
    bool begun;
    char *by, *why;
    ctl_change_fn *done;
    void *arg;
};

static void job_free(struct load_job *job)
{
    TAILQ_REMOVE(&job->master->loads, job, link);
    if (job->readable != NULL) {
        event_free(job->readable);
    }
    if (job->reading != NULL) {
        struct conf_tree *tree;
        conf_load_finish(job->reading, true, &job->errors, &tree);
        conf_tree_free(tree);
    }
    resolve_cancel(job->resolving);
    conf_tree_free(job->tree);
    model_free(job->model);
    errlist_free(&job->errors);
    change_list_free(&job->changes);
    free(job->path);
    free(job->by);
    free(job->why);
    free(job);
}

/* What was changed is an event here; what was refused is one of whoever asked. */
static void record(const struct load_job *job)
{
    char text[64];
    snprintf(text, sizeof(text), "reload: generation %u, %zu changes",
             job->master->model->generation, job->changes.count);
    log_info(text, LOG_STR("by", job->by));
    master_event(job->master, "reload", NULL, NULL, job->by, job->why, text);
}

static void begin_next(struct master *master);

static void job_end(void *arg, uint32_t behind)
{
    struct load_job *job = arg;
    struct master *master = job->master;
    acks_warn(&job->errors, master->model->generation, behind);
    errlist_sort(&job->errors);
    if (job->errors.errors > 0) {
        change_list_free(&job->changes);
    } else if (!job->check_only) {
        record(job);
    }
    if (!job->check_only) {
        systemd_ready(master->systemd);
    }
    job->done(job->arg, &job->errors, &job->changes, master->model->generation);
    job_free(job);
    begin_next(master);
}

/* Overrides of the operator stand until the file changes that very value. */
static bool reapply_overrides(struct load_job *job, struct overrides *kept)
{
    const struct master *master = job->master;
    if (master->overrides.count == 0) {
        return true;
    }
    struct model *model = overrides_rebuild(&master->overrides, job->tree, job->model,
                                            &daemon_registries, kept, &job->errors);
    if (model == NULL) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "out of memory while applying overrides; nothing was changed");
        return false;
    }
    model_take_addresses(model, job->model);
    model_take_addresses(model, master->model); /* of backends that were added by command */
    model_free(job->model);
    job->model = model;
    return true;
}

/* A new sink is opened before anything changes, so that it can still be refused. */
static bool switch_log(struct load_job *job, const char *log)
{
    if (strcmp(job->master->model->global.log, log) == 0) {
        return true;
    }
    int error = log_open(log);
    if (error != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, "global",
                    "cannot open log \"%s\": %s; choose a writable path or \"stderr\"", log,
                    strerror(-error));
    }
    return error == 0;
}

/* The job's model becomes the running one. */
static bool put_into_force(struct load_job *job, struct overrides *kept)
{
    struct master *master = job->master;
    struct model *model = job->model;
    if (model_keep_fixed(master->model, model) != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "out of memory; nothing was changed");
        return false;
    }
    if (!switch_log(job, model->global.log)) {
        return false;
    }
    job->model = NULL;
    if (!publish(master, model, &job->errors)) {
        (void)!log_open(master->model->global.log);
        return false;
    }
    conf_tree_free(master->tree);
    master->tree = job->tree;
    job->tree = NULL;
    overrides_free(&master->overrides);
    master->overrides = *kept;
    *kept = (struct overrides){0};
    master_settings_changed(master);
    expiry_renew(master);
    restore_save(master, &job->errors);
    pools_watch(master);
    return true;
}

static void apply(struct load_job *job)
{
    struct master *master = job->master;
    struct overrides kept = {0};
    bool published = false;
    if (master->stopping && !job->check_only) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "the daemon is stopping; nothing is changed any more");
    }
    if (job->errors.errors == 0 && reapply_overrides(job, &kept)) {
        model_diff(master->model, job->model, &job->changes);
        published = !job->check_only && put_into_force(job, &kept);
    }
    overrides_free(&kept);
    if (published) {
        acks_await(master, master->model->generation, job_end, job);
    } else {
        job_end(job, 0);
    }
}

static void on_resolved(void *arg)
{
    struct load_job *job = arg;
    job->resolving = NULL;
    preflight_names(job->model, false, &job->errors);
    preflight_machine(job->model, false, &job->errors);
    limits_look(job->master, false);
    limits_warn(job->master, job->model, &job->errors);
    apply(job);
}

static void build(struct load_job *job, bool timed_out)
{
    conf_load_finish(job->reading, timed_out, &job->errors, &job->tree);
    job->reading = NULL;
    if (job->tree != NULL) {
        job->model = model_build(job->tree, &daemon_registries, &job->errors);
    }
    if (job->model == NULL) {
        job_end(job, 0);
        return;
    }
    /* Calls on_resolved, which frees the job, perhaps before it returns: then it returns NULL. */
    struct resolve *resolving = resolve_start(job->master->base, job->model, job->master->model,
                                              RESOLVE_MS, on_resolved, job);
    if (resolving != NULL) {
        job->resolving = resolving;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct load_job *job = arg;
    bool timed_out = (what & EV_TIMEOUT) != 0;
    if (conf_load_continue(job->reading) == 1 || timed_out) {
        event_free(job->readable);
        job->readable = NULL;
        build(job, timed_out);
    }
}

static void begin(struct load_job *job)
{
    job->reading = conf_load_start(job->path, model_schema(), job->uid);
    if (job->reading != NULL) {
        job->readable = event_new(job->master->base, conf_load_fd(job->reading),
                                  EV_READ | EV_PERSIST, on_readable, job);
    }
    struct timeval most = {.tv_sec = LOAD_MS / 1000};
    if (job->readable == NULL || event_add(job->readable, &most) != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, job->path, 0, NULL,
                    "cannot start reading the configuration; memory or processes have run out");
        job_end(job, 0);
    }
}

/* One file is read at a time, in the order of asking: the last one asked for is the last one in
 * force. */
static void begin_next(struct master *master)
{
    struct load_job *job = TAILQ_FIRST(&master->loads);
    if (job != NULL && !job->begun) {
        job->begun = true;
        begin(job);
    }
}

void load_start(struct master *master, const char *path, uid_t uid, bool check_only, const char *by,
                const char *why, ctl_change_fn *done, void *arg)
{
    struct load_job *job = calloc(1, sizeof(*job));
    char *own_path = strdup(path), *own_by = strdup(by);
    if (job == NULL || own_path == NULL || own_by == NULL) {
        struct errlist errors = {.errors = 1};
        static const struct change_list none;
        free(job);
        free(own_path);
        free(own_by);
        done(arg, &errors, &none, master->model->generation);
        return;
    }
    *job = (struct load_job){.master = master,
                             .path = own_path,
                             .uid = uid,
                             .check_only = check_only,
                             .by = own_by,
                             .why = why != NULL ? strdup(why) : NULL,
                             .done = done,
                             .arg = arg};
    TAILQ_INSERT_TAIL(&master->loads, job, link);
    if (!check_only) {
        systemd_reloading(master->systemd, clock_now_us());
    }
    begin_next(master);
}

void load_cancel_all(struct master *master)
{
    struct load_job *job;
    while ((job = TAILQ_FIRST(&master->loads)) != NULL) {
        job_free(job);
    }
}
