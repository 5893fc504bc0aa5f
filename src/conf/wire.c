/*
 * Encoding, in the reading child, and decoding, in the parent, of what was read. The child handled
 * hostile input, so the parent believes nothing: every length is held against what is left, every
 * index against the schema, the depth against its limit, and each rule that the rest of the program
 * relies on (names, one value for a scalar, no option twice) is looked at again.
 *
 * Layout, in the machine's own order: u32 magic; u32 dropped, u32 errors, u32 items, each u8
 * severity, u32 line, file, section, text; u8 has_tree; then u32 files, each a string; then the
 * root section. A string is u32 length and bytes without NUL. A section is u32 file, u32 line, u8
 * titled, title; u32 options, each u32 index in the schema, u32 file, u32 line, u32 values, each
 * u32 line, u8 flags, raw and, where it differs, text; u32 sections, each u32 index in the schema,
 * section.
 */
#include "wire.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spell.h"
#include "tree.h"

#define WIRE_MAGIC 0x736c6366u

enum { VALUE_SECRET = 1, VALUE_EXPANDED = 2 };

/* Encoding */

static void put_u8(struct str *out, unsigned value)
{
    str_append_char(out, (char)value);
}

static void put_u32(struct str *out, size_t value)
{
    uint32_t v = (uint32_t)value;
    str_append_n(out, (const char *)&v, sizeof v);
}

static void put_text(struct str *out, const char *text)
{
    size_t len = strlen(text);
    put_u32(out, len);
    str_append_n(out, text, len);
}

static size_t find_file(const struct conf_tree *tree, const char *file)
{
    size_t i = 0;
    while (i < tree->n_files && tree->files[i] != file)
        i++;
    return i;
}

static void put_option(struct str *out, const struct conf_tree *tree,
                       const struct conf_section *section, const struct conf_option *option)
{
    size_t index = 0;
    while (strcmp(section->schema->options[index].name, option->name) != 0)
        index++;
    put_u32(out, index);
    put_u32(out, find_file(tree, option->file));
    put_u32(out, (size_t)option->line);
    put_u32(out, option->n_values);
    for (size_t i = 0; i < option->n_values; i++) {
        const struct conf_value *value = &option->values[i];
        bool expanded = value->text != value->raw;
        put_u32(out, (size_t)value->line);
        put_u8(out, (value->secret ? VALUE_SECRET : 0u) | (expanded ? VALUE_EXPANDED : 0u));
        put_text(out, value->raw);
        if (expanded)
            put_text(out, value->text);
    }
}

/* Whether the schema has sections like this one, and where. What it has not is a fault that was
 * told already, and stays behind with all that is in it: the rest can still be judged. */
