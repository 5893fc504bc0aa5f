/*
 * From the lines of a backends_file to sections of the tree. In the reading child.
 */
#include "backends_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "conf/file.h"
#include "conf/spell.h"
#include "conf/tree.h"
#include "lookup.h"
#include "options.h"
#include "sluice/limits.h"

#define WORDS_MAX 64

struct lines {
    struct conf_section *pool;
    const char *file;
    struct errlist *errors;
    int line;
    const char *backend; /* that the line is about; NULL: not known yet */
    struct lookup names; /* of the pool's backends, to their places */
    bool no_memory;
};

__attribute__((format(printf, 2, 3))) static void fault(const struct lines *lines,
                                                        const char *format, ...)
{
    STR_AUTO path = {0};
    STR_AUTO text = {0};
    va_list args;

    conf_section_path(lines->pool, &path);
    if (lines->backend != NULL) {
        str_printf(&path, " / backend \"%s\"", lines->backend);
    }
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    errlist_add(lines->errors, ERRLIST_ERROR, lines->file, lines->line, str_text(&path), "%s",
                str_text(&text));
}

/* --- words --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the word at *at, in its own place, and moves *at behind it. What is wrong, or NULL. */
static const char *take_word(char **at)
{
    char *from = *at;
    char *to = *at;
    bool quoted = false;

    while (*from != '\0' && (quoted || !is_blank(*from))) {
        if (*from == '"') {
            quoted = !quoted;
            from++;
            continue;
        }
        if (quoted && *from == '\\') {
            from++;
            if (*from != '"' && *from != '\\') {
                return "in double quotes a backslash goes before \" or \\ only; write \\\\ for one "
                       "that means itself";
            }
        }
        *to++ = *from++;
    }
    if (quoted) {
        return "a double quote is not closed; close it on the same line";
    }
    *at = *from != '\0' ? from + 1 : from;
    *to = '\0';
    return NULL;
}

/* Splits the line in its own place. How many words there are, or -1 with the fault told. */
static int split(const struct lines *lines, char *text, char *words[static WORDS_MAX])
{
    int n = 0;

    while (text += strspn(text, " \t"), *text != '\0') {
        const char *problem;

        if (n == WORDS_MAX) {
            fault(lines, "more than %d words; write a line for each backend", WORDS_MAX);
            return -1;
        }
        words[n++] = text;
        problem = take_word(&text);
        if (problem != NULL) {
            fault(lines, "%s", problem);
            return -1;
        }
    }
    return n;
}

/* --- one line --- */

/* Whether a line may give it. */
static bool is_possible(const struct option_def *option)
{
    return option != NULL && option->type != OPTION_LIST && strcmp(option->name, "address") != 0;
}

static void report_unknown(const struct lines *lines, const char *name)
{
    const struct section_info *info = options_section(SECTION_BACKEND);
    const char **known = calloc(info->n_options + 1, sizeof(*known));
    const char *nearest = NULL;
    char shown[SHOW_MAX];
    size_t n = 0;

    for (size_t i = 0; known != NULL && i < info->n_options; i++) {
        if (is_possible(&info->options[i])) {
            known[n++] = info->options[i].name;
        }
    }
    if (known != NULL) {
        nearest = units_nearest(name, known);
    }
    (void)option_show(name, shown);
    if (nearest != NULL) {
        fault(lines, "unknown option %s; did you mean \"%s\"?", shown, nearest);
    } else {
        fault(lines,
              "unknown option %s; write an option of a backend that is one value, such as "
              "weight=3",
              shown);
    }
    free(known);
}

static void add_option(struct lines *lines, struct conf_section *section, const char *name,
                       const char *value)
{
    const struct conf_option_schema *schema = conf_schema_option(section->schema, name);
    struct conf_option *option = NULL;

    if (conf_find(section, name) != NULL) {
        fault(lines, "%s is given twice; write it once", name);
        return;
    }
    option = conf_tree_add_option(section, schema, lines->file, lines->line);
    lines->no_memory = option == NULL ||
                       conf_tree_add_value(option, strdup(value), lines->line) != 0 ||
                       lines->no_memory;
}

