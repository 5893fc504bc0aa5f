/*
 * Changes of a backend by command: through the same model, diff and publish as a file. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"
#include "pool/eligibility.h"

struct edit {
    struct master *master;
    struct model *model; /* the new one; NULL once published */
    struct model_pool *pool;
    struct model_backend *backend;
    struct overrides overrides; /* the new ones */
    struct errlist errors;
    struct change_list changes;
    ctl_change_fn *done;
    void *arg;
};

static void fault(struct edit *edit, const char *text)
{
    errlist_add(&edit->errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", text);
}

/* Whether the pool's backends, as model has them, take new sessions; load does not count. */
static size_t count_eligible(const struct master *master, const struct model_pool *pool)
{
    size_t n = 0;
    for (size_t i = 0; i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];
        struct backend_facts facts = {
            .admin = (enum admin_state)backend->admin,
            .health = (enum sb_health)atomic_load(&master->sb.slot_health[backend->slot]),
            .weight = backend->weight,
        };
        n += eligibility_takes_new(eligibility_judge(&facts));
    }
    return n;
}

static void list_services(const struct model *model, const char *pool, struct str *out)
{
    for (size_t i = 0; i < model->n_services; i++) {
        if (strcmp(model->services[i].pool, pool) == 0) {
            str_printf(out, "%s\"%s\"", out->len > 0 ? ", " : "", model->services[i].name);
        }
    }
}

/* What takes the last eligible backend away needs force. */
static bool leaves_one(struct edit *edit)
{
    const struct model_pool *before = model_find_pool(edit->master->model, edit->pool->name);
    if (count_eligible(edit->master, before) == 0 || count_eligible(edit->master, edit->pool) > 0) {
        return true;
    }
    STR_AUTO services = {0};
    list_services(edit->model, edit->pool->name, &services);
    STR_AUTO text = {0};
    str_printf(&text,
               "this would take away the last eligible backend of pool \"%s\"; every new client of "
               "service %s would be refused; make another backend ready first, or end the command "
               "with force",
               edit->pool->name, services.len > 0 ? str_text(&services) : "(none)");
    fault(edit, str_text(&text));
    return false;
}

static bool find_target(struct edit *edit, const char *pool, const char *backend)
{
    edit->pool = model_find_pool(edit->model, pool);
    if (edit->pool == NULL) {
        STR_AUTO text = {0};
        str_printf(&text, "there is no pool \"%s\"; show pools lists them", pool);
        fault(edit, str_text(&text));
        return false;
    }
    edit->backend = model_find_backend(edit->pool, backend);
    if (edit->backend == NULL) {
        STR_AUTO text = {0};
        str_printf(&text, "pool \"%s\" has no backend \"%s\"; show backends %s lists them", pool,
                   backend, pool);
        fault(edit, str_text(&text));
        return false;
    }
    return true;
}

/* What the file says: the present value, or what an override remembers of it. */
static void file_value(const struct edit *edit, const char *option, struct str *out)
{
    const struct overrides *old = &edit->master->overrides;
    for (size_t i = 0; i < old->count; i++) {
        const struct override *item = &old->items[i];
        if (strcmp(item->pool, edit->pool->name) == 0 &&
            strcmp(item->backend, edit->backend->name) == 0 && strcmp(item->option, option) == 0) {
            str_append(out, item->file_value);
            return;
        }
    }
    const struct model_pool *pool = model_find_pool(edit->master->model, edit->pool->name);
    model_get_backend(model_find_backend(pool, edit->backend->name), option, out);
}

static bool set_one(struct edit *edit, const struct ctl_setting *setting, const struct ctl_who *who)
{
    STR_AUTO problem = {0};
    if (model_set_backend(edit->model, edit->backend, setting->option, setting->value, &problem) !=
        0) {
        fault(edit, str_text(&problem));
        return false;
    }
    STR_AUTO in_file = {0}, now = {0};
    file_value(edit, setting->option, &in_file);
    model_get_backend(edit->backend, setting->option, &now);
    struct override item = {
        .pool = edit->pool->name,
        .backend = edit->backend->name,
        .option = (char *)(uintptr_t)setting->option,
        .value = (char *)(uintptr_t)setting->value,
        .file_value = (char *)(uintptr_t)str_text(&in_file),
        .by = (char *)(uintptr_t)who->text,
        .why = (char *)(uintptr_t)who->why,
        .wall_ms = clock_wall_ms(),
    };
    if (strcmp(str_text(&now), str_text(&in_file)) == 0) {
        overrides_drop(&edit->overrides, &item); /* back to what the file says */
        return true;
    }
    if (overrides_set(&edit->overrides, &item) != 0) {
        fault(edit, "out of memory; nothing was changed");
        return false;
    }
    return true;
}

static bool copy_overrides(struct edit *edit)
{
    const struct overrides *old = &edit->master->overrides;
    for (size_t i = 0; i < old->count; i++) {
        if (overrides_set(&edit->overrides, &old->items[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool prepare(struct edit *edit)
{
    if (edit->master->stopping) {
        fault(edit, "the daemon is stopping; nothing is changed any more");
        return false;
    }
    edit->model = model_copy(edit->master->model);
    if (edit->model == NULL || !copy_overrides(edit)) {
        fault(edit, "out of memory; nothing was changed");
        return false;
    }
    return true;
}

static void put_into_force(struct edit *edit, const struct ctl_who *who, const char *pool,
                           const char *backend)
{
    struct master *master = edit->master;
    model_diff(master->model, edit->model, &edit->changes);
    struct model *model = edit->model;
    edit->model = NULL;
    if (!publish(master, model, &edit->errors)) {
        return;
    }
    overrides_free(&master->overrides);
    master->overrides = edit->overrides;
    edit->overrides = (struct overrides){0};
    for (size_t i = 0; i < edit->changes.count; i++) {
        log_info(edit->changes.lines[i], LOG_STR("by", who->text));
        master_event(master, "admin", pool, backend, who->text, who->why, edit->changes.lines[i]);
    }
}

static void edit_end(void *arg, uint32_t behind)
{
    struct edit *edit = arg;
    acks_warn(&edit->errors, edit->master->model->generation, behind);
    edit->done(edit->arg, &edit->errors, &edit->changes, edit->master->model->generation);
    model_free(edit->model);
    overrides_free(&edit->overrides);
    errlist_free(&edit->errors);
    change_list_free(&edit->changes);
    free(edit);
}

void edit_backend(struct master *master, const char *pool, const char *backend,
                  const struct ctl_setting *settings, size_t n_settings, const struct ctl_who *who,
                  bool force, ctl_change_fn *done, void *arg)
{
    struct edit *edit = calloc(1, sizeof(*edit));
    if (edit == NULL) {
        struct errlist errors = {.errors = 1};
        static const struct change_list none;
        done(arg, &errors, &none, master->model->generation);
        return;
    }
    *edit = (struct edit){.master = master, .done = done, .arg = arg};
    bool fine = prepare(edit) && find_target(edit, pool, backend);
    for (size_t i = 0; fine && i < n_settings; i++) {
        fine = set_one(edit, &settings[i], who);
    }
    if (fine && (force || leaves_one(edit))) {
        put_into_force(edit, who, pool, backend);
    }
    if (edit->errors.errors == 0) {
        acks_await(master, master->model->generation, edit_end, edit);
    } else {
        edit_end(edit, 0);
    }
}
