/*
 * What of the operator's records stands once the file has changed, and the model with it. The file
 * by itself is sound here; a record that does not go with it any more is given up and told. In
 * master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edits.h"

struct rebuild {
    const struct overrides *list;
    const struct conf_tree *tree;
    const struct names *names;
    const struct model *file_model;
    bool *left_out; /* by record */
    struct errlist *dropped;
};

/* As messages about it have it. */
static void section_path(const struct override *item, struct str *out)
{
    if (item->service != NULL) {
        str_printf(out, "service \"%s\"", item->service);
    } else if (item->pool == NULL) {
        str_append(out, "global");
    } else {
        str_printf(out, "pool \"%s\"", item->pool);
    }
    if (item->backend != NULL) {
        str_printf(out, " / backend \"%s\"", item->backend);
    }
}

static void drop(struct rebuild *rebuild, size_t i, const char *file, int line, const char *reason)
{
    const struct override *item = &rebuild->list->items[i];
    const char *by = item->by != NULL ? item->by : "somebody";
    STR_AUTO section = {0};

    rebuild->left_out[i] = true;
    section_path(item, &section);
    if (item->kind == OVERRIDE_SET) {
        errlist_add(rebuild->dropped, ERRLIST_WARNING, file, line, str_text(&section),
                    "%s; the override %s=%s by %s no longer holds", reason, item->option,
                    item->value, by);
    } else {
        errlist_add(rebuild->dropped, ERRLIST_WARNING, file, line, str_text(&section),
                    "%s; that it was %s by %s no longer holds", reason,
                    item->kind == OVERRIDE_ADDED ? "added" : "removed", by);
    }
}

/* As what the file has it: an address, that is, as its template. */
static struct override find_key(const struct rebuild *rebuild, const struct override *item,
                                char title[static NAME_BYTES_MAX])
{
    enum section_kind kind;

    return edits_find_target(rebuild->file_model, item, &kind) != NULL
               ? *item
               : edits_of_template(item, title);
}

/* Where the file has what the record is about. */
static void place_of(struct rebuild *rebuild, const struct override *item, const char **out_file,
                     int *out_line)
{
    enum section_kind kind;
    char title[NAME_BYTES_MAX];
    const struct override key = find_key(rebuild, item, title);
    const void *target = edits_find_target(rebuild->file_model, &key, &kind);

    *out_file = NULL;
    *out_line = 0;
    if (target == NULL) {
        return;
    }
    if (kind == SECTION_GLOBAL) {
        struct model_place place = model_global_place(rebuild->file_model, item->option);

        *out_file = place.file;
        *out_line = place.line;
    } else if (kind == SECTION_BACKEND) {
        *out_file = ((const struct model_backend *)target)->file;
        *out_line = ((const struct model_backend *)target)->line;
    } else if (kind == SECTION_POOL) {
        *out_file = ((const struct model_pool *)target)->file;
        *out_line = ((const struct model_pool *)target)->line;
    } else {
        *out_file = ((const struct model_service *)target)->file;
        *out_line = ((const struct model_service *)target)->line;
    }
}

static const char *or_nothing(const char *text)
{
    return text != NULL && *text != '\0' ? text : "nothing";
}

/* Whether the list, as far as it still stands, adds the backend that the record is about. */
static bool is_added(const struct rebuild *rebuild, const struct override *item)
{
    struct override key = {.kind = OVERRIDE_ADDED, .pool = item->pool, .backend = item->backend};
    const struct override *added =
        item->backend != NULL ? overrides_find(rebuild->list, &key) : NULL;

    return added != NULL && !rebuild->left_out[added - rebuild->list->items];
}

