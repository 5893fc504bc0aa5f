/*
 * Changes by command: the operator's records change, the model is built anew from the file's tree
 * with them, judged as a file's would be, compared and published. Owns the changes under way. In
 * master.
 */
#include "edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "ctl/codec.h"
#include "expiry.h"
#include "guard.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"
#include "restore.h"

struct edit {
    TAILQ_ENTRY(edit) link;
    struct master *master;
    const struct ctl_edit *asked; /* this and who: until done is called */
    const struct ctl_who *who;
    bool force;
    struct model *model;        /* the new one; NULL once published */
    struct overrides overrides; /* the new ones */
    struct names names;         /* of backends that come: what was looked up */
    struct resolve *resolving;
    struct errlist errors;
    struct change_list changes;
    ctl_change_fn *done;
    void *arg;
};

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

__attribute__((format(printf, 2, 3))) static bool fault(struct edit *edit, const char *format, ...)
{
    STR_AUTO text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    errlist_add(&edit->errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", str_text(&text));
    return false;
}

static bool no_memory(struct edit *edit)
{
    return fault(edit, "out of memory; nothing was changed");
}

/* --- the records --- */

/* A record of this command. Its strings are others'. */
static struct override record_of(const struct edit *edit, enum override_kind kind)
{
    const struct ctl_edit *asked = edit->asked;
    uint64_t wall_ms = clock_wall_ms();
    bool has_deadline = asked->has_within && asked->within_ms != 0;
    return (struct override){
        .kind = kind,
        .until_ms = asked->for_ms != 0 ? clock_now_ms() + asked->for_ms : 0,
        .until_wall_ms = asked->for_ms != 0 ? wall_ms + asked->for_ms : 0,
        .has_close = asked->has_within,
        .close_ms = has_deadline ? clock_now_ms() + asked->within_ms : 0,
        .close_wall_ms = has_deadline ? wall_ms + asked->within_ms : 0,
        .service = (char *)(uintptr_t)asked->service,
        .pool = (char *)(uintptr_t)asked->pool,
        .backend = (char *)(uintptr_t)asked->backend,
        .by = (char *)(uintptr_t)edit->who->text,
        .why = (char *)(uintptr_t)edit->who->why,
        .wall_ms = wall_ms,
    };
}

/* Whether it is about a backend whose address is a name, or about an address of it: of those the
 * model says what others have set, and what name servers did. */
static bool is_by_name(const struct model *model, const struct override *item)
{
    const struct model_pool *pool =
        item->backend != NULL ? model_find_pool(model, item->pool) : NULL;
    const struct model_backend *backend =
        pool != NULL ? model_find_backend(pool, item->backend) : NULL;
    return pool != NULL && (backend == NULL || backend->of != NULL);
}

static void read_file_value(const struct edit *edit, const struct override *item, struct str *out)
{
    const struct master *master = edit->master;
    if (is_by_name(master->model, item)) {
        (void)override_get_in_file(&master->overrides, master->tree, item, out);
    } else {
        (void)override_get(master->model, item, out);
    }
}

/* What the file says: the present value, or what an older record remembers of it. */
static bool note_setting(struct edit *edit, struct override *item)
{
    const struct override *known = overrides_find(&edit->overrides, item);
    STR_AUTO in_file = {0};
    if (known != NULL) {
        str_append(&in_file, known->file_value);
    } else {
        read_file_value(edit, item, &in_file);
    }
    item->file_value = (char *)(uintptr_t)str_text(&in_file);
    if (item->until_ms != 0 && known != NULL) { /* of several for a time, the last good one */
        item->before = known->until_ms != 0 ? known->before : (struct override *)(uintptr_t)known;
    }
    return overrides_set(&edit->overrides, item) == 0 || no_memory(edit);
}

/* NULL: what the command names. */
static bool plan_set_in(struct edit *edit, const char *pool)
{
    for (size_t i = 0; i < edit->asked->n_settings; i++) {
        const struct ctl_setting *setting = &edit->asked->settings[i];
        struct override item = record_of(edit, OVERRIDE_SET);
        item.option = (char *)(uintptr_t)setting->option;
        item.value = (char *)(uintptr_t)setting->value;
        item.pool = pool != NULL ? (char *)(uintptr_t)pool : item.pool;
        if (!note_setting(edit, &item)) {
            return false;
        }
    }
    return true;
}

static bool is_everywhere(const struct edit *edit)
{
    return edit->asked->pool != NULL && strcmp(edit->asked->pool, "*") == 0;
}

static bool plan_set(struct edit *edit)
{
    const struct model *model = edit->master->model;
    bool found = false;
    if (!is_everywhere(edit)) {
        return plan_set_in(edit, NULL);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        if (!model_has_backend(&model->pools[i], edit->asked->backend)) {
            continue;
        }
        found = true;
        if (!plan_set_in(edit, model->pools[i].name)) {
            return false;
        }
    }
    return found || fault(edit, "no pool has a backend \"%s\"; show backends lists all",
                          edit->asked->backend);
}

static bool has_backend(const struct model *model, const char *pool, const char *backend)
{
    const struct model_pool *found = model_find_pool(model, pool);
    return found != NULL && model_has_backend(found, backend);
}

/* One that the file has and that was removed by command comes back as the file has it, and only so:
 * what stands against the file then is never more than what show lists. */
static bool put_back(struct edit *edit, const struct override *removed, const struct override *item)
{
    if (!override_agrees(edit->master->tree, item->pool, item->backend, item->settings,
                         item->n_settings)) {
        return fault(edit,
                     "backend \"%s\" of pool \"%s\" is in the file, with the address %s, and was "
                     "removed by command; reset backend %s %s puts it back as the file has it, "
                     "then set backend says what shall be different; another address needs another "
                     "name, or the file",
                     item->backend, item->pool, removed->file_value, item->pool, item->backend);
    }
    overrides_drop(&edit->overrides, removed);
    return true;
}

static bool plan_add(struct edit *edit)
{
    const struct ctl_edit *asked = edit->asked;
    struct override item = record_of(edit, OVERRIDE_ADDED);
    struct override key = record_of(edit, OVERRIDE_REMOVED);
    const struct override *removed = overrides_find(&edit->overrides, &key);
    struct override_setting settings[CTL_SETTINGS_MAX + 1];
    STR_AUTO shown = {0};
    if (model_find_pool(edit->master->model, asked->pool) == NULL) { /* a reload took it away */
        return fault(edit, "there is no pool \"%s\"; show pools lists them", asked->pool);
    }
    if (has_backend(edit->master->model, asked->pool, asked->backend)) {
        return fault(edit,
                     "pool \"%s\" has a backend \"%s\" already; set backend changes it, remove "
                     "backend takes it away",
                     asked->pool, asked->backend);
    }
    for (size_t i = 0; i < asked->n_settings; i++) {
        settings[i] = (struct override_setting){(char *)(uintptr_t)asked->settings[i].option,
                                                (char *)(uintptr_t)asked->settings[i].value};
        str_printf(&shown, "%s%s%s", i > 0 ? " " : "", i > 0 ? settings[i].option : "",
                   i > 0 ? "=" : "");
        codec_quote(&shown, settings[i].value);
    }
    item.settings = settings;
    item.n_settings = asked->n_settings;
    item.value = (char *)(uintptr_t)str_text(&shown);
    if (removed != NULL) {
        return put_back(edit, removed, &item);
    }
    return overrides_set(&edit->overrides, &item) == 0 || no_memory(edit);
}

static bool plan_remove(struct edit *edit)
{
    struct override item = record_of(edit, OVERRIDE_REMOVED);
    struct override added = record_of(edit, OVERRIDE_ADDED);
    struct override address = item;
    bool is_ours = overrides_find(&edit->overrides, &added) != NULL;
    STR_AUTO in_file = {0};
    if (!has_backend(edit->master->model, item.pool, item.backend)) {
        return fault(edit, "pool \"%s\" has no backend \"%s\"; show backends %s lists them",
                     item.pool, item.backend, item.pool);
    }
    (void)overrides_forget(&edit->overrides, item.pool, item.backend);
    if (is_ours) {
        return true;
    }
    address.option = (char[]){"address"};
    read_file_value(edit, &address, &in_file);
    item.file_value = (char *)(uintptr_t)str_text(&in_file);
    return overrides_set(&edit->overrides, &item) == 0 || no_memory(edit);
}

static bool plan_reset(struct edit *edit)
{
    if (edit->asked->service != NULL) {
        (void)overrides_forget_service(&edit->overrides, edit->asked->service);
    } else {
        (void)overrides_forget(&edit->overrides, edit->asked->pool, edit->asked->backend);
    }
    return true;
}

static bool plan_expire(struct edit *edit)
{
    return overrides_expire(&edit->overrides, clock_now_ms()) == 0 || no_memory(edit);
}

static bool plan(struct edit *edit)
{
    static bool (*const plans[CTL_EDIT_COUNT])(struct edit *) = {
        [CTL_EDIT_SET] = plan_set,       [CTL_EDIT_ADD] = plan_add,
        [CTL_EDIT_REMOVE] = plan_remove, [CTL_EDIT_RESET] = plan_reset,
        [CTL_EDIT_EXPIRE] = plan_expire,
    };
    overrides_free(&edit->overrides);
    if (edit->master->stopping) {
        return fault(edit, "the daemon is stopping; nothing is changed any more");
    }
    if (overrides_copy(&edit->overrides, &edit->master->overrides) != 0) {
        return no_memory(edit);
    }
    return plans[edit->asked->verb](edit);
}

static bool says_the_file(const struct edit *edit, const struct override *item)
{
    STR_AUTO now = {0};
    if (is_by_name(edit->model, item)) { /* what is about an address holds against the template's */
        return names_template_length(item->backend) == 0 && override_means_file(item);
    }
    return override_get(edit->model, item, &now) && strcmp(str_text(&now), item->file_value) == 0;
}

/* What says no more than the file is no record, unless another one comes back after it, or it says
 * by when sessions are to end. */
static void forget_agreeing(struct edit *edit)
{
    for (size_t i = edit->overrides.count; i-- > 0;) {
        const struct override *item = &edit->overrides.items[i];
        if (item->kind == OVERRIDE_SET && item->before == NULL && !item->has_close &&
            says_the_file(edit, item)) {
            overrides_drop(&edit->overrides, item);
        }
    }
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
        (void)no_memory(edit);
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
    if (model_keep_fixed(master->model, edit->model) != 0) {
        return no_memory(edit);
    }
    forget_agreeing(edit);
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
        if (is_everywhere(edit) || strcmp(pool, asked->pool) == 0) {
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
        if (asked->backend == NULL || is_everywhere(edit) || found_backend != NULL) {
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
        (void)fault(edit, "%s", str_text(&problem));
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
    return rc >= 0 || no_memory(edit);
}

/* Much may have changed meanwhile, so everything is done anew but for the looking up. */
static void on_resolved(void *arg)
{
    struct edit *edit = arg;
    struct errlist found = {0};
    edit->resolving = NULL;
    errlist_free(&edit->errors);
    if (plan(edit) && keep_names(edit) && build(edit, &edit->master->names)) {
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
        return no_memory(edit);
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
    bool looks_up = plan(edit) && needs_names(edit);
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
