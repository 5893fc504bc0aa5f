/* What master offers to the control commands. Owns nothing. In master. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backends_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "edit.h"
#include "master.h"
#include "registries.h"
#include "restore.h"
#include "succession.h"
#include "upgrade.h"

static uint64_t count_dropped(const struct master *master)
{
    uint64_t dropped = log_dropped() + atomic_load_explicit(&master->sb.header->monitor_log_dropped,
                                                            memory_order_relaxed);
    for (uint32_t i = 0; i < master->n_workers; i++) {
        dropped += atomic_load_explicit(&master->sb.workers[i].log_dropped, memory_order_relaxed);
    }
    return dropped;
}

static void host_info(void *host, struct ctl_host_info *out)
{
    const struct master *master = host;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    *out = (struct ctl_host_info){
        .version = SLUICE_VERSION,
        .config_file = master->config_file,
        .pid = getpid(),
        .status = master->status_text,
        .descriptors_limit = limit.rlim_cur,
        .connections_limit = master->connections_limit,
        .connections_limited_by = limits_reason(master),
        .connections_by_descriptors = master->capacity.by[CAPACITY_DESCRIPTORS],
        .connections_by_ports = master->capacity.by[CAPACITY_PORTS],
        .connections_by_memory = master->capacity.by[CAPACITY_MEMORY],
        .connections_by_services = master->capacity.by[CAPACITY_SERVICES],
        .connections_by_backends = master->capacity.by[CAPACITY_BACKENDS],
        .log_dropped = count_dropped(master),
        .notices_dropped = master->notices.dropped,
        .reloads = master->reloads.count,
        .reload_failures = master->reloads.failures,
        .reload_wall_ms = master->reloads.wall_ms,
        .reload_failed = master->reloads.failed,
        .events_dropped = master->journal.dropped,
        .stopping = master->leaving,
    };
    if (!succession_is_shared(master, &out->draining_pid, &out->draining_sessions)) {
        out->draining_pid = 0;
    }
}

static uint64_t host_memory(void *host, pid_t pid)
{
    return children_memory(host, pid);
}

static const struct model *host_model(void *host)
{
    return ((const struct master *)host)->model;
}

static const struct snapshot_header *host_snapshot(void *host)
{
    return ((const struct master *)host)->running;
}

static const struct names *host_names(void *host)
{
    return &((const struct master *)host)->names;
}

static const char *host_name_trouble(void *host, const char *name, uint64_t *out_since_ms)
{
    return names_trouble(host, name, out_since_ms);
}

static const struct overrides *host_overrides(void *host)
{
    return &((const struct master *)host)->overrides;
}

static void host_print(void *host, struct str *out)
{
    const struct master *master = host;
    struct model *model =
        overrides_build_file(&master->overrides, master->tree, master->model, &daemon_registries);
    if (model != NULL) {
        model_print_names(model, master->model, false, out);
    }
    out->failed = out->failed || model == NULL;
    model_free(model);
}

static const char *host_unsaid(void *host, const struct override *override)
{
    const struct master *master = host;
    return override_unsaid(&master->overrides, master->tree, override);
}

static bool host_drain(void *host, uint32_t slot, struct ctl_drain *out)
{
    return drains_get(host, slot, out);
}

static uint64_t host_backends_files(void *host, const char **out_refused)
{
    return backends_files_taken_ms(host, out_refused);
}

static void host_health(void *host, const struct model_service *service, struct ctl_health *out)
{
    health_answer(host, service, clock_now_ms(), out);
}

static void host_set_health(void *host, bool fail, const struct ctl_who *who, ctl_change_fn *done,
                            void *arg)
{
    struct master *master = host;
    struct errlist errors = {0};
    struct change_list changes = {0};
    if (upgrade_refuses(master, done, arg)) {
        return;
    }
    if (health_set_fail(master, fail, who, clock_now_ms())) {
        change_add(&changes, "global: health %s", fail ? "auto -> fail" : "fail -> auto");
        restore_save(master, &errors);
    }
    done(arg, &errors, &changes, master->model->generation);
    change_list_free(&changes);
    errlist_free(&errors);
}

static void host_edit(void *host, const struct ctl_edit *edit, const struct ctl_who *who,
                      bool force, ctl_change_fn *done, void *arg)
{
    if (!upgrade_refuses(host, done, arg)) {
        edit_start(host, edit, who, force, done, arg);
    }
}

static void host_reload(void *host, uint64_t confirm_ms, const struct ctl_who *who,
                        ctl_change_fn *done, void *arg)
{
    struct master *master = host;
    if (upgrade_refuses(master, done, arg)) {
        return;
    }
    load_start(master,
               &(struct load_ask){.kind = LOAD_RELOAD,
                                  .path = master->config_file,
                                  .uid = CONF_UID_SELF,
                                  .confirm_ms = confirm_ms,
                                  .by = who->text,
                                  .why = who->why},
               done, arg);
}

static void host_rollback(void *host, uint32_t generation, const struct ctl_who *who,
                          ctl_change_fn *done, void *arg)
{
    if (upgrade_refuses(host, done, arg)) {
        return;
    }
    load_start(
        host,
        &(struct load_ask){
            .kind = LOAD_ROLLBACK, .generation = generation, .by = who->text, .why = who->why},
        done, arg);
}

static bool host_confirm(void *host, const struct ctl_who *who, struct errlist *warnings)
{
    bool is_done = configs_confirm(host, who);
    if (is_done) {
        restore_save(host, warnings);
    }
    return is_done;
}

static const struct ctl_configs *host_configs(void *host)
{
    return configs_view(host);
}

static void host_check_config(void *host, const char *path, const struct ctl_who *who,
                              ctl_change_fn *done, void *arg)
{
    struct master *master = host;
    /* A file that the asker names is opened with the asker's rights, not the daemon's. */
    uid_t uid = path != NULL && geteuid() == 0 ? who->uid : CONF_UID_SELF;
    load_start(master,
               &(struct load_ask){.kind = LOAD_CHECK,
                                  .path = path != NULL ? path : master->config_file,
                                  .uid = uid,
                                  .by = who->text,
                                  .why = who->why},
               done, arg);
}

