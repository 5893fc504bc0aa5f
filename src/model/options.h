/*
 * The option table by section, and one option's value: typed from text, compared, copied, printed.
 * Everything in model that walks over options does it through here. Private to model.
 */
#ifndef SLUICE_MODEL_OPTIONS_H
#define SLUICE_MODEL_OPTIONS_H

#include "model/model.h"

enum section_kind {
    SECTION_GLOBAL,
    SECTION_SERVICE,
    SECTION_POOL,
    SECTION_OUTLIER,
    SECTION_REUSE,
    SECTION_BACKEND,
    SECTION_CHECK,
    SECTION_KIND_COUNT
};

struct section_info {
    const char *name;
    size_t secrets_offset; /* of struct model_secrets in the section's struct */
    const struct option_def *options;
    size_t n_options;
};

/* Lives for ever. */
const struct section_info *options_section(enum section_kind kind);
const struct option_def *options_find(enum section_kind kind, const char *name); /* or NULL */

/* Whether checks of that kind have the option, and must have it. */
bool option_is_for(const struct option_def *option, const char *check_kind);
bool option_is_required_for(const struct option_def *option, const char *check_kind);

/* --- one value; section is the struct that option.offset is in --- */

/*
 * Types text (of an option that is no list) into its field. Returns 0; -EINVAL with out_problem
 * appended (`"x": not a time; write …`) or -ENOMEM, the field unchanged.
 */
int option_set(const struct option_def *option, void *section, const char *text,
               struct str *out_problem);
/* Judges an item of a list that takes certain words only. Returns 0, or -EINVAL as option_set(). */
int option_judge_item(const struct option_def *option, const char *text, struct str *out_problem);
/* Sets a list. 0 or -ENOMEM. */
int option_set_list(const struct option_def *option, void *section, const char *const *items,
                    size_t n);
/* The table's default; "=OPTION" takes what that option, earlier in the table, has by now. 0 or
 * -ENOMEM. */
int option_set_default(const struct option_def *option, void *section);
/* A secret never is: it may change without the file. */
bool option_is_default(const struct option_def *option, const void *section);
/* Over what to holds. 0 or -ENOMEM, to only good for section_fini then. */
int option_copy(const struct option_def *option, void *to, const void *from);
bool option_equal(const struct option_def *option, const void *a, const void *b);
/* Whether it has a value: false for text that is NULL and for 0 without a default. */
bool option_given(const struct option_def *option, const void *section);
/* Appends the value without quotes, as option_set reads it (of a list: one item). Secrets stay
 * unexpanded. */
void option_format(const struct option_def *option, const void *section, size_t item,
                   struct str *out);
/* Appends it as in the file: quoted where needed, lists in braces. */
void option_print(const struct option_def *option, const void *section, struct str *out);
/* A list's items, ended by NULL. */
char *const *option_items(const struct option_def *option, const void *section);
/* 1 for what is no list. */
size_t option_list_count(const struct option_def *option, const void *section);
/* Appends the range, words or form that the option takes, for messages: `write "up" or "down"`. */
void option_describe(const struct option_def *option, struct str *out);

/* Remembers, or forgets with raw NULL, how a value is shown. 0 or -ENOMEM. */
int option_set_secret(const struct option_def *option, void *section, size_t item, const char *raw);
/* How it is shown, or NULL for a value that is no secret. */
const char *option_secret(const struct option_def *option, const void *section, size_t item);

/* --- whole sections, by the table --- */

/* Frees text, lists and secrets of a section; its numbers stay. */
void section_fini(enum section_kind kind, void *section);

void option_list_free(char **items); /* NULL is allowed */
/* A list of copies, ended by NULL; NULL without memory. */
char **option_list_make(const char *const *items, size_t n);

/* Shows text in a message: in quotes, without control characters, cut when long. Returns buf. */
#define SHOW_MAX 96
char *option_show(const char *text, char buf[static SHOW_MAX]);

#endif
