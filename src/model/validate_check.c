/*
 * How backends are checked: kinds, labels, and the options that are the kinds' own. What only a
 * kind can tell of its options its judge says, handed in from outside. The rest of validate_pool.c.
 * In master.
 */
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "base/units.h"
#include "build.h"
#include "sluice/limits.h"

/* --- kinds --- */

/* Whether the kind is known; reports it if not. */
static bool check_kind(struct build *build, const struct conf_section *section,
                       const struct model_check *check)
{
    const char *const *kinds = build->registries->check_kinds;
    const char *nearest;
    char shown[SHOW_MAX];
    STR_AUTO known = {0};

    for (const char *const *kind = kinds; *kind != NULL; kind++) {
        if (strcmp(*kind, check->kind) == 0) {
            return true;
        }
        str_printf(&known, "%s\"%s\"", kind == kinds ? "" : ", ", *kind);
    }
    nearest = units_nearest(check->kind, kinds);
    if (nearest != NULL) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: unknown kind of check; did you mean \"%s\"?",
                    option_show(check->kind, shown), nearest);
    } else {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: unknown kind of check; write one of %s, and :LABEL after it if you like",
                    option_show(check->kind, shown), str_text(&known));
    }
    return false;
}

static void check_label(struct build *build, const struct conf_section *section,
                        const struct model_check *check)
{
    char shown[SHOW_MAX];

    if (!conf_name_valid(check->title) || strcmp(check->title + strlen(check->kind), ":") == 0) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                    "%s: no usable label; write KIND:LABEL with at most %d letters, digits "
                    "and _ . @ : -",
                    option_show(check->title, shown), NAME_BYTES_MAX - 1);
    }
}

/* --- options of the kinds --- */

/* Says which kinds have the option, of those that this daemon knows. */
static void refuse_foreign(struct build *build, const struct conf_section *section,
                           const struct option_def *option, const struct model_check *check)
{
    STR_AUTO owners = {0};

    for (const char *const *kind = build->registries->check_kinds; *kind != NULL; kind++) {
        if (option_is_for(option, *kind)) {
            str_printf(&owners, "%s\"%s\"", owners.len > 0 ? ", " : "", *kind);
        }
    }
    build_fault(build, ERRLIST_ERROR, section, option->name, 0,
                owners.len > 0 ? "check \"%s\" has no such option; leave it out, or write one of "
                                 "the checks that have it: %s"
                               : "check \"%s\" has no such option; leave it out%s",
                check->kind, str_text(&owners));
}

static bool judge_source(const char *value, struct str *out_problem)
{
    struct addr_ip ip;
    char shown[SHOW_MAX];

    if (addr_parse_ip(value, &ip) == 0) {
        return true;
    }
    str_printf(out_problem,
               "%s: not an IP address; write one of this machine's, without a port, such as "
               "192.0.2.1 or 2001:db8::1",
               option_show(value, shown));
    return false;
}

static bool judge_value(struct build *build, const struct conf_section *section,
                        const struct option_def *option, const struct model_check *check,
                        size_t item)
{
    const struct model_registries *registries = build->registries;
    const struct conf_value *value = &conf_find(section, option->name)->values[item];
    STR_AUTO problem = {0};
    char shown[SHOW_MAX];
    bool passed = true;

    if (strcmp(option->name, "source") == 0) {
        passed = judge_source(value->text, &problem);
    } else if (registries->judge_check != NULL) {
        passed = registries->judge_check(check->kind, option->name, value->text, &problem);
    }
    if (!passed && value->secret) {
        /* The problem may quote the value, which nobody shall see. */
        build_fault(build, ERRLIST_ERROR, section, option->name, item,
                    "%s: what it stands for will not do; write another value in its place and "
                    "test that",
                    option_show(value->raw, shown));
    } else if (!passed) {
        build_fault(build, ERRLIST_ERROR, section, option->name, item, "%s", str_text(&problem));
    }
    return passed;
}

/* Whether all that was written is good. Empty values are reported already, and so is bool. */
static bool judge_values(struct build *build, const struct conf_section *section,
                         const struct option_def *option, const struct model_check *check)
{
    const struct conf_option *given = conf_find(section, option->name);
    bool passed = option->type == OPTION_LIST || given->n_values == 1;

    for (size_t i = 0; i < given->n_values && option->type != OPTION_BOOL; i++) {
        passed = given->values[i].text[0] != '\0' &&
                 judge_value(build, section, option, check, i) && passed;
    }
    return passed;
}

static void judge_together(struct build *build, const struct conf_section *section,
                           const struct model_check *check)
{
    struct model_arg *args;
    STR_AUTO problem = {0};
    size_t n;

    if (build->registries->judge_check_all == NULL) {
        return;
    }
    args = args_list(check, &n);
    build->no_memory = build->no_memory || args == NULL;
    if (args != NULL && !build->registries->judge_check_all(check->kind, args, n, &problem)) {
        build_fault(build, ERRLIST_ERROR, section, NULL, 0, "%s",
                    check->secrets.count == 0
                        ? str_text(&problem)
                        : "its options will not do together; write other values in place of "
                          "${file:…} and test those");
    }
    free(args);
}

static void check_options(struct build *build, const struct conf_section *section,
                          const struct model_check *check)
{
    const struct section_info *info = options_section(SECTION_CHECK);
    bool passed = true;

    for (size_t i = 0; i < info->n_options; i++) {
        const struct option_def *option = &info->options[i];
        const struct conf_option *given = conf_find(section, option->name);

        if (option_is_required_for(option, check->kind) &&
            (given == NULL || given->n_values == 0)) {
            passed = false; /* reported by build.c */
        } else if (given != NULL && !option_is_for(option, check->kind)) {
            refuse_foreign(build, section, option, check);
        } else if (given != NULL && option->kinds != NULL) {
            passed = judge_values(build, section, option, check) && passed;
        }
    }
    if (passed) {
        judge_together(build, section, check);
    }
}

void validate_checks(struct build *build, const struct conf_section *parent,
                     const struct model_check *checks, size_t n)
{
    const struct conf_section *section;
    size_t cursor = 0;

    for (size_t i = 0; i < n; i++) {
        size_t n_args = 0;
        size_t bytes_before = build->n_arg_bytes;

        section = build_next(parent, "check", &cursor);
        check_label(build, section, &checks[i]);
        if (check_kind(build, section, &checks[i])) {
            check_options(build, section, &checks[i]);
        }
        if (i == CHECKS_MAX) {
            validate_count(build, section, n, CHECKS_MAX, "checks in one section");
        }
        args_count(&checks[i], &n_args, &build->n_arg_bytes);
        if (build->n_arg_bytes > ARGS_BYTES_MAX && bytes_before <= ARGS_BYTES_MAX) {
            build_fault(build, ERRLIST_ERROR, section, NULL, 0,
                        "more than %d MiB of text in the checks so far; write less, or let "
                        "backends share the checks of their pool",
                        ARGS_BYTES_MAX / (1024 * 1024));
        }
    }
}
