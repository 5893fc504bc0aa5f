/*
 * What the files of the scan share: its state, how it takes tokens, reports and emits. Private to
 * scan*.c.
 *
 * One fault shall give one message. So a fault of structure silences further ones of structure on
 * the same line (scan_fault), while what is wrong with a name or a value is always told
 * (scan_error); and after each the scan goes on where the next statement probably begins.
 */
#ifndef SLUICE_CONF_SCAN_STATE_H
#define SLUICE_CONF_SCAN_STATE_H

#include "file.h"
#include "lex.h"
#include "scan.h"
#include "tree.h"

/* A file being scanned. */
struct scan_source {
    struct scan_source *includer; /* NULL for the main file */
    const char *name;             /* owned by the tree */
    dev_t device;
    ino_t inode;
    int depth;                 /* 0 for the main file */
    struct conf_section *base; /* the section it stands in */
    struct lex lex;
    int fault_line;        /* of the last fault of structure */
    size_t assumed_closes; /* missing "}" that were assumed, should they turn up after all */
};

struct scan {
    struct conf_tree *tree;
    struct errlist *errors;
    struct scan_merged *merged;
    struct scan_source *source;   /* the innermost */
    struct conf_section *section; /* the innermost open one */
    void *titles;                 /* tsearch tree of sections, to find those given twice */
    size_t total_bytes;
    size_t n_sources;
    size_t n_sections;
    bool in_memory; /* include() is refused */
    bool stopped;   /* out of memory or over a limit: take no more statements */
};

/* scan.c */
__attribute__((format(printf, 3, 4))) void scan_fault(struct scan *s, int line, const char *format,
                                                      ...);
__attribute__((format(printf, 3, 4))) void scan_error(struct scan *s, int line, const char *format,
                                                      ...);
/* For a name that is unknown here or given twice: the rest can still be judged. */
void scan_note_name_fault(struct scan *s);
void scan_warn(struct scan *s, int line, const char *text);
void scan_stop_memory(struct scan *s);
/* Takes the next token, reporting what is wrong with it as such. */
void scan_take(struct scan *s, struct lex_token *out);
struct lex_token scan_peek(const struct scan *s);
/* Appends a text that ends with a line break to the merged one. */
void scan_emit(struct scan *s, int line, const char *text);
/* Scans the statements of a file (bytes end with NUL), down to its end. */
void scan_source(struct scan *s, const char *name, const struct conf_file *file);

/* scan_value.c */
/* Whether a statement, and no value, begins at lex. */
bool scan_starts_statement(struct lex lex);
/* Whether a "{" at lex begins a section's contents, as far as that can be told, and no list. */
bool scan_starts_block(struct lex lex);
/* Reads the value or list of the option called name. schema NULL: unknown, the value only passes
 * by. */
void scan_values(struct scan *s, const char *name, int line,
                 const struct conf_option_schema *schema);

/* scan_name.c */
/* Stands for a section of unknown name, which is its title then; its contents are not checked. */
extern const struct conf_section_schema scan_unknown_section;
bool scan_is_unchecked(const struct conf_section_schema *schema);
/* Reports a name that the current section does not know, used as an option or as a section. */
void scan_report_name(struct scan *s, int line, const char *name, bool as_section);
/* The section that was probably meant by an unknown name, or NULL. */
const struct conf_section_schema *scan_meant_section(const struct scan *s, const char *name);
/* Remembers a section by its title; the earlier one with the same, or NULL. */
struct conf_section *scan_remember_section(struct scan *s, struct conf_section *section);
void scan_names_free(struct scan *s);

/* scan_include.c */
/* Scans the files that include(path) names, in the place of the statement at line. */
void scan_include(struct scan *s, const char *path, int line);
/* Scans one file; a fault with it goes to the place given. place.file NULL: it is the main file. */
void scan_path(struct scan *s, const char *path, struct scan_place place);

#endif
