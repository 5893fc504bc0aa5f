/*
 * Changes by command: the operator's records change (edit_plan.c), the model is built anew from the
 * file's tree with them, judged as a file's would be, compared and published. Owns the changes
 * under way. In master.
 */
#include "edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "edit_plan.h"
#include "expiry.h"
#include "guard.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"
#include "restore.h"

static void edit_free(struct edit *edit)
{
    TAILQ_REMOVE(&edit->master->edits, edit, link);
    resolve_cancel(edit->resolving);
    model_free(edit->model);
    names_free(&edit->names);
    overrides_free(&edit->overrides);
    errlist_free(&edit->errors);
    change_list_free(&edit->changes);
    free(edit);
}

/* --- the model --- */

/* Also of an address where the command names the whole. */
static bool is_about(const char *text, const struct str *section, const struct ctl_edit *asked)
{
    size_t len = section->len;
    return strcmp(text, str_text(section)) == 0 ||
           (asked->backend != NULL && len > 0 && strncmp(text, str_text(section), len - 1) == 0 &&
            text[len - 1] == '@');
}

/* Of all warnings those about what the command is about; the others were told when the file was
 * read. */
static void take_faults(struct edit *edit, const struct errlist *found)
{
    const struct ctl_edit *asked = edit->asked;
    STR_AUTO section = {0};
    if (asked->service != NULL) {
        str_printf(&section, "service \"%s\"", asked->service);
    } else if (asked->pool == NULL) {
        str_append(&section, "global");
    } else {
        str_printf(&section, "pool \"%s\"", asked->pool);
    }
    if (asked->backend != NULL) {
        str_printf(&section, " / backend \"%s\"", asked->backend);
    }
    for (size_t i = 0; i < found->count; i++) {
        const struct errlist_item *item = &found->items[i];
        bool is_ours = item->file[0] == '\0' && is_about(item->section, &section, asked);
        if (item->severity == ERRLIST_ERROR || is_ours) {
            errlist_add(&edit->errors, item->severity, item->file, item->line,
                        is_ours ? NULL : item->section, "%s", item->text);
        }
    }
}

/* What ends does so also where something that was set meanwhile does not go without it: then that
 * goes, too, as after a reload. */
static struct model *build_expired(struct edit *edit, const struct names *names,
                                   struct errlist *found)
{
    const struct conf_tree *tree = edit->master->tree;
    struct overrides kept = {0};
    struct model *file_model = model_build(tree, &daemon_registries, found);
    struct model *model = NULL;
    if (file_model != NULL) {
        model = overrides_rebuild(&edit->overrides, tree, names, file_model, &daemon_registries,
                                  &kept, &edit->errors);
    }
    model_free(file_model);
    overrides_free(&edit->overrides);
    edit->overrides = kept;
    if (model == NULL && edit->errors.errors == 0) {
        (void)edit_no_memory(edit);
    }
    return model;
}

/* Of a notify that is set: whether it can be run, as for a file. */
static void look_at_program(struct edit *edit)
{
    const struct ctl_edit *asked = edit->asked;
    struct errlist found = {0};
    STR_AUTO section = {0};
    bool is_set = false;
    for (size_t i = 0; i < asked->n_settings && asked->backend == NULL; i++) {
        is_set = is_set || strcmp(asked->settings[i].option, "notify") == 0;
    }
    if (!is_set || asked->verb != CTL_EDIT_SET || asked->pool == NULL) {
        return;
    }
    str_printf(&section, "pool \"%s\"", asked->pool);
    preflight_programs(edit->model, false, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (strcmp(found.items[i].section, str_text(&section)) == 0) {
            errlist_add(&edit->errors, found.items[i].severity, NULL, 0, NULL, "%s",
                        found.items[i].text);
        }
    }
    errlist_free(&found);
}

/* Of backends that were added. */
static void look_for_loops(struct edit *edit)
{
    struct errlist found = {0};
    preflight_loops(edit->model, &found);
    take_faults(edit, &found);
    errlist_free(&found);
}

