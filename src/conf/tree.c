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

static void free_values(struct conf_option *option)
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
    option->values = NULL;
    option->n_values = 0;
}

static void free_contents(struct conf_section *section);

static void free_section(struct conf_section *section)
{
    free_contents(section);
    free(section);
}

static void free_contents(struct conf_section *section)
{
    for (size_t i = 0; i < section->n_options; i++)
        free_values(&section->options[i]);
    free(section->options);
    for (size_t i = 0; i < section->n_sections; i++)
        free_section(section->sections[i]);
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

/* --- copying --- */

/* From the original's files to the copy's own. */
struct copier {
    char **from, **to;
    size_t n;
    size_t last;       /* where the search ended: neighbours come from the same file */
    bool is_same_tree; /* files stay as they are */
};

static const char *map_file(struct copier *copier, const char *file)
{
    if (copier->is_same_tree)
        return file;
    if (copier->last < copier->n && copier->from[copier->last] == file)
        return copier->to[copier->last];
    for (size_t i = 0; i < copier->n; i++)
        if (copier->from[i] == file)
            return copier->to[copier->last = i];
    return "";
}

static int copy_value(const struct conf_value *from, struct conf_option *to)
{
    int rc = conf_tree_add_value(to, strdup(from->raw), from->line);
    if (rc != 0)
        return rc;
    struct conf_value *value = &to->values[to->n_values - 1];
    value->secret = from->secret;
    if (from->text != from->raw) {
        value->text = strdup(from->text);
        rc = value->text ? 0 : -ENOMEM;
    }
    return rc;
}

static int copy_options(struct copier *copier, const struct conf_section *from,
                        struct conf_section *to)
{
    for (size_t i = 0; i < from->n_options; i++) {
        const struct conf_option *option = &from->options[i];
        const struct conf_option_schema schema = {.name = option->name};
        struct conf_option *copy =
            conf_tree_add_option(to, &schema, map_file(copier, option->file), option->line);
        if (!copy)
            return -ENOMEM;
        for (size_t j = 0; j < option->n_values; j++)
            if (copy_value(&option->values[j], copy) != 0)
                return -ENOMEM;
    }
    return 0;
}

/* As deep as the schema is. */
static int copy_contents(struct copier *copier, const struct conf_section *from,
                         struct conf_section *to)
{
    int rc = copy_options(copier, from, to);
    for (size_t i = 0; i < from->n_sections && rc == 0; i++) {
        const struct conf_section *section = from->sections[i];
        struct conf_section *copy = conf_tree_add_section(
            to, section->schema, section->title, map_file(copier, section->file), section->line);
        rc = copy ? copy_contents(copier, section, copy) : -ENOMEM;
    }
    return rc;
}

struct conf_tree *conf_tree_copy(const struct conf_tree *tree)
{
    struct conf_tree *copy = conf_tree_new(tree->root.schema);
    for (size_t i = 0; copy && i < tree->n_files; i++)
        if (!conf_tree_add_file(copy, tree->files[i])) {
            conf_tree_free(copy);
            return NULL;
        }
    if (!copy)
        return NULL;
    struct copier copier = {.from = tree->files, .to = copy->files, .n = tree->n_files};
    if (copy_contents(&copier, &tree->root, &copy->root) != 0) {
        conf_tree_free(copy);
        return NULL;
    }
    return copy;
}

/* From its place on up to the last one, each moves one further, and the last one comes there. */
static void move_last_to(struct conf_section *parent, size_t place)
{
    struct conf_section *last = parent->sections[parent->n_sections - 1];
    memmove(&parent->sections[place + 1], &parent->sections[place],
            (parent->n_sections - 1 - place) * sizeof(struct conf_section *));
    parent->sections[place] = last;
}

static size_t place_in_parent(const struct conf_section *section)
{
    size_t i = 0;
    while (section->parent->sections[i] != section)
        i++;
    return i;
}

struct conf_section *conf_copy_section(const struct conf_section *section, const char *title)
{
    struct copier copier = {.is_same_tree = true};
    struct conf_section *copy = conf_tree_add_section(section->parent, section->schema, title,
                                                      section->file, section->line);
    if (!copy)
        return NULL;
    move_last_to(section->parent, place_in_parent(section) + 1);
    return copy_contents(&copier, section, copy) == 0 ? copy : NULL;
}

/* --- changing --- */

struct conf_section *conf_find_section(const struct conf_section *parent, const char *name,
                                       const char *title)
{
    for (size_t i = 0; i < parent->n_sections; i++) {
        struct conf_section *section = parent->sections[i];
        bool has_title =
            section->title && title ? strcmp(section->title, title) == 0 : section->title == title;
        if (has_title && strcmp(section->schema->name, name) == 0)
            return section;
    }
    return NULL;
}

struct conf_section *conf_add_section(struct conf_section *parent, const char *name,
                                      const char *title)
{
    return conf_tree_add_section(parent, conf_schema_section(parent->schema, name), title, "", 0);
}

void conf_remove_section(struct conf_section *section)
{
    struct conf_section *parent = section->parent;
    size_t i = place_in_parent(section);
    parent->n_sections--;
    memmove(&parent->sections[i], &parent->sections[i + 1],
            (parent->n_sections - i) * sizeof(struct conf_section *));
    free_section(section);
}

int conf_set(struct conf_section *section, const char *option, const char *text)
{
    const struct conf_option_schema *schema = conf_schema_option(section->schema, option);
    struct conf_option *found = NULL;
    if (!schema)
        return -ENOENT;
    for (size_t i = 0; i < section->n_options && !found; i++)
        if (strcmp(section->options[i].name, option) == 0)
            found = &section->options[i];
    if (!found)
        found = conf_tree_add_option(section, schema, "", 0);
    if (!found)
        return -ENOMEM;
    free_values(found);
    found->file = "";
    found->line = 0;
    return conf_tree_add_value(found, strdup(text), 0);
}

int conf_change(struct conf_section *section, const char *option, const char *text)
{
    const struct conf_option *found = conf_find(section, option);
    struct conf_value *value = found && found->n_values == 1 ? found->values : NULL;
    char *copy = value ? strdup(text) : NULL;
    if (!copy)
        return value ? -ENOMEM : -ENOENT;
    if (value->text != value->raw)
        free(value->text);
    if (!value->secret) {
        free(value->raw);
        value->raw = copy;
    }
    value->text = copy;
    return 0;
}

/* --- looking up --- */

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
