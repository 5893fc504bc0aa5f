/*
 * The sections of the file: which options of the table each has, and what nests in what. In master.
 */
#include <assert.h>
#include <string.h>

#include "backends_file.h"
#include "options.h"

static const char *const kind_names[SECTION_KIND_COUNT] = {
    [SECTION_GLOBAL] = "global",   [SECTION_SERVICE] = "service", [SECTION_POOL] = "pool",
    [SECTION_OUTLIER] = "outlier", [SECTION_REUSE] = "reuse",     [SECTION_BACKEND] = "backend",
    [SECTION_CHECK] = "check",
};

static const size_t secrets_offsets[SECTION_KIND_COUNT] = {
    [SECTION_GLOBAL] = offsetof(struct model_global, secrets),
    [SECTION_SERVICE] = offsetof(struct model_service, secrets),
    [SECTION_POOL] = offsetof(struct model_pool, secrets),
    [SECTION_OUTLIER] = offsetof(struct model_outlier, secrets),
    [SECTION_REUSE] = offsetof(struct model_reuse, secrets),
    [SECTION_BACKEND] = offsetof(struct model_backend, secrets),
    [SECTION_CHECK] = offsetof(struct model_check, secrets),
};

static void find_sections(struct section_info sections[static SECTION_KIND_COUNT])
{
    for (size_t kind = 0; kind < SECTION_KIND_COUNT; kind++) {
        struct section_info *info = &sections[kind];
        const struct option_def *option = option_table;

        while (option->name != NULL && strcmp(option->section, kind_names[kind]) != 0) {
            option++;
        }
        *info = (struct section_info){
            .name = kind_names[kind], .secrets_offset = secrets_offsets[kind], .options = option};
        while (option->name != NULL && strcmp(option->section, kind_names[kind]) == 0) {
            option++;
            info->n_options++;
        }
    }
}

const struct section_info *options_section(enum section_kind kind)
{
    static struct section_info sections[SECTION_KIND_COUNT];

    if (sections[0].name == NULL) {
        find_sections(sections);
    }
    return &sections[kind];
}

const struct option_def *options_find(enum section_kind kind, const char *name)
{
    const struct section_info *info = options_section(kind);

    for (size_t i = 0; i < info->n_options; i++) {
        if (strcmp(info->options[i].name, name) == 0) {
            return &info->options[i];
        }
    }
    return NULL;
}

/* --- kinds of checks --- */

/* Whether kind is one of the words. */
static bool has_word(const char *words, const char *kind)
{
    size_t len = strlen(kind);

    while (len > 0 && *words != '\0') {
        size_t word_len = strcspn(words, " ");

        if (word_len == len && memcmp(words, kind, len) == 0) {
            return true;
        }
        words += word_len;
        words += strspn(words, " ");
    }
    return false;
}

bool option_is_for(const struct option_def *option, const char *check_kind)
{
    return option->kinds == NULL || has_word(option->kinds, check_kind);
}

bool option_is_required_for(const struct option_def *option, const char *check_kind)
{
    return option->required_for != NULL && has_word(option->required_for, check_kind);
}

/* --- the parser's schema --- */

#define SECTION_OPTIONS_MAX 48

static struct conf_option_schema schema_options[SECTION_KIND_COUNT][SECTION_OPTIONS_MAX + 1];

static const struct conf_section_schema check_schema = {
    .name = "check", .titled = true, .titled_any = true, .options = schema_options[SECTION_CHECK]};
static const struct conf_section_schema outlier_schema = {
    .name = "outlier", .options = schema_options[SECTION_OUTLIER]};
static const struct conf_section_schema reuse_schema = {.name = "reuse",
                                                        .options = schema_options[SECTION_REUSE]};
static const struct conf_section_schema *const backend_children[] = {&check_schema, NULL};
static const struct conf_section_schema backend_schema = {.name = "backend",
                                                          .titled = true,
                                                          .options =
                                                              schema_options[SECTION_BACKEND],
                                                          .sections = backend_children};
static const struct conf_section_schema *const pool_children[] = {
    &outlier_schema, &reuse_schema, &check_schema, &backend_schema, NULL};
static const struct conf_section_schema pool_schema = {.name = "pool",
                                                       .titled = true,
                                                       .options = schema_options[SECTION_POOL],
                                                       .sections = pool_children};
static const struct conf_section_schema service_schema = {
    .name = "service", .titled = true, .options = schema_options[SECTION_SERVICE]};
static const struct conf_section_schema global_schema = {.name = "global",
                                                         .options = schema_options[SECTION_GLOBAL]};
static const struct conf_section_schema *const root_children[] = {&global_schema, &service_schema,
                                                                  &pool_schema, NULL};
static const struct conf_section_schema root_schema = {.sections = root_children,
                                                       .complete = backends_file_complete};

const struct conf_section_schema *model_schema(void)
{
    for (size_t kind = 0; kind < SECTION_KIND_COUNT; kind++) {
        const struct section_info *info = options_section((enum section_kind)kind);

        assert(info->n_options <= SECTION_OPTIONS_MAX);
        for (size_t i = 0; i < info->n_options; i++) {
            schema_options[kind][i] = (struct conf_option_schema){
                .name = info->options[i].name, .list = info->options[i].type == OPTION_LIST};
        }
    }
    return &root_schema;
}