/* names NULL: only to see whether it can be built. */
static bool build(struct edit *edit, const struct names *names)
{
    struct master *master = edit->master;
    struct errlist found = {0};
    model_free(edit->model);
    edit->model =
        edit->asked->verb == CTL_EDIT_EXPIRE
            ? build_expired(edit, names, &found)
            : overrides_build(&edit->overrides, master->tree, names, &daemon_registries, &found);
    take_faults(edit, &found);
    errlist_free(&found);
    if (edit->model == NULL) {
        return false;
    }
    look_at_program(edit);
    look_for_loops(edit);
    if (model_keep_fixed(master->model, edit->model) != 0) {
        return edit_no_memory(edit);
    }
    edit_forget_agreeing(edit);
    return true;
}

/* Whether the line goes on with the name and what ends a name there; if so, where that begins. */
static const char *after_name(const char *line, const char *word, const char *name)
{
    size_t n = strlen(name);
    size_t len = strlen(word);
    bool matches = strncmp(line, word, len) == 0 && strncmp(line + len, name, n) == 0 &&
                   (line[len + n] == ' ' || strncmp(line + len + n, ": ", 2) == 0);
    return matches ? line + len + n : NULL;
}

void edit_find_subject(const struct model *model, const char *line, const char **out_pool,
                       const char **out_backend)
{
    *out_pool = NULL;
    *out_backend = NULL;
    for (size_t i = 0; i < model->n_pools && *out_backend == NULL; i++) {
        const struct model_pool *pool = &model->pools[i];
        const char *rest = after_name(line, "pool ", pool->name);
        if (rest == NULL) {
            continue;
        }
        *out_pool = pool->name;
        for (size_t j = 0; j < pool->n_backends && *out_backend == NULL; j++) {
            if (after_name(rest, ": backend ", pool->backends[j].name) != NULL) {
                *out_backend = pool->backends[j].name;
            }
        }
    }
}

/* Whether sessions go with what it says. */
static bool loses_sessions(const struct ctl_edit *asked)
{
    return asked->has_within || asked->verb == CTL_EDIT_REMOVE ||
           (asked->n_settings == 1 && strcmp(asked->settings[0].value, "drain") == 0);
}

static void tell_remaining(struct edit *edit)
{
    const struct model *model = edit->master->model;
    const struct ctl_edit *asked = edit->asked;
    for (size_t i = 0; asked->pool != NULL && i < model->n_pools; i++) {
        const char *pool = model->pools[i].name;
        if (edit_is_everywhere(edit) || strcmp(pool, asked->pool) == 0) {
            drains_describe(edit->master, pool, asked->backend, &edit->changes);
        }
    }
}

static void add_term(const struct override *item, struct change_list *out)
{
    char end[CLOCK_TEXT_MAX];
    STR_AUTO where = {0};
    if (item->service != NULL) {
        str_printf(&where, "service %s", item->service);
    } else if (item->pool == NULL) {
        str_append(&where, "global");
    } else {
        str_printf(&where, "pool %s%s%s", item->pool, item->backend != NULL ? ": backend " : "",
                   item->backend != NULL ? item->backend : "");
    }
    change_add(out, "%s: %s %s now stands %s%s", str_text(&where), item->option, item->value,
               item->until_ms != 0 ? "until " : "without an end",
               item->until_ms != 0 ? clock_format_wall(item->until_wall_ms, end) : "");
}

/* What keeps its value but ends at another time, or ends no more: the models do not differ in it.
 */
static void tell_terms(struct edit *edit)
{
    const struct overrides *said = &edit->overrides;
    for (size_t i = 0; edit->asked->verb == CTL_EDIT_SET && i < said->count; i++) {
        const struct override *item = &said->items[i];
        const struct override *was = overrides_find(&edit->master->overrides, item);
        if (was != NULL && item->kind == OVERRIDE_SET && was->until_ms != item->until_ms &&
            strcmp(was->value, item->value) == 0) {
            add_term(item, &edit->changes);
        }
    }
}

