/*
 * The scan's files: opening them, the encoding's faults, include() with patterns. Runs in the
 * reading child.
 */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "scan_state.h"
#include "spell.h"

/* Reports at the place of what names the file: an include() statement, or nothing but the file. */
__attribute__((format(printf, 3, 4))) static void report(struct scan *s, struct scan_place place,
                                                         const char *format, ...)
{
    STR_AUTO text = {0};
    STR_AUTO path = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    conf_section_path(s->section, &path);
    errlist_add(s->errors, ERRLIST_ERROR, place.file, place.line, str_text(&path), "%s",
                str_text(&text));
}

/* Drops the CR of every CR LF; others stay and are faults. */
static void normalise_lines(struct conf_file *file)
{
    size_t len = 0;
    for (size_t i = 0; i < file->len; i++)
        if (file->bytes[i] != '\r' || file->bytes[i + 1] != '\n')
            file->bytes[len++] = file->bytes[i];
    file->len = len;
    file->bytes[len] = '\0';
}

/* Reports what makes a file none of ours. Whether scanning it makes sense. */
static bool check_encoding(struct scan *s, struct conf_file *file, const char *name)
{
    struct scan_place top = {name, 1};
    if (file->len >= 2 &&
        (memcmp(file->bytes, "\xff\xfe", 2) == 0 || memcmp(file->bytes, "\xfe\xff", 2) == 0)) {
        report(s, top, "the file is UTF-16; save it as UTF-8 without a byte-order mark");
        return false;
    }
    if (file->len >= 3 && memcmp(file->bytes, "\xef\xbb\xbf", 3) == 0) {
        report(s, top, "the file begins with a byte-order mark; save it as UTF-8 without one");
        memset(file->bytes, ' ', 3);
    }
    const char *nul = memchr(file->bytes, '\0', file->len);
    if (nul) {
        struct scan_place place = {name, 1};
        for (const char *p = file->bytes; p < nul; p++)
            place.line += *p == '\n';
        report(s, place, "the file holds a NUL byte; is it a text file?");
        return false;
    }
    return true;
}

/* Whether a file is one of those that are being scanned, and what leads there then. */
static bool is_cycle(const struct scan *s, const struct conf_file *file, struct str *chain)
{
    const struct scan_source *first = s->source;
    while (first && (first->device != file->device || first->inode != file->inode))
        first = first->includer;
    for (int depth = first ? first->depth : 0; first && depth <= s->source->depth; depth++) {
        const struct scan_source *source = s->source;
        while (source->depth != depth)
            source = source->includer;
        str_printf(chain, "%s%s", chain->len > 0 ? " includes " : "", source->name);
    }
    return first != NULL;
}

void scan_path(struct scan *s, const char *path, struct scan_place place)
{
    STR_AUTO text = {0};
    struct conf_file file = {0};
    bool included = place.file != NULL;
    if (!included)
        place.file = path;
    if (s->source && s->source->depth >= CONF_INCLUDE_DEPTH_MAX) {
        report(s, place, "include: files are nested more than %d deep", CONF_INCLUDE_DEPTH_MAX);
    } else if (++s->n_sources > CONF_FILES_MAX) {
        report(s, place, "include: more than %d files", CONF_FILES_MAX);
        s->stopped = true;
    } else if (conf_file_read(path, CONF_FILE_MAX_BYTES, &file, &text) < 0) {
        if (included)
            report(s, place, "include: %s %s", path, str_text(&text));
        else
            report(s, place, "the file %s", str_text(&text));
    } else if (is_cycle(s, &file, &text)) {
        report(s, place, "include: %s includes %s again", str_text(&text), path);
    } else if ((s->total_bytes += file.len) > 2 * (size_t)CONF_FILE_MAX_BYTES) {
        report(s, place, "include: all files together have more than %zu bytes",
               2 * (size_t)CONF_FILE_MAX_BYTES);
        s->stopped = true;
    } else {
        const char *name = conf_tree_add_file(s->tree, path);
        if (!name)
            report(s, place, "out of memory");
        else if (check_encoding(s, &file, name)) {
            normalise_lines(&file);
            scan_source(s, name, &file);
        }
    }
    conf_file_free(&file);
}

