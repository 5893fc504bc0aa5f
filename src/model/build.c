/*
 * From the conf tree to typed structs, all through the option table. Faults are collected, never
 * the end of the walk: an option that is wrong keeps its default so that the rest can be judged. In
 * master.
 */
#include "build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void build_fault(struct build *build, enum errlist_severity severity,
                 const struct conf_section *section, const char *option, size_t item,
                 const char *format, ...)
{
    const struct conf_option *given = option != NULL ? conf_find(section, option) : NULL;
    const char *file = given != NULL ? given->file : section->file;
    int line = given != NULL ? given->line : section->line;
    STR_AUTO path = {0};
    STR_AUTO text = {0};
    va_list args;

    if (given != NULL && item < given->n_values && given->values[item].line > 0) {
        line = given->values[item].line;
    }
    conf_section_path(section, &path);
    if (option != NULL) {
        str_printf(&text, "%s: ", option);
    }
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    errlist_add(severity == ERRLIST_WARNING ? &build->warnings : build->errors, severity, file,
                line, str_text(&path), "%s", str_text(&text));
}

const struct conf_section *build_next(const struct conf_section *parent, const char *name,
                                      size_t *cursor)
{
    while (*cursor < parent->n_sections) {
        const struct conf_section *section = parent->sections[(*cursor)++];

        if (strcmp(section->schema->name, name) == 0) {
            return section;
        }
    }
    return NULL;
}

static size_t count_sections(const struct conf_section *parent, const char *name)
{
    size_t n = 0;
    size_t cursor = 0;

    while (build_next(parent, name, &cursor) != NULL) {
        n++;
    }
    return n;
}

char *build_show(const struct conf_section *section, const char *option, size_t item,
                 char buf[static SHOW_MAX])
{
    const struct conf_value *value = &conf_find(section, option)->values[item];

    return option_show(value->secret ? value->raw : value->text, buf);
}

/* Zeroed; NULL and no_memory set when there is none, or when n is 0. */
static void *new_array(struct build *build, size_t n, size_t bytes)
{
    void *array = n > 0 ? calloc(n, bytes) : NULL;

    build->no_memory = build->no_memory || (n > 0 && array == NULL);
    return array;
}

static char *new_text(struct build *build, const char *text)
{
    char *copy = strdup(text != NULL ? text : "");

    build->no_memory = build->no_memory || copy == NULL;
    return copy;
}

/* The model's own copy of a file's name, the same one for the same name. */
static const char *intern_file(struct build *build, const char *file)
{
    char **files;

    if (*file == '\0') {
        return ""; /* said beside the files */
    }
    if (build->last_file != NULL && strcmp(build->last_file, file) == 0) {
        return build->last_file;
    }
    for (size_t i = 0; i < build->n_files; i++) {
        if (strcmp(build->model->files[i], file) == 0) {
            return build->last_file = build->model->files[i];
        }
    }
    files = reallocarray(build->model->files, build->n_files + 2, sizeof(*files));
    if (files == NULL) {
        build->no_memory = true;
        return "";
    }
    build->model->files = files;
    files[build->n_files] = new_text(build, file);
    files[build->n_files + 1] = NULL;
    if (files[build->n_files] == NULL) {
        return "";
    }
    return build->last_file = files[build->n_files++];
}

/* --- options --- */

/* problem begins with the value in quotes, which nobody shall see of a secret. */
static void report_value(struct build *build, const struct conf_section *section,
                         const struct option_def *option, size_t item, const struct str *problem)
{
    const struct conf_value *value = &conf_find(section, option->name)->values[item];
    const char *text = str_text(problem);
    char shown[SHOW_MAX];
    char raw_shown[SHOW_MAX] = "";

    if (value->secret) {
        text += strlen(option_show(value->text, shown));
        (void)option_show(value->raw, raw_shown);
    }
    build_fault(build, ERRLIST_ERROR, section, option->name, item, "%s%s", raw_shown, text);
}

static int set_single(struct build *build, const struct conf_section *section,
                      const struct option_def *option, const struct conf_option *given, void *out)
{
    STR_AUTO problem = {0};
    int rc;

    if (given->n_values != 1) {
        build_fault(build, ERRLIST_ERROR, section, option->name, 0, "%zu values given; write one",
                    given->n_values);
        return 0;
    }
    rc = option_set(option, out, given->values[0].text, &problem);
    if (rc == -EINVAL) {
        report_value(build, section, option, 0, &problem);
    }
    return rc == -ENOMEM ? rc : 0;
}

static void judge_item(struct build *build, const struct conf_section *section,
                       const struct option_def *option, const char *text, size_t item)
{
    STR_AUTO problem = {0};

    if (text[0] == '\0') {
        build_fault(build, ERRLIST_ERROR, section, option->name, item,
                    "\"\": empty; write a value, or leave it out");
    } else if (option_judge_item(option, text, &problem) != 0) {
        report_value(build, section, option, item, &problem);
    }
}

