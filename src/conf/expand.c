/*
 * Expansion of values. Runs in the reading child, with the environment that the daemon was started
 * with and the right to open secrets that the reading user has.
 */
#include "expand.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "spell.h"

struct expansion {
    struct str *text;
    struct str *problem;
    bool secret;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void fail(struct expansion *e, const char *format, ...)
{
    if (e->failed)
        str_append(e->problem, "; ");
    e->failed = true;
    va_list args;
    va_start(args, format);
    str_vprintf(e->problem, format, args);
    va_end(args);
}

static bool is_variable_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return *name != '\0' && strchr("0123456789", *name) == NULL &&
           name[strspn(name, allowed)] == '\0';
}

static void append_checked(struct expansion *e, const char *what, const char *text, size_t len)
{
    if (memchr(text, '\0', len) != NULL)
        fail(e, "${%s} holds a NUL byte", what);
    else if (!spell_utf8_valid(text, len))
        fail(e, "${%s} is not UTF-8", what);
    else
        str_append_n(e->text, text, len);
}

static void expand_variable(struct expansion *e, char *inner)
{
    char *fallback = strstr(inner, ":-");
    if (fallback) {
        *fallback = '\0';
        fallback += 2;
    }
    char shown[SPELL_SHOWN_MAX];
    spell_show(inner, strlen(inner), shown);
    if (!is_variable_name(inner)) {
        fail(e,
             "${%s} is no variable; write ${NAME}, ${NAME:-default} or ${file:/path}, "
             "and $${ for a \"${\" that means itself",
             shown);
        return;
    }
    if (fallback && strstr(fallback, "${")) {
        fail(e, "the default of ${%s} holds another ${; they cannot be nested", shown);
        return;
    }
    const char *value = getenv(inner);
    if (fallback && (!value || *value == '\0'))
        value = fallback;
    if (value)
        append_checked(e, shown, value, strlen(value));
    else
        fail(e, "the environment variable %s is not set; set it, or write ${%s:-default}", shown,
             shown);
}

static void expand_file(struct expansion *e, const char *inner)
{
    const char *path = inner + strlen("file:");
    char shown[SPELL_SHOWN_MAX];
    spell_show(inner, strlen(inner), shown);
    if (*path != '/') {
        fail(e, "${%s}: the path must begin with /", shown);
        return;
    }
    struct conf_file file = {0};
    STR_AUTO problem = {0};
    if (conf_file_read(path, CONF_SECRET_BYTES_MAX, &file, &problem) < 0) {
        fail(e, "${%s}: the file %s", shown, str_text(&problem));
        return;
    }
    size_t len = file.len;
    if (len > 0 && file.bytes[len - 1] == '\n')
        len--;
    if (len < file.len && len > 0 && file.bytes[len - 1] == '\r')
        len--;
    append_checked(e, shown, file.bytes, len);
    e->secret = true;
    explicit_bzero(file.bytes, file.len);
    conf_file_free(&file);
}

/* Expands the reference whose "${" is at p. Returns what follows its "}". */
static const char *expand_reference(struct expansion *e, const char *p)
{
    const char *close = strchr(p, '}');
    if (!close) {
        fail(e, "a \"${\" without \"}\"; $${ is a \"${\" that means itself");
        return p + strlen(p);
    }
    char *inner = strndup(p + 2, (size_t)(close - p - 2));
    if (!inner) {
        fail(e, "out of memory");
        return close + 1;
    }
    if (strncmp(inner, "file:", strlen("file:")) == 0)
        expand_file(e, inner);
    else
        expand_variable(e, inner);
    free(inner);
    return close + 1;
}

int conf_expand_text(const char *raw, struct str *text, bool *secret, struct str *problem)
{
    struct expansion e = {.text = text, .problem = problem};
    size_t before = text->len;
    const char *p = raw;
    while (*p) {
        size_t dollars = strspn(p, "$");
        if (dollars == 0) {
            size_t len = strcspn(p, "$");
            str_append_n(text, p, len);
            p += len;
            continue;
        }
        bool brace = p[dollars] == '{';
        for (size_t i = 0; i < (brace ? dollars / 2 : dollars); i++)
            str_append_char(text, '$');
        p += dollars;
        if (brace && dollars % 2 == 1)
            p = expand_reference(&e, p - 1);
    }
    if (!e.failed && (text->failed || text->len - before > CONF_VALUE_BYTES_MAX))
        fail(&e, "too long after expansion; at most %d bytes are allowed", CONF_VALUE_BYTES_MAX);
    if (e.secret)
        *secret = true;
    return e.failed ? -1 : 0;
}

static void expand_value(const struct conf_section *section, const struct conf_option *option,
                         struct conf_value *value, struct errlist *errors)
{
    if (!strstr(value->raw, "${"))
        return;
    STR_AUTO text = {.limit = CONF_VALUE_BYTES_MAX};
    STR_AUTO problem = {0};
    if (conf_expand_text(value->raw, &text, &value->secret, &problem) < 0) {
        STR_AUTO path = {0};
        conf_section_path(section, &path);
        errlist_add(errors, ERRLIST_ERROR, option->file, value->line, str_text(&path), "%s: %s",
                    option->name, str_text(&problem));
        return;
    }
    char *taken = str_take(&text);
    if (taken)
        value->text = taken;
    else
        errlist_add(errors, ERRLIST_ERROR, option->file, value->line, NULL, "out of memory");
}

static void expand_section(const struct conf_section *section, struct errlist *errors)
{
    for (size_t i = 0; i < section->n_options; i++)
        for (size_t j = 0; j < section->options[i].n_values; j++)
            expand_value(section, &section->options[i], &section->options[i].values[j], errors);
    for (size_t i = 0; i < section->n_sections; i++)
        expand_section(section->sections[i], errors);
}

void conf_expand_tree(struct conf_tree *tree, struct errlist *errors)
{
    expand_section(&tree->root, errors);
}