static bool set_stands(struct rebuild *rebuild, const struct override *item, struct str *out_reason)
{
    enum section_kind kind;
    char title[NAME_BYTES_MAX];
    const struct override key = find_key(rebuild, item, title);
    const void *target = edits_find_target(rebuild->file_model, &key, &kind);
    const char *then = item->file_value != NULL ? item->file_value : "";
    STR_AUTO now = {0};

    if (options_find(kind, item->option) == NULL) {
        str_append(out_reason, "there is no such option");
        return false;
    }
    if (target == NULL) {
        str_printf(out_reason, "the %s is gone", options_section(kind)->name);
        return is_added(rebuild, &key);
    }
    (void)override_get(rebuild->file_model, &key, &now);
    if (strcmp(str_text(&now), then) == 0) {
        return true;
    }
    str_printf(out_reason, "the file now says %s instead of %s", or_nothing(str_text(&now)),
               or_nothing(then));
    return false;
}

static bool removed_stands(struct rebuild *rebuild, const struct override *item,
                           struct str *out_reason)
{
    char title[NAME_BYTES_MAX];
    struct override address = find_key(rebuild, item, title);
    STR_AUTO now = {0};

    address.option = (char[]){"address"};
    if (address.backend != item->backend && is_added(rebuild, &address)) {
        return true;
    }
    if (!override_get(rebuild->file_model, &address, &now)) {
        str_append(out_reason, "the file does not have it any more");
        return false;
    }
    str_printf(out_reason, "the file now gives it the address %s instead of %s", str_text(&now),
               or_nothing(item->file_value));
    return item->file_value != NULL && strcmp(str_text(&now), item->file_value) == 0;
}

static bool added_stands(struct rebuild *rebuild, const struct override *item,
                         struct str *out_reason)
{
    const struct model_pool *pool = model_find_pool(rebuild->file_model, item->pool);

    if (pool == NULL) {
        str_append(out_reason, "the pool is gone");
        return false;
    }
    str_append(out_reason, "the file now has a backend of that name itself, and its word counts");
    return model_find_backend(pool, item->backend) == NULL;
}

static void judge(struct rebuild *rebuild, enum override_kind kind)
{
    static bool (*const judges[OVERRIDE_KIND_COUNT])(struct rebuild *, const struct override *,
                                                     struct str *) = {
        [OVERRIDE_SET] = set_stands,
        [OVERRIDE_ADDED] = added_stands,
        [OVERRIDE_REMOVED] = removed_stands};

    for (size_t i = 0; i < rebuild->list->count; i++) {
        const struct override *item = &rebuild->list->items[i];
        STR_AUTO reason = {0};
        const char *file;
        int line;

        if (!rebuild->left_out[i] && item->kind == kind && !judges[kind](rebuild, item, &reason)) {
            place_of(rebuild, item, &file, &line);
            drop(rebuild, i, file, line, str_text(&reason));
        }
    }
}

/* How surely a record is to blame for a fault: it set that option, it wrote that section, it set
 * something else there, it is elsewhere. */
enum guilt { GUILT_ELSEWHERE = 1, GUILT_BESIDE, GUILT_SECTION, GUILT_OPTION };

static enum guilt blame(const struct override *item, const struct errlist_item *fault)
{
    STR_AUTO section = {0};
    size_t len = item->option != NULL ? strlen(item->option) : 0;
    bool is_there;

    section_path(item, &section);
    is_there = strcmp(str_text(&section), fault->section) == 0 ||
               (item->backend != NULL && /* one of its addresses */
                strncmp(str_text(&section), fault->section, section.len - 1) == 0 &&
                fault->section[section.len - 1] == '@');
    if (!is_there) {
        return GUILT_ELSEWHERE;
    }
    if (item->kind == OVERRIDE_ADDED) {
        return GUILT_SECTION;
    }
    return len > 0 && strncmp(fault->text, item->option, len) == 0 && fault->text[len] == ':'
               ? GUILT_OPTION
               : GUILT_BESIDE;
}

/* Gives up the record that is most surely to blame, of several the newest. False when none is left.
 */
