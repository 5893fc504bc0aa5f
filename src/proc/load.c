/*
 * Reading a configuration file while the daemon runs: conf's child reads, model builds, names are
 * looked up, and the result is published or only compared. Owns the jobs under way. In master.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "expiry.h"
#include "guard.h"
#include "master.h"
#include "model/backends_file.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"
#include "restore.h"
#include "systemd.h"

#define LINES_TOLD 50 /* of one reload, as events: they are to hold more than one */

struct load_job {
    TAILQ_ENTRY(load_job) link;
    struct master *master;
    struct conf_load *reading;
    struct event *readable;
    struct resolve *resolving;
    struct conf_tree *tree;
    struct names names;    /* what was looked up for it */
    struct overrides said; /* what the operator said, as it is to stand against it */
    struct model *file_model, *model;
    struct errlist errors;
    struct change_list changes;
    struct load_ask ask;    /* its texts are the job's */
    struct errlist dropped; /* what the operator said that no longer holds */
    bool begun;
    bool judged_file; /* what is wrong is the file's fault, unless the machine's */
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
    names_free(&job->names);
    overrides_free(&job->said);
    model_free(job->file_model);
    model_free(job->model);
    errlist_free(&job->errors);
    change_list_free(&job->changes);
    errlist_free(&job->dropped);
    free((char *)(uintptr_t)job->ask.path);
    free((char *)(uintptr_t)job->ask.by);
    free((char *)(uintptr_t)job->ask.why);
    free(job);
}

static void record_text(const struct load_job *job, const char *text)
{
    master_event(job->master, "reload", NULL, NULL, job->ask.by, job->ask.why, text);
}

/* What was changed is an event here, a line each up to a bound; what was refused is one of whoever
 * asked. */
static void record(const struct load_job *job)
{
    STR_AUTO text = {0};
    str_printf(&text, "%s: generation %u, %zu changes",
               job->ask.kind == LOAD_RELOAD ? "reload" : "rollback", job->master->model->generation,
               job->changes.count);
    log_info(str_text(&text), LOG_STR("by", job->ask.by));
    record_text(job, str_text(&text));
    for (size_t i = 0; i < job->changes.count && i < LINES_TOLD; i++) {
        record_text(job, job->changes.lines[i]);
    }
    if (job->changes.count > LINES_TOLD) {
        str_reset(&text);
        str_printf(&text, "and %zu changes more", job->changes.count - LINES_TOLD);
        record_text(job, str_text(&text));
    }
    for (size_t i = 0; i < job->dropped.count; i++) {
        str_reset(&text);
        errlist_print_item(&job->dropped.items[i], &text);
        record_text(job, str_text(&text));
    }
}

static void count_reload(struct reloads *reloads, bool failed)
{
    reloads->count++;
    reloads->failures += failed;
    reloads->failed = failed;
    reloads->wall_ms = clock_wall_ms();
}

/* As whoever looks from outside would call it. */
static bool is_reload(const struct load_job *job)
{
    return job->ask.kind != LOAD_CHECK && job->ask.kind != LOAD_BACKENDS;
}

static void begin_next(struct master *master);

static void job_end(void *arg, uint32_t behind)
{
    struct load_job *job = arg;
    struct master *master = job->master;
    acks_warn(&job->errors, master->model->generation, behind);
    errlist_sort(&job->errors);
    if (is_reload(job)) {
        count_reload(&master->reloads, job->errors.errors > 0);
    }
    if (job->ask.kind == LOAD_RELOAD && job->judged_file) {
        configs_note_refused(master, &job->errors);
    }
    if (job->errors.errors > 0) {
        change_list_free(&job->changes);
    }
    if (is_reload(job)) {
        systemd_ready(master->systemd);
    }
    job->done(job->arg, &job->errors, &job->changes, master->model->generation);
    job_free(job);
    begin_next(master);
}

/* With one that was kept comes what has been dropped since, too. */
static int gather_said(struct load_job *job)
{
    const struct master *master = job->master;
    bool is_back = job->ask.kind == LOAD_ROLLBACK || job->ask.kind == LOAD_RETURN;
    overrides_free(&job->said);
    return is_back ? configs_overrides(master, &job->said)
                   : overrides_copy(&job->said, &master->overrides);
}

/* Overrides of the operator stand until the file changes that very value. */
static bool build_model(struct load_job *job, struct overrides *kept)
{
    const struct master *master = job->master;
    if (names_hold(&job->names, &master->names) != 0 || gather_said(job) != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "out of memory; nothing was changed");
        return false;
    }
    job->model = overrides_rebuild(&job->said, job->tree, &job->names, job->file_model,
                                   &daemon_registries, kept, &job->dropped);
    for (size_t i = 0; i < job->dropped.count; i++) {
        const struct errlist_item *item = &job->dropped.items[i];
        errlist_add(&job->errors, item->severity, item->file, item->line, item->section, "%s",
                    item->text);
    }
    return job->model != NULL;
}

