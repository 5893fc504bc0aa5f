/*
 * The model as a configuration file, in the order in which it was read. Made from the option table,
 * but for the nesting of sections. In master.
 */
#include <string.h>

#include "options.h"

static void indent(struct str *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        str_append(out, "    ");
    }
}

static void print_option(const struct option_def *option, const void *section, bool all,
                         unsigned depth, struct str *out)
{
    if (option_given(option, section) && (all || !option_is_default(option, section))) {
        indent(out, depth);
        str_printf(out, "%s = ", option->name);
        option_print(option, section, out);
        str_append_char(out, '\n');
    }
}

static void print_options(enum section_kind kind, const void *section, bool all, unsigned depth,
                          struct str *out)
{
    const struct section_info *info = options_section(kind);

    for (size_t i = 0; i < info->n_options; i++) {
        print_option(&info->options[i], section, all, depth, out);
    }
}

static void open_section(enum section_kind kind, const char *title, unsigned depth, struct str *out)
{
    indent(out, depth);
    str_append(out, options_section(kind)->name);
    if (title != NULL) {
        str_append_char(out, ' ');
        conf_quote(out, title);
    }
    str_append(out, " {\n");
}

static void close_section(unsigned depth, struct str *out)
{
    indent(out, depth);
    str_append(out, "}\n");
}

static void print_check(const struct model_check *check, bool all, unsigned depth, struct str *out)
{
    const struct section_info *info = options_section(SECTION_CHECK);

    open_section(SECTION_CHECK, check->title, depth, out);
    for (size_t i = 0; i < info->n_options; i++) {
        if (option_is_for(&info->options[i], check->kind)) {
            print_option(&info->options[i], check, all, depth + 1, out);
        }
    }
    close_section(depth, out);
}

static void print_checks(const struct model_check *checks, size_t n, bool all, unsigned depth,
                         struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        print_check(&checks[i], all, depth, out);
    }
}

/* Always says the mode: without one the other options would mean nothing, and be refused. */
static void print_reuse(const struct model_reuse *reuse, bool all, unsigned depth, struct str *out)
{
    const struct option_def *mode = options_find(SECTION_REUSE, "mode");

    open_section(SECTION_REUSE, NULL, depth, out);
    if (!all && option_is_default(mode, reuse)) {
        print_option(mode, reuse, true, depth + 1, out);
    }
    print_options(SECTION_REUSE, reuse, all, depth + 1, out);
    close_section(depth, out);
}

/* --- backends --- */

bool model_backend_is_from_file(const struct model_pool *pool, const struct model_backend *backend)
{
    return pool->backends_file != NULL && backend->file != NULL &&
           strcmp(pool->backends_file, backend->file) == 0;
}

/* In one line, with all that was set by command. */
static void print_from_file(const struct model_backend *backend, struct str *out)
{
    const struct section_info *info = options_section(SECTION_BACKEND);

    str_printf(out, "    # from backends_file: backend \"%s\" {", backend->name);
    for (size_t i = 0; i < info->n_options; i++) {
        const struct option_def *option = &info->options[i];

        if (option_given(option, backend) && !option_is_default(option, backend)) {
            str_printf(out, " %s = ", option->name);
            option_print(option, backend, out);
        }
    }
    str_append(out, " }\n");
}

/* What it stands for; running NULL: not known. */
static void print_addresses(const struct model_backend *template, const struct model_pool *running,
                            const char *indent, struct str *out)
{
    STR_AUTO list = {0};

    for (size_t i = 0; template->named && running != NULL && i < running->n_backends; i++) {
        const struct model_backend *backend = &running->backends[i];

        if (backend->of != NULL && strcmp(backend->of, template->name) == 0) {
            str_printf(&list, "%s%s", list.len > 0 ? ", " : "", model_backend_shown(backend));
        }
    }
    if (list.len > 0) {
        str_printf(out, "%s# now %s\n", indent, str_text(&list));
    }
    out->failed = out->failed || list.failed;
}

static void print_backend(const struct model_pool *pool, const struct model_backend *backend,
                          const struct model_pool *running, bool all, struct str *out)
{
    if (model_backend_is_from_file(pool, backend)) {
        print_from_file(backend, out);
        print_addresses(backend, running, "    #     ", out);
        return;
    }
    open_section(SECTION_BACKEND, backend->name, 1, out);
    print_options(SECTION_BACKEND, backend, all, 2, out);
    print_addresses(backend, running, "        ", out);
    print_checks(backend->own_checks, backend->n_own_checks, all, 2, out);
    close_section(1, out);
}

/* running: the same pool as it runs, or NULL. */
static void print_pool(const struct model_pool *pool, const struct model_pool *running, bool all,
                       struct str *out)
{
    open_section(SECTION_POOL, pool->name, 0, out);
    print_options(SECTION_POOL, pool, all, 1, out);
    if (pool->outlier.given) {
        open_section(SECTION_OUTLIER, NULL, 1, out);
        print_options(SECTION_OUTLIER, &pool->outlier, all, 2, out);
        close_section(1, out);
    }
    if (pool->reuse.given) {
        print_reuse(&pool->reuse, all, 1, out);
    }
    print_checks(pool->checks, pool->n_checks, all, 1, out);
    for (size_t i = 0; i < pool->n_backends; i++) {
        print_backend(pool, &pool->backends[i], running, all, out);
    }
    close_section(0, out);
}

void model_print(const struct model *model, bool all, struct str *out)
{
    model_print_names(model, NULL, all, out);
}

void model_print_names(const struct model *model, const struct model *running, bool all,
                       struct str *out)
{
    STR_AUTO global = {0};

    print_options(SECTION_GLOBAL, &model->global, all, 1, &global);
    if (global.len > 0) {
        open_section(SECTION_GLOBAL, NULL, 0, out);
        str_append(out, str_text(&global));
        close_section(0, out);
    }
    for (size_t i = 0; i < model->n_services; i++) {
        open_section(SECTION_SERVICE, model->services[i].name, 0, out);
        print_options(SECTION_SERVICE, &model->services[i], all, 1, out);
        close_section(0, out);
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];

        print_pool(pool, running != NULL ? model_find_pool(running, pool->name) : NULL, all, out);
    }
    out->failed = out->failed || global.failed;
}