static void host_sessions(void *host, const struct session_filter *filter, ctl_sessions_fn *done,
                          void *arg)
{
    sessions_start(host, filter, done, arg);
}

static void host_close(void *host, const struct ctl_closing *asked, const struct ctl_who *who,
                       ctl_close_fn *done, void *arg)
{
    closings_start(host, asked, who, done, arg);
}

static void host_explain(void *host, const struct explanation_question *question,
                         ctl_explain_fn *done, void *arg)
{
    explain_start(host, question, done, arg);
}

static void host_upgrade(void *host, const char *program, const struct ctl_who *who,
                         ctl_change_fn *done, void *arg)
{
    upgrade_start(host, program, who->text, who->why, done, arg);
}

static void host_stop(void *host, const struct ctl_who *who, uint64_t within_ms)
{
    struct master *master = host;
    uint64_t drain_ms =
        within_ms == UINT64_MAX ? master->model->global.drain_timeout_ms : within_ms;
    master_stop(master, drain_ms, who->text, who->why);
}

const struct ctl_host_ops master_host_ops = {
    .info = host_info,
    .memory = host_memory,
    .model = host_model,
    .snapshot = host_snapshot,
    .overrides = host_overrides,
    .print = host_print,
    .unsaid = host_unsaid,
    .drain = host_drain,
    .names = host_names,
    .name_trouble = host_name_trouble,
    .backends_files = host_backends_files,
    .health = host_health,
    .edit = host_edit,
    .set_health = host_set_health,
    .reload = host_reload,
    .rollback = host_rollback,
    .confirm = host_confirm,
    .configs = host_configs,
    .check_config = host_check_config,
    .sessions = host_sessions,
    .close = host_close,
    .explain = host_explain,
    .upgrade = host_upgrade,
    .stop = host_stop,
};
