/*
 * What the operator said beside the file: a list of records, each about one option of a backend,
 * pool, service or the global section, or about a backend that came or went. The running model is
 * always what building the file's tree with them gives, so that defaults, judgement and messages
 * are a file's. In master.
 */
#ifndef SLUICE_MODEL_OVERRIDE_H
#define SLUICE_MODEL_OVERRIDE_H

#include "model/model.h"
#include "model/names.h"

enum override_kind {
    OVERRIDE_SET,     /* one option has another value */
    OVERRIDE_ADDED,   /* a backend that the file does not have */
    OVERRIDE_REMOVED, /* a backend of the file that is left out */
    OVERRIDE_KIND_COUNT
};

struct override_setting {
    char *option, *value;
};

struct override {
    enum override_kind kind;
    /* Names. Of a service: that alone; of a pool: no backend; of the global section: none at all.
     * Where there is none: NULL. */
    char *service, *pool, *backend;
    char *option; /* set: one of override_settable() */
    /* Set: in file syntax, without quotes. Added: all of settings, for people. Removed: NULL. */
    char *value;
    /* Set: what the file said then, NULL or "" for nothing; of an added backend: what it was added
     * with. Removed: the file's address. */
    char *file_value;
    struct override_setting *settings; /* added: address first, then whatever was given */
    size_t n_settings;
    char *by;  /* "uid 0 (login 1000) pid 42" */
    char *why; /* NULL: not said */
    uint64_t wall_ms;
    /* Set for a time: when it ends, on the two clocks; 0: it does not. And what then stands again,
     * its owner's; NULL: nothing does. */
    uint64_t until_ms, until_wall_ms;
    struct override *before;
    /* What drains or pauses: whether it was said when sessions that remain have been closed, and
     * that, on the two clocks; 0: they are not. */
    bool has_close;
    uint64_t close_ms, close_wall_ms;
};

struct overrides { /* zeroed is empty */
    struct override *items;
    size_t count, cap;
};

/* Options that can be set of a backend, a pool, a service and globally, and those that an added
 * backend takes beside its address. End with NULL. */
const char *const *override_settable_of_backend(void);
const char *const *override_settable_of_pool(void);
const char *const *override_settable_of_service(void);
const char *const *override_settable_of_global(void);
const char *const *override_addable(void);
/* Why a backend cannot be added under that name, to follow it in a sentence; NULL: it can. */
const char *override_name_problem(const char *name);

/* Whether a and b are about the same thing: kind, names and option. */
bool override_is_same(const struct override *a, const struct override *b);
/* The one about the same as key, or NULL. */
const struct override *overrides_find(const struct overrides *list, const struct override *key);
/* Adds, or replaces the one about the same in its place. Copies. Returns 0 or -ENOMEM. */
int overrides_set(struct overrides *list, const struct override *item);
/* Forgets the one about the same, if there is one. */
void overrides_drop(struct overrides *list, const struct override *item);
/* Forgets all about a backend of a pool; all about a pool and its backends (backend NULL);
 * everything (both NULL). What is about addresses of the backend counts as about it. Returns how
 * many. */
size_t overrides_forget(struct overrides *list, const char *pool, const char *backend);
/* Forgets all about a service. Returns how many. */
size_t overrides_forget_service(struct overrides *list, const char *service);
/* Ends what was set for a time that is over by now_ms: what stood before stands again. 0 or
 * -ENOMEM, with some of it done then. */
int overrides_expire(struct overrides *list, uint64_t now_ms);
/* Of those that end, the one that ends first, or NULL. */
const struct override *overrides_next_end(const struct overrides *list);
/*
 * Appends what stands against the file as lines to paste there, by sections, each with a comment of
 * what the file says, by whom, when and why. model is the one with them. What comments take from
 * commands holds no line break (requests are without control characters).
 */
void overrides_print(const struct overrides *list, const struct model *model, struct str *out);
/* Into an empty list. Returns 0 or -ENOMEM, to empty then. */
int overrides_copy(struct overrides *to, const struct overrides *from);
void overrides_free(struct overrides *list);

/* Appends the value that the option of key's target has in the model, as a record's value has it;
 * false where there is no such target, or no value. */
bool override_get(const struct model *model, const struct override *key, struct str *out);
/* The same as the tree says it, before any name is expanded and with what list adds: for a backend
 * whose address is a name, or an address of it. */
bool override_get_in_file(const struct overrides *list, const struct conf_tree *tree,
                          const struct override *key, struct str *out);
/* Whether what is set of a backend by the record means what its file_value does. */
bool override_means_file(const struct override *item);
/* Whether a backend of the tree says the same with these settings as without. False when it is not
 * there. */
bool override_agrees(const struct conf_tree *tree, const char *pool, const char *backend,
                     const struct override_setting *settings, size_t n);

/* Adds what backends of the tree, with those that list adds and without those that it removes, ask
 * for: names_wanted(). */
int overrides_wanted(const struct overrides *list, const struct conf_tree *tree, struct names *out);

/*
 * The model of the file's tree with what list says, as model_build() gives it, names expanded
 * (NULL: they stay). What is about a template holds for each of its addresses, also for those that
 * come later; what is about an address comes after that. A record whose target is not there is
 * passed over. Faults of what list says have no place. The tree stays as it is.
 */
struct model *overrides_build(const struct overrides *list, const struct conf_tree *tree,
                              const struct names *names, const struct model_registries *registries,
                              struct errlist *errors);
/*
 * The same as a file would have it: names stay as they are, and what a reload cannot change is as
 * in running, which is overrides_build() of the same. NULL without memory.
 */
struct model *overrides_build_file(const struct overrides *list, const struct conf_tree *tree,
                                   const struct model *running,
                                   const struct model_registries *registries);
/* Why that file cannot say what the record says; NULL: it does. */
const char *override_unsaid(const struct overrides *list, const struct conf_tree *tree,
                            const struct override *item);
/*
 * After a file was read into tree, and file_model built from it (names as they are): kept, empty
 * before, gets what still stands; dropped a warning for each that does not: its target is gone, the
 * file changed that very value (it wins), or has a backend of that name itself, or the whole cannot
 * be built with it. What is about an address stands while its template does, for it may come back.
 * Returns the model with what stands and names expanded; NULL, with an error in dropped and kept
 * empty, without memory or where names alone cannot be expanded.
 */
struct model *overrides_rebuild(const struct overrides *list, const struct conf_tree *tree,
                                const struct names *names, const struct model *file_model,
                                const struct model_registries *registries, struct overrides *kept,
                                struct errlist *dropped);

#endif
