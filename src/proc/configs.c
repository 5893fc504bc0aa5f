/*
 * Keeping configurations, and the way back. Whatever comes back goes the way of a reload. Owns
 * master's record of them and the timer of confirm. In master.
 *
 *                        reload confirm=TIME          (again: a new time)
 *       ┌──────────┐ ──────────────────────────► ┌───────────────┐
 *       │ confirmed│                             │ to be confirmed│
 *       └──────────┘ ◄────────────────────────── └───────────────┘
 *              confirm; or rollback, the end of TIME, a restart: the one before returns
 */
#include "configs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "configuration.h"
#include "master.h"
#include "model/backends_file.h"
#include "preflight.h"
#include "restore.h"

#define EVENT_KIND "reload"
#define AGAIN_MS   60000 /* when the one before could not return */

static void tell(struct master *master, const char *by, const char *why, const char *text)
{
    log_info(text, LOG_STR("by", by));
    master_event(master, EVENT_KIND, NULL, NULL, by, why, text);
}

/* --- the file --- */

static void free_files(struct configs *configs)
{
    for (char **file = configs->files; file != NULL && *file != NULL; file++) {
        free(*file);
    }
    free(configs->files);
    configs->files = NULL;
}

static void forget_refusal(struct configs *configs)
{
    free(configs->refused);
    configs->refused = NULL;
    configs->refused_wall_ms = 0;
}

void configs_note_refused(struct master *master, const struct errlist *errors)
{
    struct configs *configs = &master->configs;
    const struct errlist_item *fault = errlist_first_fault(errors);
    STR_AUTO text = {0};
    if (fault != NULL) {
        forget_refusal(configs);
        errlist_print_item(fault, &text);
        configs->refused = str_take(&text);
        configs->refused_wall_ms = clock_wall_ms();
    }
}

static bool runs_file(const struct configs *configs)
{
    return configs->file_runs && configs->refused_wall_ms == 0;
}

/* Without memory it is not known, and counts as another than the running one. */
static void note_file(struct configs *configs, const struct conf_tree *tree)
{
    STR_AUTO text = {0};
    forget_refusal(configs);
    free_files(configs);
    free(configs->file_text);
    conf_tree_print(tree, backends_file_has, &text);
    configs->file_text = str_take(&text);
    configs->files = calloc(tree->n_files + 1, sizeof(*configs->files));
    for (size_t i = 0; configs->files != NULL && i < tree->n_files; i++) {
        configs->files[i] = strdup(tree->files[i]);
        if (configs->files[i] == NULL) {
            return;
        }
    }
}

/* --- confirm --- */

static void forget_confirm(struct configs *configs)
{
    free(configs->confirm.by);
    configs->confirm = (struct state_confirm){0};
}

static void set_timer(struct master *master, uint64_t in_ms);

static void return_done(void *arg, const struct errlist *errors, const struct change_list *changes,
                        uint32_t generation)
{
    struct master *master = arg;
    (void)changes;
    (void)generation;
    if (errors->errors == 0 || master->configs.confirm.generation == 0) {
        return; /* it has, or was confirmed meanwhile */
    }
    const struct errlist_item *first = errlist_first_error(errors);
    STR_AUTO text = {0};
    str_printf(&text,
               "generation %u was to return, since its successor was not confirmed, and could not; "
               "it is tried again in a minute; first error: ",
               master->configs.confirm.generation);
    if (first != NULL) {
        errlist_print_item(first, &text);
    }
    log_error(str_text(&text));
    master_event(master, "refused", NULL, NULL, "master", NULL, str_text(&text));
    set_timer(master, AGAIN_MS);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    const struct state_confirm *confirm = &master->configs.confirm;
    if (confirm->generation == 0 || master->leaving) {
        return;
    }
    char why[192];
    snprintf(why, sizeof(why), "not confirmed in time; confirm= was said by %s", confirm->by);
    load_start(
        master,
        &(struct load_ask){
            .kind = LOAD_RETURN, .generation = confirm->generation, .by = "master", .why = why},
        return_done, master);
}