/* The command that says the same of one address. */
static void word_setting(const struct override *item, const struct ctl_setting *setting,
                         struct str *out)
{
    static const char *const words[ADMIN_COUNT] = {
        [ADMIN_READY] = "ready", [ADMIN_DRAIN] = "drain", [ADMIN_MAINTENANCE] = "maintain"};
    for (size_t i = 0; i < ADMIN_COUNT; i++) {
        if (strcmp(setting->option, "admin") == 0 &&
            strcmp(setting->value, admin_state_names[i]) == 0) {
            str_printf(out, "%s backend %s %s", words[i], item->pool, item->backend);
            return;
        }
    }
    str_printf(out, "set backend %s %s %s=%s", item->pool, item->backend, setting->option,
               setting->value);
}

static void warn_kept(struct edit *edit, const struct override *item,
                      const struct ctl_setting *setting)
{
    STR_AUTO words = {0};
    if (item->kind != OVERRIDE_SET || strcmp(item->option, setting->option) != 0 ||
        strcmp(item->value, setting->value) == 0) {
        return;
    }
    word_setting(item, setting, &words);
    errlist_add(&edit->errors, ERRLIST_WARNING, NULL, 0, NULL,
                "pool %s: backend %s keeps %s=%s, as that was said of it alone; %s changes that",
                item->pool, item->backend, item->option, item->value, str_text(&words));
}

/* Of a name as a whole: what was said of an address of it stands before that. */
static void tell_kept(struct edit *edit)
{
    const struct ctl_edit *asked = edit->asked;
    const struct overrides *said = &edit->master->overrides;
    for (size_t i = 0; asked->verb == CTL_EDIT_SET && asked->backend != NULL && i < said->count;
         i++) {
        const struct override *item = &said->items[i];
        bool is_of_it = item->backend != NULL && names_is_of(item->backend, asked->backend) &&
                        (edit_is_everywhere(edit) || strcmp(item->pool, asked->pool) == 0);
        for (size_t j = 0; is_of_it && j < asked->n_settings; j++) {
            warn_kept(edit, item, &asked->settings[j]);
        }
    }
}

static void put_into_force(struct edit *edit)
{
    struct master *master = edit->master;
    const struct ctl_edit *asked = edit->asked;
    struct model *model = edit->model;
    model_diff(master->model, model, &edit->changes);
    tell_terms(edit);
    edit->model = NULL;
    drains_expect(master, &edit->overrides, edit->who->text, asked->has_within, asked->within_ms);
    if (!publish(master, model, &edit->errors, NULL)) {
        change_list_free(&edit->changes);
        return;
    }
    overrides_free(&master->overrides);
    master->overrides = edit->overrides;
    edit->overrides = (struct overrides){0};
    if (asked->verb != CTL_EDIT_SET && asked->verb != CTL_EDIT_EXPIRE) {
        configs_forget_said(master, asked->service, asked->pool, asked->backend);
    }
    tell_kept(edit);
    if (loses_sessions(asked)) {
        tell_remaining(edit);
    }
    for (size_t i = 0; i < edit->changes.count; i++) {
        log_info(edit->changes.lines[i], LOG_STR("by", edit->who->text));
        const char *pool = asked->pool;
        const char *backend = asked->backend;
        const char *found_pool;
        const char *found_backend; /* of a name each address, too */
        edit_find_subject(master->model, edit->changes.lines[i], &found_pool, &found_backend);
        if (asked->backend == NULL || edit_is_everywhere(edit) || found_backend != NULL) {
            pool = found_pool;
            backend = found_backend;
        }
        master_event(master, "admin", pool, backend, edit->who->text, edit->who->why,
                     edit->changes.lines[i]);
    }
    master_settings_changed(master);
    names_follow(master);
    expiry_renew(master);
    restore_save(master, &edit->errors);
    pools_watch(master); /* what follows from it stands behind it */
}

static void edit_end(void *arg, uint32_t behind)
{
    struct edit *edit = arg;
    acks_warn(&edit->errors, edit->master->model->generation, behind);
    edit->done(edit->arg, &edit->errors, &edit->changes, edit->master->model->generation);
    edit_free(edit);
}