/* word: "option=value". */
static void take_option(struct lines *lines, struct conf_section *section, char *word)
{
    char *equals = strchr(word, '=');
    char shown[SHOW_MAX];

    if (equals == NULL || equals == word) {
        fault(lines,
              "%s: no option; write option=value, with double quotes around what holds "
              "blanks",
              option_show(word, shown));
        return;
    }
    *equals = '\0';
    if (!is_possible(options_find(SECTION_BACKEND, word))) {
        report_unknown(lines, word);
    } else {
        add_option(lines, section, word, equals + 1);
    }
}

/* Whether the pool has no other of that name. */
static bool judge_name(struct lines *lines, const char *name)
{
    const char *problem = conf_name_problem(name);
    char shown[SHOW_MAX];
    uint32_t other;

    if (problem != NULL) {
        fault(lines, "the name %s %s", option_show(name, shown), problem);
        return false;
    }
    other = lookup_find(&lines->names, name, strlen(name));
    if (other != LOOKUP_NONE) {
        const struct conf_section *first = lines->pool->sections[other];

        fault(lines, "\"%s\" is given twice; first at %s:%d", name, first->file, first->line);
        return false;
    }
    return true;
}

static void take_backend(struct lines *lines, char *const *words, int n)
{
    struct conf_section *section;

    if (!judge_name(lines, words[0])) {
        return;
    }
    lines->backend = words[0];
    if (n < 2) {
        fault(lines, "no address; write NAME ADDRESS [option=value …]");
        return;
    }
    if (lines->pool->n_sections >= CONF_SUBSECTIONS_MAX) {
        fault(lines, "more than %d sections in one pool; split it up", CONF_SUBSECTIONS_MAX);
        return;
    }
    section =
        conf_tree_add_section(lines->pool, conf_schema_section(lines->pool->schema, "backend"),
                              words[0], lines->file, lines->line);
    if (section == NULL) {
        lines->no_memory = true;
        return;
    }
    (void)lookup_add(&lines->names, section->title, strlen(section->title),
                     (uint32_t)(lines->pool->n_sections - 1));
    add_option(lines, section, "address", words[1]);
    for (int i = 2; i < n && !lines->no_memory; i++) {
        take_option(lines, section, words[i]);
    }
}

/* Of len bytes, in its own place, with a NUL behind it. */
static void take_line(struct lines *lines, char *text, size_t len)
{
    char *words[WORDS_MAX];
    int n;

    if (len > 0 && text[len - 1] == '\r') {
        text[--len] = '\0';
    }
    if (text[strspn(text, " \t")] == '#' && strlen(text) == len) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f) {
            fault(lines, "a control character (byte 0x%02x); leave it out", (unsigned char)text[i]);
            return;
        }
    }
    if (!spell_utf8_valid(text, len)) {
        fault(lines, "not UTF-8; write the file in UTF-8");
        return;
    }
    n = split(lines, text, words);
    if (n > 0) {
        take_backend(lines, words, n);
        lines->backend = NULL;
    }
}

/* --- the file --- */

static size_t count_lines(const char *text, size_t len)
{
    size_t n = 1;

    for (size_t i = 0; i < len; i++) {
        n += text[i] == '\n' ? 1 : 0;
    }
    return n;
}

static void gather_names(struct lines *lines)
{
    const struct conf_section *pool = lines->pool;

    for (size_t i = 0; i < pool->n_sections; i++) {
        const struct conf_section *section = pool->sections[i];

        if (strcmp(section->schema->name, "backend") == 0) {
            (void)lookup_add(&lines->names, section->title, strlen(section->title), (uint32_t)i);
        }
    }
}