/* Wrong items stay in, so that places in the list and in the file are the same. */
static int set_list(struct build *build, const struct conf_section *section,
                    const struct option_def *option, const struct conf_option *given,
                    bool is_required, void *out)
{
    const char **items = calloc(given->n_values + 1, sizeof(*items));
    int rc;

    if (items == NULL) {
        return -ENOMEM;
    }
    if (given->n_values == 0 && is_required) {
        build_fault(build, ERRLIST_ERROR, section, option->name, 0,
                    "the list is empty; write at least one");
    }
    for (size_t i = 0; i < given->n_values; i++) {
        judge_item(build, section, option, given->values[i].text, i);
        items[i] = given->values[i].text;
    }
    rc = option_set_list(option, out, items, given->n_values);
    free(items);
    return rc;
}

static int keep_secrets(const struct option_def *option, const struct conf_option *given, void *out)
{
    for (size_t i = 0; i < given->n_values; i++) {
        if (given->values[i].secret &&
            option_set_secret(option, out, i, given->values[i].raw) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static void report_missing(struct build *build, const struct conf_section *section,
                           const struct option_def *option)
{
    static const char *const forms[OPTION_TYPE_COUNT] = {
        [OPTION_LIST] = "{ \"…\" }", [OPTION_UINT] = "NUMBER"};
    const char *form = forms[option->type] != NULL ? forms[option->type] : "\"…\"";

    build_fault(build, ERRLIST_ERROR, section, NULL, 0, "%s is missing; write %s = %s",
                option->name, option->name, form);
}

/* section NULL: nothing is given. */
static void build_option(struct build *build, const struct conf_section *section,
                         const struct option_def *option, bool is_required, void *out)
{
    const struct conf_option *given = section != NULL ? conf_find(section, option->name) : NULL;
    int rc = option_set_default(option, out);

    if (rc == 0 && given == NULL && is_required && section != NULL) {
        report_missing(build, section, option);
    }
    if (rc == 0 && given != NULL) {
        rc = option->type == OPTION_LIST ? set_list(build, section, option, given, is_required, out)
                                         : set_single(build, section, option, given, out);
        rc = rc == 0 ? keep_secrets(option, given, out) : rc;
    }
    build->no_memory = build->no_memory || rc != 0;
}

static void build_options(struct build *build, const struct conf_section *section,
                          enum section_kind kind, void *out)
{
    const struct section_info *info = options_section(kind);

    for (size_t i = 0; i < info->n_options; i++) {
        build_option(build, section, &info->options[i], info->options[i].required, out);
    }
}

/* What belongs to other kinds is left alone; validate_check.c says so. */
static void build_check_options(struct build *build, const struct conf_section *section,
                                struct model_check *out)
{
    const struct section_info *info = options_section(SECTION_CHECK);
    const char *kind = out->kind != NULL ? out->kind : "";

    for (size_t i = 0; i < info->n_options; i++) {
        const struct option_def *option = &info->options[i];

        if (option_is_for(option, kind)) {
            build_option(build, section, option, option_is_required_for(option, kind), out);
        }
    }
}

/* --- sections --- */

static void build_checks(struct build *build, const struct conf_section *parent,
                         struct model_check **out_checks, size_t *out_n)
{
    size_t n = count_sections(parent, "check");
    struct model_check *checks = new_array(build, n, sizeof(*checks));
    const struct conf_section *section;
    size_t cursor = 0;

    if (checks == NULL) {
        return;
    }
    *out_checks = checks;
    *out_n = n;
    while ((section = build_next(parent, "check", &cursor)) != NULL) {
        checks->title = new_text(build, section->title);
        checks->kind = new_text(build, section->title);
        if (checks->kind != NULL) {
            checks->kind[strcspn(checks->kind, ":")] = '\0';
        }
        checks->file = intern_file(build, section->file);
        checks->line = section->line;
        build_check_options(build, section, checks);
        checks++;
    }
}

static void build_backends(struct build *build, const struct conf_section *parent,
                           struct model_pool *pool)
{
    size_t n = count_sections(parent, "backend");
    struct model_backend *backend = new_array(build, n, sizeof(*backend));
    const struct conf_section *section;
    size_t cursor = 0;

    if (backend == NULL) {
        return;
    }
    pool->backends = backend;
    pool->n_backends = n;
    while ((section = build_next(parent, "backend", &cursor)) != NULL) {
        backend->name = new_text(build, section->title);
        backend->of = section->origin != NULL ? new_text(build, section->origin->title) : NULL;
        backend->file = intern_file(build, section->file);
        backend->line = section->line;
        build_options(build, section, SECTION_BACKEND, backend);
        build_checks(build, section, &backend->own_checks, &backend->n_own_checks);
        backend++;
    }
}

/* A section that may be there once. Returns whether it is; out is filled either way. */
static bool build_single(struct build *build, const struct conf_section *parent,
                         enum section_kind kind, void *out)
{
    size_t cursor = 0;
    const struct conf_section *section = build_next(parent, options_section(kind)->name, &cursor);

    build_options(build, section, kind, out);
    return section != NULL;
}

static void build_pools(struct build *build)
{
    const struct conf_section *root = &build->tree->root;
    size_t n = count_sections(root, "pool");
    struct model_pool *pool = new_array(build, n, sizeof(*pool));
    const struct conf_section *section;
    size_t cursor = 0;

    if (pool == NULL) {
        return;
    }
    build->model->pools = pool;
    build->model->n_pools = n;
    while ((section = build_next(root, "pool", &cursor)) != NULL) {
        pool->name = new_text(build, section->title);
        pool->file = intern_file(build, section->file);
        pool->line = section->line;
        build_options(build, section, SECTION_POOL, pool);
        pool->outlier.given = build_single(build, section, SECTION_OUTLIER, &pool->outlier);
        pool->reuse.given = build_single(build, section, SECTION_REUSE, &pool->reuse);
        build_checks(build, section, &pool->checks, &pool->n_checks);
        build_backends(build, section, pool);
        pool++;
    }
}

static void build_services(struct build *build)
{
    const struct conf_section *root = &build->tree->root;
    size_t n = count_sections(root, "service");
    struct model_service *service = new_array(build, n, sizeof(*service));
    const struct conf_section *section;
    size_t cursor = 0;

    if (service == NULL) {
        return;
    }
    build->model->services = service;
    build->model->n_services = n;
    while ((section = build_next(root, "service", &cursor)) != NULL) {
        service->name = new_text(build, section->title);
        service->file = intern_file(build, section->file);
        service->line = section->line;
        service->fallback_index = SNAPSHOT_NONE;
        build_options(build, section, SECTION_SERVICE, service);
        service++;
    }
}

static void build_global(struct build *build)
{
    const struct section_info *info = options_section(SECTION_GLOBAL);
    struct model_global *global = &build->model->global;
    size_t cursor = 0;
    const struct conf_section *section = build_next(&build->tree->root, info->name, &cursor);

    build_options(build, section, SECTION_GLOBAL, global);
    global->places = new_array(build, info->n_options, sizeof(*global->places));
    for (size_t i = 0; section != NULL && global->places != NULL && i < info->n_options; i++) {
        const struct conf_option *given = conf_find(section, info->options[i].name);
        const char *file = given != NULL ? given->file : section->file;

        global->places[i] = (struct model_place){
            .file = intern_file(build, file), .line = given != NULL ? given->line : section->line};
    }
}

static void build_all(struct build *build)
{
    const struct conf_tree *tree = build->tree;

    build->model->files = new_array(build, 1, sizeof(*build->model->files));
    for (size_t i = 0; i < tree->n_files && !build->no_memory; i++) {
        (void)intern_file(build, tree->files[i]);
    }
    build_global(build);
    build_services(build);
    build_pools(build);
    if (!build->no_memory) {
        validate_listeners(build);
        validate_model(build);
    }
}

static void append_warnings(struct build *build)
{
    for (size_t i = 0; i < build->warnings.count; i++) {
        const struct errlist_item *item = &build->warnings.items[i];

        errlist_add(build->errors, ERRLIST_WARNING, item->file, item->line, item->section, "%s",
                    item->text);
    }
    build->errors->dropped += build->warnings.dropped;
    errlist_free(&build->warnings);
}

struct model *model_build(const struct conf_tree *tree, const struct model_registries *registries,
                          struct errlist *errors)
{
    return model_build_next(tree, NULL, registries, errors);
}

struct model *model_build_next(const struct conf_tree *tree, const struct conf_tree *running,
                               const struct model_registries *registries, struct errlist *errors)
{
    struct build build = {
        .tree = tree, .running = running, .registries = registries, .errors = errors};
    size_t errors_before = errors->errors;

    build.model = calloc(1, sizeof(*build.model));
    if (build.model != NULL) {
        build_all(&build);
    }
    if (build.model == NULL || build.no_memory) {
        errlist_add(errors, ERRLIST_ERROR, tree->n_files > 0 ? tree->files[0] : NULL, 0, NULL,
                    "out of memory; nothing was changed");
    }
    append_warnings(&build);
    errlist_sort(errors);
    if (errors->errors != errors_before) {
        model_free(build.model);
        build.model = NULL;
    }
    return build.model;
}