/* The rest of the way, in one turn. */
static void carry_out(struct edit *edit)
{
    STR_AUTO problem = {0};
    if (edit->errors.errors == 0 && !edit->force &&
        (!guard_permits(edit->master, edit->model, &problem) ||
         !guard_permits_ends(edit->master, &edit->overrides, &problem))) {
        (void)edit_fault(edit, "%s", str_text(&problem));
    }
    if (edit->errors.errors == 0) {
        put_into_force(edit);
    }
    if (edit->errors.errors == 0) {
        acks_await(edit->master, edit->master->model->generation, edit_end, edit);
    } else {
        edit_end(edit, 0);
    }
}

/* --- names of backends that come --- */

/* Gathers the names of backends that come, but for what is known of them; those that did not
 * resolve before wait for the next reload. -1 without memory, else whether there are any. */
static int find_new_names(struct edit *edit)
{
    const struct master *master = edit->master;
    struct names wanted = {0};
    struct names present = {0};
    int rc = overrides_wanted(&edit->overrides, master->tree, &wanted);
    if (rc == 0) {
        rc = overrides_wanted(&master->overrides, master->tree, &present);
    }
    for (size_t i = 0; i < wanted.count && rc == 0; i++) {
        const char *name = wanted.items[i].name;
        const struct names_entry *known = names_find(&master->names, name);
        if (names_find(&present, name) == NULL && (known == NULL || known->n == 0)) {
            rc = names_set(&edit->names, name, NULL, 0) < 0 ? -1 : 0;
        }
    }
    names_free(&wanted);
    names_free(&present);
    return rc == 0 ? edit->names.count > 0 : -1;
}

/* What was looked up is known from now on, whatever becomes of the command. */
static bool keep_names(struct edit *edit)
{
    struct names *names = &edit->master->names;
    int rc = 0;
    for (size_t i = 0; i < edit->names.count && rc >= 0; i++) {
        const struct names_entry *entry = &edit->names.items[i];
        const struct names_entry *known = names_find(names, entry->name);
        if (known == NULL || known->n == 0) {
            rc = names_set(names, entry->name, entry->answers, entry->n);
        }
    }
    return rc >= 0 || edit_no_memory(edit);
}

/* Much may have changed meanwhile, so everything is done anew but for the looking up. */
static void on_resolved(void *arg)
{
    struct edit *edit = arg;
    struct errlist found = {0};
    edit->resolving = NULL;
    errlist_free(&edit->errors);
    if (edit_plan(edit) && keep_names(edit) && build(edit, &edit->master->names)) {
        preflight_names(edit->model, &edit->names, false, &found);
        take_faults(edit, &found);
        errlist_free(&found);
    }
    carry_out(edit);
}

/* What is wrong by itself is told before anything is looked up. */
static bool needs_names(struct edit *edit)
{
    int found = find_new_names(edit);
    if (found < 0) {
        return edit_no_memory(edit);
    }
    return found > 0 && build(edit, NULL);
}

void edit_start(struct master *master, const struct ctl_edit *asked, const struct ctl_who *who,
                bool force, ctl_change_fn *done, void *arg)
{
    struct edit *edit = calloc(1, sizeof(*edit));
    if (edit == NULL) {
        struct errlist errors = {.errors = 1};
        static const struct change_list none;
        done(arg, &errors, &none, master->model->generation);
        return;
    }
    *edit = (struct edit){
        .master = master, .asked = asked, .who = who, .force = force, .done = done, .arg = arg};
    TAILQ_INSERT_TAIL(&master->edits, edit, link);
    bool looks_up = edit_plan(edit) && needs_names(edit);
    if (!looks_up) {
        if (edit->errors.errors == 0) {
            (void)build(edit, &master->names);
        }
        carry_out(edit);
        return;
    }
    /* Calls on_resolved, which frees the edit, perhaps before it returns: then it returns NULL. */
    struct resolve *resolving =
        resolve_start(master->base, &edit->names, RESOLVE_MS, on_resolved, edit);
    if (resolving != NULL) {
        edit->resolving = resolving;
    }
}

void edit_cancel_all(struct master *master)
{
    struct edit *edit;
    while ((edit = TAILQ_FIRST(&master->edits)) != NULL) {
        edit_free(edit);
    }
}