static void set_timer(struct master *master, uint64_t in_ms)
{
    struct configs *configs = &master->configs;
    if (configs->timer == NULL) {
        configs->timer = evtimer_new(master->base, on_time, master);
    }
    struct timeval in = {.tv_sec = (time_t)(in_ms / 1000),
                         .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    if (configs->timer == NULL || evtimer_add(configs->timer, &in) != 0) {
        log_error("out of memory: what waits to be confirmed will not return by itself");
    }
}

void configs_renew_timer(struct master *master)
{
    struct configs *configs = &master->configs;
    uint64_t now_ms = clock_now_ms();
    if (configs->confirm.generation != 0) {
        set_timer(master, configs->return_ms > now_ms ? configs->return_ms - now_ms : 0);
    } else if (configs->timer != NULL) {
        evtimer_del(configs->timer);
    }
}

/* Of several of a kind the oldest counts: it goes with what the one that returns says. */
static void park(struct configs *configs, const struct overrides *before,
                 const struct overrides *present)
{
    for (size_t i = 0; before != NULL && i < before->count; i++) {
        const struct override *item = &before->items[i];
        if (overrides_find(present, item) == NULL &&
            overrides_find(&configs->parked, item) == NULL &&
            overrides_set(&configs->parked, item) != 0) {
            log_error("out of memory: a change by command will not return with the configuration "
                      "that waits");
        }
    }
}

/* What was said anew meanwhile stands against what the file said before, not what it says now. */
static int put_back(struct overrides *list, const struct override *parked)
{
    const struct override *present = overrides_find(list, parked);
    if (present == NULL || parked->kind != OVERRIDE_SET) {
        return present == NULL ? overrides_set(list, parked) : 0;
    }
    struct override item = *present;
    item.file_value = parked->file_value;
    return overrides_set(list, &item);
}

int configs_overrides(const struct master *master, struct overrides *out)
{
    const struct overrides *parked = &master->configs.parked;
    int rc = overrides_copy(out, &master->overrides);
    for (size_t i = 0; i < parked->count && rc == 0; i++) {
        rc = put_back(out, &parked->items[i]);
    }
    if (rc != 0) {
        overrides_free(out);
    }
    return rc;
}

void configs_forget_said(struct master *master, const char *service, const char *pool,
                         const char *backend)
{
    struct overrides *parked = &master->configs.parked;
    if (service != NULL) {
        (void)overrides_forget_service(parked, service);
    } else {
        (void)overrides_forget(parked, pool, backend);
    }
}

bool configs_confirm(struct master *master, const struct ctl_who *who)
{
    struct configs *configs = &master->configs;
    char text[96];
    if (configs->confirm.generation == 0) {
        return false;
    }
    snprintf(text, sizeof(text), "confirmed: generation %u stands", configs->running);
    forget_confirm(configs);
    overrides_free(&configs->parked);
    kept_confirm(&configs->kept);
    configs_renew_timer(master);
    tell(master, who->text, who->why, text);
    return true;
}

bool configs_may_confirm(struct master *master, struct errlist *errors)
{
    const struct configs *configs = &master->configs;
    if (configs->confirm.generation == 0 && configs->running == 0) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "the running configuration is too large to be kept (%zu MB for all), so it "
                    "could not return; reload without confirm=, or make it smaller",
                    KEPT_BYTES_MAX >> 20);
        return false;
    }
    return true;
}

static void begin_confirm(struct configs *configs, const struct configs_news *news, uint32_t before)
{
    uint32_t returns = configs->confirm.generation != 0 ? configs->confirm.generation : before;
    char *by = strdup(news->by);
    if (by == NULL) {
        return;
    }
    forget_confirm(configs);
    configs->return_ms = clock_now_ms() + news->confirm_ms;
    configs->confirm = (struct state_confirm){
        .generation = returns, .until_ms = clock_wall_ms() + news->confirm_ms, .by = by};
}

/* --- what came into force --- */

/* Keeps the running one. Returns its generation in the list, or 0. */
static uint32_t keep(struct master *master, const struct configs_news *news, const char *text)
{
    struct configs *configs = &master->configs;
    const struct kept_config item = {
        .generation = master->model->generation,
        .changes = news->changes,
        .unconfirmed = configs->confirm.generation != 0,
        .wall_ms = clock_wall_ms(),
        .by = (char *)(uintptr_t)news->by,
        .why = (char *)(uintptr_t)news->why,
        .text = (char *)(uintptr_t)text,
    };
    if (text == NULL || kept_add(&configs->kept, &item, configs->confirm.generation) != 0) {
        log_warning("this configuration is too large to be kept for a rollback");
        return 0;
    }
    return kept_find_text(&configs->kept, text)->generation;
}

static void tell_difference(struct master *master, const struct configs_news *news)
{
    if (!news->is_file && !runs_file(&master->configs)) {
        char text[128];
        snprintf(text, sizeof(text),
                 "generation %u runs, which is not what the file says; a reload brings the file's",
                 master->model->generation);
        tell(master, news->by, news->why, text);
    }
}

void configs_note(struct master *master, const struct configs_news *news)
{
    struct configs *configs = &master->configs;
    uint32_t before = configs->running;
    STR_AUTO printed = {0};
    conf_tree_print(master->tree, backends_file_has, &printed);
    char *text = str_take(&printed);
    if (news->is_file) {
        note_file(configs, master->tree);
    }
    if (news->confirm_ms != 0) {
        begin_confirm(configs, news, before);
    } else if (!news->is_file) {
        forget_confirm(configs);
        overrides_free(&configs->parked);
    }
    if (configs->confirm.generation != 0) {
        park(configs, news->before, &master->overrides);
    }
    configs->running = keep(master, news, text);
    configs->file_runs =
        text != NULL && configs->file_text != NULL && strcmp(text, configs->file_text) == 0;
    free(text);
    if (!news->is_file) {
        kept_drop_unconfirmed(&configs->kept, configs->running);
        kept_confirm(&configs->kept);
    }
    configs_renew_timer(master);
    tell_difference(master, news);
}