/* A directory that is not there, or is none, just holds no match; one that cannot be read is an
 * error. glob() tells of no other place to keep it. */
static int note_glob_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void include_pattern(struct scan *s, const char *pattern, struct scan_place place)
{
    glob_t matches = {0};
    int result = glob(pattern, GLOB_NOSORT, note_glob_error, &matches);
    if (result == 0) {
        qsort(matches.gl_pathv, matches.gl_pathc, sizeof(char *), compare_paths);
        for (size_t i = 0; i < matches.gl_pathc && !s->stopped; i++)
            scan_path(s, matches.gl_pathv[i], place);
    } else if (result == GLOB_ABORTED) {
        report(s, place, "include: a directory of %s cannot be read: %s", pattern, strerror(errno));
    } else if (result != GLOB_NOMATCH) {
        report(s, place, "include: out of memory for %s", pattern);
    }
    globfree(&matches);
}

/* The path that an include() means: relative to the including file. escape: as a pattern, in which
 * the including file's own directory must match as it is. */
static void build_path(const struct scan *s, const char *path, bool escape, struct str *out)
{
    const char *name = s->source->name;
    const char *slash = strrchr(name, '/');
    if (*path != '/' && slash) {
        for (const char *p = name; p <= slash; p++) {
            if (escape && strchr("*?[]\\", *p))
                str_append_char(out, '\\');
            str_append_char(out, *p);
        }
    }
    str_append(out, path);
}

void scan_include(struct scan *s, const char *raw, int line)
{
    struct scan_place place = {s->source->name, line};
    STR_AUTO text = {0};
    STR_AUTO problem = {0};
    STR_AUTO path = {0};
    bool secret = false;
    if (s->in_memory) {
        report(s, place, "include: files cannot be included here");
    } else if (conf_expand_text(raw, &text, &secret, &problem) < 0) {
        report(s, place, "include: %s", str_text(&problem));
    } else if (secret || text.len == 0) {
        report(s, place,
               secret ? "include: ${file:…} cannot be part of the path"
                      : "include: the path is empty");
    } else {
        bool pattern = strpbrk(str_text(&text), "*?[") != NULL;
        build_path(s, str_text(&text), pattern, &path);
        if (pattern)
            include_pattern(s, str_text(&path), place);
        else
            scan_path(s, str_text(&path), place);
    }
}

static struct conf_tree *scan_any(const char *path, struct conf_file *text,
                                  const struct conf_section_schema *schema, struct errlist *errors,
                                  struct scan_merged *merged)
{
    struct conf_tree *tree = conf_tree_new(schema);
    if (!tree) {
        errlist_add(errors, ERRLIST_ERROR, path, 0, NULL, "out of memory");
        return NULL;
    }
    struct scan s = {.tree = tree,
                     .errors = errors,
                     .merged = merged,
                     .section = &tree->root,
                     .in_memory = text != NULL};
    const char *name = text ? conf_tree_add_file(tree, path) : NULL;
    if (!text) {
        scan_path(&s, path, (struct scan_place){NULL, 0});
    } else if (!name) {
        errlist_add(errors, ERRLIST_ERROR, path, 0, NULL, "out of memory");
    } else if (check_encoding(&s, text, name)) {
        normalise_lines(text);
        scan_source(&s, name, text);
    }
    scan_names_free(&s);
    return tree;
}

struct conf_tree *scan_file(const char *path, const struct conf_section_schema *schema,
                            struct errlist *errors, struct scan_merged *merged)
{
    return scan_any(path, NULL, schema, errors, merged);
}

struct conf_tree *scan_text(const char *name, const char *text, size_t len,
                            const struct conf_section_schema *schema, struct errlist *errors,
                            struct scan_merged *merged)
{
    char *bytes = malloc(len + 1);
    if (!bytes) {
        errlist_add(errors, ERRLIST_ERROR, name, 0, NULL, "out of memory");
        return NULL;
    }
    memcpy(bytes, text, len);
    bytes[len] = '\0';
    struct conf_file file = {.bytes = bytes, .len = len};
    struct conf_tree *tree = scan_any(name, &file, schema, errors, merged);
    conf_file_free(&file);
    return tree;
}
