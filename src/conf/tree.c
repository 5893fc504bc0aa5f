/*
 * The configuration tree: building, looking up, freeing. Used in the reading child, which builds
 * one, and in the parent, which rebuilds it from the child's answer. It owns all its strings but
 * the schema's names.
 */
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/limits.h"

/* Room for one more of size bytes after n of them; arrays grow by doubling, so that their capacity
 * follows from n alone. Returns the array, or NULL and the old one stays. */
static void *grow(void *array, size_t n, size_t size)
{
    if (n != 0 && (n & (n - 1)) != 0)
        return array;
    return reallocarray(array, n == 0 ? 1 : n * 2, size);
}

struct conf_tree *conf_tree_new(const struct conf_section_schema *schema)
{
    struct conf_tree *tree = calloc(1, sizeof *tree);
    if (tree) {
        tree->root.schema = schema;
        tree->root.file = "";
    }
    return tree;
}

const char *conf_tree_add_file(struct conf_tree *tree, const char *path)
{
    for (size_t i = 0; i < tree->n_files; i++)
        if (strcmp(tree->files[i], path) == 0)
            return tree->files[i];

    char **files = grow(tree->files, tree->n_files, sizeof *files);
    if (!files)
        return NULL;
    tree->files = files;
    char *copy = strdup(path);
    if (!copy)
        return NULL;
    files[tree->n_files++] = copy;
    if (tree->n_files == 1)
        tree->root.file = copy;
    return copy;
}

struct conf_section *conf_tree_add_section(struct conf_section *parent,
                                           const struct conf_section_schema *schema,
                                           const char *title, const char *file, int line)
{
    struct conf_section **sections =
        grow(parent->sections, parent->n_sections, sizeof(struct conf_section *));
    if (!sections)
        return NULL;
    parent->sections = sections;

    struct conf_section *section = calloc(1, sizeof *section);
    if (!section)
        return NULL;
    if (title) {
        section->title = strdup(title);
        if (!section->title) {
            free(section);
            return NULL;
        }
    }
    section->schema = schema;
    section->file = file;
    section->line = line;
    section->parent = parent;
    sections[parent->n_sections++] = section;
    return section;
}

struct conf_option *conf_tree_add_option(struct conf_section *section,
                                         const struct conf_option_schema *schema, const char *file,
                                         int line)
{
    struct conf_option *options = grow(section->options, section->n_options, sizeof *options);
    if (!options)
        return NULL;
    section->options = options;
    struct conf_option *option = &options[section->n_options++];
    *option = (struct conf_option){.name = schema->name, .file = file, .line = line};
    return option;
}

int conf_tree_add_value(struct conf_option *option, char *raw, int line)
{
    struct conf_value *values = raw ? grow(option->values, option->n_values, sizeof *values) : NULL;
    if (!values) {
        free(raw);
        return -ENOMEM;
    }
    option->values = values;
    values[option->n_values++] = (struct conf_value){.raw = raw, .text = raw, .line = line};
    return 0;
}

static void free_option(struct conf_option *option)
{
    for (size_t i = 0; i < option->n_values; i++) {
        struct conf_value *value = &option->values[i];
        if (value->text != value->raw) {
            if (value->secret && value->text)
                explicit_bzero(value->text, strlen(value->text));
            free(value->text);
        }
        free(value->raw);
    }
    free(option->values);
}

static void free_contents(struct conf_section *section)
{
    for (size_t i = 0; i < section->n_options; i++)
        free_option(&section->options[i]);
    free(section->options);
    for (size_t i = 0; i < section->n_sections; i++) {
        free_contents(section->sections[i]);
        free(section->sections[i]);
    }
    free(section->sections);
    free(section->title);
}

void conf_tree_free(struct conf_tree *tree)
{
    if (!tree)
        return;
    free_contents(&tree->root);
    for (size_t i = 0; i < tree->n_files; i++)
        free(tree->files[i]);
    free(tree->files);
    free(tree);
}

const struct conf_option *conf_find(const struct conf_section *section, const char *name)
{
    for (size_t i = 0; i < section->n_options; i++)
        if (strcmp(section->options[i].name, name) == 0)
            return &section->options[i];
    return NULL;
}

void conf_section_path(const struct conf_section *section, struct str *out)
{
    if (!section->parent)
        return;
    conf_section_path(section->parent, out);
    if (section->parent->parent)
        str_append(out, " / ");
    str_append(out, section->schema->name);
    if (section->title)
        str_printf(out, " \"%s\"", section->title);
}

const struct conf_option_schema *conf_schema_option(const struct conf_section_schema *schema,
                                                    const char *name)
{
    for (const struct conf_option_schema *o = schema->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return o;
    return NULL;
}

const struct conf_section_schema *conf_schema_section(const struct conf_section_schema *schema,
                                                      const char *name)
{
    for (const struct conf_section_schema *const *s = schema->sections; s && *s; s++)
        if (strcmp((*s)->name, name) == 0)
            return *s;
    return NULL;
}

#define STRINGIFY_VALUE(x) #x
#define STRINGIFY(x)       STRINGIFY_VALUE(x)

const char *conf_name_problem(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.@:-";
    if (*text == '\0')
        return "is empty";
    if (strcmp(text, "json") == 0 || strcmp(text, "*") == 0)
        return "is reserved; choose another";
    if (strlen(text) >= NAME_BYTES_MAX)
        return "is too long; a name must be shorter than " STRINGIFY(NAME_BYTES_MAX) " bytes";
    if (text[strspn(text, allowed)] != '\0')
        return "is not allowed; a name is made of letters, digits and _ . @ : -";
    return NULL;
}

bool conf_name_valid(const char *text)
{
    return conf_name_problem(text) == NULL;
}