const struct kept_config *configs_find(struct master *master, uint32_t generation,
                                       struct errlist *errors)
{
    const struct configs *configs = &master->configs;
    const struct kept_configs *kept = &configs->kept;
    const struct kept_config *found = NULL;
    if (generation == 0 && configs->confirm.generation != 0) {
        return kept_find(kept, configs->confirm.generation);
    }
    if (generation != 0) {
        found = kept_find(kept, generation);
    } else {
        for (size_t i = 0; i < kept->count; i++) {
            found = kept->items[i].generation != configs->running ? &kept->items[i] : found;
        }
    }
    if (found == NULL && generation == 0) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "no earlier configuration is kept; show configs lists those that are");
    } else if (found == NULL) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "no configuration of generation %u is kept; show configs lists those that are",
                    generation);
    }
    return found;
}

/* --- over a restart --- */

void configs_save(const struct master *master, struct state *out)
{
    out->generation = master->model->generation;
    out->kept = master->configs.kept;
    out->confirm = master->configs.confirm;
}

/* The model of a kept one, and its tree; NULL with why. */
static struct model *build_kept(const struct kept_config *kept, const struct model *file_model,
                                struct names *names, struct conf_tree **out_tree,
                                struct errlist *errors)
{
    char name[KEPT_NAME_MAX];
    struct model *model = NULL;
    conf_load_wait_text(configs_name(kept->generation, name), kept->text, model_schema(), LOAD_MS,
                        errors, out_tree);
    if (*out_tree != NULL) {
        model = configuration_build(*out_tree, names, errors);
    }
    if (model != NULL && errors->errors == 0) {
        preflight_names(model, names, false, errors);
        preflight_machine(model, false, errors);
    }
    if (model == NULL || errors->errors > 0 || model_keep_fixed(file_model, model) != 0) {
        model_free(model);
        conf_tree_free(*out_tree);
        *out_tree = NULL;
        return NULL;
    }
    return model;
}

static void follow_log(const struct model *from, const struct model *to)
{
    if (strcmp(from->global.log, to->global.log) != 0) {
        (void)!log_open(to->global.log);
    }
    log_set_format((enum log_format)to->global.log_format);
    log_set_level((enum log_level)to->global.log_level);
}

/* At a start: the one that was not confirmed is the file's still, so the file is not taken. */
static void return_before(struct master *master, struct model **model)
{
    struct configs *configs = &master->configs;
    uint32_t generation = configs->confirm.generation;
    const struct kept_config *kept = kept_find(&configs->kept, generation);
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct model *before = build_kept(kept, *model, &master->names, &tree, &errors);
    STR_AUTO text = {0};
    if (before != NULL) {
        follow_log(*model, before);
        model_free(*model);
        conf_tree_free(master->tree);
        *model = before;
        master->tree = tree;
        configs->file_runs = false;
        str_printf(&text,
                   "the daemon was restarted before its configuration was confirmed: generation "
                   "%u returns, and the file is not taken before the next reload",
                   generation);
    } else {
        const struct errlist_item *first = errlist_first_error(&errors);
        str_printf(&text,
                   "the daemon was restarted before its configuration was confirmed, but "
                   "generation %u cannot return, so the file's runs; first error: ",
                   generation);
        if (first != NULL) {
            errlist_print_item(first, &text);
        }
    }
    log_warning(str_text(&text));
    master_event(master, EVENT_KIND, NULL, NULL, "master", NULL, str_text(&text));
    errlist_free(&errors);
}

bool configs_restore(struct master *master, struct state *state, struct model **model)
{
    struct configs *configs = &master->configs;
    configs->kept = state->kept;
    configs->confirm = state->confirm;
    state->kept = (struct kept_configs){0};
    state->confirm = (struct state_confirm){0};
    note_file(configs, master->tree);
    configs->file_runs = true;
    if (configs->confirm.generation != 0) {
        return_before(master, model);
        forget_confirm(configs);
        kept_drop_unconfirmed(&configs->kept, 0);
    }
    return configs->file_text != NULL;
}

/* --- for commands --- */

const char *configs_name(uint32_t generation, char buf[static KEPT_NAME_MAX])
{
    snprintf(buf, KEPT_NAME_MAX, "kept configuration %" PRIu32, generation);
    return buf;
}

const struct ctl_configs *configs_view(struct master *master)
{
    struct configs *configs = &master->configs;
    configs->view = (struct ctl_configs){
        .kept = &configs->kept,
        .running = configs->running,
        .file_text = configs->refused_wall_ms == 0 ? configs->file_text : NULL,
        .file_runs = runs_file(configs),
        .refused_wall_ms = configs->refused_wall_ms,
        .refused = configs->refused,
        .files = configs->files,
        .returns = configs->confirm.generation,
        .until_ms = configs->confirm.until_ms,
    };
    return &configs->view;
}

void configs_end(struct master *master)
{
    struct configs *configs = &master->configs;
    if (configs->timer != NULL) {
        event_free(configs->timer);
    }
    free_files(configs);
    free(configs->file_text);
    forget_refusal(configs);
    forget_confirm(configs);
    overrides_free(&configs->parked);
    kept_free(&configs->kept);
    *configs = (struct configs){0};
}