/* What only this machine can know. */
static void judge_here(struct load_job *job)
{
    preflight_names(job->model, &job->names, false, &job->errors);
    preflight_machine(job->model, false, &job->errors);
    limits_look(job->master, false);
    limits_warn(job->master, job->model, &job->errors);
    if (job->ask.kind == LOAD_CHECK) {
        (void)preflight_workers(job->model, &job->master->privileges, &job->errors);
    }
}

/* A new sink is opened before anything changes, so that it can still be refused. */
static bool switch_log(struct load_job *job, const char *log)
{
    struct model_place place = model_global_place(job->model, "log");
    if (strcmp(job->master->model->global.log, log) == 0) {
        return true;
    }
    int error = log_open(log);
    if (error != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, place.file, place.line, "global",
                    "cannot open log \"%s\": %s; choose a writable path, a daemon that runs "
                    "(syslog, journal) or \"stderr\"",
                    log, strerror(-error));
    }
    return error == 0;
}

/* Nobody looks on, so a file that is truncated before it is written, or that takes all weights
 * away, is not taken to be meant. The text stays the same as long as it is so: it is told once. */
static void judge_files(struct load_job *job)
{
    const struct master *master = job->master;
    preflight_loops(job->model, &job->errors);
    for (size_t i = 0; i < job->tree->root.n_sections; i++) {
        const struct conf_section *section = job->tree->root.sections[i];
        const char *path = backends_file_of(section);
        const struct model_pool *pool =
            path != NULL ? model_find_pool(job->model, section->title) : NULL;
        if (pool != NULL &&
            guard_loses_pool(master, job->model, (uint32_t)(pool - job->model->pools))) {
            bool is_empty = backends_file_count(section) == 0;
            errlist_add(&job->errors, ERRLIST_ERROR, path, 0, NULL,
                        "%s, which would take away the last eligible one of pool \"%s\"; %s, or "
                        "reload to take it as it is",
                        is_empty ? "no backends" : "no backend that takes new clients", pool->name,
                        is_empty ? "write them"
                                 : "give one that is healthy a weight, and no admin but ready");
        }
    }
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
    drains_expect(master, kept, job->ask.by, false, 0);
    if (!publish(master, model, &job->errors, &job->changes)) {
        (void)!log_open(master->model->global.log);
        return false;
    }
    conf_tree_free(master->tree);
    master->tree = job->tree;
    job->tree = NULL;
    names_free(&master->names);
    master->names = job->names;
    job->names = (struct names){0};
    struct overrides before = master->overrides;
    master->overrides = *kept;
    *kept = before;
    master_settings_changed(master);
    names_follow(master);
    backends_files_renew(master);
    backends_files_taken(master);
    expiry_renew(master);
    if (job->ask.kind != LOAD_BACKENDS) {
        record(job);
        configs_note(master, &(struct configs_news){.by = job->ask.by,
                                                    .why = job->ask.why,
                                                    .changes = (uint32_t)job->changes.count,
                                                    .is_file = job->ask.kind == LOAD_RELOAD,
                                                    .before = &before,
                                                    .confirm_ms = job->ask.confirm_ms});
    }
    restore_save(master, &job->errors);
    pools_watch(master);
    return true;
}

/* What stands against it, whatever the configuration says. */
static void judge(struct load_job *job)
{
    struct master *master = job->master;
    if (master->stopping && job->ask.kind != LOAD_CHECK) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "the daemon is stopping; nothing is changed any more");
    } else if (job->ask.kind == LOAD_ROLLBACK && job->ask.generation != 0 &&
               job->ask.generation == master->configs.running) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "generation %u is the one that runs; show configs lists the others",
                    job->ask.generation);
    } else if (job->ask.kind == LOAD_RETURN && master->configs.confirm.generation == 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL, "it was confirmed meanwhile");
    } else if (job->ask.confirm_ms != 0) {
        (void)configs_may_confirm(master, &job->errors);
    }
}

/* What it would do. */
static void weigh(struct load_job *job)
{
    if (model_keep_fixed(job->master->model, job->model) == 0) {
        publish_weigh(job->master, job->model, &job->errors, &job->changes);
    }
}

/* Whether something new is in force. */
static bool bring_about(struct load_job *job, struct overrides *kept)
{
    if (job->ask.kind == LOAD_CHECK) {
        weigh(job);
        return false;
    }
    return (job->ask.kind != LOAD_BACKENDS || job->changes.count > 0) && put_into_force(job, kept);
}

