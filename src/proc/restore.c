/* The state file's content, and what of master it is. In master. */
#include "restore.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "master.h"
#include "model/state.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"
#include "succession.h"

#define EVENT_KIND "state"

static void tell(struct master *master, const char *text)
{
    log_warning(text);
    master_event(master, EVENT_KIND, NULL, NULL, "master", NULL, text);
}

/* --- which file --- */

static bool is_default_usable(void)
{
    char path[] = STATE_FILE_DEFAULT;
    return access(dirname(path), W_OK) == 0;
}

/* NULL: none. */
static const char *find_path(const struct model_global *global)
{
    if (global->state_file == NULL) {
        return is_default_usable() ? STATE_FILE_DEFAULT : NULL;
    }
    return strcmp(global->state_file, "none") != 0 ? global->state_file : NULL;
}

/* By default a second daemon does without; one that was told to share must not start. */
static bool refuse_shared(struct master *master, const char *path, bool is_given, pid_t holder)
{
    STR_AUTO text = {0};
    str_printf(
        &text,
        "state_file %s is in use by another sluiced (pid %d); give each its own, or \"none\"", path,
        holder);
    state_file_free(&master->state_file);
    if (is_given) {
        log_error(str_text(&text));
        return false;
    }
    str_append(&text, "; this one keeps nothing over a restart");
    tell(master, str_text(&text));
    return true;
}

/* False: the daemon must not start. */
static bool open_file(struct master *master, const struct model_global *global)
{
    const char *path = find_path(global);
    pid_t holder;
    if (path == NULL) {
        return true;
    }
    if (state_file_init(&master->state_file, path) != 0) {
        log_error("out of memory");
        return false;
    }
    if (succession_is_waiting(master)) {
        return true; /* its predecessor still has the lock */
    }
    int result = state_file_lock(&master->state_file, &holder);
    return result != 1 || refuse_shared(master, path, global->state_file != NULL, holder);
}

/* --- reading --- */

static void put_aside(struct master *master, const char *problem)
{
    struct state_file *file = &master->state_file;
    STR_AUTO text = {0};
    STR_AUTO name = {0};
    str_printf(&text, "the state file %s/%s is not used: %s; ", file->folder, file->name, problem);
    int error = state_file_put_aside(file, clock_wall_ms(), &name);
    if (error == 0) {
        str_printf(&text, "it is kept as %s, and the daemon starts without what it held",
                   str_text(&name));
    } else {
        str_append(&text, "it cannot be put aside (");
        state_file_explain(file, error, &text);
        str_append(&text, ") and stays; nothing is kept over a restart");
        file->in_the_way = true;
    }
    tell(master, str_text(&text));
}

/* What a predecessor hands over is newer than its file, or all there is. */
static bool read_handed(struct master *master, struct state *out)
{
    STR_AUTO problem = {0};
    size_t len;
    const char *text = succession_state(master, &len);
    if (text == NULL ||
        state_decode(text, len, clock_now_ms(), clock_wall_ms(), out, &problem) == 0) {
        return text != NULL;
    }
    str_append(&problem, "; what was changed by command comes from the state file");
    tell(master, str_text(&problem));
    return false;
}

static void read_file(struct master *master, struct state *out)
{
    STR_AUTO text = {0};
    STR_AUTO problem = {0};
    int result = state_file_read(&master->state_file, STATE_BYTES_MAX, &text, &problem);
    if (result == -ENOENT) {
        return;
    }
    if (result == 0) {
        result =
            state_decode(str_text(&text), text.len, clock_now_ms(), clock_wall_ms(), out, &problem);
    }
    if (result < 0) {
        state_file_explain(&master->state_file, result, &problem);
    }
    if (result != 0) {
        put_aside(master, str_text(&problem));
    }
}

/* --- what it says --- */

static void tell_ended(struct master *master)
{
    uint64_t now_ms = clock_now_ms();
    for (size_t i = 0; i < master->overrides.count; i++) {
        const struct override *item = &master->overrides.items[i];
        STR_AUTO text = {0};
        if (item->until_ms == 0 || item->until_ms > now_ms) {
            continue;
        }
        str_printf(&text, "%s %s%s%s: %s=%s, set for a time by %s, has ended while no daemon ran",
                   item->service != NULL ? "service"
                   : item->pool != NULL  ? "pool"
                                         : "global",
                   item->service != NULL ? item->service
                   : item->pool != NULL  ? item->pool
                                         : "section",
                   item->backend != NULL ? ", backend " : "",
                   item->backend != NULL ? item->backend : "",
                   item->option != NULL ? item->option : "", item->value != NULL ? item->value : "",
                   item->by);
        log_info(str_text(&text));
        master_event(master, EVENT_KIND, item->pool, item->backend, "master", NULL,
                     str_text(&text));
    }
}

