/*
 * Configuration syntax: from files to a tree of sections and options with their places, and to
 * messages for everything that is wrong with the syntax or names. No meaning: values stay strings;
 * the caller types them (model does).
 *
 * Reading happens in a short-lived child process, because a file can be a FIFO, a directory, on a
 * dead network mount, or make libconfuse exit or hang. The parent gets a bounded answer over a pipe
 * and never blocks on anything but that pipe.
 *
 * In the child: (1) a scan of our own opens each file (regular files only, size-limited), expands
 * include() with sorted globs, keeps file and line of every statement, and reports every structural
 * fault (unclosed brace, quote, comment, NUL, byte-order mark, nesting), unknown section and option
 * with the nearest known name, and every duplicate; (2) ${VAR}, ${VAR:-default} and ${file:/path}
 * in values are expanded; (3) when nothing was wrong, libconfuse converts the merged text with all
 * options declared as strings or string lists from the same schema, and the two must agree on every
 * option and value.
 *
 * The language is libconfuse's (its escapes too), except that
 *   - comments may stand anywhere between words, in lists too;
 *   - a quoted string ends on its line: a line break in it is written \n, and a backslash as the
 *     line's last character goes on with the next line;
 *   - every string is UTF-8 without NUL; other control characters must be written as escapes;
 *   - "+=", names in quotes, and options or untitled sections given twice are refused;
 *   - include() takes a pattern too, relative to the including file, and braces must balance within
 *     each file.
 *
 * Expansion: in double quotes, and for a value that is nothing but ${…} without quotes, ${VAR}
 * becomes the environment's value, ${VAR:-default} the default when VAR is unset or empty,
 * ${file:/path} the contents of that file less one line break at its end. Not in single quotes, and
 * not in titles. Right before a "{" two $ stand for one that means itself: $${x} is the text ${x};
 * \${x} does the same in double quotes.
 */
#ifndef SLUICE_CONF_CONF_H
#define SLUICE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/errlist.h"

#define CONF_FILE_MAX_BYTES    (16 * 1024 * 1024) /* one file; all together: twice that */
#define CONF_INCLUDE_DEPTH_MAX 8
#define CONF_FILES_MAX         1000
#define CONF_DEPTH_MAX         32          /* sections in sections */
#define CONF_SECTIONS_MAX      100000      /* all together */
#define CONF_SUBSECTIONS_MAX   16384       /* in one section */
#define CONF_VALUE_BYTES_MAX   (64 * 1024) /* one value, before and after expansion */
#define CONF_SECRET_BYTES_MAX  (16 * 1024) /* the file of a ${file:…} */

/* The schema: what names exist where. Handed in from outside; a tree, at most CONF_DEPTH_MAX deep.
 * No section is called "root" and nothing "include": the words are taken. */
struct conf_option_schema {
    const char *name;
    bool list; /* takes { "a", "b" } (or a single string) */
};

struct conf_tree;
struct conf_section_schema {
    const char *name; /* NULL for the root */
    bool titled;      /* name "title" { … }; may repeat with other titles. Else at most once */
    bool titled_any;  /* with titled: the title is free text ("http:label"), not a Name */
    const struct conf_option_schema *options;          /* ends with a NULL name; NULL: none */
    const struct conf_section_schema *const *sections; /* ends with NULL; NULL: none */
    /* Of the root: called in the child once files are read and expanded, to add what other files
     * say; also by conf_load_again(), with what it added before still there. NULL: nothing does. */
    void (*complete)(struct conf_tree *tree, struct errlist *errors);
};

struct conf_value {
    char *raw; /* escapes resolved, ${…} unexpanded and a literal one as $${…}: what is shown */
    char *text;  /* expanded: what is used. The same pointer as raw when there is nothing in it */
    int line;    /* its own, in the option's file */
    bool secret; /* holds a ${file:…} */
};

struct conf_option {
    const char *name; /* points into the schema */
    const char *file; /* owned by the tree */
    int line;
    struct conf_value *values;
    size_t n_values;
};

struct conf_section {
    const struct conf_section_schema *schema;
    char *title; /* NULL when untitled */
    const char *file;
    int line; /* of its name, not of its brace */
    struct conf_section *parent;
    /* Who makes several sections of one can leave here which, in a tree that lives as long as this
     * is looked at; else NULL. Not copied. */
    const struct conf_section *origin;
    struct conf_option *options; /* in file order */
    size_t n_options;
    struct conf_section **sections; /* in file order */
    size_t n_sections;
};

struct conf_tree {
    struct conf_section root;
    char **files; /* every file read, the main one first */
    size_t n_files;
    size_t name_faults; /* errors that the reader found and that are only about names */
};

