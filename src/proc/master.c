/*
 * Master: starts everything, hears signals, stops everything. Owns master's record. It never
 * touches a client's bytes.
 */
#include "master.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends_file.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "edit.h"
#include "expiry.h"
#include "inherited.h"
#include "preflight.h"
#include "restore.h"
#include "succession.h"
#include "supervision.h"
#include "systemd.h"
#include "upgrade.h"

#define SWEEP_SECONDS 1

void master_event(struct master *master, const char *kind, const char *pool, const char *backend,
                  const char *by, const char *why, const char *text)
{
    events_add(master->events, &(struct event_record){.wall_ms = clock_wall_ms(),
                                                      .mono_ms = clock_now_ms(),
                                                      .kind = kind,
                                                      .pool = pool,
                                                      .backend = backend,
                                                      .text = text,
                                                      .by = by,
                                                      .why = why});
}

static void free_event(struct event **event)
{
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

/* --- signals --- */

static void log_errors(const struct errlist *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        const struct errlist_item *item = &errors->items[i];
        STR_AUTO text = {0};
        errlist_print_item(item, &text);
        log_at(item->severity == ERRLIST_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
               str_text(&text));
    }
}

/* The end of a reload by SIGHUP: nobody waits for an answer, so the log and the events get it. */
static void reload_done(void *arg, const struct errlist *errors, const struct change_list *changes,
                        uint32_t generation)
{
    struct master *master = arg;
    log_errors(errors);
    if (errors->errors > 0) {
        STR_AUTO text = {0};
        str_printf(&text, "reload: %zu errors, nothing was changed; first: ", errors->errors);
        const struct errlist_item *first = errlist_first_error(errors);
        if (first != NULL) {
            errlist_print_item(first, &text);
        }
        log_error(str_text(&text));
        master_event(master, "refused", NULL, NULL, "SIGHUP", NULL, str_text(&text));
        return;
    }
    for (size_t i = 0; i < changes->count; i++) {
        log_info("changed", LOG_STR("what", changes->lines[i]), LOG_INT("generation", generation));
    }
}

static void reopen_log(struct master *master)
{
    int error = log_open(master->model->global.log);
    if (error == 0) {
        children_renew_log(master);
        return;
    }
    STR_AUTO text = {0};
    str_printf(&text, "cannot open log \"%s\" again: %s; the one that is open is used on",
               master->model->global.log, strerror(-error));
    log_error(str_text(&text));
    master_event(master, "refused", NULL, NULL, "SIGUSR1", NULL, str_text(&text));
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct master *master = arg;
    switch (number) {
    case SIGCHLD:
        upgrade_reap(master);
        children_reap(master);
        master_leave_when_empty(master);
        break;
    case SIGUSR2:
        upgrade_by_signal(master);
        break;
    case SIGHUP:
        if (upgrade_refuses(master, reload_done, master)) {
            break;
        }
        load_start(master,
                   &(struct load_ask){.kind = LOAD_RELOAD,
                                      .path = master->config_file,
                                      .uid = CONF_UID_SELF,
                                      .by = "SIGHUP"},
                   reload_done, master);
        break;
    case SIGUSR1:
        reopen_log(master);
        break;
    case SIGINT:
        if (!master->leaving) {
            master_event(master, "stop", NULL, NULL, "SIGINT", NULL, "stopping at once");
        }
        master_stop_now(master, "SIGINT");
        break;
    default:
        master_stop(master, master->model->global.drain_timeout_ms, "SIGTERM", NULL);
        break;
    }
}

static int catch_signals(struct master *master)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGTERM};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        master->signals[i] = evsignal_new(master->base, numbers[i], on_signal, master);
        if (master->signals[i] == NULL || event_add(master->signals[i], NULL) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    drains_work(master);
    registry_sweep(master->registry, children_oldest_generation(master));
    limits_watch(master); /* before pools_sweep() tells why there is no port */
    pools_sweep(master);
    succession_sweep(master);
    upgrade_sweep(master);
    supervision_sweep(master);
    children_sync(master);                /* what somebody could not take before */
    (void)scoreboard_settle(&master->sb); /* what a repair had to leave for later */
}

/* --- starting --- */

void master_settings_changed(struct master *master)
{
    const struct model_global *global = &master->model->global;
    log_set_format((enum log_format)global->log_format);
    log_set_level((enum log_level)global->log_level);
    chmod(global->control_socket, global->control_mode);
    children_renew_log(master);
}