/* Also of what stood before, which may have been for a time itself. */
static bool end_ended(struct master *master)
{
    uint64_t now_ms = clock_now_ms();
    const struct override *next;
    tell_ended(master);
    while ((next = overrides_next_end(&master->overrides)) != NULL && next->until_ms <= now_ms) {
        if (overrides_expire(&master->overrides, now_ms) != 0) {
            return false;
        }
    }
    return true;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void tell_all(struct master *master, const struct errlist *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        STR_AUTO text = {0};
        errlist_print_item(&errors->items[i], &text);
        tell(master, str_text(&text));
    }
}

/* As after a reload; the file by itself is sound. False without memory. */
static bool reapply(struct master *master, struct model **model)
{
    struct errlist errors = {0};
    struct overrides kept = {0};
    if (master->overrides.count == 0) {
        return true;
    }
    struct model *file_model = model_build(master->tree, &daemon_registries, &errors);
    struct model *built = NULL;
    errlist_free(&errors); /* it was told when the file was read */
    if (file_model != NULL &&
        overrides_wanted(&master->overrides, master->tree, &master->names) == 0) {
        resolve_start(NULL, &master->names, RESOLVE_ADDED_MS, nothing, NULL);
        built = overrides_rebuild(&master->overrides, master->tree, &master->names, file_model,
                                  &daemon_registries, &kept, &errors);
    }
    model_free(file_model);
    if (built != NULL && model_keep_fixed(*model, built) != 0) {
        model_free(built);
        overrides_free(&kept);
        built = NULL;
    }
    if (built != NULL) {
        overrides_free(&master->overrides);
        master->overrides = kept;
        preflight_names(built, &master->names, false, &errors);
        model_free(*model);
        *model = built;
    }
    tell_all(master, &errors);
    errlist_free(&errors);
    return built != NULL;
}

static void restore_health(struct master *master, const char *said_by)
{
    if (said_by != NULL) {
        (void)strlcpy(master->health.said_by, said_by, sizeof(master->health.said_by));
        atomic_store(&master->sb.header->health_fail, true);
    }
}

bool restore_start(struct master *master, struct model **model)
{
    struct state state = {0};
    (void)!getrandom(&state.hash_seed, sizeof(state.hash_seed), 0);
    if (!open_file(master, &(*model)->global)) {
        return false;
    }
    if (master->state_file.name != NULL &&
        (master->state_file.lock >= 0 ||
         succession_is_waiting(master))) { /* never of another daemon */
        journal_start(&master->journal, master->state_file.folder, master->state_file.name,
                      master->events);
    }
    if (!read_handed(master, &state) && master->state_file.name != NULL) {
        read_file(master, &state);
    }
    master->hash_seed = state.hash_seed;
    master->last_generation = state.generation;
    restore_health(master, state.health_fail);
    master->overrides = state.overrides;
    state.overrides = (struct overrides){0};
    bool is_whole = configs_restore(master, &state, model);
    state_free(&state);
    if (!is_whole || !end_ended(master) || !reapply(master, model)) {
        log_error("out of memory");
        return false;
    }
    if (master->overrides.count > 0) {
        log_info("changes by command of an earlier daemon stand again",
                 LOG_INT("count", master->overrides.count));
    }
    return true;
}

/* --- writing --- */

static int write_state(struct master *master, const struct str *text)
{
    struct state_file *file = &master->state_file;
    STR_AUTO name = {0};
    pid_t holder;
    int result = state_file_lock(file, &holder);
    if (result != 0) {
        return result < 0 ? result : -EBUSY;
    }
    if (file->in_the_way) {
        result = state_file_put_aside(file, clock_wall_ms(), &name);
        if (result != 0 && result != -ENOENT) {
            return result;
        }
        file->in_the_way = false;
    }
    return state_file_write(&master->state_file, str_text(text), text->len);
}

void restore_encode(struct master *master, struct str *out)
{
    bool is_failed = atomic_load(&master->sb.header->health_fail) != 0;
    struct state state = {.hash_seed = master->hash_seed,
                          .health_fail = is_failed ? master->health.said_by : NULL};
    if (configs_overrides(master, &state.overrides) != 0) { /* a start brings back what waits */
        out->failed = true;
        return;
    }
    configs_save(master, &state);
    state_encode(&state, out);
    overrides_free(&state.overrides);
}

void restore_save(struct master *master, struct errlist *errors)
{
    STR_AUTO text = {0};
    if (master->state_file.name == NULL || succession_is_waiting(master)) {
        return;
    }
    restore_encode(master, &text);
    int error = text.failed ? -ENOMEM : write_state(master, &text);
    if (error == 0) {
        return;
    }
    STR_AUTO problem = {0};
    str_printf(&problem, "cannot write the state file %s/%s: ", master->state_file.folder,
               master->state_file.name);
    state_file_explain(&master->state_file, error, &problem);
    str_append(&problem, "; what was changed holds, but is not kept over a restart");
    tell(master, str_text(&problem));
    if (errors != NULL) {
        errlist_add(errors, ERRLIST_WARNING, NULL, 0, NULL, "%s", str_text(&problem));
    }
}

void restore_end(struct master *master)
{
    state_file_free(&master->state_file);
}