void backends_file_parse(struct conf_section *pool, const char *file, const char *text, size_t len,
                         struct errlist *errors)
{
    struct lines lines = {.pool = pool, .file = file, .errors = errors};
    char *copy = malloc(len + 1);
    char *at = copy;

    if (copy != NULL && lookup_init(&lines.names, pool->n_sections + count_lines(text, len)) == 0) {
        memcpy(copy, text, len);
        copy[len] = '\0';
        gather_names(&lines);
    } else {
        lines.no_memory = true;
    }
    while (!lines.no_memory && at < copy + len) {
        char *end = memchr(at, '\n', (size_t)(copy + len - at));

        end = end != NULL ? end : copy + len;
        *end = '\0';
        lines.line++;
        take_line(&lines, at, (size_t)(end - at));
        at = end + 1;
    }
    if (lines.no_memory) {
        errlist_add(errors, ERRLIST_ERROR, file, 0, NULL, "out of memory");
    }
    lookup_fini(&lines.names);
    free(copy);
}

/* --- of a pool --- */

const char *backends_file_of(const struct conf_section *pool)
{
    const struct conf_option *option =
        strcmp(pool->schema->name, "pool") == 0 ? conf_find(pool, "backends_file") : NULL;
    const char *path = option != NULL && option->n_values == 1 ? option->values[0].text : "";

    return path[0] == '/' ? path : NULL; /* others are refused later */
}

static bool is_from(const struct conf_section *section, const char *path)
{
    return strcmp(section->file, path) == 0 && strcmp(section->schema->name, "backend") == 0;
}

bool backends_file_has(const struct conf_section *section)
{
    bool is_inside = section->parent != NULL && section->parent->parent != NULL; /* not the root */
    const char *path = is_inside ? backends_file_of(section->parent) : NULL;

    return path != NULL && is_from(section, path);
}

size_t backends_file_count(const struct conf_section *pool)
{
    const char *path = backends_file_of(pool);
    size_t n = 0;

    for (size_t i = 0; path != NULL && i < pool->n_sections; i++) {
        n += is_from(pool->sections[i], path) ? 1 : 0;
    }
    return n;
}

static void drop_old(struct conf_section *pool, const char *path)
{
    for (size_t i = pool->n_sections; i-- > 0;) {
        if (is_from(pool->sections[i], path)) {
            conf_remove_section(pool->sections[i]);
        }
    }
}

static void read_pool(struct conf_tree *tree, struct conf_section *pool, const char *path,
                      struct errlist *errors)
{
    const struct conf_option *option = conf_find(pool, "backends_file");
    struct conf_file contents = {0};
    const char *file = NULL;
    STR_AUTO problem = {0};
    STR_AUTO where = {0};

    drop_old(pool, path);
    if (conf_file_read(path, BACKENDS_FILE_BYTES_MAX, &contents, &problem) == 0 &&
        tree->n_files < CONF_FILES_MAX) {
        file = conf_tree_add_file(tree, path);
    }
    if (file != NULL) {
        backends_file_parse(pool, file, contents.bytes, contents.len, errors);
    } else {
        conf_section_path(pool, &where);
        errlist_add(errors, ERRLIST_ERROR, option->file, option->line, str_text(&where),
                    "backends_file: \"%s\" %s; write a file that is there (it may be empty), or "
                    "leave this out",
                    path, problem.len > 0 ? str_text(&problem) : "is one file too many");
    }
    conf_file_free(&contents);
}

void backends_file_complete(struct conf_tree *tree, struct errlist *errors)
{
    size_t before = errors->errors;

    for (size_t i = 0; i < tree->root.n_sections; i++) {
        struct conf_section *pool = tree->root.sections[i];
        const char *path = backends_file_of(pool);

        if (path != NULL) {
            read_pool(tree, pool, path, errors);
        }
    }
    tree->name_faults += errors->errors - before; /* the rest can still be judged */
}
