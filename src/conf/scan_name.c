/*
 * Names in the scan: unknown ones with what was probably meant or where they belong, and titles
 * given twice. Runs in the reading child.
 */
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

#include "scan_state.h"
#include "spell.h"

#define PLACES_MAX      4  /* named in "it belongs …" */
#define KNOWN_NAMES_MAX 12 /* named in "known here: …" */

const struct conf_section_schema scan_unknown_section = {.name = "unknown section"};

bool scan_is_unchecked(const struct conf_section_schema *schema)
{
    return schema == &scan_unknown_section;
}

/* Where a name is known: section paths without titles ("pool / check"), the shortest to each
 * schema, since the same one may stand in several places. */
struct places {
    const char *name;
    bool as_section;
    const struct conf_section_schema *found[PLACES_MAX];
    size_t n;
    struct str text;
};

/* Looks at the sections level steps below schema. Whether there are any. */
static bool find_places(struct places *places, const struct conf_section_schema *schema,
                        const char *path, int level)
{
    bool deeper = false;
    for (const struct conf_section_schema *const *sub = schema->sections; level > 0 && sub && *sub;
         sub++) {
        STR_AUTO sub_path = {0};
        str_printf(&sub_path, "%s%s%s", path, *path ? " / " : "", (*sub)->name);
        if (find_places(places, *sub, str_text(&sub_path), level - 1))
            deeper = true;
    }
    if (level > 0)
        return deeper;
    bool known = places->as_section ? conf_schema_section(schema, places->name) != NULL
                                    : conf_schema_option(schema, places->name) != NULL;
    for (size_t i = 0; known && i < places->n; i++)
        known = places->found[i] != schema;
    if (known && places->n < PLACES_MAX) {
        str_printf(&places->text, "%s%s%s", places->n > 0 ? " or " : "",
                   *path ? "in " : "at the top level", path);
        places->found[places->n++] = schema;
    }
    return true;
}

static size_t count_names(const struct conf_section_schema *schema)
{
    size_t n = 0;
    for (const struct conf_option_schema *o = schema->options; o && o->name; o++)
        n++;
    for (const struct conf_section_schema *const *sub = schema->sections; sub && *sub; sub++)
        n++;
    return n;
}

/* The names of a section's options, or of its sections, or both, ending with NULL; free() it. */
static const char **list_names(const struct conf_section_schema *schema, bool options,
                               bool sections)
{
    const char **names = calloc(count_names(schema) + 1, sizeof(char *));
    if (!names)
        return NULL;
    size_t n = 0;
    for (const struct conf_option_schema *o = schema->options; options && o && o->name; o++)
        names[n++] = o->name;
    for (const struct conf_section_schema *const *sub = schema->sections; sections && sub && *sub;
         sub++)
        names[n++] = (*sub)->name;
    return names;
}

static const char *find_nearest(const struct conf_section_schema *schema, const char *name,
                                bool options, bool sections)
{
    const char **names = list_names(schema, options, sections);
    const char *nearest = names ? units_nearest(name, names) : NULL;
    free(names);
    return nearest;
}

const struct conf_section_schema *scan_meant_section(const struct scan *s, const char *name)
{
    const struct conf_section_schema *schema = s->section->schema;
    const char *nearest =
        scan_is_unchecked(schema) ? NULL : find_nearest(schema, name, false, true);
    return nearest ? conf_schema_section(schema, nearest) : NULL;
}

static void append_known_names(struct str *text, const struct conf_section_schema *schema,
                               bool as_section)
{
    bool only_sections = !as_section && (!schema->options || !schema->options->name);
    const char **names = list_names(schema, !as_section, as_section || only_sections);
    if (!names)
        return;
    size_t n = 0;
    while (names[n])
        n++;
    if (n == 0)
        str_printf(text, "no %s can stand here", as_section ? "section" : "option");
    else if (only_sections)
        str_append(text, "only sections stand here: ");
    else
        str_append(text, "known here: ");
    for (size_t i = 0; i < n && i < KNOWN_NAMES_MAX; i++)
        str_printf(text, "%s%s", i > 0 ? ", " : "", names[i]);
    if (n > KNOWN_NAMES_MAX)
        str_printf(text, " and %zu more", n - KNOWN_NAMES_MAX);
    free(names);
}

/* What would be right instead of name. */
static void append_advice(struct str *text, const struct scan *s, const char *name, bool as_section)
{
    const struct conf_section_schema *schema = s->section->schema;
    struct places places = {.name = name, .as_section = as_section};
    for (int level = 0; level <= CONF_DEPTH_MAX; level++)
        if (!find_places(&places, s->tree->root.schema, "", level))
            break;
    const char *nearest = find_nearest(schema, name, !as_section, as_section);
    if (!nearest)
        nearest = find_nearest(schema, name, true, true);

    if (places.n > 0)
        str_printf(text, "it belongs %s", str_text(&places.text));
    else if (nearest)
        str_printf(text, "did you mean \"%s\"?", nearest);
    else
        append_known_names(text, schema, as_section);
    str_free(&places.text);
}

void scan_report_name(struct scan *s, int line, const char *name, bool as_section)
{
    const struct conf_section_schema *schema = s->section->schema;
    if (scan_is_unchecked(schema))
        return;
    char shown[SPELL_SHOWN_MAX];
    spell_show(name, strlen(name), shown);
    const struct conf_section_schema *section = conf_schema_section(schema, name);
    if (strcmp(name, "include") == 0) {
        scan_error(s, line, "a file is included by include(\"FILE\")");
    } else if (!as_section && section) {
        scan_error(s, line, "\"%s\" is a section here, no option; write %s%s { … }", shown, shown,
                   section->titled ? " \"NAME\"" : "");
    } else if (as_section && conf_schema_option(schema, name)) {
        scan_error(s, line, "\"%s\" is an option here, no section; write %s = …", shown, shown);
    } else {
        STR_AUTO advice = {0};
        append_advice(&advice, s, name, as_section);
        scan_note_name_fault(s);
        scan_error(s, line, "unknown %s \"%s\"; %s", as_section ? "section" : "option", shown,
                   str_text(&advice));
    }
}

static int compare_sections(const void *a, const void *b)
{
    const struct conf_section *x = a;
    const struct conf_section *y = b;
    if (x->parent != y->parent)
        return (uintptr_t)x->parent < (uintptr_t)y->parent ? -1 : 1;
    if (x->schema != y->schema)
        return (uintptr_t)x->schema < (uintptr_t)y->schema ? -1 : 1;
    return strcmp(x->title ? x->title : "", y->title ? y->title : "");
}

struct conf_section *scan_remember_section(struct scan *s, struct conf_section *section)
{
    void *node = tsearch(section, &s->titles, compare_sections);
    if (!node) {
        scan_stop_memory(s);
        return NULL;
    }
    struct conf_section *first = *(struct conf_section **)node;
    return first == section ? NULL : first;
}

static void keep_section(void *section)
{
    (void)section; /* the tree owns it */
}

void scan_names_free(struct scan *s)
{
    tdestroy(s->titles, keep_section);
    s->titles = NULL;
}
