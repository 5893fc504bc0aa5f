/* Reading the configuration for whoever waits for it. In the daemon before it is master, and in
 * sluicectl doctor. */
#include "configuration.h"

#include <stdio.h>

#include "capacity.h"
#include "master.h"
#include "preflight.h"
#include "registries.h"
#include "resolve.h"

static void nothing(void *arg)
{
    (void)arg;
}

struct model *configuration_build(const struct conf_tree *tree, struct names *names,
                                  struct errlist *errors)
{
    static const struct overrides none;
    struct overrides kept = {0};
    struct model *file_model = model_build(tree, &daemon_registries, errors);
    struct model *model = NULL;
    if (file_model != NULL && names_wanted(tree, names) == 0) {
        resolve_start(NULL, names, RESOLVE_FILE_MS, nothing, NULL);
        model =
            overrides_rebuild(&none, tree, names, file_model, &daemon_registries, &kept, errors);
    }
    model_free(file_model);
    return model;
}

/* Prints what was found. NULL with an error. */
static struct model *print_errors(struct errlist *errors, struct model *model)
{
    STR_AUTO text = {0};
    errlist_sort(errors);
    errlist_print(errors, &text);
    fputs(str_text(&text), stderr);
    if (errors->errors > 0) {
        model_free(model);
        model = NULL;
    }
    errlist_free(errors);
    return model;
}

static struct model *load(const char *file, struct errlist *errors, struct conf_tree **out_tree,
                          struct names *names)
{
    conf_load_wait(file, model_schema(), LOAD_MS, errors, out_tree);
    return *out_tree != NULL ? configuration_build(*out_tree, names, errors) : NULL;
}

struct model *configuration_read(const char *file, bool strict, struct conf_tree **out_tree,
                                 struct names *out_names)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct names names = {0};
    struct model *model = load(file, &errors, &tree, &names);
    if (model != NULL) {
        preflight_names(model, &names, strict, &errors);
        preflight_machine(model, strict, &errors);
        preflight_start(model, strict, &errors);
    }
    model = print_errors(&errors, model);
    if (model != NULL) {
        *out_tree = tree;
        *out_names = names;
    } else {
        conf_tree_free(tree);
        names_free(&names);
        *out_tree = NULL;
    }
    return model;
}

struct model *configuration_read_at(const char *file, configuration_place_fn *place, void *arg)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct names names = {0};
    struct model *model = load(file, &errors, &tree, &names);
    if (model != NULL) {
        preflight_names(model, &names, false, &errors);
        if (place(model, arg)) {
            preflight_machine(model, false, &errors);
        }
        preflight_start(model, false, &errors);
    }
    conf_tree_free(tree);
    names_free(&names);
    return print_errors(&errors, model);
}

void configuration_print(const struct conf_tree *tree, const struct model *model, struct str *out)
{
    static const struct overrides none;
    struct model *file_model = overrides_build_file(&none, tree, model, &daemon_registries);
    if (file_model != NULL) {
        model_print_names(file_model, model, true, out);
    }
    out->failed = out->failed || file_model == NULL;
    model_free(file_model);
}

void configuration_weigh(const struct model *model)
{
    struct errlist errors = {0};
    struct machine machine;
    STR_AUTO text = {0};
    machine_read("", 0, &machine);
    preflight_ports(model, &machine, &errors);
    capacity_warn_all(model, &machine, capacity_workers(model, machine.cpus), machine_may_come_from,
                      &errors);
    errlist_print(&errors, &text);
    fputs(str_text(&text), stderr);
    errlist_free(&errors);
}