/* The option of that name in a section, or NULL. An option that is there has at least one value,
 * but for a list, which may be empty. */
const struct conf_option *conf_find(const struct conf_section *section, const char *name);
/* "pool \"web\" / backend \"a\"", "global", "" for the root: the SECTION of messages. */
void conf_section_path(const struct conf_section *section, struct str *out);

/* A read under way. */
struct conf_load;

/* Who opens the files: a uid other than the caller's is switched to (with its groups) first; only
 * root can. Keep UID_SELF for "as I am". */
#define CONF_UID_SELF ((uid_t)-1)

/*
 * Starts reading path with the schema (which must outlive the tree). Returns the load, or NULL with
 * errno when no child could be made. The caller waits for conf_load_fd() to be readable, calls
 * conf_load_continue() until it says done or its own deadline has passed, then conf_load_finish().
 */
struct conf_load *conf_load_start(const char *path, const struct conf_section_schema *schema,
                                  uid_t as_user);
/* The same for a text in memory, which messages call name and which is not needed afterwards;
 * include() is refused in it. Secrets are read as whoever calls. */
struct conf_load *conf_load_start_text(const char *name, const char *text,
                                       const struct conf_section_schema *schema);
/* The same for a tree that was read before: only what the schema's complete says is read anew. The
 * tree may be gone afterwards. */
struct conf_load *conf_load_again(const struct conf_tree *tree, uid_t as_user);
int conf_load_fd(const struct conf_load *load);
/* Reads what is there without blocking, some of it when it is much. Returns 1 when complete, 0 for
 * more to come. */
int conf_load_continue(struct conf_load *load);
/*
 * Ends the load (kills a child that is still busy, reaps it) and frees it. Fills errors (appended)
 * and *out_tree (to be freed by conf_tree_free). With errors it is NULL, or, when they are only
 * about names (unknown, given twice), the tree without those: good for finding what else is wrong,
 * never for use. timed_out: the caller gave up waiting; becomes an error that says so.
 */
void conf_load_finish(struct conf_load *load, bool timed_out, struct errlist *errors,
                      struct conf_tree **out_tree);

/* All of the above, waiting at most timeout_ms. */
void conf_load_wait(const char *path, const struct conf_section_schema *schema, int timeout_ms,
                    struct errlist *errors, struct conf_tree **out_tree);
/* The same of a text. */
void conf_load_wait_text(const char *name, const char *text,
                         const struct conf_section_schema *schema, int timeout_ms,
                         struct errlist *errors, struct conf_tree **out_tree);

void conf_tree_free(struct conf_tree *tree); /* NULL is allowed */

/* --- changing a tree, for what is said beside the files --- */

struct conf_tree *conf_tree_copy(const struct conf_tree *tree); /* NULL without memory */
/* The subsection of that kind and title (NULL: without one), or NULL. */
struct conf_section *conf_find_section(const struct conf_section *parent, const char *name,
                                       const char *title);
/* Adds one behind the others, without a place ("", 0). NULL without memory. The schema of parent
 * must have sections of that name. */
struct conf_section *conf_add_section(struct conf_section *parent, const char *name,
                                      const char *title);
/* Adds a copy with another title, its files and lines the same, right behind it. NULL without
 * memory. */
struct conf_section *conf_copy_section(const struct conf_section *section, const char *title);
/* Takes it, with all that is in it, out of its parent. */
void conf_remove_section(struct conf_section *section);
/* Gives the option this one value, as it is (nothing is expanded) and without a place, instead of
 * what it had. 0, -ENOMEM, or -ENOENT where the section knows no such option. */
int conf_set(struct conf_section *section, const char *option, const char *text);
/* The same where its place stays, and how it is shown where it is a secret; -ENOENT also where it
 * has no value yet. */
int conf_change(struct conf_section *section, const char *option, const char *text);

/* Whether text matches [A-Za-z0-9_.@:-]+, is shorter than NAME_BYTES_MAX (sluice/limits.h) and is
 * not reserved (json, *). */
bool conf_name_valid(const char *text);

typedef bool conf_leave_out_fn(const struct conf_section *section);
/* Appends the tree as one text, which reads back to the same: values unexpanded, without comments,
 * what was included in its place; without sections that leave_out (NULL: none) is true of. */
void conf_tree_print(const struct conf_tree *tree, conf_leave_out_fn *leave_out, struct str *out);

/* Appends raw as a quoted string in file syntax, such that reading it gives the same raw. */
void conf_quote(struct str *out, const char *raw);

#endif
