/*
 * Names as addresses: what was looked up, and the tree in which every backend whose address is a
 * name stands once for each address behind it. Such a backend "b" is the template of "b@10.0.0.5"
 * (of an srv: name "b@10.0.0.5:8080", as ports may differ), and these have all else of it, so that
 * everything behind the tree knows only backends with one address. Nothing is looked up here. In
 * master.
 */
#ifndef SLUICE_MODEL_NAMES_H
#define SLUICE_MODEL_NAMES_H

#include "base/addr.h"
#include "base/errlist.h"
#include "conf/conf.h"

#define NAMES_ANSWERS_MAX 256 /* of one name; further ones are left out */

struct names_answer {
    struct addr_ip ip; /* port 0 */
    uint16_t port;     /* of srv; 0: the file's */
    uint32_t weight;   /* of srv; 0, or where the file says one: the file's */
};

struct names_entry {
    char *name; /* "host" or "srv:NAME", as the file has it */
    struct names_answer *answers;
    size_t n;            /* 0: never resolved … */
    const char *trouble; /* … and why, as of the last look-up; static. NULL: not known */
};

struct names { /* zeroed is empty; by name */
    struct names_entry *items;
    size_t count, cap;
};

const struct names_entry *names_find(const struct names *names, const char *name); /* or NULL */
/* Copies and sorts; of answers with the same address and port the heaviest stays. Returns 1 when
 * that differs from before, 0 when it is the same, -ENOMEM with nothing changed. */
int names_set(struct names *names, const char *name, const struct names_answer *answers, size_t n);
/* Into an empty one. 0 or -ENOMEM, to empty then. */
int names_copy(struct names *to, const struct names *from);
void names_free(struct names *names);
/* Says of a name that is among them why it does not resolve: a static text. */
void names_note(struct names *names, const char *name, const char *trouble);
/* Gives each name of to that has no answers those that it has in from: a name server that is away
 * takes nothing away. 0 or -ENOMEM, with some of it done then. */
int names_hold(struct names *to, const struct names *from);
/* Adds an entry with n = 0 for each name that backends of the tree ask for and out does not have.
 * 0 or -ENOMEM. */
int names_wanted(const struct conf_tree *tree, struct names *out);

/*
 * A copy of the tree with templates replaced by what they stand for; each section that came so has
 * the template as its origin, and its file and line. A name without an answer keeps its template,
 * or is an error where the pool says on_unresolved = "refuse". A backend that is called as an
 * address of a template is one always, so that no answer can collide. NULL without memory.
 */
struct conf_tree *names_expand(const struct conf_tree *tree, const struct names *names,
                               struct errlist *errors);

/* Whether backend is called as an address of template is, and of which: the template's name has
 * that many bytes; 0: none. */
size_t names_template_length(const char *backend);
bool names_is_of(const char *backend, const char *template);
/* Whether text is an address by name: its name, as entries have it, appended to out then. */
bool names_take(const char *text, struct str *out);
/* What is wrong with the name of an srv: address, or NULL. */
const char *names_judge_srv(const char *text);

#endif
