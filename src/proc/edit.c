/*
 * Changes of a backend by command: through the same model, diff and publish as a file. In master.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "ctl/standing.h"
#include "master.h"

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

/* How many of the running pool's backends would take new clients with what the new model says of
 * them. False without memory. */
static bool foresee_takers(const struct edit *edit, const struct standing *running,
                           uint32_t *out_takers)
{
    uint32_t n = running->pool->n_backends;
    struct snapshot_backend *backends = calloc(n + 1, sizeof(*backends));
    struct standing standing;
    if (backends == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct model_backend *wanted = &edit->pool->backends[i];
        backends[i] = running->backends[i];
        backends[i].weight = wanted->weight;
        backends[i].admin = wanted->admin;
        backends[i].backup = wanted->backup;
    }
    standing_judge(running->pool, backends, &edit->master->sb, &standing);
    *out_takers = standing.takers;
    free(backends);
    return true;
}

/* What becomes of new clients of those who use the pool. */
static void list_services(const struct model *model, const char *pool, struct str *out)
{
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        if (strcmp(service->pool, pool) != 0) {
            continue;
        }
        str_printf(out, "; new clients of service \"%s\" would be ", service->name);
        if (service->fallback_pool != NULL) {
            str_printf(out, "sent to its fallback pool \"%s\"", service->fallback_pool);
        } else {
            str_append(out, "refused");
        }
    }
}

/* What takes the last backend that new clients may come to away needs force. */
static bool leaves_one(struct edit *edit)
{
    const struct master *master = edit->master;
    struct standing before;
    uint32_t takers = 0;
    standing_of(master->running, (uint32_t)(edit->pool - edit->model->pools), &master->sb, &before);
    if (before.takers == 0) {
        return true;
    }
    if (!foresee_takers(edit, &before, &takers)) {
        fault(edit, "out of memory; nothing was changed");
        return false;
    }
    if (takers > 0) {
        return true;
    }
    STR_AUTO text = {0};
    str_printf(&text, "this would take away the last eligible backend of pool \"%s\"",
               edit->pool->name);
    list_services(edit->model, edit->pool->name, &text);
    str_append(&text, "; make another backend ready first, or end the command with force");
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

/* Whatever their order: one that another stands in the way of is tried once more after it. */
static bool set_all(struct edit *edit, const struct ctl_setting *settings, size_t n)
{
    size_t tries = 2 * n;
    for (size_t i = 0; i < tries; i++) {
        STR_AUTO problem = {0};
        const struct ctl_setting *setting = &settings[i % n];
        if (model_set_backend(edit->model, edit->backend, setting->option, setting->value,
                              &problem) != 0 &&
            i >= n) {
            fault(edit, str_text(&problem));
            return false;
        }
    }
    return true;
}

static bool note_override(struct edit *edit, const struct ctl_setting *setting,
                          const struct ctl_who *who)
{
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
    pools_watch(master); /* what follows from it stands behind it */
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
    bool fine =
        prepare(edit) && find_target(edit, pool, backend) && set_all(edit, settings, n_settings);
    for (size_t i = 0; fine && i < n_settings; i++) {
        fine = note_override(edit, &settings[i], who);
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