static bool drop_culprit(struct rebuild *rebuild, const struct errlist *faults)
{
    const struct errlist_item *fault = errlist_first_error(faults);
    const char *file;
    size_t worst = 0;
    int most = 0;
    int line;

    for (size_t i = 0; fault != NULL && i < rebuild->list->count; i++) {
        int guilt = rebuild->left_out[i] ? 0 : (int)blame(&rebuild->list->items[i], fault);

        if (guilt > 0 && guilt >= most) {
            most = guilt;
            worst = i;
        }
    }
    if (most == 0 || strncmp(fault->text, "out of memory", strlen("out of memory")) == 0) {
        return false;
    }
    place_of(rebuild, &rebuild->list->items[worst], &file, &line);
    drop(rebuild, worst, file, line, fault->text);
    return true;
}

/* Whether the file goes with the names, without any record; else errors in dropped. */
static bool is_sound(const struct rebuild *rebuild, const struct model_registries *registries)
{
    static const struct overrides none;
    struct errlist faults = {0};
    struct model *model =
        edits_build(&none, NULL, rebuild->tree, rebuild->names, registries, &faults);
    bool sound = model != NULL;

    for (size_t i = 0; i < faults.count && !sound; i++) {
        const struct errlist_item *item = &faults.items[i];

        if (item->severity == ERRLIST_ERROR) {
            errlist_add(rebuild->dropped, ERRLIST_ERROR, item->file, item->line, item->section,
                        "%s", item->text);
        }
    }
    model_free(model);
    errlist_free(&faults);
    return sound;
}

/* Each round gives one up; the file by itself is sound, so there is an end. NULL with an error. */
static struct model *build_standing(struct rebuild *rebuild,
                                    const struct model_registries *registries)
{
    struct model *model = NULL;
    size_t rounds = 0;
    bool again = true;

    while (again && model == NULL) {
        struct errlist faults = {0};

        model = edits_build(rebuild->list, rebuild->left_out, rebuild->tree, rebuild->names,
                            registries, &faults);
        if (model == NULL && rounds++ == 0 && !is_sound(rebuild, registries)) {
            errlist_free(&faults);
            return NULL;
        }
        again = model == NULL && drop_culprit(rebuild, &faults);
        judge(rebuild, OVERRIDE_SET); /* what was set of an added one goes with it */
        errlist_free(&faults);
    }
    return model;
}

static int keep_standing(const struct rebuild *rebuild, struct overrides *kept)
{
    for (size_t i = 0; i < rebuild->list->count; i++) {
        if (!rebuild->left_out[i] && overrides_set(kept, &rebuild->list->items[i]) != 0) {
            overrides_free(kept);
            return -ENOMEM;
        }
    }
    return 0;
}

struct model *overrides_rebuild(const struct overrides *list, const struct conf_tree *tree,
                                const struct names *names, const struct model *file_model,
                                const struct model_registries *registries, struct overrides *kept,
                                struct errlist *dropped)
{
    struct rebuild rebuild = {.list = list,
                              .tree = tree,
                              .names = names,
                              .file_model = file_model,
                              .left_out = calloc(list->count + 1, sizeof(bool)),
                              .dropped = dropped};
    struct model *model = NULL;
    size_t before = dropped->errors;

    if (rebuild.left_out != NULL) {
        judge(&rebuild, OVERRIDE_REMOVED);
        judge(&rebuild, OVERRIDE_ADDED);
        judge(&rebuild, OVERRIDE_SET);
        model = build_standing(&rebuild, registries);
    }
    if (model != NULL && keep_standing(&rebuild, kept) != 0) {
        model_free(model);
        model = NULL;
    }
    if (model == NULL && dropped->errors == before) {
        errlist_add(dropped, ERRLIST_ERROR, NULL, 0, NULL,
                    "out of memory while applying overrides; nothing was changed");
    }
    free(rebuild.left_out);
    return model;
}