static bool find_schema(const struct conf_section *parent, const struct conf_section *section,
                        size_t *out_index)
{
    const struct conf_section_schema *const *known = parent->schema->sections;

    for (size_t i = 0; known && known[i]; i++) {
        if (known[i] == section->schema) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

static void put_section(struct str *out, const struct conf_tree *tree,
                        const struct conf_section *section)
{
    size_t index, n_known = 0;

    put_u32(out, find_file(tree, section->file));
    put_u32(out, (size_t)section->line);
    put_u8(out, section->title != NULL);
    if (section->title)
        put_text(out, section->title);
    put_u32(out, section->n_options);
    for (size_t i = 0; i < section->n_options; i++)
        put_option(out, tree, section, &section->options[i]);
    for (size_t i = 0; i < section->n_sections; i++)
        n_known += find_schema(section, section->sections[i], &index);
    put_u32(out, n_known);
    for (size_t i = 0; i < section->n_sections; i++) {
        if (!find_schema(section, section->sections[i], &index))
            continue;
        put_u32(out, index);
        put_section(out, tree, section->sections[i]);
    }
}

void conf_wire_encode(const struct errlist *errors, const struct conf_tree *tree, struct str *out)
{
    put_u32(out, WIRE_MAGIC);
    put_u32(out, errors->dropped);
    put_u32(out, errors->errors);
    put_u32(out, errors->count);
    for (size_t i = 0; i < errors->count; i++) {
        const struct errlist_item *item = &errors->items[i];
        put_u8(out, (unsigned)item->severity);
        put_u32(out, (size_t)item->line);
        put_text(out, item->file);
        put_text(out, item->section);
        put_text(out, item->text);
    }
    put_u8(out, tree != NULL);
    if (!tree)
        return;
    put_u32(out, tree->n_files);
    for (size_t i = 0; i < tree->n_files; i++)
        put_text(out, tree->files[i]);
    put_section(out, tree, &tree->root);
}

/* Decoding. A fault is kept, and everything read after it is 0 or empty. */

struct decoder {
    const char *pos;
    const char *end;
    struct conf_tree *tree;
    size_t n_sections;
    int fault; /* 0, -EBADMSG, -ENOMEM */
};

static void set_fault(struct decoder *d, int fault)
{
    if (d->fault == 0)
        d->fault = fault;
}

static const char *get_bytes(struct decoder *d, size_t len)
{
    const char *bytes = d->pos;
    if (d->fault != 0 || (size_t)(d->end - d->pos) < len) {
        set_fault(d, -EBADMSG);
        return NULL;
    }
    d->pos += len;
    return bytes;
}

static unsigned get_u8(struct decoder *d, unsigned max)
{
    const char *bytes = get_bytes(d, 1);
    unsigned value = bytes ? (unsigned char)*bytes : 0;
    if (value > max) {
        set_fault(d, -EBADMSG);
        return 0;
    }
    return value;
}

static uint32_t get_u32(struct decoder *d, uint32_t max)
{
    uint32_t value = 0;
    const char *bytes = get_bytes(d, sizeof value);
    if (bytes)
        memcpy(&value, bytes, sizeof value);
    if (value > max) {
        set_fault(d, -EBADMSG);
        return 0;
    }
    return value;
}

static int get_line(struct decoder *d)
{
    uint32_t line = get_u32(d, INT_MAX);
    if (line == 0)
        set_fault(d, -EBADMSG);
    return (int)line;
}

/* NULL on a fault, else free() it. */
static char *get_text(struct decoder *d)
{
    uint32_t len = get_u32(d, UINT32_MAX);
    const char *bytes = get_bytes(d, len);
    if (!bytes)
        return NULL;
    if (memchr(bytes, '\0', len)) {
        set_fault(d, -EBADMSG);
        return NULL;
    }
    char *text = strndup(bytes, len);
    if (!text)
        set_fault(d, -ENOMEM);
    return text;
}

/* The same, for what the scan has found to be UTF-8. */
static char *get_utf8(struct decoder *d)
{
    char *text = get_text(d);
    if (text && !spell_utf8_valid(text, strlen(text)))
        set_fault(d, -EBADMSG);
    return text;
}

static void get_item(struct decoder *d, struct errlist *errors)
{
    unsigned severity = get_u8(d, ERRLIST_SEVERITY_COUNT - 1);
    uint32_t line = get_u32(d, INT_MAX);
    char *file = get_text(d);
    char *section = get_text(d);
    char *text = get_text(d);
    if (d->fault == 0)
        errlist_add(errors, (enum errlist_severity)severity, file, (int)line, section, "%s", text);
    free(file);
    free(section);
    free(text);
}

static void get_items(struct decoder *d, struct errlist *errors)
{
    uint32_t dropped = get_u32(d, INT_MAX);
    uint32_t total = get_u32(d, INT_MAX);
    uint32_t n = get_u32(d, ERRLIST_MAX);
    for (uint32_t i = 0; i < n && d->fault == 0; i++)
        get_item(d, errors);
    if (total < errors->errors || total - errors->errors > dropped)
        set_fault(d, -EBADMSG);
    errors->errors = total;
    errors->dropped += dropped;
}

static const char *get_file(struct decoder *d)
{
    uint32_t index = get_u32(d, UINT32_MAX);
    if (index >= d->tree->n_files) {
        set_fault(d, -EBADMSG);
        return "";
    }
    return d->tree->files[index];
}

static void get_value(struct decoder *d, struct conf_option *option)
{
    int line = get_line(d);
    unsigned flags = get_u8(d, VALUE_SECRET | VALUE_EXPANDED);
    char *raw = get_utf8(d);
    char *text = flags & VALUE_EXPANDED ? get_utf8(d) : NULL;
    if (d->fault == 0 && conf_tree_add_value(option, raw, line) == 0) {
        struct conf_value *value = &option->values[option->n_values - 1];
        value->secret = (flags & VALUE_SECRET) != 0;
        if (text)
            value->text = text;
        return;
    }
    if (d->fault == 0)
        d->fault = -ENOMEM; /* raw was freed with it */
    else
        free(raw);
    free(text);
}

static void get_option(struct decoder *d, struct conf_section *section)
{
    const struct conf_option_schema *schema = section->schema->options;
    uint32_t index = get_u32(d, UINT32_MAX);
    const char *file = get_file(d);
    int line = get_line(d);
    uint32_t n_values = get_u32(d, UINT32_MAX);
    uint32_t known = 0;
    while (schema && known < index && schema[known].name)
        known++;
    if (d->fault != 0 || !schema || !schema[known].name || known != index ||
        conf_find(section, schema[known].name) || (!schema[known].list && n_values != 1)) {
        set_fault(d, -EBADMSG);
        return;
    }
    struct conf_option *option = conf_tree_add_option(section, &schema[known], file, line);
    if (!option)
        set_fault(d, -ENOMEM);
    for (uint32_t i = 0; i < n_values && d->fault == 0; i++)
        get_value(d, option);
}

static const struct conf_section_schema *get_schema(struct decoder *d,
                                                    const struct conf_section_schema *parent)
{
    uint32_t index = get_u32(d, UINT32_MAX);
    uint32_t known = 0;
    while (parent->sections && known < index && parent->sections[known])
        known++;
    if (d->fault == 0 && parent->sections && known == index && parent->sections[known])
        return parent->sections[known];
    set_fault(d, -EBADMSG);
    return NULL;
}

static void get_contents(struct decoder *d, struct conf_section *section, int depth);

static void get_section(struct decoder *d, struct conf_section *parent, int depth)
{
    const struct conf_section_schema *schema = get_schema(d, parent->schema);
    const char *file = get_file(d);
    int line = get_line(d);
    char *title = get_u8(d, 1) ? get_utf8(d) : NULL;
    if (d->fault == 0 &&
        (schema->titled != (title != NULL) || depth > CONF_DEPTH_MAX ||
         ++d->n_sections > CONF_SECTIONS_MAX ||
         (title && (schema->titled_any ? *title == '\0' : !conf_name_valid(title)))))
        set_fault(d, -EBADMSG);
    if (d->fault == 0) {
        struct conf_section *section = conf_tree_add_section(parent, schema, title, file, line);
        if (section)
            get_contents(d, section, depth);
        else
            set_fault(d, -ENOMEM);
    }
    free(title);
}

static void get_contents(struct decoder *d, struct conf_section *section, int depth)
{
    uint32_t n_options = get_u32(d, UINT32_MAX);
    for (uint32_t i = 0; i < n_options && d->fault == 0; i++)
        get_option(d, section);
    uint32_t n_sections = get_u32(d, UINT32_MAX);
    for (uint32_t i = 0; i < n_sections && d->fault == 0; i++)
        get_section(d, section, depth + 1);
}

static void get_tree(struct decoder *d, const struct conf_section_schema *schema)
{
    d->tree = conf_tree_new(schema);
    if (!d->tree) {
        set_fault(d, -ENOMEM);
        return;
    }
    uint32_t n_files = get_u32(d, CONF_FILES_MAX);
    for (uint32_t i = 0; i < n_files && d->fault == 0; i++) {
        char *path = get_text(d);
        if (path && !conf_tree_add_file(d->tree, path))
            set_fault(d, -ENOMEM);
        free(path);
    }
    d->tree->root.file = get_file(d);
    d->tree->root.line = (int)get_u32(d, 0);
    if (get_u8(d, 1) != 0)
        set_fault(d, -EBADMSG);
    get_contents(d, &d->tree->root, 0);
}

int conf_wire_decode(const char *bytes, size_t len, const struct conf_section_schema *schema,
                     struct errlist *errors, struct conf_tree **out_tree)
{
    struct decoder d = {.pos = bytes, .end = bytes + len};
    struct errlist items = {0};
    if (get_u32(&d, UINT32_MAX) != WIRE_MAGIC)
        set_fault(&d, -EBADMSG);
    get_items(&d, &items);
    bool has_tree = get_u8(&d, 1) != 0;
    if (has_tree)
        get_tree(&d, schema);
    if (d.pos != d.end || (!has_tree && items.errors == 0))
        set_fault(&d, -EBADMSG);

    if (d.fault != 0) {
        conf_tree_free(d.tree);
    } else {
        for (size_t i = 0; i < items.count; i++)
            errlist_add(errors, items.items[i].severity, items.items[i].file, items.items[i].line,
                        items.items[i].section, "%s", items.items[i].text);
        errors->dropped += items.dropped;
        errors->errors += items.errors;
        for (size_t i = 0; i < items.count; i++)
            errors->errors -= items.items[i].severity == ERRLIST_ERROR;
        *out_tree = d.tree;
    }
    errlist_free(&items);
    return d.fault;
}