static void apply(struct load_job *job)
{
    struct master *master = job->master;
    struct overrides kept = {0};
    bool published = false;
    size_t faults = job->errors.errors;
    judge(job);
    job->judged_file = faults == job->errors.errors;
    if (job->errors.errors == 0 && build_model(job, &kept)) {
        (job->ask.kind == LOAD_BACKENDS ? judge_files : judge_here)(job);
    }
    if (job->errors.errors == 0) {
        model_diff(master->model, job->model, &job->changes);
        published = bring_about(job, &kept);
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
    apply(job);
}

/* What is known already is not looked up: that is the monitor's, which has the times to live. */
static bool find_names(struct load_job *job)
{
    const struct master *master = job->master;
    bool is_done = gather_said(job) == 0 &&
                   overrides_wanted(&job->said, job->tree, &job->names) == 0 &&
                   names_hold(&job->names, &master->names) == 0;
    if (!is_done) {
        errlist_add(&job->errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "out of memory; nothing was changed");
    }
    return is_done;
}

static void build(struct load_job *job, bool timed_out)
{
    conf_load_finish(job->reading, timed_out, &job->errors, &job->tree);
    job->reading = NULL;
    job->judged_file = true;
    if (job->tree != NULL) {
        job->file_model =
            model_build_next(job->tree, job->master->tree, &daemon_registries, &job->errors);
    }
    if (job->file_model == NULL || !find_names(job)) {
        job_end(job, 0);
        return;
    }
    /* Calls on_resolved, which frees the job, perhaps before it returns: then it returns NULL. */
    struct resolve *resolving =
        resolve_start(job->master->base, &job->names, RESOLVE_MS, on_resolved, job);
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

/* NULL when it cannot be started, or (with errors) when there is none. */
static struct conf_load *start_reading(struct load_job *job)
{
    const struct load_ask *ask = &job->ask;
    char name[KEPT_NAME_MAX];
    if (ask->kind == LOAD_BACKENDS) {
        return conf_load_again(job->master->tree, ask->uid);
    }
    if (ask->path != NULL) {
        return conf_load_start(ask->path, model_schema(), ask->uid);
    }
    const struct kept_config *kept = configs_find(job->master, ask->generation, &job->errors);
    return kept != NULL ? conf_load_start_text(configs_name(kept->generation, name), kept->text,
                                               model_schema())
                        : NULL;
}

static void begin(struct load_job *job)
{
    job->reading = start_reading(job);
    if (job->reading != NULL) {
        job->readable = event_new(job->master->base, conf_load_fd(job->reading),
                                  EV_READ | EV_PERSIST, on_readable, job);
    }
    struct timeval most = {.tv_sec = LOAD_MS / 1000};
    if (job->errors.errors > 0) {
        job_end(job, 0);
    } else if (job->readable == NULL || event_add(job->readable, &most) != 0) {
        errlist_add(&job->errors, ERRLIST_ERROR, job->ask.path, 0, NULL,
                    "cannot start reading the configuration; memory, processes or descriptors have "
                    "run out");
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

static bool copy_text(const char **text)
{
    const char *from = *text;
    *text = from != NULL ? strdup(from) : NULL;
    return from == NULL || *text != NULL;
}

void load_start(struct master *master, const struct load_ask *ask, ctl_change_fn *done, void *arg)
{
    struct load_job *job = calloc(1, sizeof(*job));
    if (job != NULL) {
        *job = (struct load_job){.master = master, .ask = *ask, .done = done, .arg = arg};
        TAILQ_INSERT_TAIL(&master->loads, job, link);
        bool is_copied = copy_text(&job->ask.path);
        is_copied = copy_text(&job->ask.by) && is_copied;
        is_copied = copy_text(&job->ask.why) && is_copied;
        if (is_copied) {
            if (is_reload(job)) {
                systemd_reloading(master->systemd, clock_now_us());
            }
            begin_next(master);
            return;
        }
        job_free(job);
    }
    struct errlist errors = {.errors = 1};
    static const struct change_list none;
    done(arg, &errors, &none, master->model->generation);
}

void load_backends_files(struct master *master, ctl_change_fn *done, void *arg)
{
    load_start(master,
               &(struct load_ask){.kind = LOAD_BACKENDS,
                                  .path = master->config_file,
                                  .uid = CONF_UID_SELF,
                                  .by = "master"},
               done, arg);
}

void load_cancel_all(struct master *master)
{
    struct load_job *job;
    while ((job = TAILQ_FIRST(&master->loads)) != NULL) {
        job_free(job);
    }
}
