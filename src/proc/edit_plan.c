/*
 * What a change by command makes of the operator's records, before anything is built: a copy of
 * them with what is said now. In master.
 */
#include "edit_plan.h"

#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/codec.h"

bool edit_fault(struct edit *edit, const char *format, ...)
{
    STR_AUTO text = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    errlist_add(&edit->errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", str_text(&text));
    return false;
}

bool edit_no_memory(struct edit *edit)
{
    return edit_fault(edit, "out of memory; nothing was changed");
}

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
    return overrides_set(&edit->overrides, item) == 0 || edit_no_memory(edit);
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

bool edit_is_everywhere(const struct edit *edit)
{
    return edit->asked->pool != NULL && strcmp(edit->asked->pool, "*") == 0;
}

static bool plan_set(struct edit *edit)
{
    const struct model *model = edit->master->model;
    bool found = false;
    if (!edit_is_everywhere(edit)) {
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
    return found || edit_fault(edit, "no pool has a backend \"%s\"; show backends lists all",
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
        return edit_fault(
            edit,
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
        return edit_fault(edit, "there is no pool \"%s\"; show pools lists them", asked->pool);
    }
    if (has_backend(edit->master->model, asked->pool, asked->backend)) {
        return edit_fault(
            edit,
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
    return overrides_set(&edit->overrides, &item) == 0 || edit_no_memory(edit);
}

static bool plan_remove(struct edit *edit)
{
    struct override item = record_of(edit, OVERRIDE_REMOVED);
    struct override added = record_of(edit, OVERRIDE_ADDED);
    struct override address = item;
    bool is_ours = overrides_find(&edit->overrides, &added) != NULL;
    STR_AUTO in_file = {0};
    if (!has_backend(edit->master->model, item.pool, item.backend)) {
        return edit_fault(edit, "pool \"%s\" has no backend \"%s\"; show backends %s lists them",
                          item.pool, item.backend, item.pool);
    }
    (void)overrides_forget(&edit->overrides, item.pool, item.backend);
    if (is_ours) {
        return true;
    }
    address.option = (char[]){"address"};
    read_file_value(edit, &address, &in_file);
    item.file_value = (char *)(uintptr_t)str_text(&in_file);
    return overrides_set(&edit->overrides, &item) == 0 || edit_no_memory(edit);
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
    return overrides_expire(&edit->overrides, clock_now_ms()) == 0 || edit_no_memory(edit);
}

bool edit_plan(struct edit *edit)
{
    static bool (*const plans[CTL_EDIT_COUNT])(struct edit *) = {
        [CTL_EDIT_SET] = plan_set,       [CTL_EDIT_ADD] = plan_add,
        [CTL_EDIT_REMOVE] = plan_remove, [CTL_EDIT_RESET] = plan_reset,
        [CTL_EDIT_EXPIRE] = plan_expire,
    };
    overrides_free(&edit->overrides);
    if (edit->master->stopping) {
        return edit_fault(edit, "the daemon is stopping; nothing is changed any more");
    }
    if (overrides_copy(&edit->overrides, &edit->master->overrides) != 0) {
        return edit_no_memory(edit);
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

void edit_forget_agreeing(struct edit *edit)
{
    for (size_t i = edit->overrides.count; i-- > 0;) {
        const struct override *item = &edit->overrides.items[i];
        if (item->kind == OVERRIDE_SET && item->before == NULL && !item->has_close &&
            says_the_file(edit, item)) {
            overrides_drop(&edit->overrides, item);
        }
    }
}