static int make_wakes(struct master *master)
{
    size_t n = master->n_workers + 1;
    master->wakes = malloc(n * sizeof(*master->wakes));
    if (master->wakes == NULL) {
        return -ENOMEM;
    }
    memset(master->wakes, 0xff, n * sizeof(*master->wakes));
    for (size_t i = 0; i < n; i++) {
        master->wakes[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (master->wakes[i] < 0) {
            return -errno;
        }
    }
    return 0;
}

static int make_parts(struct master *master)
{
    int error = scoreboard_create(&master->sb, master->n_workers, clock_now_ms(), clock_wall_ms());
    if (error != 0) {
        return error;
    }
    error = make_wakes(master);
    if (error != 0) {
        return error;
    }
    master->base = event_base_new();
    master->events = events_create();
    master->registry = registry_create(&master->sb);
    master->pairs = pairs_create(&master->sb);
    master->listeners = listeners_create(master->n_workers);
    master->children = calloc(master->n_workers + 1, sizeof(*master->children));
    if (master->base == NULL || master->events == NULL || master->registry == NULL ||
        master->pairs == NULL || master->listeners == NULL || master->children == NULL) {
        return -ENOMEM;
    }
    error = supervision_start(master);
    succession_prepare(master);
    return error != 0 ? error : catch_signals(master);
}

static bool publish_first(struct master *master, struct model *model)
{
    struct errlist errors = {0};
    limits_warn(master, model, &errors);
    bool done = publish(master, model, &errors, NULL);
    if (done) {
        pools_watch(master);
    }
    log_errors(&errors);
    errlist_free(&errors);
    return done;
}

static bool find_privileges(struct master *master, const struct model *model)
{
    STR_AUTO problem = {0};
    if (privileges_find(model->global.user, model->global.group, &master->privileges, &problem) !=
        0) {
        log_error(str_text(&problem), LOG_STR("section", "global"));
        return false;
    }
    return true;
}

static int start(struct master *master, struct model *model)
{
    limits_raise_descriptors();
    limits_look(master, true);
    master->n_workers = capacity_workers(model, master->machine.cpus);
    if (!find_privileges(master, model)) {
        model_free(model);
        return -ENOENT;
    }
    int error = make_parts(master);
    if (error != 0) {
        model_free(model);
        log_error("cannot start", LOG_STR("error", strerror(-error)));
        return error;
    }
    if (!restore_start(master, &model)) {
        model_free(model);
        return -EBUSY;
    }
    master->privileges.any_source = privileges_has_any_source() &&
                                    (!master->privileges.drop || preflight_wants_any_source(model));
    if (!publish_first(master, model)) {
        return -EINVAL;
    }
    succession_published(master);
    names_follow(master);
    error = succession_is_waiting(master) ? 0 : master_open_control(master);
    if (error != 0) {
        return error;
    }
    error = status_open(master);
    if (error != 0) {
        return error;
    }
    error = children_start(master);
    if (error != 0) {
        log_error("cannot start the processes", LOG_STR("error", strerror(-error)));
        return error;
    }
    if (privileges_trim_master(&master->privileges) != 0) {
        log_warning("master keeps all of root's capabilities: they cannot be given up here");
    }
    master->sweep = event_new(master->base, -1, EV_PERSIST, on_sweep, master);
    struct timeval every = {.tv_sec = SWEEP_SECONDS};
    bool ticking = master->sweep != NULL && event_add(master->sweep, &every) == 0 &&
                   watchdog_start(master) == 0;
    expiry_renew(master);
    configs_note(master, &(struct configs_news){
                             .by = "master", .why = "start", .is_file = master->configs.file_runs});
    backends_files_renew(master);
    return ticking && succession_begin(master) ? 0 : -ENOMEM;
}

static void teardown(struct master *master)
{
    if (master->children != NULL) {
        children_kill(master);
    }
    acks_end_all(master);
    load_cancel_all(master);
    backends_files_end(master);
    edit_cancel_all(master);
    sessions_cancel_all(master);
    closings_cancel_all(master);
    explain_cancel_all(master);
    notices_drop_all(master);
    names_end(master);
    upgrade_cancel(master, "this daemon ends");
    if (master->control != NULL) {
        ctl_server_destroy(master->control);
        if (!upgrade_is_over(master)) {
            unlink(master->model->global.control_socket);
        }
    }
    status_close(master);
    upgrade_destroy(master);
    listeners_destroy(master->listeners);
    drains_end(master);
    succession_destroy(master);
    supervision_end(master);
    expiry_end(master);
    configs_end(master);
    restore_end(master);
    free_event(&master->sweep);
    free_event(&master->hurry);
    free_event(&master->delay);
    free_event(&master->watchdog.timer);
    for (size_t i = 0; i < sizeof(master->signals) / sizeof(master->signals[0]); i++) {
        free_event(&master->signals[i]);
    }
    if (master->base != NULL) {
        event_base_free(master->base);
    }
    for (uint32_t i = 0; master->wakes != NULL && i <= master->n_workers; i++) {
        fd_close(&master->wakes[i]);
    }
    free(master->wakes);
    free(master->children);
    fd_close(&master->snapshot);
    snapshot_unmap(master->running);
    registry_destroy(master->registry);
    pairs_destroy(master->pairs);
    overrides_free(&master->overrides);
    model_free(master->model);
    conf_tree_free(master->tree);
    journal_end(&master->journal);
    names_free(&master->names);
    events_destroy(master->events);
    scoreboard_destroy(&master->sb);
    free(master);
}

int master_run(const char *config_file, const char *program, struct model *model,
               struct conf_tree *tree, const struct names *names, struct inherited *inherited)
{
    struct master *master = calloc(1, sizeof(*master));
    if (succession_create(master, inherited) != 0) {
        free(master);
        model_free(model);
        conf_tree_free(tree);
        return EXIT_FAILURE;
    }
    master->config_file = config_file;
    master->program = program;
    master->tree = tree;
    master->names = *names;
    master->snapshot = -1;
    master->status_fd = -1;
    master->name_news.list_fd = -1;
    TAILQ_INIT(&master->loads);
    TAILQ_INIT(&master->edits);
    TAILQ_INIT(&master->listings);
    TAILQ_INIT(&master->closings);
    TAILQ_INIT(&master->acks);
    TAILQ_INIT(&master->drains.list);
    notices_init(master);
    setproctitle("master");
    int status = EXIT_FAILURE;
    if (start(master, model) == 0) {
        event_base_dispatch(master->base);
        log_info("ended");
        status = EXIT_SUCCESS;
    } else {
        succession_fail(master);
    }
    teardown(master);
    return status;
}
